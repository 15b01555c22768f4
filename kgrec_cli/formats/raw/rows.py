"""The interactions of a log, in parts: one table in memory, or files where they are too many.

In the files ids are the numbers of their categories. What needs all rows of a user at once gets the
users by shares, so no step has more than `SHARE_ROWS` rows in memory, and a bit for each row.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import numpy as np
import polars as pl

from kgrec_cli.core.data.filters import Keep, drop_duplicates

SHARE_ROWS = 2**23
ROW = "row"
_IDS = ("user_id", "item_id")


@dataclass(frozen=True)
class Rows:
    """Interactions in their order: user_id, item_id (Categorical), rating (optional), timestamp.

    Attributes:
        parts: Tables or files, one after the other.
        height: How many rows there are.
        kinds: No row, the columns as all parts are read. It keeps the categories alive.
    """

    parts: tuple[pl.DataFrame | Path, ...]
    height: int
    kinds: pl.DataFrame

    @property
    def n_shares(self) -> int:
        """How many shares of the users there are; 1 in memory."""
        return -(-self.height // SHARE_ROWS) if isinstance(self.parts[0], Path) else 1

    def tables(self, *columns: str) -> Iterator[pl.DataFrame]:
        """The parts as tables, all columns unless some are named."""
        for part in self.parts:
            yield self._scan(part).select(columns or pl.all()).collect()

    def shares(self) -> Iterator[pl.DataFrame]:
        """All rows of some users, then of others; with a column `row`, the row's number.

        Files are read once: each is cut into its shares, and the cuttings are put together.
        """
        if self.n_shares == 1:
            yield pl.concat(self.tables()).with_row_index(ROW)
            return
        share = pl.col("user_id").to_physical() % self.n_shares
        cuttings: list[list[Path]] = [[] for _ in range(self.n_shares)]
        with TemporaryDirectory(dir=cast(Path, self.parts[0]).parent) as folder:
            n_rows = 0
            for table in self.tables():
                for (number,), cutting in table.with_row_index(ROW, n_rows).group_by(share):
                    path = Path(folder) / f"{number}-{n_rows}.parquet"
                    cuttings[number].append(write_rows(path, cutting))
                n_rows += table.height
            for paths in filter(None, cuttings):  # a share may have no user
                yield pl.concat(map(self._scan, paths)).collect()
                for path in paths:
                    path.unlink()

    def filter(self, keep: Callable[[pl.DataFrame], pl.DataFrame]) -> "Rows":
        """The rows that `keep` leaves of each part, in turn; files are written anew."""
        parts: list[pl.DataFrame | Path] = []
        height = 0
        for part, table in zip(self.parts, self.tables(), strict=True):
            rest = keep(table)
            height += rest.height
            parts.append(write_rows(part, rest) if isinstance(part, Path) else rest)
        return Rows(tuple(parts), height, self.kinds)

    def drop_duplicates(self, keep: Keep) -> "Rows":
        """As `filters.drop_duplicates`."""
        if keep == "all":
            return self
        kept = np.zeros(self.height, dtype=np.bool_)
        for share in self.shares():
            kept[drop_duplicates(share, keep).table[ROW].to_numpy()] = True
        start = 0

        def of_part(table: pl.DataFrame) -> pl.DataFrame:
            nonlocal start
            start += table.height
            return table.filter(kept[start - table.height : start])

        return self.filter(of_part)

    def counts(self, column: str) -> pl.DataFrame:
        """How many rows each token has: `column` (String) and n, in order of first appearance."""
        by_part = [
            table.group_by(column, maintain_order=True).agg(pl.len().alias("n"))
            for table in self.tables(column)
        ]
        counts = pl.concat(by_part).group_by(column, maintain_order=True).agg(pl.col("n").sum())
        return counts.with_columns(pl.col(column).cast(pl.String))

    def _scan(self, part: pl.DataFrame | Path) -> pl.LazyFrame:
        if isinstance(part, pl.DataFrame):
            return part.lazy()
        others = {n: kind for n, kind in self.kinds.schema.items() if n not in _IDS}
        frame = pl.scan_parquet(part, glob=False)
        return frame.with_columns(pl.col(*_IDS).cat.to(pl.Categorical)).cast(others)  # type: ignore[arg-type]


def rows_of(table: pl.DataFrame) -> Rows:
    """The rows of a table in memory."""
    return Rows((table,), table.height, table.clear())


def write_rows(path: Path, table: pl.DataFrame) -> Path:
    """Writes a part, and returns its path.

    Raises:
        OSError: The disk is full.
    """
    try:
        table.with_columns(pl.col(*_IDS).to_physical()).write_parquet(path, compression="lz4")
    except pl.exceptions.PolarsError as error:
        raise OSError(str(error)) from error
    return path

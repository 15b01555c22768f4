"""Split files whose rows are samples (`benchmark_filename`): an item and the items before it.

RecBole's sequential models take split files in this form only: `item_id_list:token_seq` beside
`item_id:token`. Each row becomes a separate history, and only its last event is a target.
"""

from dataclasses import replace
from pathlib import Path

import polars as pl

from kgrec_cli.core.data import splits
from kgrec_cli.core.data.histories import Histories, build_histories_in_parts
from kgrec_cli.core.data.splits import Split
from kgrec_cli.dataset.files import check_filled
from kgrec_cli.events import Note, OnEvent
from kgrec_cli.formats.atomic import read_atomic
from kgrec_cli.settings import Settings


def read_samples(path: Path, settings: Settings, on_event: OnEvent) -> pl.DataFrame:
    """The events of every sample, the target last.

    Returns:
        sample: UInt32, the row in the file. user_id, item_id: String.

    Raises:
        KgrecError: A missing column, an empty user or item.
    """
    user, item = settings.USER_ID_FIELD, settings.ITEM_ID_FIELD
    table = read_atomic(path, [user, f"{item}_list", item], settings.field_separator)
    table.columns = ["user_id", "before", "item_id"]
    check_filled(table, path, {user: "user_id", item: "item_id"})
    before = pl.col("before").str.strip_chars(settings.seq_separator)
    samples = table.with_row_index("sample").filter(before != "")
    if samples.height < table.height:
        n_empty = table.height - samples.height
        on_event(Note(f"{path.name}: {n_empty:,} samples with nothing before their item: dropped"))
    items = pl.concat_list(before.str.split(settings.seq_separator), "item_id")
    return samples.select("sample", "user_id", items.alias("item_id")).explode("item_id")


def build_sample_histories(table: pl.DataFrame) -> tuple[Histories, Split]:
    """One history a sample, and the split.

    Args:
        table: Rows of samples in order: part, sample, user and item (ids; item 0 is unknown).
            Unknown items are dropped; a sample whose target is unknown is dropped as a whole.
    """
    number = pl.struct("part", "sample").rle_id().cast(pl.Int32)
    table = table.with_columns(number.alias("number"), pl.int_range(pl.len()).alias("place"))
    known = pl.col("item") > 0
    whole = known.last() & (known.sum() > 1)
    table = table.filter(whole.over("number") & known)
    histories, parts = build_histories_in_parts(
        *(table[name].to_numpy() for name in ("number", "item", "place", "part"))
    )
    users = table.group_by("number", maintain_order=True).first()["user"].to_numpy()
    return replace(histories, user_ids=users), splits.split_samples(histories, parts)

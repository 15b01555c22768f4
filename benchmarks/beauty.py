"""Amazon Beauty, as published sequential recommenders use it, for `kgrec prepare`."""

import gzip
from pathlib import Path

BEAUTY = ["--raw", "beauty.tsv", "--user-col", "user", "--item-col", "item", "--time-col", "none",
          "--kg", "none"]  # fmt: skip
"""The options of `kgrec prepare` for what `write_beauty` writes."""


def write_beauty(data: Path, folder: Path) -> None:
    """beauty.tsv in the folder, unless it is there: events in the order of their file."""
    path = folder / "beauty.tsv"
    if not path.is_file():
        text = gzip.decompress((data / "beauty" / "beauty.txt.gz").read_bytes()).decode()
        path.write_text("user\titem\n" + text.replace(" ", "\t"))

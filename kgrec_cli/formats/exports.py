"""Tables that leave kgrec, in the format that the file name asks for."""

from pathlib import Path

import polars as pl

from kgrec_cli.errors import UsageError
from kgrec_cli.formats.files import writing

SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl")


def check_export_path(path: Path) -> None:
    """Refuses a file name before any work is done for it.

    Raises:
        UsageError: Its suffix is none of `SUFFIXES`.
    """
    if path.suffix not in SUFFIXES:
        raise UsageError(f"{path}: the name must end in one of {', '.join(SUFFIXES)}")


def write_table(path: Path, table: pl.DataFrame) -> None:
    """Writes a table as Parquet, CSV, TSV (both with a header) or JSON lines, by the suffix.

    Raises:
        UsageError: Another suffix.
        KgrecError: The file cannot be written.
    """
    check_export_path(path)
    with writing(path) as temporary_path:
        match path.suffix:
            case ".parquet":
                table.write_parquet(temporary_path)
            case ".jsonl":
                table.write_ndjson(temporary_path)
            case ".csv":
                table.write_csv(temporary_path)
            case ".tsv":
                table.write_csv(temporary_path, separator="\t")

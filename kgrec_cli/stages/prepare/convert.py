"""`kgrec prepare NAME --convert`: the interactions of a data set as Parquet, or as text again."""

from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from kgrec_cli.config import choose_dataset
from kgrec_cli.dataset.files import REPORT_NAME, atomic_path, read_report
from kgrec_cli.dataset.mapped import remove_mapped
from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.atomic import is_parquet, read_header, read_parts, write_atomic
from kgrec_cli.formats.atomic_parquet import SUFFIX
from kgrec_cli.formats.files import (
    WriteFile,
    check_whole,
    read_json,
    sha256_of,
    write_json,
    write_together,
)
from kgrec_cli.formats.locks import only_writer
from kgrec_cli.settings import Settings
from kgrec_cli.stages.prepare.write import InterFormat, inter_suffixes


def run_convert(settings: Settings, folder: Path, inter_format: InterFormat) -> list[Path]:
    """Rewrites every file of interactions of a data set; returns what was written.

    The rows and their order stay. `prepare.json` gets the digests of the new files, and keeps what
    it says of the old ones: a run that was trained on those goes on with these.

    Raises:
        KgrecError: No data set, nothing to convert, both formats there, a damaged file, a folder
            that cannot be written to.
    """
    settings = choose_dataset(settings, folder)
    dataset_dir = atomic_path(settings, folder, "kg").parent
    with only_writer(dataset_dir):
        check_whole(dataset_dir)
        suffix, other = inter_suffixes(inter_format)
        old = sorted(dataset_dir.glob(f"{settings.dataset}.*{other}"))
        if not old:
            back = "parquet" if inter_format == "atomic" else "atomic"
            raise KgrecError(
                f"{dataset_dir}: holds no {settings.dataset}.{other} to convert; "
                f"--format {back} converts the other way"
            )
        files: dict[str, WriteFile] = {}
        for path in old:
            suffix_of_text = path.name.removeprefix(f"{settings.dataset}.").removesuffix(SUFFIX)
            atomic_path(settings, folder, suffix_of_text)  # raises where both formats are there
            new_name = path.name.removesuffix(other) + suffix
            files[new_name] = partial(_convert, path, separator=settings.field_separator)
        report_path = dataset_dir / REPORT_NAME
        report: dict[str, Any] = {"dataset": settings.dataset}
        if report_path.is_file():
            report = read_json(report_path)
        known = read_report(report_path)
        names = list(files)

        def write_report(path: Path) -> None:
            recorded = report.setdefault("files", {})
            converted = report.setdefault("converted", {})
            for before, name in zip(old, names, strict=True):
                digest, made = sha256_of(before), sha256_of(path.with_name(name))
                if recorded.pop(before.name, digest) == digest:
                    recorded[name] = made
                converted[made] = known.converted.get(digest, digest)
            write_json(path, report)

        files[REPORT_NAME] = write_report
        write_together(dataset_dir, files, [path.name for path in old], by="prepare")
        if inter_format == "atomic":
            remove_mapped(dataset_dir)
    return [dataset_dir / name for name in names]


def _convert(old: Path, new: Path, *, separator: str) -> None:
    types = read_header(old, separator)
    if separator != "\t" and not is_parquet(new):
        raise KgrecError(f"field_separator is {separator!r}, but text is written with tabs")
    read = partial(read_parts, old, separator=separator)
    numbers = [name for name, kind in types.items() if kind == "float"]
    kinds = [part.schema for part in read(numbers)] if numbers else []
    # Of a text, the numbers of a column may be whole in one part and not in another.
    schema = {n: pl.Float64 if pl.Float64 in {k[n] for k in kinds} else pl.Int64 for n in numbers}
    write_atomic(new, (part.cast(schema) for part in read()), types)  # type: ignore[arg-type]

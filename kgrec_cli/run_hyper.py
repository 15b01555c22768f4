"""RecBole's tuning line, for those who copy it.

`python -m kgrec_cli.run_hyper --model=GRU4RecKG --dataset=ml-100k --config_files=my.yaml
--params_file=hyper.test --output_file=result.txt` is `kgrec tune` with RecBole's flags and the
early stop that RecBole has.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from kgrec_cli import console
from kgrec_cli.config import resolve_settings
from kgrec_cli.errors import KgrecError, UsageError
from kgrec_cli.formats.files import write_text
from kgrec_cli.stages.tune import run_tune

RECBOLE_EARLY_STOP = 10


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        """One line instead of a usage text."""
        raise UsageError(f"run_hyper: {message}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the search and returns the exit code: 0, 1 for a mistake, 2 for a usage error."""
    try:
        _tune(sys.argv[1:] if arguments is None else list(arguments))
    except KgrecError as error:
        console.show_error(str(error))
        return error.exit_code
    return 0


def _tune(arguments: list[str]) -> None:
    parser = _Parser(
        prog="run_hyper",
        description="RecBole's tuning line, run by kgrec tune; any setting as --key=value.",
        allow_abbrev=False,
    )
    parser.add_argument("--model")
    parser.add_argument("--dataset")
    parser.add_argument("--config_files", help="settings files, separated by spaces")
    parser.add_argument("--params_file", required=True, help="the search space (hyper.test)")
    parser.add_argument("--output_file", default="hyper_example.result")
    parser.add_argument("--display_file", help="where to write the chart of the scores (HTML)")
    parser.add_argument("--tool", help="ignored: Optuna searches")
    known, others = parser.parse_known_args(arguments)
    if known.tool is not None:
        console.note(f"--tool={known.tool} is ignored: Optuna searches")
    for text in others:
        if not text.startswith("--") or "=" not in text:
            raise UsageError(f"run_hyper: found '{text}', expected --key=value")
    folder = Path()
    settings = resolve_settings(
        folder=folder,
        config_paths=[Path(name) for name in (known.config_files or "").split()],
        options={"model": known.model, "dataset": known.dataset},
        assignments=[text.removeprefix("--") for text in others],
        needs_dataset=True,
        on_note=console.note,
    )
    space_path = Path(known.params_file)
    with console.listening() as on_event:
        result = run_tune(
            settings, folder, space_path, early_stop=RECBOLE_EARLY_STOP, on_event=on_event
        )
    if result.best is None:
        raise KgrecError(f"{known.params_file}: no trial was completed")
    copies = {"result.txt": known.output_file, "chart.html": known.display_file}
    for name, target in copies.items():
        if target is not None:
            write_text(Path(target), (result.study_dir / name).read_text(encoding="utf-8"))
    console.say(f"best params:  {dict(result.best.params)}")
    console.say(f"best result:  {settings.valid_metric} {result.best.score}")
    console.say(f"all results: {known.output_file}")


if __name__ == "__main__":
    sys.exit(main())

"""The Typer app: one line per command, errors to one line, exit codes.

Importing this module loads neither torch, polars nor pykeen: a command's stage is imported in the
command's body.
"""

import os
import sys
from collections.abc import Callable, Sequence

import typer

from kgrec_cli import __version__, console, stopping, terminal
from kgrec_cli.commands import mistakes
from kgrec_cli.commands.command import Command, Group
from kgrec_cli.commands.compare import compare
from kgrec_cli.commands.config import config
from kgrec_cli.commands.demo import demo
from kgrec_cli.commands.doctor import doctor
from kgrec_cli.commands.estimate import estimate
from kgrec_cli.commands.evaluate import evaluate
from kgrec_cli.commands.export import export
from kgrec_cli.commands.graph import graph
from kgrec_cli.commands.import_weights import import_weights
from kgrec_cli.commands.prepare import prepare
from kgrec_cli.commands.pretrain_kg import pretrain_kg
from kgrec_cli.commands.recommend import recommend
from kgrec_cli.commands.report import report
from kgrec_cli.commands.runs import runs
from kgrec_cli.commands.serve import serve
from kgrec_cli.commands.train import train
from kgrec_cli.commands.tune import tune
from kgrec_cli.errors import KgrecError, Stopped, is_lack_of_memory, shorten

SPIN_COUNT = "1000"
"""How long torch's threads spin for each other before they sleep: briefly.

OpenMP's default is long: beside another busy program TransE took over 20 times as long
(docs/studies/2026-11-performance.md).
"""

app = typer.Typer(
    name="kgrec",
    cls=Group,
    help="From raw interactions and a knowledge graph to a trained, measured GRU4RecKG.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 120,
        "token_normalize_func": lambda name: name.replace("_", "-"),  # --learning_rate
    },
)
_commands: dict[str, tuple[Callable[..., None], str]] = {
    "prepare": (
        prepare,
        "kgrec prepare ml-100k\n"
        "kgrec prepare shop --raw clicks.csv --kg triples.tsv --links item2entity.tsv",
    ),
    "pretrain-kg": (pretrain_kg, "kgrec pretrain-kg --method TransE --validate"),
    "train": (train, "kgrec train --freeze-kg\nkgrec train --preset best --name mine -s seed=7"),
    "evaluate": (evaluate, "kgrec evaluate\nkgrec evaluate best -k 5,20 --per-user ranks.csv"),
    "compare": (compare, "kgrec compare best latest"),
    "tune": (
        tune,
        "kgrec tune hyper.test\nkgrec tune hyper.test --search tpe --max-trials 20 -j 2",
    ),
    "estimate": (
        estimate,
        "kgrec estimate\nkgrec estimate train --preset best\nkgrec estimate tune hyper.test -j 2",
    ),
    "recommend": (
        recommend,
        "kgrec recommend -u 42 --explain\n"
        'kgrec recommend -i "star wars" -i fargo\n'
        "kgrec recommend --all-users -o recs.parquet",
    ),
    "report": (report, "kgrec report\nkgrec report best latest -o two.html"),
    "serve": (serve, "kgrec serve best"),
    "export": (export, "kgrec export best -o weights.pth"),
    "import": (import_weights, "kgrec import saved/GRU4RecKG-Nov-26-2025.pth"),
    "graph": (graph, "kgrec graph\nkgrec graph shop --json"),
    "doctor": (doctor, "kgrec doctor\nkgrec doctor --system"),
    "demo": (demo, "kgrec demo"),
}
"""Each command and examples of it, a line each."""
_handed_on = {"ignore_unknown_options": True, "allow_interspersed_args": False}
for _name, (_function, _examples) in _commands.items():
    _context = _handed_on if _function is estimate else None
    app.command(_name, cls=Command, epilog=_examples, context_settings=_context)(_function)
app.add_typer(runs, name="runs", epilog="kgrec runs\nkgrec runs best")
app.add_typer(config, name="config", epilog="kgrec config show --changed")


def _show_version(wanted: bool) -> None:
    if wanted:
        console.say(f"kgrec {__version__}")
        raise typer.Exit


@app.callback()
def _kgrec(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits.

    The code is 0, 1 for a mistake, 2 for a usage error, 130 for Ctrl-C, 143 for SIGTERM.
    """
    stopping.install()
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)  # read by OpenMP when torch is loaded
    rank = os.environ.get("RANK", "")
    if "TORCHELASTIC_RUN_ID" in os.environ and rank.isdecimal() and int(rank) > 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the first one speaks
    code = run(sys.argv[1:] if arguments is None else list(arguments))
    signal_number = stopping.received()
    sys.exit(code if signal_number is None else 128 + signal_number)


def run(arguments: Sequence[str]) -> int:
    """Runs one command and returns its exit code; prints at most one line of error."""
    terminal.set_level(terminal.USUAL)
    try:
        code = int(app(args=list(arguments), prog_name="kgrec", standalone_mode=False) or 0)
        if code == Stopped.exit_code:  # what Typer makes of a KeyboardInterrupt
            console.show_error("stopped")
        return code
    except KgrecError as error:
        if str(error):  # empty where another process of this machine has said it
            console.show_error(str(error))
        cause = error.__cause__
        if cause is not None and terminal.level == terminal.VERBOSE:
            console.note(f"because of {type(cause).__name__}: {cause}")
        return error.exit_code
    except typer.Abort:
        console.show_error("stopped")
        return 130
    except typer.TyperException as error:
        return _show_usage_error(error, arguments)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        console.show_error("stopped")
        return 130
    except Exception as error:
        if is_lack_of_memory(error):
            console.show_error(f"not enough memory ({shorten(str(error) or 'none is left', 120)})")
            return KgrecError.exit_code
        if stopping.received() is None:
            raise
        console.show_error("stopped")  # a library made another error of the KeyboardInterrupt
        return 130


def _show_usage_error(error: typer.TyperException, arguments: Sequence[str]) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":  # its text is the whole help
        terminal.err().print(str(error), markup=False, soft_wrap=True)
        return 2
    line = mistakes.explain(error, arguments)
    if line:
        console.show_error(line)
    return int(getattr(error, "exit_code", 2))

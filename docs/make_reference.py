"""Writes what the docs take from the code (`make docs`); `--check`: is it up to date?

docs/cli.md and docs/settings.md altogether, and the list of files in docs/architecture.md.
"""

import ast
import subprocess
import sys
from pathlib import Path

from pydantic_core import PydanticUndefined

from kgrec_cli.recbole_keys import IGNORED, REFUSED
from kgrec_cli.settings import Settings

DOCS_DIR = Path(__file__).parent
PACKAGE_DIR = DOCS_DIR.parent / "kgrec_cli"
FILES_BEGIN, FILES_END = "<!-- files: made by `make docs` -->", "<!-- end of files -->"
NOTE = "<!-- Made by `make docs` from the code; do not edit. -->"

OWN = {
    "device": "auto, cpu, cuda or cuda:N",
    "threads": "CPU threads; null: torch's choice",
    "recbole_compat": "do what RecBole does wherever kgrec chose otherwise (see recbole.md)",
    "loss_type": "CE, BPR, or SSM: the softmax over the target and sampled negatives",
    "train_neg_sample_args": "null: BPR one uniform; SSM 4096 a step, popularity, alpha 0.75",
    "train_batching": "sequence: one pass per window; prefix: one row per target, as RecBole",
    "hidden_dropout_prob": "dropout on the GRUs' states, before the dense layer",
    "layer_norm": "the vector that scores the items is normalised (see accuracy.md)",
    "seen_bias": "a learned number for the items that the history holds (see accuracy.md)",
    "kg_items": "an item is also what a learned map makes of its entity vector (see accuracy.md)",
    "shuffle_ties": "events of equal time in a new order each epoch (see accuracy.md)",
    "ema_decay": "above 0: weights averaged over the last steps are kept (see accuracy.md)",
    "pretrain_kg": "the block of `kgrec pretrain-kg`",
    "model": "GRU4RecKG, or GRU4Rec: the same without the KG branch",
}
OLDER = {
    "training_neg_sample_num": "train_neg_sample_args: {distribution: uniform, sample_num: N}",
    "fields_in_same_space": "alias_of_entity_id",
    "use_gpu": "device: cpu when false",
}


def render_cli() -> str:
    """The reference of all commands and options."""
    command = [sys.executable, "-m", "typer", "kgrec_cli.cli", "utils", "docs", "--name", "kgrec"]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [line.rstrip() for line in finished.stdout.rstrip().splitlines()]
    return "\n".join([NOTE, "", *lines, ""])


def render_settings() -> str:
    """Every key that a settings file may hold, and what becomes of it."""
    lines = [NOTE, "", "# Settings", ""]
    lines += ["Keys of `kgrec.yaml`, `--config` files and `--set`. Names are RecBole's.", ""]
    lines += ["## Taken", "", "| key | default | remark |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = field.default
        if default is PydanticUndefined or name == "pretrain_kg":
            default = "a block"
        elif name == "eval_args":
            default = "{split: {LS: valid_and_test}, order: TO, mode: full, group_by: user}"
        elif isinstance(default, tuple):
            default = list(default)
        lines.append(f"| `{name}` | `{_yaml(default)}` | {OWN.get(name, '')} |")
    lines += ["", "`pretrain_kg:`", "", "| key | default |", "|---|---|"]
    for name, field in type(Settings().pretrain_kg).model_fields.items():
        lines.append(f"| `{name}` | `{_yaml(field.default)}` |")
    lines += ["", "## Older spellings, renewed", "", "| key | becomes |", "|---|---|"]
    lines += [f"| `{name}` | `{now}` |" for name, now in OLDER.items()]
    lines += ["", "## Left out, with a line", "", "| key | why nothing is lost |", "|---|---|"]
    lines += [f"| `{name}` | {why} |" for name, why in IGNORED.items()]
    lines += ["", "## Refused, unless at the value that changes nothing", ""]
    lines += ["| key | value taken | otherwise |", "|---|---|---|"]
    lines += [
        f"| `{name}` | `{_yaml(value)}` | {what} |" for name, (value, what) in REFUSED.items()
    ]
    return "\n".join(
        [*lines, "", "Any other key is an error that names the nearest valid one.", ""]
    )


def render_architecture() -> str:
    """docs/architecture.md with the list of the package's files, each with its first line."""
    text = (DOCS_DIR / "architecture.md").read_text(encoding="utf-8")
    before, _, rest = text.partition(FILES_BEGIN)
    _, _, after = rest.partition(FILES_END)
    return f"{before}{FILES_BEGIN}\n\n{_file_list(PACKAGE_DIR)}\n\n{FILES_END}{after}"


def _file_list(folder: Path, depth: int = 0) -> str:
    """The files of a folder, then its folders, a line each, in Markdown lists."""
    indent = "  " * depth
    files = sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")
    lines = [f"{indent}- `{path.name}`: {_first_line(path)}" for path in files]
    for inner in sorted(path.parent for path in folder.glob("*/__init__.py")):
        lines.append(f"{indent}- **`{inner.name}/`** {_first_line(inner / '__init__.py')}")
        lines.append(_file_list(inner, depth + 1))
    return "\n".join(line for line in lines if line)


def _first_line(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n\n")[0].replace("\n", " ")


def _yaml(value: object) -> str:
    texts = {None: "null", True: "true", False: "false", "\t": "TAB", " ": "SPACE"}
    return texts.get(value, str(value)) if isinstance(value, str | bool | None) else str(value)


if __name__ == "__main__":
    pages = {
        "cli.md": render_cli,
        "settings.md": render_settings,
        "architecture.md": render_architecture,
    }
    for page, render in pages.items():
        if "--check" not in sys.argv:
            (DOCS_DIR / page).write_text(render(), encoding="utf-8")
        elif (DOCS_DIR / page).read_text(encoding="utf-8") != render():
            sys.exit(f"docs/{page} is stale: run `make docs`")

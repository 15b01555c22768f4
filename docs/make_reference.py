"""Writes what the docs take from the code (`make docs`); `--check`: is it up to date?

docs/cli.md, docs/settings.md and docs/notebook.md (the page of docs/tutorial.ipynb) altogether, and
the list of files in docs/architecture.md.
"""

import ast
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml
from pydantic import BaseModel

from kgrec_cli.descriptions import DESCRIPTIONS, KGREC_ONLY
from kgrec_cli.recbole_keys import IGNORED, REFUSED, RENEWED
from kgrec_cli.setting_blocks import BLOCKS, NegativeSampling
from kgrec_cli.settings import PRESETS, SSM_NEGATIVES, Settings

DOCS_DIR = Path(__file__).parent
PACKAGE_DIR = DOCS_DIR.parent / "kgrec_cli"
BEGIN, END = "<!-- {}: made by `make docs` -->", "<!-- end of {} -->"
NOTE = "<!-- Made by `make docs` from the code; do not edit. -->"


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
    lines += [
        "Later ones win: defaults, the preset, `kgrec.yaml`, `--config` files in their order,"
    ]
    lines += ["options and `--set`. Any of them can name the preset: it changes defaults only.", ""]
    lines += ["## Taken", "", "RecBole does not have those with a *.", ""]
    lines += _table(Settings)
    for name, block in BLOCKS.items():
        lines += ["", f"`{name}:`", "", *_table(block, f"{name}.")]
        if block is NegativeSampling:
            lines += ["", f"Defaults with SSM: `{_yaml(SSM_NEGATIVES)}`."]
    lines += ["", "## Presets", ""]
    lines += [f"`preset: {name}`: `{_yaml(values)}`." for name, values in PRESETS.items()]
    lines += ["", "## Older spellings, renewed", "", "| key | becomes |", "|---|---|"]
    lines += [f"| `{name}` | `{now}` |" for name, now in RENEWED.items()]
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


def _table(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Each field of a block with its default and description, as a table in Markdown."""
    lines = ["| key | default | meaning |", "|---|---|---|"]
    for key, field in model.model_fields.items():
        name = prefix + key
        if field.is_required():
            default = "required"
        elif isinstance(field.default, BaseModel):
            default = "a block, below"
        else:
            default = f"`{_yaml(field.default)}`"
        star = " *" if name in KGREC_ONLY else ""
        lines.append(f"| `{key}`{star} | {default} | {DESCRIPTIONS[name]} |")
    return lines


def render_notebook() -> str:
    """The page of the notebook: its texts, its code and what that printed."""
    notebook = json.loads((DOCS_DIR / "tutorial.ipynb").read_text(encoding="utf-8"))
    blocks = [NOTE.replace("the code", "docs/tutorial.ipynb")]
    for cell in notebook["cells"]:
        source = "".join(cell["source"]).strip()
        blocks.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", ()):
            printed = output["text"] if "text" in output else output["data"]["text/plain"]
            blocks.append(f"```text\n{''.join(printed).rstrip()}\n```")
    return "\n\n".join([*blocks, ""])


def render_architecture() -> str:
    """docs/architecture.md with the import contract and the first line of each file."""
    text = (DOCS_DIR / "architecture.md").read_text(encoding="utf-8")
    for name, lines in (("contract", _contract()), ("files", _file_list(PACKAGE_DIR))):
        begin, end = BEGIN.format(name), END.format(name)
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}\n\n{lines}\n\n{end}{after}"
    return text


def _contract() -> str:
    """What import-linter checks, as pyproject.toml says it: one line per contract."""
    project = tomllib.loads((PACKAGE_DIR.parent / "pyproject.toml").read_text(encoding="utf-8"))
    lines = []
    for contract in project["tool"]["importlinter"]["contracts"]:
        line = f"- {contract['name']}"
        if contract["type"] == "layers":
            layers = (layer.replace("kgrec_cli.", "") for layer in contract["layers"])
            line += f": `{' -> '.join(layers)}`"
        lines.append(line)
    return "\n".join(lines)


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
    """A value as in a settings file, on one line; blanks by their names."""
    if isinstance(value, str):
        value = {"\t": "TAB", " ": "SPACE"}.get(value, value)
    value = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1000)
    return text.removesuffix("...\n").strip()


if __name__ == "__main__":
    pages = {
        "cli.md": render_cli,
        "settings.md": render_settings,
        "notebook.md": render_notebook,
        "architecture.md": render_architecture,
    }
    for page, render in pages.items():
        if "--check" not in sys.argv:
            (DOCS_DIR / page).write_text(render(), encoding="utf-8")
        elif (DOCS_DIR / page).read_text(encoding="utf-8") != render():
            sys.exit(f"docs/{page} is stale: run `make docs`")

"""YAML of settings, read safely and within bounds: what goes wrong is one line, and soon.

A few lines can stand for billions of values by aliases, and for a recursion without an end.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from kgrec_cli.errors import KgrecError, cannot_read, shorten

MAX_BYTES = 2**18
MAX_DEPTH = 20
MAX_VALUES = 10_000
"""Far above any settings file."""


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; an empty file is an empty mapping.

    Raises:
        KgrecError: The file is missing, not YAML, not a mapping, or larger than settings are.
    """
    text = read_bounded(path, "a settings file", "no such settings file")
    try:
        values = parse_yaml(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        number = mark.line if mark else text.count("\n", 0, getattr(error, "position", 0))
        where = f"{path}, line {number + 1}"
        hint = _interval_hint(text, error)
        raise KgrecError(f"{where}: not valid YAML: {yaml_problem(error)}{hint}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise KgrecError(f"{path}: expected lines of 'key: value', found {type(values).__name__}")
    return values


def read_bounded(path: Path, expected: str, missing: str) -> str:
    """The text of a UTF-8 file of at most `MAX_BYTES`; errors say what was expected, or missing.

    Raises:
        KgrecError: The file is missing, cannot be read, too large or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)  # some files have no end
        if len(data) > MAX_BYTES:
            raise KgrecError(f"{path}: over {MAX_BYTES:,} bytes; expected {expected}")
        return data.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise KgrecError(f"{path}: {missing}") from error
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise KgrecError(f"{path}, line {number}: not UTF-8; save the file as UTF-8") from error
    except (OSError, ValueError) as error:  # ValueError: a path with NUL
        raise cannot_read(path, error) from error


def _interval_hint(text: str, error: yaml.YAMLError) -> str:
    """A cure for [5,inf) without quotes: to YAML a list that does not end."""
    start = getattr(error, "context_mark", None)
    line = "".join(text.splitlines()[start.line : start.line + 1]) if start is not None else ""
    found = re.search(r"[\[(][^\[\](){}'\"]{1,40},[^\[\](){}'\"]{1,40}[)\]]", line)
    return f'; an interval stands in quotes: "{found[0]}"' if found else ""


class _Loader(yaml.SafeLoader):
    """YAML's safe loader: floats like 1e-3 are floats, as in RecBole, and no key stands twice.

    Values that only look like numbers or dates, and texts that stand for too much, are YAMLErrors.
    """

    depth = n_nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """The next node; counted here, before the loader recurses too far or works too long."""
        self.n_nodes += 1
        if self.depth > MAX_DEPTH or self.n_nodes > MAX_VALUES:
            raise yaml.MarkedYAMLError(problem=_TOO_MUCH, problem_mark=self.get_mark())
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """The next mapping."""
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    text = f"the key '{shorten(key.value)}' stands twice"
                    raise yaml.MarkedYAMLError(problem=text, problem_mark=key.start_mark)
                seen.add(key.value)
        return node

    def construct_document(self, node: yaml.Node) -> Any:
        """The value of a whole text."""
        _measure(node, {})
        return super().construct_document(node)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """The value of a node."""
        try:
            value = super().construct_object(node, deep=deep)
            _check_scalar(value)
            return value
        except (ValueError, TypeError, OverflowError, LookupError) as error:  # 2024-13-01, 0b_
            kind = node.tag.rpartition(":")[2]
            text = shorten(node.value) if isinstance(node, yaml.ScalarNode) else "what follows"
            problem = f"'{text}' is no valid {kind}; a text goes between quotes"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from error


def _check_scalar(value: Any) -> None:
    """Refuses by ValueError what no setting can be: half characters, NUL, more than 64 bits."""
    if isinstance(value, str):
        value.encode()
        if "\0" in value:
            raise ValueError
    elif isinstance(value, int) and value.bit_length() > 64:
        raise ValueError


_TOO_MUCH = f"over {MAX_VALUES:,} values or {MAX_DEPTH} levels"


def _measure(node: yaml.Node, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """How many values a node stands for, aliases written out, and how deep they lie.

    `known` has what came out for nodes (by id) before it, none yet for those that it is part of.

    Raises:
        yaml.YAMLError: More than settings have, or a node that holds itself.
    """
    if id(node) not in known:
        known[id(node)] = (MAX_VALUES + 1, 0)  # until it is known: a part of itself
        parts = node.value if isinstance(node, yaml.CollectionNode) else ()
        if isinstance(node, yaml.MappingNode):
            parts = [part for pair in parts for part in pair]
        measured = [_measure(part, known) for part in parts]
        n_values = 1 + sum(n for n, _ in measured)
        depth = 1 + max((depth for _, depth in measured), default=0)
        if n_values > MAX_VALUES or depth > MAX_DEPTH:
            problem = f"{_TOO_MUCH}, aliases written out"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        known[id(node)] = n_values, depth
    return known[id(node)]


def yaml_problem(error: yaml.YAMLError) -> str:
    """What PyYAML says is wrong, in one short line."""
    problem = getattr(error, "problem", None) or getattr(error, "reason", None)
    return shorten(str(problem or "cannot be parsed"), 120)


_Loader.yaml_implicit_resolvers = {
    first: list(resolvers) for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*)(\.\d*)?[eE][-+]?\d+$"),
    list("-+0123456789"),
)


def parse_yaml(text: str) -> Any:
    """The value of a YAML text, read safely; `1e-3` is a float.

    Raises:
        yaml.YAMLError: Not YAML, or YAML that stands for more than settings have.
    """
    return yaml.load(text, Loader=_Loader)

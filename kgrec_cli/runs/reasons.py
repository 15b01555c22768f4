"""An explanation in words: the history items that carry a score, and what the graph says."""

from collections.abc import Mapping

from kgrec_cli.core.linking.paths import Path
from kgrec_cli.errors import shorten
from kgrec_cli.runs.recommended import Explanation

SHOWN_PATHS = 2
NAME_WIDTH = 60
"""Of a longer title, the begin is enough within a sentence."""


def carriers_in_words(reason: Explanation, titles: Mapping[str, str]) -> str:
    """The history items that carry the score, and how far it falls without each."""
    shares = [f"{_name(item, titles)} +{reason.drops[item]:.2f}" for item in reason.carriers]
    return f"rests on: {'; '.join(shares) or 'no item of the history'}"


def paths_in_words(reason: Explanation, titles: Mapping[str, str], *, has_graph: bool) -> str:
    """The strongest paths, those through one value together; or why there is none."""
    if not has_graph:
        return "graph: there is none"
    if reason.entity is None:
        return "graph: the item has no entity in it"
    by_value: dict[tuple[str, str], list[str]] = {}
    borne_out = [path for path in reason.paths if path.is_borne_out]
    for path in borne_out or reason.paths:
        by_value.setdefault(_in_common(path), []).append(_name(path.item, titles))
    shown = [f"{before} {', '.join(items)}{after}" for (before, after), items in by_value.items()]
    mark = "graph" if borne_out else "graph only, the score does not rest on it"
    words = "; ".join(shown[:SHOWN_PATHS])
    return f"{mark}: {words}" if words else "graph: nothing shared with the history"


def _name(item: str, titles: Mapping[str, str]) -> str:
    return shorten(titles.get(item, item), NAME_WIDTH)


def _in_common(path: Path) -> tuple[str, str]:
    """The words before and after the history items of a path."""
    if not path.history_relation:
        return path.relation or "the same entity as", ""
    if path.history_relation != path.relation:
        theirs = path.history_relation.removesuffix(" of")
        return f"{path.relation} {path.label}, {theirs} of", ""
    if path.label == path.value:  # a token is no name: the relation says more
        return f"same {path.relation} as", f" ({path.value})"
    return f"{path.relation} {path.label}, as", ""

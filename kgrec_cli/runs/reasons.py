"""An explanation in words: the history items that carry a score, and what the graph says."""

from collections.abc import Mapping

from kgrec_cli.runs.recommended import Explanation

SHOWN_PATHS = 2


def carriers_in_words(reason: Explanation, titles: Mapping[str, str]) -> str:
    """The history items that carry the score, and how far it falls without each."""
    shares = [f"{titles.get(item, item)} +{reason.drops[item]:.2f}" for item in reason.carriers]
    return f"rests on: {'; '.join(shares) or 'no item of the history'}"


def paths_in_words(reason: Explanation, titles: Mapping[str, str], *, has_graph: bool) -> str:
    """The strongest paths, those through one value together; or why there is none."""
    if not has_graph:
        return "graph: there is none"
    if reason.entity is None:
        return "graph: the item has no entity in it"
    by_value: dict[str, list[str]] = {}
    borne_out = [path for path in reason.paths if path.is_borne_out]
    for path in borne_out or reason.paths:
        what = f"{path.relation} {path.label}," if path.history_relation else path.relation
        if path.history_relation:
            is_same = path.history_relation == path.relation
            what += " as" if is_same else f" {path.history_relation.removesuffix(' of')} of"
        items = by_value.setdefault(what or "the same entity as", [])
        items.append(titles.get(path.item, path.item))
    shown = [f"{what} {', '.join(items)}" for what, items in by_value.items()][:SHOWN_PATHS]
    mark = "graph" if borne_out else "graph only, the score does not rest on it"
    return f"{mark}: {'; '.join(shown)}" if shown else "graph: nothing shared with the history"

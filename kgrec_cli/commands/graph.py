"""`kgrec graph`: a data set named, `run_graph`, its card shown."""

from pathlib import Path
from typing import Any

from kgrec_cli import console
from kgrec_cli.commands import options as opt


def graph(
    dataset: opt.DatasetArgument = None,
    dataset_option: opt.DatasetOption = None,
    config: opt.Config = None,
    assignments: opt.Assignments = None,
    json_output: opt.Json = False,
) -> None:
    """Is a data set's knowledge graph worth it? What it reaches, and each relation's lift."""
    from kgrec_cli.config import resolve_settings
    from kgrec_cli.core.linking.names import short_iri
    from kgrec_cli.stages.graph import run_graph

    folder = Path()
    settings = resolve_settings(
        folder=folder,
        config_paths=config,
        options={"dataset": opt.one_dataset(dataset, dataset_option)},
        assignments=assignments,
        needs_dataset=True,
    )
    with console.listening(json_output) as on_event:
        result = run_graph(settings, folder, on_event=on_event)
    card = result.card
    if json_output:
        notes = [{"text": text, "cure": cure} for text, cure in result.notes]
        console.emit_json({"dataset": result.dataset, **card.as_json(), "notes": notes})
        return
    least, median, most = card.degrees
    of_items = f"of {card.items:,} items"
    rows = [
        ["items linked", f"{card.linked:,} {of_items}"],
        ["  to an entity with triples", f"{card.reached:,} ({card.reached / card.items:.1%})"],
        ["  that share no value with another", f"{card.alone:,}"],
        ["training interactions of these", f"{card.interactions_reached:.1%}"],
        ["triples", f"{card.triples:,}, {card.repeated:,} repeated"],
        ["entities", f"{card.entities:,} in {card.components:,} parts"],
        ["  items in the largest part", f"{card.in_largest:.1%}"],
        ["triples of an item", f"{least:,} to {most:,}, median {median:g}"],
    ]
    console.table(None, [result.dataset, ""], rows)
    names = ["relation", "items", "values", "lift", "95 %", ""]
    console.table(
        "relations, by lift",
        names,
        [
            _row(each, result.names.get(each.relation) or short_iri(each.relation))
            for each in card.relations
        ],
    )
    for hub in card.hubs:
        name = result.names.get(hub.entity, hub.entity)
        console.say(f"hub: {name}: {hub.items:,} items, {hub.degree:,} triples")
    for one, other in card.inverse:
        console.say(f"inverse: {one} and {other}")
    for text, cure in result.notes:
        console.say(text + (f": {cure}" if cure else ""))
    console.say("lift: common users of items that share a value, over chance (docs/graph.md)")


def _row(relation: Any, name: str) -> list[Any]:
    lift = relation.lift
    interval = "" if lift.low is None else f"{lift.low:.2f}-{lift.high:.2f}"
    number = "" if lift.lift is None else f"{lift.lift:.2f}"
    return [name, relation.items, relation.values, number, interval, lift.verdict]

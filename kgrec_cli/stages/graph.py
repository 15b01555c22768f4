"""`kgrec graph`: a data set in; what its graph reaches and what its relations may be worth, out."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from kgrec_cli.core.data.splits import Split
from kgrec_cli.core.linking.card import GraphCard, RelationCard, graph_card
from kgrec_cli.core.linking.lift import MAX_USERS, consumption
from kgrec_cli.dataset import files
from kgrec_cli.dataset.load import Dataset, load_dataset, split_dataset
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Note, OnEvent
from kgrec_cli.settings import Settings

MIN_ALONE = 0.1
MAX_NAMED = 4


@dataclass(frozen=True)
class GraphOnItems:
    """The card of a data set's graph.

    Attributes:
        dataset: The data set's name.
        card: The card.
        names: Name of an entity or relation by its token, where it has one.
        notes: What is odd, and a cure or "".
    """

    dataset: str
    card: GraphCard
    names: dict[str, str]
    notes: tuple[tuple[str, str], ...]


def run_graph(settings: Settings, folder: Path, *, on_event: OnEvent) -> GraphOnItems:
    """The card of a data set's graph.

    Raises:
        KgrecError: A file is missing or malformed, there is no graph, or no item is linked to it.
    """
    triples = files.read_kg(settings, folder).drop_nulls()
    path = files.atomic_path(settings, folder, "kg")
    if triples.is_empty():
        raise KgrecError(f"{path}: no triples; `kgrec prepare NAME --kg ...` brings a graph")
    dataset = load_dataset(settings, folder, on_event)
    if len(dataset.users) - 1 > MAX_USERS:
        text = f"lifts count a sample of {MAX_USERS:,} of {len(dataset.users) - 1:,} users"
        on_event(Note(text))
    card = build_card(dataset, split_dataset(settings, dataset), triples)
    if not card.reached:
        raise KgrecError(f"{path}: no item is linked to an entity with triples; see `kgrec doctor`")
    labels = files.read_labels(settings, folder).select("token", "label")
    return GraphOnItems(
        str(settings.dataset), card, dict(labels.iter_rows()), tuple(card_notes(card))
    )


def build_card(dataset: Dataset, split: Split, triples: pl.DataFrame) -> GraphCard:
    """The card of triples (head_id, relation_id, tail_id) by what a data set's users train on."""
    histories = dataset.histories
    is_training = np.arange(len(histories.items)) < split.train_end[histories.owners]
    items = histories.items[is_training].astype(np.int64) - 1
    users = histories.user_ids[histories.owners[is_training]].astype(np.int64)
    tokens = pl.Series("token", dataset.items.tokens[1:], dtype=pl.String)
    ids = tokens.to_frame().with_row_index("item").cast({"item": pl.Int64})
    links = pl.DataFrame(
        list(dataset.entities.items()), {"token": pl.String, "entity_id": pl.String}, orient="row"
    )
    linked = ids.join(links, on="token", maintain_order="left").select("item", "entity_id")
    return graph_card(triples, linked, consumption(items, users, len(tokens)))


def card_notes(card: GraphCard) -> list[tuple[str, str]]:
    """What is odd about a graph, a line each, and what to do about it ("" for nothing)."""
    notes = []
    useless = [each for each in card.relations if each.lift.verdict in ("nothing", "below")]
    if useless:
        drop = " ".join(
            f"--drop-relation {shlex.quote(each.relation)}" for each in useless[:MAX_NAMED]
        )
        text = "items that share a value have no more common users than chance has it, by "
        notes.append((text + _listed(useless), f"prepare with {drop} leaves them out"))
    if card.same:
        pairs = ", ".join(" and ".join(pair) for pair in card.same[:MAX_NAMED])
        notes.append((f"{len(card.same):,} pairs of relations say the same ({pairs})", ""))
    large = [hub for hub in card.hubs if 2 * hub.items > card.reached]
    if large:
        shown = ", ".join(f"{hub.entity} ({hub.items:,} items)" for hub in large[:MAX_NAMED])
        text = f"values of more than half of the {card.reached:,} items tell few apart: {shown}"
        limit = min(hub.degree for hub in large) - 1
        notes.append((text, f"prepare with --kg-max-degree {limit} leaves them out"))
    if card.alone >= max(1, MIN_ALONE * card.reached):
        text = f"{card.alone:,} of {card.reached:,} items share no value with another item"
        notes.append((text, ""))
    return notes


def _listed(cards: Sequence[RelationCard]) -> str:
    shown = [
        f"{card.relation} ({card.lift.lift:.2f} [{card.lift.low:.2f}, {card.lift.high:.2f}])"
        for card in cards[:MAX_NAMED]
    ]
    more = len(cards) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")

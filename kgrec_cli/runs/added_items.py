"""Items that were added to a data set after a run was trained, ranked by their entity alone.

With `kg_items` an item is scored by its embedding plus a projection of its entity vector. A new
item has no embedding; the projection remains.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from kgrec_cli.config import narrow
from kgrec_cli.core.data.histories import vocabulary_of
from kgrec_cli.core.model.gru4reckg import GRU4RecKG, ModelSettings, build_model
from kgrec_cli.dataset.features import read_vectors
from kgrec_cli.dataset.files import find_features, read_items, read_links
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Note, Warn, ignore_event
from kgrec_cli.runs.recommender import Recommender

Vectors = dict[str, Tensor]
CLOSE = 1e-6


def with_added_items(run: Recommender) -> Recommender:
    """The run with the new items of its data set behind its own; the run itself if there are none.

    New are items of `.item` that the run does not know and whose entity has a vector. Where vectors
    have changed since the training (new ones of `pretrain-kg`, or trained ones with `freeze_kg:
    false`), the projection means nothing for them: a note says so, and no item is added.
    """
    if not run.settings.kg_items or len(run.model.branches) == 1:
        return run
    try:
        catalogue = read_items(run.settings, run.folder)
        links = dict(read_links(run.settings, run.folder).iter_rows())
        known = set(run.item_tokens)
        listed = [token for token in catalogue["item_id"].to_list() if token not in known]
        new, vectors = _vectors_of(run, links, listed) if listed else ([], {})
    except KgrecError as error:
        run.on_event(Warn(f"no item is added to those of the training: {error}"))
        return run
    if not new:
        return run
    titles = dict(catalogue.select("item_id", "title").drop_nulls().iter_rows())
    return replace(
        run,
        items=vocabulary_of([*run.item_tokens, *new]),
        titles=run.titles | {token: titles[token] for token in new if token in titles},
        entities=run.entities | {token: links[token] for token in new if token in links},
        model=_extended(run, vectors, len(new)),
    )


def _vectors_of(
    run: Recommender, links: dict[str, str], listed: list[str]
) -> tuple[list[str], Vectors]:
    """Those of the listed items that have a vector, and the vectors of each branch, (n, width)."""
    of_branch: dict[str, dict[str, np.ndarray]] = {}
    for feature in find_features(run.settings, run.folder, ignore_event):
        if feature.name not in run.model.branches:
            continue
        row_of = dict(zip(*read_vectors(run.settings, feature), strict=True))
        trained = run.model.table_of(feature.name).weight.detach().cpu().numpy()
        keys = {item: item if feature.of_items else links.get(item, "") for item in listed}
        owners = dict(zip(run.item_tokens, trained[1:], strict=True))
        entities = {item: item for item in owners} if feature.of_items else run.entities
        pairs = [
            (vector, row_of[entities[item]])
            for item, vector in owners.items()
            if entities.get(item) in row_of and vector.any()
        ]
        if not pairs or any(
            now.shape != then.shape or not np.allclose(now, then, atol=CLOSE) for then, now in pairs
        ):
            run.on_event(
                Note(
                    f"{feature.path.name}: not the vectors that {run.run_dir.name} was trained "
                    "with, so items added since are not ranked"
                )
            )
            return [], {}
        of_branch[feature.name] = {item: row_of[key] for item, key in keys.items() if key in row_of}
    new = [item for item in listed if any(item in vectors for vectors in of_branch.values())]
    tables = {}
    for name, vectors in of_branch.items():
        nothing = np.zeros(run.model.table_of(name).embedding_dim, dtype=np.float32)
        rows = [vectors.get(item, nothing) for item in new]
        tables[name] = torch.from_numpy(np.array(rows, dtype=np.float32))
    return new, tables


def _extended(run: Recommender, vectors: Vectors, n_new: int) -> GRU4RecKG:
    """The model with rows for the new items: zeros as embedding, their vectors in the branches."""
    weights = run.model.state_dict()
    for name in run.model.branches:
        table = weights[f"{name}_embedding.weight"]
        rows = vectors.get(name, table.new_zeros(n_new, table.shape[1]))
        weights[f"{name}_embedding.weight"] = torch.cat([table, rows.to(table.device)])
    tables = {
        name: np.zeros(weights[f"{name}_embedding.weight"].shape, dtype=np.float32)
        for name in run.model.branches[1:]
    }
    device = run.model.item_embedding.weight.device
    n_items = len(run.items) + n_new
    model = build_model(narrow(run.settings, ModelSettings), n_items, tables, device)
    model.load_state_dict(weights)
    return model.eval()

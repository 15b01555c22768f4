"""The data and the cases of the parity suite.

Small enough for seconds, and free of the one thing that kgrec never does as RecBole: times that
float32 cannot tell apart. `toy` is tidy; `ragged` and `vector-only` have items without links,
entities without triples or vectors, repeated pairs and short histories; `renamed` has other field
names and separators; `bundled` is RecBole's own ml-100k, ties and all, its times replaced by their
dense ranks.
"""

import random
import shutil
from pathlib import Path
from typing import Any

import polars as pl

from kgrec_cli.formats.atomic import read_atomic

N_USERS, N_ITEMS, WIDTH = 60, 40, 16

MODEL: dict[str, Any] = {
    "embedding_size": WIDTH,
    "hidden_size": 24,
    "num_layers": 1,
    "dropout_prob": 0.0,
    "train_batch_size": 128,
    "MAX_ITEM_LIST_LENGTH": 10,
    "metric_decimal_place": 6,
    "topk": [5, 10],
    "valid_metric": "NDCG@10",
}
BPR: dict[str, Any] = {
    "loss_type": "BPR",
    "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1},
}
ALL_METRICS = [
    "Recall", "MRR", "NDCG", "Hit", "Precision", "MAP",
    "ItemCoverage", "AveragePopularity", "ShannonEntropy", "GiniIndex", "TailPercentage",
]  # fmt: skip


def _split(kind: str, value: Any, mode: Any = "full") -> dict[str, Any]:
    return {"eval_args": {"split": {kind: value}, "order": "TO", "mode": mode, "group_by": "user"}}


def _case(
    tell: list[str], *, dataset: str = "toy", warm_up: int = 0, **settings: Any
) -> dict[str, Any]:
    """One case: what RecBole is to tell, of which data, after how many epochs of training."""
    return {
        "dataset": dataset,
        "tell": tell,
        "warm_up": warm_up,
        "settings": {**MODEL, **settings},
    }


def _trained(tell: list[str], **settings: Any) -> dict[str, Any]:
    """A case whose scores are far apart: measured after two epochs of large steps."""
    return _case(tell, warm_up=2, learning_rate=0.02, **settings)


# RecBole's model asks for the vectors of `ent_id` by that name, so this one stays.
RENAMED_FIELDS: dict[str, Any] = {
    "USER_ID_FIELD": "member",
    "ITEM_ID_FIELD": "film",
    "RATING_FIELD": "stars",
    "TIME_FIELD": "at",
    "HEAD_ENTITY_ID_FIELD": "subject",
    "RELATION_ID_FIELD": "predicate",
    "TAIL_ENTITY_ID_FIELD": "object",
    "ENTITY_ID_FIELD": "thing",
    "field_separator": ",",
    "seq_separator": ";",
    "load_col": {
        "inter": ["member", "film", "stars", "at"],
        "kg": ["subject", "predicate", "object"],
        "link": ["film", "thing"],
        "vectors": ["ent_id", "vector"],
    },
    "alias_of_entity_id": ["ent_id"],
    "preload_weight": {"ent_id": "vector"},
    "additional_feat_suffix": ["vectors"],
}


CUT_FILES: dict[str, Any] = {
    "benchmark_filename": ["train", "valid", "test"],
    "alias_of_item_id": ["item_id_list"],
    "load_col": {
        "inter": ["user_id", "item_id_list", "item_id"],
        "kg": ["head_id", "relation_id", "tail_id"],
        "link": ["item_id", "entity_id"],
        "ent_feature": ["ent_id", "ent_vec"],
    },
}


RELATIONS: dict[str, Any] = {
    "additional_feat_suffix": ["rel_feature", "ent_feature"],
    "alias_of_relation_id": ["rel_id"],
    "preload_weight": {"rel_id": "rel_vec", "ent_id": "ent_vec"},
    "load_col": {
        "inter": ["user_id", "item_id", "rating", "timestamp"],
        "kg": ["head_id", "relation_id", "tail_id"],
        "link": ["item_id", "entity_id"],
        "ent_feature": ["ent_id", "ent_vec"],
        "rel_feature": ["rel_id", "rel_vec"],
    },
}
"""As on the pages of RecBole's models that read relation vectors, which GRU4RecKG does not."""


CASES: dict[str, dict[str, Any]] = {
    **{
        f"{loss}-{layers}-{'frozen' if freeze else 'free'}": _case(
            ["probe"], num_layers=layers, freeze_kg=freeze, **(BPR if loss == "bpr" else {})
        )
        for loss in ("ce", "bpr")
        for layers in (1, 2, 3)
        for freeze in (True, False)
    },
    "leave-one-out": _trained(["samples", "metrics"], metrics=ALL_METRICS),
    "ratio-811": _trained(
        ["samples", "metrics"], metrics=ALL_METRICS, **_split("RS", [0.8, 0.1, 0.1])
    ),
    "ratio-622": _trained(
        ["samples", "metrics"],
        metrics=ALL_METRICS,
        **{**_split("RS", [6, 2, 2]), "metric_decimal_place": 4},
    ),
    "untrained": _case(["metrics"], metrics=ALL_METRICS, seed=5),
    "ratio-no-test": _case(["samples"], **_split("RS", [0.9, 0.1, 0])),
    "valid-only": _case(["samples"], **_split("LS", "valid_only")),
    "test-only": _case(["samples"], **_split("LS", "test_only")),
    "uni20": _trained(["candidates"], **_split("LS", "valid_and_test", "uni20")),
    "uni100": _trained(["candidates"], **_split("LS", "valid_and_test", "uni100")),
    "pop20": _trained(["candidates"], **_split("LS", "valid_and_test", "pop20")),
    "epoch-ce": _case(["epochs"], freeze_kg=False),
    "epoch-frozen": _case(["epochs"], freeze_kg=True, num_layers=2, weight_decay=0.01),
    "epoch-bpr": _case(["epochs"], freeze_kg=False, **BPR),
    "epoch-clip": _case(["epochs"], clip_grad_norm={"max_norm": 0.05}),
    "epoch-unclipped": _case(["epochs"]),
    "fit": _case(["fit"], epochs=4, learning_rate=0.01, metrics=ALL_METRICS),
    "ragged": _case(["samples"], dataset="ragged"),
    "ragged-rating": _case(["samples"], dataset="ragged", val_interval={"rating": "[3,inf)"}),
    "ragged-times": _case(
        ["samples"], dataset="ragged", val_interval={"rating": "(1,5)", "timestamp": "[0,6e6]"}
    ),
    "ragged-at-least": _case(
        ["samples"],
        dataset="ragged",
        user_inter_num_interval="[5,inf)",
        item_inter_num_interval="[9,inf)",
    ),
    "ragged-between": _case(
        ["samples"],
        dataset="ragged",
        user_inter_num_interval="(3,20]",
        item_inter_num_interval="[5,20]",
    ),
    "ragged-first": _case(["samples"], dataset="ragged", rm_dup_inter="first"),
    "ragged-last": _case(["samples"], dataset="ragged", rm_dup_inter="last"),
    "ragged-all": _case(
        ["samples"],
        dataset="ragged",
        rm_dup_inter="last",
        val_interval={"rating": "[2,inf)"},
        user_inter_num_interval="[4,inf)",
        item_inter_num_interval="[3,inf)",
    ),
    "vector-only": _case(["samples"], dataset="vector-only"),
    "renamed": _case(["samples"], dataset="renamed", **RENAMED_FIELDS),
    "cut": _trained(["samples", "metrics"], dataset="cut", metrics=ALL_METRICS, **CUT_FILES),
    "relations": _case(["samples"], dataset="relations", **RELATIONS),
    "bundled": _case(["samples"], dataset="bundled", MAX_ITEM_LIST_LENGTH=20),
}


QUICK: dict[str, Any] = {**MODEL, "epochs": 1}
"""The settings of `run_recbole` on both sides."""


def write_toy(data_path: Path) -> None:
    """Writes `data_path/toy/toy.{inter,kg,link,ent_feature}`."""
    rng = random.Random(7)
    times = iter(rng.sample(range(1, 2**23), N_USERS * 30))
    events = []
    for user in range(N_USERS):
        events += _walk(rng, f"u{user}", rng.randint(3, 28), times)
    rng.shuffle(events)
    triples = {(f"e{item}", f"r{item % 3}", f"x{item % 7}") for item in range(N_ITEMS)}
    write_dataset(
        data_path / "toy",
        events,
        [(f"i{item}", f"e{item}") for item in range(N_ITEMS)],
        sorted(triples),
        [(f"e{item}", _vector(rng)) for item in range(N_ITEMS)],
    )


def write_ragged(data_path: Path) -> None:
    """Writes `data_path/ragged`, `vector-only` and, under other names, `renamed`.

    i0 to i4 have no link; i5 and i6 have one to entities without a triple; i7 and i8 have an entity
    without a vector; two links are of items that nobody met. One user has met unlinked items only.
    In `vector-only` the entity of i5 has a vector, which is enough for RecBole.
    """
    rng = random.Random(11)
    times = iter(rng.sample(range(1, 2**23), N_USERS * 30))
    events = []
    for user in range(N_USERS):
        events += _walk(rng, f"u{user}", 1 + user % 4 if user < 8 else rng.randint(5, 26), times)
    events += [("loner", f"i{step % 5}", 4, next(times)) for step in range(6)]
    rng.shuffle(events)
    links = [(f"i{item}", f"e{item}") for item in range(5, N_ITEMS + 2)]
    triples = [
        (f"e{item}", f"r{item % 3}", f"e{8 + item % 9}" if item % 2 else f"x{item % 7}")
        for item in range(7, N_ITEMS + 2)
    ]
    with_vector = [*(f"e{item}" for item in range(9, N_ITEMS)), "x1", "x2"]
    vectors = [(entity, _vector(rng)) for entity in with_vector]
    write_dataset(data_path / "ragged", events, links, triples, vectors)
    more_vectors = [*vectors, ("e5", _vector(rng))]
    write_dataset(data_path / "vector-only", events, links, triples, more_vectors)
    write_dataset(
        data_path / "renamed",
        events,
        links,
        triples,
        [(entity, text.replace(" ", ";")) for entity, text in vectors],
        heads={
            "inter": "member:token,film:token,stars:float,at:float",
            "link": "film:token,thing:token",
            "kg": "subject:token,predicate:token,object:token",
            "vectors": "ent_id:token,vector:float_seq",
        },
        separator=",",
    )


def write_cut(data_path: Path) -> None:
    """Writes `data_path/cut`: the toy data as samples, a file a part, all of them ready-made."""
    toy, cut = data_path / "toy", data_path / "cut"
    cut.mkdir()
    for suffix in ("kg", "link", "ent_feature"):
        shutil.copy(toy / f"toy.{suffix}", cut / f"cut.{suffix}")
    events = read_atomic(toy / "toy.inter", ["user_id", "item_id", "timestamp"]).sort("timestamp")
    samples = []
    for (user,), own in events.group_by("user_id", maintain_order=True):
        items = own["item_id"].to_list()
        for at in range(1, len(items)):
            before = " ".join(items[max(0, at - MODEL["MAX_ITEM_LIST_LENGTH"]) : at])
            part = "test" if at == len(items) - 1 else "valid" if at == len(items) - 2 else "train"
            samples.append((part, f"{user}\t{before}\t{items[at]}"))
    head = "user_id:token\titem_id_list:token_seq\titem_id:token"
    for part in ("train", "valid", "test"):
        lines = [head, *(row for own, row in samples if own == part)]
        (cut / f"cut.{part}.inter").write_text("\n".join([*lines, ""]))


def write_relations(data_path: Path) -> None:
    """Writes `data_path/relations`: the toy data, and a vector for each of its relations."""
    shutil.copytree(data_path / "toy", data_path / "relations")
    for path in (data_path / "relations").iterdir():
        path.rename(path.with_name(path.name.replace("toy.", "relations.")))
    rng = random.Random(17)
    lines = ["rel_id:token\trel_vec:float_seq", *(f"r{n}\t{_vector(rng)}" for n in range(3)), ""]
    (data_path / "relations" / "relations.rel_feature").write_text("\n".join(lines))


def write_bundled(data_path: Path, example_dir: Path) -> None:
    """Writes `data_path/bundled`: RecBole's ml-100k with dense ranks as times, and some vectors."""
    inter = read_atomic(
        example_dir / "ml-100k.inter", ["user_id", "item_id", "rating", "timestamp"]
    ).with_columns(pl.col("timestamp").rank("dense").cast(pl.Int64))
    links = read_atomic(example_dir / "ml-100k.link", ["item_id", "entity_id"])
    triples = read_atomic(example_dir / "ml-100k.kg", ["head_id", "relation_id", "tail_id"])
    rng = random.Random(13)
    vectors = [(entity, _vector(rng)) for entity in links["entity_id"]]
    write_dataset(data_path / "bundled", inter.rows(), links.rows(), triples.rows(), vectors)


def _walk(rng: random.Random, user: str, n_events: int, times: Any) -> list[tuple[Any, ...]]:
    """Events of one user: mostly on to the next item, sometimes anywhere, sometimes back."""
    place, events = rng.randrange(N_ITEMS), []
    for _ in range(n_events):
        place = (place + rng.choice([0, 1, 1, 1, 2, 7, rng.randrange(N_ITEMS)])) % N_ITEMS
        events.append((user, f"i{place}", rng.randint(1, 5), next(times)))
    return events


def _vector(rng: random.Random) -> str:
    return " ".join(f"{rng.gauss(0, 0.3):.6f}" for _ in range(WIDTH))


HEADS = {
    "inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float",
    "link": "item_id:token\tentity_id:token",
    "kg": "head_id:token\trelation_id:token\ttail_id:token",
    "ent_feature": "ent_id:token\tent_vec:float_seq",
}


def write_dataset(
    folder: Path,
    *tables: list[tuple[Any, ...]],
    heads: dict[str, str] = HEADS,
    separator: str = "\t",
) -> None:
    """Writes one atomic file for each of `heads`, in the order of `tables`."""
    folder.mkdir(parents=True)
    for (suffix, head), rows in zip(heads.items(), tables, strict=True):
        lines = [head, *(separator.join(map(str, row)) for row in rows)]
        text = "\n".join([*lines, ""])
        (folder / f"{folder.name}.{suffix}").write_text(text, encoding="utf-8")

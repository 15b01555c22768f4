"""The data and the cases of the parity suite.

Small enough for seconds, and free of what RecBole is known to do otherwise: no two events at one
time, no time beyond float32, every item linked to an entity with triples.
"""

import random
from pathlib import Path
from typing import Any

N_USERS, N_ITEMS, WIDTH = 60, 40, 16

MODEL = {
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
BPR = {"loss_type": "BPR", "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}}
ALL_METRICS = [
    "Recall", "MRR", "NDCG", "Hit", "Precision", "MAP",
    "ItemCoverage", "AveragePopularity", "ShannonEntropy", "GiniIndex", "TailPercentage",
]  # fmt: skip


def _split(kind: str, value: Any, mode: Any = "full") -> dict[str, Any]:
    return {"eval_args": {"split": {kind: value}, "order": "TO", "mode": mode, "group_by": "user"}}


def _case(tell: list[str], **settings: Any) -> dict[str, Any]:
    return {"tell": tell, "settings": {**MODEL, **settings}}


CASES: dict[str, dict[str, Any]] = {
    **{
        f"{loss}-{layers}-{'frozen' if freeze else 'free'}": _case(
            ["probe"], num_layers=layers, freeze_kg=freeze, **(BPR if loss == "bpr" else {})
        )
        for loss in ("ce", "bpr")
        for layers in (1, 2, 3)
        for freeze in (True, False)
    },
    "leave-one-out": _case(["samples", "metrics"], metrics=ALL_METRICS),
    "ratio-811": _case(
        ["samples", "metrics"], metrics=ALL_METRICS, **_split("RS", [0.8, 0.1, 0.1])
    ),
    "ratio-622": _case(["samples", "metrics"], metrics=ALL_METRICS, **_split("RS", [6, 2, 2])),
    "valid-only": _case(["samples"], **_split("LS", "valid_only")),
    "uni20": _case(["candidates"], **_split("LS", "valid_and_test", "uni20")),
    "epoch-ce": _case(["epoch"], freeze_kg=False),
    "epoch-frozen": _case(["epoch"], freeze_kg=True, num_layers=2, weight_decay=0.01),
    "fit": _case(["fit"], epochs=4, learning_rate=0.01, metrics=ALL_METRICS),
}


def write_toy(data_path: Path) -> None:
    """Writes `data_path/toy/toy.{inter,kg,link,ent_feature}`."""
    rng = random.Random(7)
    folder = data_path / "toy"
    folder.mkdir(parents=True)
    events = []
    times = iter(rng.sample(range(1, 2**23), N_USERS * 30))
    for user in range(N_USERS):
        place = rng.randrange(N_ITEMS)
        for _ in range(rng.randint(3, 28)):
            place = (place + rng.choice([1, 1, 1, 2, 7, rng.randrange(N_ITEMS)])) % N_ITEMS
            events.append((f"u{user}", f"i{place}", rng.randint(1, 5), next(times)))
    rng.shuffle(events)
    _write(
        folder / "toy.inter",
        "user_id:token\titem_id:token\trating:float\ttimestamp:float",
        events,
    )
    _write(
        folder / "toy.link",
        "item_id:token\tentity_id:token",
        [(f"i{item}", f"e{item}") for item in range(N_ITEMS)],
    )
    triples = {(f"e{item}", f"r{item % 3}", f"x{item % 7}") for item in range(N_ITEMS)}
    _write(folder / "toy.kg", "head_id:token\trelation_id:token\ttail_id:token", sorted(triples))
    vectors = [
        (f"e{item}", " ".join(f"{rng.gauss(0, 0.3):.6f}" for _ in range(WIDTH)))
        for item in range(N_ITEMS)
    ]
    _write(folder / "toy.ent_feature", "ent_id:token\tent_vec:float_seq", vectors)


def _write(path: Path, head: str, rows: list[tuple[Any, ...]]) -> None:
    lines = [head, *("\t".join(map(str, row)) for row in rows)]
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")

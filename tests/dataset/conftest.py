"""A small data set in atomic files, written and loaded."""

from pathlib import Path

import pytest

from kgrec_cli.dataset.load import Dataset, load_dataset
from kgrec_cli.events import Event, Note
from kgrec_cli.settings import Settings

ROWS = [
    ("a", "x", 5, 10),
    ("a", "y", 3, 20),
    ("a", "z", 4, 30),
    ("b", "x", 2, 10),
    ("b", "y", 5, 20),
    ("a", "x", 1, 40),
    ("c", "w", 4, 50),
]


def write(folder: Path, suffix: str, head: str, rows, separator: str = "\t") -> None:
    dataset_dir = folder / "dataset" / "toy"
    dataset_dir.mkdir(parents=True, exist_ok=True)
    lines = [head.replace("\t", separator), *(separator.join(map(str, row)) for row in rows)]
    (dataset_dir / f"toy.{suffix}").write_text("\n".join([*lines, ""]))


INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "inter", INTER, ROWS)
    write(
        tmp_path, "link", "item_id:token\tentity_id:token", [("x", "ex"), ("y", "ey"), ("z", "ez")]
    )
    write(tmp_path, "kg", "head_id:token\trelation_id:token\ttail_id:token", [("ex", "r", "ey")])
    vectors = [("ex", "1 2"), ("ey", "3 4"), ("ez", "5 6")]
    write(tmp_path, "ent_feature", "ent_id:token\tent_vec:float_seq", vectors)
    return tmp_path


def load(folder: Path, **changes: object) -> tuple[Dataset, list[str]]:
    events: list[Event] = []
    settings = Settings(dataset="toy", embedding_size=2, **changes)
    dataset = load_dataset(settings, folder, events.append)
    return dataset, [event.text for event in events if isinstance(event, Note)]


def histories(dataset: Dataset) -> dict[str, list[str]]:
    found = dataset.histories
    return {
        dataset.users.tokens[user]: [
            dataset.items.tokens[item]
            for item in found.items[found.offsets[index] : found.offsets[index + 1]]
        ]
        for index, user in enumerate(found.user_ids)
    }


SAMPLES = "user_id:token\titem_id_list:token_seq\titem_id:token"


def write_samples(folder: Path) -> None:
    write(folder, "train.inter", SAMPLES, [("a", "x", "y"), ("b", "x y", "z"), ("a", "x y", "z")])
    write(folder, "valid.inter", SAMPLES, [("a", "x y z", "w")])
    write(folder, "test.inter", SAMPLES, [("a", "x y z w", "v"), ("b", "x y z", "x")])

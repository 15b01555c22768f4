"""RecBole's habits: which rows its filters keep, how it reads values of files and command lines."""

import json
import math
import subprocess
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from benchmarks.recbole_side.data import HEADS, write_dataset
from benchmarks.recbole_side.run import RECBOLE_PYTHON
from kgrec_cli.config import build_settings, resolve_settings
from kgrec_cli.dataset.load import load_dataset
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Note, Warn
from kgrec_cli.intervals import parse_intervals
from kgrec_cli.recbole_keys import translate

pytestmark = pytest.mark.parity

N_USERS, N_ITEMS = 14, 12
SIDES = {
    **HEADS,
    "user": "user_id:token\tage:float\tgender:token",
    "item": "item_id:token\tprice:float\tkind:token_seq",
}
COUNTS = {"user_inter_num_interval": "[5,inf)", "item_inter_num_interval": "[6,inf)"}
# The files without the last users and items, RecBole's default: what they lack is dropped.
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "default": ("sides", {}),
    "true": ("sides", {"filter_inter_by_user_or_item": True}),
    "false": ("sides", {"filter_inter_by_user_or_item": False}),
    "not-loaded": ("sides", {"load_col": {
        "inter": ["user_id", "item_id", "timestamp"], "kg": "*", "link": "*", "ent_feature": "*"}}),
    "users-loaded": ("sides", {"load_col": {
        "inter": "*", "kg": "*", "link": "*", "ent_feature": "*", "user": ["user_id"]}}),
    "age": ("sides", {"val_interval": {"age": "[3,8]"}}),
    "age-kept": ("sides", {
        "val_interval": {"age": "[3,8]"}, "filter_inter_by_user_or_item": False}),
    "age-and-price": ("sides", {"val_interval": {"age": "(2,inf)", "price": "(-inf,4);(4,inf)"}}),
    "rating-and-price": ("sides", {"val_interval": {"rating": "[2,inf)", "price": "[0,7]"}}),
    "list-of-numbers": ("sides", {"val_interval": {"rating": [2, 4]}}),
    "tokens": ("sides", {"val_interval": {"gender": ["F", "X"]}}),
    "users-by-token": ("sides", {"val_interval": {"user_id": ["u1", "u2", "u13", "nobody"]}}),
    "items-by-token": ("sides", {"val_interval": {"item_id": ["i1", "i2", "i3", "i11"]}}),
    "counts": ("sides", COUNTS),
    "counts-kept": ("sides", {
        "item_inter_num_interval": "[11,inf)", "filter_inter_by_user_or_item": False}),
    "all": ("sides", {"user_inter_num_interval": "[3,inf)", "rm_dup_inter": "last",
        "val_interval": {"rating": "[2,inf)", "age": "[1,11]", "price": "[1,inf)"}}),
    "interval-list": ("sides", {"user_inter_num_interval": [7, 11]}),
    "no-user": ("user-holes", {}),
    "no-user-false": ("user-holes", {"filter_inter_by_user_or_item": False}),
    "no-user-counts": ("user-holes", COUNTS),
    "no-item": ("item-holes", {}),
    "no-item-false": ("item-holes", {"filter_inter_by_user_or_item": False}),
}  # fmt: skip
REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "no-such-column": ("sides", {"val_interval": {"agee": "[3,8]"}}),
    "not-in-load_col": ("sides", {"val_interval": {"age": "[3,8]"}, "load_col": {
        "inter": "*", "kg": "*", "link": "*", "ent_feature": "*"}}),
    "interval-of-tokens": ("sides", {"val_interval": {"gender": "[3,8]"}}),
    "nothing-left": ("sides", {"val_interval": {"age": "[300,800]"}}),
    "two-parts": ("parts", {
        "benchmark_filename": ["train", "test"], "alias_of_item_id": ["item_id_list"]}),
}  # fmt: skip
TYPED = [
    "--user_inter_num_interval=[2,inf)", "--user_inter_num_interval=[2,5]",
    "--user_inter_num_interval=(2,5)", "--user_inter_num_interval=[2,3);[5,inf)",
    "--val_interval={'rating': '[4,inf)'}", "--train_neg_sample_args=None", "--load_col=None",
    "--field_separator= ", "--field_separator=,", "--field_separator=|", "--field_separator=;",
    '--field_separator="\\t"', "--seq_separator=;", "--epochs=3", "--learning_rate=1e-3",
    "--freeze_kg=False", "--freeze_kg=false", "--topk=[5,10]", "--metrics=['NDCG', 'Hit']",
    "--data_path=some/where", "--valid_metric=MRR@10", "--clip_grad_norm={'max_norm': 5}",
    "--eval_args={'split':{'LS':'valid_only'},'order':'TO','mode':'uni100'}",
]  # fmt: skip
INTERVALS = [[20, 1500], [5, math.inf], "[5,inf)", "(2, 5]", "(-inf,4);(4,inf)", "[0,0]"]


def write_sides(data_path: Path) -> None:
    """Writes `sides`, and the same with rows that have no user, or with rows that have no item.

    (RecBole drops wrong rows where one file has both: it takes row labels for positions.)

    `.user` lacks u12 and u13, `.item` i10 and i11. A line has no id in each, and one id stands
    twice: its first line counts.
    """
    events = [
        (f"u{user}", f"i{(user * 5 + step * (1 + user % 3)) % N_ITEMS}", 1 + (user + step) % 5,
         1000 + 20 * user + step)
        for user in range(N_USERS)
        for step in range(5 + 2 * (user % 6))
    ]  # fmt: skip
    links = [(f"i{item}", f"e{item}") for item in range(N_ITEMS)]
    triples = [(f"e{item}", "r", f"x{item % 3}") for item in range(N_ITEMS)]
    vectors = [(f"e{item}", "0.5 1.5") for item in range(N_ITEMS)]
    users = [(f"u{user}", user, "FMX"[user % 3]) for user in range(N_USERS - 2)]
    items = [(f"i{item}", item, "a b") for item in range(N_ITEMS - 2)]
    users += [("", 5, "F"), ("u1", 99, "M")]
    items += [("", 5, "a"), ("i1", 99, "c")]
    tables = (links, triples, vectors, users, items)
    write_dataset(data_path / "sides", events, *tables, heads=SIDES)
    no_user = [("", *event[1:]) if row % 7 == 3 else event for row, event in enumerate(events)]
    no_item = [
        (event[0], "", *event[2:]) if row % 9 == 4 else event for row, event in enumerate(events)
    ]
    write_dataset(data_path / "user-holes", no_user, *tables, heads=SIDES)
    write_dataset(data_path / "item-holes", no_item, *tables, heads=SIDES)
    samples = {f"{part}.inter": "user_id:token\titem_id_list:token_seq\titem_id:token"
               for part in ("train", "test")}  # fmt: skip
    rows = [("u1", "i1 i2", "i3"), ("u2", "i2", "i4")]
    kg = {suffix: SIDES[suffix] for suffix in ("link", "kg", "ent_feature")}
    of_four = [table[1:5] for table in (links, triples, vectors)]  # all items are in the samples
    write_dataset(data_path / "parts", rows, rows, *of_four, heads=samples | kg)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("habits")
    write_sides(folder / "dataset")
    (folder / "recbole").mkdir()
    return folder


@pytest.fixture(scope="module")
def told(folder: Path) -> dict[str, Any]:
    """What RecBole makes of all of it."""
    job = {
        "data_path": str(folder / "dataset"),
        "work_dir": str(folder / "recbole"),
        "out": str(folder / "told.json"),
        "rows": {**ROWS, **REFUSED},
        "typed": TYPED,
        "intervals": INTERVALS,
    }
    (folder / "job.json").write_text(json.dumps(job))
    script = Path(__file__).parents[2] / "benchmarks" / "recbole_side" / "habits.py"
    finished = subprocess.run(
        [RECBOLE_PYTHON, script, folder / "job.json"], capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    answer: dict[str, Any] = json.loads((folder / "told.json").read_text())
    return answer


def ours(folder: Path, case: tuple[str, dict[str, Any]]) -> tuple[list[list[str]], list[str]]:
    """User and item of every interaction that kgrec keeps, and what it says of the others."""
    name, values = case
    settings = build_settings(
        {"recbole_compat": True, **translate(values, "", print), "dataset": name}, name
    )
    events: list[Any] = []
    dataset = load_dataset(settings, folder, events.append)
    histories = dataset.histories
    users = [dataset.users.tokens[user] for user in histories.user_ids[histories.owners]]
    items = [dataset.items.tokens[item] for item in histories.items]
    texts = [event.text for event in events if isinstance(event, Note | Warn)]
    return [list(row) for row in zip(users, items, strict=True)], texts


@pytest.mark.parametrize("name", ROWS)
def test_the_rows_that_recbole_keeps(folder: Path, told: dict[str, Any], name: str) -> None:
    theirs = told["rows"][name]
    assert "error" not in theirs, theirs
    found, texts = ours(folder, ROWS[name])
    assert sorted(found) == sorted(theirs)
    n_lines = len(
        (folder / f"dataset/{ROWS[name][0]}/{ROWS[name][0]}.inter").read_text().split("\n")
    )
    dropped = any("dropped" in text for text in texts)
    assert dropped == (len(found) < n_lines - 2)  # never in silence


def test_no_two_filters_leave_the_same_rows(told: dict[str, Any]) -> None:
    """Guards the test above; these four are the same on purpose."""
    same = {"true": "default", "not-loaded": "false", "age-kept": "false"}
    names = [name for name in ROWS if name not in same]
    kept = {name: tuple(sorted(map(tuple, told["rows"][name]))) for name in names}
    assert len(set(kept.values())) == len(names)
    for name, other in same.items():
        assert told["rows"][name] == told["rows"][other]


@pytest.mark.parametrize("name", REFUSED)
def test_both_refuse(folder: Path, told: dict[str, Any], name: str) -> None:
    assert "error" in told["rows"][name]
    with pytest.raises(KgrecError) as caught:
        ours(folder, REFUSED[name])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", TYPED)
def test_what_is_typed_is_read_as_recbole_reads_it(told: dict[str, Any], text: str) -> None:
    """As a setting: its value is what RecBole's own value makes in a file."""
    key, _, value = text.removeprefix("--").partition("=")
    more = {"loss_type": "BPR"} if key == "train_neg_sample_args" else {}
    theirs = told["typed"][text]["value"]
    if key == "user_inter_num_interval" and isinstance(theirs, list):
        theirs = f"({','.join(map(str, theirs))})" if "(" in text else theirs  # JSON has no tuple
    expected = build_settings({**translate({key: theirs}, "", print), **more}, "theirs")
    found = resolve_settings(folder=Path("nowhere"), assignments=[f"{key}={value}"], values=more)
    assert getattr(found, key) == getattr(expected, key)


def test_intervals_have_recboles_ends(told: dict[str, Any]) -> None:
    for value, theirs in zip(INTERVALS, told["intervals"], strict=True):
        text = build_settings({"user_inter_num_interval": value}, "").user_inter_num_interval
        found = [
            ["[" if each.has_low else "(", each.low, each.high, "]" if each.has_high else ")"]
            for each in parse_intervals(str(text))
        ]
        assert found == theirs
    assert pl.DataFrame({"n": [2, 5, 6]}).filter(
        parse_intervals("(2, 5]")[0].contains(pl.col("n"))
    )["n"].to_list() == [5]

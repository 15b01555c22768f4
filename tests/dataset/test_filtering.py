"""Filters by the files of users and items, rows without an id, separators: as RecBole, and said."""

from pathlib import Path
from typing import Any

import pytest

from kgrec_cli.dataset.files import find_features
from kgrec_cli.dataset.load import load_dataset
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Event, Note, Warn
from kgrec_cli.settings import Settings

HEADS = {
    "inter": "user_id:token\titem_id:token\tstars:float\ttimestamp:float",
    "user": "user_id:token\tage:float\tgender:token",
    "item": "item_id:token\tprice:float\tkind:token_seq",
}
INTER = [
    ("a", "x", 1, 1), ("a", "y", 2, 2), ("b", "x", 3, 3), ("b", "y", 4, 4),
    ("c", "z", 5, 5), ("c", "w", 5, 6), ("d", "z", 5, 7), ("d", "w", 5, 8),
]  # fmt: skip


def write(folder: Path, suffix: str, rows: list[tuple[Any, ...]], head: str | None = None) -> Path:
    path = folder / "dataset" / "toy" / f"toy.{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [head or HEADS[suffix], *("\t".join(map(str, row)) for row in rows)]
    path.write_text("\n".join([*lines, ""]))
    return path


def load(folder: Path, **changes: Any) -> tuple[list[tuple[str, str]], list[Event]]:
    """User and item of the interactions that are kept, and what was said."""
    events: list[Event] = []
    dataset = load_dataset(Settings(dataset="toy", **changes), folder, events.append)
    histories = dataset.histories
    users = [dataset.users.tokens[user] for user in histories.user_ids[histories.owners]]
    return list(zip(users, (dataset.items.tokens[i] for i in histories.items), strict=True)), events


def texts(events: list[Event], kind: type[Note] | type[Warn]) -> list[str]:
    return [event.text for event in events if isinstance(event, kind)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight interactions; `.item` lacks y, `.user` has everybody."""
    write(tmp_path, "inter", INTER)
    write(tmp_path, "user", [(u, n, "FM"[n % 2]) for n, u in enumerate("abcd")])
    write(tmp_path, "item", [("x", 1, "p"), ("z", 2, "q r"), ("w", 3, "p")])
    return tmp_path


def test_items_that_the_item_file_lacks_are_kept_by_default(folder: Path) -> None:
    kept, events = load(folder)
    assert len(kept) == 8
    (line,) = (text for text in texts(events, Note) if "lacks" in text)
    assert line.startswith("toy.item lacks 1 of 4 items: RecBole would drop their 2 interactions")
    assert len(load(folder, recbole_compat=True, model="GRU4Rec")[0]) == 6


def test_items_that_the_item_file_lacks_go_with_a_warning(folder: Path) -> None:
    kept, events = load(folder, filter_inter_by_user_or_item=True)
    assert [item for _, item in kept] == ["x", "x", "z", "w", "z", "w"]
    (line,) = texts(events, Warn)
    assert line.startswith("toy.item lacks 1 of 4 items: 2 interactions dropped, as in RecBole")
    _, events = load(folder, val_interval={"price": "(1,inf)"})  # asks for it, too
    assert texts(events, Warn) == [line]
    assert "1 items that val_interval drops from toy.item: 2 interactions dropped" in (
        texts(events, Note)
    )
    kept, events = load(folder, filter_inter_by_user_or_item=False)
    assert len(kept) == 8
    assert texts(events, Warn) == []


def test_the_counts_come_after_the_files(folder: Path) -> None:
    """Without y, users a and b have one row each: of eight rows four stay."""
    counts = {"user_inter_num_interval": "[2,inf)", "item_inter_num_interval": "[2,inf)"}
    kept, _ = load(folder, filter_inter_by_user_or_item=True, **counts)
    assert kept == [("c", "z"), ("c", "w"), ("d", "z"), ("d", "w")]
    assert len(load(folder, filter_inter_by_user_or_item=False, **counts)[0]) == 8


def test_a_file_that_load_col_leaves_out_filters_nothing(folder: Path) -> None:
    inter = ["user_id", "item_id", "timestamp"]
    drop = {"filter_inter_by_user_or_item": True}
    assert len(load(folder, load_col={"inter": inter}, **drop)[0]) == 8
    assert len(load(folder, load_col={"inter": inter, "item": ["item_id"]}, **drop)[0]) == 6
    assert len(load(folder, unload_col={"item": ["item_id"]}, **drop)[0]) == 8


@pytest.mark.parametrize(
    ("rule", "users"),
    [
        ({"age": "[1,2]"}, "bcc"),
        ({"age": "[0,0]", "price": "(1,inf)"}, ""),
        ({"price": "(1,2]"}, "cd"),
        ({"gender": ["F"]}, "acc"),
        ({"gender": ["F"], "stars": "[5,5]"}, "cc"),
        ({"user_id": ["b", "d"]}, "bdd"),
        ({"item_id": ["w"]}, "cd"),
        ({"stars": ["1", "3"]}, "ab"),
    ],
)
def test_values_of_users_and_items_filter(folder: Path, rule: Any, users: str) -> None:
    if not users:
        with pytest.raises(KgrecError, match="the filters leave no interaction"):
            load(folder, val_interval=rule)
        return
    kept, events = load(folder, val_interval=rule, filter_inter_by_user_or_item=True)
    assert "".join(user for user, _ in kept) == users
    assert any("dropped" in text for text in texts(events, Note) + texts(events, Warn))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"val_interval": {"aeg": "[1,2]"}}, "unknown column 'aeg': did you mean 'age'?"),
        ({"val_interval": {"age": "[1,2]"}, "load_col": {"inter": ["user_id", "item_id"]}},
         "age is a column of toy.user: name it in load_col"),
        ({"val_interval": {"gender": "[1,2]"}}, "gender is a token column: give the tokens"),
        ({"val_interval": {"kind": ["p"]}}, "kind is a token_seq column: not supported"),
        ({"val_interval": {"age": ["a", "b"]}}, "age: found '[a,b]', expected an interval"),
    ],
)  # fmt: skip
def test_a_filter_that_fits_no_column_is_one_line(
    folder: Path, changes: Any, expected: str
) -> None:
    with pytest.raises(KgrecError) as caught:
        load(folder, **changes)
    assert expected in str(caught.value)


def test_rows_without_a_user_or_an_item_go_with_a_warning(folder: Path) -> None:
    rows = [("a", "", 1, 0), ("", "x", 1, 1), ("", "", 1, 2), ("a", "x", 1, 3)]
    write(folder, "inter", rows)
    kept, events = load(folder)
    assert kept == [("a", "x")]
    (line,) = texts(events, Warn)
    assert line.startswith("toy.inter: 3 of 4 rows have no user or no item (first: line 2)")
    write(folder, "inter", rows[:3])
    with pytest.raises(KgrecError, match="no row names both a user and an item"):
        load(folder)


def test_ids_that_look_missing_are_ids(folder: Path) -> None:
    """RecBole reads them by pandas, to which they are missing values."""
    rows = [("NA", "x", 1, 1), ("NA", "null", 1, 2), ("nan", "None", 1, 3), ("nan", "x", 1, 4)]
    write(folder, "inter", rows)
    for suffix in ("user", "item"):
        (folder / f"dataset/toy/toy.{suffix}").unlink()
    kept, _ = load(folder)
    assert kept == [("NA", "x"), ("NA", "null"), ("nan", "None"), ("nan", "x")]


def test_a_missing_time_is_still_an_error_with_its_line(folder: Path) -> None:
    write(folder, "inter", [("", "x", 1, ""), ("a", "x", 1, 1), ("a", "y", 1, "")])
    with pytest.raises(KgrecError, match=r"toy\.inter, line 4, column timestamp: empty"):
        load(folder)


def test_without_a_time_field_the_rows_are_in_order(folder: Path) -> None:
    write(folder, "inter", [("a", "x", 1, 9), ("a", "w", 1, 1)])
    assert load(folder)[0] == [("a", "w"), ("a", "x")]
    kept, events = load(folder, TIME_FIELD=None, val_interval={"timestamp": "[0,9]"})
    assert kept == [("a", "x"), ("a", "w")]
    said = texts(events, Note) + texts(events, Warn)
    assert any("order" in text for text in said)


@pytest.mark.parametrize("separator", [" ", ",", ";", "|"])
def test_a_wrong_separator_is_named(folder: Path, separator: str) -> None:
    path = folder / "dataset/toy/toy.inter"
    for suffix in ("user", "item"):
        path.with_suffix(f".{suffix}").unlink()
    path.write_text(path.read_text().replace("\t", separator))
    with pytest.raises(KgrecError, match="but field_separator is a tab: set field_separator to a"):
        load(folder)
    assert len(load(folder, field_separator=separator)[0]) == 8
    path.write_text(path.read_text().replace(separator, "\t"))
    with pytest.raises(KgrecError, match="fields are separated by tabs, but field_separator is a"):
        load(folder, field_separator=separator)


def write_vectors(folder: Path, suffix: str, head: str, token: str) -> None:
    write(folder, suffix, [(token, "1 2")], f"{head}:token\tvec:float_seq")


def test_vectors_of_relations_and_users_are_left_out_with_a_line(folder: Path) -> None:
    write_vectors(folder, "ent_feature", "ent_id", "e")
    write_vectors(folder, "rel_feature", "rel_id", "r")
    write_vectors(folder, "useremb", "uid", "a")
    suffixes = ["rel_feature", "useremb", "ent_feature"]
    settings = Settings(
        dataset="toy",
        additional_feat_suffix=suffixes,
        alias_of_relation_id=["rel_id"],
        alias_of_user_id=["uid"],
    )
    events: list[Event] = []
    (feature,) = find_features(settings, folder, events.append)
    assert (feature.name, feature.path.name) == ("entity", "toy.ent_feature")
    assert texts(events, Note) == [
        "toy.rel_feature is left out: it is of relations, and the model reads none",
        "toy.useremb is left out: it is of users, and the model reads none",
    ]
    alone = settings.model_copy(update={"additional_feat_suffix": ("rel_feature",)})
    with pytest.raises(KgrecError, match="rel_feature has no vectors of entities or items"):
        find_features(alone, folder)

"""Comparing runs as a stage: who is compared with whom, and that the numbers are the runs' own."""

import json
import re
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest

from kgrec_cli.cli import run
from kgrec_cli.errors import KgrecError, UsageError
from kgrec_cli.events import Event, Warn
from kgrec_cli.stages.compare import VIEWS, Comparison, run_compare
from tests.conftest import QUICK, write_small_dataset

SHARES = "--set=eval_args.split={RS: [0.5, 0.25, 0.25]}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder to train in. Finished runs stay as they are."""
    folder = tmp_path_factory.mktemp("compare")
    write_small_dataset(folder)
    path = folder / "dataset/small/small.inter"
    head, *rows = path.read_text().splitlines()
    # Rated 9: one more event for five users, before all others; its item is met nowhere else.
    extra = [f"u{user}\ti99\t9\t900" for user in range(4, -1, -1)]
    extra += [f"short\ti{step}\t1\t{1000 + step}" for step in range(1, 6)]
    path.write_text("\n".join([head, *extra, *rows, ""]))
    return folder


def train(folder: Path, *arguments: str) -> list[Path]:
    saved_dir = folder / "saved"
    before = set(saved_dir.glob("*"))
    with chdir(folder):
        assert run(["train", "--epochs", "2", "--json", *QUICK, *arguments]) == 0
    return sorted(set(saved_dir.glob("*")) - before, key=lambda path: path.name[-9:])


@pytest.fixture(scope="module")
def with_kg(folder: Path) -> list[Path]:
    return train(folder, "--dataset=small", "--seeds=3")


@pytest.fixture(scope="module")
def without_kg(folder: Path) -> Path:
    return train(folder, "--dataset=small", "--model=GRU4Rec")[0]


@pytest.fixture(scope="module")
def whole(folder: Path) -> Path:
    """A run on the data set as `write_small_dataset` makes it, and the user "short"."""
    rule = "--set=val_interval={rating: '(-inf,8]'}"
    return train(folder, "--dataset=small", "--model=GRU4Rec", rule)[0]


def compare(folder: Path, *run_dirs: Path, group: bool = True, events: list[Event]) -> Comparison:
    return run_compare(run_dirs, folder, group=group, threads=1, on_event=events.append)


def saved_metrics(run_dir: Path) -> dict[str, dict[str, float]]:
    return json.loads((run_dir / "metrics.json").read_text())


def warnings(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Warn)]


def test_the_values_of_users_give_the_metrics_of_the_runs(
    folder: Path, with_kg: list[Path], without_kg: Path, events: list[Event]
) -> None:
    found = compare(folder, without_kg, with_kg[1], events=events)
    (pair,) = found.pairs
    assert (pair.n_users, pair.n_changed, pair.n_in_one) == (31, 0, 0)
    assert found.cutoff == 10
    assert not warnings(events)
    for view in VIEWS:
        first, other = saved_metrics(without_kg)[view], saved_metrics(with_kg[1])[view]
        assert set(pair.differences[view]) == set(first)
        for name, difference in pair.differences[view].items():
            assert difference.first == pytest.approx(first[name], abs=1e-12)
            assert difference.other == pytest.approx(other[name], abs=1e-12)
        assert first.items() <= found.sides[0].metrics[view].items()
        assert "itemcoverage@10" in found.sides[0].metrics[view]
    changed = pair.differences["test"]["ndcg@10"]
    assert changed.low < changed.difference < changed.high
    assert set(found.settings) == {"model", "seed", "entity_vectors"}
    assert found.settings["model"] == ["GRU4Rec", "GRU4RecKG"]


def test_a_user_with_more_targets_weighs_more(folder: Path, events: list[Event]) -> None:
    runs = [
        train(folder, "--dataset=small", "--model=GRU4Rec", SHARES, f"--dropout-prob={dropout}")[0]
        for dropout in (0, 0.5)
    ]
    found = compare(folder, *runs, events=events)
    assert sorted(set(found.sides[0].n_targets)) == [1, 2]
    for view in VIEWS:
        ndcg = found.pairs[0].differences[view]["ndcg@5"].first
        assert ndcg == pytest.approx(saved_metrics(runs[0])[view]["ndcg@5"], abs=1e-12)
    assert found.settings == {"dropout_prob": [0, 0.5]}


def test_seeds_of_one_configuration_are_one(
    folder: Path, with_kg: list[Path], events: list[Event]
) -> None:
    (other,) = train(folder, "--dataset=small", "--model=GRU4Rec", "--seed=5")
    found = compare(folder, with_kg[0], other, *with_kg[1:], events=events)
    grouped, alone = found.sides
    assert grouped.run_dirs == tuple(with_kg)
    assert grouped.seeds == (2020, 2021, 2022)
    assert grouped.name.endswith(" x3 seeds")
    assert "-seed2020" not in grouped.name
    assert alone.name == other.name
    assert set(found.settings) == {"model", "entity_vectors"}
    for view in VIEWS:
        mean = np.mean([saved_metrics(run_dir)[view]["ndcg@10"] for run_dir in with_kg])
        assert grouped.metrics[view]["ndcg@10"] == pytest.approx(mean)
        assert found.pairs[0].differences[view]["ndcg@10"].first == pytest.approx(mean)

    each = compare(folder, *with_kg, group=False, events=events)
    assert [side.name for side in each.sides] == [run_dir.name for run_dir in with_kg]
    assert each.settings == {"seed": [2020, 2021, 2022]}
    values = [side.values["test"]["mrr@5"] for side in each.sides]
    assert grouped.values["test"]["mrr@5"] == pytest.approx(np.concatenate(values))


def test_runs_on_other_vectors_are_no_seeds_of_each_other(
    folder: Path, with_kg: list[Path], events: list[Event]
) -> None:
    path = folder / "dataset/small/small.ent_feature"
    vectors = path.read_text()
    path.write_text(vectors.replace("1 0", "0.5 0"))
    (other,) = train(folder, "--dataset=small", "--seed=2021")
    path.write_text(vectors)
    found = compare(folder, with_kg[0], other, events=events)
    assert set(found.settings) == {"seed", "entity_vectors"}
    assert len(set(found.settings["entity_vectors"])) == 2


def test_vectors_that_were_trained_further_tell_no_seeds_apart(
    folder: Path, without_kg: Path, events: list[Event]
) -> None:
    seeds = train(folder, "--dataset=small", "--no-freeze-kg", "--seeds=2")
    found = compare(folder, *seeds, without_kg, events=events)
    assert found.sides[0].seeds == (2020, 2021)
    assert "entity_vectors" not in found.settings


def test_users_with_another_history_are_left_out(
    folder: Path, with_kg: list[Path], events: list[Event]
) -> None:
    (filtered,) = train(
        folder, "--dataset=small", "--set=val_interval={rating: '(-inf,8]'}",
        "--set=user_inter_num_interval='[9,inf)'",
    )  # fmt: skip
    found = compare(folder, with_kg[0], filtered, events=events)
    (pair,) = found.pairs
    assert (pair.n_users, pair.n_changed, pair.n_in_one) == (25, 5, 1)
    assert found.settings["val_interval.rating"] == [None, "(-inf,8]"]
    among, few = warnings(events)
    assert "among 12 items (full)" in among
    assert "among 13 items (full)" in among
    assert "only 25 users compared" in few
    # ids differ between the two: tokens tell which user is which
    first, other = found.sides
    first_users, other_users = list(first.targets), list(other.targets)
    assert first_users.index("u7") != other_users.index("u7")
    for side, users, value in (
        (first, first_users, pair.differences["test"]["mrr@20"].first),
        (other, other_users, pair.differences["test"]["mrr@20"].other),
    ):
        (of_seed,) = side.values["test"]["mrr@20"]
        own = [of_seed[users.index(f"u{number}")] for number in range(5, 30)]
        assert value == pytest.approx(np.mean(own))


def test_ranking_among_sampled_items_is_told(
    folder: Path, without_kg: Path, events: list[Event]
) -> None:
    arguments = ("--set=eval_args.mode=uni5", "--set=topk=[3]")
    (sampled,) = train(folder, "--dataset=small", "--model=GRU4Rec", *arguments)
    found = compare(folder, sampled, without_kg, events=events)
    assert found.cutoff == 3
    assert {"ndcg@3", "ndcg@20"} < set(found.pairs[0].differences["test"])
    (among,) = warnings(events)
    assert "among 13 items (uni5)" in among


def test_a_mode_for_each_part_is_the_same_mode(
    folder: Path, without_kg: Path, events: list[Event]
) -> None:
    parts = "--set=eval_args.mode={valid: full, test: full}"  # as RecBole's checkpoints have it
    (run,) = train(folder, "--dataset=small", "--model=GRU4Rec", "--dropout-prob=0.5", parts)
    found = compare(folder, without_kg, run, events=events)
    assert not warnings(events)
    assert set(found.settings) == {"dropout_prob"}


def test_how_validation_was_ranked_is_no_difference_of_the_test(
    folder: Path, without_kg: Path, events: list[Event]
) -> None:
    parts = "--set=eval_args.mode={valid: uni5}"
    (run,) = train(folder, "--dataset=small", "--model=GRU4Rec", "--dropout-prob=0.5", parts)
    compare(folder, without_kg, run, events=events)
    assert not warnings(events)


def test_another_target_leaves_a_user_out(folder: Path, whole: Path, events: list[Event]) -> None:
    rule = "--set=val_interval={timestamp: '(-inf,1007]', rating: '(-inf,8]'}"
    (cut,) = train(folder, "--dataset=small", "--model=GRU4Rec", rule)
    (pair,) = compare(folder, whole, cut, events=events).pairs
    assert (pair.n_users, pair.n_changed, pair.n_in_one) == (1, 30, 0)


def test_other_items_of_the_same_number_are_told(
    folder: Path, whole: Path, events: list[Event]
) -> None:
    write_small_dataset(folder, name="renamed")
    path = folder / "dataset/renamed/renamed.inter"
    path.write_text(path.read_text().replace("\ti12\t", "\tj12\t"))
    (other,) = train(folder, "--dataset=renamed", "--model=GRU4Rec")
    (pair,) = compare(folder, whole, other, events=events).pairs
    assert (pair.n_users, pair.n_changed, pair.n_in_one) == (9, 21, 1)
    assert "among 12 items (full)" in warnings(events)[0]


@pytest.mark.parametrize(
    ("name", "pattern", "new"),
    [
        ("users", r"^u", "v"),
        ("items", r"\ti", r"\tj"),
        ("targets", r"\ti\d+(?=\t\d\t1008)", r"\tj1"),
        ("histories", r"\ti\d+(?=\t\d\t1003)", r"\tj1"),
    ],
)
def test_nothing_in_common_is_an_error(
    folder: Path, whole: Path, name: str, pattern: str, new: str, events: list[Event]
) -> None:
    write_small_dataset(folder, name=name)
    path = folder / f"dataset/{name}/{name}.inter"
    head, *rows = path.read_text().splitlines()
    path.write_text("\n".join([head, *(re.sub(pattern, new, row) for row in rows), ""]))
    (other,) = train(folder, f"--dataset={name}", "--model=GRU4Rec")
    with pytest.raises(KgrecError, match="no user with the same test targets and history"):
        compare(folder, whole, other, events=events)


def test_a_user_of_several_samples_is_one_user(tmp_path: Path, events: list[Event]) -> None:
    folder = tmp_path / "dataset/small"
    folder.mkdir(parents=True)
    head = "user_id:token\titem_id_list:token_seq\titem_id:token"
    for part, steps in (("train", (3, 4)), ("valid", (5,)), ("test", (6, 7))):
        rows = [
            f"u{user}\t{' '.join(f'i{(user + n) % 9}' for n in range(step))}\ti{(user + step) % 9}"
            for step in steps
            for user in range(40)
        ]
        (folder / f"small.{part}.inter").write_text("\n".join([head, *rows, ""]))
    arguments = ("--model=GRU4Rec", "--set=benchmark_filename=[train, valid, test]")
    runs = [train(tmp_path, *arguments, f"--dropout-prob={dropout}")[0] for dropout in (0, 0.5)]
    found = compare(tmp_path, *runs, events=events)
    assert found.pairs[0].n_users == 40
    assert set(found.sides[0].n_targets) == {2}
    ndcg = found.pairs[0].differences["test"]["ndcg@10"].other
    assert ndcg == pytest.approx(saved_metrics(runs[1])["test"]["ndcg@10"], abs=1e-12)

    # another test part, which knows one more item, so that a user has another target there
    text = (folder / "small.test.inter").read_text()
    (folder / "small.later.inter").write_text(text + "u0\ti1 i2\tnew\n")
    arguments = ("--model=GRU4Rec", "--set=benchmark_filename=[train, valid, later]")
    (later,) = train(tmp_path, *arguments, "--dropout-prob=0", "--seed=1")
    found = compare(tmp_path, runs[0], later, events=events)
    assert (found.pairs[0].n_users, found.pairs[0].n_changed) == (39, 1)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--on-all-data",), "nothing was held out"),
        (("--set=eval_args.split={LS: valid_only}",), "its test part is empty"),
    ],
)
def test_a_run_without_test_targets_is_an_error(
    folder: Path, without_kg: Path, arguments: tuple[str, ...], expected: str, events: list[Event]
) -> None:
    (run_dir,) = train(folder, "--dataset=small", "--model=GRU4Rec", *arguments)
    with pytest.raises(KgrecError, match=expected):
        compare(folder, without_kg, run_dir, events=events)


def test_what_cannot_be_compared_is_a_usage_error(
    folder: Path, with_kg: list[Path], events: list[Event]
) -> None:
    with pytest.raises(UsageError, match="two runs or more"):
        compare(folder, with_kg[0], events=events)
    with pytest.raises(UsageError, match="named twice"):
        compare(folder, with_kg[0], with_kg[1], with_kg[0], events=events)
    with pytest.raises(UsageError, match="seeds of one configuration; --no-group"):
        compare(folder, *with_kg, events=events)


def test_the_same_settings_and_seed_twice_are_two_runs(
    folder: Path, without_kg: Path, events: list[Event]
) -> None:
    (again,) = train(folder, "--dataset=small", "--model=GRU4Rec")
    found = compare(folder, without_kg, again, events=events)
    difference = found.pairs[0].differences["test"]["ndcg@10"]
    assert (difference.difference, difference.p_value) == (0, 1)
    assert found.settings == {}

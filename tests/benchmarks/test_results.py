"""How benchmark commands make the rows and the differences of a file of results."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks.accuracy import results
from benchmarks.accuracy.by_user import read_by_user, write_by_user
from benchmarks.accuracy.options import QueryTime, SeenVector, gap_classes
from benchmarks.accuracy.plans import (
    ALL,
    DEFAULT,
    GRU4REC,
    MASKED,
    PLANS,
    POPULARITY,
    Step,
    TunedRival,
)
from benchmarks.accuracy.results import (
    Seeds,
    changes_of,
    remark_on_vectors,
    row_of,
    seed_of,
    with_kept,
    with_kept_seeds,
)
from benchmarks.accuracy.rivals import rival_score, told_of, write_for_recbole
from benchmarks.accuracy.study import vary
from benchmarks.speed.training import speed_of
from kgrec_cli.core.evaluation.bootstrap import holm
from kgrec_cli.core.model.gru4reckg import GRU4RecKG, ModelSettings, SeenItems
from kgrec_cli.formats.atomic import read_atomic, write_entity_features


def seeds(masked: list[list[float]], plain: list[list[float]] | None = None) -> Seeds:
    """NDCG@10 by seed and user; one target each."""
    values = {MASKED: np.array(masked), ALL: np.array(plain or masked)}
    metrics = [
        {view: {"ndcg@10": float(values[view][seed].mean())} for view in values}
        for seed in range(len(masked))
    ]
    n_users = len(masked[0])
    users = [f"u{number}" for number in range(n_users)]
    slices = [{"tied": {"n_targets": 2, "ndcg@10": float(seed)}} for seed in range(len(masked))]
    return Seeds(metrics, values, np.ones(n_users, dtype=np.int64), users, slices)


def test_a_row_is_the_mean_of_its_seeds_masked_first() -> None:
    row = row_of(
        "any", seeds([[0.2, 0.4], [0.4, 0.8]], [[0.1, 0.1], [0.3, 0.3]]), [7, 8],
        system="s", command="c", commit=None, date="d",
    )  # fmt: skip
    assert list(row.metrics) == [MASKED, ALL]
    assert row.metrics[MASKED]["ndcg@10"] == pytest.approx(0.45)
    assert row.by_seed[MASKED] == pytest.approx([0.3, 0.6])
    # one seed twice and one user twice: 0.2 at least, 0.8 at most
    assert row.intervals[MASKED] == pytest.approx([0.2, 0.8])
    assert row.intervals[ALL] == pytest.approx([0.1, 0.3])
    assert row.slices == {"tied": {"n_targets": 2, "ndcg@10": 0.5}}


def test_differences_by_hand() -> None:
    rows = {
        "plain": seeds([[0.0, 0.5]]),
        "better": seeds([[0.1, 0.6], [0.3, 0.8]]),
        "masked": seeds([[0.5, 0.5]], [[0.25, 0.25]]),
    }
    steps = [
        Step("gain", "better", "plain"),
        Step("mask", "masked", "masked", MASKED, ALL),
        Step("of a row that was not run", "other", "plain"),
    ]
    gain, mask = changes_of(steps, rows)
    assert gain.difference == pytest.approx(0.2)  # 0.1 and 0.3, whoever the users are
    assert (gain.low, gain.high) == pytest.approx((0.1, 0.3))
    assert gain.n_seeds == [2, 1]
    assert (mask.difference, mask.low, mask.high) == pytest.approx((0.25, 0.25, 0.25))
    assert [gain.p_holm, mask.p_holm] == holm([gain.p_value, mask.p_value])
    assert mask.p_holm == pytest.approx(2 * 2 / 10_001)


def test_seeds_of_other_targets_are_refused() -> None:
    one = seeds([[0.1, 0.2]])
    assert one.add(one).values[MASKED].shape == (2, 2)
    with pytest.raises(AssertionError):
        one.add(seeds([[0.1, 0.2, 0.3]]))


def test_rows_that_a_folder_lacks_are_kept_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later session has no runs of GRU4Rec, and measures the default anew."""
    plain, better = seeds([[0.0, 0.5], [0.1, 0.2]]), seeds([[0.1, 0.6]])
    write_by_user("ml-100k", {GRU4REC: plain, DEFAULT: better}, tmp_path)
    found = read_by_user("ml-100k", tmp_path)
    assert found[GRU4REC].values[MASKED].tolist() == [[0.0, 0.5], [0.1, 0.2]]
    told = {"system": "s", "command": "c", "commit": None, "date": "d"}
    rows = [row_of(n, s, [1], **told) for n, s in ((GRU4REC, plain), (DEFAULT, better))]
    earlier = SimpleNamespace(rows=rows)
    monkeypatch.setattr(results, "read_results", lambda plan: earlier)
    monkeypatch.setattr(results, "read_by_user", lambda plan: found)
    now = {POPULARITY: (better, rows[1]), DEFAULT: (better, rows[1])}
    kept = with_kept(PLANS["ml-100k"], "ml-100k", now)
    assert [row.name for _, row in kept.values()] == [DEFAULT, DEFAULT, GRU4REC]
    (change,) = changes_of(
        [Step("", DEFAULT, GRU4REC)], {GRU4REC: kept[GRU4REC][0], DEFAULT: better}
    )
    assert change.n_seeds == [1, 2]
    assert change.difference == pytest.approx(0.35 - 0.2)
    with pytest.raises(AssertionError):
        with_kept(PLANS["ml-100k"], "ml-100k", {POPULARITY: (seeds([[0.1] * 3]), rows[0])})


def test_a_row_grows_by_the_seeds_of_another_session() -> None:
    """Seeds 1 and 2 were measured on another machine; here are 2, which counts, and 3."""
    told = {"system": "s", "command": "c", "date": "d"}
    earlier, here = seeds([[0.0, 0.5], [0.9, 0.9]]), seeds([[0.1, 0.2], [0.2, 0.3]])
    kept_row = row_of("r", earlier, [1, 2], commit="a", remark="cut", **told)
    row = row_of("r", here, [2, 3], commit="b", **told)
    both, grown = with_kept_seeds((here, row), (replace(earlier, metrics=[], slices=[]), kept_row))
    assert grown.seeds == [1, 2, 3]
    assert both.values[MASKED].tolist() == [[0.0, 0.5], [0.1, 0.2], [0.2, 0.3]]
    assert grown.by_seed[MASKED] == pytest.approx([0.25, 0.15, 0.25])
    assert grown.metrics[MASKED]["ndcg@10"] == pytest.approx(0.65 / 3)
    assert grown.slices["tied"]["ndcg@10"] == pytest.approx(1 / 3)  # 0 of seed 1, 0 and 1
    assert (grown.commit, grown.remark) == ("a; b", "cut")
    again = with_kept_seeds((here, row), (both, grown))
    assert again[1] == replace(grown, commit="a; b")
    other = replace(kept_row, command="another")
    assert with_kept_seeds((here, row), (earlier, other)) == (here, row)


def test_users_are_in_the_order_of_their_tokens() -> None:
    histories = SimpleNamespace(
        owners=np.array([0, 0, 1, 1, 1]),
        user_ids=np.array([2, 1], dtype=np.int32),
        offsets=np.array([0, 2, 5]),
        times=np.array([1, 2, 1, 2, 2]),
    )
    dataset = SimpleNamespace(
        histories=histories, users=SimpleNamespace(tokens=["[PAD]", "a", "b"])
    )
    views = {MASKED: np.array([1, 11, 3]), ALL: np.array([1, 1, 1])}
    measured = SimpleNamespace(targets=np.array([1, 3, 4]), views=views, metrics={})
    found = seed_of(measured, dataset)  # type: ignore[arg-type]
    assert found.users == ["a", "b"]
    assert found.n_targets.tolist() == [2, 1]
    assert found.values[MASKED].tolist() == [[0.25, 1.0]]  # "a": (0 + 1 / log2(4)) / 2
    assert found.slices == [
        {
            "tied in time": {"n_targets": 2, "ndcg@10": 0.25},
            "not tied": {"n_targets": 1, "ndcg@10": 1},
        }
    ]


def test_every_difference_is_of_rows_of_its_plan() -> None:
    for plan in PLANS.values():
        for step in plan.steps:
            assert {step.row, step.less} <= set(plan.rows)
        assert len(plan.rows) == len(set(plan.rows))


def write_linked(folder: Path) -> Path:
    """Items 1 and 2 share an entity, 3 has one without a vector, 4 has no link."""
    source = folder / "small"
    source.mkdir()
    kinds = {"user_id": "token", "item_id": "token", "timestamp": "float"}
    rows = [("u", "4", 100), ("u", "2", 100), ("u", "1", 900), ("v", "3", 500)]
    (source / "small.inter").write_text(
        "\n".join(["\t".join(f"{k}:{v}" for k, v in kinds.items())]
        + ["\t".join(map(str, row)) for row in rows]) + "\n"
    )  # fmt: skip
    (source / "small.link").write_text("item_id:token\tentity_id:token\n1\te\n2\te\n3\tf\n")
    (source / "small.kg").write_text("head_id:token\trelation_id:token\ttail_id:token\ne\tr\tx\n")
    vectors = np.array([[1, 2], [3, 4]], dtype=np.float32)
    write_entity_features(source / "small.ent_feature", ["e", "x"], vectors)
    return source


def test_recbole_gets_a_link_and_kgrecs_vector_for_every_item(tmp_path: Path) -> None:
    write_for_recbole(write_linked(tmp_path), tmp_path / "out")
    folder = tmp_path / "out/rivals"
    times = read_atomic(folder / "rivals.inter", ["item_id", "timestamp"])
    assert times.rows() == [
        ("4", 1),
        ("2", 1),
        ("1", 3),
        ("3", 2),
    ]  # dense ranks, in the file's order
    links = dict(read_atomic(folder / "rivals.link", ["item_id", "entity_id"]).iter_rows())
    assert links == {"4": "item:4", "2": "e", "1": "item:1", "3": "f"}
    features = read_atomic(folder / "rivals.ent_feature", ["ent_id", "ent_vec"])
    vectors = {entity: [float(x) for x in text.split()] for entity, text in features.iter_rows()}
    assert vectors == {"item:4": [0, 0], "e": [1, 2], "item:1": [1, 2], "f": [0, 0]}


def test_scores_of_a_rival_are_read_in_kgrecs_ids(tmp_path: Path) -> None:
    scores = np.array([[9, 1, 2], [9, 3, 4]], dtype=np.float32)
    np.savez(tmp_path / "fit.npz", **{"scores": scores, "scores.user": np.array([2, 1])})
    said = {"items": ["[PAD]", "b", "a"], "users": ["[PAD]", "x", "y"], "fit": {"best": 0.5}}
    (tmp_path / "fit.json").write_text(json.dumps(said))
    histories = SimpleNamespace(owners=np.array([0, 0, 1]), user_ids=np.array([1, 2]))
    dataset = SimpleNamespace(
        histories=histories,
        users=SimpleNamespace(tokens=["[PAD]", "x", "y"]),
        items=SimpleNamespace(tokens=["[PAD]", "a", "b"]),
    )
    score, fit = rival_score(tmp_path, dataset)  # type: ignore[arg-type]
    assert score(np.array([1, 2])).tolist() == [[9, 4, 3], [9, 2, 1]]
    assert fit == {"best": 0.5}


def test_of_a_tuned_rival_the_point_that_validation_chose_is_a_row(tmp_path: Path) -> None:
    rival = TunedRival([{"lr": 0.1}, {"lr": 0.2}])
    for point, seed, best in ((0, 2020, 0.3), (0, 2021, 0.9), (1, 2020, 0.4), (1, 2022, 0.1)):
        told = tmp_path / f"rectools/any/{point}/{seed}/told"
        told.mkdir(parents=True)
        (told / "fit.json").write_text(json.dumps({"fit": {"best": best}}))
    runs, chosen = told_of(tmp_path, "any", rival)
    assert [run.parent.name for run in runs] == ["2020", "2022"]
    assert {run.parents[1].name for run in runs} == {"1"}
    assert chosen == "lr 0.2: of 0.3000, 0.4000 on validation"


def test_a_rival_of_which_a_point_is_missing_is_no_row(tmp_path: Path) -> None:
    told = tmp_path / "rectools/any/0/2020/told"
    told.mkdir(parents=True)
    (told / "fit.json").write_text(json.dumps({"fit": {"best": 0.3}}))
    assert told_of(tmp_path, "any", TunedRival([{}, {"lr": 0.2}])) == ([], "")


def test_draws_of_random_vectors_differ_and_keep_their_lengths(tmp_path: Path) -> None:
    source = write_linked(tmp_path)
    tables = {}
    for variant in ("metadata-random-1", "metadata-random-2", "metadata-zeros"):
        target = tmp_path / f"small-{variant}"
        vary(source, target, variant)
        table = read_atomic(target / f"{target.name}.ent_feature", ["ent_id", "ent_vec"])
        tables[variant] = np.array([text.split() for text in table["ent_vec"]], dtype=float)
    one, two, zeros = tables.values()
    assert not np.allclose(one, two)
    for drawn in (one, two):
        assert np.linalg.norm(drawn, axis=1) == pytest.approx([5**0.5, 5], rel=1e-4)
    assert (zeros == 0).all()


def test_speed_is_the_median_of_the_ratios_of_each_round() -> None:
    rates = {
        "kgrec": [100.0, 300.0, 80.0],
        "kgrec, prefix": [1.0, 1.0, 1.0],
        "RecBole, as shipped": [1.0, 1.0, 1.0],
        "RecBole, at its best": [10.0, 10.0, 2.0],
    }
    found = speed_of(rates, 2)
    assert found.ratios == [10.0, 30.0, 40.0]
    assert found.median_ratio == 30.0
    assert set(found.targets_per_s) == {"kgrec", "RecBole, at its best"}
    assert found.threads == 2


def test_a_row_says_how_well_its_vectors_rank_where_that_was_measured(tmp_path: Path) -> None:
    toy = tmp_path / "toy"
    toy.mkdir()
    assert remark_on_vectors(toy) == ""
    (toy / "toy.ent_feature.json").write_text('{"metrics": {}}')
    assert remark_on_vectors(toy) == ""
    (toy / "toy.ent_feature.json").write_text('{"metrics": {"mrr": 0.33961}}')
    assert remark_on_vectors(toy) == "vectors of MRR 0.340"


def test_a_vector_of_their_own_scores_the_items_of_a_history() -> None:
    settings = ModelSettings(embedding_size=2, hidden_size=3, seen_bias=True)
    model = SeenVector(settings, 4)
    states = model.to_scoring(torch.randn(2, 3))
    seen = SeenItems(torch.tensor([0, 1, 1]), torch.tensor([2, 1, 3]))
    usual = GRU4RecKG(settings, 4)
    torch.nn.init.constant_(model.seen_bias, -2.0)
    torch.nn.init.constant_(usual.seen_bias, -2.0)
    items = model.item_vectors()
    torch.testing.assert_close(
        model.score(states, seen), usual.score(states[:, :2], seen, items)
    )  # at first they are the same
    torch.nn.init.zeros_(model.seen_layer.weight)
    found = model.score(model.to_scoring(torch.randn(2, 3)), seen)
    assert found[seen.rows, seen.items].tolist() == [-2.0, -2.0, -2.0]


def test_the_time_of_the_query_is_a_class_a_doubling_and_its_vector_is_added() -> None:
    times = np.array([5, 5, 6, 9, 1033])
    histories = SimpleNamespace(times=times)
    found = gap_classes(histories, np.array([1, 2, 3, 4]))  # type: ignore[arg-type]
    assert found.tolist() == [0, 1, 2, 11]  # gaps of 0, 1, 3 and 1,024 seconds
    settings = ModelSettings(embedding_size=2, hidden_size=3)
    model, usual = QueryTime(settings, 4), GRU4RecKG(settings, 4)
    usual.load_state_dict(model.state_dict(), strict=False)
    states, model.gaps = torch.randn(2, 3), torch.tensor([0, 11])
    torch.testing.assert_close(model.to_scoring(states), usual.to_scoring(states))  # zeros at first
    with torch.no_grad():
        model.gap_embedding.weight[11] = 7.0
    added = (model.to_scoring(states) - usual.to_scoring(states)).tolist()
    assert added[0] == [0.0, 0.0]
    assert added[1] == pytest.approx([7.0, 7.0], abs=1e-5)

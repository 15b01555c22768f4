import pytest

from kgrec_cli.core.tuning.report import (
    SearchTrial,
    best_trial,
    build_leaderboard,
    draw_charts,
    rank_trials,
    write_result_text,
)


def trial(number, state, value, **fields):
    return SearchTrial(number, state, {"lr": 0.1 * number, "<b>": [1]}, value, **fields)


TRIALS = [
    trial(1, "complete", 0.2, valid={"ndcg@10": 0.2}, test={"ndcg@10": 0.123456, "hit@10": 0.3}),
    trial(2, "failed", None, error="no"),
    trial(3, "pruned", 0.9, n_reports=2),
    trial(4, "complete", 0.4, valid={"ndcg@10": 0.4}, test={"ndcg@10": 0.35, "hit@10": 0.5}),
    trial(
        5,
        "complete",
        0.4,
        valid={"ndcg@10": 0.4},
        test={"ndcg@10": 0.31, "hit@10": 0.5},
        elapsed_s=2.5,
    ),
]


def test_ranks_by_hand():
    assert [t.number for t in rank_trials(TRIALS)] == [4, 5, 1, 3, 2]
    assert best_trial(TRIALS).number == 4
    assert best_trial(TRIALS[1:3]) is None


def test_leaderboard_rows_are_flat_and_alike():
    rows = build_leaderboard(TRIALS)
    assert len({tuple(row) for row in rows}) == 1
    assert list(rows[0]) == [
        *("rank", "trial", "state", "score", "lr", "<b>", "valid_ndcg@10"),
        *("test_ndcg@10", "test_hit@10", "epochs", "elapsed_s", "error", "worker"),
    ]
    assert [row["rank"] for row in rows] == [1, 2, 3, None, None]
    assert rows[0]["test_hit@10"] == 0.5
    assert [row["valid_ndcg@10"] for row in rows] == [0.4, 0.4, 0.2, None, None]
    assert [row["test_ndcg@10"] for row in rows] == [0.35, 0.31, 0.123456, None, None]
    assert [row["epochs"] for row in rows] == [0, 0, 0, 2, 0]
    assert rows[1]["elapsed_s"] == 2.5
    assert rows[0]["<b>"] == "[1]"
    assert rows[4]["error"] == "no"
    assert rows[4]["test_hit@10"] is None


def test_a_searched_number_of_epochs_stays_in_its_row():
    rows = build_leaderboard([SearchTrial(1, "complete", {"epochs": 30}, 0.5, n_reports=12)])
    assert rows[0]["epochs"] == 30


def test_result_text_is_recboles():
    assert write_result_text(TRIALS[:3]) == (
        "lr:0.1, <b>:[1]\n"
        "Valid result:\nndcg@10 : 0.2\n"
        "Test result:\nndcg@10 : 0.1235    hit@10 : 0.3\n\n"
    )
    assert write_result_text(TRIALS).count("Valid result:\n") == 3


def charts(trials, **options):
    """The lines of each chart, by the chart's name."""
    figures = draw_charts(trials, score_name="NDCG@10", **options)
    return {name: figure["data"] for name, figure in figures.items()}


def test_charts_hold_the_scores():
    assert charts(TRIALS) == charts(TRIALS)
    by_name = {line["name"]: line for line in charts(TRIALS)["history"]}
    assert by_name["NDCG@10"]["x"] == [1, 4, 5]
    assert by_name["NDCG@10"]["y"] == [0.2, 0.4, 0.4]
    assert by_name["Best Value"]["x"] == [1, 2, 3, 4, 5]
    assert by_name["Best Value"]["y"] == [0.2, 0.2, 0.2, 0.4, 0.4]
    assert by_name["pruned"]["x"] == [3]
    assert by_name["pruned"]["y"] == [0.9]
    hover = "<b>trial 1: 0.2000</b><br>lr: 0.1<br>&lt;b&gt;: [1]"
    assert by_name["NDCG@10"]["text"][0] == hover


def test_a_line_for_each_complete_trial_in_the_parallel_coordinates():
    drawn = [line for line in charts(TRIALS)["parallel"] if line["mode"] == "lines"]
    first, *_ = drawn
    assert len(drawn) == 3
    assert first["customdata"] == [["NDCG@10", "0.2"], ["<b>", "[1]"], ["lr", "0.1"]]


def test_an_axis_of_two_orders_is_logarithmic():
    points = [(1e-4, 1), (1e-3, 3), (1e-2, 11)]
    trials = [
        SearchTrial(n, "complete", {"lr": lr, "layers": layers}, float(n))
        for n, (lr, layers) in enumerate(points, start=1)
    ]
    _, second, _ = [line for line in charts(trials)["parallel"] if line["mode"] == "lines"]
    assert [name for name, _ in second["customdata"]] == ["NDCG@10", "layers", "lr"]
    assert second["y"] == pytest.approx([0.5, 0.2, 0.5])


def test_lines_take_the_colours_of_their_scores():
    trials = [SearchTrial(n, "complete", {"lr": n}, float(n)) for n in (1, 2, 3)]
    *lines, bar = charts(trials)["parallel"]
    ends = ["rgb(76, 120, 221)", "rgb(192, 106, 176)", "rgb(240, 128, 32)"]
    assert [line["line"]["color"] for line in lines] == ends
    assert bar["marker"]["colorscale"][-1] == [1, "rgb(240,128,32)"]


def test_importances_are_drawn_where_the_best_tenth_is_more_than_one():
    trials = [
        SearchTrial(n, "complete", {"lr": n % 5, "layers": n % 2}, float(n % 5))
        for n in range(1, 21)
    ]
    (bars,) = charts(trials)["importances"]
    shares = dict(zip(bars["y"], bars["x"], strict=True))
    assert shares["lr"] > 0.9
    assert "importances" not in charts(trials[1:])


def test_charts_without_a_finished_trial():
    assert charts([]) == {"history": [], "parallel": []}

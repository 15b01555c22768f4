"""`kgrec evaluate` as typed."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from kgrec_cli.core.evaluation.measure import rank_metrics
from tests.conftest import QUICK, RunCli


@pytest.fixture
def folder(trained_folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained_folder, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_a_run_is_measured_and_merged(run_cli: RunCli, folder: Path) -> None:
    (run_dir,) = (folder / "saved").iterdir()
    trained = json.loads((run_dir / "metrics.json").read_text())
    result = run_cli("evaluate")
    assert result.exit_code == 0, result.stderr
    merged = json.loads((run_dir / "metrics.json").read_text())
    assert merged["training"] == trained["training"]
    for part in ("valid", "test", "valid_masked", "test_masked"):
        assert trained[part].items() <= merged[part].items()
    assert {"itemcoverage@10", "giniindex@10"} < set(merged["test"])
    assert set(merged["baselines"]) == {"Pop", "ItemKNN", "SequentialRules", "EASE"}
    assert {"linked items", "unlinked items"} < set(merged["slices"]["test"])
    counts = [
        merged["slices"]["test"][name]["n_targets"] for name in ("linked items", "unlinked items")
    ]
    assert counts == [24, 6]  # six of the 30 users end at i11 or i12
    for text in ("this run", "Pop", "ItemKNN", "linked items"):
        assert text in result.stdout


def test_the_ranks_of_users_give_the_metrics(run_cli: RunCli, folder: Path) -> None:
    result = run_cli("evaluate", "--per-user", "ranks.tsv", "--json", "--topk", "3,5")
    assert result.exit_code == 0, result.stderr
    values = json.loads(result.stdout)
    table = pl.read_csv(folder / "ranks.tsv", separator="\t")
    assert table.columns == ["user", "item", "history_length", "rank", "rank_masked"]
    assert len(table) == 30
    assert set(table["history_length"]) == {8}
    for view, column in (("test", "rank"), ("test_masked", "rank_masked")):
        expected = rank_metrics(table[column].to_numpy(), ["NDCG", "MRR"], [3, 5])
        assert expected.items() <= values[view].items()
    assert "ndcg@10" not in values["test"]


def test_the_tables_have_the_metrics_that_were_asked_for(run_cli: RunCli, folder: Path) -> None:
    for metric, n_tables in (("Recall", 2), ("GiniIndex", 2), ("MRR", 3)):
        shown = run_cli("evaluate", "--metrics", metric).stdout
        assert shown.count(f"{metric.casefold()}@") == (n_tables - 1) * 2 + 1
        assert ("Slices" in shown) == (n_tables == 3)


def test_what_is_set_wins_over_an_option(run_cli: RunCli, folder: Path) -> None:
    result = run_cli("evaluate", "--json", "--topk=3", "--metrics=Hit", "--set=topk=[4]")
    assert result.exit_code == 0, result.stderr
    assert list(json.loads(result.stdout)["test"]) == ["hit@4"]


def test_a_unique_beginning_names_a_run(run_cli: RunCli, folder: Path) -> None:
    result = run_cli("evaluate", "small-GRU4RecKG-", "--json", "--no-baselines")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["run"] == next((folder / "saved").iterdir()).name


def test_another_split_can_be_measured(run_cli: RunCli, folder: Path) -> None:
    result = run_cli(
        "evaluate", "--json", "--no-baselines", "--per-user", "ranks.csv",
        "--set", "eval_args.split={RS: [0.5, 0.25, 0.25]}",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert len(pl.read_csv(folder / "ranks.csv")) == 60  # a quarter of 8 targets each
    assert json.loads(result.stdout)["baselines"] == {}


def test_test_targets_can_be_ranked_among_sampled_items(
    run_cli: RunCli, small_folder: Path
) -> None:
    (run,) = json.loads(run_cli("train", "--epochs=1", *QUICK, "--json").stdout)
    mode = "--set=eval_args.mode={valid: full, test: uni1}"
    result = run_cli("evaluate", "--json", "--no-baselines", "--per-user", "ranks.csv", mode)
    assert result.exit_code == 0, result.stderr
    assert set(pl.read_csv(small_folder / "ranks.csv")["rank"]) == {1, 2}
    assert run["metrics"]["test"]["mrr@10"] < json.loads(result.stdout)["test"]["mrr@10"]
    assert run["metrics"]["valid"].items() <= json.loads(result.stdout)["valid"].items()


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (("--metrics", "NDGC"), 2, "did you mean 'NDCG'?"),
        (("--topk", "ten"), 2, "topk: found 'ten'"),
        (("--set", "hidden_size=3"), 2, "a trained run keeps its settings"),
        (("--per-user", "ranks.xls"), 2, "must end in one of"),
        (("--no-baselines", "--baselines", "all"), 2, "--baselines all: give one"),
        (("smal-GRU4RecKG-2026",), 1, "did you mean 'small-GRU4RecKG"),
    ],
)
def test_a_mistake_is_one_line(
    run_cli: RunCli, folder: Path, arguments: tuple[str, ...], code: int, expected: str
) -> None:
    result = run_cli("evaluate", *arguments)
    assert result.exit_code == code
    assert expected in result.error


def test_a_data_set_that_changed_is_refused(run_cli: RunCli, folder: Path) -> None:
    path = folder / "dataset/small/small.inter"
    path.write_text(path.read_text() + "u1\ti1\t5\t2000\n")
    result = run_cli("evaluate")
    assert result.exit_code == 1
    assert "trained on another small.inter" in result.error


def test_a_damaged_run_is_one_line(run_cli: RunCli, folder: Path) -> None:
    (run_dir,) = (folder / "saved").iterdir()
    (run_dir / "model.safetensors").write_bytes(b"not tensors")
    result = run_cli("evaluate")
    assert result.exit_code == 1
    assert "model.safetensors: not a whole safetensors file" in result.error


def test_no_run_is_one_line(run_cli: RunCli, tmp_path: Path) -> None:
    result = run_cli("evaluate")
    assert result.exit_code == 1
    assert "`kgrec train` makes one" in result.error


def test_all_typed_cutoffs_are_shown_and_one_number_stands_once(
    run_cli: RunCli, trained_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained_folder, tmp_path, dirs_exist_ok=True)
    shown = run_cli("evaluate", "--topk", "5,20").stdout
    rows = [line.split("  ")[0].strip() for line in shown.splitlines()]
    expected = ["recall = hit@5", "mrr = map@5", "ndcg@5", "precision@5", "itemcoverage@5"]
    assert [row for row in rows if row.endswith("@5")][:5] == expected
    assert "recall = hit@20" in rows
    assert "Test targets: this run and the baselines (at 20)" in rows
    values = json.loads(run_cli("evaluate", "--topk", "5,20", "--json").stdout)
    assert values["test"]["hit@5"] == values["test"]["recall@5"]


def test_a_run_below_a_baseline_is_told_so(
    run_cli: RunCli, trained_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained_folder, tmp_path, dirs_exist_ok=True)
    assert "this run is below" not in run_cli("evaluate", "--topk", "1").stdout
    assert run_cli("train", "--epochs", "1", *QUICK, "--set=learning_rate=1e-7").exit_code == 0
    (line,) = [
        line
        for line in run_cli("evaluate", "--topk", "1").stdout.splitlines()
        if line.startswith("this run is below ItemKNN: ")
    ]
    assert "ndcg@1 masked 0." in line


def test_paths_of_a_ring_by_hand(run_cli: RunCli, folder: Path) -> None:
    """Entities e1 to e10 in a ring: an item has a path from items one or two steps off."""
    result = run_cli("evaluate", "--explanations", "--topk=4", "--no-baselines", "--json")
    assert result.exit_code == 0, result.stderr
    values = json.loads(result.stdout)["explanations"]
    assert (values["users"], values["of_users"]) == (30, 30)
    shares, types = [], []
    for user in range(30):
        seen = {1 + (user + step) % 12 for step in range(8)}
        linked = set(range(1, 11))
        near = [
            any((item - other) % 10 in (1, 2, 8, 9) for other in seen & linked)
            for item in linked - seen
        ]
        shares.append(sum(near) / 4)  # four items are unseen, and all are listed
        types.append(1 / min(sum(near), 3))  # "follows", of three relations with hopwise's two
    assert values["fidelity@4"] == pytest.approx(sum(shares) / 30)
    assert values["ptd@4"] == pytest.approx(sum(types) / 30)
    assert values["ptc@4"] == 0
    (run_dir,) = (folder / "saved").iterdir()
    assert json.loads((run_dir / "metrics.json").read_text())["explanations"] == values
    shown = run_cli("evaluate", "--explanations", "--topk=2,4", "--no-baselines").stdout
    assert f"{values['lir@4']:.4f}  how recent the history item is" in shown
    assert run_cli("report", "--out=page.html", "--threads=1").exit_code == 0
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert f"{values['lir@4']:.4f}</td>" in page[page.index("Metrics of paths") :]
    (folder / "dataset/small/small.kg").unlink()
    assert "has no .kg" in run_cli("evaluate", "--explanations").error


def test_targets_whose_order_the_file_decides_are_a_slice(
    run_cli: RunCli, small_folder: Path
) -> None:
    path = small_folder / "dataset/small/small.inter"
    head, *rows = path.read_text().splitlines()
    cells = [row.split("\t") for row in rows]
    # Users u0 to u9 had their last two items in one second, the others an hour apart.
    times = [
        str(880_000_000 + (3600 * int(time) if len(user) > 2 else min(int(time), 1007)))
        for user, _, _, time in cells
    ]
    lines = ["\t".join([*row[:3], time]) for row, time in zip(cells, times, strict=True)]
    path.write_text("\n".join([head, *lines]) + "\n")
    assert run_cli("train", "--epochs=1", *QUICK, "--quiet").exit_code == 0
    result = run_cli("evaluate", "--json", "--no-baselines")
    slices = json.loads(result.stdout)["slices"]["test_masked"]
    found = {
        name: of["n_targets"] for name, of in slices.items() if name[:3] in ("tie", "not", "gap")
    }
    assert found == {"tied in time": 10, "not tied": 20, "gap under a day": 20}
    assert (
        "10 of 30 test targets (33%) have the time of another event"
        in run_cli("evaluate", "--no-baselines").stderr
    )


def test_other_cutoffs_leave_the_metrics_that_a_run_is_chosen_by(
    run_cli: RunCli, folder: Path
) -> None:
    (run_dir,) = (folder / "saved").iterdir()
    before = json.loads((run_dir / "metrics.json").read_text())
    assert run_cli("evaluate", "-k", "3,4", "--no-baselines", "-q").exit_code == 0
    after = json.loads((run_dir / "metrics.json").read_text())
    for part in ("valid", "test", "valid_masked", "test_masked"):
        assert before[part].items() <= after[part].items()
        assert {"ndcg@3", "hit@4"} <= set(after[part])
    assert json.loads(run_cli("runs", "best", "--json").stdout)["run"] == run_dir.name


def test_metrics_of_another_split_are_shown_and_not_kept(run_cli: RunCli, folder: Path) -> None:
    (run_dir,) = (folder / "saved").iterdir()
    before = (run_dir / "metrics.json").read_bytes()
    result = run_cli("evaluate", "--no-baselines", "--set=eval_args.mode=uni1")
    assert "eval_args are not those of the run: these metrics are shown, not kept" in result.stderr
    assert "ndcg@10" in result.stdout
    assert "written to" not in result.stdout
    assert (run_dir / "metrics.json").read_bytes() == before


def test_baselines_are_computed_once_and_kept(
    run_cli: RunCli, trained_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(trained_folder, tmp_path, dirs_exist_ok=True)
    first = json.loads(run_cli("evaluate", "--json").stdout)
    assert list(first["baselines"]) == ["Pop", "ItemKNN", "SequentialRules", "EASE"]
    assert first["baselines"]["SequentialRules"]["test"]["hit@5"] == 1  # they go round in a ring
    assert first["baselines"]["EASE"]["parameters"]["l2"] in (100, 300, 1000)
    (kept,) = (tmp_path / "dataset/small/baselines").iterdir()

    def fail(*args: object) -> None:
        raise AssertionError("computed again")

    with monkeypatch.context() as context:
        context.setattr("kgrec_cli.runs.baselines.measure_baseline", fail)
        assert json.loads(run_cli("evaluate", "--json").stdout)["baselines"] == first["baselines"]
    run_cli("evaluate", "--set=eval_args.split={RS: [0.5, 0.25, 0.25]}", "--json")
    assert len(list(kept.parent.iterdir())) == 2  # another split, another file
    kept.write_bytes(b"damaged")
    assert json.loads(run_cli("evaluate", "--json").stdout)["baselines"] == first["baselines"]
    assert len(kept.read_bytes()) > 1000


def test_many_items_leave_out_what_takes_a_while(
    run_cli: RunCli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kgrec_cli.runs.baselines.MAX_ITEMS", 11)
    result = run_cli("evaluate")
    assert "12 items: SequentialRules and EASE take a while" in result.stderr
    assert "EASE" not in result.stdout
    assert "EASE" in run_cli("evaluate", "--baselines", "all").stdout
    assert "Pop" not in run_cli("evaluate", "--baselines", "none").stdout

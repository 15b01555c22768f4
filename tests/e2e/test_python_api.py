"""The Python API: the page's example as it stands there, and what `import kgrec_cli` shows."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import kgrec_cli
from kgrec_cli.errors import KgrecError
from tests.conftest import QUICK, RunCli

REPO_DIR = Path(__file__).parents[2]
SMALL: dict[str, Any] = {
    "embedding_size": 8, "hidden_size": 16, "learning_rate": 0.02, "train_batch_size": 64,
    "threads": 1,
}  # fmt: skip


def page_example() -> str:
    """The code block of docs/python.md."""
    _, _, rest = (REPO_DIR / "docs/python.md").read_text().partition("```python\n")
    return rest.partition("```")[0]


def test_the_example_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sample_data").symlink_to(REPO_DIR / "sample_data")
    # For speed; what the example types wins.
    (tmp_path / "kgrec.yaml").write_text("epochs: 1\nhidden_size: 16\npretrain_kg: {epochs: 1}\n")
    names: dict[str, Any] = {}
    exec(compile(page_example(), "docs/python.md", "exec"), names)
    first, pop, knn, rules, ease, *of_users = capsys.readouterr().out.splitlines()
    trained, masked = names["run"], names["run"].metrics["test_masked"]["ndcg@10"]
    assert first == f"{trained.run_dir} {masked}"
    assert trained.run_dir.parent == Path("saved")
    assert names["result"].metrics["test_masked"]["ndcg@10"] == masked
    assert pop.startswith("Pop 0.")
    assert knn.startswith("ItemKNN 0.")
    assert rules.startswith("SequentialRules 0.")
    assert ease.startswith("EASE 0.")
    assert [line.split()[0] for line in of_users] == ["7", "12"]
    assert all(line.count("', '") + line.count("\", '") >= 3 for line in of_users)
    n_items = len(names["recommender"].item_tokens)
    assert names["scores"].shape == (2, n_items)
    assert names["vectors"].shape == (n_items, 64)
    assert names["best"] in names["recommender"].titles


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, kgrec_cli\n"
        "heavy = {'torch', 'polars', 'pydantic', 'pykeen', 'numpy', 'optuna', 'rich', 'typer'}\n"
        "print({*kgrec_cli.__all__} <= {*dir(kgrec_cli)}, heavy & {*sys.modules})"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert finished.stdout == "True set()\n"


def test_the_help_reads_well() -> None:
    code = "import kgrec_cli; help(kgrec_cli)"
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    for text in (
        "import kgrec_cli as kgrec",
        "class Recommender(",
        "train(dataset: str | None = None, *,",
        "load_run(run: str | pathlib.Path | None = None, *,",
        "Trains GRU4RecKG (or GRU4Rec) and measures it",
    ):
        assert text in finished.stdout
    assert {"train", "Recommender", "__version__"} <= set(kgrec_cli.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        kgrec_cli.trian  # noqa: B018


def test_a_call_gives_what_the_command_gives(small_folder: Path, run_cli: RunCli) -> None:
    (small_folder / "kgrec.yaml").write_text("epochs: 3\ntopk: [5]\nvalid_metric: MRR@5\n")
    trained = kgrec_cli.train(folder=small_folder, quiet=True, **SMALL)
    assert run_cli("train", *QUICK, cwd=small_folder).exit_code == 0
    by_command = kgrec_cli.load_run(folder=small_folder)
    by_call = kgrec_cli.load_run(trained.run_dir, folder=small_folder)
    assert by_command.run_dir != by_call.run_dir
    assert by_command.settings == by_call.settings
    assert (by_command.scores([["i1"]]) == by_call.scores([["i1"]])).all()


def test_settings_are_resolved_as_on_the_command_line(small_folder: Path) -> None:
    (small_folder / "kgrec.yaml").write_text("epochs: 1\nhidden_size: 4\n")
    path = small_folder / "best.yaml"
    path.write_text("hidden_size: 5\nclip_grad_norm: {max_norm: 1.0}\n")
    run = kgrec_cli.train(
        "small", config=path, preset="best", embedding_size=8, clip_grad_norm=None,
        use_gpu=False, folder=small_folder, quiet=True,
    )  # fmt: skip
    settings = kgrec_cli.load_run(run.run_dir, folder=small_folder).settings
    assert (settings.epochs, settings.hidden_size, settings.embedding_size) == (1, 5, 8)
    assert settings.clip_grad_norm is None
    assert (settings.device, settings.layer_norm) == ("cpu", True)
    final = kgrec_cli.train(on_all_data=True, like=run.run_dir, folder=small_folder, quiet=True)
    assert (final.epochs, final.metrics) == (1, {})
    assert kgrec_cli.load_run(final.run_dir, folder=small_folder).settings == settings


def test_vectors_and_a_study_are_made_in_the_folder(small_folder: Path) -> None:
    made = kgrec_cli.pretrain_kg(
        method="DistMult", epochs=1, embedding_size=6, folder=small_folder, quiet=True
    )
    assert (made.method, made.width, len(made.losses)) == ("DistMult", 6, 1)
    assert made.features_path == small_folder / "dataset/small/small.ent_feature"
    space = small_folder / "mine.test"
    space.write_text("dropout_prob choice [0.0, 0.2]\n")
    study = kgrec_cli.tune(space, epochs=1, folder=small_folder, quiet=True, **SMALL)
    assert study.study_dir == small_folder / "studies/small-GRU4RecKG-mine"
    assert len(study.leaderboard) == 2


def test_a_run_is_measured_otherwise(small_folder: Path) -> None:
    kgrec_cli.train(epochs=1, folder=small_folder, quiet=True, **SMALL)
    result = kgrec_cli.evaluate(
        topk=3, metrics=["NDCG"], baselines=False, per_user=small_folder / "ranks.csv",
        eval_args={"split": {"RS": [0.5, 0.25, 0.25]}}, folder=small_folder, quiet=True,
    )  # fmt: skip
    assert list(result.metrics["test"]) == ["ndcg@3"]
    assert result.baselines == {}
    assert len((small_folder / "ranks.csv").read_text().splitlines()) == 61


def test_quiet_shows_nothing_of_what_goes_well(
    small_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kgrec_cli.train(epochs=1, folder=small_folder, quiet=True, show_progress=False, **SMALL)
    assert capsys.readouterr() == ("", "")
    kgrec_cli.train(epochs=1, folder=small_folder, show_progress=False, **SMALL)
    out, err = capsys.readouterr()
    assert out == ""
    assert "show_progress is ignored" in err
    assert "1/1" in err


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: kgrec_cli.train(hiden_size=3), "did you mean 'hidden_size'"),
        (lambda: kgrec_cli.train("smal"), "did you mean 'small'"),
        (lambda: kgrec_cli.train(preset="bset"), "did you mean 'best'"),
        (lambda: kgrec_cli.train(like="x"), "like goes with on_all_data"),
        (lambda: kgrec_cli.evaluate(), "`kgrec train` makes one"),
        (lambda: kgrec_cli.load_run("x"), "no run 'x'"),
        (lambda: kgrec_cli.pretrain_kg(negatves=3), "did you mean 'negatives'"),
        (lambda: kgrec_cli.tune("none.test"), "none.test: no such file"),
        (lambda: kgrec_cli.prepare("x", raw="none.csv"), "none.csv"),
    ],
)
def test_mistakes_are_one_line(
    small_folder: Path, monkeypatch: pytest.MonkeyPatch, call: Any, expected: str
) -> None:
    monkeypatch.chdir(small_folder)
    with pytest.raises(KgrecError) as raised:
        call()
    assert expected in str(raised.value)
    assert "\n" not in str(raised.value)

"""`kgrec train --from RUN`: weights go to the items that they are of, whatever their new ids."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from kgrec_cli.runs.run_files import read_run_items
from tests.conftest import QUICK, RunCli

STAY = ("--learning-rate", "1e-30", "--epochs", "1")  # too small to change a float32


def of_items(run_dir: Path) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The item vector of each item by token, and the tensors that are no tables of items."""
    tensors = load_file(run_dir / "model.safetensors")
    tokens = read_run_items(run_dir)["item_id"]
    vectors = dict(zip(tokens, tensors.pop("item_embedding.weight")[1:], strict=True))
    tensors.pop("entity_embedding.weight", None)
    return vectors, tensors


def add_new(folder: Path) -> None:
    """A user whose new item comes first in the file: all ids move by one. i12 is gone."""
    path = folder / "dataset/small/small.inter"
    head, *rows = path.read_text().splitlines()
    rows = [row for row in rows if "\ti12\t" not in row]
    new = [f"new\t{item}\t5\t{900 + time}" for time, item in enumerate(("fresh", "i3", "i4", "i5"))]
    path.write_text("\n".join([head, *new, *rows, ""]))


@pytest.fixture
def folder(run_cli: RunCli, small_folder: Path) -> Path:
    assert run_cli("train", "--name", "old", "--epochs", "3", *QUICK).exit_code == 0
    return small_folder


@pytest.mark.parametrize("more", [(), ("--preset", "best"), ("--no-freeze-kg",)])
def test_old_weights_are_taken_over_by_token(
    run_cli: RunCli, small_folder: Path, more: tuple[str, ...]
) -> None:
    trained = run_cli("train", "--name", "old", "--epochs", "3", *QUICK, *more)
    assert trained.exit_code == 0, trained.stderr
    add_new(small_folder)
    result = run_cli("train", "--from", "old", "--name", "new", *STAY)
    assert result.exit_code == 0, result.stderr
    n_rows = len((small_folder / "dataset/small/small.inter").read_text().splitlines()) - 1
    told = "from old: 1 of 12 items are new, 1 are gone; 31 users (+1); "
    assert f"{told}{n_rows} interactions ({n_rows - 270:+})" in result.stderr
    old, others = of_items(small_folder / "saved/old")
    new, new_others = of_items(small_folder / "saved/new")
    assert next(iter(old)) == "i1"
    assert list(new)[:2] == ["fresh", "i3"]
    assert old.keys() - new.keys() == {"i12"}
    for token in old.keys() & new.keys():
        torch.testing.assert_close(new[token], old[token], rtol=0, atol=0)
    assert new["fresh"].any()
    for name, tensor in others.items():
        torch.testing.assert_close(new_others[name], tensor, rtol=0, atol=0)
    if "best" in more:
        assert others["seen_bias"] != 0


def test_a_warm_start_goes_on_from_what_was_learned(run_cli: RunCli, folder: Path) -> None:
    """One epoch more after 3 is better than one epoch: the loss of each first epoch says so."""
    add_new(folder)
    losses = {}
    for name, more in (
        ("warm", ("--from", "old")),
        ("anew", ("--config", "saved/old/config.yaml")),
    ):
        assert run_cli("train", "--name", name, *more, "--epochs", "1").exit_code == 0
        line = (folder / f"saved/{name}/history.jsonl").read_text().splitlines()[0]
        losses[name] = json.loads(line)["loss"]
    assert losses["warm"] < losses["anew"] - 0.1


def test_a_stop_within_the_first_epoch_starts_warm_again(run_cli: RunCli, folder: Path) -> None:
    add_new(folder)
    assert run_cli("train", "--from", "old", "--name", "new", "--epochs", "2").exit_code == 0
    whole = load_file(folder / "saved/new/model.safetensors")
    for name in ("metrics.json", "model.safetensors", "history.jsonl"):
        (folder / "saved/new" / name).unlink()
    result = run_cli("train", "--resume", "new")
    assert result.exit_code == 0, result.stderr
    again = load_file(folder / "saved/new/model.safetensors")
    for name, tensor in whole.items():
        torch.testing.assert_close(again[name], tensor, rtol=0, atol=0)


def test_on_all_data(run_cli: RunCli, folder: Path) -> None:
    add_new(folder)
    result = run_cli("train", "--from", "old", "--on-all-data")
    assert result.exit_code == 1
    assert "nothing is held out to stop by, so give --epochs N" in result.error
    assert run_cli("train", "--from", "old", "--name", "warm").exit_code == 0
    for epochs in (("--epochs", "2"), ("--like", "warm")):
        result = run_cli("train", "--from", "old", "--on-all-data", *epochs, "--json")
        assert result.exit_code == 0, result.stderr
    best = json.loads((folder / "saved/warm/metrics.json").read_text())["training"]["best_epoch"]
    assert json.loads(result.stdout)[0]["epochs"] == best


def test_vectors_made_anew_are_told(run_cli: RunCli, folder: Path) -> None:
    path = folder / "dataset/small/small.ent_feature"
    path.write_text(path.read_text().replace("\t1 0", "\t2 0").replace("\t0 1", "\t0 2"))
    result = run_cli("train", "--from", "old", *STAY)
    assert result.exit_code == 0, result.stderr
    assert "3 of 12 items have another entity vector than in old" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (("--hidden-size", "32"), 1, "--from old: its hidden_size is 16, found 32; a warm start"),
        (("--model", "GRU4Rec"), 1, "--from old: its model is GRU4RecKG, found GRU4Rec"),
        (("--set", "layer_norm=true"), 1, "--from old: its layer_norm is False, found True"),
        (("--resume", "old"), 2, "give it alone"),
        (("--dataset", "other"), 1, "it knows no item of other; is it of another data set?"),
        (
            ("--dataset", "wide"),
            1,
            "entity_embedding.weight is 13 x 8 float32, expected 13 x 9 float32",
        ),
    ],
)
def test_a_mistake_is_one_line(
    run_cli: RunCli, folder: Path, arguments: tuple[str, ...], code: int, expected: str
) -> None:
    for name in ("other", "wide"):
        (folder / f"dataset/{name}").mkdir()
        for path in (folder / "dataset/small").iterdir():
            text = path.read_text()
            if name == "other":
                text = text.replace("\ti", "\tother").replace("othertem_id", "item_id")
                text = text.replace("\ni", "\nother")
            elif path.suffix == ".ent_feature":
                text = "".join(f"{line} 1\n" for line in text.splitlines()).replace("seq 1", "seq")
            (folder / f"dataset/{name}/{name}{path.suffix}").write_text(text)
    result = run_cli("train", "--from", "old", *arguments)
    assert result.exit_code == code
    assert expected in result.error
    assert [path.name for path in (folder / "saved").glob("[!.]*")] == ["old"]


def test_a_damaged_run_is_one_line(run_cli: RunCli, folder: Path) -> None:
    shutil.copytree(folder / "saved/old", folder / "saved/bad")
    (folder / "saved/bad/items.tsv").write_text("item_id:token\n")
    result = run_cli("train", "--from", "bad")
    assert result.exit_code == 1
    assert "saved/bad/items.tsv: its header is not" in result.error


def test_weights_that_know_what_is_held_out_are_warned_of(run_cli: RunCli, folder: Path) -> None:
    more = ("--on-all-data", "--like", "old")
    assert run_cli("train", "--name", "final", *more).exit_code == 0
    leaks = "the weights may know events that are held out now"
    assert leaks not in run_cli("train", "--from", "old", *STAY).stderr
    found = run_cli("train", "--from", "final", *STAY)
    assert found.exit_code == 0, found.stderr
    assert f"final was trained on all data, so {leaks}" in found.stderr
    split = ("--set", "eval_args.split={'RS': [8, 1, 1]}")
    assert leaks in run_cli("train", "--from", "old", *STAY, *split).stderr
    for before, name in (("final", "day2"), ("day2", "day3")):
        assert run_cli("train", "--from", before, "--name", name, *STAY).exit_code == 0
    found = run_cli("train", "--from", "day3", *STAY)
    assert f"final was trained on all data, so {leaks}" in found.stderr
    shutil.rmtree(folder / "saved/day2")
    found = run_cli("train", "--from", "day3", *STAY)
    assert found.exit_code == 0, found.stderr
    assert leaks not in found.stderr
    assert "day3 comes from day2, which is gone: it is not known whether that saw" in found.stderr
    fitted = run_cli("train", "--from", "final", "--on-all-data", *STAY)
    assert fitted.exit_code == 0, fitted.stderr
    assert leaks not in fitted.stderr


def test_torchrun_resumes_the_training_it_began(
    run_cli: RunCli, small_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a stopped one of the same settings with other first weights, nor one of several seeds."""
    assert run_cli("train", "--name", "old", "--epochs", "2", *QUICK).exit_code == 0
    assert run_cli("train", "--from", "old", "--name", "stopped", "--epochs", "2").exit_code == 0
    (small_folder / "saved/stopped/metrics.json").unlink()
    (small_folder / "saved/zz").mkdir()
    (small_folder / "saved/zz/config.yaml").write_text("epochs: [")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    again = ("--config", "saved/old/config.yaml", "--epochs", "2")
    found = run_cli("train", *again, "--seeds", "2")
    assert found.exit_code == 1
    assert "torchrun began 2 seeds again" in found.stderr
    found = run_cli("train", *again, "--name", "anew")
    assert found.exit_code == 0, found.stderr
    assert (small_folder / "saved/anew/metrics.json").is_file()
    found = run_cli("train", "--from", "old", "--epochs", "2")
    assert found.exit_code == 0, found.stderr
    assert (small_folder / "saved/stopped/metrics.json").is_file()

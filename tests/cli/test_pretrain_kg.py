"""`kgrec pretrain-kg` as typed: what it writes and shows, and each mistake."""

import errno
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kgrec_cli.formats import files
from kgrec_cli.formats.atomic import read_entity_features
from tests.conftest import RunCli

QUICK = ("--embedding-size=8", "--epochs=3", "--batch-size=4", "--negatives=2", "--threads=1")


def dataset_file(folder: Path, suffix: str) -> Path:
    return folder / "dataset/small" / f"small.{suffix}"


def test_the_next_command_names_a_data_set_that_the_folder_does_not(
    run_cli: RunCli, small_folder: Path
) -> None:
    (small_folder / "kgrec.yaml").write_text("dataset: other\n")
    result = run_cli("pretrain-kg", "--method", "transe", "--dataset", "small", *QUICK)
    assert "next: kgrec train --freeze-kg --dataset small" in result.stdout
    (small_folder / "kgrec.yaml").write_text("dataset: small\n")
    result = run_cli("pretrain-kg", "--method", "transe", *QUICK)
    assert result.stdout.rstrip().endswith("next: kgrec train --freeze-kg")


def read_sidecar(folder: Path) -> dict[str, object]:
    return json.loads(dataset_file(folder, "ent_feature.json").read_text())


def test_it_writes_vectors_and_says_what_comes_next(run_cli: RunCli, small_folder: Path) -> None:
    dataset_file(small_folder, "ent_feature").unlink()
    result = run_cli("pretrain-kg", "--method", "transe", *QUICK)
    assert result.exit_code == 0, result.stderr
    assert "TransE: 10 entities x 8 from 10 triples" in result.stdout
    assert "next: kgrec train --freeze-kg" in result.stdout
    assert "10 of 10 links lead to an entity of the graph" in result.stderr
    assert "TransE: 3 epochs (loss " in result.stderr
    entities, vectors = read_entity_features(dataset_file(small_folder, "ent_feature"))
    assert (len(entities), vectors.shape) == (10, (10, 8))
    assert not list(small_folder.rglob(".*"))


def test_json_is_all_there_is_on_standard_output(run_cli: RunCli, small_folder: Path) -> None:
    result = run_cli("pretrain-kg", "--json", "--method", "ComplEx", *QUICK)
    value = json.loads(result.stdout)
    assert (value["method"], value["n_entities"], value["embedding_size"]) == ("ComplEx", 10, 8)
    assert value["loss"] == read_sidecar(small_folder)["losses"][-1]
    assert result.stderr == ""


def test_settings_come_from_the_block_of_the_file_and_options_win(
    run_cli: RunCli, small_folder: Path
) -> None:
    (small_folder / "kgrec.yaml").write_text(
        "dataset: small\nembedding_size: 4\nepochs: 77\n"
        "pretrain_kg:\n  method: DistMult\n  epochs: 9\n  negatives: 3\n"
    )
    result = run_cli("pretrain-kg", "--epochs", "2", "--set", "pretrain_kg.seed=5")
    assert result.exit_code == 0, result.stderr
    sidecar = read_sidecar(small_folder)
    found = {name: sidecar["settings"][name] for name in ("epochs", "negatives", "seed")}
    assert found == {"epochs": 2, "negatives": 3, "seed": 5}
    assert (sidecar["method"], sidecar["embedding_size"]) == ("DistMult", 4)


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (("--method", "TransEE"), 2, "unknown method 'TransEE': did you mean 'TransE'?"),
        (("--method", "RGCN"), 2, "method RGCN cannot be used here"),
        (("--method", "RotatE", "--embedding-size", "7"), 2, "must be a multiple of 2; found 7"),
        (("--epochs", "0"), 2, "Invalid value for '--epochs'"),
        (("--learning-rate", "-1"), 2, "pretrain_kg.learning_rate: found -1.0"),
        (("--set", "pretrain_kg.epoch=3"), 2, "did you mean 'epochs'?"),
        (("--dataset", "smal"), 1, "did you mean 'small'?"),
        (("--validate",), 1, "no triple can be held out"),
        (("--device", "gpu"), 2, "device: found 'gpu'"),
    ],
)
def test_a_mistake_is_one_line(
    run_cli: RunCli, small_folder: Path, arguments: tuple[str, ...], code: int, expected: str
) -> None:
    kg_path = dataset_file(small_folder, "kg")
    if "--validate" in arguments:
        kg_path.write_text("".join(kg_path.read_text().splitlines(keepends=True)[:2]))
    before = dataset_file(small_folder, "ent_feature").read_bytes()
    result = run_cli("pretrain-kg", *arguments)
    assert result.exit_code == code, result.stderr
    assert expected in result.error
    assert dataset_file(small_folder, "ent_feature").read_bytes() == before


def test_without_a_graph_it_says_how_to_get_one(run_cli: RunCli, small_folder: Path) -> None:
    dataset_file(small_folder, "kg").unlink()
    result = run_cli("pretrain-kg", *QUICK)
    assert result.exit_code == 1
    assert "small.kg: no such file; `kgrec prepare` makes it" in result.error


def test_a_full_disk_is_one_line_and_spoils_nothing(
    run_cli: RunCli, small_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_cli("pretrain-kg", *QUICK).exit_code == 0
    names = ("ent_feature", "ent_feature.json")
    before = [dataset_file(small_folder, name).read_bytes() for name in names]

    def no_space(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", no_space)
    result = run_cli("pretrain-kg", "--seed", "1", *QUICK)
    assert result.exit_code == 1
    assert "No space left on device" in result.error
    assert [dataset_file(small_folder, name).read_bytes() for name in names] == before
    assert not list(small_folder.rglob(".*"))


@pytest.mark.slow
def test_a_process_killed_outright_resumes_to_the_same_bytes(
    run_cli: RunCli, small_folder: Path
) -> None:
    options = [*QUICK, "--epochs=400"]
    assert run_cli("pretrain-kg", *options).exit_code == 0
    whole = dataset_file(small_folder, "ent_feature").read_bytes()
    dataset_file(small_folder, "ent_feature").unlink()
    code = (
        "import functools, sys; from kgrec_cli.stages import pretrain_kg as stage; "
        "stage.run_pretrain_kg = functools.partial(stage.run_pretrain_kg, save_every_s=0); "
        "from kgrec_cli.cli import main; main(sys.argv[1:])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, "pretrain-kg", *options],
        cwd=small_folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    checkpoint = dataset_file(small_folder, "ent_feature.checkpoint.safetensors")
    until = time.monotonic() + 60
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert checkpoint.exists(), "killed too late, or never saved"
    assert not dataset_file(small_folder, "ent_feature").exists()
    result = run_cli("pretrain-kg", *options, "--resume")
    assert result.exit_code == 0, result.stderr
    assert "resuming after epoch" in result.stderr
    assert dataset_file(small_folder, "ent_feature").read_bytes() == whole
    assert checkpoint.exists()  # from which more --epochs go on

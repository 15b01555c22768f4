"""A damaged file of a run: a result, or one line that names the file. Never anything else."""

import json
import math
import random
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import polars as pl
import pytest
import torch

from kgrec_cli.config import build_settings
from kgrec_cli.errors import KgrecError, Stopped
from kgrec_cli.events import EpochDone, Event, Warn, ignore_event
from kgrec_cli.formats.files import write_table
from kgrec_cli.runs.held_out import evaluation_settings
from kgrec_cli.runs.recommender import load_recommender
from kgrec_cli.runs.run_files import (
    CHECKPOINT,
    CONFIG,
    ENVIRONMENT,
    HISTORY,
    ITEMS,
    METRICS,
    MODEL,
    read_tensors,
    write_tensors,
)
from kgrec_cli.stages.base_settings import final_fit_settings
from kgrec_cli.stages.evaluate import run_evaluate
from kgrec_cli.stages.export.recbole import run_export
from kgrec_cli.stages.train import resume_train, run_train
from tests.conftest import write_small_dataset

Use = Callable[[Path, Path], object]
SETTINGS = {
    "dataset": "small", "epochs": 2, "threads": 1, "embedding_size": 8, "hidden_size": 8,
    "train_batch_size": 64, "ema_decay": 0.9, "topk": [5], "valid_metric": "NDCG@5",
}  # fmt: skip
EXTREMES = [b"0", b"-1", b"1e999", b"NaN", b"null", b"1000000000000", b"9" * 400, b"[[]]", b'"x"']


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a finished run, and one stopped after its last epoch."""
    folder = tmp_path_factory.mktemp("damaged")
    write_small_dataset(folder)
    settings = build_settings(SETTINGS, "test")
    run_train(settings, folder, on_event=ignore_event)

    def stop(event: Event) -> None:
        if isinstance(event, EpochDone) and event.epoch == 2:
            raise KeyboardInterrupt

    with suppress(Stopped):
        run_train(settings.model_copy(update={"seed": 1}), folder, on_event=stop)
    return folder


@pytest.fixture
def finished(folder: Path) -> Path:
    return next(run for run in (folder / "saved").iterdir() if (run / METRICS).is_file())


@pytest.fixture
def stopped(folder: Path) -> Path:
    return next(run for run in (folder / "saved").iterdir() if (run / CHECKPOINT).is_file())


def mutate(content: bytes, rng: random.Random) -> bytes:
    """The bytes with one to three changes, of the kinds that disks, editors and transfers make."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(changed) + 1)
        span = slice(at, at + rng.choice((1, 1, 2, 8, 100)))
        match rng.randrange(7):
            case 0:
                changed[span] = rng.randbytes(len(changed[span]))
            case 1:
                del changed[span]
            case 2:
                changed[at:at] = rng.choice((b"\n", b"\t", b"{", b"]", b"\0", b"\xff", b": ", b"-"))
            case 3:
                changed[span] = bytes(len(changed[span]))
            case 4:
                del changed[at:]
            case 5:
                changed[at:at] = changed[span]
            case 6:
                digits = [n for n, byte in enumerate(changed) if chr(byte).isdigit()]
                if digits:
                    place = rng.choice(digits)
                    changed[place : place + 1] = rng.choice(EXTREMES)
    return bytes(changed)


def evaluate(run_dir: Path, folder: Path) -> None:
    settings = evaluation_settings(run_dir, {"topk": [5]})
    run_evaluate(run_dir, folder, settings=settings, threads=1, on_event=ignore_event)


def recommend(run_dir: Path, folder: Path) -> None:
    run = load_recommender(run_dir, folder, threads=1)
    (found,) = run.recommend(histories=[run.item_tokens[:2]], topk=3)
    assert all(math.isfinite(item.score) for item in found.items)


def export(run_dir: Path, folder: Path) -> None:
    run_export(run_dir, folder, folder / "out.pth", on_event=ignore_event)


def fit_all(run_dir: Path, folder: Path) -> None:
    final_fit_settings(folder, str(run_dir), None, ignore_event)


def resume(run_dir: Path, folder: Path) -> None:
    copy = folder / "resumed"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(run_dir, copy)
    resume_train(copy, folder, threads=1, on_event=ignore_event)


def check_use(use: Use, run_dir: Path, folder: Path) -> str | None:
    """The line that a use of a run ends in; None for a result. Anything else escapes."""
    try:
        use(run_dir, folder)
    except KgrecError as error:
        line = str(error)
        assert "\n" not in line
        assert len(line.replace(str(folder), "")) < 300, line
        return line
    return None


@pytest.fixture
def kept(finished: Path, stopped: Path) -> Iterator[None]:
    """Puts the files of both runs back."""
    runs = (finished, stopped)
    before = {path: path.read_bytes() for run in runs for path in run.iterdir()}
    yield
    for path, content in before.items():
        path.write_bytes(content)


USES: dict[str, tuple[Use, ...]] = {
    CONFIG: (recommend, evaluate, fit_all),
    ITEMS: (recommend,),
    ENVIRONMENT: (recommend,),
    MODEL: (recommend, evaluate),
    METRICS: (evaluate, export, fit_all),
    HISTORY: (recommend,),
}


@pytest.mark.parametrize("name", USES)
@pytest.mark.usefixtures("kept")
def test_a_damaged_file_of_a_finished_run(folder: Path, finished: Path, name: str) -> None:
    content = (finished / name).read_bytes()
    lines = []
    for seed in range(40):
        (finished / name).write_bytes(mutate(content, random.Random(f"{name} {seed}")))
        lines += [check_use(use, finished, folder) for use in USES[name]]
    assert any(lines) == (name != HISTORY)


@pytest.mark.parametrize("name", [CHECKPOINT, CONFIG, ENVIRONMENT, HISTORY])
@pytest.mark.usefixtures("kept")
def test_a_damaged_file_of_a_stopped_run(folder: Path, stopped: Path, name: str) -> None:
    content = (stopped / name).read_bytes()
    lines = []
    for seed in range(40):
        (stopped / name).write_bytes(mutate(content, random.Random(f"{name} {seed}")))
        lines.append(check_use(resume, stopped, folder))
    assert any(lines) == (name != HISTORY)


def spoil_weight(path: Path, name: str, value: float) -> None:
    tensors, meta = read_tensors(path)
    tensors[name].view(-1)[3] = value
    write_tensors(path, tensors, meta)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("use", [evaluate, recommend, export])
@pytest.mark.usefixtures("kept")
def test_a_weight_that_is_not_finite_is_one_line(
    folder: Path, finished: Path, use: Use, value: float
) -> None:
    spoil_weight(finished / MODEL, "item_embedding.weight", value)
    line = check_use(use, finished, folder)
    assert line is not None
    assert f"{MODEL}: not the weights of this config.yaml: item_embedding.weight holds" in line
    assert line.endswith("numbers that are not finite; put back a copy of it, or train anew")


@pytest.mark.usefixtures("kept")
def test_weights_whose_scores_overflow_are_one_line(folder: Path, finished: Path) -> None:
    tensors, meta = read_tensors(finished / MODEL)
    tensors["item_embedding.weight"][1:] = 3e38
    tensors["dense_layer.bias"][:] = 3e38
    write_tensors(finished / MODEL, tensors, meta)
    for use in (evaluate, recommend):
        line = check_use(use, finished, folder)
        assert line is not None
        assert "not finite numbers: the training has diverged; train anew with a lower" in line


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda meta: meta.pop("history"), "history: Field required"),
        (lambda meta: meta["history"].pop(), "its history is not that of 2 epochs"),
        (lambda meta: meta.update(epoch="2"), "epoch: Input should be a valid integer"),
        (lambda meta: meta.update(best_epoch=3), "its history is not that of 2 epochs"),
        (lambda meta: meta.update(epoch=10**30), "epoch: "),
    ],
)
@pytest.mark.usefixtures("kept")
def test_a_checkpoint_of_another_shape_is_one_line(
    folder: Path, stopped: Path, spoil: Callable[[dict], object], expected: str
) -> None:
    tensors, meta = read_tensors(stopped / CHECKPOINT)
    spoil(meta)
    write_tensors(stopped / CHECKPOINT, tensors, meta)
    line = check_use(resume, stopped, folder)
    assert line is not None
    assert f"{CHECKPOINT}: {expected}" in line
    assert line.endswith("put back a copy of it, or remove it to start from the first epoch")


@pytest.mark.parametrize(
    ("name", "tensor", "expected"),
    [
        (
            "model.dense_layer.bias",
            torch.zeros(7),
            "dense_layer.bias is 7 float32, expected 8 floa",
        ),
        (
            "model.dense_layer.bias",
            torch.zeros(8).half(),
            "dense_layer.bias is 8 float16, expected",
        ),
        ("model.dense_layer.bias", torch.full((8,), math.nan), "dense_layer.bias holds numbers th"),
        ("model.x", torch.zeros(1), "x is not of this model"),
        ("best.dense_layer.bias", None, "no dense_layer.bias in it"),
        ("averaged.n_averaged", None, "no n_averaged in it"),
        ("optimizer.0.exp_avg", torch.zeros(3), "the optimizer's state 0: exp_avg is 3 float32"),
        ("optimizer.0.exp_avg", None, "the optimizer's state 0 is not of this model"),
        ("optimizer.99.step", torch.tensor(1.0), "the optimizer's state 99 is not of this model"),
        ("optimizer.x.step", torch.tensor(1.0), "the optimizer's state -1 is not of this model"),
        ("optimizer.0.step", torch.tensor(math.inf), "the optimizer's count of steps is no"),
    ],
)
@pytest.mark.usefixtures("kept")
def test_a_checkpoint_of_other_tensors_is_one_line(
    folder: Path, stopped: Path, name: str, tensor: torch.Tensor | None, expected: str
) -> None:
    tensors, meta = read_tensors(stopped / CHECKPOINT)
    tensors.pop(name, None)
    if tensor is not None:
        tensors[name] = tensor
    write_tensors(stopped / CHECKPOINT, tensors, meta)
    assert f"{CHECKPOINT}: {expected}" in (check_use(resume, stopped, folder) or "")


@pytest.mark.usefixtures("kept")
def test_a_damaged_run_breaks_no_final_fit(folder: Path, finished: Path) -> None:
    other = folder / "saved" / "small-other"
    shutil.copytree(finished, other)
    try:
        (other / METRICS).write_text("{")
        (other / ENVIRONMENT).touch()  # the newest
        events: list[Event] = []
        values = final_fit_settings(folder, None, None, events.append)
        assert values["dataset"] == "small"
        (warning,) = events
        assert isinstance(warning, Warn)
        assert f"passed over: {other / METRICS}: not a JSON file" in warning.text
    finally:
        shutil.rmtree(other)


@contextmanager
def disk_of(n_bytes: int) -> Iterator[None]:
    """Every file that is written ends at `n_bytes`, as on a disk that is full then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_is_full_at_the_start_leaves_no_run(small_folder: Path) -> None:
    settings = build_settings(SETTINGS, "test")
    with disk_of(100), pytest.raises(KgrecError, match=r"config\.yaml: cannot write"):
        run_train(settings, small_folder, on_event=ignore_event)
    assert not (small_folder / "saved").exists()


def test_a_disk_that_is_full_later_leaves_the_last_checkpoint(small_folder: Path) -> None:
    settings = build_settings({**SETTINGS, "epochs": 3}, "test")
    with ExitStack() as stack:

        def fill(event: Event) -> None:
            if isinstance(event, EpochDone) and event.epoch == 2:
                stack.enter_context(disk_of(3000))

        with pytest.raises(KgrecError, match=r"cannot write .*`kgrec train --resume .*` resumes$"):
            run_train(settings, small_folder, on_event=fill)
    (run_dir,) = (small_folder / "saved").iterdir()
    assert {path.name for path in run_dir.iterdir()} == {
        CONFIG, ENVIRONMENT, ITEMS, HISTORY, CHECKPOINT
    }  # fmt: skip
    assert read_tensors(run_dir / CHECKPOINT)[1]["epoch"] == 2
    run = resume_train(run_dir, small_folder, on_event=ignore_event)
    (whole,) = run_train(settings, small_folder, on_event=ignore_event)
    assert (run.epochs, run.metrics) == (3, whole.metrics)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet", ".pth"])
def test_an_export_to_a_full_disk_is_one_line(
    folder: Path, finished: Path, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"out{suffix}"
    table = pl.DataFrame({"user": [str(n) for n in range(1000)]})
    write: Callable[[], object] = partial(write_table, path, table)
    if suffix == ".pth":
        write = partial(run_export, finished, folder, path, on_event=ignore_event)
    with disk_of(100), pytest.raises(KgrecError, match="cannot write") as caught:
        write()
    assert len(str(caught.value).replace(str(tmp_path), "")) < 200
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("kept")
def test_metrics_are_shown_where_they_cannot_be_kept(folder: Path, finished: Path) -> None:
    before, events = (finished / METRICS).read_bytes(), []
    settings = evaluation_settings(finished, {"topk": [5]})
    with disk_of(100):
        result = run_evaluate(finished, folder, settings=settings, on_event=events.append)
    assert result.metrics["test"].keys() >= {"ndcg@5", "hit@5"}
    assert not result.is_kept
    assert isinstance(events[-1], Warn)
    assert events[-1].text.endswith("these metrics are shown, but not kept")
    assert (finished / METRICS).read_bytes() == before
    assert run_evaluate(finished, folder, settings=settings, on_event=ignore_event).is_kept


def test_the_same_run_twice_has_the_same_weights_file(small_folder: Path) -> None:
    settings = build_settings(SETTINGS, "test")
    one, other = (run_train(settings, small_folder, on_event=ignore_event)[0] for _ in range(2))
    assert one.run_dir != other.run_dir
    assert (one.run_dir / MODEL).read_bytes() == (other.run_dir / MODEL).read_bytes()


def test_ids_spelled_like_the_padding_are_ids(small_folder: Path) -> None:
    for path in (small_folder / "dataset" / "small").iterdir():
        text = path.read_text().replace("i3\t", "[PAD]\t").replace("u4\t", "[PAD]\t")
        path.write_text(text)
    settings = build_settings(SETTINGS, "test")
    (run,) = run_train(settings, small_folder, on_event=ignore_event)
    loaded = load_recommender(run.run_dir, small_folder, threads=1)
    assert len(loaded.items) == 13
    assert "[PAD]" in loaded.item_tokens
    (of_user,) = loaded.recommend(users=["[PAD]"], topk=12)
    listed = {item.item for item in of_user.items} | {item for item, _ in of_user.history}
    assert listed == set(loaded.item_tokens)
    (after,) = loaded.recommend(histories=[["[PAD]", "i4"]], topk=1)
    assert after.history == [("[PAD]", "Film No 3"), ("i4", "Film No 4")]


def test_json_of_a_run_is_strict(finished: Path) -> None:
    def refuse(text: str) -> float:
        raise AssertionError(text)

    for name in (METRICS, ENVIRONMENT):
        json.loads((finished / name).read_text(), parse_constant=refuse)
    for line in (finished / HISTORY).read_text().splitlines():
        json.loads(line, parse_constant=refuse)

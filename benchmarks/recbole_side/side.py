"""What the real RecBole does, told as arrays: run by its own Python, never imported by kgrec.

    python recbole_side.py JOB.json

The job names a folder of atomic files, a folder for the results and the cases: RecBole settings
each, and what to tell of them. Every case gives `CASE.npz` and `CASE.json`.
"""

import contextlib
import copy
import json
import logging
import os
import re
import sys
import time
import traceback
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
job = json.loads(Path(sys.argv[1]).read_text())
sys.argv = sys.argv[:1]  # RecBole reads the command line itself
os.chdir(job["work_dir"])  # it writes log/ and saved/ where it stands

import numpy as np  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(job.get("threads", 1))
plain_load = torch.load  # its checkpoints hold a pickled Config
torch.load = lambda *a, **k: plain_load(*a, **{**k, "weights_only": False})

from recbole.config import Config  # noqa: E402
from recbole.data import create_dataset, data_preparation  # noqa: E402
from recbole.evaluator.collector import Collector  # noqa: E402
from recbole.quick_start import run_recbole  # noqa: E402
from recbole.utils import early_stopping, get_model, get_trainer, init_seed  # noqa: E402

get_model("GRU4RecKG")  # imports all of its sequential models, and one switches on:
torch.autograd.set_detect_anomaly(False)


def get_data_struct(collector):
    """As RecBole's, which fails on counts: it asks an int and a Counter for their `cpu()`."""
    kept = collector.data_struct
    for key, value in kept._data_dict.items():
        if isinstance(value, torch.Tensor):
            kept._data_dict[key] = value.cpu()
    told = copy.deepcopy(kept)
    for key in ("rec.topk", "rec.meanrank", "rec.score", "rec.items", "data.label"):
        if key in kept:
            del kept._data_dict[key]
    return told


Collector.get_data_struct = get_data_struct

BASE = {
    "use_gpu": False,
    "show_progress": False,
    "state": "ERROR",
    "load_col": {
        "inter": ["user_id", "item_id", "rating", "timestamp"],
        "kg": ["head_id", "relation_id", "tail_id"],
        "link": ["item_id", "entity_id"],
        "ent_feature": ["ent_id", "ent_vec"],
    },
    "alias_of_entity_id": ["ent_id"],
    "preload_weight": {"ent_id": "ent_vec"},
    "additional_feat_suffix": ["ent_feature"],
    "train_neg_sample_args": None,
    "eval_args": {
        "split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full", "group_by": "user"
    },
    "normalize_all": False,
}  # fmt: skip


def tell_samples(dataset) -> dict[str, np.ndarray]:
    """User, target and history of each sample, as ids."""
    inter, items = dataset.inter_feat, dataset.iid_field
    return {
        "user": inter[dataset.uid_field].numpy(),
        "target": inter[items].numpy(),
        "history": inter[f"{items}_list"].numpy(),
        "length": inter["item_length"].numpy(),
    }


def probe(model, batch) -> dict[str, np.ndarray]:
    """Scores, loss and gradients for one batch."""
    model.train()  # dropout_prob is 0 in the cases that ask for this
    model.zero_grad()
    states = model.forward(batch["item_id_list"], batch["item_length"])
    loss = model.calculate_loss(batch)
    loss.backward()
    told = {
        "probe.history": batch["item_id_list"].numpy(),
        "probe.length": batch["item_length"].numpy(),
        "probe.target": batch["item_id"].numpy(),
        "probe.scores": (states @ model.item_embedding.weight.T).detach().numpy(),
        "probe.loss": loss.detach().numpy(),
    }
    if "neg_item_id" in batch:
        told["probe.negative"] = batch["neg_item_id"].numpy()
    for name, weight in model.named_parameters():
        if weight.grad is not None:
            told[f"grad.{name}"] = weight.grad.numpy().copy()
    return told


def train_epochs(trainer, train_data, n_epochs: int) -> dict[str, np.ndarray]:
    """RecBole's own training in float64: the batches in order, losses, the weights at the end."""
    model, told, losses = trainer.model.double(), {}, []

    def listen(batch):
        number = len(losses)
        told[f"batch{number}.user"] = batch["user_id"].numpy()
        told[f"batch{number}.history"] = batch["item_id_list"].numpy()
        told[f"batch{number}.length"] = batch["item_length"].numpy()
        told[f"batch{number}.target"] = batch["item_id"].numpy()
        if "neg_item_id" in batch:
            told[f"batch{number}.negative"] = batch["neg_item_id"].numpy()
        loss = model.calculate_loss(batch)
        losses.append(loss.item())
        return loss

    for epoch in range(n_epochs):
        trainer._train_epoch(train_data, epoch, loss_func=listen)
    told["losses"] = np.array(losses)
    told |= {f"after.{name}": value.numpy() for name, value in model.state_dict().items()}
    return told


def time_batches(trainer, train_data, n_batches: int) -> dict[str, float]:
    """Targets trained a second over the first batches, as shipped and without anomaly detection."""
    told = {}
    for name, detect in (("as_shipped", True), ("at_its_best", False)):
        torch.autograd.set_detect_anomaly(detect)
        trainer.model.train()
        began, n_targets = None, 0
        for number, batch in enumerate(train_data):
            if number == 1:  # the first is a warm-up
                began = time.perf_counter()
            trainer.optimizer.zero_grad()
            trainer.model.calculate_loss(batch).backward()
            trainer.optimizer.step()
            n_targets += len(batch) if number else 0
            if number == n_batches:
                break
        told[name] = n_targets / (time.perf_counter() - began)
    torch.autograd.set_detect_anomaly(False)
    return told


def tell_candidates(data) -> dict[str, np.ndarray]:
    """The users, targets and candidates of a data loader that samples negatives."""
    users, targets, candidates = [], [], []
    for interaction, row_index, _, positive_items in data:
        items = interaction["item_id"].numpy()
        for row, target in enumerate(positive_items.numpy()):
            own = items[row_index.numpy() == row]
            users.append(int(interaction["user_id"].numpy()[row_index.numpy() == row][0]))
            targets.append(int(target))
            candidates.append(own[own != target])
    width = min(len(row) for row in candidates)
    return {
        "candidates.user": np.array(users),
        "candidates.target": np.array(targets),
        "candidates.items": np.array([row[:width] for row in candidates]),
    }


def fit(trainer, train_data, valid_data, limit_cpu_s: float | None) -> dict:
    """RecBole's `fit`, its best checkpoint saved; after so many CPU seconds no epoch begins."""
    scores, cut_short = [], True

    def listen(epoch: int, score: float) -> None:
        scores.append(float(score))
        seconds = time.process_time()
        print(f"epoch {epoch + 1}: {score:.6f}, {seconds:.0f} CPU seconds", flush=True)
        if limit_cpu_s is not None and seconds > limit_cpu_s:
            raise TimeoutError

    with contextlib.suppress(TimeoutError):
        trainer.fit(train_data, valid_data, saved=True, show_progress=False, callback_fn=listen)
        cut_short = False
    return {
        "best": max(scores),
        "checkpoint": trainer.saved_model_file,
        "valid_scores": scores,
        "cut_short": cut_short,
    }


def tell_scores(model, data) -> dict[str, np.ndarray]:
    """The scores of all items after the history of each sample, with the sample's user."""
    model.eval()
    told = data._dataset.inter_feat
    with torch.no_grad():
        scores = torch.cat([
            model.full_sort_predict(told[begin : begin + 256]).view(-1, data._dataset.item_num)
            for begin in range(0, len(told), 256)
        ])  # fmt: skip
    return {"scores": scores.numpy(), "scores.user": told["user_id"].numpy()}


def run_case(name: str, case: dict) -> None:
    """Writes the answers of one case."""
    settings, data_name = {**BASE, **case["settings"]}, case["dataset"]
    model_name = case.get("model", "GRU4RecKG")
    config = Config(model=model_name, dataset=data_name, config_dict=settings)
    config["data_path"] = str(Path(job["data_path"]) / data_name)
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    train_data, valid_data, test_data = data_preparation(config, dataset)
    init_seed(config["seed"], config["reproducibility"])
    model = get_model(model_name)(config, train_data._dataset)
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    for epoch in range(case.get("warm_up", 0)):
        trainer._train_epoch(train_data, epoch)
    wanted = case["tell"]
    told = {f"weight.{key}": value.numpy().copy() for key, value in model.state_dict().items()}
    said = {
        "items": [str(token) for token in dataset.field2id_token[dataset.iid_field]],
        "users": [str(token) for token in dataset.field2id_token[dataset.uid_field]],
    }
    if "samples" in wanted:
        for part, data in (("train", train_data), ("valid", valid_data), ("test", test_data)):
            for key, value in tell_samples(data._dataset).items():
                told[f"{part}.{key}"] = value
    if "probe" in wanted:
        told |= probe(model, next(iter(train_data)))
    if "metrics" in wanted:
        for part, data in (("valid", valid_data), ("test", test_data)):
            trainer.eval_collector.data_collect(train_data)
            said[part] = dict(trainer.evaluate(data, load_best_model=False))
        model.eval()
        batch = test_data._dataset.inter_feat
        with torch.no_grad():
            scores = model.full_sort_predict(batch).view(len(batch), -1)
        scores[:, 0] = -np.inf
        told["top.items"] = scores.topk(10, dim=1).indices.numpy()
        told["top.user"] = batch["user_id"].numpy()
    if "candidates" in wanted:
        init_seed(1, True)  # the loader draws its negatives anew each time it is read
        told |= tell_candidates(test_data)
        init_seed(1, True)
        said["test"] = dict(trainer.evaluate(test_data, load_best_model=False))
    if "load" in case:
        model.load_state_dict(torch.load(case["load"])["state_dict"])
        trainer.eval_collector.data_collect(train_data)
        said["loaded"] = dict(trainer.evaluate(test_data, load_best_model=False))
    if "epochs" in wanted:
        told |= train_epochs(trainer, train_data, job["n_epochs"])
    if "ranking" in wanted:
        trainer.eval_collector.data_collect(train_data)
        began = time.perf_counter()
        for data in (valid_data, test_data):
            trainer.evaluate(data, load_best_model=False)
        said["ranking_s"] = time.perf_counter() - began
    if "rate" in wanted:
        said["rate"] = time_batches(trainer, train_data, job["n_batches"])
    if "fit" in wanted:
        assert not torch.is_anomaly_enabled()  # half as long again is not its best
        began = time.perf_counter()
        said["fit"] = fit(trainer, train_data, valid_data, case.get("limit_cpu_s"))
        said["fit"]["elapsed_s"] = time.perf_counter() - began
        said["fit"]["test"] = dict(trainer.evaluate(test_data, load_best_model=True))
        best_state = torch.load(trainer.saved_model_file)["state_dict"]
        told |= {f"best.{key}": value.numpy() for key, value in best_state.items()}
    if "scores" in wanted:
        told |= tell_scores(model, test_data)
    np.savez(Path(job["out_dir"]) / f"{name}.npz", **told)
    tell_json(name, said)


def run_early_stopping(sequences: list[list[float]], max_step: int) -> list[list[float]]:
    """Best score, epoch of the best and epoch of the stop, for each sequence of scores."""
    told = []
    for scores in sequences:
        best, step, best_at, stopped_at = -np.inf, 0, 0, len(scores)
        for number, score in enumerate(scores, start=1):
            best, step, stop, better = early_stopping(score, best, step, max_step, bigger=True)
            best_at = number if better else best_at
            if stop:
                stopped_at = number
                break
        told.append([best, best_at, stopped_at])
    return told


def run_quick(dataset_name: str, settings: dict) -> dict:
    """What RecBole's `run_recbole` returns, and the last two lines that it prints."""
    settings = {**BASE, **settings, "data_path": job["data_path"]}
    lines = []
    listener = logging.Handler()
    listener.emit = lambda record: lines.append(re.sub(r"\x1b\[[\d;]*m", "", record.getMessage()))
    logging.getLogger().addHandler(listener)
    logging.getLogger().setLevel(logging.INFO)  # with a handler there, RecBole sets none
    told = run_recbole(model="GRU4RecKG", dataset=dataset_name, config_dict=settings)
    return {**told, "printed": lines[-2:]}


def tell_json(name: str, value) -> None:
    """Writes a JSON value beside the arrays."""
    (Path(job["out_dir"]) / f"{name}.json").write_text(json.dumps(value, default=float))


for case_name, case_settings in job["cases"].items():
    try:
        run_case(case_name, case_settings)
    except Exception:
        tell_json(case_name, {"error": traceback.format_exc()})
if "early_stopping" in job:
    tell_json("early_stopping", run_early_stopping(job["early_stopping"], job["stopping_step"]))
arguments = Config(model="GRU4RecKG", dataset="toy", config_dict=BASE).parameters.values()
tell_json("arguments", [name for group in arguments for name in group])
if "quick" in job:
    tell_json("quick", run_quick(*job["quick"]))

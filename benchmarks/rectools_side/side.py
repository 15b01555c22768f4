"""Trains RecTools' SASRec and tells its scores; run by a Python of its own.

    python side.py JOB.json

Each user's last event is the test target and no part of what this reads for training; the one
before it validates: the epoch with the best NDCG@10, seen items masked, is the one that is kept.
Writes `fit.npz` and `fit.json` into the folder that the job names, in the form of RecBole's side.
"""

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Trainer, seed_everything
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel

warnings.filterwarnings("ignore")
METRIC, CUTOFF, PATIENCE, MAX_EPOCHS = "ndcg", 10, 10, 300


def read_events(path: Path) -> pd.DataFrame:
    """The events of an atomic file, users together, each user's in time order, one second apart.

    Events of the same time stay in the order of the file.
    """
    table = pd.read_csv(path, sep="\t", dtype={"user_id:token": str, "item_id:token": str})
    table.columns = [name.split(":")[0] for name in table.columns]
    table = table.sort_values(["user_id", "timestamp"], kind="stable")
    return pd.DataFrame(
        {
            Columns.User: table["user_id"].to_numpy(),
            Columns.Item: table["item_id"].to_numpy(),
            Columns.Weight: 1,
            Columns.Datetime: pd.Timestamp(0) + pd.to_timedelta(np.arange(len(table)), unit="s"),
        }
    )


def is_last(events: pd.DataFrame) -> np.ndarray:
    """Which events are the last of their user."""
    ordered = events.sort_values(Columns.Datetime, kind="stable")
    last = ordered.groupby(Columns.User).cumcount(ascending=False) == 0
    return last.reindex(events.index).to_numpy()


class Validation(Callback):
    """NDCG@10 after each epoch, of targets ranked among all items, those of the input masked."""

    def __init__(self) -> None:
        self.gains: list[torch.Tensor] = []
        self.scores: list[float] = []

    def on_validation_batch_end(
        self, trainer, module, outputs, batch, batch_idx, dataloader_idx=0
    ) -> None:
        """Adds the gains of a batch."""
        target = batch["y"].view(-1, 1)
        logits = outputs["logits"].view(len(target), -1).scatter(1, batch["x"], -torch.inf)
        ranks = (logits >= logits.gather(1, target)).sum(dim=1)
        self.gains.append((ranks <= CUTOFF) / torch.log2(ranks + 1.0))

    def on_validation_epoch_end(self, trainer, module) -> None:
        """Their mean."""
        score = torch.cat(self.gains).mean()
        self.gains.clear()
        module.log(METRIC, score)
        self.scores.append(float(score))
        told = f"epoch {len(self.scores)}: {score:.4f}, {time.process_time():.0f} CPU seconds"
        print(told, flush=True)


def train(job: dict[str, Any], events: pd.DataFrame) -> tuple[Any, list[float]]:
    """The model of the best epoch, and the validation figure of each."""
    work_dir = Path(job["work_dir"])

    def trainer() -> Trainer:
        watched = {"monitor": METRIC, "mode": "max"}
        return Trainer(
            max_epochs=MAX_EPOCHS,
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            callbacks=[
                Validation(),
                EarlyStopping(**watched, patience=PATIENCE),
                ModelCheckpoint(work_dir, "best", **watched, save_weights_only=True),
            ],
        )

    model = SASRecModel(**job["settings"], get_val_mask_func=is_last, get_trainer_func=trainer)
    model.fit(Dataset.construct(events))
    model.load_weights_from_checkpoint(work_dir / "best.ckpt")
    (validation,) = (each for each in model.fit_trainer.callbacks if isinstance(each, Validation))
    return model, validation.scores


def score_all(model: Any, events: pd.DataFrame, users: list[str], items: list[str]) -> np.ndarray:
    """float32 (users, items): the scores after all events; the lowest where an item is unknown."""
    found = model.recommend(
        users, Dataset.construct(events), k=len(items), filter_viewed=False, add_rank_col=False
    )
    scores = np.full((len(users), len(items)), -1e30, dtype=np.float32)
    rows = pd.Index(users).get_indexer(found[Columns.User])
    scores[rows, pd.Index(items).get_indexer(found[Columns.Item])] = found[Columns.Score]
    return scores


def main() -> None:
    """Trains, scores, writes."""
    job = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(job["threads"])
    seed_everything(job["seed"])
    events = read_events(Path(job["events"]))
    items = ["[PAD]", *events[Columns.Item].unique()]
    users = list(events[Columns.User].unique())
    known = events[~is_last(events)]
    began = time.perf_counter()
    model, valid_scores = train(job, known)
    fit = {
        "best": max(valid_scores),
        "valid_scores": valid_scores,
        "cut_short": False,
        "elapsed_s": time.perf_counter() - began,
        "settings": job["settings"],
    }
    out_dir = Path(job["out_dir"])
    np.savez(
        out_dir / "fit.npz",
        scores=score_all(model, known, users, items),
        **{"scores.user": np.arange(len(users))},
    )
    (out_dir / "fit.json").write_text(json.dumps({"fit": fit, "items": items, "users": users}))


if __name__ == "__main__":
    main()

"""One loading, told as JSON: seconds from atomic files to the first batch, and peak memory.

    python loading_side.py kgrec|recbole FOLDER DATASET

Memory is the peak above what the bare imports hold. Run by `loading.py`, by each system's Python.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

system, folder, dataset = sys.argv[1:]
sys.argv = sys.argv[:1]
os.chdir(folder)


def resident_mb() -> float:
    """What this process holds now."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize() / 2**20


def load_kgrec() -> None:
    """Files to the first batch, kgrec's way."""
    data = load_dataset(settings, Path(), lambda event: None)
    split = split_dataset(settings, data)
    rng = np.random.default_rng(0)
    next(
        batches.sequence_batches(
            data.histories, split, max_length=50, batch_size=2048, context=50, rng=rng
        )
    )


def load_recbole() -> None:
    """Files to the first batch, RecBole's way."""
    train_data, _, _ = data_preparation(config, create_dataset(config))
    next(iter(train_data))


if system == "kgrec":
    import numpy as np
    import torch

    from kgrec_cli.core.training import batches
    from kgrec_cli.dataset.load import load_dataset, split_dataset
    from kgrec_cli.settings import Settings

    settings = Settings(dataset=dataset, model="GRU4Rec")
    load = load_kgrec
else:
    import torch
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation

    torch.autograd.set_detect_anomaly(False)
    config = Config(
        model="GRU4Rec",
        dataset=dataset,
        config_dict={
            "data_path": "dataset",
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
            "train_neg_sample_args": None,
            "use_gpu": False,
            "show_progress": False,
            "state": "ERROR",
        },
    )
    load = load_recbole

before = resident_mb()
began = time.perf_counter()
load()
seconds = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"seconds": seconds, "mb": peak - before}))

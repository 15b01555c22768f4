"""What the real RecBole makes of settings and rows: run by its own Python, never imported by kgrec.

    python habits.py JOB.json

The job has `rows` (settings by name: which interactions are left), `typed` (command-line texts:
what is read) and `intervals`. One JSON object comes out, with an `error` where RecBole refuses.
"""

import json
import logging
import os
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

warnings.filterwarnings("ignore")
job = json.loads(Path(sys.argv[1]).read_text())
sys.argv = ["script.py"]  # RecBole reads the command line itself
os.chdir(job["work_dir"])  # it writes log/ where it stands

from recbole.config import Config  # noqa: E402
from recbole.data import create_dataset, data_preparation  # noqa: E402
from recbole.data.dataset import Dataset  # noqa: E402

BASE = {
    "use_gpu": False,
    "state": "ERROR",
    "load_col": None,
    "additional_feat_suffix": ["ent_feature"],
    "alias_of_entity_id": ["ent_id"],
    "preload_weight": {"ent_id": "ent_vec"},
    "train_neg_sample_args": None,
    "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"},
    "normalize_all": False,
}


def config_of(dataset: str, settings: dict) -> Config:
    """RecBole's settings for one case."""
    config = Config(model="GRU4RecKG", dataset=dataset, config_dict={**BASE, **settings})
    config["data_path"] = str(Path(job["data_path"]) / dataset)
    return config


def tell_rows(dataset: str, settings: dict) -> list[list[str]]:
    """User and item of every interaction that RecBole keeps."""
    config = config_of(dataset, settings)
    told = create_dataset(config)
    if config["benchmark_filename"] is not None:
        data_preparation(config, told)
    columns = [
        told.id2token(field, told.inter_feat[field].to_numpy())
        for field in (told.uid_field, told.iid_field)
    ]
    return [list(map(str, row)) for row in zip(*columns, strict=True)]


def tell_typed(text: str) -> dict:
    """What RecBole reads from one text of the command line."""
    sys.argv = ["script.py", text]
    try:
        config = Config(model="GRU4RecKG", dataset="any", config_dict=BASE)
    finally:
        sys.argv = ["script.py"]
    return {"value": config.cmd_config_dict[text[2:].partition("=")[0]]}


def tell_interval(value) -> list:
    """The ends of an interval as RecBole understands a value of a settings file."""
    reader = SimpleNamespace(logger=logging.getLogger())
    return Dataset._parse_intervals_str(reader, value)


def attempt(answer, *arguments):
    """The answer, or RecBole's error."""
    try:
        return answer(*arguments)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


told = {
    "rows": {name: attempt(tell_rows, *case) for name, case in job["rows"].items()},
    "typed": {text: attempt(tell_typed, text) for text in job["typed"]},
    "intervals": [attempt(tell_interval, value) for value in job["intervals"]],
}
Path(job["out"]).write_text(json.dumps(told, default=str))

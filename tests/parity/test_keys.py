"""The same keys: every setting of RecBole's own files, at its default, goes through kgrec."""

import pytest
import yaml

from benchmarks import REPO_DIR
from benchmarks.recbole_side.run import properties_dir
from kgrec_cli.config import known_names, resolve_settings
from kgrec_cli.errors import KgrecError
from tests.parity.conftest import RecBole

pytestmark = pytest.mark.parity

FILES = (
    "overall.yaml",
    "dataset/sample.yaml",
    "dataset/ml-100k.yaml",
    "model/GRU4RecKG.yaml",
    "quick_start_config/sequential.yaml",
    "quick_start_config/sequential_embedding_model.yaml",
)
# RecBole's defaults that RecBole refuses for this model: no order by time, negatives beside CE.
REFUSED_BY_BOTH = {"overall.yaml": {"eval_args", "train_neg_sample_args"}}


@pytest.mark.parametrize("name", FILES)
def test_every_default_of_recboles_is_taken_alone(name: str, tmp_path) -> None:
    """Each line of the file as the only line of a file."""
    values = yaml.safe_load((properties_dir() / name).read_text())
    refused = {}
    for key, value in values.items():
        path = tmp_path / f"{key}.yaml"
        path.write_text(yaml.safe_dump({key: value}))
        try:
            resolve_settings(folder=tmp_path, config_paths=[path])
        except KgrecError as error:
            refused[key] = str(error)
    for key in REFUSED_BY_BOTH.get(name, set()):
        refused.pop(key)
    assert refused == {}
    assert len(values) > 3 or "quick_start" in name


def test_recboles_negatives_are_taken_with_bpr(tmp_path) -> None:
    values = yaml.safe_load((properties_dir() / "overall.yaml").read_text())
    path = tmp_path / "bpr.yaml"
    given = {"loss_type": "BPR", "train_neg_sample_args": values["train_neg_sample_args"]}
    path.write_text(yaml.safe_dump(given))
    settings = resolve_settings(folder=tmp_path, config_paths=[path])
    assert settings.negatives.distribution == "uniform"
    assert settings.negatives.sample_num == 1


@pytest.mark.parametrize("setting", ["dynamic", "candidate_num"])
def test_other_negatives_are_refused_in_one_line(tmp_path, setting: str) -> None:
    """Those that kgrec does not draw; a line that names the setting, not a wrong result."""
    value = {"dynamic": True, "candidate_num": 5}[setting]
    path = tmp_path / "bpr.yaml"
    given = {"distribution": "popularity", "sample_num": 1, setting: value}
    path.write_text(yaml.safe_dump({"loss_type": "BPR", "train_neg_sample_args": given}))
    with pytest.raises(KgrecError, match=setting) as error:
        resolve_settings(folder=tmp_path, config_paths=[path])
    assert "\n" not in str(error.value)


def test_every_argument_of_recboles_is_known_and_documented(recbole: RecBole) -> None:
    """Those of its own lists, `config_file` left out: it is the `--config` option."""
    arguments = set(recbole.said("arguments")) - {"config_file"}
    assert arguments - set(known_names()) == set()
    documented = (REPO_DIR / "docs" / "settings.md").read_text()
    assert {name for name in arguments if f"`{name}`" not in documented} == set()
    assert len(arguments) > 50

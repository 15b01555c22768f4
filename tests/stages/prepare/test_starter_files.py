"""What `prepare` leaves in the working folder."""

from pathlib import Path

import pytest
import yaml

from kgrec_cli.config import build_settings
from kgrec_cli.stages.prepare.starter_files import REFERENCE_HYPER_TEST, settings_text
from tests.stages.prepare.conftest import Prepare


def test_starter_files(prepare: Prepare, tmp_path: Path):
    result = prepare()
    assert result.starter_files.written == ("kgrec.yaml", "hyper.test")
    assert (tmp_path / "work" / "hyper.test").read_text() == REFERENCE_HYPER_TEST
    assert len(REFERENCE_HYPER_TEST.splitlines()) == 5
    assert yaml.safe_load((tmp_path / "work" / "kgrec.yaml").read_text()) == {"dataset": "toy"}


def test_starter_files_are_never_overwritten(prepare: Prepare, tmp_path: Path):
    (tmp_path / "work" / "kgrec.yaml").write_text("dataset: other\n")
    (tmp_path / "work" / "hyper.test").write_text("mine\n")
    result = prepare()
    assert result.starter_files.written == ()
    assert result.starter_files.named_dataset == "other"
    assert (tmp_path / "work" / "kgrec.yaml").read_text() == "dataset: other\n"
    assert (tmp_path / "work" / "hyper.test").read_text() == "mine\n"


@pytest.mark.parametrize("name", ["ml-100k", "1984", "true", "null", "a.b", "été", "1e5", "0x1f"])
@pytest.mark.parametrize("data_path", ["dataset", "my data: here", "~", "/a/b's #1"])
def test_any_name_reads_back_from_kgrec_yaml(name: str, data_path: str):
    values = yaml.safe_load(settings_text(name, data_path))
    assert values["dataset"] == name
    assert values.get("data_path", "dataset") == data_path


def test_every_commented_setting_is_a_valid_one():
    lines = settings_text("x", "dataset").splitlines()[1:]
    assert all(len(line) <= 100 for line in lines)
    values = yaml.safe_load("\n".join(line.removeprefix("# ") for line in lines))
    assert values["preset"] == "best"
    assert values["pretrain_kg"] == {"method": "TransE", "epochs": 30}
    settings = build_settings(values, "test")  # no comment stands in the way of the preset
    assert settings == build_settings({"dataset": "x", "preset": "best"}, "test")

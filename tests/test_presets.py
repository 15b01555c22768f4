"""A preset changes defaults, wherever it is named; what is set overrides it."""

from pathlib import Path
from typing import Any

import pytest

from kgrec_cli import config
from kgrec_cli.bounded_yaml import parse_yaml
from kgrec_cli.config import build_settings, resolve_settings
from kgrec_cli.errors import UsageError
from kgrec_cli.settings import Settings

BEST = {
    "seen_bias": True, "shuffle_ties": True, "layer_norm": True, "residual": True,
    "similarity": "cosine", "kg_items": True, "ema_decay": 0.999, "hidden_size": 256,
    "embedding_size": 256, "dropout_prob": 0.5, "learning_rate": 0.002,
}  # fmt: skip


def changed(settings: Settings) -> dict[str, Any]:
    """What is not at its default."""
    defaults = Settings().model_dump()
    return {name: value for name, value in settings.model_dump().items() if value != defaults[name]}


@pytest.mark.parametrize("source", ["kgrec.yaml", "--config", "option", "--set", "base"])
def test_a_preset_changes_the_same_settings_wherever_it_is_named(
    tmp_path: Path, source: str
) -> None:
    path = tmp_path / ("kgrec.yaml" if source == "kgrec.yaml" else "my.yaml")
    path.write_text("preset: best\n")
    more: dict[str, Any] = {
        "kgrec.yaml": {},
        "--config": {"config_paths": [path]},
        "option": {"options": {"preset": "best"}},
        "--set": {"assignments": ["preset=best"]},
        "base": {"base": {"preset": "best"}},
    }[source]
    settings = resolve_settings(folder=tmp_path, **more)
    assert changed(settings) == {"preset": "best", **BEST}


def test_a_preset_gives_way_to_every_value_that_is_set(tmp_path: Path) -> None:
    (tmp_path / "kgrec.yaml").write_text("stopping_step: 3\nhidden_size: 7\n")
    path = tmp_path / "my.yaml"
    path.write_text("seen_bias: false\n")
    settings = resolve_settings(
        folder=tmp_path,
        config_paths=[path],
        options={"preset": "best", "kg_items": False},
        assignments=["ema_decay=0.5"],
    )
    expected = {"stopping_step": 3, "ema_decay": 0.5, "hidden_size": 7}
    of_preset = {
        name: value for name, value in BEST.items() if name not in ("seen_bias", "kg_items")
    }
    assert changed(settings) == {"preset": "best", **of_preset, **expected}


def test_a_preset_can_be_switched_off(tmp_path: Path) -> None:
    (tmp_path / "kgrec.yaml").write_text("preset: best\n")
    assert changed(resolve_settings(folder=tmp_path, assignments=["preset=null"])) == {}


def test_a_preset_lies_over_the_run_that_is_followed(tmp_path: Path) -> None:
    run = Settings(stopping_step=3, hidden_size=7).model_dump(mode="json")
    settings = resolve_settings(
        folder=tmp_path, base=run, options={"preset": "best", "layer_norm": False}
    )
    expected = {"preset": "best", "stopping_step": 3, **BEST}
    del expected["layer_norm"]
    assert changed(settings) == expected


def test_the_run_that_is_followed_stands_in_place_of_kgrec_yaml(tmp_path: Path) -> None:
    (tmp_path / "kgrec.yaml").write_text("hidden_size: 1\nepochs: 1\npreset: best\n")
    run = Settings(hidden_size=7).model_dump(mode="json")
    assert resolve_settings(folder=tmp_path, base=run) == Settings(hidden_size=7)


def test_settings_of_a_preset_read_back_the_same() -> None:
    settings = build_settings({"preset": "best", "stopping_step": 5, "kg_items": False}, "test")
    text = config.format_config(settings)
    assert "preset: best\n" in text
    assert "seen_bias: true\n" in text
    assert build_settings(parse_yaml(text), "test") == settings


def test_a_preset_that_needs_another_loss_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="found BPR; set seen_bias: false or loss_type: CE"):
        resolve_settings(folder=tmp_path, options={"preset": "best", "loss_type": "BPR"})

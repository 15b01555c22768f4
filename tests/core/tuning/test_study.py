"""The study of a search: of an older kgrec, damaged, of another search, or no database."""

import sqlite3

import optuna
import pytest

from kgrec_cli.core.tuning.space import (
    Choice,
)
from kgrec_cli.errors import KgrecError
from tests.core.tuning.searches import GRID, Visits, file_url, search


def test_a_trial_without_a_number_in_an_older_study_is_not_its_best(tmp_path):
    search({"a": Choice((1, 2))}, Visits(lambda p: p["a"]), storage_url=file_url(tmp_path))
    with sqlite3.connect(tmp_path / "study.db") as database:
        database.execute(
            "UPDATE trial_user_attributes SET value_json = '{\"ndcg@10\": NaN}' "
            "WHERE key = 'valid' AND trial_id = "
            "(SELECT trial_id FROM trial_values ORDER BY value DESC LIMIT 1)"
        )
    result = search({"a": Choice((1, 2))}, Visits(), storage_url=file_url(tmp_path))
    assert result.n_new == 0
    assert sorted(trial.state for trial in result.trials) == ["complete", "failed"]
    assert result.best.score == 1


DAMAGES = {
    "cut short": lambda data: data[:9000],
    "no UTF-8": lambda data: data.replace(b"CREATE TABLE", b"CR\xe9ATE TABL"),
    "another schema": "ALTER TABLE trials RENAME COLUMN state TO x",
    "no JSON": "UPDATE study_user_attributes SET value_json = '{'",
    "another kind": "UPDATE study_user_attributes SET value_json = '[1]'",
    "no section": "UPDATE study_user_attributes SET value_json = '{}'",
    "no point": "DELETE FROM trial_user_attributes WHERE key = 'params'",
    "a point that is none": "UPDATE trial_user_attributes SET value_json = '3'",
    "metrics that are none": 'UPDATE trial_user_attributes SET value_json = \'{"a": "b"}\'',
    "no state": "UPDATE trials SET state = 'x'",
    "a time that is none": "UPDATE trials SET datetime_complete = 'x'",
    "a distribution that is none": "UPDATE trial_params SET distribution_json = '{}'",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_study_is_one_line(tmp_path, damage):
    space = {"a": Choice((1, 2))}
    search(space, Visits(), storage_url=file_url(tmp_path))
    path = tmp_path / "study.db"
    if isinstance(damage, str):
        with sqlite3.connect(path) as database:
            database.execute(damage)
    else:
        path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(KgrecError) as caught:
        search(space, Visits(), storage_url=file_url(tmp_path))
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) - len(str(path)) < 300


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"space": GRID | {"a": Choice((1, 2))}}, r"a = choice \[1, 2, 3\], found choice \[1, 2\]"),
        ({"space": GRID | {"d": Choice((1, 2))}}, r"d = absent, found choice \[1, 2\]"),
        ({"settings": {"epochs": 30, "topk": (5, 10)}}, "epochs = 20, found 30"),
        ({"settings": {"epochs": 20}}, r"topk = \[5, 10\], found absent"),
    ],
)
def test_a_study_made_with_something_else_is_refused(tmp_path, change, message):
    options = {
        "space": GRID,
        "storage_url": file_url(tmp_path),
        "settings": {"epochs": 20, "topk": (5, 10)},
        "max_trials": 2,
    }
    search(objective=Visits(), **options)
    again = search(objective=Visits(), **options)
    assert again.n_new == 0
    with pytest.raises(KgrecError, match=f"study 's' was made with {message}: .*new study"):
        search(objective=Visits(), **(options | change))
    assert len(search(objective=Visits(), **options).trials) == 2


def test_a_study_of_somebody_else_is_refused(tmp_path):
    study = optuna.create_study(study_name="s", storage=file_url(tmp_path))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    with pytest.raises(KgrecError, match="study 's' was not made by kgrec"):
        search(GRID, Visits(), storage_url=file_url(tmp_path))


def test_a_database_that_is_none(tmp_path):
    (tmp_path / "study.db").write_text("this is no database, and long enough to show it" * 50)
    with pytest.raises(KgrecError, match=r"study\.db: .*not a database") as caught:
        search(GRID, Visits(), storage_url=file_url(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_missing(tmp_path):
    with pytest.raises(KgrecError, match="cannot open the study"):
        search(GRID, Visits(), storage_url=file_url(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("nonsense", "storage 'nonsense'"),
        ("postgresql:/me:secret@host", "expected for instance sqlite:///study.db"),
        ("nosuchdb://me:secret@host/x", "nosuchdb"),
    ],
)
def test_an_address_that_is_none(address, expected):
    with pytest.raises(KgrecError, match=expected) as caught:
        search(GRID, Visits(), storage_url=address)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)

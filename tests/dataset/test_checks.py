"""What is said of interactions when they are loaded: by `prepare`, or by the same checks."""

import json
from pathlib import Path

import pytest

from kgrec_cli.dataset.load import load_dataset
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Event, Warn
from kgrec_cli.settings import Settings
from kgrec_cli.stages.prepare.graph import KGRequest
from kgrec_cli.stages.prepare.run import PrepareRequest, run_prepare

INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
ROWS = [f"u{n % 5}\ti{n * 7 % 11}\t{n * 3 % 4}\t{1e9 + n * 13 % 31:.0f}" for n in range(30)]


def warnings(folder: Path, **changes: object) -> list[str]:
    events: list[Event] = []
    load_dataset(Settings(dataset="toy", **changes), folder, events.append)
    return [event.text for event in events if isinstance(event, Warn)]


def write(folder: Path, rows: list[str], head: str = INTER, name: str = "toy") -> None:
    (folder / "dataset" / "toy").mkdir(parents=True, exist_ok=True)
    (folder / "dataset" / "toy" / f"{name}.inter").write_text("\n".join([head, *rows, ""]))


def test_files_of_others_with_nothing_odd(tmp_path: Path):
    write(tmp_path, ROWS)
    assert warnings(tmp_path) == []


def test_files_of_others_are_checked(tmp_path: Path):
    rows = sorted(row.rsplit("\t", 1)[0] + "\t86400" for row in ROWS)
    write(tmp_path, [row.replace("u3", "NA") for row in rows])
    ties, order, missing = warnings(tmp_path)
    assert "25 of 30 events (all but each first) have their user's previous time" in ties
    assert "sorted by item" in order
    assert "'NA' in 6 of 30 rows (20%) as user stands for a missing value" in missing


def test_files_of_others_sorted_by_rating(tmp_path: Path):
    write(tmp_path, sorted((row.rsplit("\t", 1)[0] + "\t1" for row in ROWS), key=lambda r: r[-3]))
    assert "sorted by rating, ascending" in warnings(tmp_path)[1]


def test_a_column_that_a_setting_names_must_be_there(tmp_path: Path):
    write(tmp_path, ROWS)
    text = "no column 'time'; its header has user_id, item_id, rating, timestamp"
    for field in ("TIME_FIELD", "RATING_FIELD", "ITEM_ID_FIELD", "USER_ID_FIELD"):
        with pytest.raises(KgrecError, match=rf"toy\.inter: {text}"):
            warnings(tmp_path, **{field: "time"})


def test_the_item_list_must_have_the_column_that_a_setting_names(tmp_path: Path):
    write(tmp_path, ROWS, INTER.replace("item_id", "movie"))
    (tmp_path / "dataset" / "toy" / "toy.item").write_text("item_id:token\nx\n")
    with pytest.raises(KgrecError, match=r"toy\.item: no column 'movie'; its header has item_id"):
        warnings(tmp_path, ITEM_ID_FIELD="movie")


def test_without_times_the_rows_order_is_said_to_count(tmp_path: Path):
    write(tmp_path, ROWS, INTER.replace("timestamp", "time"))
    assert warnings(tmp_path) == [
        "toy.inter: no time column 'timestamp': the rows' order is taken for the order in time; is "
        "'time' the time (TIME_FIELD)?"
    ]
    assert warnings(tmp_path, TIME_FIELD="time") == []


@pytest.mark.parametrize(
    ("time", "text"),
    [
        ("nan", r"line 4, column timestamp: found 'nan', expected a number"),
        ("inf", r"line 4, column timestamp: found 'inf', expected a number"),
        ("1e300", r"line 4: found the time 1e\+300, expected a finite number below 2\^53"),
        ("9223372036854775808", r"line 4: found the time 9.22\S+, expected a finite number"),
    ],
)
def test_times_without_an_order(tmp_path: Path, time: str, text: str):
    write(tmp_path, [*ROWS[:2], f"a\tx\t1\t{time}", *ROWS[2:]])
    with pytest.raises(KgrecError, match=text):
        warnings(tmp_path)


def test_a_time_that_is_a_token(tmp_path: Path):
    write(tmp_path, ROWS, INTER.replace("timestamp:float", "timestamp:token"))
    with pytest.raises(KgrecError, match="found timestamp:token, expected timestamp:float"):
        warnings(tmp_path)


def test_whole_times_in_one_part_and_fractions_in_another(tmp_path: Path):
    write(tmp_path, ROWS, name="toy.train")
    write(tmp_path, ["u1\ti1\t1\t1000000099.5"], name="toy.valid")
    write(tmp_path, ["u1\ti2\t1\t1000000100"], name="toy.test")
    assert warnings(tmp_path, benchmark_filename=["train", "valid", "test"]) == []


def prepared(folder: Path, text: str) -> list[str]:
    """The warnings of `prepare` on a log that has no times."""
    (folder / "log.csv").write_text(text)
    events: list[Event] = []
    request = PrepareRequest("toy", folder / "log.csv", folder, kg=KGRequest("none"))
    run_prepare(request, on_event=events.append)
    return [event.text for event in events if isinstance(event, Warn)]


LOG = "user,item\n" + "".join(f"u{n % 5},i{n * 7 % 11}\n" for n in range(30))


def test_the_warnings_of_prepare_are_repeated(tmp_path: Path):
    (line,) = prepared(tmp_path, LOG)
    assert line.endswith("no time column: the file's order is taken for the order in time")
    assert warnings(tmp_path) == ["log.csv: " + line.split(": ", 1)[1]]


def test_those_of_other_files_are_not(tmp_path: Path):
    prepared(tmp_path, LOG)
    write(tmp_path, ROWS)  # another file than the one that was prepared
    (line,) = warnings(tmp_path)
    assert "not as `kgrec prepare` wrote it" in line
    prepared(tmp_path, LOG)
    path = tmp_path / "dataset" / "toy" / "prepare.json"
    report = json.loads(path.read_text())
    del report["warnings_on_results"]  # as of an earlier kgrec
    path.write_text(json.dumps(report))
    assert warnings(tmp_path) == []

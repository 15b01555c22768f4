"""YAML that stands for too much, or for nothing: one line with file and line, at once."""

import time
from functools import partial
from pathlib import Path

import pytest

from kgrec_cli.bounded_yaml import parse_yaml, read_yaml
from kgrec_cli.config import parse_assignments, resolve_settings
from kgrec_cli.errors import KgrecError, UsageError
from kgrec_cli.runs.run_files import read_run_settings

BOMB = "a0: &a0 [" + ", ".join("x" * 10) + "]\n"
BOMB += "".join(f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 10) + "]\n" for n in range(1, 30))

DAMAGED = {
    "date": ("epochs: 3\ndataset: 2024-02-30\n", "2", "'2024-02-30' is no valid timestamp"),
    "binary": ("epochs: 3\n\nseed: 0b_\n", "3", "'0b_' is no valid int"),
    "huge": (f"seed: 1{'0' * 5000}\n", "1", "'10000000"),
    "sixties": (f"seed: 1{':01' * 5000}\n", "1", "is no valid int"),
    "deep": (f"topk: {'[' * 5000}\n", "1", "over 10,000 values or 20 levels"),
    "deep mappings": (f"a: {'{a: ' * 5000}\n", "1", "over 10,000 values or 20 levels"),
    "long": ("".join(f"k{n}: 1\n" for n in range(20_000)), "5000", "over 10,000 values"),
    "bomb": (BOMB, "4", "over 10,000 values or 20 levels, aliases written out"),
    "of itself": ("epochs: 3\ntopk: &a [*a]\n", "2", "aliases written out"),
    "merged with itself": ("epochs: 3\neval_args: &a {<<: *a}\n", "2", "aliases written out"),
    "NUL": ("epochs: 3\ndataset: \0\n", "2", "special characters are not allowed"),
    "escaped NUL": ('epochs: 3\ndataset: "\\0"\n', "2", "is no valid str"),
    "half character": ('epochs: 3\ndataset: "\\ud800"\n', "2", "is no valid str"),
    "mapping as key": ("epochs: 3\n{a: 1}: 1\n", "2", "unhashable"),
    "long tag": ("a: !!" + "x" * 5000 + " 1\n", "1", "xxx..."),
}


@pytest.mark.parametrize("source", ["kgrec.yaml", "--config", "config.yaml"])
@pytest.mark.parametrize(("text", "line", "expected"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_yaml_is_one_line_at_once(
    tmp_path: Path, text: str, line: str, expected: str, source: str
) -> None:
    path = tmp_path / (source if source.endswith("yaml") else "my.yaml")
    path.write_text(text)
    began = time.process_time()
    if source == "config.yaml":
        read = partial(read_run_settings, tmp_path)
    else:
        paths = [path] if source == "--config" else None
        read = partial(resolve_settings, folder=tmp_path, config_paths=paths)
    with pytest.raises(KgrecError) as caught:
        read()
    assert time.process_time() - began < 2
    message = str(caught.value)
    assert message.startswith(f"{path}, line {line}: not valid YAML: ")
    assert expected in message
    assert len(message) - len(str(path)) < 300


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seed=2024-02-30", "'2024-02-30' is no valid timestamp"),
        ("dataset=\udcff", "not UTF-8"),
        ("seed=0b_", "'0b_' is no valid int"),
        ("topk=" + "[" * 5000, "over 10,000 values or 20 levels"),
        ("topk=&a [*a]", "aliases written out"),
        ("a" + ".a" * 5000 + "=1", "over 20 levels"),
        ("x" * 5000, "expected key=value"),
    ],
    ids=["date", "bytes", "binary", "deep", "of itself", "deep key", "no value"],
)
def test_a_damaged_value_of_set_is_one_line(text: str, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_assignments([text])
    assert expected in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_file_without_an_end_is_not_read_to_it() -> None:
    with pytest.raises(KgrecError, match="over 262,144 bytes; expected a settings file"):
        read_yaml(Path("/dev/zero"))


def test_a_file_in_another_encoding_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_bytes("epochs: 3\ndataset: Amélie\n".encode("latin-1"))
    with pytest.raises(KgrecError, match=r"my.yaml, line 2: not UTF-8"):
        read_yaml(path)


def test_anchors_and_merges_of_usual_size_are_read() -> None:
    text = "first: &a {x: 1, y: [1, 2]}\nsecond: {<<: *a, x: 2}\nthird: [*a, *a]\n"
    first = {"x": 1, "y": [1, 2]}
    expected = {"first": first, "second": {"x": 2, "y": [1, 2]}, "third": [first, first]}
    assert parse_yaml(text) == expected


def test_a_long_value_is_cut_where_it_is_quoted(tmp_path: Path) -> None:
    (tmp_path / "kgrec.yaml").write_text(f"loss_type: {'x' * 3000}\n")
    with pytest.raises(KgrecError) as caught:
        resolve_settings(folder=tmp_path)
    message = str(caught.value).removeprefix(str(tmp_path))
    assert message.startswith("/kgrec.yaml: loss_type: found 'xxx")
    assert message.endswith("...xxxxxxxxxxxxx', expected 'CE', 'BPR' or 'SSM'")
    assert len(message) < 120


@pytest.mark.parametrize("name", ["dataset", "data_path", "checkpoint_dir"])
def test_a_name_that_no_file_can_have_is_one_line(name: str, tmp_path: Path) -> None:
    for value in ("x" * 5000, "é" * 120, "a/" + "b" * 201):
        with pytest.raises(KgrecError, match=f"{name}: expected file names of at most 200 bytes"):
            resolve_settings(folder=tmp_path, assignments=[f"{name}={value}"])


def test_no_cutoff_is_no_list_of_cutoffs(tmp_path: Path) -> None:
    with pytest.raises(KgrecError, match=r"topk: found \[\], expected a list of at least one"):
        resolve_settings(folder=tmp_path, assignments=["topk=[]"])

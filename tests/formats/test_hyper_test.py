from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgrec_cli.config import setting_names
from kgrec_cli.core.tuning.space import Choice, LogUniform, QUniform, Range, Uniform
from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.hyper_test import check_parameter_names, read_hyper_test
from kgrec_cli.stages.prepare.starter_files import REFERENCE_HYPER_TEST


def read_text(folder: Path, text: str):
    path = folder / "hyper.test"
    path.write_bytes(text.encode())
    return read_hyper_test(path)


def test_reference_file_is_recboles_five_lines(tmp_path):
    space = read_text(tmp_path, REFERENCE_HYPER_TEST)
    assert len(REFERENCE_HYPER_TEST.splitlines()) == 5
    assert space.ranges == {
        "learning_rate": Choice((0.01, 0.005, 0.001, 0.0005, 0.0001)),
        "dropout_prob": Choice((0.0, 0.1, 0.2, 0.3, 0.4, 0.5)),
        "num_layers": Choice((1, 2, 3)),
        "hidden_size": Choice((128,)),
        "freeze_kg": Choice((True, False)),
    }
    assert list(space.line_numbers.values()) == [1, 2, 3, 4, 5]
    check_parameter_names(space, setting_names())


def test_the_four_types(tmp_path):
    space = read_text(
        tmp_path,
        "# what to try\r\n"
        "\r\n"
        "a choice [ 3, 2.5 , None, True, 'x y' ]\r\n"
        "b uniform -0.5,0.5\r\n"
        "c\tloguniform   -8, -2 \r\n"
        "d quniform 0,0.5,0.1\r\n"
        "e quniform 32,128,32",
    )
    assert space.ranges == {
        "a": Choice((3, 2.5, None, True, "x y")),
        "b": Uniform(-0.5, 0.5),
        "c": LogUniform(-8.0, -2.0),
        "d": QUniform(0.0, 0.5, 0.1),
        "e": QUniform(32, 128, 32),
    }
    assert space.line_numbers == {"a": 3, "b": 4, "c": 5, "d": 6, "e": 7}
    written_in_ints = space.ranges["e"]
    assert isinstance(written_in_ints, QUniform)
    assert isinstance(written_in_ints.q, int)
    assert isinstance(space.ranges["d"].low, float)


def test_inner_lists_may_be_quoted(tmp_path):
    space = read_text(
        tmp_path, "mlp choice ['[64,64]', [32, '[1]'], \"{'a': (1, 2)}\", '[no', '(1)', '{1}']"
    )
    assert space.ranges["mlp"] == Choice(([64, 64], [32, [1]], {"a": [1, 2]}, "[no", "(1)", "{1}"))


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    assert list(read_text(tmp_path, "\ufeffx choice [1]").ranges) == ["x"]


def test_short_lines_are_skipped_and_told(tmp_path):
    space = read_text(tmp_path, "x choice\n\n  \n#a b c\nnothing\ny choice [1]\n")
    assert list(space.ranges) == ["y"]
    assert space.skipped_lines == (1, 5)


@pytest.mark.parametrize(
    ("line", "found", "expected"),
    [
        ("x choise [1]", "type 'choise'", "did you mean 'choice'"),
        ("x lognormal 1,2", "type 'lognormal'", "one of choice, uniform, loguniform, quniform"),
        ("x choice [CE, BPR]", "[CE, BPR]", "texts need quotes"),
        ("x choice [2**5]", "[2**5]", "nothing is calculated"),
        ("x choice [1, 2", "[1, 2", "a Python list"),
        ("x choice [1 (2)]", "[1 (2)]", "a Python list"),
        ("x choice __import__('os').system('true')", "__import__", "a Python list"),
        ("x choice []", "[]", "at least one value"),
        ("x choice 3", "choice 3", "a list"),
        ("x choice '[1,2]'", "'[1,2]'", "a list"),
        ("x choice [1e999]", "inf", "a finite number"),
        ("x choice [b'a']", "b'a'", "a text"),
        ("x choice [{1, 2}]", "{1, 2}", "mapping"),
        ("x choice [{1: 2}]", "{1: 2}", "mapping"),
        ("x choice ['\\ud800']", "ud800", "a text"),
        ("x choice [0.1, 0.2, 0.10]", "0.1", "equals one before"),
        ("x choice " + "[" * 500 + "]" * 500, "[[[", "a Python list"),
        ("x choice [1" + "0" * 30 + "]", "value 100", "a finite number"),
        ("x choice [" + "1," * 1001 + "]", "1,001 choices", "1,000 at most"),
        ("x choice [" + "-" * 20_000 + "1]", "[---", "a Python list"),
        ("x uniform -1e300,1e300", "'-1e300,1e300'", "within -1e+100,1e+100"),
        ("x quniform 0,1,1e-300", "'0,1,1e-300'", "no tiny part"),
        ("x uniform 1", "'1'", "low,high"),
        ("x uniform 1,2,3", "'1,2,3'", "low,high"),
        ("x uniform [1,2]", "'[1,2]'", "plain numbers"),
        ("x uniform 2,1", "'2,1'", "low below high"),
        ("x uniform 1,1", "'1,1'", "low below high"),
        ("x uniform 0,inf", "'0,inf'", "plain numbers"),
        ("x uniform nan,1", "'nan,1'", "plain numbers"),
        ("x loguniform 0,1000", "'0,1000'", "natural logarithms"),
        ("x quniform 0,1", "'0,1'", "low,high,q"),
        ("x quniform 0,1,0", "'0,1,0'", "above 0"),
        ("x quniform 0,1,2", "'0,1,2'", "no wider"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, found, expected):
    with pytest.raises(KgrecError) as caught:
        read_text(tmp_path, f"ok choice [1]\n{line}\n")
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'hyper.test'}, line 2: ")
    assert found in message
    assert expected in message
    assert "\n" not in message


def test_a_name_that_stands_twice(tmp_path):
    with pytest.raises(KgrecError, match="line 3: parameter 'x' stands already on line 1"):
        read_text(tmp_path, "x choice [1]\ny choice [1]\nx choice [2]\n")


def test_a_file_without_parameters(tmp_path):
    with pytest.raises(KgrecError, match="no parameter in it; expected lines of `name type range`"):
        read_text(tmp_path, "# nothing\nx choice\n")


def test_a_missing_file(tmp_path):
    with pytest.raises(KgrecError, match=r"hyper\.test: no such file"):
        read_hyper_test(tmp_path / "hyper.test")


def test_a_file_without_an_end():
    with pytest.raises(KgrecError, match="/dev/zero: over 262,144 bytes; expected lines of"):
        read_hyper_test(Path("/dev/zero"))


def test_long_texts_are_cut_where_they_are_quoted(tmp_path):
    for line in (f"{'x' * 5000} choice [1]\n" * 2, f"x {'y' * 5000} 1", f"x choice {'z' * 5000}"):
        with pytest.raises(KgrecError) as caught:
            read_text(tmp_path, line)
        assert len(str(caught.value)) - len(str(tmp_path)) < 300


def test_a_folder(tmp_path):
    with pytest.raises(KgrecError, match="a folder, expected a file"):
        read_hyper_test(tmp_path)


def test_another_encoding(tmp_path):
    path = tmp_path / "hyper.test"
    path.write_bytes("x choice [1]\ny choice ['café']\n".encode("latin-1"))
    with pytest.raises(KgrecError, match="line 2: not UTF-8"):
        read_hyper_test(path)


def test_an_unknown_parameter_gets_the_nearest_name(tmp_path):
    space = read_text(tmp_path, "num_layers choice [1]\nlerning_rate choice [1]\n")
    with pytest.raises(
        KgrecError, match="line 2: unknown setting 'lerning_rate': did you mean 'learning_rate'"
    ):
        check_parameter_names(space, setting_names())


numbers = st.floats(-600, 600, allow_nan=False)
bounds = st.tuples(numbers, numbers).map(sorted).filter(lambda pair: pair[0] < pair[1])
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"])).filter(
        lambda text: text.strip()[:1] not in {"[", "(", "{"}
    ),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=2),
    max_leaves=5,
)


def without_equals(items: list) -> tuple:
    kept: list = []
    for item in items:
        if item not in kept:
            kept.append(item)
    return tuple(kept)


ranges: st.SearchStrategy[Range] = st.one_of(
    st.lists(values, min_size=1, max_size=5).map(without_equals).map(Choice),
    bounds.map(lambda pair: Uniform(*pair)),
    bounds.map(lambda pair: LogUniform(*pair)),
    bounds.map(lambda pair: QUniform(*pair, pair[1] - pair[0])).filter(lambda range_: range_.q > 0),
    st.integers(1, 50).map(lambda q: QUniform(-q, 3 * q, q)),
)


def as_written(range_: Range) -> str:
    """The range in Python's literals, as a file has it."""
    return f"choice {list(range_.values)!r}" if isinstance(range_, Choice) else str(range_)


@given(st.dictionaries(st.from_regex(r"\A[a-zA-Z_][\w.]*\Z"), ranges, min_size=1, max_size=4))
def test_what_is_written_is_read_back(tmp_path_factory, space):
    path = tmp_path_factory.mktemp("space") / "hyper.test"
    path.write_text("".join(f"{name} {as_written(range_)}\n" for name, range_ in space.items()))
    assert read_hyper_test(path).ranges == space
    assert list(read_hyper_test(path).ranges) == list(space)


@given(st.text())
def test_any_text_is_read_or_refused_in_one_line(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.test"
    path.write_bytes(text.encode("utf-8", "replace"))
    try:
        outcome = list(read_hyper_test(path).ranges)
    except KgrecError as error:
        outcome = [str(error)]
    assert outcome
    assert all("\n" not in line for line in outcome)

"""`.ent_feature`: vectors read back to the same bits; each flaw is one line."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.atomic import read_entity_features, write_entity_features

HEAD = "ent_id:token\tent_vec:float_seq"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    )
)
def test_vectors_read_back_to_the_same_bits(tmp_path: Path, vectors: np.ndarray) -> None:
    path = tmp_path / "a.ent_feature"
    names = [f"m.0{n}" for n in range(len(vectors))]
    write_entity_features(path, names, vectors)
    assert path.read_text().splitlines()[0] == HEAD
    found_names, found = read_entity_features(path, expected_width=vectors.shape[1])
    assert found_names == names
    assert found.dtype == np.float32
    assert found.tobytes() == vectors.tobytes()


def test_text_is_the_shortest(tmp_path: Path) -> None:
    path = tmp_path / "a.ent_feature"
    write_entity_features(path, ["a"], np.array([[0.1, -2.5, 1 / 3]], dtype=np.float32))
    assert path.read_text().splitlines()[1] == "a\t0.1 -2.5 0.33333334"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\t1 2\nb\t1 2\n", "line 1: column 'a' has no type"),
        (f"{HEAD}\na\t1 2\nb\t1 2 3\n", "line 3"),
        (f"{HEAD}\na\t1 2 3\nb\t1 2 3\n", "width 3, expected 2"),
        (f"{HEAD}\na\t1 2\nb\tnan 2\n", "line 3"),
        (f"{HEAD}\na\t1 2\nb\t1 inf\n", "line 3"),
        (f"{HEAD}\na\t1 2\na\t1 2\n", "lines 2 and 3: entity 'a' stands twice"),
        (f"{HEAD}\na\t1 two\n", "line 2"),
        (f"{HEAD}\na\t1 2\nb\n", "line 3: 1 columns, expected 2"),
    ],
)
def test_a_flaw_is_one_line(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "a.ent_feature"
    path.write_text(text)
    with pytest.raises(KgrecError) as caught:
        read_entity_features(path, expected_width=2)
    assert str(path) in str(caught.value)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)

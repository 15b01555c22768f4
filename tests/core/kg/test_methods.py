"""PyKEEN underneath: which methods work, the layout of vectors, and no private name of it."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kgrec_cli.core import kg
from kgrec_cli.core.kg.methods import check_method, entity_vectors, list_methods, scale_vectors
from kgrec_cli.errors import UsageError
from tests.core.kg.test_fit import fit


@pytest.mark.parametrize("method", ["TransE", "DistMult", "ComplEx", "RotatE", "TransH", "TransD"])
def test_methods_give_vectors_of_the_width_asked_for(method: str) -> None:
    assert check_method(method.lower(), 8) == method
    model, losses = fit(method)
    vectors = entity_vectors(model)
    assert vectors.shape == (12, 8)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    assert len(losses) == 2


@pytest.mark.slow
@pytest.mark.parametrize("method", list_methods())
def test_every_method_offered_works(method: str) -> None:
    model, losses = fit(check_method(method, 64), width=64)
    assert entity_vectors(model).shape == (12, 64)
    assert np.isfinite(losses).all()


def test_complex_numbers_lie_as_real_parts_then_imaginary_parts() -> None:
    model, _ = fit("ComplEx")
    numbers = model.entity_representations[0](None).detach()
    vectors = entity_vectors(model)
    np.testing.assert_array_equal(vectors[:, :4], numbers.real.numpy())
    np.testing.assert_array_equal(vectors[:, 4:], numbers.imag.numpy())


def test_vectors_are_divided_by_their_mean_length() -> None:
    scaled, length = scale_vectors(np.array([[3, 4], [0, 15], [0, 0], [0, 4]], dtype=np.float32))
    assert length == 6
    np.testing.assert_array_equal(scaled, np.float32([[0.5, 2 / 3], [0, 2.5], [0, 0], [0, 2 / 3]]))
    zeros = np.zeros((2, 3), dtype=np.float32)
    np.testing.assert_array_equal(scale_vectors(zeros)[0], zeros)


@pytest.mark.parametrize(
    ("method", "width", "expected"),
    [
        ("TarnsE", 8, "did you mean 'TransE'"),
        ("RotatE", 7, "must be a multiple of 2; found 7"),
        ("RGCN", 8, "cannot be used here"),
        ("NodePiece", 8, "cannot be used here"),
    ],
)
def test_a_method_that_cannot_be_used_is_one_line(method: str, width: int, expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        check_method(method, width)


def test_the_import_is_silent_and_leaves_no_folder_in_the_home(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYSTOW_HOME"}
    done = subprocess.run(
        [sys.executable, "-c", "import kgrec_cli.core.kg.fit"],
        env={**environment, "HOME": str(tmp_path)},
        check=True,
        capture_output=True,
    )
    assert done.stdout + done.stderr == b""
    assert not list(tmp_path.iterdir())


def private_uses(source: str) -> list[str]:
    """Private names that a module imports, reads of anything but itself, or asks for by string."""
    is_private = re.compile(r"_(?!_)").match
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            found += [name.name for name in node.names if is_private(name.name)]
        elif isinstance(node, ast.Attribute) and is_private(node.attr):
            found.append(ast.unparse(node))
        elif isinstance(node, ast.ClassDef):
            found += [name for name in map(ast.unparse, node.bases) if name.endswith("Loop")]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found += [node.value] if is_private(node.value) else []
    return [name for name in found if not name.startswith("self._")]


def test_no_private_name_of_pykeen_is_used() -> None:
    paths = sorted(Path(kg.__file__).parent.glob("*.py"))
    assert {path.name for path in paths} >= {"fit.py", "methods.py", "steps.py"}
    assert {path.name: private_uses(path.read_text()) for path in paths} == {
        path.name: [] for path in paths
    }


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("loop._epoch += 1", ["loop._epoch"]),
        ("model.entities[0]._embeddings.sparse = True", ["model.entities[0]._embeddings"]),
        ("from pykeen.utils import _weights", ["_weights"]),
        ("class Ours(SLCWATrainingLoop): pass", ["SLCWATrainingLoop"]),
        ("getattr(loop, '_epoch')", ["_epoch"]),
        ("self._ids = type(model).__name__", []),
    ],
)
def test_what_counts_as_a_private_name(source: str, expected: list[str]) -> None:
    assert private_uses(source) == expected

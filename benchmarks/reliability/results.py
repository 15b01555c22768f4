"""`benchmarks/results/reliability.json`: what the harnesses found last, each under its own name."""

import json
from typing import Any

from benchmarks.record import RESULTS_DIR

RELIABILITY = RESULTS_DIR / "reliability.json"


def record(name: str, values: Any) -> None:
    """Puts `values` under `name`; what other harnesses recorded stays."""
    known = json.loads(RELIABILITY.read_text()) if RELIABILITY.is_file() else {}
    RELIABILITY.write_text(json.dumps({**known, name: values}, indent=2) + "\n")

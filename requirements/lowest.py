"""Prints the lowest versions that pyproject.toml allows: constraints for `make test-lowest`."""

import re
import tomllib
from collections.abc import Iterable

from requirements.make_lock import REPO_DIR

LOWEST = re.compile(r"([\w.-]+)>=([\w.]+)(?:,.*)?")


def main() -> None:
    """Prints one line for each package that kgrec and its development need directly."""
    project = tomllib.loads((REPO_DIR / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    print("\n".join(lowest(wanted)))


def lowest(requirements: Iterable[str]) -> list[str]:
    """Each requirement at its lower bound.

    Args:
        requirements: such as `numpy>=2.3,<3`.

    Returns:
        Such as `numpy==2.3`.

    Raises:
        SystemExit: if a requirement has no lower bound.
    """
    found = [(requirement, LOWEST.fullmatch(requirement)) for requirement in requirements]
    for requirement, match in found:
        if not match:
            raise SystemExit(f"pyproject.toml: {requirement!r} has no lower bound, such as >=1.0")
    return [f"{match[1]}=={match[2]}" for _, match in found if match]


if __name__ == "__main__":
    main()

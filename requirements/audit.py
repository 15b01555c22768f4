"""Asks for known vulnerabilities of the locked packages: `make audit`.

pip-audit looks each pin up at its advisory service. Where the service cannot be reached, or
answers for no package, one line says that nothing was audited, and the exit code is 0: an
unreachable service says nothing about the packages. RecBole's own pins are not asked about.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from requirements.make_lock import CUDA_LOCK, EXTRAS_LOCK, LOCK, TORCH_LOCK

# Findings that are not mended: the advisory's id, and why it does not matter here.
ACCEPTED: Mapping[str, str] = {}


def main() -> None:
    """Runs pip-audit and shows what it found; exits with 1 if a finding is not accepted."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip_audit", "--format=json", "--progress-spinner=off"),
            *("--disable-pip", "--require-hashes", *(f"--ignore-vuln={id}" for id in ACCEPTED)),
            *(f"--requirement={lock}" for lock in (LOCK, EXTRAS_LOCK, TORCH_LOCK, CUDA_LOCK)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.stdout:
        lines, code = result(json.loads(done.stdout)["dependencies"])
    elif "ConnectionError" in done.stderr:
        lines, code = ["nothing was audited: the advisory service cannot be reached"], 0
    else:
        lines, code = [done.stderr], done.returncode
    print("\n".join(f"audit: {line}" for line in lines))
    raise SystemExit(code)


def result(packages: Sequence[Mapping[str, Any]]) -> tuple[list[str], int]:
    """What to say of pip-audit's answer.

    Args:
        packages: `dependencies` of its JSON: name and either version with findings (`vulns`), or
            the reason why the package was not audited.

    Returns:
        The lines, and the exit code.
    """
    audited = [package for package in packages if "skip_reason" not in package]
    unanswered = sorted(package["name"] for package in packages if "skip_reason" in package)
    if not audited:
        nothing = "nothing was audited: the advisory service has no answer for any of"
        return [f"{nothing} {len(packages)} packages"], 0
    lines = [f"{len(audited)} packages audited"]
    if unanswered:
        lines.append(f"no answer for {len(unanswered)}: {', '.join(unanswered)}")
    lines += [f"accepted: {id}, {reason}" for id, reason in ACCEPTED.items()]
    found = [(package, finding) for package in audited for finding in package["vulns"]]
    for package, finding in found:
        mended = ", ".join(finding["fix_versions"]) or "no version yet"
        lines.append(f"{package['name']} {package['version']}: {finding['id']}, mended in {mended}")
    return lines, 1 if found else 0


if __name__ == "__main__":
    main()

"""What `make audit` says of pip-audit's answers, and when it fails."""

import pytest

from requirements import audit

SILENT = {"name": "b", "skip_reason": "Dependency not found and could not be audited: b (2.0)"}
SOUND = {"name": "a", "version": "1.0", "vulns": []}
FOUND = {
    "name": "c",
    "version": "3.0",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.1", "4.0"]}, {"id": "X-2", "fix_versions": []}],
}


def test_an_advisory_service_without_an_answer_is_said_in_one_line() -> None:
    lines, code = audit.result([SILENT, SILENT])
    assert lines == [
        "nothing was audited: the advisory service has no answer for any of 2 packages"
    ]
    assert code == 0


def test_packages_without_an_answer_are_named() -> None:
    assert audit.result([SOUND, SILENT]) == (["1 packages audited", "no answer for 1: b"], 0)


def test_a_finding_fails_and_says_which_version_mends_it() -> None:
    lines, code = audit.result([SOUND, FOUND])
    assert lines[1:] == [
        "c 3.0: PYSEC-1, mended in 3.1, 4.0",
        "c 3.0: X-2, mended in no version yet",
    ]
    assert code == 1


def test_an_accepted_finding_is_said_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "ACCEPTED", {"PYSEC-9": "only its server is at fault"})
    lines, code = audit.result([SOUND])
    assert lines[1:] == ["accepted: PYSEC-9, only its server is at fault"]
    assert code == 0

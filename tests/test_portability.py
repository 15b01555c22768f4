"""What only POSIX has is not used: kgrec starts on Windows, too."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import kgrec_cli

PACKAGE_DIR = Path(kgrec_cli.__file__).parent
POSIX_MODULES = {
    *("crypt", "fcntl", "grp", "nis", "posix", "pty", "pwd", "readline", "resource"),
    *("spwd", "syslog", "termios", "tty"),
}
POSIX_NAMES = {
    *("os.chown", "os.fchmod", "os.fchown", "os.fork", "os.getloadavg", "os.getpgid", "os.getuid"),
    *("os.killpg", "os.mkfifo", "os.nice", "os.sched_getaffinity", "os.setsid", "os.sysconf"),
    *("os.statvfs", "os.uname", "os.wait", "os.WNOHANG"),
    *("signal.SIGALRM", "signal.SIGHUP", "signal.SIGKILL", "signal.SIGUSR1", "signal.alarm"),
    "signal.pause",
}


def posix_only(source: str) -> list[str]:
    """What a module imports when it is imported, and the names it uses, that Windows lacks."""
    tree = ast.parse(source)
    imported = [name for node in at_import(tree) for name in modules_of(node)]
    used = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    found = {name for name in imported if name.partition(".")[0] in POSIX_MODULES}
    return sorted(found | (set(used) & POSIX_NAMES))


def at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """The statements that run when a module is imported, without those behind an if or a try."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.If | ast.Try | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
            yield from at_import(node)


def modules_of(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        return [node.module]
    return []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import os, fcntl", ["fcntl"]),
        ("class A:\n    from resource import getrusage", ["resource"]),
        ("try:\n    import fcntl\nexcept ImportError:\n    fcntl = None", []),
        ("def f():\n    import pwd", []),
        ("from .fcntl import flock", []),
        ("import os\ndef f():\n    os.fchmod(1, 2)", ["os.fchmod"]),
    ],
)
def test_what_is_looked_for(source: str, expected: list[str]) -> None:
    assert posix_only(source) == expected


def test_no_module_needs_what_windows_lacks() -> None:
    paths = sorted(PACKAGE_DIR.rglob("*.py"))
    assert PACKAGE_DIR / "download.py" in paths
    found = {
        str(path.relative_to(PACKAGE_DIR)): posix_only(path.read_text("utf-8")) for path in paths
    }
    assert {path: names for path, names in found.items() if names} == {}

"""What all tests share: the command line in one process, and the real data."""

import os
from collections.abc import Callable
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest

from kgrec_cli.cli import run
from kgrec_cli.events import Event

REAL_DATA_DIR = Path(
    os.environ.get("KGREC_TEST_DATA", Path(__file__).parents[2] / "shared" / "data")
)


# No test fails for its time: the machine may be busy.
hypothesis.settings.register_profile("kgrec", deadline=None)
hypothesis.settings.load_profile("kgrec")


@dataclass(frozen=True)
class CommandResult:
    exit_code: int
    stdout: str
    stderr: str

    @property
    def error(self) -> str:
        """The one line of error: the last of standard error, before it notes at most."""
        *notes, error = self.stderr.splitlines()
        assert error.startswith("error: "), self.stderr
        assert not any(line.startswith(("error: ", "Traceback")) for line in notes), self.stderr
        return error


RunCli = Callable[..., CommandResult]


@pytest.fixture
def run_cli(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> RunCli:
    """Runs one command in `tmp_path` (or `cwd`), in this process, as `kgrec ARGS...` would."""
    monkeypatch.setenv("COLUMNS", "160")
    # No output depends on what else the machine does.
    monkeypatch.setattr("kgrec_cli.core.cores.CPU_TIMES", tmp_path / "not known")

    def call(*arguments: str, cwd: Path = tmp_path) -> CommandResult:
        monkeypatch.chdir(cwd)
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return CommandResult(code, captured.out, captured.err)

    return call


@pytest.fixture
def events() -> list[Event]:
    """A list to hand over as listener: `on_event=events.append`."""
    return []


@pytest.fixture
def real_data_dir() -> Path:
    """The folder of real data; the test is skipped where it is absent, and fails under CI."""
    if not REAL_DATA_DIR.is_dir():
        reason = f"no real data at {REAL_DATA_DIR} (set KGREC_TEST_DATA)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return REAL_DATA_DIR


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """Under CI=true a skipped test is a failure: nothing may go unchecked there."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped under CI: {report.longrepr}"


def write_small_dataset(folder: Path, *, name: str = "small", width: int = 8) -> None:
    """Atomic files of 30 users who go round twelve items, each with an entity vector but two."""
    dataset_dir = folder / "dataset" / name
    dataset_dir.mkdir(parents=True)
    rows = [
        f"u{user}\ti{1 + (user + step) % 12}\t{step % 5 + 1}\t{1000 + step}"
        for user in range(30)
        for step in range(9)
    ]
    head = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
    _write(dataset_dir / f"{name}.inter", head, rows)
    _write(
        dataset_dir / f"{name}.item",
        "item_id:token\tmovie_title:token_seq",
        [f"i{item}\tFilm No {item}" for item in range(1, 13)],
    )
    _write(
        dataset_dir / f"{name}.link",
        "item_id:token\tentity_id:token",
        [f"i{item}\te{item}" for item in range(1, 11)],
    )
    _write(
        dataset_dir / f"{name}.kg",
        "head_id:token\trelation_id:token\ttail_id:token",
        [f"e{item}\tfollows\te{item % 10 + 1}" for item in range(1, 11)],
    )
    vectors = [
        " ".join("1" if column == item % width else "0" for column in range(width))
        for item in range(1, 11)
    ]
    _write(
        dataset_dir / f"{name}.ent_feature",
        "ent_id:token\tent_vec:float_seq",
        [f"e{item}\t{vector}" for item, vector in enumerate(vectors, start=1)],
    )


def _write(path: Path, head: str, rows: list[str]) -> None:
    path.write_text("\n".join([head, *rows, ""]), encoding="utf-8")


QUICK = (
    "--set=embedding_size=8", "--set=hidden_size=16", "--set=learning_rate=0.02",
    "--set=train_batch_size=64", "--threads=1",
)  # fmt: skip


@pytest.fixture
def small_folder(tmp_path: Path) -> Path:
    """A working folder with the small data set."""
    write_small_dataset(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def trained_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with the small data set and a finished run. Not to be written to."""
    folder = tmp_path_factory.mktemp("trained")
    write_small_dataset(folder)
    with chdir(folder):
        assert run(["train", "--epochs", "6", *QUICK, "--json"]) == 0
    return folder

"""One writer of a folder at a time; a writer that was killed stands in nobody's way."""

import subprocess
import sys
from pathlib import Path

import pytest

from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.locks import only_writer, remove_leftovers, staging_path

HOLD = """
import sys
from pathlib import Path
from kgrec_cli.formats.locks import only_writer, staging_path
folder = Path(sys.argv[1])
with only_writer(folder):
    staging_path(folder).mkdir()
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that is the writer of `set`."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "set")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_the_second_writer_is_refused_until_the_first_is_killed(tmp_path: Path, holder):
    folder = tmp_path / "set"
    with pytest.raises(KgrecError) as caught, only_writer(folder):
        pass
    message = f"{folder}: another kgrec command is at work on it; wait until it has ended"
    assert str(caught.value) == message
    remove_leftovers(tmp_path)
    assert staging_path(folder).is_dir(), "of a process that is alive"
    holder.kill()
    holder.wait()
    with only_writer(folder):
        assert staging_path(folder).is_dir()
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_when_nothing_was_written(tmp_path: Path):
    with pytest.raises(KgrecError, match="in vain"), only_writer(tmp_path / "dataset" / "set"):
        raise KgrecError("in vain")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path):
    (tmp_path / "dataset").write_text("")
    with pytest.raises(KgrecError, match="cannot write"), only_writer(tmp_path / "dataset" / "s"):
        pass

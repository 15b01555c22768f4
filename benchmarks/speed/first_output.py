"""What a person at a terminal waits for: first output of each command, and its longest silence.

    .venv/bin/python -m benchmarks.speed.first_output --folder FOLDER [--out FILE]

FOLDER is a working folder with one prepared data set, its entity vectors and a finished run named
`first`. The commands are run in a copy of it. Seconds are from the start of the process.
"""

import argparse
import fcntl
import json
import os
import pty
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

COMMANDS = {
    "--help": ["--help"],
    "runs": ["runs"],
    "config show": ["config", "show"],
    "doctor": ["doctor"],
    "doctor --system": ["doctor", "--system"],
    "pretrain-kg": ["pretrain-kg", "--epochs", "5"],
    "train": ["train", "--epochs", "2", "--name", "second"],
    "evaluate": ["evaluate"],
    "compare": ["compare", "first", "second"],
    "recommend": ["recommend", "--user", "1"],
    "report": ["report"],
    "export": ["export", "--out", "latest.pth"],
    "import": ["import", "latest.pth"],
    "tune": ["tune", "space.hyper", "--set", "epochs=1"],
    "prepare": ["prepare", "log", "--raw", "log.csv", "--kg", "none"],
}


def watch(arguments: list[str], folder: Path) -> dict[str, float]:
    """Seconds to the first output of a command in a terminal, of its longest silence, in all."""
    primary, secondary = pty.openpty()
    fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    began = last = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-m", "kgrec_cli", *arguments],
        stdin=secondary, stdout=secondary, stderr=secondary, cwd=folder, start_new_session=True,
    )  # fmt: skip
    os.close(secondary)
    first, silence, output = None, 0.0, b""
    while True:
        try:
            chunk = os.read(primary, 65536)
        except OSError:  # how a terminal on Linux says that nobody writes into it any more
            break
        now = time.perf_counter()
        if chunk.strip(b"\r\n \x1b[?25lh"):
            first = now - began if first is None else first
        output, silence, last = output + chunk, max(silence, now - last), now
    os.close(primary)
    if child.wait():
        sys.exit(f"kgrec {' '.join(arguments)}: {output.decode()[-500:]}")
    total = time.perf_counter() - began
    return {"first": total if first is None else first, "silence": silence, "total": total}


def main() -> None:
    """Measures, prints a table, writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--only", default=",".join(COMMANDS), help="commands, by commas")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("dataset", "saved", "kgrec.yaml"):
            source = options.folder / part
            (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / part)
        (folder / "space.hyper").write_text("dropout_prob choice [0.1,0.2]\n")
        rows = (f"u{n % 999},i{n * n % 4999},{n}\n" for n in range(500_000))
        (folder / "log.csv").write_text("user,item,time\n" + "".join(rows))
        print(f"{'':18}{'first output':>14}{'longest silence':>17}{'total':>9}")
        for command in options.only.split(","):
            found[command] = watch(COMMANDS[command], folder)
            times = found[command]
            first, silence, total = times["first"], times["silence"], times["total"]
            print(f"{command:18}{first:>12.2f} s{silence:>15.2f} s{total:>7.1f} s", flush=True)
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()

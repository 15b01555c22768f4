"""`kgrec doctor --system`: the machine, and what kgrec would compute with on it."""

import platform
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import torch

from kgrec_cli import __version__
from kgrec_cli.core.cores import usable_cores
from kgrec_cli.core.memory import free_memory, memory_limit
from kgrec_cli.runs.run_dir import choose_device, set_up_cpu
from kgrec_cli.settings import Settings
from kgrec_cli.stages.doctor import Finding

PACKAGES = ("torch", "numpy", "polars", "pykeen", "optuna", "safetensors", "typer", "rich")
LITTLE_GB = 2.0
NVIDIA = Path("/dev/nvidia0")


def describe_machine(settings: Settings, folder: Path) -> list[Finding]:
    """Versions, processor and threads, memory, disk, GPUs, extras.

    `settings` say device and threads, `folder` is the working folder.

    Raises:
        KgrecError: The device that the settings name is not there.
    """
    device = choose_device(settings.device)
    set_up_cpu(settings)
    return [*_programs(), *_processor(), *_room(folder), *_devices(device)]


def _programs() -> Iterator[Finding]:
    system = f"kgrec {__version__}, Python {platform.python_version()} on {platform.platform()}"
    yield Finding("ok", "version", system)
    yield Finding("ok", "packages", ", ".join(f"{name} {version(name)}" for name in PACKAGES))
    extras: dict[str, list[str]] = {}
    with suppress(PackageNotFoundError):  # kgrec is not installed, only on the path
        for line in requires("kgrec") or ():
            if match := re.match(r"([\w.-]+).*extra == ['\"](\w+)['\"]", line):
                extras.setdefault(match[2], []).append(match[1])
    for extra in sorted(extras.keys() - {"dev", "browser"}):
        lacking = [name for name in extras[extra] if not _is_installed(name)]
        cure = f"pip install 'kgrec[{extra}]'" if lacking else ""
        state = f"without {', '.join(lacking)}" if lacking else "installed"
        yield Finding("note" if lacking else "ok", "extra", f"{extra}: {state}", cure)


def _is_installed(name: str) -> bool:
    with suppress(PackageNotFoundError):
        return bool(version(name))
    return False


def _processor() -> Iterator[Finding]:
    n_cores, n_threads = usable_cores(), torch.get_num_threads()
    text = f"{n_threads} threads on {n_cores:g} cores ({platform.machine()})"
    if n_threads > n_cores:
        cure = f"--threads {max(1, int(n_cores))}: more threads than cores wait for each other"
        yield Finding("warn", "processor", text, cure)
    else:
        yield Finding("ok", "processor", text)


def _room(folder: Path) -> Iterator[Finding]:
    limit, free = memory_limit(), free_memory()
    if limit is not None and free is not None:
        text = f"{free / 1e9:.1f} of {limit / 1e9:.1f} GB free"
        yield Finding("ok" if free > LITTLE_GB * 1e9 else "warn", "memory", text)
    disk = shutil.disk_usage(folder)
    text = f"{disk.free / 1e9:.1f} of {disk.total / 1e9:.1f} GB free in this folder"
    yield Finding("ok" if disk.free > LITTLE_GB * 1e9 else "warn", "disk", text)


def _devices(device: torch.device) -> Iterator[Finding]:
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        about = f"{torch.cuda.get_device_name(number)}, {free / 1e9:.1f} of {total / 1e9:.1f} GB"
        yield Finding("ok", f"cuda:{number}", f"{about} free, CUDA {torch.version.cuda}")
    if not torch.cuda.device_count():
        if NVIDIA.exists() and torch.version.cuda is None:
            text = f"there is one, but torch {torch.__version__} is built for CPUs"
            yield Finding("warn", "GPU", text, "install the torch build of your driver")
        elif NVIDIA.exists():
            text = f"there is one, but torch {torch.__version__} does not find it"
            yield Finding("warn", "GPU", text, "does `nvidia-smi` work?")
        else:
            yield Finding("note", "GPU", "none: kgrec computes on the CPU")
    yield Finding("ok", "device", f"kgrec would use {device}")

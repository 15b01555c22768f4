"""The machine: its device and threads, and what a run records of them."""

from typing import Any

import torch

from kgrec_cli.errors import KgrecError
from kgrec_cli.settings import Settings


def choose_device(name: str) -> torch.device:
    """The torch device of a `device` setting; auto is CUDA where there is one.

    Raises:
        KgrecError: CUDA is asked for and not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        n_devices = torch.cuda.device_count()
        raise KgrecError(f"device {name}: torch finds {n_devices} CUDA devices; use auto or cpu")
    return device


def set_threads(settings: Settings) -> None:
    """Sets the number of CPU threads of torch to `threads`, if that is set."""
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)


def describe_environment(device: torch.device) -> dict[str, Any]:
    """What a run was made with: versions, machine, device, threads, command line."""
    import platform
    import sys
    from importlib.metadata import version

    from kgrec_cli import __version__

    packages = ("torch", "numpy", "polars", "pykeen", "safetensors")
    return {
        "kgrec": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "platform": platform.platform(),
        "processor": platform.machine(),
        "device": str(device),
        "threads": torch.get_num_threads(),
        "command": ["kgrec", *sys.argv[1:]],
    }

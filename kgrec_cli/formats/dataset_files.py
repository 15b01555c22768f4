"""A data set's files, put in place together: all of them, or none when one cannot be written."""

import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.files import cannot_write

WriteFile = Callable[[Path], object]


def write_together(
    folder: Path, files: Mapping[str, WriteFile], remove: Iterable[str] = ()
) -> None:
    """Writes several files into `folder`, or leaves it as it was.

    All are written into a new folder beside it first, then renamed one after the other.

    Args:
        folder: Made when it is not there.
        files: File name -> what writes it at a path.
        remove: Names of files that must not be there afterwards.

    Raises:
        KgrecError: The disk is full, or the folder cannot be written to.
    """
    if folder.parent.exists() and not folder.parent.is_dir():
        raise KgrecError(f"{folder.parent}: a file, expected a folder to write {folder.name}/ into")
    staging_dir = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging_dir = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        for name, write in files.items():
            write(staging_dir / name)
        folder.mkdir(exist_ok=True)
        for name in files:
            (staging_dir / name).replace(folder / name)
        for name in remove:
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    except KgrecError as error:
        raise KgrecError(str(error).replace(str(staging_dir), str(folder))) from error
    finally:
        if staging_dir is not None:
            with suppress(OSError):
                for left in staging_dir.iterdir():
                    left.unlink()
                staging_dir.rmdir()

"""Files and folders that are there whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import SettingError


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Write a file beside its place and rename it once it is complete.

    Args:
        path: where the file belongs; an existing one is replaced at the end, and kept if writing fails.

    Yields:
        the path to write to, in the same folder and with the same suffix.
    """
    path = Path(path)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def folder_written_whole(path: str | Path) -> Iterator[Path]:
    """Write a new folder beside its place and rename it once it is complete.

    Args:
        path: where the folder belongs; nothing but an empty folder may be there.

    Yields:
        the folder to write to, which lies beside the place.

    Raises:
        SettingError: something is there already.
    """
    path = Path(path)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise SettingError(f"{path}: expected a new or an empty folder, found something there; choose another place.")
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.replace(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)

"""Files that are there whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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

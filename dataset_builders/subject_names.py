"""Whose recording it is, told from the name of its file."""

import re
from pathlib import Path

from modeling_sleepvit.errors import DatasetError
from modeling_sleepvit.recordings import printable


_SLEEP_EDF_NAME = re.compile(r"(S[CT][47]\d{2})\d", re.IGNORECASE)


def subject_of(path: str | Path, pattern: str | None = None) -> str:
    """Tell the subject of a recording.

    Args:
        path: for example "SC4001E0.npz".
        pattern: regular expression whose first group, searched in the path, is the subject; None takes the first five
            characters of the names of Sleep-EDF ("SC400": the sixth counts the night), and the stem of any other.

    Returns:
        the subject.

    Raises:
        DatasetError: the pattern is none, has no group, or does not fit.
    """
    name = printable(Path(path).as_posix())
    if pattern is None:
        stem = printable(Path(path).stem)
        match = _SLEEP_EDF_NAME.match(stem)
        return match[1] if match else stem
    check_subject_pattern(pattern)
    match = re.search(pattern, name)
    if not (match and match[1]):
        raise DatasetError(f"{name}: the subject pattern {pattern!r} does not fit this name; change the pattern.")
    return match[1]


def check_subject_pattern(pattern: str | None) -> None:
    """Refuse a pattern that fits no name whatever.

    Args:
        pattern: as for `subject_of`.

    Raises:
        DatasetError: it is no regular expression or has no group.
    """
    if pattern is None:
        return
    try:
        n_groups = re.compile(pattern).groups
    except re.error as error:
        raise DatasetError(f"the subject pattern {pattern!r} cannot be used: {error}; see Python's re.") from error
    if n_groups < 1:
        raise DatasetError(
            f"the subject pattern {pattern!r} cannot be used: expected one group that holds the subject, for example "
            "sub-([0-9]+)."
        )

"""Which scoring belongs to which recording: by their names, or by a table."""

import glob
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time
from fnmatch import fnmatchcase
from pathlib import Path

import pandas as pd

from modeling_sleepvit.errors import DatasetError
from modeling_sleepvit.recordings import printable

from .night_rows import Lights


USUAL_SCORINGS = (
    "{stem}-Hypnogram.edf",
    "{stem}_scoring.*",
    "{stem}-profusion.xml",
    "{stem}-nsrr.xml",
    "{stem}.xml",
    "{stem}.csv",
    "{stem}.tsv",
    "{stem}.txt",
    "{bids}_events.tsv",
)
"""Where a scoring is looked for when no pattern is given. What `sleepvit stage` writes is none: it is no truth."""

TABLE_COLUMNS = ("recording", "scoring", "subject", "lights_off", "lights_on")
_CLOCK_FORMATS = ("%H:%M", "%H:%M:%S", "%I:%M %p", "%I:%M:%S %p")


@dataclass(frozen=True)
class Pair:
    """A line of a table that pairs recordings and scorings.

    Args:
        recording: the file with the signals.
        scoring: the file with the stages, or None.
        subject: the person, or None.
        lights: clock times of lights off and on.
    """

    recording: Path
    scoring: Path | None
    subject: str | None
    lights: Lights


def scoring_names(recording: Path, pattern: str | None = None) -> list[str]:
    """Tell what the scoring of a recording may be called.

    Args:
        recording: the file with the signals.
        pattern: see `CohortConfig`; None stands for `USUAL_SCORINGS`.

    Returns:
        patterns of file names, in which * stands for anything.

    Raises:
        DatasetError: the pattern cannot be used.
    """
    if pattern == "":
        raise DatasetError("the pattern of scorings is empty: expected a name such as {stem}.xml.")
    parts = {
        "stem": _Escaped(recording.stem),
        "name": _Escaped(recording.name),
        "bids": _Escaped(recording.stem.rpartition("_")[0] or recording.stem),
    }
    try:
        return [each.format(**parts) for each in (USUAL_SCORINGS if pattern is None else (pattern,))]
    except (KeyError, IndexError, ValueError) as error:
        raise DatasetError(
            f"the pattern of scorings {pattern!r} cannot be used ({error}): expected {{stem}}, {{name}} or {{bids}} "
            "in it, for example {stem}.xml."
        ) from error


def find_scoring(recording: Path, folder: Path, names: list[str], may_be_itself: bool = False) -> Path | None:
    """Find the scoring of a recording beside it, or else in the folder of the cohort.

    Args:
        recording: the file with the signals.
        folder: of the cohort.
        names: as `scoring_names` gives them; case does not count.
        may_be_itself: whether the recording may hold its own scoring.

    Returns:
        the file, or None where there is none.

    Raises:
        DatasetError: several files fit.
    """
    for place in dict.fromkeys((recording.parent, folder)):
        found = [path for name in names for path in _files_named(place, name) if may_be_itself or path != recording]
        if len(found) > 1:
            listed = ", ".join(printable(path.name) for path in found[:4])
            raise DatasetError(
                f"{recording}: expected one scoring, found {listed}; say which by --scorings, or take one away."
            )
        if found:
            return found[0]
    return None


def pairs_of_table(path: Path, folder: Path) -> Iterator[Pair]:
    """Read a table that pairs recordings and scorings.

    Args:
        path: CSV file with the columns `recording` and `scoring`, and maybe `subject`, `lights_off` and `lights_on`.
        folder: that its paths count from.

    Yields:
        its lines.

    Raises:
        DatasetError: the file is no such table, or a line of it cannot be used.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            header = file.readline()
        separator = max(",;\t", key=header.count)
        table = pd.read_csv(path, dtype=str, sep=separator, encoding="utf-8-sig", skipinitialspace=True)
    except (OSError, ValueError) as error:  # errors of the parser and of the encoding are ValueErrors
        raise DatasetError(f"{path}: expected a CSV table of recordings and scorings, found: {error}.") from error
    table.columns = table.columns.str.strip()
    if missing := [column for column in TABLE_COLUMNS[:2] if column not in table.columns]:
        raise DatasetError(
            f"{path}: expected the columns {', '.join(TABLE_COLUMNS)} (the last three may be missing), found no "
            f"{', '.join(missing)}."
        )
    seen: set[str] = set()
    for line, row in enumerate(table.to_dict("records"), start=2):  # as an editor counts, with the header
        cells = {name: cell.strip() for name, cell in row.items() if isinstance(cell, str) and cell.strip()}
        recording = cells.get("recording")
        if recording is None:
            raise DatasetError(f"{path}: line {line} names no recording.")
        if recording in seen:
            raise DatasetError(f"{path}: the recording {recording} stands in two lines, expected one.")
        seen.add(recording)
        yield Pair(
            folder / recording,
            folder / cells["scoring"] if "scoring" in cells else None,
            cells.get("subject"),
            Lights(*(_clock_time(cells.get(name), f"{path}: line {line}") for name in TABLE_COLUMNS[3:])),
        )


class _Escaped(str):
    """Text that puts itself into a pattern with its special characters escaped."""

    def __format__(self, spec: str) -> str:
        return glob.escape(super().__format__(spec))


def _files_named(place: Path, name: str) -> list[Path]:
    if Path(name).is_absolute() or "/" in name:
        return sorted(Path(path) for path in glob.glob(str(Path(glob.escape(str(place))) / name), recursive=True))
    if not place.is_dir():
        return []
    return sorted(path for path in place.iterdir() if fnmatchcase(path.name.lower(), name.lower()) and path.is_file())


def _clock_time(text: str | None, where: str) -> time | None:
    if text is None:
        return None
    for clock_format in _CLOCK_FORMATS:
        try:
            return datetime.strptime(text, clock_format).time()
        except ValueError:
            continue
    raise DatasetError(f"{where}: expected a clock time such as 22:45 or 22:45:30, found {text!r}.")

"""Columns of onsets, ends and durations: seconds, clock times with a date, times of day that pass midnight."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from modeling_sleepvit.errors import HypnogramError

from .names import cut, is_missing


ARBITRARY_DATE = datetime(1985, 1, 1)
"""The date of a `start` of which the file tells the time of day alone; anonymous EDF files bear the same."""

ARBITRARY_DATE_NOTE = f"The file tells the time of day alone: the date {ARBITRARY_DATE:%Y-%m-%d} is arbitrary."

ELAPSED_NOTE = "The first time is 00:00:00: the times were taken to count from the start of the recording."

_DAY_S = 86_400.0
_NAN = float("nan")
# MNE writes onsets as dates from here on where it knows no clock time.
_NO_DATE = datetime(1970, 1, 1)
_DATED = ("%d/%m/%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S", "%d/%m/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M:%S %p",
          "%d.%m.%Y %H:%M:%S", "%d-%m-%Y %H:%M:%S")  # fmt: skip
_TIMES_OF_DAY = ("%H:%M:%S", "%I:%M:%S %p", "%H:%M", "%H.%M.%S")
_ZONE = re.compile(r":\d\d([.,]\d+)?\s*(Z|UTC|GMT|[+-]\d\d(:?\d\d){0,2})$", re.ASCII | re.IGNORECASE)
_FRACTION = re.compile(r"(?<=:\d\d)[.,](\d{1,9})(?!\d)", re.ASCII)


@dataclass(frozen=True)
class Times:
    """A column of onsets.

    Args:
        seconds: s after `start`, or after the start of the recording; NaN where a field was no time.
        start: the earliest clock time, or None where the column counts from the start of the recording.
        notes: sentences about what was guessed.
        clock: what the fields say where they are written as clock times, else None.
        is_time_of_day: whether they have no date.
    """

    seconds: list[float]
    start: datetime | None = None
    notes: tuple[str, ...] = ()
    clock: list[datetime | None] | None = None
    is_time_of_day: bool = False

    def until(self, ends: Sequence[str], places: Sequence[str]) -> list[float | None]:
        """Measure from the onsets to a column of ends, which is written as the onsets are.

        Args:
            ends: one field per onset.
            places: where each stands in the file, for messages.

        Returns:
            s, None where a field stands for "no value".

        Raises:
            HypnogramError: the ends are not written as the onsets are, or have a time zone.
        """
        if self.clock is None:
            return [
                None if is_missing(end) else _seconds_or_nan(end) - onset for end, onset in zip(ends, self.seconds)
            ]
        clock, is_time_of_day = _read_clock(ends, places)
        if is_time_of_day != self.is_time_of_day and any(clock):
            raise HypnogramError("its onsets and ends are written in two ways: expected a date in both or in none.")
        spans = [end and onset and (end - onset).total_seconds() for end, onset in zip(clock, self.clock)]
        return [span if span is None or not is_time_of_day else span % _DAY_S for span in spans]


def read_onsets(cells: Sequence[str], places: Sequence[str]) -> Times:
    """Read a column of onsets: numbers are s after the start of the recording, anything else a clock time.

    Times of day of which 00:00:00 is the first and the earliest count from the start of the recording too.

    Args:
        cells: one field per row.
        places: where each stands in the file, for messages.

    Raises:
        HypnogramError: a field is neither, or has a time zone.
    """
    first = next((cell for cell in cells if not is_missing(cell)), "0")
    if seconds_or_none(first) is not None:
        return Times([_seconds_or_nan(cell) for cell in cells])
    clock, is_time_of_day = _read_clock(cells, places)
    days = _with_days(clock) if is_time_of_day else clock
    start = min(time for time in days if time)
    if timedelta(0) <= start - _NO_DATE < timedelta(days=1):
        return Times(_since(_NO_DATE, days), clock=days)
    if is_time_of_day and start == ARBITRARY_DATE == next(time for time in days if time):
        return Times(_since(start, days), notes=(ELAPSED_NOTE,), clock=days, is_time_of_day=True)
    notes = (ARBITRARY_DATE_NOTE,) if is_time_of_day else ()
    return Times(_since(start, days), start, notes, days, is_time_of_day)


def read_durations(cells: Sequence[str]) -> list[float | None]:
    """Read a column of durations, in s or as hours:minutes:seconds.

    Args:
        cells: one field per row.

    Returns:
        s, None where a field stands for "no value", NaN where it is something else.
    """
    return [None if is_missing(cell) else _duration(cell) for cell in cells]


def seconds_or_none(cell: str) -> float | None:
    """Read a number, with a point or a comma.

    Args:
        cell: a field of a table.
    """
    try:
        return float(cell.replace(",", "."))
    except ValueError:
        return None


def _seconds_or_nan(cell: str) -> float:
    seconds = seconds_or_none(cell)
    return _NAN if seconds is None else seconds


def _duration(cell: str) -> float:
    seconds = seconds_or_none(cell)
    if seconds is not None:
        return seconds
    try:
        return (_strptime("%H:%M:%S")(cell) - _strptime("%H:%M:%S")("0:0:0")).total_seconds()
    except ValueError:
        return _NAN


def _since(start: datetime, times: Sequence[datetime | None]) -> list[float]:
    return [(time - start).total_seconds() if time else _NAN for time in times]


def _read_clock(cells: Sequence[str], places: Sequence[str]) -> tuple[list[datetime | None], bool]:
    """Read clock times in the one format that fits all of them, and tell whether they lack a date.

    Where day and month could be either, the order in which the times lie closer together is taken.
    """
    for cell, place in zip(cells, places):
        if _ZONE.search(cell):
            raise HypnogramError(
                f"{place} has the time {cut(cell)!r}: expected the local clock time of the recording, without a zone."
            )
    formats = [(_isoformat, False)]
    formats += [(_strptime(pattern), False) for pattern in _DATED]
    formats += [(_strptime(pattern), True) for pattern in _TIMES_OF_DAY]
    fitting, n_read = [], 0
    for read, is_time_of_day in formats:
        clock: list[datetime | None] = []
        try:
            for cell in cells:
                clock.append(None if is_missing(cell) else read(cell))
        except (ValueError, OverflowError):
            n_read = max(n_read, len(clock))
        else:
            times = [time for time in clock if time]
            fitting.append((max(times) - min(times) if times else timedelta(0), clock, is_time_of_day))
    if not fitting:
        raise HypnogramError(
            f"{places[n_read]} has the time {cut(cells[n_read])!r}: expected seconds, a time such as 23:10:05 or "
            "2020-01-31 23:10:05, written alike in all rows."
        )
    _, clock, is_time_of_day = min(fitting, key=lambda fit: fit[0])
    return clock, is_time_of_day


def _isoformat(cell: str) -> datetime:
    if not re.match(r"\d{4}-\d\d-\d\d[T ]\d\d:", cell):
        raise ValueError(cell)
    return datetime.fromisoformat(cell).replace(tzinfo=None)


def _strptime(pattern: str) -> Callable[[str], datetime]:
    def read(cell: str) -> datetime:
        fraction = _FRACTION.search(cell)
        time = datetime.strptime(_FRACTION.sub("", cell), pattern)
        return time + timedelta(seconds=float(f"0.{fraction[1]}")) if fraction else time

    return read


def _with_days(times: Sequence[datetime | None]) -> list[datetime | None]:
    """Give times of day dates: each lies within half a day of the one before, so the night passes midnight once."""
    dated, before = [], None
    for time in times:
        if time is not None:
            time = datetime.combine(ARBITRARY_DATE, time.time())
            if before is not None:
                time += timedelta(days=round((before - time).total_seconds() / _DAY_S))
            before = time
        dated.append(time)
    return dated

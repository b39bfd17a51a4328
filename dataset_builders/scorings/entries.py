"""What every reader of scorings hands over: the entries of a file in its own words, not yet stages of epochs."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class ScoringEntry:
    """One annotation, event, table row or line of a scoring.

    Args:
        name: what the scorer or the program wrote, for example "Sleep stage 2".
        where: the entry's place in its file, for messages, for example "line 7".
        onset_s: s after the time that the file counts from; None where entries are epochs in order; NaN where a
            number was expected and something else was found.
        duration_s: s; None where the file gives none; NaN where something else than a number was found.
    """

    name: str
    where: str
    onset_s: float | None = None
    duration_s: float | None = None


@dataclass(frozen=True)
class RawScoring:
    """A scoring as its file tells it.

    Args:
        entries: in the order of the file; either all have an onset or none has.
        is_event_list: whether entries that are no stages (arousals, lights off) may stand among them.
        epoch_seconds: length of an epoch in s where the file states it.
        numbers: "rk" where the format fixes what numbers mean, else None.
        start: clock time from which onsets are counted, or None.
        counts_from_recording: whether onsets are counted from the start of the recording; False where the file knows
            clock times alone.
        notes: sentences about what was guessed.
    """

    entries: list[ScoringEntry]
    is_event_list: bool = False
    epoch_seconds: float | None = None
    numbers: str | None = None
    start: datetime | None = None
    counts_from_recording: bool = True
    notes: tuple[str, ...] = ()

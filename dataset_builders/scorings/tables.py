"""Scorings in text: tables of events or of epochs, BIDS events, event lists of Noxturnal, one stage per line."""

import csv
import io
import re
import unicodedata
from dataclasses import dataclass

from modeling_sleepvit.errors import HypnogramError

from .entries import RawScoring, ScoringEntry
from .names import cut, listed
from .times import Times, read_durations, read_onsets, seconds_or_none


# Names of columns as `_key` writes them; where several occur, the first in this order is read.
STAGE_COLUMNS = (
    "stage", "stages", "stage_hum", "sleep_stage", "sleep_stages", "sleepstage", "sleepstages", "stage_name",
    "stage_label", "hypnogram", "hypno", "majority", "sleep", "sommeil",
)  # fmt: skip
"""Columns in which every field is a stage."""

EVENT_COLUMNS = (
    "trial_type", "description", "annotation", "annotations", "event", "event_name", "event_type", "evenement",
    "label", "labels", "name", "type", "score", "scoring", "value",
)  # fmt: skip
"""Columns in which stages stand among other events, if there are onsets."""

ONSET_COLUMNS = (
    "onset", "onset_s", "onset_sec", "onset_seconds", "start_time", "start", "start_s", "start_sec", "start_seconds",
    "start_time_s", "begin", "begin_s", "heure_de_debut", "time", "time_s", "time_hh_mm_ss", "timestamp", "clock_time",
    "horodatage",
)  # fmt: skip
DURATION_COLUMNS = (
    "duration",
    "duration_s",
    "duration_sec",
    "duration_seconds",
    "dur",
    "length_s",
    "duree",
    "duree_s",
)
END_COLUMNS = ("end_time", "end", "end_s", "end_sec", "end_seconds", "end_time_s", "stop", "stop_s", "heure_de_fin")
MOST_LINES = 10**6
"""Ten days of epochs of 1 s have fewer."""

EPOCH_COLUMNS = ("epoch", "epochs", "epoch_number", "epoch_index", "epoch_id", "epoch_no")


def read_scoring_table(text: str) -> RawScoring:
    """Read a table with one row per epoch or event, or a text with one stage per line.

    Columns are parted by tabs, semicolons or commas, and found by their names; a single column needs no name. Lines
    that begin with "#" are passed over, and so are blank lines, where onsets or numbers of epochs tell the place of a
    row; where its line alone does, they would shift every later epoch and are refused, those at the end excepted.

    Args:
        text: the whole file.

    Raises:
        HypnogramError: no column of stages is known, a row is not as wide as its table, a field is no number and no
            time, numbered epochs are not consecutive, or a line is blank where each is an epoch.

    Source:
        Brain Imaging Data Structure 1.9, section on task events; the events that Noxturnal exports, as the R package
        rsleep reads them.
    """
    rows = _rows(text)
    header = [_key(cell) for cell in rows[0].cells]
    stage_column = next((name for name in (*STAGE_COLUMNS, *EVENT_COLUMNS) if name in header), None)
    if stage_column is None and len(header) == 1:
        _refuse_blank_lines(text)
        return RawScoring([ScoringEntry(row.cells[0], row.where) for row in rows])
    if stage_column is not None:
        rows = rows[1:]
    elif _is_onset_duration_stage(rows[0].cells):
        header, stage_column = ["onset", "duration", "description"], "description"
    else:
        raise HypnogramError(
            f"{rows[0].where} names no column of stages: expected one of "
            f"{', '.join((*STAGE_COLUMNS, *EVENT_COLUMNS))}, found {listed(rows[0].cells)}; rename the column."
        )
    if rows and re.fullmatch(r"\[.*\]", rows[0].cells[0]):
        rows = rows[1:]  # Noxturnal puts units, or empty brackets, below the names
    table = _Table(header, rows)
    onsets = table.first_of(ONSET_COLUMNS)
    if onsets is None:
        if table.first_of(EPOCH_COLUMNS) is None:
            _refuse_blank_lines(text)
        return _epochs_in_order(table, stage_column)
    times = read_onsets(onsets, table.places)
    durations = _durations(table, times)
    entries = [
        ScoringEntry(*fields) for fields in zip(table.column(stage_column), table.places, times.seconds, durations)
    ]
    return RawScoring(
        entries,
        is_event_list=stage_column in EVENT_COLUMNS,
        start=times.start,
        counts_from_recording=times.start is None,
        notes=times.notes,
    )


def lines_of(text: str) -> list[tuple[int, str]]:
    """Number the lines of a text from 1 and pass over those that are blank or begin with "#".

    Args:
        text: lines that end as on any system.

    Raises:
        HypnogramError: no line is left, or there are more than `MOST_LINES`.
    """
    lines = []
    for number, line in enumerate(io.StringIO(text, newline=None), start=1):
        if number > MOST_LINES:
            raise HypnogramError(f"it has more than {MOST_LINES} lines: expected a scoring.")
        if line.strip() and not line.lstrip().startswith("#"):
            lines.append((number, line))
    if not lines:
        raise HypnogramError("it is empty: expected a scoring; copy or export it again.")
    return lines


def _refuse_blank_lines(text: str) -> None:
    last = lines_of(text)[-1][0]
    for number, line in enumerate(io.StringIO(text, newline=None), start=1):
        if number < last and not line.strip():
            raise HypnogramError(
                f"line {number} is blank: expected a stage on every line; write ? for an epoch that has none."
            )


@dataclass(frozen=True)
class _Row:
    where: str
    cells: list[str]


@dataclass(frozen=True)
class _Table:
    header: list[str]
    rows: list[_Row]

    def __post_init__(self):
        for row in self.rows:
            surplus = [cell for cell in row.cells[len(self.header) :] if cell]
            if len(row.cells) < len(self.header) or surplus:
                raise HypnogramError(
                    f"{row.where} has {len(row.cells)} columns: expected {len(self.header)} as in the first line; put "
                    "text that holds the separator in quotes, or export the table again."
                )

    @property
    def places(self) -> list[str]:
        return [row.where for row in self.rows]

    def column(self, name: str) -> list[str]:
        index = self.header.index(name)
        return [row.cells[index] for row in self.rows]

    def first_of(self, names: tuple[str, ...]) -> list[str] | None:
        return next((self.column(name) for name in names if name in self.header), None)


def _rows(text: str) -> list[_Row]:
    lines = lines_of(text)
    separator = next((sign for sign in "\t;," if sign in lines[0][1]), "\t")
    reader = csv.reader((line for _, line in lines), delimiter=separator, skipinitialspace=True)
    rows = []
    try:
        for cells in reader:
            rows.append(_Row(f"line {lines[reader.line_num - 1][0]}", [cell.strip() for cell in cells]))
    except csv.Error as error:
        where = lines[min(reader.line_num, len(lines) - 1)][0]
        raise HypnogramError(f"line {where} cannot be read as a row of a table ({error}); export it again.") from error
    return rows


def _key(cell: str) -> str:
    """Write the name of a column in lower case without accents: "Heure de début" -> heure_de_debut."""
    plain = unicodedata.normalize("NFKD", cell).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", plain).strip("_")


def _is_onset_duration_stage(cells: list[str]) -> bool:
    """Recognise a table without names, as MNE writes annotations: two numbers, then a text."""
    if len(cells) != 3:
        return False
    onset, duration, stage = map(seconds_or_none, cells)
    return onset is not None and duration is not None and stage is None


def _durations(table: _Table, times: Times) -> list[float | None]:
    durations, ends = table.first_of(DURATION_COLUMNS), table.first_of(END_COLUMNS)
    if durations is not None:
        return read_durations(durations)
    return times.until(ends, table.places) if ends is not None else [None] * len(table.rows)


def _epochs_in_order(table: _Table, stage_column: str) -> RawScoring:
    """Take rows without onsets as epochs, if nothing speaks against it."""
    epochs, durations = table.first_of(EPOCH_COLUMNS), table.first_of(DURATION_COLUMNS)
    epoch_seconds, notes = None, ()
    if durations is not None:
        lengths = set(read_durations(durations))
        if len(lengths) > 1 or table.first_of(END_COLUMNS) is not None:
            raise HypnogramError(
                f"it has durations and no onsets: expected a column named {' or '.join(ONSET_COLUMNS[:3])}, found "
                f"{listed(table.header)}; rename the column of onsets."
            )
        epoch_seconds = next(iter(lengths), None)
    if epochs is not None:
        first = seconds_or_none(epochs[0]) if epochs else 0
        for row, (epoch, place) in enumerate(zip(epochs, table.places)):
            if first not in (0, 1) or seconds_or_none(epoch) != first + row:
                raise HypnogramError(
                    f"{place} has the epoch {cut(epoch)!r}: expected consecutive numbers from 0 or 1; fill its gaps, "
                    "or add a column of onsets in s."
                )
    elif len(table.header) > 1:
        notes = (f"No column of onsets is known among {listed(table.header)}: rows were taken as consecutive epochs.",)
    entries = [ScoringEntry(*fields) for fields in zip(table.column(stage_column), table.places)]
    return RawScoring(entries, epoch_seconds=epoch_seconds, notes=notes)

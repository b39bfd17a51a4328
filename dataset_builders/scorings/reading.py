"""The scoring of a night, as any of the usual programs writes it -> Hypnogram."""

import codecs
import io
import re
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas

from modeling_sleepvit.errors import HypnogramError, SleepViTError, UnknownStageError
from modeling_sleepvit.hypnogram import EPOCH_SECONDS, FRAME_COLUMNS, Hypnogram
from modeling_sleepvit.recordings import printable

from .entries import RawScoring
from .formats import LARGEST_SCORING_BYTES, is_edf, read_edf_annotations, read_scoring_xml
from .grid import StageSpan, check_epoch_seconds, stages_on_grid
from .names import cut, stages_of_entries
from .tables import lines_of, read_scoring_table


_HEAD_CHARACTERS = 4096


def read_scoring(path: str | Path, numbers: str | None = None, epoch_seconds: float = EPOCH_SECONDS) -> Hypnogram:
    """Read a scoring in EDF+, BDF+, Compumedics or NSRR XML, a table, BIDS events, a Noxturnal export or plain text.

    What the file is follows from its content. Stages that lie on a time axis are cut into epochs that begin with the
    first of them (`stages_on_grid`); other events are left out, and a note tells which.

    Args:
        path: the scoring.
        numbers: what stages that are written as numbers mean: "rk" (0 W, 1 to 4 NREM, 5 R, 6 movement, 9 unscored),
            "aasm" (0 W, 1 to 3 NREM, 4 R; 5 is UNS beside a 4, as in the files of DeepSleepNet, and R without one),
            or None to find out, which a 4 forbids unless REM is named. XML is always "rk".
        epoch_seconds: length of an epoch in s, for files that do not state it.

    Returns:
        The hypnogram. Its `offset_s` is the begin of epoch 0 in the recording, or None where the file knows clock
        times alone; its `start` is None where the file knows none.

    Raises:
        HypnogramError: there is no such file, it is none of these formats or damaged, holds no stage, its times are
            no times of a night or many of its stages overlap, or its numbers could be read in two ways.
        UnknownStageError: a stage is in no vocabulary.
        SettingError: `numbers` is something else.
    """
    path = Path(path)
    where = printable(str(path))
    if not path.is_file():
        raise HypnogramError(f"{where} is not a file: expected a scoring; check the path.")
    try:
        return _read(path, numbers, epoch_seconds)
    except (HypnogramError, UnknownStageError) as error:
        raise type(error)(f"{where}: {error}") from error
    except OSError as error:
        raise HypnogramError(f"{where} cannot be read ({error.strerror}): check the file and its rights.") from error


def _read(path: Path, numbers: str | None, epoch_seconds: float) -> Hypnogram:
    with path.open("rb") as file:
        head = file.read(8)
    recording = printable(path.stem)
    if is_edf(head):
        return _hypnogram(read_edf_annotations(path), recording, numbers, epoch_seconds)
    text = _text(path)
    if text.lstrip().startswith("<"):
        return _hypnogram(read_scoring_xml(text.lstrip()), recording, numbers, epoch_seconds)
    lines = lines_of(text)
    if set(FRAME_COLUMNS) <= set(lines[0][1].strip().split(",")):
        return _own_hypnogram("".join(line for _, line in lines), recording)
    return _hypnogram(read_scoring_table(text), recording, numbers, epoch_seconds)


def _hypnogram(raw: RawScoring, recording: str, numbers: str | None, epoch_seconds: float) -> Hypnogram:
    epoch_seconds = epoch_seconds if raw.epoch_seconds is None else raw.epoch_seconds
    check_epoch_seconds(epoch_seconds)
    pairs, notes = stages_of_entries(raw.entries, raw.is_event_list, raw.numbers or numbers)
    if pairs[0][0].onset_s is None:
        stages, offset_s = [stage for _, stage in pairs], 0.0
    else:
        spans = [StageSpan(entry.onset_s, entry.duration_s, stage, entry.where) for entry, stage in pairs]
        grid = stages_on_grid(spans, epoch_seconds)
        stages, offset_s, notes = grid.stages, grid.offset_s, [*notes, *grid.notes]
    try:
        start = None if raw.start is None else raw.start + timedelta(seconds=offset_s)
    except OverflowError:
        start = None
    return Hypnogram(
        stages=stages,
        start=start,
        epoch_seconds=epoch_seconds,
        recording=recording,
        notes=(*raw.notes, *notes),
        offset_s=offset_s if raw.counts_from_recording else None,
    )


def _own_hypnogram(table: str, recording: str) -> Hypnogram:
    """Read what `Hypnogram.to_csv` wrote, probabilities included."""
    try:
        with np.errstate(all="ignore"):  # about onsets beyond all bounds, which do not pass the check either
            frame = pandas.read_csv(io.StringIO(table))
            return Hypnogram.from_frame(frame, recording=recording.removesuffix("_hypnogram"))
    except SleepViTError:
        raise
    # Whatever pandas and numpy make of a damaged table means one thing to the user.
    except (ValueError, OverflowError, ArithmeticError) as error:
        raise HypnogramError(f"it is a damaged hypnogram table ({cut(str(error))}): export it again.") from error


def _text(path: Path) -> str:
    n_bytes = path.stat().st_size
    if n_bytes > LARGEST_SCORING_BYTES:
        raise HypnogramError(
            f"it has {n_bytes / 1e6:.0f} MB: expected EDF, or text of at most {LARGEST_SCORING_BYTES / 1e6:.0f} MB."
        )
    content = path.read_bytes()
    # Without a mark at the begin, UTF-16 shows in the zero beside the first letter.
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encodings = ("utf-16",)
    elif content[1:2] == b"\x00":
        encodings = ("utf-16-le",)
    elif content[:1] == b"\x00":
        encodings = ("utf-16-be",)
    else:
        encodings = ("utf-8-sig", "latin-1")
    for encoding in encodings:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\x00" not in text and not re.search(r"[\x01-\x08\x0e-\x1f]", text[:_HEAD_CHARACTERS]):
            return text
    raise HypnogramError(
        "it is of no known format: expected EDF+, BDF+, XML of Compumedics Profusion or the NSRR, or text; export the "
        "scoring as one of these."
    )

"""Files of recordings: their headers now, the samples of single channels later.

EDF and BDF are read with edfio, since it maps the file into memory: one channel of a night with 89 costs the pages of
that channel, keeps its own sampling rate, and is found by position where labels repeat. MNE, which reads FIF here,
would scan an EDF+ file whole for annotations and resample every channel to the fastest one.
"""

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from .channels import Channel
from .errors import RecordingError, RecordingNotFoundError


RECORDING_SUFFIXES = (".edf", ".rec", ".bdf", ".fif")
"""Suffixes, in lower case, of the files that `read_recording` reads; `.rec` is EDF under another name."""

_BLOCK_BYTES = 2**24


@dataclass(frozen=True)
class OpenedRecording:
    """A recording whose header is read and whose samples are not."""

    channels: tuple[Channel, ...]
    load: Callable[[int], np.ndarray]
    """Reads one channel, by its position, in the unit that the channel states."""
    start: datetime | None
    subject: str | None
    notes: tuple[str, ...] = ()


def open_recording(path: Path) -> OpenedRecording:
    """Read the header of a recording and check that the file holds what it promises.

    Args:
        path: file with one of `RECORDING_SUFFIXES`.

    Raises:
        RecordingNotFoundError: there is no such file.
        RecordingError: the file is empty, truncated, has gaps, holds no signals, or is of another format.
    """
    if not path.exists():
        raise RecordingNotFoundError(f"{path} does not exist: expected a recording; check the path.")
    if path.is_dir():
        raise RecordingError(f"{path} is a folder: expected one recording; name a file in it.")
    if path.suffix.lower() not in RECORDING_SUFFIXES:
        raise RecordingError(
            f'{path} has the suffix "{path.suffix}": expected one of {", ".join(RECORDING_SUFFIXES)}; convert the '
            "recording to EDF."
        )
    if path.stat().st_size == 0:
        raise RecordingError(f"{path} is empty: expected a recording, found 0 bytes; copy or export it again.")
    return _open_fif(path) if path.suffix.lower() == ".fif" else _open_edf(path)


def _open_edf(path: Path) -> OpenedRecording:
    try:
        import edfio
    except ImportError as error:
        raise ImportError("EDF and BDF files are read with edfio: pip install edfio.") from error
    layout = _read_layout(path)
    notes = _checked_layout(path, layout)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the number of records, which is checked above
            if layout.is_bdf:
                # edfio cannot map BDF into memory, so this is the header alone; _load_bdf reads the samples.
                with path.open("rb") as file:
                    edf = edfio.read_bdf(io.BytesIO(file.read(layout.header_bytes)), header_encoding="latin-1")
            else:
                edf = edfio.read_edf(path, lazy_load_data=True, header_encoding="latin-1")
            is_continuous = layout.mark != "EDF+D" or edf.is_continuous
        channels = tuple(
            Channel(_text(signal.label), _calibrated_unit(signal), signal.sampling_frequency) for signal in edf.signals
        )
        # Plain EDF keeps free text in this field, often a name; EDF+ begins it with the code of the patient.
        code = edf.local_patient_identification.split(" ")[0] if "DF+" in layout.mark else ""
    # Any exception of edfio means one thing to the user.
    except Exception as error:
        raise RecordingError(
            f"{path} has a damaged header ({error}): expected EDF or BDF; export it again."
        ) from error
    if not is_continuous:
        raise RecordingError(
            f"{path} has gaps between its records (EDF+D): expected one continuous recording, since times after a gap "
            "would be wrong; split it at the gaps, or fill them by converting it to EDF+C."
        )
    if layout.mark == "BDF+D":
        notes += ("The file is marked as one with gaps (BDF+D), which were not looked for: times count signal alone.",)

    def load(index: int) -> np.ndarray:
        return _load_bdf(edfio.read_bdf, path, layout, index) if layout.is_bdf else edf.signals[index].data

    return OpenedRecording(
        channels=channels,
        load=load,
        start=layout.start,
        subject=_text(code) if code not in ("", "X") else None,
        notes=notes,
    )


def _load_bdf(read_bdf: Callable, path: Path, layout: "_Layout", index: int) -> np.ndarray:
    """Read one channel of a BDF file block by block, as edfio decodes all the channels of what it is given."""
    n_records = max(1, _BLOCK_BYTES // layout.record_bytes)
    blocks = []
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # each block holds fewer records than the header promises
        header = file.read(layout.header_bytes)
        for _ in range(0, layout.n_records, n_records):
            block = io.BytesIO(header + file.read(n_records * layout.record_bytes))
            blocks.append(read_bdf(block).signals[index].data)
    return np.concatenate(blocks)


def _text(label: str) -> str:
    """Repair a label that was read as Latin-1, as EDF files come in both that and UTF-8."""
    label = label.split("\x00")[0].strip()
    try:
        return label.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return label


def _calibrated_unit(signal) -> str:
    """Return the unit of a signal; without a usable calibration edfio gives bare digits, which have none."""
    try:
        is_calibrated = signal.physical_min != signal.physical_max and signal.digital_min != signal.digital_max
    except ValueError:
        is_calibrated = False
    return _text(signal.physical_dimension) if is_calibrated else ""


def _open_fif(path: Path) -> OpenedRecording:
    try:
        import mne
    except ImportError as error:
        raise ImportError("FIF files are read with MNE: pip install mne.") from error
    try:
        with warnings.catch_warnings():
            # About names of files and the like; what makes the file unreadable comes as an exception.
            warnings.simplefilter("ignore")
            raw = mne.io.read_raw_fif(path, preload=False, verbose="error")
    except Exception as error:
        raise RecordingError(
            f"{path} cannot be read as FIF: expected a raw recording that MNE wrote, found {error}."
        ) from error
    return open_raw(raw)


def open_raw(raw) -> OpenedRecording:
    """Describe an MNE object as an opened recording.

    Args:
        raw: mne.io.Raw in V, as MNE keeps it.
    """
    volt = 107  # FIFF_UNIT_V; MNE states any other unit for channels that are no voltage
    channels = tuple(
        Channel(channel["ch_name"], "V" if channel["unit"] == volt else "", raw.info["sfreq"])
        for channel in raw.info["chs"]
    )
    start = raw.info["meas_date"]
    if start is not None:
        # The clock time is the local one of the laboratory, which MNE labels UTC.
        start = start.replace(tzinfo=None) + timedelta(seconds=raw.first_time)
    return OpenedRecording(
        channels=channels,
        load=lambda index: raw.get_data(picks=[index], verbose="error")[0],
        start=start,
        subject=(raw.info["subject_info"] or {}).get("his_id"),
    )


def has_signals(path: Path) -> bool:
    """Tell whether a file is more than annotations alone, such as the scoring of a night in EDF+.

    Args:
        path: file with one of `RECORDING_SUFFIXES`.

    Raises:
        RecordingError: the header cannot be read.
    """
    return path.suffix.lower() == ".fif" or bool(_read_layout(path).signals)


@dataclass(frozen=True)
class _Layout:
    """The fields of an EDF or BDF header that tell where things are and how many should be there."""

    is_bdf: bool
    header_bytes: int
    record_bytes: int
    record_s: float
    n_records_promised: int
    n_records: int
    signals: tuple[int, ...]
    """Samples per record of every channel that is no annotation."""
    mark: str
    """"EDF+C", "EDF+D" (with gaps) and the like; blank in plain EDF."""
    start: datetime | None


def _read_layout(path: Path) -> _Layout:
    """Read what edfio replaces by what it finds (the number of records) or refuses (an impossible date)."""
    with path.open("rb") as file:
        fixed = file.read(256)
        is_bdf = fixed[:8] == b"\xffBIOSEMI"
        if not is_bdf and fixed[:8].strip() != b"0":
            raise RecordingError(
                f'{path} is not an EDF or BDF file: expected it to begin with the version "0", found {fixed[:8]!r}; '
                "convert it to EDF."
            )
        try:
            n_signals = abs(int(fixed[252:256]))
            fields = file.read(256 * n_signals)
            labels = [fields[16 * i : 16 * (i + 1)].strip() for i in range(n_signals)]
            n_samples = [int(fields[216 * n_signals + 8 * i :][:8]) for i in range(n_signals)]
            n_records_promised, record_s = int(fixed[236:244]), float(fixed[244:252])
        except ValueError as error:
            raise RecordingError(
                f"{path} has a damaged header: expected numbers where EDF puts them ({error}); export it again."
            ) from error
    header_bytes = 256 * (n_signals + 1)
    record_bytes = sum(n_samples) * (3 if is_bdf else 2)
    try:
        start = datetime.strptime(fixed[168:184].decode("ascii"), "%d.%m.%y%H.%M.%S")
    except ValueError:
        start = None
    return _Layout(
        is_bdf=is_bdf,
        header_bytes=header_bytes,
        record_bytes=record_bytes,
        record_s=record_s,
        n_records_promised=n_records_promised,
        n_records=max(0, path.stat().st_size - header_bytes) // record_bytes if record_bytes > 0 else 0,
        signals=tuple(n for n, label in zip(n_samples, labels) if not label.endswith(b"DF Annotations")),
        mark=fixed[192:197].decode("latin-1"),
        start=start,
    )


def _checked_layout(path: Path, layout: _Layout) -> tuple[str, ...]:
    """Compare what the header promises with the size of the file; return notes on harmless differences."""
    if not layout.signals:
        raise RecordingError(
            f"{path} holds annotations alone: expected signals; give the file of the recording that this scoring or "
            "event list belongs to."
        )
    if layout.record_s <= 0 or min(layout.signals) <= 0:
        raise RecordingError(
            f"{path} has a damaged header: expected records longer than 0 s with samples of every channel, found "
            f"{layout.record_s:g} s with {min(layout.signals)} samples; export it again."
        )
    promised_s, found_s = layout.n_records_promised * layout.record_s, layout.n_records * layout.record_s
    if layout.n_records == 0:
        raise RecordingError(f"{path} holds a header and no samples: expected a recording; copy or export it again.")
    if layout.n_records < layout.n_records_promised:
        raise RecordingError(
            f"{path} is truncated: its header promises {promised_s:g} s of signal, the file holds {found_s:g} s; "
            "copy or export it again."
        )
    if layout.n_records == layout.n_records_promised:
        return ()
    promise = "no length" if layout.n_records_promised < 0 else f"{promised_s:g} s"
    return (f"The header states {promise}, the file holds {found_s:g} s: all of it was read.",)

"""Recordings: EEG in uV out of EDF, EDF+, BDF and FIF files, MNE objects and arrays, and which channel to take."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from .channels import Channel, Source, choose_channels, listed, uv_per_unit
from .errors import RecordingError
from .recording_files import RECORDING_SUFFIXES, OpenedRecording, has_signals, open_raw, open_recording


@dataclass(frozen=True, eq=False, repr=False)
class Recording:
    """One or more channels of equal sampling rate, recorded at the same time.

    Args:
        signals: (n_channels, n_samples) float32 in uV.
        sampling_rate: samples per second in Hz.
        channel_names: (n_channels,) names, as the file spells them.
        start: local clock time of the first sample, without a time zone, or None.
        id: name of the recording, for example the stem of its file.
        subject: code of the subject, or None.
        path: file that the recording was read from, or None.
        notes: sentences about what was chosen, derived or guessed.

    Raises:
        RecordingError: shape, names or rate do not fit together, or there are no samples.
    """

    signals: np.ndarray
    sampling_rate: float
    channel_names: tuple[str, ...]
    start: datetime | None = None
    id: str = "recording"
    subject: str | None = None
    path: Path | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "signals", np.asarray(self.signals, dtype=np.float32))
        object.__setattr__(self, "channel_names", tuple(self.channel_names))
        object.__setattr__(self, "notes", tuple(self.notes))
        if self.signals.ndim != 2 or self.signals.size == 0:
            raise RecordingError(
                f"{self.id} has signals of shape {self.signals.shape}: expected (n_channels, n_samples) with at least "
                "one channel and one sample."
            )
        if len(self.channel_names) != len(self.signals):
            raise RecordingError(
                f"{self.id} has {len(self.signals)} channels and {len(self.channel_names)} channel names "
                f"({listed(self.channel_names)}): expected one name per channel."
            )
        object.__setattr__(self, "sampling_rate", checked_rate(self.sampling_rate, self.id))

    def __repr__(self) -> str:
        return (
            f"<Recording {self.id}: {', '.join(self.channel_names)}; {self.sampling_rate:g} Hz; {self.duration_s:g} s>"
        )

    @property
    def duration_s(self) -> float:
        """Length in s."""
        return self.signals.shape[1] / self.sampling_rate

    def pick(self, names: str | Sequence[str] | None, n_eog: int = 0) -> "Recording":
        """Keep only the named channels, in the named order.

        Args:
            names: one name or several, found as `read_recording` finds them; None for those it would choose.
            n_eog: as for `read_recording`.

        Raises:
            ChannelError: a name fits no channel.
        """
        available = [Channel(name, "uV", self.sampling_rate) for name in self.channel_names]
        sources = choose_channels(available, names, self.id, n_eog)
        return replace(
            self,
            signals=np.stack([_combined(source, lambda index: self.signals[index]) for source in sources]),
            channel_names=tuple(source.name for source in sources),
            notes=(*self.notes, *(note for source in sources for note in source.notes)),
        )


def read_recording(path: str | Path, channels: str | Sequence[str] | None = None, n_eog: int = 0) -> Recording:
    """Read the wanted channels of an EDF, EDF+, BDF or FIF file, and nothing else of it.

    A name is first looked for as the file spells it, then without regard to case, then under its other spellings
    ("EEG C4-A1" is C4-M1); a derivation whose electrodes were recorded one by one is computed. Channels stay at their
    own sampling rate. Numbers without a unit of voltage are taken as uV, and a note says so.

    Args:
        path: file with one of `RECORDING_SUFFIXES`.
        channels: one name or several of equal rate; None takes the first of `PREFERRED_CHANNELS` that is there, else
            the first channel that is EEG by its label.
        n_eog: how many EOG channels are wanted in the place of EEG; with no channels named, one at each eye for two.

    Returns:
        The recording in uV; its notes say what was chosen, computed or guessed.

    Raises:
        RecordingNotFoundError: there is no such file.
        ChannelError: no channel fits, or the channels differ in sampling rate.
        RecordingError: the file is empty, truncated, has gaps, holds no signals, or is of another format.
    """
    path = Path(path)
    where, id = printable(str(path)), printable(path.stem)
    return _recording(open_recording(path), channels, n_eog, where=where, id=id, path=path)


def read_channel_names(path: str | Path) -> tuple[str, ...]:
    """Read the labels of the channels of a file, annotations left out.

    Args:
        path: file with one of `RECORDING_SUFFIXES`.

    Raises:
        RecordingNotFoundError: there is no such file.
        RecordingError: the file cannot be read.
    """
    return tuple(channel.label for channel in open_recording(Path(path)).channels)


def recording_from_raw(raw, channels: str | Sequence[str] | None = None, n_eog: int = 0) -> Recording:
    """Take the wanted channels out of an MNE object.

    Args:
        raw: mne.io.Raw in V, as MNE keeps it.
        channels: as for `read_recording`.
        n_eog: as for `read_recording`.

    Raises:
        ChannelError: no channel fits.
    """
    file = raw.filenames[0] if raw.filenames else None
    id = Path(file).stem if file else "raw"
    return _recording(open_raw(raw), channels, n_eog, where=id, id=id, path=Path(file) if file else None)


def recording_from_array(
    array,
    sampling_rate: float | None = None,
    channel_names: Sequence[str] | None = None,
    start: datetime | None = None,
    id: str = "array",
    subject: str | None = None,
) -> Recording:
    """Make a recording of numbers in memory.

    Args:
        array: (n_samples,) or (n_channels, n_samples) in uV.
        sampling_rate: samples per second in Hz.
        channel_names: one name per channel; None counts them from "channel 1".
        start: local clock time of the first sample, or None.
        id: name of the recording.
        subject: code of the subject, or None.

    Raises:
        RecordingError: the rate is missing, or shape and names do not fit together.
    """
    if sampling_rate is None:
        raise RecordingError(f"{id} comes without a sampling rate: expected sampling_rate in Hz; pass it.")
    try:
        signals = np.atleast_2d(np.asarray(array, dtype=np.float32))
    except (TypeError, ValueError) as error:
        raise RecordingError(f"{id} cannot be read as an array of numbers in uV ({error}).") from error
    if signals.ndim == 2 and signals.shape[0] > signals.shape[1] > 0:
        raise RecordingError(
            f"{id} has shape {signals.shape}: expected (n_channels, n_samples), found more channels than samples; "
            "transpose it if it is (n_samples, n_channels)."
        )
    if channel_names is None:
        channel_names = [f"channel {number}" for number in range(1, len(signals) + 1)]
    recording = Recording(signals, sampling_rate, tuple(channel_names), start=start, id=id, subject=subject)
    return replace(recording, notes=_amplitude_notes(recording))


def printable(name: str) -> str:
    """Replace the bytes of a file's name that are no UTF-8, so that it can be printed and drawn.

    Args:
        name: as the operating system gives it.

    Returns:
        the name, with a question mark in a diamond for each byte that could not be read.
    """
    return os.fsencode(name).decode("utf-8", "replace")


def find_recordings(paths: str | Path | Iterable[str | Path]) -> list[Path]:
    """Expand files and folders to the recordings in them.

    Args:
        paths: files, taken as they are even where there are none, and folders, searched recursively for files with
            one of `RECORDING_SUFFIXES`; hidden files and EDF+ files that hold annotations alone, such as scorings, are
            left out.

    Returns:
        Each recording once, in the order of `paths` and sorted within a folder.

    Raises:
        RecordingError: a folder holds no recording.
    """
    found = {}
    for path in map(Path, [paths] if isinstance(paths, (str, Path)) else paths):
        recordings = [path]  # also one that does not exist: it is reported where it is read
        if path.is_dir():
            recordings = [file for file in _files_below(path) if looks_like_recording(file)]
            if not recordings:
                raise RecordingError(
                    f"{path} holds no recording: expected files with {', '.join(RECORDING_SUFFIXES)} in or below it "
                    "that hold signals."
                )
        for recording in recordings:
            found.setdefault(recording.resolve(), recording)
    return list(found.values())


def _files_below(folder: Path) -> list[Path]:
    """List all files in and below a folder, also behind links to other folders, each folder once."""
    found, seen = [], {os.path.realpath(folder)}
    for place, subfolders, files in os.walk(folder, followlinks=True):
        found += [Path(place, name) for name in files]
        real = {name: os.path.realpath(os.path.join(place, name)) for name in subfolders}
        subfolders[:] = [name for name in subfolders if real[name] not in seen]
        seen |= set(real.values())
    return sorted(found)


def distinct_names(paths: Iterable[Path]) -> dict[Path, str]:
    """Give each recording a name that no other has, for output files and datasets.

    Args:
        paths: the recordings; a repeated one counts once.

    Returns:
        name by path, in the order of the paths: the file's stem; where several share it, with as many folder names
        before it as tell them apart, and with the suffix behind it where only that differs.
    """
    name_of = {path: printable(path.stem) for path in paths}

    def twins() -> list[Path]:
        count = Counter(name_of.values())
        return [path for path, name in name_of.items() if count[name] > 1]

    for n_folders in range(1, 1 + max((len(path.resolve().parts) for path in name_of), default=0)):
        for path in (alike := twins()):
            folders = path.resolve().parent.parts[1:][-n_folders:]
            name_of[path] = printable("_".join([*folders, path.stem]))
        if not alike:
            break
    return name_of | {path: f"{name_of[path]}_{path.suffix.lstrip('.').lower()}" for path in twins()}


def looks_like_recording(path: Path) -> bool:
    """Tell whether a file found in a folder should be read as a recording.

    Args:
        path: the file.

    Returns:
        whether it has a suffix of a recording and holds more than annotations; broken files and links that lead
        nowhere count, so that they are reported where they are read.
    """
    if path.suffix.lower() not in RECORDING_SUFFIXES or path.name.startswith(".") or path.is_dir():
        return False
    if not path.exists():
        return True
    # MNE reads the parts of a split FIF file, night_raw-1.fif and so on, together with the first one
    part = re.fullmatch(r"(.+)-\d+\.fif", path.name, re.IGNORECASE)
    if part and path.with_name(f"{part[1]}.fif").exists():
        return False
    try:
        return has_signals(path)
    except RecordingError:
        return True  # a broken file is reported where it is read, not passed over in silence


def _recording(
    opened: OpenedRecording,
    channels: str | Sequence[str] | None,
    n_eog: int,
    where: str,
    id: str,
    path: Path | None,
) -> Recording:
    sources = choose_channels(opened.channels, channels, where, n_eog)
    notes = [*opened.notes, *(note for source in sources for note in source.notes)]
    used = dict.fromkeys(i for source in sources for i in (source.index, source.minus) if i is not None)
    for label, unit in ((opened.channels[i].label, opened.channels[i].unit) for i in used):
        if uv_per_unit(unit) is None:
            stated = f'the unit "{unit}", which is no voltage' if unit else "no unit"
            notes.append(f'Channel "{label}" states {stated}: its numbers were taken as uV.')

    def load_uv(index: int) -> np.ndarray:
        try:
            signal, factor = opened.load(index), uv_per_unit(opened.channels[index].unit) or 1.0
            return signal if factor == 1.0 else signal * factor  # a night is large: no copy of it for nothing
        # Any exception of the libraries that decode the samples means one thing to the user.
        except Exception as error:
            label = opened.channels[index].label
            raise RecordingError(
                f'{where}: the samples of channel "{label}" cannot be read ({error}); copy or export the file again.'
            ) from error

    recording = Recording(
        signals=np.stack([_combined(source, load_uv).astype(np.float32) for source in sources]),
        sampling_rate=opened.channels[sources[0].index].sampling_rate,
        channel_names=tuple(source.name for source in sources),
        start=opened.start,
        id=id,
        subject=opened.subject,
        path=path,
        notes=tuple(notes),
    )
    return replace(recording, notes=(*recording.notes, *_amplitude_notes(recording)))


def _combined(source: Source, load: Callable[[int], np.ndarray]) -> np.ndarray:
    signal = load(source.index)
    return signal if source.minus is None else signal - load(source.minus)


def _amplitude_notes(recording: Recording) -> tuple[str, ...]:
    """Say where a signal is too small or too large for EEG in uV, as after a wrong unit: 1e3 or 1e6 too much."""
    notes = []
    for name, signal in zip(recording.channel_names, recording.signals):
        thinned = signal[:: max(1, signal.size // 100_000)]
        thinned = thinned[np.isfinite(thinned)]
        typical_uv = float(np.median(np.abs(thinned - np.median(thinned)))) if thinned.size else 0.0
        if typical_uv and not 0.1 < typical_uv < 2000:
            notes.append(
                f'Channel "{name}" has a typical amplitude of {two_digits(typical_uv)} uV, which scalp EEG does not '
                "have: check its unit."
            )
    return tuple(notes)


def two_digits(value: float) -> str:
    """Write a number of any size with two digits that count and without an exponent: 0.0042, 6.3, 620, 2,500,000.

    Args:
        value: the number.
    """
    rounded = float(f"{value:.2g}")
    return f"{rounded:,.0f}" if rounded >= 10 else np.format_float_positional(rounded, trim="-")


def checked_rate(sampling_rate: float, where: str) -> float:
    """Check a sampling rate.

    Args:
        sampling_rate: in Hz.
        where: name of the recording, for the message.

    Returns:
        the rate as float.

    Raises:
        RecordingError: it is not a positive number.
    """
    try:
        rate = float(sampling_rate)
    except (TypeError, ValueError):
        rate = np.nan
    if not (np.isfinite(rate) and rate > 0):
        raise RecordingError(f"{where} has the sampling rate {sampling_rate!r}: expected a positive number of Hz.")
    return rate

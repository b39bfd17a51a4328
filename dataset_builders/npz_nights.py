"""Nights stored as npz files, as the DeepSleepNet, TinySleepNet and AttnSleep projects write them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import datasets
import numpy as np

from modeling_sleepvit.errors import DatasetError
from modeling_sleepvit.feature_extraction_sleepvit import SleepViTFeatureExtractor
from modeling_sleepvit.stages import IGNORED_ID, STAGES

from .night_rows import NightRows, checked_rows
from .nights_builder import NightsBuilder, NightsConfig
from .scored_night import NightSettings
from .subject_names import subject_of


@dataclass(frozen=True)
class NpzNight:
    """The file of one night that is cut into scored epochs already.

    Args:
        path: holds `x` (epochs, samples) or (epochs, samples, channels) in uV, `y` (epochs,) stage ids 0..4 or
            negative, and `fs` in Hz; for a feature extractor that asks for EOG also `eog`, shaped like `x`, at the
            same rate.
        subject: the person.
        sampling_rate: Hz, for a file without `fs`.
    """

    path: Path
    subject: str
    sampling_rate: float | None = None

    @property
    def recording(self) -> str:
        """Name of the recording."""
        return self.path.stem

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that the rows come from."""
        return (self.path,)

    def read(self, settings: NightSettings) -> NightRows:
        """Read the file and prepare its rows; trim rule and channels were settled when it was made.

        Args:
            settings: its feature extractor alone counts.

        Returns:
            the rows; epochs are counted from the first one in the file.

        Raises:
            DatasetError: the file does not hold what is described above.
        """
        epochs, labels, sampling_rate = self.load()
        eog = self.load_eog() if settings.feature_extractor.num_eog_channels else None
        try:
            features = settings.feature_extractor(epochs.swapaxes(1, 2), sampling_rate, eog_waveform=eog)
        except ValueError as error:
            raise DatasetError(f"{self.path}: {error}.") from error
        return checked_rows(
            NightRows(
                subject=self.subject,
                recording=self.recording,
                labels=labels,
                epoch_seconds=settings.feature_extractor.epoch_seconds,
                **features,
            ),
            self.path,
        )

    def epoch_shape(self) -> tuple[int, int]:
        """Tell how many channels and how many whole seconds an epoch of this file has."""
        epochs, _, sampling_rate = self.load()
        return epochs.shape[2], int(epochs.shape[1] / (sampling_rate or np.inf))

    def load_eog(self) -> np.ndarray:
        """Read the EOG, (epochs, channels, samples) in uV.

        Raises:
            DatasetError: the file holds none, or something else.
        """
        with np.load(self.path) as night:
            if "eog" not in night:
                raise DatasetError(
                    f"{self.path}: expected eog beside x and y, found {', '.join(night)}; take a feature extractor "
                    "without EOG."
                )
            eog = night["eog"]
        if eog.ndim not in (2, 3) or eog.dtype.kind not in "iuf":
            raise DatasetError(
                f"{self.path}: expected numbers of shape (epochs, samples[, channels]) in eog, found {eog.dtype} of "
                f"shape {eog.shape}."
            )
        return (eog[:, :, None] if eog.ndim == 2 else eog).swapaxes(1, 2)

    def load(self) -> tuple[np.ndarray, np.ndarray, float | None]:
        """Read what the file holds and check it.

        Returns:
            waveform (epochs, samples, channels) in uV; stage ids (epochs,), -100 where not scored; the sampling rate
            in Hz, None where neither the file nor anybody else tells it.

        Raises:
            DatasetError: the file does not hold what is described above.
        """
        path = self.path
        try:
            with np.load(path) as night:
                epochs, labels = night["x"], night["y"]
                sampling_rate = _rate_in_file(night) or self.sampling_rate
        # TypeError: an array that is no archive; IndexError: an archive cut off
        except (OSError, ValueError, KeyError, EOFError, TypeError, IndexError, BadZipFile) as error:
            raise DatasetError(f"{path}: expected an npz night with x, y and fs, found: {error}.") from error
        if epochs.ndim == 2:
            epochs = epochs[:, :, None]
        if epochs.ndim != 3 or labels.ndim != 1 or len(epochs) != len(labels) or not len(labels):
            raise DatasetError(
                f"{path}: expected x of shape (epochs, samples[, channels]) and one y for each epoch, "
                f"found x {epochs.shape} and y {labels.shape}."
            )
        if epochs.dtype.kind not in "iuf" or labels.dtype.kind not in "iuf" or (labels != np.round(labels)).any():
            raise DatasetError(
                f"{path}: expected numbers in x and whole ones in y, found {epochs.dtype} and {labels.dtype} with "
                "others."
            )
        labels = np.where(labels < 0, IGNORED_ID, labels).astype(np.int64)
        if labels.max() >= len(STAGES):
            raise DatasetError(
                f"{path}: epoch {int(labels.argmax())} has the label {int(labels.max())}, expected 0 to 4 "
                f"({', '.join(STAGES)}) or a negative number for an epoch that is not scored."
            )
        if not np.isfinite(epochs).all():
            epoch = int(np.flatnonzero(~np.isfinite(epochs).all(axis=(1, 2)))[0])
            raise DatasetError(f"{path}: epoch {epoch} holds values that are not finite; drop it or score it as -1.")
        return epochs, labels, sampling_rate


def find_npz_nights(
    folder: str | Path, sampling_rate: float | None = None, subject_pattern: str | None = None
) -> list[NpzNight]:
    """List the nights of a folder.

    Args:
        folder: holds `<recording>.npz` files.
        sampling_rate: Hz, for files without `fs`.
        subject_pattern: regular expression whose first group, searched in a file's name, is the subject; None takes
            the first five characters of the names of Sleep-EDF, and the whole name of any other.

    Returns:
        the nights in the order of their names.

    Raises:
        DatasetError: there is none, or the pattern does not fit a name.
    """
    folder = Path(folder)
    paths = sorted(folder.glob("*.npz"))
    if not paths:
        raise DatasetError(f"{folder}: expected npz nights (<recording>.npz with x, y and fs), found none.")
    return [NpzNight(path, subject_of(path.name, subject_pattern), sampling_rate) for path in paths]


def read_npz_nights(
    folder: str | Path,
    feature_extractor: SleepViTFeatureExtractor,
    subjects: Iterable[str] | None = None,
    sampling_rate: float | None = None,
    subject_pattern: str | None = None,
) -> list[NightRows]:
    """Read a folder of npz nights into memory and prepare their epochs with the checkpoint's own feature extractor.

    Args:
        folder: holds `<recording>.npz` files; see `NpzNight`.
        feature_extractor: makes the rows; its scaling then sees one night at a time.
        subjects: read these alone; None reads all.
        sampling_rate: Hz, for files without `fs`.
        subject_pattern: as for `find_npz_nights`.

    Returns:
        the nights in the order of their names.

    Raises:
        DatasetError: the folder has no npz file, a subject has none, or a file does not hold a night.
    """
    nights = find_npz_nights(folder, sampling_rate, subject_pattern)
    if subjects is not None:
        subjects = list(subjects)
        missing = sorted(set(subjects) - {night.subject for night in nights})
        if missing:
            raise DatasetError(f"{folder}: no night of the subjects {', '.join(missing)}; check their names.")
        nights = [night for night in nights if night.subject in subjects]
    return [night.read(NightSettings(feature_extractor)) for night in nights]


@dataclass
class NpzNightsConfig(NightsConfig):
    """See `NightsConfig`; `trim`, `channels` and `numbers` were settled by whoever wrote the files.

    Args:
        sampling_rate: Hz, for files without `fs`.
        subject_pattern: regular expression whose first group, searched in a file's name, is the subject; None takes
            the first five characters of the names of Sleep-EDF, and the whole name of any other.
    """

    trim: str = "none"
    sampling_rate: float | None = None
    subject_pattern: str | None = None

    @property
    def trim_rule(self) -> str:
        """The trim rule, for the card."""
        return "that of the source files"


class NpzNights(NightsBuilder):
    """Builder of folders of npz nights: `NpzNights(folder="data/eeg_fpz_cz").download_and_prepare()`."""

    BUILDER_CONFIG_CLASS = NpzNightsConfig
    SETTLED_BY_SOURCE = frozenset({"trim", "channels", "eog_channels", "numbers"})
    BUILDER_CONFIGS = [
        NpzNightsConfig(
            name="npz",
            version=datasets.Version("1.0.0"),
            description="Nights as npz files with x (epochs, samples) in uV, y and fs.",
        )
    ]

    def find_nights(self) -> list[NpzNight]:
        """List the npz files of the folder."""
        return find_npz_nights(self.config.folder, self.config.sampling_rate, self.config.subject_pattern)

    def epoch_shape(self) -> tuple[int, int, int]:
        """Tell the shape of an epoch's `input_values`, as the first file that can be read has it."""
        first_error = None
        for night in self.find_nights():
            try:
                n_channels, seconds = night.epoch_shape()
            except DatasetError as error:
                first_error = first_error or error
            else:
                return n_channels, self.settings.feature_extractor.num_rows, seconds
        raise first_error


def _rate_in_file(night) -> float | None:
    """The sampling rate in Hz; the projects store it as a number, an array of one, or a text such as "100 Hz"."""
    if "fs" not in night:
        return None
    number = re.search(r"\d+(\.\d+)?", str(night["fs"]))
    return float(number.group()) if number else None

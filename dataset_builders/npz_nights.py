"""Nights stored as npz files, as the DeepSleepNet, TinySleepNet and AttnSleep projects write them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from modeling_sleepvit.errors import DatasetError
from modeling_sleepvit.feature_extraction_sleepvit import SleepViTFeatureExtractor
from modeling_sleepvit.stages import IGNORED_ID, STAGES


@dataclass(frozen=True)
class NightRows:
    """One scored night, ready for a model.

    Args:
        subject: the person, for example "SC400".
        recording: the file's stem, for example "SC4001E0".
        input_values: (epochs, channels, rows, frames) float32.
        labels: (epochs,) stage ids, -100 where not scored.
    """

    subject: str
    recording: str
    input_values: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


def read_npz_nights(
    folder: str | Path,
    feature_extractor: SleepViTFeatureExtractor,
    subjects: Iterable[str] | None = None,
    sampling_rate: float | None = None,
) -> list[NightRows]:
    """Read a folder of npz nights and prepare their epochs with the checkpoint's own feature extractor.

    Args:
        folder: holds `<recording>.npz` files with `x` (epochs, samples) or (epochs, samples, channels) in uV,
            `y` (epochs,) stage ids 0..4 or negative, and `fs` in Hz. The first five characters of a file's name are
            the subject, as in Sleep-EDF.
        feature_extractor: makes the rows; robust scaling then sees one night at a time.
        subjects: read these alone; None reads all.
        sampling_rate: Hz, for files without `fs`.

    Returns:
        the nights in the order of their names.

    Raises:
        DatasetError: the folder has no npz file, a subject has none, or a file does not hold what is described above.
    """
    folder = Path(folder)
    paths = sorted(folder.glob("*.npz"))
    if not paths:
        raise DatasetError(f"{folder}: expected npz nights (<recording>.npz with x, y and fs), found none.")
    if subjects is not None:
        subjects = list(subjects)
        missing = sorted(set(subjects) - {subject_of(path) for path in paths})
        if missing:
            raise DatasetError(f"{folder}: no night of the subjects {', '.join(missing)}; check their names.")
        paths = [path for path in paths if subject_of(path) in subjects]
    return [_read_night(path, feature_extractor, sampling_rate) for path in paths]


def subject_of(path: str | Path) -> str:
    """Tell the subject of a Sleep-EDF file from its name.

    Args:
        path: for example "SC4001E0.npz".

    Returns:
        the first five characters, "SC400": the sixth counts the night.
    """
    return Path(path).stem[:5]


def list_subjects(folder: str | Path) -> list[str]:
    """List the subjects whose nights a folder holds.

    Args:
        folder: holds npz nights.

    Returns:
        the subjects in order.
    """
    return sorted({subject_of(path) for path in Path(folder).glob("*.npz")})


def _read_night(path: Path, feature_extractor: SleepViTFeatureExtractor, sampling_rate: float | None) -> NightRows:
    try:
        with np.load(path) as night:
            epochs, labels = night["x"], night["y"].astype(np.int64)
            sampling_rate = _rate_in_file(night) or sampling_rate
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise DatasetError(f"{path}: expected an npz night with x, y and fs, found: {error}.") from error
    if epochs.ndim == 2:
        epochs = epochs[:, :, None]  # (epochs, samples, channels)
    if epochs.ndim != 3 or len(epochs) != len(labels):
        raise DatasetError(
            f"{path}: expected x of shape (epochs, samples[, channels]) and one y for each epoch, "
            f"found x {epochs.shape} and y {labels.shape}."
        )
    labels = np.where(labels < 0, IGNORED_ID, labels)
    if labels.size and labels.max() >= len(STAGES):
        raise DatasetError(
            f"{path}: epoch {int(labels.argmax())} has the label {int(labels.max())}, expected 0 to 4 "
            f"({', '.join(STAGES)}) or a negative number for an epoch that is not scored."
        )
    if not np.isfinite(epochs).all():
        epoch = int(np.flatnonzero(~np.isfinite(epochs).all(axis=(1, 2)))[0])
        raise DatasetError(f"{path}: epoch {epoch} holds values that are not finite; drop it or score it as -1.")
    try:
        features = feature_extractor(epochs.swapaxes(1, 2), sampling_rate=sampling_rate)
    except ValueError as error:
        raise DatasetError(f"{path}: {error}.") from error
    return NightRows(subject_of(path), path.stem, features["input_values"], labels)


def _rate_in_file(night) -> float | None:
    """The sampling rate in Hz; the projects store it as a number, an array of one, or a text such as "100 Hz"."""
    if "fs" not in night:
        return None
    number = re.search(r"\d+(\.\d+)?", str(night["fs"]))
    return float(number.group()) if number else None

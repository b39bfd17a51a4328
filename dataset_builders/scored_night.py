"""A night that is still files: a recording, its scoring, and whose night it was."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from modeling_sleepvit.errors import DatasetError, SleepViTError
from modeling_sleepvit.feature_extraction_sleepvit import SleepViTFeatureExtractor
from modeling_sleepvit.recordings import read_recording

from .night_rows import Lights, NightRows, rows_of_night
from .scorings import read_scoring


@dataclass(frozen=True)
class NightSettings:
    """How nights are prepared, the same for all of a dataset.

    Args:
        feature_extractor: makes the rows.
        trim: rule of `night_rows.TRIM_RULES`.
        channels: names of the channels; None takes the best EEG channel of each recording.
        eog_channels: names of the EOG channels, where the feature extractor asks for EOG; None goes by their labels.
        numbers: what bare numbers in scorings mean, see `read_scoring`.
    """

    feature_extractor: SleepViTFeatureExtractor
    trim: str = "30min"
    channels: tuple[str, ...] | None = None
    eog_channels: tuple[str, ...] | None = None
    numbers: str | None = None


@dataclass(frozen=True)
class ScoredNight:
    """A recording and the file of its scoring.

    Args:
        subject: the person.
        recording: name of the recording, unique in its dataset.
        signal: the file with the signals.
        scoring: the file with the stages; None where there is none, which is reported when the night is read.
        lights: clock times of lights off and on, where they are known.
        checksums: files whose content is to be checked, each with its SHA-256.
        problem: why the night cannot be read, where that is known before anybody tries.
    """

    subject: str
    recording: str
    signal: Path
    scoring: Path | None
    lights: Lights | None = None
    checksums: tuple[tuple[Path, str], ...] = ()
    problem: str | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that the rows come from."""
        return (self.signal,) if self.scoring in (None, self.signal) else (self.signal, self.scoring)

    def read(self, settings: NightSettings) -> NightRows:
        """Read the two files and prepare the rows.

        Args:
            settings: how.

        Returns:
            the rows.

        Raises:
            SleepViTError: a file is missing, damaged, or does not fit the other.
        """
        if self.problem is not None:
            raise DatasetError(self.problem)
        if self.scoring is None:
            raise DatasetError(
                f"{self.signal}: expected a scoring of this recording, found none; add it or leave it out."
            )
        for path, expected in self.checksums:
            check_sha256(path, expected)
        hypnogram = read_scoring(
            self.scoring, numbers=settings.numbers, epoch_seconds=settings.feature_extractor.epoch_seconds
        )
        recording = replace(read_recording(self.signal, settings.channels), id=self.recording)
        n_eog = settings.feature_extractor.num_eog_channels
        eog = read_recording(self.signal, settings.eog_channels, n_eog) if n_eog else None
        try:
            return rows_of_night(
                recording, hypnogram, settings.feature_extractor, self.subject, settings.trim, self.lights, eog
            )
        except SleepViTError as error:
            # both files may be at fault
            raise DatasetError(f"{error} (scoring: {self.scoring})") from error


def check_sha256(path: Path, expected: str) -> None:
    """Check the content of a file.

    Args:
        path: the file.
        expected: its SHA-256, 64 hexadecimal digits.

    Raises:
        DatasetError: the content is another.
    """
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise DatasetError(
            f"{path}: expected the SHA-256 {expected[:12]}... that its release states, found {found[:12]}...; get the "
            "file again."
        )

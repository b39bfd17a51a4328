"""Builder of any folder of recordings and scorings: paired by a pattern of names or by a table."""

from dataclasses import dataclass, replace
from pathlib import Path

import datasets

from modeling_sleepvit.errors import DatasetError
from modeling_sleepvit.recordings import distinct_names, find_recordings, looks_like_recording

from .nights_builder import NightsBuilder, NightsConfig
from .pairs import find_scoring, pairs_of_table, scoring_names
from .scored_night import ScoredNight
from .subject_names import check_subject_pattern, subject_of


@dataclass
class CohortConfig(NightsConfig):
    r"""See `NightsConfig`.

    Args:
        recordings: pattern of the recordings below the folder, for example "**/*.edf"; None takes every EDF, BDF and
            FIF file that holds signals.
        scorings: name of a recording's scoring, beside it or below the folder, in which {stem} stands for the
            recording's name without suffix, {name} for the whole name (scorings inside the recording itself), {bids}
            for the stem up to its last underscore, and * for anything; "{stem:.6}*-Hypnogram.edf" takes the first six
            characters. None tries `USUAL_SCORINGS`.
        table: CSV file that pairs `recording` and `scoring`, and may hold `subject`, `lights_off` and `lights_on`
            (clock times); paths count from the folder. It replaces the two patterns.
        subject_pattern: regular expression whose first group, searched in a recording's path, is the subject, for
            example "sub-(\d+)"; None takes every recording for a person of its own, which is wrong where somebody has
            two nights.
    """

    recordings: str | None = None
    scorings: str | None = None
    table: str | None = None
    subject_pattern: str | None = None


class Cohort(NightsBuilder):
    r"""Builder of any cohort: `Cohort(folder="study", scorings="{stem}.xml", subject_pattern=r"(P\d+)")`."""

    BUILDER_CONFIG_CLASS = CohortConfig
    BUILDER_CONFIGS = [
        CohortConfig(
            name="cohort", version=datasets.Version("1.0.0"), description="A folder of recordings and their scorings."
        )
    ]

    def find_nights(self) -> list[ScoredNight]:
        """Pair recordings and scorings.

        Returns:
            the nights; one without a scoring, with several, or whose subject cannot be told says so when it is read.

        Raises:
            DatasetError: there is no recording, or the table or a pattern cannot be used.
        """
        folder = Path(self.config.folder)
        check_subject_pattern(self.config.subject_pattern)
        if self.config.table is not None:
            pairs = list(pairs_of_table(self._table(), folder))
            nights = [ScoredNight("", "", pair.recording, pair.scoring, pair.lights) for pair in pairs]
            subjects = [pair.subject for pair in pairs]
        else:
            nights = [self._night(path) for path in self._recordings(folder)]
            subjects = [None] * len(nights)
        names = distinct_names([night.signal for night in nights])
        return [
            self._named(night, names[night.signal], subject) for night, subject in zip(nights, subjects, strict=True)
        ]

    def _table(self) -> Path:
        path, folder = Path(self.config.table), Path(self.config.folder)
        return folder / path if not path.is_file() and (folder / path).is_file() else path

    def _recordings(self, folder: Path) -> list[Path]:
        pattern = self.config.recordings
        if pattern is None:
            return find_recordings(folder)
        try:
            found = sorted(path for path in folder.glob(pattern) if looks_like_recording(path))
        except (ValueError, NotImplementedError) as error:
            raise DatasetError(
                f"the pattern of recordings {pattern!r} cannot be used ({error}): expected one that counts from the "
                "folder, for example **/*.edf."
            ) from error
        if not found:
            raise DatasetError(f"{folder}: expected recordings that fit {pattern!r}, found none; change the pattern.")
        return found

    def _night(self, recording: Path) -> ScoredNight:
        pattern, folder = self.config.scorings, Path(self.config.folder)
        names = scoring_names(recording, pattern)
        try:
            scoring = find_scoring(recording, folder, names, may_be_itself="{name}" in (pattern or ""))
        except DatasetError as error:
            return ScoredNight("", "", recording, None, problem=str(error))
        return ScoredNight("", "", recording, scoring)

    def _named(self, night: ScoredNight, name: str, subject: str | None) -> ScoredNight:
        pattern, folder = self.config.subject_pattern, Path(self.config.folder)
        night = replace(night, subject=subject or name, recording=name)
        if subject is not None or pattern is None:
            return night
        path = night.signal.relative_to(folder) if night.signal.is_relative_to(folder) else night.signal
        try:
            return replace(night, subject=subject_of(path, pattern))
        except DatasetError as error:
            return replace(night, problem=str(error))

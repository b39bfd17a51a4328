"""Builder of any folder of recordings and scorings: paired by a pattern of names or by a table."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import time
from pathlib import Path

import datasets
import pandas as pd

from modeling_sleepvit.errors import DatasetError
from modeling_sleepvit.recordings import distinct_names, find_recordings

from .night_rows import Lights
from .nights_builder import NightsBuilder, NightsConfig
from .npz_nights import subject_of
from .scored_night import ScoredNight


USUAL_SCORINGS = (
    "{stem}-Hypnogram.edf",
    "{stem}_hypnogram.csv",
    "{stem}_scoring.*",
    "{stem}-profusion.xml",
    "{stem}-nsrr.xml",
    "{stem}.xml",
    "{stem}.csv",
    "{stem}.tsv",
    "{stem}.txt",
    "{bids}_events.tsv",
)
"""Where a scoring is looked for when no pattern is given: the first name that is there."""

TABLE_COLUMNS = ("recording", "scoring", "subject", "lights_off", "lights_on")


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
            the nights; those without a scoring are reported when they are read.

        Raises:
            DatasetError: there is no recording, the table cannot be used, or a pattern fits several scorings.
        """
        if self.config.table is not None:
            return list(self._nights_of_table(Path(self.config.table)))
        folder = Path(self.config.folder)
        pattern = self.config.recordings
        recordings = find_recordings(folder) if pattern is None else sorted(folder.glob(pattern))
        if not recordings:
            raise DatasetError(f"{folder}: expected recordings that fit {pattern!r}, found none; change the pattern.")
        return [
            ScoredNight(
                subject=self._subject(path, name), recording=name, signal=path, scoring=self._scoring(folder, path)
            )
            for path, name in distinct_names(recordings).items()
        ]

    def remarks(self) -> list[str]:
        """Warn where nobody has said which recordings are of one person."""
        if any(night.subject != night.recording for night in self.nights()):
            return []
        return [
            "Every recording counts as a person of its own: where somebody has two nights, name the subjects by "
            "--subject-pattern or a table, or splits will leak."
        ]

    def _subject(self, path: Path, name: str) -> str:
        pattern = self.config.subject_pattern
        return name if pattern is None else subject_of(path.relative_to(self.config.folder), pattern)

    def _scoring(self, folder: Path, recording: Path) -> Path | None:
        own = self.config.scorings
        for pattern in USUAL_SCORINGS if own is None else (own,):
            try:
                wanted = pattern.format(
                    stem=recording.stem, name=recording.name, bids=recording.stem.rpartition("_")[0] or recording.stem
                )
            except (KeyError, IndexError, ValueError) as error:
                raise DatasetError(
                    f"the pattern of scorings {pattern!r} cannot be used ({error}): expected {{stem}}, {{name}} or "
                    "{bids} in it, for example {stem}.xml."
                ) from error
            for place in (recording.parent, folder):
                found = [
                    path
                    for path in sorted(place.glob(wanted))
                    # a recording is its own scoring only where that was asked for
                    if path.is_file() and (path != recording or "{name}" in pattern)
                ]
                if len(found) > 1:
                    names = ", ".join(path.name for path in found[:4])
                    raise DatasetError(
                        f"{recording}: expected one scoring, found {names}; change the pattern {pattern!r}."
                    )
                if found:
                    return found[0]
        return None

    def _nights_of_table(self, path: Path) -> Iterator[ScoredNight]:
        folder = Path(self.config.folder)
        if not path.is_file() and (folder / path).is_file():
            path = folder / path
        try:
            with path.open(encoding="utf-8-sig") as file:
                header = file.readline()
            separator = max(",;\t", key=header.count)
            table = pd.read_csv(path, dtype=str, sep=separator, encoding="utf-8-sig")
        except (OSError, ValueError) as error:  # errors of the parser and of the encoding are ValueErrors
            raise DatasetError(f"{path}: expected a CSV table of recordings and scorings, found: {error}.") from error
        if missing := [column for column in TABLE_COLUMNS[:2] if column not in table.columns]:
            raise DatasetError(
                f"{path}: expected the columns {', '.join(TABLE_COLUMNS)} (the last three may be missing), found no "
                f"{', '.join(missing)}."
            )
        if table["recording"].isna().any():
            row = int(table["recording"].isna().to_numpy().nonzero()[0][0]) + 2  # as an editor counts, with the header
            raise DatasetError(f"{path}: line {row} names no recording.")
        names = distinct_names([folder / name for name in table["recording"]])
        if len(names) < len(table):
            twice = table["recording"][table["recording"].duplicated()].iloc[0]
            raise DatasetError(f"{path}: the recording {twice} stands in two lines, expected one.")
        for row in table.astype(object).where(table.notna(), None).to_dict("records"):
            recording = folder / row["recording"]
            yield ScoredNight(
                subject=row.get("subject") or self._subject(recording, names[recording]),
                recording=names[recording],
                signal=recording,
                scoring=None if row["scoring"] is None else folder / row["scoring"],
                lights=Lights(*(_clock_time(path, row.get(column)) for column in ("lights_off", "lights_on"))),
            )


def _clock_time(path: Path, text: str | None) -> time | None:
    if text is None:
        return None
    try:
        return pd.Timestamp(text.strip()).time()
    except ValueError as error:
        raise DatasetError(f"{path}: expected a clock time such as 22:45 or 22:45:30, found {text!r}.") from error

"""Builder of PhysioNet's Sleep-EDF Expanded: the cassette and telemetry studies, from a local copy or downloaded."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import datasets
import pandas as pd
import pooch

from modeling_sleepvit.errors import DatasetError

from .night_rows import Lights
from .nights_builder import NightsBuilder, NightsConfig
from .scored_night import ScoredNight
from .sleep_edf_subjects import lights_off_of, read_subject_tables
from .splits import age_sex_strata


RELEASE_URL = "https://physionet.org/files/sleep-edfx/1.0.0/"
"""Where PhysioNet keeps the files of Sleep-EDF Expanded 1.0.0."""

CHECKSUMS_FILE = "SHA256SUMS.txt"
SUBJECT_TABLES = ("SC-subjects.xls", "ST-subjects.xls")

CITATION = (
    "B. Kemp, A. H. Zwinderman, B. Tuk, H. A. C. Kamphuisen, J. J. L. Oberye, Analysis of a sleep-dependent neuronal "
    "feedback loop: the slow-wave microcontinuity of the EEG, IEEE Trans. Biomed. Eng. 47(9):1185-1194, 2000; "
    "A. L. Goldberger et al., PhysioBank, PhysioToolkit, and PhysioNet, Circulation 101(23):e215-e220, 2000."
)

# Subject by subject, as the release has them. One night each of three cassette subjects was lost.
_CASSETTE_SUBJECTS = [number for number in range(83) if number not in (39, 68, 69, 78, 79)]
_TELEMETRY_SUBJECTS = [number for number in range(1, 25) if number not in (3, 23)]
_LOST_NIGHTS = {"SC4132", "SC4361", "SC4521"}
_NAME = re.compile(r"(?P<night>S[CT][47]\d{3})(?P<letters>[A-Z0-9]{2})-(?P<kind>PSG|Hypnogram)\.edf", re.IGNORECASE)


@dataclass
class SleepEDFConfig(NightsConfig):
    """See `NightsConfig`.

    Args:
        nights: the first six characters of the names of the recordings that the protocol consists of.
        download: get what is missing in `folder` from PhysioNet.
        verify: check every file against the release's list of SHA-256 sums where that list is in the folder.
        url: where to download from.
    """

    channels: list[str] | None = field(default_factory=lambda: ["EEG Fpz-Cz"])
    nights: list[str] = field(default_factory=list)
    download: bool = False
    verify: bool = True
    url: str = RELEASE_URL

    @property
    def citation(self) -> str:
        """How the source asks to be cited."""
        return CITATION

    @property
    def licence(self) -> str:
        """The release's licence."""
        return "odc-by"


def _nights(study: str, subjects: list[int]) -> list[str]:
    nights = [f"{study}{subject:02d}{night}" for subject in subjects for night in (1, 2)]
    return [night for night in nights if night not in _LOST_NIGHTS]


def _config(name: str, nights: list[str], description: str) -> SleepEDFConfig:
    return SleepEDFConfig(name=name, nights=nights, description=description, version=datasets.Version("1.0.0"))


class SleepEDF(NightsBuilder):
    """Builder of Sleep-EDF Expanded: `SleepEDF("sedf-20", folder="sleep-edfx", download=True)`.

    The configurations are "sedf-20" (39 nights of subjects 0 to 19), "sedf-78" (153 nights of 78 subjects) and
    "sedf-st" (44 nights of 22 subjects, telemetry). The rule "30min" gives the epochs that the literature counts:
    42,308 scored ones for "sedf-20". The rule "lights" begins with the lights off of the release's tables and, as
    these know no lights on, ends with the last epoch of sleep.

    Source:
        https://physionet.org/content/sleep-edfx/1.0.0/
    """

    BUILDER_CONFIG_CLASS = SleepEDFConfig
    BUILDER_CONFIGS = [
        _config("sedf-20", _nights("SC4", _CASSETTE_SUBJECTS[:20]), "Sleep-EDF-20: cassette study, subjects 0 to 19."),
        _config("sedf-78", _nights("SC4", _CASSETTE_SUBJECTS), "Sleep-EDF-78: the whole cassette study."),
        _config("sedf-st", _nights("ST7", _TELEMETRY_SUBJECTS), "The telemetry study: placebo and temazepam nights."),
    ]
    DEFAULT_CONFIG_NAME = "sedf-20"

    def __init__(self, config_name: str | None = None, folder: str | Path = "", *, download: bool = False, **settings):
        if download and str(folder):
            Path(folder).mkdir(parents=True, exist_ok=True)
        super().__init__(config_name, folder, download=download, **settings)

    def content_fingerprint(self) -> str:
        """Sum up the files as they are; those that are downloaded are what the release's sums say."""
        return "downloaded" if self.config.download else super().content_fingerprint()

    def is_expected(self, recording: str) -> bool:
        """Tell whether the protocol has a recording of this name, though it may not be in the folder."""
        return recording[:6].upper() in self.config.nights

    def find_nights(self) -> list[ScoredNight]:
        """Pair recordings and scorings of the folder by their names, after downloading what is missing if asked to.

        Returns:
            the nights of the protocol.

        Raises:
            DatasetError: a recording of the protocol, its scoring or a table is missing, or a download fails.
        """
        folder = Path(self.config.folder)
        wanted = [night for night in self.config.nights if self._is_wanted(night)]
        if self.config.download:
            self._download(folder, wanted)
        files = _files_by_night(folder)
        missing = [
            f"{night}*-{kind}.edf" for night in wanted for kind in ("PSG", "Hypnogram") if (night, kind) not in files
        ]
        if missing:
            more = f" and {len(missing) - 6} more" if len(missing) > 6 else ""
            raise DatasetError(
                f"{folder}: expected the {len(wanted)} nights of {self.config.name}, found no {', '.join(missing[:6])}"
                f"{more}; download them (download=True, --download) or name the subjects to prepare."
            )
        checksums = _checksums(folder) if self.config.verify else {}
        studies = {night[:2] for night in wanted}
        table = read_subject_tables(folder, studies) if self.config.trim == "lights" else None
        return [self._night(files[night, "PSG"], files[night, "Hypnogram"], checksums, table) for night in wanted]

    def strata(self) -> dict[str, str] | None:
        """Tell age and sex by subject where the release's tables are in the folder."""
        subjects = {night.subject for night in self.nights()}
        try:
            table = read_subject_tables(Path(self.config.folder), {subject[:2] for subject in subjects})
        except DatasetError:
            return None
        return age_sex_strata(table[table["subject"].isin(subjects)])

    def _is_wanted(self, night: str) -> bool:
        """Whether a night is asked for and not excluded; asking for unknown ones is answered by `nights`."""
        excluded = {recording[:6].upper() for recording in self.config.exclude}
        return night not in excluded and (self.config.subjects is None or night[:5] in self.config.subjects)

    def _night(self, psg: Path, scoring: Path, checksums: dict[str, str], table: pd.DataFrame | None) -> ScoredNight:
        recording = psg.name[:8].upper()  # some copies have changed the case of the names
        return ScoredNight(
            subject=recording[:5],
            recording=recording,
            signal=psg,
            scoring=scoring,
            lights=None if table is None else Lights(off=lights_off_of(table, recording)),
            checksums=tuple(
                (path, checksums[path.name.lower()]) for path in (psg, scoring) if path.name.lower() in checksums
            ),
        )

    def _download(self, folder: Path, wanted: list[str]) -> None:
        """Get the missing files of the release; each is checked against its list, and appears whole or not at all."""
        _fetch(folder, CHECKSUMS_FILE, None, self.config.url)
        there = {path.name for path in folder.rglob("*") if path.is_file()}
        for line in (folder / CHECKSUMS_FILE).read_text(encoding="utf-8").splitlines():
            checksum, _, name = line.strip().partition(" ")
            name = name.strip()
            match = _NAME.fullmatch(Path(name).name)
            is_asked = (match and match["night"].upper() in wanted) or name in SUBJECT_TABLES
            if is_asked and Path(name).name not in there:
                _fetch(folder, name, checksum, self.config.url)


def _fetch(folder: Path, name: str, checksum: str | None, url: str) -> None:
    try:
        pooch.retrieve(
            url=f"{url.rstrip('/')}/{name}",
            known_hash=None if checksum is None else f"sha256:{checksum}",
            path=folder / Path(name).parent,
            fname=Path(name).name,
            progressbar=checksum is not None,
        )
    except (OSError, ValueError) as error:  # pooch raises ValueError for another checksum
        raise DatasetError(
            f"{url}{name} could not be downloaded: {error}; try again, what is complete is kept."
        ) from error


def _files_by_night(folder: Path) -> dict[tuple[str, str], Path]:
    """Find recordings and scorings: the seventh and eighth characters of their names differ."""
    files = {}
    for path in sorted(folder.rglob("*")):
        match = _NAME.fullmatch(path.name)
        if match and path.is_file():
            kind = "PSG" if match["kind"].upper() == "PSG" else "Hypnogram"
            files.setdefault((match["night"].upper(), kind), path)
    return files


def _checksums(folder: Path) -> dict[str, str]:
    """SHA-256 by file name in small letters, from the release's list in the folder or above it, if there is one."""
    for path in (folder / CHECKSUMS_FILE, folder.parent / CHECKSUMS_FILE):
        if path.is_file():
            lines = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
            return {Path(parts[1]).name.lower(): parts[0] for parts in lines if len(parts) == 2}
    return {}

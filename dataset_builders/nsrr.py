"""Builder of the cohorts of the National Sleep Research Resource: SHHS and those that lie in folders like it."""

from dataclasses import dataclass
from pathlib import Path

import datasets

from modeling_sleepvit.errors import DatasetError
from modeling_sleepvit.recordings import printable

from .nights_builder import NightsBuilder, NightsConfig
from .scored_night import ScoredNight


SCORING_FOLDERS = {"profusion": "annotations-events-profusion", "nsrr": "annotations-events-nsrr"}
"""Where a cohort keeps its scorings; the name of each file ends with the key."""

CITATION = (
    "G.-Q. Zhang et al., The National Sleep Research Resource: towards a sleep data commons, J. Am. Med. "
    "Inform. Assoc. 25(10):1351-1358, 2018; S. F. Quan et al., The Sleep Heart Health Study: design, rationale, and "
    "methods, Sleep 20(12):1077-1085, 1997 (for SHHS; see sleepdata.org for the other cohorts)."
)


@dataclass
class NSRRConfig(NightsConfig):
    """See `NightsConfig`.

    Args:
        prefixes: how the names of the recordings begin.
        scorings: "profusion" or "nsrr", which of the two kinds of scoring to take; None takes the first there is.
    """

    trim: str = "none"
    prefixes: list[str] | None = None
    scorings: str | None = None

    @property
    def citation(self) -> str:
        """How the source asks to be cited."""
        return CITATION

    @property
    def licence(self) -> str:
        """The agreement under which NSRR gives its data."""
        return "other"


def _config(name: str, prefixes: list[str], channels: list[str], description: str) -> NSRRConfig:
    return NSRRConfig(
        name=name, prefixes=prefixes, channels=channels, description=description, version=datasets.Version("1.0.0")
    )


class NSRR(NightsBuilder):
    """Builder of NSRR cohorts: `NSRR("shhs1", folder="shhs")`, the folder that holds `polysomnography/`.

    The subject is the nsrrid, the last part of a recording's name, so both visits of a person are one subject. The
    channel is C4-M1 under the name it has in the cohort, or computed where C4 and M1 were recorded apart. Wake is not
    trimmed, as in the paper.
    """

    BUILDER_CONFIG_CLASS = NSRRConfig
    BUILDER_CONFIGS = [
        _config("shhs", ["shhs1-", "shhs2-"], ["C4-M1"], "Sleep Heart Health Study, both visits."),
        _config("shhs1", ["shhs1-"], ["C4-M1"], "Sleep Heart Health Study, visit 1."),
        _config("shhs2", ["shhs2-"], ["C4-M1"], "Sleep Heart Health Study, visit 2."),
        # MESA numbers its derivations: EEG1 is Fz-Cz, EEG2 Cz-Oz, EEG3 C4-M1
        _config("mesa", ["mesa-"], ["EEG3"], "Multi-Ethnic Study of Atherosclerosis."),
        _config("mros", ["mros-"], ["C4-M1"], "Osteoporotic Fractures in Men, sleep study."),
        _config("cfs", ["cfs-"], ["C4-M1"], "Cleveland Family Study."),
        _config("ccshs", ["ccshs-"], ["C4-M1"], "Cleveland Children's Sleep and Health Study."),
        _config("sof", ["sof-"], ["C4-M1"], "Study of Osteoporotic Fractures."),
    ]
    DEFAULT_CONFIG_NAME = "shhs1"

    def find_nights(self) -> list[ScoredNight]:
        """Pair the recordings of the cohort with their scorings.

        Returns:
            the nights; those without a scoring are reported when they are read.

        Raises:
            DatasetError: the folders are not there, or `scorings` is unknown.
        """
        config = self.config
        if config.scorings not in (None, *SCORING_FOLDERS):
            raise DatasetError(
                f"the scorings {config.scorings!r} are unknown: expected {' or '.join(SCORING_FOLDERS)}."
            )
        root = Path(config.folder)
        root = root if root.name == "polysomnography" else root / "polysomnography"
        if not (root / "edfs").is_dir():
            raise DatasetError(f"{config.folder}: expected polysomnography/edfs in it, as NSRR lays its cohorts out.")
        kinds = [config.scorings] if config.scorings else list(SCORING_FOLDERS)
        scorings = {
            path.stem.lower(): path for kind in kinds for path in (root / SCORING_FOLDERS[kind]).rglob("*.xml")
        }
        prefixes = tuple(config.prefixes or ("",))
        return [
            ScoredNight(
                subject=printable(path.stem).split("-")[-1],
                recording=printable(path.stem),
                signal=path,
                scoring=_scoring_of(path, kinds, scorings),
            )
            for path in sorted((root / "edfs").rglob("*"))
            if path.suffix.lower() == ".edf" and path.name.lower().startswith(prefixes)
        ]


def _scoring_of(recording: Path, kinds: list[str], scorings: dict[str, Path]) -> Path | None:
    names = (f"{recording.stem}-{kind}".lower() for kind in kinds)
    return next((scorings[name] for name in names if name in scorings), None)

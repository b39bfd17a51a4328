"""What all builders share: a `datasets` builder whose examples are the epochs of scored nights."""

import hashlib
import shutil
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import datasets
import pyarrow.parquet as pq
from datasets.exceptions import DatasetGenerationError

from modeling_sleepvit import SleepViTFeatureExtractor
from modeling_sleepvit.errors import CheckpointError, DatasetError, SleepViTError
from modeling_sleepvit.hub_errors import hub_refusal
from modeling_sleepvit.stager import folder_or_id

from .night_files import Night, origin_of, prepare_night, row_features
from .night_rows import TRIM_RULES
from .scored_night import NightSettings
from .splits import PARTS, Split


@dataclass
class NightsConfig(datasets.BuilderConfig):
    """How a dataset of nights is prepared; its arguments are those of the builders.

    Args:
        folder: where the recordings and scorings lie.
        trim: rule of `night_rows.TRIM_RULES`.
        channels: names of the channels, None for the best EEG channel of each recording.
        eog_channels: names of the EOG channels, where the feature extractor asks for EOG; None goes by their labels.
        feature_extractor: settings of `SleepViTFeatureExtractor`; None takes those of the embedded checkpoint.
        numbers: what bare numbers in scorings mean ("rk" or "aasm"), where they can mean two things.
        subjects: prepare these subjects alone.
        exclude: recordings to leave out.
        parts: subjects by split ("train", "validation", "test"), see `splits`; None puts everybody into "train".
        fingerprint: set by the builder, so that another content of the folder is another dataset in the cache.
    """

    folder: str = ""
    trim: str = "30min"
    channels: list[str] | None = None
    eog_channels: list[str] | None = None
    feature_extractor: dict | None = None
    numbers: str | None = None
    subjects: list[str] | None = None
    exclude: list[str] = field(default_factory=list)
    parts: dict[str, list[str]] | None = None
    fingerprint: str = ""

    @property
    def trim_rule(self) -> str:
        """The trim rule, for the card."""
        return self.trim

    @property
    def citation(self) -> str:
        """How the source asks to be cited."""
        return ""

    @property
    def licence(self) -> str:
        """Under which licence or agreement the source gives its data."""
        return ""


class NightsBuilder(datasets.GeneratorBasedBuilder):
    """Base of the builders: finds nights, prepares each as a file of its own, and hands their epochs over as rows.

    Preparing can be interrupted: nights that are finished are kept beside the cache and taken up again.

    Args:
        config_name: name of the protocol.
        folder: where the recordings and scorings lie.
        feature_extractor: a `SleepViTFeatureExtractor`, its settings, or the folder or id of a checkpoint; None takes
            that of the embedded checkpoint.
        cache_dir: where `datasets` keeps what it prepared; None stands for its usual place.
        **settings: further fields of the builder's configuration.

    Raises:
        DatasetError: the folder is missing or a setting cannot be used.
    """

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = NightsConfig
    SETTLED_BY_SOURCE: frozenset[str] = frozenset()
    """Settings that nobody can choose, because the source has settled them."""

    def __init__(
        self,
        config_name: str | None = None,
        folder: str | Path = "",
        feature_extractor: SleepViTFeatureExtractor | dict | str | Path | None = None,
        cache_dir: str | None = None,
        **settings,
    ):
        if not str(folder) or not Path(folder).is_dir():
            found = "a file" if str(folder) and Path(folder).exists() else "none"
            raise DatasetError(f"{folder or 'folder'}: expected the folder that holds the recordings, found {found}.")
        if unfit := sorted(self.SETTLED_BY_SOURCE & set(settings)):
            raise DatasetError(
                f"{unfit[0]} does not apply to {type(self).__name__}: the source settled it; leave it out."
            )
        lists = {
            name: list(value) if isinstance(value, (tuple, set)) else value for name, value in settings.items()
        }  # plain lists, so that equal settings have one fingerprint
        arguments = {
            "cache_dir": cache_dir,
            "config_name": config_name,
            "folder": str(Path(folder).resolve()),
            "feature_extractor": extractor_settings(feature_extractor),
            **lists,
        }
        super().__init__(**arguments)
        if self.config.trim not in TRIM_RULES:
            raise DatasetError(
                f"the trim rule {self.config.trim!r} is unknown: expected one of {', '.join(TRIM_RULES)}."
            )
        if self.config.eog_channels is not None and not self.settings.feature_extractor.num_eog_channels:
            raise DatasetError(
                "eog_channels: the feature extractor makes no EOG; leave them out, or take a checkpoint that reads it."
            )
        # The nights are known only now; another content of theirs has to be another dataset in the cache.
        super().__init__(**arguments, fingerprint=self.content_fingerprint())

    @property
    def settings(self) -> NightSettings:
        """How each night is prepared."""
        config = self.config
        return NightSettings(
            feature_extractor=SleepViTFeatureExtractor(**config.feature_extractor),
            trim=config.trim,
            channels=None if config.channels is None else tuple(config.channels),
            eog_channels=None if config.eog_channels is None else tuple(config.eog_channels),
            numbers=config.numbers,
        )

    @abstractmethod
    def find_nights(self) -> list[Night]:
        """List all nights of the folder that belong to the protocol.

        Raises:
            DatasetError: what the protocol needs is not there.
        """

    def content_fingerprint(self) -> str:
        """Sum up the files that the nights come from, as they are now."""
        origins = [origin_of(night) for night in self.find_nights()]
        return hashlib.sha256("".join(sorted(origins)).encode()).hexdigest()[:16]

    @property
    def subjects_are_guessed(self) -> bool:
        """Whether nobody has said which recordings are of one person."""
        has_pattern = getattr(self.config, "subject_pattern", None) is not None  # not every source leaves it open
        return not has_pattern and all(night.subject == night.recording for night in self.find_nights())

    def is_expected(self, recording: str) -> bool:
        """Tell whether the protocol has a recording of this name, though it may not be in the folder."""
        return False

    def remarks(self) -> list[str]:
        """Say in sentences what whoever uses the dataset should know about it."""
        if not self.subjects_are_guessed:
            return []
        return [
            "Every recording counts as a person of its own: where somebody has two nights, tell the subjects by "
            "--subject-pattern or a table."
        ]

    def strata(self) -> dict[str, str] | None:
        """Tell age and sex by subject, for splits that share them out evenly; None where the source does not tell."""
        return None

    def epoch_shape(self) -> tuple[int, int, int]:
        """Tell the shape of the `input_values` of one epoch: (channels, rows, frames)."""
        extractor = self.settings.feature_extractor
        n_channels = 1 if self.config.channels is None else len(self.config.channels)
        return n_channels, extractor.num_rows, extractor.epoch_seconds

    def eog_shape(self) -> tuple[int, int, int] | None:
        """Tell the shape of the `eog_values` of one epoch: (EOG channels, EOG rows, frames); None without EOG."""
        extractor = self.settings.feature_extractor
        if not extractor.num_eog_channels:
            return None
        return extractor.num_eog_channels, extractor.num_eog_rows, self.epoch_shape()[2]

    def nights(self) -> list[Night]:
        """List the nights to prepare: those of `find_nights` that `subjects` and `exclude` leave, sorted by name.

        Returns:
            the nights.

        Raises:
            DatasetError: there is none, two share a name, or `subjects` or `exclude` name what is not there.
        """
        nights = sorted(self.find_nights(), key=lambda night: night.recording)
        names = [night.recording for night in nights]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise DatasetError(f"{self.config.folder}: two recordings are named {twice[0]}; rename one of them.")
        wanted, excluded = self.config.subjects, set(self.config.exclude)
        for what, asked, there in (
            ("subjects", set(wanted or ()), {night.subject for night in nights}),
            ("recordings", {name for name in excluded if not self.is_expected(name)}, set(names)),
        ):
            if missing := sorted(asked - there):
                raise DatasetError(
                    f"{self.config.folder}: expected the {what} {', '.join(missing)}, found none of that name."
                )
        nights = [
            night
            for night in nights
            if (wanted is None or night.subject in wanted) and night.recording not in excluded
        ]
        if not nights:
            raise DatasetError(f"{self.config.folder}: expected recordings to prepare, found none.")
        return nights

    def nights_by_part(self, parts: dict[str, list[str]] | None = None) -> dict[str, list[Night]]:
        """Sort the nights into splits by their subject.

        Args:
            parts: subjects by split; None takes those of the configuration.

        Returns:
            nights by split, in the order train, validation, test; splits without a night are left out.

        Raises:
            DatasetError: as `nights`, or `parts` names a subject twice or does not name one that is there.
        """
        nights, parts = self.nights(), parts or self.config.parts
        if parts is None:
            return {"train": nights}
        if self.subjects_are_guessed:
            raise DatasetError(
                f"{self.config.folder}: expected to be told which recordings are of one person before they are split, "
                "since nobody may be on two sides; pass --subject-pattern (subject_pattern), for example ^(.+)$ where "
                "every recording is somebody else's, or a table with the column subject."
            )
        if unknown := sorted(set(parts) - set(PARTS)):
            raise DatasetError(f"the split {unknown[0]!r} is unknown: expected {', '.join(PARTS)}.")
        part_of = Split("parts", **parts).parts_of(night.subject for night in nights)
        by_part = {part: [night for night in nights if part_of[night.subject] == part] for part in PARTS}
        return {part: nights for part, nights in by_part.items() if nights}

    def download_and_prepare(self, *args, **kwargs) -> None:
        """Prepare the dataset; see `datasets.DatasetBuilder.download_and_prepare`, `num_proc` above all.

        Raises:
            SleepViTError: a night cannot be prepared. The finished ones are kept: mend it or name it in `exclude`, and
                call again.
        """
        try:
            super().download_and_prepare(*args, **kwargs)
        except DatasetGenerationError as error:
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, SleepViTError):
                cause = cause.__cause__
            if cause is None:
                raise
            raise cause from None
        shutil.rmtree(self.unfinished, ignore_errors=True)

    @property
    def unfinished(self) -> Path:
        """Folder of the nights that are finished while the dataset is not."""
        return Path(self._cache_dir).parent / f"{Path(self._cache_dir).name}-nights"

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(
            description=self.config.description,
            features=row_features(self.epoch_shape(), self.eog_shape()),
            citation=self.config.citation,
            license=self.config.licence,
        )

    def _split_generators(self, dl_manager: datasets.DownloadManager) -> list[datasets.SplitGenerator]:
        return [
            datasets.SplitGenerator(name=part, gen_kwargs={"nights": nights})  # a list, which num_proc shares out
            for part, nights in self.nights_by_part().items()
        ]

    def _generate_examples(self, nights: Sequence[Night]) -> Iterator[tuple[str, dict]]:
        settings, shape = self.settings, self.epoch_shape()
        for night in nights:
            path = self.unfinished / f"{night.recording}.parquet"
            prepare_night(night, settings, path, shape)
            prepared = datasets.Dataset(pq.read_table(path)).with_format("numpy")
            columns = prepared[:]  # one recording at a time, and many times faster than row by row
            for position, epoch in enumerate(columns["epoch"]):
                yield f"{night.recording}-{epoch:06d}", {name: column[position] for name, column in columns.items()}


def extractor_settings(feature_extractor: SleepViTFeatureExtractor | dict | str | Path | None) -> dict:
    """Find the settings of a feature extractor.

    Args:
        feature_extractor: the extractor, its settings, or the folder or id of a checkpoint; None stands for the
            embedded checkpoint.

    Returns:
        arguments of `SleepViTFeatureExtractor`.

    Raises:
        CheckpointError: there is no such checkpoint, or the Hub refuses it.
        DatasetError: the checkpoint has no extractor, or "anchored" scaling lacks its profile.
    """
    if isinstance(feature_extractor, dict):
        feature_extractor = SleepViTFeatureExtractor(**feature_extractor)
    elif not isinstance(feature_extractor, SleepViTFeatureExtractor):
        checkpoint, revision = folder_or_id(feature_extractor)
        try:
            feature_extractor = SleepViTFeatureExtractor.from_pretrained(checkpoint, **revision)
        except (OSError, ValueError, TypeError) as error:
            if refusal := hub_refusal(error):
                raise CheckpointError(f"{feature_extractor}: {refusal}.") from error
            raise DatasetError(
                f"{checkpoint}: expected a checkpoint with preprocessor_config.json, found none that loads ({error})."
            ) from error
    if feature_extractor.scaling == "anchored" and feature_extractor.row_profile is None:
        raise DatasetError(
            "the feature extractor has scaling 'anchored' without a profile; call its fit_profile first."
        )
    settings = feature_extractor.to_dict()
    settings.pop("feature_extractor_type", None)
    return settings

"""The nights that a training learns from and watches: npz nights or a prepared dataset, no subject on two sides."""

from inspect import signature

from dataset_builders.night_rows import NightRows
from dataset_builders.nights_builder import extractor_settings
from dataset_builders.npz_nights import find_npz_nights, read_npz_nights
from dataset_builders.prepared_nights import is_prepared, read_prepared_nights
from dataset_builders.splits import Splits
from modeling_sleepvit import SleepViTFeatureExtractor
from modeling_sleepvit.errors import SettingError
from modeling_sleepvit.stages import IGNORED_ID

from .training_settings import DataArguments, ModelArguments


def read_splits(
    data_args: DataArguments, feature_extractor: SleepViTFeatureExtractor
) -> tuple[list[NightRows], list[NightRows]]:
    """Read the nights to learn from and to watch; no subject is in both, and test subjects are in neither.

    Args:
        data_args: the data settings.
        feature_extractor: prepares the epochs of npz nights; those of a prepared dataset are prepared already.

    Returns:
        training nights and validation nights.

    Raises:
        SettingError: a subject is named twice or nobody is left to learn from.
        DatasetError: the folder or a file in it cannot be used, or the splits do not know a subject.
    """
    folder, pattern = data_args.data_dir, data_args.subject_pattern
    if is_prepared(folder):
        by_part = read_prepared_nights(folder)
        if set(by_part) != {"train"}:
            if data_args.splits or data_args.test_subjects or data_args.validation_subjects:
                raise SettingError(
                    f"{folder}: this dataset is split already; leave splits, test_subjects and validation_subjects "
                    "out."
                )
            return _learnable(by_part.get("train", []), folder), by_part.get("validation", [])
        nights = by_part["train"]
        everybody = sorted({night.subject for night in nights})
        validation_subjects, test_subjects = _left_out(data_args, everybody)
    else:
        everybody = _subjects_of_npz(folder, pattern)
        validation_subjects, test_subjects = _left_out(data_args, everybody)
        wanted = [subject for subject in everybody if subject not in test_subjects]
        nights = read_npz_nights(folder, feature_extractor, wanted, subject_pattern=pattern)
    left_out = {*validation_subjects, *test_subjects}
    train_nights = _learnable([night for night in nights if night.subject not in left_out], folder)
    return train_nights, [night for night in nights if night.subject in validation_subjects]


def make_feature_extractor(model_args: ModelArguments, data_args: DataArguments) -> SleepViTFeatureExtractor:
    """Find or make the feature extractor, and let it learn the profile of the training nights where it needs one.

    Args:
        model_args: the model settings: a checkpoint to go on from brings its extractor along.
        data_args: the data settings: a prepared dataset has its extractor beside it. Validation and test subjects add
            nothing to a profile.

    Returns:
        the feature extractor.

    Raises:
        SettingError: an argument is unknown or its value cannot be used, or the rows of a prepared dataset are not
            those that the checkpoint reads.
    """
    settings, checkpoint, folder = model_args.feature_extractor, model_args.model_name_or_path, data_args.data_dir
    saved_in = [place for place in (checkpoint, folder if is_prepared(folder) else None) if place]
    if saved_in and settings:
        raise SettingError(f"feature_extractor: {saved_in[0]} brings its own; leave this setting out.")
    if model_args.refit_profile and (checkpoint is None or len(saved_in) > 1):
        way_out = "leave it out" if checkpoint is None else "prepare them anew with --refit-profile"
        raise SettingError(
            f"refit_profile: expected a model_name_or_path and nights whose rows are not scaled yet; {way_out}."
        )
    if saved_in:
        extractors = [SleepViTFeatureExtractor(**extractor_settings(place)) for place in saved_in]
        if without_profile(extractors[0]) != without_profile(extractors[-1]):
            raise SettingError(
                f"{folder}: its rows were not made by the feature extractor of {checkpoint}; prepare them with "
                f"sleepvit prepare --model {checkpoint}."
            )
        feature_extractor = extractors[-1]
    else:
        if unknown := sorted(set(settings) - set(signature(SleepViTFeatureExtractor).parameters)):
            raise SettingError(f"feature_extractor: there is no setting {', '.join(unknown)}; check the spelling.")
        try:
            feature_extractor = SleepViTFeatureExtractor(**settings)
        except (ValueError, TypeError) as error:
            raise SettingError(f"feature_extractor: {error}") from error
    if model_args.refit_profile and feature_extractor.scaling != "anchored":
        raise SettingError(
            f"refit_profile: expected scaling 'anchored', found {feature_extractor.scaling!r}; leave it out."
        )
    if model_args.refit_profile or (feature_extractor.scaling == "anchored" and feature_extractor.row_profile is None):
        train_nights, _ = read_splits(data_args, feature_extractor.without_scaling())
        try:
            feature_extractor.fit_profile(night.input_values for night in train_nights)
        except ValueError as error:
            raise SettingError(f"{folder}: {error}.") from error
    return feature_extractor


def without_profile(feature_extractor: SleepViTFeatureExtractor) -> dict:
    """Tell the settings of an extractor but for the usual spectrum that it scales by, which a cohort may refit."""
    settings = feature_extractor.to_dict()
    return {name: value for name, value in settings.items() if name not in ("row_profile", "row_spread")}


def _learnable(nights: list[NightRows], folder: str) -> list[NightRows]:
    if not nights:
        raise SettingError(f"{folder}: all subjects are left out, so nobody is left to learn from.")
    if all((night.labels == IGNORED_ID).all() for night in nights):
        raise SettingError(f"{folder}: expected scored epochs in the nights to learn from, found none.")
    return nights


def _subjects_of_npz(folder: str, pattern: str | None) -> list[str]:
    nights = find_npz_nights(folder, subject_pattern=pattern)
    if pattern is None and all(night.subject == night.recording for night in nights):
        raise SettingError(
            f"{folder}: the names of its files are not those of Sleep-EDF, so it is not known which nights are of one "
            "person; set subject_pattern to a regular expression whose first group is the subject."
        )
    return sorted({night.subject for night in nights})


def _left_out(data_args: DataArguments, everybody: list[str]) -> tuple[list[str], list[str]]:
    """The subjects to watch and those that take no part, from the settings or from a file of splits."""
    named = {"test": data_args.test_subjects, "validation": data_args.validation_subjects}
    if data_args.splits is not None:
        if any(named.values()):
            raise SettingError("splits and lists of subjects: expected one of them, found both.")
        splits = Splits.from_json(data_args.splits)
        split = splits.splits[0] if data_args.fold is None else splits.named(data_args.fold)
        split.parts_of(everybody)  # who is in no part would be learned from in silence
        return list(split.validation), list(split.test)
    left_out = [*named["test"], *named["validation"]]
    if everybody and (unknown := sorted(set(left_out) - set(everybody))):
        # a misspelt test subject would be learned from in silence
        raise SettingError(f"{data_args.data_dir}: no night of the subjects {', '.join(unknown)}; check their names.")
    if len(set(left_out)) < len(left_out):
        raise SettingError("test_subjects and validation_subjects name a subject twice; each may stand once.")
    return named["validation"], named["test"]

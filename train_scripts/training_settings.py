"""The settings of a training: read from a JSON file or flags, checked, and made into a model and an augmentation."""

import argparse
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import HfArgumentParser, TrainingArguments
from transformers.integrations import get_available_reporting_integrations

from modeling_sleepvit import (
    SleepViTConfig,
    SleepViTFeatureExtractor,
    SleepViTForAudioClassification,
    SleepViTForAudioFrameClassification,
    SleepViTSequenceConfig,
)
from modeling_sleepvit.errors import SettingError
from modeling_sleepvit.stager import load_stager
from modeling_sleepvit.stages import STAGES
from modeling_sleepvit.whole_files import written_whole

from .augmentations import RowAugmentation


StagingModel = SleepViTForAudioClassification | SleepViTForAudioFrameClassification


@dataclass
class ModelArguments:
    """Which model is trained."""

    model_name_or_path: str | None = field(
        default=None, metadata={"help": "Checkpoint to go on from (folder or Hub id); None begins with fresh weights."}
    )
    model: dict = field(
        default_factory=dict,
        metadata={"help": "Fields of SleepViTSequenceConfig, or of SleepViTConfig for the single-epoch model."},
    )
    single_epoch: bool = field(default=False, metadata={"help": "Train the epoch encoder alone, without neighbours."})
    classes: list[str] = field(
        default_factory=list,
        metadata={"help": "What the model tells apart, stages joined by +: W N1+N2 N3 R. Empty: the five stages."},
    )
    freeze_epoch_encoder: bool = field(
        default=False, metadata={"help": "Leave the epoch encoder as the checkpoint has it; learn the sequence only."}
    )
    refit_profile: bool = field(
        default=False,
        metadata={
            "help": "Let the checkpoint's feature extractor, where it scales by the usual spectrum of its training "
            "nights, learn that of the nights to learn from: another laboratory's filters and montage."
        },
    )
    feature_extractor: dict = field(
        default_factory=dict, metadata={"help": "Arguments of SleepViTFeatureExtractor that differ from its default."}
    )


@dataclass
class DataArguments:
    """Which nights are learned from, watched and left out."""

    data_dir: str = field(
        default="",
        metadata={"help": "Folder that sleepvit prepare made, whose splits then hold, or one of npz nights."},
    )
    subject_pattern: str | None = field(
        default=None,
        metadata={"help": "For npz nights: regular expression whose first group, in a file's name, is the subject."},
    )
    splits: str | None = field(
        default=None, metadata={"help": "JSON file of splits by subject, in the place of the two lists."}
    )
    fold: str | None = field(default=None, metadata={"help": "Which of the splits in the file; None takes the first."})
    test_subjects: list[str] = field(
        default_factory=list, metadata={"help": "Subjects that take no part: neither learned from nor watched."}
    )
    validation_subjects: list[str] = field(
        default_factory=list, metadata={"help": "Subjects whose figures are logged and may choose the checkpoint."}
    )
    early_stopping_patience: int | None = field(
        default=None,
        metadata={"help": "Stop after so many validations without a better one; the best checkpoint is kept."},
    )
    random_shift: bool = field(default=True, metadata={"help": "Move the windows of epochs anew in every pass."})
    augmentation: dict = field(default_factory=dict, metadata={"help": "Arguments of RowAugmentation."})


GROUPS = (ModelArguments, DataArguments, TrainingArguments)

WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    list: "a list of names",
    dict: "settings by name",
    type(None): "null",
}
"""What a setting can be in JSON, by its type."""


def parse_settings(argv: list[str] | None) -> tuple[ModelArguments, DataArguments, TrainingArguments]:
    """Read the settings from a JSON file, from flags, or from both.

    Args:
        argv: as for `given_settings`.

    Returns:
        the three groups of settings.

    Raises:
        SettingError: the file is missing, is no JSON, or a setting is unknown or cannot be used.
    """
    settings, where = given_settings(argv)
    try:
        refuse_wrong(settings)
        if settings.get("early_stopping_patience") is not None:
            settings["load_best_model_at_end"] = True
        if settings.get("load_best_model_at_end") or settings.get("save_strategy") == "best":
            settings.setdefault("metric_for_best_model", "kappa")  # the library's own choice is the loss
        if not torch.accelerator.is_available():  # nor with use_cpu, as the library knows
            settings.setdefault("dataloader_pin_memory", False)
        settings.setdefault("ddp_find_unused_parameters", False)  # all that is learned takes part in every step
        model_args, data_args, training_args = HfArgumentParser(GROUPS).parse_dict(settings)
        if not data_args.data_dir:
            raise ValueError("no data_dir, which says where the nights lie")
        if data_args.fold is not None and data_args.splits is None:
            raise ValueError("fold without splits, the file in which it is named")
        if data_args.early_stopping_patience is not None and training_args.eval_strategy == "no":
            raise ValueError("early_stopping_patience without an eval_strategy, for example 'epoch'")
        for name in ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"):
            if getattr(training_args, name) < 1:
                raise ValueError(f"{name} must be 1 at least, found {getattr(training_args, name)}")
        if absent := sorted(set(training_args.report_to) - set(get_available_reporting_integrations())):
            raise ValueError(f"report_to names {', '.join(absent)}, which is misspelt or not installed")
        return model_args, data_args, training_args
    except (OSError, ValueError, TypeError, ImportError) as error:
        raise SettingError(f"{where}: {str(error).removesuffix('.')}.") from error


def refuse_wrong(settings: dict) -> None:
    """Raise ValueError for a name that is no setting, and for a type that is not its own: the library takes any."""
    hints = {name: hint for group in GROUPS for name, hint in get_type_hints(group).items()}
    for name, value in settings.items():
        if name not in hints:
            raise ValueError(no_such("setting", name, hints))
        if not is_of_type(value, hints[name]):
            kinds = get_args(hints[name]) if get_origin(hints[name]) in (Union, UnionType) else (hints[name],)
            words = [WORDS[get_origin(kind) or kind] for kind in kinds]
            raise ValueError(f"{name} must be {' or '.join(words)}, found {json.dumps(value)}")


def no_such(what: str, name: str, known: Iterable[str]) -> str:
    """Say that there is nothing of a name, and which one was perhaps meant."""
    meant = get_close_matches(name, known, n=1)
    return f"there is no {what} {name}; " + (f"expected {meant[0]}" if meant else "leave it out")


def is_of_type(value: Any, hint: Any) -> bool:
    """Tell whether a value from JSON or a flag fits a type.

    Args:
        value: the value.
        hint: the type, which may be a union; one that JSON does not have takes any value.

    Returns:
        whether it fits.
    """
    plain = get_origin(hint) or hint
    if plain in (Union, UnionType):
        return any(is_of_type(value, kind) for kind in get_args(hint))
    if plain in (int, float):
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return is_number and (plain is float or float(value).is_integer())  # 1e3 is a whole number, too
    if plain is list and isinstance(value, list):
        return all(is_of_type(item, kind) for item in value for kind in get_args(hint))
    return plain not in WORDS or isinstance(value, plain)


def given_settings(argv: list[str] | None) -> tuple[dict, str]:
    """Read the settings that a user gave, as they are.

    Args:
        argv: the path of the file and `--name value` for each setting, any of which may be missing; a flag goes before
            the file, and settings that hold settings are given as JSON. None reads the command line.

    Returns:
        the settings by name, and how a message about them begins.

    Raises:
        SettingError: the file is missing or is no JSON, or there is no such flag.
    """
    parser = HfArgumentParser(
        GROUPS,
        prog="sleepvit train",
        usage="sleepvit train [-h] [--NAME VALUE ...] [SETTINGS.json]",  # not all of the flags: they fill a screen
        description="Train a model on scored nights, from fresh weights or from a checkpoint.",
        allow_abbrev=False,
    )
    for action in parser._actions:
        action.default = argparse.SUPPRESS  # so that only what was given is there
        if action.type is dict:
            action.type = json.loads
    parser.add_argument("settings", nargs="?", metavar="SETTINGS.json", help="file of settings, by name")
    given, unknown = parser.parse_known_args(argv)
    if unknown:
        flags = [flag for action in parser._actions for flag in action.option_strings]
        raise SettingError(f"settings: {no_such('flag', unknown[0].partition('=')[0], flags)}.")
    given = vars(given)
    path = given.pop("settings", None)
    where = "settings" if path is None else path
    try:
        settings = {} if path is None else json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(settings, dict):
            raise ValueError(f"a {type(settings).__name__} in the place of settings by name")
    except (OSError, ValueError) as error:
        raise SettingError(f"{where}: expected a JSON file of settings, found: {error}.") from error
    return {**settings, **given}, where


def make_model(model_args: ModelArguments) -> StagingModel:
    """Make the model that the settings describe, with fresh weights, or load the one to go on from.

    Args:
        model_args: the model settings.

    Returns:
        the model with its stage head.

    Raises:
        SettingError: a field is unknown or its value cannot be used.
        CheckpointError: there is no such checkpoint to go on from.
    """
    names = classes_of(model_args)
    if model_args.model_name_or_path is not None:
        if model_args.model or model_args.single_epoch:
            raise SettingError(
                f"model: {model_args.model_name_or_path} brings its own; leave model and single_epoch out."
            )
        model = load_stager(model_args.model_name_or_path).model
        if names != tuple(model.config.id2label.values()):
            model = with_new_heads(model, names)
        if model_args.freeze_epoch_encoder:
            freeze_epoch_encoder(model)
        # fitted to other weights and other people
        model.config.temperature = None
        return model
    if model_args.freeze_epoch_encoder:
        raise SettingError("freeze_epoch_encoder: needs a model_name_or_path; fresh weights know nothing to keep.")
    config_class = SleepViTConfig if model_args.single_epoch else SleepViTSequenceConfig
    try:
        refuse_unknown(config_class, model_args.model)
        refuse_unknown(SleepViTConfig, model_args.model.get("epoch_config") or {})
        id2label = dict(enumerate(names))
        label2id = {name: index for index, name in id2label.items()}
        config = config_class(**{"id2label": id2label, "label2id": label2id, **model_args.model})
    except (ValueError, TypeError, AttributeError, StrictDataclassError) as error:
        raise SettingError(f"model: {error}") from error
    if tuple(config.id2label.values()) != names:
        raise SettingError(f"model: the classes must be {', '.join(names)} in this order, found {config.id2label}.")
    if model_args.single_epoch:
        return SleepViTForAudioClassification(config)
    return SleepViTForAudioFrameClassification(config)


def classes_of(model_args: ModelArguments) -> tuple[str, ...]:
    """Find what the model tells apart.

    Args:
        model_args: the model settings.

    Returns:
        the names of the classes, each a stage or several joined by "+".

    Raises:
        SettingError: a stage is missing, stands twice or is unknown.
    """
    names = tuple(model_args.classes) or STAGES
    if sorted(stage for name in names for stage in name.split("+")) != sorted(STAGES):
        raise SettingError(
            f"classes: expected each of {', '.join(STAGES)} once, alone or joined by + as in N1+N2, "
            f"found {', '.join(names)}."
        )
    return names


def with_new_heads(model: StagingModel, names: tuple[str, ...]) -> StagingModel:
    """Put fresh stage heads of another size on a trained model.

    Args:
        model: the trained model.
        names: of its new classes.

    Returns:
        a model of the same class whose encoders hold the trained weights.
    """
    config = type(model.config).from_dict(
        {
            **model.config.to_dict(),
            "id2label": dict(enumerate(names)),
            "label2id": {name: index for index, name in enumerate(names)},
            "class_weights": None,
            "temperature": None,
        }
    )
    resized = type(model)(config)
    resized.sleepvit.load_state_dict(model.sleepvit.state_dict())
    return resized


def freeze_epoch_encoder(model: StagingModel) -> None:
    """Keep the weights of the epoch encoder, and those that only its own stage head would move, as they are.

    Args:
        model: a sequence model.

    Raises:
        SettingError: the model has no sequence encoder that could learn.
    """
    if isinstance(model, SleepViTForAudioClassification):
        raise SettingError("freeze_epoch_encoder: a single-epoch model has nothing else to learn; leave it out.")
    model.sleepvit.epoch_encoder.requires_grad_(False)


def refuse_unknown(config_class: type, settings: dict) -> None:
    """Raise ValueError for a name that is no field: a configuration takes any name in silence."""
    if unknown := sorted(set(settings) - {config_field.name for config_field in fields(config_class)}):
        raise ValueError(f"{config_class.__name__} has no field {', '.join(unknown)}; check the spelling.")


def make_augmentation(settings: dict, feature_extractor: SleepViTFeatureExtractor) -> RowAugmentation:
    """Make the augmentation that the settings describe.

    Args:
        settings: arguments of `RowAugmentation`.
        feature_extractor: the one that made the rows.

    Returns:
        the augmentation.

    Raises:
        SettingError: an argument is unknown, or does not fit the scaling of the rows.
    """
    try:
        strengths = {name: float(strength) for name, strength in settings.items()}
        return RowAugmentation(**strengths, feature_extractor=feature_extractor)
    except (TypeError, ValueError) as error:
        raise SettingError(f"augmentation: {error}") from error


def remember_settings(
    output_dir: Path, model_args: ModelArguments, data_args: DataArguments, is_resumed: bool
) -> None:
    """Write the settings beside the checkpoints, and refuse to go on with others.

    Args:
        output_dir: the training's folder.
        model_args: the model settings.
        data_args: the data settings.
        is_resumed: whether there is a checkpoint to go on from.

    Raises:
        SettingError: the training was begun with other settings.
    """
    path = output_dir / "settings.json"
    settings = {**asdict(model_args), **asdict(data_args)}
    if is_resumed and path.exists():
        begun_with = json.loads(path.read_text(encoding="utf-8"))
        # a test subject of now may have been learned from before
        if changed := sorted(name for name in settings if settings[name] != begun_with.get(name)):
            raise SettingError(
                f"{output_dir}: this training was begun with other settings ({', '.join(changed)}); choose another "
                "output_dir, or remove this one to begin anew."
            )
    output_dir.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as partial:
        partial.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")

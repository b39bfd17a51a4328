"""Train a SleepViT model on scored nights with the Transformers Trainer; one JSON file holds all settings.

    python -m train_scripts.run_sleep_staging train_scripts/configs/sedf20-5s.json

The same command started by `accelerate launch` or `torchrun` trains on several GPUs. Started again after an
interruption, it goes on from the last checkpoint in `output_dir`.
"""

import logging
import sys
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
from huggingface_hub.errors import StrictDataclassError
from transformers import HfArgumentParser, Trainer, TrainingArguments, set_seed
from transformers.trainer_utils import get_last_checkpoint

from dataset_builders.npz_nights import NightRows, list_subjects, read_npz_nights
from dataset_builders.sequences import EpochSequences, SingleEpochs
from modeling_sleepvit import (
    SleepViTConfig,
    SleepViTFeatureExtractor,
    SleepViTForAudioClassification,
    SleepViTForAudioFrameClassification,
    SleepViTSequenceConfig,
)
from modeling_sleepvit.errors import SettingError
from modeling_sleepvit.metrics_sleepvit import staging_metrics

from .augmentations import RowAugmentation


logger = logging.getLogger(__name__)


@dataclass
class ModelArguments:
    """Which model is trained."""

    model: dict = field(
        default_factory=dict,
        metadata={"help": "Fields of SleepViTSequenceConfig, or of SleepViTConfig for the single-epoch model."},
    )
    single_epoch: bool = field(default=False, metadata={"help": "Train the epoch encoder alone, without neighbours."})
    feature_extractor: dict = field(
        default_factory=dict, metadata={"help": "Arguments of SleepViTFeatureExtractor that differ from its default."}
    )


@dataclass
class DataArguments:
    """Which nights are learned from, watched and left out."""

    data_dir: str = field(metadata={"help": "Folder of npz nights."})
    test_subjects: list[str] = field(
        default_factory=list, metadata={"help": "Subjects that take no part: neither learned from nor watched."}
    )
    validation_subjects: list[str] = field(
        default_factory=list, metadata={"help": "Subjects whose figures are logged and may choose the checkpoint."}
    )
    random_shift: bool = field(default=True, metadata={"help": "Move the windows of epochs anew in every pass."})
    augmentation: dict = field(default_factory=dict, metadata={"help": "Arguments of RowAugmentation."})


def main(argv: list[str] | None = None) -> None:
    """Train as the settings say and save model, feature extractor and Trainer's state in `output_dir`.

    Args:
        argv: one JSON file, or flags; None reads the command line.

    Raises:
        SleepViTError: the settings or the data cannot be used.
    """
    model_args, data_args, training_args = parse_settings(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    set_seed(training_args.seed)

    feature_extractor = SleepViTFeatureExtractor(**model_args.feature_extractor)
    train_nights, validation_nights = read_splits(data_args, feature_extractor)
    model, augmentation = make_model(model_args), make_augmentation(data_args.augmentation)
    logger.info(
        f"{sum(map(len, train_nights))} epochs of {len(train_nights)} nights to learn from, "
        f"{sum(map(len, validation_nights))} of {len(validation_nights)} to watch; "
        f"{model.num_parameters():,} parameters"
    )

    def dataset_of(nights: list[NightRows], **training_only) -> SingleEpochs | EpochSequences | None:
        if not nights:
            return None
        if model_args.single_epoch:
            return SingleEpochs(nights, training_only.get("transform"))
        return EpochSequences(nights, model.config.sequence_length, **training_only)

    trainer = Trainer(
        model=model,
        args=training_args,
        train_dataset=dataset_of(train_nights, transform=augmentation, random_shift=data_args.random_shift),
        eval_dataset=dataset_of(validation_nights),
        processing_class=feature_extractor,
        compute_metrics=metrics_of_logits,
        preprocess_logits_for_metrics=first_logits,
    )
    trainer.train(resume_from_checkpoint=last_checkpoint(training_args))
    trainer.save_model()
    trainer.save_state()


def parse_settings(argv: list[str] | None) -> tuple[ModelArguments, DataArguments, TrainingArguments]:
    """Read the settings from one JSON file or from flags.

    Args:
        argv: the arguments after the script's name; None reads the command line.

    Returns:
        the three groups of settings.

    Raises:
        SettingError: the JSON file is missing, is no JSON or holds an unknown setting.
    """
    argv = sys.argv[1:] if argv is None else argv
    parser = HfArgumentParser((ModelArguments, DataArguments, TrainingArguments), prog="sleepvit train")
    if len(argv) == 1 and argv[0].endswith(".json"):
        try:
            return parser.parse_json_file(argv[0])
        except (OSError, ValueError, TypeError) as error:
            raise SettingError(f"{argv[0]}: expected a JSON file of settings, found: {error}.") from error
    return parser.parse_args_into_dataclasses(argv)


def read_splits(
    data_args: DataArguments, feature_extractor: SleepViTFeatureExtractor
) -> tuple[list[NightRows], list[NightRows]]:
    """Read the nights to learn from and to watch; no subject is in both, and test subjects are in neither.

    Args:
        data_args: the data settings.
        feature_extractor: prepares the epochs.

    Returns:
        training nights and validation nights.

    Raises:
        SettingError: a subject is named twice or nobody is left to learn from.
        DatasetError: the folder or a file in it cannot be used.
    """
    test_and_validation = {*data_args.test_subjects, *data_args.validation_subjects}
    if len(test_and_validation) < len(data_args.test_subjects) + len(data_args.validation_subjects):
        raise SettingError("test_subjects and validation_subjects name a subject twice; each may stand once.")
    train_subjects = [subject for subject in list_subjects(data_args.data_dir) if subject not in test_and_validation]
    nights = read_npz_nights(data_args.data_dir, feature_extractor, [*train_subjects, *data_args.validation_subjects])
    train_nights = [night for night in nights if night.subject in train_subjects]
    if not train_nights:
        raise SettingError(f"{data_args.data_dir}: all subjects are left out, so nobody is left to learn from.")
    return train_nights, [night for night in nights if night.subject in data_args.validation_subjects]


def make_model(
    model_args: ModelArguments,
) -> SleepViTForAudioClassification | SleepViTForAudioFrameClassification:
    """Make the model that the settings describe, with fresh weights.

    Args:
        model_args: the model settings.

    Returns:
        the model with its stage head.

    Raises:
        SettingError: a field is unknown or its value cannot be used.
    """
    config_class = SleepViTConfig if model_args.single_epoch else SleepViTSequenceConfig
    known = {config_field.name for config_field in fields(config_class)}
    if unknown := sorted(set(model_args.model) - known):
        # a configuration accepts any name in silence, and the training would run without what was meant
        raise SettingError(f"model: {config_class.__name__} has no field {', '.join(unknown)}; check the spelling.")
    try:
        config = config_class(**model_args.model)
    except (ValueError, TypeError, StrictDataclassError) as error:
        raise SettingError(f"model: {error}") from error
    if model_args.single_epoch:
        return SleepViTForAudioClassification(config)
    return SleepViTForAudioFrameClassification(config)


def make_augmentation(settings: dict) -> RowAugmentation:
    """Make the augmentation that the settings describe.

    Args:
        settings: arguments of `RowAugmentation`.

    Returns:
        the augmentation.

    Raises:
        SettingError: an argument is unknown.
    """
    try:
        return RowAugmentation(**settings)
    except TypeError as error:
        raise SettingError(f"augmentation: {error}") from error


def first_logits(outputs, labels) -> np.ndarray:
    """Keep the stage logits of a model's outputs, which stand first, and drop embeddings before they pile up."""
    return outputs[0] if isinstance(outputs, tuple) else outputs


def metrics_of_logits(prediction) -> dict[str, float]:
    """Turn logits and labels of a Trainer's evaluation into the figures that are logged."""
    metrics = staging_metrics(prediction.label_ids, prediction.predictions.argmax(axis=-1))
    return {name: value for name, value in metrics.items() if name != "confusion_matrix"}


def last_checkpoint(training_args: TrainingArguments) -> str | None:
    """Find the checkpoint an interrupted training goes on from; None where there is none."""
    if Path(training_args.output_dir).is_dir():
        return get_last_checkpoint(training_args.output_dir)
    return None


if __name__ == "__main__":
    main()

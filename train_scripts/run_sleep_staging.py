"""Train a SleepViT model on scored nights with the Transformers Trainer; settings come from a JSON file or flags.

    python -m train_scripts.run_sleep_staging train_scripts/configs/sedf20-5s/default.json
    python -m train_scripts.run_sleep_staging SETTINGS.json --num_train_epochs 3 --seed 1
    python -m train_scripts.run_sleep_staging --model_name_or_path CHECKPOINT --data_dir prepared/ --output_dir tuned/

The same command started by `accelerate launch` or `torchrun` trains on several GPUs and hosts. Started again after an
interruption, it goes on from the last checkpoint in `output_dir`.
"""

import logging
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from transformers import EarlyStoppingCallback, EvalPrediction, TrainingArguments, set_seed
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import logging as transformers_logging

from dataset_builders.night_rows import NightRows
from dataset_builders.sequences import CenterSequences, EpochSequences, SingleEpochs
from modeling_sleepvit import SleepViTForAudioClassification
from modeling_sleepvit.errors import SettingError
from modeling_sleepvit.metrics_sleepvit import staging_metrics
from modeling_sleepvit.stages import IGNORED_ID, STAGES

from .running import run_script
from .staging_trainer import StagingTrainer
from .training_card import TrainingCard
from .training_nights import make_feature_extractor, read_splits
from .training_record import record_of_training
from .training_settings import (
    StagingModel,
    classes_of,
    given_settings,
    make_augmentation,
    make_model,
    parse_settings,
    remember_settings,
)


logger = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> None:
    """Train as the settings say and save model, feature extractor and Trainer's state in `output_dir`.

    Args:
        argv: the JSON file of settings and flags, see `parse_settings`; None reads the command line.

    Raises:
        SleepViTError: the settings or the data cannot be used.
    """
    model_args, data_args, training_args = parse_settings(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    transformers_logging.disable_progress_bar()  # of loading and saving weights; Trainer's own stays
    set_seed(training_args.seed)

    feature_extractor = make_feature_extractor(model_args, data_args)
    classes = classes_of(model_args)
    train_nights, validation_nights = (
        in_classes(nights, classes) for nights in read_splits(data_args, feature_extractor)
    )
    model, augmentation = make_model(model_args), make_augmentation(data_args.augmentation, feature_extractor)
    for nights in (train_nights, validation_nights):
        for night in nights:
            check_fit(model, night)
        check_of_one_length(nights)
    logger.info(
        f"{sum(map(len, train_nights))} epochs of {len(train_nights)} nights to learn from, "
        f"{sum(map(len, validation_nights))} of {len(validation_nights)} to watch; "
        f"{model.num_parameters():,} parameters"
    )

    def dataset_of(nights: list[NightRows], **training_only) -> SingleEpochs | EpochSequences | None:
        if not nights:
            return None
        if isinstance(model, SleepViTForAudioClassification):
            return SingleEpochs(nights, training_only.get("transform"))
        if model.config.label_mode == "center":
            return CenterSequences(nights, model.config.sequence_length, training_only.get("transform"))
        return EpochSequences(nights, model.config.sequence_length, **training_only)

    if training_args.eval_strategy != "no" and not validation_nights:
        raise SettingError("eval_strategy needs validation_subjects; name some, or set eval_strategy to 'no'.")
    refuse_unknown_metric(training_args.metric_for_best_model, classes)
    callbacks = []
    if data_args.early_stopping_patience is not None:
        callbacks.append(EarlyStoppingCallback(data_args.early_stopping_patience))
    checkpoint = last_checkpoint(training_args)
    remember_settings(Path(training_args.output_dir), model_args, data_args, is_resumed=checkpoint is not None)
    nights = {"train": train_nights, "validation": validation_nights}
    trainer = StagingTrainer(
        TrainingCard(record_of_training(given_settings(argv)[0], classes, nights)),
        model=model,
        args=training_args,
        train_dataset=dataset_of(train_nights, transform=augmentation, random_shift=data_args.random_shift),
        eval_dataset=dataset_of(validation_nights),
        processing_class=feature_extractor,
        compute_metrics=partial(metrics_of_logits, classes=classes),
        callbacks=callbacks,
        preprocess_logits_for_metrics=first_logits,
    )
    trainer.train(resume_from_checkpoint=checkpoint)
    trainer.save_model()
    trainer.create_model_card()
    trainer.save_state()


def first_logits(outputs, labels) -> np.ndarray:
    """Keep the stage logits of a model's outputs, which stand first, and drop embeddings before they pile up."""
    return outputs[0] if isinstance(outputs, tuple) else outputs


def metrics_of_logits(prediction, classes: tuple[str, ...] = STAGES) -> dict[str, float]:
    """Turn logits and labels of a Trainer's evaluation into the figures that are logged.

    Args:
        prediction: logits and labels, as Trainer hands them over.
        classes: what the logits tell apart, five at most.

    Returns:
        the figures by name, `f1_` with the name of each class among them.
    """
    metrics = staging_metrics(prediction.label_ids, prediction.predictions.argmax(axis=-1))
    f1 = [metrics.pop(f"f1_{stage}") for stage in STAGES]  # by position: joined stages leave the last ones empty
    metrics |= {f"f1_{name}": value for name, value in zip(classes, f1)}
    return {name: value for name, value in metrics.items() if name != "confusion_matrix"}


def refuse_unknown_metric(name: str | None, classes: tuple[str, ...]) -> None:
    """Refuse a figure that no validation tells, before the first pass instead of after it.

    Args:
        name: what chooses the best checkpoint; None where nothing does.
        classes: what the model tells apart.

    Raises:
        SettingError: there is no such figure.
    """
    ids = np.arange(len(classes))
    known = ["loss", *metrics_of_logits(EvalPrediction(np.eye(len(classes)), ids), classes)]
    if name is not None and name.removeprefix("eval_") not in known:
        raise SettingError(f"metric_for_best_model: expected one of {', '.join(known)}, found {name}.")


def in_classes(nights: list[NightRows], classes: tuple[str, ...]) -> list[NightRows]:
    """Label nights with the classes that a model tells apart.

    Args:
        nights: labelled with the five stages.
        classes: each a stage, or several joined by "+".

    Returns:
        the nights, whose labels are positions in `classes`.
    """
    if classes == STAGES:
        return nights
    class_of = np.array([[stage in name.split("+") for name in classes].index(True) for stage in STAGES])
    return [
        replace(night, labels=np.where(night.labels == IGNORED_ID, IGNORED_ID, class_of[night.labels]))
        for night in nights
    ]


def check_fit(model: StagingModel, night: NightRows) -> None:
    """Refuse nights that the model cannot read, before the work starts.

    Args:
        model: the model.
        night: one of the nights.

    Raises:
        SettingError: channels, rows or frames do not fit.
    """
    config = getattr(model.config, "epoch_config", model.config)
    _, channels, rows, frames = night.input_values.shape
    n_eog = 0 if night.eog_values is None else night.eog_values.shape[1]
    if n_eog != config.num_eog_channels:
        raise SettingError(
            f"{night.recording}: holds {n_eog} EOG channels, expected num_eog_channels {config.num_eog_channels}; "
            "change this setting of the model or that of the feature extractor."
        )
    if (channels, rows) != (config.num_channels, config.num_rows) or frames % config.num_frames:
        raise SettingError(
            f"{night.recording}: holds {channels} channels, {rows} rows and {frames} frames per epoch; expected "
            f"num_channels {config.num_channels}, num_rows {config.num_rows} and a multiple of num_frames "
            f"{config.num_frames}; take another model or change its settings."
        )


def check_of_one_length(nights: list[NightRows]) -> None:
    """Refuse nights whose epochs cannot stand in one batch, before the work starts.

    Args:
        nights: those to learn from, or those to watch.

    Raises:
        SettingError: their epochs differ in length.
    """
    for night in nights:
        n_frames, expected = (one.input_values.shape[3] for one in (night, nights[0]))
        if n_frames != expected:
            raise SettingError(
                f"{night.recording}: holds {n_frames} frames per epoch, expected {expected} as in "
                f"{nights[0].recording}; take nights whose epochs have one length."
            )


def last_checkpoint(training_args: TrainingArguments) -> str | None:
    """Find the checkpoint that a training goes on from.

    Args:
        training_args: name it in `resume_from_checkpoint`, or leave it to the last one in `output_dir`.

    Returns:
        its folder, or None where there is none.

    Raises:
        SettingError: the one that is named is not there.
    """
    named = training_args.resume_from_checkpoint
    if named and not Path(named).is_dir():
        raise SettingError(
            f"resume_from_checkpoint: expected the folder of a checkpoint, found {named}; name one, or leave it out "
            "to go on from the last one in output_dir."
        )
    if named or not Path(training_args.output_dir).is_dir():
        return named or None
    return get_last_checkpoint(training_args.output_dir)


if __name__ == "__main__":
    sys.exit(run_script(main))

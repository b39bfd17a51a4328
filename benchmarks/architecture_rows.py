"""What the benchmark of the architectures trains: the paper's, and the choices within its own, with their settings."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from train_scripts.run_leave_one_subject_out import read_settings


DATA = Path(os.environ.get("SLEEPVIT_DATA", "../shared/data")) / "sleep-edf-20-5s"
CONFIGS = Path(__file__).parents[1] / "train_scripts" / "configs" / "architectures"

EPOCHS_PER_STEP = 84
"""Epochs that a training step sees, whether one by one or in sequences."""

SEQUENCE_ENCODER = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "head_dim": 16,
    "intermediate_size": 128,
    "initializer_range": 0.2,
}


@dataclass(frozen=True)
class Row:
    """One thing that is trained.

    Args:
        config: name of its settings in `train_scripts/configs/architectures`.
        title: how tables call it.
        changes: settings that differ; those of a group are laid over the group's.
        context: epochs that the model sees at once; 1 is the epoch encoder alone.
        simulated: channels of the SIMULATED nights that it learns from; none where it learns from the real ones.
    """

    config: str
    title: str
    changes: dict[str, Any] = field(default_factory=dict)
    context: int = 1
    simulated: tuple[str, ...] = ()


ARCHITECTURES = {
    "eegspec-vtrans": "EEGspec-VTrans",
    "eegspec-1s": "1-second baseline, no frequency cut",
    "eegseq-inception-vtrans": "EEGseq-Inception-VTrans, raw EEG",
    "eegspec-lstm": "EEGspec-LSTM",
    "eegspec-bilstm": "EEGspec-BiLSTM",
    "eegspec-lstm-vtrans": "EEGspec-LSTM-VTrans",
}
CONTEXT = 21
LONGER = {"num_train_epochs": 6}
OUT_OF_CONTEXT = f"-{CONTEXT}-epochs"

ROWS = {name: Row(name, title) for name, title in ARCHITECTURES.items()}
ROWS |= {f"{name}{OUT_OF_CONTEXT}": Row(name, title, context=CONTEXT) for name, title in ARCHITECTURES.items()}
ROWS |= {
    "columns": Row("eegspec-vtrans", "whole-second columns", {"model": {"patch_rows": 20}}),
    "eight-bands": Row(
        "eegspec-vtrans", "eight bands", {"model": {"num_rows": 32}, "feature_extractor": {"row_widths_hz": [1] * 32}}
    ),
    "linear-power": Row("eegspec-vtrans", "linear power", {"feature_extractor": {"power_scale": "linear"}}),
    "linear-power-unscaled": Row(
        "eegspec-vtrans", "linear power", {"feature_extractor": {"power_scale": "linear", "scaling": "none"}}
    ),
    "band-projections": Row("eegspec-vtrans", "own projections", {"model": {"band_projections": True}}),
    "eegspec-vtrans-6-passes": Row("eegspec-vtrans", "EEGspec-VTrans", LONGER),
    "eegspec-1s-6-passes": Row("eegspec-1s", "1-second baseline", LONGER),
    "eegspec-vtrans-3-epochs": Row("eegspec-vtrans", "EEGspec-VTrans", context=3),
    "eegspec-vtrans-100-epochs": Row("eegspec-vtrans", "EEGspec-VTrans", context=100),
    "eegspec-vtrans-21-epochs-6-passes": Row("eegspec-vtrans", "EEGspec-VTrans", LONGER, context=CONTEXT),
    "eegspec-vtrans-100-epochs-6-passes": Row("eegspec-vtrans", "EEGspec-VTrans", LONGER, context=100),
    "eegspec-1s-21-epochs-6-passes": Row("eegspec-1s", "1-second baseline", LONGER, context=CONTEXT),
}
EEG_AND_EOG = ("EEG Fpz-Cz", "EOG horizontal")
TWO_EEG = ("EEG C4-M1", "EEG C3-M2")
SIMULATED_ROWS = {
    "simulated-eegspec-vtrans": Row("eegspec-vtrans", "EEGspec-VTrans, EEG alone", simulated=EEG_AND_EOG),
    "simulated-eegspec-eogspec-vtrans": Row("eegspec-eogspec-vtrans", "EEGspec+EOGspec-VTrans", simulated=EEG_AND_EOG),
}
SIMULATED_ROWS |= {
    f"{name}{OUT_OF_CONTEXT}": Row(row.config, row.title, context=CONTEXT, simulated=EEG_AND_EOG)
    for name, row in SIMULATED_ROWS.items()
}
ROWS |= SIMULATED_ROWS
ROWS |= {
    f"simulated-{name}": Row(
        "eegspec-vtrans",
        f"EEGspec-VTrans, two EEG channels, {name}",
        {"model": {"num_channels": 2, "channel_tokens": name == "channel-tokens"}},
        simulated=TWO_EEG,
    )
    for name in ("joint-channels", "channel-tokens")
}

CUT = (
    ("frequency cut against none (32 rows of 1 Hz, a token per second)", "eegspec-vtrans", "eegspec-1s"),
    ("… 21 epochs of context", f"eegspec-vtrans{OUT_OF_CONTEXT}", f"eegspec-1s{OUT_OF_CONTEXT}"),
    ("… epoch alone, six passes", "eegspec-vtrans-6-passes", "eegspec-1s-6-passes"),
    (
        "… 21 epochs of context, six passes",
        f"eegspec-vtrans{OUT_OF_CONTEXT}-6-passes",
        f"eegspec-1s{OUT_OF_CONTEXT}-6-passes",
    ),
    ("… epoch alone, one pass, a projection for each band", "band-projections", "eegspec-1s"),
)
CHOICES = (
    *CUT,
    ("band x second patches against whole-second columns of the same 20 rows", "eegspec-vtrans", "columns"),
    ("five bands (20 rows) against eight (32 rows of 1 Hz)", "eegspec-vtrans", "eight-bands"),
    ("log against linear power, both scaled per recording", "eegspec-vtrans", "linear-power"),
    ("log power, scaled, against linear power as published", "eegspec-vtrans", "linear-power-unscaled"),
    ("3 epochs of context against the epoch alone", "eegspec-vtrans-3-epochs", "eegspec-vtrans"),
    ("21 epochs of context against 3", f"eegspec-vtrans{OUT_OF_CONTEXT}", "eegspec-vtrans-3-epochs"),
    ("100 epochs of context against 21", "eegspec-vtrans-100-epochs", f"eegspec-vtrans{OUT_OF_CONTEXT}"),
    ("21 against the epoch alone, six passes", f"eegspec-vtrans{OUT_OF_CONTEXT}-6-passes", "eegspec-vtrans-6-passes"),
    (
        "100 against 21, six passes",
        "eegspec-vtrans-100-epochs-6-passes",
        f"eegspec-vtrans{OUT_OF_CONTEXT}-6-passes",
    ),
    (
        "two EEG channels in joint against separate tokens, SIMULATED nights",
        "simulated-joint-channels",
        "simulated-channel-tokens",
    ),
    ("EOG beside EEG against EEG alone, SIMULATED nights", *list(SIMULATED_ROWS)[1::-1]),
    ("… 21 epochs of context", *list(SIMULATED_ROWS)[:1:-1]),
)
"""A question, the row that stands for its first word, and the row that it is compared with."""


def is_architecture(row: Row) -> bool:
    """Tell the rows of the first table from those that only choices are made of."""
    return not row.changes and row.context in (1, CONTEXT)


def settings_of(row: Row, simulated_nights: Path | None = None) -> dict:
    """Put the settings of a row's trainings together.

    Args:
        row: the row.
        simulated_nights: where the simulated nights lie, for a row that learns from them.

    Returns:
        settings of `run_sleep_staging`, without those that each fold settles for itself.
    """
    settings = read_settings(CONFIGS / f"{row.config}.json")
    for key, changed in row.changes.items():
        settings[key] = {**settings.get(key, {}), **changed} if isinstance(changed, dict) else changed
    if row.context > 1:
        settings["single_epoch"] = False
        settings["model"] = {
            **SEQUENCE_ENCODER, "epoch_config": settings["model"], "sequence_length": row.context
        }  # fmt: skip
        settings["per_device_train_batch_size"] = max(1, EPOCHS_PER_STEP // row.context)
        settings["per_device_eval_batch_size"] = 8
    if row.simulated:
        return {**settings, "data_dir": str(simulated_nights), "subject_pattern": "(P[0-9]+)"}
    return {**settings, "data_dir": str(DATA)}


def protocol_of(row: Row) -> str:
    """Say in one sentence how a row was trained and tested.

    Args:
        row: the row.

    Returns:
        the sentence, for its metrics file.
    """
    n_passes = settings_of(row)["num_train_epochs"]
    effort = f"calibrated on two; passes: {n_passes}; only the first 5 s of each epoch"
    if row.simulated:
        return (
            "SIMULATED nights of 20 subjects who do not exist, five folds of four: each fold's model has learned from "
            f"14 and was {effort}."
        )
    return (
        f"Sleep-EDF-20, five folds of four subjects: each fold's model has learned from 14 subjects and was {effort}, "
        "EEG Fpz-Cz, wake trimmed to 30 min on either side of sleep, all epochs pooled."
    )

"""The record of a training: what was learned from, by which settings and versions, and how it went."""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from transformers import TrainerState

from dataset_builders.dataset_card import checksum_of_files
from dataset_builders.night_rows import NightRows
from dataset_builders.prepared_nights import is_prepared
from modeling_sleepvit.stages import IGNORED_ID
from modeling_sleepvit.whole_files import written_whole

from .prepare_dataset import origin_of_prepared


RECORD_FILE = "training.json"

LIBRARIES = ("sleepvit", "torch", "transformers", "accelerate", "datasets", "numpy", "scipy")
NOBODYS_BUSINESS = ("hub_", "push_to_hub", "report_to", "run_name", "disable_tqdm")
"""How the names of settings begin that say where a training reports to, not what it learns."""


def record_of_training(settings: dict, classes: tuple[str, ...], nights: dict[str, list[NightRows]]) -> dict:
    """Write down what is known before a training begins.

    Args:
        settings: that the user gave, by name.
        classes: what the model tells apart.
        nights: those of the "train" and, where there are any, of the "validation" subjects.

    Returns:
        `settings`, of whose paths only the names are anybody's business, `data` and `versions`, as JSON holds them.
        What is not known is not in it.
    """
    return {
        "settings": {
            name: Path(value).name if _is_path(value) else value
            for name, value in settings.items()
            if not name.startswith(NOBODYS_BUSINESS)
        },
        "data": {
            **_origin(Path(settings["data_dir"])),
            **_extent(nights["train"][0]),
            **{part: counts_of_nights(its, classes) for part, its in nights.items() if its},
        },
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
    }


def progress_of_training(state: TrainerState, is_best_kept: bool, folder: Path) -> dict:
    """Write down how far a training has come and how the weights do on the subjects that are watched.

    Args:
        state: of the Trainer.
        is_best_kept: whether the weights are those of the best validation so far; else they are those of now.
        folder: of the training, where CodeCarbon leaves what it measured.

    Returns:
        `step`, `passes`, and `validation` and `emissions_g` where they are known; the F1 of a class that did not occur
        is not.
    """
    step = state.best_global_step if is_best_kept and state.best_global_step else state.global_step
    at_step = [entry for entry in state.log_history if entry.get("step") == step]
    figures = {
        name.removeprefix("eval_"): value
        for entry in at_step
        for name, value in entry.items()
        if name.startswith("eval_") and not name.endswith(("_runtime", "_per_second", "_time")) and value == value
    }
    passes = next((entry["epoch"] for entry in at_step if "epoch" in entry), state.epoch)
    emissions = folder / "emissions.csv"
    return {
        "step": step,
        "passes": round(passes, 2),
        **({"validation": figures} if figures else {}),
        **({"emissions_g": 1000 * pd.read_csv(emissions)["emissions"].iloc[-1]} if emissions.is_file() else {}),
    }


def counts_of_nights(nights: list[NightRows], classes: tuple[str, ...]) -> dict:
    """Count subjects, nights and scored epochs.

    Args:
        nights: labelled with positions in `classes`.
        classes: their names.

    Returns:
        the counts; `by_class` has the epochs of each.
    """
    labels = np.concatenate([night.labels for night in nights])
    counts = np.bincount(labels[labels != IGNORED_ID], minlength=len(classes))
    return {
        "n_subjects": len({night.subject for night in nights}),
        "n_recordings": len({night.recording for night in nights}),
        "n_epochs": int(counts.sum()),
        "by_class": dict(zip(classes, counts.tolist())),
    }


def write_record(record: dict, folder: Path) -> None:
    """Write a record beside the weights, whole or not at all."""
    with written_whole(folder / RECORD_FILE) as partial:
        partial.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_record(folder: Path) -> dict | None:
    """Read the record beside the weights; None where there is none."""
    path = folder / RECORD_FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _origin(folder: Path) -> dict:
    """What is known of a dataset's source, and the checksum of its files."""
    if not is_prepared(folder):
        return {"name": folder.resolve().name, "files": "*.npz", "sha256": checksum_of_files(folder, "*.npz")}
    config = origin_of_prepared(folder)
    known = {"description": config.description, "licence": config.licence, "citation": config.citation}
    return {
        "name": config.name,
        "trim": config.trim_rule,
        **{name: value for name, value in known.items() if value},
        "files": "data/*/*.parquet",
        "sha256": checksum_of_files(folder, "data/*/*.parquet"),
    }


def _extent(night: NightRows) -> dict:
    """How many seconds of each epoch are there, where rows of 1 s tell."""
    shape = night.input_values.shape
    return {"seconds_of_epoch": shape[-1]} if len(shape) == 4 else {}


def _is_path(value) -> bool:
    return isinstance(value, str) and os.path.exists(value)

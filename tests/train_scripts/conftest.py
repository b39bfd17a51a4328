"""Fixtures of the training scripts: nights that can be learned in seconds."""

import json

import numpy as np
import pytest

from train_scripts.cli import main

from ..conftest import TINY


TRAINABLE = {**TINY, "initializer_range": 0.2, "hidden_dropout_prob": 0.1}


@pytest.fixture(scope="module")
def simulated_nights(tmp_path_factory):
    """Three simulated subjects, two nights each: the label is whether a 10 Hz or a 2 Hz rhythm is there."""
    folder = tmp_path_factory.mktemp("nights")
    rng = np.random.default_rng(0)
    seconds = np.arange(500) / 100
    for subject in ("SC400", "SC401", "SC402"):
        for night in (1, 2):
            labels = np.repeat(rng.permutation([0, 1] * 5), 5)
            rhythm = np.where(labels[:, None] == 0, np.sin(2 * np.pi * 10 * seconds), np.sin(2 * np.pi * 2 * seconds))
            x = (20 * rhythm + rng.normal(scale=5, size=(50, 500))).astype(np.float32)
            np.savez(folder / f"{subject}{night}E0.npz", x=x, y=np.where(labels == 0, 0, 3).astype(np.int8), fs=100.0)
    return folder


@pytest.fixture
def settings(simulated_nights, tmp_path):
    """Settings of a training that takes seconds."""
    return {
        "data_dir": str(simulated_nights),
        "test_subjects": ["SC402"],
        "validation_subjects": ["SC401"],
        "model": {**TRAINABLE, "epoch_config": {**TRAINABLE, "num_frames": 5}, "sequence_length": 6},
        "augmentation": {"value_noise": 0.1, "epoch_offset": 0.1, "row_offset": 0.1, "gain": 0.1},
        "output_dir": str(tmp_path / "run"),
        "num_train_epochs": 6,
        "per_device_train_batch_size": 2,
        "learning_rate": 0.01,
        "save_strategy": "epoch",
        "eval_strategy": "epoch",
        "logging_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
    }


def train(settings, tmp_path) -> int:
    """Run `sleepvit train` with settings from a file; its exit code."""
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(settings))
    return main(["train", str(path)])

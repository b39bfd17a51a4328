"""Fixtures that every room of tests shares."""

import os
from pathlib import Path

import edfio
import numpy as np
import pytest
import torch

from modeling_sleepvit import (
    SleepViTConfig,
    SleepViTFeatureExtractor,
    SleepViTForAudioClassification,
    SleepViTForAudioFrameClassification,
    SleepViTSequenceConfig,
)

from .browser import running_browser
from .hub_clients import HubForTests


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data, beside the project or where SLEEPVIT_DATA points."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SLEEPVIT_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"real data are absent: expected them in {folder}; set SLEEPVIT_DATA to another place")
    return folder


TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "head_dim": 4, "intermediate_size": 16}


@pytest.fixture(scope="session")
def tiny_checkpoints(tmp_path_factory) -> dict[str, Path]:
    """Untrained checkpoints with their feature extractor: one channel or two, epochs alone or in sequence."""
    torch.manual_seed(0)
    window = {**TINY, "num_frames": 5}
    models = {
        "sequence": SleepViTForAudioFrameClassification(
            SleepViTSequenceConfig(**{**TINY, "epoch_config": window, "sequence_length": 8})
        ),
        "center": SleepViTForAudioFrameClassification(
            SleepViTSequenceConfig(**{**TINY, "epoch_config": window, "sequence_length": 3, "label_mode": "center"})
        ),
        "epoch": SleepViTForAudioClassification(SleepViTConfig(**window)),
        "two channels": SleepViTForAudioClassification(SleepViTConfig(**{**window, "num_channels": 2})),
    }
    folders = {}
    for name, model in models.items():
        folders[name] = tmp_path_factory.mktemp(name.replace(" ", "_"))
        model.save_pretrained(folders[name])
        SleepViTFeatureExtractor().save_pretrained(folders[name])
    return folders


def eeg_like(n_samples: int, seed: int = 0, amplitude_uv: float = 20.0) -> np.ndarray:
    """Noise of an EEG's size."""
    return np.random.default_rng(seed).normal(scale=amplitude_uv, size=n_samples)


@pytest.fixture(scope="session")
def write_edf():
    """Write an EDF with noise in its channels: `write_edf(path, labels, sampling_rate, seconds, signals=None)`."""

    def write(path, labels=("EEG Fpz-Cz",), sampling_rate=100, seconds=300, signals=None):
        channels = []
        for seed, label in enumerate(labels):
            data = (
                eeg_like(int(seconds * sampling_rate), seed) if signals is None else np.asarray(signals[seed], float)
            )
            limit = max(1.0, float(np.abs(data).max()))
            channels.append(
                edfio.EdfSignal(
                    data, sampling_rate, label=label, physical_dimension="uV", physical_range=(-limit, limit)
                )
            )
        edfio.Edf(channels).write(path)
        return path

    return write


@pytest.fixture(scope="session")
def hub(tmp_path_factory):
    """A Hub on this machine, shared by all tests: choose repository names that no other test has.

    `hub.run(("-m", "train_scripts.cli", ...))` runs Python in a process whose clients use it, `hub.repos` holds what
    is there, and `hub.refuse("owner/full/commit", 500, "No room is left")` makes it refuse.
    """
    with HubForTests(tmp_path_factory.mktemp("hub")) as running:
        yield running


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium: `with browser.tab(width=375) as tab: tab.page.goto(...)`; skipped where there is none.

    Install it with `apt-get update && apt-get install -y chromium`.
    """
    with running_browser() as running:
        yield running

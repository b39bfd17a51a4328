"""Every architecture of the paper trains by its settings, alone and in a sequence, and stages nights afterwards."""

import numpy as np
import pytest

from benchmarks import architecture_rows
from modeling_sleepvit.stager import load_stager

from .conftest import train


TINY_ENCODER = {"hidden_size": 8, "num_hidden_layers": 1, "intermediate_size": 8, "recurrent_size": 4}
IN_SEQUENCE = ("eegspec-lstm-21-epochs", "simulated-eegspec-eogspec-vtrans-21-epochs")
TINY_ROWS = {
    name: row
    for name, row in architecture_rows.ROWS.items()
    if name in IN_SEQUENCE or (row.context == 1 and not row.changes)
}


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    """Three subjects of noise whose EOG is their EEG."""
    folder = tmp_path_factory.mktemp("nights")
    for number in range(3):
        x = np.random.default_rng(number).normal(scale=20, size=(12, 500)).astype(np.float32)
        np.savez(folder / f"P{number}1.npz", x=x, eog=x, y=np.arange(12) % 5, fs=100.0)
    return folder


@pytest.mark.parametrize("name", TINY_ROWS)
def test_a_row_trains_by_its_settings_and_stages_nights(name, nights, tmp_path):
    settings = architecture_rows.settings_of(TINY_ROWS[name], nights)
    config = settings["model"].get("epoch_config", settings["model"])
    config |= {key: value for key, value in TINY_ENCODER.items() if key != "intermediate_size" or key in config}
    settings |= {"data_dir": str(nights), "subject_pattern": "(P[0-9])", "test_subjects": ["P0"], "disable_tqdm": True}
    settings |= {"max_steps": 1, "output_dir": str(tmp_path / "run")}
    assert train(settings, tmp_path) == 0
    stager = load_stager(tmp_path / "run")
    assert stager.model.config.model_type == ("sleepvit_sequence" if TINY_ROWS[name].context > 1 else "sleepvit")
    noise = np.random.default_rng(0).normal(scale=20, size=(2, 3 * 3000))
    names = {"channels": ["channel 1"]} | ({"eog_channels": ["channel 2"]} if config.get("num_eog_channels") else {})
    probabilities = stager(noise, sampling_rate=100, **names).probabilities
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_the_rows_of_every_choice_exist():
    assert {name for _, *pair in architecture_rows.CHOICES for name in pair} <= set(architecture_rows.ROWS)

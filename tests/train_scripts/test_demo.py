"""`make demo`: a night is staged with the embedded weights, real where the data are at hand, simulated elsewhere."""

import numpy as np
import pandas as pd
import pytest

from train_scripts import demo


@pytest.fixture
def in_new_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_real_data_the_night_is_simulated_and_says_so(in_new_folder, monkeypatch, capsys):
    monkeypatch.setenv("SLEEPVIT_DATA", str(in_new_folder / "absent"))
    assert demo.main() == 0
    out = capsys.readouterr().out
    assert "a SIMULATED night" in out
    assert "agreement with its scoring over 300 epochs" in out
    assert len(pd.read_csv("demo_output/SIMULATED_night_hypnogram.csv")) == 300


def test_with_real_data_the_agreement_is_printed(in_new_folder, monkeypatch, capsys, shared_data):
    monkeypatch.setenv("SLEEPVIT_DATA", str(shared_data))
    assert demo.main() == 0
    out = capsys.readouterr().out
    assert "116 minutes of real sleep" in out
    assert "agreement with its scoring over 232 epochs" in out


def test_a_simulated_night_has_the_amplitude_and_the_rhythms_of_its_stages():
    epochs, stages = demo.simulated_night(seed=0)
    stages = np.array(stages)
    assert epochs.shape == (300, 3000)
    power = np.abs(np.fft.rfft(epochs, axis=1)) ** 2
    frequencies = np.fft.rfftfreq(3000, 1 / 100)
    share = {
        stage: power[stages == stage][:, (frequencies >= low) & (frequencies < high)].sum()
        / power[stages == stage].sum()
        for stage, low, high in (("W", 8, 13), ("N3", 0.3, 3))
    }
    assert share["W"] > 0.4
    assert share["N3"] > 0.8
    assert 5 < epochs[stages == "N2"].std() < 40

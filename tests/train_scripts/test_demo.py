"""`make demo`: a night is staged with the embedded weights, real where the data are at hand, simulated elsewhere."""

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
    assert "agreement with its scoring over 298 epochs" in out
    assert "says nothing about real sleep" in out
    assert len(pd.read_csv("demo_output/SIMULATED_night_hypnogram.csv")) == 300
    assert (in_new_folder / "demo_output" / "SIMULATED_night-Hypnogram.edf").is_file()
    assert (in_new_folder / "demo_output" / "SIMULATED_night_report.html").is_file()


def test_with_real_data_the_agreement_is_printed(in_new_folder, monkeypatch, capsys, shared_data):
    monkeypatch.setenv("SLEEPVIT_DATA", str(shared_data))
    assert demo.main() == 0
    out = capsys.readouterr().out
    assert "116 minutes of real sleep" in out
    assert "agreement with its scoring over 232 epochs" in out

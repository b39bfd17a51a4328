"""`sleepvit simulate`: two files and a line that says what they are, or one sentence and exit code 2."""

import edfio
import pytest

from train_scripts import simulate_night
from train_scripts.cli import main as sleepvit
from train_scripts.running import run_script


def test_both_files_are_written_and_called_simulated(tmp_path, capsys):
    path = tmp_path / "night.edf"
    assert sleepvit(["simulate", str(path), "--hours", "0.25", "--seed", "7"]) == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == ["night-Hypnogram.edf", "night.edf"]
    out = capsys.readouterr().out
    assert "SIMULATED" in out
    assert "seed 7" in out
    assert "30 epochs" in out


def test_channels_and_rate_are_the_ones_asked_for(tmp_path):
    path = tmp_path / "night.EDF"
    arguments = [str(path), "--hours", "0.05", "--channels", "C4-M1, EOG E1-M2", "--sampling-rate", "200"]
    assert run_script(simulate_night.main, arguments) == 0
    edf = edfio.read_edf(path)
    assert edf.labels == ("C4-M1", "EOG E1-M2")
    assert {signal.sampling_frequency for signal in edf.signals} == {200}
    assert edf.duration == 180


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("night.edf", ["--hours", "0"]),
        ("night.edf", ["--hours", "1000"]),
        ("night.edf", ["--sampling-rate", "50"]),
        ("night.edf", ["--sampling-rate", "100.5"]),
        ("night.edf", ["--channels", "ECG"]),
        ("night.edf", ["--seed", "-1"]),
        ("night.csv", []),
    ],
)
def test_a_mistake_ends_with_one_line_and_exit_code_2(tmp_path, capsys, name, options):
    assert sleepvit(["simulate", str(tmp_path / name), *options]) == 2
    err = capsys.readouterr().err
    assert err.startswith("sleepvit: error: ")
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())

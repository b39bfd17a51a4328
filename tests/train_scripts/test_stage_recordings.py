"""`sleepvit stage`: what it writes, and how every bad input ends: exit code 2, one line, nothing half-written."""

import json
import os
import shutil
import subprocess
import sys

import mne
import numpy as np
import pandas as pd
import pytest
from transformers import AutoModel

from modeling_sleepvit import Hypnogram
from modeling_sleepvit.hypnogram import FRAME_COLUMNS
from train_scripts.cli import main
from train_scripts.stage_recordings import describe

from ..conftest import eeg_like


@pytest.fixture
def stage(tiny_checkpoints, tmp_path, capsys):
    """Run `sleepvit stage` in-process; return exit code, stdout, the lines of stderr and the output folder."""

    def run(*arguments, model=tiny_checkpoints["sequence"]):
        output = tmp_path / "out"
        model_arguments = [] if model is None else ["--model", str(model)]
        code = main(["stage", *map(str, arguments), "--output", str(output), *model_arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err.splitlines(), output

    return run


def files_in(folder) -> list[str]:
    return sorted(file.name for file in folder.iterdir()) if folder.exists() else []


def test_a_recording_gives_csv_picture_and_summary(stage, write_edf, tmp_path):
    code, out, err, output = stage(write_edf(tmp_path / "night.edf"))
    assert (code, err) == (0, [])
    assert files_in(output) == ["night_hypnogram.csv", "night_hypnogram.png", "summary.csv"]
    frame = pd.read_csv(output / "night_hypnogram.csv")
    assert tuple(frame.columns) == FRAME_COLUMNS
    assert frame["onset_s"].tolist() == [30.0 * epoch for epoch in range(10)]
    assert Hypnogram.from_csv(output / "night_hypnogram.csv").n_epochs == 10
    summary = pd.read_csv(output / "summary.csv")
    assert summary.loc[0, ["recording", "channels", "n_epochs"]].tolist() == ["night", "EEG Fpz-Cz", 10]
    assert summary.loc[0, "time_in_bed_min"] == 5
    assert "night: 10 epochs of EEG Fpz-Cz" in out
    assert 'was read from the channel labelled "EEG Fpz-Cz"' in out
    assert (output / "night_hypnogram.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_goes_on_after_a_bad_file(stage, write_edf, tmp_path):
    study = tmp_path / "study"
    study.mkdir()
    write_edf(study / "a.edf")
    (study / "b.edf").write_bytes(b"not an EDF at all" * 100)
    write_edf(study / "c.edf")
    code, out, err, output = stage(study)
    assert code == 2
    assert len(err) == 1
    assert "b.edf" in err[0]
    assert pd.read_csv(output / "summary.csv")["recording"].tolist() == ["a", "c"]
    assert "2 of 3 recordings staged" in out
    assert not [name for name in files_in(output) if name.startswith("b")]


def test_recordings_of_one_name_do_not_overwrite_each_other(stage, write_edf, tmp_path):
    for visit in ("visit1", "visit2"):
        (tmp_path / visit).mkdir()
        write_edf(tmp_path / visit / "psg.edf")
    code, _, _, output = stage(tmp_path / "visit1", tmp_path / "visit2")
    assert code == 0
    assert {"visit1_psg_hypnogram.csv", "visit2_psg_hypnogram.csv"} <= set(files_in(output))


def test_named_channels_are_staged(stage, write_edf, tmp_path):
    path = write_edf(tmp_path / "psg.edf", labels=("EEG C4-A1", "EEG C3-A2"))
    code, _, _, output = stage(path, "--channels", "C4-M1, C3-M2")
    assert code == 0
    assert pd.read_csv(output / "summary.csv").loc[0, "channels"] == "EEG C4-A1, EEG C3-A2"


def test_the_report_warns_of_every_channel_that_votes(stage, write_edf, tmp_path):
    signals = [eeg_like(12_000), np.append(np.zeros(3000), 1000 * eeg_like(9000))]
    path = write_edf(tmp_path / "psg.edf", labels=("C4-M1", "C3-M2"), signals=signals, seconds=120)
    code, out, _, output = stage(path, "--channels", "C4-M1,C3-M2", "--report")
    assert code == 0
    assert 'Channel "C3-M2" is flat in 1 of 4 epochs, in which it had no vote.' in out
    page = (output / "psg_report.html").read_text(encoding="utf-8")
    assert "<b>Flat signal of C3-M2.</b> 1 epoch of 4 had no vote of this channel" in page
    assert "<b>Scale of C3-M2.</b>" in page
    assert "of C4-M1.</b>" not in page


def bad_recordings():
    def missing(path, write_edf):
        pass

    def empty(path, write_edf):
        path.touch()

    def header_only(path, write_edf):
        write_edf(path)
        path.write_bytes(path.read_bytes()[:512])

    def truncated(path, write_edf):
        write_edf(path)
        path.write_bytes(path.read_bytes()[:-20_000])

    def not_edf(path, write_edf):
        path.write_text("epoch,stage\n0,W\n" * 50)

    def no_eeg(path, write_edf):
        write_edf(path, labels=("EOG left", "EMG chin", "SpO2"))

    def low_rate(path, write_edf):
        write_edf(path, sampling_rate=20)

    def short(path, write_edf):
        write_edf(path, seconds=20)

    return {
        missing: "does not exist",
        empty: "is empty: expected a recording, found 0 bytes",
        header_only: "holds a header and no samples",
        truncated: "header promises 300 s of signal, the file holds",
        not_edf: "not an EDF or BDF file",
        no_eeg: "EOG left",
        low_rate: "sampled at 20 Hz, expected at least 64 Hz",
        short: "expected at least one epoch of 30 s, found 20 s",
    }.items()


@pytest.mark.parametrize(("make", "message"), bad_recordings(), ids=lambda value: getattr(value, "__name__", ""))
def test_a_bad_recording_ends_with_one_line(stage, write_edf, tmp_path, make, message):
    path = tmp_path / "night.edf"
    make(path, write_edf)
    code, out, err, output = stage(path)
    assert code == 2
    assert len(err) == 1
    assert err[0].startswith("sleepvit: error: ")
    assert "night.edf" in err[0]
    assert message in err[0]
    assert files_in(output) == []
    assert "Traceback" not in out


def test_an_unknown_channel_names_the_channels_there_are(stage, write_edf, tmp_path):
    code, _, err, output = stage(write_edf(tmp_path / "night.edf"), "--channels", "C4-M1")
    assert (code, len(err)) == (2, 1)
    assert all(part in err[0] for part in ("night.edf", "C4-M1", "EEG Fpz-Cz"))
    assert files_in(output) == []


def flat_edf(path, write_edf):
    return write_edf(path.with_suffix(".edf"), signals=[np.zeros(30_000)])


def nan_fif(path, write_edf):
    """A FIF file, since EDF cannot hold NaN."""
    raw = mne.io.RawArray(np.full((1, 30_000), np.nan), mne.create_info(["Fpz-Cz"], 100.0, "eeg"), verbose="error")
    raw.save(path.with_suffix(".fif"), verbose="error")
    return path.with_suffix(".fif")


@pytest.mark.filterwarnings("ignore:This filename:RuntimeWarning")
@pytest.mark.parametrize("make", [flat_edf, nan_fif])
def test_a_flat_signal_and_one_without_numbers_are_uns_throughout(stage, write_edf, tmp_path, make):
    code, out, err, output = stage(make(tmp_path / "flat", write_edf))
    assert (code, err) == (0, [])
    assert "none of them could be scored" in out
    frame = pd.read_csv(output / "flat_hypnogram.csv")
    assert set(frame["stage"]) == {"UNS"}
    assert frame["confidence"].isna().all()
    assert "10 of 10 epochs are flat" in out


def test_a_night_without_sleep_is_summed_up_without_what_it_has_not():
    night = Hypnogram(["W"] * 4, probabilities=np.tile([0.9, 0.1, 0, 0, 0], (4, 1)), channels=("Fpz-Cz",))
    assert describe("night", night) == "night: 4 epochs of Fpz-Cz; TST 0 min (N1 0 N2 0 N3 0 R 0), SE 0 %"


def test_a_missing_model_folder_is_named(stage, write_edf, tmp_path):
    code, _, err, output = stage(write_edf(tmp_path / "night.edf"), model=tmp_path / "no_model")
    assert (code, len(err)) == (2, 1)
    assert "no_model" in err[0]
    assert "expected a folder with a SleepViT checkpoint" in err[0]
    assert files_in(output) == []


def no_weights(folder):
    (folder / "model.safetensors").unlink()


def cut_weights(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def no_head(folder):
    AutoModel.from_pretrained(folder).save_pretrained(folder)


def wrong_type(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_size": "wide"}))


def another_model(folder):
    (folder / "config.json").write_text('{"model_type": "vit"}')


def no_extractor(folder):
    (folder / "preprocessor_config.json").unlink()


@pytest.mark.parametrize("damage", [no_weights, cut_weights, no_head, wrong_type, another_model, no_extractor])
def test_a_damaged_checkpoint_ends_with_one_line(stage, write_edf, tmp_path, tiny_checkpoints, damage):
    broken = tmp_path / "broken"
    shutil.copytree(tiny_checkpoints["sequence"], broken)
    damage(broken)
    code, _, err, output = stage(write_edf(tmp_path / "night.edf"), model=broken)
    assert code == 2
    assert len(err) == 1
    assert "broken" in err[0]
    assert files_in(output) == []


def test_a_misspelt_checkpoint_is_not_looked_for_on_the_hub(stage, write_edf, tmp_path):
    code, _, err, _ = stage(write_edf(tmp_path / "night.edf"), model="my_model")
    assert (code, len(err)) == (2, 1)
    assert "my_model: no such folder here" in err[0]


def test_a_file_that_cannot_be_written_does_not_stop_the_others(stage, write_edf, tmp_path):
    (tmp_path / "out" / "a_hypnogram.png").mkdir(parents=True)  # a folder stands where the picture should be
    code, _, err, output = stage(write_edf(tmp_path / "a.edf"), write_edf(tmp_path / "b.edf"))
    assert (code, len(err)) == (2, 1)
    assert "a.edf was not staged" in err[0]
    assert files_in(output) == ["a_hypnogram.png", "b_hypnogram.csv", "b_hypnogram.png", "summary.csv"]


def test_a_name_that_is_no_utf8_is_staged(stage, write_edf, tmp_path):
    path = tmp_path / os.fsdecode(b"n\xe4cht.edf")
    write_edf(tmp_path / "night.edf").rename(path)
    code, _, err, output = stage(path)
    assert (code, err) == (0, [])
    assert "n\ufffdcht_hypnogram.png" in files_in(output)


def test_a_folder_without_recordings_is_named_and_does_not_stop_the_others(stage, write_edf, tmp_path):
    (tmp_path / "nothing").mkdir()
    code, _, err, output = stage(tmp_path / "nothing")
    assert (code, len(err), files_in(output)) == (2, 1, [])
    assert "nothing holds no recording" in err[0]
    code, _, err, output = stage(tmp_path / "nothing", write_edf(tmp_path / "night.edf"))
    assert (code, len(err)) == (2, 1)
    assert "night_hypnogram.csv" in files_in(output)


def test_an_output_that_cannot_be_made_is_named(stage, write_edf, tmp_path):
    (tmp_path / "out").write_text("a file stands where the folder should be")
    code, _, err, _ = stage(write_edf(tmp_path / "night.edf"))
    assert (code, len(err)) == (2, 1)
    assert str(tmp_path / "out") in err[0]


def test_the_command_runs_as_a_process(write_edf, tmp_path, tiny_checkpoints):
    """One run from the shell: exit code and streams are those of the real command."""
    command = [sys.executable, "-m", "train_scripts.cli", "stage", "--model", str(tiny_checkpoints["sequence"])]
    good = [str(write_edf(tmp_path / "night.edf")), "--output", str(tmp_path / "out")]
    done = subprocess.run([*command, *good, str(tmp_path / "absent.edf")], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines() == [
        f"sleepvit: error: {tmp_path / 'absent.edf'} does not exist: expected a recording; check the path."
    ]


@pytest.mark.parametrize("argv", [["--help"], ["stage", "--help"]])
def test_help_tells_what_there_is(argv, capsys):
    with pytest.raises(SystemExit) as done:
        main(argv)
    assert done.value.code == 0
    assert "not a medical device" in " ".join(capsys.readouterr().out.split())


def test_an_unknown_command_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as done:
        main(["sleep"])
    assert done.value.code == 2

"""`sleepvit explain`: a picture of each chosen epoch, one table, and a sentence for what cannot be explained."""

import numpy as np
import pandas as pd
import pytest

from modeling_sleepvit import (
    SleepViTConfig,
    SleepViTFeatureExtractor,
    SleepViTForAudioClassification,
    read_recording,
)
from modeling_sleepvit.explain_sleepvit import explain_night
from modeling_sleepvit.recordings import recording_from_array
from modeling_sleepvit.stager import load_stager
from train_scripts.cli import main
from train_scripts.epoch_explanations import epoch_decibels, explain_epochs
from train_scripts.explanation_figure import ExplainedEpoch, explanation_figure

from ..conftest import eeg_like


COLUMNS = ["epoch", "onset_s", "stage", "target", "method", "band_low_hz", "band_high_hz", "second", "relevance"]


@pytest.fixture(scope="module")
def night(tmp_path_factory, write_edf):
    """20 epochs of noise, the fourth one flat."""
    signal = eeg_like(20 * 3000)
    signal[9000:12_000] = 0
    return write_edf(tmp_path_factory.mktemp("night") / "night.edf", signals=[signal], seconds=600)


@pytest.fixture
def explain(night, tiny_checkpoints, tmp_path, capsys):
    """Run `sleepvit explain` in-process; return exit code, the lines of stderr, the table and the pictures' names."""

    def run(*arguments, path=night, model="sequence"):
        output = tmp_path / "out"
        model = str(tiny_checkpoints.get(model, model))
        code = main(["explain", *map(str, (path, *arguments)), "--output", str(output), "--model", model])
        table = output / f"{path.stem}_explained.csv"
        pictures = sorted(file.name for file in output.glob(f"{path.stem}_explained/*"))
        return code, capsys.readouterr().err.splitlines(), pd.read_csv(table) if table.is_file() else None, pictures

    return run


def test_named_epochs_are_drawn_and_tabled(explain, night, tiny_checkpoints):
    code, err, table, pictures = explain("--epoch", 5, 0, 5, "--method", "integrated_gradients")
    assert (code, err, pictures) == (0, [], ["epoch_0000.png", "epoch_0005.png"])
    assert table.columns.tolist() == COLUMNS
    assert len(table) == 2 * 5 * 30
    assert table["epoch"].unique().tolist() == [5, 0]
    assert set(table["method"]) == {"integrated_gradients"}
    first = table[table["epoch"] == 5]
    assert (first["onset_s"] == 150).all()
    assert (first["stage"] == first["target"]).all()
    assert first["band_low_hz"].unique().tolist() == [0, 4, 8, 12, 16]
    assert first["band_high_hz"].unique().tolist() == [4, 8, 12, 16, 32]
    assert sorted(first["second"].unique()) == list(range(30))
    stager = load_stager(tiny_checkpoints["sequence"])
    prepared = stager.preprocess(read_recording(night))
    expected = explain_night(
        stager.model,
        prepared["input_values"][0],
        [5],
        target=first["target"].iloc[0],
        method="integrated_gradients",
        is_scorable=~prepared["is_unscorable"][0],
    )
    shown = first.pivot(index="band_low_hz", columns="second", values="relevance").to_numpy()
    np.testing.assert_allclose(shown, expected.relevance[0], rtol=1e-3, atol=1e-6)


def test_the_least_certain_epochs_come_first(explain, night, tiny_checkpoints):
    confidence = load_stager(tiny_checkpoints["sequence"])(str(night)).confidence
    code, _, table, pictures = explain("--uncertain", 3)
    assert (code, len(pictures)) == (0, 3)
    assert table["epoch"].unique().tolist() == np.argsort(confidence)[:3].tolist()


def test_epochs_of_a_stage_are_spread_over_the_night(explain, night, tiny_checkpoints):
    stages = load_stager(tiny_checkpoints["sequence"])(str(night)).stages
    stage = max(set(stages) - {"UNS"}, key=stages.tolist().count)
    of_stage = np.flatnonzero(stages == stage)
    code, _, table, _ = explain("--stage", {"R": "REM"}.get(stage, stage), "--at-most", 3)
    assert code == 0
    chosen = table["epoch"].unique()
    assert len(chosen) == min(3, len(of_stage))
    assert {of_stage[0], of_stage[-1]} <= set(chosen) <= set(of_stage)


def test_of_several_channels_that_vote_the_first_is_explained_and_named(tiny_checkpoints, write_edf, tmp_path, capsys):
    signals = [eeg_like(6000), np.append(eeg_like(3000), np.zeros(3000))]
    path = write_edf(tmp_path / "two.edf", labels=("EEG C3-A2", "EEG C4-A1"), signals=signals, seconds=60)
    chosen = ("--epoch", "1", "--channels", "C3-M2,C4-M1", "--output", str(tmp_path))
    assert main(["explain", str(path), *chosen, "--model", str(tiny_checkpoints["sequence"])]) == 0
    out = capsys.readouterr().out
    assert "two: 1 epoch explained by" in out
    assert "Explained from EEG C3-A2 alone, the first of 2 channels that voted." in out
    assert 'Channel "EEG C4-A1" is flat in 1 of 2 epochs, in which it had no vote.' in out


def test_what_only_another_channel_could_score_is_not_chosen(explain, write_edf, tmp_path):
    signals = [eeg_like(6 * 3000), eeg_like(6 * 3000, seed=1)]
    signals[0][3000:6000] = 0
    path = write_edf(tmp_path / "two.edf", labels=("EEG C4-A1", "EEG C3-A2"), signals=signals, seconds=180)
    channels = ("--channels", "C4-M1,C3-M2")
    code, err, table, _ = explain("--uncertain", 6, *channels, path=path)
    assert (code, err) == (0, [])
    assert sorted(table["epoch"].unique()) == [0, 2, 3, 4, 5]
    for stage in table["stage"].unique():
        code, err, table, _ = explain("--stage", stage, *channels, path=path)
        assert (code, err) == (0, [])
        assert 1 not in set(table["epoch"])


def test_of_channels_read_together_the_one_at_fault_is_named(explain, write_edf, tmp_path):
    signals = [eeg_like(2 * 3000), eeg_like(2 * 3000, seed=1)]
    signals[1][3000:] = 0
    path = write_edf(tmp_path / "two.edf", labels=("EEG C4-A1", "EEG C3-A2"), signals=signals, seconds=60)
    code, err, _, _ = explain("--epoch", 1, "--channels", "C4-M1,C3-M2", path=path, model="two channels")
    assert (code, len(err)) == (2, 1)
    assert "the signal of EEG C3-A2 in epoch 1 is flat" in err[0]


def test_a_model_that_cannot_be_explained_is_refused_before_the_night_is_staged(explain, tmp_path):
    """The night holds no EOG, so that staging it would fail for another reason."""
    config = SleepViTConfig(num_eog_channels=1, num_frames=5, hidden_size=8, num_hidden_layers=1)
    SleepViTForAudioClassification(config).save_pretrained(tmp_path / "eog")
    SleepViTFeatureExtractor(num_eog_channels=1).save_pretrained(tmp_path / "eog")
    code, err, _, _ = explain("--epoch", 1, model=tmp_path / "eog")
    assert (code, len(err)) == (2, 1)
    assert (
        "explain needs a model that reads the spectrogram of the EEG alone, found one that reads the EOG, too"
        in err[0]
    )


def test_another_stage_can_be_the_target(explain):
    _, _, table, _ = explain("--epoch", 2, "--target", "S2")
    assert set(table["target"]) == {"N2"}


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--epoch", 20), ["night.edf has no epoch 20: expected 0 to 19"]),
        (("--epoch", -1), ["night.edf has no epoch -1"]),
        (("--epoch", 3), ["night.edf", "EEG Fpz-Cz in epoch 3 is flat", "choose another epoch"]),
        (("--stage", "N9"), ["unknown sleep stage 'N9'"]),
        (("--stage", "UNS"), ["UNS is no stage that a model decides for: expected one of W, N1, N2, N3, R"]),
        (("--epoch", 2, "--target", "UNS"), ["UNS is no stage that a model decides for"]),
        (("--epoch", 2, "--method", "guess"), ["no method 'guess': expected one of rollout"]),
        (("--epoch", 2, "--target", "N9"), ["unknown sleep stage 'N9'"]),
        (("--epoch", 2, "--channels", "C4-M1"), ["night.edf", "C4-M1", "EEG Fpz-Cz"]),
    ],
)
def test_a_mistake_ends_with_one_sentence(explain, arguments, parts):
    code, err, table, pictures = explain(*arguments)
    assert (code, len(err), table, pictures) == (2, 1, None, [])
    assert all(part in err[0] for part in parts), err


def test_a_stage_that_does_not_occur_is_named_beside_those_that_do(explain, night, tiny_checkpoints):
    stages = set(load_stager(tiny_checkpoints["sequence"])(str(night)).stages) - {"UNS"}
    missing = sorted({"W", "N1", "N2", "N3", "R"} - stages)[0]
    code, err, _, _ = explain("--stage", missing)
    assert (code, len(err)) == (2, 1)
    assert f"staged {missing}: expected one of" in err[0]
    assert all(stage in err[0].split("expected one of")[1] for stage in stages)


@pytest.mark.parametrize(
    "arguments",
    [(), ("--uncertain", "0"), ("--epoch", "1", "--uncertain", "2"), ("--epoch", "1", "--at-most", "3")],
)
def test_what_to_explain_must_be_said_once(explain, arguments):
    with pytest.raises(SystemExit) as done:
        explain(*arguments)
    assert done.value.code == 2


@pytest.mark.parametrize("kind", ["sequence", "epoch", "center"])
def test_the_picture_has_one_time_axis_and_true_hertz(night, tiny_checkpoints, kind):
    stager, recording = load_stager(tiny_checkpoints[kind]), read_recording(night)
    hypnogram, prepared = stager(recording), stager.preprocess(recording)
    explanation = explain_epochs(stager, prepared, hypnogram, [7, 8])
    decibels = epoch_decibels(recording, [7, 8], 30)
    figure = explanation_figure(ExplainedEpoch(recording, hypnogram, explanation, 1, 8, decibels[1]))
    eeg, seconds, spectrum, bands, probabilities, *neighbours = figure.axes
    assert {axes.get_xlim() for axes in (eeg, seconds, spectrum, bands)} == {(0, 30)}
    assert spectrum.get_ylim() == bands.get_ylim() == (0, 32)
    assert bands.get_yticks().tolist() == [0, 4, 8, 12, 16, 32]
    mesh = bands.collections[0]
    np.testing.assert_allclose(mesh.get_array(), explanation.relevance[1])
    assert mesh.get_coordinates()[:, 0, 1].tolist() == [0, 4, 8, 12, 16, 32]
    np.testing.assert_allclose([bar.get_height() for bar in seconds.patches], explanation.relevance[1].sum(axis=0))
    uv = recording.signals[0, 8 * 3000 : 9 * 3000]
    np.testing.assert_allclose(eeg.lines[0].get_ydata(), uv - np.median(uv))
    assert "epoch 8" in figure.get_suptitle()
    assert [bar.get_width() for bar in probabilities.patches] == pytest.approx(
        hypnogram.probabilities[8, [3, 2, 1, 4, 0]]
    )
    has_neighbours = any("min before and after" in axes.get_xlabel() for axes in neighbours)
    assert has_neighbours == (kind != "epoch")


def test_the_spectrogram_of_an_epoch_is_in_decibels_of_the_power_density():
    wave = 20 * np.sin(2 * np.pi * 10 * np.arange(2 * 30 * 125) / 125)
    wave[30 * 125 :] = 0
    decibels = epoch_decibels(recording_from_array(wave, 125), [1, 0], epoch_seconds=30)
    assert decibels.shape == (2, 32, 30)
    assert np.isnan(decibels[0]).all()
    np.testing.assert_allclose(decibels[1, 10], 10 * np.log10(181.48), atol=0.01)

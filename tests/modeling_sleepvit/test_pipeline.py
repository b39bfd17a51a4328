"""The pipeline: every way in gives the same hypnogram, channels vote, what cannot be scored is UNS."""

import mne
import numpy as np
import pytest
import torch
from transformers import AutoModel, pipeline

from modeling_sleepvit import Hypnogram, SleepViTError, SleepViTForAudioFrameClassification, read_recording
from modeling_sleepvit.embedded import embedded_checkpoint
from modeling_sleepvit.errors import CheckpointError
from modeling_sleepvit.night_staging import night_probabilities, sequence_starts
from modeling_sleepvit.stager import folder_or_id, load_stager


@pytest.fixture
def stager(tiny_checkpoints):
    return pipeline("sleep-staging", model=str(tiny_checkpoints["sequence"]))


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(scale=20, size=shape).astype(np.float32)


def test_every_way_in_gives_the_same_hypnogram(stager, write_edf, tmp_path):
    path = write_edf(tmp_path / "night.edf")
    from_path = stager(str(path))
    assert isinstance(from_path, Hypnogram)
    assert (from_path.n_epochs, from_path.channels, from_path.recording) == (10, ("EEG Fpz-Cz",), "night")
    np.testing.assert_allclose(from_path.probabilities.sum(axis=1), 1, atol=1e-6)
    recording = read_recording(path)
    raw = mne.io.RawArray(
        recording.signals.astype(np.float64) * 1e-6, mne.create_info(["Fpz-Cz"], 100.0, "eeg"), verbose="error"
    )
    others = [stager(path), stager(recording), stager(raw), stager(recording.signals, sampling_rate=100)]
    others += stager([str(path), recording])
    for hypnogram in others:
        np.testing.assert_allclose(hypnogram.probabilities, from_path.probabilities, atol=1e-5)
    assert stager([]) == []


@pytest.mark.parametrize("kind", ["sequence", "center", "epoch"])
@pytest.mark.parametrize("n_epochs", [1, 2, 7, 8, 21])
def test_nights_of_any_length_are_staged_by_any_model(kind, n_epochs, tiny_checkpoints):
    hypnogram = load_stager(tiny_checkpoints[kind])(noise(n_epochs * 3000), sampling_rate=100)
    assert hypnogram.n_epochs == n_epochs
    assert np.isfinite(hypnogram.probabilities).all()


def test_channels_vote(stager):
    signals = noise(2, 30_000)
    both = stager(signals, sampling_rate=100)
    each = [stager(signal, sampling_rate=100).probabilities for signal in signals]
    np.testing.assert_allclose(both.probabilities, np.mean(each, axis=0), atol=1e-6)
    assert both.channels == ("channel 1", "channel 2")


def test_a_two_channel_model_reads_its_channels_together(tiny_checkpoints):
    stager = load_stager(tiny_checkpoints["two channels"])
    assert stager(noise(2, 30_000), sampling_rate=100).n_epochs == 10
    with pytest.raises(SleepViTError, match="reads 2 channels together, found 1"):
        stager(noise(30_000), sampling_rate=100)


def test_channels_are_picked_by_name(stager, write_edf, tmp_path):
    path = write_edf(tmp_path / "psg.edf", labels=("EEG C4-A1", "EEG C3-A2", "EOG left"))
    assert stager(path).channels == ("EEG C4-A1",)
    assert stager(path, channels=["C3-M2", "C4-M1"]).channels == ("EEG C3-A2", "EEG C4-A1")
    with pytest.raises(SleepViTError, match=r"psg\.edf.*Fz"):
        stager(path, channels="Fz")


def test_the_incomplete_last_epoch_is_dropped_and_said_so(stager):
    hypnogram = stager(noise(3000 * 4 + 1234), sampling_rate=100)
    assert hypnogram.n_epochs == 4
    assert any("last 12.3 s are no whole epoch" in note for note in hypnogram.notes)


def test_flat_and_missing_epochs_are_uns(stager):
    signal = noise(30_000)
    signal[3000:6000] = 0
    signal[9000:12000] = np.nan
    hypnogram = stager(signal, sampling_rate=100)
    assert list(np.flatnonzero(hypnogram.stages == "UNS")) == [1, 3]
    assert np.isnan(hypnogram.confidence[[1, 3]]).all()
    assert any("2 of 10 epochs are flat" in note for note in hypnogram.notes)


def test_a_dead_channel_does_not_vote(stager):
    signals = noise(2, 30_000)
    signals[1, :15_000] = 0
    alive = stager(signals[0], sampling_rate=100)
    both = stager(signals, sampling_rate=100)
    assert "UNS" not in both.stages
    np.testing.assert_allclose(both.probabilities[:5], alive.probabilities[:5], atol=1e-6)
    assert 'Channel "channel 2" is flat in 5 of 10 epochs, in which it had no vote.' in both.notes
    signals[:, :3000] = 0
    none_in_one = stager(signals, sampling_rate=100).notes
    assert "1 of 10 epochs are flat, clipped or not finite in every channel: UNS." in none_in_one


def test_a_model_in_training_mode_is_put_to_eval(tiny_checkpoints, stager):
    model = SleepViTForAudioFrameClassification.from_pretrained(tiny_checkpoints["sequence"]).train()
    handed_over = pipeline("sleep-staging", model=model, feature_extractor=stager.feature_extractor)
    assert not handed_over.model.training


@pytest.mark.parametrize(
    ("inputs", "arguments", "error", "message"),
    [
        (noise(3000), {}, SleepViTError, "sampling rate"),
        (noise(3000), {"sampling_rate": 20}, SleepViTError, "sampled at 20 Hz, expected at least 64 Hz"),
        (noise(2000), {"sampling_rate": 100}, SleepViTError, "at least one epoch of 30 s, found 20 s"),
        (noise(3000), {"sampling_rate": 100, "chanels": "C4"}, TypeError, "takes channels.*found: chanels"),
        (42, {}, TypeError, "takes a path.*found: int"),
        (noise(3000), {"sampling_rate": 100, "overlap": 0}, ValueError, "whole number from 1 up, found: 0"),
    ],
)
def test_what_is_refused(stager, inputs, arguments, error, message):
    with pytest.raises(error, match=message):
        stager(inputs, **arguments)


def test_a_rate_that_contradicts_the_file_is_refused(stager, write_edf, tmp_path):
    with pytest.raises(SleepViTError, match=r"sampled at 100 Hz, but sampling_rate=200"):
        stager(write_edf(tmp_path / "night.edf"), sampling_rate=200)


def test_a_missing_checkpoint_is_one_sentence(tmp_path):
    for missing in (tmp_path / "nowhere", "./nowhere", "/nowhere", "nowhere"):
        with pytest.raises(CheckpointError, match="no such folder here: expected a folder with a SleepViT") as error:
            load_stager(missing)
        assert str(missing) in str(error.value)


def test_a_checkpoint_of_the_package_has_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert folder_or_id("sleepvit-sedf20-5s") == (embedded_checkpoint(), {})


def test_a_feature_extractor_of_another_model_is_refused(stager, tiny_checkpoints):
    extractor = type(stager.feature_extractor)(row_widths_hz=[1] * 32)
    with pytest.raises(SleepViTError, match="reads 20 rows, the feature extractor makes 32"):
        pipeline("sleep-staging", model=stager.model, feature_extractor=extractor)


@pytest.mark.parametrize("sampling_rate", [99.999, 100.0001, 100.05, 128.37])
@pytest.mark.parametrize("extra_samples", [-2, -1, 0, 1, 2])
def test_rates_that_are_no_whole_number_end_at_any_sample(stager, sampling_rate, extra_samples):
    n_samples = round(4 * 30 * sampling_rate) + extra_samples
    assert stager(noise(n_samples), sampling_rate=sampling_rate).n_epochs in (3, 4)


def test_a_tensor_is_as_good_as_an_array(stager):
    signal = torch.from_numpy(noise(9000))
    expected = stager(signal.numpy(), sampling_rate=100)
    assert stager(signal.requires_grad_(), sampling_rate=100) == expected
    assert stager(signal.bfloat16(), sampling_rate=100).n_epochs == 3


def test_probabilities_are_in_the_order_of_the_stages_whatever_the_models_is(stager):
    rows = torch.randn(10, 1, 20, 30)
    expected = night_probabilities(stager.model, rows)
    stager.model.config.label2id = {stage: index for index, stage in enumerate(["R", "N3", "N2", "N1", "W"])}
    torch.testing.assert_close(night_probabilities(stager.model, rows), expected.flip(-1))


def test_epochs_that_cannot_be_scored_lend_nothing_to_their_neighbours(stager):
    rows = torch.randn(10, 1, 20, 30)
    is_scorable = torch.ones(10, dtype=torch.bool)
    is_scorable[4] = False
    other = rows.clone()
    other[4] = 3
    masked = [night_probabilities(stager.model, night, is_scorable=is_scorable) for night in (rows, other)]
    torch.testing.assert_close(masked[0][is_scorable], masked[1][is_scorable])
    assert not torch.allclose(night_probabilities(stager.model, rows), night_probabilities(stager.model, other))


# Whole nights


@pytest.mark.parametrize(
    ("n_epochs", "length", "stride", "expected"),
    [(10, 4, 4, [0, 4, 6]), (8, 4, 4, [0, 4]), (4, 4, 2, [0]), (9, 4, 2, [0, 2, 4, 5])],
)
def test_sequences_cover_the_night_and_end_with_it(n_epochs, length, stride, expected):
    assert sequence_starts(n_epochs, length, stride) == expected


def test_overlapping_sequences_are_averaged(tiny_checkpoints):
    model = SleepViTForAudioFrameClassification.from_pretrained(tiny_checkpoints["sequence"])
    rows = torch.randn(11, 1, 20, 30)
    total, count = torch.zeros(11, 5), torch.zeros(11, 1)
    with torch.no_grad():
        for start in (0, 3):  # length 8, two sequences see each epoch: stride 4, the last one ends with the night
            total[start : start + 8] += model(rows[None, start : start + 8]).logits[0].softmax(dim=-1)
            count[start : start + 8] += 1
    torch.testing.assert_close(night_probabilities(model, rows, overlap=2), total / count)


def test_centre_models_score_every_epoch_with_its_neighbours(tiny_checkpoints):
    model = SleepViTForAudioFrameClassification.from_pretrained(tiny_checkpoints["center"])
    rows = torch.randn(5, 1, 20, 30)
    probabilities = night_probabilities(model, rows)
    with torch.no_grad():
        inside = model(rows[None, 1:4]).logits.softmax(dim=-1)[0]
        mask = torch.tensor([[0, 1, 1]])
        first = model(torch.stack([rows[0], rows[0], rows[1]])[None], attention_mask=mask).logits.softmax(dim=-1)[0]
    torch.testing.assert_close(probabilities[2], inside)
    torch.testing.assert_close(probabilities[0], first)


def test_the_encoder_of_a_checkpoint_loads_through_automodel(tiny_checkpoints):
    model = AutoModel.from_pretrained(tiny_checkpoints["sequence"])
    full = SleepViTForAudioFrameClassification.from_pretrained(tiny_checkpoints["sequence"])
    rows = torch.randn(1, 4, 1, 20, 5)
    with torch.no_grad():
        torch.testing.assert_close(model(rows).last_hidden_state, full.sleepvit(rows).last_hidden_state)

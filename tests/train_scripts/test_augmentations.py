"""Augmentation: each change has the extent in time and frequency that it claims, and filters are what filters are."""

import numpy as np
import pytest
import torch
from scipy import signal

from dataset_builders.night_rows import NightRows
from modeling_sleepvit import SleepViTFeatureExtractor
from train_scripts.augmentations import RowAugmentation


ROWS = torch.ones(6, 2, 20, 5)  # epochs, channels, rows, frames
NIGHT = NightRows("S1", "S1-1", ROWS.numpy(), np.zeros(6, dtype=np.int64))
SAMPLING_RATE = 100


def changes(**spreads) -> torch.Tensor:
    torch.manual_seed(0)
    return RowAugmentation(**spreads)(ROWS, NIGHT) - ROWS


def test_no_augmentation_changes_nothing():
    assert RowAugmentation()(ROWS, NIGHT) is ROWS


@pytest.mark.parametrize(
    ("name", "constant_over"),
    [("value_noise", ()), ("epoch_offset", (2, 3)), ("row_offset", (0, 3)), ("gain", (0, 1, 2, 3))],
)
def test_each_change_is_constant_where_it_says(name, constant_over):
    difference = changes(**{name: 0.5})
    for axis in range(4):
        is_constant = torch.allclose(difference.std(dim=axis), torch.tensor(0.0), atol=1e-6)
        assert is_constant == (axis in constant_over), axis


def test_the_spread_is_what_was_asked_for():
    torch.manual_seed(0)
    rows = torch.zeros(100, 1, 20, 5)
    difference = RowAugmentation(value_noise=0.25)(rows, NIGHT)
    assert difference.std().item() == pytest.approx(0.25, rel=0.03)


def test_dropped_bands_are_neighbouring_rows_of_a_whole_sequence():
    torch.manual_seed(0)
    augment = RowAugmentation(band_dropout=0.5)
    dropped = [(augment(ROWS, NIGHT) == 0) for _ in range(200)]
    firsts = [int(is_zero[0, 0, :, 0].nonzero()[0]) for is_zero in dropped if is_zero.any()]
    assert 70 < len(firsts) < 130
    assert set(firsts) == set(range(16))
    for is_zero in dropped:
        if is_zero.any():
            first = int(is_zero[0, 0, :, 0].nonzero()[0])
            assert is_zero[:, :, first : first + 5].all()
            assert is_zero.sum() == 5 * 6 * 2 * 5


def test_a_single_epoch_is_changed_too():
    augment = RowAugmentation(value_noise=0.1, epoch_offset=0.1, row_offset=0.1, gain=0.1)
    assert augment(ROWS[0], NIGHT).shape == ROWS[0].shape


@pytest.mark.parametrize("name", ["tilt", "low_pass", "high_pass", "noise_floor"])
def test_changes_of_the_signal_need_a_scaling_that_can_be_undone(name):
    for extractor in (None, SleepViTFeatureExtractor()):
        with pytest.raises(ValueError, match="need a feature extractor with scaling 'anchored'"):
            RowAugmentation(**{name: 0.1}, feature_extractor=extractor)


@pytest.fixture(scope="module")
def waveform():
    """Two channels of an hour, louder and slower every other five minutes."""
    rng = np.random.default_rng(0)
    white = rng.normal(scale=5, size=(2, SAMPLING_RATE * 3600))
    slow = signal.sosfilt(signal.butter(2, 3, fs=SAMPLING_RATE, output="sos"), white * 12)
    is_deep = np.arange(white.shape[1]) // (SAMPLING_RATE * 300) % 2
    return white + slow * np.where(is_deep, 3.0, 1.0)


@pytest.fixture(scope="module")
def extractor(waveform):
    extractor = SleepViTFeatureExtractor(scaling="anchored", own_share=0.5)
    unscaled = SleepViTFeatureExtractor(scaling="none")
    other = np.random.default_rng(1).normal(scale=3, size=waveform.shape)
    extractor.fit_profile(unscaled(night, SAMPLING_RATE)["input_values"] for night in (waveform, waveform + other))
    return extractor


class TestSignals:
    """What is done to scaled rows is what the feature extractor would have made of the changed waveform."""

    def night_of(self, waveform, extractor):
        rows = extractor(waveform, SAMPLING_RATE)["input_values"]
        return NightRows("S1", "S1-1", rows, np.zeros(len(rows), dtype=np.int64))

    def test_nothing_drawn_gives_the_rows_back(self, waveform, extractor):
        """Undoing the scaling and scaling again are inverse to each other."""
        night = self.night_of(waveform, extractor)
        augment = RowAugmentation(noise_floor=1e-9, feature_extractor=extractor)
        rows = torch.from_numpy(night.input_values)
        torch.testing.assert_close(augment(rows, night), rows, atol=1e-4, rtol=0)

    def test_a_filter_on_rows_is_a_filter_on_the_waveform(self, waveform, extractor, monkeypatch):
        night = self.night_of(waveform, extractor)
        gain = np.repeat(np.linspace(0, -1.0, 21)[None, :20], 2, axis=0)  # decades of power, falling with frequency
        augment = RowAugmentation(tilt=1.0, feature_extractor=extractor)
        monkeypatch.setattr(augment, "draw_filter", lambda channels, rows: gain)
        changed = augment(torch.from_numpy(night.input_values), night).numpy()

        edges = np.asarray(extractor.row_edges_hz)
        centres_hz = (edges[:-1] + edges[1:] - 1) / 2
        frequencies = np.fft.rfftfreq(waveform.shape[1], 1 / SAMPLING_RATE)
        amplitude = 10 ** (np.interp(frequencies, centres_hz, gain[0]) / 2)
        filtered = np.fft.irfft(np.fft.rfft(waveform) * amplitude, waveform.shape[1])
        expected = extractor(filtered, SAMPLING_RATE)["input_values"]
        before = np.abs(np.median(night.input_values - expected, axis=(0, 3)))
        after = np.abs(np.median(changed - expected, axis=(0, 3)))
        assert before.max() > 1, "the filter does nothing"
        # row 0 holds what leaks into it from below 1 Hz once the mean is off
        assert after[:, 1:].max() < 0.15
        assert after.mean() < 0.2 * before.mean()

    def test_white_noise_on_rows_is_white_noise_on_the_waveform(self, waveform, extractor, monkeypatch):
        night = self.night_of(waveform, extractor)
        unscaled = SleepViTFeatureExtractor(scaling="none")(waveform, SAMPLING_RATE)["input_values"]
        level = np.median(unscaled[:, :, extractor.is_level_row].mean(axis=2))
        noise_uv = 8.0
        power = noise_uv**2 / (SAMPLING_RATE / 2)  # uV^2/Hz, one-sided
        augment = RowAugmentation(noise_floor=1.0, feature_extractor=extractor)
        monkeypatch.setattr(augment, "draw_noise", lambda: power / 10**level)
        changed = augment(torch.from_numpy(night.input_values), night).numpy()
        noise = np.random.default_rng(2).normal(scale=noise_uv, size=waveform.shape)
        expected = extractor(waveform + noise, SAMPLING_RATE)["input_values"]
        before = np.abs(np.median(night.input_values - expected, axis=(0, 3)))
        after = np.abs(np.median(changed - expected, axis=(0, 3)))
        assert before.max() > 0.5, "the noise does nothing"
        assert after.max() < 0.2
        assert after.mean() < 0.3 * before.mean()

    def test_a_steep_low_pass_takes_the_upper_rows_of_a_whole_sequence(self, waveform, extractor):
        night = self.night_of(waveform, extractor)
        rows = torch.from_numpy(night.input_values)
        torch.manual_seed(0)
        n_kept = set()
        for _ in range(200):
            is_kept = RowAugmentation(low_pass=1.0, feature_extractor=extractor)(rows[:3], night) != 0
            by_row = is_kept.any(dim=0).any(dim=-1)
            for channel in by_row:
                assert torch.equal(channel, torch.arange(20) < channel.sum()), "not the upper rows"
                n_kept.add(int(channel.sum()))
        assert 20 in n_kept
        assert min(n_kept) >= 10

    @pytest.mark.parametrize("name", ["low_pass", "high_pass", "noise_floor"])
    def test_what_happens_by_chance_happens_as_often_as_asked_for(self, name, waveform, extractor):
        night = self.night_of(waveform, extractor)
        rows = torch.from_numpy(night.input_values[:1])
        augment = RowAugmentation(**{name: 0.3}, feature_extractor=extractor)
        torch.manual_seed(0)
        share = sum(not torch.allclose(augment(rows, night), rows, atol=1e-4) for _ in range(400)) / 400
        assert share == pytest.approx(0.3, abs=0.07)

    def test_a_tilt_is_smooth_and_differs_between_channels(self, waveform, extractor):
        augment = RowAugmentation(tilt=0.5, feature_extractor=extractor)
        torch.manual_seed(0)
        gain = augment.draw_filter(2, 20)
        assert np.abs(np.diff(gain[:, 1:16])).max() < 0.4 * np.ptp(gain)
        assert not np.allclose(gain[0], gain[1])

    def test_what_was_not_recorded_stays_so(self, waveform, extractor):
        waveform = waveform.copy()
        waveform[0, : SAMPLING_RATE * 30] = 0
        waveform[1] = 0
        night = self.night_of(waveform, extractor)
        augment = RowAugmentation(tilt=0.3, noise_floor=1.0, feature_extractor=extractor)
        changed = augment(torch.from_numpy(night.input_values), night)
        assert torch.isfinite(changed).all()
        assert not changed[0, 0].any()
        assert not changed[:, 1].any()
        assert changed[1:, 0].any()

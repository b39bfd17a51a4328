"""The feature extractor: units, rows, rates, scaling, and what it refuses."""

import numpy as np
import pytest
from scipy import signal
from transformers import AutoFeatureExtractor

from modeling_sleepvit import SleepViTConfig, SleepViTFeatureExtractor


def sine(frequency_hz, sampling_rate, seconds=30, amplitude_uv=20.0):
    return amplitude_uv * np.sin(2 * np.pi * frequency_hz * np.arange(int(seconds * sampling_rate)) / sampling_rate)


def noise(shape, seed=0):
    return np.random.default_rng(seed).normal(scale=20, size=shape).astype(np.float32)


@pytest.fixture
def published():
    return SleepViTFeatureExtractor.from_preset("published")


def test_published_power_of_a_sine(published):
    rows = published(sine(10, 125), sampling_rate=125)["input_values"]
    assert rows.shape == (1, 1, 20, 30)
    assert rows[0, 0, 10] == pytest.approx(np.full(30, 181.48), abs=0.01)
    assert rows[0, 0, [9, 11]] == pytest.approx(np.full((2, 30), 3.4), abs=0.05)


def test_a_dc_offset_has_no_power(published):
    rows = published(np.full(30 * 125, 50.0), sampling_rate=125)["input_values"]
    assert np.abs(rows).max() < 1e-6


def test_rows_above_16_hz_are_means_of_four(published):
    rows = published(sine(21, 100), sampling_rate=100)["input_values"]
    whole = SleepViTFeatureExtractor(row_widths_hz=[1] * 32, power_scale="linear", scaling="none")
    one_hertz = whole(sine(21, 100), sampling_rate=100)["input_values"]
    np.testing.assert_allclose(rows[:, :, 17], one_hertz[:, :, 20:24].mean(axis=2), rtol=1e-5)
    np.testing.assert_array_equal(rows[:, :, :16], one_hertz[:, :, :16])
    assert SleepViTFeatureExtractor().row_edges_hz == [*range(17), 20, 24, 28, 32]


def test_power_equals_scipy_epoch_by_epoch(published):
    waveform = noise(3 * 30 * 100)
    rows = published(waveform, sampling_rate=100)["input_values"]
    _, _, power = signal.spectrogram(waveform[3000:6000], 100, nperseg=100, noverlap=0, window=("tukey", 0.25))
    np.testing.assert_allclose(rows[1, 0, :16], power[:16], rtol=1e-4)


@pytest.mark.parametrize("sampling_rate", [64, 100, 125, 128.0, 200, 256, 500, 512])
def test_whole_rates_need_no_resampling(published, sampling_rate, monkeypatch):
    monkeypatch.setattr(signal, "resample_poly", lambda *args, **kwargs: pytest.fail("resampled"))
    rows = published(sine(10, sampling_rate), sampling_rate=sampling_rate)["input_values"]
    assert rows[0, 0, 10] == pytest.approx(np.full(30, 181.5), rel=0.01)


@pytest.mark.parametrize("sampling_rate", [99.5, 100.3, 199.97, 256.41])
def test_other_rates_are_resampled_and_lose_no_epoch(published, sampling_rate):
    rows = published(sine(10, sampling_rate, seconds=90), sampling_rate=sampling_rate)["input_values"]
    assert rows.shape == (3, 1, 20, 30)
    assert rows[1, 0, 10] == pytest.approx(np.full(30, 181.5), rel=0.01)


def test_shapes_of_waveforms_and_the_incomplete_last_epoch():
    extractor = SleepViTFeatureExtractor()
    continuous = noise((2, 100 * 75))
    rows = extractor(continuous, sampling_rate=100)["input_values"]
    assert (rows.shape, rows.dtype) == ((2, 2, 20, 30), np.float32)
    epochs = continuous[:, :6000].reshape(2, 2, 3000).swapaxes(0, 1)
    np.testing.assert_allclose(extractor(epochs, sampling_rate=100)["input_values"], rows, atol=1e-5)
    assert extractor(noise((4, 1, 500)), sampling_rate=100)["input_values"].shape == (4, 1, 20, 5)
    assert extractor(continuous, sampling_rate=100, return_tensors="pt")["input_values"].shape == (2, 2, 20, 30)


def test_robust_scaling_forgets_the_amplitude_and_centres_each_row():
    extractor = SleepViTFeatureExtractor()
    waveform = noise((2, 100 * 300))
    rows = extractor(waveform, sampling_rate=100)["input_values"]
    louder = extractor(waveform * np.array([[10.0], [0.1]]), sampling_rate=100)["input_values"]
    np.testing.assert_allclose(louder, rows, atol=2e-3)
    np.testing.assert_allclose(np.median(rows.swapaxes(1, 3).reshape(-1, 20, 2), axis=0), 0, atol=1e-3)
    assert rows.std() == pytest.approx(1.1, abs=0.2)
    assert np.abs(rows).max() <= 5


def test_flat_seconds_missing_values_and_constant_channels_do_not_blow_up():
    extractor = SleepViTFeatureExtractor()
    waveform = noise((3, 100 * 300))
    clean = extractor(waveform, sampling_rate=100)["input_values"]
    waveform[0, 6000:9000] = np.nan
    waveform[1, 3000:6000] = 7.0
    waveform[2] = 0.0
    rows = extractor(waveform, sampling_rate=100)["input_values"]
    assert np.isfinite(rows).all()
    assert not rows[2, 0].any()
    assert not rows[1, 1].any()
    assert not rows[:, 2].any()
    # what is left of a channel keeps its scale
    assert np.abs(rows[3:, :2] - clean[3:, :2]).mean() < 0.1


def test_a_row_without_signal_becomes_zero():
    sos = signal.butter(12, 20, fs=200, output="sos")
    waveform = signal.sosfiltfilt(sos, noise(200 * 300).astype(np.float64))  # nothing is left above 24 Hz
    rows = SleepViTFeatureExtractor()(waveform, sampling_rate=200)["input_values"]
    assert np.isfinite(rows).all()
    assert rows[:, :, :16].std() == pytest.approx(1.1, abs=0.2)


@pytest.mark.parametrize(
    ("waveform", "sampling_rate", "message"),
    [
        (noise(3000), None, "sampling_rate is required"),
        (noise(3000), "100", "must be a number in Hz, found: '100'"),
        (noise(3000), True, "must be a number in Hz"),
        (noise(3000), 20, "at least 64 Hz.*found: 20 Hz"),
        (noise(3000), -100, "at least 64 Hz"),
        (noise(3000), float("nan"), "at least 64 Hz"),
        (noise(2999), 100, r"at least one epoch of 30 s \(3000 samples at 100 Hz\), found: 2999 samples"),
        (noise((2, 1, 550)), 100, r"whole seconds per epoch, found: 550 samples at 100 Hz \(5.500 s\)"),
        (noise((1, 1, 1, 3000)), 100, r"found: \(1, 1, 1, 3000\)"),
    ],
)
def test_what_is_refused(waveform, sampling_rate, message):
    with pytest.raises(ValueError, match=message):
        SleepViTFeatureExtractor()(waveform, sampling_rate=sampling_rate)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"power_scale": "db"}, "'log' or 'linear', found: 'db'"),
        ({"scaling": "zscore"}, "'robust', 'anchored' or 'none', found: 'zscore'"),
        ({"scaling": "anchored", "power_scale": "linear"}, "needs power_scale 'log'"),
        ({"row_profile": [0.0]}, "row_profile must hold one value for each of 20 rows, found: 1"),
        ({"epoch_seconds": 0}, "whole seconds, 1 at least, found: 0"),
        ({"clip_at": -1}, "clip_at must be positive"),
        ({"representation": "wavelets"}, "must be 'spectrogram' or 'waveform'"),
        ({"representation": "waveform", "scaling": "anchored"}, "needs power_scale 'log' of a spectrogram"),
        ({"waveform_rate": 0}, "whole number of Hz"),
        ({"num_eog_channels": -1}, "num_eog_channels must be 0 at least"),
        ({"row_widths_hz": []}, "at least 1 Hz each"),
        ({"row_widths_hz": [1] * 33}, "32 Hz together at most"),
        ({"row_widths_hz": [0, 1]}, "at least 1 Hz each"),
    ],
)
def test_settings_that_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        SleepViTFeatureExtractor(**settings)


def test_anchored_scaling_keeps_what_tells_a_wakeful_recording_from_a_sleepy_one():
    """Half of a recording's own centre is taken off, where robust scaling takes all of it."""
    extractor = SleepViTFeatureExtractor(scaling="anchored")
    unscaled = SleepViTFeatureExtractor(scaling="none")
    white, slow = noise(100 * 300), np.cumsum(noise(100 * 300)) / 10
    extractor.fit_profile(unscaled(night, sampling_rate=100)["input_values"] for night in (white, slow))
    assert len(extractor.row_profile) == len(extractor.row_spread) == 20
    rows = {name: extractor(night, sampling_rate=100)["input_values"] for name, night in (("w", white), ("s", slow))}
    assert np.median(rows["s"][:, :, 1]) - np.median(rows["w"][:, :, 1]) > 0.5
    np.testing.assert_allclose(extractor(0.1 * slow, sampling_rate=100)["input_values"], rows["s"], atol=0.02)
    robust = SleepViTFeatureExtractor()
    assert np.median(robust(slow, sampling_rate=100)["input_values"][:, :, 1]) == pytest.approx(0, abs=1e-3)


def test_a_dead_channel_does_not_spoil_the_profile():
    unscaled = SleepViTFeatureExtractor(scaling="none")
    good, dead = (unscaled(night, sampling_rate=100)["input_values"] for night in (noise(9000), np.zeros(9000)))
    with_dead, without = SleepViTFeatureExtractor(scaling="anchored"), SleepViTFeatureExtractor(scaling="anchored")
    with_dead.fit_profile([dead, good])
    without.fit_profile([good])
    assert with_dead.to_dict() == without.to_dict()
    with pytest.raises(ValueError, match="needs a night with a signal from 0 to 32 Hz, found none"):
        without.fit_profile([dead])


def test_dead_seconds_of_a_night_do_not_move_the_profile():
    night = noise(100 * 300)
    off = np.concatenate([night, np.zeros(100 * 120)])  # the electrodes were taken off
    extractor, expected = SleepViTFeatureExtractor(scaling="anchored"), SleepViTFeatureExtractor(scaling="anchored")
    unscaled = extractor.without_scaling()
    extractor.fit_profile([unscaled(off, sampling_rate=100)["input_values"]])
    expected.fit_profile([unscaled(night, sampling_rate=100)["input_values"]])
    assert extractor.to_dict() == expected.to_dict()


def test_anchored_scaling_of_flat_seconds_and_dead_channels():
    profile = {"row_profile": [0.0] * 20, "row_spread": [0.5] * 20}
    extractor = SleepViTFeatureExtractor(scaling="anchored", **profile)
    waveform = noise((2, 100 * 300))
    waveform[0, :3000] = 0
    waveform[1] = 0
    rows = extractor(waveform, sampling_rate=100)["input_values"]
    assert np.isfinite(rows).all()
    assert not rows[0, 0].any()
    assert not rows[:, 1].any()
    with pytest.raises(ValueError, match="needs row_profile and row_spread: call fit_profile"):
        SleepViTFeatureExtractor(scaling="anchored")(waveform, sampling_rate=100)


class TestRowsThatWereNotRecorded:
    """With anchored scaling, what a filter or a low rate took away is 0, and the other rows do not notice."""

    @pytest.fixture
    def night(self):
        """Ten minutes of pink noise at 200 Hz."""
        spectrum = np.fft.rfft(noise(200 * 600).astype(np.float64))
        frequencies = np.fft.rfftfreq(200 * 600, 1 / 200)
        return np.fft.irfft(spectrum / np.maximum(frequencies, 0.3) ** 0.5, 200 * 600)

    @pytest.fixture
    def extractor(self, night):
        extractor = SleepViTFeatureExtractor(scaling="anchored")
        extractor.fit_profile([SleepViTFeatureExtractor(scaling="none")(night, sampling_rate=200)["input_values"]])
        return extractor

    def test_fifty_hz(self, night, extractor):
        expected = extractor(night, sampling_rate=200)["input_values"]
        rows = extractor(signal.resample_poly(night, 1, 4), sampling_rate=50)["input_values"]
        assert rows.shape == expected.shape
        assert not rows[:, :, 18:].any()  # 24 to 28 Hz reach over half the rate, 28 to 32 Hz lie above it
        assert np.abs(rows[:, :, :17] - expected[:, :, :17]).mean() < 0.05

    def test_a_night_at_fifty_hz_teaches_the_rows_that_it_has(self, night, extractor):
        unscaled = extractor.without_scaling()
        slow = unscaled(signal.resample_poly(night, 1, 4), sampling_rate=50)["input_values"]
        fresh = SleepViTFeatureExtractor(scaling="anchored")
        fresh.fit_profile([slow, unscaled(night, sampling_rate=200)["input_values"]])
        for name in ("row_profile", "row_spread"):
            assert getattr(fresh, name)[18:] == getattr(extractor, name)[18:], "of the other night alone"
        np.testing.assert_allclose(fresh.row_profile[:16], extractor.row_profile[:16], atol=0.05)

        refitted = SleepViTFeatureExtractor(scaling="anchored", row_profile=[9.0] * 20, row_spread=[0.5] * 20)
        refitted.fit_profile([slow])
        assert refitted.row_profile[18:] == [9.0] * 2, "what the nights do not hold was known before"
        np.testing.assert_allclose(refitted.row_profile[:16], extractor.row_profile[:16], atol=0.1)
        with pytest.raises(ValueError, match="a signal from 24 to 32 Hz, found none: take a night sampled faster"):
            SleepViTFeatureExtractor(scaling="anchored").fit_profile([slow])

    def test_a_low_pass(self, night, extractor):
        expected = extractor(night, sampling_rate=200)["input_values"]
        sos = signal.butter(8, 15, fs=200, output="sos")
        rows = extractor(signal.sosfiltfilt(sos, night), sampling_rate=200)["input_values"]
        assert not rows[:, :, 17:].any()
        assert np.abs(rows[:, :, :12] - expected[:, :, :12]).mean() < 0.1

    def test_what_is_only_weaker_stays(self, night, extractor):
        weaker = signal.sosfiltfilt(signal.butter(1, 25, fs=200, output="sos"), night)
        rows = extractor(weaker, sampling_rate=200)["input_values"]
        assert (rows != 0).mean() > 0.99

    def test_the_level_is_taken_from_1_to_16_hz(self, extractor):
        assert extractor.is_level_row.tolist() == [False] + [True] * 15 + [False] * 4
        assert SleepViTFeatureExtractor(row_widths_hz=[20], scaling="none").is_level_row.tolist() == [True]

    def test_lower_rates_are_refused(self, extractor):
        with pytest.raises(ValueError, match=r"at least 50 Hz.*found: 49 Hz"):
            extractor(noise(49 * 60), sampling_rate=49)


ANCHORED = SleepViTFeatureExtractor(scaling="anchored", row_profile=[0.1] * 20, row_spread=[0.5] * 20)


@pytest.mark.parametrize(
    "extractor", [SleepViTFeatureExtractor(), SleepViTFeatureExtractor.from_preset("published-1s"), ANCHORED]
)
def test_round_trip_through_the_auto_class(extractor, tmp_path):
    extractor.save_pretrained(tmp_path)
    SleepViTConfig().save_pretrained(tmp_path)
    loaded = AutoFeatureExtractor.from_pretrained(tmp_path)
    assert type(loaded) is SleepViTFeatureExtractor
    assert loaded.to_dict() == extractor.to_dict()
    waveform = noise(9000)
    np.testing.assert_array_equal(
        loaded(waveform, sampling_rate=100)["input_values"], extractor(waveform, sampling_rate=100)["input_values"]
    )


# EOG and waveforms


def test_eog_has_rows_of_its_own():
    extractor = SleepViTFeatureExtractor.from_preset("published-eog")
    eog = np.stack([sine(10, 50), sine(25, 50)])
    features = extractor(np.stack([sine(10, 125)] * 2), 125, eog_waveform=eog, eog_sampling_rate=50)
    assert features["input_values"].shape == (1, 2, 20, 30)
    rows = features["eog_values"]
    assert rows.shape == (1, 2, 26, 30)
    np.testing.assert_allclose(rows[0, 0, 10], 181.48, rtol=1e-3)
    assert rows[0, 0].argmax(axis=0).tolist() == [10] * 30
    robust = SleepViTFeatureExtractor(num_eog_channels=1)
    waveform, eog = noise(5 * 30 * 100), noise(5 * 30 * 100)
    features = robust(waveform, 100, eog_waveform=eog)
    assert np.median(features["eog_values"], axis=(0, 3)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("num_eog_channels", "eog", "message"),
    [
        (1, None, "expected 1 EOG channels, found none"),
        (0, noise(6000), "expected 0 EOG channels, found one"),
        (2, noise(6000), r"must hold 2 channels .*found: 1 channels"),
        (1, noise(30_000), r"as many epochs .*\(2 of 30 s\), found: 1 channels, 10 epochs"),
    ],
)
def test_an_eog_that_does_not_fit_is_refused(num_eog_channels, eog, message):
    with pytest.raises(ValueError, match=message):
        SleepViTFeatureExtractor(num_eog_channels=num_eog_channels)(noise(6000), 100, eog_waveform=eog)


def test_a_waveform_stays_one_second_by_second():
    extractor = SleepViTFeatureExtractor.from_preset("published-waveform")
    waveform = noise((2, 2 * 30 * 125))
    seconds = extractor(waveform, sampling_rate=125)["input_values"]
    assert seconds.shape == (2, 2, 125, 30)
    np.testing.assert_array_equal(seconds.swapaxes(2, 3).reshape(2, 2, -1)[1], waveform[:, 30 * 125 :])
    slower = extractor(np.sin(2 * np.pi * 3 * np.arange(30 * 250) / 250), sampling_rate=250)["input_values"]
    expected = np.sin(2 * np.pi * 3 * np.arange(30 * 125) / 125)
    np.testing.assert_allclose(slower[0, 0].T.ravel()[200:-200], expected[200:-200], atol=1e-2)


def test_a_scaled_waveform_has_unit_spread_whatever_its_gain_and_no_holes():
    extractor = SleepViTFeatureExtractor(representation="waveform", clip_at=4)
    waveform = noise(5 * 30 * 100)
    waveform[100:110] = np.nan
    seconds = extractor(waveform, sampling_rate=100)["input_values"]
    np.testing.assert_allclose(extractor(7 * waveform + 50, sampling_rate=100)["input_values"], seconds, atol=1e-4)
    assert np.isfinite(seconds).all()
    assert np.abs(seconds).max() <= 4
    assert seconds.std() == pytest.approx(1, abs=0.05)
    assert seconds[0, 0, :10, 1].tolist() == [0] * 10

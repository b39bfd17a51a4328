"""The multitaper spectrogram of a night: MNE's figures, true Hz edges, and gaps where there is no signal."""

import numpy as np
import pytest
from mne.time_frequency import psd_array_multitaper

from modeling_sleepvit.multitaper import multitaper_decibels
from modeling_sleepvit.recordings import recording_from_array


def test_it_equals_mne():
    epochs = np.cumsum(np.random.default_rng(0).normal(size=(6, 3000)), axis=1)  # steep, as EEG is: leakage would show
    decibels = multitaper_decibels(recording_from_array(epochs.ravel(), 100), n_epochs=6, epoch_seconds=30)
    power, frequencies = psd_array_multitaper(
        epochs, 100, fmax=31.99, bandwidth=1.0, normalization="full", verbose="error"
    )
    assert decibels.shape == (64, 6)
    for row in range(1, 64):  # MNE halves the power at 0 Hz
        is_inside = (frequencies >= row / 2) & (frequencies < (row + 1) / 2)
        expected = 10 * np.log10(power[:, is_inside].mean(axis=1))
        np.testing.assert_allclose(decibels[row], expected, atol=0.05)


def test_a_rhythm_lies_in_its_row_whatever_the_rate():
    for rate in (50, 99.5, 256):
        seconds = np.arange(int(65 * rate)) / rate
        recording = recording_from_array(20 * np.sin(2 * np.pi * 10.25 * seconds), rate)
        decibels = multitaper_decibels(recording, n_epochs=2, epoch_seconds=30)
        assert (np.nanargmax(decibels, axis=0) == 20).all()  # 10 to 10.5 Hz
        # a sine of 20 uV has 200 uV^2, spread over 1 Hz
        assert decibels[20, 0] == pytest.approx(10 * np.log10(200), abs=0.5)
        assert np.isnan(decibels[50:]).all() == (rate == 50)


def test_epochs_without_a_signal_are_gaps():
    signal = np.random.default_rng(0).normal(size=4 * 3000)
    signal[3000:6000] = 7.0
    signal[6500] = np.nan
    decibels = multitaper_decibels(recording_from_array(signal, 100), n_epochs=4, epoch_seconds=30)
    assert np.isfinite(decibels).all(axis=0).tolist() == [True, False, False, True]
    assert np.isnan(decibels).all(axis=0).tolist() == [False, True, True, False]

"""The multitaper spectrogram of a night: one column per epoch."""

import numpy as np
from scipy import fft, signal

from .feature_extraction_sleepvit import POWER_FLOOR
from .recordings import Recording
from .spectral_rows import to_whole_rate


TOP_FREQUENCY_HZ = 32
ROW_HZ = 0.5

HALF_BANDWIDTH_HZ = 0.5
"""Frequencies closer than this are averaged: for epochs of 30 s a time-bandwidth product of 15."""

LEAST_KEPT_SHARE = 0.9
"""Tapers that let more of their power leak out of the bandwidth are left out: 28 of 30 remain."""

_EPOCHS_AT_ONCE = 32


def multitaper_decibels(recording: Recording, n_epochs: int, epoch_seconds: float) -> np.ndarray:
    """Estimate the power density of each epoch with Slepian tapers, which leak less and scatter less than one window.

    Args:
        recording: its first channel is taken.
        n_epochs: epochs from the start of the recording.
        epoch_seconds: length of an epoch in s.

    Returns:
        (64, n_epochs) dB relative to 1 uV^2/Hz; row k is the mean from k / 2 to (k + 1) / 2 Hz; NaN above half the
        sampling rate, and throughout an epoch that is flat or has a sample that is not finite.

    Source:
        Thomson, Spectrum estimation and harmonic analysis, Proceedings of the IEEE 70:1055-1096 (1982); for sleep
        Prerau et al., Physiology 32:60-92 (2017), whose bandwidth of 1 Hz is taken.
    """
    waveform, rate = to_whole_rate(recording.signals[0], recording.sampling_rate)
    n_samples = int(epoch_seconds * rate)
    epochs = waveform[: n_epochs * n_samples].reshape(n_epochs, n_samples)
    epochs = np.where(np.isfinite(epochs).all(axis=1, keepdims=True), epochs, 0)
    epochs = signal.detrend(epochs, type="constant")
    product = HALF_BANDWIDTH_HZ * epoch_seconds
    tapers, kept_shares = signal.windows.dpss(n_samples, product, int(2 * product), return_ratios=True)
    tapers = tapers[kept_shares > LEAST_KEPT_SHARE].astype(np.float32)
    weights = kept_shares[kept_shares > LEAST_KEPT_SHARE].astype(np.float32)
    weights /= weights.sum()
    n_rows = int(TOP_FREQUENCY_HZ / ROW_HZ)
    row = np.floor(fft.rfftfreq(n_samples, 1 / rate) / ROW_HZ + 1e-6).astype(int)  # of each frequency
    starts = np.searchsorted(row, np.arange(min(n_rows, row[-1]) + 1))  # row[-1] holds half the rate alone
    decibels = np.full((n_rows, n_epochs), np.nan, dtype=np.float32)
    for first in range(0, n_epochs, _EPOCHS_AT_ONCE):
        part = epochs[first : first + _EPOCHS_AT_ONCE, None]  # (epochs, 1, samples)
        spectra = fft.rfft(part * tapers, workers=2)[..., : starts[-1]]
        power = np.einsum("etf,t->ef", spectra.real**2 + spectra.imag**2, weights) * (2 / rate)
        means = np.add.reduceat(power, starts[:-1], axis=1) / np.diff(starts)  # (epochs, rows)
        means[means <= POWER_FLOOR] = np.nan
        decibels[: means.shape[1], first : first + len(part)] = 10 * np.log10(means).T
    return decibels

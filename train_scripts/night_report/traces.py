"""The EEG of a whole night, small enough to lie inside a page."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from scipy import signal

from modeling_sleepvit.recordings import Recording


DISPLAY_RATE_HZ = 50
"""Holds what 0.3 to 20 Hz hold, and makes 1.9 MB of an 8 h night."""

LOWEST_HZ = 0.3
"""The AASM manual's high-pass for EEG."""

HIGHEST_HZ = 20
"""Where the resampling to 50 Hz begins to fall off."""

MISSING = -128
_LARGEST = 127
_SMALLEST_STEP_UV = 0.01


@dataclass(frozen=True)
class Traces:
    """The EEG of consecutive epochs as a page shows it.

    Args:
        values: (n_epochs, samples) int8 at `DISPLAY_RATE_HZ`; `MISSING` where the signal is not finite.
        step_uv: (n_epochs,) uV of one unit of `values`, of each epoch.
    """

    values: np.ndarray
    step_uv: np.ndarray


def display_traces(recording: Recording, n_epochs: int, epoch_seconds: float) -> Traces:
    """Filter, resample and round the EEG of a night for display.

    Args:
        recording: its first channel is taken, at 50 Hz or faster.
        n_epochs: epochs from the start of the recording.
        epoch_seconds: length of an epoch in s.

    Returns:
        the traces, 0.3 to 20 Hz; a 127th of the largest deflection of an epoch is as fine as they get.
    """
    waveform, rate = recording.signals[0], recording.sampling_rate
    is_missing = ~np.isfinite(waveform)
    waveform = np.where(is_missing, 0, waveform)
    ratio = Fraction(DISPLAY_RATE_HZ / rate).limit_denominator(10_000)
    waveform = signal.resample_poly(waveform, ratio.numerator, ratio.denominator)
    high_pass = signal.butter(2, LOWEST_HZ, "highpass", fs=DISPLAY_RATE_HZ, output="sos")
    n_samples = int(epoch_seconds * DISPLAY_RATE_HZ)
    uv = np.zeros(n_epochs * n_samples)  # resampling may end the last epoch a sample sooner
    filtered = signal.sosfiltfilt(high_pass, waveform)[: uv.size]
    uv[: len(filtered)] = filtered
    uv = uv.reshape(n_epochs, n_samples)
    step_uv = np.maximum(np.abs(uv).max(axis=1) / _LARGEST, _SMALLEST_STEP_UV)
    values = np.round(uv / step_uv[:, None]).astype(np.int8)
    gone = np.unique((np.flatnonzero(is_missing) / rate * DISPLAY_RATE_HZ).astype(int))
    values.reshape(-1)[gone[gone < values.size]] = MISSING
    return Traces(values, step_uv)

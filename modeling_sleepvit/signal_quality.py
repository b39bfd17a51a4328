"""Which epochs hold no EEG to score: no signal, a clipped one, or no number."""

import numpy as np

from .errors import RecordingError
from .recordings import checked_rate


_WINDOW_SECONDS = 1.0
_FLAT_SHARE_OF_TYPICAL = 0.01
_FLAT_UV = 0.1
_FLAT_SHARE_OF_EPOCH = 0.5
_CLIPPED_SHARE_OF_EPOCH = 0.2


FAULTS = ("not finite", "flat", "clipped")
"""What keeps an epoch from being scored."""


def epoch_faults(signal_uv: np.ndarray, sampling_rate: float, epoch_seconds: float = 30.0) -> np.ndarray:
    """Say what is wrong with each epoch of one channel.

    The typical amplitude is the upper quartile of the peak-to-peak amplitudes of all windows of 1 s, so that neither
    a wrong gain nor a channel that is dead for half of the night moves what counts as flat. An epoch is flat where
    more than half of its windows stay below 1 % of that, or below 0.1 uV; clipped where more than a fifth of its
    samples sit at its largest or smallest value; not finite where it holds a NaN or an infinity.

    Args:
        signal_uv: (n_samples,) one channel in uV; its calibration may be off by a factor of ten or more.
        sampling_rate: samples per second in Hz.
        epoch_seconds: length of an epoch in s; samples after the last whole epoch are left out.

    Returns:
        (n_epochs,) strings: one of `FAULTS`, or "" for an epoch that can be scored.

    Raises:
        RecordingError: the signal has more than one dimension, or the rate is not a positive number.
    """
    signal_uv = np.asarray(signal_uv, dtype=np.float32)
    if signal_uv.ndim != 1:
        raise RecordingError(f"the signal has shape {signal_uv.shape}: expected one channel, (n_samples,).")
    epoch_samples = checked_rate(sampling_rate, "the signal") * epoch_seconds
    n_epochs = int(signal_uv.size / epoch_samples + 1e-6)
    if n_epochs == 0:
        return np.zeros(0, dtype="<U10")
    # Epochs begin at rounded samples: a rate such as 128.2 Hz must not drift over a night.
    starts = np.round(np.arange(n_epochs) * epoch_samples).astype(np.int64)
    epochs = np.lib.stride_tricks.sliding_window_view(signal_uv, int(epoch_samples))[starts]  # (epochs, samples)
    not_finite = ~np.isfinite(epochs).all(axis=1)
    epochs[not_finite] = 0

    n_windows = max(1, int(epoch_seconds / _WINDOW_SECONDS))
    window_samples = epochs.shape[1] // n_windows
    windows = epochs[:, : n_windows * window_samples].reshape(n_epochs, n_windows, window_samples)
    amplitudes_uv = np.ptp(windows, axis=2)  # (epochs, windows)
    typical_uv = np.quantile(amplitudes_uv[~not_finite], 0.75) if not not_finite.all() else 0.0
    flat_windows = amplitudes_uv < max(_FLAT_UV, _FLAT_SHARE_OF_TYPICAL * typical_uv)
    flat = flat_windows.mean(axis=1) > _FLAT_SHARE_OF_EPOCH

    # Resampling and re-referencing ripple a plateau; a thousandth of the typical amplitude is still the same value.
    tolerance_uv = 1e-3 * typical_uv
    at_top = epochs >= epochs.max(axis=1, keepdims=True) - tolerance_uv
    at_bottom = epochs <= epochs.min(axis=1, keepdims=True) + tolerance_uv
    clipped = (at_top | at_bottom).mean(axis=1) > _CLIPPED_SHARE_OF_EPOCH
    return np.select([not_finite, flat, clipped], FAULTS, default="")

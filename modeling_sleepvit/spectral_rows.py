"""From waveforms to spectrogram rows, and the statistics of rows by which they are scaled."""

from fractions import Fraction

import numpy as np
from scipy import signal


EXTREMES = (10, 90)
"""Percentiles midway between which the centre of a row lies for anchored scaling. A night of much wake and one of
little both hold wake and deep sleep, so that this centre moves less with their shares than a median does."""

IQR_OF_NORMAL = 1.349
"""Interquartile range of a standard normal distribution: robust scaling then gives about unit variance."""


def one_hertz_power(epochs: np.ndarray, sampling_rate: int) -> np.ndarray:
    """Estimate the power density of every second.

    Args:
        epochs: (epochs, channels, samples) in uV, whole seconds.
        sampling_rate: Hz, a whole number, so that windows of 1 s give rows of 1 Hz.

    Returns:
        (epochs, channels, rows, seconds) in uV^2/Hz; row k is k Hz, up to half the sampling rate.

    Source:
        Chen et al. 2023: Tukey(0.25) window, constant detrend, one-sided density, no overlap.
    """
    # an infinite sample must give NaN for its second, without a warning from inside SciPy
    channels = (np.where(np.isfinite(channel), channel, np.nan) for channel in epochs.swapaxes(0, 1))
    window = {"window": ("tukey", 0.25), "nperseg": sampling_rate, "noverlap": 0, "detrend": "constant"}
    # one channel at a time fits into the processor's cache: for seven channels it takes half the time of all at once
    return np.stack([signal.spectrogram(channel, sampling_rate, **window)[2] for channel in channels], axis=1)


def with_rows_beyond(power: np.ndarray, n_rows: int) -> np.ndarray:
    """Add rows of NaN above half the sampling rate, where nothing was recorded.

    Args:
        power: (epochs, channels, rows of 1 Hz, seconds).
        n_rows: how many rows there are to be at least.

    Returns:
        (epochs, channels, rows of 1 Hz, seconds).
    """
    missing = max(0, n_rows - power.shape[2])
    return np.pad(power, ((0, 0), (0, 0), (0, missing), (0, 0)), constant_values=np.nan)


def frequency_cut(power: np.ndarray, row_widths_hz: list[int]) -> np.ndarray:
    """Average neighbouring 1 Hz rows: with the default widths, the paper's cut from 32 rows to 20.

    Args:
        power: (..., rows of 1 Hz, seconds); rows above the sum of the widths are left out.
        row_widths_hz: how many 1 Hz rows each new row covers, from 0 Hz upwards.

    Returns:
        (..., len(row_widths_hz), seconds).
    """
    starts = np.cumsum([0, *row_widths_hz[:-1]])
    sums = np.add.reduceat(power[..., : sum(row_widths_hz), :], starts, axis=-2)
    return sums / np.asarray(row_widths_hz, dtype=power.dtype)[:, None]


def robust_scale(rows: np.ndarray, clip_at: float) -> np.ndarray:
    """Centre each row of each channel on its median and divide by its interquartile range, over all epochs.

    Args:
        rows: (epochs, channels, rows, seconds); seconds that are NaN in any row are left out of the statistics.
        clip_at: bound of the result on both sides.

    Returns:
        the scaled rows, of the same shape; a row that is the same everywhere becomes 0, NaN stays NaN.
    """
    median, spread = robust_statistics(rows)
    return np.clip((rows - median[:, :, None]) / spread[:, :, None], -clip_at, clip_at)


def recording_level(rows: np.ndarray, is_level_row: np.ndarray) -> np.ndarray:
    """Find the level of each channel: the centre, over all seconds, of the mean log power of some rows.

    Args:
        rows: (epochs, channels, rows, seconds) log power.
        is_level_row: (rows,) bool, the rows that count.

    Returns:
        (channels, 1, 1).
    """
    return row_extremes(rows[:, :, is_level_row].mean(axis=2, keepdims=True)).mean(axis=0)[:, :, None]


def row_extremes(rows: np.ndarray) -> np.ndarray:
    """Find how low and how high each row of each channel goes.

    Args:
        rows: (epochs, channels, rows, seconds); seconds that are NaN in a row that holds numbers are left out.

    Returns:
        (2, channels, rows), the percentiles `EXTREMES` over all seconds; NaN for a row without any number.
    """
    return row_percentiles(rows, EXTREMES)


def robust_statistics(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the centre and the spread of each row of each channel.

    Args:
        rows: (epochs, channels, rows, seconds); seconds that are NaN in a row that holds numbers are left out.

    Returns:
        median and spread, each (channels, rows): the interquartile range over that of a standard normal distribution,
        infinite for a row that is the same everywhere. Both are NaN for a row without any number.
    """
    low, median, high = row_percentiles(rows, (25, 50, 75))
    spread = (high - low) / IQR_OF_NORMAL
    spread[spread <= np.finfo(np.float32).eps] = np.inf
    return median, spread


def row_percentiles(rows: np.ndarray, percentiles: tuple[float, ...]) -> np.ndarray:
    """Find percentiles of each row of each channel over all seconds.

    Args:
        rows: (epochs, channels, rows, seconds); seconds that are NaN in a row that holds numbers are left out.
        percentiles: from 0 to 100.

    Returns:
        (percentiles, channels, rows); NaN for a row without any number.
    """
    found = np.full((len(percentiles), *rows.shape[1:3]), np.nan, dtype=rows.dtype)
    for channel in range(rows.shape[1]):
        values = rows[:, channel]  # (epochs, rows, seconds)
        is_row = np.isfinite(values).any(axis=(0, 2))
        is_known = np.isfinite(values[:, is_row]).all(axis=1)  # (epochs, seconds)
        if is_row.any() and is_known.any():
            known = values[:, is_row].swapaxes(1, 2)[is_known]  # (seconds, rows)
            found[:, channel, is_row] = np.percentile(known, percentiles, axis=0)
    return found


def to_whole_rate(waveform: np.ndarray, sampling_rate: float) -> tuple[np.ndarray, int]:
    """Resample a waveform to the nearest whole sampling rate, or leave it as it is where the rate is whole.

    Args:
        waveform: (..., samples).
        sampling_rate: Hz.

    Returns:
        the waveform and its whole sampling rate in Hz.
    """
    whole_rate = round(sampling_rate)
    return resampled(waveform, sampling_rate, whole_rate), whole_rate


def resampled(waveform: np.ndarray, sampling_rate: float, target_rate: int) -> np.ndarray:
    """Resample a waveform, or leave it as it is where the rate is that already.

    Args:
        waveform: (..., samples).
        sampling_rate: Hz.
        target_rate: Hz, a whole number.

    Returns:
        the waveform at the target rate.
    """
    # coarser by less than 1 in 10,000, which is 1.5 s in a night at most, and far less for the rates there are
    ratio = Fraction(target_rate / sampling_rate).limit_denominator(10_000)
    return waveform if ratio == 1 else signal.resample_poly(waveform, ratio.numerator, ratio.denominator, axis=-1)

"""SIMULATED background EEG: noise whose spectrum drifts as it does in real nights.

A night's spectrum is that of the stage, plus what the night differs by from others, plus what changes from one 5 s to
the next. Noise of that spectrum is made in overlapping frames of 2 s, so that nothing clicks where epochs meet.
"""

from collections.abc import Iterator

import numpy as np
from scipy import signal

from modeling_sleepvit.stages import STAGES


BAND_EDGES_HZ = (0.2, 0.6, 1.2, 2, 3, 4, 6, 8, 9, 10, 11, 12, 13, 14, 15, 17, 20, 25, 30, 35, 40, 48)
"""Edges of the bands in which real spectra were measured, Hz."""

EPOCH_SECONDS = 30
_KNOT_SECONDS = 5
_LARGEST_SCORE = 2.5
_FRAMES_AT_ONCE = 1800


def log_band_power(windows: np.ndarray, sampling_rate: int) -> np.ndarray:
    """Measure the power density in bands.

    Args:
        windows: (n_windows, samples) in uV, 5 s or longer, since the lowest band begins at 0.2 Hz.
        sampling_rate: Hz.

    Returns:
        (n_windows, bands) log10 of uV^2/Hz; NaN for bands that reach beyond half the sampling rate.
    """
    frequencies, power = signal.periodogram(windows, sampling_rate, window="hann", detrend="linear", axis=-1)
    power = np.maximum(power, 1e-9)
    # the edges lie a hair lower: 0.6 Hz must not fall to either band by a rounding error
    edges = np.searchsorted(frequencies, [edge - 1e-6 for edge in BAND_EDGES_HZ if edge <= sampling_rate / 2])
    sums = np.add.reduceat(power, edges, axis=-1)[..., :-1]
    rows = np.full((*power.shape[:-1], len(BAND_EDGES_HZ) - 1), np.nan)
    rows[..., : len(edges) - 1] = np.log10(sums / np.diff(edges))
    return rows


def band_centres_hz() -> np.ndarray:
    """(bands,) middle of each band in Hz."""
    edges = np.array(BAND_EDGES_HZ)
    return (edges[:-1] + edges[1:]) / 2


def draw_night_offsets(rng: np.random.Generator, statistics: dict) -> dict[str, np.ndarray]:
    """Draw what one night differs by from the average night: in all stages alike, and in each stage besides.

    Args:
        rng: source of randomness.
        statistics: "spectrum" of `statistics.json`.

    Returns:
        (bands,) for each stage: log10 of a factor of the power.
    """
    common = _drawn(rng, statistics["night_components"])
    return {stage: common + _drawn(rng, statistics["stages"][stage]["night_components"]) for stage in STAGES}


def draw_spectrum(
    stages: np.ndarray, rng: np.random.Generator, statistics: dict, offsets: dict[str, np.ndarray]
) -> np.ndarray:
    """Draw how the spectrum of Fpz-Cz goes through the night.

    Args:
        stages: (n_epochs,) strings of `STAGES`.
        rng: source of randomness.
        statistics: "spectrum" of `statistics.json`.
        offsets: (bands,) added to the mean of each stage, log10 of a factor.

    Returns:
        (seconds + 1, bands) log10 of uV^2/Hz at every full second, from 0 s to the end.
    """
    described = statistics["stages"]
    indices = _moved_borders(np.array([STAGES.index(stage) for stage in stages]), rng)
    means = np.array([np.array(described[stage]["mean"]) + offsets[stage] for stage in STAGES])
    components = np.array([described[stage]["components"] for stage in STAGES])
    persistence = np.mean([described[stage]["persistence"] for stage in STAGES], axis=0)
    scores = np.empty((len(indices), len(persistence)))
    for component, over_an_epoch in enumerate(persistence):
        kept = over_an_epoch ** (_KNOT_SECONDS / EPOCH_SECONDS)
        fresh = _scores(rng, len(indices))
        fresh[1:] *= np.sqrt(1 - kept**2)  # the first one is drawn from the stationary distribution
        scores[:, component] = signal.lfilter([1], [1, -kept], fresh)
    knots = means[indices] + np.einsum("tc,tcb->tb", scores, components[indices])
    # the knots stand in the middle of their 5 s, so a stage changes within the 5 s around its border
    seconds = np.arange(len(stages) * EPOCH_SECONDS + 1)
    places = np.clip((seconds - _KNOT_SECONDS / 2) / _KNOT_SECONDS, 0, len(knots) - 1)
    low = np.minimum(places.astype(int), max(0, len(knots) - 2))
    high = np.minimum(low + 1, len(knots) - 1)
    weight = (places - low)[:, None]
    return (1 - weight) * knots[low] + weight * knots[high]


def shaped_noise(
    spectra: list[np.ndarray], common_shares: list[float], sampling_rate: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Make noise of a moving spectrum for several channels that share a part of it.

    Args:
        spectra: (seconds + 1, bands) log10 of uV^2/Hz for each channel.
        common_shares: part of each channel's power that is the same noise in all channels, 0 to 1.
        sampling_rate: Hz, a whole number.
        rng: source of randomness.

    Returns:
        for each channel (seconds * sampling_rate,) float32 in uV.

    Source:
        Griffin & Lim, IEEE TASSP 32:236-243 (1984): overlapping frames under a sine window, whose squares sum to 1.
    """
    frame_samples = 2 * sampling_rate
    frequencies = np.fft.rfftfreq(frame_samples, 1 / sampling_rate)
    weights = _interpolation_weights(frequencies)
    # above the bands that were measured the power goes on falling; 0 Hz is an offset, which an amplifier takes off
    falling = -2 * np.log10(np.maximum(frequencies / BAND_EDGES_HZ[-1], 1))
    scale = np.sqrt(sampling_rate * frame_samples / 4) * (frequencies > 0)
    window = np.sin(np.pi * (np.arange(frame_samples) + 0.5) / frame_samples)
    n_seconds = len(spectra[0]) - 1
    signals = [np.zeros((n_seconds + 2, sampling_rate), dtype=np.float32) for _ in spectra]
    for frames in _blocks(n_seconds + 1):
        common = _complex_noise(rng, frames, frequencies)
        for channel, spectrum, share in zip(signals, spectra, common_shares):
            own = _complex_noise(rng, frames, frequencies)
            amplitude = scale * 10 ** ((spectrum[frames] @ weights + falling) / 2)
            coefficients = amplitude * (np.sqrt(share) * common + np.sqrt(1 - share) * own)
            pieces = np.fft.irfft(coefficients, frame_samples, axis=1) * window
            # the frame of second t reaches from t - 1 to t + 1
            channel[frames] += pieces[:, :sampling_rate]
            channel[frames.start + 1 : frames.stop + 1] += pieces[:, sampling_rate:]
    return [channel[1:-1].ravel() for channel in signals]


def _moved_borders(indices: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turn what epochs hold (n_epochs,) into what their knots hold (n_epochs * knots,).

    Sleep does not wait for the border of an epoch; the scorer gives the epoch to the stage that fills most of it.
    """
    knots_per_epoch = EPOCH_SECONDS // _KNOT_SECONDS
    borders = np.flatnonzero(np.diff(indices)) + 1
    furthest = (knots_per_epoch - 1) // 2
    starts = borders * knots_per_epoch + rng.integers(-furthest, furthest, len(borders), endpoint=True)
    edges = np.concatenate([[0], starts, [len(indices) * knots_per_epoch]])
    return np.repeat(indices[np.concatenate([[0], borders])], np.diff(edges))


def _blocks(n_frames: int) -> Iterator[slice]:
    """Cut a night into blocks of half an hour: the spectra of a long one would not fit into memory at once."""
    for start in range(0, n_frames, _FRAMES_AT_ONCE):
        yield slice(start, min(start + _FRAMES_AT_ONCE, n_frames))


def _complex_noise(rng: np.random.Generator, frames: slice, frequencies: np.ndarray) -> np.ndarray:
    shape = frames.stop - frames.start, len(frequencies)
    return rng.standard_normal(shape, dtype=np.float32) + 1j * rng.standard_normal(shape, dtype=np.float32)


def _interpolation_weights(frequencies: np.ndarray) -> np.ndarray:
    """(bands, frequencies) weights that turn values of the bands into values between their centres."""
    centres = band_centres_hz()
    return np.array([np.interp(frequencies, centres, unit) for unit in np.eye(len(centres))])


def _drawn(rng: np.random.Generator, components: list[list[float]]) -> np.ndarray:
    return _scores(rng, len(components)) @ np.array(components)


def _scores(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.clip(rng.standard_normal(n), -_LARGEST_SCORE, _LARGEST_SCORE)

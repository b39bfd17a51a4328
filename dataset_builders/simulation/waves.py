"""SIMULATED graphoelements: spindles, K-complexes, slow waves, alpha, eye movements, blinks and muscle.

How often they come, how long, how fast and how large they are is textbook knowledge rounded to a number, for a healthy
young adult; nothing here was measured. Each kind is drawn for a whole night as one track in uV at the electrode where
it is largest; `simulated_channels` says how much of it each channel sees.

Source:
    Iber et al., The AASM Manual for the Scoring of Sleep and Associated Events (2007), for the definitions;
    De Gennaro & Ferrara, Sleep Medicine Reviews 7:423-440 (2003), for spindles.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import signal

from .signals import EPOCH_SECONDS


_WAVES_AT_ONCE = 500


@dataclass(frozen=True)
class Wave:
    """A kind of wave.

    Args:
        per_minute: how many come in a minute of each stage.
        seconds: shortest and longest.
        peak_uv: smallest and largest, at the electrode where it is largest.
        shape: makes (n, samples) waves of peak 1 from place in the wave (n, samples), 0 to 1 inside and beyond that
            outside, their seconds (n, 1), and the random numbers.
        tail: how many times its seconds a wave goes on after its end.
        clustering: how unevenly the epochs of a stage share the waves, 0 for evenly: logarithmic standard deviation.
    """

    per_minute: dict[str, float]
    seconds: tuple[float, float]
    peak_uv: tuple[float, float]
    shape: Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]
    tail: float = 0.0
    clustering: float = 0.5


def _hump(place: np.ndarray) -> np.ndarray:
    """Rise and fall of a wave, 0 outside of it."""
    return np.where((place > 0) & (place < 1), np.sin(np.pi * np.clip(place, 0, 1)) ** 2, 0)


def _rhythm(low_hz: float, high_hz: float) -> Callable:
    def shape(place, seconds, rng):
        hertz, phase = rng.uniform(low_hz, high_hz, seconds.shape), rng.uniform(0, 2 * np.pi, seconds.shape)
        return np.sqrt(_hump(place)) * np.sin(2 * np.pi * hertz * place * seconds + phase)

    return shape


def _k_complex(place, seconds, rng):
    # a sharp negative wave, then a positive one that is slower and lower
    return -_hump(place / 0.38) + 0.6 * _hump((place - 0.3) / 0.7)


def _slow_wave(place, seconds, rng):
    return -_hump(place / 0.55) + 0.7 * _hump((place - 0.45) / 0.55)


def _blink(place, seconds, rng):
    return _hump(place**0.7) - 0.15 * _hump((place - 0.6) / 0.9)


def _slow_eye_movement(place, seconds, rng):
    side = rng.choice([-1, 1], seconds.shape)
    return side * np.sqrt(_hump(place)) * np.sin(2 * np.pi * place)


def _saccade(place, seconds, rng):
    # the eye jumps and stays; the amplifier's high-pass lets what it shows sink back
    side = rng.choice([-1, 1], seconds.shape)
    return np.where(place > 0, side * np.minimum(place / 0.06, 1) * np.exp(-np.maximum(place, 0) * 2.5), 0)


def _burst(place, seconds, rng):
    return np.sqrt(_hump(place))


WAVES = {
    "spindle": Wave({"N2": 4.0, "N3": 1.5}, (0.6, 1.8), (12, 34), _rhythm(12.2, 14.2)),
    "K-complex": Wave({"N2": 1.2}, (0.7, 1.1), (70, 130), _k_complex),
    "slow wave": Wave({"N2": 1.5, "N3": 22.0}, (0.8, 1.7), (40, 90), _slow_wave, clustering=0.3),
    "theta": Wave({"N1": 6.0, "N2": 2.0, "R": 5.0}, (0.6, 2.0), (8, 22), _rhythm(4.0, 6.5)),
    "sawtooth": Wave({"R": 1.5}, (1.5, 4.0), (10, 20), _rhythm(2.2, 4.0), clustering=1.0),
    "alpha": Wave({"W": 14.0, "N1": 2.0, "R": 0.6}, (0.8, 4.5), (15, 45), _rhythm(8.8, 10.8), clustering=1.0),
    "blink": Wave({"W": 9.0}, (0.25, 0.45), (60, 150), _blink, tail=0.5, clustering=1.2),
    "slow eye movement": Wave({"W": 0.8, "N1": 5.0}, (3.0, 6.0), (40, 110), _slow_eye_movement),
    "rapid eye movement": Wave({"W": 5.0, "R": 14.0}, (0.7, 1.3), (40, 140), _saccade, tail=1.0, clustering=1.2),
    "muscle": Wave({"W": 1.2, "N1": 0.3, "N2": 0.06, "N3": 0.02, "R": 0.05}, (1.0, 8.0), (8, 30), _burst),
    "twitch": Wave({"R": 2.0}, (0.1, 0.4), (10, 40), _burst, clustering=1.0),
}
"""Every kind of wave; "muscle" and "twitch" are envelopes of noise, see `muscle_noise`."""


def draw_waves(stages: np.ndarray, sampling_rate: int, rng: np.random.Generator, gain: float) -> dict[str, np.ndarray]:
    """Draw the waves of a night.

    Args:
        stages: (n_epochs,) strings of `STAGES`.
        sampling_rate: Hz, a whole number.
        rng: source of randomness.
        gain: factor by which this sleeper's waves are larger than the average one's.

    Returns:
        (samples,) float32 in uV for each kind of `WAVES`; envelopes are in uV of standard deviation.
    """
    return {name: gain * _draw_kind(wave, stages, sampling_rate, rng) for name, wave in WAVES.items()}


def muscle_noise(n_samples: int, sampling_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Make the noise that muscles add, from 15 Hz upwards.

    Args:
        n_samples: length.
        sampling_rate: Hz.
        rng: source of randomness.

    Returns:
        (n_samples,) float32 of standard deviation 1.
    """
    highpass = signal.butter(2, 15, "highpass", fs=sampling_rate, output="sos")
    noise = signal.sosfilt(highpass, rng.standard_normal(n_samples, dtype=np.float32))
    return (noise / np.sqrt(1 - 30 / sampling_rate)).astype(np.float32)


def arousals(stages: np.ndarray, sampling_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the movements that wake the sleeper or go with a change to lighter sleep.

    Args:
        stages: (n_epochs,) strings of `STAGES`.
        sampling_rate: Hz, a whole number.
        rng: source of randomness.

    Returns:
        (samples,) float32 envelope of the muscles in uV of standard deviation.
    """
    is_lighter = np.isin(stages[1:], ("W", "N1")) & np.isin(stages[:-1], ("N2", "N3", "R"))
    epochs = np.flatnonzero(is_lighter) + 1
    seconds = rng.uniform(3, 10, (len(epochs), 1))
    onsets_s = epochs * EPOCH_SECONDS + rng.uniform(0, 2, len(epochs))
    peaks_uv = rng.uniform(10, 35, (len(epochs), 1))
    return _placed(onsets_s, seconds, peaks_uv, 0.0, _burst, len(stages), sampling_rate, rng)


def _draw_kind(wave: Wave, stages: np.ndarray, sampling_rate: int, rng: np.random.Generator) -> np.ndarray:
    per_epoch = np.array([wave.per_minute.get(stage, 0) for stage in stages]) * EPOCH_SECONDS / 60
    # neighbouring epochs are alike: the unevenness is a slow walk through the night with mean 1
    walk = signal.lfilter([np.sqrt(1 - 0.8**2)], [1, -0.8], rng.standard_normal(len(stages)))
    per_epoch = per_epoch * np.exp(wave.clustering * walk - wave.clustering**2 / 2)
    # more than one after the other finds no room
    counts = np.minimum(rng.poisson(per_epoch), int(EPOCH_SECONDS / np.mean(wave.seconds)))
    n = counts.sum()
    seconds = rng.uniform(*wave.seconds, (n, 1))
    # a wave ends before its epoch does: what follows may be another stage
    onsets_s = np.repeat(np.arange(len(stages)), counts) * EPOCH_SECONDS
    onsets_s = onsets_s + rng.uniform(0, 1, n) * (EPOCH_SECONDS - seconds[:, 0])
    peaks_uv = rng.uniform(*wave.peak_uv, (n, 1))
    return _placed(onsets_s, seconds, peaks_uv, wave.tail, wave.shape, len(stages), sampling_rate, rng)


def _placed(
    onsets_s: np.ndarray,
    seconds: np.ndarray,
    peaks_uv: np.ndarray,
    tail: float,
    shape: Callable,
    n_epochs: int,
    sampling_rate: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Add waves up on a track of a whole night."""
    n_samples = n_epochs * EPOCH_SECONDS * sampling_rate
    track = np.zeros(n_samples, dtype=np.float32)
    for first in range(0, len(onsets_s), _WAVES_AT_ONCE):
        part = slice(first, first + _WAVES_AT_ONCE)
        length = np.arange(int(np.ceil(seconds[part].max() * (1 + tail) * sampling_rate)))
        waves = peaks_uv[part] * shape(length / (seconds[part] * sampling_rate), seconds[part], rng)
        places = (onsets_s[part, None] * sampling_rate).astype(np.int64) + length
        inside = places < n_samples
        np.add.at(track, places[inside], waves[inside].astype(np.float32))
    return track

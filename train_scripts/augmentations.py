"""Random changes of spectrogram rows during training: what other amplifiers, montages and sleepers do to them."""

from dataclasses import dataclass

import numpy as np
import torch

from dataset_builders.night_rows import NightRows
from modeling_sleepvit import SleepViTFeatureExtractor
from modeling_sleepvit.spectral_rows import row_extremes


N_CURVES = 4
LOW_PASS_HZ = (10.0, 35.0)
HIGH_PASS_HZ = (0.2, 1.2)
STEEPEST_LOW_PASS = 8
SAMPLE_EPOCHS = 100
"""By so many epochs, spread over the night, it is judged how noise moves a night's centres."""

NOISE_DECADES = (-2.2, 0.3)
"""Power of added white noise, as decades above the recording's level between 1 and 16 Hz."""


@dataclass
class RowAugmentation:
    """Changes rows at random; a factor on the signal's amplitude is a shift of rows of log power.

    Args:
        value_noise: standard deviation of noise on every single value, in units of the scaled rows.
        epoch_offset: of a shift common to all rows of an epoch: the amplitude of one epoch.
        row_offset: of a shift of each row that holds for the whole sequence: another amplifier or sleeper.
        gain: of a factor, around 1, on a whole sequence: another spread of the night's rows.
        tilt: of each of four smooth curves over the logarithm of frequency, in decades of power, added for a whole
            sequence: spectral tilt and reweighting, as another reference brings them. This one and the next three
            change the signal before it is scaled, and need `feature_extractor`.
        low_pass: probability of a low-pass filter of random edge (10 to 35 Hz) and order for a whole sequence: another
            amplifier, or a low sampling rate.
        high_pass: probability of a high-pass filter of first order with a random edge (0.2 to 1.2 Hz).
        noise_floor: probability of white noise of random power: a noisier amplifier.
        band_dropout: probability that a run of neighbouring rows, a quarter of all, is 0 for a whole sequence: no
            stage should hang by one rhythm alone.
        feature_extractor: the one that made the rows, with anchored scaling.

    Raises:
        ValueError: a spread is negative, a probability is none, or the signal is to be changed but the scaling cannot
            be undone.
    """

    value_noise: float = 0.0
    epoch_offset: float = 0.0
    row_offset: float = 0.0
    gain: float = 0.0
    tilt: float = 0.0
    low_pass: float = 0.0
    high_pass: float = 0.0
    noise_floor: float = 0.0
    band_dropout: float = 0.0
    feature_extractor: SleepViTFeatureExtractor | None = None

    def __post_init__(self):
        for name in ("value_noise", "epoch_offset", "row_offset", "gain", "tilt"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more, found {getattr(self, name):g}")
        for name in ("low_pass", "high_pass", "noise_floor", "band_dropout"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be a probability, from 0 to 1, found {getattr(self, name):g}")
        self.changes_signal = any((self.tilt, self.low_pass, self.high_pass, self.noise_floor))
        if self.changes_signal and getattr(self.feature_extractor, "scaling", None) != "anchored":
            raise ValueError(
                "tilt, low_pass, high_pass and noise_floor need a feature extractor with scaling 'anchored'"
            )
        self._samples = {}

    def __call__(self, input_values: torch.Tensor, night: NightRows) -> torch.Tensor:
        """Change one training example at random, drawing from PyTorch's global generator.

        Args:
            input_values: (epochs, channels, rows, frames) of a sequence, or (channels, rows, frames) of one epoch.
            night: the whole night that it comes from.

        Returns:
            the changed rows, of the same shape.
        """
        *epochs, channels, rows, frames = input_values.shape
        changed = self.change_signal(input_values, night) if self.changes_signal else input_values
        if self.gain:
            changed = changed * (1 + self.gain * torch.randn(()))
        for spread, shape in (
            (self.value_noise, (*epochs, channels, rows, frames)),
            (self.epoch_offset, (*epochs, channels, 1, 1)),
            (self.row_offset, (channels, rows, 1)),
        ):
            if spread:
                changed = changed + spread * torch.randn(shape)
        if self.band_dropout and torch.rand(()) < self.band_dropout:
            width = max(1, rows // 4)
            first = int(torch.randint(rows - width + 1, ()))
            is_kept = torch.ones(rows, 1)
            is_kept[first : first + width] = 0
            changed = changed * is_kept
        return changed

    def change_signal(self, input_values: torch.Tensor, night: NightRows) -> torch.Tensor:
        """Undo the scaling, filter the signal and add noise to it, and scale it again as the whole night would be.

        Args:
            input_values: as for a call.
            night: the whole night.

        Returns:
            the changed rows: what the feature extractor would have made of the filtered, noisier night. Its level, a
            centre of means over rows, is taken to move by the mean of these rows' centres, which is close.
        """
        extractor = self.feature_extractor
        profile, spread = np.asarray(extractor.row_profile), np.asarray(extractor.row_spread)
        scaled = input_values.numpy()
        sample, scaled_extremes = self.sample_of(night)  # extremes: (2, channels, rows)
        # scaled = (levelled - anchor) / spread, anchor = own * centre + (1 - own) * profile, and so for the centre
        # itself, which lies midway between the extremes
        centre = profile + spread * scaled_extremes.mean(axis=0) / (1 - extractor.own_share)
        anchors = extractor.own_share * centre + (1 - extractor.own_share) * profile
        gain, noise = self.draw_filter(*centre.shape), self.draw_noise()

        def changed(scaled_rows: np.ndarray) -> np.ndarray:
            levelled = scaled_rows * spread[:, None] + (anchors + gain)[:, :, None]
            return np.log10(10**levelled + noise * self.draw_power(levelled.shape)) if noise else levelled

        if noise:
            new_centre = row_extremes(changed(sample)).mean(axis=0)
        else:
            new_centre = centre + gain
        new_centre = np.where(np.isfinite(new_centre), new_centre, centre)
        level_shift = (new_centre - centre)[:, extractor.is_level_row].mean(axis=1, keepdims=True)  # (channels, 1)
        new_rows = extractor.anchor(changed(scaled) - level_shift[:, :, None], new_centre - level_shift)
        # what was 0 because nothing was recorded stays so
        is_known = (scaled != 0).any(axis=-2, keepdims=True) & scaled_extremes.any(axis=0)[:, :, None]
        return torch.from_numpy(np.where(is_known, new_rows, 0).astype(np.float32))

    def draw_filter(self, n_channels: int, n_rows: int) -> np.ndarray:
        """Draw the gain of each channel and row in decades of power, (channels, rows)."""
        edges = np.asarray(self.feature_extractor.row_edges_hz)
        centres_hz = (edges[:-1] + edges[1:] - 1) / 2  # row k of 1 Hz stands for k Hz
        gain = np.zeros((n_channels, n_rows))
        if self.tilt:
            gain += self.tilt * torch.randn(n_channels, N_CURVES).numpy() @ smooth_curves(centres_hz)
        if self.low_pass and torch.rand(()) < self.low_pass:
            edge, order = _uniform_log(*LOW_PASS_HZ), int(torch.randint(1, STEEPEST_LOW_PASS + 1, ()))
            gain -= np.log10(1 + (centres_hz / edge) ** (2 * order))
        if self.high_pass and torch.rand(()) < self.high_pass:
            gain -= np.log10(1 + (_uniform_log(*HIGH_PASS_HZ) / np.maximum(centres_hz, 0.25)) ** 2)
        return gain

    def draw_noise(self) -> float:
        """Draw the power of added noise as a multiple of the recording's level, 0 for none."""
        if self.noise_floor and torch.rand(()) < self.noise_floor:
            low, high = NOISE_DECADES
            return 10 ** (low + (high - low) * float(torch.rand(())))
        return 0.0

    def draw_power(self, shape: tuple[int, ...]) -> np.ndarray:
        """Draw the power of white noise of mean 1 as a spectrogram estimates it, (..., rows, seconds).

        One estimate of 1 Hz is exponentially distributed; the mean of k of them has a gamma distribution.
        """
        widths = torch.tensor(self.feature_extractor.row_widths_hz, dtype=torch.float32)[:, None]
        return (torch._standard_gamma(widths.expand(shape).contiguous()) / widths).numpy()

    def sample_of(self, night: NightRows) -> tuple[np.ndarray, np.ndarray]:
        """Take some epochs of a night, NaN where nothing was recorded, and the extremes of all of its scaled rows.

        Args:
            night: the night.

        Returns:
            (epochs, channels, rows, frames), and (2, channels, rows) with 0 for a row that was not recorded.
        """
        if night.recording not in self._samples:
            rows = np.asarray(night.input_values[:])
            rows = np.where((rows != 0).any(axis=2, keepdims=True), rows, np.nan)
            step = max(1, len(rows) // SAMPLE_EPOCHS)
            self._samples[night.recording] = rows[::step], np.nan_to_num(row_extremes(rows))
        return self._samples[night.recording]


def smooth_curves(frequencies_hz: np.ndarray) -> np.ndarray:
    """Make the curves that tilts are sums of: cosines of half a period over six octaves from 0.5 Hz, one, and so on.

    Args:
        frequencies_hz: (rows,).

    Returns:
        (curves, rows), from -1 to 1.
    """
    octaves = np.log2(np.maximum(frequencies_hz, 0.5) * 2) / 6  # 0 at 0.5 Hz, 1 at 32 Hz
    return np.cos(np.pi * np.arange(1, N_CURVES + 1)[:, None] * octaves)


def _uniform_log(low: float, high: float) -> float:
    return low * (high / low) ** float(torch.rand(()))

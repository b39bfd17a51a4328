"""Feature extractor of SleepViT: waveform in uV -> spectrogram of 1 s windows -> frequency cut -> normalised rows.

The EOG, where a model reads it, goes the same way in rows of 1 Hz; for the raw-EEG model the waveform stays one.
"""

import copy
from collections.abc import Iterable
from numbers import Real
from pathlib import Path

import numpy as np
from transformers.feature_extraction_utils import BatchFeature, FeatureExtractionMixin
from transformers.utils import TensorType

from .hub_card import PushedWithCard
from .spectral_rows import (
    frequency_cut,
    one_hertz_power,
    recording_level,
    resampled,
    robust_scale,
    robust_statistics,
    row_extremes,
    with_rows_beyond,
)


LOWEST_SAMPLING_RATE = 64.0
"""Hz; the rows of the spectrogram reach up to 32 Hz."""

LOWEST_ANCHORED_RATE = 50.0
"""Hz; anchored scaling knows what to do with rows that a recording does not reach."""

LEVEL_HZ = (1, 16)
"""Hz; the level of a recording is taken where every laboratory records: above the high-pass, below the low-pass."""

NOT_RECORDED = 0.8
"""Decades of power below the training nights from which a row counts as filtered away."""

POWER_FLOOR = 1e-10
"""uV^2/Hz; far below any EEG, also at a hundredth of its amplitude, so that only a dead channel lies under it."""


class SleepViTFeatureExtractor(PushedWithCard, FeatureExtractionMixin):
    """Turns one recording into the `input_values` of the SleepViT models, epoch by epoch.

    Args:
        row_widths_hz: width of each row in Hz from 0 Hz upwards; a row is the mean of the 1 Hz rows it covers. The
            default, sixteen rows of 1 Hz and four of 4 Hz, is the paper's frequency cut from 32 rows to 20.
        epoch_seconds: length of one epoch in whole seconds.
        power_scale: "log" (log10 of the power density) or "linear" (uV^2/Hz, as published).
        scaling: "robust" centres each row of each channel on its median over the recording and divides by its
            interquartile range; "anchored" takes the level of the recording (1 to 16 Hz) off, centres each row
            between its own centre and that of the training nights, and divides by the spread of the training nights,
            so that a recording that is wake for the most part does not lose what tells wake from sleep. Rows that a
            filter or a low sampling rate took away become 0. "none" leaves the power as it is, as published.
        own_share: for "anchored", how far the centre goes from the training nights' to the recording's own, 0 to
            below 1.
        row_profile: for "anchored", the centre of each row over the training nights, relative to their level; see
            `fit_profile`.
        row_spread: for "anchored", the spread of each row over the training nights.
        clip_at: scaled values are clipped to [-clip_at, clip_at].
        representation: "spectrogram", or "waveform" for the raw-EEG model: each column is then one second, its rows
            the samples; `row_widths_hz` and `power_scale` do not count, and "robust" scaling is per channel.
        waveform_rate: Hz, a whole number, to which a "waveform" is resampled.
        num_eog_channels: EOG channels of the second input; 0 stands for EEG alone. Where the EEG's scaling is
            "anchored", that of the EOG is "robust".
        num_eog_rows: rows of 1 Hz of the EOG, from 0 Hz upwards.
        **kwargs: what Transformers stores beside the settings.

    Raises:
        ValueError: a setting is unknown.

    Source:
        Chen et al., IEEE TNSRE 31:1974-1985, 2023 (spectrogram and frequency cut); log power and robust scaling are
        this package's.
    """

    model_input_names = ["input_values"]

    _scaling_to_come: str | None = None
    """Of an extractor whose rows will be scaled by another one: the scaling of that one."""

    PRESETS = {
        "default": {},
        "published": {"power_scale": "linear", "scaling": "none"},
        "published-1s": {"power_scale": "linear", "scaling": "none", "row_widths_hz": [1] * 32},
        "published-eog": {"power_scale": "linear", "scaling": "none", "num_eog_channels": 2},
        "published-waveform": {"representation": "waveform", "waveform_rate": 125, "scaling": "none"},
    }

    def __init__(
        self,
        row_widths_hz: list[int] | None = None,
        epoch_seconds: int = 30,
        power_scale: str = "log",
        scaling: str = "robust",
        own_share: float = 0.75,
        row_profile: list[float] | None = None,
        row_spread: list[float] | None = None,
        clip_at: float = 5.0,
        representation: str = "spectrogram",
        waveform_rate: int = 100,
        num_eog_channels: int = 0,
        num_eog_rows: int = 26,
        **kwargs,
    ):
        if representation not in ("spectrogram", "waveform"):
            raise ValueError(f"representation must be 'spectrogram' or 'waveform', found: {representation!r}")
        if power_scale not in ("log", "linear"):
            raise ValueError(f"power_scale must be 'log' or 'linear', found: {power_scale!r}")
        if scaling not in ("robust", "anchored", "none"):
            raise ValueError(f"scaling must be 'robust', 'anchored' or 'none', found: {scaling!r}")
        if scaling == "anchored" and (power_scale != "log" or representation != "spectrogram"):
            raise ValueError(
                "scaling 'anchored' needs power_scale 'log' of a spectrogram: an amplitude is a shift of its rows then"
            )
        row_widths_hz = [1] * 16 + [4] * 4 if row_widths_hz is None else [int(width) for width in row_widths_hz]
        if not row_widths_hz or min(row_widths_hz) < 1 or sum(row_widths_hz) > LOWEST_SAMPLING_RATE / 2:
            raise ValueError(
                f"row_widths_hz must be at least 1 Hz each and {LOWEST_SAMPLING_RATE / 2:g} Hz together at most, "
                f"found: {row_widths_hz}"
            )
        for name, values in (("row_profile", row_profile), ("row_spread", row_spread)):
            if values is not None and len(values) != len(row_widths_hz):
                raise ValueError(
                    f"{name} must hold one value for each of {len(row_widths_hz)} rows, found: {len(values)}"
                )
        if not 0 <= own_share < 1:
            raise ValueError(f"own_share must be from 0 to below 1, found: {own_share}")
        if epoch_seconds < 1 or epoch_seconds != int(epoch_seconds):
            raise ValueError(f"epoch_seconds must be whole seconds, 1 at least, found: {epoch_seconds}")
        if clip_at <= 0:
            raise ValueError(f"clip_at must be positive, found: {clip_at}")
        if waveform_rate < 1 or waveform_rate != int(waveform_rate):
            raise ValueError(f"waveform_rate must be a whole number of Hz, 1 at least, found: {waveform_rate}")
        if num_eog_channels < 0 or num_eog_rows < 1:
            raise ValueError(
                f"num_eog_channels must be 0 at least and num_eog_rows 1, found: {num_eog_channels} and {num_eog_rows}"
            )
        kwargs.pop("auto_map", None)  # see save_pretrained
        super().__init__(**kwargs)
        self.row_widths_hz = row_widths_hz
        self.epoch_seconds = int(epoch_seconds)
        self.power_scale = power_scale
        self.scaling = scaling
        self.own_share = own_share
        self.row_profile = row_profile
        self.row_spread = row_spread
        self.clip_at = clip_at
        self.representation = representation
        self.waveform_rate = int(waveform_rate)
        self.num_eog_channels = num_eog_channels
        self.num_eog_rows = num_eog_rows

    @classmethod
    def from_preset(cls, name: str) -> "SleepViTFeatureExtractor":
        """Make the feature extractor of a preset.

        Args:
            name: "default"; "published" for the paper's linear power without normalisation; "published-1s" for the
                same in 32 rows of 1 Hz, without the frequency cut, which the preset "eegspec-1s" reads;
                "published-eog" with two EOG channels beside the EEG; "published-waveform" for the raw-EEG model.

        Returns:
            the feature extractor.

        Raises:
            ValueError: there is no preset of that name.
        """
        if name not in cls.PRESETS:
            raise ValueError(f"{cls.__name__} has the presets {sorted(cls.PRESETS)}, found: {name!r}")
        return cls(**cls.PRESETS[name])

    def save_pretrained(self, save_directory: str | Path, push_to_hub: bool = False, **kwargs) -> list[str]:
        """Save `preprocessor_config.json` and beside it the code of this class, which it names.

        Args:
            save_directory: folder of the checkpoint.
            push_to_hub: see `FeatureExtractionMixin.save_pretrained`.
            **kwargs: see `FeatureExtractionMixin.save_pretrained`.

        Returns:
            the path of the file.
        """
        saved = super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)
        vars(self).pop("auto_map", None)  # the name of the code is no setting: a saved extractor equals a new one
        return saved

    @property
    def lowest_sampling_rate(self) -> float:
        """Lowest sampling rate in Hz that can be read."""
        is_anchored = "anchored" in (self.scaling, self._scaling_to_come)
        return LOWEST_ANCHORED_RATE if is_anchored else LOWEST_SAMPLING_RATE

    @property
    def lowest_eog_rate(self) -> float:
        """Lowest sampling rate in Hz of an EOG that can be read: its highest row is half of it."""
        return 2.0 * (self.num_eog_rows - 1)

    @property
    def num_rows(self) -> int:
        """Rows of `input_values`: those of the spectrogram, or the samples of one second of the waveform."""
        return self.waveform_rate if self.representation == "waveform" else len(self.row_widths_hz)

    @property
    def row_edges_hz(self) -> list[int]:
        """Edges of the rows in Hz, one more than there are rows."""
        return [0, *np.cumsum(self.row_widths_hz).tolist()]

    def __call__(
        self,
        waveform,
        sampling_rate: float | None = None,
        return_tensors: str | TensorType | None = None,
        eog_waveform=None,
        eog_sampling_rate: float | None = None,
    ) -> BatchFeature:
        """Prepare one recording; robust scaling looks at all of its epochs together.

        Args:
            waveform: uV; (samples,) or (channels, samples) without a break, whose incomplete last epoch is dropped, or
                (epochs, channels, samples) already cut into epochs of whole seconds (which may be shorter than
                `epoch_seconds`).
            sampling_rate: Hz, from 64 up, with anchored scaling from 50 up. A rate that is not a whole number is
                resampled to the nearest one.
            return_tensors: "pt" or "np" (the default).
            eog_waveform: uV, the EOG of the same time, shaped alike, where `num_eog_channels` asks for it.
            eog_sampling_rate: Hz, from 50 up for 26 rows; None stands for that of the EEG.

        Returns:
            `input_values` (epochs, channels, rows, seconds), float32, and with EOG `eog_values` (epochs, EOG channels,
            EOG rows, seconds). Seconds without a finite signal are 0, and so are flat seconds, with robust scaling
            constant rows, and with anchored scaling rows that were not recorded; log power without scaling has its
            floor there.

        Raises:
            ValueError: a sampling rate is missing or too low, a shape is wrong, there is no whole epoch, or the EOG is
                missing, not wanted, or of another length.
        """
        if self.representation == "waveform":
            epochs, _ = self.read_epochs(waveform, sampling_rate, self.lowest_sampling_rate, self.waveform_rate)
            features = {"input_values": self.seconds_of(epochs)}
        else:
            epochs, whole_rate = self.read_epochs(waveform, sampling_rate, self.lowest_sampling_rate)
            features = {"input_values": self.scaled_rows(epochs, whole_rate, self.row_widths_hz, self.scaling)}
        if (eog_waveform is None) != (self.num_eog_channels == 0):
            found = "none" if eog_waveform is None else "one"
            raise ValueError(f"eog_waveform: expected {self.num_eog_channels} EOG channels, found {found}")
        if eog_waveform is not None:
            eog_rate = sampling_rate if eog_sampling_rate is None else eog_sampling_rate
            epochs, whole_rate = self.read_epochs(eog_waveform, eog_rate, self.lowest_eog_rate)
            scaling = "none" if self.scaling == "none" else "robust"
            features["eog_values"] = self.scaled_rows(epochs, whole_rate, [1] * self.num_eog_rows, scaling)
            features = _of_equal_length(features, self.num_eog_channels)
        return BatchFeature(features, tensor_type=return_tensors or TensorType.NUMPY)

    def read_epochs(
        self, waveform, sampling_rate: float | None, lowest_rate: float, target_rate: int | None = None
    ) -> tuple[np.ndarray, int]:
        """Check a waveform, resample it where that has to be, and cut it.

        Args:
            waveform: as for a call.
            sampling_rate: Hz.
            lowest_rate: Hz.
            target_rate: Hz; None stands for the nearest whole number.

        Returns:
            (epochs, channels, samples of an epoch) and the whole sampling rate in Hz.

        Raises:
            ValueError: as for a call.
        """
        sampling_rate = _checked_sampling_rate(sampling_rate, lowest_rate)
        target_rate = round(sampling_rate) if target_rate is None else target_rate
        waveform = resampled(_checked_waveform(waveform), sampling_rate, target_rate)
        return self.cut_epochs(waveform, target_rate), target_rate

    def seconds_of(self, epochs: np.ndarray) -> np.ndarray:
        """Lay waveforms out by seconds, scaled per channel unless scaling is "none".

        Args:
            epochs: (epochs, channels, samples) in uV at `waveform_rate`.

        Returns:
            (epochs, channels, samples of a second, seconds) float32.
        """
        if self.scaling == "robust":
            epochs = robust_scale(np.where(np.isfinite(epochs), epochs, np.nan)[:, :, None], self.clip_at)[:, :, 0]
        seconds = epochs.reshape(*epochs.shape[:2], -1, self.waveform_rate).swapaxes(2, 3)
        return np.nan_to_num(seconds, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32)

    def scaled_rows(
        self, epochs: np.ndarray, sampling_rate: int, row_widths_hz: list[int], scaling: str
    ) -> np.ndarray:
        """Make the rows of one kind of channels.

        Args:
            epochs: (epochs, channels, samples) in uV.
            sampling_rate: Hz, a whole number.
            row_widths_hz: width of each row in Hz.
            scaling: of the rows.

        Returns:
            (epochs, channels, rows, seconds) float32.

        Raises:
            ValueError: "anchored" scaling has no profile.
        """
        rows = frequency_cut(
            with_rows_beyond(one_hertz_power(epochs, sampling_rate), sum(row_widths_hz)), row_widths_hz
        )
        if self.power_scale == "log":
            is_dead = ~(rows > POWER_FLOOR).any(axis=2, keepdims=True)
            rows = np.where(is_dead, np.nan, np.log10(np.maximum(rows, POWER_FLOOR)))
        if scaling == "robust":
            rows = robust_scale(rows, self.clip_at)
        elif scaling == "anchored":
            if self.row_profile is None or self.row_spread is None:
                raise ValueError("scaling 'anchored' needs row_profile and row_spread: call fit_profile first")
            levelled = rows - recording_level(rows, self.is_level_row)
            rows = self.anchor(levelled, row_extremes(levelled).mean(axis=0))
        unknown = np.log10(POWER_FLOOR) if (self.power_scale, scaling) == ("log", "none") else 0.0
        return np.nan_to_num(rows, nan=unknown).astype(np.float32)

    def without_scaling(self) -> "SleepViTFeatureExtractor":
        """Make an extractor of the same rows, of the same recordings, before they are scaled, for `fit_profile`."""
        unscaled = copy.deepcopy(self)
        unscaled.scaling, unscaled._scaling_to_come = "none", self.scaling
        return unscaled

    def fit_profile(self, recordings: Iterable[np.ndarray]) -> None:
        """Learn `row_profile` and `row_spread` from training nights.

        Args:
            recordings: log power of each night as `without_scaling` gives it, (epochs, channels, rows, seconds);
                seconds at its floor in all rows hold no signal and are left out, and so are rows without any, such
                as those above half of a low sampling rate. A row that no night holds keeps what was known of it.

        Raises:
            ValueError: no night holds a row, and nothing was known of it; or no night holds any signal.
        """
        # one night at a time: a cohort does not fit into memory
        known = (_without_dead_seconds(rows) for rows in recordings)
        levelled = (rows - recording_level(rows, self.is_level_row) for rows in known)
        statistics = [(row_extremes(rows).mean(axis=0), robust_statistics(rows)[1]) for rows in levelled]
        by_channel = [pair for night in statistics for pair in zip(*night)]  # of each night
        centres, spreads = np.reshape(by_channel, (-1, 2, len(self.row_widths_hz))).swapaxes(0, 1)
        is_known = np.isfinite(spreads)
        is_missing = ~is_known.any(axis=0)
        if is_missing.all() or (is_missing.any() and self.row_profile is None):
            first, last = np.flatnonzero(is_missing)[[0, -1]]
            raise ValueError(
                f"fit_profile needs a night with a signal from {self.row_edges_hz[first]} to "
                f"{self.row_edges_hz[last + 1]} Hz, found none: take a night sampled faster, or row_widths_hz that "
                "end lower"
            )
        self.row_profile = _mean_of_known(centres, is_known, self.row_profile)
        self.row_spread = _mean_of_known(spreads, is_known, self.row_spread)

    def anchor(self, levelled: np.ndarray, centre: np.ndarray) -> np.ndarray:
        """Scale log power whose level is taken off: the last step of anchored scaling.

        Args:
            levelled: (..., channels, rows, seconds) log power above the recording's level.
            centre: (channels, rows) midway between its extremes over the recording.

        Returns:
            the scaled rows, of the same shape; a row that was not recorded becomes 0, NaN stays NaN.
        """
        profile, spread = np.asarray(self.row_profile), np.asarray(self.row_spread)
        anchors = self.own_share * centre + (1 - self.own_share) * profile
        scaled = np.clip((levelled - anchors[:, :, None]) / spread[:, None], -self.clip_at, self.clip_at)
        return np.where((centre < profile - NOT_RECORDED)[:, :, None], 0.0, scaled)

    @property
    def is_level_row(self) -> np.ndarray:
        """Which rows give the level of a recording, (rows,) bool."""
        edges = np.asarray(self.row_edges_hz)
        is_inside = (edges[:-1] >= LEVEL_HZ[0]) & (edges[1:] <= LEVEL_HZ[1])
        return is_inside if is_inside.any() else np.ones(len(is_inside), dtype=bool)

    def cut_epochs(self, waveform: np.ndarray, sampling_rate: int) -> np.ndarray:
        """Cut a waveform into whole epochs.

        Args:
            waveform: (channels, samples), or (epochs, channels, samples) which is only checked.
            sampling_rate: Hz, a whole number.

        Returns:
            (epochs, channels, samples of an epoch).

        Raises:
            ValueError: there is no whole epoch, or the epochs of a cut waveform do not hold whole seconds.
        """
        n_samples = waveform.shape[-1]
        if waveform.ndim == 3:
            if n_samples == 0 or n_samples % sampling_rate:
                raise ValueError(
                    "waveform of shape (epochs, channels, samples) must hold whole seconds per epoch, "
                    f"found: {n_samples} samples at {sampling_rate} Hz ({n_samples / sampling_rate:.3f} s)"
                )
            return waveform
        samples_per_epoch = self.epoch_seconds * sampling_rate
        n_epochs = n_samples // samples_per_epoch
        if n_epochs == 0:
            raise ValueError(
                f"waveform must hold at least one epoch of {self.epoch_seconds} s ({samples_per_epoch} samples at "
                f"{sampling_rate} Hz), found: {n_samples} samples ({n_samples / sampling_rate:.3f} s)"
            )
        whole_epochs = waveform[:, : n_epochs * samples_per_epoch]
        return whole_epochs.reshape(-1, n_epochs, samples_per_epoch).swapaxes(0, 1)


def _without_dead_seconds(rows: np.ndarray) -> np.ndarray:
    is_dead = (rows <= np.log10(POWER_FLOOR)).all(axis=2, keepdims=True)
    return np.where(is_dead, np.nan, rows)


def _mean_of_known(values: np.ndarray, is_known: np.ndarray, before: list[float] | None) -> list[float]:
    """The mean of each row over the channels of which it is known; of none, what it was before."""
    means = np.ma.masked_array(values, ~is_known).mean(axis=0).round(4)
    return means.tolist() if before is None else means.filled(before).tolist()


def _of_equal_length(features: dict[str, np.ndarray], num_eog_channels: int) -> dict[str, np.ndarray]:
    """Check the EOG against the EEG; resampling may end the last epoch of one of them a sample sooner."""
    eeg, eog = features["input_values"], features["eog_values"]
    if eog.shape[1] != num_eog_channels or eog.shape[3] != eeg.shape[3] or abs(len(eog) - len(eeg)) > 1:
        raise ValueError(
            f"eog_waveform must hold {num_eog_channels} channels and as many epochs and seconds as the EEG "
            f"({len(eeg)} of {eeg.shape[3]} s), found: {eog.shape[1]} channels, {len(eog)} epochs of {eog.shape[3]} s"
        )
    n_epochs = min(len(eeg), len(eog))
    return {name: values[:n_epochs] for name, values in features.items()}


def _checked_sampling_rate(sampling_rate, lowest: float) -> float:
    if sampling_rate is None:
        raise ValueError("sampling_rate is required: give the recording's rate in Hz, for example sampling_rate=100")
    if isinstance(sampling_rate, bool) or not isinstance(sampling_rate, Real):
        raise ValueError(f"sampling_rate must be a number in Hz, found: {sampling_rate!r}")
    if not lowest <= sampling_rate < np.inf:
        raise ValueError(
            f"sampling_rate must be at least {lowest:g} Hz, so that it holds the rhythms of sleep, "
            f"found: {sampling_rate:g} Hz"
        )
    return float(sampling_rate)


def _checked_waveform(waveform) -> np.ndarray:
    waveform = np.asarray(waveform, dtype=np.float32)
    if waveform.ndim not in (1, 2, 3):
        raise ValueError(
            "waveform must have shape (samples,), (channels, samples) or (epochs, channels, samples), "
            f"found: {waveform.shape}"
        )
    return waveform[None] if waveform.ndim == 1 else waveform


__all__ = ["SleepViTFeatureExtractor"]

"""Feature extractor of SleepViT: waveform in uV -> spectrogram of 1 s windows -> frequency cut -> normalised rows."""

import copy
from collections.abc import Iterable
from fractions import Fraction
from numbers import Real
from pathlib import Path

import numpy as np
from scipy import signal
from transformers.feature_extraction_utils import BatchFeature, FeatureExtractionMixin
from transformers.utils import TensorType


LOWEST_SAMPLING_RATE = 64.0
"""Hz; the rows of the spectrogram reach up to 32 Hz."""

LOWEST_ANCHORED_RATE = 50.0
"""Hz; anchored scaling knows what to do with rows that a recording does not reach."""

LEVEL_HZ = (1, 16)
"""Hz; the level of a recording is taken where every laboratory records: above the high-pass, below the low-pass."""

EXTREMES = (10, 90)
"""Percentiles midway between which the centre of a row lies for anchored scaling. A night of much wake and one of
little both hold wake and deep sleep, so that this centre moves less with their shares than a median does."""

NOT_RECORDED = 0.8
"""Decades of power below the training nights from which a row counts as filtered away."""

POWER_FLOOR = 1e-10
"""uV^2/Hz; far below any EEG, also at a hundredth of its amplitude, so that only a dead channel lies under it."""

IQR_OF_NORMAL = 1.349
"""Interquartile range of a standard normal distribution: robust scaling then gives about unit variance."""


class SleepViTFeatureExtractor(FeatureExtractionMixin):
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
        **kwargs: what Transformers stores beside the settings.

    Raises:
        ValueError: a setting is unknown.

    Source:
        Chen et al., IEEE TNSRE 31:1974-1985, 2023 (spectrogram and frequency cut); log power and robust scaling are
        this package's.
    """

    model_input_names = ["input_values"]

    PRESETS = {
        "default": {},
        "published": {"power_scale": "linear", "scaling": "none"},
        "published-1s": {"power_scale": "linear", "scaling": "none", "row_widths_hz": [1] * 32},
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
        **kwargs,
    ):
        if power_scale not in ("log", "linear"):
            raise ValueError(f"power_scale must be 'log' or 'linear', found: {power_scale!r}")
        if scaling not in ("robust", "anchored", "none"):
            raise ValueError(f"scaling must be 'robust', 'anchored' or 'none', found: {scaling!r}")
        if scaling == "anchored" and power_scale != "log":
            raise ValueError("scaling 'anchored' needs power_scale 'log', where an amplitude is a shift of the rows")
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

    @classmethod
    def from_preset(cls, name: str) -> "SleepViTFeatureExtractor":
        """Make the feature extractor of a preset.

        Args:
            name: "default"; "published" for the paper's linear power without normalisation; "published-1s" for the
                same in 32 rows of 1 Hz, without the frequency cut, which the preset "eegspec-1s" reads.

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
        return LOWEST_ANCHORED_RATE if self.scaling == "anchored" else LOWEST_SAMPLING_RATE

    @property
    def row_edges_hz(self) -> list[int]:
        """Edges of the rows in Hz, one more than there are rows."""
        return [0, *np.cumsum(self.row_widths_hz).tolist()]

    def __call__(
        self,
        waveform,
        sampling_rate: float | None = None,
        return_tensors: str | TensorType | None = None,
    ) -> BatchFeature:
        """Prepare one recording; robust scaling looks at all of its epochs together.

        Args:
            waveform: uV; (samples,) or (channels, samples) without a break, whose incomplete last epoch is dropped, or
                (epochs, channels, samples) already cut into epochs of whole seconds (which may be shorter than
                `epoch_seconds`).
            sampling_rate: Hz, from 64 up, with anchored scaling from 50 up. A rate that is not a whole number is
                resampled to the nearest one.
            return_tensors: "pt" or "np" (the default).

        Returns:
            `input_values` (epochs, channels, rows, seconds), float32. Seconds without a finite signal are 0, and so
            are flat seconds, with robust scaling constant rows, and with anchored scaling rows that were not
            recorded; log power without scaling has its floor there.

        Raises:
            ValueError: the sampling rate is missing or too low, the shape is wrong or there is no whole epoch.
        """
        waveform, sampling_rate = to_whole_rate(
            _checked_waveform(waveform), _checked_sampling_rate(sampling_rate, self.lowest_sampling_rate)
        )
        power = one_hertz_power(self.cut_epochs(waveform, sampling_rate), sampling_rate)
        rows = frequency_cut(with_rows_beyond(power, sum(self.row_widths_hz)), self.row_widths_hz)
        if self.power_scale == "log":
            is_dead = ~(rows > POWER_FLOOR).any(axis=2, keepdims=True)
            rows = np.where(is_dead, np.nan, np.log10(np.maximum(rows, POWER_FLOOR)))
        if self.scaling == "robust":
            rows = robust_scale(rows, self.clip_at)
        elif self.scaling == "anchored":
            if self.row_profile is None or self.row_spread is None:
                raise ValueError("scaling 'anchored' needs row_profile and row_spread: call fit_profile first")
            levelled = rows - recording_level(rows, self.is_level_row)
            rows = self.anchor(levelled, row_extremes(levelled).mean(axis=0))
        unknown = np.log10(POWER_FLOOR) if (self.power_scale, self.scaling) == ("log", "none") else 0.0
        input_values = np.nan_to_num(rows, nan=unknown).astype(np.float32)
        return BatchFeature({"input_values": input_values}, tensor_type=return_tensors or TensorType.NUMPY)

    def without_scaling(self) -> "SleepViTFeatureExtractor":
        """Make an extractor of the same rows before they are scaled, for `fit_profile`."""
        unscaled = copy.deepcopy(self)
        unscaled.scaling = "none"
        return unscaled

    def fit_profile(self, recordings: Iterable[np.ndarray]) -> None:
        """Learn `row_profile` and `row_spread` from training nights.

        Args:
            recordings: log power of each night as an extractor with scaling "none" gives it, (epochs, channels, rows,
                seconds).

        Raises:
            ValueError: every channel of every night has a row without signal.
        """
        # one night at a time: a cohort does not fit into memory
        levelled = (rows - recording_level(rows, self.is_level_row) for rows in recordings)
        statistics = [(row_extremes(rows).mean(axis=0), robust_statistics(rows)[1]) for rows in levelled]
        # one per night and channel; a dead channel says nothing about the others
        alive = [
            (centre, spread) for night in statistics for centre, spread in zip(*night) if np.isfinite(spread).all()
        ]
        if not alive:
            raise ValueError("fit_profile needs a night whose rows all hold a signal, found none")
        self.row_profile, self.row_spread = (np.mean(part, axis=0).round(4).tolist() for part in zip(*alive))

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
    # coarser by less than 1 in 10,000, which is 1.5 s in a night at most, and far less for the rates there are
    ratio = Fraction(whole_rate / sampling_rate).limit_denominator(10_000)
    if ratio != 1:
        waveform = signal.resample_poly(waveform, ratio.numerator, ratio.denominator, axis=-1)
    return waveform, whole_rate


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

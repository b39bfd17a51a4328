"""The picture of a staged night: hypnogram, hypnodensity and spectrogram on one time axis."""

import numpy as np

from .feature_extraction_sleepvit import one_hertz_power, to_whole_rate
from .hypnogram import Hypnogram
from .recordings import Recording


TOP_FREQUENCY_HZ = 30


def night_figure(recording: Recording, hypnogram: Hypnogram):
    """Draw a staged night.

    Args:
        recording: the signal the hypnogram was made from; the spectrogram shows its first channel.
        hypnogram: stages and probabilities of its epochs.

    Returns:
        matplotlib Figure; nothing of it is known to pyplot.

    Raises:
        HypnogramError: the hypnogram has no epochs or no probabilities.
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("the picture of a night needs matplotlib: pip install matplotlib") from error
    figure = Figure(figsize=(12, 7), layout="constrained")
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=[1.3, 1, 1.3])
    hypnogram.plot(top)
    hypnogram.plot_hypnodensity(middle)
    _plot_spectrogram(bottom, recording, hypnogram)
    bottom.set_xlabel(top.get_xlabel())
    for axes in (top, middle):
        axes.set_xlabel("")
    for place in ("left", "right"):  # the title of the hypnogram stands for all three
        middle.set_title("", loc=place)
    figure.align_ylabels()
    figure.supxlabel("Staged by SleepViT - research use only, not a medical device", fontsize=7, color="#6A707A")
    return figure


def _plot_spectrogram(axes, recording: Recording, hypnogram: Hypnogram) -> None:
    decibels = epoch_decibels(recording, hypnogram.n_epochs, hypnogram.epoch_seconds)  # (rows, epochs)
    finite = decibels[np.isfinite(decibels)]
    low, high = np.percentile(finite, [2, 98]) if finite.size else (0, 1)
    left, right = axes.get_xlim()
    image = axes.imshow(
        decibels,
        origin="lower",
        aspect="auto",
        extent=(left, right, -0.5, TOP_FREQUENCY_HZ + 0.5),  # row k is k Hz
        cmap="magma",
        vmin=low,
        vmax=high,
        interpolation="nearest",
    )
    axes.set_ylim(0, TOP_FREQUENCY_HZ)
    axes.set_ylabel(f"{recording.channel_names[0]} (Hz)")
    axes.spines[["top", "right"]].set_visible(False)
    # beside the picture like the legend above it, so that the three time axes keep one width
    scale = axes.inset_axes([1.012, 0, 0.012, 1])
    axes.figure.colorbar(image, cax=scale, label="Power (dB of 1 uV²/Hz)")


def epoch_decibels(recording: Recording, n_epochs: int, epoch_seconds: float) -> np.ndarray:
    """Average the power density of the seconds of each epoch.

    Args:
        recording: its first channel is taken.
        n_epochs: epochs from the start of the recording.
        epoch_seconds: whole seconds of an epoch.

    Returns:
        (31, n_epochs) dB relative to 1 uV^2/Hz; row k is k Hz; NaN where an epoch has no finite power.
    """
    signal, rate = to_whole_rate(recording.signals[0], recording.sampling_rate)
    epochs = signal[: int(n_epochs * epoch_seconds) * rate].reshape(n_epochs, 1, -1)
    power = one_hertz_power(epochs, rate)[:, 0, : TOP_FREQUENCY_HZ + 1].mean(axis=-1).T
    return 10 * np.log10(np.where(power > 0, power, np.nan))

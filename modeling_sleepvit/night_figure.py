"""The picture of a staged night: hypnogram, hypnodensity and spectrogram on one time axis."""

import numpy as np

from .hypnogram import Hypnogram
from .multitaper import TOP_FREQUENCY_HZ, multitaper_decibels
from .recordings import Recording


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
    decibels = multitaper_decibels(recording, hypnogram.n_epochs, hypnogram.epoch_seconds)  # (rows, epochs)
    low, high = colour_limits(decibels)
    left, right = axes.get_xlim()
    image = axes.imshow(
        decibels,
        origin="lower",
        aspect="auto",
        extent=(left, right, 0, TOP_FREQUENCY_HZ),
        cmap="magma",
        vmin=low,
        vmax=high,
        interpolation="nearest",
    )
    axes.set_yticks(range(0, TOP_FREQUENCY_HZ + 1, 8))
    axes.set_ylabel(f"{recording.channel_names[0]} (Hz)")
    axes.spines[["top", "right"]].set_visible(False)
    # beside the picture like the legend above it, so that the three time axes keep one width
    scale = axes.inset_axes([1.012, 0, 0.012, 1])
    axes.figure.colorbar(image, cax=scale, label="Power (dB of 1 uV²/Hz)")


def colour_limits(decibels: np.ndarray) -> tuple[float, float]:
    """Choose the range of colours of a spectrogram, so that single artefacts do not dim the rest.

    Args:
        decibels: any shape, NaN where there is no power.

    Returns:
        the 2nd and the 98th percentile; 0 and 1 where no power is known.
    """
    known = decibels[np.isfinite(decibels)]
    low, high = np.percentile(known, [2, 98]) if known.size else (0, 1)
    return float(low), float(high)

"""The charts of the report: hypnogram, hypnodensity and spectrogram as paths and pictures over one time axis."""

import base64
import io

import numpy as np
from matplotlib import colormaps, image

from modeling_sleepvit.hypnogram import Hypnogram
from modeling_sleepvit.multitaper import multitaper_decibels
from modeling_sleepvit.night_figure import colour_limits
from modeling_sleepvit.recordings import Recording
from modeling_sleepvit.stages import PLOT_ORDER, STAGES

from ..night_times import time_label


CHART_HEIGHT = 100
SPECTRUM_COLOURS = "magma"
_LEVEL_HEIGHT = CHART_HEIGHT / len(PLOT_ORDER)
_TICK_MINUTES = (1, 2, 5, 10, 15, 30, 60, 120, 240)
_MOST_TICKS = 11


def level_of(stage: str) -> float:
    """Find the height at which a hypnogram draws a stage.

    Args:
        stage: one of the five stages.

    Returns:
        the middle of its line, 0 at the top and `CHART_HEIGHT` at the bottom.
    """
    return (len(PLOT_ORDER) - 0.5 - PLOT_ORDER.index(stage)) * _LEVEL_HEIGHT


def hypnogram_steps(hypnogram: Hypnogram) -> str:
    """Draw the vertical lines between neighbouring epochs of different stages.

    Args:
        hypnogram: epochs that are UNS interrupt the line.

    Returns:
        an SVG path, one unit wide for each epoch.
    """
    steps = []
    for epoch, (before, after) in enumerate(zip(hypnogram.stages[:-1], hypnogram.stages[1:]), start=1):
        if before != after and before in STAGES and after in STAGES:
            steps.append(f"M{epoch} {level_of(before):g}V{level_of(after):g}")
    return "".join(steps)


def hypnodensity_areas(probabilities: np.ndarray) -> dict[str, str]:
    """Stack the probabilities of the stages, N3 at the bottom and W on top.

    Args:
        probabilities: (n_epochs, 5) in the order of `STAGES`, rows of NaN where there are none.

    Returns:
        an SVG path for each stage in `PLOT_ORDER`, one unit wide for each epoch.
    """
    columns = [STAGES.index(stage) for stage in PLOT_ORDER]
    heights = CHART_HEIGHT * np.nan_to_num(probabilities[:, columns]).T  # (stages, epochs)
    tops = np.cumsum(np.vstack([np.zeros(heights.shape[1]), heights]), axis=0)
    # from below each area reaches up under the next one, so that no hairline shows between them
    return {stage: _steps(top) for stage, top in zip(reversed(PLOT_ORDER), tops[:0:-1])}


def _steps(heights: np.ndarray) -> str:
    """Outline a bar chart from the baseline; runs of one height are one line."""
    tops = np.round(CHART_HEIGHT - heights, 1)
    changes = np.flatnonzero(np.diff(tops)) + 1
    path = "".join(f"V{tops[start]:g}H{end}" for start, end in zip([0, *changes], [*changes, len(tops)]))
    return f"M0 {CHART_HEIGHT}{path}V{CHART_HEIGHT}Z"


def spectrogram_picture(recording: Recording, hypnogram: Hypnogram) -> tuple[str, float, float]:
    """Draw the multitaper spectrogram of the recording's first channel, one column of pixels for each epoch.

    Args:
        recording: the signal.
        hypnogram: tells number and length of the epochs.

    Returns:
        the PNG as base64, 0 Hz at the bottom; the dB of the darkest and of the brightest colour.
    """
    decibels = multitaper_decibels(recording, hypnogram.n_epochs, hypnogram.epoch_seconds)
    low, high = colour_limits(decibels)
    file = io.BytesIO()
    image.imsave(file, decibels, cmap=SPECTRUM_COLOURS, vmin=low, vmax=high, origin="lower", format="png")
    return base64.b64encode(file.getvalue()).decode("ascii"), low, high


def colour_stops(name: str, n_stops: int = 9) -> list[str]:
    """List colours of a colour map for gradients.

    Args:
        name: of a colour map of matplotlib.
        n_stops: how many colours.

    Returns:
        "#rrggbb" from the lowest to the highest.
    """
    rgba = (255 * colormaps[name](np.linspace(0, 1, n_stops))).round().astype(int)
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue, _ in rgba]


def time_ticks(hypnogram: Hypnogram) -> list[tuple[float, str]]:
    """Place round times along the night.

    Args:
        hypnogram: with at least one epoch.

    Returns:
        pairs of the place in percent of the axis and its label: clock time where the start is known, else h:mm from
        the start.
    """
    length_min = hypnogram.n_epochs * hypnogram.epoch_seconds / 60
    step = next((step for step in _TICK_MINUTES if length_min / step <= _MOST_TICKS), _TICK_MINUTES[-1])
    first = 0.0
    if hypnogram.start is not None:
        midnight = hypnogram.start.replace(hour=0, minute=0, second=0, microsecond=0)
        first = -((hypnogram.start - midnight).total_seconds() / 60) % step
    return [
        (100 * minutes / length_min, time_label(hypnogram, 60 * minutes, with_seconds=False))
        for minutes in np.arange(first, length_min + 1e-6, step)
    ]

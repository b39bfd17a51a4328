"""The picture of an explained epoch: EEG, spectrogram and relevance on one time axis, probabilities, neighbours."""

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from modeling_sleepvit import Hypnogram, Recording
from modeling_sleepvit.explain_sleepvit import Explanation
from modeling_sleepvit.night_figure import colour_limits
from modeling_sleepvit.stages import PLOT_ORDER, STAGE_COLOURS, STAGES

from .epoch_explanations import neighbour_shares, relevance_of_bands
from .night_times import time_label


# Purple speaks for the stage, green against it, 0 is white.
_FOR, _AGAINST, _DARK, _GREY, _LIGHT = "#762A83", "#1B7837", "#1D2129", "#59606B", "#DDE1E6"
_HEIGHTS_UV = (100, 200, 400, 1000)
_SLOW_WAVE_UV = 75


@dataclass(frozen=True)
class ExplainedEpoch:
    """One epoch of a night and why it was staged as it was.

    Args:
        recording: the signal; its first channel is drawn.
        hypnogram: the stages of the night.
        explanation: of this and other epochs.
        place: of this epoch in the explanation.
        number: of this epoch in the night, from 0.
        decibels: (32, seconds) its spectrogram; row k is k Hz.
    """

    recording: Recording
    hypnogram: Hypnogram
    explanation: Explanation
    place: int
    number: int
    decibels: np.ndarray

    @property
    def seconds(self) -> float:
        """Length in s."""
        return self.hypnogram.epoch_seconds

    @property
    def stage(self) -> str:
        """What it was staged."""
        return self.hypnogram.stages[self.number]

    @property
    def uv(self) -> np.ndarray:
        """(samples,) its EEG as it was recorded, in uV."""
        n_samples = self.seconds * self.recording.sampling_rate
        start = round(self.number * n_samples)
        return self.recording.signals[0, start : start + round(n_samples)]

    @property
    def relevance(self) -> np.ndarray:
        """(bands, seconds)."""
        return relevance_of_bands(self.explanation)[self.place]


def explanation_figure(epoch: ExplainedEpoch) -> Figure:
    """Draw an explained epoch.

    Args:
        epoch: all there is to draw.

    Returns:
        the figure; nothing of it is known to pyplot.
    """
    figure = Figure(figsize=(12, 7.4), layout="constrained")
    grid = figure.add_gridspec(4, 2, width_ratios=[3.4, 1], height_ratios=[1.5, 0.35, 1.1, 1.1])
    trace = figure.add_subplot(grid[0, 0])
    seconds, spectrum, bands = (figure.add_subplot(grid[row, 0], sharex=trace) for row in (1, 2, 3))
    _draw_eeg(trace, epoch)
    _draw_seconds(seconds, epoch)
    _draw_spectrum(spectrum, epoch)
    _draw_relevance(bands, epoch)
    for axes in (trace, seconds, spectrum, bands):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelbottom=axes is bands)
    trace.set_xlim(0, epoch.seconds)
    bands.set_xlabel("Time in the epoch (s)")
    _draw_probabilities(figure.add_subplot(grid[0, 1]), epoch)
    if epoch.explanation.epoch_relevance is not None:
        _draw_neighbours(figure.add_subplot(grid[2:, 1]), epoch)
    time = time_label(epoch.hypnogram, epoch.number * epoch.seconds)
    title = f"{epoch.recording.id}, epoch {epoch.number} at {time}: {epoch.stage}"
    figure.align_ylabels([trace, seconds, spectrum, bands])
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    figure.supxlabel("Explained by SleepViT - research use only, not a medical device", fontsize=7, color=_GREY)
    return figure


def _draw_eeg(axes, epoch: ExplainedEpoch) -> None:
    uv = epoch.uv - np.nanmedian(epoch.uv)
    height = next((height for height in _HEIGHTS_UV if np.nanpercentile(np.abs(uv), 99.8) < height), _HEIGHTS_UV[-1])
    axes.plot(np.arange(uv.size) * epoch.seconds / uv.size, uv, color=_DARK, linewidth=0.6)
    for line in (-_SLOW_WAVE_UV / 2, _SLOW_WAVE_UV / 2):
        axes.axhline(line, color=_GREY, linewidth=0.7, linestyle=(0, (5, 4)))
    axes.set_xticks(np.arange(0, epoch.seconds + 1, 5))
    axes.set_xticks(np.arange(epoch.seconds), minor=True)
    axes.grid(which="both", axis="x", color=_LIGHT, linewidth=0.5)
    axes.set_ylim(height, -height)
    axes.set_ylabel(f"{epoch.recording.channel_names[0]} (µV)")
    axes.set_title(
        f"Negative is up; dashed lines {_SLOW_WAVE_UV} µV apart, median taken off",
        loc="right",
        fontsize=8,
        color=_GREY,
    )


def _draw_seconds(axes, epoch: ExplainedEpoch) -> None:
    sums = epoch.relevance.sum(axis=0)
    width = epoch.seconds / sums.size
    axes.bar(
        np.arange(sums.size) * width,
        sums,
        width,
        align="edge",
        color=np.where(sums < 0, _AGAINST, _FOR),
        edgecolor="white",
        linewidth=0.5,
    )
    axes.axhline(0, color=_GREY, linewidth=0.6)
    axes.set_yticks([0])
    axes.set_ylabel("By second", fontsize=9)


def _draw_spectrum(axes, epoch: ExplainedEpoch) -> None:
    low, high = colour_limits(epoch.decibels)
    rows = epoch.decibels.shape[0]
    image = axes.imshow(
        epoch.decibels,
        origin="lower",
        aspect="auto",
        extent=(0, epoch.seconds, 0, rows),
        cmap="magma",
        vmin=low,
        vmax=high,
        interpolation="nearest",
    )
    _label_hertz(axes, epoch)
    _add_scale(axes, image, "dB of 1 µV²/Hz")


def _draw_relevance(axes, epoch: ExplainedEpoch) -> None:
    relevance = epoch.relevance
    largest = float(np.abs(relevance).max()) or 1.0
    is_signed = relevance.min() < 0
    image = axes.pcolormesh(
        np.linspace(0, epoch.seconds, relevance.shape[1] + 1),
        epoch.explanation.band_edges_hz,
        relevance,
        cmap="PRGn_r" if is_signed else "Purples",
        vmin=-largest if is_signed else 0,
        vmax=largest,
    )
    _label_hertz(axes, epoch)
    for edge in epoch.explanation.band_edges_hz[1:-1]:
        axes.axhline(edge, color=_LIGHT, linewidth=0.6)
    method = epoch.explanation.method.replace("_", " ")
    target = epoch.explanation.target_names[epoch.place]
    sides = f"for {target} (purple) and against it (green)" if is_signed else f"for {target}"
    axes.set_title(f"What spoke {sides}, by band and second; method: {method}", loc="left", fontsize=9)
    _add_scale(axes, image, "Relevance")


def _label_hertz(axes, epoch: ExplainedEpoch) -> None:
    edges = epoch.explanation.band_edges_hz
    axes.set_yticks(edges if len(edges) < 12 else range(0, edges[-1] + 1, 4))
    axes.set_ylim(edges[0], edges[-1])
    axes.set_ylabel("Hz")


def _add_scale(axes, image, label: str) -> None:
    scale = axes.inset_axes([1.012, 0, 0.012, 1])  # beside the picture, so that the time axes keep one width
    axes.figure.colorbar(image, cax=scale, label=label)


def _draw_probabilities(axes, epoch: ExplainedEpoch) -> None:
    values = [epoch.hypnogram.probabilities[epoch.number, STAGES.index(stage)] for stage in PLOT_ORDER]
    axes.barh(PLOT_ORDER, values, color=[STAGE_COLOURS[stage] for stage in PLOT_ORDER])
    for height, (stage, value) in enumerate(zip(PLOT_ORDER, values)):
        weight = "bold" if stage == epoch.stage else "normal"
        axes.text(value + 0.02, height, f"{100 * value:.0f} %", va="center", fontsize=9, weight=weight)
    axes.set_xlim(0, 1.2)
    axes.set_xticks([])
    axes.tick_params(left=False)
    axes.spines[:].set_visible(False)
    axes.set_title("Probabilities", loc="left", fontsize=9)


def _draw_neighbours(axes, epoch: ExplainedEpoch) -> None:
    shares, members = neighbour_shares(epoch.explanation, epoch.place)
    is_other = members != epoch.number
    minutes = (members - epoch.number) * epoch.seconds / 60
    colours = [STAGE_COLOURS[stage] for stage in epoch.hypnogram.stages[members[is_other]]]
    axes.bar(minutes[is_other], 100 * shares[is_other], 0.9 * epoch.seconds / 60, color=colours)
    axes.axvline(0, color=_DARK, linewidth=0.8)
    axes.axhline(0, color=_GREY, linewidth=0.6)
    axes.set_xlabel("min before and after")
    axes.set_ylabel("Share of the weight (%)")
    axes.spines[["top", "right"]].set_visible(False)
    own = 100 * shares[~is_other].sum()
    heading = f"Neighbours, coloured by stage;\nthis epoch itself: {own:.0f} %"
    text = axes.text(0, 1.03, heading, transform=axes.transAxes, fontsize=9)
    text.set_in_layout(False)  # the row above has room, and the time axes beside should not move apart

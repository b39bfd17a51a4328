"""Join the parts of the report and write the page."""

import hashlib
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from transformers.utils import cached_file

from modeling_sleepvit import Hypnogram, Recording, SleepStagingPipeline
from modeling_sleepvit.metrics_sleepvit import expected_review
from modeling_sleepvit.recordings import printable
from modeling_sleepvit.stages import PLOT_ORDER, SLEEP_STAGES, STAGE_COLOURS, STAGES, UNSCORED
from modeling_sleepvit.whole_files import written_whole

from ..night_times import time_label
from . import cautions, charts, traces
from .explained import explained_epochs, packed


N_REVIEWED = 40
"""Epochs of the list; the slider of the page goes beyond it."""

STATISTICS = (
    ("time_in_bed_min", "Time in bed (TIB)", "min"),
    ("total_sleep_time_min", "Total sleep time (TST)", "min"),
    ("sleep_efficiency_percent", "Sleep efficiency (TST of TIB)", "%"),
    ("sleep_onset_latency_min", "Sleep onset latency", "min"),
    ("rem_latency_min", "REM latency, from sleep onset", "min"),
    ("wake_after_sleep_onset_min", "Wake after sleep onset (WASO)", "min"),
    ("sleep_period_time_min", "Sleep period", "min"),
    ("unscored_min", "Not scored", "min"),
    ("n_awakenings", "Awakenings", ""),
    ("n_stage_shifts", "Stage shifts", ""),
)
HEADLINES = (
    ("total_sleep_time_min", "Total sleep time"),
    ("sleep_efficiency_percent", "Sleep efficiency"),
    ("sleep_onset_latency_min", "Sleep latency"),
    ("wake_after_sleep_onset_min", "WASO"),
    ("rem_latency_min", "REM latency"),
)
_CHECKSUM_DIGITS = 8


def write_night_report(path: Path, stager: SleepStagingPipeline, recording: Recording, hypnogram: Hypnogram) -> None:
    """Write the report of a staged night: one HTML file that needs nothing else, there whole or not at all.

    Args:
        path: the file.
        stager: the pipeline that staged the night; it explains some of its epochs.
        recording: the signal; the page shows its first channel.
        hypnogram: stages, probabilities and notes.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    text = environment.get_template("page.html").render(page_values(stager, recording, hypnogram))
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def page_values(stager: SleepStagingPipeline, recording: Recording, hypnogram: Hypnogram) -> dict:
    """Compute all that the page shows.

    Args:
        stager: as for `write_night_report`.
        recording: as for `write_night_report`.
        hypnogram: as for `write_night_report`.

    Returns:
        the values of `page.html`; `night` is what its script reads.
    """
    prepared = stager.preprocess(recording, **stager._preprocess_params)  # what the stager was made with
    order, agreement = expected_review(hypnogram.probabilities)
    explained = explained_epochs(stager, prepared, recording, hypnogram, order)
    picture, darkest, brightest = charts.spectrogram_picture(recording, hypnogram)
    # channels vote, each on its own, or are read together
    channel_values = np.concatenate(list(prepared["input_values"].numpy()), axis=1)  # (epochs, channels, rows, s)
    checkpoint = Path(stager.model.name_or_path)
    return {
        "title": recording.id,
        "facts": facts_of(recording, hypnogram),
        "made": {
            "software": software_version(),
            "checkpoint": printable(checkpoint.name if checkpoint.is_dir() else str(checkpoint)) or "never saved",
            "checksum": weights_checksum(stager),
            "date": f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}",
        },
        "channel": recording.channel_names[0],
        "n_channels": len(recording.channel_names),
        "statistics": hypnogram.statistics(),
        "statistic_rows": STATISTICS,
        "headlines": HEADLINES,
        "unit_of": {name: unit for name, _, unit in STATISTICS},
        "stage_rows": stage_rows(hypnogram),
        "cautions": cautions.cautions_of(recording, hypnogram, channel_values, stager.feature_extractor, agreement[0]),
        "notes": hypnogram.notes,
        "agreement": agreement,
        "n_reviewed": min(N_REVIEWED, len(order)),
        "review_rows": review_rows(hypnogram, order[:N_REVIEWED], agreement),
        "n_epochs": hypnogram.n_epochs,
        "epoch_seconds": hypnogram.epoch_seconds,
        "stages": hypnogram.stages.tolist(),
        "stage_colours": STAGE_COLOURS,
        "plot_order": PLOT_ORDER[::-1],
        "unscored": UNSCORED,
        "level_of": charts.level_of,
        "steps": charts.hypnogram_steps(hypnogram),
        "areas": charts.hypnodensity_areas(hypnogram.probabilities),
        "ticks": charts.time_ticks(hypnogram),
        "is_clock": hypnogram.start is not None,
        "spectrogram": picture,
        "decibels": (darkest, brightest),
        "spectrum_colours": charts.colour_stops(charts.SPECTRUM_COLOURS),
        "display": traces,
        "bands": cautions.BANDS_HZ,
        "night": night_values(recording, hypnogram, order, agreement, explained),
        "is_calibrated": stager.model.config.temperature is not None,
    }


def night_values(
    recording: Recording, hypnogram: Hypnogram, order: np.ndarray, agreement: np.ndarray, explained: dict
) -> dict:
    """Collect what the script of the page reads, as JSON holds it.

    Args:
        recording: the signal.
        hypnogram: its stages.
        order: epochs in the order of a review.
        agreement: expected after each number of reviewed epochs.
        explained: see `explained_epochs`.

    Returns:
        numbers by epoch; the EEG as base64 of signed bytes, each a multiple of the epoch's step in uV.
    """
    shown = traces.display_traces(recording, hypnogram.n_epochs, hypnogram.epoch_seconds)
    return {
        "epochSeconds": hypnogram.epoch_seconds,
        "times": [time_label(hypnogram, epoch * hypnogram.epoch_seconds) for epoch in range(hypnogram.n_epochs)],
        "stageNames": STAGES,
        "stages": hypnogram.stages.tolist(),
        "probabilities": [
            None if np.isnan(row).any() else [round(value, 4) for value in row.tolist()]
            for row in hypnogram.probabilities
        ],
        "reviewOrder": order.tolist(),
        "agreement": agreement.round(5).tolist() if len(order) else [],  # JSON has no NaN
        "eegRate": traces.DISPLAY_RATE_HZ,
        "eegMissing": traces.MISSING,
        "eegStepUv": [round(float(step), 4) for step in shown.step_uv],
        "eeg": packed(shown.values),
        "explained": explained,
    }


def facts_of(recording: Recording, hypnogram: Hypnogram) -> list[tuple[str, str]]:
    """List what was recorded.

    Args:
        recording: the signal.
        hypnogram: its stages.

    Returns:
        pairs of a name and a value.
    """
    file = printable(recording.path.name) if recording.path else recording.id
    hours, rest = divmod(round(recording.duration_s), 3600)
    channels = ", ".join(recording.channel_names)
    return [
        ("File", file),
        (
            "Channel" if len(recording.channel_names) == 1 else "Channels",
            f"{channels} at {recording.sampling_rate:g} Hz",
        ),
        ("Start", f"{recording.start:%Y-%m-%d %H:%M:%S}" if recording.start else "not known"),
        ("Duration", f"{hours} h {rest // 60:02d} min, {hypnogram.n_epochs:,} epochs"),
    ]


def software_version() -> str:
    """Return the installed version of the package."""
    try:
        return version("sleepvit")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "not installed"


def weights_checksum(stager: SleepStagingPipeline) -> str | None:
    """Compute the first digits of what `sha256sum model.safetensors` prints.

    Args:
        stager: its model was loaded from a folder or from the Hub.

    Returns:
        eight hexadecimal digits; None where the weights lie in no such file.
    """
    model = stager.model
    try:
        file = cached_file(
            model.name_or_path,
            "model.safetensors",
            revision=getattr(model.config, "_commit_hash", None),  # known for what the Hub gave
        )
    except OSError:
        return None
    with open(file, "rb") as weights:
        return hashlib.file_digest(weights, "sha256").hexdigest()[:_CHECKSUM_DIGITS]


def stage_rows(hypnogram: Hypnogram) -> list[dict]:
    """Make the table of stages.

    Args:
        hypnogram: with probabilities.

    Returns:
        for W, R, N1, N2 and N3: `stage`, `minutes`, `percent` of total sleep time (NaN for W), and
        `expected_minutes`, what its probabilities sum to.
    """
    statistics = hypnogram.statistics()
    expected = np.nansum(hypnogram.probabilities, axis=0) * hypnogram.epoch_seconds / 60
    return [
        {
            "stage": stage,
            "minutes": statistics["wake_min" if stage == "W" else f"{stage}_min"],
            "percent": statistics[f"{stage}_percent"] if stage in SLEEP_STAGES else float("nan"),
            "expected_minutes": float(expected[STAGES.index(stage)]),
        }
        for stage in PLOT_ORDER[::-1]
    ]


def review_rows(hypnogram: Hypnogram, order: np.ndarray, agreement: np.ndarray) -> list[dict]:
    """Make the list of epochs worth a human look.

    Args:
        hypnogram: with probabilities.
        order: its epochs.
        agreement: expected agreement after each number of reviewed epochs.

    Returns:
        for each epoch `epoch`, `time`, `first` and `second` (the two most probable stages with their probabilities)
        and `agreement` once it is reviewed, too.
    """
    rows = []
    for n_reviewed, epoch in enumerate(order.tolist(), start=1):
        ranked = np.argsort(-hypnogram.probabilities[epoch], kind="stable")[:2]
        first, second = ((STAGES[index], hypnogram.probabilities[epoch, index]) for index in ranked)
        rows.append(
            {
                "epoch": epoch,
                "time": time_label(hypnogram, epoch * hypnogram.epoch_seconds),
                "first": first,
                "second": second,
                "agreement": agreement[n_reviewed],
            }
        )
    return rows


def number(value: float, decimals: int = 0) -> str:
    """Format a number for the page.

    Args:
        value: the number; NaN where it does not exist.
        decimals: how many.

    Returns:
        text; a dash for NaN.
    """
    return "–" if np.isnan(value) else f"{value:,.{decimals}f}".replace("-", "−")

"""What a reader of a night should be warned of before its stages are believed."""

from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from modeling_sleepvit.feature_extraction_sleepvit import SleepViTFeatureExtractor
from modeling_sleepvit.hypnogram import Hypnogram
from modeling_sleepvit.recordings import Recording, two_digits
from modeling_sleepvit.signal_quality import epoch_faults
from modeling_sleepvit.spectral_rows import row_extremes
from modeling_sleepvit.stages import SLEEP_STAGES, STAGES, UNSCORED

from ..night_times import time_label
from ..running import counted


BANDS_HZ = {"delta": (0, 4), "theta": (4, 8), "alpha": (8, 12), "sigma": (12, 16), "beta": (16, 32)}

UNUSUAL_DECADES = 0.4
"""No band of the 39 nights of Sleep-EDF-20 lies more than 0.32 decades of power from their mean."""

USUAL_UV = (2, 64)
"""The median of |EEG| lies between 6 and 21 uV in those nights; a factor of three beyond is no matter of montage."""

LOW_AGREEMENT = 0.75
"""Hardly any of those nights, each staged by a model that had not seen it, expects less."""

LONG_WAKE_MIN = 60
_MOST_STRETCHES = 6


@dataclass(frozen=True)
class Caution:
    """One warning: what it is about, and a sentence or two."""

    title: str
    text: str


def cautions_of(
    recording: Recording,
    hypnogram: Hypnogram,
    input_values: np.ndarray,
    extractor: SleepViTFeatureExtractor,
    agreement: float,
) -> list[Caution]:
    """Look for what makes a night doubtful.

    Args:
        recording: the signal.
        hypnogram: the stages.
        input_values: (epochs, channels of the recording, rows, seconds), what the model read.
        extractor: made them, and knows the training nights where its scaling is "anchored".
        agreement: expected share of right epochs, 0 to 1, NaN without any.

    Returns:
        the warnings, those about the signal first.
    """
    found = []
    for channel, name in enumerate(recording.channel_names):
        waveform = recording.signals[channel]
        faults = epoch_faults(waveform, recording.sampling_rate, hypnogram.epoch_seconds)[: hypnogram.n_epochs]
        is_sound = (faults == "") & (hypnogram.stages != UNSCORED)
        of_channel = [
            *_unscorable(faults, hypnogram),
            *_amplitude(waveform),
            *_spectrum(input_values[is_sound, channel, None], extractor),
        ]
        if len(recording.channel_names) > 1:
            of_channel = [replace(caution, title=f"{caution.title} of {name}") for caution in of_channel]
        found += of_channel
    found += [*_stages(hypnogram), *_wake_around(hypnogram)]
    if agreement < LOW_AGREEMENT:
        found.append(
            Caution(
                "Low certainty",
                f"The model expects to agree with a scorer in {agreement:.0%} of the epochs only; nights of the "
                "training's kind lie above. Score this night by hand, or try another channel.",
            )
        )
    return found


def _unscorable(faults: np.ndarray, hypnogram: Hypnogram) -> list[Caution]:
    stretches, epoch = {}, 0
    for fault, run in groupby(faults.tolist()):
        length = len(list(run))
        if fault:
            stretches.setdefault(fault, []).append((epoch, length))
        epoch += length
    found = []
    for fault, places in stretches.items():
        n_epochs = sum(length for _, length in places)
        is_unscored = (hypnogram.stages[faults == fault] == UNSCORED).all()
        consequence = "cannot be scored" if is_unscored else "had no vote of this channel"
        listed = [_stretch(hypnogram, *place) for place in places[:_MOST_STRETCHES]]
        if len(places) > _MOST_STRETCHES:
            listed.append(f"and {len(places) - _MOST_STRETCHES} more stretches")
        found.append(
            Caution(
                f"{fault.capitalize()} signal",
                f"{counted(n_epochs, 'epoch')} of {hypnogram.n_epochs:,} {consequence}: {', '.join(listed)}.",
            )
        )
    return found


def _stretch(hypnogram: Hypnogram, first: int, length: int) -> str:
    start, end = (time_label(hypnogram, epoch * hypnogram.epoch_seconds) for epoch in (first, first + length))
    return f"{start} to {end} (epoch {first}{f' to {first + length - 1}' if length > 1 else ''})"


def _amplitude(waveform: np.ndarray) -> list[Caution]:
    waveform = waveform[np.isfinite(waveform)]
    typical_uv = float(np.median(np.abs(waveform - np.median(waveform)))) if waveform.size else 0.0
    if typical_uv == 0 or USUAL_UV[0] <= typical_uv <= USUAL_UV[1]:
        return []
    size = "small" if typical_uv < USUAL_UV[0] else "large"
    return [
        Caution(
            "Scale",
            f"The signal is unusually {size} for scalp EEG: half of it lies within {two_digits(typical_uv)} µV of its "
            f"middle, expected {USUAL_UV[0]} to {USUAL_UV[1]} µV. Check unit and gain; the stages hardly depend on "
            "them, every µV on this page does.",
        )
    ]


def _spectrum(input_values: np.ndarray, extractor: SleepViTFeatureExtractor) -> list[Caution]:
    deviation = spectrum_deviation(input_values, extractor)
    if deviation is None:
        return []
    edges, found = np.array(extractor.row_edges_hz), []
    for band, (low, high) in BANDS_HZ.items():
        rows = deviation[(edges[:-1] >= low) & (edges[1:] <= high)]
        if rows.size and np.isnan(rows).all():
            found.append(f"{band} ({low} to {high} Hz) was not recorded or was filtered away, and is left out")
        elif rows.size and abs(mean := np.nanmean(rows)) > UNUSUAL_DECADES:
            where = "above" if mean > 0 else "below"
            found.append(f"{band} ({low} to {high} Hz) lies {abs(10 * mean):.0f} dB {where} the training nights")
    if not found:
        return []
    text = "; ".join(found)
    reasons = "Another montage, a filter, muscle or mains noise, medication or age can do this."
    return [Caution("Unusual spectrum", f"{text[0].upper()}{text[1:]}. {reasons}")]


def spectrum_deviation(input_values: np.ndarray, extractor: SleepViTFeatureExtractor) -> np.ndarray | None:
    """Measure how far the spectrum of a night lies from the mean of the training nights, both at the same level.

    Args:
        input_values: (epochs, channels, rows, seconds), what the model read; the first channel counts.
        extractor: made them.

    Returns:
        (rows,) decades of power density, NaN for rows that were not recorded; None where the extractor does not know
        the training nights or there is no epoch.
    """
    if extractor.scaling != "anchored" or not len(input_values):
        return None
    centre = row_extremes(input_values).mean(axis=0)[0]  # what anchoring left of the distance, over the spread
    centre[(input_values[:, 0] == 0).all(axis=(0, 2))] = np.nan
    return centre * np.asarray(extractor.row_spread) / (1 - extractor.own_share)


def _stages(hypnogram: Hypnogram) -> list[Caution]:
    if not np.isin(hypnogram.stages, STAGES).any():
        return [Caution("No stages", "No epoch of this recording could be scored.")]
    if not np.isin(hypnogram.stages, SLEEP_STAGES).any():
        return [Caution("No sleep", "Every epoch that could be scored was staged W.")]
    missing = [stage for stage in STAGES if stage not in hypnogram.stages]
    if not missing:
        return []
    text = f"No epoch was staged {' or '.join(missing)}."
    if "R" in missing:
        text += (
            " R can be absent from a short or disturbed night; it is also what a model misses on a montage it does "
            "not know."
        )
    return [Caution("Missing stages", text)]


def _wake_around(hypnogram: Hypnogram) -> list[Caution]:
    asleep = np.flatnonzero(np.isin(hypnogram.stages, SLEEP_STAGES))
    if not asleep.size:
        return []
    minutes = hypnogram.epoch_seconds / 60
    before, after = asleep[0] * minutes, (hypnogram.n_epochs - 1 - asleep[-1]) * minutes
    if max(before, after) <= LONG_WAKE_MIN:
        return []
    return [
        Caution(
            "Wake around the night",
            f"The recording holds {before:.0f} min before and {after:.0f} min after sleep; all of it counts as "
            "time in bed. Cut it to lights off and lights on: much wake also shifts the scaling of the model's input.",
        )
    ]

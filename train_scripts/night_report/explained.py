"""Which epochs of a night the report explains, and their explanations as the page needs them."""

import base64

import numpy as np

from modeling_sleepvit import Hypnogram, Recording, SleepStagingPipeline
from modeling_sleepvit.errors import SettingError
from modeling_sleepvit.explain_sleepvit import Explanation
from modeling_sleepvit.night_figure import colour_limits
from modeling_sleepvit.stages import STAGES

from ..epoch_explanations import (
    TOP_FREQUENCY_HZ,
    epoch_decibels,
    explain_epochs,
    neighbour_shares,
    relevance_of_bands,
)


N_UNCERTAIN = 20
"""Each takes its time, see `benchmarks/faithfulness.py`; more would make a reader wait."""


def epochs_to_explain(hypnogram: Hypnogram, order: np.ndarray) -> list[int]:
    """Choose the clearest epoch of each stage and the least certain epochs of the night.

    Args:
        hypnogram: with probabilities.
        order: epochs from the least to the most certain, see `expected_review`.

    Returns:
        the epochs, ascending.
    """
    clearest = (order[hypnogram.stages[order] == stage][-1:] for stage in STAGES)
    return sorted({int(epoch) for chosen in (*clearest, order[:N_UNCERTAIN]) for epoch in chosen})


def explained_epochs(
    stager: SleepStagingPipeline, prepared: dict, recording: Recording, hypnogram: Hypnogram, order: np.ndarray
) -> dict:
    """Explain the chosen epochs.

    Args:
        stager: staged the night.
        prepared: what its `preprocess` made of the recording.
        recording: the signal.
        hypnogram: the stages.
        order: see `epochs_to_explain`.

    Returns:
        `method`, `decibels` (those of the darkest and the brightest colour) and `epochs`: for each epoch `relevance`
        and `spectrum`, base64 of one byte per Hz and second with 0 Hz first, `seconds`, the sums over bands as shares
        of the largest, and `neighbours`, pairs of another epoch and its share in percent. Relevance 128 is none, 255
        the most of the epoch and 1 as much against the stage; spectrum 0 is no power, 1 the darkest and 255 the
        brightest. Where no epoch can be explained, `epochs` is empty and `reason` says why.
    """
    is_scorable = ~np.asarray(prepared["is_unscorable"][0])
    epochs = [epoch for epoch in epochs_to_explain(hypnogram, order) if is_scorable[epoch]]
    if not epochs:
        return {"epochs": {}, "reason": "no epoch was scored."}
    try:
        explanation = explain_epochs(stager, prepared, hypnogram, epochs)
    except SettingError as error:  # such a model can still stage
        return {"epochs": {}, "reason": str(error)}
    decibels = epoch_decibels(recording, epochs, hypnogram.epoch_seconds)
    low, high = colour_limits(decibels)
    spectra = 1 + np.clip((decibels - low) / max(high - low, 1e-6), 0, 1) * 254
    bands = relevance_of_bands(explanation)
    seconds = shares_of_largest(bands.sum(axis=1))  # each band counts once, however many Hz it is wide
    rows = np.repeat(shares_of_largest(bands), np.diff(explanation.band_edges_hz), axis=1)  # of 1 Hz
    relevance = np.full((len(rows), TOP_FREQUENCY_HZ, rows.shape[2]), 128.0)
    relevance[:, : rows.shape[1]] += 127 * rows
    return {
        "method": explanation.method,
        "decibels": [round(low, 1), round(high, 1)],
        "epochs": {
            epoch: {
                "relevance": packed(relevance[place]),
                "spectrum": packed(np.nan_to_num(spectra[place])),
                "seconds": seconds[place].round(3).tolist(),
                "neighbours": neighbours_of(explanation, place),
            }
            for place, epoch in enumerate(epochs)
        },
    }


def shares_of_largest(values: np.ndarray) -> np.ndarray:
    """Divide the values of each epoch, (epochs, …), by the largest of its absolute values, if that is not 0."""
    largest = np.abs(values).max(axis=tuple(range(1, values.ndim)), keepdims=True)
    return values / np.where(largest > 0, largest, 1)


def packed(values: np.ndarray) -> str:
    """Round to bytes and encode them as base64.

    Args:
        values: of 0 to 255, or int8 as they are.

    Returns:
        text.
    """
    values = values if values.dtype == np.int8 else np.round(values).astype(np.uint8)
    return base64.b64encode(values.tobytes()).decode("ascii")


def neighbours_of(explanation: Explanation, place: int) -> list[tuple[int, float]]:
    """List what each epoch of the window did for the decision.

    Args:
        explanation: of a sequence model or another.
        place: of the decision.

    Returns:
        pairs of an epoch of the night and its share of all relevance in percent; none for an epoch model.
    """
    if explanation.epoch_relevance is None:
        return []
    shares, members = neighbour_shares(explanation, place)
    return [(int(epoch), round(float(100 * share), 2)) for epoch, share in zip(members, shares)]

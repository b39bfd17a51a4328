"""Explanations of chosen epochs of a recording, and the spectrograms they are held against."""

from collections.abc import Sequence

import numpy as np

from modeling_sleepvit import Hypnogram, Recording, SleepStagingPipeline
from modeling_sleepvit.explain_sleepvit import DEFAULT_METHOD, Explanation, explain_night
from modeling_sleepvit.spectral_rows import one_hertz_power, to_whole_rate


TOP_FREQUENCY_HZ = 32


def explain_epochs(
    stager: SleepStagingPipeline,
    prepared: dict,
    hypnogram: Hypnogram,
    epochs: Sequence[int],
    target: str | None = None,
    method: str = DEFAULT_METHOD,
) -> Explanation:
    """Explain stages from the recording's first channel, or from all where the model reads them together.

    Args:
        stager: the pipeline that staged the night.
        prepared: what its `preprocess` made of the recording.
        hypnogram: the stages.
        epochs: which epochs, from 0.
        target: the stage to explain; None explains the one that each epoch was given.
        method: see `explain`.

    Returns:
        the explanation, whose relevance is (epochs, bands, seconds): summed over channels where each has its tokens.

    Raises:
        SettingError: an epoch is not in the night or cannot be scored, or the method does not exist.
    """
    return explain_night(
        stager.model,
        prepared["input_values"][0],
        epochs,
        target=hypnogram.stages[list(epochs)].tolist() if target is None else target,
        method=method,
        is_scorable=~prepared["is_unscorable"][0],
        row_edges_hz=stager.feature_extractor.row_edges_hz,
    )


def relevance_of_bands(explanation: Explanation) -> np.ndarray:
    """Sum relevance over channels where each has tokens of its own.

    Args:
        explanation: of single epochs.

    Returns:
        (epochs, bands, seconds).
    """
    relevance = explanation.relevance
    return relevance.sum(axis=1) if relevance.ndim == 4 else relevance


def neighbour_shares(explanation: Explanation, place: int) -> tuple[np.ndarray, np.ndarray]:
    """Tell what each epoch of the window did for a decision, as a share of all.

    Args:
        explanation: of a sequence model, from `explain_night`.
        place: of the decision.

    Returns:
        shares, whose absolute values sum to 1, and the epochs of the night they belong to.
    """
    members, weights = explanation.window[place], explanation.epoch_relevance[place]
    is_epoch = members >= 0
    total = np.abs(weights[is_epoch]).sum() or 1.0
    return weights[is_epoch] / total, members[is_epoch]


def epoch_decibels(recording: Recording, epochs: Sequence[int], epoch_seconds: float) -> np.ndarray:
    """Compute the spectrogram of single epochs as the model's feature extractor does, second by second.

    Args:
        recording: its first channel is taken.
        epochs: which epochs, from 0.
        epoch_seconds: length of an epoch, whole seconds.

    Returns:
        (epochs, 32, seconds) dB relative to 1 uV^2/Hz; row k is k Hz; NaN where there is no power.
    """
    waveform, rate = to_whole_rate(recording.signals[0], recording.sampling_rate)
    n_samples = int(epoch_seconds * rate)
    signals = np.stack([waveform[epoch * n_samples : (epoch + 1) * n_samples] for epoch in epochs])
    power = one_hertz_power(signals[:, None], rate)[:, 0, :TOP_FREQUENCY_HZ]
    known = np.full((len(signals), TOP_FREQUENCY_HZ, power.shape[-1]), np.nan)
    known[:, : power.shape[1]] = np.where(power > 0, power, np.nan)
    return 10 * np.log10(known)

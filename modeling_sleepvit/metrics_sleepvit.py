"""Agreement between a scoring and predicted stages, in the figures the field reports."""

import numpy as np

from .errors import DatasetError, UnknownStageError
from .stages import IGNORED_ID, STAGES


N_STAGES = len(STAGES)

# As for a hypnogram: wide enough for bfloat16 and rounded files, narrow enough to notice logits.
_PROBABILITY_SUM_TOLERANCE = 1e-2


def staging_metrics(labels: np.ndarray, predictions: np.ndarray) -> dict:
    """Compare predicted stage ids with scored ones, pooled over all epochs.

    Args:
        labels: any shape, stage ids 0..4; epochs with -100 are left out.
        predictions: as `labels`; a negative id (an epoch called UNS) is left out too.

    Returns:
        `n_epochs`, the figures of `figures_of_confusion` as floats in 0..1 (kappa from -1), and `confusion_matrix` as
        lists, rows scored and columns predicted in the order of `STAGES`. Without any epoch scored in both, all
        figures are NaN.

    Raises:
        DatasetError: the shapes differ; it is a ValueError too.
        UnknownStageError: an id stands for no stage.
    """
    counts = confusion_matrix(labels, predictions)
    figures = {name: float(value) for name, value in figures_of_confusion(counts).items()}
    return {"n_epochs": int(counts.sum()), **figures, "confusion_matrix": counts.tolist()}


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Count how often each scored stage was predicted as each stage.

    Args:
        labels: any shape, stage ids 0..4; epochs with -100 are left out.
        predictions: as `labels`; a negative id is left out too.

    Returns:
        (5, 5) integers, rows scored and columns predicted in the order of `STAGES`.

    Raises:
        DatasetError: the shapes differ.
        UnknownStageError: an id stands for no stage.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.shape != predictions.shape:
        raise DatasetError(
            f"labels and predictions must have one shape, found: {labels.shape} and {predictions.shape}."
        )
    is_scored = scored_epochs(labels) & (predictions >= 0)
    if (predictions[is_scored] >= N_STAGES).any():
        raise UnknownStageError(
            f"predictions hold the stage id {predictions[is_scored].max()}: expected 0 to 4 for {', '.join(STAGES)}, "
            "or a negative id for an epoch without a stage."
        )
    pairs = labels[is_scored].astype(np.int64) * N_STAGES + predictions[is_scored].astype(np.int64)
    return np.bincount(pairs, minlength=N_STAGES**2).reshape(N_STAGES, N_STAGES)


def scored_epochs(labels: np.ndarray) -> np.ndarray:
    """Tell which epochs hold a scored stage.

    Args:
        labels: any shape, stage ids 0..4 or -100.

    Returns:
        booleans of the same shape, False where the label is -100.

    Raises:
        UnknownStageError: a label is another number.
    """
    labels = np.asarray(labels)
    is_scored = labels != IGNORED_ID
    # ids such as -1 would count as the last stage if they came through
    known = np.isin(labels[is_scored], np.arange(N_STAGES))
    if not known.all():
        raise UnknownStageError(
            f"labels hold the stage id {labels[is_scored][~known][0]}: expected 0 to 4 for {', '.join(STAGES)}, or "
            f"{IGNORED_ID} for an epoch that was not scored."
        )
    return is_scored


def figures_of_confusion(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Compute the figures of agreement from confusion matrices, of many at once.

    The one place with these formulas, for whole tables, single nights and thousands of resamples alike.

    Args:
        counts: (..., 5, 5) epochs, rows scored and columns predicted in the order of `STAGES`.

    Returns:
        arrays of shape (...): `accuracy`; `balanced_accuracy`, the mean recall of the stages that the scoring holds;
        `macro_f1`, the mean F1 of the stages that scoring or prediction hold; `kappa` of Cohen; `f1_W` to `f1_R`. The
        F1 of a stage that neither holds is NaN, kappa is NaN where both hold one and the same stage alone, and
        everything is NaN without any epoch.
    """
    counts = np.asarray(counts, dtype=np.float64)
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    scored, predicted = counts.sum(axis=-1), counts.sum(axis=-2)
    n_epochs, n_hits = scored.sum(axis=-1), hits.sum(axis=-1)
    f1 = _ratio(2 * hits, scored + predicted)
    return {
        "accuracy": _ratio(n_hits, n_epochs),
        "balanced_accuracy": _mean_of_known(_ratio(hits, scored)),
        "macro_f1": _mean_of_known(f1),
        "kappa": _kappa(n_hits, scored, predicted, n_epochs),
        **{f"f1_{stage}": f1[..., index] for index, stage in enumerate(STAGES)},
    }


def calibration_error(labels: np.ndarray, probabilities: np.ndarray, n_bins: int = 15) -> float:
    """Compute the expected calibration error of the largest probability.

    Args:
        labels: any shape, stage ids 0..4; epochs with -100 are left out.
        probabilities: (*shape of labels, 5) in the order of `STAGES`; epochs with a row of NaN are left out.
        n_bins: number of bins of equal width between 0 and 1.

    Returns:
        the mean distance between confidence and accuracy of the bins, each weighted with its share of the epochs;
        NaN without any epoch.

    Raises:
        DatasetError: the shapes do not fit, or rows are no probabilities.
        UnknownStageError: a label stands for no stage.

    Source:
        Guo et al., On Calibration of Modern Neural Networks (ICML 2017), equation 3.
    """
    n_epochs, confidence, n_right = calibration_bins(labels, probabilities, n_bins)
    return float(_ratio(np.abs(n_right - confidence).sum(), n_epochs.sum()))


def calibration_bins(labels: np.ndarray, probabilities: np.ndarray, n_bins: int = 15) -> np.ndarray:
    """Sort the epochs into bins of their largest probability; the sums of several tables may be added.

    Args:
        labels: as for `calibration_error`.
        probabilities: as for `calibration_error`.
        n_bins: number of bins of equal width; a bin holds its upper edge.

    Returns:
        (3, n_bins): number of epochs, sum of their largest probabilities, and how many of them were staged right.

    Raises:
        DatasetError: the shapes do not fit, or rows are no probabilities.
        UnknownStageError: a label stands for no stage.
    """
    labels, probabilities = _epochs_with_probabilities(labels, probabilities)
    confidence = probabilities.max(axis=1)
    # rounding may lift a probability of 1 a little beyond the last edge
    bins = np.clip(np.ceil(confidence * n_bins).astype(int) - 1, 0, n_bins - 1)
    is_right = probabilities.argmax(axis=1) == labels
    return np.stack([np.bincount(bins, weights, n_bins) for weights in (np.ones(len(bins)), confidence, is_right)])


def review_curve(
    labels: np.ndarray, probabilities: np.ndarray, target_kappa: float = 0.90, n_points: int = 101
) -> dict:
    """Find how agreement grows when an expert reviews the least certain epochs, that is gives them the scored stage.

    Epochs are reviewed from the smallest to the largest of their largest probabilities, equal ones in their order.

    Args:
        labels: any shape, stage ids 0..4; epochs with -100 are left out.
        probabilities: (*shape of labels, 5) in the order of `STAGES`; epochs with a row of NaN are left out.
        target_kappa: the agreement to reach.
        n_points: number of points of the curve, evenly from no epoch to all of them.

    Returns:
        `share`, `kappa` and `accuracy`, lists of `n_points` numbers, the share in 0..1; `target_kappa`; and
        `share_for_target`, the smallest share of the epochs, to one epoch, at which kappa reaches the target, NaN
        where it never does: without any epoch, or where all are scored as one stage.

    Raises:
        DatasetError: the shapes do not fit, or rows are no probabilities.
        UnknownStageError: a label stands for no stage.
    """
    labels, probabilities = _epochs_with_probabilities(labels, probabilities)
    order = np.argsort(probabilities.max(axis=1), kind="stable")
    labels, predictions = labels[order], probabilities[order].argmax(axis=1)
    n_epochs, one_hot = len(labels), np.eye(N_STAGES)
    # what k reviewed epochs change: wrong ones become right, and move from the predicted stage to the scored one
    n_hits = (labels == predictions).sum() + np.append(0, np.cumsum(labels != predictions))
    moved = np.vstack([np.zeros(N_STAGES), np.cumsum(one_hot[labels] - one_hot[predictions], axis=0)])
    scored = np.bincount(labels, minlength=N_STAGES).astype(np.float64)
    predicted = np.bincount(predictions, minlength=N_STAGES) + moved
    accuracy, kappa = _ratio(n_hits, n_epochs), _kappa(n_hits, scored, predicted, n_epochs)
    reached = np.flatnonzero(kappa >= target_kappa)
    # rounded down: no point counts more reviewed epochs than its share says
    points = np.arange(n_points) * n_epochs // (n_points - 1)
    return {
        "share": np.linspace(0, 1, n_points).tolist(),
        "kappa": kappa[points].tolist(),
        "accuracy": accuracy[points].tolist(),
        "target_kappa": float(target_kappa),
        "share_for_target": float(reached[0] / n_epochs) if reached.size else float("nan"),
    }


def expected_review(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predict how agreement grows when an expert reviews the epochs of a night that nobody has scored.

    An epoch is expected to agree as often as its largest probability says, and always once it is reviewed. Reviewing
    the least certain epochs first then gains most.

    Args:
        probabilities: (n_epochs, 5), calibrated; epochs with a row of NaN are left out.

    Returns:
        order (n_known,): the epochs from the most to the least worth a review, equal ones in their order; agreement
        (n_known + 1,): the expected share of the known epochs that agree once the first k of them are reviewed, NaN
        without any epoch.
    """
    confidence = np.asarray(probabilities, dtype=np.float64).max(axis=1)
    order = np.argsort(confidence, kind="stable")[: np.isfinite(confidence).sum()]  # NaN is sorted to the end
    gains = np.cumsum(1 - confidence[order])
    return order, _ratio(confidence[order].sum() + np.append(0, gains), len(order))


def _epochs_with_probabilities(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Check both and return the scored epochs that have probabilities, flat."""
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    if probabilities.shape != (*labels.shape, N_STAGES):
        raise DatasetError(
            f"probabilities have the shape {probabilities.shape}: expected {(*labels.shape, N_STAGES)}, five for each "
            f"of the labels in the order {', '.join(STAGES)}."
        )
    labels, probabilities = labels.reshape(-1), probabilities.reshape(-1, N_STAGES)
    absent = np.isnan(probabilities).all(axis=1)
    # a comparison with NaN is False, so a row with some NaN is bad without a test of its own
    good = (np.abs(probabilities.sum(axis=1) - 1) <= _PROBABILITY_SUM_TOLERANCE) & (probabilities >= 0).all(axis=1)
    if not (good | absent).all():
        row = int(np.flatnonzero(~(good | absent))[0])
        raise DatasetError(
            f"row {row} holds the probabilities {probabilities[row].tolist()}: expected five numbers from 0 to 1 that "
            "sum to 1 (apply a softmax to logits), or five NaN."
        )
    is_used = scored_epochs(labels) & ~absent
    return labels[is_used].astype(np.int64), probabilities[is_used]


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide; nothing by nothing is NaN without a warning."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.divide(numerator, denominator)


def _mean_of_known(values: np.ndarray) -> np.ndarray:
    """Average over the last axis what is not NaN; `np.nanmean` warns where nothing is."""
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0).sum(axis=-1), known.sum(axis=-1))


def _kappa(n_hits: np.ndarray, scored: np.ndarray, predicted: np.ndarray, n_epochs: np.ndarray) -> np.ndarray:
    """Compute Cohen's kappa from whole numbers, so that agreement by chance of 1 is 0 / 0 and not a rounding error."""
    by_chance = (scored * predicted).sum(axis=-1)
    return _ratio(n_epochs * np.asarray(n_hits, dtype=np.float64) - by_chance, np.square(n_epochs) - by_chance)

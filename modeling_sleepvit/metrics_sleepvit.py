"""Agreement between a scoring and predicted stages, in the figures the field reports."""

import numpy as np

from .stages import IGNORED_ID, STAGES


try:
    from sklearn import metrics as sklearn_metrics
except ImportError:  # staging alone does not need it
    sklearn_metrics = None


def staging_metrics(labels: np.ndarray, predictions: np.ndarray) -> dict:
    """Compare predicted stage ids with scored ones, pooled over all epochs.

    Args:
        labels: any shape, stage ids 0..4; epochs with -100 are left out.
        predictions: as `labels`; a negative id (an epoch called UNS) is left out too.

    Returns:
        `n_epochs`, `accuracy`, `macro_f1`, `kappa` (Cohen) and `f1_W` to `f1_R`, all but the first in 0..1, and
        `confusion_matrix` as lists, rows scored and columns predicted in the order of `STAGES`. The F1 of a stage
        that neither scoring nor prediction holds is NaN and left out of the mean; kappa is NaN where both hold one
        and the same stage alone; without any epoch scored in both, all figures are NaN.

    Raises:
        ImportError: scikit-learn is not installed.
        ValueError: the shapes differ.
    """
    if sklearn_metrics is None:
        raise ImportError("staging_metrics needs scikit-learn: pip install scikit-learn")
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.shape != predictions.shape:
        raise ValueError(f"labels and predictions must have one shape, found: {labels.shape} and {predictions.shape}")
    is_scored = (labels != IGNORED_ID) & (predictions >= 0)
    labels, predictions = labels[is_scored], predictions[is_scored]
    ids = range(len(STAGES))
    confusion_matrix = np.zeros((len(STAGES), len(STAGES)), dtype=int)
    np.add.at(confusion_matrix, (labels, predictions), 1)
    accuracy = kappa = macro_f1 = np.nan
    f1 = np.full(len(STAGES), np.nan)
    if labels.size:  # scikit-learn refuses empty input
        accuracy = (labels == predictions).mean()
        f1 = sklearn_metrics.f1_score(labels, predictions, labels=ids, average=None, zero_division=np.nan)
        macro_f1 = np.nanmean(f1)
        if np.union1d(labels, predictions).size > 1:  # else agreement by chance is 1 and kappa 0 / 0
            kappa = sklearn_metrics.cohen_kappa_score(labels, predictions)
    return {
        "n_epochs": int(labels.size),
        "accuracy": float(accuracy),
        "macro_f1": float(macro_f1),
        "kappa": float(kappa),
        **{f"f1_{stage}": float(value) for stage, value in zip(STAGES, f1)},
        "confusion_matrix": confusion_matrix.tolist(),
    }

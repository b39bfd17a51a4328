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
        that neither scoring nor prediction holds is NaN and left out of the mean.

    Raises:
        ImportError: scikit-learn is not installed.
        ValueError: the shapes differ or no epoch is scored.
    """
    if sklearn_metrics is None:
        raise ImportError("staging_metrics needs scikit-learn: pip install scikit-learn")
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.shape != predictions.shape:
        raise ValueError(f"labels and predictions must have one shape, found: {labels.shape} and {predictions.shape}")
    is_scored = (labels != IGNORED_ID) & (predictions >= 0)
    labels, predictions = labels[is_scored], predictions[is_scored]
    if labels.size == 0:
        raise ValueError("no epoch is scored in both labels and predictions")
    ids = range(len(STAGES))
    f1 = sklearn_metrics.f1_score(labels, predictions, labels=ids, average=None, zero_division=np.nan)
    return {
        "n_epochs": int(labels.size),
        "accuracy": float((labels == predictions).mean()),
        "macro_f1": float(np.nanmean(f1)),
        "kappa": float(sklearn_metrics.cohen_kappa_score(labels, predictions, labels=ids)),
        **{f"f1_{stage}": float(value) for stage, value in zip(STAGES, f1)},
        "confusion_matrix": sklearn_metrics.confusion_matrix(labels, predictions, labels=ids).tolist(),
    }

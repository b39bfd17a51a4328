"""Figures of a table of predictions: pooled, by recording, by subject, with intervals over subjects, and of sleep.

A table has one row per epoch: `label` (0..4, -100 not scored) and either the probabilities `p_W` to `p_R`, as
`evaluate_checkpoint.predict_night` makes it, or `prediction` (0..4, negative without a stage), which comes first where
there are both. `subject`, `recording` and `epoch` decide which figures there are. Nothing here needs a model.
"""

import json

import numpy as np
import pandas as pd

from modeling_sleepvit.errors import DatasetError, SettingError
from modeling_sleepvit.hypnogram import EPOCH_SECONDS, PROBABILITY_COLUMNS, Hypnogram
from modeling_sleepvit.metrics_sleepvit import (
    calibration_bins,
    calibration_error,
    confusion_matrix,
    figures_of_confusion,
    review_curve,
    scored_epochs,
    staging_metrics,
)
from modeling_sleepvit.stages import IGNORED_ID, STAGES, stages_from_ids


DISTRIBUTION_FIGURES = ("kappa", "accuracy", "macro_f1")

INTERVAL_FIGURES = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "kappa",
    *(f"f1_{stage}" for stage in STAGES),
    "calibration_error",
)

STRETCH_EPOCHS = 120
"""Epochs of an hour."""

SLEEP_STATISTICS = ("total_sleep_time_min", "sleep_efficiency_percent", "wake_after_sleep_onset_min")


def figures_of_predictions(
    predictions: pd.DataFrame,
    epoch_seconds: float = EPOCH_SECONDS,
    n_resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict:
    """Compute all figures that the columns of a table of predictions allow.

    Args:
        predictions: see the head of this module.
        epoch_seconds: length of an epoch in s, for the sleep statistics.
        n_resamples: number of resamples for the intervals; 0 leaves them out.
        confidence: share of the resamples that an interval holds.
        seed: of the resampling.

    Returns:
        the figures of `staging_metrics` over all epochs; with probabilities `calibration_error` and `review` (see
        `review_curve`); with the column `recording` `n_recordings`, `per_recording` (see `distribution`) and
        `sleep_statistics` (see `statistics_agreement`); with the column `subject` `n_subjects`, `per_subject` and
        `intervals` (see `bootstrap_intervals`).

    Raises:
        DatasetError: a column is missing, does not fit, or an epoch is there twice.
        UnknownStageError: an id stands for no stage.
    """
    predictions = checked_predictions(predictions)
    labels = predictions["label"].to_numpy()
    figures = staging_metrics(labels, predictions["prediction"].to_numpy())
    if _has_probabilities(predictions):
        probabilities = predictions[list(PROBABILITY_COLUMNS)].to_numpy()
        figures["calibration_error"] = calibration_error(labels, probabilities)
        figures["review"] = review_curve(labels, probabilities)
    if "recording" in predictions:
        recordings = figures_by(predictions, "recording")
        figures["n_recordings"] = len(recordings)
        figures["per_recording"] = distribution(recordings)
        figures["sleep_statistics"] = statistics_agreement(statistics_errors(predictions, epoch_seconds))
    if "subject" in predictions:
        subjects = figures_by(predictions, "subject")
        figures["n_subjects"] = len(subjects)
        figures["per_subject"] = distribution(subjects)
        if n_resamples:
            figures["intervals"] = bootstrap_intervals(predictions, n_resamples, confidence, seed)
    return figures


def checked_predictions(predictions: pd.DataFrame) -> pd.DataFrame:
    """Check a table of predictions, sort it by night and epoch, and give it the column `prediction`.

    Args:
        predictions: see the head of this module.

    Returns:
        a table of its own; `prediction` is that of the table, else the most probable stage, -100 where there is none.

    Raises:
        DatasetError: a column is missing, or an epoch is there twice.
    """
    missing = [column for column in PROBABILITY_COLUMNS if column not in predictions]
    if "label" not in predictions or ("prediction" not in predictions and missing):
        raise DatasetError(
            f"the predictions have the columns {', '.join(map(str, predictions.columns))}: expected label and either "
            f"prediction or {', '.join(PROBABILITY_COLUMNS)}."
        )
    night = _night_columns(predictions)
    for column in ("label", *night):
        if predictions[column].isna().any():
            row = predictions.index[predictions[column].isna()][0]
            raise DatasetError(f"the predictions have no {column} in row {row}: expected one for every epoch.")
    for column in ("label", "prediction"):
        if column in predictions and not pd.api.types.is_integer_dtype(predictions[column]):
            raise DatasetError(
                f"the column {column} of the predictions holds {predictions[column].dtype}: expected whole numbers, 0 "
                f"to 4 for {', '.join(STAGES)}; translate stages with ids_from_stages."
            )
    if "recording" in predictions and "epoch" in predictions:
        twice = predictions.duplicated([*night, "epoch"])
        if twice.any():
            row = predictions[twice].iloc[0]
            raise DatasetError(
                f"the predictions hold epoch {row['epoch']} of the recording {row['recording']} twice: expected one "
                "row per epoch; leave out folds or models that staged the same night."
            )
        predictions = predictions.sort_values([*night, "epoch"])
    predictions = predictions.reset_index(drop=True)
    if "prediction" not in predictions:
        probabilities = predictions[list(PROBABILITY_COLUMNS)].to_numpy(dtype=np.float64)
        known = ~np.isnan(probabilities).any(axis=1)
        predictions["prediction"] = np.where(known, np.where(known[:, None], probabilities, 0).argmax(1), IGNORED_ID)
    return predictions


def figures_by(predictions: pd.DataFrame, unit: str) -> pd.DataFrame:
    """Compute the figures of each recording or subject on its own.

    Args:
        predictions: see the head of this module.
        unit: "recording" or "subject"; recordings of one name are two where their subjects differ.

    Returns:
        one row per unit: its name (for a recording `subject` too, where known), `n_epochs` scored and predicted, and
        the figures of `figures_of_confusion`; NaN where a figure is undefined.

    Raises:
        DatasetError: a column is missing, or an epoch is there twice.
        UnknownStageError: an id stands for no stage.
    """
    names, counts = _confusion_by(checked_predictions(predictions), unit)
    return names.assign(n_epochs=counts.sum(axis=(1, 2)), **figures_of_confusion(counts))


def distribution(figures: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Summarise the figures of the recordings or of the subjects.

    Args:
        figures: as `figures_by` returns them.

    Returns:
        for each of `DISTRIBUTION_FIGURES` `median`, `lower_quartile`, `upper_quartile` and `n`, the number of units
        for which the figure is defined; NaN where there are none.
    """
    summary = {}
    for name in DISTRIBUTION_FIGURES:
        known = figures[name].dropna()
        lower, median, upper = (float(known.quantile(share)) for share in (0.25, 0.5, 0.75))
        summary[name] = {"median": median, "lower_quartile": lower, "upper_quartile": upper, "n": len(known)}
    return summary


def bootstrap_intervals(
    predictions: pd.DataFrame, n_resamples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> dict[str, list[float]]:
    """Estimate how far the pooled figures would move with other subjects of the same kind.

    Subjects are drawn with replacement, as many as there are, and all their epochs are pooled each time: epochs and
    nights of one person are no independent observations. With few subjects such intervals are too narrow.

    Args:
        predictions: see the head of this module, with the column `subject`.
        n_resamples: number of resamples.
        confidence: share of the resamples that an interval holds.
        seed: of the resampling.

    Returns:
        [lower, upper] percentiles for each of `INTERVAL_FIGURES`, `calibration_error` only with probabilities; NaN
        with fewer than two subjects that have scored epochs. Resamples in which a figure is undefined, such as the F1
        of a stage they lack, are left out of its interval.

    Raises:
        DatasetError: a column is missing, or an epoch is there twice.
        SettingError: the number of resamples or the confidence cannot be used.
        UnknownStageError: an id stands for no stage.

    Source:
        Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 13, with subjects as clusters.
    """
    if n_resamples < 1 or not 0 < confidence < 1:
        raise SettingError(
            f"intervals were asked for with {n_resamples} resamples and a confidence of {confidence}: expected at "
            "least 1 resample and a confidence between 0 and 1."
        )
    predictions = checked_predictions(predictions)
    _, counts = _confusion_by(predictions, "subject")
    has_epochs = counts.any(axis=(1, 2))
    n_subjects = int(has_epochs.sum())
    names = [*INTERVAL_FIGURES] if _has_probabilities(predictions) else [*INTERVAL_FIGURES[:-1]]
    if n_subjects < 2:
        return {name: [float("nan"), float("nan")] for name in names}
    drawn = _drawn_subjects(n_subjects, n_resamples, seed)
    resampled = figures_of_confusion(np.tensordot(drawn, counts[has_epochs], axes=1))
    if _has_probabilities(predictions):
        bins = np.stack(
            [
                calibration_bins(rows["label"].to_numpy(), rows[list(PROBABILITY_COLUMNS)].to_numpy())
                for _, rows in predictions.groupby("subject")
            ]
        )
        n_epochs, confidences, n_right = np.moveaxis(np.tensordot(drawn, bins[has_epochs], axes=1), 1, 0)
        with np.errstate(invalid="ignore"):
            resampled["calibration_error"] = np.abs(n_right - confidences).sum(axis=1) / n_epochs.sum(axis=1)
    return {name: _interval(resampled[name], confidence) for name in names}


def paired_difference(
    first: pd.DataFrame,
    second: pd.DataFrame,
    figure: str = "kappa",
    n_resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict:
    """Compare two models that staged the same epochs, subject by subject.

    Each resample draws subjects once for both models, so that what makes a subject hard for both falls out.

    Args:
        first: see the head of this module, with the column `subject`.
        second: predictions of the same epochs.
        figure: one of those of `figures_of_confusion`.
        n_resamples: number of resamples.
        confidence: share of the resamples that the interval holds.
        seed: of the resampling.

    Returns:
        `difference`, the pooled figure of the second less that of the first, and its `interval` [lower, upper].

    Raises:
        DatasetError: they hold other subjects or other labels.
    """
    (names, counts), (other_names, other_counts) = (
        _confusion_by(checked_predictions(table), "subject") for table in (first, second)
    )
    if not names.equals(other_names) or (counts.sum(axis=2) != other_counts.sum(axis=2)).any():
        raise DatasetError("expected two models that staged the same epochs, found other subjects or labels.")
    drawn = np.concatenate([np.ones((1, len(names)), dtype=int), _drawn_subjects(len(names), n_resamples, seed)])
    pooled, other_pooled = (
        figures_of_confusion(np.tensordot(drawn, units, axes=1))[figure] for units in (counts, other_counts)
    )
    differences = other_pooled - pooled
    return {"difference": float(differences[0]), "interval": _interval(differences[1:], confidence)}


def _drawn_subjects(n_subjects: int, n_resamples: int, seed: int) -> np.ndarray:
    # how often each subject is drawn is all that matters: pooled figures come from sums over subjects
    return np.random.default_rng(seed).multinomial(n_subjects, np.full(n_subjects, 1 / n_subjects), n_resamples)


def _interval(resampled: np.ndarray, confidence: float) -> list[float]:
    known = resampled[~np.isnan(resampled)]
    tail = (1 - confidence) / 2
    bounds = np.quantile(known, [tail, 1 - tail]) if known.size else [np.nan, np.nan]
    return [float(bound) for bound in bounds]


def figures_by_fold(predictions: pd.DataFrame, n_resamples: int = 2000, confidence: float = 0.95) -> list[dict]:
    """Compute the figures of each fold, with intervals by which a repeated training can be told from a changed one.

    A fold of leave-one-subject-out has one subject, so that subjects cannot be drawn; stretches of an hour are drawn
    in their place, since epochs that follow each other are no independent observations.

    Args:
        predictions: see the head of this module, with the columns `subject`, `recording`, `epoch` and `fold`.
        n_resamples: number of resamples.
        confidence: share of the resamples that an interval holds.

    Returns:
        for each fold `fold`, `subjects`, `n_epochs`, `accuracy`, `macro_f1`, `kappa`, and `intervals` with [lower,
        upper] of these three.

    Raises:
        DatasetError: a column is missing, or an epoch is there twice.
        UnknownStageError: an id stands for no stage.
    """
    rows = []
    for fold, of_fold in predictions.groupby("fold"):
        stretches = of_fold["recording"] + " " + (of_fold["epoch"] // STRETCH_EPOCHS).astype(str)
        intervals = bootstrap_intervals(of_fold.assign(subject=stretches), n_resamples, confidence)
        figures = staging_metrics(*checked_predictions(of_fold)[["label", "prediction"]].to_numpy().T)
        names = ("accuracy", "macro_f1", "kappa")
        rows.append(
            {
                "fold": int(fold),
                "subjects": sorted(of_fold["subject"].unique()),
                "n_epochs": figures["n_epochs"],
                **{name: figures[name] for name in names},
                "intervals": {name: intervals[name] for name in names},
            }
        )
    return rows


def statistics_errors(predictions: pd.DataFrame, epoch_seconds: float = EPOCH_SECONDS) -> pd.DataFrame:
    """Compare the sleep statistics of each night as predicted with those as scored.

    Only epochs with a scored and a predicted stage count, in both: an epoch that was not scored is neither sleep nor
    wake, and it is no time in bed either. The figures therefore compare the two, and are not those of the whole night.

    Args:
        predictions: see the head of this module, with the column `recording`; without `epoch`, rows of a recording
            are in the order of the night.
        epoch_seconds: length of an epoch in s.

    Returns:
        one row per recording: its name (and `subject`, where known), `n_epochs`, and for each of `SLEEP_STATISTICS`
        `<name>_scored`, `<name>_predicted` and `<name>_error` (predicted minus scored), in minutes or percent; NaN
        where a statistic is undefined, such as the wake after the onset of a sleep that never came.

    Raises:
        DatasetError: a column is missing, or an epoch is there twice.
        UnknownStageError: an id stands for no stage.
    """
    predictions = checked_predictions(predictions)
    labels, stages = predictions["label"].to_numpy(), predictions["prediction"].to_numpy()
    number, names = _units(predictions, "recording")
    is_used = scored_epochs(labels) & (stages >= 0)
    order = np.argsort(number, kind="stable")  # keeps the epochs of a night in their order
    rows = []
    for night in np.split(order, np.flatnonzero(np.diff(number[order])) + 1) if len(order) else []:
        of_night = night[is_used[night]]
        row = {"n_epochs": len(of_night)}
        scored, predicted = (
            Hypnogram(stages_from_ids(ids[of_night]), epoch_seconds=epoch_seconds).statistics()
            for ids in (labels, stages)
        )
        for name in SLEEP_STATISTICS:
            row[f"{name}_scored"], row[f"{name}_predicted"] = scored[name], predicted[name]
            row[f"{name}_error"] = predicted[name] - scored[name]
        rows.append(row)
    return names.join(pd.DataFrame(rows))


def statistics_agreement(errors: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Summarise the errors of the sleep statistics over the nights.

    Args:
        errors: as `statistics_errors` returns them.

    Returns:
        for each of `SLEEP_STATISTICS`, in its unit: `bias` (mean of predicted minus scored), `lower_limit` and
        `upper_limit` of agreement (bias -+ 1.96 standard deviations, NaN with fewer than two nights),
        `mean_absolute_error`, and `n_nights` in which it is defined.

    Source:
        Bland & Altman, Statistical methods for assessing agreement between two methods of clinical measurement
        (Lancet 1986).
    """
    summary = {}
    for name in SLEEP_STATISTICS:
        known = errors[f"{name}_error"].dropna() if len(errors) else pd.Series(dtype=float)
        bias, spread = known.mean(), 1.96 * known.std(ddof=1)
        summary[name] = {
            "bias": float(bias),
            "lower_limit": float(bias - spread),
            "upper_limit": float(bias + spread),
            "mean_absolute_error": float(known.abs().mean()),
            "n_nights": len(known),
        }
    return summary


def json_text(figures: dict) -> str:
    """Lay figures out as JSON; NaN becomes null, since JSON has no NaN and many readers refuse it.

    Args:
        figures: dicts, lists, strings and numbers.

    Returns:
        the text of the file.
    """

    def without_nan(value):
        if isinstance(value, dict):
            return {name: without_nan(entry) for name, entry in value.items()}
        if isinstance(value, list | tuple):
            return [without_nan(entry) for entry in value]
        return None if isinstance(value, float) and np.isnan(value) else value

    return json.dumps(without_nan(figures), indent=2, allow_nan=False) + "\n"


def _has_probabilities(predictions: pd.DataFrame) -> bool:
    return set(PROBABILITY_COLUMNS) <= set(predictions.columns)


def _night_columns(predictions: pd.DataFrame) -> list[str]:
    return [column for column in ("subject", "recording") if column in predictions]


def _units(predictions: pd.DataFrame, unit: str) -> tuple[np.ndarray, pd.DataFrame]:
    """Number the recordings or subjects: the number of each row, and the names in the order of the numbers."""
    if unit not in predictions:
        raise DatasetError(
            f"the predictions have no column {unit}: expected one, since its figures were asked for; found "
            f"{', '.join(map(str, predictions.columns))}."
        )
    columns = _night_columns(predictions) if unit == "recording" else [unit]
    groups = predictions.groupby(columns, sort=True)
    return groups.ngroup().to_numpy(), groups.size().index.to_frame(index=False)


def _confusion_by(predictions: pd.DataFrame, unit: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Count the (units, 5, 5) confusion matrices of the recordings or subjects."""
    number, names = _units(predictions, unit)
    labels, stages = predictions["label"].to_numpy(), predictions["prediction"].to_numpy()
    confusion_matrix(labels, stages)  # refuses unknown ids
    is_used = (labels != IGNORED_ID) & (stages >= 0)
    counts = np.zeros((len(names), len(STAGES), len(STAGES)), dtype=np.int64)
    np.add.at(counts, (number[is_used], labels[is_used], stages[is_used]), 1)
    return names, counts

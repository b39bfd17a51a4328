"""The report of an evaluation: confusion matrix, review curve, pairs of hypnograms, and the figures in Markdown."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from dataset_builders.markdown_tables import markdown_table
from modeling_sleepvit.hypnogram import Hypnogram
from modeling_sleepvit.stages import IGNORED_ID, STAGE_COLOURS, STAGES, UNSCORED, stages_from_ids
from modeling_sleepvit.whole_files import written_whole

from .subject_metrics import SLEEP_STATISTICS, checked_predictions, figures_by, statistics_errors


RESEARCH_USE = "Research use only, not a medical device"

NAME_OF_STATISTIC = {
    "total_sleep_time_min": ("total sleep time (TST)", "min"),
    "sleep_efficiency_percent": ("sleep efficiency (SE)", "%"),
    "wake_after_sleep_onset_min": ("wake after sleep onset (WASO)", "min"),
}

_GREY, _DARK, _DIFFERENT = "#6A707A", "#30343B", "#7B2D8B"
_DOTS_PER_INCH = 150


def write_report(folder: Path, predictions: pd.DataFrame, metrics: dict, n_figures: int) -> None:
    """Draw the pictures and write `report.md`, each whole or not at all, the report last.

    Args:
        folder: where the files go; it exists.
        predictions: as `evaluate_checkpoint.predict_night` makes it, of any number of nights.
        metrics: what `evaluate_checkpoint` writes to metrics.json.
        n_figures: how many nights are drawn at most.
    """
    nights = figures_by(predictions, "recording").merge(
        statistics_errors(predictions, metrics["epoch_seconds"]).drop(columns="n_epochs"), on=["subject", "recording"]
    )
    nights["picture"] = ""
    drawn = nights_to_draw(nights["kappa"], n_figures)
    nights.loc[drawn, "picture"] = nights.loc[drawn, "recording"] + ".png"
    _save(confusion_picture(metrics), folder / "confusion_matrix.png")
    _save(review_picture(metrics), folder / "review_curve.png")
    rows_of_night = checked_predictions(predictions).groupby(["subject", "recording"])
    for _, night in nights.loc[drawn].iterrows():
        rows = rows_of_night.get_group((night["subject"], night["recording"]))
        _save(night_picture(rows, night, metrics), folder / night["picture"])
    with written_whole(folder / "report.md") as partial:
        partial.write_text(report_text(metrics, nights), encoding="utf-8")


def nights_to_draw(kappas: pd.Series, n_figures: int) -> pd.Index:
    """Choose the nights that are drawn: all of them, or the worst, the best, and some evenly between the two.

    Args:
        kappas: agreement of each night; NaN, where it is undefined, counts as worst.
        n_figures: how many at most.

    Returns:
        labels of the chosen nights, in the order of the table.
    """
    ranked = kappas.sort_values(na_position="first", kind="stable").index
    places = np.linspace(0, len(ranked) - 1, min(n_figures, len(ranked))).round().astype(int)
    return ranked[places].sort_values()


def confusion_picture(metrics: dict) -> Figure:
    """Draw a confusion matrix: the shares of each scored stage, with the numbers of epochs below them.

    Args:
        metrics: with `confusion_matrix` and what `evaluate_checkpoint` knows about the evaluation.

    Returns:
        the figure.
    """
    counts = np.array(metrics["confusion_matrix"])
    with np.errstate(invalid="ignore"):
        shares = counts / counts.sum(axis=1, keepdims=True)
    figure = Figure(figsize=(6.2, 6.4), layout="constrained")
    axes = figure.subplots()
    axes.imshow(np.nan_to_num(shares), cmap="Blues", vmin=0, vmax=1)
    for scored, staged in np.ndindex(counts.shape):
        share = shares[scored, staged]
        colour = "white" if share > 0.55 else _DARK
        text = "-" if np.isnan(share) else f"{100 * share:.0f} %"
        weight = "bold" if scored == staged else "normal"
        axes.text(staged, scored - 0.08, text, ha="center", va="center", color=colour, fontsize=12, weight=weight)
        below = f"{counts[scored, staged]:,}"
        axes.text(staged, scored + 0.24, below, ha="center", va="center", color=colour, fontsize=8)
    ticks = range(len(STAGES))
    axes.set_xticks(ticks, [f"{stage}\n{n:,}" for stage, n in zip(STAGES, counts.sum(axis=0))])
    axes.set_yticks(ticks, [f"{stage}\n{n:,}" for stage, n in zip(STAGES, counts.sum(axis=1))])
    axes.set_xlabel("Staged (epochs)")
    axes.set_ylabel("Scored (epochs)")
    axes.set_xticks(np.arange(0.5, len(STAGES) - 1), minor=True)
    axes.set_yticks(np.arange(0.5, len(STAGES) - 1), minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(
        f"Shares of each scored stage; {_sizes(metrics)}\n"
        f"kappa {_number(metrics['kappa'])}, accuracy {_percent(metrics['accuracy'])} %, macro-F1 "
        f"{_percent(metrics['macro_f1'])} %",
        loc="left",
        fontsize=9,
    )
    figure.supxlabel(_footer(metrics), fontsize=7, color=_GREY)
    return figure


def review_picture(metrics: dict) -> Figure:
    """Draw how the agreement grows with the share of epochs that an expert reviews, the least certain ones first.

    Args:
        metrics: with `review`, see `review_curve`.

    Returns:
        the figure.
    """
    review = metrics["review"]
    target, share_for_target = review["target_kappa"], review["share_for_target"]
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    percent = 100 * np.array(review["share"])
    axes.plot(percent, review["kappa"], color="#27407E", linewidth=2)
    axes.axhline(target, color=_GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    if not np.isnan(share_for_target):
        axes.plot(100 * share_for_target, target, "o", color=_DIFFERENT, clip_on=False, zorder=3)
        axes.annotate(
            f"kappa {target:.2f} with {100 * share_for_target:.1f} % reviewed",
            (100 * share_for_target, target),
            xytext=(8, -14) if share_for_target < 0.5 else (-8, 8),
            ha="left" if share_for_target < 0.5 else "right",
            textcoords="offset points",
            fontsize=9,
            color=_DIFFERENT,
        )
    axes.set_xlim(0, 100)
    known = [value for value in (*review["kappa"], target) if not np.isnan(value)]
    axes.set_ylim(np.floor(10 * min(known)) / 10 - 0.02, 1.005)
    axes.set_xlabel("Epochs reviewed, the least certain first (%)")
    axes.set_ylabel("Kappa after review")
    axes.grid(color="#E6E8EB", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"Agreement after review; {_sizes(metrics)}", loc="left", fontsize=9)
    figure.supxlabel(_footer(metrics), fontsize=7, color=_GREY)
    return figure


def night_picture(rows: pd.DataFrame, night: pd.Series, metrics: dict) -> Figure:
    """Draw a night as scored above, as staged below, and between them which epochs differ, on one time axis.

    Args:
        rows: the epochs of the night, with `epoch`, `label` and `prediction`; epochs that are missing are gaps.
        night: its figures and statistics, with the names of subject and recording.
        metrics: what `evaluate_checkpoint` knows about the evaluation.

    Returns:
        the figure.
    """
    scored, staged = hypnograms_of_night(rows, metrics["epoch_seconds"])
    compared = (scored.stages != UNSCORED) & (staged.stages != UNSCORED)
    differs = compared & (scored.stages != staged.stages)
    edges = np.arange(len(differs) + 1) * scored.epoch_seconds / 3600  # as `plot` has them without a clock time
    figure = Figure(figsize=(12, 5.6), layout="constrained")
    top, strip, bottom = figure.subplots(3, 1, sharex=True, height_ratios=[1, 0.14, 1])
    for axes, hypnogram, who, how in ((top, scored, "Scored", "scored"), (bottom, staged, "Staged", "predicted")):
        hypnogram.plot(axes)
        axes.set_ylabel(who, fontsize=11)
        axes.set_title(_statistics_line(night, how), loc="right", fontsize=9, color=_GREY)
        low, high = axes.get_ylim()
        band = np.where(differs, high, low)
        axes.stairs(band, edges, baseline=low, fill=True, color=_DIFFERENT, alpha=0.12, linewidth=0, zorder=0.5)
    for mask, colour in ((~compared, STAGE_COLOURS[UNSCORED]), (differs, _DIFFERENT)):
        strip.stairs(mask, edges, fill=True, color=colour, antialiased=False)
    strip.set_ylim(0, 1)
    strip.set_yticks([])
    strip.set_ylabel("Differ", rotation=0, ha="right", va="center", fontsize=9, color=_DIFFERENT)
    strip.spines[["top", "right"]].set_visible(False)
    top.set_xlabel("")
    first = int(rows["epoch"].iloc[0])
    bottom.xaxis.set_major_locator(MaxNLocator(14, steps=[1, 2, 5, 10]))
    bottom.set_xlabel(f"Time from epoch {first:,} of the recording (h)" if first else "Time from start (h)")
    figure.suptitle(
        f"{night['recording']} (subject {night['subject']}): kappa {_number(night['kappa'])}, accuracy "
        f"{_percent(night['accuracy'])} %; {differs.sum():,} of {compared.sum():,} epochs differ",
        x=0.01,
        ha="left",
        fontsize=12,
    )
    figure.legend(
        handles=[
            Patch(color=_DIFFERENT, label="the two differ"),
            Patch(color=STAGE_COLOURS["R"], label="REM"),
            Patch(color=STAGE_COLOURS[UNSCORED], label="not scored"),
        ],
        loc="upper right",
        ncols=3,
        frameon=False,
        fontsize=9,
    )
    figure.supxlabel(_footer(metrics), fontsize=7, color=_GREY)
    return figure


def hypnograms_of_night(rows: pd.DataFrame, epoch_seconds: float) -> tuple[Hypnogram, Hypnogram]:
    """Make the two hypnograms of a night, from its first epoch in the table to its last.

    Args:
        rows: the epochs of the night, sorted, with `epoch`, `label` and `prediction`.
        epoch_seconds: length of an epoch in s.

    Returns:
        scored and staged; epochs that are missing in the table are not scored in both.
    """
    epochs = rows["epoch"].to_numpy() - rows["epoch"].iloc[0]
    both = []
    for column in ("label", "prediction"):
        ids = np.full(epochs[-1] + 1, IGNORED_ID)
        ids[epochs] = rows[column]
        both.append(Hypnogram(stages_from_ids(ids), epoch_seconds=epoch_seconds))
    return both[0], both[1]


def report_text(metrics: dict, nights: pd.DataFrame) -> str:
    """Write the report in Markdown.

    Args:
        metrics: what `evaluate_checkpoint` writes to metrics.json.
        nights: one row per recording: names, figures, errors of the sleep statistics, and the name of its picture.

    Returns:
        the text.
    """
    return (
        "\n\n".join(
            [
                f"# Evaluation of {metrics['checkpoint']}",
                f"{RESEARCH_USE}. The figures say how far the model and one scoring agree, not who is right.",
                *_protocol(metrics),
                *_agreement(metrics),
                *_certainty(metrics),
                *_statistics(metrics),
                *_nights(metrics, nights),
            ]
        )
        + "\n"
    )


def _protocol(metrics: dict) -> list[str]:
    split = metrics["split"] or "none, the dataset is not split"
    table = {
        "checkpoint": metrics["checkpoint"],
        "dataset": metrics["dataset"],
        "split": split,
        "trim rule": metrics["trim"],
        "subjects": metrics["n_subjects"],
        "recordings": metrics["n_recordings"],
        "scored epochs": f"{metrics['n_epochs']:,} of {metrics['epoch_seconds']:g} s",
        "epochs without a scored stage": metrics["n_epochs_not_scored"],
        "recordings that could not be read": len(metrics["not_evaluated"]),
    }
    parts = ["## Protocol", *([metrics["protocol"]] if metrics["protocol"] else []), _table_of(table)]
    if metrics["remarks"]:
        parts.append("\n".join(f"- {_cell(remark)}" for remark in metrics["remarks"]))
    if metrics["not_evaluated"]:
        failures = [f"- {_cell(night['recording'])}: {_cell(night['reason'])}" for night in metrics["not_evaluated"]]
        parts += ["These recordings could not be read and are in no figure:", "\n".join(failures)]
    return parts


def _agreement(metrics: dict) -> list[str]:
    shown = {
        "accuracy (%)": ("accuracy", _percent),
        "balanced accuracy (%)": ("balanced_accuracy", _percent),
        "macro-F1 (%)": ("macro_f1", _percent),
        "kappa": ("kappa", _number),
    }
    interval = f"{100 * metrics['confidence']:g} % interval"
    overall = pd.DataFrame(
        {"figure": title, "value": shape(metrics[name]), interval: _interval(metrics, name, shape)}
        for title, (name, shape) in shown.items()
    )
    counts = np.array(metrics["confusion_matrix"])
    stages = pd.DataFrame(
        {
            "stage": stage,
            "epochs scored": int(counts[index].sum()),
            "epochs staged": int(counts[:, index].sum()),
            "F1 (%)": _percent(metrics[f"f1_{stage}"]),
            interval: _interval(metrics, f"f1_{stage}", _percent),
        }
        for index, stage in enumerate(STAGES)
    )
    spread = pd.DataFrame(
        {
            "kappa of each": unit,
            "median": _number(kappa["median"]),
            "quartiles": _range([kappa["lower_quartile"], kappa["upper_quartile"]], _number),
            "n": kappa["n"],
        }
        for unit in ("recording", "subject")
        for kappa in [metrics[f"per_{unit}"]["kappa"]]
    )
    few = "" if metrics["n_subjects"] >= 2 else " With one subject there is none."
    return [
        "## Agreement",
        f"All scored epochs pooled. Intervals come from {metrics['n_resamples']:,} resamples of the subjects, each "
        f"with all epochs; with few subjects they are too narrow.{few}",
        markdown_table(overall),
        markdown_table(stages),
        markdown_table(spread),
        "![Confusion matrix](confusion_matrix.png)",
    ]


def _certainty(metrics: dict) -> list[str]:
    review = metrics["review"]
    target, share = review["target_kappa"], review["share_for_target"]
    if np.isnan(share):
        reviewed = f"No share of reviewed epochs brings kappa to {target:.2f}."
    else:
        reviewed = (
            f"If an expert reviewed the least certain **{100 * share:.1f} %** of the epochs, kappa would reach "
            f"{target:.2f}."
        )
    return [
        "## Calibration and review",
        f"Expected calibration error: **{_number(metrics['calibration_error'])}** "
        f"({100 * metrics['confidence']:g} % interval {_interval(metrics, 'calibration_error', _number)}), the mean "
        "distance between the probability of the staged stage and how often it is the scored one.",
        reviewed,
        "![Review curve](review_curve.png)",
    ]


def _statistics(metrics: dict) -> list[str]:
    rows = []
    for name in SLEEP_STATISTICS:
        title, unit = NAME_OF_STATISTIC[name]
        summary = metrics["sleep_statistics"][name]
        rows.append(
            {
                "statistic": f"{title}, {unit}",
                "bias": _signed(summary["bias"]),
                "limits of agreement": _range([summary["lower_limit"], summary["upper_limit"]], _signed),
                "mean absolute error": _number(summary["mean_absolute_error"], 1),
                "nights": summary["n_nights"],
            }
        )
    return [
        "## Errors of the sleep statistics",
        "Staged minus scored, over the epochs that are scored in each night; limits of agreement are bias ± 1.96 "
        "standard deviations.",
        markdown_table(pd.DataFrame(rows)),
    ]


def _nights(metrics: dict, nights: pd.DataFrame) -> list[str]:
    table = pd.DataFrame(
        {
            "recording": _cell(night["recording"]),
            "subject": _cell(night["subject"]),
            "epochs": int(night["n_epochs"]),
            "accuracy (%)": _percent(night["accuracy"]),
            "macro-F1 (%)": _percent(night["macro_f1"]),
            "kappa": _number(night["kappa"]),
            "TST error (min)": _signed(night["total_sleep_time_min_error"]),
            "WASO error (min)": _signed(night["wake_after_sleep_onset_min_error"]),
            "picture": f"[hypnograms](<{night['picture']}>)" if night["picture"] else "",
        }
        for _, night in nights.iterrows()
    )
    n_drawn = int((nights["picture"] != "").sum())
    parts = ["## Nights", markdown_table(table)]
    if 0 < n_drawn < len(nights):
        parts.insert(1, f"{n_drawn} of {len(nights)} nights are drawn, chosen evenly by kappa from the worst on.")
    pictures = [
        f"![{_cell(night['recording'])}: scored above, staged below](<{night['picture']}>)"
        for _, night in nights[nights["picture"] != ""].iterrows()
    ]
    return [*parts, *pictures]


def _table_of(values: dict) -> str:
    return markdown_table(pd.DataFrame([{"": name, " ": _cell(value)} for name, value in values.items()]))


def _cell(value: object) -> object:
    """Text that breaks no table: names of files may hold anything."""
    return " ".join(value.split()).replace("|", "\\|") if isinstance(value, str) else value


def _number(value: float, decimals: int = 3) -> str:
    return "-" if np.isnan(value) else f"{value:.{decimals}f}"


def _percent(value: float) -> str:
    return _number(100 * value, 1)


def _signed(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:+.1f}"


def _range(bounds: list[float], shape) -> str:
    return "-" if np.isnan(bounds).any() else f"{shape(bounds[0])} to {shape(bounds[1])}"


def _interval(metrics: dict, name: str, shape) -> str:
    return _range(metrics["intervals"][name], shape)


def _statistics_line(night: pd.Series, how: str) -> str:
    tst, se, waso = (night[f"{name}_{how}"] for name in SLEEP_STATISTICS)
    return f"TST {_number(tst, 0)} min, SE {_number(se, 0)} %, WASO {_number(waso, 0)} min"


def _sizes(metrics: dict) -> str:
    return f"{metrics['n_epochs']:,} epochs, {metrics['n_recordings']} nights, {metrics['n_subjects']} subjects"


def _footer(metrics: dict) -> str:
    return f"{Path(metrics['checkpoint']).name} on {Path(metrics['dataset']).name} - {RESEARCH_USE.lower()}"


def _save(figure: Figure, path: Path) -> None:
    with written_whole(path) as partial:
        figure.savefig(partial, dpi=_DOTS_PER_INCH)

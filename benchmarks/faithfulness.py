"""Which explanations tell the truth: deleting what they call relevant, held-out epochs of people no model had seen.

    python -m benchmarks.faithfulness RUN_DIR    # measures fold by fold, goes on where it stopped, writes the results
    python -m benchmarks.faithfulness            # makes tables and figure of the committed results anew

RUN_DIR is what `run_leave_one_subject_out` left of `train_scripts/configs/sedf20-5s/default.json`: a model for each
subject that has not learned from it. Folds that are not finished are left out.
"""

import json
import os
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from dataset_builders.npz_nights import read_npz_nights
from model_cards.build_cards import PROJECT, fill_in
from modeling_sleepvit.attributions import METHODS
from modeling_sleepvit.stager import load_stager
from modeling_sleepvit.stages import STAGES
from modeling_sleepvit.whole_files import written_whole
from train_scripts.evaluate_checkpoint import write_metrics

from .faithfulness_measures import (
    SHARES_DELETED,
    area_under,
    deletion_curves,
    explain_by_all_methods,
    orders_of_patches,
    randomised_layer_by_layer,
    rank_correlation,
    runtime,
    window_decisions,
)
from .faithfulness_tables import BAND_NAMES, EXPECTED_BANDS, METHOD_NAMES, figure_of, full_tables, short_table
from .named_folder import named_folder


DATA = Path(os.environ.get("SLEEPVIT_DATA", "../shared/data")) / "sleep-edf-20-5s"
RESULTS = Path(__file__).parent / "results" / "faithfulness.json"
FIGURE = RESULTS.with_suffix(".png")

EPOCHS_PER_STAGE = 25
"""Of each subject, drawn among those that its model stages so; fewer where it has fewer."""

EPOCHS_TO_RANDOMISE = 5
"""Of each subject, for the check with random weights."""

N_RESAMPLES = 2000


def main(argv: list[str] | None = None) -> None:
    """Measure the folds if a folder is named, and put tables and figure where they are read.

    Args:
        argv: see the head of this module; None reads the command line.
    """
    run_dir = named_folder(argv, __doc__, "RUN_DIR", "what the folds left")
    if run_dir is not None:
        torch.set_num_threads(1)
        write_metrics(measure(run_dir), RESULTS)
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    fill_in(RESULTS.parents[1] / "README.md", "faithfulness", full_tables(results))
    fill_in(PROJECT / "README.md", "faithfulness", short_table(results))
    with written_whole(FIGURE) as partial:
        figure_of(results).savefig(partial, dpi=110, format="png")
    print(full_tables(results))


# Measuring


def measure(run_dir: Path) -> dict:
    """Measure every finished fold, or read what was measured, and put the folds together.

    Args:
        run_dir: holds `fold-NN/training`, and `fold-NN/training_settings.json` which names the subject;
            `fold-NN/faithfulness.npz` is added.

    Returns:
        the results, see `put_together`.
    """
    folds = sorted(path.parent for path in run_dir.glob("fold-*/predictions.parquet"))
    tables = []
    for fold in tqdm(folds, unit="fold", disable=None):
        path = fold / "faithfulness.npz"
        if not path.is_file():
            with written_whole(path) as partial, partial.open("wb") as file:
                np.savez(file, **measure_fold(fold))
        with np.load(path, allow_pickle=False) as arrays:
            tables.append(dict(arrays))
    return put_together(tables) | {"runtime": runtime(load_stager(folds[0] / "training").model)}


def measure_fold(fold: Path) -> dict[str, np.ndarray]:
    """Measure the decisions of one model about the subject it has not seen.

    Args:
        fold: its folder.

    Returns:
        arrays with one entry per decision: `subject`, `stage` (the decision), `label` (the scoring), "relevance
        METHOD" (decisions, bands, seconds), "curve METHOD DIRECTION" (decisions, points); and "randomised METHOD"
        (decisions, steps) with the names of the steps in `steps`.
    """
    stager = load_stager(fold / "training")
    model, number = stager.model, int(fold.name[-2:])
    subjects = json.loads((fold / "training_settings.json").read_text(encoding="utf-8"))["test_subjects"]
    nights = read_npz_nights(DATA, stager.feature_extractor, subjects)
    generator = np.random.default_rng(number)
    decided = [window_decisions(model, torch.from_numpy(night.input_values)) for night in nights]
    drawn = draw_epochs(decided, generator, EPOCHS_PER_STAGE)
    few = draw_epochs(decided, generator, EPOCHS_TO_RANDOMISE // len(STAGES))
    parts, randomised = [], []
    for night, stages, epochs, few_epochs in zip(nights, decided, drawn, few):
        values = torch.from_numpy(night.input_values)
        if len(epochs):
            parts.append(measure_night(model, values, epochs, stages[epochs], generator))
            parts[-1] |= {"label": night.labels[epochs], "subject": np.full(len(epochs), night.subject)}
        if len(few_epochs):
            randomised.append(measure_randomised(model, values, few_epochs, stages[few_epochs]))
    steps = [part.pop("steps") for part in randomised]  # the same ones in each
    return joined(parts) | joined(randomised) | {"steps": steps[0]}


def joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Put arrays of the same name one after the other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def draw_epochs(decided: list[np.ndarray], generator: np.random.Generator, n_per_stage: int) -> list[np.ndarray]:
    """Draw epochs of every stage from the nights of a subject.

    Args:
        decided: the stage of each epoch of each night.
        generator: draws.
        n_per_stage: so many, or all where there are fewer.

    Returns:
        ascending epochs of each night.
    """
    night = np.repeat(np.arange(len(decided)), [len(stages) for stages in decided])
    epoch = np.concatenate([np.arange(len(stages)) for stages in decided])
    stage = np.concatenate(decided)
    chosen = np.concatenate(
        [generator.permutation(np.flatnonzero(stage == number))[:n_per_stage] for number in range(len(STAGES))]
    )
    return [np.sort(epoch[chosen][night[chosen] == number]) for number in range(len(decided))]


def measure_night(model, values, epochs, targets, generator) -> dict[str, np.ndarray]:
    """Explain chosen epochs of a night by every method, and delete patches in the orders found."""
    explanations = explain_by_all_methods(model, values, epochs, targets)
    orders = list(orders_of_patches(explanations, generator))
    curves = deletion_curves(model, values, epochs, targets, orders)
    return {
        "stage": targets,
        **{f"relevance {name}": explanation.relevance for name, explanation in explanations.items()},
        **{f"curve {name} {direction}": curve for (name, direction), curve in curves.items()},
    }


def measure_randomised(model, values, epochs, targets) -> dict[str, np.ndarray]:
    """Correlate explanations of a model with those of the same model after its weights were randomised."""
    before = explain_by_all_methods(model, values, epochs, targets)
    names, found = [], {name: [] for name in METHODS}
    for step, randomised in randomised_layer_by_layer(model):
        names.append(step)
        after = explain_by_all_methods(randomised, values, epochs, targets)
        for name in METHODS:
            found[name].append(rank_correlation(before[name].relevance, after[name].relevance))
    return {f"randomised {name}": np.stack(steps, axis=1) for name, steps in found.items()} | {
        "steps": np.array(names)
    }


# Putting together


def put_together(tables: list[dict[str, np.ndarray]]) -> dict:
    """Compute figures over all subjects.

    Args:
        tables: of each subject, as `measure_fold` gives them.

    Returns:
        what was measured on whom; `deletion` and `curves`, `randomised`, `agreement`, `bands` by method.
    """
    everything = joined([{name: array for name, array in table.items() if name != "steps"} for table in tables])
    stage = np.array(STAGES)[everything["stage"]]
    mean = SubjectMeans(everything["subject"])
    groups = {"all": np.ones(len(stage), dtype=bool)} | {name: stage == name for name in STAGES}
    areas = {
        (name, direction): area_under(everything[f"curve {name} {direction}"])
        for name in METHOD_NAMES
        for direction in ("most relevant first", "least relevant first")
        if f"curve {name} {direction}" in everything
    }
    random = areas["random", "most relevant first"]
    deletion, bands = {}, {}
    for name in METHOD_NAMES:
        deletion[name] = {}
        for group, is_in in groups.items():
            figures = {"most_relevant_first": mean.with_interval(areas[name, "most relevant first"], is_in)}
            if name in METHODS:
                figures["least_relevant_first"] = mean.with_interval(areas[name, "least relevant first"], is_in)
                difference = random - areas[name, "most relevant first"]
                figures["below_random"] = mean.with_interval(difference, is_in)
            deletion[name][group] = figures
    for name in METHODS:
        relevance = everything[f"relevance {name}"].clip(min=0)
        share = relevance.sum(axis=2) / np.maximum(relevance.sum(axis=(1, 2)), 1e-12)[:, None]  # (decisions, bands)
        bands[name] = {
            group: {
                "bands": [mean.with_interval(share[:, band], is_in) for band in range(len(BAND_NAMES))],
                **({"expected": expected_share(mean, share, group, is_in)} if group in EXPECTED_BANDS else {}),
            }
            for group, is_in in groups.items()
        }
    randomised = {
        name: dict(zip(tables[0]["steps"].tolist(), np.nanmean(everything[f"randomised {name}"], axis=0).tolist()))
        for name in METHODS
    }
    agreement = {
        one: {
            other: float(
                np.nanmean(rank_correlation(everything[f"relevance {one}"], everything[f"relevance {other}"]))
            )
            for other in METHODS
        }
        for one in METHODS
    }
    return {
        "n_subjects": len(tables),
        "subjects": sorted(set(everything["subject"].tolist())),
        "n_epochs": len(stage),
        "n_epochs_of_stage": {name: int((stage == name).sum()) for name in STAGES},
        "n_epochs_randomised": len(everything["randomised rollout"]),
        "share_staged_as_scored": float((everything["stage"] == everything["label"]).mean()),
        "shares_deleted": [0, *SHARES_DELETED, 1],
        "deletion": deletion,
        "curves": {
            name.removeprefix("curve "): everything[name].mean(axis=0).tolist()
            for name in everything
            if name.startswith("curve ")
        },
        "bands": bands,
        "randomised": randomised,
        "agreement": agreement,
        "n_resamples": N_RESAMPLES,
    }


def expected_share(mean: "SubjectMeans", share: np.ndarray, stage: str, is_in: np.ndarray) -> dict:
    """Tell how much of the relevance lies in the bands where a stage's rhythms are."""
    names = EXPECTED_BANDS[stage]
    of_stage = share[:, [list(BAND_NAMES).index(name) for name in names]].sum(axis=1)
    return {
        "names": list(names),
        "equal_share": len(names) / len(BAND_NAMES),
        **mean.with_interval(of_stage, is_in),
        "beyond_other_stages": mean.with_interval(of_stage, is_in, ~is_in),
    }


class SubjectMeans:
    """Means over epochs with 95 % intervals, for which subjects are drawn anew with all their epochs.

    Args:
        subjects: (decisions,) names.
    """

    def __init__(self, subjects: np.ndarray):
        names, self.index = np.unique(subjects, return_inverse=True)
        generator = np.random.default_rng(0)
        draws = generator.integers(len(names), size=(N_RESAMPLES, len(names)))
        self.weights = np.stack([np.bincount(draw, minlength=len(names)) for draw in draws])  # (resamples, subjects)

    def with_interval(self, values: np.ndarray, is_in: np.ndarray, minus: np.ndarray | None = None) -> dict:
        """Average some of the decisions, less the average of others.

        Args:
            values: (decisions,).
            is_in: (decisions,) bool.
            minus: (decisions,) bool, the others, if any.

        Returns:
            `mean` and `interval`, its 2.5 and 97.5 percent points.
        """
        mean, means = self._means(values, is_in)
        if minus is not None:
            other, others = self._means(values, minus)
            mean, means = mean - other, means - others
        return {"mean": float(mean), "interval": np.nanpercentile(means, [2.5, 97.5]).tolist()}

    def _means(self, values: np.ndarray, is_in: np.ndarray) -> tuple[float, np.ndarray]:
        n_subjects = self.weights.shape[1]
        sums = np.bincount(self.index[is_in], values[is_in], minlength=n_subjects)
        counts = np.bincount(self.index[is_in], minlength=n_subjects)
        with np.errstate(invalid="ignore"):  # a resample without the stage
            return sums.sum() / counts.sum(), (self.weights @ sums) / (self.weights @ counts)


if __name__ == "__main__":
    main()

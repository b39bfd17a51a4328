"""Leave-one-subject-out: train once per subject on the others, and stage the one who was left out.

    python -m train_scripts.run_leave_one_subject_out SETTINGS.json --output runs/loso
    python -m train_scripts.run_leave_one_subject_out SETTINGS.json --output runs/loso --folds 0 7 19

Folds are finished one by one: started again, a run goes on with the fold, and the training pass, where it stopped.
Several processes, on one machine or on many that share the folder, may each be given folds of their own. When all are
finished, `--final` trains the weights to be shared on all subjects, with the same settings; nobody is left to
calibrate them on, so that they take the mean of the folds' temperatures.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dataset_builders.npz_nights import find_npz_nights, read_npz_nights
from dataset_builders.splits import Split, Splits, leave_one_subject_out
from modeling_sleepvit.errors import SettingError
from modeling_sleepvit.hypnogram import PROBABILITY_COLUMNS
from modeling_sleepvit.metrics_sleepvit import calibration_error
from modeling_sleepvit.night_staging import tempered
from modeling_sleepvit.stager import load_stager
from modeling_sleepvit.whole_files import written_whole

from . import run_sleep_staging
from .calibration import fit_temperature, undo_class_weights
from .evaluate_checkpoint import predict_night, write_metrics
from .model_card import write_card
from .running import run_script
from .subject_metrics import figures_by_fold, figures_of_predictions
from .training_record import read_record


SETTLED_BY_FOLD = ("splits", "fold", "test_subjects", "validation_subjects", "output_dir", "seed")

CLASS_WEIGHTS_UNDONE = 0.5
"""Half-way between what most epochs are and what each stage deserves; chosen on the folds' validation subjects."""


def main(argv: list[str] | None = None) -> None:
    """Train and test the folds that the arguments name, and join all that are finished.

    Args:
        argv: see `--help`; None reads the command line.

    Raises:
        SleepViTError: the settings or the data cannot be used.
    """
    args = parse_arguments(argv)
    settings = read_settings(args.settings)
    splits = open_splits(args, settings)
    for fold in range(len(splits)) if args.folds is None else args.folds:
        if not 0 <= fold < len(splits):
            raise SettingError(f"--folds {fold}: expected numbers from 0 to {len(splits) - 1}, one for each subject.")
        folder = args.output / f"fold-{fold:02d}"
        if not (folder / "predictions.parquet").is_file():
            print(f"fold {fold} of {len(splits)}: {splits.splits[fold].name} is left out", flush=True)
            run_fold(folder, settings, splits.splits[fold], fold, args.seed)
    print(join_folds(args.output, args.results or args.output, len(splits), args.protocol))
    if args.final is not None:
        train_final(args.final, args.output, settings, len(splits), args.seed)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the arguments of the script."""
    parser = argparse.ArgumentParser(prog="run_leave_one_subject_out", description=__doc__.split("\n")[0])
    parser.add_argument(
        "settings", type=Path, metavar="SETTINGS.json", help="settings of the training, as of one fold"
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder of the folds and the results"
    )
    parser.add_argument(
        "--results", type=Path, metavar="DIR", help="folder of the joined predictions and figures (default: --output)"
    )
    parser.add_argument("--folds", type=int, nargs="+", metavar="N", help="folds to run, from 0 (default: all)")
    parser.add_argument(
        "--final", type=Path, metavar="DIR", help="train on all subjects too, when all folds are finished"
    )
    parser.add_argument(
        "--n-validation",
        type=int,
        default=3,
        metavar="N",
        help="subjects to watch in each fold (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of splits and trainings (default: %(default)s)")
    parser.add_argument("--protocol", default="", help="one sentence that goes into metrics.json with the figures")
    return parser.parse_args(argv)


def read_settings(path: Path) -> dict:
    """Read the settings that all folds share.

    Args:
        path: JSON file of settings of `run_sleep_staging` for npz nights.

    Returns:
        the settings, without those that each fold settles for itself.

    Raises:
        SettingError: the file cannot be used.
    """
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(settings, dict) or "data_dir" not in settings:
            raise ValueError("no settings with data_dir")
    except (OSError, ValueError) as error:
        raise SettingError(f"{path}: expected a JSON file of settings, found: {error}.") from error
    return {name: value for name, value in settings.items() if name not in SETTLED_BY_FOLD}


def open_splits(args: argparse.Namespace, settings: dict) -> Splits:
    """Draw the folds, or read them where a run has drawn them before.

    Args:
        args: of the script.
        settings: of the training.

    Returns:
        one split per subject.
    """
    path = args.output / "splits.json"
    nights = find_npz_nights(settings["data_dir"], subject_pattern=settings.get("subject_pattern"))
    splits = leave_one_subject_out([night.subject for night in nights], args.n_validation, args.seed)
    if path.is_file() and Splits.from_json(path) != splits:
        raise SettingError(
            f"{args.output}: its folds were drawn otherwise (--n-validation, --seed, subjects); choose another folder."
        )
    splits.to_json(path)
    return splits


def run_fold(folder: Path, settings: dict, split: Split, fold: int, seed: int) -> None:
    """Train one fold, or go on with it, and stage its test subject.

    Args:
        folder: of the fold; in the end it holds `predictions.parquet`, the checkpoint and its settings.
        settings: that all folds share.
        split: who is learned from, watched and tested.
        fold: its number.
        seed: of the training.
    """
    folder.mkdir(parents=True, exist_ok=True)
    own = {
        "test_subjects": list(split.test),
        "validation_subjects": list(split.validation),
        "output_dir": str(folder / "training"),
        "seed": seed,
    }
    path = folder / "training_settings.json"
    with written_whole(path) as partial:
        partial.write_text(json.dumps({**settings, **own}, indent=2) + "\n", encoding="utf-8")
    run_sleep_staging.main([str(path)])
    finish_fold(folder, settings, split, fold)


def finish_fold(folder: Path, settings: dict, split: Split, fold: int) -> None:
    """Calibrate the trained model of a fold and stage its test subject.

    Args:
        folder: of the fold, whose training is done.
        settings: that all folds share.
        split: who is watched and tested.
        fold: its number.
    """
    stager = load_stager(folder / "training")

    def predictions_of(subjects: tuple[str, ...]) -> pd.DataFrame:
        pattern = settings.get("subject_pattern")
        nights = read_npz_nights(settings["data_dir"], stager.feature_extractor, subjects, subject_pattern=pattern)
        return pd.concat([predict_night(stager.model, night) for night in nights], ignore_index=True)

    undo_class_weights(stager.model, CLASS_WEIGHTS_UNDONE)
    if split.validation:
        watched = predictions_of(split.validation)
        stager.model.config.temperature = fit_temperature(
            watched["label"].to_numpy(), watched[list(PROBABILITY_COLUMNS)].to_numpy()
        )
    stager.model.save_pretrained(folder / "training")
    tested = predictions_of(split.test)
    tested.insert(3, "fold", fold)
    with written_whole(folder / "predictions.parquet") as partial:
        tested.to_parquet(partial, index=False)
    for checkpoint in (folder / "training").glob("checkpoint-*"):
        shutil.rmtree(checkpoint)  # the state of the optimiser, twice as large as the weights


def join_folds(output: Path, results: Path, n_folds: int, protocol: str) -> str:
    """Put the predictions of all finished folds together, with their figures.

    Args:
        output: folder of the folds.
        results: gets `predictions.parquet` and `metrics.json`.
        n_folds: how many there are to be.
        protocol: goes into the figures.

    Returns:
        one line that sums up.
    """
    paths = sorted(output.glob("fold-*/predictions.parquet"))
    predictions = pd.concat([pd.read_parquet(path) for path in paths], ignore_index=True)
    figures = figures_of_folds(predictions, protocol, f"{len(paths)} of {n_folds}", temperatures_of_folds(output))
    results.mkdir(parents=True, exist_ok=True)
    with written_whole(results / "predictions.parquet") as partial:
        predictions.to_parquet(partial, index=False)
    write_metrics(figures, results / "metrics.json")
    return (
        f"{len(paths)} of {n_folds} folds, {figures['n_epochs']:,} epochs: accuracy {figures['accuracy']:.3f}, "
        f"macro-F1 {figures['macro_f1']:.3f}, kappa {figures['kappa']:.3f}"
    )


def train_final(final: Path, output: Path, settings: dict, n_folds: int, seed: int) -> None:
    """Train on all subjects, with the temperatures that the folds found.

    Args:
        final: folder of the training and of the checkpoint.
        output: folder of the folds.
        settings: that all folds share.
        n_folds: how many there are to be.
        seed: of the training.

    Raises:
        SettingError: folds are missing.
    """
    found = list(temperatures_of_folds(output).values())
    if len(found) < n_folds or None in found:
        raise SettingError(
            f"--final: expected {n_folds} finished and calibrated folds in {output}, found {len(found)}."
        )
    final.mkdir(parents=True, exist_ok=True)
    path = final.with_name(f"{final.name}_settings.json")
    with written_whole(path) as partial:
        partial.write_text(json.dumps({**settings, "output_dir": str(final), "seed": seed}, indent=2) + "\n")
    run_sleep_staging.main([str(path)])
    stager = load_stager(final)
    model = stager.model
    undo_class_weights(model, CLASS_WEIGHTS_UNDONE)
    # temperatures are factors, whose mean is the geometric one
    model.config.temperature = np.exp(np.log(found).mean(axis=0)).round(4).tolist()
    model.save_pretrained(final)
    write_card(final, final.name, model, stager.feature_extractor, read_record(final))


def temperatures_of_folds(output: Path) -> dict[str, list[float] | None]:
    """Read the temperatures of all finished folds.

    Args:
        output: folder of the folds.

    Returns:
        those of each fold's model by its number; None without calibration.
    """
    temperatures = {}
    for path in sorted(output.glob("fold-*/predictions.parquet")):
        config = json.loads((path.parent / "training" / "config.json").read_text(encoding="utf-8"))
        temperatures[str(int(path.parent.name.removeprefix("fold-")))] = config["temperature"]
    return temperatures


def figures_of_folds(
    predictions: pd.DataFrame, protocol: str, folds: str, temperatures: dict[str, list[float] | None]
) -> dict:
    """Compute the figures of all folds together and of each.

    Args:
        predictions: of all folds, calibrated.
        protocol: goes into the figures.
        folds: how many there are, and are to be.
        temperatures: of each fold's model, by its number; None without calibration.

    Returns:
        those of `figures_of_predictions` and `figures_by_fold`, and `calibration_error_before`, without temperatures.
    """
    before = predictions[list(PROBABILITY_COLUMNS)].to_numpy().copy()
    for fold, temperature in temperatures.items():
        if temperature is not None:
            is_in = (predictions["fold"] == int(fold)).to_numpy()
            undone = tempered(torch.from_numpy(before[is_in]).double(), [1 / value for value in temperature])
            before[is_in] = undone.numpy()
    return {
        "protocol": protocol,
        "folds": folds,
        "temperatures": temperatures,
        **figures_of_predictions(predictions),
        "calibration_error_before": calibration_error(predictions["label"].to_numpy(), before),
        "by_fold": figures_by_fold(predictions),
    }


if __name__ == "__main__":
    sys.exit(run_script(main))

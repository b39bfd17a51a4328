"""What fine-tuning is worth on a cohort recorded otherwise: two subjects to learn from, the others to test.

    python -m benchmarks.fine_tuning WORK_DIR   # trains, fine-tunes and tests; writes the results
    python -m benchmarks.fine_tuning            # makes the table of the committed results anew

The embedded checkpoint has learned from all of Sleep-EDF-20, so that its recipe is trained anew on 12 subjects. The
other eight become a cohort of another laboratory, SIMULATED by a change of their real waveforms: another reference, a
low-pass filter at 20 Hz and white noise of 5 uV, sampled at 128 Hz. Four times, two of them are learned from and the
six others are tested.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from dataset_builders.markdown_tables import markdown_table
from dataset_builders.npz_nights import find_npz_nights, read_npz_nights
from model_cards.build_cards import fill_in
from modeling_sleepvit.hypnogram import PROBABILITY_COLUMNS
from modeling_sleepvit.metrics_sleepvit import staging_metrics
from modeling_sleepvit.stager import load_stager
from modeling_sleepvit.stages import STAGES
from train_scripts import run_sleep_staging
from train_scripts.evaluate_checkpoint import predict_night, write_metrics
from train_scripts.subject_metrics import figures_of_predictions

from .named_folder import named_folder
from .transfer import DATA, butterworth, other_reference, sampled_at, white_noise


CONFIG = Path(__file__).parents[1] / "train_scripts" / "configs" / "sedf20-5s" / "default.json"
RESULTS = Path(__file__).parent / "results" / "fine_tuning.json"
COHORT = ["SC400", "SC402", "SC405", "SC407", "SC410", "SC412", "SC415", "SC417"]
PAIRS = list(zip(COHORT[:4], COHORT[4:]))
"""Who is learned from; each of the eight once."""

CHANGES = (other_reference(1, decades=0.5), butterworth(20, 3, "lowpass"), white_noise(5), sampled_at(128))
FEW_NIGHTS = {"per_device_train_batch_size": 8, "augmentation": {}}
TUNING = {**FEW_NIGHTS, "num_train_epochs": 5, "learning_rate": 3e-4}
FROM_FRESH_WEIGHTS = {**FEW_NIGHTS, "num_train_epochs": 40}
"""As many steps as the training on twelve subjects takes."""


def main(argv: list[str] | None = None) -> None:
    """Measure if a folder for the work is named, and put the table into this folder's README.

    Args:
        argv: see the head of this module; None reads the command line.
    """
    work_dir = named_folder(argv, __doc__, "WORK_DIR", "for the cohort and the trainings")
    if work_dir is not None:
        write_metrics(measure(work_dir), RESULTS)
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    table = fine_tuning_table(results)
    fill_in(Path(__file__).parent / "README.md", "fine_tuning", table)
    print(table)


def measure(work_dir: Path) -> dict[str, dict]:
    """Train on the twelve, fine-tune on two of the changed eight, learn from those two alone, and test on the six.

    Args:
        work_dir: what is in it already is not made again.

    Returns:
        figures by name of the model, over the tested nights of all pairs, each pair under `kappa_by_pair`.
    """
    cohort = work_dir / "cohort"
    write_cohort(cohort)
    settings = json.loads(CONFIG.read_text(encoding="utf-8"))
    begun_with = work_dir / "twelve subjects"
    train(begun_with, {**settings, "data_dir": str(DATA), "test_subjects": COHORT})
    tested = {"as it is": [], "from fresh weights": [], "fine-tuned": [], "fine-tuned, spectrum refitted": []}
    for pair in PAIRS:
        others = [subject for subject in COHORT if subject not in pair]
        in_common = {**settings, "data_dir": str(cohort), "test_subjects": others}
        own = {name: value for name, value in in_common.items() if name not in ("model", "feature_extractor")}
        tuning = {**own, **TUNING, "model_name_or_path": str(begun_with)}
        trainings = {
            "from fresh weights": {**in_common, **FROM_FRESH_WEIGHTS},
            "fine-tuned": tuning,
            "fine-tuned, spectrum refitted": {**tuning, "refit_profile": True},
        }
        for name, predictions in tested.items():
            output = begun_with
            if name in trainings:
                output = work_dir / f"{name}, {'+'.join(pair)}"
                train(output, trainings[name])
            stager = load_stager(output)
            nights = read_npz_nights(cohort, stager.feature_extractor, others)
            of_pair = pd.concat([predict_night(stager.model, night) for night in nights], ignore_index=True)
            # a night is tested once for each pair it is not of
            of_pair["recording"] += f", {'+'.join(pair)}"
            predictions.append(of_pair)
    return {
        name: {
            **figures_of_predictions(pd.concat(predictions, ignore_index=True)),
            "kappa_by_pair": {
                "+".join(pair): staging_metrics(
                    of_pair["label"], of_pair[list(PROBABILITY_COLUMNS)].to_numpy().argmax(axis=1)
                )["kappa"]
                for pair, of_pair in zip(PAIRS, predictions)
            },
        }
        for name, predictions in tested.items()
    }


def train(output: Path, settings: dict) -> None:
    """Train unless it is done.

    Args:
        output: folder of the training; its settings are written beside it.
        settings: of `run_sleep_staging`.
    """
    if not (output / "model.safetensors").is_file():
        path = output.with_name(f"{output.name}.json")
        path.write_text(json.dumps({**settings, "output_dir": str(output)}, indent=2), encoding="utf-8")
        run_sleep_staging.main([str(path)])


def write_cohort(folder: Path) -> None:
    """Change the waveforms of the eight subjects and write them as npz nights.

    Args:
        folder: gets one file per night.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for night in find_npz_nights(DATA):
        path = folder / night.path.name
        if night.subject in COHORT and not path.exists():
            waveform_uv, labels, rate = night.load()
            changed = waveform_uv[:, :, 0].astype(np.float64)
            for change in CHANGES:
                changed, rate = change(changed, rate)
            np.savez(path, x=changed.astype(np.float32), y=labels, fs=rate)


def fine_tuning_table(results: dict[str, dict]) -> str:
    """Make a Markdown table.

    Args:
        results: as `measure` gives them.

    Returns:
        one row per model; accuracy and F1 in percent, kappa with its interval over subjects.
    """
    rows = []
    for name, figures in results.items():
        low, high = figures["intervals"]["kappa"]
        rows.append(
            {
                "recipe of the embedded checkpoint": name,
                "subjects tested": figures["n_subjects"],
                "epochs": figures["n_epochs"],
                "accuracy": f"{100 * figures['accuracy']:.1f}",
                "macro-F1": f"{100 * figures['macro_f1']:.1f}",
                "kappa (95 %)": f"{figures['kappa']:.3f} ({low:.3f} to {high:.3f})",
                **{f"F1 {stage}": f"{100 * figures[f'f1_{stage}']:.1f}" for stage in STAGES},
                "kappa, pair by pair": ", ".join(f"{kappa:.2f}" for kappa in figures["kappa_by_pair"].values()),
            }
        )
    return markdown_table(pd.DataFrame(rows))


if __name__ == "__main__":
    main()

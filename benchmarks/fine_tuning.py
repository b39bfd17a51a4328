"""What fine-tuning is worth on a cohort recorded otherwise: two subjects to learn from, the others to test.

    python -m benchmarks.fine_tuning WORK_DIR   # trains, fine-tunes and tests; minutes on a CPU; writes the results
    python -m benchmarks.fine_tuning            # makes the table of the committed results anew

The embedded checkpoint has learned from all of Sleep-EDF-20, so that its recipe is trained anew on 12 subjects. The
other eight become a cohort of another laboratory, SIMULATED by a change of their real waveforms: another reference, a
low-pass filter at 20 Hz and white noise of 5 uV, sampled at 128 Hz. Two of them are learned from, six are tested.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

from dataset_builders.markdown_tables import markdown_table
from dataset_builders.npz_nights import find_npz_nights, read_npz_nights
from model_cards.build_cards import fill_in
from modeling_sleepvit.stager import load_stager
from modeling_sleepvit.stages import STAGES
from train_scripts import run_sleep_staging
from train_scripts.evaluate_checkpoint import predict_night, write_metrics
from train_scripts.subject_metrics import figures_of_predictions

from .transfer import DATA, butterworth, other_reference, sampled_at, white_noise


CONFIG = Path(__file__).parents[1] / "train_scripts" / "configs" / "sedf20-5s" / "default.json"
RESULTS = Path(__file__).parent / "results" / "fine_tuning.json"
TUNING_SUBJECTS = ["SC405", "SC410"]
TEST_SUBJECTS = ["SC400", "SC402", "SC407", "SC412", "SC415", "SC417"]
CHANGES = (other_reference(1, decades=0.5), butterworth(20, 3, "lowpass"), white_noise(5), sampled_at(128))
TUNING = {"num_train_epochs": 8, "learning_rate": 3e-4}


def main(argv: list[str] | None = None) -> None:
    """Measure if a folder for the work is named, and put the table into this folder's README.

    Args:
        argv: see the head of this module; None reads the command line.
    """
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("work_dir", type=Path, nargs="?", metavar="WORK_DIR", help="for the cohort and the trainings")
    args = parser.parse_args(argv)
    if args.work_dir is not None:
        write_metrics(measure(args.work_dir), RESULTS)
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    table = fine_tuning_table(results)
    fill_in(Path(__file__).parent / "README.md", "fine_tuning", table)
    print(table)


def measure(work_dir: Path) -> dict[str, dict]:
    """Train on the twelve, fine-tune on two of the changed eight, learn from those two alone, and test on the six.

    Args:
        work_dir: what is in it already is not made again.

    Returns:
        figures of the tested nights by name of the model.
    """
    cohort = work_dir / "cohort"
    write_cohort(cohort)
    settings = json.loads(CONFIG.read_text(encoding="utf-8"))
    others = sorted({night.subject for night in find_npz_nights(DATA)} - {*TUNING_SUBJECTS, *TEST_SUBJECTS})
    assert len(others) == 12
    scratch = {**settings, "data_dir": str(cohort), "test_subjects": TEST_SUBJECTS}
    in_common = {name: value for name, value in scratch.items() if name not in ("model", "feature_extractor")}
    trainings = {
        "as it is": {**settings, "data_dir": str(DATA), "test_subjects": [*TUNING_SUBJECTS, *TEST_SUBJECTS]},
        "from fresh weights": scratch,
        "fine-tuned": {**in_common, **TUNING, "model_name_or_path": str(work_dir / "as it is")},
    }
    figures = {}
    for name, training in trainings.items():
        output = work_dir / name
        if not (output / "model.safetensors").is_file():
            path = work_dir / f"{name}.json"
            path.write_text(json.dumps({**training, "output_dir": str(output)}, indent=2), encoding="utf-8")
            run_sleep_staging.main([str(path)])
        stager = load_stager(output)
        nights = read_npz_nights(cohort, stager.feature_extractor, TEST_SUBJECTS)
        predictions = pd.concat([predict_night(stager.model, night) for night in nights], ignore_index=True)
        figures[name] = figures_of_predictions(predictions)
    return figures


def write_cohort(folder: Path) -> None:
    """Change the waveforms of the eight subjects and write them as npz nights.

    Args:
        folder: gets one file per night.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for night in find_npz_nights(DATA):
        path = folder / night.path.name
        if night.subject in (*TUNING_SUBJECTS, *TEST_SUBJECTS) and not path.exists():
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
            }
        )
    return markdown_table(pd.DataFrame(rows))


if __name__ == "__main__":
    main()

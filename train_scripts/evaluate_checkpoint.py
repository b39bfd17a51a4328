"""Stage scored nights with a checkpoint and write predictions and figures of agreement.

python -m train_scripts.evaluate_checkpoint CHECKPOINT --data-dir NIGHTS --subjects SC400,SC405 --output DIR
"""

import argparse
import json
import sys
from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm

from dataset_builders.night_rows import NightRows
from dataset_builders.npz_nights import read_npz_nights
from modeling_sleepvit.hypnogram import PROBABILITY_COLUMNS
from modeling_sleepvit.metrics_sleepvit import staging_metrics
from modeling_sleepvit.night_staging import night_probabilities
from modeling_sleepvit.stager import load_stager
from modeling_sleepvit.whole_files import written_whole

from .run_sleep_staging import check_fit
from .running import run_script


def main(argv: list[str] | None = None) -> None:
    """Write `predictions.parquet` and `metrics.json` of a checkpoint on scored nights.

    Args:
        argv: see `--help`; None reads the command line.

    Raises:
        SleepViTError: the checkpoint or the nights cannot be used.
    """
    parser = argparse.ArgumentParser(prog="evaluate_checkpoint", description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", help="folder of a checkpoint or its id on the Hub")
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of npz nights")
    parser.add_argument("--subjects", metavar="NAME[,NAME...]", help="subjects to stage (default: all)")
    parser.add_argument("--protocol", default="", help="one sentence that goes into metrics.json with the figures")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the two files")
    args = parser.parse_args(argv)

    stager = load_stager(args.checkpoint)
    subjects = args.subjects.split(",") if args.subjects else None
    nights = read_npz_nights(args.data_dir, stager.feature_extractor, subjects)
    check_fit(stager.model, nights[0])
    predictions = pd.concat(
        [predict_night(stager.model, night) for night in tqdm(nights, unit="night", disable=None)], ignore_index=True
    )
    metrics = {"protocol": args.protocol, **metrics_of_predictions(predictions)}
    args.output.mkdir(parents=True, exist_ok=True)
    with written_whole(args.output / "predictions.parquet") as partial:
        predictions.to_parquet(partial, index=False)
    write_metrics(metrics, args.output / "metrics.json")
    print(f"accuracy {metrics['accuracy']:.3f}, macro-F1 {metrics['macro_f1']:.3f}, kappa {metrics['kappa']:.3f}")


def predict_night(model: torch.nn.Module, night: NightRows) -> pd.DataFrame:
    """Stage one night.

    Args:
        model: a model with its stage head, in eval mode.
        night: its rows and labels.

    Returns:
        one row per epoch: `subject`, `recording`, `epoch`, `label` and `p_W` to `p_R`.
    """
    probabilities = night_probabilities(model, torch.from_numpy(night.input_values))
    frame = pd.DataFrame({"subject": night.subject, "recording": night.recording, "epoch": range(len(night))})
    frame["label"] = night.labels
    frame[list(PROBABILITY_COLUMNS)] = probabilities.numpy()
    return frame


def metrics_of_predictions(predictions: pd.DataFrame) -> dict:
    """Compute the figures of a table of predictions, pooled and for each subject.

    Args:
        predictions: as `predict_night` makes it, of any number of nights.

    Returns:
        `subjects`, `n_recordings`, the figures of `staging_metrics` over all epochs, and `kappa_of_subject`.
    """
    stage = predictions[list(PROBABILITY_COLUMNS)].to_numpy().argmax(axis=1)
    return {
        "subjects": sorted(predictions["subject"].unique()),
        "n_recordings": int(predictions["recording"].nunique()),
        **staging_metrics(predictions["label"].to_numpy(), stage),
        "kappa_of_subject": {
            subject: staging_metrics(rows["label"].to_numpy(), stage[rows.index])["kappa"]
            for subject, rows in predictions.groupby("subject")
        },
    }


def write_metrics(metrics: dict, path: Path) -> None:
    """Write figures as JSON; there is never half a file."""
    with written_whole(path) as partial:
        partial.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(run_script(main))

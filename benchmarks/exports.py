"""What an export keeps of the agreement, and what it takes: kappa, size and seconds per night by format and precision.

    python -m benchmarks.exports RUN_DIR    # measures the finished folds there, writes results/exports.json
    python -m benchmarks.exports            # makes the table of the committed results anew

Kappa is that of subjects whom a fold had not seen. A night for the times is SIMULATED noise of 8 h (960 epochs, one
channel at 100 Hz); the runtimes take turns.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from dataset_builders.markdown_tables import markdown_table
from dataset_builders.npz_nights import read_npz_nights
from model_cards.build_cards import fill_in
from modeling_sleepvit import SleepStagingPipeline
from modeling_sleepvit.hypnogram import PROBABILITY_COLUMNS
from modeling_sleepvit.metrics_sleepvit import staging_metrics
from modeling_sleepvit.stager import load_stager
from train_scripts.evaluate_checkpoint import predict_night, write_metrics
from train_scripts.export_checkpoint import main as export


DATA = Path(os.environ.get("SLEEPVIT_DATA", "../shared/data"))
RESULTS = Path(__file__).parent / "results" / "exports.json"
PRECISIONS = ("fp32", "bf16", "int8")
HOURS, SAMPLING_RATE, REPEATS = 8, 100, 7


def main(argv: list[str]) -> None:
    """Measure the folds of a run, if one is named, and put the table into this folder's README.

    Args:
        argv: the folder of `run_leave_one_subject_out`, or nothing.
    """
    if argv:
        write_metrics(measure(Path(argv[0])), RESULTS)
    figures = exports_table(json.loads(RESULTS.read_text(encoding="utf-8")))
    fill_in(Path(__file__).parent / "README.md", "exports", figures)
    print(figures)


def measure(run: Path) -> dict:
    """Stage the test subjects of each finished fold with PyTorch and with each export of the fold's model.

    Args:
        run: folder of `run_leave_one_subject_out`.

    Returns:
        what was measured, by row of the table.
    """
    folds = sorted(path.parent for path in run.glob("fold-*/predictions.parquet"))
    tables = []
    with tempfile.TemporaryDirectory() as folder:
        for fold in tqdm(folds, unit="fold", disable=None):
            exported = exports_of(fold / "training", Path(folder) / fold.name, "onnx")
            settings = json.loads((fold / "training_settings.json").read_text(encoding="utf-8"))
            stagers = {"PyTorch, fp32": load_stager(fold / "training")}
            stagers |= {f"ONNX, {name}": load_stager(path, "onnx") for name, path in exported.items()}
            extractor = stagers["PyTorch, fp32"].feature_extractor
            for night in read_npz_nights(DATA / "sleep-edf-20-5s", extractor, settings["test_subjects"]):
                tables += [predict_night(stager.model, night).assign(row=row) for row, stager in stagers.items()]
        rows = {
            row: figures_of(table) | {"seconds_per_night": seconds}
            for (row, table), seconds in zip(
                pd.concat(tables).groupby("row", sort=False), seconds_per_night(stagers).values()
            )
        }
        rows["PyTorch, fp32"]["megabytes"] = megabytes(fold / "training", "model.safetensors")
        for name, path in exported.items():
            rows[f"ONNX, {name}"]["megabytes"] = megabytes(path, "*.onnx")
        for name, path in exports_of(fold / "training", Path(folder) / "programs", "torch-export").items():
            rows[f"torch.export, {name}"] = {"megabytes": megabytes(path, "*.pt2")}
    return {
        "protocol": "Sleep-EDF-20, the first 5 s of each epoch, wake trimmed to 30 min on either side of sleep; each "
        "subject staged by a model that had not seen it",
        "n_subjects": int(pd.concat(tables)["subject"].nunique()),
        "n_epochs": rows["PyTorch, fp32"]["n_epochs"],
        "night": f"{HOURS} h of simulated noise, one channel at {SAMPLING_RATE} Hz",
        "threads": torch.get_num_threads(),
        "repeats": REPEATS,
        "rows": rows,
    }


def exports_of(checkpoint: Path, folder: Path, file_format: str) -> dict[str, Path]:
    """Export a checkpoint in each precision.

    Args:
        checkpoint: its folder.
        folder: for the exports.
        file_format: "onnx" or "torch-export".

    Returns:
        their folders by precision.
    """
    exported = {name: folder / name for name in PRECISIONS}
    for name, path in exported.items():
        quantize = [] if name == "fp32" else ["--quantize", name]
        export([str(checkpoint), "--format", file_format, *quantize, "--output", str(path)])
    return exported


def figures_of(predictions: pd.DataFrame) -> dict[str, float]:
    """Compute the agreement of one row's predictions with the scoring."""
    stages = predictions[list(PROBABILITY_COLUMNS)].to_numpy().argmax(axis=1)
    metrics = staging_metrics(predictions["label"], stages)
    return {name: metrics[name] for name in ("n_epochs", "accuracy", "macro_f1", "kappa")}


def seconds_per_night(stagers: dict[str, SleepStagingPipeline]) -> dict[str, float]:
    """Time the whole pipeline, by turns.

    Args:
        stagers: pipelines by name.

    Returns:
        medians in s.
    """
    night = np.random.default_rng(0).normal(scale=20, size=HOURS * 3600 * SAMPLING_RATE).astype(np.float32)
    seconds = {name: [] for name in stagers}
    for _ in range(REPEATS + 1):
        for name, stager in stagers.items():
            start = time.perf_counter()
            stager(night, sampling_rate=SAMPLING_RATE)
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times[1:]) for name, times in seconds.items()}  # the first pays for caches


def megabytes(folder: Path, pattern: str) -> float:
    """Sum up the size of files."""
    return sum(path.stat().st_size for path in folder.glob(pattern)) / 1e6


def exports_table(results: dict) -> str:
    """Make a Markdown table of what was measured.

    Args:
        results: as `measure` gives them.

    Returns:
        the table, and a sentence on whom it was measured.
    """
    floor = results["rows"]["PyTorch, fp32"]
    rows = []
    for name, row in results["rows"].items():
        shown = {"export": name, "MB": f"{row['megabytes']:.2f}", "kappa": "", "kappa lost": "", "s per night": ""}
        if "kappa" in row:
            shown["kappa"] = f"{row['kappa']:.4f}"
            shown["kappa lost"] = f"{floor['kappa'] - row['kappa']:.4f}"
            shown["s per night"] = f"{row['seconds_per_night']:.2f}"
            shown["x PyTorch"] = f"{row['seconds_per_night'] / floor['seconds_per_night']:.2f}"
        rows.append(shown)
    told = f"{results['protocol']}: {results['n_subjects']} subjects, {results['n_epochs']:,} epochs. A night for the "
    told += f"times is {results['night']}; median of {results['repeats']}, {results['threads']} threads."
    return f"{markdown_table(pd.DataFrame(rows).fillna(''))}\n\n{told}"


if __name__ == "__main__":
    main(sys.argv[1:])

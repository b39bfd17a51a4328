"""How far the default model carries: the nights of subjects it has not seen, recorded otherwise (simulated).

    python -m benchmarks.transfer RUN_DIR    # stages every fold's own subject under every change, writes the results
    python -m benchmarks.transfer            # makes the table of the committed results anew

RUN_DIR is what `run_leave_one_subject_out` left of `train_scripts/configs/sedf20-5s/default.json`: a model for each
subject that has not learned from it. The waveform of the subject is changed, and the rest is done as for any night.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import signal
from tqdm import tqdm

from dataset_builders.markdown_tables import markdown_table
from dataset_builders.npz_nights import find_npz_nights
from model_cards.build_cards import fill_in
from modeling_sleepvit.metrics_sleepvit import staging_metrics
from modeling_sleepvit.night_staging import night_probabilities
from modeling_sleepvit.stager import load_stager
from modeling_sleepvit.stages import STAGES
from train_scripts.evaluate_checkpoint import write_metrics

from .named_folder import named_folder


DATA = Path(os.environ.get("SLEEPVIT_DATA", "../shared/data")) / "sleep-edf-20-5s"
RESULTS = Path(__file__).parent / "results" / "transfer.json"
Change = Callable[[np.ndarray, float], tuple[np.ndarray, float]]
"""Takes (epochs, samples) in uV and the sampling rate in Hz, and gives both as they would have been recorded."""


def gain(factor: float) -> Change:
    """Change the amplitude."""
    return lambda x, rate: (factor * x, rate)


def butterworth(edge_hz: float, order: int, kind: str) -> Change:
    """Filter forwards and backwards, so that the order counts twice."""
    return lambda x, rate: (
        signal.sosfiltfilt(signal.butter(order, edge_hz, kind, fs=rate, output="sos"), x, axis=-1),
        rate,
    )


def sampled_at(new_rate: int) -> Change:
    """Resample."""
    return lambda x, rate: (signal.resample_poly(x, new_rate, int(rate), axis=-1), float(new_rate))


def mains_hum(amplitude_uv: float) -> Change:
    """Sample at 200 Hz and add 50 Hz."""

    def change(x: np.ndarray, rate: float) -> tuple[np.ndarray, float]:
        x, rate = sampled_at(200)(x, rate)
        return x + amplitude_uv * np.sin(2 * np.pi * 50 * np.arange(x.shape[-1]) / rate), rate

    return change


def white_noise(spread_uv: float) -> Change:
    """Add the noise of a poor amplifier."""
    return lambda x, rate: (x + np.random.default_rng(0).normal(scale=spread_uv, size=x.shape), rate)


def other_reference(seed: int, decades: float = 0.25) -> Change:
    """Weigh the spectrum anew by a smooth curve over the octaves: four cosines with random weights."""

    def change(x: np.ndarray, rate: float) -> tuple[np.ndarray, float]:
        frequencies = np.fft.rfftfreq(x.shape[-1], 1 / rate)
        octaves = np.log2(np.maximum(frequencies, 0.25) / 0.25) / 7
        weights = decades * np.random.default_rng(seed).standard_normal(4)
        curve = weights @ np.cos(np.pi * np.arange(1, 5)[:, None] * octaves)  # decades of power
        return np.fft.irfft(np.fft.rfft(x) * 10 ** (curve / 2), x.shape[-1]), rate

    return change


CHANGES: dict[str, Change] = {
    "as recorded": gain(1.0),
    "amplitude x 0.1": gain(0.1),
    "amplitude x 10": gain(10.0),
    "polarity reversed": gain(-1.0),
    "sampled at 50 Hz": sampled_at(50),
    "sampled at 128 Hz": sampled_at(128),
    "sampled at 200 Hz": sampled_at(200),
    "sampled at 500 Hz": sampled_at(500),
    "high-pass 1 Hz": butterworth(1, 1, "highpass"),
    "low-pass 30 Hz": butterworth(30, 3, "lowpass"),
    "low-pass 20 Hz": butterworth(20, 3, "lowpass"),
    "mains hum, 20 uV at 50 Hz": mains_hum(20),
    "white noise, 5 uV": white_noise(5),
    "another reference (1)": other_reference(0),
    "another reference (2)": other_reference(1),
    "another reference (3)": other_reference(2),
}


def main(argv: list[str] | None = None) -> None:
    """Measure the folds if a folder is named, and put the table into this folder's README.

    Args:
        argv: see the head of this module; None reads the command line.
    """
    run_dir = named_folder(argv, __doc__, "RUN_DIR", "what the folds left")
    if run_dir is not None:
        write_metrics(measure(run_dir), RESULTS)
    table = transfer_table(json.loads(RESULTS.read_text(encoding="utf-8")))
    fill_in(Path(__file__).parent / "README.md", "transfer", table)
    print(table)


def measure(run_dir: Path) -> dict:
    """Stage the subject of every fold under every change.

    Args:
        run_dir: holds `fold-NN/training`, and `fold-NN/training_settings.json` which names the subject.

    Returns:
        `n_subjects`, and under `changes` for each change the figures of all epochs together.
    """
    folds = sorted(path.parent for path in run_dir.glob("fold-*/predictions.parquet"))
    labels, predictions = [], {name: [] for name in CHANGES}
    for fold in tqdm(folds, unit="fold", disable=None):
        stager = load_stager(fold / "training")
        subjects = json.loads((fold / "training_settings.json").read_text(encoding="utf-8"))["test_subjects"]
        for night in find_npz_nights(DATA):
            if night.subject in subjects:
                waveform_uv, stages, rate = night.load()  # (epochs, samples, channels)
                labels.append(stages)
                for name, change in CHANGES.items():
                    changed, new_rate = change(waveform_uv[:, :, 0].astype(np.float64), rate)
                    rows = stager.feature_extractor(changed[:, None], sampling_rate=new_rate)["input_values"]
                    probabilities = night_probabilities(stager.model, torch.from_numpy(rows))
                    predictions[name].append(probabilities.argmax(dim=1).numpy())
    figures = {
        name: staging_metrics(np.concatenate(labels), np.concatenate(staged)) for name, staged in predictions.items()
    }
    return {"n_subjects": len(folds), "changes": figures}


def transfer_table(results: dict) -> str:
    """Make a Markdown table.

    Args:
        results: as `measure` gives them.

    Returns:
        one row per change; accuracy and F1 in percent.
    """
    unchanged = results["changes"]["as recorded"]["kappa"]
    rows = [
        {
            "the same nights": name,
            "epochs": figures["n_epochs"],
            "accuracy": f"{100 * figures['accuracy']:.1f}",
            "macro-F1": f"{100 * figures['macro_f1']:.1f}",
            "kappa": f"{figures['kappa']:.3f}",
            "lost": f"{unchanged - figures['kappa']:.3f}",
            **{f"F1 {stage}": f"{100 * figures[f'f1_{stage}']:.1f}" for stage in STAGES},
        }
        for name, figures in results["changes"].items()
    ]
    return markdown_table(pd.DataFrame(rows))


if __name__ == "__main__":
    main()

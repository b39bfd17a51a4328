"""The paper's architectures, and the choices within its own, on the same folds of Sleep-EDF-20 with equal effort.

    python -m benchmarks.architectures --train runs/architectures    # trains the rows that are missing
    python -m benchmarks.architectures --speed    # times all of them on this machine
    python -m benchmarks.architectures            # makes the tables of the published predictions anew

Five folds of four subjects; each row is trained once through all data by the settings in
`train_scripts/configs/architectures`, with the same seed, and publishes its predictions of every epoch. Started again,
a run goes on with the fold where it stopped. The data have no EOG: rows that read one learn from SIMULATED nights.
"""

import argparse
import json
import statistics
import sys
import time
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import signal
from tqdm import tqdm

from dataset_builders.markdown_tables import markdown_table
from dataset_builders.npz_nights import find_npz_nights
from dataset_builders.simulation import simulate_night
from dataset_builders.splits import Splits, k_fold
from model_cards.build_cards import fill_in, percent_between
from modeling_sleepvit import SleepStagingPipeline, SleepViTConfig, SleepViTFeatureExtractor
from modeling_sleepvit import SleepViTForAudioClassification as EpochModel
from modeling_sleepvit.hypnogram import PROBABILITY_COLUMNS
from modeling_sleepvit.recordings import recording_from_array
from modeling_sleepvit.stages import STAGES, ids_from_stages
from modeling_sleepvit.whole_files import written_whole
from train_scripts.evaluate_checkpoint import write_metrics
from train_scripts.run_leave_one_subject_out import join_folds, run_fold
from train_scripts.subject_metrics import figures_of_predictions, paired_difference
from train_scripts.training_settings import ModelArguments, make_model

from .architecture_rows import (
    CHOICES,
    CONTEXT,
    CUT,
    EEG_AND_EOG,
    OUT_OF_CONTEXT,
    ROWS,
    Row,
    is_architecture,
    protocol_of,
    settings_of,
)
from .leave_one_subject_out import size_of_model


RESULTS = Path(__file__).parent / "results" / "architectures"
READMES = [Path(__file__).parent / "README.md", Path(__file__).parents[1] / "README.md"]

N_FOLDS, N_VALIDATION, SEED = 5, 2, 0
N_SIMULATED_NIGHTS, SECONDS_KEPT = 20, 5


def main(argv: list[str] | None = None) -> None:
    """Train or time what is asked for, and put the tables into both READMEs.

    Args:
        argv: see `--help`; None reads the command line.
    """
    parser = argparse.ArgumentParser(prog="benchmarks.architectures", description=__doc__.split("\n")[0])
    parser.add_argument("--train", type=Path, metavar="DIR", help="folder of the trainings; trains what is missing")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="which (default: all)")
    parser.add_argument("--speed", action="store_true", help="time the staging of a night by each row")
    args = parser.parse_args(argv)
    if args.train is not None:
        torch.set_num_threads(1)  # so that several runs may share a machine
        for name in args.rows:
            if not (RESULTS / name / "predictions.parquet").is_file():
                train(name, args.train)
    if args.speed:
        write_metrics(measure_speed(), RESULTS / "speed.json")
    metrics = {name: rebuild(name) for name in ROWS if (RESULTS / name / "predictions.parquet").is_file()}
    write_tables(metrics, differences(), json.loads((RESULTS / "speed.json").read_text(encoding="utf-8")))


def train(name: str, output: Path) -> None:
    """Train the folds of a row that are missing, and publish its predictions.

    Args:
        name: of the row.
        output: folder of the trainings.
    """
    row = ROWS[name]
    simulated_nights = simulate_nights(output / "simulated-nights", row.simulated) if row.simulated else None
    settings = settings_of(row, simulated_nights)
    nights = find_npz_nights(settings["data_dir"], subject_pattern=settings.get("subject_pattern"))
    splits = k_fold([night.subject for night in nights], N_FOLDS, N_VALIDATION, SEED)
    for fold, split in enumerate(splits.splits):
        folder = output / name / f"fold-{fold:02d}"
        if not (folder / "predictions.parquet").is_file():
            print(f"{name}: {split.name} of {N_FOLDS}", flush=True)
            run_fold(folder, settings, split, fold, SEED)
    print(join_folds(output / name, output / name, N_FOLDS, protocol_of(row)))
    publish(name, output / name, splits)


def publish(name: str, joined: Path, splits: Splits) -> None:
    """Put the predictions of a row, with three decimals, and what tells how they were made beside the others.

    Args:
        name: of the row.
        joined: folder with `predictions.parquet` and `metrics.json`.
        splits: who was tested where.
    """
    predictions = pd.read_parquet(joined / "predictions.parquet")
    columns = list(PROBABILITY_COLUMNS)
    predictions[columns] = predictions[columns].round(3)
    (RESULTS / name).mkdir(parents=True, exist_ok=True)
    splits.to_json(RESULTS / f"{'simulated-' * bool(ROWS[name].simulated)}splits.json")
    (RESULTS / name / "metrics.json").write_bytes((joined / "metrics.json").read_bytes())
    with written_whole(RESULTS / name / "predictions.parquet") as partial:
        predictions.to_parquet(partial, index=False, compression="zstd", compression_level=15)


def simulate_nights(folder: Path, channels: tuple[str, ...]) -> Path:
    """Write SIMULATED nights, cut like the real ones, unless they are there.

    Args:
        folder: of all simulated nights; those of other channels have folders of their own.
        channels: EEG, and EOG whose names begin with EOG.

    Returns:
        folder of the npz files.
    """
    folder = folder / "_".join(channels).replace(" ", "-")
    folder.mkdir(parents=True, exist_ok=True)
    for number in tqdm(range(N_SIMULATED_NIGHTS), unit="simulated night", disable=None):
        path = folder / f"P{number:02d}.npz"
        if path.is_file():
            continue
        night = simulate_night(seed=number, channels=channels)
        rate, n_epochs = night.sampling_rate, night.hypnogram.n_epochs
        cut = {channel: night.signals[channel].reshape(n_epochs, -1)[:, : SECONDS_KEPT * rate] for channel in channels}
        arrays = {"x": np.stack([cut[channel] for channel in channels if not channel.startswith("EOG")], axis=2)}
        if eog := [cut[channel] for channel in channels if channel.startswith("EOG")]:
            arrays["eog"] = np.stack(eog, axis=2)
        with written_whole(path) as partial, partial.open("wb") as file:
            np.savez(file, **arrays, y=ids_from_stages(night.hypnogram.stages), fs=rate)
    return folder


def rebuild(name: str) -> dict:
    """Compute the figures of a row from its published predictions.

    Args:
        name: of the row.

    Returns:
        the figures, which are written to `metrics.json` too.
    """
    path = RESULTS / name / "metrics.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    metrics = {
        "protocol": protocol_of(ROWS[name]),
        "folds": told["folds"],
        "temperatures": told["temperatures"],
        **figures_of_predictions(read_predictions(name)),
        "model": size_of_model(settings_of(ROWS[name])),
    }
    write_metrics(metrics, path)
    return metrics


@cache
def read_predictions(name: str) -> pd.DataFrame:
    """Read the published predictions of a row."""
    return pd.read_parquet(RESULTS / name / "predictions.parquet")


def differences() -> dict[str, dict]:
    """Compare the rows of every choice whose trainings are done, subject by subject.

    Returns:
        by the row of the choice and its rival: the difference in kappa and its 95 % interval over subjects.
    """
    found = {}
    for _, chosen, rival in CHOICES:
        if all((RESULTS / name / "predictions.parquet").is_file() for name in (chosen, rival)):
            found[f"{chosen} - {rival}"] = paired_difference(read_predictions(rival), read_predictions(chosen))
    write_metrics(found, RESULTS / "differences.json")
    return found


def measure_speed(repeats: int = 3, hours: int = 8, sampling_rate: int = 100) -> dict:
    """Time the staging of a whole night by each row, with fresh weights, on one thread.

    Args:
        repeats: how often each is timed, by turns.
        hours: length of the night, which is simulated noise.
        sampling_rate: Hz.

    Returns:
        medians of processor seconds by row, and as multiples of a floor: the spectrogram of the same night by SciPy.
    """
    torch.set_num_threads(1)
    noise = np.random.default_rng(0).normal(scale=20, size=(2, hours * 3600 * sampling_rate)).astype(np.float32)
    night = recording_from_array(noise, sampling_rate, channel_names=EEG_AND_EOG)
    floor = "floor: spectrogram by SciPy"
    runs = {floor: lambda: signal.spectrogram(noise[0], sampling_rate, ("tukey", 0.25), sampling_rate, 0)}
    for name, row in ROWS.items():
        if not is_architecture(row):
            continue
        settings = settings_of(row)
        model = make_model(ModelArguments(model=settings["model"], single_epoch=settings["single_epoch"]))
        extractor = SleepViTFeatureExtractor(**settings.get("feature_extractor", {}))
        stager = SleepStagingPipeline(model=model, feature_extractor=extractor)
        runs[name] = lambda stager=stager: stager(night, channels=EEG_AND_EOG[:1])
    seconds = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            start = time.process_time()
            run()
            if turn:  # the first call also pays for caches
                seconds[name].append(time.process_time() - start)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    return {
        "night": f"{hours} h of simulated noise at {sampling_rate} Hz, one thread, processor time",
        "repeats": repeats,
        "median_s": medians,
        "ratio_to_floor": {name: median / medians[floor] for name, median in medians.items()},
    }


def write_tables(metrics: dict[str, dict], found: dict[str, dict], speed: dict) -> None:
    """Put the tables into both READMEs: whole into that of the benchmarks, short into that of the project.

    Args:
        metrics: figures by row.
        found: as `differences` gives them.
        speed: as `measure_speed` gives them.
    """
    whole, project = READMES
    fill_in(whole, "architectures", architectures_table(metrics, speed))
    fill_in(whole, "architecture choices", f"{choices_table(metrics, found)}\n\n{worth_of_the_cut(found)}")
    fill_in(project, "architectures", f"{short_table(metrics)}\n\n{worth_of_the_cut(found)}")
    print(architectures_table(metrics, speed), choices_table(metrics, found), worth_of_the_cut(found), sep="\n\n")


def architectures_table(metrics: dict[str, dict], speed: dict) -> str:
    """Make the Markdown table of the architectures.

    Args:
        metrics: figures by row.
        speed: as `measure_speed` gives them.

    Returns:
        the table; F1 in percent, everything with its 95 % interval over subjects.
    """
    rows = []
    for name, figures in metrics.items():
        row = ROWS[name]
        if not is_architecture(row):
            continue
        published = EpochModel(SleepViTConfig.from_preset(row.config)).num_parameters()
        rows.append(
            {
                **_name_of(row),
                "parameters as published": published,
                "parameters": figures["model"]["n_parameters"],
                "MFLOPs per epoch": f"{figures['model']['n_mflops_per_epoch']:.2f}",
                "s per night": f"{speed['median_s'][name]:.2f}",
                "x the spectrogram": f"{speed['ratio_to_floor'][name]:.1f}",
                "epochs": figures["n_epochs"],
                "kappa": _with_interval(figures, "kappa"),
                "macro-F1": _with_interval(figures, "macro_f1"),
                **{f"F1 {stage}": _with_interval(figures, f"f1_{stage}") for stage in STAGES},
            }
        )
    return markdown_table(pd.DataFrame(rows))


def short_table(metrics: dict[str, dict]) -> str:
    """Make the table of the project's README: one row per architecture, kappa alone and in context.

    Args:
        metrics: figures by row.

    Returns:
        the table, kappa with its 95 % interval over subjects.
    """
    rows = []
    for name, figures in metrics.items():
        in_context = f"{name}{OUT_OF_CONTEXT}"
        if in_context in metrics:
            rows.append(
                {
                    "architecture": _name_of(ROWS[name])["architecture"],
                    "kappa, epoch alone": _with_interval(figures, "kappa"),
                    f"kappa, {CONTEXT} epochs": _with_interval(metrics[in_context], "kappa"),
                }
            )
    return markdown_table(pd.DataFrame(rows))


def choices_table(metrics: dict[str, dict], found: dict[str, dict]) -> str:
    """Make the Markdown table of the choices.

    Args:
        metrics: figures by row.
        found: as `differences` gives them.

    Returns:
        the table: kappa of both sides and the paired difference with its 95 % interval over subjects.
    """
    rows = []
    for question, chosen, rival in CHOICES:
        if f"{chosen} - {rival}" in found:
            rows.append(
                {
                    "choice": question,
                    "kappa": f"{metrics[chosen]['kappa']:.3f}",
                    "kappa of the other": f"{metrics[rival]['kappa']:.3f}",
                    "difference (95 %)": _difference(found[f"{chosen} - {rival}"]),
                }
            )
    return markdown_table(pd.DataFrame(rows))


def worth_of_the_cut(found: dict[str, dict]) -> str:
    """Say in one sentence what the frequency cut is worth on these data.

    Args:
        found: as `differences` gives them.

    Returns:
        the sentence.
    """
    alone, in_context, longer, longer_in_context, projected = (
        _difference(found[f"{chosen} - {rival}"]) for _, chosen, rival in CUT
    )
    return (
        "What the frequency cut is worth here, in kappa, against one token per second of 32 uncut rows: after one "
        f"pass {alone} for an epoch alone and {in_context} with {CONTEXT} epochs of context; after six passes "
        f"{longer} and {longer_in_context}; after one pass with a projection for each band, {projected} for an epoch "
        "alone."
    )


def _name_of(row: Row) -> dict[str, str]:
    on_what = " (SIMULATED nights)" if row.simulated else ""
    return {"architecture": f"{row.title}{on_what}", "context": "epoch alone" if row.context == 1 else row.context}


def _with_interval(figures: dict, name: str) -> str:
    low, high = figures["intervals"][name]
    if name == "kappa":
        return f"{figures[name]:.3f} ({low:.3f} to {high:.3f})"
    return f"{100 * figures[name]:.1f} ({percent_between([low, high]).replace('and', 'to')})"


def _difference(found: dict) -> str:
    low, high = found["interval"]
    return f"{found['difference']:+.3f} ({low:+.3f} to {high:+.3f})"


if __name__ == "__main__":
    sys.exit(main())

"""How long preparing a night takes, as a multiple of plain EDF reading measured in the same run.

    python -m benchmarks.prepare

The nights are SIMULATED: 8 h, 7 channels at 128 Hz. The floor is reading all channels of the file into memory and
doing nothing with them: once with edfio, the library that this package reads EDF with, and once with MNE, which is
what a script of one's own would use. Preparing reads recording and scoring, trims, makes the rows of one EEG channel
(or of all seven) and writes a Parquet file.
"""

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import edfio
import mne
import pandas as pd

from dataset_builders.markdown_tables import markdown_table
from dataset_builders.night_files import prepare_night, prepare_nights
from dataset_builders.scored_night import NightSettings, ScoredNight
from dataset_builders.simulation import simulate_night, write_simulated_night
from model_cards.build_cards import fill_in
from modeling_sleepvit import SleepViTFeatureExtractor, embedded_checkpoint, read_recording
from train_scripts.evaluate_checkpoint import write_metrics


HOURS = 8
SAMPLING_RATE = 128
CHANNELS = ("F4-M1", "C4-M1", "O2-M1", "C3-M2", "EOG left", "EOG right", "EMG submental")
REPEATS = 7
N_NIGHTS = 200
FLOORS = ("plain reading with edfio", "plain reading with MNE")
WHAT = {"one channel": CHANNELS[1:2], "seven channels": CHANNELS}
RESULTS = Path(__file__).parent / "results" / "prepare.json"


def main() -> None:
    """Time floor and preparing by turns, then one process against several; print and write medians and ratios."""
    with tempfile.TemporaryDirectory() as folder:
        night = write_night(Path(folder))
        seconds = times_by_turns(night, Path(folder))
        scaling = times_of_processes(night, Path(folder))
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    results = {
        "night": f"SIMULATED, {HOURS} h, {len(CHANNELS)} channels at {SAMPLING_RATE} Hz",
        "cpus": os.cpu_count(),
        "repeats": REPEATS,
        "median_s": medians,
        "ratio": {
            name: {floor: medians[name] / medians[floor] for floor in FLOORS}
            for name in medians
            if name.startswith("prepare")
        },
        "share_of_reading": {f"prepare {what}": medians[f"read {what}"] / medians[f"prepare {what}"] for what in WHAT},
        "nights_of_the_scaling": N_NIGHTS,
        "processes": scaling,
    }
    write_metrics(results, RESULTS)
    figures = tables(results)
    fill_in(Path(__file__).parent / "README.md", "prepare", figures)
    print(figures)


def tables(results: dict) -> str:
    """Make Markdown tables of the figures.

    Args:
        results: as they are written.

    Returns:
        one table of ratios and one of processes.
    """
    ratios = [
        {
            "8 h night, 7 channels": name,
            **{f"x {floor}": f"{ratio:.2f}" for floor, ratio in by_floor.items()},
            "share of reading what it needs": f"{results['share_of_reading'][name]:.0%}",
        }
        for name, by_floor in results["ratio"].items()
    ]
    alone = results["processes"]["1"]["nights_per_minute"]
    processes = [
        {
            "processes": int(n_processes),
            "nights per minute": f"{figures['nights_per_minute']:.0f}",
            "per process": f"{figures['nights_per_minute'] / int(n_processes):.0f}",
            "speed-up": f"{figures['nights_per_minute'] / alone:.2f}",
            "once, to start (s)": f"{max(0.0, figures['start_s']):.1f}",
        }
        for n_processes, figures in results["processes"].items()
    ]
    return "\n\n".join(markdown_table(pd.DataFrame(rows)) for rows in (ratios, processes))


def write_night(folder: Path) -> ScoredNight:
    """Write the simulated night."""
    simulated = simulate_night(HOURS, sampling_rate=SAMPLING_RATE, channels=CHANNELS)
    signal, scoring = write_simulated_night(folder / "SIMULATED.edf", simulated)
    return ScoredNight("S", "SIMULATED", signal, scoring)


def times_by_turns(night: ScoredNight, folder: Path) -> dict[str, list[float]]:
    """Time the floors and preparing, each once per turn, so that a slow moment of the machine hits all alike.

    Args:
        night: the night.
        folder: for the Parquet file.

    Returns:
        seconds by what was timed.
    """
    runs: dict[str, Callable[[], object]] = {
        FLOORS[0]: lambda: [signal.data for signal in edfio.read_edf(night.signal).signals],
        FLOORS[1]: lambda: mne.io.read_raw_edf(night.signal, preload=True, verbose="error"),
    }
    for what, channels in WHAT.items():
        runs[f"read {what}"] = partial(read_recording, night.signal, channels)
        runs[f"prepare {what}"] = partial(prepare, night, settings(channels), folder)
    for run in runs.values():
        run()  # the first call also pays for caches
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(REPEATS):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def prepare(night: ScoredNight, how: NightSettings, folder: Path) -> None:
    """Prepare the night anew."""
    path = folder / "SIMULATED.parquet"
    path.unlink(missing_ok=True)
    prepare_night(night, how, path)


def settings(channels: tuple[str, ...]) -> NightSettings:
    """Settings with the feature extractor of the embedded checkpoint."""
    return NightSettings(SleepViTFeatureExtractor.from_pretrained(embedded_checkpoint()), channels=channels)


def times_of_processes(night: ScoredNight, folder: Path) -> dict[str, dict[str, float]]:
    """Prepare many copies of the night with one process and with one for each CPU.

    Args:
        night: the night.
        folder: for the Parquet files.

    Returns:
        by number of processes: seconds that only the first nights cost, since processes import their libraries;
        seconds for `N_NIGHTS` nights afterwards, and nights per minute of these.
    """
    figures = {}
    for n_processes in sorted({1, os.cpu_count() or 1}):
        first, again, many = (
            seconds_of_copies(night, n_nights, n_processes, folder)
            for n_nights in (n_processes, n_processes, n_processes + N_NIGHTS)
        )
        figures[str(n_processes)] = {
            "start_s": first - again,
            "nights_s": many - again,
            "nights_per_minute": 60 * N_NIGHTS / (many - again),
        }
    return figures


def seconds_of_copies(night: ScoredNight, n_nights: int, n_processes: int, folder: Path) -> float:
    """Prepare copies of a night, and tell how many seconds it took."""
    copies = [ScoredNight("S", f"SIMULATED-{copy:03d}", night.signal, night.scoring) for copy in range(n_nights)]
    output = folder / "copies"
    start = time.perf_counter()
    how = settings(CHANNELS[1:2])
    failed = prepare_nights(copies, how, lambda night: output / f"{night.recording}.parquet", n_processes)
    seconds = time.perf_counter() - start
    if failed:
        raise RuntimeError(failed[0].reason)
    shutil.rmtree(output)
    return seconds


if __name__ == "__main__":
    main()

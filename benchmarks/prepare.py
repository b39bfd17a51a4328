"""How long preparing a night takes, as a multiple of plain EDF reading measured in the same run.

    python -m benchmarks.prepare

The nights are SIMULATED: 8 h, 7 channels at 128 Hz. The floor is reading all channels of the file into memory and doing
nothing with them: once with edfio, the library that this package reads EDF with, and once with MNE, which is what a
script of one's own would use. Preparing reads recording and scoring, trims, makes the rows of one EEG channel (or of all
seven) and writes a Parquet file.
"""

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import edfio
import mne

from dataset_builders.night_files import prepare_night, prepare_nights
from dataset_builders.scored_night import NightSettings, ScoredNight
from dataset_builders.simulation import simulate_night, write_simulated_night
from modeling_sleepvit import SleepViTFeatureExtractor, embedded_checkpoint
from train_scripts.evaluate_checkpoint import write_metrics


HOURS = 8
SAMPLING_RATE = 128
CHANNELS = ("F4-M1", "C4-M1", "O2-M1", "C3-M2", "EOG left", "EOG right", "EMG submental")
REPEATS = 7
N_NIGHTS = 96
RESULTS = Path(__file__).parent / "results" / "prepare.json"


def main() -> None:
    """Time floor and preparing by turns, then one process against several; print and write medians and ratios."""
    with tempfile.TemporaryDirectory() as folder:
        night = write_night(Path(folder))
        seconds = times_by_turns(night, Path(folder))
        scaling = times_of_processes(night, Path(folder))
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    floors = {name: median for name, median in medians.items() if name.startswith("floor")}
    ratios = {
        name: {floor: median / medians[floor] for floor in floors}
        for name, median in medians.items()
        if name not in floors
    }
    for name, median in medians.items():
        print(
            f"{name}: {median:.3f} s; "
            + ", ".join(f"{median / value:.2f} x {floor}" for floor, value in floors.items())
        )
    for n_processes, rate in scaling.items():
        print(
            f"{n_processes} processes: {rate:.0f} nights per minute, {rate / n_processes:.0f} per minute and process"
        )
    write_metrics(
        {
            "night": f"SIMULATED, {HOURS} h, {len(CHANNELS)} channels at {SAMPLING_RATE} Hz",
            "cpus": os.cpu_count(),
            "repeats": REPEATS,
            "median_s": medians,
            "ratio_to_floor": ratios,
            "share_of_reading": {
                name: {floor: min(1.0, value / medians[name]) for floor, value in floors.items()} for name in ratios
            },
            "nights_of_the_scaling": N_NIGHTS,
            "nights_per_minute": {str(n): rate for n, rate in scaling.items()},
            "speed_up": {str(n): rate / scaling[1] for n, rate in scaling.items()},
        },
        RESULTS,
    )


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
        "floor: all channels with edfio": lambda: [signal.data for signal in edfio.read_edf(night.signal).signals],
        "floor: all channels with MNE": lambda: mne.io.read_raw_edf(night.signal, preload=True, verbose="error"),
        "prepare one channel": lambda: prepare(night, settings(CHANNELS[1:2]), folder),
        "prepare seven channels": lambda: prepare(night, settings(CHANNELS), folder),
    }
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


def times_of_processes(night: ScoredNight, folder: Path) -> dict[int, float]:
    """Prepare many copies of the night with one process and with one for each CPU.

    Args:
        night: the night.
        folder: for the Parquet files.

    Returns:
        nights per minute by number of processes; starting the processes counts.
    """
    nights = [ScoredNight("S", f"SIMULATED-{copy:03d}", night.signal, night.scoring) for copy in range(N_NIGHTS)]
    rates = {}
    for n_processes in sorted({1, os.cpu_count() or 1}):
        output = folder / f"{n_processes}"
        start = time.perf_counter()
        failed = prepare_nights(
            nights, settings(CHANNELS[1:2]), lambda night: output / f"{night.recording}.parquet", n_processes
        )
        rates[n_processes] = 60 * N_NIGHTS / (time.perf_counter() - start)
        if failed:
            raise RuntimeError(failed[0].reason)
        shutil.rmtree(output)
    return rates


if __name__ == "__main__":
    main()

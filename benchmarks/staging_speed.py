"""How long staging a night and writing its report take, as a multiple of a floor measured in the same run.

    python -m benchmarks.staging_speed

The night is SIMULATED noise of 8 h (960 epochs, one channel at 100 Hz), since speed does not depend on what is in it.
The floor is what no spectral stager can do without: the spectrogram of the same signal by SciPy.
"""

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from scipy import signal

from modeling_sleepvit.recordings import recording_from_array
from modeling_sleepvit.stager import load_stager
from train_scripts.evaluate_checkpoint import write_metrics
from train_scripts.night_report.page import write_night_report


HOURS = 8
SAMPLING_RATE = 100
REPEATS = 7
RESULTS = Path(__file__).parent / "results" / "staging_speed.json"


def main() -> None:
    """Time floor, staging and report by turns, print medians and their ratio, and write them to `results/`."""
    night = np.random.default_rng(0).normal(scale=20, size=HOURS * 3600 * SAMPLING_RATE).astype(np.float32)
    recording = recording_from_array(night, SAMPLING_RATE)
    stager = load_stager()
    hypnogram = stager(recording)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "night.html"
        stages = {
            "floor: spectrogram by SciPy": lambda: signal.spectrogram(
                night, SAMPLING_RATE, window=("tukey", 0.25), nperseg=SAMPLING_RATE, noverlap=0
            ),
            "feature extractor": lambda: stager.feature_extractor(night, sampling_rate=SAMPLING_RATE),
            "whole pipeline": lambda: stager(recording),
            "report": lambda: write_night_report(report, stager, recording, hypnogram),
        }
        seconds = {name: [] for name in stages}
        for run in stages.values():
            run()  # the first call also pays for caches and threads
        for _ in range(REPEATS):
            for name, run in stages.items():
                start = time.perf_counter()
                run()
                seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    floor = next(iter(medians.values()))
    for name, median in medians.items():
        print(f"{name}: {median:.3f} s, {median / floor:.1f} x the floor")
    write_metrics(
        {
            "night": f"{HOURS} h of simulated noise, one channel at {SAMPLING_RATE} Hz",
            "threads": torch.get_num_threads(),
            "repeats": REPEATS,
            "median_s": medians,
            "ratio_to_floor": {name: median / floor for name, median in medians.items()},
        },
        RESULTS,
    )


if __name__ == "__main__":
    main()

"""`make demo`: stage a night with the embedded checkpoint, without the network.

Where the project's development data are at hand, the night is 116 minutes of real sleep (SC4001E0 of Sleep-EDF, a
subject the weights never saw) and its agreement with the real scoring is printed. Elsewhere a SIMULATED night takes
its place, which shows how the command works and nothing about its accuracy.
"""

import os
import sys
from datetime import datetime
from pathlib import Path

import edfio
import numpy as np

from dataset_builders.simulation import simulate_night, write_simulated_night
from modeling_sleepvit import Hypnogram
from modeling_sleepvit.stages import stage_from_name
from modeling_sleepvit.whole_files import written_whole

from . import stage_recordings
from .running import run_script


SAMPLING_RATE = 100
OUTPUT = Path("demo_output")
SIMULATED_HOURS = 2.5


def main(argv: list[str] | None = None) -> int:
    """Write a night to `demo_output/`, stage it and compare the result with its scoring.

    Args:
        argv: not used; the demo takes no arguments.

    Returns:
        the exit code of the staging.

    Raises:
        SleepViTError: the night cannot be staged.
    """
    data = Path(os.environ.get("SLEEPVIT_DATA", "../shared/data"))
    sample = data / "sleep-edf-sc4001-30s" / "SC4001E0_30s.npz"
    OUTPUT.mkdir(exist_ok=True)
    if sample.is_file():
        night = np.load(sample)
        scored = Hypnogram([stage_from_name(stage) for stage in night["stage"]])
        path = OUTPUT / "SC4001E0_part.edf"
        write_edf(night["x"], datetime(1989, 4, 24, 23, 23, 30), path)  # epoch 861 of one that began at 16:13
        origin = "116 minutes of real sleep, Sleep-EDF SC4001E0, EEG Fpz-Cz"
    else:
        simulated = simulate_night(SIMULATED_HOURS)
        scored = simulated.hypnogram
        path, _ = write_simulated_night(OUTPUT / "SIMULATED_night.edf", simulated)
        origin = "a SIMULATED night: its agreement says nothing about real sleep"
    print(f"{path}: {origin}")
    if exit_code := stage_recordings.main([str(path), "--report", "--output", str(OUTPUT)]):
        return exit_code
    staged = Hypnogram.from_csv(OUTPUT / f"{path.stem}_hypnogram.csv")
    agreement = staged.agreement(scored)
    print(
        f"agreement with its scoring over {agreement['n_epochs']} epochs: accuracy {agreement['accuracy']:.1%}, "
        f"kappa {agreement['kappa']:.2f}, macro-F1 {agreement['macro_f1']:.2f}"
    )
    print(f"results: {', '.join(sorted(str(file) for file in OUTPUT.iterdir()))}")
    return 0


def write_edf(epochs: np.ndarray, start: datetime, path: Path) -> None:
    """Write epochs of one channel as an EDF file, as a recorder would.

    Args:
        epochs: (epochs, samples) in uV at 100 Hz.
        start: clock time of the first sample.
        path: the file.
    """
    limit_uv = float(np.ceil(np.abs(epochs).max()))
    channel = edfio.EdfSignal(
        epochs.ravel().astype(np.float64),
        SAMPLING_RATE,
        label="EEG Fpz-Cz",
        physical_dimension="uV",
        physical_range=(-limit_uv, limit_uv),
    )
    with written_whole(path) as partial:
        edf = edfio.Edf([channel], recording=edfio.Recording(startdate=start.date()), starttime=start.time())
        edf.write(partial)


if __name__ == "__main__":
    sys.exit(run_script(main))

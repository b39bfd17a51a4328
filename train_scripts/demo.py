"""`make demo`: stage a night with the embedded checkpoint, without the network.

Where the project's development data are at hand, the night is 116 minutes of real sleep (SC4001E0 of Sleep-EDF, a
subject the weights never saw) and its agreement with the real scoring is printed. Elsewhere a simple SIMULATED night
takes its place, which shows how the command works and nothing about its accuracy.
"""

import os
import sys
from datetime import datetime
from pathlib import Path

import edfio
import numpy as np

from modeling_sleepvit import Hypnogram
from modeling_sleepvit.stages import stage_from_name
from modeling_sleepvit.whole_files import written_whole

from . import stage_recordings
from .running import run_script


SAMPLING_RATE = 100
EPOCH_SECONDS = 30
OUTPUT = Path("demo_output")

# Centre in Hz, width in Hz and root mean square in uV of the rhythms of each stage; textbook values for a simulation.
SIMULATED_RHYTHMS = {
    "W": [(10, 1.0, 12), (22, 6.0, 6)],
    "N1": [(5.5, 1.5, 10), (18, 6.0, 4)],
    "N2": [(1.5, 0.8, 14), (5, 1.5, 7), (13.5, 0.6, 6)],
    "N3": [(1.0, 0.6, 45), (3, 1.0, 12)],
    "R": [(4.5, 1.5, 9), (20, 5.0, 4)],
}
BACKGROUND_UV = 6
# fmt: off
SIMULATED_NIGHT = [
    ("W", 20), ("N1", 6), ("N2", 30), ("N3", 40), ("N2", 20), ("R", 16), ("N1", 4),
    ("N2", 40), ("N3", 24), ("N2", 16), ("R", 30), ("N2", 24), ("R", 20), ("W", 10),
]
# fmt: on


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
    if sample.is_file():
        night = np.load(sample)
        epochs, scored = night["x"], [stage_from_name(stage) for stage in night["stage"]]
        start = datetime(1989, 4, 24, 23, 23, 30)  # epoch 861 of the recording, which began at 16:13
        name, origin = "SC4001E0_part", "116 minutes of real sleep, Sleep-EDF SC4001E0, EEG Fpz-Cz"
    else:
        epochs, scored = simulated_night(seed=0)
        start = datetime(2000, 1, 1, 23, 0)
        name, origin = "SIMULATED_night", "a SIMULATED night: its agreement says nothing about real sleep"
    OUTPUT.mkdir(exist_ok=True)
    path = OUTPUT / f"{name}.edf"
    write_edf(epochs, start, path)
    print(f"{path}: {origin}")
    if exit_code := stage_recordings.main([str(path), "--output", str(OUTPUT)]):
        return exit_code
    staged = Hypnogram.from_csv(OUTPUT / f"{name}_hypnogram.csv")
    agreement = staged.agreement(Hypnogram(scored))
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


def simulated_night(seed: int) -> tuple[np.ndarray, list[str]]:
    """Simulate one channel of a night: noise with the rhythms of each stage.

    Args:
        seed: of the random numbers.

    Returns:
        epochs (epochs, samples) in uV at 100 Hz, and the stage of each.
    """
    rng = np.random.default_rng(seed)
    n_samples = EPOCH_SECONDS * SAMPLING_RATE
    frequencies = np.fft.rfftfreq(n_samples, 1 / SAMPLING_RATE)

    def noise(shape: np.ndarray, rms_uv: float) -> np.ndarray:
        spectrum = shape * (rng.normal(size=shape.shape) + 1j * rng.normal(size=shape.shape))
        spectrum[0] = 0
        signal = np.fft.irfft(spectrum, n_samples)
        return rms_uv * signal / signal.std()

    stages = [stage for stage, n_epochs in SIMULATED_NIGHT for _ in range(n_epochs)]
    falling = 1 / np.sqrt(np.maximum(frequencies, 0.5))  # the power of any EEG falls with frequency
    epochs = [
        noise(falling, BACKGROUND_UV)
        + sum(
            noise(np.exp(-0.5 * ((frequencies - centre) / width) ** 2), rms_uv)
            for centre, width, rms_uv in SIMULATED_RHYTHMS[stage]
        )
        for stage in stages
    ]
    return np.array(epochs), stages


if __name__ == "__main__":
    sys.exit(run_script(main))

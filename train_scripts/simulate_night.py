"""Write a SIMULATED night: an EDF file of signals and, beside it, its scoring.

sleepvit simulate night.edf
sleepvit simulate night.edf --hours 3 --seed 7 --channels C4-M1,O2-M1,EOG,EMG
"""

import argparse
import sys
from pathlib import Path

from dataset_builders.simulation import DEFAULT_CHANNELS, checked_output, simulate_night, write_simulated_night

from .running import run_script


def main(argv: list[str] | None = None) -> int:
    """Simulate the night that the arguments describe and write it.

    Args:
        argv: see `--help`; None reads the command line.

    Returns:
        0.

    Raises:
        SettingError: an argument is out of its range, or the file cannot be written there.
    """
    args = parse_arguments(argv)
    checked_output(args.output)  # before the work, not after it
    channels = [name.strip() for name in args.channels.split(",")]
    night = simulate_night(args.hours, args.seed, args.sampling_rate, channels)
    path, scoring_path = write_simulated_night(args.output, night)
    statistics = night.hypnogram.statistics()
    stages = " ".join(f"{stage} {statistics[f'{stage}_min']:.0f}" for stage in ("N1", "N2", "N3", "R"))
    print(
        f"{path}: SIMULATED night, seed {night.seed}: {night.hypnogram.n_epochs} epochs of {', '.join(night.signals)} "
        f"at {night.sampling_rate} Hz; TST {statistics['total_sleep_time_min']:.0f} min ({stages})\n"
        f"{scoring_path}: its scoring. How well a model stages it says nothing about real sleep."
    )
    return 0


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the arguments of the command."""
    parser = argparse.ArgumentParser(
        prog="sleepvit simulate",
        description="Write a SIMULATED night, for trying things out without data. It is not a recording of a person.",
    )
    parser.add_argument(
        "output", type=Path, metavar="OUT.edf", help="file for the signals; the scoring gets OUT-Hypnogram.edf"
    )
    parser.add_argument("--hours", type=float, default=8.0, help="length in h (default: %(default)g)")
    parser.add_argument("--seed", type=int, default=0, help="another one is another night (default: %(default)s)")
    parser.add_argument("--sampling-rate", type=float, default=100, metavar="HZ", help="in Hz (default: %(default)s)")
    parser.add_argument(
        "--channels",
        default=",".join(DEFAULT_CHANNELS),
        metavar="NAME[,NAME...]",
        help="EEG derivations of the 10-20 system, EOG and EMG (default: %(default)s)",
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(run_script(main))

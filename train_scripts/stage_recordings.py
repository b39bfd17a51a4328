"""Stage recordings: files and folders in; for each a CSV and a picture, and one summary of sleep statistics, out.

sleepvit stage night.edf
sleepvit stage study/ --channels C4-M1,C3-M2 --output staged/
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

import pandas as pd
from tqdm import tqdm
from transformers.utils import logging as transformers_logging

from modeling_sleepvit import Hypnogram, SleepStagingPipeline, read_recording
from modeling_sleepvit.errors import SettingError, SleepViTError
from modeling_sleepvit.night_figure import night_figure
from modeling_sleepvit.pipeline_sleepvit import load_stager
from modeling_sleepvit.recordings import find_recordings
from modeling_sleepvit.whole_files import written_whole

from .running import USER_ERROR, report_error, run_script


def main(argv: list[str] | None = None) -> int:
    """Stage every recording that the arguments name.

    Args:
        argv: see `--help`; None reads the command line.

    Returns:
        0, or 2 if a recording could not be staged; the others are staged all the same.

    Raises:
        SleepViTError: nothing can be staged: no recording, no such checkpoint.
    """
    args = parse_arguments(argv)
    channels = None if args.channels is None else [name.strip() for name in args.channels.split(",")]
    stem_of = output_stems(find_recordings(args.paths))
    transformers_logging.disable_progress_bar()
    stager = load_stager(args.model)

    summary, failures = [], []
    for path, stem in tqdm(stem_of.items(), unit="recording", disable=None):
        try:
            hypnogram = stage_recording(stager, path, channels, args.output, stem)
        except SleepViTError as error:
            failures.append(error)
            continue
        tqdm.write(describe(stem, hypnogram))
        summary.append(summary_row(path, stem, hypnogram))
    if summary:
        with written_whole(args.output / "summary.csv") as partial:
            pd.DataFrame(summary).to_csv(partial, index=False, float_format="%.2f")
        print(f"{len(summary)} of {len(stem_of)} recordings staged; see {args.output / 'summary.csv'}")
    for error in failures:
        report_error(error)
    return USER_ERROR if failures else 0


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the arguments of the command."""
    parser = argparse.ArgumentParser(
        prog="sleepvit stage",
        description="Stage sleep from EEG recordings. Research use only, not a medical device.",
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="recording (EDF, BDF, FIF) or folder")
    parser.add_argument(
        "--model", metavar="DIR_OR_ID", help="checkpoint folder or Hub id (default: the embedded checkpoint)"
    )
    parser.add_argument(
        "--channels",
        metavar="NAME[,NAME...]",
        help="channels to stage from, their probabilities averaged; two electrodes give their difference, for example "
        "C4-M1 (default: the best EEG channel there is, which is printed)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("sleepvit_output"),
        metavar="DIR",
        help="folder for the results (default: %(default)s)",
    )
    return parser.parse_intermixed_args(argv)  # options may stand among the paths


def output_stems(paths: list[Path]) -> dict[Path, str]:
    """Give each recording the stem of its output files: its own, with its folder's name where two share a stem.

    Args:
        paths: the recordings.

    Returns:
        stem by path, in the order of the paths.

    Raises:
        SettingError: two recordings cannot be told apart even so.
    """
    count = Counter(path.stem for path in paths)
    stem_of = {
        path: path.stem if count[path.stem] == 1 else f"{path.resolve().parent.name}_{path.stem}" for path in paths
    }
    for stem, times in Counter(stem_of.values()).items():
        if times > 1:
            twins = [str(path) for path in paths if stem_of[path] == stem]
            raise SettingError(
                f"{' and '.join(twins)} would be written to the same {stem}_hypnogram.csv; stage them apart, each "
                "into its own --output."
            )
    return stem_of


def stage_recording(
    stager: SleepStagingPipeline, path: Path, channels: list[str] | None, output: Path, stem: str
) -> Hypnogram:
    """Stage one recording and write `<stem>_hypnogram.csv` and `<stem>_hypnogram.png`.

    Args:
        stager: the pipeline.
        path: the recording's file.
        channels: names of the channels, or None for the preference order.
        output: folder of the results, made where it is missing.
        stem: how the output files begin.

    Returns:
        the hypnogram.

    Raises:
        SleepViTError: the recording cannot be staged; nothing is written then.
    """
    recording = read_recording(path, channels)
    hypnogram = stager(recording)
    figure = night_figure(recording, hypnogram)
    output.mkdir(parents=True, exist_ok=True)
    hypnogram.to_csv(output / f"{stem}_hypnogram.csv")
    with written_whole(output / f"{stem}_hypnogram.png") as partial:
        figure.savefig(partial, dpi=150)
    return hypnogram


def describe(stem: str, hypnogram: Hypnogram) -> str:
    """Sum a night up in one line, and its notes in a line each below it."""
    statistics = hypnogram.statistics()
    stages = " ".join(f"{stage} {statistics[f'{stage}_min']:.0f}" for stage in ("N1", "N2", "N3", "R"))
    line = (
        f"{stem}: {hypnogram.n_epochs} epochs of {', '.join(hypnogram.channels)}; "
        f"TST {statistics['total_sleep_time_min']:.0f} min ({stages}), "
        f"SE {statistics['sleep_efficiency_percent']:.0f} %, WASO {statistics['wake_after_sleep_onset_min']:.0f} min"
    )
    return "\n".join([line, *(f"    {note}" for note in hypnogram.notes)])


def summary_row(path: Path, stem: str, hypnogram: Hypnogram) -> dict:
    """Make the row of `summary.csv` for one night: where it came from, its sleep statistics and its notes."""
    return {
        "recording": stem,
        "path": str(path),
        "channels": ", ".join(hypnogram.channels),
        "n_epochs": hypnogram.n_epochs,
        **hypnogram.statistics(),
        "mean_confidence": float(pd.Series(hypnogram.confidence).mean()),
        "notes": " ".join(hypnogram.notes),
    }


if __name__ == "__main__":
    sys.exit(run_script(main))

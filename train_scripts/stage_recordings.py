"""Stage recordings: files and folders in; for each a CSV and a picture, and one summary of sleep statistics, out.

sleepvit stage night.edf
sleepvit stage study/ --channels C4-M1,C3-M2 --output staged/
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm
from transformers.utils import logging as transformers_logging

from modeling_sleepvit import Hypnogram, SleepStagingPipeline, read_recording
from modeling_sleepvit.errors import SleepViTError
from modeling_sleepvit.night_figure import night_figure
from modeling_sleepvit.recordings import distinct_names, find_recordings, printable
from modeling_sleepvit.stager import load_stager
from modeling_sleepvit.whole_files import written_whole

from .night_report.page import write_night_report
from .prepare_dataset import names_between_commas
from .running import USER_ERROR, check_output, counted, report_error, run_script, sentence_about


def main(argv: list[str] | None = None) -> int:
    """Stage every recording that the arguments name.

    Args:
        argv: see `--help`; None reads the command line.

    Returns:
        0, or 2 if a recording could not be staged; the others are staged all the same.

    Raises:
        SleepViTError: there is no such checkpoint, or the output cannot be written.
    """
    args = parse_arguments(argv)
    check_output(args.output)
    found, failures = [], []
    for path in args.paths:
        try:
            found += find_recordings(path)
        except SleepViTError as error:  # an empty folder
            failures.append(str(error))
    stem_of = distinct_names(find_recordings(found))  # each once
    eog = {} if args.eog_channels is None else {"eog_channels": args.eog_channels}
    stager = load_quiet_stager(args.model, args.runtime, **eog) if stem_of else None

    summary = []
    try:
        for path, stem in tqdm(stem_of.items(), unit="recording", disable=None):
            try:
                hypnogram = stage_recording(stager, path, args.channels, args.output, stem, args.report)
            except SleepViTError as error:
                failures.append(str(error))
            except OSError as error:
                failures.append(f"{path} was not staged: {sentence_about(error)}")
            else:
                tqdm.write(describe(stem, hypnogram))
                summary.append(summary_row(path, stem, hypnogram))
    finally:  # also after Ctrl-C: what was staged before is summed up
        if summary:
            with written_whole(args.output / "summary.csv") as partial:
                pd.DataFrame(summary).to_csv(partial, index=False, float_format="%.2f")
    if summary:
        print(f"{len(summary)} of {len(stem_of)} recordings staged; see {args.output / 'summary.csv'}")
    for failure in failures:
        report_error(failure)
    return USER_ERROR if failures else 0


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the arguments of the command."""
    parser = argparse.ArgumentParser(
        prog="sleepvit stage",
        description="Stage sleep from EEG recordings. Research use only, not a medical device.",
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="recording (EDF, BDF, FIF) or folder")
    add_staging_arguments(parser)
    parser.add_argument(
        "--eog-channels",
        type=names_between_commas,
        metavar="NAME[,NAME...]",
        help="for a model that reads EOG, too (default: by their labels)",
    )
    parser.add_argument(
        "--report",
        action="store_true",
        help="also write <stem>_report.html, the whole night on one page: EEG, explanations, epochs worth a review",
    )
    parser.add_argument(
        "--runtime",
        choices=("torch", "onnx"),
        default="torch",
        help="onnx stages with the graphs that sleepvit export wrote into the folder of --model (default: torch)",
    )
    args = parser.parse_intermixed_args(argv)  # options may stand among the paths
    if args.report and args.runtime == "onnx":
        parser.error("--report explains stages, which takes the model itself: leave --runtime onnx out")
    return args


def add_staging_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every command that stages recordings takes: `--model`, `--channels` and `--output`."""
    parser.add_argument(
        "--model", metavar="DIR_OR_ID", help="checkpoint folder or Hub id (default: the embedded checkpoint)"
    )
    parser.add_argument(
        "--channels",
        type=names_between_commas,
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


def load_quiet_stager(model: str | None, runtime: str = "torch", **kwargs) -> SleepStagingPipeline:
    """Load the pipeline of a checkpoint without the messages of the library.

    Args:
        model: folder or Hub id; None stands for the embedded checkpoint.
        runtime: see `load_stager`.
        **kwargs: see `load_stager`.

    Raises:
        CheckpointError: there is no such checkpoint.
    """
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()  # a load report is no message to a user; refusals come as errors
    return load_stager(model, runtime, **kwargs)


def stage_recording(
    stager: SleepStagingPipeline,
    path: Path,
    channels: list[str] | None,
    output: Path,
    stem: str,
    with_report: bool = False,
) -> Hypnogram:
    """Stage one recording and write `<stem>_hypnogram.csv` and `<stem>_hypnogram.png`, and `<stem>_report.html`.

    Args:
        stager: the pipeline.
        path: the recording's file.
        channels: names of the channels, or None for the preference order.
        output: folder of the results, made where it is missing.
        stem: how the output files begin.
        with_report: whether the report is written.

    Returns:
        the hypnogram.

    Raises:
        SleepViTError: the recording cannot be staged; nothing is written then.
    """
    recording = read_recording(path, channels)
    hypnogram = stager(recording)
    figure = night_figure(recording, hypnogram)
    output.mkdir(parents=True, exist_ok=True)
    with (
        written_whole(output / f"{stem}_hypnogram.csv") as csv,
        written_whole(output / f"{stem}_hypnogram.png") as picture,  # both or neither
    ):
        hypnogram.to_csv(csv)
        figure.savefig(picture, dpi=150)
        if with_report:
            write_night_report(output / f"{stem}_report.html", stager, recording, hypnogram)
    return hypnogram


def describe(stem: str, hypnogram: Hypnogram) -> str:
    """Sum a night up in one line, and its notes in a line each below it."""
    statistics = hypnogram.statistics()
    staged = f"{stem}: {counted(hypnogram.n_epochs, 'epoch')} of {', '.join(hypnogram.channels)}"
    if not np.isfinite(hypnogram.confidence).any():
        return "\n".join([f"{staged}; none of them could be scored", *(f"    {note}" for note in hypnogram.notes)])
    waso_min = statistics["wake_after_sleep_onset_min"]  # NaN for a night without sleep
    stages = " ".join(f"{stage} {statistics[f'{stage}_min']:.0f}" for stage in ("N1", "N2", "N3", "R"))
    line = (
        f"{staged}; TST {statistics['total_sleep_time_min']:.0f} min ({stages}), "
        f"SE {statistics['sleep_efficiency_percent']:.0f} %"
    )
    line += "" if np.isnan(waso_min) else f", WASO {waso_min:.0f} min"
    return "\n".join([line, *(f"    {note}" for note in hypnogram.notes)])


def summary_row(path: Path, stem: str, hypnogram: Hypnogram) -> dict:
    """Make the row of `summary.csv` for one night: where it came from, its sleep statistics and its notes."""
    return {
        "recording": stem,
        "path": printable(str(path)),
        "channels": ", ".join(hypnogram.channels),
        "n_epochs": hypnogram.n_epochs,
        **hypnogram.statistics(),
        "mean_confidence": float(pd.Series(hypnogram.confidence).mean()),
        "notes": " ".join(hypnogram.notes),
    }


if __name__ == "__main__":
    sys.exit(run_script(main))

"""Explain epochs of a recording: a picture of each, and one table of what every band and second did for its stage.

sleepvit explain night.edf --epoch 120 121
sleepvit explain night.edf --uncertain 20
sleepvit explain night.edf --stage N2 --at-most 5 --method integrated_gradients
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from modeling_sleepvit import Hypnogram, Recording, read_recording
from modeling_sleepvit.attributions import METHODS
from modeling_sleepvit.errors import SettingError
from modeling_sleepvit.explain_sleepvit import DEFAULT_METHOD, Explanation, check_method
from modeling_sleepvit.metrics_sleepvit import expected_review
from modeling_sleepvit.recordings import printable
from modeling_sleepvit.signal_quality import epoch_faults
from modeling_sleepvit.stages import STAGES, UNSCORED, stage_from_name
from modeling_sleepvit.whole_files import written_whole

from .epoch_explanations import epoch_decibels, explain_epochs, relevance_of_bands
from .explanation_figure import ExplainedEpoch, explanation_figure
from .running import check_output, counted, run_script
from .stage_recordings import add_staging_arguments, load_quiet_stager


EPOCHS_AT_ONCE = 8
N_OF_STAGE = 20


def main(argv: list[str] | None = None) -> int:
    """Explain the epochs that the arguments name.

    Args:
        argv: see `--help`; None reads the command line.

    Returns:
        0.

    Raises:
        SleepViTError: the recording cannot be staged, the epochs do not exist or were not scored, or the model cannot
            be explained by the method, or the output cannot be written.
    """
    args = parse_arguments(argv)
    check_output(args.output)
    stage, target = (None if name is None else stage_to_explain(name) for name in (args.stage, args.target))
    stager = load_quiet_stager(args.model)
    check_method(stager.model, args.method)  # before the work, not after it
    recording = read_recording(args.recording, args.channels)
    hypnogram = stager(recording)
    prepared = stager.preprocess(recording)
    where = printable(str(args.recording))
    is_scorable = ~prepared["is_unscorable"][0]  # another channel may have scored what this one cannot explain
    if stage is not None:
        epochs = epochs_of_stage(hypnogram, stage, is_scorable, args.at_most, where)
    elif args.uncertain is not None:
        order = expected_review(hypnogram.probabilities)[0]
        epochs = order[is_scorable[order]][: args.uncertain].tolist()
    else:
        epochs = list(dict.fromkeys(args.epoch))  # each once
    check_epochs(epochs, recording, hypnogram, prepared, where)

    stem = printable(args.recording.stem)
    pictures = args.output / f"{stem}_explained"
    tables = []
    with tqdm(total=len(epochs), unit="epoch", disable=None) as bar:
        for first in range(0, len(epochs), EPOCHS_AT_ONCE):
            part = epochs[first : first + EPOCHS_AT_ONCE]
            explanation = explain_epochs(stager, prepared, hypnogram, part, target, args.method)
            tables.append(explanation_table(explanation, part, hypnogram))
            pictures.mkdir(parents=True, exist_ok=True)
            decibels = epoch_decibels(recording, part, hypnogram.epoch_seconds)
            for place, epoch in enumerate(part):
                explained = ExplainedEpoch(recording, hypnogram, explanation, place, epoch, decibels[place])
                with written_whole(pictures / f"epoch_{epoch:04d}.png") as partial:
                    explanation_figure(explained).savefig(partial, dpi=130)
                bar.update()
    table = args.output / f"{stem}_explained.csv"
    with written_whole(table) as partial:
        pd.concat(tables).to_csv(partial, index=False, float_format="%.6g", lineterminator="\n")
    by = args.method.replace("_", " ")
    print(f"{stem}: {counted(len(epochs), 'epoch')} explained by {by}; see {pictures} and {table}")
    n_votes = len(prepared["input_values"])
    vote = f"Explained from {recording.channel_names[0]} alone, the first of {n_votes} channels that voted."
    for note in (*hypnogram.notes, *([vote] if n_votes > 1 else [])):
        print(f"    {note}")
    return 0


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the arguments of the command."""
    parser = argparse.ArgumentParser(
        prog="sleepvit explain",
        description="Explain why epochs were staged as they were. Research use only, not a medical device.",
    )
    parser.add_argument("recording", type=Path, metavar="NIGHT", help="recording (EDF, BDF, FIF)")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--epoch", type=int, nargs="+", metavar="N", help="these epochs, counted from 0 as in the CSV")
    which.add_argument("--stage", metavar="STAGE", help="epochs of one stage, evenly over the night")
    which.add_argument("--uncertain", type=positive, metavar="N", help="the N least certain epochs")
    parser.add_argument(
        "--at-most", type=positive, metavar="N", help=f"how many epochs of --stage (default: {N_OF_STAGE})"
    )
    parser.add_argument("--method", default=DEFAULT_METHOD, help=f"one of {', '.join(METHODS)} (default: %(default)s)")
    parser.add_argument(
        "--target", metavar="STAGE", help="the stage to look for reasons for (default: what the epoch was staged)"
    )
    add_staging_arguments(parser)
    args = parser.parse_args(argv)
    if args.at_most is None:
        args.at_most = N_OF_STAGE
    elif args.stage is None:
        parser.error("--at-most goes with --stage: --epoch and --uncertain say how many themselves")
    return args


def positive(text: str) -> int:
    """Read a whole number from 1 up."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 up, found {text}")
    return value


def epochs_of_stage(hypnogram: Hypnogram, stage: str, is_scorable: np.ndarray, at_most: int, where: str) -> list[int]:
    """Choose epochs of a stage, evenly over those there are.

    Args:
        hypnogram: the stages.
        stage: one of the package's vocabulary.
        is_scorable: (epochs,) bool, those that can be explained.
        at_most: how many.
        where: the recording's name in messages.

    Returns:
        the epochs, ascending.

    Raises:
        SettingError: no epoch that can be explained was staged so.
    """
    epochs = np.flatnonzero((hypnogram.stages == stage) & is_scorable)
    if not epochs.size:
        found = [name for name in STAGES if name in hypnogram.stages[is_scorable]]
        raise SettingError(
            f"{where} has no epoch to explain that was staged {stage}: expected one of {', '.join(found) or 'none'}."
        )
    places = np.linspace(0, epochs.size - 1, min(at_most, epochs.size)).round().astype(int)
    return epochs[places].tolist()


def stage_to_explain(name: str) -> str:
    """Find the stage of a name.

    Args:
        name: any that `stage_from_name` understands.

    Returns:
        one of the five stages.

    Raises:
        UnknownStageError: there is no such stage.
        SettingError: it stands for what was not scored.
    """
    stage = stage_from_name(name)
    if stage == UNSCORED:
        raise SettingError(f"{name} is no stage that a model decides for: expected one of {', '.join(STAGES)}.")
    return stage


def check_epochs(epochs: list[int], recording: Recording, hypnogram: Hypnogram, prepared: dict, where: str) -> None:
    """Refuse epochs that are not in the night or were not scored.

    Args:
        epochs: from 0.
        recording: the signal.
        hypnogram: the stages.
        prepared: what the pipeline's `preprocess` made of the recording.
        where: the recording's name in messages.

    Raises:
        SettingError: there is such an epoch, or none at all.
    """
    if not epochs:
        raise SettingError(f"{where} has no epoch that was scored: there is nothing to explain.")
    for epoch in epochs:
        if not 0 <= epoch < hypnogram.n_epochs:
            raise SettingError(
                f"{where} has no epoch {epoch}: expected 0 to {hypnogram.n_epochs - 1}, counted from 0 as in the CSV."
            )
        if prepared["is_unscorable"][0][epoch]:
            # where channels are read together, any of them may be at fault
            faults = (
                (name, epoch_faults(signal, recording.sampling_rate, hypnogram.epoch_seconds)[epoch])
                for name, signal in zip(recording.channel_names, recording.signals)
            )
            name, fault = next(found for found in faults if found[1])
            raise SettingError(
                f"{where}: the signal of {name} in epoch {epoch} is {fault}, so that it was not scored; choose "
                "another epoch."
            )


def explanation_table(explanation: Explanation, epochs: list[int], hypnogram: Hypnogram) -> pd.DataFrame:
    """Lay an explanation out as a table.

    Args:
        explanation: of single epochs.
        epochs: which.
        hypnogram: the stages.

    Returns:
        one row for each epoch, band and second: `epoch`, `onset_s`, `stage`, `target`, `method`, `band_low_hz`,
        `band_high_hz`, `second` (its begin in the epoch in s) and `relevance`.
    """
    relevance = relevance_of_bands(explanation)  # (epochs, bands, seconds)
    place, band, frame = (index.ravel() for index in np.indices(relevance.shape))
    edges_hz, chosen = np.array(explanation.band_edges_hz), np.array(epochs)[place]
    return pd.DataFrame(
        {
            "epoch": chosen,
            "onset_s": hypnogram.onsets_s[chosen],
            "stage": hypnogram.stages[chosen],
            "target": np.array(explanation.target_names)[place],
            "method": explanation.method,
            "band_low_hz": edges_hz[band],
            "band_high_hz": edges_hz[band + 1],
            "second": frame * hypnogram.epoch_seconds / relevance.shape[2],
            "relevance": relevance.ravel(),
        }
    )


if __name__ == "__main__":
    sys.exit(run_script(main))

"""Evaluate a checkpoint on scored nights: predictions, figures of agreement, pictures and a report.

sleepvit evaluate CHECKPOINT prepared/ --output evaluation/
sleepvit evaluate CHECKPOINT study/ --scorings "{stem}.xml" --subject-pattern "(P[0-9]+)" --output evaluation/
"""

import argparse
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm
from transformers.utils import logging as transformers_logging

from dataset_builders.night_files import FailedNight, Night
from dataset_builders.night_rows import TRIM_RULES, NightRows
from dataset_builders.prepared_nights import is_prepared, read_prepared_nights
from dataset_builders.scored_night import NightSettings
from modeling_sleepvit import SleepViTFeatureExtractor
from modeling_sleepvit.errors import DatasetError, SettingError, SleepViTError
from modeling_sleepvit.hypnogram import PROBABILITY_COLUMNS
from modeling_sleepvit.night_staging import night_probabilities
from modeling_sleepvit.recordings import printable
from modeling_sleepvit.stager import load_stager
from modeling_sleepvit.stages import IGNORED_ID
from modeling_sleepvit.whole_files import written_whole

from .evaluation_report import write_report
from .prepare_dataset import make_builder, names_between_commas, origin_of_prepared
from .run_sleep_staging import check_fit
from .running import USER_ERROR, check_output, counted, report_error, run_script, sentence_about
from .subject_metrics import figures_of_predictions, json_text
from .training_nights import make_feature_extractor
from .training_settings import DataArguments, ModelArguments


SETTINGS_OF_FILES = (
    *("trim", "channels", "eog_channels", "recordings", "scorings", "table", "subject_pattern", "numbers", "exclude"),
    "sampling_rate",
)
"""Settings that say how files become rows; those of a prepared dataset have been used already."""

N_RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class NightsToStage:
    """What a checkpoint is evaluated on.

    Args:
        nights: prepared rows, or files that become rows when their turn comes.
        trim: the rule by which their epochs were chosen.
        split: which part of the dataset they are; None where it has no parts.
        settings: how files become rows; None where they have done so.
        remarks: sentences that whoever reads the figures should know.
    """

    nights: list[NightRows] | list[Night]
    trim: str
    split: str | None = None
    settings: NightSettings | None = None
    remarks: tuple[str, ...] = ()


def main(argv: list[str] | None = None) -> int:
    """Write `predictions.parquet`, `metrics.json`, pictures and `report.md` of a checkpoint on scored nights.

    Args:
        argv: see `--help`; None reads the command line.

    Returns:
        0, or 2 if a recording could not be read; the others are evaluated all the same, and the report names it.

    Raises:
        SleepViTError: the checkpoint or the nights cannot be used, or the output cannot be written.
    """
    args = parse_arguments(argv)
    check_output(args.output)
    if args.output.resolve() == args.folder.resolve():
        raise SettingError(f"--output {args.output}: this is the folder of the dataset; choose another place.")
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()  # a load report is no message to a user; refusals come as errors
    stager = load_stager(args.checkpoint)
    chosen = choose_nights(args, stager.feature_extractor)
    predictions, failed = predict_nights(stager.model, chosen)
    epoch_seconds = stager.feature_extractor.epoch_seconds
    figures = figures_of_predictions(predictions, epoch_seconds, N_RESAMPLES, CONFIDENCE)
    metrics = {
        "protocol": args.protocol,
        "checkpoint": printable(args.checkpoint),
        "dataset": printable(str(args.folder)),
        "split": chosen.split,
        "trim": chosen.trim,
        "epoch_seconds": epoch_seconds,
        "subjects": sorted(predictions["subject"].unique()),
        "n_subjects": figures["n_subjects"],
        "n_recordings": figures["n_recordings"],
        "n_epochs": figures["n_epochs"],
        "n_epochs_not_scored": int((predictions["label"] == IGNORED_ID).sum()),
        "not_evaluated": [asdict(failure) for failure in failed],
        "remarks": list(chosen.remarks),
        **figures,
        "n_resamples": N_RESAMPLES,
        "confidence": CONFIDENCE,
    }
    args.output.mkdir(parents=True, exist_ok=True)
    with written_whole(args.output / "predictions.parquet") as partial:
        predictions.to_parquet(partial, index=False)
    write_metrics(metrics, args.output / "metrics.json")
    write_report(args.output, predictions, metrics, args.figures)
    print(
        f"{counted(metrics['n_epochs'], 'scored epoch')} of {counted(metrics['n_recordings'], 'recording')}, "
        f"{counted(metrics['n_subjects'], 'subject')}: accuracy {metrics['accuracy']:.3f}, macro-F1 "
        f"{metrics['macro_f1']:.3f}, kappa {metrics['kappa']:.3f}; see {args.output / 'report.md'}"
    )
    for remark in chosen.remarks:
        print(f"note: {remark}")
    for failure in failed:
        report_error(f"{failure.recording} was not evaluated: {failure.reason}")
    return USER_ERROR if failed else 0


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the arguments of the command."""
    parser = argparse.ArgumentParser(
        prog="sleepvit evaluate",
        description="Evaluate a checkpoint on scored nights. Research use only, not a medical device.",
    )
    add = parser.add_argument
    add("checkpoint", help="folder of a checkpoint or its id on the Hub")
    add(
        "folder",
        type=Path,
        metavar="FOLDER",
        help="what sleepvit prepare made, npz nights, or recordings with their scorings",
    )
    add("--output", type=Path, required=True, metavar="DIR", help="folder for the results")
    add("--split", metavar="NAME", help="prepared dataset: one of its splits, or all (default: test if there is one)")
    add("--subjects", type=names_between_commas, metavar="NAME[,NAME...]", help="subjects to stage (default: all)")
    add("--protocol", default="", metavar="TEXT", help="a sentence that stands in metrics.json and in the report")
    add("--figures", type=int, default=20, metavar="N", help="draw N nights at most (default: %(default)s)")
    files = parser.add_argument_group("npz nights, and recordings with their scorings")
    files.add_argument("--subject-pattern", metavar="REGEX", help="its first group is the subject, like sub-(..)")
    files.add_argument(
        "--exclude", type=names_between_commas, metavar="NAME[,NAME...]", help="recordings to leave out"
    )
    files.add_argument("--sampling-rate", type=float, metavar="HZ", help="of npz files that do not say")
    files.add_argument("--recordings", metavar="PATTERN", help='which files are recordings, for example "**/*.edf"')
    files.add_argument("--scorings", metavar="PATTERN", help='name of a scoring, for example "{stem}.xml"')
    files.add_argument("--table", metavar="CSV", help="pairs recording and scoring; may have subject and lights")
    files.add_argument("--trim", choices=TRIM_RULES, help="which epochs are kept (default: 30min)")
    files.add_argument(
        "--channels", type=names_between_commas, metavar="NAME[,NAME...]", help="as many as the checkpoint reads"
    )
    files.add_argument(
        "--eog-channels", type=names_between_commas, metavar="NAME[,NAME...]", help="for a checkpoint that reads EOG"
    )
    files.add_argument("--numbers", choices=("rk", "aasm"), help="what a 4 means: stage 4 (rk) or REM (aasm)")
    args = parser.parse_args(argv)
    if args.figures < 0:
        parser.error(f"--figures: expected 0 or more, found {args.figures}")
    return args


def choose_nights(args: argparse.Namespace, feature_extractor: SleepViTFeatureExtractor) -> NightsToStage:
    """Find the nights that the arguments ask for, in whatever form they are.

    Args:
        args: of the command.
        feature_extractor: that of the checkpoint.

    Returns:
        the nights, none of which has been read.

    Raises:
        SettingError: a setting does not apply, or there is no such split.
        DatasetError: the folder cannot be used, or lacks a subject.
    """
    if is_prepared(args.folder):
        return _prepared_nights(args)
    if args.split is not None:
        raise SettingError(f"--split does not apply to {args.folder}, which sleepvit prepare did not make.")
    is_cohort = args.scorings or args.table or args.recordings or not any(args.folder.glob("*.npz"))
    files = {name: getattr(args, name) for name in ("folder", "subjects", *SETTINGS_OF_FILES)}
    builder = make_builder(
        argparse.Namespace(
            **files, protocol="cohort" if is_cohort else "npz", model=feature_extractor, download=None, verify=None
        )
    )
    return NightsToStage(
        builder.nights(), builder.config.trim_rule, settings=builder.settings, remarks=tuple(builder.remarks())
    )


def _prepared_nights(args: argparse.Namespace) -> NightsToStage:
    folder = args.folder
    if unfit := [name for name in SETTINGS_OF_FILES if getattr(args, name) is not None]:
        raise SettingError(
            f"--{unfit[0].replace('_', '-')} does not apply to {folder}: this dataset is prepared already; leave it "
            "out."
        )
    # refuses rows that the checkpoint's own extractor did not make
    make_feature_extractor(ModelArguments(model_name_or_path=args.checkpoint), DataArguments(data_dir=str(folder)))
    by_part = read_prepared_nights(folder)
    if args.split not in (None, "all", *by_part):
        raise SettingError(f"--split {args.split}: {folder} has {', '.join(by_part)}; name one of them, or all.")
    split = args.split or ("test" if "test" in by_part else "all")
    parts = list(by_part) if split == "all" else [split]
    nights = [night for part in parts for night in by_part[part]]
    if args.subjects is not None:
        if missing := sorted(set(args.subjects) - {night.subject for night in nights}):
            raise DatasetError(
                f"{folder}: expected the subjects {', '.join(missing)}, found none of that name in {', '.join(parts)}."
            )
        nights = [night for night in nights if night.subject in args.subjects]
    if split == "all":
        split = f"all ({', '.join(parts)})" if len(parts) > 1 else None
    return NightsToStage(nights, origin_of_prepared(folder).trim_rule, split)


def predict_nights(model: torch.nn.Module, chosen: NightsToStage) -> tuple[pd.DataFrame, list[FailedNight]]:
    """Stage nights one after the other, so that one of them at a time is in memory.

    Args:
        model: a model with its stage head, in eval mode.
        chosen: the nights.

    Returns:
        the rows of `predict_night` of all nights, and the nights that could not be read, with reasons.

    Raises:
        SettingError: the model cannot read the rows.
        DatasetError: no night could be read.
    """
    tables, failed = [], []
    for night in tqdm(chosen.nights, unit="night", disable=None):
        try:
            rows = night if chosen.settings is None else night.read(chosen.settings)
        except SleepViTError as error:
            failed.append(FailedNight(night.recording, str(error)))
        except OSError as error:
            failed.append(FailedNight(night.recording, sentence_about(error)))
        else:
            check_fit(model, rows)
            tables.append(predict_night(model, rows))
    if not tables:
        reason = failed[0].reason if failed else "it holds none."
        raise DatasetError(f"expected nights to evaluate, found none that can be read: {reason}")
    return pd.concat(tables, ignore_index=True), failed


def predict_night(model: torch.nn.Module, night: NightRows) -> pd.DataFrame:
    """Stage one night.

    Args:
        model: a model with its stage head, in eval mode.
        night: its rows and labels.

    Returns:
        one row per epoch: `subject`, `recording`, `epoch` of the recording, `label` and `p_W` to `p_R`.
    """
    inputs = {name: torch.from_numpy(values[:]) for name, values in night.inputs.items()}
    probabilities = night_probabilities(model, **inputs)
    frame = pd.DataFrame({"subject": night.subject, "recording": night.recording, "epoch": night.epochs})
    frame["label"] = night.labels
    frame[list(PROBABILITY_COLUMNS)] = probabilities.numpy()
    return frame


def write_metrics(metrics: dict, path: Path) -> None:
    """Write figures as JSON, NaN as null; there is never half a file."""
    with written_whole(path) as partial:
        partial.write_text(json_text(metrics), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(run_script(main))

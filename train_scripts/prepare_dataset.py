"""Prepare a dataset: recordings and scorings in, a folder of Parquet files that `load_dataset` reads out.

sleepvit prepare sedf-20 sleep-edfx/ --download --output sedf-20/
sleepvit prepare cohort study/ --scorings "{stem}.xml" --subject-pattern "(P[0-9]+)" --output prepared/
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dataset_builders.cohort import Cohort
from dataset_builders.night_rows import TRIM_RULES
from dataset_builders.nights_builder import NightsBuilder, NightsConfig
from dataset_builders.npz_nights import NpzNights
from dataset_builders.nsrr import NSRR, SCORING_FOLDERS
from dataset_builders.prepared_folder import (
    NOT_PREPARED_FILE,
    PREPARATION_FILE,
    SPLITS_FILE,
    begun_extractor,
    check_place,
    prepare_folder,
)
from dataset_builders.sleep_edf import SleepEDF
from dataset_builders.splits import Splits, by_fraction
from modeling_sleepvit import SleepViTFeatureExtractor
from modeling_sleepvit.errors import DatasetError, SettingError, SleepViTError

from .hub_upload import check_repo_id, upload_folder
from .running import USER_ERROR, check_output, counted, report_error, run_script


BUILDER_OF = {
    config.name: builder for builder in (SleepEDF, NSRR, Cohort, NpzNights) for config in builder.BUILDER_CONFIGS
}
"""Builder by the name of the protocol."""


def main(argv: list[str] | None = None) -> int:
    """Prepare the dataset that the arguments describe, or finish one that was interrupted.

    Args:
        argv: see `--help`; None reads the command line.

    Returns:
        0, or 2 if a recording could not be prepared; the others are prepared all the same.

    Raises:
        SleepViTError: the arguments do not fit, the output cannot be written, or there is nothing to prepare.
    """
    args = parse_arguments(argv)
    check_output(args.output)
    check_place(args.output)
    builder = make_builder(args)
    if args.push:
        check_push(args.push, args.private, builder)  # before the work, not after it
    splits = choose_splits(args, builder)
    if args.refit_profile:
        builder = make_builder(args, refitted_extractor(args, builder, splits))
    prepared = prepare_folder(builder, args.output, splits, args.fold, num_proc=args.num_proc, repo=args.push)
    recordings = prepared.recordings
    if len(recordings):
        print(
            f"{args.output}: {counted(recordings['n_scored'].sum(), 'scored epoch')} of "
            f"{counted(len(recordings), 'recording')}, {counted(recordings['subject'].nunique(), 'subject')}"
        )
        if n_noted := int((recordings["notes"] != "").sum()):
            print(f"note: what was chosen or dropped for {counted(n_noted, 'recording')} stands in recordings.csv")
    for remark in builder.remarks():
        print(f"note: {remark}")
    for failure in prepared.failed:
        report_error(f"{failure.recording} was not prepared: {failure.reason}")
    if not len(recordings):
        report_error(
            f"{args.folder}: nothing could be prepared; the reasons above stand in {args.output / NOT_PREPARED_FILE}, "
            "too: mend the files or change the settings, and start again."
        )
    if args.push and len(recordings):
        url = upload_folder(
            args.output,
            args.push,
            "dataset",
            is_private=args.private,
            state="is prepared but",
            ignore_patterns=[".*", "*/.*"],  # what file managers leave behind
            delete_patterns=["data/*", NOT_PREPARED_FILE],
        )
        print(f"uploaded to {url}")
    return USER_ERROR if prepared.failed else 0


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the arguments of the command."""
    parser = argparse.ArgumentParser(
        prog="sleepvit prepare",
        description="Prepare recordings and scorings as a dataset. Started again, it goes on where it stopped.",
    )
    add = parser.add_argument
    add("protocol", choices=BUILDER_OF, metavar="PROTOCOL", help=f"one of {', '.join(BUILDER_OF)}")
    add("folder", type=Path, metavar="FOLDER", help="where the recordings and scorings lie")
    add("--output", type=Path, required=True, metavar="DIR", help="folder of the dataset")
    add("--trim", choices=TRIM_RULES, help="which epochs are kept: half an hour of wake on either side of sleep, ...")
    add("--channels", type=names_between_commas, metavar="NAME[,NAME...]", help="channels to prepare")
    add("--eog-channels", type=names_between_commas, metavar="NAME[,NAME...]", help="for a --model that reads EOG")
    add("--model", metavar="DIR_OR_ID", help="checkpoint whose feature extractor is used (default: the embedded one)")
    add(
        "--refit-profile",
        action="store_true",
        help="scale by the usual spectrum of these training nights, not of the checkpoint's, before it is fine-tuned",
    )
    add("--num-proc", type=int, default=1, metavar="N", help="number of processes (default: %(default)s)")
    add("--subjects", type=names_between_commas, metavar="NAME[,NAME...]", help="prepare these subjects alone")
    add("--exclude", type=names_between_commas, metavar="NAME[,NAME...]", help="recordings to leave out")
    add("--download", action="store_true", default=None, help="Sleep-EDF: download what is missing from PhysioNet")
    add("--no-verify", dest="verify", action="store_false", default=None, help="Sleep-EDF: check no SHA-256 sums")
    add("--recordings", metavar="PATTERN", help='cohort: which files are recordings, for example "**/*.edf"')
    add(
        "--scorings",
        metavar="PATTERN",
        help=f'cohort: name of a scoring, for example "{{stem}}.xml"; NSRR: {" or ".join(SCORING_FOLDERS)}',
    )
    add("--table", metavar="CSV", help="cohort: pairs recording and scoring, may have subject, lights_off, lights_on")
    add(
        "--subject-pattern",
        metavar="REGEX",
        help='cohort, npz: its first group is the subject, for example "sub-(..)"',
    )
    add("--numbers", choices=("rk", "aasm"), help="what a 4 in bare numbers means: stage 4 (rk) or REM (aasm)")
    add("--sampling-rate", type=float, metavar="HZ", help="npz: for files that do not say")
    add("--splits", type=Path, metavar="JSON", help="splits by subject, as dataset_builders.splits writes them")
    add("--fold", metavar="NAME", help="which of the splits in the file (default: the first)")
    add(
        "--fractions",
        type=_fractions,
        metavar="TRAIN,VALIDATION,TEST",
        help="split by subject, for example 0.7,0.1,0.2",
    )
    add("--seed", type=int, default=0, help="of the split (default: %(default)s)")
    add("--push", metavar="REPO", help="upload the finished dataset to the Hub")
    add("--private", action="store_true", help="make the repository on the Hub a private one")
    args = parser.parse_args(argv)
    if args.num_proc < 1:
        parser.error(f"--num-proc: expected 1 or more, found {args.num_proc}")
    if args.splits and args.fractions:
        parser.error("--splits and --fractions: expected one of them")
    if args.fold and not args.splits:
        parser.error("--fold: expected --splits, the file that it is in")
    return args


def make_builder(args: argparse.Namespace, feature_extractor: SleepViTFeatureExtractor | None = None) -> NightsBuilder:
    """Make the builder of the protocol with the settings that were given.

    Args:
        args: of the command.
        feature_extractor: makes the rows; None takes that of the checkpoint.

    Returns:
        the builder.

    Raises:
        SettingError: a setting does not apply to the protocol.
        DatasetError: a setting cannot be used.
    """
    builder = BUILDER_OF[args.protocol]
    names = (
        *("trim", "channels", "subjects", "exclude", "download", "verify", "recordings", "scorings", "table"),
        *("subject_pattern", "numbers", "sampling_rate", "eog_channels"),
    )
    settings = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    fits = set(builder.BUILDER_CONFIG_CLASS.__dataclass_fields__) - builder.SETTLED_BY_SOURCE
    if unfit := sorted(set(settings) - fits):
        raise SettingError(f"--{unfit[0].replace('_', '-')} does not apply to {args.protocol}; leave it out.")
    return builder(args.protocol, folder=args.folder, feature_extractor=feature_extractor or args.model, **settings)


def refitted_extractor(
    args: argparse.Namespace, builder: NightsBuilder, splits: Splits | None
) -> SleepViTFeatureExtractor:
    """Let the checkpoint's feature extractor learn the usual spectrum of the training nights.

    Args:
        args: of the command.
        builder: finds the nights.
        splits: says which of them are learned from; None stands for all.

    Returns:
        the feature extractor; a dataset that was begun before keeps the spectrum it was begun with.

    Raises:
        SettingError: the extractor does not scale by a spectrum.
        DatasetError: no training night holds a signal.
    """
    settings = builder.settings
    extractor = settings.feature_extractor
    if extractor.scaling != "anchored":
        raise SettingError(f"--refit-profile: expected scaling 'anchored', found {extractor.scaling!r}; leave it out.")
    if begun_with := begun_extractor(args.output):
        return SleepViTFeatureExtractor(**begun_with)
    split = None if splits is None else splits.splits[0] if args.fold is None else splits.named(args.fold)
    nights = [night for night in builder.nights() if split is None or night.subject in split.train]
    unscaled = replace(settings, feature_extractor=extractor.without_scaling())
    reasons = []

    def rows_of_nights() -> Iterator[np.ndarray]:
        for night in tqdm(nights, unit="night", desc="usual spectrum", disable=None):
            try:
                yield night.read(unscaled).input_values
            except SleepViTError as error:
                reasons.append(str(error))  # it is listed when it is prepared, if any can be

    try:
        extractor.fit_profile(rows_of_nights())
    except ValueError as error:
        first = f"; the first that cannot be read: {reasons[0]}" if reasons else "."
        raise DatasetError(f"{args.folder}: {error}{first}") from error
    return extractor


def origin_of_prepared(folder: Path) -> NightsConfig:
    """Tell what a prepared dataset was made from: protocol, trim rule, licence and citation.

    Args:
        folder: of the dataset.

    Returns:
        the settings of its protocol, with the trim rule that was chosen.
    """
    made_with = json.loads((folder / PREPARATION_FILE).read_text(encoding="utf-8"))
    protocols = {config.name: config for builder in BUILDER_OF.values() for config in builder.BUILDER_CONFIGS}
    config = protocols.get(made_with.get("name"), NightsConfig(name="prepared", trim="not known"))
    return replace(config, trim=made_with.get("trim", config.trim))


def choose_splits(args: argparse.Namespace, builder: NightsBuilder) -> Splits | None:
    """Read the splits, or draw them by fractions, or do without.

    Args:
        args: of the command.
        builder: knows the subjects, and their age and sex where the release tells.

    Returns:
        the splits, or None.

    Raises:
        DatasetError: the file or the fractions cannot be used.
    """
    if args.splits:
        return Splits.from_json(args.splits)
    if args.fractions is None:
        return None
    subjects = {night.subject for night in builder.nights()}
    drawn_before = args.output / SPLITS_FILE
    if drawn_before.is_file():  # whoever leaves or joins must not move the others
        splits = Splits.from_json(drawn_before)
        if subjects != set(splits.splits[0].subjects):
            return splits
    return by_fraction(subjects, args.fractions, seed=args.seed, strata=builder.strata())


def check_push(repo: str, is_private: bool, builder: NightsBuilder) -> None:
    """Refuse an upload that cannot or must not be.

    Args:
        repo: id on the Hub.
        is_private: whether it will be private.
        builder: knows whether the source forbids passing its data on.

    Raises:
        SettingError: the id is none, or the data may not be shown to everybody.
    """
    check_repo_id(f"--push {repo}", repo)
    if builder.config.licence == "other" and not is_private:
        raise SettingError(
            f"--push {repo}: the data use agreement of {builder.config.name} forbids passing data on; add --private "
            "and give nobody access who has not signed it, or leave --push out."
        )


def names_between_commas(text: str) -> list[str]:
    """Read an argument that is a list of names."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise argparse.ArgumentTypeError("expected a name, or several with commas between them, found none")
    return names


def _fractions(text: str) -> tuple[float, ...]:
    try:
        train, validation, test = (float(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"expected three numbers that sum to 1 (train, validation, test), for example 0.7,0.1,0.2; found {text}"
        ) from error
    return train, validation, test


if __name__ == "__main__":
    sys.exit(run_script(main))

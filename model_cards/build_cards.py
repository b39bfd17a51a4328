"""Fill cards, and the table of the README, from committed metrics files: no figure is typed by hand.

python -m model_cards.build_cards
python -m model_cards.build_cards --embed runs/sleepvit-sedf20-5s
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import pandas as pd

from dataset_builders.markdown_tables import markdown_table
from dataset_builders.sleep_edf import CITATION
from modeling_sleepvit.embedded import embedded_checkpoint
from modeling_sleepvit.errors import CheckpointError
from modeling_sleepvit.hub_card import CARD_FILE
from modeling_sleepvit.stager import load_stager
from modeling_sleepvit.stages import STAGES
from modeling_sleepvit.whole_files import written_whole
from train_scripts.model_card import figures_row, model_card, results_of
from train_scripts.running import run_script
from train_scripts.training_record import RECORD_FILE, read_record


PROJECT = Path(__file__).resolve().parents[1]
RESULTS = PROJECT / "benchmarks" / "results"
METRICS_FILES = {
    "metrics": "sedf20-5s/default/metrics.json",
    "transfer": "transfer.json",
    "speed": "staging_speed.json",
}
"""What the card of the embedded checkpoint shows, beside the record of its training; each has to be there."""

CHECKPOINT_FILES = ("config.json", "model.safetensors", "preprocessor_config.json", RECORD_FILE)


def main(argv: list[str] | None = None) -> None:
    """Write the card of the embedded checkpoint and the table in the README.

    Args:
        argv: see `--help`; None reads the command line.

    Raises:
        CheckpointError: the folder to embed lacks a file.
    """
    parser = argparse.ArgumentParser(prog="build_cards", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--embed", type=Path, metavar="DIR", help="first take the embedded checkpoint from the folder of its training"
    )
    args = parser.parse_args(argv)
    folder = Path(embedded_checkpoint())
    if args.embed is not None:
        embed(args.embed, folder)
    card = checkpoint_card(folder)
    for path in (folder / CARD_FILE, PROJECT / "model_cards" / f"{folder.name}.md"):
        write_text(path, card)
    metrics = read_metrics(RESULTS)["metrics"]
    fill_in(
        PROJECT / "README.md",
        "leave-one-subject-out",
        f"{figures_table(metrics)}\n\n{metrics['protocol']}\n\n{trust_sentences(metrics)}",
    )


def embed(training: Path, folder: Path) -> None:
    """Copy what belongs to a checkpoint of the package: data and the record of its training, no code.

    Args:
        training: folder of the training, as `run_leave_one_subject_out --final` leaves it.
        folder: of the checkpoint in the package.

    Raises:
        CheckpointError: a file is missing; nothing was copied then.
    """
    if missing := [name for name in CHECKPOINT_FILES if not (training / name).is_file()]:
        raise CheckpointError(f"{training}: expected a finished training, found no {', '.join(missing)} in it.")
    for name in CHECKPOINT_FILES:
        with written_whole(folder / name) as partial:
            shutil.copyfile(training / name, partial)


def read_metrics(results: Path) -> dict[str, dict]:
    """Read the metrics files that a card is filled from.

    Args:
        results: the folder they are in.

    Returns:
        the content of each of `METRICS_FILES`.

    Raises:
        FileNotFoundError: one is missing.
    """
    return {name: json.loads((results / path).read_text(encoding="utf-8")) for name, path in METRICS_FILES.items()}


def checkpoint_card(folder: Path, results: Path = RESULTS) -> str:
    """Fill the card of a checkpoint of the package.

    Args:
        folder: of the checkpoint, with the record of its training.
        results: folder of the metrics files.

    Returns:
        the card, Markdown with a YAML header.

    Raises:
        FileNotFoundError: a metrics file is missing.
        CheckpointError: the record is missing, or is that of other weights.
    """
    stager, files = load_stager(folder), read_metrics(results)
    record, metrics = read_record(folder), files["metrics"]
    if record is None:
        raise CheckpointError(f"{folder}: expected {RECORD_FILE}, the record of its training, found none.")
    if unlike := unlike_record(stager.model.config.to_dict(), record["settings"]["model"]):
        raise CheckpointError(
            f"{folder}: {RECORD_FILE} is of a training with another {', '.join(unlike)} than config.json; take both "
            "from one training with --embed."
        )
    eval_results = results_of(
        metrics, "Sleep-EDF-20, first 5 s of each epoch", "leave-one-subject-out", metrics["intervals"]
    )
    return model_card(
        folder.name,
        stager.model,
        stager.feature_extractor,
        record,
        template=PROJECT / "model_cards" / "template.md",
        metadata={"license": "apache-2.0", "eval_results": eval_results},
        table=figures_table(metrics),
        trust=trust_sentences(metrics),
        calibration_between=percent_between(metrics["intervals"]["calibration_error"]),
        citation=CITATION,
        **files,
    )


def unlike_record(config: dict, settings: dict) -> list[str]:
    """Name the settings of a training that the configuration of a checkpoint contradicts.

    Args:
        config: of the checkpoint.
        settings: of the model, as the record of its training has them.

    Returns:
        the names.
    """
    unlike = [name for name, value in settings.items() if name != "epoch_config" and config[name] != value]
    return unlike + (
        unlike_record(config["epoch_config"], settings["epoch_config"]) if "epoch_config" in settings else []
    )


def figures_table(metrics: dict) -> str:
    """Make a Markdown table of the figures that always stand together.

    Args:
        metrics: as `run_leave_one_subject_out` and `evaluate_checkpoint` write it.

    Returns:
        the table, accuracy and F1 in percent, with 95 % intervals over subjects.
    """
    intervals = metrics["intervals"]
    row = {
        "subjects": metrics["n_subjects"],
        "nights": metrics["n_recordings"],
        "epochs": metrics["n_epochs"],
        **figures_row(metrics),
    }
    between = dict.fromkeys(row, "") | {
        "subjects": "95 % between",
        "accuracy": percent_between(intervals["accuracy"]),
        "macro-F1": percent_between(intervals["macro_f1"]),
        "kappa": "{:.3f} and {:.3f}".format(*intervals["kappa"]),
        **{f"F1 {stage}": percent_between(intervals[f"f1_{stage}"]) for stage in STAGES},
    }
    return markdown_table(pd.DataFrame([row, between]))


def percent_between(interval: list[float]) -> str:
    """Write the ends of an interval of shares, in percent."""
    return " and ".join(f"{100 * end:.1f}" for end in interval)


def trust_sentences(metrics: dict) -> str:
    """Say how far the probabilities can be trusted.

    Args:
        metrics: as for `figures_table`.

    Returns:
        a paragraph.
    """
    review, sleep = metrics["review"], metrics["sleep_statistics"]["total_sleep_time_min"]
    kappa = metrics["per_subject"]["kappa"]
    return (
        f"Half of the subjects lie between kappa {kappa['lower_quartile']:.2f} and {kappa['upper_quartile']:.2f}. "
        f"Expected calibration error {100 * metrics['calibration_error']:.1f} %. Whoever reviews the least certain "
        f"{100 * review['share_for_target']:.0f} % of the epochs brings kappa to {review['target_kappa']:.2f}. Total "
        f"sleep time is off by {sleep['bias']:+.0f} min on average, in 95 of 100 nights by "
        f"{sleep['lower_limit']:+.0f} to {sleep['upper_limit']:+.0f} min."
    )


def fill_in(path: Path, name: str, figures: str) -> None:
    """Replace what stands between two marks of a Markdown file.

    Args:
        path: the file, which holds the marks of `figures_marks`.
        name: of the figures.
        figures: goes between the marks.
    """
    begin, end = figures_marks(name)
    before, rest = path.read_text(encoding="utf-8").split(begin)
    write_text(path, f"{before}{begin}\n{figures}\n{end}{rest.split(end)[1]}")


def figures_marks(name: str) -> tuple[str, str]:
    """Tell between which comments figures stand that nobody types."""
    return f"<!-- figures of {name}: begin, made by the package -->", f"<!-- figures of {name}: end -->"


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(run_script(main))

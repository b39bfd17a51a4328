"""Fill cards, and the table of the README, from committed metrics files: no figure is typed by hand.

python -m model_cards.build_cards
"""

import json
import sys
from pathlib import Path

import pandas as pd
from huggingface_hub import ModelCard, ModelCardData
from jinja2 import Environment, StrictUndefined

from dataset_builders.markdown_tables import markdown_table
from modeling_sleepvit.embedded import DEFAULT_CHECKPOINT, embedded_checkpoint
from modeling_sleepvit.stager import load_stager
from modeling_sleepvit.stages import STAGES
from modeling_sleepvit.whole_files import written_whole
from train_scripts.running import run_script


PROJECT = Path(__file__).resolve().parents[1]
RESULTS = PROJECT / "benchmarks" / "results"


def main(argv: list[str] | None = None) -> None:
    """Write the card of the embedded checkpoint and the table in the README.

    Args:
        argv: not used.
    """
    metrics = json.loads((RESULTS / "sedf20-5s" / "default" / "metrics.json").read_text(encoding="utf-8"))
    transfer = json.loads((RESULTS / "transfer.json").read_text(encoding="utf-8"))
    card = checkpoint_card(DEFAULT_CHECKPOINT, metrics, transfer)
    for path in (Path(embedded_checkpoint()) / "README.md", PROJECT / "model_cards" / f"{DEFAULT_CHECKPOINT}.md"):
        write_text(path, card)
    readme = PROJECT / "README.md"
    fill_in(
        readme,
        "leave-one-subject-out",
        f"{figures_table(metrics)}\n\n{metrics['protocol']}\n\n{trust_sentences(metrics)}",
    )


def checkpoint_card(name: str, metrics: dict, transfer: dict) -> str:
    """Fill the card of an embedded checkpoint.

    Args:
        name: of the checkpoint.
        metrics: its metrics file.
        transfer: what `benchmarks.transfer` measured.

    Returns:
        the card, Markdown with a YAML header.
    """
    model = load_stager(embedded_checkpoint(name)).model
    card_data = ModelCardData(
        library_name="transformers",
        pipeline_tag="other",
        license="apache-2.0",
        tags=["sleep-staging", "sleep", "eeg", "polysomnography"],
        model_name=name,
    )
    text = template("template.md").render(
        card_data=card_data.to_yaml(),
        name=name,
        n_parameters=f"{model.num_parameters():,}",
        sequence_length=model.config.sequence_length,
        table=figures_table(metrics),
        trust=trust_sentences(metrics),
        metrics=metrics,
        transfer=transfer,
        temperature=model.config.temperature,
    )
    return str(ModelCard(text))


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
        "accuracy": f"{100 * metrics['accuracy']:.1f}",
        "macro-F1": f"{100 * metrics['macro_f1']:.1f}",
        "kappa": f"{metrics['kappa']:.3f}",
        **{f"F1 {stage}": f"{100 * metrics[f'f1_{stage}']:.1f}" for stage in STAGES},
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


def template(name: str):
    """Load a Jinja template of this folder; an undefined name in it is an error."""
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    return environment.from_string((PROJECT / "model_cards" / name).read_text(encoding="utf-8"))


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(run_script(main))

"""What was tried on the way to the default model, and what it was worth on the validation subjects.

    python -m benchmarks.choices    # makes the table of the committed results anew

The trials were made during development, one training each, with a training loop of their own, on 12 subjects; they
show what was looked at and are not rebuilt by a command. The first of the third round has the settings of
`train_scripts/configs/sedf20-5s/default.json`; the last table is of the twenty folds, trained by those and by others.
"""

import json
from pathlib import Path

import pandas as pd

from dataset_builders.markdown_tables import markdown_table
from model_cards.build_cards import fill_in


RESULTS = Path(__file__).parent / "results" / "choices.json"


def main() -> None:
    """Put the table into this folder's README."""
    table = choices_table(json.loads(RESULTS.read_text(encoding="utf-8")))
    fill_in(Path(__file__).parent / "README.md", "choices", table)
    print(table)


COLUMNS = {
    "kappa_low_pass_20_hz": "low-passed at 20 Hz",
    "kappa_sampled_at_50_hz": "sampled at 50 Hz",
    "kappa_noise_5_uv": "noise of 5 uV",
    "kappa_another_reference": "another reference",
    "kappa_wakeful_sample": "wakeful sample",
}


def choices_table(results: dict) -> str:
    """Make a Markdown table of each round of trials.

    Args:
        results: `first`, `second` and `third`, each with `trials` and their figures.

    Returns:
        one row per trial; macro-F1 in percent, kappa unchanged and after changes of the nights.
    """
    return "\n\n".join(
        f"{len(part['validation_subjects'])} subjects, {part['n_epochs']:,} epochs:\n\n"
        f"{markdown_table(pd.DataFrame([row_of(trial) for trial in part['trials']]))}"
        for part in results.values()
    )


def row_of(trial: dict) -> dict:
    """Lay out one trial; what was not measured is left open."""
    row = {"trial": trial["change"], "parameters": trial["n_parameters"]}
    if "passes" in trial:
        row["passes"] = trial["passes"]
    row |= {"macro-F1": f"{100 * trial['macro_f1']:.1f}", "kappa": f"{trial['kappa']:.3f}"}
    for name, title in COLUMNS.items():
        if name in trial:
            row[title] = "" if trial[name] is None else f"{trial[name]:.3f}"
    return {**row, "": trial["verdict"]}


if __name__ == "__main__":
    main()

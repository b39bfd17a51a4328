"""What the scaling of the rows is worth: the same training with "anchored" and with "robust" scaling.

    python -m benchmarks.scaling anchored=RUN_DIR robust=RUN_DIR    # measures both, writes results/scaling.json
    python -m benchmarks.scaling                                    # makes the table of the committed results anew

The checkpoints of the committed results were trained on 12 subjects in 12 passes, with the recipe of the first
embedded weights (48 epochs, one projection for all bands, no change of the signal as augmentation) and
`"feature_extractor": {"scaling": "anchored"}` or `{}`. SC400, SC402, SC405, SC407, SC410, SC412, SC415 and SC417 were
not learned from.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from dataset_builders.markdown_tables import markdown_table
from dataset_builders.npz_nights import read_npz_nights
from model_cards.build_cards import fill_in
from modeling_sleepvit import Hypnogram
from modeling_sleepvit.stager import load_stager
from modeling_sleepvit.stages import stage_from_name
from train_scripts.evaluate_checkpoint import predict_night, write_metrics
from train_scripts.subject_metrics import figures_of_predictions


DATA = Path(os.environ.get("SLEEPVIT_DATA", "../shared/data"))
RESULTS = Path(__file__).parent / "results" / "scaling.json"
VALIDATION_SUBJECTS = ["SC402", "SC407", "SC412", "SC417"]


def main(argv: list[str]) -> None:
    """Measure the checkpoints that are named, if any, and put the table into this folder's README.

    Args:
        argv: `name=folder` for each checkpoint.
    """
    if argv:
        write_metrics({name: measure(folder) for name, folder in (word.split("=", 1) for word in argv)}, RESULTS)
    figures = table(json.loads(RESULTS.read_text(encoding="utf-8")))
    fill_in(Path(__file__).parent / "README.md", "scaling", figures)
    print(figures)


def measure(checkpoint: str) -> dict:
    """Stage the validation subjects, and 116 minutes that are wake for the most part.

    Args:
        checkpoint: folder of a checkpoint that learned from neither.

    Returns:
        figures of both.
    """
    stager = load_stager(checkpoint)
    nights = read_npz_nights(DATA / "sleep-edf-20-5s", stager.feature_extractor, VALIDATION_SUBJECTS)
    predictions = pd.concat([predict_night(stager.model, night) for night in nights], ignore_index=True)
    sample = np.load(DATA / "sleep-edf-sc4001-30s" / "SC4001E0_30s.npz")
    scored = Hypnogram([stage_from_name(stage) for stage in sample["stage"]])
    return {
        "validation_nights": figures_of_predictions(predictions, n_resamples=0),
        "wakeful_sample": stager(sample["x"].ravel(), sampling_rate=100).agreement(scored),
    }


def table(results: dict) -> str:
    """Make a Markdown table of the figures.

    Args:
        results: as `measure` gives them, by name of the scaling.

    Returns:
        the table.
    """
    rows = []
    for name, result in results.items():
        nights, sample = result["validation_nights"], result["wakeful_sample"]
        rows.append(
            {
                "scaling": name,
                "validation: epochs": nights["n_epochs"],
                "accuracy": f"{100 * nights['accuracy']:.1f}",
                "macro-F1": f"{100 * nights['macro_f1']:.1f}",
                "kappa": f"{nights['kappa']:.3f}",
                "wakeful sample: epochs": sample["n_epochs"],
                "its accuracy": f"{100 * sample['accuracy']:.1f}",
                "its kappa": f"{sample['kappa']:.3f}",
            }
        )
    return markdown_table(pd.DataFrame(rows))


if __name__ == "__main__":
    main(sys.argv[1:])

"""Rebuild the figures of the embedded checkpoint from its published predictions.

python -m benchmarks.holdout
"""

import json
from pathlib import Path

import pandas as pd

from model_cards.build_cards import figures_table
from train_scripts.evaluate_checkpoint import metrics_of_predictions, write_metrics


FOLDER = Path(__file__).parent / "results" / "sedf20-5s-holdout"


def main() -> None:
    """Compute `metrics.json` anew from `predictions.parquet` and print the table."""
    path = FOLDER / "metrics.json"
    protocol = json.loads(path.read_text())["protocol"]
    metrics = {"protocol": protocol, **metrics_of_predictions(pd.read_parquet(FOLDER / "predictions.parquet"))}
    write_metrics(metrics, path)
    print(f"{protocol}\n\n{figures_table(metrics)}")


if __name__ == "__main__":
    main()

"""Every figure in README and cards is that of a committed metrics file or of the models themselves."""

import json
from pathlib import Path

import pandas as pd
import pytest

from benchmarks import prepare, scaling
from model_cards.build_cards import checkpoint_card, figures_marks, figures_table
from modeling_sleepvit import (
    SleepViTConfig,
    SleepViTForAudioClassification,
    SleepViTForAudioFrameClassification,
    SleepViTSequenceConfig,
    embedded_checkpoint,
)
from modeling_sleepvit.embedded import DEFAULT_CHECKPOINT
from train_scripts.evaluate_checkpoint import metrics_of_predictions


PROJECT = Path(__file__).resolve().parents[1]
FOLDER = PROJECT / "benchmarks" / "results" / "sedf20-5s-holdout"


@pytest.fixture(scope="module")
def metrics() -> dict:
    return json.loads((FOLDER / "metrics.json").read_text())


def test_the_metrics_are_those_of_the_published_predictions(metrics):
    predictions = pd.read_parquet(FOLDER / "predictions.parquet")
    assert {"protocol": metrics["protocol"], **metrics_of_predictions(predictions)} == metrics
    assert metrics["subjects"] == ["SC400", "SC405", "SC410", "SC415"]
    assert "first 5 s of each epoch" in metrics["protocol"]


def test_the_readme_shows_them(metrics):
    begin, end = figures_marks("holdout")
    assert figures_table(metrics) in (PROJECT / "README.md").read_text().split(begin)[1].split(end)[0]


@pytest.mark.parametrize(("name", "table"), [("scaling", scaling.table), ("prepare", prepare.tables)])
def test_the_tables_of_the_benchmarks_are_those_of_their_results(name, table):
    begin, end = figures_marks(name)
    results = json.loads((PROJECT / "benchmarks" / "results" / f"{name}.json").read_text())
    assert (PROJECT / "benchmarks" / "README.md").read_text().split(begin)[1].split(end)[0].strip() == table(results)


def test_the_cards_are_what_the_builder_makes(metrics):
    card = checkpoint_card(DEFAULT_CHECKPOINT, metrics)
    assert (PROJECT / "model_cards" / f"{DEFAULT_CHECKPOINT}.md").read_text() == card
    assert (Path(embedded_checkpoint()) / "README.md").read_text() == card
    assert figures_table(metrics) in card


def test_the_parameter_counts_of_the_readme_are_those_of_the_models():
    readme = (PROJECT / "README.md").read_text()
    models = [SleepViTForAudioClassification(SleepViTConfig.from_preset(name)) for name in SleepViTConfig.PRESETS]
    models += [SleepViTForAudioFrameClassification(SleepViTSequenceConfig.from_preset("eegspec-seq-vtrans"))]
    models += [SleepViTForAudioFrameClassification.from_pretrained(embedded_checkpoint())]
    for model in models:
        assert f"| {model.num_parameters():,} |" in readme

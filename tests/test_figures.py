"""Every figure in README and cards is that of a committed metrics file or of the models themselves."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score, f1_score

from benchmarks import choices, exports, fine_tuning, leave_one_subject_out, prepare, scaling, transfer
from dataset_builders.splits import Splits
from model_cards.build_cards import checkpoint_card, figures_marks, figures_table
from modeling_sleepvit import (
    SleepViTConfig,
    SleepViTForAudioClassification,
    SleepViTForAudioFrameClassification,
    SleepViTSequenceConfig,
    embedded_checkpoint,
)
from modeling_sleepvit.embedded import DEFAULT_CHECKPOINT
from modeling_sleepvit.hypnogram import PROBABILITY_COLUMNS
from modeling_sleepvit.stages import STAGES


PROJECT = Path(__file__).resolve().parents[1]
RESULTS = PROJECT / "benchmarks" / "results"
CONFIGURATIONS = [name for name in leave_one_subject_out.ROW_NAMES if (RESULTS / "sedf20-5s" / name).is_dir()]


def metrics_of(name: str) -> dict:
    return json.loads((RESULTS / "sedf20-5s" / name / "metrics.json").read_text())


def settings_of(name: str) -> dict:
    return json.loads((leave_one_subject_out.CONFIGS / f"{name}.json").read_text())


def figures_in(path: Path, name: str) -> str:
    begin, end = figures_marks(name)
    return path.read_text().split(begin)[1].split(end)[0].strip()


@pytest.mark.parametrize("path", ["README.md", "benchmarks/README.md"])
def test_no_figure_is_typed_unless_its_source_is_named(path):
    begin, end = map(re.escape, figures_marks("NAME"))
    made = begin.replace("NAME", ".*?") + ".*?" + end.replace("NAME", ".*?")
    typed = re.sub(f"{made}|```.*?```|`.*?`|Python [0-9.]+", "", (PROJECT / path).read_text(), flags=re.DOTALL)
    for paragraph in typed.split("\n\n"):
        figures = re.findall(r"(?<![\w.-])\d*\.\d+(?!\w|\.\d)", paragraph)
        assert not figures or "DOI" in paragraph, f"{figures} in: {paragraph}"


@pytest.fixture(scope="module")
def metrics() -> dict:
    return metrics_of("default")


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_epoch_was_predicted_once_by_a_model_that_had_not_seen_its_subject(name):
    predictions = pd.read_parquet(RESULTS / "sedf20-5s" / name / "predictions.parquet")
    columns = ["subject", "recording", "epoch", "fold", "label", *PROBABILITY_COLUMNS]
    assert list(predictions.columns) == columns
    assert len(predictions) == 42308
    assert not predictions.duplicated(["recording", "epoch"]).any()
    assert (predictions["recording"].str[:5] == predictions["subject"]).all()
    folds = predictions.groupby("fold")["subject"].unique()
    assert sorted(len(subjects) for subjects in folds) == [1] * 20
    splits = Splits.from_json(RESULTS / "sedf20-5s" / "splits.json")
    assert [split.test for split in splits.splits] == [tuple(subjects) for subjects in folds]
    assert all(set(split.test).isdisjoint((*split.train, *split.validation)) for split in splits.splits)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_metrics_are_those_of_the_published_predictions(name):
    metrics = metrics_of(name)
    predictions = pd.read_parquet(RESULTS / "sedf20-5s" / name / "predictions.parquet")
    stages = predictions[list(PROBABILITY_COLUMNS)].to_numpy().argmax(axis=1)
    assert metrics["kappa"] == pytest.approx(cohen_kappa_score(predictions["label"], stages))
    assert metrics["accuracy"] == pytest.approx((predictions["label"] == stages).mean())
    by_class = f1_score(predictions["label"], stages, average=None)
    assert [metrics[f"f1_{stage}"] for stage in STAGES] == pytest.approx(by_class.tolist())
    assert "first 5 s of each epoch" in metrics["protocol"]
    assert "leave-one-subject-out" in metrics["protocol"]


def test_the_default_model_holds_its_floors(metrics):
    assert metrics["kappa"] >= 0.76
    assert metrics["macro_f1"] >= 0.74


def test_the_readme_shows_them(metrics):
    shown = figures_in(PROJECT / "README.md", "leave-one-subject-out")
    assert figures_table(metrics) in shown
    assert metrics["protocol"] in shown


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("scaling", scaling.table),
        ("prepare", prepare.tables),
        ("transfer", transfer.transfer_table),
        ("fine_tuning", fine_tuning.fine_tuning_table),
        ("choices", choices.choices_table),
        ("exports", exports.exports_table),
    ],
)
def test_the_tables_of_the_benchmarks_are_those_of_their_results(name, table):
    results = json.loads((RESULTS / f"{name}.json").read_text())
    assert figures_in(PROJECT / "benchmarks" / "README.md", name) == table(results)


def test_the_table_of_leave_one_subject_out_is_that_of_its_metrics():
    metrics = {name: metrics_of(name) for name in CONFIGURATIONS}
    shown = figures_in(PROJECT / "benchmarks" / "README.md", "leave-one-subject-out")
    assert leave_one_subject_out.agreement_table(metrics) in shown
    assert leave_one_subject_out.calibration_table(metrics) in shown


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_size_of_a_model_is_that_of_its_settings(name):
    assert leave_one_subject_out.size_of_model(settings_of(name)) == pytest.approx(metrics_of(name)["model"])


def test_the_cost_of_an_epoch_is_that_of_its_matrix_products():
    """By hand: a product of m x k by k x n costs 2 m k n."""
    tokens, width, inner, hidden = 26, 128, 12 * 16, 256
    layer = 2 * tokens * width * (3 * inner) + 2 * tokens * inner * width + 4 * tokens * width * hidden
    attention = 2 * 2 * tokens * tokens * inner
    expected = 8 * (layer + attention) + 2 * 25 * 4 * width + 2 * width * 5
    size = leave_one_subject_out.size_of_model(settings_of("eegspec-vtrans"))
    assert size["n_mflops_per_epoch"] * 1e6 == pytest.approx(expected, rel=1e-6)


def test_the_cards_are_what_the_builder_makes(metrics):
    card = checkpoint_card(Path(embedded_checkpoint()))
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

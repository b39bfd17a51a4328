"""The tables of the paper's architectures are those of the published predictions, by models that had not seen them."""

import json

import pytest
from sklearn.metrics import cohen_kappa_score

from benchmarks import architecture_rows, architectures
from benchmarks.architecture_rows import ROWS
from benchmarks.architectures import RESULTS
from benchmarks.leave_one_subject_out import size_of_model
from dataset_builders.splits import Splits
from modeling_sleepvit.hypnogram import PROBABILITY_COLUMNS

from .test_figures import PROJECT, figures_in


def metrics_of(name: str) -> dict:
    return json.loads((RESULTS / name / "metrics.json").read_text())


@pytest.fixture(scope="module")
def differences() -> dict:
    return json.loads((RESULTS / "differences.json").read_text())


@pytest.mark.parametrize("name", ROWS)
def test_every_epoch_was_predicted_once_by_a_model_that_had_not_seen_its_subject(name):
    predictions = architectures.read_predictions(name)
    assert not predictions.duplicated(["recording", "epoch"]).any()
    splits = Splits.from_json(RESULTS / f"{'simulated-' * bool(ROWS[name].simulated)}splits.json").splits
    tested = predictions.groupby("fold")["subject"].unique()
    assert [set(split.test) for split in splits] == [set(subjects) for subjects in tested]
    assert all(set(split.test).isdisjoint((*split.train, *split.validation)) for split in splits)
    if not ROWS[name].simulated:
        assert (len(predictions), predictions["subject"].nunique()) == (42308, 20)


@pytest.mark.parametrize("name", ROWS)
def test_the_figures_are_those_of_the_predictions_and_say_what_they_are_of(name):
    metrics, predictions = metrics_of(name), architectures.read_predictions(name)
    scored = predictions[predictions["label"] >= 0]
    stages = scored[list(PROBABILITY_COLUMNS)].to_numpy().argmax(axis=1)
    assert metrics["kappa"] == pytest.approx(cohen_kappa_score(scored["label"], stages))
    assert "only the first 5 s of each epoch" in metrics["protocol"]
    assert ("SIMULATED" in metrics["protocol"]) == bool(ROWS[name].simulated)


@pytest.mark.parametrize("name", ["eegspec-lstm", "eegseq-inception-vtrans-21-epochs"])
def test_the_size_of_a_model_is_that_of_its_settings(name):
    assert size_of_model(architecture_rows.settings_of(ROWS[name])) == pytest.approx(metrics_of(name)["model"])


def test_an_lstm_costs_its_matrix_products():
    """By hand: 25 steps of 4 features, then of 32, through two layers of 32 with four gates; the head."""
    expected = 2 * 25 * 4 * 32 * ((4 + 32) + (32 + 32)) + 2 * 32 * 5
    size = size_of_model(architecture_rows.settings_of(ROWS["eegspec-lstm"]))
    assert size["n_mflops_per_epoch"] * 1e6 == pytest.approx(expected, rel=1e-6)


def test_the_readmes_show_them(differences):
    metrics = {name: metrics_of(name) for name in ROWS}
    speed = json.loads((RESULTS / "speed.json").read_text())
    whole, project = (PROJECT / "benchmarks" / "README.md", PROJECT / "README.md")
    assert figures_in(whole, "architectures") == architectures.architectures_table(metrics, speed)
    shown = figures_in(whole, "architecture choices")
    assert architectures.choices_table(metrics, differences) in shown
    for text in (shown, figures_in(project, "architectures")):
        assert architectures.worth_of_the_cut(differences) in text
    assert architectures.short_table(metrics) in figures_in(project, "architectures")


@pytest.mark.parametrize("config", sorted({row.config for row in ROWS.values()}))
def test_every_row_has_the_same_effort(config):
    settings = json.loads((architecture_rows.CONFIGS / f"{config}.json").read_text())
    reference = json.loads((architecture_rows.CONFIGS / "eegspec-vtrans.json").read_text())
    for name in ("num_train_epochs", "per_device_train_batch_size", "learning_rate", "seed", "lr_scheduler_type"):
        assert settings[name] == reference[name]
    for name in ("num_hidden_layers", "hidden_size", "initializer_range"):
        assert settings["model"][name] == reference["model"][name]


def test_settings_of_every_architecture_are_there():
    assert {path.stem for path in architecture_rows.CONFIGS.glob("*.json")} == {row.config for row in ROWS.values()}


def test_differences_are_those_of_the_published_predictions(differences):
    chosen, rival = architecture_rows.CHOICES[0][1:]
    difference = metrics_of(chosen)["kappa"] - metrics_of(rival)["kappa"]
    assert differences[f"{chosen} - {rival}"]["difference"] == pytest.approx(difference)

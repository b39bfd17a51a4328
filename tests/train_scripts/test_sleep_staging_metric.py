"""The module of Hugging Face evaluate: loaded without a network, from its place or a copy, or made directly."""

import math
import shutil
import socket
import sys
from pathlib import Path

import evaluate
import numpy as np
import pandas as pd
import pytest

from modeling_sleepvit.errors import DatasetError
from modeling_sleepvit.hypnogram import PROBABILITY_COLUMNS
from train_scripts import sleep_staging
from train_scripts.sleep_staging.sleep_staging import SleepStaging
from train_scripts.subject_metrics import figures_of_predictions, json_text


FOLDER = Path(sleep_staging.__file__).parent


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No network, and no copy of the module outside the test's folder."""

    def refuse(*arguments):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(evaluate.config, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "evaluate_modules"]:
        del sys.modules[name]


@pytest.fixture
def metric(tmp_path) -> SleepStaging:
    return SleepStaging(cache_dir=str(tmp_path))


@pytest.fixture
def table() -> pd.DataFrame:
    """Two nights of each of three subjects, with gaps in the scoring."""
    rng = np.random.default_rng(0)
    names = {"subject": np.repeat(["S1", "S2", "S3"], 80), "recording": np.repeat([f"R{i}" for i in range(6)], 40)}
    table = pd.DataFrame({**names, "epoch": np.tile(np.arange(40), 6), "label": rng.integers(0, 5, 240)})
    table[list(PROBABILITY_COLUMNS)] = rng.dirichlet(np.ones(5), 240)
    table["prediction"] = table[list(PROBABILITY_COLUMNS)].to_numpy().argmax(axis=1)
    table.loc[::9, "label"] = -100
    return table


def inputs_of(table) -> dict:
    return {
        "predictions": table["prediction"],
        "references": table["label"],
        "probabilities": table[list(PROBABILITY_COLUMNS)].to_numpy(),
        "subjects": table["subject"],
        "recordings": table["recording"],
    }


def test_all_inputs_give_all_figures(metric, table):
    figures = metric.compute(**inputs_of(table), n_resamples=30, seed=4)
    expected = figures_of_predictions(table, n_resamples=30, seed=4)
    assert json_text(figures) == json_text(expected)
    assert {"calibration_error", "review", "intervals", "per_recording", "sleep_statistics"} <= set(figures)


@pytest.mark.parametrize("place", ["folder", "file", "copied folder"])
def test_it_is_loaded_by_path(place, tmp_path, table):
    path = FOLDER
    if place == "file":
        path = FOLDER / "sleep_staging.py"
    if place == "copied folder":
        path = tmp_path / "elsewhere" / "sleep_staging"
        shutil.copytree(FOLDER, path, ignore=shutil.ignore_patterns("__pycache__"))
    metric = evaluate.load(str(path), cache_dir=str(tmp_path / "data"))
    assert type(metric).__module__.startswith("evaluate_modules.")
    assert str(tmp_path) in sys.modules[type(metric).__module__].__file__
    figures = metric.compute(predictions=[0, 2, 2, -100], references=[0, 2, 3, 2])
    assert figures["n_epochs"] == 3
    assert figures["accuracy"] == pytest.approx(2 / 3)
    assert figures["kappa"] == pytest.approx(0.5)
    assert {"calibration_error", "intervals", "sleep_statistics"}.isdisjoint(figures)


def test_batches_and_single_epochs_are_gathered(metric, table):
    inputs = inputs_of(table)
    for part in (slice(0, 100), slice(100, 239)):
        metric.add_batch(**{name: values[part] for name, values in inputs.items()})
    singular = {"predictions": "prediction", "references": "reference"}
    metric.add(**{singular.get(name, name): np.asarray(values)[239] for name, values in inputs.items()})
    expected = figures_of_predictions(table, n_resamples=30)
    assert json_text(metric.compute(n_resamples=30)) == json_text(expected)


def test_epochs_without_optional_inputs_are_gathered(metric):
    metric.add(prediction=2, reference=2)
    metric.add_batch(predictions=[2, 0], references=[0, 0])
    assert metric.compute()["accuracy"] == pytest.approx(2 / 3)


def test_subjects_alone_give_intervals_and_recordings_alone_give_nights(metric, table):
    inputs = inputs_of(table)
    both = {name: inputs[name] for name in ("predictions", "references")}
    of_subjects = metric.compute(**both, subjects=inputs["subjects"], n_resamples=20)
    assert {"intervals", "per_subject"} <= set(of_subjects)
    assert "sleep_statistics" not in of_subjects
    of_nights = metric.compute(**both, recordings=inputs["recordings"], epoch_seconds=60)
    assert of_nights["n_recordings"] == 6
    assert "intervals" not in of_nights
    half_as_long = metric.compute(**both, recordings=inputs["recordings"])
    bias = [figures["sleep_statistics"]["total_sleep_time_min"]["bias"] for figures in (of_nights, half_as_long)]
    assert bias[0] == pytest.approx(2 * bias[1])


def test_nothing_scored_is_nan(metric):
    figures = metric.compute(predictions=[0, 2], references=[-100, -100])
    assert figures["n_epochs"] == 0
    assert math.isnan(figures["kappa"])


def test_its_card_says_what_it_takes(metric):
    assert set(metric.features) == {"predictions", "references", "probabilities", "subjects", "recordings"}
    assert "Cohen's kappa" in metric.description
    assert "-100 where an epoch was not scored" in metric.inputs_description
    assert metric.name == "sleep_staging"


def test_wrong_inputs_are_refused(metric):
    metric.add(prediction=0, reference=0, probabilities=[1.0, 0, 0, 0, 0])
    metric.add(prediction=0, reference=0)
    with pytest.raises(DatasetError, match="rows of 0, 5 probabilities were given: expected 5 for every epoch"):
        metric.compute()
    other = SleepStaging(cache_dir=metric._data_dir_root, experiment_id="other")
    with pytest.raises(DatasetError, match="have no subject in row 1"):
        other.compute(predictions=[0, 0], references=[0, 0], subjects=["S1", ""])

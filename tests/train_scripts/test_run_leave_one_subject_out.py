"""Leave-one-subject-out: everybody is tested once by a model that has not seen them; runs go on where they stopped."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from dataset_builders.splits import Splits
from modeling_sleepvit.errors import SettingError
from modeling_sleepvit.metrics_sleepvit import calibration_error
from modeling_sleepvit.night_staging import tempered
from modeling_sleepvit.stager import load_stager
from train_scripts import run_sleep_staging
from train_scripts.run_leave_one_subject_out import figures_of_folds, main

from ..conftest import TINY


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Four simulated subjects of one night, and a training of a second."""
    folder = tmp_path_factory.mktemp("nights")
    rng = np.random.default_rng(0)
    for subject in range(4):
        x = rng.normal(scale=20, size=(12, 500)).astype(np.float32)
        np.savez(folder / f"SC40{subject}1E0.npz", x=x, y=np.arange(12) % 5, fs=100.0)
    path = folder / "settings.json"
    model = {**TINY, "epoch_config": {**TINY, "num_frames": 5}, "sequence_length": 6}
    trainer = {
        "num_train_epochs": 1,
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        "save_strategy": "epoch",
    }
    path.write_text(json.dumps({"data_dir": str(folder), "model": model, "test_subjects": ["SC400"], **trainer}))
    return path


def run(settings, output, *arguments):
    main([str(settings), "--output", str(output), "--n-validation", "1", *arguments])


def test_folds_are_finished_one_by_one_and_joined(settings, tmp_path, capsys, monkeypatch):
    run(settings, tmp_path, "--folds", "2")
    assert "1 of 4 folds, 12 epochs" in capsys.readouterr().out
    first = (tmp_path / "fold-02" / "predictions.parquet").read_bytes()
    trained = []
    real = run_sleep_staging.main
    monkeypatch.setattr(run_sleep_staging, "main", lambda argv: (trained.append(argv), real(argv)))
    run(settings, tmp_path)
    assert len(trained) == 3, "a finished fold was trained again"
    assert (tmp_path / "fold-02" / "predictions.parquet").read_bytes() == first
    assert "4 of 4 folds, 48 epochs" in capsys.readouterr().out

    predictions = pd.read_parquet(tmp_path / "predictions.parquet")
    columns = ["subject", "recording", "epoch", "fold", "label", "p_W", "p_N1", "p_N2", "p_N3", "p_R"]
    assert list(predictions.columns) == columns
    assert predictions.groupby("subject")["fold"].unique().map(list).to_dict() == {f"SC40{n}": [n] for n in range(4)}
    np.testing.assert_allclose(predictions[columns[5:]].sum(axis=1), 1, atol=1e-6)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert (metrics["n_epochs"], metrics["n_subjects"], metrics["folds"]) == (48, 4, "4 of 4")
    assert "kappa" in metrics["intervals"]
    assert [fold["subjects"] for fold in metrics["by_fold"]] == [["SC400"], ["SC401"], ["SC402"], ["SC403"]]
    assert sum(fold["n_epochs"] for fold in metrics["by_fold"]) == 48


def test_results_may_lie_elsewhere_and_name_the_temperatures(settings, tmp_path):
    run(
        settings, tmp_path / "run", "--folds", "3", "--results", str(tmp_path / "published"), "--protocol", "SIMULATED"
    )
    assert not (tmp_path / "run" / "metrics.json").exists()
    metrics = json.loads((tmp_path / "published" / "metrics.json").read_text())
    model = load_stager(tmp_path / "run" / "fold-03" / "training").model
    assert metrics["temperatures"] == {"3": model.config.temperature}
    assert (metrics["protocol"], metrics["folds"]) == ("SIMULATED", "1 of 4")


def test_the_final_weights_learn_from_everybody_and_take_the_temperatures_of_the_folds(settings, tmp_path):
    with pytest.raises(SettingError, match=r"expected 4 finished and calibrated folds in .*, found 1"):
        run(settings, tmp_path / "run", "--folds", "0", "--final", str(tmp_path / "final"))
    assert not (tmp_path / "final").exists()
    run(settings, tmp_path / "run", "--final", str(tmp_path / "final"))
    model = load_stager(tmp_path / "final").model
    found = json.loads((tmp_path / "run" / "metrics.json").read_text())["temperatures"].values()
    np.testing.assert_allclose(model.config.temperature, np.exp(np.mean(np.log(list(found)), axis=0)), atol=1e-4)
    learned_from = json.loads((tmp_path / "final" / "settings.json").read_text())
    assert learned_from["test_subjects"] == learned_from["validation_subjects"] == []


def test_the_calibration_error_before_is_that_of_the_probabilities_as_the_model_gave_them():
    rng = np.random.default_rng(0)
    raw = rng.dirichlet(np.ones(5), 400)
    labels = rng.integers(0, 5, 400)
    temperatures = {"0": [2.0] * 5, "1": None}
    calibrated = raw.copy()
    calibrated[:200] = tempered(torch.from_numpy(raw[:200]), [2.0] * 5).numpy()
    predictions = pd.DataFrame(calibrated, columns=["p_W", "p_N1", "p_N2", "p_N3", "p_R"])
    predictions = predictions.assign(
        label=labels, fold=np.repeat([0, 1], 200), subject=np.repeat(["a", "b"], 200), recording="r", epoch=range(400)
    )
    figures = figures_of_folds(predictions, "none", "2 of 2", temperatures)
    assert figures["calibration_error_before"] == pytest.approx(calibration_error(labels, raw), abs=1e-9)
    assert figures["calibration_error"] == pytest.approx(calibration_error(labels, calibrated), abs=1e-9)
    low, high = figures["by_fold"][0]["intervals"]["accuracy"]
    assert low < figures["by_fold"][0]["accuracy"] < high


def test_the_test_subject_takes_no_part_in_its_fold(settings, tmp_path):
    run(settings, tmp_path, "--folds", "1")
    split = Splits.from_json(tmp_path / "splits.json").splits[1]
    own = json.loads((tmp_path / "fold-01" / "training_settings.json").read_text())
    assert own["test_subjects"] == list(split.test) == ["SC401"]
    assert own["validation_subjects"] == list(split.validation)
    assert len(split.train) == 2
    model = load_stager(tmp_path / "fold-01" / "training").model
    assert len(model.config.temperature) == 5
    assert not list((tmp_path / "fold-01" / "training").glob("checkpoint-*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("--folds", "4"), "--folds 4: expected numbers from 0 to 3"), (("--n-validation", "3"), "train")],
)
def test_folds_that_cannot_be(settings, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        run(settings, tmp_path, *arguments)


def test_a_folder_of_other_folds_is_refused(settings, tmp_path):
    run(settings, tmp_path, "--folds", "0")
    with pytest.raises(SettingError, match="its folds were drawn otherwise"):
        run(settings, tmp_path, "--seed", "1")

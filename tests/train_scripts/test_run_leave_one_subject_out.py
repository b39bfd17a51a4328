"""Leave-one-subject-out: everybody is tested once by a model that has not seen them; runs go on where they stopped."""

import json

import numpy as np
import pandas as pd
import pytest

from dataset_builders.splits import Splits
from modeling_sleepvit.errors import SettingError
from modeling_sleepvit.stager import load_stager
from train_scripts import run_sleep_staging
from train_scripts.run_leave_one_subject_out import main

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

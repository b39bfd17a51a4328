"""Fine-tuning: frozen epoch encoders, other classes, early stopping, and the best checkpoint of a training."""

import json

import pytest
import torch

from modeling_sleepvit import SleepViTForAudioFrameClassification
from modeling_sleepvit.stager import load_stager
from train_scripts.training_settings import ModelArguments, make_model

from .conftest import train


@pytest.fixture
def fine_tuning(settings, tiny_checkpoints):
    """Settings that go on from a checkpoint."""
    settings = {name: value for name, value in settings.items() if name != "model"}
    return settings | {"model_name_or_path": str(tiny_checkpoints["sequence"]), "num_train_epochs": 1}


def history_of(run) -> list[dict]:
    return json.loads((run / "trainer_state.json").read_text())["log_history"]


def test_a_frozen_epoch_encoder_keeps_its_weights_and_the_rest_learns(fine_tuning, tmp_path, tiny_checkpoints):
    assert train(fine_tuning | {"freeze_epoch_encoder": True}, tmp_path) == 0
    before = load_stager(tiny_checkpoints["sequence"]).model.state_dict()
    after = load_stager(tmp_path / "run").model.state_dict()
    kept = {name for name in before if torch.equal(before[name], after[name])}
    assert {name for name in before if ".epoch_encoder." in name} <= kept
    assert not {name for name in before if name.startswith(("classifier", "sleepvit.layers"))} & kept


@pytest.mark.parametrize("kind", ["sequence", "epoch"])
def test_a_checkpoint_learns_other_classes(kind, settings, tmp_path, tiny_checkpoints):
    classes = ["N1+N2+N3+R", "W"]
    settings |= {"model": {}, "model_name_or_path": str(tiny_checkpoints[kind]), "classes": classes}
    assert train(settings | {"learning_rate": 0.003}, tmp_path) == 0
    tuned = load_run(tmp_path / "run")
    assert list(tuned.config.id2label.values()) == classes
    assert tuned.config.num_labels == 2
    last = [entry for entry in history_of(tmp_path / "run") if "eval_kappa" in entry][-1]
    assert last["eval_f1_W"] > 0.9
    assert last["eval_f1_N1+N2+N3+R"] > 0.9
    assert last["eval_n_epochs"] == 100
    assert "eval_f1_N3" not in last


def load_run(run):
    from transformers import AutoModelForAudioClassification, AutoModelForAudioFrameClassification

    architecture = json.loads((run / "config.json").read_text())["architectures"][0]
    is_sequence = architecture == "SleepViTForAudioFrameClassification"
    return (AutoModelForAudioFrameClassification if is_sequence else AutoModelForAudioClassification).from_pretrained(
        run
    )


def test_new_heads_stand_on_the_trained_encoders(tiny_checkpoints):
    trained = load_stager(tiny_checkpoints["sequence"]).model
    resized = make_model(ModelArguments(str(tiny_checkpoints["sequence"]), classes=["W", "N1+N2", "N3", "R"]))
    for name, weights in trained.sleepvit.state_dict().items():
        assert torch.equal(weights, resized.sleepvit.state_dict()[name]), name
    assert resized.classifier.out_features == 4
    assert resized.config.label2id == {"W": 0, "N1+N2": 1, "N3": 2, "R": 3}


def test_temperatures_of_the_checkpoint_do_not_stay_with_new_weights(tiny_checkpoints, tmp_path):
    model = SleepViTForAudioFrameClassification.from_pretrained(tiny_checkpoints["sequence"])
    model.config.temperature = [2.0] * 5
    model.save_pretrained(tmp_path)
    load_stager(tiny_checkpoints["sequence"]).feature_extractor.save_pretrained(tmp_path)
    assert make_model(ModelArguments(str(tmp_path))).config.temperature is None


def test_training_stops_when_validation_gets_no_better_and_the_best_is_kept(settings, tmp_path):
    settings |= {"early_stopping_patience": 2, "num_train_epochs": 40, "learning_rate": 0.02}
    assert train(settings, tmp_path) == 0
    run = tmp_path / "run"
    state = json.loads((run / "trainer_state.json").read_text())
    kappas = [entry["eval_kappa"] for entry in state["log_history"] if "eval_kappa" in entry]
    assert len(kappas) < 40
    assert state["best_metric"] == max(kappas)
    assert kappas.index(max(kappas)) == len(kappas) - 3, "stopped two validations after the best"
    best = SleepViTForAudioFrameClassification.from_pretrained(state["best_model_checkpoint"]).state_dict()
    final = SleepViTForAudioFrameClassification.from_pretrained(run).state_dict()
    assert all(torch.equal(best[name], final[name]) for name in best)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ["W", "N1+N2", "N3"]}, "expected each of W, N1, N2, N3, R once"),
        ({"classes": ["W", "W+N1", "N2", "N3", "R"]}, "found W, W+N1, N2, N3, R"),
        ({"early_stopping_patience": 2, "eval_strategy": "no", "save_strategy": "no"}, "without an eval_strategy"),
        ({"freeze_epoch_encoder": True, "model_name_or_path": None}, "needs a model_name_or_path"),
        ({"augmentation": {"low_pass": 0.3}}, "need a feature extractor with scaling 'anchored'"),
    ],
)
def test_what_cannot_be_is_refused_with_one_line(fine_tuning, tmp_path, capsys, change, message):
    assert train(fine_tuning | change, tmp_path) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert message in lines[0]


def test_a_single_epoch_model_has_nothing_to_freeze(fine_tuning, tmp_path, tiny_checkpoints, capsys):
    settings = fine_tuning | {"model_name_or_path": str(tiny_checkpoints["epoch"]), "freeze_epoch_encoder": True}
    assert train(settings, tmp_path) == 2
    assert "has nothing else to learn" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "tolerance"),
    [({"activation_checkpointing": True}, 1e-6), ({"bf16": True}, 0.05)],
)
def test_what_saves_memory_learns_the_same(settings, tmp_path, change, tolerance):
    for part in (settings["model"], settings["model"]["epoch_config"]):
        part["hidden_dropout_prob"] = 0.0
    settings |= {"augmentation": {}, "num_train_epochs": 1, "logging_strategy": "steps", "logging_steps": 1}
    losses = []
    for name, own in (("plain", {}), ("saving", change)):
        assert train(settings | own | {"output_dir": str(tmp_path / name)}, tmp_path) == 0
        losses.append([entry["loss"] for entry in history_of(tmp_path / name) if "loss" in entry])
    assert len(losses[0]) == len(losses[1]) >= 5
    assert losses[1] == pytest.approx(losses[0], rel=tolerance, abs=tolerance)

"""Training: it learns, resumes where it stopped, keeps subjects apart, and says what is wrong with its settings."""

import json
import shutil

import numpy as np
import pytest
import torch
from transformers import AutoFeatureExtractor, AutoModelForAudioFrameClassification

from dataset_builders.npz_nights import read_npz_nights
from dataset_builders.splits import Splits, leave_one_subject_out
from modeling_sleepvit import SleepViTFeatureExtractor, embedded_checkpoint
from modeling_sleepvit.errors import SettingError
from modeling_sleepvit.stager import load_stager
from train_scripts import evaluate_checkpoint
from train_scripts.cli import main
from train_scripts.training_nights import read_splits
from train_scripts.training_settings import DataArguments, parse_settings

from ..conftest import TINY
from .conftest import train


def test_a_training_learns_saves_what_loads_and_resumes_bit_for_bit(settings, tmp_path, simulated_nights):
    assert train(settings, tmp_path) == 0
    run = tmp_path / "run"
    model = AutoModelForAudioFrameClassification.from_pretrained(run)
    assert AutoFeatureExtractor.from_pretrained(run).to_dict() == SleepViTFeatureExtractor().to_dict()
    history = json.loads((run / "trainer_state.json").read_text())["log_history"]
    kappas = [entry["eval_kappa"] for entry in history if "eval_kappa" in entry]
    assert len(kappas) == 6
    assert kappas[-1] > 0.9  # two rhythms that cannot be confused

    # as if it had been stopped after the second pass
    checkpoints = sorted(run.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    for path in [*checkpoints[2:], run / "model.safetensors"]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert train(settings, tmp_path) == 0
    resumed = AutoModelForAudioFrameClassification.from_pretrained(run)
    for name, weights in model.state_dict().items():
        assert torch.equal(weights, resumed.state_dict()[name]), name

    # in another folder, from a checkpoint that is named
    elsewhere = {"output_dir": str(tmp_path / "elsewhere"), "resume_from_checkpoint": str(checkpoints[0])}
    assert train(settings | elsewhere, tmp_path) == 0
    history = json.loads((tmp_path / "elsewhere" / "trainer_state.json").read_text())["log_history"]
    assert [entry["eval_kappa"] for entry in history if "eval_kappa" in entry] == kappas
    assert len(list((tmp_path / "elsewhere").glob("checkpoint-*"))) == 5, "the first pass was not done anew"

    # the evaluation of the subject that was left out
    arguments = [str(simulated_nights), "--subjects", "SC402", "--output", str(tmp_path / "evaluation")]
    evaluate_checkpoint.main([str(run), *arguments, "--protocol", "simulated nights"])
    metrics = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    assert metrics["subjects"] == ["SC402"]
    assert (metrics["n_recordings"], metrics["n_epochs"], metrics["protocol"]) == (2, 100, "simulated nights")
    assert metrics["kappa"] > 0.9
    assert load_stager(run).model.config.epoch_config.num_frames == 5


def test_the_single_epoch_model_trains_too_and_logs_for_tensorboard(settings, tmp_path):
    settings |= {"model": {**TINY, "num_frames": 5}, "single_epoch": True, "num_train_epochs": 1}
    assert train(settings | {"report_to": "tensorboard"}, tmp_path) == 0
    assert len(list((tmp_path / "run").rglob("events.out.tfevents.*"))) == 1
    assert json.loads((tmp_path / "run" / "config.json").read_text())["architectures"] == [
        "SleepViTForAudioClassification"
    ]


def test_no_subject_is_on_two_sides(simulated_nights):
    data = DataArguments(str(simulated_nights), test_subjects=["SC402"], validation_subjects=["SC401"])
    train_nights, validation_nights = read_splits(data, SleepViTFeatureExtractor())
    assert {night.subject for night in train_nights} == {"SC400"}
    assert {night.subject for night in validation_nights} == {"SC401"}
    assert [len(night) for night in train_nights] == [50, 50]
    twice = DataArguments(str(simulated_nights), test_subjects=["SC401"], validation_subjects=["SC401"])
    with pytest.raises(SettingError, match="name a subject twice"):
        read_splits(twice, SleepViTFeatureExtractor())
    nobody = DataArguments(str(simulated_nights), test_subjects=["SC400", "SC401", "SC402"])
    with pytest.raises(SettingError, match="nobody is left to learn from"):
        read_splits(nobody, SleepViTFeatureExtractor())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data_dir": "/nowhere"}, "/nowhere: expected npz nights"),
        ({"test_subjects": [], "validation_subjects": ["SC499"]}, "no night of the subjects SC499"),
        ({"learning_rat": 1}, "there is no setting learning_rat; expected learning_rate."),
        ({"augmentation": {"loudness": 1}}, "loudness"),
        ({"augmentation": {"gain": -0.1}}, "augmentation: gain must be 0 or more, found -0.1"),
        (
            {"augmentation": {"band_dropout": 2}},
            "augmentation: band_dropout must be a probability, from 0 to 1, found 2",
        ),
        ({"resume_from_checkpoint": "nowhere"}, "expected the folder of a checkpoint, found nowhere"),
        ({"augmentation": {"gain": "x"}}, "augmentation: could not convert string to float"),
        ({"feature_extractor": {"scalling": "none"}}, "feature_extractor: there is no setting scalling"),
        ({"feature_extractor": {"power_scale": "db"}}, "'log' or 'linear', found: 'db'"),
        ({"test_subjects": "SC401"}, 'test_subjects must be a list of names, found "SC401"'),
        ({"test_subjects": [402]}, "test_subjects must be a list of names, found [402]"),
        ({"learning_rate": "1e-4"}, 'learning_rate must be a number, found "1e-4"'),
        ({"num_train_epochs": True}, "num_train_epochs must be a number, found true"),
        ({"early_stopping_patience": 2.5}, "early_stopping_patience must be a whole number or null, found 2.5"),
        ({"augmentation": None}, "augmentation must be settings by name, found null"),
        ({"random_shift": "no"}, 'random_shift must be true or false, found "no"'),
        ({"gradient_accumulation_steps": 0}, "gradient_accumulation_steps must be 1 at least, found 0"),
        ({"report_to": "tensorbord"}, "report_to names tensorbord, which is misspelt or not installed"),
        ({"metric_for_best_model": "kapa"}, "metric_for_best_model: expected one of loss, n_epochs, accuracy, "),
        ({"fold": "SC401"}, "fold without splits, the file in which it is named"),
        ({"test_subjects": ["SC4O2"]}, "no night of the subjects SC4O2"),
        ({"validation_subjects": []}, "eval_strategy needs validation_subjects"),
        ({"model": {"epoch_config": {"hiden_size": 8}}}, "SleepViTConfig has no field hiden_size"),
        ({"model": {"epoch_config": {"num_frames": 4}}}, "a multiple of num_frames 4"),
        (
            {"model": {"id2label": {"0": "N1", "1": "W", "2": "N2", "3": "N3", "4": "R"}}},
            "W, N1, N2, N3, R in this order",
        ),
        ({"model": {"head_dim": -1}}, "head_dim must be 1 at least"),
        ({"model": {"sequence_length": "6"}}, "sequence_length"),
        ({"model": {"sequence_length": 6, "label_mode": "last"}}, "'all' or 'center', found: 'last'"),
    ],
)
def test_wrong_settings_end_with_one_line(settings, tmp_path, capsys, change, message):
    assert train(settings | change, tmp_path) == 2
    err = capsys.readouterr().err.strip().splitlines()
    assert len(err) == 1
    assert message in err[0]


@pytest.mark.parametrize(
    ("night", "arrays", "message"),
    [
        (
            "SC4002E0",
            {"x": np.ones((5, 500, 2)), "y": np.zeros(5)},
            "SC4002E0: holds 2 channels, 20 rows and",
        ),
        (
            "SC4012E0",
            {"x": np.ones((5, 500, 2)), "y": np.zeros(5)},
            "SC4012E0: holds 2 channels, 20 rows and",
        ),
        ("SC4002E0", {"x": np.ones((5, 1000)), "y": np.zeros(5)}, "10 frames per epoch, expected 5 as in SC4001E0"),
    ],
)
def test_every_night_has_to_fit(settings, tmp_path, capsys, simulated_nights, night, arrays, message):
    nights = tmp_path / "nights"
    shutil.copytree(simulated_nights, nights)
    np.savez(nights / f"{night}.npz", **arrays, fs=100.0)
    assert train(settings | {"data_dir": str(nights)}, tmp_path) == 2
    assert message in capsys.readouterr().err


def test_nights_that_nobody_scored_are_not_learned_from(settings, tmp_path, capsys):
    for subject, label in (("P1", -1), ("P2", 0)):
        np.savez(tmp_path / f"{subject}.npz", x=np.ones((5, 500)), y=np.full(5, label), fs=100.0)
    own = {"data_dir": str(tmp_path), "subject_pattern": "(P.)", "test_subjects": [], "validation_subjects": ["P2"]}
    assert train(settings | own, tmp_path) == 2
    assert "expected scored epochs in the nights to learn from, found none" in capsys.readouterr().err


def test_a_training_does_not_go_on_with_other_settings(settings, tmp_path, capsys):
    settings |= {"num_train_epochs": 1}
    assert train(settings, tmp_path) == 0
    capsys.readouterr()
    assert train(settings | {"test_subjects": ["SC401"], "validation_subjects": ["SC402"]}, tmp_path) == 2
    err = capsys.readouterr().err.strip().splitlines()
    assert len(err) == 1
    assert "begun with other settings (test_subjects, validation_subjects)" in err[0]


def test_the_published_sequence_model_trains_on_centre_labels(settings, tmp_path):
    model = settings["model"] | {"sequence_length": 3, "label_mode": "center"}
    assert train(settings | {"model": model, "num_train_epochs": 1}, tmp_path) == 0
    assert load_stager(tmp_path / "run").model.config.label_mode == "center"


def test_anchored_scaling_learns_its_profile_from_the_training_subjects_alone(settings, tmp_path, simulated_nights):
    assert train(settings | {"feature_extractor": {"scaling": "anchored"}, "num_train_epochs": 1}, tmp_path) == 0
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path / "run")
    expected = SleepViTFeatureExtractor(scaling="anchored")
    unscaled = SleepViTFeatureExtractor(scaling="none")
    expected.fit_profile(night.input_values for night in read_npz_nights(simulated_nights, unscaled, ["SC400"]))
    assert extractor.row_profile == expected.row_profile
    assert extractor.row_spread == expected.row_spread


def test_an_unknown_subject_is_a_matter_of_the_data_also_where_the_scaling_is_learned(settings, tmp_path, capsys):
    assert train(settings | {"feature_extractor": {"scaling": "anchored"}, "test_subjects": ["SC4O2"]}, tmp_path) == 2
    assert capsys.readouterr().err.startswith(f"sleepvit: error: {settings['data_dir']}: no night of the subjects")


def test_a_checkpoint_that_cannot_read_the_nights_is_refused(simulated_nights, tiny_checkpoints, tmp_path):
    arguments = [str(tiny_checkpoints["two channels"]), str(simulated_nights), "--output", str(tmp_path)]
    with pytest.raises(SettingError, match=r"SC4001E0: holds 1 channels.*expected num_channels 2"):
        evaluate_checkpoint.main(arguments)
    assert not list(tmp_path.iterdir())


def test_a_missing_or_broken_settings_file_ends_with_one_line(tmp_path, capsys):
    assert main(["train", str(tmp_path / "absent.json")]) == 2
    (tmp_path / "broken.json").write_text("{")
    assert main(["train", str(tmp_path / "broken.json")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 2


class TestPreparedDatasets:
    """Training on what `sleepvit prepare` made."""

    @pytest.fixture
    def prepared(self, simulated_nights, tiny_checkpoints, tmp_path):
        arguments = ["--fractions", "0.34,0.33,0.33", "--model", str(tiny_checkpoints["sequence"])]
        assert main(["prepare", "npz", str(simulated_nights), "--output", str(tmp_path / "prepared"), *arguments]) == 0
        return tmp_path / "prepared"

    @pytest.fixture
    def fine_tuning(self, settings, prepared, tiny_checkpoints):
        """A checkpoint, a prepared dataset and its splits: nothing else need be said."""
        without = ("model", "test_subjects", "validation_subjects")
        settings = {name: value for name, value in settings.items() if name not in without}
        return settings | {
            "data_dir": str(prepared),
            "model_name_or_path": str(tiny_checkpoints["sequence"]),
            "num_train_epochs": 1,
        }

    def run(self, settings, tmp_path):
        path = tmp_path / "settings.json"
        path.write_text(json.dumps(settings))
        return main(["train", str(path)])

    def test_a_checkpoint_is_fine_tuned_on_a_prepared_dataset(self, fine_tuning, tmp_path, tiny_checkpoints):
        assert self.run(fine_tuning, tmp_path) == 0
        tuned, begun_with = load_stager(tmp_path / "run"), load_stager(tiny_checkpoints["sequence"])
        assert tuned.feature_extractor.to_dict() == begun_with.feature_extractor.to_dict()
        assert tuned.model.config.sequence_length == begun_with.model.config.sequence_length
        moved = [
            float((after - before).detach().abs().max())
            for after, before in zip(tuned.model.parameters(), begun_with.model.parameters(), strict=True)
        ]
        assert 0 < max(moved) < 1, "the weights are not those of the checkpoint, moved"

    def test_a_dataset_that_is_split_is_learned_from_as_it_is_split(self, prepared):
        train, validation = read_splits(DataArguments(data_dir=str(prepared)), SleepViTFeatureExtractor())
        (split,) = Splits.from_json(prepared / "splits.json")
        assert {night.subject for night in train} == set(split.train)
        assert {night.subject for night in validation} == set(split.validation)

    def test_a_dataset_in_one_piece_is_split_by_a_file(self, simulated_nights, tmp_path):
        folds = leave_one_subject_out(["SC400", "SC401", "SC402"], n_validation=1, seed=0)
        folds.to_json(tmp_path / "folds.json")
        assert main(["prepare", "npz", str(simulated_nights), "--output", str(tmp_path / "whole")]) == 0
        for data_dir in (tmp_path / "whole", simulated_nights):
            data_args = DataArguments(data_dir=str(data_dir), splits=str(tmp_path / "folds.json"), fold="SC401")
            train, validation = read_splits(data_args, SleepViTFeatureExtractor())
            split = folds.named("SC401")
            assert {night.subject for night in train} == set(split.train)
            assert {night.subject for night in validation} == set(split.validation)

    def test_every_epoch_of_validation_counts_once(self, fine_tuning, prepared, tmp_path):
        assert self.run(fine_tuning, tmp_path) == 0
        state = json.loads((tmp_path / "run" / "trainer_state.json").read_text())
        counted = [entry["eval_n_epochs"] for entry in state["log_history"] if "eval_n_epochs" in entry]
        _, validation = read_splits(DataArguments(data_dir=str(prepared)), SleepViTFeatureExtractor())
        assert counted == [sum(len(night) for night in validation)]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"model": {"hidden_size": 8}}, "brings its own; leave model and single_epoch out"),
            ({"feature_extractor": {"clip_at": 3.0}}, "feature_extractor: "),
            ({"model_name_or_path": None, "feature_extractor": {"clip_at": 3.0}}, "prepared brings its own"),
            ({"model_name_or_path": "nowhere"}, "nowhere: no such folder here"),
            ({"test_subjects": ["SC400"]}, "this dataset is split already; leave splits, test_subjects and valid"),
            ({"splits": "folds.json"}, "this dataset is split already"),
            ({"data_dir": ""}, "no data_dir, which says where the nights lie"),
        ],
    )
    def test_settings_that_contradict(self, fine_tuning, tmp_path, capsys, change, message):
        assert self.run(fine_tuning | change, tmp_path) == 2
        assert message in capsys.readouterr().err

    def test_files_and_lists_contradict(self, settings, tmp_path, capsys):
        assert self.run(settings | {"splits": "folds.json"}, tmp_path) == 2
        assert "splits and lists of subjects: expected one of them, found both" in capsys.readouterr().err

    def test_names_that_do_not_tell_the_person_need_a_pattern(self, simulated_nights, tmp_path):
        for path in simulated_nights.iterdir():
            shutil.copy(path, tmp_path / f"night{path.stem[5]}_of_{path.stem[:5]}.npz")
        with pytest.raises(SettingError, match="set subject_pattern to a regular expression"):
            read_splits(DataArguments(data_dir=str(tmp_path)), SleepViTFeatureExtractor())
        data_args = DataArguments(data_dir=str(tmp_path), subject_pattern="of_(.+).npz", test_subjects=["SC400"])
        train, _ = read_splits(data_args, SleepViTFeatureExtractor())
        assert [night.subject for night in train] == ["SC401", "SC402"] * 2

    def test_rows_of_another_extractor_are_refused(self, fine_tuning, tmp_path, capsys):
        assert self.run(fine_tuning | {"model_name_or_path": embedded_checkpoint()}, tmp_path) == 2
        assert "were not made by the feature extractor of" in capsys.readouterr().err


class TestSettings:
    """Where settings come from."""

    def test_what_pytorch_would_warn_of_is_asked_for_by_the_user_alone(self, settings, tmp_path):
        path = tmp_path / "settings.json"
        del settings["use_cpu"]
        path.write_text(json.dumps(settings))
        _, _, training_args = parse_settings([str(path)])
        assert training_args.dataloader_pin_memory is torch.accelerator.is_available()
        assert training_args.ddp_find_unused_parameters is False
        path.write_text(json.dumps(settings | {"ddp_find_unused_parameters": True}))
        _, _, training_args = parse_settings([str(path), "--dataloader_pin_memory", "true"])
        assert training_args.dataloader_pin_memory is True
        assert training_args.ddp_find_unused_parameters is True

    def test_numbers_are_numbers_however_they_are_written(self, settings, tmp_path):
        path = tmp_path / "settings.json"
        path.write_text(json.dumps(settings | {"learning_rate": 1, "max_steps": 1e1, "warmup_steps": 0.1}))
        _, _, training_args = parse_settings([str(path), "--weight_decay", "0", "--report_to", "tensorboard"])
        assert (training_args.learning_rate, training_args.max_steps) == (1, 10)

    def test_what_is_best_is_told_by_kappa(self, tmp_path):
        flags = ["--data_dir", "nights", "--output_dir", str(tmp_path), "--save_strategy", "best"]
        _, _, training_args = parse_settings(flags)
        assert training_args.metric_for_best_model == "kappa"

    def test_flags_alone(self, tmp_path):
        flags = ["--data_dir", "nights", "--output_dir", str(tmp_path), "--model", '{"hidden_size": 8}', "--use_cpu"]
        model_args, data_args, training_args = parse_settings([*flags, "--test_subjects", "A", "B"])
        assert (model_args.model, data_args.data_dir, data_args.test_subjects) == (
            {"hidden_size": 8},
            "nights",
            ["A", "B"],
        )
        assert training_args.use_cpu
        assert data_args.random_shift is True

    def test_flags_go_before_the_file(self, settings, tmp_path):
        path = tmp_path / "settings.json"
        path.write_text(json.dumps(settings))
        model_args, _, training_args = parse_settings([str(path), "--num_train_epochs", "2", "--seed", "7"])
        assert (training_args.num_train_epochs, training_args.seed) == (2, 7)
        assert training_args.learning_rate == settings["learning_rate"]
        assert model_args.model == settings["model"]

    def test_without_data_there_is_nothing_to_do(self):
        with pytest.raises(SettingError, match="settings: no data_dir, which says where the nights lie"):
            parse_settings([])

    def test_an_unknown_flag_is_told_with_the_one_that_was_meant(self):
        with pytest.raises(SettingError, match="there is no flag --learning_rat; expected --learning_rate"):
            parse_settings(["--data_dir", "nights", "--learning_rat", "1e-4"])

"""Fine-tuning on nights of another laboratory: the feature extractor learns their usual spectrum from them alone."""

import json
import shutil

import numpy as np
import pytest

from dataset_builders.npz_nights import read_npz_nights
from modeling_sleepvit import SleepViTFeatureExtractor
from train_scripts.cli import main
from train_scripts.training_nights import make_feature_extractor
from train_scripts.training_settings import DataArguments, ModelArguments

from .conftest import train


def fitted(nights, subjects) -> SleepViTFeatureExtractor:
    extractor = SleepViTFeatureExtractor(scaling="anchored")
    extractor.fit_profile(
        night.input_values for night in read_npz_nights(nights, extractor.without_scaling(), subjects)
    )
    return extractor


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, tiny_checkpoints, simulated_nights):
    """A checkpoint whose nights had another spectrum."""
    folder = tmp_path_factory.mktemp("checkpoint") / "anchored"
    shutil.copytree(tiny_checkpoints["sequence"], folder)
    extractor = fitted(simulated_nights, ["SC400"])
    extractor.row_profile = (np.array(extractor.row_profile) + np.linspace(-0.5, 0.5, 20)).tolist()
    extractor.save_pretrained(folder)
    return folder


@pytest.fixture
def tuning(settings, checkpoint):
    without = ("model", "augmentation")
    own = {name: value for name, value in settings.items() if name not in without}
    return own | {"model_name_or_path": str(checkpoint), "num_train_epochs": 1}


def profile_in(folder) -> list[float]:
    return json.loads((folder / "preprocessor_config.json").read_text())["row_profile"]


def test_training_nights_alone_are_learned_from(tuning, tmp_path, checkpoint, simulated_nights):
    assert train(tuning | {"refit_profile": True}, tmp_path) == 0
    assert profile_in(tmp_path / "run") == fitted(simulated_nights, ["SC400"]).row_profile


def test_without_being_asked_the_checkpoint_keeps_its_spectrum(tuning, tmp_path, checkpoint):
    assert train(tuning, tmp_path) == 0
    assert profile_in(tmp_path / "run") == profile_in(checkpoint)


def test_prepared_nights_bring_the_spectrum_of_their_training_subjects(
    tuning, tmp_path, capsys, checkpoint, simulated_nights
):
    source, prepared = tmp_path / "source", tmp_path / "prepared"
    shutil.copytree(simulated_nights, source)
    arguments = [str(source), "--output", str(prepared), "--model", str(checkpoint), "--refit-profile"]
    assert main(["prepare", "npz", *arguments, "--fractions", "0.34,0.33,0.33"]) == 0
    splits = json.loads((prepared / "splits.json").read_text())
    (learned_from,) = splits["splits"][0]["train"]
    expected = fitted(simulated_nights, [learned_from]).row_profile
    assert profile_in(prepared) == expected

    own = {name: value for name, value in tuning.items() if not name.endswith("_subjects")}
    assert train(own | {"data_dir": str(prepared)}, tmp_path) == 0
    assert profile_in(tmp_path / "run") == expected
    assert train(own | {"data_dir": str(prepared), "refit_profile": True}, tmp_path) == 2
    assert "prepare them anew with --refit-profile" in capsys.readouterr().err

    # what is added later is scaled like the others
    with np.load(source / f"{learned_from}1E0.npz") as night:
        np.savez(source / f"{learned_from}3E0.npz", x=night["x"][::-1] * 2 + 1, y=night["y"][::-1], fs=100.0)
    assert main(["prepare", "npz", *arguments, "--splits", str(prepared / "splits.json")]) == 0
    assert profile_in(prepared) == expected
    assert len(list(prepared.glob("data/*/*.parquet"))) == 7


def sample_slowly(nights, names) -> None:
    for name in names:
        with np.load(nights / f"{name}.npz") as night:
            arrays = {"x": night["x"][:, ::2], "y": night["y"], "fs": 50.0}
        np.savez(nights / f"{name}.npz", **arrays)


def test_a_night_at_fifty_hz_is_learned_from_with_the_others(settings, tmp_path, capsys, simulated_nights):
    nights = tmp_path / "nights"
    shutil.copytree(simulated_nights, nights)
    sample_slowly(nights, ["SC4001E0"])
    settings |= {"data_dir": str(nights), "feature_extractor": {"scaling": "anchored"}, "num_train_epochs": 1}
    assert train(settings, tmp_path) == 0
    assert profile_in(tmp_path / "run") == fitted(nights, ["SC400"]).row_profile

    sample_slowly(nights, ["SC4002E0"])
    assert train(settings | {"output_dir": str(tmp_path / "slow")}, tmp_path) == 2
    assert f"{nights}: fit_profile needs a night with a signal from 24 to 32 Hz, found none" in capsys.readouterr().err
    lower = {"scaling": "anchored", "row_widths_hz": [1] * 16 + [4] * 2}
    extractor = make_feature_extractor(
        ModelArguments(feature_extractor=lower), DataArguments(str(nights), test_subjects=["SC401", "SC402"])
    )
    assert len(extractor.row_profile) == 18, "the way out that the sentence names"


def test_what_cannot_be_refitted_is_refused(tuning, tmp_path, capsys, tiny_checkpoints, simulated_nights):
    fresh = {name: value for name, value in tuning.items() if name != "model_name_or_path"}
    assert train(fresh | {"refit_profile": True}, tmp_path) == 2
    assert "expected a model_name_or_path and nights whose rows are not scaled yet; leave it out" in (
        capsys.readouterr().err
    )
    robust = str(tiny_checkpoints["sequence"])
    assert train(tuning | {"refit_profile": True, "model_name_or_path": robust}, tmp_path) == 2
    assert "refit_profile: expected scaling 'anchored', found 'robust'; leave it out" in capsys.readouterr().err
    arguments = [str(simulated_nights), "--output", str(tmp_path / "prepared"), "--model", robust, "--refit-profile"]
    assert main(["prepare", "npz", *arguments]) == 2
    assert "--refit-profile: expected scaling 'anchored', found 'robust'; leave it out" in capsys.readouterr().err

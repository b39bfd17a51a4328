"""What all builders share, tried on a small cohort."""

from pathlib import Path

import numpy as np
import pytest
from datasets import ClassLabel

from dataset_builders.cohort import Cohort
from dataset_builders.npz_nights import NpzNights
from modeling_sleepvit import SleepViTFeatureExtractor
from modeling_sleepvit.errors import DatasetError, SleepViTError


@pytest.fixture
def folder(tmp_path, write_scored_edf):
    for stem in ("P1_n1", "P1_n2", "P2_n1"):
        write_scored_edf(tmp_path / "cohort", stem)
    return tmp_path / "cohort"


@pytest.fixture
def cohort(folder, tmp_path):
    def make(**settings):
        defaults = {
            "subject_pattern": "(P[0-9])",
            "feature_extractor": SleepViTFeatureExtractor(),
            "cache_dir": str(tmp_path / "cache"),
        }
        return Cohort(folder=folder, **{**defaults, **settings})

    return make


def columns_of(builder, split="train"):
    return builder.as_dataset(split=split).with_format("numpy")[:]


@pytest.mark.parametrize("num_proc", [None, 2])
def test_rows_come_in_the_order_of_the_nights(cohort, num_proc):
    builder = cohort()
    builder.download_and_prepare(num_proc=num_proc)
    dataset = builder.as_dataset(split="train")
    assert dataset.features["label"] == ClassLabel(names=["W", "N1", "N2", "N3", "R"])
    assert dataset.features["input_values"].shape == (1, 20, 30)
    columns = columns_of(builder)
    assert columns["recording"].tolist() == ["P1_n1"] * 8 + ["P1_n2"] * 8 + ["P2_n1"] * 8
    assert columns["subject"].tolist() == ["P1"] * 16 + ["P2"] * 8
    assert columns["epoch"].tolist() == list(range(8)) * 3
    assert columns["label"].tolist() == [0, 1, 2, 2, 3, 4, 2, 0] * 3
    nights = {night.recording: night.read(builder.settings).input_values for night in builder.nights()}
    np.testing.assert_array_equal(columns["input_values"], np.concatenate(list(nights.values())))


def test_a_night_that_cannot_be_prepared_is_named_and_the_finished_ones_are_kept(cohort, folder):
    (folder / "P1_n2.csv").write_text("stage\nW\nN7\n")
    builder = cohort()
    with pytest.raises(SleepViTError, match=r"P1_n2\.csv"):
        builder.download_and_prepare()
    assert [path.name for path in builder.unfinished.iterdir()] == ["P1_n1.parquet"]
    finished = builder.unfinished / "P1_n1.parquet"
    before = finished.stat().st_mtime_ns
    with pytest.raises(SleepViTError, match=r"P1_n2\.csv"):
        builder.download_and_prepare()
    assert finished.stat().st_mtime_ns == before, "prepared twice"
    builder = cohort(exclude=["P1_n2"])
    builder.download_and_prepare()
    assert len(builder.as_dataset(split="train")) == 16
    assert not builder.unfinished.exists()


def test_another_content_of_the_folder_is_another_dataset(cohort, folder):
    cohort().download_and_prepare()
    (folder / "P2_n1.csv").write_text("stage\n" + "N3\n" * 8)
    builder = cohort()
    builder.download_and_prepare()
    assert columns_of(builder)["label"][-8:].tolist() == [3] * 8


def test_another_content_of_a_table_and_of_files_elsewhere_is_another_dataset(folder, tmp_path):
    table = tmp_path / "pairs.csv"
    settings = {
        "feature_extractor": SleepViTFeatureExtractor(),
        "cache_dir": str(tmp_path / "cache"),
        "table": str(table),
    }
    elsewhere = tmp_path / "elsewhere.csv"
    elsewhere.write_text("stage\n" + "N2\n" * 8)
    table.write_text(f"recording,scoring,subject\nP1_n1.edf,{elsewhere},A\n")
    Cohort(folder=folder, **settings).download_and_prepare()
    table.write_text(f"recording,scoring,subject\nP1_n1.edf,{elsewhere},B\n")
    elsewhere.write_text("stage\n" + "N3\n" * 8)
    builder = Cohort(folder=folder, **settings)
    builder.download_and_prepare()
    assert set(columns_of(builder)["subject"]) == {"B"}
    assert set(columns_of(builder)["label"]) == {3}


def test_splits_by_subject(cohort):
    builder = cohort(parts={"train": ["P2"], "test": ["P1"]})
    builder.download_and_prepare()
    assert set(builder.as_dataset()) == {"train", "test"}
    assert set(columns_of(builder, "train")["subject"]) == {"P2"}
    assert set(columns_of(builder, "test")["subject"]) == {"P1"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"parts": {"train": ["P1", "P2"], "test": ["P1"]}}, "P1"),
        (
            {"parts": {"train": ["P1_n1", "P1_n2"]}, "subject_pattern": None},
            "expected to be told which recordings are",
        ),
        ({"parts": {"train": ["P1"]}}, "P2"),
        ({"parts": {"training": ["P1", "P2"]}}, "the split 'training' is unknown: expected train, validation, test"),
        ({"subjects": ["P3"]}, "expected the subjects P3, found none of that name"),
        ({"exclude": ["P9_n1"]}, "expected the recordings P9_n1, found none"),
        ({"subjects": ["P2"], "exclude": ["P2_n1"]}, "expected recordings to prepare, found none"),
        ({"trim": "hour"}, "the trim rule 'hour' is unknown"),
        ({"feature_extractor": "no/where/to/be/found"}, "no such folder here: expected a folder with a SleepViT"),
        ({"feature_extractor": Path(__file__).parent}, "expected a checkpoint with preprocessor_config.json"),
        ({"feature_extractor": {"scaling": "anchored"}}, "scaling 'anchored' without a profile"),
    ],
)
def test_settings_that_cannot_be_used(cohort, settings, message):
    with pytest.raises(SleepViTError, match=message):
        cohort(**settings).nights_by_part()


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DatasetError, match="nowhere: expected the folder that holds the recordings"):
        Cohort(folder=tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="expected the folder"):
        Cohort()


def test_the_extractor_is_that_of_the_embedded_checkpoint_unless_told(cohort):
    assert cohort(feature_extractor=None).settings.feature_extractor.scaling == "anchored"
    assert cohort().settings.feature_extractor.scaling == "robust"


class TestNpz:
    def test_nights_of_short_epochs(self, tmp_path):
        rng = np.random.default_rng(0)
        for name, labels in (("SC4001E0", [0, 1, -1]), ("SC4011E0", [4])):
            np.savez(tmp_path / f"{name}.npz", x=rng.normal(size=(len(labels), 500)), y=labels, fs=100)
        builder = NpzNights(folder=tmp_path, cache_dir=str(tmp_path / "cache"))
        builder.download_and_prepare()
        columns = columns_of(builder)
        assert columns["input_values"].shape == (4, 1, 20, 5)
        assert columns["label"].tolist() == [0, 1, -1, 4]
        assert columns["scored"].tolist() == [True, True, False, True]
        assert columns["subject"].tolist() == ["SC400"] * 3 + ["SC401"]

    def test_nights_of_another_shape_are_refused_by_name(self, tmp_path):
        np.savez(tmp_path / "SC4001E0.npz", x=np.ones((2, 500)), y=[0, 1], fs=100)
        np.savez(tmp_path / "SC4011E0.npz", x=np.ones((2, 1000)), y=[0, 1], fs=100)
        builder = NpzNights(folder=tmp_path, cache_dir=str(tmp_path / "cache"))
        with pytest.raises(DatasetError, match=r"SC4011E0\.npz: expected epochs of shape \(1, 20, 5\)"):
            builder.download_and_prepare()

    def test_what_the_files_have_settled_cannot_be_chosen(self, tmp_path):
        with pytest.raises(DatasetError, match="trim does not apply to NpzNights"):
            NpzNights(folder=tmp_path, trim="none")

    def test_a_pattern_for_the_subject(self, tmp_path):
        np.savez(tmp_path / "sub-07_night-2.npz", x=np.ones((2, 500)), y=[0, 1], fs=100)
        (night,) = NpzNights(folder=tmp_path, subject_pattern="sub-([0-9]+)").nights()
        assert (night.subject, night.recording) == ("07", "sub-07_night-2")
        for pattern, message in (("(P.)", "does not fit this name"), ("sub", "one group"), ("(", "cannot be used")):
            with pytest.raises(DatasetError, match=message):
                NpzNights(folder=tmp_path, subject_pattern=pattern).nights()

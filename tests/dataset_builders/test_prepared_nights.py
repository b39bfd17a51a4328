"""Prepared datasets as nights and sequences, and as food for the Trainer."""

import numpy as np
import pytest
import torch
from datasets import load_dataset
from transformers import Trainer, TrainingArguments

from dataset_builders.cohort import Cohort
from dataset_builders.prepared_folder import prepare_folder
from dataset_builders.prepared_nights import nights_of_dataset, read_prepared_nights
from dataset_builders.sequences import EpochSequences
from modeling_sleepvit import (
    SleepViTConfig,
    SleepViTFeatureExtractor,
    SleepViTForAudioClassification,
    SleepViTForAudioFrameClassification,
    SleepViTSequenceConfig,
)
from modeling_sleepvit.errors import DatasetError

from ..conftest import TINY


STAGES = ["W", "N1", "UNS", "N2", "N3", "R", "N2", "W"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, write_scored_edf):
    """Three nights of eight epochs, one of them not scored."""
    root = tmp_path_factory.mktemp("cohort")
    for stem in ("a", "b", "c"):
        write_scored_edf(root / "edf", stem, STAGES)
    prepare_folder(Cohort(folder=root / "edf", feature_extractor=SleepViTFeatureExtractor()), root / "out")
    return root / "out"


@pytest.fixture
def dataset(folder, tmp_path):
    return load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))


def test_datasets_of_one_name_are_not_taken_for_each_other(tmp_path, write_scored_edf):
    extractor = SleepViTFeatureExtractor()
    for stem, stages in (("a", ["W", "N2", "N3"]), ("b", ["R", "N1", "W", "W"])):
        write_scored_edf(tmp_path / stem / "edf", stem, stages)
        prepare_folder(Cohort(folder=tmp_path / stem / "edf", feature_extractor=extractor), tmp_path / stem / "out")

    def recordings(stem) -> dict[str, int]:
        cached = load_dataset(str(tmp_path / stem / "out"), split="train", cache_dir=str(tmp_path / "cache"))
        return {night.recording: len(night) for night in nights_of_dataset(cached)}

    assert recordings("a") == {"a": 3}
    assert recordings("b") == {"b": 4}
    write_scored_edf(tmp_path / "a" / "edf", "c", ["N2", "N2"])  # somebody new in a dataset that was loaded before
    prepare_folder(Cohort(folder=tmp_path / "a" / "edf", feature_extractor=extractor), tmp_path / "a" / "out")
    assert recordings("a") == {"a": 3, "c": 2}
    nights = read_prepared_nights(tmp_path / "a" / "out")["train"]
    assert [night.recording for night in nights] == ["a", "c"]


def test_nights_are_found_and_their_values_stay_on_disk(dataset):
    nights = nights_of_dataset(dataset)
    assert [(night.recording, night.subject, len(night)) for night in nights] == [
        ("a",) * 2 + (8,),
        ("b",) * 2 + (8,),
        ("c",) * 2 + (8,),
    ]
    assert nights[1].labels.tolist() == [0, 1, -100, 2, 3, 4, 2, 0]
    values = nights[1].input_values
    assert not isinstance(values, np.ndarray)
    assert values.shape == (8, 1, 20, 30)
    expected = np.asarray(dataset.with_format("numpy")[8:16]["input_values"])
    np.testing.assert_array_equal(values[2:5], expected[2:5])
    np.testing.assert_array_equal(values[-1], expected[7])
    assert values[6:100].shape[0] == 2
    assert values[5:5].shape == (0, 1, 20, 30)


def test_order_does_not_matter(dataset):
    straight = nights_of_dataset(dataset)
    shuffled = nights_of_dataset(dataset.shuffle(seed=1))
    for one, other in zip(straight, shuffled, strict=True):
        assert (one.recording, one.labels.tolist()) == (other.recording, other.labels.tolist())
        np.testing.assert_array_equal(one.input_values[:], other.input_values[:])


def test_a_gap_ends_a_night(dataset):
    nights = nights_of_dataset(dataset.filter(lambda scored: scored, input_columns="scored"))
    assert [len(night) for night in nights] == [2, 5] * 3
    assert [night.first_epoch for night in nights] == [0, 3] * 3
    assert nights[1].first_onset_s == 90


@pytest.mark.parametrize("stride", [1, 3])
def test_windows_never_cross_a_recording(dataset, stride):
    nights = nights_of_dataset(dataset)
    of_epoch = {value.tobytes(): night for night in nights for value in night.input_values[:]}
    sequences = EpochSequences(nights, sequence_length=3, stride=stride)
    masks = [window["attention_mask"].tolist() for window in sequences]
    assert masks == 3 * ([[1, 1, 1]] * 6 if stride == 1 else [[1, 1, 1], [1, 1, 1], [1, 1, 0]])
    for window in sequences:
        epochs = window["input_values"][window["attention_mask"].bool()]
        assert len({id(of_epoch[value.numpy().tobytes()]) for value in epochs}) == 1


def test_a_night_shorter_than_the_window_is_padded_and_masked(dataset):
    window = EpochSequences(nights_of_dataset(dataset)[:1], sequence_length=10)[0]
    assert window["attention_mask"].tolist() == [1] * 8 + [0] * 2
    assert window["labels"].tolist() == [0, 1, -100, 2, 3, 4, 2, 0, -100, -100]
    assert window["input_values"].shape == (10, 1, 20, 30)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.remove_columns("onset_s"), "no column onset_s"),
        (lambda rows: rows.select([0, 1, 1]), "epoch 1 of a stands in the dataset twice"),
        (lambda rows: rows.cast_column("label", rows.features["epoch"]), "expected the stages W, N1, N2, N3, R"),
    ],
)
def test_what_is_no_such_dataset(dataset, change, message):
    with pytest.raises(DatasetError, match=message):
        nights_of_dataset(change(dataset))


def test_a_streamed_dataset_cannot_be_searched_for_nights(folder):
    with pytest.raises(DatasetError, match="loaded, not streamed, found IterableDataset"):
        nights_of_dataset(load_dataset(str(folder), split="train", streaming=True))


def test_an_unfinished_folder_is_named(tmp_path):
    (tmp_path / "preparation.json").write_text("{}")
    with pytest.raises(DatasetError, match="this dataset is not finished; run sleepvit prepare once more"):
        read_prepared_nights(tmp_path)


def test_a_folder_that_is_no_dataset_is_named(tmp_path):
    with pytest.raises(DatasetError, match="expected a folder that sleepvit prepare made"):
        read_prepared_nights(tmp_path)


class TestTrainer:
    """One step of the Trainer on what came out of the folder."""

    def step(self, tmp_path, model, dataset, **arguments):
        before = {name: value.clone() for name, value in model.named_parameters()}
        arguments = TrainingArguments(
            str(tmp_path / "run"),
            max_steps=1,
            per_device_train_batch_size=4,
            learning_rate=0.1,
            report_to="none",
            use_cpu=True,
            **arguments,
        )
        result = Trainer(model, arguments, train_dataset=dataset).train()
        assert np.isfinite(result.training_loss)
        assert any(not torch.equal(before[name], value) for name, value in model.named_parameters())

    @pytest.mark.parametrize("is_streamed", [False, True])
    def test_epochs_go_in_as_they_are_loaded(self, folder, tmp_path, is_streamed):
        dataset = load_dataset(str(folder), split="train", streaming=is_streamed, cache_dir=str(tmp_path / "cache"))
        dataset = dataset.filter(lambda scored: scored, input_columns="scored").with_format("torch")
        dataset = dataset.shuffle(seed=0, buffer_size=8) if is_streamed else dataset.shuffle(seed=0)
        model = SleepViTForAudioClassification(SleepViTConfig(**TINY, num_channels=1))
        self.step(tmp_path, model, dataset)

    def test_sequences_go_in(self, folder, tmp_path):
        sequences = EpochSequences(read_prepared_nights(folder)["train"], sequence_length=4, stride=1)
        config = SleepViTSequenceConfig(**TINY, epoch_config={**TINY, "num_channels": 1}, sequence_length=4)
        self.step(tmp_path, SleepViTForAudioFrameClassification(config), sequences, dataloader_num_workers=1)

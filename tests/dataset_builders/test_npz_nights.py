"""Reading npz nights, real ones where they are at hand, and cutting them into sequences."""

import numpy as np
import pytest
import torch

from dataset_builders.night_rows import NightRows
from dataset_builders.npz_nights import find_npz_nights, read_npz_nights
from dataset_builders.sequences import CenterSequences, EpochSequences, SingleEpochs
from modeling_sleepvit import SleepViTFeatureExtractor
from modeling_sleepvit.errors import DatasetError


def test_the_real_nights_of_sleep_edf(shared_data):
    folder = shared_data / "sleep-edf-20-5s"
    nights = read_npz_nights(folder, SleepViTFeatureExtractor(), ["SC400", "SC413"])
    assert [night.recording for night in nights] == ["SC4001E0", "SC4002E0", "SC4131E0"]
    assert [night.subject for night in nights] == ["SC400", "SC400", "SC413"]
    assert nights[0].input_values.shape == (841, 1, 20, 5)
    assert np.bincount(np.concatenate([night.labels for night in nights])).shape == (5,)
    assert len({night.subject for night in find_npz_nights(folder)}) == 20


def write_night(path, **arrays):
    defaults = {"x": np.random.default_rng(0).normal(size=(4, 500)), "y": np.array([0, 1, 2, 3]), "fs": 100}
    np.savez(path, **{name: value for name, value in {**defaults, **arrays}.items() if value is not None})


@pytest.mark.parametrize("fs", [100, np.array([100.0]), "100 Hz"])
def test_the_ways_a_rate_is_stored(tmp_path, fs):
    write_night(tmp_path / "SC4001E0.npz", fs=fs, y=np.array([0, 1, -1, 3]))
    (night,) = read_npz_nights(tmp_path, SleepViTFeatureExtractor())
    assert night.input_values.shape == (4, 1, 20, 5)
    assert night.labels.tolist() == [0, 1, -100, 3]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": np.array([0, 1])}, r"one y for each epoch, found x \(4, 500, 1\) and y \(2,\)"),
        ({"y": np.array([0, 1, 5, 2])}, "epoch 2 has the label 5, expected 0 to 4"),
        ({"x": np.full((4, 500), np.nan)}, "epoch 0 holds values that are not finite"),
        ({"x": np.zeros((4, 520))}, "whole seconds per epoch, found: 520 samples"),
        ({"fs": None}, "sampling_rate is required"),
        ({"y": None}, "expected an npz night with x, y and fs"),
        ({"y": np.eye(4)}, r"one y for each epoch, found x \(4, 500, 1\) and y \(4, 4\)"),
        ({"y": np.array([0, 1, np.nan, 2])}, "expected numbers in x and whole ones in y"),
        ({"y": np.array(["W", "W", "R", "R"])}, "expected numbers in x and whole ones in y"),
        ({"x": np.zeros((0, 500)), "y": np.zeros(0)}, "one y for each epoch"),
    ],
)
def test_a_file_that_does_not_fit_is_named(tmp_path, arrays, message):
    write_night(tmp_path / "SC4001E0.npz", **arrays)
    with pytest.raises(DatasetError, match=rf"SC4001E0\.npz: .*{message}"):
        read_npz_nights(tmp_path, SleepViTFeatureExtractor())


def test_a_file_that_is_no_npz_and_an_empty_folder_are_named(tmp_path):
    with pytest.raises(DatasetError, match="expected npz nights"):
        read_npz_nights(tmp_path, SleepViTFeatureExtractor())
    (tmp_path / "SC4001E0.npz").write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(DatasetError, match=r"SC4001E0\.npz"):
        read_npz_nights(tmp_path, SleepViTFeatureExtractor())


def night(n_epochs: int, subject: str = "S1", first: int = 0) -> NightRows:
    """A night whose rows hold the number of their epoch."""
    epochs = np.arange(first, first + n_epochs)
    rows = np.broadcast_to(epochs[:, None, None, None], (n_epochs, 1, 4, 2)).astype(np.float32)
    return NightRows(subject, f"{subject}-{first}", rows.copy(), (epochs % 5).astype(np.int64))


def epochs_of(example) -> list[int]:
    return example["input_values"][example["attention_mask"].bool(), 0, 0, 0].int().tolist()


def test_windows_cover_every_epoch_and_never_cross_a_recording():
    windows = EpochSequences([night(10), night(7, "S2", first=100)], sequence_length=4)
    seen = [epochs_of(windows[index]) for index in range(len(windows))]
    assert seen == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9], [100, 101, 102, 103], [104, 105, 106]], "not every epoch once"
    for index in range(len(windows)):
        example = windows[index]
        labels = [epoch % 5 for epoch in epochs_of(example)]
        assert example["labels"].tolist() == labels + [-100] * (4 - len(labels))


def test_windows_that_make_no_sense_are_refused():
    for length, stride in ((0, None), (4, 0), (4, -1)):
        with pytest.raises(ValueError, match="must be 1 or more"):
            EpochSequences([night(10)], length, stride)
    for dataset in (lambda: EpochSequences([], 4), lambda: SingleEpochs([])):
        with pytest.raises(ValueError, match="at least one night"):
            dataset()


def test_a_night_shorter_than_a_window_is_padded_and_masked():
    (example,) = [EpochSequences([night(3)], sequence_length=5)[0]]
    assert example["attention_mask"].tolist() == [1, 1, 1, 0, 0]
    assert example["labels"].tolist() == [0, 1, 2, -100, -100]
    assert example["input_values"].shape == (5, 1, 4, 2)


def test_random_shifts_move_windows_inside_their_night():
    torch.manual_seed(0)
    windows = EpochSequences([night(20), night(3, "S2", first=100)], sequence_length=8, random_shift=True)
    starts = {epochs_of(windows[1])[0] for _ in range(50)}
    assert len(starts) > 3
    for index in list(range(len(windows))) * 20:
        window = epochs_of(windows[index])
        assert window == list(range(window[0], window[0] + len(window)))
        assert len(window) in (8, 3)


def test_single_epochs_count_through_the_nights():
    epochs = SingleEpochs([night(3), night(2, "S2", first=100)], transform=lambda rows, night: rows + 0.5)
    assert [epochs[index]["input_values"][0, 0, 0].item() for index in range(len(epochs))] == [
        0.5, 1.5, 2.5, 100.5, 101.5,
    ]  # fmt: skip
    assert [epochs[index]["labels"].item() for index in range(5)] == [0, 1, 2, 0, 1]


def test_every_epoch_stands_once_in_the_middle_of_its_neighbours():
    windows = CenterSequences([night(4), night(1, "S2", first=100)], sequence_length=3)
    assert [epochs_of(windows[index]) for index in range(5)] == [[0, 1], [0, 1, 2], [1, 2, 3], [2, 3], [100]]
    assert [windows[index]["attention_mask"].tolist() for index in (0, 3, 4)] == [[0, 1, 1], [1, 1, 0], [0, 1, 0]]
    assert [windows[index]["labels"].item() for index in range(5)] == [0, 1, 2, 3, 0]

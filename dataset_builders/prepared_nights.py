"""Prepared datasets read back as nights, whose epochs stay on disk until they are asked for."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from datasets import ClassLabel, Dataset, load_dataset
from datasets.exceptions import DatasetGenerationError

from modeling_sleepvit.errors import DatasetError
from modeling_sleepvit.hypnogram import EPOCH_SECONDS
from modeling_sleepvit.stages import IGNORED_ID, STAGES

from .night_files import row_features
from .night_rows import NightRows


@dataclass(frozen=True)
class StoredRows:
    """The `input_values` or `eog_values` of one night, read from the dataset slice by slice.

    Args:
        dataset: the rows of all nights, in numpy format; it has one column.
        first: position of the night's first row.
        n_epochs: number of its rows.
    """

    dataset: Dataset
    first: int
    n_epochs: int

    @property
    def shape(self) -> tuple[int, ...]:
        """(epochs, channels, rows, frames)."""
        return (self.n_epochs, *self.dataset.features[self.column].shape)

    @property
    def column(self) -> str:
        """Name of the column."""
        return self.dataset.column_names[0]

    def __len__(self) -> int:
        return self.n_epochs

    def __getitem__(self, epochs: int | slice) -> np.ndarray:
        if isinstance(epochs, slice):
            first, last, step = epochs.indices(self.n_epochs)
            if step != 1:
                raise ValueError(f"epochs of a night are read one after the other, found a step of {step}")
            last = max(first, last)
            if first == last:
                return np.empty((0, *self.shape[1:]), dtype=np.float32)
            values = self.dataset[self.first + first : self.first + last][self.column]
        else:
            values = self.dataset[self.first + range(self.n_epochs)[epochs]][self.column]
        return np.array(values, dtype=np.float32)  # a copy: what Arrow maps cannot be written to


def nights_of_dataset(dataset: Dataset) -> list[NightRows]:
    """Find the nights in a dataset of epochs, whatever order its rows are in, without reading their values.

    Args:
        dataset: with the columns of `night_files.row_features`, as the builders and `sleepvit prepare` make it.

    Returns:
        the nights, sorted by name. Where epochs of a night are missing, as after `filter`, the parts before and after
        the gap are nights of their own, so that the rows of each follow one another.

    Raises:
        DatasetError: a column is missing, the stages are not the package's, or an epoch stands in it twice.
    """
    if not isinstance(dataset, Dataset):
        raise DatasetError(
            f"expected one split of a dataset that is loaded, not streamed, found {type(dataset).__name__}."
        )
    expected = row_features((1, 1, 1))
    if missing := sorted(set(expected) - set(dataset.column_names)):
        raise DatasetError(
            f"the dataset has no column {', '.join(missing)}: expected one that the builders or sleepvit prepare made."
        )
    label = dataset.features["label"]
    if not isinstance(label, ClassLabel) or label.names != list(STAGES):
        raise DatasetError(f"the dataset has the labels {label}, expected the stages {', '.join(STAGES)}.")
    index = dataset.select_columns([name for name in expected if name != "input_values"]).with_format("numpy")[:]
    recording, epoch = np.asarray(index["recording"], dtype=str), np.asarray(index["epoch"])
    order = np.lexsort((epoch, recording))
    if not np.array_equal(order, np.arange(len(order))):
        dataset = dataset.select(order)
        index = {name: np.asarray(column)[order] for name, column in index.items()}
        recording, epoch = recording[order], epoch[order]
    stored = {
        name: dataset.select_columns(name).with_format("numpy")
        for name in ("input_values", "eog_values")
        if name in dataset.column_names
    }
    labels = np.where(index["scored"], index["label"], IGNORED_ID).astype(np.int64)

    same_night = recording[1:] == recording[:-1]
    if (twice := np.flatnonzero(same_night & (np.diff(epoch) == 0))).size:
        raise DatasetError(
            f"epoch {epoch[twice[0]]} of {recording[twice[0]]} stands in the dataset twice, expected once; it may "
            "hold two nights of one name."
        )
    starts = np.flatnonzero(np.r_[True, ~(same_night & (np.diff(epoch) == 1))]) if len(recording) else []
    return [
        NightRows(
            subject=str(index["subject"][first]),
            recording=str(recording[first]),
            **{name: StoredRows(column, int(first), int(last - first)) for name, column in stored.items()},
            labels=labels[first:last],
            first_epoch=int(epoch[first]),
            first_onset_s=float(index["onset_s"][first]),
            epoch_seconds=float(index["onset_s"][first + 1] - index["onset_s"][first])
            if last - first > 1
            else EPOCH_SECONDS,
        )
        for first, last in zip(starts, [*starts[1:], len(recording)])
    ]


def is_prepared(folder: str | Path) -> bool:
    """Tell whether a folder is one that `sleepvit prepare` made or began.

    Args:
        folder: any folder.

    Returns:
        whether it is.
    """
    return (Path(folder) / "preparation.json").is_file()


def read_prepared_nights(folder: str | Path) -> dict[str, list[NightRows]]:
    """Read a folder that `sleepvit prepare` made.

    Args:
        folder: holds Parquet files.

    Returns:
        the nights of each split ("train" alone where there is none), sorted by name; their values stay on disk.

    Raises:
        DatasetError: the folder holds no such dataset, or one that is not finished.
    """
    folder = Path(folder)
    if is_prepared(folder) and not (folder / "README.md").is_file():
        raise DatasetError(f"{folder}: this dataset is not finished; run sleepvit prepare once more.")
    try:
        splits = load_dataset(str(folder))
    except (OSError, ValueError, DatasetGenerationError) as error:
        raise DatasetError(f"{folder}: expected a folder that sleepvit prepare made, found: {error}.") from error
    return {part: nights_of_dataset(dataset) for part, dataset in splits.items()}

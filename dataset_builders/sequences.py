"""Sequences of consecutive epochs for training, cut from nights without copying them."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import Dataset

from modeling_sleepvit.stages import IGNORED_ID

from .night_rows import NightRows


Transform = Callable[[torch.Tensor, NightRows], torch.Tensor]
"""Changes the rows of an example, (..., channels, rows, frames), knowing the whole night it comes from."""


class EpochSequences(Dataset):
    """Windows of consecutive epochs that never cross a recording; a night shorter than a window is padded and masked.

    Args:
        nights: rows in night order.
        sequence_length: epochs per window.
        stride: epochs from one window to the next; None stands for `sequence_length`, so that every epoch is seen
            once: the last window of a night is padded and masked.
        random_shift: move every window by up to half a stride at each access, so that a pass over the data never
            shows the same windows again; drawn from PyTorch's global generator, which Trainer saves and restores.
        transform: changes the `input_values` of a window at each access (augmentation); None leaves them.

    Raises:
        ValueError: there is no night, or length or stride is not positive.
    """

    def __init__(
        self,
        nights: Sequence[NightRows],
        sequence_length: int,
        stride: int | None = None,
        random_shift: bool = False,
        transform: Transform | None = None,
    ):
        if not nights:
            raise ValueError("nights must hold at least one night")
        stride = sequence_length if stride is None else stride
        if sequence_length < 1 or stride < 1:
            raise ValueError(f"sequence_length and stride must be 1 or more, found: {sequence_length} and {stride}")
        self.nights = list(nights)
        self.sequence_length = sequence_length
        self.stride = stride
        self.random_shift = random_shift
        self.transform = transform
        self.windows = [
            (night_index, start)
            for night_index, night in enumerate(self.nights)
            # up to the first window that reaches the end of the night
            for start in range(0, max(len(night) - sequence_length, 0) + stride, stride)
        ]

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """Return `input_values` (L, channels, rows, frames), `attention_mask` (L,) and `labels` (L,).

        With EOG also `eog_values` (L, EOG channels, EOG rows, frames).
        """
        night_index, start = self.windows[index]
        night = self.nights[night_index]
        if self.random_shift:
            shift = int(torch.randint(-(self.stride // 2), self.stride // 2 + 1, ()))
            start = min(max(start + shift, 0), max(len(night) - self.sequence_length, 0))
        epochs = slice(start, start + self.sequence_length)
        labels = night.labels[epochs]
        attention_mask = torch.ones(len(labels), dtype=torch.long)
        missing = self.sequence_length - len(labels)
        return {
            **_padded(_inputs(night, epochs, self.transform), 0, missing),
            "attention_mask": functional.pad(attention_mask, (0, missing)),
            "labels": functional.pad(torch.from_numpy(labels), (0, missing), value=IGNORED_ID),
        }


class CenterSequences(Dataset):
    """Every epoch in the middle of its neighbours, with its own label; padded and masked at the ends of a night.

    Args:
        nights: rows in night order.
        sequence_length: epochs per window; the labelled one is epoch sequence_length // 2.
        transform: changes the `input_values` of a window at each access (augmentation); None leaves them.
    """

    def __init__(self, nights: Sequence[NightRows], sequence_length: int, transform: Transform | None = None):
        self.epochs = SingleEpochs(nights)
        self.sequence_length = sequence_length
        self.transform = transform

    def __len__(self) -> int:
        return len(self.epochs)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """Return what `EpochSequences` does, with one label ()."""
        night, center = self.epochs.locate(index)
        first = center - self.sequence_length // 2
        before = max(0, -first)
        after = max(0, first + self.sequence_length - len(night))
        inside = slice(first + before, first + self.sequence_length - after)
        n_inside = self.sequence_length - before - after
        return {
            **_padded(_inputs(night, inside, self.transform), before, after),
            "attention_mask": functional.pad(torch.ones(n_inside, dtype=torch.long), (before, after)),
            "labels": torch.tensor(night.labels[center]),
        }


class SingleEpochs(Dataset):
    """Epochs one by one, for the single-epoch model.

    Args:
        nights: rows in night order.
        transform: changes the `input_values` of an epoch at each access (augmentation); None leaves them.
    """

    def __init__(self, nights: Sequence[NightRows], transform: Transform | None = None):
        if not nights:
            raise ValueError("nights must hold at least one night")
        self.nights = list(nights)
        self.transform = transform
        self.ends = np.cumsum([len(night) for night in self.nights])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """Return `input_values` (channels, rows, frames), with EOG also `eog_values`, and `labels` ()."""
        night, epoch = self.locate(index)
        return {**_inputs(night, epoch, self.transform), "labels": torch.tensor(night.labels[epoch])}

    def locate(self, index: int) -> tuple[NightRows, int]:
        """Find the night an example comes from and its epoch there."""
        night_index = int(np.searchsorted(self.ends, index, side="right"))
        night = self.nights[night_index]
        return night, index - int(self.ends[night_index]) + len(night)


def _inputs(night: NightRows, epochs: slice | int, transform: Transform | None) -> dict[str, torch.Tensor]:
    inputs = {name: torch.from_numpy(values[epochs]) for name, values in night.inputs.items()}
    if transform is not None:
        inputs["input_values"] = transform(inputs["input_values"], night)
    return inputs


def _padded(inputs: dict[str, torch.Tensor], before: int, after: int) -> dict[str, torch.Tensor]:
    return {name: functional.pad(values, (0, 0) * 3 + (before, after)) for name, values in inputs.items()}

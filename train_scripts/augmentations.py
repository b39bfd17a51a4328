"""Random changes of spectrogram rows during training, in units of the rows' robust standard deviation."""

from dataclasses import dataclass

import numpy as np
import torch

from modeling_sleepvit.feature_extraction_sleepvit import robust_statistics


@dataclass
class RowAugmentation:
    """Adds noise to robust-scaled log-power rows, where a factor on the signal's amplitude is a shift of the rows.

    Args:
        value_noise: standard deviation of noise on every single value.
        epoch_offset: standard deviation of a shift common to all rows of an epoch: the amplitude of one epoch.
        row_offset: standard deviation of a shift of each row that holds for the whole sequence: another montage,
            amplifier or filter.
        gain: standard deviation, around 1, of a factor on a whole sequence: another spread of the night's rows.
        part_of_night: share of the examples that are scaled anew, by the median and spread of a random part of their
            night instead of all of it: the rows of a night depend on how much of each stage it holds.
    """

    value_noise: float = 0.0
    epoch_offset: float = 0.0
    row_offset: float = 0.0
    gain: float = 0.0
    part_of_night: float = 0.0

    def __call__(self, input_values: torch.Tensor, night: np.ndarray) -> torch.Tensor:
        """Change one training example at random, drawing from PyTorch's global generator.

        Args:
            input_values: (epochs, channels, rows, frames) of a sequence, or (channels, rows, frames) of one epoch.
            night: (epochs, channels, rows, frames), all rows of the night they come from.

        Returns:
            the changed rows, of the same shape.
        """
        *epochs, channels, rows, frames = input_values.shape
        changed = input_values
        if self.part_of_night and torch.rand(()) < self.part_of_night:
            median, spread = robust_statistics(random_part(night))
            changed = (changed - torch.from_numpy(median)[..., None]) / torch.from_numpy(spread)[..., None]
        if self.gain:
            changed = changed * (1 + self.gain * torch.randn(()))
        for spread, shape in (
            (self.value_noise, (*epochs, channels, rows, frames)),
            (self.epoch_offset, (*epochs, channels, 1, 1)),
            (self.row_offset, (channels, rows, 1)),
        ):
            if spread:
                changed = changed + spread * torch.randn(shape)
        return changed


def random_part(night: np.ndarray) -> np.ndarray:
    """Cut a random stretch out of a night, between a quarter and all of it long.

    Args:
        night: (epochs, channels, rows, frames).

    Returns:
        every other epoch of the stretch, which is enough for statistics.
    """
    n_epochs = len(night)
    length = max(1, int(n_epochs * (0.25 + 0.75 * torch.rand(()).item())))
    start = int(torch.randint(0, n_epochs - length + 1, ()))
    return night[start : start + length : 2]

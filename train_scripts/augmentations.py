"""Random changes of spectrogram rows during training, in units of the rows' robust standard deviation."""

from dataclasses import dataclass

import torch


@dataclass
class RowAugmentation:
    """Adds noise to robust-scaled log-power rows, where a factor on the signal's amplitude is a shift of the rows.

    Args:
        value_noise: standard deviation of noise on every single value.
        epoch_offset: standard deviation of a shift common to all rows of an epoch: the amplitude of one epoch.
        row_offset: standard deviation of a shift of each row that holds for the whole sequence: another montage,
            amplifier or filter.
        gain: standard deviation, around 1, of a factor on a whole sequence: another spread of the night's rows.
    """

    value_noise: float = 0.0
    epoch_offset: float = 0.0
    row_offset: float = 0.0
    gain: float = 0.0

    def __call__(self, input_values: torch.Tensor) -> torch.Tensor:
        """Change one training example at random, drawing from PyTorch's global generator.

        Args:
            input_values: (epochs, channels, rows, frames) of a sequence, or (channels, rows, frames) of one epoch.

        Returns:
            the changed rows, of the same shape.
        """
        *epochs, channels, rows, frames = input_values.shape
        changed = input_values * (1 + self.gain * torch.randn(())) if self.gain else input_values
        for spread, shape in (
            (self.value_noise, (*epochs, channels, rows, frames)),
            (self.epoch_offset, (*epochs, channels, 1, 1)),
            (self.row_offset, (channels, rows, 1)),
        ):
            if spread:
                changed = changed + spread * torch.randn(shape)
        return changed

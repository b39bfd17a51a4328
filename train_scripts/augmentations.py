"""Random changes of spectrogram rows during training, in units of the rows' robust standard deviation."""

from dataclasses import dataclass

import torch


N_CURVES = 4
LOWEST_CUT = 8
"""Row that a low-pass never goes below: there would be nothing left to stage by."""
BAND_ROWS = 4


@dataclass
class RowAugmentation:
    """Adds noise to robust-scaled log-power rows, where a factor on the signal's amplitude is a shift of the rows.

    Args:
        value_noise: standard deviation of noise on every single value.
        epoch_offset: standard deviation of a shift common to all rows of an epoch: the amplitude of one epoch.
        row_offset: standard deviation of a shift of each row that holds for the whole sequence: another montage,
            amplifier or filter.
        gain: standard deviation, around 1, of a factor on a whole sequence: another spread of the night's rows.
        tilt: standard deviation of each of four smooth curves over the rows, added to a whole sequence: spectral tilt
            and reweighting, as another reference or amplifier brings them.
        low_pass: probability that all rows above a random one, never below the eighth, are 0 for a whole sequence: a
            low-pass filter or a low sampling rate.
        band_drop: probability that four neighbouring rows are 0 for a whole sequence: mains hum or a notch filter.
    """

    value_noise: float = 0.0
    epoch_offset: float = 0.0
    row_offset: float = 0.0
    gain: float = 0.0
    tilt: float = 0.0
    low_pass: float = 0.0
    band_drop: float = 0.0

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
        if self.tilt:
            curves = torch.randn(channels, N_CURVES) @ smooth_curves(rows)  # (channels, rows)
            changed = changed + self.tilt * curves[:, :, None]
        if self.low_pass and torch.rand(()) < self.low_pass:
            first_lost = int(torch.randint(min(LOWEST_CUT, rows - 1), rows, ()))
            changed = without_rows(changed, first_lost, rows)
        if self.band_drop and torch.rand(()) < self.band_drop:
            first_lost = int(torch.randint(0, rows - BAND_ROWS + 1, ()))
            changed = without_rows(changed, first_lost, first_lost + BAND_ROWS)
        return changed


def smooth_curves(n_rows: int) -> torch.Tensor:
    """Make the curves that tilts are sums of: half a period of a cosine over the rows, one, one and a half, two.

    Args:
        n_rows: number of rows.

    Returns:
        (curves, rows), from -1 to 1.
    """
    place = torch.linspace(0, torch.pi, n_rows)
    return torch.cos(torch.arange(1, N_CURVES + 1)[:, None] * place)


def without_rows(input_values: torch.Tensor, first: int, end: int) -> torch.Tensor:
    """Set some rows to 0, which is where the feature extractor puts what it does not know.

    Args:
        input_values: (..., rows, frames).
        first: the first of them.
        end: the row after the last of them.

    Returns:
        a changed copy.
    """
    changed = input_values.clone()
    changed[..., first:end, :] = 0
    return changed

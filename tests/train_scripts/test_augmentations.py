"""Augmentation: each change has the extent in time and frequency that it claims."""

import pytest
import torch

from train_scripts.augmentations import RowAugmentation


ROWS = torch.ones(6, 2, 20, 5)  # epochs, channels, rows, frames


def changes(**spreads) -> torch.Tensor:
    torch.manual_seed(0)
    return RowAugmentation(**spreads)(ROWS) - ROWS


def test_no_augmentation_changes_nothing():
    assert RowAugmentation()(ROWS) is ROWS


@pytest.mark.parametrize(
    ("name", "constant_over"),
    [("value_noise", ()), ("epoch_offset", (2, 3)), ("row_offset", (0, 3)), ("gain", (0, 1, 2, 3))],
)
def test_each_change_is_constant_where_it_says(name, constant_over):
    difference = changes(**{name: 0.5})
    for axis in range(4):
        is_constant = torch.allclose(difference.std(dim=axis), torch.tensor(0.0), atol=1e-6)
        assert is_constant == (axis in constant_over), axis


def test_the_spread_is_what_was_asked_for():
    torch.manual_seed(0)
    difference = RowAugmentation(value_noise=0.25)(torch.zeros(100, 1, 20, 5))
    assert difference.std().item() == pytest.approx(0.25, rel=0.03)


def test_a_single_epoch_is_changed_too():
    augment = RowAugmentation(value_noise=0.1, epoch_offset=0.1, row_offset=0.1, gain=0.1)
    assert augment(ROWS[0]).shape == ROWS[0].shape

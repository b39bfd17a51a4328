"""Augmentation: each change has the extent in time and frequency that it claims."""

import numpy as np
import pytest
import torch

from modeling_sleepvit.feature_extraction_sleepvit import robust_statistics
from train_scripts.augmentations import RowAugmentation, random_part


ROWS = torch.ones(6, 2, 20, 5)  # epochs, channels, rows, frames


def changes(**spreads) -> torch.Tensor:
    torch.manual_seed(0)
    return RowAugmentation(**spreads)(ROWS, ROWS.numpy()) - ROWS


def test_no_augmentation_changes_nothing():
    assert RowAugmentation()(ROWS, ROWS.numpy()) is ROWS


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
    difference = RowAugmentation(value_noise=0.25)(torch.zeros(100, 1, 20, 5), ROWS.numpy())
    assert difference.std().item() == pytest.approx(0.25, rel=0.03)


def test_a_single_epoch_is_changed_too():
    augment = RowAugmentation(value_noise=0.1, epoch_offset=0.1, row_offset=0.1, gain=0.1)
    assert augment(ROWS[0], ROWS.numpy()).shape == ROWS[0].shape


def test_scaling_by_a_part_of_the_night_is_the_scaling_of_that_part():
    night = torch.randn(40, 1, 20, 5)
    night[:20] += 2  # as if the first half were another stage
    torch.manual_seed(3)
    scaled = RowAugmentation(part_of_night=1.0)(night[:4], night.numpy())
    torch.manual_seed(3)
    torch.rand(())
    median, spread = robust_statistics(random_part(night.numpy()))
    expected = (night[:4].numpy() - median[..., None]) / spread[..., None]
    np.testing.assert_allclose(scaled.numpy(), expected, rtol=1e-5)
    assert not np.allclose(scaled.numpy(), night[:4].numpy(), atol=0.1)


def test_a_part_of_a_night_is_a_quarter_of_it_at_least():
    night = np.arange(100.0).reshape(100, 1, 1, 1)
    lengths = {len(random_part(night)) for _ in range(200)}
    assert min(lengths) >= 12
    assert max(lengths) <= 50
    assert len(lengths) > 10

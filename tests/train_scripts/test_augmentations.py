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
    [("value_noise", ()), ("epoch_offset", (2, 3)), ("row_offset", (0, 3)), ("gain", (0, 1, 2, 3)), ("tilt", (0, 3))],
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


def test_a_tilt_is_smooth_and_differs_between_channels():
    difference = changes(tilt=0.5)[0, :, :, 0]  # (channels, rows)
    assert difference.diff(dim=1).abs().max() < 0.35 * (difference.max() - difference.min())
    assert not torch.allclose(difference[0], difference[1])


def test_a_low_pass_takes_the_upper_rows_of_a_whole_sequence():
    torch.manual_seed(0)
    n_kept = set()
    for _ in range(200):
        kept = RowAugmentation(low_pass=1.0)(ROWS) != 0
        by_row = kept.all(dim=-1).all(dim=0).all(dim=0)
        assert torch.equal(by_row, kept.any(dim=-1).any(dim=0).any(dim=0)), "not the same for the whole sequence"
        assert torch.equal(by_row, torch.arange(20) < by_row.sum()), "not the upper rows"
        n_kept.add(int(by_row.sum()))
    assert n_kept == set(range(8, 20))


def test_a_dropped_band_has_four_neighbouring_rows():
    torch.manual_seed(0)
    lost = (RowAugmentation(band_drop=1.0)(ROWS) == 0)[0, 0, :, 0].nonzero().flatten()
    assert lost.diff().tolist() == [1, 1, 1]


@pytest.mark.parametrize("name", ["low_pass", "band_drop"])
def test_what_is_dropped_is_dropped_as_often_as_asked_for(name):
    torch.manual_seed(0)
    augment = RowAugmentation(**{name: 0.3})
    share = sum((augment(ROWS) == 0).any().item() for _ in range(1000)) / 1000
    assert share == pytest.approx(0.3, abs=0.05)
    assert (ROWS == 1).all(), "the example itself was changed"

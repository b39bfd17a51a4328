"""How a night is put together from its epochs: neighbours lend to each other."""

import pytest
import torch

from modeling_sleepvit import SleepViTConfig, SleepViTForAudioClassification
from modeling_sleepvit.night_staging import night_probabilities, smoothed

from ..conftest import TINY


ALL = torch.ones(7, dtype=torch.bool)


def sure_of(stages: list[int], probability: float = 0.6) -> torch.Tensor:
    others = torch.full((len(stages), 5), (1 - probability) / 4)
    others[torch.arange(len(stages)), torch.tensor(stages)] = probability
    return others


def test_weights_are_those_of_logarithms():
    probabilities = torch.rand(7, 5).softmax(dim=-1)
    logs = probabilities.log()
    found = smoothed(probabilities, [0.3, 0.1], ALL)
    middle = logs[3] + 0.3 * (logs[2] + logs[4]) + 0.1 * (logs[1] + logs[5])
    torch.testing.assert_close(found[3], middle.softmax(dim=-1))
    first = logs[0] + 0.3 * logs[1] + 0.1 * logs[2]
    torch.testing.assert_close(found[0], first.softmax(dim=-1))
    torch.testing.assert_close(found.sum(dim=-1), torch.ones(7))


def test_a_lone_epoch_gives_way_and_a_bout_does_not():
    lone = smoothed(sure_of([2, 2, 2, 4, 2, 2, 2], 0.4), [0.8], ALL)
    assert lone.argmax(dim=-1).tolist() == [2] * 7
    bout = smoothed(sure_of([2, 2, 4, 4, 4, 2, 2], 0.4), [0.8], ALL)
    assert bout.argmax(dim=-1).tolist() == [2, 2, 4, 4, 4, 2, 2]


def test_an_epoch_that_cannot_be_scored_lends_nothing():
    is_scorable = ALL.clone()
    is_scorable[3] = False
    probabilities = torch.rand(7, 5).softmax(dim=-1)
    other = probabilities.clone()
    other[3] = torch.tensor([1.0, 0, 0, 0, 0])
    kept = [index for index in range(7) if index != 3]
    torch.testing.assert_close(
        smoothed(probabilities, [0.5, 0.2], is_scorable)[kept], smoothed(other, [0.5, 0.2], is_scorable)[kept]
    )


@pytest.mark.parametrize("n_epochs", [1, 2])
def test_a_night_shorter_than_the_weights(n_epochs):
    probabilities = torch.rand(n_epochs, 5).softmax(dim=-1)
    found = smoothed(probabilities, [0.3, 0.1, 0.1], ALL[:n_epochs])
    assert found.shape == probabilities.shape
    if n_epochs == 1:
        torch.testing.assert_close(found, probabilities)


def test_the_staging_of_a_night_applies_them():
    torch.manual_seed(0)
    model = SleepViTForAudioClassification(SleepViTConfig(**TINY, num_frames=5, initializer_range=0.5)).eval()
    rows = torch.randn(7, 1, 20, 5)
    plain = night_probabilities(model, rows)
    model.config.neighbour_weights = [0.4]
    torch.testing.assert_close(night_probabilities(model, rows), smoothed(plain, [0.4], ALL))


def test_weights_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="neighbour_weights must be from 0 to below 1"):
        SleepViTConfig(neighbour_weights=[1.0])

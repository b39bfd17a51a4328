"""Calibration: temperatures are found again, and applied where nights are staged."""

import numpy as np
import pytest
import torch

from modeling_sleepvit import SleepViTConfig, SleepViTForAudioClassification
from modeling_sleepvit.errors import DatasetError
from modeling_sleepvit.metrics_sleepvit import calibration_error
from modeling_sleepvit.night_staging import night_probabilities, tempered
from train_scripts.calibration import fit_temperature, undo_class_weights

from ..conftest import TINY


@pytest.fixture(scope="module")
def honest():
    """Labels drawn from the probabilities themselves, which are calibrated therefore."""
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(5, 0.4), size=20_000)
    labels = (rng.random(20_000)[:, None] > probabilities.cumsum(axis=1)).sum(axis=1)
    return labels, probabilities


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.7])
def test_the_temperature_of_a_model_that_is_too_sure_or_too_shy_is_found(honest, temperature):
    labels, probabilities = honest
    off = tempered(torch.from_numpy(probabilities), [1 / temperature] * 5).numpy()
    found = fit_temperature(labels, off)
    assert found == pytest.approx([temperature] * 5, rel=0.03)
    again = tempered(torch.from_numpy(off), found).numpy()
    assert calibration_error(labels, again) < 0.01
    if temperature != 1:
        assert calibration_error(labels, off) > 0.05


def test_each_class_may_have_its_own(honest):
    labels, probabilities = honest
    off = tempered(torch.from_numpy(probabilities), [1, 1, 0.5, 1, 1]).numpy()
    per_class, for_all = fit_temperature(labels, off, per_class=True), fit_temperature(labels, off)
    assert len(set(for_all)) == 1
    assert per_class[2] > 1.2 * per_class[0]
    errors = [
        calibration_error(labels, tempered(torch.from_numpy(off), found).numpy()) for found in (per_class, for_all)
    ]
    assert errors[0] < errors[1]


def test_epochs_without_a_stage_do_not_count(honest):
    labels, probabilities = honest
    more = np.concatenate([labels, np.full(5000, -100)])
    doubled = np.concatenate([probabilities, probabilities[:5000]])
    assert fit_temperature(more, doubled) == fit_temperature(labels, probabilities)
    with pytest.raises(DatasetError, match="expected scored epochs to calibrate with, found none"):
        fit_temperature(np.full(3, -100), probabilities[:3])


def test_what_class_weights_did_is_undone():
    """A model that knows nothing but how often stages are: weighted training makes the rare ones look frequent."""
    shares = torch.tensor([0.2, 0.05, 0.45, 0.1, 0.2])
    weights = [0.9, 2.0, 0.5, 1.2, 1.0]
    weighted = shares * torch.tensor(weights)
    model = SleepViTForAudioClassification(SleepViTConfig(**TINY, class_weights=weights))
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(weighted.log())
    rows = torch.zeros(1, 1, 20, 30)
    undo_class_weights(model)
    torch.testing.assert_close(model(rows).logits.softmax(dim=-1)[0], shares)
    with torch.no_grad():
        model.classifier.bias.copy_(weighted.log())
    undo_class_weights(model, share=0.5)
    half = shares * torch.tensor(weights).sqrt()
    torch.testing.assert_close(model(rows).logits.softmax(dim=-1)[0], half / half.sum())
    model.config.class_weights = None
    before = model.classifier.bias.detach().clone()
    undo_class_weights(model)
    assert torch.equal(model.classifier.bias, before)


def test_the_staging_of_a_night_applies_it(tmp_path):
    torch.manual_seed(0)
    config = SleepViTConfig(**TINY, num_channels=1, num_frames=5, initializer_range=1.0)
    model = SleepViTForAudioClassification(config).eval()
    rows = torch.randn(7, 1, 20, 5)
    plain = night_probabilities(model, rows)
    model.config.temperature = [2.0] * 5
    model.save_pretrained(tmp_path)
    calibrated = night_probabilities(SleepViTForAudioClassification.from_pretrained(tmp_path).eval(), rows)
    torch.testing.assert_close(calibrated, tempered(plain, [2.0] * 5))
    assert torch.equal(calibrated.argmax(dim=1), plain.argmax(dim=1)), "one temperature for all changes no stage"
    assert (calibrated.max(dim=1).values < plain.max(dim=1).values).all()


def test_certainties_of_nought_and_one_stay_finite():
    sure = tempered(torch.tensor([[1.0, 0.0, 0.0]]), [2.0, 2.0, 2.0])
    assert torch.isfinite(sure).all()
    assert sure.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("temperature", "message"), [([1.0], "one number for each of the 5"), ([0.0] * 5, "positive")]
)
def test_a_temperature_that_makes_no_sense_is_refused(temperature, message):
    with pytest.raises(ValueError, match=message):
        SleepViTConfig(**TINY, temperature=temperature)

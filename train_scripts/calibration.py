"""Calibration: what makes a checkpoint's probabilities as sure as it is right."""

import numpy as np
import torch
from scipy import optimize

from modeling_sleepvit import SleepViTForAudioClassification, SleepViTForAudioFrameClassification
from modeling_sleepvit.errors import DatasetError
from modeling_sleepvit.night_staging import tempered


_LOWEST, _HIGHEST = np.log(0.2), np.log(5.0)
"""Bounds of the logarithm of a temperature; a model that needs more has other faults than being too sure."""


@torch.no_grad()
def undo_class_weights(
    model: SleepViTForAudioClassification | SleepViTForAudioFrameClassification, share: float = 1.0
) -> None:
    """Take from a model's logits what the class weights of its training put there.

    A loss that counts an epoch of class c w_c times is smallest for probabilities in proportion to w_c p(c | x): rare
    stages are then called too often. The logarithms of the weights, taken off the bias of the head, give p(c | x), and
    the gradients were those of the weighted loss all the same.

    Args:
        model: trained with `config.class_weights`; without them nothing changes. To be called once after a training.
        share: of the logarithms that is taken off: 1 for probabilities, less to go on favouring rare stages.

    Source:
        Elkan, The foundations of cost-sensitive learning (IJCAI 2001), section 2.
    """
    if model.config.class_weights is not None:
        model.classifier.bias -= share * model.classifier.bias.new_tensor(model.config.class_weights).log()


def fit_temperature(labels: np.ndarray, probabilities: np.ndarray, per_class: bool = False) -> list[float]:
    """Find the temperatures with the smallest negative log-likelihood on scored epochs.

    Args:
        labels: (epochs,) stage ids, negative where not scored; of subjects that the model has not learned from.
        probabilities: (epochs, classes) without calibration.
        per_class: find one number per class in the place of one for all.

    Returns:
        one number per class, for `config.temperature`.

    Raises:
        DatasetError: no epoch is scored.
    """
    is_scored = labels >= 0
    if not is_scored.any():
        raise DatasetError("expected scored epochs to calibrate with, found none.")
    scored, of_scored = torch.from_numpy(labels[is_scored]), torch.from_numpy(probabilities[is_scored]).double()
    n_classes = probabilities.shape[1]

    def temperatures(parameters: np.ndarray) -> list[float]:
        return np.exp(np.broadcast_to(parameters, n_classes)).tolist()

    def negative_log_likelihood(parameters: np.ndarray) -> float:
        chosen = tempered(of_scored, temperatures(parameters)).gather(1, scored[:, None])
        return -float(chosen.clamp_min(1e-12).log().mean())

    start = np.zeros(n_classes if per_class else 1)
    bounds = [(_LOWEST, _HIGHEST)] * len(start)
    found = optimize.minimize(negative_log_likelihood, start, method="L-BFGS-B", bounds=bounds)
    return [round(temperature, 4) for temperature in temperatures(found.x)]

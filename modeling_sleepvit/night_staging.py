"""Stage probabilities of a whole night: the epochs are encoded once, the sequence encoder slides over them."""

from collections.abc import Iterator

import torch
from torch import nn

from .stages import STAGES


EPOCHS_PER_BATCH = 256
"""Epochs encoded at once; bounds the memory of a night without costing speed."""

SEQUENCES_PER_BATCH = 64

LOWEST_PROBABILITY = 1e-6
"""A neighbour that is surer than this of what an epoch is not does not overrule it."""


@torch.inference_mode()
def night_probabilities(
    model: nn.Module,
    input_values: torch.Tensor,
    overlap: int = 4,
    is_scorable: torch.Tensor | None = None,
    eog_values: torch.Tensor | None = None,
) -> torch.Tensor:
    """Stage every epoch of one night.

    Args:
        model: an epoch model or a sequence model with its stage head, in eval mode.
        input_values: (epochs, channels, rows, frames), the night in order, on any device.
        overlap: how many sequences of a sequence model see each epoch (fewer at the ends of the night); their
            probabilities are averaged. A model that labels the middle epoch sees each epoch in the middle once.
        is_scorable: (epochs,) bool; epochs that are False lend nothing to their neighbours. None stands for all True.
        eog_values: (epochs, EOG channels, EOG rows, frames), for a model that reads the EOG, too.

    Returns:
        (epochs, 5) float32 probabilities on the CPU, in the order of `STAGES` whatever the model's own order is.
    """
    inputs = {"input_values": input_values} | ({} if eog_values is None else {"eog_values": eog_values})
    if is_scorable is None:
        is_scorable = torch.ones(len(input_values), dtype=torch.bool)
    if not hasattr(model.config, "sequence_length"):
        logits = torch.cat([model(**part).logits for part in _parts(inputs, model.device)])
        probabilities = logits.float().softmax(dim=-1).cpu()
    else:
        embeddings = torch.cat(
            [
                model.sleepvit.encode_epochs(**{name: values[None] for name, values in part.items()})[0]
                for part in _parts(inputs, model.device)
            ]
        )  # (epochs, hidden)
        stage_all = _center_probabilities if model.config.label_mode == "center" else _overlapping_probabilities
        probabilities = stage_all(model, embeddings, is_scorable, overlap)
    if model.config.neighbour_weights:
        probabilities = smoothed(probabilities, model.config.neighbour_weights, is_scorable)
    if model.config.temperature is not None:
        probabilities = tempered(probabilities, model.config.temperature)
    return probabilities[:, [model.config.label2id[stage] for stage in STAGES]]


def _parts(inputs: dict[str, torch.Tensor], device: torch.device) -> Iterator[dict[str, torch.Tensor]]:
    for first in range(0, len(inputs["input_values"]), EPOCHS_PER_BATCH):
        yield {name: values[first : first + EPOCHS_PER_BATCH].to(device) for name, values in inputs.items()}


def _overlapping_probabilities(
    model: nn.Module, embeddings: torch.Tensor, is_scorable: torch.Tensor, overlap: int
) -> torch.Tensor:
    n_epochs = len(embeddings)
    length = min(model.config.sequence_length, n_epochs)
    starts = sequence_starts(n_epochs, length, max(1, length // overlap))
    members = torch.tensor(starts)[:, None] + torch.arange(length)  # (sequences, length)
    summed = torch.zeros(n_epochs, model.config.num_labels)
    for part in members.split(SEQUENCES_PER_BATCH):
        probabilities = _sequence_probabilities(model, embeddings, part, is_scorable[part])
        summed.index_add_(0, part.flatten(), probabilities.flatten(0, 1))
    return summed / summed.sum(dim=-1, keepdim=True)


def _center_probabilities(
    model: nn.Module, embeddings: torch.Tensor, is_scorable: torch.Tensor, overlap: int
) -> torch.Tensor:
    n_epochs, length = len(embeddings), model.config.sequence_length
    members = torch.arange(n_epochs)[:, None] + torch.arange(length) - length // 2  # (epochs, length)
    is_epoch = (members >= 0) & (members < n_epochs)
    members = members.clamp(0, n_epochs - 1)
    is_epoch &= is_scorable[members]
    parts = zip(members.split(SEQUENCES_PER_BATCH), is_epoch.split(SEQUENCES_PER_BATCH))
    return torch.cat([_sequence_probabilities(model, embeddings, part, mask) for part, mask in parts])


def _sequence_probabilities(
    model: nn.Module, embeddings: torch.Tensor, members: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    device = embeddings.device
    # without a mask the attention kernels take their fast path
    attention_mask = None if mask.all() else mask.long().to(device)
    logits = model(epoch_embeddings=embeddings[members.to(device)], attention_mask=attention_mask).logits
    return logits.float().softmax(dim=-1).cpu()


def smoothed(probabilities: torch.Tensor, neighbour_weights: list[float], is_scorable: torch.Tensor) -> torch.Tensor:
    """Let each epoch listen to its neighbours: stages last for minutes, and one epoch is a small sample of them.

    Args:
        probabilities: (epochs, classes), the night in order.
        neighbour_weights: of the logarithms of the probabilities one epoch away, two away, and so on.
        is_scorable: (epochs,) bool; epochs that are False lend nothing.

    Returns:
        (epochs, classes), which sum to 1.
    """
    logs = probabilities.clamp_min(LOWEST_PROBABILITY).log()
    lent = logs * is_scorable[:, None]
    total = logs.clone()
    for distance, weight in enumerate(neighbour_weights, start=1):
        total[distance:] += weight * lent[:-distance]
        total[:-distance] += weight * lent[distance:]
    return total.softmax(dim=-1)


def tempered(probabilities: torch.Tensor, temperature: list[float]) -> torch.Tensor:
    """Calibrate probabilities: divide their logarithms by a temperature and let them sum to 1 again.

    Args:
        probabilities: (epochs, classes).
        temperature: one positive number per class; above 1 makes it less sure, 1 leaves it as it is.

    Returns:
        (epochs, classes).

    Source:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017; one number per class is this package's.
    """
    logs = probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()
    return (logs / torch.tensor(temperature, dtype=probabilities.dtype)).softmax(dim=-1)


def sequence_starts(n_epochs: int, length: int, stride: int) -> list[int]:
    """Where sequences start so that they cover a night and none reaches beyond it.

    Args:
        n_epochs: epochs of the night, at least `length`.
        length: epochs of one sequence.
        stride: epochs from one start to the next; the last step may be shorter.

    Returns:
        ascending first epochs; the last sequence ends with the night.
    """
    starts = list(range(0, n_epochs - length, stride))
    return [*starts, n_epochs - length]

"""Stage probabilities of a whole night: the epochs are encoded once, the sequence encoder slides over them."""

import torch
from torch import nn


EPOCHS_PER_BATCH = 256
"""Epochs encoded at once; bounds the memory of a night without costing speed."""

SEQUENCES_PER_BATCH = 64


@torch.inference_mode()
def night_probabilities(model: nn.Module, input_values: torch.Tensor, overlap: int = 4) -> torch.Tensor:
    """Stage every epoch of one night.

    Args:
        model: an epoch model or a sequence model with its stage head, in eval mode.
        input_values: (epochs, channels, rows, frames), the night in order, on any device.
        overlap: how many sequences of a sequence model see each epoch (fewer at the ends of the night); their
            probabilities are averaged. A model that labels the middle epoch sees each epoch in the middle once.

    Returns:
        (epochs, num_labels) float32 probabilities on the CPU.
    """
    input_values = input_values.to(model.device)
    if not hasattr(model.config, "sequence_length"):
        logits = torch.cat([model(part).logits for part in input_values.split(EPOCHS_PER_BATCH)])
        return logits.float().softmax(dim=-1).cpu()
    embeddings = torch.cat(
        [model.sleepvit.encode_epochs(part[None])[0] for part in input_values.split(EPOCHS_PER_BATCH)]
    )  # (epochs, hidden)
    if model.config.label_mode == "center":
        return _center_probabilities(model, embeddings).cpu()
    return _overlapping_probabilities(model, embeddings, overlap).cpu()


def _overlapping_probabilities(model: nn.Module, embeddings: torch.Tensor, overlap: int) -> torch.Tensor:
    n_epochs = len(embeddings)
    length = min(model.config.sequence_length, n_epochs)
    starts = sequence_starts(n_epochs, length, max(1, length // overlap))
    members = torch.tensor(starts)[:, None] + torch.arange(length)  # (sequences, length)
    probabilities = torch.zeros(n_epochs, model.config.num_labels)
    for part in members.split(SEQUENCES_PER_BATCH):
        logits = model(epoch_embeddings=embeddings[part]).logits.float().cpu()  # (sequences, length, num_labels)
        probabilities.index_add_(0, part.flatten(), logits.softmax(dim=-1).flatten(0, 1))
    return probabilities / probabilities.sum(dim=-1, keepdim=True)


def _center_probabilities(model: nn.Module, embeddings: torch.Tensor) -> torch.Tensor:
    n_epochs, length = len(embeddings), model.config.sequence_length
    members = torch.arange(n_epochs)[:, None] + torch.arange(length) - length // 2  # (epochs, length)
    is_epoch = (members >= 0) & (members < n_epochs)
    members = members.clamp(0, n_epochs - 1)
    probabilities = []
    for part, mask in zip(members.split(SEQUENCES_PER_BATCH), is_epoch.split(SEQUENCES_PER_BATCH)):
        logits = model(epoch_embeddings=embeddings[part], attention_mask=mask.long().to(embeddings.device)).logits
        probabilities.append(logits.float().softmax(dim=-1))
    return torch.cat(probabilities)


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

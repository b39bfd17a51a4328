"""Methods of attribution: what each patch of the explained epochs, and each epoch of a window, did for a decision.

All take `Decisions` and give an `Attribution`. What can be said of the patches of an epoch can be said of the epochs
of a window, which are the tokens of the sequence encoder; both come from the same method.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from .decisions import Decisions
from .errors import SettingError


@dataclass
class Attribution:
    """What a method found.

    Args:
        relevance: (decisions, explained epochs, [channels,] bands, seconds).
        epoch_relevance: (decisions, epochs) for a sequence model, else None.
        band_relevance: (decisions, explained epochs, [channels,] bands) of whole bands.
        logit_difference: (decisions,) by how much the logit is above that of the baseline, for path methods.
    """

    relevance: torch.Tensor
    epoch_relevance: torch.Tensor | None
    band_relevance: torch.Tensor
    logit_difference: torch.Tensor | None = None


# Attention


def rollout(decisions: Decisions) -> Attribution:
    """Follow the attention through the layers, whatever the class.

    Args:
        decisions: of a model that attends eagerly.

    Returns:
        shares of 1, the class token's own among them and not returned.

    Raises:
        SettingError: the model has no attention maps over patches.

    Source:
        Abnar & Zuidema, Quantifying Attention Flow in Transformers, ACL 2020.
    """
    return _attention_flow(decisions, lambda attention, gradient: _rows_of_one(attention.mean(dim=1)))


def gradient_rollout(decisions: Decisions) -> Attribution:
    """Follow the attention, each map weighted by its positive gradient for the chosen class.

    Args:
        decisions: of a model that attends eagerly.

    Returns:
        shares of 1, as for `rollout`.

    Raises:
        SettingError: the model has no attention maps over patches.

    Source:
        Abnar & Zuidema 2020 for the rollout; the weighting is that of `relevance`.
    """
    return _attention_flow(decisions, lambda attention, gradient: _rows_of_one(_weighted(attention, gradient)))


def relevance(decisions: Decisions) -> Attribution:
    """Add up, over all layers, where attention with a positive gradient for the chosen class took its content from.

    Args:
        decisions: of a model that attends eagerly.

    Returns:
        relevances from 0 up, with no unit.

    Raises:
        SettingError: the model has no attention maps over patches.

    Source:
        Chefer et al., Generic Attention-model Explainability, ICCV 2021 (arXiv 2103.15679), self-attention rule. In a
        sequence model the rule goes on: the relevance of an epoch's token is handed down to the epoch's patches.
    """
    return _attention_flow(decisions, lambda attention, gradient: _with_identity(_weighted(attention, gradient)))


def _weighted(attention: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    return (attention * gradient).clamp_min(0).mean(dim=1)


def _with_identity(maps: torch.Tensor) -> torch.Tensor:
    return maps + torch.eye(maps.shape[-1], dtype=maps.dtype, device=maps.device)


def _rows_of_one(maps: torch.Tensor) -> torch.Tensor:
    maps = _with_identity(maps)
    return maps / maps.sum(dim=-1, keepdim=True)


def _attention_flow(decisions: Decisions, step: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Attribution:
    """Multiply the steps of all layers, from the token that is read to the tokens that went in."""
    config = decisions.encoder.config
    epoch_maps, window_maps = [], []
    # values that ask for a gradient let the maps have one where all weights are frozen
    values = decisions.values.clone().requires_grad_()
    embeddings = decisions.with_embeddings(decisions.embed(values, epoch_maps))
    logits = decisions.chosen(decisions.logits(embeddings, window_maps))
    n_tokens = config.num_patches + 1
    if [attention.shape[-1] for attention in epoch_maps] != [n_tokens] * config.num_hidden_layers:
        # layers that are not this package's
        raise SettingError(
            f"{type(decisions.encoder).__name__} gave {len(epoch_maps)} attention maps, expected "
            f"{config.num_hidden_layers} over {n_tokens} tokens each; take integrated_gradients or occlusion."
        )
    maps = [*epoch_maps, *window_maps]
    gradients = torch.autograd.grad(logits.sum(), maps)
    steps = [step(attention.detach().to(_exact(attention)), gradient) for attention, gradient in zip(maps, gradients)]
    epoch_steps, window_steps = steps[: len(epoch_maps)], steps[len(epoch_maps) :]

    read = epoch_steps[0].new_zeros(epoch_steps[0].shape[:2])  # (decisions * explained epochs * windows, tokens)
    if config.pooling == "cls":
        read[:, 0] = 1
    else:
        read[:] = 1 / n_tokens
    found = _patch_map(decisions, _flow(read, epoch_steps)[:, 1:])
    found = found * (config.num_frames / decisions.n_frames)  # an epoch is the mean of its windows
    epoch_relevance = None
    if decisions.windows is not None:
        token, epochs = decisions.epoch_tokens()
        read = torch.nn.functional.one_hot(token, window_steps[0].shape[-1]).to(window_steps[0].dtype)
        epoch_relevance = _flow(read, window_steps)[:, epochs]
        handed_down = epoch_relevance.gather(1, decisions.windows.explained)  # (decisions, explained epochs)
        found = found * handed_down.reshape(handed_down.shape + (1,) * (found.dim() - 2))
    return Attribution(found, epoch_relevance, found.sum(dim=-1))


def _flow(read: torch.Tensor, steps: list[torch.Tensor]) -> torch.Tensor:
    """Row vectors times the matrices of all layers: (batch, tokens), (batch, tokens, tokens) each."""
    row = read[:, None]
    for matrix in reversed(steps):
        row = row @ matrix
    return row[:, 0]


def _exact(tensor: torch.Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)


def _patch_map(decisions: Decisions, patches: torch.Tensor) -> torch.Tensor:
    """Lay out one number per patch.

    Args:
        decisions: whose patches they are.
        patches: (decisions * explained epochs * windows, patches) in the order of the tokens.

    Returns:
        (decisions, explained epochs, [channels,] bands, seconds).
    """
    config = decisions.encoder.config
    n_channels = config.num_channels if config.channel_tokens else 1
    shape = (*decisions.values.shape[:2], -1, config.num_bands, config.num_frames, n_channels)
    laid_out = patches.reshape(shape).permute(0, 1, 5, 3, 2, 4).flatten(-2)  # (…, channels, bands, seconds)
    return laid_out if config.channel_tokens else laid_out[:, :, 0]


# Changing the values


def integrated_gradients(
    decisions: Decisions, baseline: float = 0.0, steps: int = 24, neighbours: bool = True
) -> Attribution:
    """Add up the gradient of the chosen class's logit on the straight way from a baseline to the values.

    Args:
        decisions: of any model.
        baseline: value of every row at the start; 0 is the centre of a scaled row.
        steps: points on the way (Gauss-Legendre).
        neighbours: whether to find the relevance of the epochs of a window, which is half of the work.

    Returns:
        logits; they sum to the logit difference, up to the completeness gap. Those of the epochs of a window are found
        on the way of all embeddings from that of an epoch at the baseline.

    Source:
        Sundararajan et al., Axiomatic Attribution for Deep Networks, ICML 2017.
    """
    empty = torch.full_like(decisions.values, baseline)
    found = _sum_in_patches(decisions, _along_the_way(decisions, _logits_of_values, decisions.values, empty, steps))
    with torch.no_grad():
        whole, start = (decisions.chosen(_logits_of_values(decisions, x)) for x in (decisions.values, empty))
        empty_epoch = decisions.embed(empty[:1, :1])  # (1, 1, hidden)
    epoch_relevance = None
    if decisions.windows is not None and neighbours:
        end = decisions.windows.embeddings
        ways = _along_the_way(decisions, Decisions.logits, end, empty_epoch.expand_as(end), steps)
        epoch_relevance = ways.sum(dim=-1)
    return Attribution(found, epoch_relevance, found.sum(dim=-1), whole - start)


def occlusion(decisions: Decisions, baseline: float = 0.0, neighbours: bool = True) -> Attribution:
    """Put a baseline in the place of each patch, of each whole band and of each epoch, and see what the class loses.

    Args:
        decisions: of any model.
        baseline: value put there; 0 is the centre of a scaled row.
        neighbours: whether to find the relevance of the epochs of a window.

    Returns:
        by how much the logarithm of the class's probability falls.

    Source:
        Zeiler & Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014; patches are the occluders.
    """
    patches, bands = _occluders(decisions)
    occluders = torch.cat([patches.flatten(0, -4), bands.flatten(0, -4)])[:, None]
    empty = decisions.values.new_tensor(baseline)
    found = torch.stack(
        [_losses(one, _logits_of_values, one.values, empty, occluders) for one in decisions.epoch_by_epoch()], dim=1
    )  # (decisions, explained epochs, occluders)
    n_patches = patches.shape[:-3].numel()
    epoch_relevance = None
    if decisions.windows is not None and neighbours:
        embeddings = decisions.windows.embeddings
        with torch.no_grad():
            empty_epoch = decisions.embed(torch.full_like(decisions.values[:1, :1], baseline))[0]  # (1, hidden)
        each_epoch = torch.eye(embeddings.shape[1], dtype=torch.bool, device=embeddings.device)[:, :, None]
        epoch_relevance = _losses(decisions, Decisions.logits, embeddings, empty_epoch, each_epoch)
    return Attribution(
        found[..., :n_patches].unflatten(-1, patches.shape[:-3]),
        epoch_relevance,
        found[..., n_patches:].unflatten(-1, bands.shape[:-3]),
    )


def _logits_of_values(decisions: Decisions, values: torch.Tensor) -> torch.Tensor:
    return decisions.logits(decisions.with_embeddings(decisions.embed(values)))


def _along_the_way(
    decisions: Decisions,
    logits_of: Callable[[Decisions, torch.Tensor], torch.Tensor],
    end: torch.Tensor,
    start: torch.Tensor,
    steps: int,
) -> torch.Tensor:
    """Integrate the gradient of the chosen logit, of the shape of `end`, by Gauss-Legendre quadrature."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    shape = (-1, *(1,) * (end.dim() - 1))
    total = torch.zeros_like(end, dtype=_exact(end))
    for index, number in _pairs(decisions, steps):
        share = end.new_tensor((nodes + 1) / 2)[number].reshape(shape)
        points = (start[index] + share * (end - start)[index]).requires_grad_()
        some = decisions[index]
        gradient = torch.autograd.grad(some.chosen(logits_of(some, points)).sum(), points)[0]
        total.index_add_(0, index, gradient.to(total.dtype) * total.new_tensor(weights / 2)[number].reshape(shape))
    return total * (end - start)


def _losses(
    decisions: Decisions,
    logits_of: Callable[[Decisions, torch.Tensor], torch.Tensor],
    whole: torch.Tensor,
    empty: torch.Tensor,
    occluders: torch.Tensor,
) -> torch.Tensor:
    """Tell how much the logarithm of the class's probability falls under each occluder, (decisions, occluders)."""

    def log_probabilities(some: Decisions, values: torch.Tensor) -> torch.Tensor:
        logits = logits_of(some, values)
        return some.chosen(logits.to(_exact(logits)).log_softmax(dim=-1))

    with torch.no_grad():
        left = [
            log_probabilities(decisions[index], torch.where(occluders[number], empty, whole[index]))
            for index, number in _pairs(decisions, len(occluders))
        ]
        return log_probabilities(decisions, whole)[:, None] - torch.cat(left).unflatten(0, (-1, len(occluders)))


def _pairs(decisions: Decisions, n_variants: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Pair each decision with the number of each variant of it, in batches of a bounded size."""
    everybody = torch.arange(len(decisions) * n_variants, device=decisions.values.device)
    for part in everybody.split(decisions.at_once):
        yield part // n_variants, part % n_variants


def _occluders(decisions: Decisions) -> tuple[torch.Tensor, torch.Tensor]:
    """Mark what belongs to each patch, ([channels,] bands, seconds, channels, rows, frames), and to each band."""
    config = decisions.encoder.config
    n_bands, n_frames = config.num_bands, decisions.n_frames
    device = decisions.values.device
    is_band = torch.eye(n_bands, dtype=torch.bool, device=device).repeat_interleave(config.patch_rows, dim=1)
    is_second = torch.eye(n_frames, dtype=torch.bool, device=device)
    bands = is_band[:, None, :, None].expand(n_bands, config.num_channels, -1, n_frames)
    if config.channel_tokens:
        is_channel = torch.eye(config.num_channels, dtype=torch.bool, device=device)
        bands = bands & is_channel[:, None, :, None, None]
    return bands[..., None, :, :, :] & is_second[:, None, None, :], bands


def _sum_in_patches(decisions: Decisions, values: torch.Tensor) -> torch.Tensor:
    """Add what belongs to one patch: (decisions, explained epochs, channels, rows, frames) -> […,] bands, frames."""
    config = decisions.encoder.config
    bands = values.unflatten(3, (config.num_bands, config.patch_rows)).sum(dim=4)
    return bands if config.channel_tokens else bands.sum(dim=2)


METHODS: dict[str, Callable[..., Attribution]] = {
    "rollout": rollout,
    "gradient_rollout": gradient_rollout,
    "relevance": relevance,
    "integrated_gradients": integrated_gradients,
    "occlusion": occlusion,
}

NEED_ATTENTION_MAPS = ("rollout", "gradient_rollout", "relevance")

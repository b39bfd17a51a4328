"""Whether explanations tell the truth: what is measured on the decisions of one model about nights it has not seen."""

import time
from collections.abc import Iterator

import numpy as np
import torch
from scipy.stats import rankdata
from torch import nn

from modeling_sleepvit import Explanation, explain_night
from modeling_sleepvit.attributions import METHODS, NEED_ATTENTION_MAPS
from modeling_sleepvit.decisions import Decisions, decisions_of_night


SHARES_DELETED = (0.08, 0.28, 0.72, 0.92)
"""Of the patches of an epoch; beside 0 and 1, where all orders meet. Seen from either end they are the same."""

SEED_OF_FRESH_WEIGHTS = 1_000_003
"""One that no training begins with: weights it began with are not independent of those it ended with."""

N_RANDOM_ORDERS = 1
"""For each epoch, followed forwards and backwards."""


def explain_by_all_methods(
    model: nn.Module, values: torch.Tensor, epochs: np.ndarray, targets: np.ndarray
) -> dict[str, Explanation]:
    """Explain epochs of a night for given classes.

    Args:
        model: a model with its stage head.
        values: (epochs, channels, rows, frames) the night in order.
        epochs: (decisions,) which to explain.
        targets: (decisions,) class ids.

    Returns:
        an explanation for each method.
    """
    options = {name: {} if name in NEED_ATTENTION_MAPS else {"neighbours": False} for name in METHODS}
    return {name: explain_night(model, values, epochs, targets, name, **options[name]) for name in METHODS}


def window_decisions(model: nn.Module, values: torch.Tensor) -> np.ndarray:
    """Tell the most probable class of each epoch of a night, (epochs,), from the window around it."""
    with torch.inference_mode():
        decisions, _ = decisions_of_night(model, values, torch.arange(len(values)))
        parts = torch.arange(len(values)).split(decisions.at_once)
        logits = [decisions[part].logits(decisions[part].as_they_are()) for part in parts]
    return torch.cat(logits).argmax(dim=-1).numpy()


def orders_of_patches(
    explanations: dict[str, Explanation], generator: np.random.Generator
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Give every order in which patches are deleted.

    Args:
        explanations: by method.
        generator: of the random orders.

    Yields:
        name of the method or "random"; "most relevant first" or "least relevant first"; (decisions, patches).
    """
    for name, explanation in explanations.items():
        order = explanation.relevance.reshape(len(explanation), -1).argsort(axis=1, kind="stable")
        yield name, "most relevant first", order[:, ::-1].copy()
        yield name, "least relevant first", order
    shape = next(iter(explanations.values())).relevance.reshape(len(order), -1).shape
    for _ in range(N_RANDOM_ORDERS):
        order = generator.random(shape).argsort(axis=1)
        yield "random", "most relevant first", order
        yield "random", "most relevant first", order[:, ::-1].copy()


@torch.inference_mode()
def deletion_curves(
    model: nn.Module,
    values: torch.Tensor,
    epochs: np.ndarray,
    targets: np.ndarray,
    orders: list[tuple[str, str, np.ndarray]],
) -> dict[tuple[str, str], np.ndarray]:
    """Delete patches of the explained epoch in given orders, and see what is left of the class's probability.

    A deleted patch holds 0, the centre of its rows over the recording and the training nights. The neighbours stay.

    Args:
        model: a sequence or an epoch model with its stage head, in eval mode.
        values: (epochs, channels, rows, frames) the night in order.
        epochs: (decisions,) which to change.
        targets: (decisions,) class ids.
        orders: as `orders_of_patches` gives them.

    Returns:
        for each name and direction (decisions, points): the probability, over that of the epoch as it is, at 0, at
        `SHARES_DELETED` and at 1; the mean where there are several such orders.
    """
    everything, _ = decisions_of_night(model, values, torch.from_numpy(epochs))
    everything.class_ids = torch.from_numpy(targets)
    shape = orders[0][2].shape
    n_bands = everything.encoder.config.num_bands
    counts = np.round(np.array(SHARES_DELETED) * shape[1]).astype(int)
    whole = _probabilities(everything, torch.zeros(len(epochs), shape[1], dtype=torch.bool), n_bands)
    empty = _probabilities(everything, torch.ones(len(epochs), shape[1], dtype=torch.bool), n_bands)
    curves: dict[tuple[str, str], list[np.ndarray]] = {}
    for name, direction, order in orders:
        rank = torch.from_numpy(order.argsort(axis=1))
        points = [_probabilities(everything, rank < count, n_bands) for count in counts]
        curve = np.stack([whole, *points, empty], axis=1) / whole[:, None]
        curves.setdefault((name, direction), []).append(curve)
    return {key: np.mean(same, axis=0) for key, same in curves.items()}


def _probabilities(everything: Decisions, is_deleted: torch.Tensor, n_bands: int) -> np.ndarray:
    """Decide without some patches, (decisions, bands * frames) bool."""
    found = []
    for index in torch.arange(len(everything)).split(everything.at_once):
        decisions = everything[index]
        patches = is_deleted[index].unflatten(1, (n_bands, -1))  # (decisions, bands, frames)
        n_rows = decisions.values.shape[-2] // n_bands
        hidden = patches.repeat_interleave(n_rows, dim=1)[:, None, None]  # all channels of the one epoch
        embeddings = decisions.with_embeddings(decisions.embed(decisions.values.masked_fill(hidden, 0)))
        found.append(decisions.chosen(decisions.logits(embeddings).softmax(dim=-1)))
    return torch.cat(found).numpy()


def area_under(curves: np.ndarray) -> np.ndarray:
    """Integrate curves over the share that is deleted: (..., points) -> (...)."""
    return np.trapezoid(curves, [0, *SHARES_DELETED, 1], axis=-1)


def randomised_layer_by_layer(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Give fresh weights to more and more of a model, from its head down.

    Args:
        model: a sequence model with its stage head.

    Yields:
        what was randomised last, and the model, which is always the same one.

    Source:
        Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018, cascading randomisation.
    """
    with torch.random.fork_rng():
        torch.manual_seed(SEED_OF_FRESH_WEIGHTS)
        fresh = type(model)(model.config).eval()
    model = type(model).from_pretrained(model.name_or_path).eval()
    layers = len(model.sleepvit.layers), len(model.sleepvit.epoch_encoder.layers)
    steps = [("stage head", ("layernorm", "classifier"))]
    steps += [(f"sequence layer {n + 1}", (f"sleepvit.layers.{n}",)) for n in reversed(range(layers[0]))]
    steps += [("between the encoders", ("sleepvit.projection", "sleepvit.tokens"))]
    steps += [(f"epoch layer {n + 1}", (f"sleepvit.epoch_encoder.layers.{n}",)) for n in reversed(range(layers[1]))]
    steps += [("patches", ("sleepvit.epoch_encoder.tokens", "sleepvit.epoch_encoder.patch_embeddings"))]
    for name, parts in steps:
        for part in parts:
            model.get_submodule(part).load_state_dict(fresh.get_submodule(part).state_dict())
        yield name, model


def rank_correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Correlate the ranks of the patches of each decision: (decisions, ...) twice -> (decisions,); Spearman."""
    ranks = [rankdata(maps.reshape(len(maps), -1), axis=1) for maps in (one, other)]
    centred = [rank - rank.mean(axis=1, keepdims=True) for rank in ranks]
    norms = np.prod([np.linalg.norm(rank, axis=1) for rank in centred], axis=0)
    return (centred[0] * centred[1]).sum(axis=1) / np.where(norms == 0, np.nan, norms)


def runtime(model: nn.Module, n_epochs: int = 24, n_repeats: int = 3) -> dict[str, dict[str, float]]:
    """Measure what an explanation costs, with noise in the place of whole epochs of 30 s (SIMULATED values).

    Args:
        model: a model with its stage head.
        n_epochs: of the night that is explained as a whole.
        n_repeats: the median of so many counts.

    Returns:
        for each method `ms_alone` for a single epoch, `ms_in_batches` for an epoch among many, both of processor time
        on one core, and `decisions`, the latter over the time of a plain decision in batches.
    """
    config = model.config.epoch_config
    values = torch.from_numpy(np.random.default_rng(0).normal(size=(n_epochs, 1, config.num_rows, 30))).float()

    def milliseconds(work, n: int) -> float:
        work()
        times = []
        for _ in range(n_repeats):
            begin = time.process_time()
            work()
            times.append(time.process_time() - begin)
        return 1000 * float(np.median(times)) / n

    plain = milliseconds(lambda: window_decisions(model, values), n_epochs)
    figures = {"plain decision": {"ms_in_batches": plain}}
    for name in METHODS:
        alone = milliseconds(lambda name=name: explain_night(model, values, [n_epochs // 2], method=name), 1)
        batch = milliseconds(lambda name=name: explain_night(model, values, method=name), n_epochs)
        figures[name] = {"ms_alone": alone, "ms_in_batches": batch, "decisions": batch / plain}
    return figures

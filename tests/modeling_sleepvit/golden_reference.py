"""The final EEGspec-VTrans with its golden weights in plain float64 matrices: nothing of the package's models."""

import math

import torch


N_LAYERS, N_HEADS, HEAD_DIM, HIDDEN, MLP = 8, 12, 16, 128, 256
N_BANDS, N_SECONDS, N_CHANNELS, BAND_ROWS, N_CLASSES = 5, 30, 2, 4, 5
N_TOKENS = N_BANDS * N_SECONDS + 1
INNER = N_HEADS * HEAD_DIM


def golden_numbers(n_values: int, tensor_number: int) -> torch.Tensor:
    """Return n values of u(., j), the numbers that the golden weights and inputs are made of."""
    k = torch.arange(n_values, dtype=torch.int64)
    return ((1103515245 * k + 12345 + 2654435761 * tensor_number) % 2**31).double() / 2**31


def golden_weights() -> list[torch.Tensor]:
    """Make all parameter tensors, in the order of the golden value."""
    norm, layer = [(HIDDEN,), (HIDDEN,)], []
    layer += [*norm, (3 * INNER, HIDDEN), (HIDDEN, INNER), (HIDDEN,)]
    layer += [*norm, (MLP, HIDDEN), (MLP,), (HIDDEN, MLP), (HIDDEN,)]
    shapes = [(HIDDEN, BAND_ROWS * N_CHANNELS), (HIDDEN,), (N_TOKENS, HIDDEN), (HIDDEN,)]
    shapes += layer * N_LAYERS + [*norm, (N_CLASSES, HIDDEN), (N_CLASSES,)]
    norm_weights = {4 + 11 * index + place for index in range(N_LAYERS) for place in (0, 5)} | {4 + 11 * N_LAYERS}
    return [
        0.2 * (golden_numbers(math.prod(shape), number) - 0.5).reshape(shape) + (number in norm_weights)
        for number, shape in enumerate(shapes)
    ]


def golden_input(n_epochs: int) -> torch.Tensor:
    """Make (epochs, channels, rows, seconds)."""
    shape = (n_epochs, N_CHANNELS, N_BANDS * BAND_ROWS, N_SECONDS)
    return 4 * golden_numbers(math.prod(shape), 1000).reshape(shape)


def normed(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight + bias


def decide(epoch: torch.Tensor, weights: list[torch.Tensor]) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Stage one epoch.

    Args:
        epoch: (channels, rows, seconds).
        weights: of `golden_weights`.

    Returns:
        logits (classes,) and the softmax map of each layer, (heads, tokens, tokens), which ask for gradients.
    """
    remaining = iter(weights)
    w_embed, b_embed, positions, class_token = (next(remaining) for _ in range(4))
    tokens = [class_token]
    for band in range(N_BANDS):
        for second in range(N_SECONDS):
            patch = epoch[:, BAND_ROWS * band : BAND_ROWS * (band + 1), second]  # (channels, rows)
            tokens.append(w_embed @ patch.T.reshape(-1) + b_embed)
    h = torch.stack(tokens) + positions
    maps = []
    for _ in range(N_LAYERS):
        ln1_w, ln1_b, w_qkv, w_o, b_o, ln2_w, ln2_b, w_1, b_1, w_2, b_2 = (next(remaining) for _ in range(11))
        x = normed(h, ln1_w, ln1_b)
        q, k, v = (part.reshape(N_TOKENS, N_HEADS, HEAD_DIM) for part in (x @ w_qkv.T).split(INNER, dim=1))
        scores = torch.einsum("ihd,jhd->hij", q, k) / math.sqrt(HEAD_DIM)
        attention = scores.exp() / scores.exp().sum(-1, keepdim=True)
        if not attention.requires_grad:
            attention.requires_grad_()
        maps.append(attention)
        h = h + torch.einsum("hij,jhd->ihd", attention, v).reshape(N_TOKENS, INNER) @ w_o.T + b_o
        x = normed(h, ln2_w, ln2_b) @ w_1.T + b_1
        h = h + (x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))) @ w_2.T + b_2
    ln_w, ln_b, w, b = remaining
    return w @ normed(h[0], ln_w, ln_b) + b, maps


def relevance_of_patches(epoch: torch.Tensor, class_id: int, weights: list[torch.Tensor]) -> torch.Tensor:
    """Compute the relevance of Chefer et al. over all layers, (bands, seconds), matrix by matrix."""
    logits, maps = decide(epoch, weights)
    gradients = torch.autograd.grad(logits[class_id], maps)
    relevance = torch.eye(N_TOKENS, dtype=torch.float64)
    for attention, gradient in zip(maps, gradients):
        relevance = relevance + (attention * gradient).clamp(min=0).mean(0) @ relevance
    return relevance[0, 1:].reshape(N_BANDS, N_SECONDS).detach()


def rollout_matrices(epoch: torch.Tensor, weights: list[torch.Tensor]) -> list[torch.Tensor]:
    """Compute the rollout after each layer, (tokens, tokens)."""
    product, products = torch.eye(N_TOKENS, dtype=torch.float64), []
    for attention in decide(epoch, weights)[1]:
        step = attention.detach().mean(0) + torch.eye(N_TOKENS, dtype=torch.float64)
        product = step / step.sum(-1, keepdim=True) @ product
        products.append(product)
    return products

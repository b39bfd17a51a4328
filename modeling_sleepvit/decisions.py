"""What is explained: decisions of a model as functions of the values of some epochs, or of their embeddings."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace

import torch
from torch import nn

from .errors import SettingError
from .night_staging import EPOCHS_PER_BATCH


CELLS_AT_ONCE = 2**22
"""Cells of one layer's attention maps computed at once: bounds the memory, and larger batches gain no time."""


@dataclass
class Windows:
    """The windows of a sequence model that decisions are made in.

    Args:
        embeddings: (decisions, epochs, hidden) of all epochs as they are.
        explained: (decisions, explained epochs) which epochs of a window are explained.
        epoch: (decisions,) the epoch of a window whose stage is decided.
        attention_mask: (decisions, epochs), 1 for an epoch and 0 for padding; None where all are epochs.
    """

    embeddings: torch.Tensor
    explained: torch.Tensor
    epoch: torch.Tensor
    attention_mask: torch.Tensor | None = None

    def __getitem__(self, index: torch.Tensor) -> "Windows":
        """Choose decisions, also several times."""
        return Windows(*(None if (part := getattr(self, f.name)) is None else part[index] for f in fields(self)))


@dataclass
class Decisions:
    """Decisions of a model with its stage head.

    Args:
        model: in eval mode.
        values: (decisions, explained epochs, channels, rows, frames) what they are explained by; an epoch model
            explains one epoch.
        windows: the epochs around them; None for an epoch model.
        class_ids: (decisions,) the classes that are explained, once they are known.
    """

    model: nn.Module
    values: torch.Tensor
    windows: Windows | None
    class_ids: torch.Tensor | None = None

    def __getitem__(self, index: torch.Tensor) -> "Decisions":
        """Choose decisions, also several times."""
        windows, class_ids = (None if part is None else part[index] for part in (self.windows, self.class_ids))
        return Decisions(self.model, self.values[index], windows, class_ids)

    def __len__(self) -> int:
        return len(self.values)

    def epoch_by_epoch(self) -> Iterator["Decisions"]:
        """Explain by one of the epochs at a time."""
        for place in range(self.values.shape[1]):
            windows = self.windows
            if windows is not None:
                windows = replace(windows, explained=windows.explained[:, place : place + 1])
            yield replace(self, values=self.values[:, place : place + 1], windows=windows)

    @property
    def at_once(self) -> int:
        """How many decisions make a batch of bounded memory."""
        config, n_windows = self.encoder.config, max(1, self.n_frames // self.encoder.config.num_frames)
        n_cells = config.num_attention_heads * (config.num_patches + 1) ** 2 * n_windows * self.values.shape[1]
        if self.windows is not None:
            n_cells += self.model.config.num_attention_heads * (self.windows.embeddings.shape[1] + 1) ** 2
        return max(1, CELLS_AT_ONCE // n_cells)

    @property
    def encoder(self) -> nn.Module:
        """The epoch encoder."""
        return encoder_of(self.model)

    @property
    def n_frames(self) -> int:
        """Frames of an epoch, over all windows of the encoder."""
        return self.values.shape[-1]

    def embed(self, values: torch.Tensor, maps: list[torch.Tensor] | None = None) -> torch.Tensor:
        """Encode epochs.

        Args:
            values: (decisions, explained epochs, channels, rows, frames).
            maps: a list that each layer's attention maps are added to, where the model attends eagerly.

        Returns:
            (decisions, explained epochs, hidden).
        """
        embeddings = self.encoder(values.flatten(0, 1), attention_maps=maps).pooler_output
        return embeddings.unflatten(0, values.shape[:2])

    def as_they_are(self) -> torch.Tensor:
        """Give the embeddings of all epochs, (decisions, epochs, hidden), with nothing changed."""
        return self.embed(self.values) if self.windows is None else self.windows.embeddings

    def with_embeddings(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Put embeddings of the explained epochs among their neighbours.

        Args:
            embeddings: (decisions, explained epochs, hidden).

        Returns:
            (decisions, epochs, hidden); for an epoch model what was given.
        """
        if self.windows is None:
            return embeddings
        places = self.windows.explained[:, :, None].expand(-1, -1, embeddings.shape[-1])
        return self.windows.embeddings.scatter(1, places, embeddings)

    def logits(self, embeddings: torch.Tensor, maps: list[torch.Tensor] | None = None) -> torch.Tensor:
        """Decide.

        Args:
            embeddings: (decisions, epochs, hidden) as `with_embeddings` gives them.
            maps: a list that the sequence encoder's attention maps are added to, where the model attends eagerly.

        Returns:
            (decisions, classes).
        """
        if self.windows is None:
            return self.model.classifier(self.model.layernorm(embeddings[:, 0]))
        logits = self.model(
            epoch_embeddings=embeddings, attention_mask=self.windows.attention_mask, attention_maps=maps
        ).logits
        if self.model.config.label_mode == "center":
            return logits
        return logits[torch.arange(len(logits), device=logits.device), self.windows.epoch]

    def chosen(self, logits: torch.Tensor) -> torch.Tensor:
        """Take the explained class of (decisions, classes)."""
        return logits.gather(1, self.class_ids[:, None])[:, 0]

    def epoch_tokens(self) -> tuple[torch.Tensor, slice]:
        """Tell where the sequence encoder holds what.

        Returns:
            the token that is decided from, (decisions,), and the tokens of the epochs of a window.
        """
        config, n_epochs = self.model.config, self.windows.embeddings.shape[1]
        if config.label_mode == "center":
            before = config.sequence_length // 2 - n_epochs // 2  # a short window is padded around its middle
            return torch.zeros_like(self.windows.epoch), slice(1 + before, 1 + before + n_epochs)
        return 1 + self.windows.epoch, slice(1, 1 + n_epochs)


def decisions_of_night(
    model: nn.Module, values: torch.Tensor, chosen: torch.Tensor, is_scorable: torch.Tensor | None = None
) -> tuple[Decisions, torch.Tensor | None]:
    """Gather the decisions about some epochs of a night, each explained by that epoch; the others are encoded once.

    Args:
        model: an epoch or a sequence model with its stage head, in eval mode.
        values: (epochs, channels, rows, frames) the night in order, on the model's device.
        chosen: (decisions,) epochs of the night.
        is_scorable: (epochs,) bool; epochs that are False lend nothing to their neighbours. None: all are True.

    Returns:
        the decisions; for a sequence model the epochs of each window, (decisions, window), -1 beyond the night's ends.
    """
    explained = values[chosen.to(values.device)][:, None]
    if not hasattr(model.config, "sequence_length"):
        return Decisions(model, explained, None), None
    members, place, is_there = windows_around(model.config, chosen, len(values))
    window = members.where(is_there, -1)
    if is_scorable is not None:
        is_there = is_there & is_scorable[members]
    needed, where = members.unique(return_inverse=True)
    with torch.no_grad():
        parts = values[needed.to(values.device)].split(EPOCHS_PER_BATCH)
        embeddings = torch.cat([model.sleepvit.encode_epochs(part[None])[0] for part in parts])
    place, mask = place.to(values.device), None if is_there.all() else is_there.long().to(values.device)
    return Decisions(
        model, explained, Windows(embeddings[where.to(values.device)], place[:, None], place, mask)
    ), window


def windows_around(config, chosen: torch.Tensor, n_epochs: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Lay the window of a sequence model around each epoch.

    Args:
        config: of the model.
        chosen: (decisions,) epochs of the night.
        n_epochs: epochs of the night.

    Returns:
        members (decisions, window) epochs of the night; place (decisions,) of the chosen one among them; is_epoch
        (decisions, window), False where the window reaches beyond the night, which a window of a model with label mode
        "center" may.
    """
    if config.label_mode == "center":
        length, starts = config.sequence_length, chosen - config.sequence_length // 2
    else:
        length = min(config.sequence_length, n_epochs)
        starts = (chosen - length // 2).clamp(0, n_epochs - length)
    members = starts[:, None] + torch.arange(length)
    is_epoch = (members >= 0) & (members < n_epochs)
    return members.clamp(0, n_epochs - 1), chosen - starts, is_epoch


def encoder_of(model: nn.Module) -> nn.Module:
    """Find the epoch encoder of a model.

    Args:
        model: an epoch or a sequence model with its stage head.

    Returns:
        the encoder.

    Raises:
        SettingError: the model is none of those that can be explained.
    """
    body = getattr(model, "sleepvit", None)
    if body is None or not hasattr(model, "classifier"):
        raise SettingError(
            f"explain needs a SleepViT model with its stage head (SleepViTForAudioClassification or "
            f"SleepViTForAudioFrameClassification), found {type(model).__name__}."
        )
    return getattr(body, "epoch_encoder", body)


@contextmanager
def left_as_it_was(model: nn.Module, is_eager: bool) -> Iterator[None]:
    """Put a model into eval mode, with gradients, and put everything back afterwards, also after an error.

    Args:
        model: keeps the mode of each of its modules and the attention implementation of each of its configurations.
        is_eager: whether to attend eagerly meanwhile, so that there are attention maps.
    """
    modes = [(module, module.training) for module in model.modules()]
    configs = {id(module.config): module.config for module in model.modules() if hasattr(module, "config")}
    # the outer ones come first, and setting theirs sets those inside
    implementations = [(config, config._attn_implementation) for config in configs.values()]
    try:
        model.eval()
        if is_eager:
            for config, _ in implementations:
                config._attn_implementation = "eager"
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        for module, is_training in modes:
            module.training = is_training
        for config, implementation in implementations:
            config._attn_implementation = implementation

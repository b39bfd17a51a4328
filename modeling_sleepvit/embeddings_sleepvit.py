"""What the encoders read: a window of the spectrogram or of the waveform as a row of tokens, and their positions."""

import torch
from torch import nn
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer

from .configuration_sleepvit import SleepViTConfig, SleepViTEncoderConfig


class SleepViTPatchEmbeddings(nn.Module):
    """The frequency cut: (batch, channels, rows, frames) -> (batch, patches, hidden), band-major.

    One projection serves all bands, as published, or each band has its own.

    Joint channels: token 30*band + second, feature row_in_band*channels + channel. Channel tokens: token
    channels*(30*band + second) + channel, feature row_in_band.
    """

    def __init__(self, config: SleepViTConfig):
        super().__init__()
        self.config = config
        if config.band_projections:  # CODEPATH: the embedded checkpoint; the published presets share one projection
            self.projections = nn.ModuleList(
                [nn.Linear(config.patch_size, config.hidden_size) for _ in range(config.num_bands)]
            )
        else:
            self.projection = nn.Linear(config.patch_size, config.hidden_size)

    def forward(self, input_values: torch.Tensor) -> torch.Tensor:
        config = self.config
        patches = input_values.unflatten(2, (config.num_bands, config.patch_rows))
        if config.channel_tokens:  # CODEPATH: eegspec-vtrans-channel-tokens and eegspec-1s; others join the channels
            patches = patches.permute(0, 2, 4, 1, 3)  # (batch, bands, frames, channels, rows)
        else:
            patches = patches.permute(0, 2, 4, 3, 1)  # (batch, bands, frames, rows, channels)
        bands = patches.reshape(input_values.shape[0], config.num_bands, -1, config.patch_size)
        if config.band_projections:  # CODEPATH: the embedded checkpoint; the published presets share one projection
            return torch.cat([project(band) for project, band in zip(self.projections, bands.unbind(dim=1))], dim=1)
        return self.projection(bands.flatten(1, 2))


class SleepViTEogEmbeddings(nn.Module):
    """The EOG: (batch, channels, rows, frames) -> (batch, frames, hidden), one token per second.

    Feature row*channels + channel.
    """

    def __init__(self, config: SleepViTConfig):
        super().__init__()
        self.projection = nn.Linear(config.num_eog_rows * config.num_eog_channels, config.hidden_size)

    def forward(self, eog_values: torch.Tensor) -> torch.Tensor:
        """Make the tokens; shapes as above."""
        return self.projection(eog_values.permute(0, 3, 2, 1).flatten(2))


class SleepViTRecurrentLayer(GradientCheckpointingLayer):
    """One recurrent layer: (batch, steps, input_size) -> (batch, steps, output_size), in one direction or in both."""

    def __init__(self, input_size: int, output_size: int, bidirectional: bool = False):
        super().__init__()
        self.lstm = nn.LSTM(
            input_size, output_size // (1 + bidirectional), batch_first=True, bidirectional=bidirectional
        )

    def forward(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs
    ) -> torch.Tensor:
        """Read the steps; the mask is a Transformer layer's, which stands in the same place."""
        return self.lstm(hidden_states)[0]


class SleepViTRecurrentPatchEmbeddings(SleepViTPatchEmbeddings):
    """Patches with one channel more: (batch, channels, rows, frames) -> (batch, patches, hidden).

    A recurrent branch reads the seconds, feature channel*rows + row, and gives `patch_rows` values for each; every
    band holds them as its first channel.
    """

    def __init__(self, config: SleepViTConfig):
        super().__init__(config)
        sizes = [config.num_channels * config.num_rows, *[config.recurrent_size] * config.num_recurrent_layers]
        self.recurrent_layers = nn.ModuleList(
            [SleepViTRecurrentLayer(size, config.recurrent_size) for size in sizes[:-1]]
        )
        self.recurrent_projection = nn.Linear(config.recurrent_size, config.patch_rows)

    def forward(self, input_values: torch.Tensor) -> torch.Tensor:
        seconds = input_values.flatten(1, 2).transpose(1, 2)  # (batch, frames, channels * rows)
        for layer in self.recurrent_layers:
            seconds = layer(seconds)
        channel = self.recurrent_projection(seconds).transpose(1, 2).tile(1, self.config.num_bands, 1)
        return super().forward(torch.cat((channel[:, None], input_values), dim=1))


class SleepViTSteps(nn.Module):
    """Patches as steps of a recurrent network: (batch, channels, rows, frames) -> (batch, bands * frames, features).

    Steps are band-major, feature channel*patch_rows + row_in_band.
    """

    def __init__(self, config: SleepViTConfig):
        super().__init__()
        self.config = config

    def forward(self, input_values: torch.Tensor) -> torch.Tensor:
        patches = input_values.unflatten(2, (self.config.num_bands, self.config.patch_rows))
        return patches.permute(0, 2, 4, 1, 3).flatten(3, 4).flatten(1, 2)  # (batch, bands, frames, channels, rows)


class SleepViTInceptionEmbeddings(nn.Module):
    """Strided convolutions of a waveform: (batch, channels, samples of a second, seconds) -> (batch, tokens, hidden).

    Each convolution makes as many tokens as there are seconds, feature step_in_second*filters + filter; the tokens of
    one follow those of another.
    """

    def __init__(self, config: SleepViTConfig):
        super().__init__()
        self.config = config
        n_filters = config.num_conv_filters
        self.convolutions = nn.ModuleList(
            [
                nn.Conv1d(config.num_channels, n_filters, kernel, stride=kernel, padding=padding)
                for kernel, (_, padding) in zip(config.conv_kernels, config.steps_of_kernels)
            ]
        )
        self.branch_projections = nn.ModuleList(
            [
                nn.Linear(n_steps // config.num_frames * n_filters, config.conv_embedding_size, bias=False)
                for n_steps, _ in config.steps_of_kernels
            ]
        )
        self.activation = ACT2FN[config.hidden_act]
        self.projection = nn.Linear(config.conv_embedding_size, config.hidden_size)

    def forward(self, input_values: torch.Tensor) -> torch.Tensor:
        waveform = input_values.transpose(2, 3).flatten(2)  # (batch, channels, samples)
        branches = []
        for convolve, project in zip(self.convolutions, self.branch_projections):
            steps = convolve(waveform).transpose(1, 2)  # (batch, steps, filters)
            seconds = steps.unflatten(1, (self.config.num_frames, -1)).flatten(2)  # (batch, seconds, features)
            branches.append(self.activation(project(seconds)))
        return self.projection(torch.cat(branches, dim=1))


EMBEDDINGS = {
    "vtrans": SleepViTPatchEmbeddings,
    "inception-vtrans": SleepViTInceptionEmbeddings,
    "lstm-vtrans": SleepViTRecurrentPatchEmbeddings,
    "lstm": SleepViTSteps,
    "bilstm": SleepViTSteps,
}
"""What reads a window, by `encoder_type`."""


class SleepViTTokens(nn.Module):
    """A class token and the learned positions, if any: (batch, n, hidden) -> (batch, n + 1, hidden)."""

    def __init__(self, config: SleepViTEncoderConfig, num_positions: int | None):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        self.position_embeddings = None
        if num_positions is not None:  # CODEPATH: all but sequence encoders with rotary positions
            self.position_embeddings = nn.Parameter(torch.zeros(1, num_positions, config.hidden_size))

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        cls_token = self.cls_token.expand(embeddings.shape[0], -1, -1)
        tokens = torch.cat((cls_token, embeddings), dim=1)
        if self.position_embeddings is None:  # CODEPATH: sequence encoders with rotary positions
            return tokens
        return tokens + self.position_embeddings[:, : tokens.shape[1]]


def rotary_rotations(tokens: torch.Tensor, head_dim: int, base: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Find by which angles queries and keys turn at their places, so that attention sees how far two are apart.

    Args:
        tokens: (batch, tokens, hidden), whose number, device and type count.
        head_dim: width of one head, even.
        base: of the wavelengths, which go from 2 pi tokens to 2 pi * base.

    Returns:
        cosines and sines, each (tokens, head_dim / 2).

    Source:
        Su et al., RoFormer: Enhanced Transformer with Rotary Position Embedding (2021), section 3.2.
    """
    n_pairs = head_dim // 2
    speeds = base ** (-torch.arange(n_pairs, device=tokens.device, dtype=torch.float32) / n_pairs)
    places = torch.arange(tokens.shape[1], device=tokens.device, dtype=torch.float32)
    angles = places[:, None] * speeds  # (tokens, pairs)
    return angles.cos().to(tokens.dtype), angles.sin().to(tokens.dtype)


def rotated(vectors: torch.Tensor, rotations: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Turn queries or keys, (batch, heads, tokens, head_dim), by the angles of their places."""
    cosines, sines = rotations
    first, second = vectors.chunk(2, dim=-1)
    return torch.cat((first * cosines - second * sines, first * sines + second * cosines), dim=-1)


__all__ = ["EMBEDDINGS", "SleepViTEogEmbeddings", "SleepViTRecurrentLayer", "rotary_rotations", "rotated"]

"""What the encoders read: one window of the spectrogram or of the waveform as a row of tokens."""

import torch
from torch import nn
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer

from .configuration_sleepvit import SleepViTConfig


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

__all__ = ["EMBEDDINGS", "SleepViTEogEmbeddings", "SleepViTRecurrentLayer"]

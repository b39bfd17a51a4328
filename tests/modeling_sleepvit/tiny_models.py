"""Tiny models of every architecture, and inputs that fit them."""

import torch

from modeling_sleepvit import (
    SleepViTConfig,
    SleepViTForAudioClassification,
    SleepViTForAudioFrameClassification,
    SleepViTSequenceConfig,
)


TINY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "head_dim": 4, "intermediate_size": 24}


def tiny_epoch_config(**overrides) -> SleepViTConfig:
    return SleepViTConfig(**{**TINY, "num_channels": 2, "num_rows": 8, "num_frames": 3, **overrides})


def tiny_sequence_config(**overrides) -> SleepViTSequenceConfig:
    return SleepViTSequenceConfig(
        **{**TINY, "hidden_size": 20, "epoch_config": tiny_epoch_config(), "sequence_length": 6, **overrides}
    )


TINY_EPOCHS = {
    "epoch": {},
    "epoch, channel tokens": {"channel_tokens": True, "pooling": "mean"},
    "epoch, EOG": {"num_eog_channels": 1, "num_eog_rows": 5},
    "epoch, inception-vtrans": {"encoder_type": "inception-vtrans", "num_rows": 12},
    "epoch, lstm-vtrans": {"encoder_type": "lstm-vtrans", "recurrent_size": 6, "num_recurrent_layers": 2},
    "epoch, lstm": {"encoder_type": "lstm", "pooling": "mean"},
    "epoch, bilstm": {"encoder_type": "bilstm", "pooling": "mean"},
}
TINY_SEQUENCES = {
    "sequence": {"auxiliary_loss_weight": 0.3},
    "center": {"sequence_length": 3, "label_mode": "center"},
    "rotary": {"position_type": "rotary"},
    "band projections": {"epoch_config": tiny_epoch_config(band_projections=True)},
    "sequence, EOG": {"epoch_config": tiny_epoch_config(**TINY_EPOCHS["epoch, EOG"])},
}


def inputs_of(config: SleepViTConfig, *axes: int) -> dict[str, torch.Tensor]:
    inputs = {"input_values": torch.randn(*axes, config.num_channels, config.num_rows, config.num_frames)}
    if config.num_eog_channels:
        inputs["eog_values"] = torch.randn(*axes, config.num_eog_channels, config.num_eog_rows, config.num_frames)
    return inputs


def tiny_model(name: str) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    if name in TINY_EPOCHS:
        config = tiny_epoch_config(**TINY_EPOCHS[name])
        return SleepViTForAudioClassification(config).eval(), inputs_of(config, 3)
    config = tiny_sequence_config(**TINY_SEQUENCES[name])
    model = SleepViTForAudioFrameClassification(config).eval()
    return model, inputs_of(config.epoch_config, 2, config.sequence_length)

"""PyTorch models of SleepViT: the epoch encoders, EEGspec-VTrans first, the sequence encoder and their heads."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPooling, SequenceClassifierOutput
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, PreTrainedModel
from transformers.utils import ModelOutput
from transformers.utils.generic import can_return_tuple, merge_with_config_defaults
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from .configuration_sleepvit import SleepViTConfig, SleepViTEncoderConfig, SleepViTSequenceConfig
from .embeddings_sleepvit import (
    EMBEDDINGS,
    SleepViTEogEmbeddings,
    SleepViTRecurrentLayer,
    SleepViTTokens,
    rotary_rotations,
    rotated,
)
from .hub_card import PushedWithCard


def staging_loss(logits, labels, config: SleepViTEncoderConfig, num_items_in_batch=None, **kwargs) -> torch.Tensor:
    """Cross-entropy over the scored epochs, with the class weights and label smoothing of the config.

    Args:
        logits: (..., num_labels).
        labels: (...) class ids; -100 marks epochs that are not scored.
        config: holds `class_weights` and `label_smoothing`.
        num_items_in_batch: scored epochs of all accumulated batches, as Trainer counts them, or None.
        **kwargs: what else Trainer hands to a model; not used.

    Returns:
        scalar: the sum over scored epochs divided by their number; 0 where no epoch is scored.
    """
    logits = logits.reshape(-1, logits.shape[-1])
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))  # bf16 logits are too coarse for a loss
    labels = labels.reshape(-1).to(logits.device)
    class_weights = logits.new_tensor(config.class_weights or [1.0] * logits.shape[-1])
    loss = nn.functional.cross_entropy(
        logits, labels, weight=class_weights, label_smoothing=config.label_smoothing, reduction="sum"
    )
    if num_items_in_batch is None:
        num_items_in_batch = (labels != -100).sum().clamp(min=1)
    return loss / num_items_in_batch


def eager_attention_forward(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    attention_maps: list[torch.Tensor] | None = None,
    **kwargs,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attend in plain matrices and return the attention maps too.

    Args:
        module: the attention module.
        query: (batch, heads, tokens, head_dim); `key` and `value` alike.
        key: see `query`.
        value: see `query`.
        attention_mask: additive mask that broadcasts to (batch, heads, tokens, tokens), or None.
        scaling: factor on the scores.
        dropout: dropout on the attention maps.
        attention_maps: a list that every layer adds its maps to, as they stand in the graph: `explain` looks at their
            gradients, and hooks of the library's output capturing would stay on the model.
        **kwargs: of other attention implementations; not used.

    Returns:
        output (batch, tokens, heads, head_dim) and attention maps (batch, heads, tokens, tokens).
    """
    scores = query @ key.transpose(-1, -2) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    softmax_dtype = torch.promote_types(query.dtype, torch.float32)  # keeps float64 exact
    attention = nn.functional.softmax(scores, dim=-1, dtype=softmax_dtype).to(query.dtype)
    attention = nn.functional.dropout(attention, p=dropout, training=module.training)
    if attention_maps is not None:
        attention_maps.append(attention)
    return (attention @ value).transpose(1, 2).contiguous(), attention


class SleepViTAttention(nn.Module):
    """Multi-head self-attention without bias on queries, keys and values and without dropout on the maps."""

    def __init__(self, config: SleepViTEncoderConfig):
        super().__init__()
        self.config = config
        self.head_dim = config.head_dim
        self.scaling = config.head_dim**-0.5
        self.is_causal = False
        inner_size = config.num_attention_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, inner_size, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, inner_size, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, inner_size, bias=False)
        self.o_proj = nn.Linear(inner_size, config.hidden_size)

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        rotations: tuple[torch.Tensor, torch.Tensor] | None = None,
        **kwargs,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        input_shape = hidden_states.shape[:-1]  # (batch, tokens)
        head_shape = (*input_shape, -1, self.head_dim)
        query = self.q_proj(hidden_states).view(head_shape).transpose(1, 2)  # (batch, heads, tokens, head_dim)
        key = self.k_proj(hidden_states).view(head_shape).transpose(1, 2)
        value = self.v_proj(hidden_states).view(head_shape).transpose(1, 2)
        if rotations is not None:  # CODEPATH: sequence encoders with rotary positions; the published learn theirs
            query, key = rotated(query, rotations), rotated(key, rotations)
        attend: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        attended, attention = attend(
            self, query, key, value, attention_mask, dropout=0.0, scaling=self.scaling, **kwargs
        )
        return self.o_proj(attended.reshape(*input_shape, -1)), attention


class SleepViTMLP(nn.Module):
    """The feed-forward part of a block."""

    def __init__(self, config: SleepViTEncoderConfig):
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACT2FN[config.hidden_act]
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.dropout(self.activation(self.fc1(hidden_states))))


class SleepViTLayer(GradientCheckpointingLayer):
    """One pre-norm Transformer block: (batch, tokens, hidden) -> (batch, tokens, hidden)."""

    def __init__(self, config: SleepViTEncoderConfig):
        super().__init__()
        self.layernorm_before = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attention = SleepViTAttention(config)
        self.layernorm_after = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = SleepViTMLP(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs
    ) -> torch.Tensor:
        attended, _ = self.attention(self.layernorm_before(hidden_states), attention_mask, **kwargs)
        hidden_states = hidden_states + self.dropout(attended)
        return hidden_states + self.dropout(self.mlp(self.layernorm_after(hidden_states)))


class SleepViTPreTrainedModel(PushedWithCard, PreTrainedModel):
    """Weight initialisation and what the library may do with the epoch models."""

    config: SleepViTConfig
    base_model_prefix = "sleepvit"
    main_input_name = "input_values"
    input_modalities = ("audio",)
    supports_gradient_checkpointing = True
    _no_split_modules = ["SleepViTLayer", "SleepViTRecurrentLayer"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True
    _can_record_outputs = {
        "hidden_states": [SleepViTLayer, OutputRecorder(SleepViTRecurrentLayer, layer_name="layers")],
        "attentions": SleepViTAttention,
    }

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        published = self.config.weight_init == "published"
        if isinstance(module, SleepViTTokens):
            std = 1.0 if published else self.config.initializer_range
            init.normal_(module.cls_token, std=std)
            if module.position_embeddings is not None:
                init.normal_(module.position_embeddings, std=std)
        elif isinstance(module, (nn.Linear, nn.Conv1d)) and published:
            # what PyTorch does on its own
            init.kaiming_uniform_(module.weight, a=math.sqrt(5))
            if module.bias is not None:
                bound = module.weight[0].numel() ** -0.5
                init.uniform_(module.bias, -bound, bound)
        elif isinstance(module, nn.LSTM) and published:
            for parameter in module.parameters():
                init.uniform_(parameter, -(module.hidden_size**-0.5), module.hidden_size**-0.5)


class SleepViTModel(SleepViTPreTrainedModel):
    """Epoch encoder: (batch, channels, rows, frames) -> one embedding per epoch (batch, hidden).

    EEGspec-VTrans, or the architecture that `config.encoder_type` names.

    Args:
        config: encoder type, sizes, band layout and pooling.

    Source:
        Chen et al., IEEE TNSRE 31:1974-1985, 2023.
    """

    def __init__(self, config: SleepViTConfig):
        super().__init__(config)
        self.patch_embeddings = EMBEDDINGS[config.encoder_type](config)
        if config.num_eog_channels:  # CODEPATH: eegspec-eogspec-vtrans
            self.eog_embeddings = SleepViTEogEmbeddings(config)
        if config.is_recurrent:  # CODEPATH: eegspec-lstm and eegspec-bilstm
            sizes = [config.patch_size, *[config.hidden_size] * (config.num_hidden_layers - 1)]
            is_bidirectional = config.encoder_type == "bilstm"
            layers = [SleepViTRecurrentLayer(size, config.hidden_size, is_bidirectional) for size in sizes]
        else:
            self.tokens = SleepViTTokens(config, config.num_positions)
            layers = [SleepViTLayer(config) for _ in range(config.num_hidden_layers)]
        self.layers = nn.ModuleList(layers)
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self, input_values: torch.Tensor, eog_values: torch.Tensor | None = None, **kwargs
    ) -> BaseModelOutputWithPooling:
        """Encode epochs.

        Args:
            input_values: (batch, channels, rows, frames) as the feature extractor makes them; frames is a multiple of
                the encoder's window, and a longer epoch is read window by window.
            eog_values: (batch, EOG channels, EOG rows, frames), for a model that reads the EOG, too.
            **kwargs: `output_attentions` (maps exist with attn_implementation "eager" only), `output_hidden_states`.

        Returns:
            `pooler_output` (batch, hidden), the mean over windows; `last_hidden_state` (batch, windows * tokens,
            hidden), without the class token for recurrent encoders. Recorded hidden states and maps have the leading
            axis batch * windows.

        Raises:
            ValueError: an axis of the input does not fit the config, or the EOG is missing or not wanted.
        """
        config = self.config
        if (eog_values is not None) != (config.num_eog_channels > 0):
            raise ValueError(
                f"the model reads {config.num_eog_channels} EOG channels, "
                f"found {'no eog_values' if eog_values is None else f'eog_values {tuple(eog_values.shape)}'}"
            )
        windows = self.cut_windows(input_values, config.num_channels, config.num_rows)
        hidden_states = self.patch_embeddings(windows)  # (batch * windows, patches, hidden)
        if eog_values is not None:  # CODEPATH: eegspec-eogspec-vtrans
            eog_windows = self.cut_windows(eog_values, config.num_eog_channels, config.num_eog_rows)
            hidden_states = torch.cat((hidden_states, self.eog_embeddings(eog_windows)), dim=1)
        if not config.is_recurrent:  # CODEPATH: all but eegspec-lstm and eegspec-bilstm
            hidden_states = self.tokens(hidden_states)  # (batch * windows, 1 + patches, hidden)
        for layer in self.layers:
            hidden_states = layer(hidden_states, None, **kwargs)
        if config.pooling == "cls":  # CODEPATH: all presets with a class token; the mean is an option there
            pooled = hidden_states[:, 0]
        else:
            pooled = hidden_states.mean(dim=1)
        batch_size = input_values.shape[0]
        return BaseModelOutputWithPooling(
            last_hidden_state=hidden_states.reshape(batch_size, -1, config.hidden_size),
            pooler_output=pooled.reshape(batch_size, -1, config.hidden_size).mean(dim=1),
        )

    def cut_windows(self, input_values: torch.Tensor, num_channels: int, num_rows: int) -> torch.Tensor:
        """Cut epochs into windows of the encoder's length.

        Args:
            input_values: (batch, channels, rows, windows * num_frames).
            num_channels: how many there must be.
            num_rows: how many there must be.

        Returns:
            (batch * windows, channels, rows, num_frames), the windows of an epoch one after another.

        Raises:
            ValueError: an axis does not fit the config; the message names it.
        """
        if input_values.dim() != 4:
            raise ValueError(
                f"input_values must have shape (batch, channels, rows, frames), found: {tuple(input_values.shape)}"
            )
        _, channels, rows, frames = input_values.shape
        if channels != num_channels:
            raise ValueError(f"axis channels: expected {num_channels}, found {channels}")
        if rows != num_rows:
            raise ValueError(f"axis rows: expected {num_rows}, found {rows}")
        if frames == 0 or frames % self.config.num_frames:
            raise ValueError(f"axis frames: expected a multiple of {self.config.num_frames}, found {frames}")
        windows = input_values.to(self.dtype).unflatten(-1, (-1, self.config.num_frames))
        return windows.permute(0, 3, 1, 2, 4).flatten(0, 1)  # from (batch, channels, rows, windows, num_frames)


class SleepViTForAudioClassification(SleepViTPreTrainedModel):
    """Epoch encoder with a stage head: one epoch -> logits over W, N1, N2, N3, R."""

    def __init__(self, config: SleepViTConfig):
        super().__init__(config)
        self.sleepvit = SleepViTModel(config)
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.loss_function = staging_loss
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_values: torch.Tensor,
        labels: torch.Tensor | None = None,
        eog_values: torch.Tensor | None = None,
        **kwargs,
    ) -> SequenceClassifierOutput:
        """Stage epochs one by one.

        Args:
            input_values: (batch, channels, rows, frames).
            labels: (batch,) stage ids, -100 for epochs that are not scored.
            eog_values: (batch, EOG channels, EOG rows, frames), for a model that reads the EOG, too.
            **kwargs: see `SleepViTModel.forward`; `num_items_in_batch` for the loss.

        Returns:
            `logits` (batch, num_labels) and, with labels, `loss`.

        Raises:
            ValueError: an axis of the input does not fit the config.
        """
        outputs = self.sleepvit(input_values, eog_values, **kwargs)
        logits = self.classifier(self.layernorm(outputs.pooler_output))
        loss = None if labels is None else self.loss_function(logits, labels, self.config, **kwargs)
        return SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


@dataclass
class SleepViTSequenceModelOutput(ModelOutput):
    """Output of the sequence encoder.

    Args:
        last_hidden_state: (batch, 1 + epochs, hidden), the class token first.
        epoch_embeddings: (batch, epochs, epoch encoder's hidden), before the sequence encoder.
        hidden_states: of the sequence encoder, if asked for.
        attentions: of the sequence encoder, (batch, heads, 1 + epochs, 1 + epochs) per layer, if asked for.
    """

    last_hidden_state: torch.FloatTensor | None = None
    epoch_embeddings: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None


@dataclass
class SleepViTSequenceClassifierOutput(ModelOutput):
    """Output of the sequence model with its stage head.

    Args:
        loss: scalar, with labels.
        logits: (batch, epochs, num_labels), or (batch, num_labels) for label mode "center".
        epoch_logits: (batch, epochs, num_labels) read from each epoch alone, where the model has the auxiliary head.
        epoch_embeddings: (batch, epochs, epoch encoder's hidden).
        hidden_states: of the sequence encoder, if asked for.
        attentions: of the sequence encoder, if asked for.
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    epoch_logits: torch.FloatTensor | None = None
    epoch_embeddings: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None


class SleepViTSequencePreTrainedModel(SleepViTPreTrainedModel):
    """What the library may do with the sequence models."""

    config: SleepViTSequenceConfig


class SleepViTSequenceModel(SleepViTSequencePreTrainedModel):
    """Sequence encoder Seq-VTrans over epoch embeddings: (batch, epochs, channels, rows, frames) -> tokens.

    Args:
        config: holds the epoch encoder's config and the sequence encoder's sizes.

    Source:
        Chen et al., IEEE TNSRE 31:1974-1985, 2023 (sequence model).
    """

    def __init__(self, config: SleepViTSequenceConfig):
        super().__init__(config)
        self.epoch_encoder = SleepViTModel(config.epoch_config)
        self.projection = nn.Linear(config.epoch_config.hidden_size, config.hidden_size)
        has_learned_positions = config.position_type == "learned"
        self.tokens = SleepViTTokens(config, config.sequence_length + 1 if has_learned_positions else None)
        self.layers = nn.ModuleList([SleepViTLayer(config) for _ in range(config.num_hidden_layers)])
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self,
        input_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        epoch_embeddings: torch.Tensor | None = None,
        eog_values: torch.Tensor | None = None,
        **kwargs,
    ) -> SleepViTSequenceModelOutput:
        """Encode sequences of consecutive epochs.

        Args:
            input_values: (batch, epochs, channels, rows, frames).
            attention_mask: (batch, epochs), 1 for an epoch and 0 for padding; None where all are epochs.
            epoch_embeddings: (batch, epochs, epoch encoder's hidden) from `encode_epochs`, in place of input_values:
                overlapping sequences then need each epoch encoded only once.
            eog_values: (batch, epochs, EOG channels, EOG rows, frames), beside input_values, where the epoch encoder
                reads the EOG, too.
            **kwargs: `output_attentions` (with attn_implementation "eager") and `output_hidden_states` of the sequence
                encoder; call `epoch_encoder` for those of the epochs.

        Returns:
            `last_hidden_state` (batch, 1 + epochs, hidden) and `epoch_embeddings`. A sequence shorter than the
            model's gives what it would give padded to its length and masked; with label mode "center" it is padded so
            that epoch epochs // 2 stands in the middle, and the tokens of the padding are returned too.

        Raises:
            ValueError: an axis does not fit the config, or both or neither input is given.
        """
        if (input_values is None) == (epoch_embeddings is None):
            raise ValueError("give either input_values or epoch_embeddings")
        if epoch_embeddings is None:
            epoch_embeddings = self.encode_epochs(input_values, eog_values)
        epochs, expected = epoch_embeddings.shape[1], self.config.sequence_length
        if not 0 < epochs <= expected:
            raise ValueError(f"axis epochs: expected 1 to {expected} (sequence_length), found {epochs}")
        if attention_mask is not None and attention_mask.shape != epoch_embeddings.shape[:2]:
            raise ValueError(
                f"attention_mask must have shape (batch, epochs) = {tuple(epoch_embeddings.shape[:2])}, "
                f"found: {tuple(attention_mask.shape)}"
            )
        hidden_states = self.projection(epoch_embeddings.to(self.projection.weight.dtype))  # (batch, epochs, hidden)
        if self.config.label_mode == "center" and epochs < expected:  # CODEPATH: eegspec-seq-vtrans
            hidden_states, attention_mask = self.pad_around_center(hidden_states, attention_mask)
        hidden_states = self.tokens(hidden_states)  # (batch, 1 + epochs, hidden)
        if attention_mask is not None:
            attention_mask = nn.functional.pad(attention_mask, (1, 0), value=1)  # the class token is always there
        attention_mask = create_bidirectional_mask(
            config=self.config, inputs_embeds=hidden_states, attention_mask=attention_mask
        )
        if self.config.position_type == "rotary":  # CODEPATH: the embedded checkpoint; the published learn theirs
            kwargs["rotations"] = rotary_rotations(hidden_states, self.config.head_dim, self.config.rotary_base)
        for layer in self.layers:
            hidden_states = layer(hidden_states, attention_mask, **kwargs)
        return SleepViTSequenceModelOutput(last_hidden_state=hidden_states, epoch_embeddings=epoch_embeddings)

    def pad_around_center(
        self, embeddings: torch.Tensor, attention_mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Pad a short sequence so that its middle epoch stands where the model expects it.

        Args:
            embeddings: (batch, epochs, hidden), epochs below sequence_length.
            attention_mask: (batch, epochs) or None.

        Returns:
            embeddings (batch, sequence_length, hidden) and the mask (batch, sequence_length), 0 where padded.
        """
        batch_size, epochs = embeddings.shape[:2]
        before = self.config.sequence_length // 2 - epochs // 2
        after = self.config.sequence_length - epochs - before
        if attention_mask is None:
            attention_mask = embeddings.new_ones((batch_size, epochs), dtype=torch.long)
        padded = nn.functional.pad(embeddings, (0, 0, before, after))
        return padded, nn.functional.pad(attention_mask, (before, after), value=0)

    def encode_epochs(self, input_values: torch.Tensor, eog_values: torch.Tensor | None = None) -> torch.Tensor:
        """Encode each epoch on its own.

        Args:
            input_values: (batch, epochs, channels, rows, frames).
            eog_values: (batch, epochs, EOG channels, EOG rows, frames), where the epoch encoder reads the EOG, too.

        Returns:
            (batch, epochs, epoch encoder's hidden).

        Raises:
            ValueError: an axis does not fit the config.
        """
        if input_values.dim() != 5:
            raise ValueError(
                "input_values must have shape (batch, epochs, channels, rows, frames), "
                f"found: {tuple(input_values.shape)}"
            )
        eog_values = None if eog_values is None else eog_values.flatten(0, 1)
        embeddings = self.epoch_encoder(input_values.flatten(0, 1), eog_values).pooler_output
        return embeddings.unflatten(0, input_values.shape[:2])


class SleepViTForAudioFrameClassification(SleepViTSequencePreTrainedModel):
    """Sequence model with a stage head: L epochs -> one stage per epoch, or that of the epoch in the middle."""

    def __init__(self, config: SleepViTSequenceConfig):
        super().__init__(config)
        self.sleepvit = SleepViTSequenceModel(config)
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        if config.auxiliary_loss_weight:  # CODEPATH: models trained with the auxiliary loss; the published is not
            epoch_config = config.epoch_config
            self.epoch_layernorm = nn.LayerNorm(epoch_config.hidden_size, eps=epoch_config.layer_norm_eps)
            self.epoch_classifier = nn.Linear(epoch_config.hidden_size, config.num_labels)
        self.loss_function = staging_loss
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        epoch_embeddings: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        eog_values: torch.Tensor | None = None,
        **kwargs,
    ) -> SleepViTSequenceClassifierOutput:
        """Stage sequences of consecutive epochs.

        Args:
            input_values: (batch, epochs, channels, rows, frames).
            attention_mask: (batch, epochs), 1 for an epoch and 0 for padding; None where all are epochs.
            epoch_embeddings: (batch, epochs, epoch encoder's hidden), in place of input_values.
            labels: (batch, epochs) stage ids, or (batch,) for label mode "center"; -100 for epochs not scored.
            eog_values: (batch, epochs, EOG channels, EOG rows, frames), where the epoch encoder reads the EOG, too.
            **kwargs: see `SleepViTSequenceModel.forward`; `num_items_in_batch` for the loss.

        Returns:
            `logits` (batch, epochs, num_labels), or (batch, num_labels) for "center": the stage of epoch epochs // 2.

        Raises:
            ValueError: an axis does not fit the config.
        """
        outputs = self.sleepvit(input_values, attention_mask, epoch_embeddings, eog_values, **kwargs)
        hidden_states = outputs.last_hidden_state
        if self.config.label_mode == "center":  # CODEPATH: eegspec-seq-vtrans
            hidden_states = hidden_states[:, 0]  # (batch, hidden)
        else:
            hidden_states = hidden_states[:, 1:]  # (batch, epochs, hidden)
        logits = self.classifier(self.layernorm(hidden_states))
        epoch_logits = None
        if self.config.auxiliary_loss_weight:  # CODEPATH: models trained with the auxiliary loss
            epoch_logits = self.epoch_classifier(self.epoch_layernorm(outputs.epoch_embeddings))
        loss = None
        if labels is not None:
            loss = self.loss_function(logits, labels, self.config, **kwargs)
            if epoch_logits is not None:
                epoch_loss = self.loss_function(epoch_logits, labels, self.config, **kwargs)
                loss = loss + self.config.auxiliary_loss_weight * epoch_loss
        return SleepViTSequenceClassifierOutput(
            loss=loss,
            logits=logits,
            epoch_logits=epoch_logits,
            epoch_embeddings=outputs.epoch_embeddings,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


__all__ = [
    "SleepViTForAudioClassification",
    "SleepViTForAudioFrameClassification",
    "SleepViTModel",
    "SleepViTPreTrainedModel",
    "SleepViTSequenceModel",
    "SleepViTSequencePreTrainedModel",
]

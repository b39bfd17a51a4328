"""Configurations of the SleepViT models."""

from pathlib import Path

from huggingface_hub.dataclasses import strict
from transformers.configuration_utils import PreTrainedConfig

from .hub_code import IS_INSTALLED, copy_code, named_code
from .stages import STAGES


ENCODER_TYPES = ("vtrans", "inception-vtrans", "lstm-vtrans", "lstm", "bilstm")


@strict
class SleepViTEncoderConfig(PreTrainedConfig):
    """What the epoch encoder and the sequence encoder have in common: a pre-norm Transformer and its training loss.

    Args:
        hidden_size: width D of the tokens.
        num_hidden_layers: number of Transformer blocks.
        num_attention_heads: number of attention heads H.
        head_dim: width d of one head; H * d need not be D.
        intermediate_size: width M of the hidden layer of the feed-forward part.
        hidden_act: activation of the feed-forward part; "gelu" is the exact (erf) one.
        hidden_dropout_prob: dropout after the attention's out-projection and inside and after the feed-forward part.
        layer_norm_eps: epsilon of the layer norms.
        weight_init: "normal" (mean 0, `initializer_range`) or "published" (class token and positions N(0, 1), linear
            layers as PyTorch makes them, as in the paper's code).
        initializer_range: standard deviation of the "normal" initialisation.
        class_weights: one weight per class for the cross-entropy, or None; weights that average 1 over the training
            epochs keep the scale of the loss, since it is divided by the number of scored epochs.
        label_smoothing: share of the target that is spread over all classes, 0 to below 1.
        neighbour_weights: how much the staging of a night adds to the logarithms of an epoch's probabilities from
            those of the epochs beside it, of the epochs two away, and so on; below 1 each, or None.
        temperature: one number per class by which the staging of a night divides the logarithms of its probabilities
            (calibration; above 1 makes them less sure), or None. Logits and loss stay as they are.
    """

    model_type = "sleepvit_encoder"
    AUTO_CLASSES = {}

    hidden_size: int = 128
    num_hidden_layers: int = 8
    num_attention_heads: int = 12
    head_dim: int = 16
    intermediate_size: int = 256
    hidden_act: str = "gelu"
    hidden_dropout_prob: float | int = 0.0
    layer_norm_eps: float | int = 1e-5
    weight_init: str = "normal"
    initializer_range: float | int = 0.02
    class_weights: list[float | int] | None = None
    label_smoothing: float | int = 0.0
    neighbour_weights: list[float | int] | None = None
    temperature: list[float | int] | None = None

    # A user's settings are refused with ValueError, which the errors of `strict` are not.
    def __post_init__(self, **kwargs):
        if IS_INSTALLED:
            # pipeline() asks for trust wherever a configuration names code, though the task is registered
            kwargs = {name: value for name, value in kwargs.items() if name not in ("auto_map", "custom_pipelines")}
        if self.id2label is None and kwargs.get("num_labels") in (None, len(STAGES)):
            self.id2label = dict(enumerate(STAGES))
        super().__post_init__(**kwargs)
        if self.label2id is None and self.id2label is not None:
            self.label2id = {label: index for index, label in self.id2label.items()}
        self.check_positive("hidden_size", "num_hidden_layers", "num_attention_heads", "head_dim", "intermediate_size")
        if self.weight_init not in ("normal", "published"):
            raise ValueError(f"weight_init must be 'normal' or 'published', found: {self.weight_init!r}")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), found: {self.label_smoothing}")
        for name in ("class_weights", "temperature"):
            values = getattr(self, name)
            if values is not None and len(values) != self.num_labels:
                raise ValueError(
                    f"{name} must hold one number for each of the {self.num_labels} classes, found: {len(values)}"
                )
        if any(not 0 <= weight < 1 for weight in self.neighbour_weights or ()):
            raise ValueError(f"neighbour_weights must be from 0 to below 1, found: {self.neighbour_weights}")
        if self.temperature is not None and not min(self.temperature) > 0:
            raise ValueError(f"temperature must be positive, found: {self.temperature}")

    def check_positive(self, *names: str) -> None:
        """Raise ValueError where one of the named fields is not positive."""
        for name in names:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 at least, found: {getattr(self, name)}")

    def to_diff_dict(self) -> dict:
        """Give what `config.json` holds: what differs from the library's defaults, and the names of the code."""
        return super().to_diff_dict() | named_code(self.AUTO_CLASSES)

    def save_pretrained(self, save_directory: str | Path, push_to_hub: bool = False, **kwargs) -> None:
        """Save `config.json` and beside it the code that it names; every model saves its configuration this way.

        Args:
            save_directory: folder of the checkpoint.
            push_to_hub: see `PreTrainedConfig.save_pretrained`.
            **kwargs: see `PreTrainedConfig.save_pretrained`.
        """
        super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)
        copy_code(self.AUTO_CLASSES, save_directory, self.name_or_path)

    @classmethod
    def from_preset(cls, name: str, **overrides):
        """Make the configuration of a published model.

        Args:
            name: one of the names in `PRESETS` of the class.
            **overrides: fields that differ from the preset.

        Returns:
            the configuration.

        Raises:
            ValueError: there is no preset of that name.
        """
        if name not in cls.PRESETS:
            raise ValueError(f"{cls.__name__} has the presets {sorted(cls.PRESETS)}, found: {name!r}")
        return cls(**{**cls.PRESETS[name], **overrides})


# Published sizes: METHOD section 4 of the paper's facts. The 1-second baseline keeps the 301 positions of its code.
_PUBLISHED = {"num_channels": 2, "weight_init": "published", "num_hidden_layers": 8}
_SMALL = {**_PUBLISHED, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 128}
_RECURRENT = {**_PUBLISHED, "hidden_size": 32, "pooling": "mean"}
_NARROW_HEADS = {"num_attention_heads": 4, "head_dim": 8}

STEPS_PER_SECOND = (10, 4, 2, 1)
"""How often a second the kernels of the raw-EEG model begin anew: at 125 Hz these are the published kernels."""


@strict
class SleepViTConfig(SleepViTEncoderConfig):
    """Configuration of the epoch encoder: EEGspec-VTrans, and the architectures that the paper compares it with.

    Args:
        encoder_type: what becomes of a window.
            "vtrans": band x second patches of the spectrogram are tokens of a Transformer (EEGspec-VTrans);
            "inception-vtrans": four strided convolutions of the waveform make them (EEGseq-Inception-VTrans);
            "lstm-vtrans": a recurrent branch reads the seconds and adds a channel before the patches are cut
            (EEGspec-LSTM-VTrans);
            "lstm", "bilstm": the patches are steps of a recurrent network (EEGspec-LSTM, EEGspec-BiLSTM), whose
            `hidden_size`, that of both directions together, and `num_hidden_layers` alone count.
        num_channels: EEG channels of one input.
        num_rows: rows of the spectrogram after the frequency cut of the feature extractor; for a waveform, the samples
            of one second, which are its rows.
        num_frames: frames (seconds) of the encoder's window; an epoch of k * num_frames frames is read as k windows
            whose embeddings are averaged.
        patch_rows: rows of one patch; num_rows / patch_rows is the number of bands. num_rows itself gives one token
            per second, that is no frequency cut.
        channel_tokens: False puts the channels of a (band, second) into one token, True gives each its own.
        num_positions: learned positions including the class token's; None stands for as many as there are tokens.
        pooling: "cls" (the class token) or "mean" (the mean of all tokens, the class token among them).
        band_projections: whether each band has its own projection to the hidden size; with a common one, as published,
            a band is told from another only by its position, which takes many more training steps to learn.
        num_eog_channels: EOG channels of the second input, `eog_values`, for "vtrans"; each second of them is one more
            token (EEGspec+EOGspec-VTrans). 0 stands for EEG alone.
        num_eog_rows: rows of 1 Hz of the EOG's spectrogram.
        recurrent_size: width of the recurrent branch of "lstm-vtrans".
        num_recurrent_layers: layers of that branch.
        conv_kernels: samples of each kernel of "inception-vtrans", which is its stride, too; None stands for kernels
            that begin anew 10, 4, 2 and 1 times a second.
        num_conv_filters: filters of each convolution; None stands for as many as there are channels.
        conv_embedding_size: features of a token between its two projections.
        **kwargs: the arguments of `SleepViTEncoderConfig`.

    Raises:
        ValueError: the rows cannot be cut into bands, there are fewer positions than tokens, a name is unknown, or an
            option does not go with the encoder type.

    Source:
        Chen et al., IEEE TNSRE 31:1974-1985, 2023.
    """

    model_type = "sleepvit"
    AUTO_CLASSES = {
        "AutoConfig": "configuration_sleepvit.SleepViTConfig",
        "AutoModel": "modeling_sleepvit.SleepViTModel",
        "AutoModelForAudioClassification": "modeling_sleepvit.SleepViTForAudioClassification",
    }

    PRESETS = {
        "eegspec-vtrans": _PUBLISHED,
        "eegspec-vtrans-channel-tokens": {**_SMALL, "channel_tokens": True, "hidden_dropout_prob": 0.5},
        "eegspec-1s": {**_SMALL, "channel_tokens": True, "num_rows": 32, "patch_rows": 32, "num_positions": 301},
        "eegspec-eogspec-vtrans": {**_PUBLISHED, **_NARROW_HEADS, "intermediate_size": 512, "num_eog_channels": 2},
        "eegseq-inception-vtrans": {
            **_PUBLISHED,
            **_NARROW_HEADS,
            "encoder_type": "inception-vtrans",
            "num_rows": 125,
            "hidden_size": 64,
        },
        "eegspec-lstm": {**_RECURRENT, "encoder_type": "lstm"},
        "eegspec-bilstm": {**_RECURRENT, "encoder_type": "bilstm"},
        "eegspec-lstm-vtrans": {
            **_PUBLISHED,
            **_NARROW_HEADS,
            "encoder_type": "lstm-vtrans",
            "num_hidden_layers": 3,
            "hidden_size": 64,
        },
    }

    encoder_type: str = "vtrans"
    num_channels: int = 1
    num_rows: int = 20
    num_frames: int = 30
    patch_rows: int = 4
    channel_tokens: bool = False
    num_positions: int | None = None
    pooling: str = "cls"
    band_projections: bool = False
    num_eog_channels: int = 0
    num_eog_rows: int = 26
    recurrent_size: int = 32
    num_recurrent_layers: int = 4
    conv_kernels: list[int] | None = None
    num_conv_filters: int | None = None
    conv_embedding_size: int = 8

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        self.check_positive("num_channels", "num_rows", "num_frames", "patch_rows", "num_eog_rows")
        self.check_positive("recurrent_size", "num_recurrent_layers", "conv_embedding_size")
        if self.encoder_type not in ENCODER_TYPES:
            raise ValueError(f"encoder_type must be one of {', '.join(ENCODER_TYPES)}, found: {self.encoder_type!r}")
        if self.encoder_type == "inception-vtrans":
            self._settle_convolutions()
        elif self.num_rows % self.patch_rows:
            raise ValueError(
                f"num_rows must be a multiple of patch_rows ({self.patch_rows}) so that the bands are equal, "
                f"found: {self.num_rows}"
            )
        if self.num_positions is None:
            self.num_positions = self.num_patches + 1
        if self.num_positions < self.num_patches + 1:
            raise ValueError(
                f"num_positions must cover {self.num_patches} patches and the class token "
                f"({self.num_patches + 1}), found: {self.num_positions}"
            )
        if self.pooling not in ("cls", "mean"):
            raise ValueError(f"pooling must be 'cls' or 'mean', found: {self.pooling!r}")
        self._check_options_of_type()

    def _settle_convolutions(self) -> None:
        if self.conv_kernels is None:
            self.conv_kernels = [self.num_rows // steps for steps in STEPS_PER_SECOND if self.num_rows >= steps]
        if self.num_conv_filters is None:
            self.num_conv_filters = self.num_channels
        self.check_positive("num_conv_filters")
        if not self.conv_kernels or not 1 <= min(self.conv_kernels) <= max(self.conv_kernels) <= self.num_rows:
            raise ValueError(
                f"conv_kernels must hold 1 to {self.num_rows} samples each (num_rows, one second), "
                f"found: {self.conv_kernels}"
            )

    def _check_options_of_type(self) -> None:
        patch_options = [name for name in ("channel_tokens", "band_projections") if getattr(self, name)]
        if patch_options and self.encoder_type not in ("vtrans", "lstm-vtrans"):
            raise ValueError(
                f"{patch_options[0]} needs tokens that are patches, not encoder_type {self.encoder_type!r}"
            )
        if self.num_eog_channels < 0:
            raise ValueError(f"num_eog_channels must be 0 at least, found: {self.num_eog_channels}")
        if self.num_eog_channels and self.encoder_type != "vtrans":
            raise ValueError(f"num_eog_channels needs encoder_type 'vtrans', found: {self.encoder_type!r}")
        if self.is_recurrent and self.pooling != "mean":
            raise ValueError(f"encoder_type {self.encoder_type!r} has no class token: pooling must be 'mean'")
        if self.encoder_type == "bilstm" and self.hidden_size % 2:
            raise ValueError(f"hidden_size must be even for two directions, found: {self.hidden_size}")

    @property
    def is_recurrent(self) -> bool:
        """Whether a recurrent network stands in the place of the Transformer."""
        return self.encoder_type in ("lstm", "bilstm")

    @property
    def num_bands(self) -> int:
        """Number of frequency bands a spectrogram is cut into."""
        return self.num_rows // self.patch_rows

    @property
    def num_patch_channels(self) -> int:
        """Number of channels that patches are cut from: the EEG's, and that of the recurrent branch."""
        return self.num_channels + (self.encoder_type == "lstm-vtrans")

    @property
    def num_patches(self) -> int:
        """Number of tokens of one window, without the class token."""
        if self.encoder_type == "inception-vtrans":
            return len(self.conv_kernels) * self.num_frames
        tokens_per_patch = self.num_patch_channels if self.channel_tokens else 1
        return self.num_frames * (self.num_bands * tokens_per_patch + (self.num_eog_channels > 0))

    @property
    def patch_size(self) -> int:
        """Number of spectrogram values in one token."""
        return self.patch_rows * (1 if self.channel_tokens else self.num_patch_channels)

    @property
    def steps_of_kernels(self) -> list[tuple[int, int]]:
        """Steps of each kernel in a window, equally many in every second, and the samples of padding on either side.

        At 30 s of 125 Hz these are the published 330 (105 of padding), 120, 60 and 30.
        """
        n_samples = self.num_rows * self.num_frames
        steps = [-(-(n_samples // kernel) // self.num_frames) * self.num_frames for kernel in self.conv_kernels]
        return [(n, max(0, -(-(n * kernel - n_samples) // 2))) for n, kernel in zip(steps, self.conv_kernels)]


@strict
class SleepViTSequenceConfig(SleepViTEncoderConfig):
    """Configuration of the sequence model, EEGspec-Seq-VTrans: epoch embeddings attend to their neighbours.

    Args:
        epoch_config: the epoch encoder's `SleepViTConfig` (or its dict).
        sequence_length: number of consecutive epochs L the model sees at once.
        label_mode: "all" gives a stage for each of the L epochs; "center" puts a class token before the epochs and
            gives the stage of the epoch in the middle, as published.
        position_type: "learned" gives each place in the sequence a vector of its own, as published; "rotary" turns
            queries and keys by their places, so that attention depends on how far two epochs are apart: what is
            learned at one place then holds at all of them.
        rotary_base: base of the wavelengths of rotary positions, the longest of which is about 2 pi times as many
            epochs.
        auxiliary_loss_weight: weight of a second loss on the stage read from each epoch's own embedding; needs "all".
        **kwargs: the arguments of `SleepViTEncoderConfig`, here of the sequence encoder.

    Raises:
        ValueError: a name is unknown, or the positions or the auxiliary loss do not fit the rest.

    Source:
        Chen et al., IEEE TNSRE 31:1974-1985, 2023 (sequence model).
    """

    model_type = "sleepvit_sequence"
    AUTO_CLASSES = {
        "AutoConfig": "configuration_sleepvit.SleepViTSequenceConfig",
        "AutoModel": "modeling_sleepvit.SleepViTSequenceModel",
        "AutoModelForAudioFrameClassification": "modeling_sleepvit.SleepViTForAudioFrameClassification",
    }
    sub_configs_defaults = {"epoch_config": SleepViTConfig}

    PRESETS = {
        "eegspec-seq-vtrans": {
            "epoch_config": {**_SMALL, "head_dim": 32},
            "sequence_length": 3,
            "label_mode": "center",
            "hidden_size": 64,
            "num_hidden_layers": 8,
            "num_attention_heads": 4,
            "head_dim": 32,
            "intermediate_size": 128,
            "weight_init": "published",
        },
    }

    epoch_config: dict | SleepViTConfig | None = None
    sequence_length: int = 48
    label_mode: str = "all"
    position_type: str = "learned"
    rotary_base: float | int = 100.0
    auxiliary_loss_weight: float | int = 0.0
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    head_dim: int = 32

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        self.check_positive("sequence_length")
        if self.label_mode not in ("all", "center"):
            raise ValueError(f"label_mode must be 'all' or 'center', found: {self.label_mode!r}")
        if self.label_mode == "center" and self.sequence_length % 2 == 0:
            raise ValueError(
                f"label_mode 'center' needs an odd sequence_length, which has a centre, found: {self.sequence_length}"
            )
        if self.position_type not in ("learned", "rotary"):
            raise ValueError(f"position_type must be 'learned' or 'rotary', found: {self.position_type!r}")
        if self.position_type == "rotary" and (self.head_dim % 2 or not self.rotary_base > 1):
            raise ValueError(
                "position_type 'rotary' needs an even head_dim and a rotary_base above 1, "
                f"found: {self.head_dim} and {self.rotary_base}"
            )
        if self.auxiliary_loss_weight and self.label_mode != "all":
            raise ValueError("auxiliary_loss_weight needs label_mode 'all': 'center' labels one epoch only")


__all__ = ["SleepViTConfig", "SleepViTSequenceConfig"]

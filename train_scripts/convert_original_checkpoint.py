"""Convert a state dict of the paper's authors into a checkpoint of this package.

sleepvit convert EEGspec_VTrans.pth converted/

Which of their models it is shows in the names and shapes of its tensors. The number of attention heads does not: for
the published sizes it is the published one, for others `--num-attention-heads` has to say it.
"""

import argparse
import sys
from pathlib import Path

import torch
from torch import nn
from transformers.utils import logging as transformers_logging

from modeling_sleepvit import (
    SleepViTConfig,
    SleepViTFeatureExtractor,
    SleepViTForAudioClassification,
    SleepViTForAudioFrameClassification,
    SleepViTSequenceConfig,
)
from modeling_sleepvit.configuration_sleepvit import SleepViTEncoderConfig
from modeling_sleepvit.errors import CheckpointError, SettingError
from modeling_sleepvit.whole_files import folder_written_whole

from .running import run_script


EPOCH_PRESETS = ("eegspec-vtrans", "eegspec-vtrans-channel-tokens", "eegspec-1s", "eegspec-eogspec-vtrans")
"""Told from each other by the values of one token and the number of positions."""

SEQUENCE_PRESET = "eegspec-seq-vtrans"

EXTRACTOR_OF = {
    **dict.fromkeys((*EPOCH_PRESETS, SEQUENCE_PRESET), "published"),
    "eegspec-1s": "published-1s",
    "eegspec-eogspec-vtrans": "published-eog",
}
"""Preset of the feature extractor that makes what a model reads."""

PROJECTION, EOG_PROJECTION = "to_patch_embedding.1", "eog_to_patch_embedding.1"
EPOCH_PART, EPOCH_PROJECTION = "trans.", "eeg_to_patch_embedding.1"
SEQUENCE_PART, SEQUENCE_PROJECTION = "seq_trans.", "seq_to_patch_embedding.0"

LAYER_MODULES = {
    "0.norm": "layernorm_before",
    "0.fn.to_out.0": "attention.o_proj",
    "1.norm": "layernorm_after",
    "1.fn.net.0": "mlp.fc1",
    "1.fn.net.3": "mlp.fc2",
}
HEAD_MODULES = {"mlp_head.0": "layernorm", "mlp_head.1": "classifier"}
QKV, OUR_QKV = "0.fn.to_qkv", ("attention.q_proj", "attention.k_proj", "attention.v_proj")
"""One matrix of theirs; its rows are those of queries, keys and values in turn, head by head as ours are."""

WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Under which key a training script's checkpoint holds the weights."""

WEIGHT_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

PARALLEL_PREFIX = "module."
"""What DataParallel puts before every name."""


def main(argv: list[str] | None = None) -> None:
    """Write the checkpoint and its feature extractor.

    Args:
        argv: see `--help`; None reads the command line.

    Raises:
        SleepViTError: the file is not one of the authors' state dicts, or the output cannot be written there.
    """
    args = parse_arguments(argv)
    tensors, left_aside = read_state_dict(args.checkpoint)
    transformers_logging.disable_progress_bar()
    model, preset = convert(tensors, str(args.checkpoint), args.num_attention_heads)
    with folder_written_whole(args.output) as partial:
        model.save_pretrained(partial)
        SleepViTFeatureExtractor.from_preset(EXTRACTOR_OF[preset]).save_pretrained(partial)
    configs = [getattr(model.config, "epoch_config", None), model.config]
    heads = " and ".join(str(config.num_attention_heads) for config in configs if config is not None)
    print(
        f"{args.checkpoint}: {preset}, {model.num_parameters():,} parameters, {heads} attention heads; written to "
        f"{args.output} with the feature extractor '{EXTRACTOR_OF[preset]}'"
    )
    if left_aside:
        print(f"note: left aside, since they are no weights of the model: {', '.join(left_aside)}")


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the arguments of the command."""
    parser = argparse.ArgumentParser(
        prog="sleepvit convert",
        description="Convert a state dict of the paper's authors into a checkpoint that from_pretrained loads.",
    )
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT.pth", help="what torch.save made of a state dict")
    parser.add_argument("output", type=Path, metavar="OUTPUT_DIR", help="new folder for the checkpoint")
    parser.add_argument(
        "--num-attention-heads",
        type=int,
        nargs="+",
        metavar="N",
        help="needed where the sizes are not the published ones; for a sequence model two numbers, of the epoch "
        "encoder and of the sequence encoder",
    )
    return parser.parse_args(argv)


def read_state_dict(path: Path) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Read the tensors of a file without running any code in it.

    Args:
        path: what `torch.save` made of a state dict, or of a dict that holds one under a usual name.

    Returns:
        the tensors by name, without the prefix of DataParallel, and the names of what else the file holds.

    Raises:
        CheckpointError: there is no such file, or it holds something else.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: expected a file with a state dict, found no such file; check the path.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # the reader trips over a damaged file in any way there is
        raise CheckpointError(
            f"{path}: expected what torch.save makes of a state dict, found a damaged file or one with other objects "
            "than tensors, which are not loaded since they could run code; save model.state_dict() where the model is."
        ) from error
    left_aside = []
    wrapper = next((name for name in WRAPPERS if isinstance(content, dict) and name in content), None)
    if wrapper is not None:
        left_aside = sorted(str(name) for name in content if name != wrapper)
        content = content[wrapper]
    if not isinstance(content, dict) or not content:
        raise CheckpointError(f"{path}: expected names and tensors, found {type(content).__name__} without any.")
    if odd := [str(name) for name, value in content.items() if not _is_weight(name, value)]:
        raise CheckpointError(f"{path}: expected tensors of finite numbers, found something else: {', '.join(odd)}.")
    if all(name.startswith(PARALLEL_PREFIX) for name in content):
        content = {name.removeprefix(PARALLEL_PREFIX): tensor for name, tensor in content.items()}
    return dict(content), left_aside


def _is_weight(name, value) -> bool:
    is_tensor = isinstance(name, str) and isinstance(value, torch.Tensor)
    is_plain = is_tensor and value.dtype in WEIGHT_TYPES and value.layout == torch.strided and not value.is_meta
    return is_plain and bool(value.isfinite().all())


def convert(
    tensors: dict[str, torch.Tensor], where: str, num_attention_heads: list[int] | None = None
) -> tuple[nn.Module, str]:
    """Make our model of the authors' tensors.

    Args:
        tensors: by the authors' names.
        where: what to call them in an error.
        num_attention_heads: of each encoder, where they are not the published ones.

    Returns:
        the model with its stage head, in the precision of the tensors but float32 at least, and its preset's name.

    Raises:
        CheckpointError: it is none of the authors' models; unknown, missing and mis-shaped tensors are listed.
        SettingError: the number of heads is needed, or does not fit.
    """
    if any(name.startswith((EPOCH_PART, SEQUENCE_PART)) for name in tensors):
        preset = SEQUENCE_PRESET
        model = SleepViTForAudioFrameClassification(_sequence_config(tensors, where, num_attention_heads))
        ours_of = sequence_names(model.config)
    else:
        preset = _recognised_epoch_preset(tensors, where)
        model = SleepViTForAudioClassification(_epoch_config(preset, tensors, where, num_attention_heads))
        ours_of = epoch_names(model.config)
    _check_tensors(tensors, ours_of, model.state_dict(), f"{where}: recognised as {preset}")
    dtype = torch.float32
    for tensor in tensors.values():
        dtype = torch.promote_types(dtype, tensor.dtype)
    cut = {theirs: tensors[theirs].chunk(len(ours)) for theirs, ours in ours_of.items()}
    model.to(dtype).load_state_dict(
        {name: part for theirs, ours in ours_of.items() for name, part in zip(ours, cut[theirs])}
    )
    return model.eval(), preset


def epoch_names(config: SleepViTConfig) -> dict[str, list[str]]:
    """List the tensors of an epoch model: the authors' name -> ours, several where theirs is cut by its rows."""
    names = {**_encoder_names("", PROJECTION, config, "sleepvit.", "patch_embeddings.projection"), **_head_names("")}
    if config.num_eog_channels:
        names |= _module_names(EOG_PROJECTION, "sleepvit.eog_embeddings.projection")
    return names


def sequence_names(config: SleepViTSequenceConfig) -> dict[str, list[str]]:
    """List the tensors of a sequence model, as `epoch_names` does."""
    epoch_encoder = "sleepvit.epoch_encoder."
    return {
        **_encoder_names(
            EPOCH_PART, EPOCH_PROJECTION, config.epoch_config, epoch_encoder, "patch_embeddings.projection"
        ),
        **_encoder_names(SEQUENCE_PART, SEQUENCE_PROJECTION, config, "sleepvit.", "projection"),
        **_head_names(SEQUENCE_PART),
    }


def _encoder_names(
    prefix: str, projection: str, config: SleepViTEncoderConfig, our_prefix: str, our_projection: str
) -> dict[str, list[str]]:
    names = {
        f"{prefix}cls_token": [f"{our_prefix}tokens.cls_token"],
        f"{prefix}pos_embedding": [f"{our_prefix}tokens.position_embeddings"],
        **_module_names(f"{prefix}{projection}", f"{our_prefix}{our_projection}"),
    }
    for layer in range(config.num_hidden_layers):
        theirs, ours = f"{prefix}transformer.layers.{layer}.", f"{our_prefix}layers.{layer}."
        names[f"{theirs}{QKV}.weight"] = [f"{ours}{module}.weight" for module in OUR_QKV]
        for module, our_module in LAYER_MODULES.items():
            names |= _module_names(theirs + module, ours + our_module)
    return names


def _head_names(prefix: str) -> dict[str, list[str]]:
    names = {}
    for module, our_module in HEAD_MODULES.items():
        names |= _module_names(prefix + module, our_module)
    return names


def _module_names(theirs: str, ours: str) -> dict[str, list[str]]:
    return {f"{theirs}.{part}": [f"{ours}.{part}"] for part in ("weight", "bias")}


def _recognised_epoch_preset(tensors: dict[str, torch.Tensor], where: str) -> str:
    """Tell the authors' epoch models from each other by what one token holds and how many there are."""
    if f"{PROJECTION}.weight" not in tensors:
        raise CheckpointError(
            f"{where}: expected the names of the paper's authors, {PROJECTION}.weight or {EPOCH_PART}… and "
            f"{SEQUENCE_PART}…, found: {', '.join(sorted(tensors))}."
        )
    found = (_shape(tensors, f"{PROJECTION}.weight", 2, where)[1], _shape(tensors, "pos_embedding", 3, where)[1])
    layouts = {}
    for preset in EPOCH_PRESETS:
        config = SleepViTConfig.from_preset(preset)
        layouts[config.patch_size, config.num_positions] = preset
    if found not in layouts:
        known = "; ".join(f"{size} and {positions} ({name})" for (size, positions), name in layouts.items())
        raise CheckpointError(
            f"{where}: expected one of these numbers of values in a token ({PROJECTION}.weight) and of positions "
            f"(pos_embedding): {known}; found {found[0]} and {found[1]}."
        )
    return layouts[found]


def _epoch_config(
    preset: str, tensors: dict[str, torch.Tensor], where: str, num_attention_heads: list[int] | None
) -> SleepViTConfig:
    heads = _heads_of_encoders(num_attention_heads, 1, where)
    return SleepViTConfig.from_preset(
        preset, **_encoder_sizes(tensors, "", SleepViTConfig.from_preset(preset), heads[0], where)
    )


def _sequence_config(
    tensors: dict[str, torch.Tensor], where: str, num_attention_heads: list[int] | None
) -> SleepViTSequenceConfig:
    heads = _heads_of_encoders(num_attention_heads, 2, where)
    published = SleepViTSequenceConfig.from_preset(SEQUENCE_PRESET)
    epoch_sizes = _encoder_sizes(tensors, EPOCH_PART, published.epoch_config, heads[0], where)
    return SleepViTSequenceConfig.from_preset(
        SEQUENCE_PRESET,
        epoch_config={**SleepViTSequenceConfig.PRESETS[SEQUENCE_PRESET]["epoch_config"], **epoch_sizes},
        sequence_length=max(1, _shape(tensors, f"{SEQUENCE_PART}pos_embedding", 3, where)[1] - 1),
        **_encoder_sizes(tensors, SEQUENCE_PART, published, heads[1], where),
    )


def _heads_of_encoders(num_attention_heads: list[int] | None, n_encoders: int, where: str) -> list[int | None]:
    if num_attention_heads is None:
        return [None] * n_encoders
    if len(num_attention_heads) != n_encoders:
        raise SettingError(
            f"--num-attention-heads: {where} holds {n_encoders} encoder(s), which need as many numbers, found "
            f"{len(num_attention_heads)}."
        )
    return num_attention_heads


def _encoder_sizes(
    tensors: dict[str, torch.Tensor], prefix: str, published: SleepViTEncoderConfig, heads: int | None, where: str
) -> dict[str, int]:
    """Read the sizes of an encoder from the shapes of its first layer; the heads are given, or published."""
    stem = f"{prefix}transformer.layers."
    layers = [name.removeprefix(stem).split(".")[0] for name in tensors if name.startswith(stem)]
    qkv_rows, hidden_size = _shape(tensors, f"{stem}0.{QKV}.weight", 2, where)
    sizes = {
        "hidden_size": hidden_size,
        "num_hidden_layers": 1 + max(int(layer) for layer in layers if layer.isdecimal()),
        "intermediate_size": _shape(tensors, f"{stem}0.1.fn.net.0.weight", 2, where)[0],
    }
    inner_size, rest = divmod(qkv_rows, 3)
    if rest:
        raise CheckpointError(
            f"{where}: expected {stem}0.{QKV}.weight with as many rows for queries, keys and values, found {qkv_rows}."
        )
    if heads is None:
        is_published = all(getattr(published, name) == size for name, size in sizes.items())
        if not is_published or inner_size != published.num_attention_heads * published.head_dim:
            described = ", ".join(f"{name} {size}" for name, size in sizes.items())
            raise SettingError(
                f"{where}: {prefix or 'the encoder'} has sizes that were not published ({described}, inner width "
                f"{inner_size}), from which the number of attention heads cannot be read; give --num-attention-heads."
            )
        heads = published.num_attention_heads
    if not 1 <= heads <= inner_size or inner_size % heads:
        raise SettingError(f"--num-attention-heads {heads}: expected a divisor of the inner width {inner_size}.")
    return {**sizes, "num_attention_heads": heads, "head_dim": inner_size // heads}


def _shape(tensors: dict[str, torch.Tensor], name: str, n_axes: int, where: str) -> tuple[int, ...]:
    found = "no such tensor" if name not in tensors else str(tuple(tensors[name].shape))
    if name not in tensors or tensors[name].dim() != n_axes or 0 in tensors[name].shape:
        raise CheckpointError(f"{where}: expected {name} with {n_axes} axes, found {found}.")
    return tuple(tensors[name].shape)


def _check_tensors(
    tensors: dict[str, torch.Tensor], ours_of: dict[str, list[str]], state: dict[str, torch.Tensor], where: str
) -> None:
    """Refuse tensors that are not those of the model, and say which."""
    problems = [f"unknown {name}" for name in sorted(tensors.keys() - ours_of.keys())]
    problems += [f"missing {name}" for name in sorted(ours_of.keys() - tensors.keys())]
    for theirs, names in ours_of.items():
        first = state[names[0]].shape
        expected = (len(names) * first[0], *first[1:])
        if theirs in tensors and tensors[theirs].shape != expected:
            problems.append(f"{theirs} of shape {tuple(tensors[theirs].shape)} in place of {expected}")
    if problems:
        raise CheckpointError(f"{where}, expected its tensors, found otherwise: {'; '.join(problems)}.")


if __name__ == "__main__":
    sys.exit(run_script(main))

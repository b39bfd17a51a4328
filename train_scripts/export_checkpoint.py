"""Export a checkpoint as ONNX graphs or PyTorch programs, in fp32 or with smaller weights.

sleepvit export CHECKPOINT --format onnx --output exported/
sleepvit export CHECKPOINT --format onnx --quantize int8 --output exported/

An epoch model is one file. A sequence model is two, so that a night's epochs are encoded once each: `epoch_encoder`
makes their embeddings, `sequence_encoder` reads sequences of these, with a mask for what is padding. The numbers of
epochs and of sequences are free. `sleepvit stage --model exported/ --runtime onnx` runs what was written.
"""

import argparse
import copy
import logging
import sys
import warnings
from pathlib import Path

import torch
from torch import nn
from torch.export import Dim

from modeling_sleepvit.errors import SettingError
from modeling_sleepvit.onnx_sleepvit import graph_names
from modeling_sleepvit.whole_files import folder_written_whole

from .running import check_output, run_script
from .stage_recordings import load_quiet_stager


try:
    import onnxscript
    import onnxscript.optimizer
except ImportError:
    onnxscript = None

SUFFIXES = {"onnx": ".onnx", "torch-export": ".pt2"}
PRECISIONS = ("int8", "bf16")


def main(argv: list[str] | None = None) -> None:
    """Write the graphs, the configuration and the feature extractor.

    Args:
        argv: see `--help`; None reads the command line.

    Raises:
        SleepViTError: the checkpoint cannot be used, a library is missing, or the output cannot be written there.
    """
    args = parse_arguments(argv)
    check_output(args.output)
    stager = load_quiet_stager(args.checkpoint)
    with folder_written_whole(args.output) as partial:
        export(stager.model, stager.feature_extractor.epoch_seconds, partial, args.format, args.quantize)
        stager.model.config.save_pretrained(partial)
        stager.feature_extractor.save_pretrained(partial)
    files = sorted(args.output.glob(f"*{SUFFIXES[args.format]}"))
    listed = ", ".join(f"{path.name} {path.stat().st_size / 1e6:.2f} MB" for path in files)
    print(f"{args.output}: {listed}; weights in {args.quantize or 'fp32'}")


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the arguments of the command."""
    parser = argparse.ArgumentParser(
        prog="sleepvit export", description="Export a checkpoint as ONNX graphs or PyTorch programs."
    )
    parser.add_argument("checkpoint", help="folder of a checkpoint or its id on the Hub")
    parser.add_argument("--format", choices=SUFFIXES, required=True, help="ONNX graphs, or programs of torch.export")
    parser.add_argument(
        "--quantize",
        choices=PRECISIONS,
        help="store the matrices in fewer bits; calculations stay in fp32 (default: fp32)",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="new folder for the export")
    return parser.parse_args(argv)


def export(model: nn.Module, epoch_seconds: int, output: Path, file_format: str, precision: str | None = None) -> None:
    """Write the graphs of a model.

    Args:
        model: with its stage head; it stays as it is.
        epoch_seconds: length of the epochs that the feature extractor makes, in s.
        output: folder for the files.
        file_format: "onnx" or "torch-export".
        precision: of the matrices, "int8", "bf16" or None for fp32.

    Raises:
        SettingError: a library that writes ONNX is missing.
    """
    if file_format == "onnx" and onnxscript is None:
        raise SettingError('onnxscript is not installed; install it with pip install "sleepvit[onnx]".')
    model = copy.deepcopy(model).cpu().float().eval()  # half precision is no format that NumPy can read
    model.set_attn_implementation("sdpa")
    if precision is not None:
        store_in_fewer_bits(model, precision)
    for name, (graph, inputs, dynamic_shapes) in graphs(model, epoch_seconds).items():
        path = output / f"{name}{SUFFIXES[file_format]}"
        with _quiet(), torch.no_grad():
            program = torch.export.export(graph, (), kwargs=inputs, dynamic_shapes=dynamic_shapes, strict=False)
            if file_format == "onnx":
                write_onnx(program, path)
            else:
                without_traces(program)
                torch.export.save(program, path)


def write_onnx(program: torch.export.ExportedProgram, path: Path) -> None:
    """Translate a program into an ONNX graph, one file that holds its weights, too.

    Args:
        program: the program.
        path: the file.
    """
    onnx_program = torch.onnx.export(program, dynamo=True, optimize=False, verbose=False)
    # otherwise the optimiser would widen small matrices again, here and not where the file is read
    onnxscript.optimizer.optimize_ir(onnx_program.model, should_fold=lambda node: False if is_widening(node) else None)
    onnxscript.ir.passes.common.ClearMetadataAndDocStringPass()(onnx_program.model)
    onnx_program.save(path, external_data=False)


def is_widening(node: "onnxscript.ir.Node") -> bool:
    """Whether a node reads what is stored in fewer bits."""
    stored = (onnxscript.ir.DataType.INT8, onnxscript.ir.DataType.BFLOAT16)
    return any(value is not None and value.dtype in stored for value in node.inputs)


def without_traces(program: torch.export.ExportedProgram) -> None:
    """Take out where in which file of this machine each node of a program comes from."""
    for node in program.graph.nodes:
        for name in ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn"):
            node.meta.pop(name, None)


class EpochLogits(nn.Module):
    """Graph of an epoch model: rows of epochs -> logits."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, input_values: torch.Tensor, eog_values: torch.Tensor | None = None) -> torch.Tensor:
        """(epochs, channels, rows, frames) -> (epochs, num_labels)."""
        return self.model(input_values, eog_values=eog_values).logits


class EpochEmbeddings(nn.Module):
    """First graph of a sequence model: rows of epochs -> their embeddings."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.epoch_encoder = model.sleepvit.epoch_encoder

    def forward(self, input_values: torch.Tensor, eog_values: torch.Tensor | None = None) -> torch.Tensor:
        """(epochs, channels, rows, frames) -> (epochs, hidden)."""
        return self.epoch_encoder(input_values, eog_values).pooler_output


class SequenceLogits(nn.Module):
    """Second graph of a sequence model: sequences of embeddings -> logits."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = copy.deepcopy(model)
        del self.model.sleepvit.epoch_encoder  # it has a file of its own

    def forward(self, epoch_embeddings: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """(batch, epochs, hidden) and a mask (batch, epochs) -> (batch, epochs, num_labels), or one of "center"."""
        return self.model(epoch_embeddings=epoch_embeddings, attention_mask=attention_mask).logits


def graphs(model: nn.Module, epoch_seconds: int) -> dict[str, tuple[nn.Module, dict, dict]]:
    """Cut a model into what is exported.

    Args:
        model: with its stage head.
        epoch_seconds: length of the epochs in s.

    Returns:
        by name: the graph, inputs to trace it with, and which of their axes are free.
    """
    names = graph_names(model.config)
    inputs, free = epoch_inputs(getattr(model.config, "epoch_config", model.config), epoch_seconds)
    if len(names) == 1:
        return {names[0]: (EpochLogits(model), inputs, free)}
    length = model.config.sequence_length
    n_epochs = length
    epochs = {}
    if model.config.label_mode == "all" and length > 1:  # "center" has one epoch in the middle, and so one length
        # traced with one epoch, the graph would take no other number
        n_epochs, epochs = max(2, length - 1), {1: Dim("epochs", min=1, max=length)}
    free_axes = {0: Dim("batch", min=1), **epochs}
    sequences = {
        "epoch_embeddings": torch.zeros(2, n_epochs, model.config.epoch_config.hidden_size),
        "attention_mask": torch.ones(2, n_epochs, dtype=torch.long),
    }
    return {
        names[0]: (EpochEmbeddings(model), inputs, free),
        names[1]: (SequenceLogits(model), sequences, dict.fromkeys(sequences, free_axes)),
    }


def epoch_inputs(config, epoch_seconds: int) -> tuple[dict[str, torch.Tensor], dict[str, dict]]:
    """Make inputs of the epoch encoder to trace it with.

    Args:
        config: of the epoch encoder.
        epoch_seconds: length of the epochs in s.

    Returns:
        the inputs, and which of their axes are free: the number of epochs and, where an epoch is read in several
        windows, their number, of which a program of torch.export then takes two at least, and an ONNX graph any.
    """
    n_windows = epoch_seconds // config.num_frames
    free_axes = {0: Dim("epochs", min=1)}
    if n_windows > 1:
        free_axes[3] = config.num_frames * Dim("windows", min=2)
    inputs = {"input_values": torch.zeros(3, config.num_channels, config.num_rows, epoch_seconds)}
    if config.num_eog_channels:
        inputs["eog_values"] = torch.zeros(3, config.num_eog_channels, config.num_eog_rows, epoch_seconds)
    return inputs, dict.fromkeys(inputs, free_axes)


class StoredLinear(nn.Module):
    """A linear layer whose matrix is stored in fewer bits and widened again before it is used.

    Args:
        linear: the layer in full precision.
        precision: "bf16"; or "int8", with one scale for each row.
    """

    def __init__(self, linear: nn.Linear, precision: str):
        super().__init__()
        weight = linear.weight.detach()
        scale = None
        if precision == "int8":
            scale = weight.abs().amax(dim=1, keepdim=True).clamp_min(1e-12) / 127  # a row may be all 0
            weight = (weight / scale).round().to(torch.int8)
        else:
            weight = weight.to(torch.bfloat16)
        self.register_buffer("stored", weight)
        self.register_buffer("scale", scale)
        self.bias = linear.bias
        self.dtype = linear.weight.dtype

    @property
    def weight(self) -> torch.Tensor:
        """The matrix, widened: (out, in)."""
        widened = self.stored.to(self.dtype)
        return widened if self.scale is None else widened * self.scale

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(..., in) -> (..., out)."""
        return nn.functional.linear(inputs, self.weight, self.bias)


def store_in_fewer_bits(model: nn.Module, precision: str) -> None:
    """Replace every linear layer of a model by a `StoredLinear`.

    Args:
        model: changed in place.
        precision: "int8" or "bf16".
    """
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Linear):
                setattr(module, name, StoredLinear(child, precision))


class _quiet(warnings.catch_warnings):
    """Keep what the exporter tells its developers from the user."""

    def __enter__(self):
        super().__enter__()
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        return self


if __name__ == "__main__":
    sys.exit(run_script(main))

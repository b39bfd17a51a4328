"""Checkpoints in ONNX Runtime: what `sleepvit export` wrote stages nights in the place of a PyTorch model."""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers.configuration_utils import PreTrainedConfig
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils import cached_file

from .errors import CheckpointError, SettingError


try:
    import onnxruntime
except ImportError:
    onnxruntime = None


def graph_names(config: PreTrainedConfig) -> tuple[str, ...]:
    """Tell into which graphs a model is exported; each is a file of that name.

    Args:
        config: of an epoch model or a sequence model.

    Returns:
        one graph for an epoch model. Two for a sequence model, so that a night's epochs are encoded once each, however
        many sequences they are part of.
    """
    return ("epoch_encoder", "sequence_encoder") if hasattr(config, "sequence_length") else ("model",)


class OnnxSleepViT(nn.Module):
    """A model with its stage head in ONNX Runtime, for the pipeline and for `night_probabilities`.

    Args:
        config: of the model.
        sessions: its graphs by name, see `graph_names`.
    """

    device = torch.device("cpu")

    def __init__(self, config: PreTrainedConfig, sessions: dict):
        super().__init__()
        self.config = config
        self.sessions = sessions

    @classmethod
    def from_pretrained(
        cls, model: str | Path, config: PreTrainedConfig, revision: str | None = None
    ) -> "OnnxSleepViT":
        """Load the graphs of an exported checkpoint.

        Args:
            model: folder that `sleepvit export` wrote, or its id on the Hub.
            config: of the model.
            revision: branch, tag or commit on the Hub.

        Returns:
            the model, on the CPU, with as many threads as PyTorch has.

        Raises:
            SettingError: ONNX Runtime is not installed.
            CheckpointError: a graph is missing or cannot be read.
        """
        if onnxruntime is None:
            raise SettingError('ONNX Runtime is not installed; install it with pip install "sleepvit[onnx]".')
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        sessions = {}
        for name in graph_names(config):
            path = cached_file(
                str(model), f"{name}.onnx", revision=revision, _raise_exceptions_for_missing_entries=False
            )
            if path is None:
                raise CheckpointError(
                    f"{model}: expected {name}.onnx, found none; write it with sleepvit export --format onnx."
                )
            try:
                sessions[name] = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            except Exception as error:  # its errors have no common class of their own
                raise CheckpointError(f"{path}: expected a graph that ONNX Runtime reads, found: {error}") from error
        return cls(config, sessions)

    @property
    def sleepvit(self) -> "OnnxSleepViT":
        """The encoder, as which this object stands, too."""
        return self

    def forward(
        self, input_values=None, attention_mask=None, epoch_embeddings=None, eog_values=None
    ) -> SequenceClassifierOutput:
        """Stage epochs or, with `epoch_embeddings`, sequences of them; all inputs are tensors or None.

        Args:
            input_values: (batch, channels, rows, frames), for an epoch model.
            attention_mask: (batch, epochs), 1 for an epoch and 0 for padding; None where all are epochs.
            epoch_embeddings: (batch, epochs, hidden), for a sequence model.
            eog_values: (batch, EOG channels, EOG rows, frames), beside input_values where the model reads the EOG.

        Returns:
            `logits`, as the PyTorch model gives them.
        """
        if epoch_embeddings is None:
            return SequenceClassifierOutput(
                logits=self._run("model", input_values=input_values, eog_values=eog_values)
            )
        if attention_mask is None:
            attention_mask = torch.ones(epoch_embeddings.shape[:2], dtype=torch.long)
        logits = self._run("sequence_encoder", epoch_embeddings=epoch_embeddings, attention_mask=attention_mask)
        return SequenceClassifierOutput(logits=logits)

    def encode_epochs(self, input_values: torch.Tensor, eog_values: torch.Tensor | None = None) -> torch.Tensor:
        """Encode each epoch on its own, (batch, epochs, channels, rows, frames) -> (batch, epochs, hidden)."""
        eog_values = None if eog_values is None else eog_values.flatten(0, 1)
        embeddings = self._run("epoch_encoder", input_values=input_values.flatten(0, 1), eog_values=eog_values)
        return embeddings.unflatten(0, input_values.shape[:2])

    def _run(self, graph: str, **inputs: torch.Tensor | None) -> torch.Tensor:
        arrays = {
            name: np.ascontiguousarray(tensor.detach().numpy())
            for name, tensor in inputs.items()
            if tensor is not None
        }
        return torch.from_numpy(self.sessions[graph].run(None, arrays)[0])

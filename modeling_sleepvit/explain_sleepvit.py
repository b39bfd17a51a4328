"""Why this stage: how much each patch of an epoch, and each neighbouring epoch, did for a decision of a model.

    explanation = explain(model, input_values)                         # of the predicted stages
    explanation = explain(model, input_values, target="N2", method="integrated_gradients")
    explanation = explain_night(model, night_values, epochs=[120, 121])

The methods are those of `attributions.METHODS`; `benchmarks/faithfulness.py` measures which of them tells the truth.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from .attributions import METHODS, NEED_ATTENTION_MAPS
from .decisions import Decisions, Windows, decisions_of_night, encoder_of, left_as_it_was
from .errors import SettingError
from .night_staging import EPOCHS_PER_BATCH


DEFAULT_METHOD = "integrated_gradients"
"""The one whose most relevant patches, deleted, cost a stage the most on held-out epochs."""

FREQUENCY_CUT_HZ = (*range(16), 16, 20, 24, 28, 32)
"""Edges in Hz of the 20 rows of the published frequency cut."""

_NOTHING = "there is nothing to explain: expected one epoch at least, found none."

Targets = None | str | int | Sequence[str | int] | torch.Tensor | np.ndarray


@dataclass(frozen=True)
class Explanation:
    """Why a model decided for a class; arrays of NumPy, the decisions along the first axis.

    Args:
        relevance: (decisions, [epochs,] [channels,] bands, seconds): what each patch did for the class. `explain` of a
            sequence model gives all epochs of the window, `explain_night` the one whose stage is explained. The axis
            of channels is there where each channel has its own tokens. Bands go from 0 Hz up. The unit is that of the
            method: a share of attention (rollout, gradient_rollout), no unit (relevance), logits
            (integrated_gradients) or loss of log-probability (occlusion); the last two are negative where a patch
            speaks against the class.
        band_relevance: (decisions, [epochs,] [channels,] bands): of whole bands. The sum over seconds; for occlusion
            what the class loses where the whole band is taken away.
        target: (decisions,) int ids of the explained classes, in the model's own order.
        target_names: their names, such as "N2".
        probability: (decisions,) of the explained class in this very decision: nothing is averaged over overlapping
            windows, lent by neighbours or calibrated, as the staging of a night does.
        method: name of the method.
        epoch_relevance: (decisions, epochs) what each epoch of the window did, by the same method over the sequence
            encoder's tokens; None for an epoch model, and where it was left out.
        epoch: (decisions,) int place in the window of the epoch whose stage is explained; None for an epoch model.
        window: (decisions, epochs) int epochs of the night that the window holds, -1 beyond its ends; `explain_night`.
        logit_difference: (decisions,) of integrated_gradients: the class's logit minus that of the baseline.
        completeness_gap: (decisions,) `logit_difference` minus the sum of `relevance`, which is 0 in theory.
        band_edges_hz: edges of the bands in Hz, one more than there are bands; None where nobody told them.
    """

    relevance: np.ndarray
    band_relevance: np.ndarray
    target: np.ndarray
    target_names: tuple[str, ...]
    probability: np.ndarray
    method: str
    epoch_relevance: np.ndarray | None = None
    epoch: np.ndarray | None = None
    window: np.ndarray | None = None
    logit_difference: np.ndarray | None = None
    completeness_gap: np.ndarray | None = None
    band_edges_hz: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.relevance)

    def to_rows(self) -> np.ndarray:
        """Draw the bands to scale, for a picture beside a spectrogram with 0 Hz at the bottom.

        Returns:
            (decisions, [epochs,] [channels,] Hz, seconds): row k is what lies from k to k + 1 Hz, and holds the
            relevance of its band; with the published bands 32 rows, with edges at 0, 4, 8, 12, 16 and 32 Hz.

        Raises:
            SettingError: the edges of the bands are not known.
        """
        if self.band_edges_hz is None:
            raise SettingError(
                f"to_rows needs the edges of the {self.relevance.shape[-2]} bands, found none: give "
                "row_edges_hz=feature_extractor.row_edges_hz to explain."
            )
        return np.repeat(self.relevance, np.diff(self.band_edges_hz), axis=-2)


def explain(
    model: nn.Module,
    input_values: torch.Tensor | np.ndarray,
    target: Targets = None,
    method: str = DEFAULT_METHOD,
    *,
    epoch: int | Sequence[int] | torch.Tensor | None = None,
    attention_mask: torch.Tensor | None = None,
    row_edges_hz: Sequence[int] | None = None,
    **options,
) -> Explanation:
    """Explain decisions of a model by the patches of its input; the model is afterwards as it was before.

    Args:
        model: an epoch or a sequence model with its stage head.
        input_values: (batch, channels, rows, frames) for an epoch model, (batch, epochs, channels, rows, frames) for a
            sequence model, as the feature extractor makes them.
        target: the class to explain, by name or id, one for all or one for each; "N1" also stands for a class
            "N1+N2". None explains the most probable class.
        method: "rollout", "gradient_rollout", "relevance", "integrated_gradients" or "occlusion".
        epoch: for a sequence model, the epoch of the window whose stage is explained, one for all or one for each;
            None stands for the middle, epochs // 2, the only one a model with label mode "center" decides about.
        attention_mask: (batch, epochs) for a sequence model, 1 for an epoch and 0 for padding; None without padding.
        row_edges_hz: edges in Hz of the rows, as the feature extractor knows them; None stands for those of the
            published frequency cut where there are 20 rows, and for rows of 1 Hz where there are 32.
        **options: of integrated_gradients and occlusion: `baseline`, and `neighbours`, False of which leaves
            `epoch_relevance` out and saves time; of integrated_gradients: `steps`.

    Returns:
        the explanation; its `relevance` covers all epochs of a window.

    Raises:
        SettingError: the model cannot be explained by the method, or method, target or epoch does not exist, or there
            is no decision.
        ValueError: an axis of the input does not fit the model.
    """
    check_method(model, method)
    if 0 in np.shape(input_values)[:-3]:
        raise SettingError(_NOTHING)
    with left_as_it_was(model, is_eager=method in NEED_ATTENTION_MAPS):
        values = _values_for(model, input_values)
        windows = None
        if hasattr(model.config, "sequence_length"):
            with torch.no_grad():
                parts = values.split(max(1, EPOCHS_PER_BATCH // max(1, values.shape[1])))
                embeddings = torch.cat([model.sleepvit.encode_epochs(part) for part in parts])
            everyone = torch.arange(values.shape[1], device=values.device).expand(len(values), -1)
            epochs = _epochs_for(model, values, epoch)
            windows = Windows(embeddings, everyone, epochs, _mask_for(embeddings, attention_mask, epochs))
        elif epoch is not None or attention_mask is not None:
            raise SettingError(
                "epoch and attention_mask are for sequence models; an epoch model knows one epoch only."
            )
        else:
            values = values[:, None]
        explanation = _explained(Decisions(model, values, windows), target, method, row_edges_hz, options)
    return _without_epochs(explanation) if windows is None else explanation


def explain_night(
    model: nn.Module,
    input_values: torch.Tensor | np.ndarray,
    epochs: Sequence[int] | np.ndarray | None = None,
    target: Targets = None,
    method: str = DEFAULT_METHOD,
    *,
    is_scorable: torch.Tensor | np.ndarray | None = None,
    row_edges_hz: Sequence[int] | None = None,
    **options,
) -> Explanation:
    """Explain epochs of a night, each from a window around it, in batches; the model is afterwards as it was before.

    Args:
        model: an epoch or a sequence model with its stage head.
        input_values: (epochs, channels, rows, frames), the night in order.
        epochs: which epochs to explain, from 0; None explains all.
        target: the class to explain, by name or id, one for all or one for each; "N1" also stands for a class
            "N1+N2". None explains the class that the window makes most probable.
        method: see `explain`.
        is_scorable: (epochs of the night,) bool; the others lend nothing to their neighbours. None: all are True.
        row_edges_hz: see `explain`.
        **options: of the method, see `explain`.

    Returns:
        the explanation, one decision per chosen epoch; its `relevance` covers that epoch alone. For a sequence model
        the window is centred on the epoch as far as the night reaches.

    Raises:
        SettingError: the model cannot be explained by the method, method or target does not exist, an epoch is not
            in the night or cannot be scored.
        ValueError: an axis of the input does not fit the model.
    """
    check_method(model, method)
    n_epochs = len(input_values)
    chosen = np.arange(n_epochs) if epochs is None else np.asarray(epochs).reshape(-1)
    if not len(chosen):
        raise SettingError(_NOTHING)
    if not np.issubdtype(chosen.dtype, np.integer):
        raise SettingError(
            f"epochs must be whole numbers from 0, found {chosen.dtype}; of a mask, give np.flatnonzero(mask)."
        )
    if is_scorable is not None:
        is_scorable = torch.as_tensor(is_scorable, dtype=torch.bool)
        if is_scorable.shape != (n_epochs,):
            raise SettingError(
                f"is_scorable must hold one value for each of {n_epochs} epochs, found: {tuple(is_scorable.shape)}."
            )
    for number in chosen.tolist():
        if not 0 <= number < n_epochs:
            raise SettingError(f"epoch {number} is not in this night: expected 0 to {n_epochs - 1}.")
        if is_scorable is not None and not is_scorable[number]:
            raise SettingError(f"epoch {number} cannot be scored, so that there is no stage to explain; leave it out.")
    with left_as_it_was(model, is_eager=method in NEED_ATTENTION_MAPS):
        decisions, window = decisions_of_night(
            model, _values_for(model, input_values), torch.from_numpy(chosen.astype(np.int64)), is_scorable
        )
        explanation = _explained(decisions, target, method, row_edges_hz, options)
    return replace(_without_epochs(explanation), window=None if window is None else window.numpy())


def _explained(
    everything: Decisions, target: Targets, method: str, row_edges_hz: Sequence[int] | None, options: dict
) -> Explanation:
    """Explain in batches of a bounded size; `relevance` has the axis of explained epochs."""
    config, windows = everything.model.config, everything.windows
    class_ids = _class_ids(config, target, len(everything))
    found: dict[str, list] = {}
    for index in torch.arange(len(everything), device=everything.values.device).split(everything.at_once):
        decisions = everything[index]
        with torch.no_grad():
            logits = decisions.logits(decisions.as_they_are())
            probabilities = logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(dim=-1)
        decisions.class_ids = probabilities.argmax(dim=-1) if class_ids is None else class_ids.to(index.device)[index]
        attribution = METHODS[method](decisions, **options)
        parts = vars(attribution) | {"target": decisions.class_ids, "probability": decisions.chosen(probabilities)}
        for name, part in parts.items():
            if part is not None:
                found.setdefault(name, []).append(_as_array(part))
    arrays = {name: np.concatenate(parts) for name, parts in found.items()}
    gap = None
    if "logit_difference" in arrays:
        relevance = arrays["relevance"]
        gap = arrays["logit_difference"] - relevance.sum(axis=tuple(range(1, relevance.ndim)))
    return Explanation(
        **arrays,
        target_names=tuple(config.id2label[index] for index in arrays["target"].tolist()),
        method=method,
        epoch=None if windows is None else windows.epoch.cpu().numpy(),
        completeness_gap=gap,
        band_edges_hz=_band_edges_hz(everything.encoder.config, row_edges_hz),
    )


def _without_epochs(explanation: Explanation) -> Explanation:
    """Drop the axis of explained epochs where there is one of them."""
    return replace(explanation, relevance=explanation.relevance[:, 0], band_relevance=explanation.band_relevance[:, 0])


def _as_array(tensor: torch.Tensor) -> np.ndarray:
    return (tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor).detach().cpu().numpy()


def check_method(model: nn.Module, method: str) -> None:
    """Refuse what cannot be, before the work.

    Args:
        model: to explain.
        method: to explain it by.

    Raises:
        SettingError: the model cannot be explained by the method, or there is no such method.
    """
    config = encoder_of(model).config
    if method not in METHODS:
        raise SettingError(f"there is no method {method!r}: expected one of {', '.join(METHODS)}.")
    if config.encoder_type == "inception-vtrans" or config.num_eog_channels:
        found = "reads the EOG, too" if config.num_eog_channels else "reads the EEG's waveform"
        raise SettingError(
            f"explain needs a model that reads the spectrogram of the EEG alone, found one that {found}."
        )
    if method != "occlusion" and any(parameter.is_inference() for parameter in model.parameters()):
        raise SettingError(
            f"{method} needs gradients, which the weights of this model cannot have: they were made inside "
            "torch.inference_mode(); load the model outside of it."
        )
    if method in NEED_ATTENTION_MAPS and config.encoder_type != "vtrans":
        others = ", ".join(name for name in METHODS if name not in NEED_ATTENTION_MAPS)
        raise SettingError(
            f"{method} follows the attention between patches, which encoder_type {config.encoder_type!r} does not "
            f"have; take one of {others}."
        )


def _values_for(model: nn.Module, input_values: torch.Tensor | np.ndarray) -> torch.Tensor:
    # a copy, so that values made in inference mode may have gradients here
    return torch.as_tensor(input_values).detach().to(device=model.device, dtype=model.dtype, copy=True)


def _epochs_for(
    model: nn.Module, values: torch.Tensor, epoch: int | Sequence[int] | torch.Tensor | None
) -> torch.Tensor:
    n_windows, n_epochs = values.shape[:2]
    middle = n_epochs // 2
    epochs = torch.as_tensor(middle if epoch is None else epoch, device=values.device)
    if epochs.dim() == 0:
        epochs = epochs.expand(n_windows)
    if epochs.shape != (n_windows,):
        raise SettingError(f"epoch must be one number or one for each of {n_windows} windows, found: {len(epochs)}.")
    is_center = model.config.label_mode == "center"
    for number in epochs.tolist():
        if not 0 <= number < n_epochs or (is_center and number != middle):
            expected = f"{middle}, the only one that this model decides about" if is_center else f"0 to {n_epochs - 1}"
            raise SettingError(f"epoch {number} of the window cannot be explained: expected {expected}.")
    return epochs


def _mask_for(
    embeddings: torch.Tensor, attention_mask: torch.Tensor | None, epochs: torch.Tensor
) -> torch.Tensor | None:
    if attention_mask is None:
        return None
    attention_mask = torch.as_tensor(attention_mask, device=embeddings.device)
    if attention_mask.shape != embeddings.shape[:2]:
        raise SettingError(
            f"attention_mask must have shape (batch, epochs) = {tuple(embeddings.shape[:2])}, found: "
            f"{tuple(attention_mask.shape)}."
        )
    if not attention_mask.gather(1, epochs[:, None]).all():
        raise SettingError(f"attention_mask calls an epoch padding whose stage is explained ({epochs.tolist()}).")
    return attention_mask.clone()


def _class_ids(config, target: Targets, n_decisions: int) -> torch.Tensor | None:
    """Translate names; None where the most probable class is wanted."""
    if target is None:
        return None
    if isinstance(target, str) or np.ndim(target) == 0:
        target = [target] * n_decisions
    ids = [_class_id(config, name if isinstance(name, str) else int(name)) for name in target]
    if len(ids) != n_decisions:
        raise SettingError(f"target must be one class or one for each of {n_decisions} decisions, found: {len(ids)}.")
    return torch.tensor(ids, dtype=torch.long)


def _class_id(config, name: str | int) -> int:
    ids = [index for index, label in config.id2label.items() if name in (index, label, *label.split("+"))]
    if not ids:
        raise SettingError(
            f"the model has no class {name!r}: expected one of {', '.join(config.id2label.values())}, or 0 to "
            f"{config.num_labels - 1}."
        )
    return ids[0]


def _band_edges_hz(config, row_edges_hz: Sequence[int] | None) -> tuple[int, ...] | None:
    if row_edges_hz is None:
        known = {20: FREQUENCY_CUT_HZ, 32: tuple(range(33))}
        row_edges_hz = known.get(config.num_rows)
    if row_edges_hz is None:
        return None
    if len(row_edges_hz) != config.num_rows + 1:
        raise SettingError(
            f"row_edges_hz must hold one more edge than the model has rows ({config.num_rows}), found: "
            f"{len(row_edges_hz)} edges."
        )
    return tuple(int(edge) for edge in row_edges_hz[:: config.patch_rows])

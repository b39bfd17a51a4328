"""The pipeline `sleep-staging`: a night in, a hypnogram with probabilities out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from transformers import Pipeline

from .errors import ChannelError, RecordingError, SettingError
from .hub_card import PushedWithCard
from .hypnogram import Hypnogram
from .night_staging import night_probabilities
from .recordings import Recording, read_recording, recording_from_array, recording_from_raw
from .signal_quality import FAULTS, epoch_faults
from .stages import STAGES, UNSCORED


class SleepStagingPipeline(PushedWithCard, Pipeline):
    """Stages whole nights with a SleepViT checkpoint; `pipeline("sleep-staging", model=...)` makes it.

    Call it with one night or a list of nights. A night is the path of an EDF, BDF or FIF file, a `Recording`, an MNE
    Raw, or an array in uV, (samples,) or (channels, samples), with its `sampling_rate`. Arguments of the call, which
    may also be given when the pipeline is made:

        channels: the names of the channels to stage from; None lets the preference order choose one.
        eog_channels: the names of the EOG channels, for a checkpoint that reads them; None chooses by their labels.
            Those of a `Recording` that was read from a file are found in that file.
        sampling_rate: Hz, for an array.
        overlap: how many sequences see each epoch, see `night_probabilities`.

    A checkpoint for one channel stages from every given channel on its own and averages the probabilities; one for
    more channels reads them together. An incomplete last epoch is dropped; epochs that are flat, clipped or not finite
    (in every voting channel, or in any of those that are read together) become "UNS". The hypnogram's `notes` say so,
    and which of several channels, those of the EOG among them, is at fault.

    Returns a `Hypnogram`, or a list of them for a list.

    Raises:
        SleepViTError: the recording cannot be staged, or EOG channels are named for a checkpoint that reads none; the
            message says why and what to do.
        TypeError: an argument is unknown or the input is of no kind named above.
    """

    _load_processor = False
    _load_image_processor = False
    _load_video_processor = False
    _load_feature_extractor = True
    _load_tokenizer = False

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.model.eval()  # a model that was handed over may still be in training mode
        self._check_checkpoint()

    def __call__(self, inputs, num_workers: int | None = None, batch_size: int | None = None, **kwargs):
        """Stage one night or a list of nights; the epochs of a night are batched inside, whatever `batch_size`."""
        if isinstance(inputs, list) and not inputs:
            return []
        return super().__call__(inputs, num_workers=num_workers, batch_size=1, **kwargs)

    def _sanitize_parameters(self, channels=None, sampling_rate=None, overlap=None, eog_channels=None, **unknown):
        if unknown:
            raise TypeError(
                f"sleep-staging takes channels, eog_channels, sampling_rate and overlap, found: "
                f"{', '.join(sorted(unknown))}"
            )
        if overlap is not None and (not isinstance(overlap, int) or overlap < 1):
            raise ValueError(f"overlap must be a whole number from 1 up, found: {overlap!r}")
        if eog_channels is not None and not self._epoch_config.num_eog_channels:
            raise SettingError("eog_channels: the model reads no EOG; leave them out, or take one that does.")
        preprocess_params = {"channels": channels, "sampling_rate": sampling_rate, "eog_channels": eog_channels}
        forward_params = {"overlap": overlap}
        return (
            {name: value for name, value in preprocess_params.items() if value is not None},
            {name: value for name, value in forward_params.items() if value is not None},
            {},
        )

    def preprocess(self, inputs, channels=None, sampling_rate: float | None = None, eog_channels=None) -> dict:
        """Read one night and prepare its rows, (voting channels, epochs, channels of the model, rows, seconds)."""
        recording = _as_recording(inputs, channels, sampling_rate)
        self._check_recording(recording, self.feature_extractor.lowest_sampling_rate)
        self._check_channels(recording)
        epoch_seconds = self.feature_extractor.epoch_seconds
        faults = _faults(recording, epoch_seconds)
        eog, notes = {}, []
        if len(faults) > 1:
            is_voting = self._epoch_config.num_channels == 1
            notes = _fault_notes("Channel", recording, faults, ", in which it had no vote" if is_voting else "")
        if n_eog := self._epoch_config.num_eog_channels:
            whole = getattr(inputs, "path", None) or inputs  # a Recording may hold but the EEG of its file
            eog_recording = _as_recording(whole, eog_channels, sampling_rate, n_eog)
            self._check_recording(eog_recording, self.feature_extractor.lowest_eog_rate)
            eog = {"eog_waveform": eog_recording.signals, "eog_sampling_rate": eog_recording.sampling_rate}
            eog_faults = _faults(eog_recording, epoch_seconds)
            notes += eog_recording.notes
            notes += _fault_notes("EOG channel", eog_recording, eog_faults, ", which were staged all the same")
        recording = replace(recording, notes=tuple(dict.fromkeys((*recording.notes, *notes))))
        features = self.feature_extractor(recording.signals, sampling_rate=recording.sampling_rate, **eog)
        rows = features["input_values"]
        is_unscorable = faults != ""  # (channels, epochs)
        # at a rate that is no whole number, resampling may end the last epoch a sample sooner or later
        n_epochs = min(len(rows), is_unscorable.shape[1])
        rows = torch.from_numpy(rows[:n_epochs])  # (epochs, channels, rows, seconds)
        is_unscorable = is_unscorable[:, :n_epochs]
        if self._epoch_config.num_channels == 1:
            rows = rows.transpose(0, 1).unsqueeze(2)  # each channel votes
        else:
            rows = rows.unsqueeze(0)
            is_unscorable = is_unscorable.any(axis=0, keepdims=True)
        eog_values = torch.from_numpy(features["eog_values"][:n_epochs]) if eog else None
        return {
            "input_values": rows, "eog_values": eog_values, "is_unscorable": is_unscorable, "recording": recording
        }  # fmt: skip

    def _forward(self, model_inputs: dict, overlap: int = 4) -> dict:
        probabilities = torch.stack(
            [
                night_probabilities(
                    self.model, rows, overlap, torch.from_numpy(~is_unscorable), model_inputs["eog_values"]
                )
                for rows, is_unscorable in zip(model_inputs["input_values"], model_inputs["is_unscorable"])
            ]
        )  # (voting channels, epochs, stages)
        return {**model_inputs, "probabilities": probabilities}

    def postprocess(self, model_outputs: dict) -> Hypnogram:
        """Average the votes of the channels that can be scored and make the hypnogram."""
        recording, is_unscorable = model_outputs["recording"], model_outputs["is_unscorable"]
        votes = model_outputs["probabilities"].numpy().astype(np.float64)
        votes[is_unscorable] = np.nan
        is_scorable = ~is_unscorable.all(axis=0)  # (epochs,)
        probabilities = np.full(votes.shape[1:], np.nan)
        probabilities[is_scorable] = np.nanmean(votes[:, is_scorable], axis=0)
        stages = np.full(len(probabilities), UNSCORED, dtype="<U3")
        stages[is_scorable] = np.array(STAGES)[probabilities[is_scorable].argmax(axis=1)]
        return Hypnogram(
            stages=stages,
            probabilities=probabilities,
            start=recording.start,
            epoch_seconds=self.feature_extractor.epoch_seconds,
            recording=recording.id,
            channels=recording.channel_names,
            notes=(*recording.notes, *self._staging_notes(recording, is_scorable)),
        )

    def _staging_notes(self, recording: Recording, is_scorable: np.ndarray) -> list[str]:
        notes = []
        epoch_seconds = self.feature_extractor.epoch_seconds
        rest_s = recording.duration_s - len(is_scorable) * epoch_seconds
        # a rest below one sample comes from the rounding of a rate that is no whole number
        if rest_s * recording.sampling_rate >= 1:
            notes.append(f"The last {rest_s:.1f} s are no whole epoch of {epoch_seconds} s and were dropped.")
        n_unscorable = int((~is_scorable).sum())
        if n_unscorable:
            is_voted = self._epoch_config.num_channels == 1 and len(recording.channel_names) > 1
            where = " in every channel" if is_voted else ""
            notes.append(
                f"{n_unscorable} of {len(is_scorable)} epochs are flat, clipped or not finite{where}: {UNSCORED}."
            )
        return notes

    @property
    def _epoch_config(self):
        return getattr(self.model.config, "epoch_config", self.model.config)

    def _check_checkpoint(self) -> None:
        """Refuse a model that cannot stage the feature extractor's rows, before any night is read."""
        config, extractor = self._epoch_config, self.feature_extractor
        if not hasattr(extractor, "num_rows"):
            raise SettingError(
                f"sleep-staging needs a SleepViTFeatureExtractor, found {type(extractor).__name__}; take the one that "
                "is saved beside the weights."
            )
        if sorted(self.model.config.label2id) != sorted(STAGES):
            raise SettingError(
                f"sleep-staging needs a model with the classes {', '.join(STAGES)}, "
                f"found: {', '.join(self.model.config.label2id)}."
            )
        for what, read, made in (
            ("rows", config.num_rows, extractor.num_rows),
            ("EOG channels", config.num_eog_channels, extractor.num_eog_channels),
            ("EOG rows", config.num_eog_rows, extractor.num_eog_rows),
        ):
            if read != made:
                raise SettingError(
                    f"the model reads {read} {what}, the feature extractor makes {made}; take the feature extractor "
                    "that is saved beside the weights."
                )
        if extractor.epoch_seconds % config.num_frames:
            raise SettingError(
                f"an epoch of {extractor.epoch_seconds} s cannot be read in windows of {config.num_frames} s; "
                "the model's num_frames must divide the extractor's epoch_seconds."
            )

    def _check_recording(self, recording: Recording, lowest: float) -> None:
        where = recording.path or recording.id
        if recording.sampling_rate < lowest:
            raise RecordingError(
                f"{where}: channel {', '.join(recording.channel_names)} is sampled at {recording.sampling_rate:g} Hz, "
                f"expected at least {lowest:g} Hz; choose a channel with a higher rate."
            )
        epoch_seconds = self.feature_extractor.epoch_seconds
        if recording.duration_s < epoch_seconds:
            raise RecordingError(
                f"{where}: expected at least one epoch of {epoch_seconds} s, found {recording.duration_s:g} s."
            )

    def _check_channels(self, recording: Recording) -> None:
        where, n_channels = recording.path or recording.id, len(recording.channel_names)
        if self._epoch_config.num_channels not in (1, n_channels):
            raise ChannelError(
                f"{where}: the model reads {self._epoch_config.num_channels} channels together, found {n_channels} "
                f"({', '.join(recording.channel_names)}); name as many, for example channels=['C4-M1', 'C3-M2']."
            )


def _faults(recording: Recording, epoch_seconds: float) -> np.ndarray:
    """What is wrong with each epoch of each channel, (channels, epochs), see `epoch_faults`."""
    return np.stack([epoch_faults(signal, recording.sampling_rate, epoch_seconds) for signal in recording.signals])


def _fault_notes(what: str, recording: Recording, faults: np.ndarray, consequence: str) -> list[str]:
    """Say which channel has which faults, in how many epochs, and what became of these."""
    notes = []
    for name, of_channel in zip(recording.channel_names, faults):
        counts = [f"{fault} in {n}" for fault in FAULTS if (n := int((of_channel == fault).sum()))]
        if counts:
            notes.append(f'{what} "{name}" is {", ".join(counts)} of {len(of_channel)} epochs{consequence}.')
    return notes


def _as_recording(inputs, channels, sampling_rate: float | None, n_eog: int = 0) -> Recording:
    """Make a `Recording` of whatever a user hands to the pipeline, or with `n_eog` of its EOG channels.

    Kinds are told apart by what they offer, not by their class: under trust_remote_code two copies of a class exist.
    """
    if isinstance(inputs, torch.Tensor):
        inputs = inputs.detach().float().cpu().numpy()
    if isinstance(inputs, np.ndarray):
        recording = recording_from_array(inputs, sampling_rate)
        return recording if channels is None and not n_eog else recording.pick(channels, n_eog)
    if isinstance(inputs, (str, Path)):
        recording = read_recording(inputs, channels, n_eog)
    elif hasattr(inputs, "signals") and hasattr(inputs, "channel_names"):
        recording = inputs if channels is None and not n_eog else inputs.pick(channels, n_eog)
    elif hasattr(inputs, "get_data") and hasattr(inputs, "info"):
        recording = recording_from_raw(inputs, channels, n_eog)
    else:
        raise TypeError(
            "sleep-staging takes a path, a Recording, an MNE Raw or an array in uV with sampling_rate, "
            f"found: {type(inputs).__name__}"
        )
    if sampling_rate is not None and sampling_rate != recording.sampling_rate:
        raise RecordingError(
            f"{recording.path or recording.id}: is sampled at {recording.sampling_rate:g} Hz, but sampling_rate="
            f"{sampling_rate:g} was given; leave it out, it is only needed for arrays."
        )
    return recording

"""The second input: EOG from an EDF through datasets and pipeline to the model."""

import edfio
import numpy as np
import pytest
import torch
from datasets import load_dataset

from dataset_builders.cohort import Cohort
from dataset_builders.npz_nights import read_npz_nights
from dataset_builders.prepared_folder import prepare_folder
from dataset_builders.prepared_nights import nights_of_dataset
from dataset_builders.sequences import CenterSequences, EpochSequences, SingleEpochs
from modeling_sleepvit import (
    SleepStagingPipeline,
    SleepViTConfig,
    SleepViTError,
    SleepViTFeatureExtractor,
    SleepViTForAudioFrameClassification,
    SleepViTSequenceConfig,
    read_recording,
)
from modeling_sleepvit.night_staging import night_probabilities
from modeling_sleepvit.stager import load_stager

from ..conftest import TINY, eeg_like


STAGES = ["W", "N1", "UNS", "N2", "N3", "R", "N2", "W"]
RATE_OF_LABEL = {"EEG C4-A1": 64, "EOG(R)": 50, "EOG(L)": 50}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """A night of noise with EEG at 64 Hz and EOG at 50 Hz, the right eye first."""
    folder = tmp_path_factory.mktemp("eog")
    signals = [
        edfio.EdfSignal(
            eeg_like(len(STAGES) * 30 * rate, seed),
            rate,
            label=label,
            physical_dimension="uV",
            physical_range=(-200, 200),
        )
        for seed, (label, rate) in enumerate(RATE_OF_LABEL.items())
    ]
    edfio.Edf(signals).write(folder / "night.edf")
    (folder / "night.csv").write_text("stage\n" + "\n".join(STAGES) + "\n")
    return folder


@pytest.fixture
def extractor():
    return SleepViTFeatureExtractor(num_eog_channels=2)


@pytest.fixture
def stager(extractor):
    torch.manual_seed(0)
    config = SleepViTSequenceConfig(
        **TINY, sequence_length=3, epoch_config=SleepViTConfig(**TINY, num_eog_channels=2, initializer_range=0.5)
    )
    model = SleepViTForAudioFrameClassification(config).eval()
    return SleepStagingPipeline(model=model, feature_extractor=extractor)


def test_a_prepared_night_holds_the_eog_and_is_staged_as_its_file_is(cohort, extractor, stager, tmp_path):
    prepare_folder(Cohort(folder=cohort, feature_extractor=extractor, trim="none"), tmp_path / "out")
    assert "`eog_values` | float32 (2, 26, 30)" in (tmp_path / "out" / "README.md").read_text()
    dataset = load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    (night,) = nights_of_dataset(dataset)
    left, right = (read_recording(cohort / "night.edf", f"EOG({eye})").signals[0] for eye in "LR")
    eeg = read_recording(cohort / "night.edf", "C4-M1").signals
    expected = extractor(eeg, 64, eog_waveform=np.stack([left, right]), eog_sampling_rate=50)
    np.testing.assert_array_equal(night.eog_values[:], expected["eog_values"])
    inputs = {name: torch.from_numpy(values[:]) for name, values in night.inputs.items()}
    hypnogram = stager(cohort / "night.edf")
    np.testing.assert_allclose(hypnogram.probabilities, night_probabilities(stager.model, **inputs), atol=1e-6)
    assert "No EOG channel was named: EOG(L), EOG(R) were read." in hypnogram.notes
    eeg_alone = stager(read_recording(cohort / "night.edf", "C4-M1"))
    np.testing.assert_array_equal(eeg_alone.probabilities, hypnogram.probabilities)
    swapped = stager(cohort / "night.edf", eog_channels=["EOG(R)", "EOG(L)"])
    assert not np.allclose(swapped.probabilities, hypnogram.probabilities)


def test_training_examples_hold_it_padded_like_the_eeg(cohort, extractor):
    builder = Cohort(folder=cohort, feature_extractor=extractor, trim="none")
    (scored,) = builder.find_nights()
    night = scored.read(builder.settings)
    last = EpochSequences([night], 5)[1]
    assert last["eog_values"].shape == (5, 2, 26, 30)
    np.testing.assert_array_equal(last["eog_values"][:3], night.eog_values[5:])
    assert not last["eog_values"][3:].any()
    first = CenterSequences([night], 3)[0]
    assert not first["eog_values"][0].any()
    np.testing.assert_array_equal(first["eog_values"][1:], night.eog_values[:2])
    np.testing.assert_array_equal(SingleEpochs([night])[6]["eog_values"], night.eog_values[6])


def test_an_eog_channel_that_is_flat_or_clipped_is_named(stager, cohort, write_edf, tmp_path):
    signals = [eeg_like(len(STAGES) * 3000, seed).reshape(-1, 3000) for seed in range(3)]
    signals[1][[2, 4]] = 0
    signals[1][5] = np.clip(40 * signals[1][5], -60, 60)
    labels = ("EEG C4-A1", "EOG(R)", "EOG(L)")
    path = write_edf(tmp_path / "n.edf", labels, seconds=240, signals=[signal.ravel() for signal in signals])
    hypnogram = stager(path)
    assert "UNS" not in hypnogram.stages
    (note,) = [note for note in hypnogram.notes if "EOG(" in note and "No EOG" not in note]
    assert note == 'EOG channel "EOG(R)" is flat in 2, clipped in 1 of 8 epochs, which were staged all the same.'
    assert not [note for note in stager(cohort / "night.edf").notes if "all the same" in note]


def test_recordings_and_npz_nights_without_eog_are_refused(stager, extractor, write_edf, tmp_path):
    with pytest.raises(SleepViTError, match="expected 2 channels that are EOG by their labels, found 0"):
        stager(write_edf(tmp_path / "night.edf"))
    np.savez(tmp_path / "night.npz", x=eeg_like(2 * 500).reshape(2, 500), y=np.array([0, 2]), fs=100)
    with pytest.raises(SleepViTError, match="expected eog beside x and y, found x, y, fs"):
        read_npz_nights(tmp_path, extractor)
    x = eeg_like(2 * 500).reshape(2, 500)
    np.savez(tmp_path / "night.npz", x=x, eog=x.ravel(), y=np.array([0, 2]), fs=100)
    with pytest.raises(SleepViTError, match=r"numbers of shape \(epochs, samples\[, channels\]\) in eog"):
        read_npz_nights(tmp_path, extractor)


def test_eog_channels_for_a_model_that_reads_none_are_refused(tiny_checkpoints, cohort):
    with pytest.raises(SleepViTError, match="the feature extractor makes no EOG; leave them out"):
        Cohort(folder=cohort, feature_extractor=SleepViTFeatureExtractor(), eog_channels=["EOG(L)"])
    with pytest.raises(SleepViTError, match="the model reads no EOG; leave them out"):
        load_stager(tiny_checkpoints["sequence"], eog_channels=["E1-M2"])
    with pytest.raises(SleepViTError, match="the model reads no EOG; leave them out"):
        load_stager(tiny_checkpoints["sequence"])(eeg_like(3000), sampling_rate=100, eog_channels=["E1-M2"])


def test_an_extractor_that_makes_no_eog_does_not_fit_the_model(stager):
    with pytest.raises(SleepViTError, match="reads 2 EOG channels, the feature extractor makes 0"):
        SleepStagingPipeline(model=stager.model, feature_extractor=SleepViTFeatureExtractor())

"""Cohorts that tests write: noise in the recordings, scorings beside them."""

from pathlib import Path

import edfio
import numpy as np
import pytest

from modeling_sleepvit.recordings import recording_from_array


STAGES_OF_A_SHORT_NIGHT = ("W", "N1", "N2", "N2", "N3", "R", "N2", "W")


def noise_recording(n_epochs, sampling_rate=64.0, seed=0, **fields):
    """Noise of an EEG's size as a Recording."""
    n_samples = round(n_epochs * 30 * sampling_rate)
    signal_uv = np.random.default_rng(seed).normal(scale=20, size=n_samples)
    return recording_from_array(signal_uv, sampling_rate, ["EEG Fpz-Cz"], **fields)


@pytest.fixture(scope="session")
def write_scored_edf():
    """Write noise as `<stem>.edf` and its scoring as `<stem>.csv`, one stage per line."""

    def write(folder: Path, stem: str, stages=STAGES_OF_A_SHORT_NIGHT, n_epochs=None, label="EEG Fpz-Cz") -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        signal_uv = noise_recording(n_epochs or len(stages), seed=sum(stem.encode())).signals[0]
        channel = edfio.EdfSignal(
            signal_uv.astype(float), 64, label=label, physical_dimension="uV", physical_range=(-200, 200)
        )
        edfio.Edf([channel]).write(folder / f"{stem}.edf")
        if stages is not None:
            (folder / f"{stem}.csv").write_text("stage\n" + "\n".join(stages) + "\n")
        return folder / f"{stem}.edf"

    return write


@pytest.fixture(scope="session")
def write_flat_psg():
    """Write a recording that says nothing, whatever its length, in no time: its samples are a hole in the file."""

    def write(path: Path, seconds: int, start, label="EEG Fpz-Cz", sampling_rate=100) -> Path:
        channel = edfio.EdfSignal(
            np.zeros(30 * sampling_rate),
            sampling_rate,
            label=label,
            physical_dimension="uV",
            physical_range=(-200, 200),
            digital_range=(-2000, 2000),
        )
        one_record = edfio.Edf(
            [channel],
            starttime=start.time(),
            recording=edfio.Recording(startdate=start.date()),
            data_record_duration=30,
        )
        one_record.write(path)
        n_records = seconds // 30
        with path.open("r+b") as file:
            file.seek(236)
            file.write(f"{n_records:<8}".encode())
            file.truncate(512 + n_records * 30 * sampling_rate * 2)
        return path

    return write

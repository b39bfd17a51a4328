"""A night of noise and its report, made once."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from modeling_sleepvit import read_recording
from modeling_sleepvit.stager import load_stager
from train_scripts.cli import main

from ...conftest import eeg_like
from .reading import embedded_data


N_EPOCHS = 40
FLAT = slice(12, 15)


@pytest.fixture(scope="session")
def night_report(tmp_path_factory, write_edf, tiny_checkpoints):
    """`sleepvit stage --report` of 40 epochs, three of them flat: path, text, data and their origin."""
    folder = tmp_path_factory.mktemp("night")
    signal = eeg_like(N_EPOCHS * 3000).reshape(N_EPOCHS, 3000)
    signal[FLAT] = 0
    edf = write_edf(folder / "n & 1.edf", signals=[signal.ravel()], seconds=N_EPOCHS * 30)
    checkpoint = str(tiny_checkpoints["sequence"])
    assert main(["stage", str(edf), "--report", "--output", str(folder), "--model", checkpoint]) == 0
    path = folder / "n & 1_report.html"
    text = path.read_text(encoding="utf-8")
    return SimpleNamespace(
        path=path,
        text=text,
        data=embedded_data(text),
        csv=pd.read_csv(folder / "n & 1_hypnogram.csv"),
        recording=read_recording(edf),
        stager=load_stager(checkpoint),
        is_scored=np.delete(np.arange(N_EPOCHS), FLAT),
    )

"""The picture of a staged night: three panels on one time axis, and a spectrogram in true units."""

from datetime import datetime

import numpy as np
import pytest

from modeling_sleepvit import Hypnogram
from modeling_sleepvit.night_figure import colour_limits, night_figure
from modeling_sleepvit.recordings import recording_from_array


def test_the_three_panels_share_the_time_of_the_epochs():
    recording = recording_from_array(np.random.default_rng(0).normal(scale=20, size=12_000), 100)
    stages = ["W", "N2", "UNS", "R"]
    probabilities = np.full((4, 5), np.nan)
    probabilities[[0, 1, 3]] = np.eye(5)[[0, 2, 4]]
    figure = night_figure(recording, Hypnogram(stages, probabilities, start=datetime(2000, 1, 1, 23)))
    top, middle, bottom = figure.axes[:3]
    assert top.get_xlim() == middle.get_xlim() == bottom.get_xlim()
    assert np.diff(top.get_xlim())[0] * 24 * 60 == pytest.approx(2)  # minutes
    assert bottom.get_xlabel() == "Clock time"
    assert bottom.get_ylim() == (0, 32)
    assert "not a medical device" in figure.get_supxlabel()


def test_artefacts_do_not_dim_the_spectrogram():
    decibels = np.tile(np.arange(100.0), (10, 1))
    decibels[0, 0] = 1e4
    decibels[:, 50] = np.nan
    assert colour_limits(decibels) == pytest.approx((2, 98), abs=1)
    assert colour_limits(np.full((2, 3), np.nan)) == (0, 1)

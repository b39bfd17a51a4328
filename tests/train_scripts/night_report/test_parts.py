"""The parts of the report: traces of the EEG, charts, and what a reader is warned of."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from modeling_sleepvit import Hypnogram, Recording, SleepViTFeatureExtractor
from modeling_sleepvit.hypnogram import PROBABILITY_COLUMNS
from modeling_sleepvit.stager import load_stager
from modeling_sleepvit.stages import STAGES
from train_scripts.night_report.cautions import LOW_AGREEMENT, USUAL_UV, cautions_of, spectrum_deviation
from train_scripts.night_report.charts import hypnodensity_areas, hypnogram_steps, level_of, time_ticks
from train_scripts.night_report.traces import MISSING, display_traces

from ...conftest import eeg_like


PROJECT = Path(__file__).resolve().parents[3]


def sine(hz, amplitude_uv, rate, seconds):
    return amplitude_uv * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)


@pytest.mark.parametrize("rate", [50, 99.5, 100, 256])
def test_traces_keep_the_rhythms_of_sleep_and_their_size(rate):
    wave = sine(1, 75, rate, 90.2) + sine(14, 20, rate, 90.2)
    other = 500 + (sine(50, 100, rate, 90.2) if rate > 100 else 0)  # an offset, and mains hum
    traces = display_traces(Recording([wave + other], rate, ("Fpz-Cz",)), n_epochs=3, epoch_seconds=30)
    assert traces.values.shape == (3, 1500)
    shown = (traces.values * traces.step_uv[:, None])[1]
    expected = (sine(1, 75, 50, 60) + sine(14, 20, 50, 60))[1500:]
    np.testing.assert_allclose(shown, expected, atol=2.5)


def test_traces_say_where_the_signal_is_missing():
    wave = eeg_like(9000)
    wave[3100:3200] = np.nan
    values = display_traces(Recording([wave], 100, ("Fpz-Cz",)), n_epochs=3, epoch_seconds=30).values
    assert np.flatnonzero(values.ravel() == MISSING).tolist() == list(range(1550, 1600))


def test_large_deflections_coarsen_only_their_own_epoch():
    wave = eeg_like(9000)
    wave[4000] = 20_000
    step_uv = display_traces(Recording([wave], 100, ("Fpz-Cz",)), n_epochs=3, epoch_seconds=30).step_uv
    assert step_uv[1] > 50
    assert (step_uv[[0, 2]] < 1).all()


def test_the_hypnogram_has_wake_on_top_and_steps_between_stages():
    assert [level_of(stage) for stage in ("W", "R", "N1", "N2", "N3")] == [10, 30, 50, 70, 90]
    assert hypnogram_steps(Hypnogram(["W", "W", "N2", "UNS", "N2", "R"])) == "M2 10V70M5 70V30"


def test_the_areas_of_the_hypnodensity_stack_to_one():
    probabilities = np.array([[0.1, 0.2, 0.3, 0.4, 0.0], [np.nan] * 5])
    areas = hypnodensity_areas(probabilities)
    assert list(areas) == ["W", "R", "N1", "N2", "N3"]  # N3 is drawn last, in front of the others
    tops = {stage: path.split("V")[1].split("H")[0] for stage, path in areas.items()}
    assert tops == {"W": "0", "R": "10", "N1": "10", "N2": "30", "N3": "60"}
    assert all(path.endswith("V100H2V100Z") for path in areas.values())


def test_ticks_stand_at_round_clock_times():
    start = datetime(2000, 1, 1, 23, 23, 30)
    ticks = time_ticks(Hypnogram(["W"] * 960, start=start))
    assert [label for _, label in ticks] == ["00:00", "01:00", "02:00", "03:00", "04:00", "05:00", "06:00", "07:00"]
    assert ticks[0][0] == pytest.approx(100 * 36.5 / 480)
    assert [label for _, label in time_ticks(Hypnogram(["W"] * 20))][:3] == ["0:00", "0:01", "0:02"]


@pytest.fixture(scope="module")
def extractor():
    """The embedded checkpoint's, which knows its training nights."""
    return load_stager().feature_extractor


def titles(stages, *signals, extractor=None, agreement=0.9, rate=100):
    signals = signals or [eeg_like(len(stages) * 30 * rate)]
    recording = Recording(signals, rate, ("Fpz-Cz", "C4-M1")[: len(signals)])
    extractor = extractor or SleepViTFeatureExtractor()
    values = extractor(recording.signals, sampling_rate=rate)["input_values"]
    found = cautions_of(recording, Hypnogram(stages), values, extractor, agreement)
    return {caution.title: caution.text for caution in found}


ALL_STAGES = list(STAGES)


def test_a_sound_night_raises_no_warning():
    assert titles(ALL_STAGES * 4) == {}


def test_unscorable_stretches_are_told_with_their_times():
    signal = eeg_like(20 * 3000).reshape(20, 3000)
    signal[3:5] = 0
    signal[8] = np.clip(40 * signal[8], -60, 60)
    stages = np.array(ALL_STAGES * 4, dtype=object)
    stages[[3, 4, 8]] = "UNS"
    found = titles(stages, signal.ravel())
    assert found == {
        "Flat signal": "2 epochs of 20 cannot be scored: 0:01:30 to 0:02:30 (epoch 3 to 4).",
        "Clipped signal": "1 epoch of 20 cannot be scored: 0:04:00 to 0:04:30 (epoch 8).",
    }


@pytest.mark.parametrize(("gain", "words"), [(0.001, ["small", "0.014 µV"]), (1e5, ["large", "1,400,000 µV"])])
def test_a_wrong_scale_is_told(gain, words):
    size, amplitude = words
    told = titles(ALL_STAGES, gain * eeg_like(5 * 3000))["Scale"]
    assert f"unusually {size}" in told
    assert f"within {amplitude} of its middle" in told


def test_each_of_several_channels_is_judged_by_its_name(extractor):
    """The first channel is sound but for one epoch, in which the second is dead, too."""
    white = np.fft.rfft(eeg_like(20 * 3000))
    falling = np.fft.irfft(white / np.maximum(np.fft.rfftfreq(20 * 3000, 1 / 100), 0.5))  # as the EEG's spectrum does
    first, second = (signal.reshape(20, 3000) for signal in (falling, 100 * eeg_like(20 * 3000, seed=1)))
    first[3] = second[3] = second[8] = 0
    stages = np.array(ALL_STAGES * 4, dtype=object)
    stages[3] = "UNS"
    found = titles(stages, first.ravel(), second.ravel(), extractor=extractor)
    assert found["Flat signal of Fpz-Cz"].startswith("1 epoch of 20 cannot be scored: 0:01:30")
    assert found["Flat signal of C4-M1"] == (
        "2 epochs of 20 had no vote of this channel: 0:01:30 to 0:02:00 (epoch 3), 0:04:00 to 0:04:30 (epoch 8)."
    )
    assert "unusually large" in found["Scale of C4-M1"]
    assert "beta (16 to 32 Hz) lies" in found["Unusual spectrum of C4-M1"]
    assert [title for title in found if title.endswith("Fpz-Cz")] == ["Flat signal of Fpz-Cz"]


def test_stages_that_are_missing_and_long_wake_are_told():
    found = titles(["W"] * 130 + ["N2"] * 3)
    assert found["Missing stages"].startswith("No epoch was staged N1 or N3 or R.")
    assert "65 min before and 0 min after sleep" in found["Wake around the night"]
    assert list(titles(["W"] * 3)) == ["No sleep"]
    assert list(titles(["UNS"] * 3)) == ["No stages"]


def test_low_certainty_is_told():
    assert "62% of the epochs" in titles(ALL_STAGES, agreement=0.62)["Low certainty"]
    assert titles(ALL_STAGES, agreement=float("nan")) == {}


def test_training_nights_are_usual_and_noise_is_not(extractor, shared_data):
    """No night of the training cohort (5 s of each epoch) raises the warning; white noise and filtered nights do."""
    paths = sorted((shared_data / "sleep-edf-20-5s").glob("SC4*.npz"))[::8]
    for path in paths:
        with np.load(path) as night:
            epochs = night["x"][:, None]
        assert USUAL_UV[0] < np.median(np.abs(epochs)) < USUAL_UV[1]
        values = extractor(epochs, sampling_rate=100)["input_values"]
        deviation = spectrum_deviation(values, extractor)
        bands = np.array([deviation[:4], deviation[4:8], deviation[8:12], deviation[12:16], deviation[16:]])
        assert np.abs(bands.mean(axis=1)).max() < 0.4
    assert "beta (16 to 32 Hz) lies" in titles(ALL_STAGES * 4, extractor=extractor)["Unusual spectrum"]


def test_nights_of_strangers_are_seldom_called_uncertain():
    """The published predictions: 39 nights, each staged by a model that had not seen it."""
    published = PROJECT / "benchmarks" / "results" / "sedf20-5s" / "default" / "predictions.parquet"
    predictions = pd.read_parquet(published, columns=["recording", *PROBABILITY_COLUMNS])
    confidence = predictions[list(PROBABILITY_COLUMNS)].max(axis=1).groupby(predictions["recording"]).mean()
    assert (confidence < LOW_AGREEMENT).mean() < 0.1


def test_the_deviation_is_that_of_the_power(extractor):
    """Anchoring is undone: a night filtered in one band deviates by what the filter took."""
    rng = np.random.default_rng(0)
    profile, spread = np.array(extractor.row_profile), np.array(extractor.row_spread)
    centre = profile + np.linspace(-0.3, 0.3, len(profile))
    levelled = centre[:, None] + 0.1 * spread[:, None] * rng.choice([-1.0, 1.0], size=(200, 1, len(profile), 30))
    values = extractor.anchor(levelled, np.broadcast_to(centre, (1, len(profile))))
    np.testing.assert_allclose(spectrum_deviation(values, extractor), centre - profile, atol=1e-3)
    values[:, :, 18:] = 0
    assert np.isnan(spectrum_deviation(values, extractor)[18:]).all()
    assert spectrum_deviation(values, SleepViTFeatureExtractor()) is None

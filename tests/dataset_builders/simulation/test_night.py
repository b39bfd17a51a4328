"""The simulated night: honest about what it is, the same for a seed, and like real nights where it was measured."""

import edfio
import numpy as np
import pytest

from dataset_builders.simulation import DEFAULT_CHANNELS, simulate_night, write_simulated_night
from dataset_builders.simulation.hypnograms import draw_stages, main_sleep, night_summary
from dataset_builders.simulation.night import simulation_statistics
from dataset_builders.simulation.signals import BAND_EDGES_HZ, log_band_power
from modeling_sleepvit import read_recording
from modeling_sleepvit.errors import SettingError
from modeling_sleepvit.recordings import find_recordings
from modeling_sleepvit.stager import load_stager
from modeling_sleepvit.stages import STAGES, stage_from_name, stages_from_ids


FPZ_CZ, PZ_OZ, EOG, EMG = DEFAULT_CHANNELS


@pytest.fixture(scope="module")
def night():
    return simulate_night(hours=6, seed=1)


@pytest.fixture(scope="module")
def written(night, tmp_path_factory):
    return write_simulated_night(tmp_path_factory.mktemp("cohort") / "night.edf", night)


def epochs_of(night, channel):
    return night.signals[channel].reshape(night.hypnogram.n_epochs, -1)


def band_means(night, channel):
    """(bands,) mean log10 power of each stage, over the first 5 s of its epochs that are not flat."""
    epochs = epochs_of(night, channel)
    clean = np.ptp(epochs[:, :500], axis=1) > 1
    power = log_band_power(epochs[:, :500], night.sampling_rate)
    return {stage: power[clean & (night.hypnogram.stages == stage)].mean(axis=0) for stage in STAGES}


def band_at(hertz):
    return int(np.searchsorted(BAND_EDGES_HZ, hertz, side="right")) - 1


# --- The same and not the same -----------------------------------------------------------------------------------


def test_a_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_simulated_night(tmp_path / f"{name}.edf", simulate_night(0.5, seed))
    for suffix in (".edf", "-Hypnogram.edf"):
        a, b, c = ((tmp_path / f"{name}{suffix}").read_bytes() for name in "abc")
        assert a == b
        assert a != c


def test_stages_of_a_seed_depend_on_neither_rate_nor_channels():
    stages = simulate_night(0.5, 5).hypnogram.stages
    other = simulate_night(0.5, 5, sampling_rate=64, channels=["C4-M1"])
    np.testing.assert_array_equal(other.hypnogram.stages, stages)
    assert {name: len(samples) for name, samples in other.signals.items()} == {"C4-M1": 1800 * 64}


@pytest.mark.parametrize("n_epochs", [1, 2, 3, 25])
def test_any_length_from_one_epoch_up(n_epochs):
    night = simulate_night(n_epochs / 120, seed=2, sampling_rate=128)
    assert night.hypnogram.n_epochs == n_epochs
    assert night.hypnogram.stages[0] == night.hypnogram.stages[-1] == "W"
    for samples in night.signals.values():
        assert samples.shape == (n_epochs * 30 * 128,)
        assert np.isfinite(samples).all()


# --- Files -------------------------------------------------------------------------------------------------------


def test_both_files_say_that_they_are_simulated(written):
    for path in written:
        edf = edfio.read_edf(path)
        assert "SIMULATED" in edf.local_patient_identification
        assert "SIMULATED" in edf.local_recording_identification
    assert any(
        "SIMULATED night" in annotation.text and annotation.onset == 0
        for annotation in edfio.read_edf(written[0]).annotations
    )


def test_the_scoring_covers_the_signal_and_is_the_truth(night, written):
    signals, scoring = (edfio.read_edf(path) for path in written)
    assert written[1].name == "night-Hypnogram.edf"
    assert scoring.labels == ()
    onset, stages = 0.0, []
    for bout in scoring.annotations:
        assert bout.onset == onset
        onset += bout.duration
        stages += [stage_from_name(bout.text)] * int(bout.duration / 30)
    assert onset == signals.duration
    np.testing.assert_array_equal(stages, night.hypnogram.stages)
    assert {bout.text for bout in scoring.annotations} == {f"Sleep stage {stage}" for stage in "W123R?"}


def test_the_signals_are_read_back_as_they_were(night, written):
    assert find_recordings(written[0].parent) == [written[0]]  # the scoring is no recording
    recording = read_recording(written[0], list(DEFAULT_CHANNELS))
    assert recording.channel_names == DEFAULT_CHANNELS
    # 16 bit over the range of a channel
    for samples, (name, expected) in zip(recording.signals, night.signals.items()):
        np.testing.assert_allclose(samples, expected, atol=np.ptp(expected) / 2**15, err_msg=name)


def test_gains_are_amplifiers_of_their_own():
    plain, amplified = simulate_night(0.2, 0), simulate_night(0.2, 0, gains={EOG: 3.0})
    np.testing.assert_allclose(amplified.signals[EOG], 3 * plain.signals[EOG], rtol=1e-6)
    np.testing.assert_array_equal(amplified.signals[FPZ_CZ], plain.signals[FPZ_CZ])


# --- Like real nights --------------------------------------------------------------------------------------------


def test_hypnograms_have_the_shares_the_shifts_and_the_cycles_of_real_ones():
    statistics = simulation_statistics()["hypnogram"]
    # as long as the real ones are on average
    nights = [draw_stages(1030, np.random.default_rng(seed), statistics) for seed in range(40)]
    assert all(night[0] == night[-1] == "W" for night in nights)
    summaries = [night_summary(night) for night in nights]
    for name, real in statistics["nights"].items():
        mean = np.mean([summary[name] for summary in summaries])
        # the mean of 40 nights scatters by a sixth of the spread of a night; half of it is a difference one would see
        assert abs(mean - real["mean"]) < 0.5 * real["sd"], (name, mean, real)


def test_committed_statistics_fit_the_real_scorings(shared_data):
    nights = [stages_from_ids(np.load(path)["y"]) for path in sorted((shared_data / "sleep-edf-20-5s").glob("*.npz"))]
    real = simulation_statistics()["hypnogram"]["nights"]
    for stage in STAGES:
        share = np.mean([(main_sleep(night) == stage).mean() for night in nights])
        assert real[f"share_{stage}"]["mean"] == pytest.approx(share, abs=1e-3)


def test_each_stage_has_its_spectrum(night):
    power = band_means(night, FPZ_CZ)
    delta, alpha, sigma, beta = (band_at(hertz) for hertz in (1, 10.5, 13.5, 27))
    assert power["N3"][delta] > power["N2"][delta] + 0.3
    assert power["N2"][delta] > power["R"][delta]
    for stage in ("N1", "R"):  # spindles stand out of the spectrum of N2
        assert power["N2"][sigma] - power["N2"][alpha] > power[stage][sigma] - power[stage][alpha]
    assert power["W"][beta] == max(power[stage][beta] for stage in STAGES)
    real = {stage: np.array(simulation_statistics()["spectrum"]["stages"][stage]["mean"]) for stage in STAGES}
    # one night may differ by its level, and the profile of a stage by about 0.2 as nights do
    for stage in STAGES:
        difference = power[stage] - real[stage]
        assert np.abs(difference - difference.mean()).mean() < 0.25, stage


def test_other_channels_follow_the_textbook(night):
    stages = night.hypnogram.stages
    alpha = band_at(9.5)
    posterior = band_means(night, PZ_OZ)
    frontal = band_means(night, FPZ_CZ)
    assert posterior["W"][alpha] > frontal["W"][alpha]
    assert posterior["W"][alpha] > posterior["N2"][alpha] + 0.5
    assert frontal["N3"][band_at(1)] > posterior["N3"][band_at(1)]
    tone = {stage: np.median(epochs_of(night, EMG)[stages == stage].std(axis=1)) for stage in STAGES}
    assert tone["W"] > tone["N1"] > tone["N2"] > tone["R"]
    eyes = {stage: np.median(np.ptp(epochs_of(night, EOG)[stages == stage], axis=1)) for stage in ("N2", "R")}
    assert eyes["R"] > eyes["N2"]


def test_epochs_of_a_stage_are_not_all_the_same(night):
    epochs = epochs_of(night, FPZ_CZ)[night.hypnogram.stages == "N2"]
    level = np.log10(epochs.std(axis=1))
    assert 0.05 < level.std() < 0.3


def test_nothing_clicks_where_epochs_meet(night):
    samples = night.signals[FPZ_CZ]
    steps = np.abs(np.diff(samples))
    borders = np.arange(3000, len(samples), 3000) - 1
    assert np.median(steps[borders]) < 1.5 * np.median(steps)
    assert np.quantile(steps[borders], 0.95) < 1.5 * np.quantile(steps, 0.95)


def test_the_embedded_checkpoint_stages_it_well_above_chance():
    night = simulate_night(3, seed=0)
    staged = load_stager(None)(night.recording().pick(FPZ_CZ))
    agreement = staged.agreement(night.hypnogram)
    assert agreement["kappa"] >= 0.5
    assert agreement["kappa"] < 0.95  # or the simulation is too easy to be like sleep


# --- What is wrong on purpose ------------------------------------------------------------------------------------


def test_one_electrode_pops(night):
    (pop,) = (artefact for artefact in night.artefacts if artefact.kind == "electrode pop")
    at = round(pop.onset_s * night.sampling_rate)
    steps = np.abs(np.diff(night.signals[FPZ_CZ]))
    assert pop.channels == (FPZ_CZ,)
    assert steps[at - 2 : at + 3].max() > 200
    assert steps[at - 2 : at + 3].max() > 20 * np.median(steps)


def test_a_flat_stretch_is_unscored_where_it_fills_the_epoch(night):
    (flat,) = (artefact for artefact in night.artefacts if artefact.kind == "flat stretch")
    assert flat.channels == DEFAULT_CHANNELS
    assert 60 < flat.duration_s < 80
    rate = night.sampling_rate
    begin, end = int(flat.onset_s * rate), int((flat.onset_s + flat.duration_s) * rate)
    for samples in night.signals.values():
        assert not samples[begin:end].any()
        assert samples[begin - 50 : begin].std() > 0.1
    is_flat = ~np.any([epochs_of(night, channel).any(axis=1) for channel in DEFAULT_CHANNELS], axis=0)
    np.testing.assert_array_equal(night.hypnogram.stages == "UNS", is_flat)
    assert is_flat.sum() == 2


# --- Mistakes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"hours": 0}, "hours"),
        ({"hours": -1}, "hours"),
        ({"hours": 101}, "hours"),
        ({"hours": float("nan")}, "hours"),
        ({"hours": 0.001}, "one epoch"),
        ({"sampling_rate": 63}, "sampling rate"),
        ({"sampling_rate": 99.5}, "sampling rate"),
        ({"sampling_rate": float("inf")}, "sampling rate"),
        ({"seed": -1}, "seed"),
        ({"channels": ["ECG"]}, "ECG"),
        ({"channels": ["C4-M1", "C4-M1"]}, "each once"),
        ({"channels": []}, "none"),
        ({"gains": {"C4-M1": 2.0}}, "C4-M1"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, names):
    with pytest.raises(SettingError, match=names) as error:
        simulate_night(**{"hours": 0.1, **arguments})
    assert "expected" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["night.txt", "night"])
def test_nothing_is_written_where_it_does_not_belong(tmp_path, name):
    with pytest.raises(SettingError, match="expected"):
        write_simulated_night(tmp_path / name, simulate_night(0.1))
    assert not list(tmp_path.iterdir())


def test_the_folder_is_made_if_need_be(tmp_path):
    paths = write_simulated_night(tmp_path / "new" / "night.edf", simulate_night(0.1))
    assert all(path.is_file() for path in paths)


def test_files_come_both_or_not_at_all(tmp_path, monkeypatch):
    night = simulate_night(0.1)
    write = edfio.Edf.write

    def broken(self, target):
        if not self.labels:
            raise OSError("no space left")
        write(self, target)

    monkeypatch.setattr(edfio.Edf, "write", broken)
    with pytest.raises(OSError, match="no space"):
        write_simulated_night(tmp_path / "night.edf", night)
    assert not list(tmp_path.iterdir())

import numpy as np
import pytest

from modeling_sleepvit.errors import RecordingError
from modeling_sleepvit.signal_quality import epoch_faults


def wave(amplitude=20.0, seconds=60, sampling_rate=100):
    return amplitude * np.random.default_rng(0).standard_normal(round(seconds * sampling_rate))


class TestUnscorable:
    RATE = 100

    @pytest.fixture
    def night(self):
        return wave(seconds=600).reshape(20, 3000).copy()

    def unscorable(self, epochs, **options):
        return np.flatnonzero(epoch_faults(epochs.ravel(), self.RATE, **options)).tolist()

    @pytest.mark.parametrize("gain", [0.01, 0.1, 1, 10, 1e3])
    def test_only_the_bad_epochs_are_found_whatever_the_gain(self, night, gain):
        night[3] = 7.0  # dead
        night[5] = np.clip(night[5] * 40, -60, 60)  # at both rails
        night[7] = np.minimum(night[7] * 40, 60)  # at one rail
        night[9, 1700:] = night[9, 1700]  # sound for the larger half
        night[10, 1200:] = night[10, 1200]  # dead for the larger half
        night *= gain
        night[12, 4], night[14, 5] = np.nan, np.inf
        assert self.unscorable(night) == [3, 5, 7, 10, 12, 14]
        faults = epoch_faults(night.ravel(), self.RATE)
        assert faults[[3, 4, 5, 10, 12, 14]].tolist() == ["flat", "", "clipped", "flat", "not finite", "not finite"]

    def test_a_dead_channel_with_the_noise_of_its_amplifier(self):
        assert self.unscorable(wave(amplitude=0.01, seconds=90)) == [0, 1, 2]

    def test_a_channel_dead_for_most_of_the_night(self, night):
        night[:14] *= 1e-4
        assert self.unscorable(night) == list(range(14))

    def test_artefacts_and_coarse_converters_are_no_rails(self, night):
        night[4, 1000] = 20_000.0  # an electrode pops
        night[6] += np.linspace(0, 500, 3000)  # sweat
        assert self.unscorable(np.round(night / 4) * 4) == []

    def test_only_whole_epochs_are_judged(self):
        assert epoch_faults(wave(seconds=89.9), self.RATE).shape == (2,)
        assert epoch_faults(wave(seconds=29), self.RATE).shape == (0,)
        assert epoch_faults(wave(seconds=90), self.RATE, epoch_seconds=5).shape == (18,)

    def test_epochs_do_not_drift_at_an_odd_rate(self):
        rate = 100.05
        signal_uv = wave(sampling_rate=rate, seconds=3000)
        signal_uv[round(99 * 30 * rate) :] = 0.0
        assert np.flatnonzero(epoch_faults(signal_uv, rate)).tolist() == [99]

    def test_nothing_but_nan(self):
        assert (epoch_faults(np.full(6000, np.nan), self.RATE) == "not finite").all()

    @pytest.mark.parametrize(
        ("array", "rate", "message"),
        [(np.zeros((2, 6000)), 100, r"shape \(2, 6000\): expected one channel"), (np.zeros(6000), -1, "rate -1")],
    )
    def test_wrong_input_is_refused(self, array, rate, message):
        with pytest.raises(RecordingError, match=message):
            epoch_faults(array, rate)

    def test_real_nights_raise_no_false_alarm(self, shared_data):
        """39 scored nights, 42,308 epochs of 5 s: none of them is flat, clipped or not finite."""
        paths = sorted((shared_data / "sleep-edf-20-5s").glob("SC4*.npz"))
        alarms = n_epochs = 0
        for path in paths:
            with np.load(path) as night:
                unscorable = epoch_faults(night["x"].ravel(), 100, epoch_seconds=5) != ""
            alarms, n_epochs = alarms + unscorable.sum(), n_epochs + unscorable.size
        assert n_epochs == 42_308
        assert alarms == 0

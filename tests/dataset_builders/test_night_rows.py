"""Laying a scoring over its recording: alignment, trimming, checks."""

from dataclasses import replace
from datetime import datetime, time

import numpy as np
import pytest

from dataset_builders.night_rows import Lights, NightRows, checked_rows, rows_of_night, trimmed_epochs
from modeling_sleepvit import Hypnogram, SleepViTFeatureExtractor
from modeling_sleepvit.errors import DatasetError
from modeling_sleepvit.recordings import recording_from_array
from modeling_sleepvit.stages import stage_from_name

from .conftest import noise_recording


EXTRACTOR = SleepViTFeatureExtractor()
NIGHT = ["W", "N1", "N2", "N3", "R", "W"]


class TestTrimming:
    def test_half_an_hour_of_scored_wake_is_kept_on_either_side(self):
        stages = ["W"] * 100 + ["N1"] + ["W"] * 5 + ["R"] + ["W"] * 200
        assert trimmed_epochs(np.array(stages), "30min") == slice(40, 167)

    def test_epochs_without_a_stage_do_not_count_as_wake(self):
        stages = ["W"] * 50 + ["UNS"] * 3 + ["W"] * 50 + ["N2"] + ["W"] * 10 + ["UNS"] * 9
        assert trimmed_epochs(np.array(stages), "30min") == slice(40, 114)

    def test_a_short_night_is_kept_whole(self):
        assert trimmed_epochs(np.array(NIGHT), "30min") == slice(0, 6)

    def test_without_a_rule_only_the_unscored_ends_go(self):
        assert trimmed_epochs(np.array(["UNS", "W", "UNS", "W", "UNS"]), "none") == slice(1, 4)

    @pytest.mark.parametrize(
        ("lights", "kept"),
        [
            (Lights(time(23, 1)), slice(2, 5)),  # until the last epoch of sleep
            (Lights(time(23, 1, 10)), slice(3, 5)),
            (Lights(time(23, 0), time(23, 2)), slice(0, 4)),
            (Lights(time(22, 50), time(23, 2, 29)), slice(0, 4)),  # off before the recording began
        ],
    )
    def test_lights(self, lights, kept):
        start = datetime(2020, 1, 1, 23)
        assert trimmed_epochs(np.array(NIGHT), "lights", lights, start) == kept

    @pytest.mark.parametrize(
        ("stages", "trim", "lights", "start", "message"),
        [
            (NIGHT, "60min", None, None, "the trim rule '60min' is unknown: expected one of 30min, lights, none"),
            (["UNS"], "none", None, None, "expected scored epochs within the signal, found none"),
            (
                ["W", "W"],
                "30min",
                None,
                None,
                "expected sleep to trim around, found 2 scored epochs, all of them wake",
            ),
            (NIGHT, "lights", None, datetime(2020, 1, 1), "needs the time of lights off"),
            (NIGHT, "lights", Lights(time(1)), None, "needs the clock time of the recording"),
            (
                NIGHT,
                "lights",
                Lights(time(0, 2), time(0, 2, 20)),
                datetime(2020, 1, 1),
                "between lights off and lights on",
            ),
        ],
    )
    def test_what_cannot_be_trimmed(self, stages, trim, lights, start, message):
        with pytest.raises(DatasetError, match=message):
            trimmed_epochs(np.array(stages), trim, lights, start)


class TestAlignment:
    def rows(self, recording, hypnogram, **options):
        return rows_of_night(recording, hypnogram, EXTRACTOR, "S1", **{"trim": "none", **options})

    def test_rows_are_those_of_the_feature_extractor(self):
        recording = noise_recording(8, id="night")
        rows = self.rows(recording, Hypnogram(["UNS", *NIGHT, "UNS"]))
        expected = EXTRACTOR(recording.signals[:, 30 * 64 : 7 * 30 * 64], 64.0)["input_values"]
        np.testing.assert_array_equal(rows.input_values, expected)
        assert rows.labels.tolist() == [0, 1, 2, 3, 4, 0]
        assert (rows.subject, rows.recording, rows.first_epoch) == ("S1", "night", 1)
        assert rows.onsets_s.tolist() == [30, 60, 90, 120, 150, 180]
        assert rows.epochs.tolist() == [1, 2, 3, 4, 5, 6]

    def test_a_scoring_that_begins_later(self):
        rows = self.rows(noise_recording(8), Hypnogram(NIGHT, offset_s=45))
        assert (rows.first_onset_s, rows.first_epoch, len(rows)) == (45, 1, 6)

    def test_clock_times_alone_are_enough_and_dates_do_not_count(self):
        recording = noise_recording(8, start=datetime(1985, 1, 1, 23, 59, 30))
        hypnogram = Hypnogram(NIGHT, start=datetime(2019, 5, 6, 0, 0, 30), offset_s=None)
        assert self.rows(recording, hypnogram).first_onset_s == 60
        with pytest.raises(
            DatasetError, match="tells clock times alone, expected a recording whose header has a start"
        ):
            self.rows(noise_recording(8), hypnogram)

    def test_clock_and_onsets_have_to_agree(self):
        recording = noise_recording(8, start=datetime(2020, 1, 1, 22, 30))
        with pytest.raises(
            DatasetError, match=r"0 s .* by its onsets and 60 s after it by the clock \(22:31:00 and 22:"
        ):
            self.rows(recording, Hypnogram(NIGHT, start=datetime(2020, 1, 1, 22, 31)))
        # midnight sharp stands in headers that know no clock time
        recording = replace(recording, start=datetime(1985, 1, 1))
        assert self.rows(recording, Hypnogram(NIGHT, start=datetime(2020, 1, 1, 22, 31))).first_onset_s == 0

    def test_less_than_a_second_between_the_clocks_is_rounding(self):
        recording = noise_recording(6, start=datetime(2020, 1, 1, 23))
        rows = self.rows(recording, Hypnogram(NIGHT, start=datetime(2020, 1, 1, 22, 59, 59, 400_000)))
        assert (rows.first_onset_s, len(rows)) == (0, 6)

    def test_unscored_epochs_may_reach_beyond_the_signal(self):
        rows = self.rows(noise_recording(6), Hypnogram([*NIGHT, *["UNS"] * 200]))
        assert rows.labels.tolist() == [0, 1, 2, 3, 4, 0]

    def test_the_signal_may_be_longer_than_its_scoring(self):
        assert len(self.rows(noise_recording(20), Hypnogram(NIGHT))) == 6

    def test_an_incomplete_last_epoch_is_dropped_and_noted(self):
        recording = noise_recording(6)
        rows = self.rows(replace(recording, signals=recording.signals[:, :-100]), Hypnogram(NIGHT))
        assert len(rows) == 5
        assert "Epoch 5 of the scoring was dropped: the signal ends within it." in rows.notes

    @pytest.mark.parametrize(
        ("n_epochs", "hypnogram", "message"),
        [
            (5, Hypnogram(NIGHT), r"reaches to 180 s, expected 150 s at most, the length of the signal \(1 scored"),
            (5, Hypnogram(NIGHT, offset_s=45), r"reaches to 225 s, .* \(3 scored epochs lie outside\)"),
            (6, Hypnogram(NIGHT, offset_s=-60), "begins 60 s before the signal"),
            (6, Hypnogram(NIGHT, epoch_seconds=20), "has epochs of 20 s, expected 30 s"),
            (6, Hypnogram(["UNS"] * 3, offset_s=9000), "signal 0 to 180 s, scoring 9000 to 9090 s"),
            (6, Hypnogram(["UNS"] * 3), "expected scored epochs within the signal"),
        ],
    )
    def test_a_scoring_that_does_not_fit_is_refused_by_name(self, n_epochs, hypnogram, message):
        with pytest.raises(DatasetError, match=f"night7: .*{message}"):
            self.rows(noise_recording(n_epochs, id="night7"), hypnogram)

    def test_the_rate_of_the_extractor_is_the_limit(self):
        with pytest.raises(DatasetError, match="night7: sampling_rate must be at least 64 Hz"):
            self.rows(noise_recording(6, sampling_rate=50.0, id="night7"), Hypnogram(NIGHT))

    def test_an_uneven_rate_costs_no_epoch(self):
        hypnogram = Hypnogram(["N2"] * 100)
        rows = self.rows(noise_recording(100, sampling_rate=99.97), hypnogram)
        assert len(rows) == 100
        assert np.isfinite(rows.input_values).all()

    def test_real_epochs_keep_their_stages(self, shared_data):
        """Rows of the 232 whole epochs of SC4001E0, laid out as one recording, against the epochs one by one."""
        night = np.load(shared_data / "sleep-edf-sc4001-30s" / "SC4001E0_30s.npz")
        stages = [stage_from_name(stage) for stage in night["stage"]]
        rows = self.rows(recording_from_array(night["x"].ravel(), 100), Hypnogram(stages), trim="30min")
        assert stages[rows.first_epoch + 60] == "N1"  # half an hour before the first epoch of sleep
        cut = night["x"][rows.first_epoch : rows.first_epoch + len(rows), None]
        np.testing.assert_array_equal(rows.input_values, EXTRACTOR(cut, 100)["input_values"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.array([0, 5])}, "epoch 1 has the label 5, expected 0 to 4"),
        ({"labels": np.array([0])}, r"a label for each epoch, found float32 \(2, 1, 20, 30\) and 1 labels"),
        ({"input_values": np.zeros((2, 1, 20, 30))}, "expected float32 rows"),
        ({"input_values": np.full((2, 1, 20, 30), np.nan, np.float32)}, "epoch 0 has rows that are not finite"),
    ],
)
def test_nothing_unchecked_is_written(change, message):
    rows = NightRows("S1", "night", np.zeros((2, 1, 20, 30), np.float32), np.array([0, -100]))
    assert checked_rows(rows, "a.edf") is rows
    with pytest.raises(DatasetError, match=f"a.edf: .*{message}"):
        checked_rows(replace(rows, **change), "a.edf")

import json
import math
from datetime import datetime

import numpy as np
import pytest

from modeling_sleepvit.errors import HypnogramError, SleepViTError, UnknownStageError
from modeling_sleepvit.hypnogram import FRAME_COLUMNS, Hypnogram
from modeling_sleepvit.stages import STAGES


NIGHT = ["W", "W", "N1", "N2", "UNS", "N2", "N3", "W", "N2", "R", "R", "W", "W", "N1", "W"]


def probabilities_of(n_epochs, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(5), size=n_epochs)


@pytest.fixture
def hypnogram():
    probabilities = probabilities_of(len(NIGHT))
    probabilities[NIGHT.index("UNS")] = np.nan
    return Hypnogram(NIGHT, probabilities, datetime(2020, 1, 31, 23, 10), recording="night", channels=("C4-M1",))


class TestInvariants:
    @pytest.mark.parametrize(
        ("stages", "probabilities", "message"),
        [
            (["W", "REM"], None, "the stage 'REM' in epoch 1: expected one of W, N1, N2, N3, R, UNS"),
            (["W", "N22"], None, "the stage 'N22' in epoch 1"),
            (["W", None], None, "the stage None in epoch 1"),
            ([["W", "R"]], None, r"shape \(1, 2\): expected \(n_epochs,\)"),
            (["W", "R"], np.full((3, 5), 0.2), r"shape \(3, 5\): expected \(2, 5\)"),
            (["W", "R"], np.full(5, 0.2), r"shape \(5,\): expected \(2, 5\)"),
            (["W", "R"], [[0.2] * 5, [0.3] * 5], "in epoch 1: expected five numbers from 0 to 1 that sum to 1"),
            (["W", "R"], [[1, 0, 0, 0, np.nan], [0.2] * 5], "in epoch 0"),
            (["W", "R"], [[1.5, -0.5, 0, 0, 0], [0.2] * 5], "in epoch 0"),
            (["W", "R"], [[np.inf, 0, 0, 0, 0], [0.2] * 5], "in epoch 0"),
        ],
    )
    def test_what_breaks_one_is_refused_with_the_epoch(self, stages, probabilities, message):
        with pytest.raises(SleepViTError, match=message):
            Hypnogram(stages, probabilities)

    def test_a_stage_outside_the_vocabulary_has_its_own_error(self):
        with pytest.raises(UnknownStageError):
            Hypnogram(["S2"])

    @pytest.mark.parametrize("epoch_seconds", [0, -30, math.nan])
    def test_epochs_have_a_positive_length(self, epoch_seconds):
        with pytest.raises(HypnogramError, match="expected a positive number of seconds"):
            Hypnogram(["W"], epoch_seconds=epoch_seconds)

    def test_it_cannot_be_broken_afterwards(self, hypnogram):
        with pytest.raises(ValueError, match="read-only"):
            hypnogram.stages[0] = "X"
        with pytest.raises(ValueError, match="read-only"):
            hypnogram.probabilities[0] = 1

    def test_it_does_not_follow_the_arrays_it_was_made_of(self):
        stages = np.array(["W", "N1"])
        hypnogram = Hypnogram(stages)
        stages[0] = "R"
        assert hypnogram.stages.tolist() == ["W", "N1"]

    def test_float32_softmax_rows_are_accepted(self):
        probabilities = probabilities_of(50).astype(np.float16).astype(np.float32)
        assert Hypnogram(["N2"] * 50, probabilities).n_epochs == 50


class TestBasics:
    def test_length_onsets_and_confidence(self, hypnogram):
        assert len(hypnogram) == hypnogram.n_epochs == 15
        assert hypnogram.onsets_s[[0, 1, 14]].tolist() == [0, 30, 420]
        np.testing.assert_array_equal(hypnogram.confidence, hypnogram.probabilities.max(axis=1))
        assert np.isnan(hypnogram.confidence[4])
        assert np.isnan(Hypnogram(NIGHT).confidence).all()

    def test_equality_looks_at_everything(self, hypnogram):
        same = Hypnogram(NIGHT, hypnogram.probabilities, hypnogram.start, recording="night", channels=["C4-M1"])
        assert hypnogram == same
        assert hypnogram != Hypnogram(NIGHT)
        assert Hypnogram(NIGHT) != Hypnogram([*NIGHT[:-1], "N1"])
        assert Hypnogram(NIGHT) != Hypnogram(NIGHT, notes=("trimmed",))
        assert Hypnogram(NIGHT) != NIGHT

    def test_repr_is_one_short_line(self, hypnogram):
        assert repr(hypnogram) == (
            "<Hypnogram night; 15 epochs of 30 s; W 6, N1 2, N2 3, N3 1, R 2, UNS 1; from C4-M1>"
        )


class TestStatistics:
    def test_a_night_counted_by_hand(self, hypnogram):
        assert hypnogram.statistics() == {
            "time_in_bed_min": 7.5,
            "total_sleep_time_min": 4.0,
            "sleep_efficiency_percent": pytest.approx(100 * 8 / 15),
            "sleep_onset_latency_min": 1.0,
            "wake_after_sleep_onset_min": 2.0,
            "rem_latency_min": 3.5,
            "sleep_period_time_min": 6.0,
            "wake_min": 3.0,
            "unscored_min": 0.5,
            "N1_min": 1.0,
            "N1_percent": 25.0,
            "N2_min": 1.5,
            "N2_percent": 37.5,
            "N3_min": 0.5,
            "N3_percent": 12.5,
            "R_min": 1.0,
            "R_percent": 25.0,
            "n_awakenings": 3,
            "n_stage_shifts": 9,
        }

    @pytest.mark.parametrize("stages", [[], ["W"] * 4, ["UNS"] * 3, ["W", "UNS", "W"]])
    def test_without_sleep_what_does_not_exist_is_nan(self, stages):
        statistics = Hypnogram(stages).statistics()
        absent = [name for name, value in statistics.items() if math.isnan(value)]
        expected = ["sleep_onset_latency_min", "wake_after_sleep_onset_min", "rem_latency_min"]
        expected += ["sleep_period_time_min", "N1_percent", "N2_percent", "N3_percent", "R_percent"]
        assert set(absent) - {"sleep_efficiency_percent"} == set(expected)
        assert math.isnan(statistics["sleep_efficiency_percent"]) == (not stages)
        assert statistics["total_sleep_time_min"] == 0

    def test_a_night_without_rem_has_no_rem_latency(self):
        statistics = Hypnogram(["W", "N1", "N2"]).statistics()
        assert math.isnan(statistics["rem_latency_min"])
        assert statistics["R_percent"] == 0

    def test_minutes_follow_the_length_of_an_epoch(self):
        assert Hypnogram(["N2"] * 6, epoch_seconds=20).statistics()["total_sleep_time_min"] == 2

    def test_every_minute_in_bed_is_accounted_for(self, hypnogram):
        statistics = hypnogram.statistics()
        parts = statistics["total_sleep_time_min"] + statistics["wake_min"] + statistics["unscored_min"]
        assert parts == statistics["time_in_bed_min"]


class TestTransitions:
    def test_neighbouring_scored_epochs_are_counted(self, hypnogram):
        transitions = hypnogram.transitions()
        assert list(transitions.index) == list(transitions.columns) == list(STAGES)
        assert transitions.to_numpy().sum() == len(NIGHT) - 1 - 2  # two pairs touch the epoch that is UNS
        assert transitions.loc["N2", "N2"] == 0
        assert transitions.loc["R", "W"] == 1
        assert transitions.loc["W", "R"] == 0


class TestTable:
    def test_columns_and_missing_probabilities(self, hypnogram):
        assert tuple(hypnogram.to_frame().columns) == FRAME_COLUMNS
        bare = Hypnogram(NIGHT).to_frame()
        assert bare["stage"].tolist() == NIGHT
        assert bare[[*FRAME_COLUMNS[3:]]].isna().all(axis=None)

    @pytest.mark.parametrize("epoch_seconds", [30, 20, 5.5])
    def test_frame_round_trip_is_exact(self, epoch_seconds):
        hypnogram = Hypnogram(NIGHT, probabilities_of(15), epoch_seconds=epoch_seconds)
        assert Hypnogram.from_frame(hypnogram.to_frame()) == hypnogram

    def test_onsets_count_from_the_start_of_the_recording(self):
        late = Hypnogram(NIGHT, offset_s=12.5)
        assert late.to_frame()["onset_s"].tolist()[:2] == [12.5, 42.5]
        assert Hypnogram.from_frame(late.to_frame()) == late
        assert late != Hypnogram(NIGHT)
        with pytest.raises(HypnogramError, match=r"and the other one has 15 epochs of 30 s from 12\.5 s on"):
            Hypnogram(NIGHT).agreement(late)
        with pytest.raises(HypnogramError, match="begins nan s after its recording"):
            Hypnogram(NIGHT, offset_s=float("nan"))

    def test_a_hypnogram_may_know_its_clock_time_alone(self):
        start = datetime(2020, 1, 31, 23, 10)
        by_clock = Hypnogram(NIGHT, start=start, offset_s=None)
        assert by_clock.offset_s is None
        assert by_clock != Hypnogram(NIGHT, start=start)
        assert by_clock.onsets_s.tolist() == Hypnogram(NIGHT).onsets_s.tolist()
        assert by_clock.to_frame()["onset_s"].tolist()[:2] == [0, 30]
        assert by_clock.agreement(Hypnogram(NIGHT))["accuracy"] == 1
        assert by_clock.plot().get_xlabel() == "Clock time"
        with pytest.raises(HypnogramError, match="has neither offset_s nor start: expected one"):
            Hypnogram(NIGHT, offset_s=None)

    def test_csv_round_trip_keeps_stages_and_six_decimals(self, hypnogram, tmp_path):
        path = tmp_path / "night_hypnogram.csv"
        hypnogram.to_csv(path)
        again = Hypnogram.from_csv(path, start=hypnogram.start, channels=hypnogram.channels)
        assert again.recording == "night"
        assert again.stages.tolist() == NIGHT
        np.testing.assert_allclose(again.probabilities, hypnogram.probabilities, atol=5e-7)
        assert path.read_text().startswith(",".join(FRAME_COLUMNS) + "\n0,0.0,W,0.")

    @pytest.mark.parametrize("stages", [[], ["UNS"], NIGHT])
    def test_csv_round_trip_without_probabilities_is_exact(self, stages, tmp_path):
        hypnogram = Hypnogram(stages, recording="x")
        hypnogram.to_csv(tmp_path / "x.csv")
        assert Hypnogram.from_csv(tmp_path / "x.csv") == hypnogram

    def test_a_failing_write_leaves_the_old_file_and_nothing_else(self, hypnogram, tmp_path, monkeypatch):
        path = tmp_path / "night.csv"
        path.write_text("old")

        def fail(frame, target, **options):
            target.write_text("half")
            raise OSError("disk full")

        monkeypatch.setattr("pandas.DataFrame.to_csv", fail)
        with pytest.raises(OSError, match="disk full"):
            hypnogram.to_csv(path)
        assert [file.name for file in tmp_path.iterdir()] == ["night.csv"]
        assert path.read_text() == "old"

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                lambda f: f.drop(index=3),
                "night has epoch 4 with onset 120 s in row 3: expected epoch 3 with onset 90 s",
            ),
            (lambda f: f.iloc[1:], "epoch 1 with onset 30 s in row 0: expected epoch 0 with onset 30 s"),
            (
                lambda f: f.assign(onset_s=f["onset_s"].where(f["epoch"] != 5, 151)),
                "epoch 5 with onset 151 s in row 5",
            ),
            (lambda f: f.assign(onset_s=np.nan), "with onset nan s in row 0"),
            (lambda f: f.drop(columns=["p_R", "stage"]), "no column stage, p_R: expected epoch,onset_s,stage"),
            (lambda f: f.assign(p_W="high"), "text in the column p_W"),
            (lambda f: f.assign(stage=f["stage"].where(f["epoch"] != 2)), "the stage nan in epoch 2"),
        ],
    )
    def test_an_inconsistent_table_names_the_epoch(self, hypnogram, change, message):
        with pytest.raises(SleepViTError, match=message):
            Hypnogram.from_frame(change(hypnogram.to_frame()), recording="night")

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (None, "is not a file"),
            (b"", "is not a hypnogram CSV"),
            (b"\xff\xfe\x00\x81", "is not a hypnogram CSV"),
            (b"a,b\n1,2\n", r"bad.csv: bad has no column epoch, onset_s"),
        ],
    )
    def test_a_bad_csv_is_named(self, tmp_path, content, message):
        path = tmp_path / "bad.csv"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(HypnogramError, match=message):
            Hypnogram.from_csv(path)


class TestAgreement:
    def test_with_itself_it_is_perfect(self, hypnogram):
        agreement = hypnogram.agreement(hypnogram)
        assert agreement.pop("n_epochs") == 14
        assert set(agreement.values()) == {1.0}

    def test_only_epochs_scored_in_both_count(self):
        agreement = Hypnogram(["W", "W", "N2", "N2", "UNS"]).agreement(Hypnogram(["W", "N2", "N2", "UNS", "R"]))
        assert agreement["n_epochs"] == 3
        assert agreement["accuracy"] == pytest.approx(2 / 3)
        assert agreement["kappa"] == pytest.approx(0.4)
        assert agreement["f1_W"] == pytest.approx(2 / 3)
        assert agreement["macro_f1"] == pytest.approx(2 / 3)
        assert math.isnan(agreement["f1_N3"])

    def test_it_is_symmetric(self):
        one, other = Hypnogram(NIGHT), Hypnogram(NIGHT[::-1])
        assert one.agreement(other) == pytest.approx(other.agreement(one), nan_ok=True)

    @pytest.mark.parametrize(("stages", "accuracy"), [(["W", "W"], 1.0), (["UNS", "UNS"], math.nan), ([], math.nan)])
    def test_undefined_measures_are_nan(self, stages, accuracy):
        agreement = Hypnogram(stages).agreement(Hypnogram(stages))
        assert agreement["accuracy"] == pytest.approx(accuracy, nan_ok=True)
        assert math.isnan(agreement["kappa"])

    def test_different_spans_are_refused_with_both_lengths(self, hypnogram):
        with pytest.raises(HypnogramError, match="has 15 epochs of 30 s from 0 s on and the other one has 2 "):
            hypnogram.agreement(Hypnogram(["W", "W"]))

    def test_expert_scorers_agree_as_published(self, shared_data):
        """Human scorers agree with a kappa of about .76 (.71 to .81); here the first two of the healthy cohort."""
        scorers = list(json.loads((shared_data / "dod-scorers" / "dodh.json").read_text()).values())[:2]
        stages = dict(enumerate((*STAGES, "UNS"))) | {-1: "UNS"}
        kappas = [
            Hypnogram([stages[i] for i in scorers[0][record]]).agreement(
                Hypnogram([stages[i] for i in scorers[1][record]])
            )["kappa"]
            for record in scorers[0]
        ]
        assert len(kappas) == 25
        assert 0.6 < np.mean(kappas) < 0.95


class TestPictures:
    def test_w_is_on_top_and_r_is_a_bar(self, hypnogram):
        ax = hypnogram.plot()
        assert [label.get_text() for label in ax.get_yticklabels()] == ["N3", "N2", "N1", "R", "W"]
        bars = [line for line in ax.lines if line.get_linewidth() > 3]
        assert len(bars) == 1
        start, end = bars[0].get_xdata()
        assert (end - start) * 24 * 3600 == pytest.approx(60, abs=1e-3)  # two epochs of R, in days

    def test_the_axis_is_clock_time_or_hours(self, hypnogram):
        assert hypnogram.plot().get_xlabel() == "Clock time"
        ax = Hypnogram(["W"] * 240).plot()
        assert ax.get_xlabel() == "Time from start (h)"
        assert ax.get_xlim() == (0, 2)

    def test_hypnodensity_fills_every_scored_epoch_to_one(self, hypnogram):
        ax = hypnogram.plot_hypnodensity()
        top = ax.patches[4].get_data().values
        np.testing.assert_allclose(np.delete(top, 4), 1)
        assert top[4] == 0

    def test_it_draws_on_the_axes_it_is_given(self, hypnogram, tmp_path):
        figure = pytest.importorskip("matplotlib.figure").Figure()
        axes = figure.subplots(2)
        assert hypnogram.plot(axes[0]) is axes[0]
        assert hypnogram.plot_hypnodensity(axes[1]) is axes[1]
        figure.savefig(tmp_path / "night.png")
        assert (tmp_path / "night.png").stat().st_size > 1000

    def test_pyplot_stays_untouched(self, hypnogram):
        pyplot = pytest.importorskip("matplotlib.pyplot")
        before = pyplot.get_fignums()
        hypnogram.plot()
        assert pyplot.get_fignums() == before

    def test_what_cannot_be_drawn_says_why(self):
        with pytest.raises(HypnogramError, match="has no probabilities to draw"):
            Hypnogram(["W"]).plot_hypnodensity()
        with pytest.raises(HypnogramError, match="has no epochs to draw"):
            Hypnogram([]).plot()

"""Figures of tables of predictions: distribution, intervals over subjects, errors of sleep statistics."""

import json
import math
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from modeling_sleepvit.errors import DatasetError, SettingError, UnknownStageError
from modeling_sleepvit.hypnogram import PROBABILITY_COLUMNS
from modeling_sleepvit.metrics_sleepvit import calibration_error, staging_metrics
from train_scripts.subject_metrics import (
    INTERVAL_FIGURES,
    bootstrap_intervals,
    distribution,
    figures_by,
    figures_of_predictions,
    json_text,
    paired_difference,
    statistics_agreement,
    statistics_errors,
)


pytestmark = pytest.mark.filterwarnings("error")

PUBLISHED = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "sedf20-5s" / "default"


def night(labels, prediction, subject="S1", recording="R1") -> pd.DataFrame:
    columns = {"subject": subject, "recording": recording, "epoch": range(len(labels))}
    return pd.DataFrame({**columns, "label": np.asarray(labels, int), "prediction": np.asarray(prediction, int)})


def cohort(n_subjects=6, n_epochs=80, seed=0, spread=0.1, probabilities=True) -> pd.DataFrame:
    """Subjects whom a model of an accuracy of about .7 fits more or less."""
    rng = np.random.default_rng(seed)
    tables = []
    for subject in range(n_subjects):
        labels = rng.choice(5, n_epochs, p=[0.2, 0.1, 0.4, 0.2, 0.1])
        wrong = rng.random(n_epochs) > np.clip(0.7 + rng.normal(scale=spread), 0, 1)
        table = night(labels, np.where(wrong, rng.integers(0, 5, n_epochs), labels), f"S{subject}", f"R{subject}")
        if probabilities:
            rows = rng.dirichlet(np.ones(5), n_epochs)
            rows[np.arange(n_epochs), table["prediction"]] += 1
            table[list(PROBABILITY_COLUMNS)] = rows / 2
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


class TestFigures:
    def test_the_columns_decide_what_there_is(self):
        table = cohort()
        everything = figures_of_predictions(table, n_resamples=10)
        assert {"calibration_error", "review", "per_recording", "sleep_statistics", "per_subject", "intervals"} <= set(
            everything
        )
        assert (everything["n_subjects"], everything["n_recordings"], everything["n_epochs"]) == (6, 6, 480)
        bare = figures_of_predictions(table[["label", "prediction"]])
        assert bare == staging_metrics(table["label"], table["prediction"])
        assert "intervals" not in figures_of_predictions(table, n_resamples=0)
        assert "intervals" not in figures_of_predictions(table.drop(columns="subject"))
        assert "sleep_statistics" not in figures_of_predictions(table.drop(columns="recording"))

    def test_the_stage_is_the_most_probable_one_or_that_of_its_own_column(self):
        table = cohort(2)
        without = figures_of_predictions(table.drop(columns="prediction"))
        assert without["kappa"] == figures_of_predictions(table)["kappa"]
        smoothed = figures_of_predictions(table.assign(prediction=2))
        assert smoothed["kappa"] == 0
        assert smoothed["calibration_error"] == without["calibration_error"]

    def test_an_epoch_without_probabilities_has_no_stage(self):
        table = cohort(2).drop(columns="prediction")
        table.loc[:4, list(PROBABILITY_COLUMNS)] = np.nan
        assert figures_of_predictions(table)["n_epochs"] == len(table) - 5

    def test_order_of_rows_and_index_do_not_matter(self):
        table = cohort(4)
        shuffled = table.sample(frac=1, random_state=0)
        before, after = (figures_of_predictions(rows, n_resamples=50) for rows in (table, shuffled))
        assert json_text(before) == json_text(after)

    @pytest.mark.parametrize("labels", [[], [-100, -100], [2, 2]])
    def test_nothing_or_one_stage_is_nan_without_a_warning(self, labels):
        table = night(labels, [2] * len(labels))
        table[list(PROBABILITY_COLUMNS)] = np.array([0, 0, 1, 0, 0])[None].repeat(len(labels), 0)
        figures = figures_of_predictions(table)
        assert math.isnan(figures["kappa"])
        assert math.isnan(figures["per_recording"]["kappa"]["median"])
        assert all(math.isnan(bound) for bounds in figures["intervals"].values() for bound in bounds)
        assert json.loads(json_text(figures))["kappa"] is None

    def test_they_are_those_of_the_published_predictions(self):
        table = pd.read_parquet(PUBLISHED / "predictions.parquet")
        metrics = json.loads((PUBLISHED / "metrics.json").read_text())
        figures = figures_of_predictions(table)
        for name in ("n_epochs", "accuracy", "kappa", "macro_f1", "f1_N1"):
            assert figures[name] == pytest.approx(metrics[name])
        for name in ("accuracy", "kappa", "macro_f1"):
            lower, upper = figures["intervals"][name]
            assert lower < figures[name] < upper
        by_subject = figures_by(table, "subject").set_index("subject")["kappa"]
        assert by_subject.tolist() == pytest.approx([fold["kappa"] for fold in metrics["by_fold"]])


class TestDistribution:
    def test_quartiles_by_hand(self):
        staged = ([0, 0, 2, 2], [0, 0, 2, 0], [0, 0, 0, 0], [2, 2, 0, 0], [-1, -1, -1, -1])
        nights = [night([0, 0, 2, 2], stages, recording=f"R{i}") for i, stages in enumerate(staged)]
        summary = distribution(figures_by(pd.concat(nights), "recording"))
        accuracy = summary["accuracy"]  # 1, .75, .5, 0, and a night without any stage
        assert accuracy == {"median": 0.625, "lower_quartile": 0.375, "upper_quartile": 0.8125, "n": 4}
        assert summary["kappa"]["n"] == 4

    def test_recordings_of_one_name_are_two_where_subjects_differ(self):
        table = pd.concat([night([0, 2], [0, 2], "S1", "night1"), night([0, 2], [2, 0], "S2", "night1")])
        rows = figures_by(table, "recording")
        assert rows[["subject", "recording", "accuracy"]].to_numpy().tolist() == [
            ["S1", "night1", 1.0],
            ["S2", "night1", 0.0],
        ]


class TestIntervals:
    def test_they_are_those_of_pooling_resampled_subjects_one_by_one(self):
        table = cohort(5)
        subjects = [rows for _, rows in table.groupby("subject")]
        drawn = np.random.default_rng(3).multinomial(5, [0.2] * 5, 25)
        figures = []
        for times in drawn:
            pooled = pd.concat([rows for rows, n in zip(subjects, times) for _ in range(n)])
            row = staging_metrics(pooled["label"], pooled["prediction"])
            row["calibration_error"] = calibration_error(pooled["label"], pooled[list(PROBABILITY_COLUMNS)])
            figures.append(row)
        intervals = bootstrap_intervals(table, n_resamples=25, seed=3)
        assert tuple(intervals) == INTERVAL_FIGURES
        for name, bounds in intervals.items():
            expected = np.quantile([row[name] for row in figures], [0.025, 0.975])
            np.testing.assert_allclose(bounds, expected, atol=1e-12)

    def test_a_seed_gives_one_result(self):
        table = cohort()
        assert bootstrap_intervals(table, 200, seed=1) == bootstrap_intervals(table, 200, seed=1)
        assert bootstrap_intervals(table, 200, seed=1) != bootstrap_intervals(table, 200, seed=2)

    def test_they_cover_the_truth_about_as_often_as_they_say(self):
        truth, covered = 0.7 + 0.3 * 0.2, 0  # a wrong epoch hits the stage by chance once in five
        for seed in range(40):
            table = cohort(n_subjects=25, n_epochs=60, seed=seed, probabilities=False)
            lower, upper = bootstrap_intervals(table, 300)["accuracy"]
            covered += lower <= truth <= upper
        assert 34 <= covered <= 40

    def test_epochs_of_one_subject_are_no_independent_observations(self):
        # half the subjects fit, half do not: thousands of epochs say little
        tables = [night([0, 2] * 500, ([0, 2] if i % 2 else [2, 0]) * 500, f"S{i}", f"R{i}") for i in range(8)]
        lower, upper = bootstrap_intervals(pd.concat(tables))["accuracy"]
        assert upper - lower > 0.5

    def test_perfect_predictions_have_intervals_of_no_width(self):
        tables = [night([0, 1, 2, 3, 4], [0, 1, 2, 3, 4], f"S{i}", f"R{i}") for i in range(4)]
        intervals = bootstrap_intervals(pd.concat(tables), 50)
        assert "calibration_error" not in intervals
        assert set(map(tuple, intervals.values())) == {(1.0, 1.0)}

    def test_a_stage_that_some_resamples_lack(self):
        table = pd.concat([night([0, 2], [0, 2], "S1", "R1"), night([0, 4, 4], [0, 4, 2], "S2", "R2")])
        intervals = bootstrap_intervals(table, 200)
        assert intervals["f1_R"] == pytest.approx([2 / 3, 2 / 3])
        assert all(math.isnan(bound) for bound in intervals["f1_N3"])

    def test_who_has_no_scored_epoch_is_no_subject_of_them(self):
        table = cohort(4)
        unscored = night([-100] * 5, [2] * 5, "S9", "R9")
        unscored[list(PROBABILITY_COLUMNS)] = 0.2
        both = pd.concat([table, unscored])
        assert bootstrap_intervals(both, 50) == bootstrap_intervals(table, 50)
        one = bootstrap_intervals(pd.concat([table[table["subject"] == "S0"], unscored]), 50)
        assert all(math.isnan(bound) for bounds in one.values() for bound in bounds)

    def test_two_thousand_resamples_of_many_subjects_take_no_time(self):
        table = cohort(n_subjects=150, n_epochs=100)
        seconds = []
        for _ in range(3):  # the best of three, since other work may share the cores
            begin = time.perf_counter()
            bootstrap_intervals(table, n_resamples=2000)
            seconds.append(time.perf_counter() - begin)
        assert min(seconds) < 1

    @pytest.mark.parametrize("setting", [{"n_resamples": 0}, {"confidence": 1.0}])
    def test_impossible_settings_are_refused(self, setting):
        with pytest.raises(SettingError, match="at least 1 resample and a confidence between 0 and 1"):
            bootstrap_intervals(cohort(2), **setting)


class TestSleepStatistics:
    def test_errors_by_hand(self):
        #                W  W  N2 N2 W  N2 not scored, and one without a predicted stage
        table = night([0, 0, 2, 2, 0, 2, -100, 2], [0, 2, 2, 2, 2, 2, 0, -100])
        row = statistics_errors(table).iloc[0]
        assert row["n_epochs"] == 6
        assert (row["total_sleep_time_min_scored"], row["total_sleep_time_min_predicted"]) == (1.5, 2.5)
        assert row["total_sleep_time_min_error"] == 1
        assert row["sleep_efficiency_percent_error"] == pytest.approx(100 * (5 - 3) / 6)
        assert row["wake_after_sleep_onset_min_error"] == -0.5
        assert statistics_errors(table, epoch_seconds=20).iloc[0]["total_sleep_time_min_error"] == pytest.approx(2 / 3)

    def test_epochs_count_in_the_order_of_the_night(self):
        table = night([0, 2, 0], [2, 0, 0])
        row = statistics_errors(table.iloc[::-1]).iloc[0]
        assert (row["wake_after_sleep_onset_min_scored"], row["wake_after_sleep_onset_min_predicted"]) == (0.5, 1.0)

    def test_a_perfect_prediction_has_no_error(self):
        errors = statistics_errors(cohort(3).assign(prediction=lambda table: table["label"]))
        assert len(errors) == 3
        assert (errors.filter(like="_error") == 0).all(axis=None)

    def test_limits_of_agreement_by_hand(self):
        errors = pd.DataFrame({"total_sleep_time_min_error": [-1.0, 1, 3, np.nan]})
        errors["sleep_efficiency_percent_error"] = 2.0
        errors["wake_after_sleep_onset_min_error"] = [5.0, np.nan, np.nan, np.nan]
        summary = statistics_agreement(errors)
        expected = {"bias": 1, "lower_limit": 1 - 3.92, "upper_limit": 1 + 3.92, "mean_absolute_error": 5 / 3}
        assert summary["total_sleep_time_min"] == pytest.approx({**expected, "n_nights": 3})
        assert summary["sleep_efficiency_percent"]["lower_limit"] == 2
        assert summary["wake_after_sleep_onset_min"]["bias"] == 5
        assert math.isnan(summary["wake_after_sleep_onset_min"]["upper_limit"])

    def test_a_night_without_sleep_has_no_wake_after_its_onset(self):
        errors = statistics_errors(pd.concat([night([0, 0], [0, 2]), night([0, 2], [0, 2], recording="R2")]))
        assert errors["wake_after_sleep_onset_min_error"].isna().tolist() == [True, False]
        assert statistics_agreement(errors)["wake_after_sleep_onset_min"]["n_nights"] == 1


class TestMistakes:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda t: t.drop(columns="label"), "expected label and either prediction or p_W, p_N1"),
            (lambda t: t.drop(columns=["prediction", "p_R"]), "expected label and either prediction or"),
            (lambda t: pd.concat([t, t.iloc[[3]]]), "hold epoch 3 of the recording R0 twice"),
            (lambda t: t.assign(subject=t["subject"].where(t["epoch"] != 5)), "have no subject in row 5"),
            (lambda t: t.assign(label="N2"), "column label of the predictions holds .*expected whole numbers"),
            (lambda t: t.assign(prediction=1.5), "column prediction of the predictions holds float64"),
        ],
    )
    def test_a_table_that_does_not_fit_is_refused(self, change, message):
        with pytest.raises(DatasetError, match=message):
            figures_of_predictions(change(cohort(2)))

    def test_unknown_stages_are_refused(self):
        with pytest.raises(UnknownStageError, match="labels hold the stage id -1"):
            figures_by(cohort(2).assign(label=-1), "recording")

    def test_a_missing_unit_is_named(self):
        with pytest.raises(DatasetError, match="no column subject"):
            bootstrap_intervals(cohort(2).drop(columns="subject"))


class TestPairedDifference:
    def test_a_model_does_not_differ_from_itself(self):
        assert paired_difference(cohort(), cohort()) == {"difference": 0.0, "interval": [0.0, 0.0]}

    def test_what_makes_subjects_hard_for_both_falls_out(self):
        first = cohort(spread=0.4, n_epochs=400, probabilities=False)
        second = first.copy()
        mended = (second["prediction"] != second["label"]) & (second.index % 4 == 0)
        second.loc[mended, "prediction"] = second.loc[mended, "label"]
        found = paired_difference(first, second, n_resamples=500)
        kappas = [figures_of_predictions(table, n_resamples=0)["kappa"] for table in (first, second)]
        assert found["difference"] == pytest.approx(kappas[1] - kappas[0])
        low, high = found["interval"]
        assert 0 < low < found["difference"] < high
        alone_low, alone_high = bootstrap_intervals(first, 500)["kappa"]
        assert high - low < 0.7 * (alone_high - alone_low)

    def test_models_that_staged_other_epochs_are_refused(self):
        with pytest.raises(DatasetError, match="staged the same epochs"):
            paired_difference(cohort(5), cohort(6))
        with pytest.raises(DatasetError, match="staged the same epochs"):
            paired_difference(cohort(seed=0), cohort(seed=1))

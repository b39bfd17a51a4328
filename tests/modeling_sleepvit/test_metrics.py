"""Figures of agreement, calibration and review: by hand, against scikit-learn, and where they are undefined."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as sklearn_metrics

from modeling_sleepvit.errors import DatasetError, UnknownStageError
from modeling_sleepvit.hypnogram import Hypnogram
from modeling_sleepvit.metrics_sleepvit import (
    calibration_bins,
    calibration_error,
    expected_review,
    figures_of_confusion,
    review_curve,
    staging_metrics,
)
from modeling_sleepvit.stages import STAGES


pytestmark = pytest.mark.filterwarnings("error")

F1_KEYS = [f"f1_{stage}" for stage in STAGES]


def certain(stages, confidence) -> np.ndarray:
    """Probabilities whose largest is `confidence`, the rest spread evenly."""
    stages, confidence = np.asarray(stages, dtype=int), np.broadcast_to(confidence, len(stages))
    probabilities = np.repeat((1 - confidence)[:, None] / 4, 5, axis=1)
    probabilities[np.arange(len(stages)), stages] = confidence
    return probabilities


@st.composite
def scored_nights(draw, min_epochs=1):
    """Labels with gaps, and probabilities some of which are absent."""
    n_epochs = draw(st.integers(min_epochs, 30))
    labels = draw(arrays(np.int64, n_epochs, elements=st.sampled_from([0, 1, 2, 3, 4, -100])))
    raw = draw(arrays(np.float64, (n_epochs, 5), elements=st.floats(0.01, 1)))
    probabilities = raw / raw.sum(axis=1, keepdims=True)
    probabilities[draw(arrays(np.bool_, n_epochs))] = np.nan
    return labels, probabilities


class TestStagingMetrics:
    def test_figures_by_hand(self):
        figures = staging_metrics([[0, 0, 2], [2, -100, 1]], [[0, 2, 2], [2, 4, -1]])
        assert figures["n_epochs"] == 4
        assert figures["accuracy"] == 0.75
        assert figures["balanced_accuracy"] == 0.75  # W 1/2, N2 2/2
        assert figures["f1_W"] == pytest.approx(2 / 3)
        assert figures["f1_N2"] == pytest.approx(0.8)
        assert figures["macro_f1"] == pytest.approx((2 / 3 + 0.8) / 2)
        assert figures["kappa"] == 0.5  # by chance (2 * 1 + 2 * 3) / 16
        assert figures["confusion_matrix"][0] == [1, 0, 1, 0, 0]
        assert math.isnan(figures["f1_R"])

    def test_a_stage_that_is_only_predicted_lowers_macro_f1_but_is_no_class_of_balanced_accuracy(self):
        figures = staging_metrics([0, 0, 2, 2], [0, 1, 2, 2])
        assert figures["f1_N1"] == 0
        assert figures["macro_f1"] == pytest.approx((2 / 3 + 0 + 1) / 3)
        assert figures["balanced_accuracy"] == 0.75

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40))
    def test_they_are_those_of_scikit_learn(self, pairs):
        labels, predictions = np.array(pairs).T
        figures = staging_metrics(labels, predictions)
        assert figures["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(labels, predictions))
        each = {"labels": range(5), "average": None, "zero_division": np.nan}
        recalls = sklearn_metrics.recall_score(labels, predictions, **each)
        assert figures["balanced_accuracy"] == pytest.approx(np.nanmean(recalls))
        f1 = sklearn_metrics.f1_score(labels, predictions, **each)
        np.testing.assert_allclose([figures[key] for key in F1_KEYS], f1)
        assert figures["macro_f1"] == pytest.approx(np.nanmean(f1))
        expected = sklearn_metrics.confusion_matrix(labels, predictions, labels=range(5))
        assert figures["confusion_matrix"] == expected.tolist()
        if np.union1d(labels, predictions).size > 1:
            assert figures["kappa"] == pytest.approx(sklearn_metrics.cohen_kappa_score(labels, predictions))
        else:
            assert math.isnan(figures["kappa"])

    def test_many_confusion_matrices_at_once_are_each_alone(self):
        counts = np.random.default_rng(0).integers(0, 20, size=(3, 4, 5, 5))
        counts[0, 0], counts[0, 1, 2] = 0, 0  # no epoch at all, and a stage without scored epochs
        together = figures_of_confusion(counts)
        for index in np.ndindex(3, 4):
            for name, value in figures_of_confusion(counts[index]).items():
                np.testing.assert_array_equal(value, together[name][index])

    def test_perfect_agreement(self):
        figures = staging_metrics([0, 1, 2, 3, 4], [0, 1, 2, 3, 4])
        assert {figures[key] for key in ("accuracy", "balanced_accuracy", "macro_f1", "kappa", *F1_KEYS)} == {1.0}

    def test_agreement_of_hypnograms_holds_only_what_either_may_be_the_reference_of(self):
        one, other = Hypnogram(["W", "W", "N2", "R"]), Hypnogram(["W", "N2", "N2", "N2"])
        agreement = one.agreement(other)
        assert "balanced_accuracy" not in agreement
        assert agreement == pytest.approx(other.agreement(one), nan_ok=True)

    def test_one_stage_alone_has_no_kappa(self):
        figures = staging_metrics([2, 2, 2], [2, 2, 2])
        assert figures["accuracy"] == figures["macro_f1"] == 1
        assert math.isnan(figures["kappa"])
        # whatever the number of epochs, rounding makes no figure of 0 / 0
        assert all(math.isnan(staging_metrics([2] * n, [2] * n)["kappa"]) for n in range(1, 200))
        assert staging_metrics([2, 2], [3, 3])["kappa"] == 0

    @pytest.mark.parametrize(
        ("labels", "predictions"), [([], []), ([-100, -100], [0, 1]), ([0, 1], [-1, -100]), (np.empty((0, 7)),) * 2]
    )
    def test_without_epochs_everything_is_nan(self, labels, predictions):
        figures = staging_metrics(labels, predictions)
        assert figures.pop("n_epochs") == 0
        assert np.sum(figures.pop("confusion_matrix")) == 0
        assert all(math.isnan(value) for value in figures.values())

    @pytest.mark.parametrize(
        ("labels", "predictions", "message"),
        [
            ([0, -1], [0, 0], "labels hold the stage id -1: expected 0 to 4 .* or -100"),
            ([0, 5], [0, 0], "labels hold the stage id 5"),
            ([0, 1], [0, 5], "predictions hold the stage id 5"),
        ],
    )
    def test_ids_of_no_stage_are_refused(self, labels, predictions, message):
        with pytest.raises(UnknownStageError, match=message):
            staging_metrics(labels, predictions)

    def test_shapes_must_agree(self):
        with pytest.raises(DatasetError, match=r"found: \(2,\) and \(3,\)"):
            staging_metrics([0, 1], [0, 1, 2])


class TestCalibration:
    def test_overconfident_by_hand(self):
        labels = [2] * 6 + [1] * 4
        assert calibration_error(labels, certain([2] * 10, 0.95)) == pytest.approx(0.35)

    def test_two_bins_by_hand(self):
        # sure: 0.9, right 1 of 2, gap .4; unsure: 0.5, right 2 of 2, gap .5; weights 1/2 each
        probabilities = certain([0, 0, 4, 4], [0.9, 0.9, 0.5, 0.5])
        assert calibration_error([0, 1, 4, 4], probabilities) == pytest.approx(0.45)
        # in one bin they balance: .75 right at a mean of .7
        assert calibration_error([0, 1, 4, 4], probabilities, n_bins=1) == pytest.approx(0.05)

    def test_a_bin_holds_its_upper_edge(self):
        n_epochs, confidence, n_right = calibration_bins([0, 0, 0], certain([0, 0, 0], [0.4, 0.41, 1.0]), n_bins=5)
        assert n_epochs.tolist() == [0, 1, 1, 0, 1]
        np.testing.assert_allclose(confidence, [0, 0.4, 0.41, 0, 1])
        assert n_right.tolist() == [0, 1, 1, 0, 1]

    def test_a_calibrated_sample_is_near_zero(self):
        rng = np.random.default_rng(0)
        probabilities = rng.dirichlet(np.full(5, 0.4), size=40_000)
        labels = (rng.random((40_000, 1)) > probabilities.cumsum(axis=1)).sum(axis=1).clip(max=4)
        assert calibration_error(labels, probabilities) < 0.01
        sharper = probabilities**2 / (probabilities**2).sum(axis=1, keepdims=True)
        assert calibration_error(labels, sharper) > 0.05

    @settings(max_examples=60, deadline=None)
    @given(scored_nights())
    def test_it_is_a_share_and_gaps_do_not_count(self, night):
        labels, probabilities = night
        error = calibration_error(labels, probabilities)
        used = (labels != -100) & ~np.isnan(probabilities).any(axis=1)
        if used.any():
            assert 0 <= error <= 1
            assert error == calibration_error(labels[used], probabilities[used])
        else:
            assert math.isnan(error)

    def test_bins_of_two_tables_add_up(self):
        rng = np.random.default_rng(1)
        labels, probabilities = rng.integers(0, 5, 50), rng.dirichlet(np.ones(5), size=50)
        parts = [calibration_bins(labels[part], probabilities[part]) for part in (slice(20), slice(20, None))]
        np.testing.assert_allclose(sum(parts), calibration_bins(labels, probabilities))

    def test_any_shape_of_labels(self):
        probabilities = certain([2] * 6, 0.8)
        flat = calibration_error([2, 2, 1, 1, 2, 2], probabilities)
        assert calibration_error([[2, 2, 1], [1, 2, 2]], probabilities.reshape(2, 3, 5)) == flat

    @pytest.mark.parametrize(
        ("probabilities", "message"),
        [
            ([[2.0, -1.0, 0, 0, 0]], r"row 0 holds the probabilities \[2.0, -1.0, .*apply a softmax to logits"),
            ([[0.1, 0.1, 0.1, 0.1, 0.1]], "row 0"),
            ([[np.nan, 0.25, 0.25, 0.25, 0.25]], "row 0"),
            ([[0.25, 0.25, 0.25, 0.25]], r"have the shape \(1, 4\): expected \(1, 5\)"),
        ],
    )
    @pytest.mark.parametrize("function", [calibration_error, review_curve])
    def test_what_is_no_probability_is_refused(self, function, probabilities, message):
        with pytest.raises(DatasetError, match=message):
            function([0], probabilities)


class TestReviewCurve:
    def test_by_hand(self):
        probabilities = certain([0, 2, 2, 2], [0.9, 0.4, 0.8, 0.7])  # the wrong one is the least certain
        curve = review_curve([0, 0, 2, 2], probabilities, n_points=5)
        assert curve["share"] == [0, 0.25, 0.5, 0.75, 1]
        assert curve["kappa"] == [0.5, 1, 1, 1, 1]
        assert curve["accuracy"] == [0.75, 1, 1, 1, 1]
        assert (curve["target_kappa"], curve["share_for_target"]) == (0.9, 0.25)
        assert review_curve([0, 0, 2, 2], probabilities, target_kappa=0.5)["share_for_target"] == 0

    def test_an_error_that_the_model_is_sure_of_is_found_last(self):
        curve = review_curve([0, 0, 2, 2], certain([0, 2, 2, 2], [0.5, 0.9, 0.8, 0.7]))
        assert curve["share_for_target"] == 1

    def test_a_point_counts_no_more_epochs_than_its_share(self):
        curve = review_curve([0, 0, 2], certain([0, 2, 2], [0.9, 0.4, 0.8]), n_points=11)
        assert curve["accuracy"][:5] == pytest.approx([2 / 3] * 4 + [1])  # a third is reached at .4, not at .3

    @settings(max_examples=40, deadline=None)
    @given(scored_nights())
    def test_it_is_what_replacing_the_stages_one_by_one_gives(self, night):
        labels, probabilities = night
        used = (labels != -100) & ~np.isnan(probabilities).any(axis=1)
        curve = review_curve(labels, probabilities, n_points=int(used.sum()) + 1 if used.any() else 2)
        labels, probabilities = labels[used], probabilities[used]
        stages = probabilities.argmax(axis=1)
        order = np.argsort(probabilities.max(axis=1), kind="stable")
        for n_reviewed in range(len(labels) + 1 if len(labels) else 0):
            reviewed = stages.copy()
            reviewed[order[:n_reviewed]] = labels[order[:n_reviewed]]
            figures = staging_metrics(labels, reviewed)
            assert curve["accuracy"][n_reviewed] == pytest.approx(figures["accuracy"])
            assert curve["kappa"][n_reviewed] == pytest.approx(figures["kappa"], nan_ok=True)
        assert len(labels) == 0 or curve["accuracy"] == sorted(curve["accuracy"])

    @pytest.mark.parametrize("labels", [[], [-100, -100], [2, 2]])
    def test_where_the_target_is_never_reached_its_share_is_nan(self, labels):
        curve = review_curve(labels, certain([2] * len(labels), 0.8))
        assert math.isnan(curve["share_for_target"])
        assert len(curve["kappa"]) == len(curve["accuracy"]) == len(curve["share"]) == 101
        assert all(math.isnan(value) for value in curve["kappa"])


def test_the_expected_review_is_what_reviewing_brings_when_the_probabilities_are_right():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(5, 0.4), size=20_000)
    labels = (rng.random((20_000, 1)) > probabilities.cumsum(axis=1)).sum(axis=1)  # drawn as the probabilities say
    order, agreement = expected_review(probabilities)
    curve = review_curve(labels, probabilities)
    np.testing.assert_allclose(agreement[::200], curve["accuracy"], atol=0.01)
    assert (np.diff(probabilities.max(axis=1)[order]) >= 0).all()
    assert agreement[-1] == pytest.approx(1)


def test_the_expected_review_leaves_epochs_without_probabilities_out():
    probabilities = np.array([[0.6, 0.4, 0, 0, 0], [np.nan] * 5, [0.5, 0.5, 0, 0, 0]])
    order, agreement = expected_review(probabilities)
    assert order.tolist() == [2, 0]
    np.testing.assert_allclose(agreement, [0.55, 0.8, 1])
    order, agreement = expected_review(np.full((2, 5), np.nan))
    assert order.size == 0
    assert np.isnan(agreement).tolist() == [True]

import math
from itertools import pairwise

import numpy as np
import pytest

from dataset_builders.scorings.grid import LONGEST_SCORING_S, StageSpan, stages_on_grid
from modeling_sleepvit.errors import HypnogramError


def grid(*spans, epoch_seconds=30):
    return stages_on_grid([StageSpan(*span) for span in spans], epoch_seconds)


def test_long_and_short_spans_fill_whole_epochs_exactly():
    night = grid((0, 30630, "W"), (30630, 120, "N1"), (30750, 390, "N2"))
    assert night.stages.tolist() == ["W"] * 1021 + ["N1"] * 4 + ["N2"] * 13
    assert (night.offset_s, night.notes) == (0, ())


def test_epochs_begin_with_the_first_span_whatever_the_order():
    night = grid((90.5, 30, "R"), (30.5, 60, "W"))
    assert night.stages.tolist() == ["W", "W", "R"]
    assert night.offset_s == 30.5


def test_rounded_milliseconds_do_no_harm():
    stages = ["W", "N1", "N2", "N3", "R"] * 200
    night = grid(*((round(29.9994 * i, 3), 29.999, stage) for i, stage in enumerate(stages)))
    assert night.stages.tolist() == stages
    assert night.notes == ()


def test_tenths_of_a_second_do_no_harm():
    stages = ["W", "N1", "N2", "N3", "R"] * 200
    night = grid(*((0.1 + 1.1 * i, 1.1, stage) for i, stage in enumerate(stages)), epoch_seconds=1.1)
    assert night.stages.tolist() == stages
    assert night.notes == ()


@pytest.mark.parametrize("duration", [None, 20])
def test_epochs_of_another_length_are_not_resampled(duration):
    spans = [(20 * i, duration, "W") for i in range(10)]
    with pytest.raises(
        HypnogramError, match="stages mostly last 20 s: expected epochs of 30 s; pass their true length"
    ):
        grid(*spans)
    assert grid(*spans, epoch_seconds=20).stages.tolist() == ["W"] * 10


def test_each_epoch_takes_the_stage_of_its_larger_part():
    assert grid((0, 44, "W"), (44, 46, "N1")).stages.tolist() == ["W", "N1", "N1"]
    assert grid((0, 46, "W"), (46, 44, "N1")).stages.tolist() == ["W", "W", "N1"]


def test_parts_of_one_stage_add_up_and_shared_time_counts_once():
    assert grid((0, 10, "N2"), (20, 10, "N2")).stages.tolist() == ["N2"]
    assert grid((0, 10, "N2"), (0, 10, "N2"), (0, 9, "N2"), (29, 1, "R")).stages.tolist() == ["UNS"]


def test_two_halves_are_no_majority():
    night = grid((0, 15, "W"), (15, 15, "N1"))
    assert night.stages.tolist() == ["UNS"]
    assert "1 epochs have no single stage" in night.notes[0]


def test_repeated_spans_do_no_harm():
    spans = [(0, 30, "W"), (30, 30, "R")]
    assert grid(*spans, *spans).stages.tolist() == ["W", "R"]
    assert grid(*spans, *spans).notes == ()


def test_gaps_and_contradictions_are_unscored_and_noted():
    night = grid((60, 30, "W"), (120, 30, "N1"), (120, 30, "N2"), (150, 300, "R"), (450, 30, "UNS"))
    assert night.stages.tolist() == ["W", "UNS", "UNS", *["R"] * 10, "UNS"]
    assert night.notes == (
        "2 epochs have no single stage that covers more than half of them and are UNS; the first is epoch 1, 90 s.",
    )


@pytest.mark.parametrize("n_overlaps", [10, 11])
def test_stages_that_overlap_in_more_than_a_tenth_of_the_epochs_are_refused(n_overlaps):
    spans = [(30 * i, 30, "N2", f"line {i}") for i in range(100)]
    overlaps = [(30 * i, 30, "R", f"line {i + 100}") for i in range(20, 20 + n_overlaps)]
    if n_overlaps > 10:
        with pytest.raises(
            HypnogramError,
            match=r"line 120 \(R\) overlaps line 20 \(N2\), .* 11 of 100 epochs .* two scorers in one file\?",
        ):
            grid(*spans, *overlaps)
    else:
        night = grid(*spans, *overlaps)
        assert (night.stages == "UNS").sum() == 10
        assert "10 epochs have no single stage" in night.notes[0]


def test_onsets_rounded_to_minutes_are_refused_also_where_stages_seldom_change():
    stages = ["W"] * 50 + ["N2"] * 51 + ["R"] * 49
    spans = [(60 * (i // 2), 30, stage, f"line {i}") for i, stage in enumerate(stages)]
    with pytest.raises(HypnogramError, match=r"line 1 \(W\) overlaps line 0 \(W\), .* onsets rounded to minutes"):
        grid(*spans)


def test_marks_of_artefact_over_stages_and_repeated_halves_of_a_night_do_no_harm():
    spans = [(30 * i, 30, "N2") for i in range(20)]
    assert grid(*spans, (60, 150, "UNS")).stages.tolist() == ["N2"] * 2 + ["UNS"] * 5 + ["N2"] * 13
    halves = [*spans, *((onset_s + 900, *rest) for onset_s, *rest in spans)]
    assert grid(*halves, *halves).stages.tolist() == ["N2"] * 20 + ["UNS"] * 10 + ["N2"] * 20


def test_a_short_tail_is_left_out_and_noted():
    night = grid((0, 30, "W"), (30, 44, "R"))
    assert night.stages.tolist() == ["W", "R"]
    assert night.notes == ("The last 14 s of the scoring fill less than half an epoch and were left out.",)
    assert grid((0, 30, "W"), (30, 46, "R")).stages.tolist() == ["W", "R", "R"]


@pytest.mark.parametrize("duration", [None, 0])
def test_marks_last_until_the_next_one(duration):
    night = grid((0, duration, "W"), (90, duration, "N1"), (120, duration, "N2"))
    assert night.stages.tolist() == ["W", "W", "W", "N1", "N2"]
    assert "No stage has a duration" in night.notes[0]


def test_marks_among_spans_are_left_out():
    night = grid((0, None, "R"), (30, 30, "W"), (60, 30, "N1"))
    assert night.stages.tolist() == ["W", "N1"]
    assert night.offset_s == 30
    assert night.notes == ("1 stages without a duration were left out, as the others have one.",)


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ([(-1, 30, "W")], r"span \(W\) has the onset -1 s: expected a number of seconds from 0"),
        ([(math.nan, 30, "W")], "onset nan s"),
        ([(math.inf, 30, "W")], "onset inf s"),
        ([(0, 30, "W"), (1e300, 30, "W")], r"onset 1e\+300 s: .* within 10 days"),
        ([(0, 1e18, "W")], r"duration 1e\+18 s"),
        ([(LONGEST_SCORING_S, 30, "W")], "duration 30 s"),
        ([(0, math.nan, "W")], "duration nan s"),
        ([(0, math.inf, "W")], "duration inf s"),
        ([(0, -30, "W")], "duration -30 s"),
        ([(0, 10, "W")], "last 10 s in all: expected at least one epoch of 30 s; check the unit"),
        ([], "no span with a stage"),
    ],
)
def test_what_is_no_time_of_a_night_is_named(spans, message):
    with pytest.raises(HypnogramError, match=message):
        grid(*spans)


@pytest.mark.parametrize("epoch_seconds", [0, -30, 1e-9, math.nan, math.inf])
def test_what_is_no_length_of_an_epoch_is_named(epoch_seconds):
    with pytest.raises(HypnogramError, match=r"epochs of .* s were asked for: expected from 1 s"):
        grid((0, 30, "W"), epoch_seconds=epoch_seconds)


def test_random_scorings_of_whole_epochs_come_back():
    rng = np.random.default_rng(0)
    for _ in range(20):
        stages = rng.choice(["W", "N1", "N2", "N3", "R", "UNS"], size=300)
        offset_s = float(rng.uniform(0, 1000))
        changes = [0, *(np.flatnonzero(stages[1:] != stages[:-1]) + 1), 300]
        spans = [(offset_s + 30 * a, 30 * (b - a), stages[a]) for a, b in pairwise(changes)]
        night = grid(*(spans[i] for i in rng.permutation(len(spans))))
        assert night.stages.tolist() == stages.tolist()
        assert night.offset_s == offset_s

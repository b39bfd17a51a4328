"""Spans of time with a stage -> one stage per epoch."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from modeling_sleepvit.errors import HypnogramError
from modeling_sleepvit.stages import STAGES, UNSCORED


LONGEST_SCORING_S = 10 * 86_400.0
"""No scoring ends later than this (s): beyond it stands a wrong number, and memory for epochs that never were."""

SHORTEST_EPOCH_S = 1.0
"""Epochs are not shorter than this (s)."""

_STAGES = (*STAGES, UNSCORED)
# Sums of parts of an epoch are exact to far better than this, and scorings are not exact to a millionth of an epoch.
_ROUNDING = 1e-6
# So many spans, most of them clearly shorter than an epoch, are epochs of another length or times in another unit.
_ENOUGH_SPANS = 10
_SHORT_SPAN = 0.75
_MOST_OVERLAPS = 0.1
# Part of an epoch: the edges of neighbours that overlap by less were rounded.
_LEAST_OVERLAP = 0.01


@dataclass(frozen=True)
class StageSpan:
    """A stretch of time that was given one stage.

    Args:
        onset_s: begin in s.
        duration_s: length in s; None or 0 where the scoring marks the begin alone.
        stage: a stage of the package's vocabulary.
        where: its place in the file, for messages.
    """

    onset_s: float
    duration_s: float | None
    stage: str
    where: str = "a span"


@dataclass(frozen=True)
class StageGrid:
    """Epochs of equal length.

    Args:
        stages: (n_epochs,) strings of the package's vocabulary.
        offset_s: begin of epoch 0 in s, on the time axis of the spans.
        notes: sentences about epochs without a stage and about spans that were left out.
    """

    stages: np.ndarray
    offset_s: float
    notes: tuple[str, ...]


def stages_on_grid(spans: Sequence[StageSpan], epoch_seconds: float) -> StageGrid:
    """Cut spans into epochs: each epoch takes the one stage that covers more than half of it.

    Epoch 0 begins with the first span, and the last epoch lies around the end of the last one, rounded. An epoch that
    no stage, or more than one, covers by more than half is `UNS`. Where no span has a duration, each lasts until the
    next one begins, and the last one an epoch; where some have, those without mark no epochs.

    Args:
        spans: in any order; repeated ones do no harm.
        epoch_seconds: length of an epoch in s.

    Raises:
        HypnogramError: an onset or a duration is no time of a night, the spans fill no epoch, most of them are clearly
            shorter than one, or more than a tenth of the epochs are unclear since spans overlap.
    """
    check_epoch_seconds(epoch_seconds)
    for span in spans:
        _check(span)
    spans, notes = _with_durations(spans, epoch_seconds)
    if not spans:
        raise HypnogramError("there is no span with a stage: expected at least one.")
    typical_s = float(np.median([span.duration_s for span in spans]))
    if len(spans) >= _ENOUGH_SPANS and typical_s < _SHORT_SPAN * epoch_seconds:
        raise HypnogramError(
            f"its stages mostly last {typical_s:g} s: expected epochs of {epoch_seconds:g} s; pass their true "
            "length as epoch_seconds, or check the unit of its times."
        )
    offset_s = min(span.onset_s for span in spans)
    end = (max(span.onset_s + span.duration_s for span in spans) - offset_s) / epoch_seconds
    n_epochs = math.floor(end + 0.5 + _ROUNDING)
    if n_epochs == 0:
        raise HypnogramError(
            f"its stages last {end * epoch_seconds:g} s in all: expected at least one epoch of {epoch_seconds:g} s; "
            "check the unit of its times."
        )
    tail_s = (end - n_epochs) * epoch_seconds
    if tail_s > 0.01 * epoch_seconds:
        notes.append(f"The last {tail_s:g} s of the scoring fill less than half an epoch and were left out.")
    coverage = _coverage(spans, offset_s, epoch_seconds, n_epochs)
    stages, is_clear = _stage_of_each_epoch(coverage)
    _check_overlaps(spans, coverage, is_clear, offset_s, epoch_seconds)
    n_gaps, first_gap = int((~is_clear).sum()), int(is_clear.argmin())
    if n_gaps:
        notes.append(
            f"{n_gaps} epochs have no single stage that covers more than half of them and are UNS; the first is epoch "
            f"{first_gap}, {offset_s + first_gap * epoch_seconds:g} s."
        )
    return StageGrid(stages, offset_s, tuple(notes))


def check_epoch_seconds(epoch_seconds: float) -> None:
    """Refuse a length that no epoch has.

    Args:
        epoch_seconds: length of an epoch in s.

    Raises:
        HypnogramError: it is shorter than `SHORTEST_EPOCH_S`, longer than `LONGEST_SCORING_S`, or not finite.
    """
    if not SHORTEST_EPOCH_S <= epoch_seconds <= LONGEST_SCORING_S:
        raise HypnogramError(
            f"epochs of {epoch_seconds:g} s were asked for: expected from {SHORTEST_EPOCH_S:g} s to "
            f"{LONGEST_SCORING_S:g} s, usually 30 s."
        )


def _check(span: StageSpan) -> None:
    duration_s = span.duration_s or 0.0
    # A comparison with NaN is False, so NaN fails both.
    if not 0 <= span.onset_s <= LONGEST_SCORING_S:
        problem, found = "onset", span.onset_s
    elif not 0 <= duration_s <= LONGEST_SCORING_S - span.onset_s:
        problem, found = "duration", duration_s
    else:
        return
    raise HypnogramError(
        f"{span.where} ({span.stage}) has the {problem} {found:g} s: expected a number of seconds from 0, and an end "
        f"within {LONGEST_SCORING_S / 86_400:g} days; correct it."
    )


def _with_durations(spans: Sequence[StageSpan], epoch_seconds: float) -> tuple[list[StageSpan], list[str]]:
    lasting = [span for span in spans if span.duration_s]
    if lasting:
        n_marks = len(spans) - len(lasting)
        notes = [f"{n_marks} stages without a duration were left out, as the others have one."] if n_marks else []
        return lasting, notes
    onsets = sorted({span.onset_s for span in spans})
    ends = dict(zip(onsets, [*onsets[1:], *(onset + epoch_seconds for onset in onsets[-1:])]))
    notes = ["No stage has a duration: each was taken to last until the next one begins."] if len(spans) > 1 else []
    return [replace(span, duration_s=ends[span.onset_s] - span.onset_s) for span in spans], notes


def _coverage(spans: list[StageSpan], offset_s: float, epoch_seconds: float, n_epochs: int) -> np.ndarray:
    """(6, n_epochs) part of each epoch that each stage covers; time that two spans of a stage share counts once."""
    coverage = np.zeros((len(_STAGES), n_epochs))
    for row, stage in enumerate(_STAGES):
        of_stage = sorted((s.onset_s, s.onset_s + s.duration_s) for s in spans if s.stage == stage)
        for begin_s, end_s in _merged(of_stage):
            begin, end = ((time_s - offset_s) / epoch_seconds for time_s in (begin_s, end_s))
            first, last = min(int(begin), n_epochs), min(math.ceil(end), n_epochs)
            covered = coverage[row, first:last]
            epochs = np.arange(first, last)
            covered += np.minimum(end, epochs + 1) - np.maximum(begin, epochs)
    return coverage


def _merged(intervals: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Join sorted intervals that touch or overlap."""
    merged: list[tuple[float, float]] = []
    for begin, end in intervals:
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


def _stage_of_each_epoch(coverage: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the stages, and for each epoch whether it has a clear one."""
    covers = coverage > 0.5 + _ROUNDING  # (6, n_epochs)
    is_clear = covers.sum(axis=0) == 1
    stages = np.where(is_clear, np.array(_STAGES)[covers.argmax(axis=0)], UNSCORED)
    return stages, is_clear


def _check_overlaps(
    spans: list[StageSpan], coverage: np.ndarray, is_clear: np.ndarray, offset_s: float, epoch_seconds: float
) -> None:
    """Refuse a scoring in which overlaps, and the gaps that rounded onsets leave behind them, cost many epochs."""
    scored = [span for span in spans if span.stage != UNSCORED]
    n_epochs = len(is_clear)
    overlaps = ~is_clear & (coverage[: len(STAGES)].sum(axis=0) > 1 + _LEAST_OVERLAP)
    # Where two spans share an onset, one of them may be missing in the epoch behind it, be their stages alike or not.
    is_shared = np.zeros(n_epochs, dtype=bool)
    for onset_s, count in Counter(span.onset_s for span in scored).items():
        epoch = int((onset_s - offset_s) / epoch_seconds + _ROUNDING)
        if count > 1 and epoch < n_epochs:
            is_shared[epoch] = True
    is_left_behind = np.append(False, is_shared[:-1]) & (coverage.sum(axis=0) < _ROUNDING)
    n_lost = int((overlaps | is_left_behind).sum())
    if n_lost <= _MOST_OVERLAPS * n_epochs:
        return
    first = int((overlaps | np.append(is_left_behind[1:], False)).argmax())
    begin_s, end_s = (offset_s + epoch * epoch_seconds for epoch in (first, first + 1))
    inside = [span for span in scored if span.onset_s < end_s and span.onset_s + span.duration_s > begin_s]
    earlier, later = _first_overlap(sorted(inside, key=lambda span: span.onset_s))
    raise HypnogramError(
        f"{later.where} ({later.stage}) overlaps {earlier.where} ({earlier.stage}), and such overlaps leave {n_lost} "
        f"of {n_epochs} epochs without a clear stage: expected one stage at a time; are its onsets rounded to "
        "minutes, or are two scorers in one file?"
    )


def _first_overlap(spans: list[StageSpan]) -> tuple[StageSpan, StageSpan]:
    """Find two spans that overlap and differ in their stage; without any, the first two. Sorted by onset."""
    longest: dict[str, StageSpan] = {}
    for span in spans:
        for stage, other in longest.items():
            if stage != span.stage and other.onset_s + other.duration_s > span.onset_s:
                return other, span
        other = longest.get(span.stage, span)
        longest[span.stage] = max(other, span, key=lambda one: one.onset_s + one.duration_s)
    return spans[0], spans[1]

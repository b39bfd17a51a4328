"""The one place where a recording and its scoring are laid over each other, trimmed and checked: rows for a model."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from pathlib import Path

import numpy as np

from modeling_sleepvit.errors import DatasetError
from modeling_sleepvit.feature_extraction_sleepvit import SleepViTFeatureExtractor
from modeling_sleepvit.hypnogram import EPOCH_SECONDS, Hypnogram
from modeling_sleepvit.recordings import Recording
from modeling_sleepvit.stages import IGNORED_ID, SLEEP_STAGES, STAGES, UNSCORED, ids_from_stages


TRIM_RULES = ("30min", "lights", "none")
"""Which epochs of a night are kept: half an hour of wake on either side of sleep; lights off to lights on; all."""

WAKE_EPOCHS_KEPT = 60
"""Scored epochs of wake that "30min" keeps on either side of sleep."""

_CLOCK_TOLERANCE_S = 1.0  # headers state whole seconds
_DAY_S = 24 * 60 * 60


@dataclass(frozen=True)
class NightRows:
    """One scored night, ready for a model; its epochs follow each other without a gap.

    Args:
        subject: the person, for example "SC400".
        recording: name of the recording, for example "SC4001E0"; no two nights of a dataset share it.
        input_values: (epochs, channels, rows, frames) float32; an array, or anything that gives arrays by slice.
        labels: (epochs,) stage ids, -100 where not scored.
        first_epoch: position of the first row among the epochs of the recording.
        first_onset_s: begin of the first row in s after the first sample of the recording.
        epoch_seconds: s from the onset of an epoch to that of the next.
        notes: sentences about what was dropped or guessed.
        eog_values: (epochs, EOG channels, EOG rows, frames) float32, like `input_values`; None without EOG.
    """

    subject: str
    recording: str
    input_values: np.ndarray
    labels: np.ndarray
    first_epoch: int = 0
    first_onset_s: float = 0.0
    epoch_seconds: float = EPOCH_SECONDS
    notes: tuple[str, ...] = ()
    eog_values: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def inputs(self) -> dict[str, np.ndarray]:
        """What a model reads of this night, by the name of its argument."""
        eog = {} if self.eog_values is None else {"eog_values": self.eog_values}
        return {"input_values": self.input_values, **eog}

    @property
    def epochs(self) -> np.ndarray:
        """(epochs,) position of each row among the epochs of the recording."""
        return self.first_epoch + np.arange(len(self))

    @property
    def onsets_s(self) -> np.ndarray:
        """(epochs,) begin of each row in s after the first sample of the recording."""
        return self.first_onset_s + np.arange(len(self)) * self.epoch_seconds


@dataclass(frozen=True)
class Lights:
    """When the lights went off and on, as clock times; None where it is not known."""

    off: time | None = None
    on: time | None = None


def rows_of_night(
    recording: Recording,
    hypnogram: Hypnogram,
    feature_extractor: SleepViTFeatureExtractor,
    subject: str,
    trim: str = "30min",
    lights: Lights | None = None,
    eog: Recording | None = None,
) -> NightRows:
    """Lay a scoring over its recording and prepare the epochs that are kept.

    The scoring begins at its `offset_s`, or by the clock where it tells nothing else; where it tells both, they have
    to agree. A start at midnight sharp is what headers without a clock time hold, and counts as none. Epochs before
    the first and after the last scored one are dropped; those between that are not scored stay, so that the rows
    follow each other without a gap.

    Args:
        recording: the signals in uV.
        hypnogram: the scoring.
        feature_extractor: the one that is saved beside the weights; it sees the kept epochs alone.
        subject: the person.
        trim: one of `TRIM_RULES`. "30min" keeps 60 scored epochs of wake before the first and after the last epoch of
            sleep, as the Sleep-EDF protocols do; "lights" keeps the epochs from lights off to lights on, or to the
            last epoch of sleep where lights on is not known.
        lights: clock times for the rule "lights".
        eog: the EOG of the same recording, where the feature extractor asks for it.

    Returns:
        the rows.

    Raises:
        DatasetError: the scoring reaches beyond the signal by more than an incomplete last epoch, has epochs of
            another length, holds nothing to keep, or the rows are not finite.
    """
    name = recording.path or recording.id
    if hypnogram.epoch_seconds != feature_extractor.epoch_seconds:
        raise DatasetError(
            f"{name}: its scoring has epochs of {hypnogram.epoch_seconds:g} s, expected "
            f"{feature_extractor.epoch_seconds} s as the feature extractor has; score it anew or take another model."
        )
    offset_s = _offset_s(name, recording, hypnogram)
    inside, notes = _covered_epochs(name, recording, hypnogram, offset_s)
    start = _clock(recording, hypnogram, offset_s, inside.start)
    kept = trimmed_epochs(hypnogram.stages[inside], trim, lights, start, hypnogram.epoch_seconds, name)
    kept = slice(inside.start + kept.start, inside.start + kept.stop)
    first_onset_s = offset_s + kept.start * hypnogram.epoch_seconds
    duration_s = (kept.stop - kept.start) * hypnogram.epoch_seconds

    def kept_part(signals: np.ndarray, sampling_rate: float) -> np.ndarray:
        first_sample = round(first_onset_s * sampling_rate)
        # one second more where there is one, so that resampling an uneven rate does not cost the last epoch
        return signals[:, first_sample : first_sample + int(np.ceil((duration_s + 1) * sampling_rate))]

    second_input = {}
    if eog is not None:
        second_input = {
            "eog_waveform": kept_part(eog.signals, eog.sampling_rate), "eog_sampling_rate": eog.sampling_rate
        }  # fmt: skip
    try:
        features = feature_extractor(
            kept_part(recording.signals, recording.sampling_rate), recording.sampling_rate, **second_input
        )
    except ValueError as error:
        raise DatasetError(f"{name}: {error}.") from error
    return checked_rows(
        NightRows(
            subject=subject,
            recording=recording.id,
            **{key: values[: kept.stop - kept.start] for key, values in features.items()},
            labels=ids_from_stages(hypnogram.stages[kept]),
            # counted from the start of the recording, also where the scoring begins later
            first_epoch=round(first_onset_s // hypnogram.epoch_seconds),
            first_onset_s=first_onset_s,
            epoch_seconds=hypnogram.epoch_seconds,
            notes=(*recording.notes, *(() if eog is None else eog.notes), *hypnogram.notes, *notes),
        ),
        name,
    )


def trimmed_epochs(
    stages: np.ndarray,
    trim: str,
    lights: Lights | None = None,
    start: datetime | None = None,
    epoch_seconds: float = EPOCH_SECONDS,
    name: str | Path = "the night",
) -> slice:
    """Choose the epochs that a trim rule keeps.

    Args:
        stages: (epochs,) stages and "UNS".
        trim: one of `TRIM_RULES`; see `rows_of_night`.
        lights: clock times for the rule "lights".
        start: clock time of the first epoch, for the rule "lights".
        epoch_seconds: length of an epoch in s.
        name: of the recording, for messages.

    Returns:
        the kept epochs, from the first to the last scored one of them.

    Raises:
        DatasetError: the rule is unknown, nothing is scored, there is no sleep to trim around, or lights off or the
            clock time is not known.
    """
    if trim not in TRIM_RULES:
        raise DatasetError(f"the trim rule {trim!r} is unknown: expected one of {', '.join(TRIM_RULES)}.")
    stages = np.asarray(stages)
    scored = np.flatnonzero(stages != UNSCORED)
    if not scored.size:
        raise DatasetError(f"{name}: expected scored epochs within the signal, found none; check the scoring.")
    if trim == "none":
        return slice(int(scored[0]), int(scored[-1]) + 1)
    asleep = np.flatnonzero(np.isin(stages[scored], SLEEP_STAGES))  # counted in scored epochs
    if not asleep.size:
        raise DatasetError(
            f"{name}: expected sleep to trim around, found {scored.size} scored epochs, all of them wake; use the "
            "trim rule none, or leave this recording out."
        )
    if trim == "30min":
        first = scored[max(asleep[0] - WAKE_EPOCHS_KEPT, 0)]
        last = scored[min(asleep[-1] + WAKE_EPOCHS_KEPT, scored.size - 1)]
        return slice(int(first), int(last) + 1)
    off, on = _lights_in_epochs(lights or Lights(), start, epoch_seconds, scored[-1], name)
    between = scored[(scored >= off) & (scored + 1 <= (scored[asleep[-1]] + 1 if on is None else on))]
    if not between.size:
        raise DatasetError(
            f"{name}: expected scored epochs between lights off and lights on, found none; check both times."
        )
    return slice(int(between[0]), int(between[-1]) + 1)


def checked_rows(rows: NightRows, name: str | Path) -> NightRows:
    """Check a night before it is written or learned from.

    Args:
        rows: the night.
        name: of its file, for messages.

    Returns:
        the same night.

    Raises:
        DatasetError: shape, type, labels or values are not what `NightRows` promises.
    """
    labels = rows.labels
    for values in rows.inputs.values():
        if values.ndim != 4 or values.dtype != np.float32 or len(values) != len(labels) or not len(labels):
            raise DatasetError(
                f"{name}: expected float32 rows of shape (epochs, channels, rows, frames) and a label for each epoch, "
                f"found {values.dtype} {values.shape} and {len(labels)} labels."
            )
    wrong = (labels != IGNORED_ID) & ((labels < 0) | (labels >= len(STAGES)))
    if wrong.any():
        epoch = int(np.flatnonzero(wrong)[0])
        raise DatasetError(
            f"{name}: epoch {epoch} has the label {int(labels[epoch])}, expected 0 to {len(STAGES) - 1} for "
            f"{', '.join(STAGES)}, or {IGNORED_ID}."
        )
    for values in rows.inputs.values():
        if not np.isfinite(values).all():
            epoch = int(np.flatnonzero(~np.isfinite(values).all(axis=(1, 2, 3)))[0])
            raise DatasetError(f"{name}: epoch {epoch} has rows that are not finite; leave this recording out.")
    return rows


def _offset_s(name: str | Path, recording: Recording, hypnogram: Hypnogram) -> float:
    """Begin of the scoring in s after the first sample; negative where it begins before."""
    if hypnogram.offset_s is not None and (recording.start is None or hypnogram.start is None):
        return hypnogram.offset_s
    if recording.start is None:
        raise DatasetError(
            f"{name}: its scoring tells clock times alone, expected a recording whose header has a start time; give "
            "the onsets of the scoring in s."
        )
    # Dates are changed to hide the person, clock times are not: the nearer way round the clock.
    apart_s = (hypnogram.start - recording.start).total_seconds() % _DAY_S
    by_clock_s = apart_s - _DAY_S if apart_s > _DAY_S / 2 else apart_s
    if hypnogram.offset_s is None:
        return by_clock_s
    if abs(by_clock_s - hypnogram.offset_s) >= _CLOCK_TOLERANCE_S and recording.start.time() != time():
        raise DatasetError(
            f"{name}: its scoring begins {hypnogram.offset_s:g} s after the first sample by its onsets and "
            f"{by_clock_s:g} s after it by the clock ({hypnogram.start:%H:%M:%S} and {recording.start:%H:%M:%S}); "
            "correct the start time in one of the two files, so that both say the same."
        )
    return hypnogram.offset_s


def _covered_epochs(
    name: str | Path, recording: Recording, hypnogram: Hypnogram, offset_s: float
) -> tuple[slice, list[str]]:
    """Find the epochs of a scoring that lie within the signal whole."""
    half_sample_s = 0.5 / recording.sampling_rate
    begins_s = offset_s + np.arange(hypnogram.n_epochs) * hypnogram.epoch_seconds
    ends_s = begins_s + hypnogram.epoch_seconds
    inside = (begins_s > -half_sample_s) & (ends_s < recording.duration_s + half_sample_s)
    outside = np.flatnonzero(~inside & (hypnogram.stages != UNSCORED))
    notes = []
    if outside.size and begins_s[outside[0]] < 0:
        raise DatasetError(
            f"{name}: its scoring begins {-offset_s:g} s before the signal with epochs that are scored; expected a "
            "scoring within the signal: is it the scoring of another recording?"
        )
    # Scorers also stage what is left of the last epoch; anything more belongs to another recording.
    if outside.size == 1 and begins_s[outside[0]] < recording.duration_s - half_sample_s:
        notes.append(f"Epoch {outside[0]} of the scoring was dropped: the signal ends within it.")
    elif outside.size:
        raise DatasetError(
            f"{name}: its scoring reaches to {ends_s[outside[-1]]:g} s, expected {recording.duration_s:g} s at most, "
            f"the length of the signal ({outside.size} scored epochs lie outside): is it the scoring of another "
            "recording?"
        )
    covered = np.flatnonzero(inside)
    if not covered.size:
        raise DatasetError(
            f"{name}: expected whole epochs of {hypnogram.epoch_seconds:g} s that signal and scoring both have, found "
            f"none: signal 0 to {recording.duration_s:g} s, scoring {offset_s:g} to {ends_s[-1]:g} s."
        )
    return slice(int(covered[0]), int(covered[-1]) + 1), notes


def _clock(recording: Recording, hypnogram: Hypnogram, offset_s: float, epoch: int) -> datetime | None:
    """Clock time at which an epoch begins."""
    begin = timedelta(seconds=epoch * hypnogram.epoch_seconds)
    if recording.start is not None:
        return recording.start + timedelta(seconds=offset_s) + begin
    return None if hypnogram.start is None else hypnogram.start + begin


def _lights_in_epochs(
    lights: Lights, start: datetime | None, epoch_seconds: float, last_scored: int, name: str | Path
) -> tuple[float, float | None]:
    """Lights off and lights on in epochs after the first one; None where lights on is not known."""
    if lights.off is None or start is None:
        missing = "the clock time of the recording" if start is None else "the time of lights off"
        raise DatasetError(
            f"{name}: the trim rule lights needs {missing}, found none; use the trim rule 30min or none."
        )

    def epochs_until(moment: time) -> float:
        return (datetime.combine(start.date(), moment) - start).total_seconds() % _DAY_S / epoch_seconds

    off = epochs_until(lights.off)
    on = None if lights.on is None else epochs_until(lights.on)
    return (off if off <= last_scored else 0.0), on  # else the lights were off already when the recording began

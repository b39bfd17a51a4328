"""The hypnogram: one stage per epoch of a night, its probabilities, statistics, agreement, table and pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np

from .errors import HypnogramError, SleepViTError, UnknownStageError
from .metrics_sleepvit import staging_metrics
from .stages import (
    PLOT_ORDER,
    SLEEP_STAGES,
    STAGE_COLOURS,
    STAGES,
    UNSCORED,
    ids_from_stages,
)
from .whole_files import written_whole


EPOCH_SECONDS = 30.0
"""The length of an epoch in the AASM manual and in Rechtschaffen & Kales."""

PROBABILITY_COLUMNS = tuple(f"p_{stage}" for stage in STAGES)

FRAME_COLUMNS = ("epoch", "onset_s", "stage", *PROBABILITY_COLUMNS, "confidence")
"""The columns of `Hypnogram.to_frame` and of every hypnogram CSV of this package, in this order."""

# Wide enough for probabilities that went through bfloat16 or six decimals, narrow enough to notice logits.
_PROBABILITY_SUM_TOLERANCE = 1e-2
_CSV_DECIMALS = 6


@dataclass(frozen=True, eq=False, repr=False)
class Hypnogram:
    """The stages of consecutive epochs of equal length.

    Checked when it is made: every stage is one of `STAGES` or "UNS"; every row of probabilities is either all NaN or
    not negative and sums to 1. Epochs are contiguous: epoch `i` begins `i * epoch_seconds` after epoch 0.

    Args:
        stages: (n_epochs,) strings of the package's vocabulary.
        probabilities: (n_epochs, 5) in the order of `STAGES`, a row of NaN where an epoch has none; None without any.
        start: clock time at which epoch 0 begins, or None.
        epoch_seconds: length of an epoch in s.
        recording: id of the recording, or None.
        channels: names of the channels that the stages come from.
        notes: sentences about what was dropped, derived or guessed on the way.
        offset_s: begin of epoch 0 in s after the first sample of the recording; None where `start` alone is known.

    Raises:
        UnknownStageError: a stage is not in the vocabulary.
        HypnogramError: shapes or probabilities break the invariants, or `offset_s` and `start` are both None.
    """

    stages: np.ndarray
    probabilities: np.ndarray | None = None
    start: datetime | None = None
    epoch_seconds: float = EPOCH_SECONDS
    recording: str | None = None
    channels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    offset_s: float | None = 0.0

    def __post_init__(self):
        stages = np.array(self.stages, dtype=object)  # object, so that a longer wrong name is shown whole
        if stages.ndim != 1:
            raise HypnogramError(f"{self._name} has stages of shape {stages.shape}: expected (n_epochs,).")
        for epoch, stage in enumerate(stages):
            if stage not in (*STAGES, UNSCORED):
                raise UnknownStageError(
                    f"{self._name} has the stage {stage!r} in epoch {epoch}: expected one of "
                    f"{', '.join((*STAGES, UNSCORED))}; translate other vocabularies with stage_from_name."
                )
        if not (np.isfinite(self.epoch_seconds) and self.epoch_seconds > 0):
            raise HypnogramError(
                f"{self._name} has epochs of {self.epoch_seconds} s: expected a positive number of seconds."
            )
        if self.offset_s is None and self.start is None:
            raise HypnogramError(f"{self._name} has neither offset_s nor start: expected one, since both are None.")
        if not np.isfinite(self.offset_s or 0):
            raise HypnogramError(f"{self._name} begins {self.offset_s} s after its recording: expected a number of s.")
        # Read-only copies: the invariants hold for as long as the object lives.
        stages = stages.astype("<U3")
        stages.flags.writeable = False
        object.__setattr__(self, "stages", stages)
        object.__setattr__(self, "epoch_seconds", float(self.epoch_seconds))
        object.__setattr__(self, "offset_s", None if self.offset_s is None else float(self.offset_s))
        object.__setattr__(self, "channels", tuple(self.channels))
        object.__setattr__(self, "notes", tuple(self.notes))
        if self.probabilities is not None:
            object.__setattr__(self, "probabilities", self._checked_probabilities())

    def _checked_probabilities(self) -> np.ndarray:
        probabilities = np.array(self.probabilities, dtype=np.float64)
        shape = (self.n_epochs, len(STAGES))
        if probabilities.shape != shape:
            raise HypnogramError(
                f"{self._name} has probabilities of shape {probabilities.shape}: expected {shape}, one "
                f"row per epoch and one column for each of {', '.join(STAGES)}."
            )
        absent = np.isnan(probabilities).all(axis=1)
        sums = probabilities.sum(axis=1)
        # A comparison with NaN is False, so a row with some NaN is bad without a test of its own.
        good = (np.abs(sums - 1) <= _PROBABILITY_SUM_TOLERANCE) & (probabilities >= 0).all(axis=1)
        if not (good | absent).all():
            epoch = int(np.flatnonzero(~(good | absent))[0])
            raise HypnogramError(
                f"{self._name} has the probabilities {probabilities[epoch].tolist()} in epoch {epoch}: expected five "
                "numbers from 0 to 1 that sum to 1 (apply a softmax to logits), or five NaN."
            )
        probabilities.flags.writeable = False
        return probabilities

    @property
    def _name(self) -> str:
        return f"the hypnogram of {self.recording}" if self.recording else "the hypnogram"

    @property
    def n_epochs(self) -> int:
        """Number of epochs."""
        return len(self.stages)

    @property
    def onsets_s(self) -> np.ndarray:
        """(n_epochs,) begin of each epoch in s after the first sample, or after epoch 0 where `offset_s` is None."""
        return (self.offset_s or 0.0) + np.arange(self.n_epochs) * self.epoch_seconds

    @property
    def confidence(self) -> np.ndarray:
        """(n_epochs,) the largest probability of each epoch, NaN where there are none."""
        if self.probabilities is None:
            return np.full(self.n_epochs, np.nan)
        return self.probabilities.max(axis=1)

    def __len__(self) -> int:
        return self.n_epochs

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, type(self)):
            return NotImplemented
        if (self.probabilities is None) != (other.probabilities is None):
            return False
        return (
            np.array_equal(self.stages, other.stages)
            and (self.probabilities is None or np.array_equal(self.probabilities, other.probabilities, equal_nan=True))
            and (self.start, self.epoch_seconds, self.offset_s, self.recording, self.channels, self.notes)
            == (other.start, other.epoch_seconds, other.offset_s, other.recording, other.channels, other.notes)
        )

    __hash__ = None

    def __repr__(self) -> str:
        counts = ", ".join(f"{stage} {count}" for stage in (*STAGES, UNSCORED) if (count := self._count(stage)))
        parts = [f"{self.n_epochs} epochs of {self.epoch_seconds:g} s", counts or "empty"]
        if self.recording:
            parts.insert(0, self.recording)
        if self.channels:
            parts.append(f"from {', '.join(self.channels)}")
        return f"<Hypnogram {'; '.join(parts)}>"

    def _count(self, *stages: str) -> int:
        return int(np.isin(self.stages, stages).sum())

    def statistics(self) -> dict[str, float]:
        """Compute the sleep statistics of the AASM manual for the whole hypnogram.

        Time in bed is the length of the hypnogram, so trim it to lights off and lights on first. An epoch that is
        `UNS` is neither sleep nor wake: it counts to the time in bed and, inside it, to the sleep period alone.

        Returns:
            Units stand in the keys. `time_in_bed_min`; `total_sleep_time_min` (TST); `sleep_efficiency_percent` (TST
            of time in bed); `sleep_onset_latency_min` (start to the first epoch of any sleep);
            `wake_after_sleep_onset_min` (wake from sleep onset to the end); `rem_latency_min` (sleep onset to the
            first R); `sleep_period_time_min` (sleep onset to the end of the last epoch of sleep); `<stage>_min` and
            `<stage>_percent` (of TST) for N1, N2, N3 and R; `wake_min`; `unscored_min`; `n_awakenings` (steps from
            sleep to W, the last one included); `n_stage_shifts` (steps to another stage), both between neighbouring
            scored epochs. What does not exist, such as the latency of a sleep that never came, is NaN.

        Source:
            Iber et al., The AASM Manual for the Scoring of Sleep and Associated Events (2007), section on reported
            parameters.
        """
        minutes = self.epoch_seconds / 60
        time_in_bed, n_sleep = self.n_epochs, self._count(*SLEEP_STAGES)
        asleep = np.flatnonzero(np.isin(self.stages, SLEEP_STAGES))
        in_rem = np.flatnonzero(self.stages == "R")
        onset = asleep[0] if n_sleep else np.nan
        transitions = self._transition_counts()
        statistics = {
            "time_in_bed_min": time_in_bed * minutes,
            "total_sleep_time_min": n_sleep * minutes,
            "sleep_efficiency_percent": 100 * n_sleep / time_in_bed if time_in_bed else np.nan,
            "sleep_onset_latency_min": onset * minutes,
            "wake_after_sleep_onset_min": (self.stages[onset:] == "W").sum() * minutes if n_sleep else np.nan,
            "rem_latency_min": (in_rem[0] - onset) * minutes if in_rem.size else np.nan,
            "sleep_period_time_min": (asleep[-1] + 1 - onset) * minutes if n_sleep else np.nan,
            "wake_min": self._count("W") * minutes,
            "unscored_min": self._count(UNSCORED) * minutes,
        }
        for stage in SLEEP_STAGES:
            statistics[f"{stage}_min"] = self._count(stage) * minutes
            statistics[f"{stage}_percent"] = 100 * self._count(stage) / n_sleep if n_sleep else np.nan
        statistics = {name: float(value) for name, value in statistics.items()}
        statistics["n_awakenings"] = int(transitions[1:, 0].sum())  # STAGES begins with W
        statistics["n_stage_shifts"] = int(transitions.sum() - np.trace(transitions))
        return statistics

    def _transition_counts(self) -> np.ndarray:
        counts = np.zeros((len(STAGES), len(STAGES)), dtype=np.int64)
        for before, after in pairwise(self.stages):
            if UNSCORED not in (before, after):
                counts[STAGES.index(before), STAGES.index(after)] += 1
        return counts

    def transitions(self):
        """Count the steps between neighbouring epochs; a pair with an `UNS` epoch counts nothing.

        Returns:
            pandas DataFrame (5, 5) of counts: from the stage of the row to the stage of the column.
        """
        pandas = _import_pandas()
        return pandas.DataFrame(
            self._transition_counts(),
            index=pandas.Index(STAGES, name="from"),
            columns=pandas.Index(STAGES, name="to"),
        )

    def to_frame(self):
        """Lay the hypnogram out as a table.

        Returns:
            pandas DataFrame with one row per epoch and the columns `FRAME_COLUMNS`; probabilities and confidence are
            NaN where there are none.
        """
        pandas = _import_pandas()
        probabilities = self.probabilities
        if probabilities is None:
            probabilities = np.full((self.n_epochs, len(STAGES)), np.nan)
        columns = [np.arange(self.n_epochs), self.onsets_s, self.stages.astype(object)]
        return pandas.DataFrame(dict(zip(FRAME_COLUMNS, [*columns, *probabilities.T, self.confidence])))

    @classmethod
    def from_frame(
        cls,
        frame,
        start: datetime | None = None,
        recording: str | None = None,
        channels: Sequence[str] = (),
        notes: Sequence[str] = (),
    ) -> "Hypnogram":
        """Make a hypnogram of a table such as `to_frame` returns; the length of an epoch follows from the onsets.

        Args:
            frame: pandas DataFrame with the columns `FRAME_COLUMNS`.
            start: clock time at which epoch 0 begins, or None.
            recording: id of the recording, or None.
            channels: names of the channels that the stages come from.
            notes: sentences about what was dropped, derived or guessed.

        Raises:
            HypnogramError: a column is missing, or the epochs are not contiguous and of one length.
            UnknownStageError: a stage is not in the vocabulary.
        """
        name = recording or "the hypnogram table"
        missing = [column for column in FRAME_COLUMNS if column not in frame.columns]
        if missing:
            raise HypnogramError(
                f"{name} has no column {', '.join(missing)}: expected {','.join(FRAME_COLUMNS)}, found "
                f"{','.join(map(str, frame.columns))}."
            )
        numbers = {}
        for column in ("epoch", "onset_s", *PROBABILITY_COLUMNS):
            try:
                numbers[column] = frame[column].to_numpy(dtype=np.float64)
            except (TypeError, ValueError) as error:
                raise HypnogramError(f"{name} has text in the column {column}: expected numbers ({error}).") from error
        epochs, onsets_s = numbers["epoch"], numbers["onset_s"]
        epoch_seconds = float(onsets_s[1] - onsets_s[0]) if len(frame) > 1 else EPOCH_SECONDS
        offset_s = float(onsets_s[0]) if len(frame) and np.isfinite(onsets_s[0]) else 0.0
        expected_onsets_s = offset_s + np.arange(len(frame)) * epoch_seconds
        # Millisecond tolerance: other programs round onsets. NaN compares as False, hence as a deviation.
        deviates = ~((epochs == np.arange(len(frame))) & (np.abs(onsets_s - expected_onsets_s) < 1e-3))
        if deviates.any():
            row = int(np.flatnonzero(deviates)[0])
            raise HypnogramError(
                f"{name} has epoch {epochs[row]:g} with onset {onsets_s[row]:g} s in row {row}: expected epoch {row} "
                f"with onset {expected_onsets_s[row]:g} s, since epochs are contiguous, counted from 0 and of one "
                f"length ({epoch_seconds:g} s in the first two rows)."
            )
        probabilities = np.stack([numbers[column] for column in PROBABILITY_COLUMNS], axis=1)
        return cls(
            stages=frame["stage"].to_numpy(dtype=object),
            probabilities=None if np.isnan(probabilities).all() else probabilities,
            start=start,
            epoch_seconds=epoch_seconds,
            recording=recording,
            channels=tuple(channels),
            notes=tuple(notes),
            offset_s=offset_s,
        )

    def to_csv(self, path: str | Path) -> None:
        """Write the table of `to_frame` as CSV, probabilities with six decimals; there is never half a file.

        Args:
            path: file to write; an existing one is replaced.
        """
        path = Path(path)
        frame = self.to_frame()
        shown = [*PROBABILITY_COLUMNS, "confidence"]
        frame[shown] = frame[shown].round(_CSV_DECIMALS)
        with written_whole(path) as partial:
            frame.to_csv(partial, index=False, lineterminator="\n")

    @classmethod
    def from_csv(cls, path: str | Path, recording: str | None = None, **known) -> "Hypnogram":
        """Read what `to_csv` wrote.

        Args:
            path: CSV file with the columns `FRAME_COLUMNS`.
            recording: id of the recording; None takes the file's name without "_hypnogram".
            **known: `start`, `channels` and `notes` as of `from_frame`, which no CSV holds.

        Raises:
            HypnogramError: the file is missing, is not such a table, or its epochs are not contiguous.
            UnknownStageError: a stage is not in the vocabulary.
        """
        pandas = _import_pandas()
        path = Path(path)
        if not path.is_file():
            raise HypnogramError(f"{path} is not a file: expected a hypnogram CSV; check the path.")
        try:
            frame = pandas.read_csv(path)
        except (pandas.errors.EmptyDataError, pandas.errors.ParserError, UnicodeDecodeError) as error:
            raise HypnogramError(
                f"{path} is not a hypnogram CSV: expected the columns {','.join(FRAME_COLUMNS)} ({error})."
            ) from error
        recording = recording or path.stem.removesuffix("_hypnogram")
        try:
            return cls.from_frame(frame, recording=recording, **known)
        except SleepViTError as error:
            raise type(error)(f"{path}: {error}") from error

    def agreement(self, other: "Hypnogram") -> dict[str, float]:
        """Measure the agreement with another scoring of the same epochs, over those that both have scored.

        Args:
            other: hypnogram of equal length; as the measures are symmetric, either may be the reference.

        Returns:
            `n_epochs` (scored in both), `accuracy`, Cohen's `kappa`, `macro_f1` (mean over the stages that occur in
            either), and `f1_W`, `f1_N1`, `f1_N2`, `f1_N3`, `f1_R`; NaN where a measure is undefined.

        Raises:
            HypnogramError: the two differ in the number, the length or the begin of their epochs.
        """
        mine, theirs = (
            f"{hypnogram.n_epochs} epochs of {hypnogram.epoch_seconds:g} s from {hypnogram.offset_s or 0:g} s on"
            for hypnogram in (self, other)
        )
        if mine != theirs:
            raise HypnogramError(
                f"{self._name} has {mine} and the other one has {theirs}: expected the same epochs; trim them to one "
                "span."
            )
        measures = staging_metrics(ids_from_stages(other.stages), ids_from_stages(self.stages))
        del measures["confusion_matrix"], measures["balanced_accuracy"]  # they would depend on which is the reference
        return measures

    def plot(self, ax=None):
        """Draw the hypnogram as clinicians do: W on top, then R, N1, N2, N3; R as a bar, `UNS` as grey gaps.

        Args:
            ax: matplotlib Axes to draw on; None makes a figure of its own (`ax.figure.savefig(path)`).

        Returns:
            matplotlib Axes; its x axis is clock time if the start is known, else hours.
        """
        ax = _new_axes() if ax is None else ax
        edges = self._time_axis(ax)
        level = {stage: height for height, stage in enumerate(PLOT_ORDER)} | {UNSCORED: np.nan}
        levels = np.array([level[stage] for stage in self.stages], dtype=float)
        ax.stairs(levels, edges, baseline=None, color="#30343B", linewidth=1.0, zorder=2.5)
        for first, last in self._runs("R"):
            ax.plot(
                edges[[first, last]],
                [level["R"]] * 2,
                color=STAGE_COLOURS["R"],
                linewidth=5,
                solid_capstyle="butt",
                zorder=3,
            )
        self._shade_unscored(ax, edges)
        ax.set_yticks(range(len(PLOT_ORDER)), PLOT_ORDER)
        ax.set_ylim(-0.5, len(PLOT_ORDER) - 0.5)
        ax.grid(axis="y", color="#E6E8EB", linewidth=0.6, zorder=0)
        ax.set_ylabel("Stage")
        return ax

    def plot_hypnodensity(self, ax=None):
        """Draw the probabilities of the stages, stacked from N3 at the bottom to W on top.

        Args:
            ax: matplotlib Axes to draw on; None makes a figure of its own.

        Returns:
            matplotlib Axes; its x axis is clock time if the start is known, else hours.

        Raises:
            HypnogramError: the hypnogram has no probabilities.

        Source:
            Stephansen et al., Neural network analysis of sleep stages enables efficient diagnosis of narcolepsy,
            Nature Communications 9:5229 (2018).
        """
        if self.probabilities is None:
            raise HypnogramError(f"{self._name} has no probabilities to draw: use plot, which needs the stages alone.")
        ax = _new_axes() if ax is None else ax
        edges = self._time_axis(ax)
        rows = np.nan_to_num(self.probabilities[:, [STAGES.index(stage) for stage in PLOT_ORDER]]).T
        tops = np.cumsum(np.vstack([np.zeros(self.n_epochs), rows]), axis=0)
        for stage, bottom, top in zip(PLOT_ORDER, tops[:-1], tops[1:]):
            # Antialiased neighbours leave hairlines of the background between them.
            ax.stairs(
                top, edges, baseline=bottom, fill=True, color=STAGE_COLOURS[stage], label=stage, antialiased=False
            )
        self._shade_unscored(ax, edges)
        ax.set_ylim(0, 1)
        ax.set_ylabel("Probability")
        handles, labels = ax.get_legend_handles_labels()
        ax.legend(
            handles[::-1], labels[::-1], loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, handlelength=1.0
        )
        return ax

    def _runs(self, stage: str) -> np.ndarray:
        """(n_runs, 2) first epoch and epoch after the last of every uninterrupted run of a stage."""
        inside = np.concatenate([[False], self.stages == stage, [False]])
        return np.flatnonzero(inside[1:] != inside[:-1]).reshape(-1, 2)

    def _shade_unscored(self, ax, edges: np.ndarray) -> None:
        for first, last in self._runs(UNSCORED):
            ax.axvspan(edges[first], edges[last], color=STAGE_COLOURS[UNSCORED], alpha=0.5, linewidth=0)

    def _time_axis(self, ax) -> np.ndarray:
        """Label the x axis and return the (n_epochs + 1,) edges of the epochs in its units."""
        if not self.n_epochs:
            raise HypnogramError(f"{self._name} has no epochs to draw: expected at least one.")
        edges_s = np.arange(self.n_epochs + 1) * self.epoch_seconds
        if self.start is None:
            edges = edges_s / 3600
            ax.set_xlabel("Time from start (h)")
        else:
            _, dates = _import_matplotlib()
            edges = dates.date2num(self.start) + edges_s / 86400
            ax.xaxis.set_major_locator(dates.AutoDateLocator(minticks=5, maxticks=14))
            ax.xaxis.set_major_formatter(dates.DateFormatter("%H:%M"))
            ax.set_xlabel("Clock time")
        ax.set_xlim(edges[0], edges[-1])
        ax.set_title(self.recording or "", loc="left", fontsize="medium")
        ax.set_title(", ".join(self.channels), loc="right", fontsize="small", color="#6A707A")
        ax.spines[["top", "right"]].set_visible(False)
        return edges


def _import_pandas():
    try:
        import pandas
    except ImportError as error:
        raise ImportError("tables of hypnograms need pandas: pip install pandas.") from error
    return pandas


def _import_matplotlib():
    try:
        from matplotlib import dates
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("pictures of hypnograms need matplotlib: pip install matplotlib.") from error
    return Figure, dates


def _new_axes():
    """Make Axes on a figure that pyplot does not know: no backend is chosen and nothing stays open."""
    figure_class, _ = _import_matplotlib()
    return figure_class(figsize=(11, 2.6), dpi=150, layout="constrained").subplots()

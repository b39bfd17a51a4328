"""SIMULATED hypnograms: bouts of stages whose order and lengths follow the scorings of real nights.

A semi-Markov chain: a bout's length is drawn from the lengths that bouts of its stage had in real nights, then the
next stage from the transitions seen there. Both depend on the third of the sleep period, transitions also on the time
since the last R, without which sleep would have no cycles.
"""

from itertools import groupby

import numpy as np

from modeling_sleepvit.stages import STAGES


N_THIRDS = 3
SINCE_R_EDGES = (10, 60, 140)
"""Epochs since the last R: it is broken off and may resume, over, to come, due. Sleep begins in the second class."""

_SHORTEST_GAP_BETWEEN_R_PERIODS = 30
_LONGEST_WAKE_WITHIN_A_NIGHT = 120
_WAKE_ON_A_SIDE = 60


def draw_stages(n_epochs: int, rng: np.random.Generator, statistics: dict) -> np.ndarray:
    """Draw the stages of a night that begins and ends with wake.

    Args:
        n_epochs: length of the night in epochs of 30 s, 1 at least.
        rng: source of randomness.
        statistics: "hypnogram" of `statistics.json`.

    Returns:
        (n_epochs,) strings of `STAGES`; one or two epochs are all wake.
    """
    # wake around sleep is as long a part of the night as in the real ones, which keep 30 min on either side
    lead, tail = np.maximum(1, np.round(n_epochs * statistics["wake_share_on_a_side"] * rng.uniform(0.6, 1.4, 2)))
    n_asleep = max(0, n_epochs - int(lead) - int(tail))
    stages: list[str] = []
    stage = rng.choice(STAGES, p=statistics["first_stage"])
    n_since_r = SINCE_R_EDGES[0]
    while len(stages) < n_asleep:
        third = third_of(len(stages), n_asleep)
        bouts = statistics["bouts"][third][stage]
        # choice over the distinct lengths, each as often as it occurred
        count = np.array(bouts["count"], dtype=float)
        if stage == "W":  # wake that reaches the end is the final wake, which is drawn already
            count[1:] *= np.array(bouts["epochs"][1:]) < n_asleep - len(stages)
        length = int(rng.choice(bouts["epochs"], p=count / count.sum()))
        stages += [stage] * length
        n_since_r = 0 if stage == "R" else n_since_r + length
        third = third_of(len(stages), n_asleep)
        rows = statistics["transitions"][third][since_r_class(n_since_r)]
        stage = rng.choice(STAGES, p=rows[STAGES.index(stage)])
    night = ["W"] * int(lead) + stages[:n_asleep]
    return np.array((night + ["W"] * n_epochs)[:n_epochs], dtype="<U3")


def hypnogram_statistics(nights: list[np.ndarray]) -> dict:
    """Count in real scorings what `draw_stages` needs.

    Args:
        nights: (n_epochs,) strings of `STAGES` for each night, of which `main_sleep` is used.

    Returns:
        `first_stage` (5,) probabilities of the stage at sleep onset; `wake_share_on_a_side` of the night;
        `transitions` (third, time since R, from, to) probabilities; `bouts` by third and stage, as the distinct
        lengths in `epochs` with the `count` of each; `nights`, mean and standard deviation of what `night_summary`
        gives.
    """
    nights = [main_sleep(night) for night in nights]
    counts = np.zeros((N_THIRDS, len(SINCE_R_EDGES) + 1, len(STAGES), len(STAGES)))
    lengths = [{stage: [] for stage in STAGES} for _ in range(N_THIRDS)]
    first = np.zeros(len(STAGES))
    for night in nights:
        asleep = np.flatnonzero(night != "W")
        sleep = night[asleep[0] : asleep[-1] + 1]
        first[STAGES.index(sleep[0])] += 1
        begin, n_since_r, before = 0, SINCE_R_EDGES[0], None
        for stage, run in groupby(sleep):
            if before is not None:
                place = third_of(begin, len(sleep)), since_r_class(n_since_r)
                counts[place][STAGES.index(before), STAGES.index(stage)] += 1
            length = len(list(run))
            lengths[third_of(begin, len(sleep))][stage].append(length)
            begin, before = begin + length, stage
            n_since_r = 0 if stage == "R" else n_since_r + length
    # a few steps of the same third lend support to what is rare in a cell, a few of all nights to what is rare there
    of_third = counts.sum(axis=1, keepdims=True) + _shares(counts.sum(axis=(0, 1)))
    transitions = _shares(counts + 3 * _shares(of_third))
    summaries = [night_summary(night) for night in nights]
    return {
        "first_stage": (first / first.sum()).round(4).tolist(),
        "wake_share_on_a_side": round(float(np.mean([_WAKE_ON_A_SIDE / len(night) for night in nights])), 4),
        "transitions": transitions.tolist(),
        "bouts": [
            {stage: _histogram(lengths[third][stage]) for stage in STAGES} for third in range(N_THIRDS)
        ],
        "nights": {
            name: {
                "mean": round(float(np.mean([summary[name] for summary in summaries])), 4),
                "sd": round(float(np.std([summary[name] for summary in summaries])), 4),
            }
            for name in summaries[0]
        },
    }  # fmt: skip


def main_sleep(stages: np.ndarray) -> np.ndarray:
    """Cut a scoring to its night: a doze in the evening, an hour or more of wake before the night, is none of it.

    Args:
        stages: (n_epochs,) strings of `STAGES`, with some sleep.

    Returns:
        the longest stretch of sleep without more than an hour of wake, with up to 30 min of wake on either side.
    """
    asleep = np.flatnonzero(stages != "W")
    stretches = np.split(asleep, np.flatnonzero(np.diff(asleep) > _LONGEST_WAKE_WITHIN_A_NIGHT + 1) + 1)
    longest = max(stretches, key=lambda stretch: stretch[-1] - stretch[0])
    return stages[max(0, longest[0] - _WAKE_ON_A_SIDE) : longest[-1] + 1 + _WAKE_ON_A_SIDE]


def night_summary(stages: np.ndarray) -> dict[str, float]:
    """Sum up a night in the figures by which simulated nights are compared with real ones.

    Args:
        stages: (n_epochs,) strings of the package's vocabulary; "UNS" counts to no stage.

    Returns:
        `share_<stage>` of all epochs, `shifts_per_hour` to another stage, `r_periods` (R after at least 15 min without
        it begins a new one), `r_latency_min` from sleep onset (the whole night where R never came) and
        `mean_bout_min` of sleep.
    """
    changes = stages[1:] != stages[:-1]
    in_r, asleep = np.flatnonzero(stages == "R"), np.flatnonzero(np.isin(stages, ("N1", "N2", "N3", "R")))
    first_r = in_r[0] if in_r.size else len(stages)
    onset = asleep[0] if asleep.size else 0
    n_bouts = sum(stage not in ("W", "UNS") for stage, _ in groupby(stages))
    return {
        **{f"share_{stage}": float((stages == stage).mean()) for stage in STAGES},
        "shifts_per_hour": float(changes.sum() / (len(stages) / 120)),
        "r_periods": float(in_r.size > 0) + float((np.diff(in_r) > _SHORTEST_GAP_BETWEEN_R_PERIODS).sum()),
        "r_latency_min": float((first_r - onset) / 2),
        "mean_bout_min": len(asleep) / 2 / max(1, n_bouts),
    }


def third_of(epoch: int, n_epochs: int) -> int:
    """Tell in which third of `n_epochs` an epoch lies: 0, 1 or 2."""
    return min(N_THIRDS - 1, N_THIRDS * epoch // max(1, n_epochs))


def since_r_class(n_epochs: int) -> int:
    """Tell which class of `SINCE_R_EDGES` a number of epochs without R falls into."""
    return int(np.searchsorted(SINCE_R_EDGES, n_epochs, side="right"))


def _shares(counts: np.ndarray) -> np.ndarray:
    """Divide every row by its sum, rounded so that the JSON stays small and the rows still sum to 1."""
    shares = (counts / counts.sum(axis=-1, keepdims=True)).round(4)
    largest = shares.argmax(axis=-1)[..., None]
    rest = 1 - shares.sum(axis=-1, keepdims=True)
    np.put_along_axis(shares, largest, np.take_along_axis(shares, largest, -1) + rest, -1)
    return shares.round(4)


def _histogram(lengths: list[int]) -> dict[str, list[int]]:
    epochs, count = np.unique(lengths, return_counts=True)
    return {"epochs": epochs.tolist(), "count": count.tolist()}

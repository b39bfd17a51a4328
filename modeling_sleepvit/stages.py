"""The vocabulary of sleep stages: names, ids, order, colours, and how older names map to it.

Stages are strings everywhere inside the package; integers exist only at the edge of the model.
"""

import re
from collections.abc import Iterable

import numpy as np

from .errors import UnknownStageError


STAGES = ("W", "N1", "N2", "N3", "R")
"""The five stages of the AASM manual in the order of the model's outputs."""

UNSCORED = "UNS"
"""The stage of an epoch that cannot be scored: artefact, movement, no signal, no scoring."""

IGNORED_ID = -100
"""The label id of `UNSCORED`: the loss and the metrics of PyTorch and Transformers ignore it."""

SLEEP_STAGES = ("N1", "N2", "N3", "R")

STAGE_COLOURS = {
    "W": "#E3A72F",
    "N1": "#8CC6D7",
    "N2": "#4A86C5",
    "N3": "#27407E",
    "R": "#C2453D",
    UNSCORED: "#B9BDC4",
}
"""One colour per stage, told apart also in grey: wake amber, sleep blue and darker with depth, REM red."""

PLOT_ORDER = ("N3", "N2", "N1", "R", "W")
"""Stages from the bottom to the top of a clinical hypnogram."""

# Rechtschaffen & Kales (1968) names and common spellings; S3 and S4 are both N3 since the AASM manual of 2007.
_ALIASES = {
    "W": ("W", "WAKE", "AWAKE", "WAKEFULNESS", "WAKESTATE", "WK", "S0", "0", "ÉVEIL"),
    "N1": ("N1", "S1", "1", "NREM1", "NREM 1"),
    "N2": ("N2", "S2", "2", "NREM2", "NREM 2"),
    "N3": ("N3", "N4", "S3", "S4", "3", "4", "NREM3", "NREM4", "NREM 3", "NREM 4", "SWS"),
    "R": ("R", "REM", "RAPIDEYEMOVEMENT", "5"),
    UNSCORED: ("UNS", "?", "M", "MT", "MOVEMENT", "MOVEMENT TIME", "UNSCORED", "UNKNOWN", "UNDEFINED", "ART",
               "ARTEFACT", "ARTIFACT", "-1"),
}  # fmt: skip
_STAGE_OF_NAME = {alias: stage for stage, aliases in _ALIASES.items() for alias in aliases}

# "Sleep stage 2", "Stage 2 sleep" and "SLEEP-S2" (RemLogic; Noxturnal: "sleep-n2") say no more than "2"; neither do
# the concepts of the NSRR, "SDO:NonRapidEyeMovementSleep-N2" and "SRO:Stage2Sleep".
_AROUND_NAMES = re.compile(r"^((SLEEP )?STAGE ?|SLEEP-|SDO:(NONRAPIDEYEMOVEMENTSLEEP-)?|SRO:(STAGE)?)| ?SLEEP$")


def stage_from_name(name: str) -> str:
    """Translate one stage name, R&K or AASM, to the package's vocabulary.

    Args:
        name: for example "W", "Sleep stage 4", "S2", "REM", "N3", "sleep-n2" or "Movement time"; case and outer blanks
            are free, and "_" is a blank. Digits follow Rechtschaffen & Kales: 0 wake, 1-4 the NREM stages, 5 REM.

    Returns:
        One of "W", "N1", "N2", "N3", "R", "UNS".

    Raises:
        UnknownStageError: the name is in no vocabulary.
    """
    stage = _STAGE_OF_NAME.get(_AROUND_NAMES.sub("", " ".join(str(name).replace("_", " ").upper().split())))
    if stage is None:
        raise UnknownStageError(
            f"unknown sleep stage {name!r}: expected one of {', '.join(STAGES)}, a name of Rechtschaffen & Kales such "
            f'as S2, "Sleep stage 4" or REM, or {UNSCORED} for what is not scored.'
        )
    return stage


def ids_from_stages(stages: Iterable[str]) -> np.ndarray:
    """Turn stages into label ids for the model.

    Args:
        stages: strings of the package's vocabulary.

    Returns:
        int64 array: 0..4 for W, N1, N2, N3, R and -100 for UNS.

    Raises:
        UnknownStageError: a string is not in the vocabulary.
    """
    id_of_stage = {stage: index for index, stage in enumerate(STAGES)} | {UNSCORED: IGNORED_ID}
    ids = []
    for epoch, stage in enumerate(stages):
        if stage not in id_of_stage:
            raise UnknownStageError(
                f"epoch {epoch} has the stage {stage!r}: expected one of {', '.join((*STAGES, UNSCORED))}."
            )
        ids.append(id_of_stage[stage])
    return np.array(ids, dtype=np.int64)


def stages_from_ids(ids: Iterable[int]) -> np.ndarray:
    """Turn label ids of the model into stages.

    Args:
        ids: integers 0..4; anything negative stands for "cannot be scored".

    Returns:
        array of strings of the package's vocabulary.

    Raises:
        UnknownStageError: an id is above 4.
    """
    ids = np.asarray(list(ids), dtype=np.int64)
    if ids.size and ids.max() >= len(STAGES):
        raise UnknownStageError(
            f"epoch {int(ids.argmax())} has the stage id {int(ids.max())}: expected 0 to 4 for {', '.join(STAGES)}."
        )
    return np.array([STAGES[index] if index >= 0 else UNSCORED for index in ids], dtype="<U3")

"""The names and numbers in a scoring -> stages of the package, with other events left out."""

import re
from collections.abc import Iterable, Sequence

from modeling_sleepvit.errors import HypnogramError, SettingError, UnknownStageError
from modeling_sleepvit.stages import UNSCORED, stage_from_name

from .entries import ScoringEntry


CODES = {
    "rk": {0: "W", 1: "N1", 2: "N2", 3: "N3", 4: "N3", 5: "R", 6: UNSCORED, 9: UNSCORED, -1: UNSCORED},
    "aasm": {0: "W", 1: "N1", 2: "N2", 3: "N3", 4: "R", 8: UNSCORED, 9: UNSCORED, -1: UNSCORED, -2: UNSCORED},
}
"""What a number means. "rk" is written by Compumedics and the NSRR (6 movement, 9 unscored), "aasm" by most Python
projects (`_meaning_of_codes` adds its 5); 8 (recorder disconnected) and -2 (artefact) are those of the Bitbrain Open
Access Sleep dataset."""

_MISSING = ("", "n/a", "nan", "none", "null")
_NUMBER = re.compile(r"[+-]?\d{1,9}(\.0*)?", re.ASCII)
# Programs of Nox Medical put how an event came about behind its name, EDF+ the channel that it belongs to.
_BEHIND_NAMES = re.compile(r"\s*,\s*(manual|automatic|auto)$|@@.*$", re.IGNORECASE | re.DOTALL)
_LOOKS_LIKE_STAGE = re.compile(
    r"sleep[ _-]*stage\b.*|stage[ _:-]*\S{1,3}|sleep-[ns]\d+|n(rem)?[ _-]?\d{1,2}", re.IGNORECASE | re.DOTALL
)
# Beside other events these tell of limbs and electrodes rather than of an epoch; a gap in the stages is UNS anyway.
_ALSO_EVENTS = ("m", "movement", "art", "artefact", "artifact", "unknown")
_SHOWN = 8


def is_missing(text: str) -> bool:
    """Tell whether a field of a table stands for "no value", as "n/a" does in BIDS.

    Args:
        text: the field.
    """
    return text.strip().lower() in _MISSING


def stages_of_entries(
    entries: Sequence[ScoringEntry], is_event_list: bool, numbers: str | None
) -> tuple[list[tuple[ScoringEntry, str]], list[str]]:
    """Give every entry that is a stage its stage.

    Args:
        entries: in the order of the file.
        is_event_list: leave out entries that are no stages, instead of taking them for misspelt ones; numbers then
            count only where no stage is named.
        numbers: a key of `CODES`, or None to find out.

    Returns:
        (entry, stage) pairs in the order of the file, and notes on what was left out. An entry without a name is
        `UNS` where entries are epochs in order, and left out where they have onsets.

    Raises:
        UnknownStageError: an entry should be a stage or looks like one, and is in no vocabulary.
        HypnogramError: there is no stage, or the numbers could be read in two ways: 4 is among them, `numbers` is None
            and REM is not named.
    """
    names = [_BEHIND_NAMES.sub("", entry.name.strip()) for entry in entries]
    stages = [_stage_or_none(name) for name in names]
    codes = [int(float(name)) if _NUMBER.fullmatch(name) else None for name in names]
    if is_event_list and any(stages):
        codes = [None] * len(names)
    meaning = _meaning_of_codes(set(codes) - {None}, numbers, has_named_rem="R" in stages)
    pairs, others = [], []
    for entry, name, stage, code in zip(entries, names, stages, codes):
        if is_missing(name) and entry.onset_s is None:
            stage = UNSCORED
        elif code is not None:
            stage = meaning.get(code)
        if stage is not None:
            pairs.append((entry, stage))
        elif is_missing(name) or (code is None and is_event_list and not _LOOKS_LIKE_STAGE.fullmatch(name)):
            others.append(entry.name.strip())
        else:
            raise _unknown_stage(entry, name, code, meaning)
    events = [entry for entry, _ in pairs if entry.name.strip().lower() in _ALSO_EVENTS]
    if is_event_list and others and len(events) < len(pairs):
        pairs = [(entry, stage) for entry, stage in pairs if entry.name.strip().lower() not in _ALSO_EVENTS]
        others += [entry.name.strip() for entry in events]
    named = [name for name in others if not is_missing(name)]
    if not pairs:
        found = f"found only {listed(named)}" if named else "found no name at all" if others else "found no entry"
        raise HypnogramError(
            f'there is no stage in it: expected names such as "Sleep stage 2", N2 or REM, {found}; give the file that '
            "holds the scoring."
        )
    return pairs, [f"{len(named)} events that are no stages were left out: {listed(named)}."] if named else []


def listed(texts: Iterable[object]) -> str:
    """Join different texts for a message, the long ones cut and not too many of them.

    Args:
        texts: anything that can be printed.

    Returns:
        for example '"Lights off", "Arousal" and 12 more'.
    """
    different = list(dict.fromkeys(map(str, texts)))
    shown = ", ".join(f'"{cut(text)}"' for text in different[:_SHOWN])
    return f"{shown} and {len(different) - _SHOWN} more" if len(different) > _SHOWN else shown


def cut(text: str) -> str:
    """Shorten a text of the user's file to what a message can hold, on one line.

    Args:
        text: of any length.
    """
    text = " ".join("".join(sign if sign.isprintable() else " " for sign in text[:1000]).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _stage_or_none(name: str) -> str | None:
    try:
        return None if _NUMBER.fullmatch(name) else stage_from_name(name)
    except UnknownStageError:
        return None


def _meaning_of_codes(codes: set[int], numbers: str | None, has_named_rem: bool) -> dict[int, str]:
    """Choose what the numbers of a file stand for.

    A 4 is stage 4 or REM, and a 5 beside it settles nothing: REM, or the "unknown" of DeepSleepNet and its kin. A 5
    without a 4 is REM either way, also under "aasm": REM keeps its old number where stage 4 is simply left out.
    """
    if numbers not in (None, *CODES):
        raise SettingError(f'numbers is {numbers!r}: expected "rk", "aasm" or None.')
    if numbers == "aasm":
        return CODES["aasm"] | {5: UNSCORED if 4 in codes else "R"}
    if numbers is not None:
        return CODES[numbers]
    if 4 in codes and not has_named_rem:
        raise HypnogramError(
            "its numbers could be read in two ways, since 4 occurs: 4 is stage 4 (N3) after Rechtschaffen & Kales and "
            'REM in most AASM scorings; pass numbers="rk" or numbers="aasm" (on the command line --numbers rk or '
            "--numbers aasm)."
        )
    return CODES["rk"] if 4 in codes or 5 in codes else CODES["aasm"] | CODES["rk"]


def _unknown_stage(entry: ScoringEntry, name: str, code: int | None, meaning: dict[int, str]) -> UnknownStageError:
    if code is not None:
        expected = ", ".join(map(str, sorted(meaning)))
        return UnknownStageError(f"{entry.where} has the stage number {code}: expected one of {expected}.")
    try:
        stage_from_name(cut(name))
    except UnknownStageError as error:
        return UnknownStageError(f"{entry.where}: {error}")
    return UnknownStageError(f"{entry.where}: {cut(name)!r} is no sleep stage.")

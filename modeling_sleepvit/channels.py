"""Which channel: one spelling for the many names of EEG channels, and the choice among those of a recording."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from .errors import ChannelError


PREFERRED_CHANNELS = (
    # The montage of the embedded checkpoint, then the derivations that the AASM manual recommends or accepts, front to
    # back, then the same electrodes against whatever reference the amplifier had.
    "Fpz-Cz", "F4-M1", "F3-M2", "Fz-M1", "Fz-M2", "Fz-Cz", "C4-M1", "C3-M2", "Cz-M1", "Cz-M2", "Cz-Oz", "Pz-Oz",
    "O2-M1", "O1-M2", "Oz-M1", "Oz-M2", "Fp2-M1", "Fp1-M2",
    "Fpz", "F4", "F3", "Fz", "C4", "C3", "Cz", "Pz", "O2", "O1", "Oz", "Fp2", "Fp1",
)  # fmt: skip
"""The order in which a channel is looked for when none is named."""

# Labels that stand for a derivation without naming it: SHHS and the NSRR cohorts that follow it.
_COHORT_LABELS = {"EEG": "C4-M1", "EEG(SEC)": "C3-M2", "EEG (SEC)": "C3-M2", "EEG SEC": "C3-M2", "EEGSEC": "C3-M2",
                  "EEG2": "C3-M2", "EEG 2": "C3-M2"}  # fmt: skip
# Older names of the 10-20 system, in capitals.
_OLDER_ELECTRODES = {"A1": "M1", "A2": "M2", "T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}
# What stands in the place of a reference without naming one electrode: common reference, linked ears, average.
_COMMON_REFERENCE = r"REF|C?LE|AVG?|AVE|CAR|[AM]1\+?[AM]2|[AM]12"
_ELECTRODE = r"(?:FP|AF|FC|FT|CP|TP|PO|[FCTPOAMI])(?:Z|\d{1,2})"
_EEG_LABEL = re.compile(rf"({_ELECTRODE})(?:[-/:_ ]+(?:{_COMMON_REFERENCE})|[-/:_ ]*({_ELECTRODE}))?")
_NOT_EEG_WORDS = ("EOG", "EMG", "ECG", "EKG", "IMP", "LOC", "ROC", "CHIN", "TRIG", "STATUS")

_LEFT_EYE = r"E1|LOC|L|LEFT|1"
_RIGHT_EYE = r"E2|ROC|R|RIGHT|2"
_LOWEST_EOG_RATE_HZ = 50

_UV_PER_UNIT = {"nv": 1e-3, "uv": 1.0, "µv": 1.0, "μv": 1.0, "microv": 1.0, "mv": 1e3, "v": 1e6, "volt": 1e6}
_MAX_NAMES_LISTED = 30
_LOWEST_EEG_RATE_HZ = 64


@dataclass(frozen=True)
class Channel:
    """What a file says about one of its channels."""

    label: str
    unit: str
    sampling_rate: float

    @property
    def can_be_voltage(self) -> bool:
        """Whether the unit is a voltage or is not stated."""
        return not self.unit or uv_per_unit(self.unit) is not None


@dataclass(frozen=True)
class Source:
    """Where a channel comes from: a position in the file, less another one where it is re-referenced."""

    name: str
    index: int
    minus: int | None = None
    notes: tuple[str, ...] = ()


def canonical_channel(label: str) -> str | None:
    """Translate the label of an EEG channel to one spelling, so that equal derivations compare equal.

    "EEG C4-A1", "C4A1", "c4-m1" and the "EEG" of SHHS all become "C4-M1"; "EEG T3-REF" becomes "T7".

    Args:
        label: label of a channel, in any case.

    Returns:
        "ACTIVE-REFERENCE" in capitals, "ACTIVE" where no reference electrode is named, None where the label names no
        electrode of the 10-20 or 10-10 system.
    """
    label = " ".join(label.upper().split())
    if label in _COHORT_LABELS:
        return _COHORT_LABELS[label]
    match = _EEG_LABEL.fullmatch(re.sub(r"^EEG[-/:_ ]*", "", label))
    if match is None:
        return None
    return "-".join(_OLDER_ELECTRODES.get(electrode, electrode) for electrode in match.groups() if electrode)


def uv_per_unit(unit: str) -> float | None:
    """Return how many uV one of the unit is, or None if it is no unit of voltage."""
    # The micro sign comes in two code points, in Shift JIS, and broken; whatever precedes a V outside ASCII is one.
    return _UV_PER_UNIT.get(re.sub(r"^[^\x00-\x7f]+(?=V$)", "u", unit.strip()).lower())


def listed(names: Sequence[str]) -> str:
    """Join names for a message, at most the first 30."""
    more = len(names) - _MAX_NAMES_LISTED
    return ", ".join(names[:_MAX_NAMES_LISTED]) + (f" and {more} more" if more > 0 else "")


def eye_of(label: str) -> str | None:
    """Tell which eye an EOG channel stands at.

    "E1-M2", "EOG(L)", "LOC-A2" and "EOG left" are "left", "EOG horizontal" is "both".

    Args:
        label: label of a channel, in any case.

    Returns:
        "left", "right", "both" for a label that says EOG alone, None where it says nothing of an eye.
    """
    letters = re.sub(r"[^A-Z0-9]", "", label.upper())
    place = letters.replace("EOG", "")
    says_eog = place != letters
    for eye, names in (("left", _LEFT_EYE), ("right", _RIGHT_EYE)):
        match = re.fullmatch(rf"({names})(?:[AM][12]|REF)?", place)
        if match and (says_eog or match[1] in ("E1", "E2", "LOC", "ROC")):
            return eye
    return "both" if says_eog else None


def choose_channels(
    channels: Sequence[Channel], names: str | Sequence[str] | None, where: str, n_eog: int = 0
) -> list[Source]:
    """Decide which channels to read.

    Args:
        channels: what the recording holds.
        names: one name, several, or None for the best EEG channel, or for the best EOG channels.
        where: the recording's name in messages.
        n_eog: how many EOG channels are wanted; 0 stands for EEG.

    Returns:
        One source per wanted channel, all of one sampling rate.

    Raises:
        ChannelError: a name fits no channel, nothing is EEG or EOG by its label, the rates differ, or another number
            of EOG channels is named than wanted.
    """
    names = [names] if isinstance(names, str) else names
    if names is not None:
        sources = [_named(channels, name, where) for name in names]
    else:
        sources = _preferred_eog(channels, n_eog, where) if n_eog else [_preferred(channels, where)]
    if n_eog and len(sources) != n_eog:
        raise ChannelError(
            f"{where}: the model reads {n_eog} EOG channels, found {len(sources)} names; name {n_eog} of its channels."
        )
    if not sources:
        raise ChannelError(
            f"{where}: no channel was asked for; name at least one, or leave the choice to the package."
        )
    rates = [channels[source.index].sampling_rate for source in sources]
    if len(set(rates)) > 1:
        found = ", ".join(f"{source.name} {rate:g} Hz" for source, rate in zip(sources, rates))
        raise ChannelError(
            f"{where}: the channels asked for have different sampling rates ({found}), expected one rate; name "
            "channels of one rate, or read them one by one."
        )
    return sources


def _named(channels: Sequence[Channel], name: str, where: str) -> Source:
    labels = [channel.label for channel in channels]
    for spelling in (lambda text: text, lambda text: text.strip().lower()):
        matches = [index for index, label in enumerate(labels) if spelling(label) == spelling(name)]
        if matches:
            note = f'{len(matches)} channels are labelled "{labels[matches[0]]}": the first of them was read.'
            return Source(labels[matches[0]], matches[0], notes=(note,) if len(matches) > 1 else ())
    source = _by_electrodes(channels, name, where)
    if source is None:
        label_of = {label.lower(): label for label in labels}
        near = [label_of[match] for match in get_close_matches(name.lower(), label_of, n=3)]
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise ChannelError(f'{where} has no channel "{name}": {hint}name one of its channels: {listed(labels)}.')
    return source


def _by_electrodes(channels: Sequence[Channel], name: str, where: str) -> Source | None:
    """Find a derivation under another spelling, or compute it where both of its electrodes were recorded."""
    derivation = canonical_channel(name)
    if derivation is None:
        return None
    # Impedances and oximeters carry labels such as "C4" and "O2": an alias never leads to one.
    recorded = {}
    for index, channel in enumerate(channels):
        if channel.can_be_voltage:
            recorded.setdefault(canonical_channel(channel.label), index)
    if derivation in recorded:
        label = channels[recorded[derivation]].label
        note = f'{name} was read from the channel labelled "{label}".' if label != name else f"{name} was read."
        return Source(label, recorded[derivation], notes=(note,))
    active, _, reference = derivation.partition("-")
    if active not in recorded or reference not in recorded:
        return None
    plus, minus = recorded[active], recorded[reference]
    if channels[plus].sampling_rate != channels[minus].sampling_rate:
        raise ChannelError(
            f'{where}: {name} is "{channels[plus].label}" minus "{channels[minus].label}", expected equal sampling '
            f"rates, found {channels[plus].sampling_rate:g} and {channels[minus].sampling_rate:g} Hz; name another "
            "channel."
        )
    note = f'{name} was computed as "{channels[plus].label}" minus "{channels[minus].label}".'
    return Source(name, plus, minus, notes=(note,))


def _preferred(channels: Sequence[Channel], where: str) -> Source:
    """Choose for a user who named nothing: among the channels fast enough for EEG, if there are any."""
    is_fast = [channel.sampling_rate >= _LOWEST_EEG_RATE_HZ for channel in channels]
    if any(fast and _eeg_rank(channel) is not None for fast, channel in zip(is_fast, channels)):
        # slow ones lose their label, so that the others keep the positions they have in the file
        channels = [channel if fast else replace(channel, label="") for fast, channel in zip(is_fast, channels)]
    return _first_preferred(channels, where)


def _first_preferred(channels: Sequence[Channel], where: str) -> Source:
    for name in PREFERRED_CHANNELS:
        try:
            source = _by_electrodes(channels, name, where)
        except ChannelError:  # electrodes of different rates: not an error as long as nobody asked for them
            continue
        if source is not None:
            return replace(source, notes=(f"No channel was named: {source.notes[0]}",))
    # Then any derivation, any electrode, and any label that says EEG, each in the order of the file.
    ranked = sorted((rank, i) for i, channel in enumerate(channels) if (rank := _eeg_rank(channel)) is not None)
    if not ranked:
        raise ChannelError(
            f"{where} has no channel that is EEG by its label: name the channel to read, one of "
            f"{listed([channel.label for channel in channels])}."
        )
    _, index = ranked[0]
    label = channels[index].label
    return Source(label, index, notes=(f'No channel was named: "{label}" was read, the first with an EEG label.',))


def _preferred_eog(channels: Sequence[Channel], n_eog: int, where: str) -> list[Source]:
    """Choose EOG channels: both eyes for two, else what sees both first; each in the order of the file."""
    indices_of_eye = {"left": [], "right": [], "both": []}
    for index, channel in enumerate(channels):
        eye = eye_of(channel.label)
        if eye and channel.can_be_voltage and channel.sampling_rate >= _LOWEST_EOG_RATE_HZ:
            indices_of_eye[eye].append(index)
    left, right, both = indices_of_eye.values()
    chosen = [left[0], right[0]] if n_eog == 2 and left and right else [*both, *left, *right][:n_eog]
    if len(chosen) < n_eog:
        raise ChannelError(
            f"{where}: expected {n_eog} channels that are EOG by their labels, found {len(chosen)}: name those to "
            f"read, {n_eog} of {listed([channel.label for channel in channels])}."
        )
    labels = [channels[index].label for index in chosen]
    note = f"No EOG channel was named: {', '.join(labels)} {'was' if n_eog == 1 else 'were'} read."
    return [Source(label, index, notes=(note,) if index == chosen[0] else ()) for label, index in zip(labels, chosen)]


def _eeg_rank(channel: Channel) -> int | None:
    """0 for a derivation, 1 for an electrode, 2 for a label that says EEG, None for whatever is not EEG."""
    label, derivation = channel.label.upper(), canonical_channel(channel.label)
    if not channel.can_be_voltage or any(word in label for word in _NOT_EEG_WORDS):
        return None
    if derivation:
        return None if derivation.startswith("M") else int("-" not in derivation)
    return 2 if "EEG" in label else None

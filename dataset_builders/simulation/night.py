"""A SIMULATED night: signals of several channels and their scoring, for demos, tests and benchmarks without data.

Stages and background follow statistics of real nights (`statistics.json`); waves, artefacts and all
channels but Fpz-Cz are textbook assumptions. How well a model stages such a night says nothing about real sleep.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import groupby
from numbers import Integral, Real
from pathlib import Path

import edfio
import numpy as np

from modeling_sleepvit.errors import SettingError
from modeling_sleepvit.feature_extraction_sleepvit import LOWEST_SAMPLING_RATE
from modeling_sleepvit.hypnogram import Hypnogram
from modeling_sleepvit.recordings import Recording
from modeling_sleepvit.stages import UNSCORED
from modeling_sleepvit.whole_files import written_whole

from .channels import DEFAULT_CHANNELS, EMG_TONE_UV, FRONTAL, Site, site_of
from .hypnograms import draw_stages
from .signals import (
    EPOCH_SECONDS,
    draw_night_offsets,
    draw_spectrum,
    log_band_power,
    shaped_noise,
)
from .waves import arousals, draw_waves, muscle_noise


START = datetime(2000, 1, 1, 23, 0)
"""Clock time at which every simulated night begins."""

LONGEST_HOURS = 100
HIGHEST_SAMPLING_RATE = 2000

SCORING_NAMES = {
    "W": "Sleep stage W",
    "N1": "Sleep stage 1",
    "N2": "Sleep stage 2",
    "N3": "Sleep stage 3",
    "R": "Sleep stage R",
    UNSCORED: "Sleep stage ?",
}
"""How Sleep-EDF spells the stages."""

_POP_SECONDS = 3.0
_FLAT_EPOCHS = 2
_FEWEST_EPOCHS_WITH_FLAT = 20
_BACKGROUNDS = np.linspace(0.3, 1, 29)
"""What waves may leave of the background: there is always some, however much of the mean power is theirs."""


@dataclass(frozen=True)
class Artefact:
    """Something that is wrong with the signal on purpose.

    Args:
        kind: "electrode pop" or "flat stretch".
        onset_s: begin in s after the first sample.
        duration_s: length in s.
        channels: names of the channels that show it.
    """

    kind: str
    onset_s: float
    duration_s: float
    channels: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class SimulatedNight:
    """A SIMULATED night.

    Args:
        signals: (samples,) float32 in uV for each channel, by its name.
        sampling_rate: Hz, the same for all channels.
        hypnogram: the true stages; "UNS" where all channels are flat for the whole epoch.
        artefacts: what is wrong with the signals on purpose.
        seed: of the random numbers.
    """

    signals: dict[str, np.ndarray]
    sampling_rate: int
    hypnogram: Hypnogram
    artefacts: tuple[Artefact, ...]
    seed: int

    def recording(self) -> Recording:
        """All channels as a recording whose id, subject and notes say that it is simulated."""
        return Recording(
            np.stack(list(self.signals.values())),
            self.sampling_rate,
            tuple(self.signals),
            start=START,
            id="SIMULATED_night",
            subject="SIMULATED",
            notes=self.hypnogram.notes,
        )


def simulate_night(
    hours: float = 8.0,
    seed: int = 0,
    sampling_rate: int = 100,
    channels: Iterable[str] = DEFAULT_CHANNELS,
    gains: Mapping[str, float] | None = None,
) -> SimulatedNight:
    """Simulate a night; the same arguments give the same night.

    Args:
        hours: length in h, rounded to whole epochs of 30 s.
        seed: of the random numbers, 0 or more.
        sampling_rate: Hz, a whole number from 64 up.
        channels: names of EEG derivations of the 10-20 system, EOG and EMG channels.
        gains: factor by which a channel's amplifier is off, by its name; 1 where it is not named.

    Returns:
        the night. It begins and ends with wake; of 10 min or more, its middle is flat for a good minute.

    Raises:
        SettingError: an argument is out of its range, or a name stands for no such channel.
    """
    n_epochs, sampling_rate = _checked_epochs(hours), _checked_rate(sampling_rate)
    if not isinstance(seed, Integral) or seed < 0:
        raise SettingError(f"seed is {seed!r}: expected a whole number, 0 or more; choose another one.")
    channels = list(channels)
    sites = {channel: site_of(channel) for channel in channels}
    if not channels or len(sites) < len(channels):
        raise SettingError(f"channels are {', '.join(channels) or 'none'}: expected one name or several, each once.")
    gains = dict(gains or {})
    if unknown := sorted(set(gains) - set(channels)):
        raise SettingError(f"gains name {', '.join(unknown)}: expected channels among {', '.join(channels)}.")

    statistics = simulation_statistics()
    # a generator for each part: another channel or rate leaves the stages of a seed as they are
    of_stages, of_signals, of_artefacts = np.random.default_rng(seed).spawn(3)
    stages = draw_stages(n_epochs, of_stages, statistics["hypnogram"])
    signals = _signals(stages, sampling_rate, sites, of_signals, statistics["spectrum"])
    stages, artefacts = _spoil(signals, stages, sampling_rate, of_artefacts)
    for channel, gain in gains.items():
        signals[channel] *= np.float32(gain)
    hypnogram = Hypnogram(
        stages,
        start=START,
        recording="SIMULATED_night",
        notes=(f"SIMULATED night, seed {seed}: no person slept it.",),
    )
    return SimulatedNight(signals, sampling_rate, hypnogram, artefacts, int(seed))


def write_simulated_night(path: str | Path, night: SimulatedNight) -> tuple[Path, Path]:
    """Write a night as a cohort would hold it: an EDF+ file of signals and, beside it, one of scorings alone.

    Args:
        path: file for the signals, with the suffix .edf, in a folder that is made if need be; the scoring gets
            `<stem>-Hypnogram.edf`. Existing files are replaced.
        night: what `simulate_night` gave.

    Returns:
        the paths of the two files.

    Raises:
        SettingError: the suffix is another one; nothing is written then.
    """
    path = checked_output(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    scoring_path = path.with_name(f"{path.stem}-Hypnogram.edf")
    header = {
        "patient": edfio.Patient(code="SIMULATED", name="SIMULATED"),
        "recording": edfio.Recording(
            startdate=START.date(),
            hospital_administration_code="SIMULATED",
            equipment_code="SleepViT_simulator",
            additional=[f"seed_{night.seed}"],
        ),
        "starttime": START.time(),
    }
    remarks = [edfio.EdfAnnotation(0.0, None, night.hypnogram.notes[0])]
    for artefact in night.artefacts:
        remarks.append(edfio.EdfAnnotation(artefact.onset_s, artefact.duration_s, f"SIMULATED {artefact.kind}"))
    channels = [_edf_signal(name, samples, night.sampling_rate) for name, samples in night.signals.items()]
    scoring = edfio.Edf([], annotations=_scored_bouts(night.hypnogram), **header)
    recording = edfio.Edf(channels, annotations=remarks, data_record_duration=1, **header)
    with written_whole(path) as partial, written_whole(scoring_path) as partial_scoring:  # both or neither
        recording.write(partial)
        scoring.write(partial_scoring)
    return path, scoring_path


def checked_output(path: str | Path) -> Path:
    """Refuse a place where no simulated night can be written.

    Args:
        path: file for the signals.

    Returns:
        the path.

    Raises:
        SettingError: the suffix is not .edf.
    """
    path = Path(path)
    if path.suffix.lower() != ".edf":
        raise SettingError(f'{path}: expected a file with the suffix .edf, found "{path.suffix}"; name it anew.')
    return path


@cache
def simulation_statistics() -> dict:
    """Load the committed statistics of real nights; see `benchmarks/simulation_statistics.py`."""
    return json.loads(Path(__file__).with_name("statistics.json").read_text(encoding="utf-8"))


def _checked_epochs(hours: float) -> int:
    is_number = isinstance(hours, Real) and not isinstance(hours, bool)
    if not is_number or not 0 < hours <= LONGEST_HOURS or round(hours * 3600 / EPOCH_SECONDS) < 1:
        raise SettingError(
            f"hours is {hours!r}: expected one epoch of {EPOCH_SECONDS} s at least and {LONGEST_HOURS} h at most; "
            "choose another length."
        )
    return round(hours * 3600 / EPOCH_SECONDS)


def _checked_rate(sampling_rate: float) -> int:
    is_number = isinstance(sampling_rate, Real) and not isinstance(sampling_rate, bool)
    if not is_number or not LOWEST_SAMPLING_RATE <= sampling_rate <= HIGHEST_SAMPLING_RATE or sampling_rate % 1:
        raise SettingError(
            f"sampling rate is {sampling_rate!r}: expected a whole number of Hz from {LOWEST_SAMPLING_RATE:g} to "
            f"{HIGHEST_SAMPLING_RATE}; choose another one."
        )
    return int(sampling_rate)


def _signals(
    stages: np.ndarray, sampling_rate: int, sites: dict[str, Site], rng: np.random.Generator, statistics: dict
) -> dict[str, np.ndarray]:
    """Make the signals of a night without artefacts, (samples,) float32 in uV for each channel."""
    n_samples = len(stages) * EPOCH_SECONDS * sampling_rate
    offsets = draw_night_offsets(rng, statistics)
    level = np.clip(np.mean(list(offsets.values())), -0.4, 0.4)
    # who has a large background has large waves, too; amplitude goes with the root of power
    waves = draw_waves(stages, sampling_rate, rng, gain=float(10 ** (level / 2)))
    muscle = muscle_noise(n_samples, sampling_rate, rng)
    waves["muscle"] = (waves["muscle"] + arousals(stages, sampling_rate, rng)) * muscle
    waves["twitch"] = waves["twitch"] * muscle
    spared = _background_offsets(_seen(waves, FRONTAL), stages, sampling_rate, offsets, statistics)
    spectrum = draw_spectrum(stages, rng, statistics, spared)
    # each second has the shift of its epoch, blended over the seconds around a border
    brain = {channel: site for channel, site in sites.items() if site.kind != "emg"}
    spectra = [spectrum + _by_second(site.shift(stages)) for site in brain.values()]
    noises = shaped_noise(spectra, [site.common_share for site in brain.values()], sampling_rate, rng)
    signals = {channel: noise + _seen(waves, sites[channel]) for channel, noise in zip(brain, noises)}
    for channel, site in sites.items():
        if site.kind == "emg":
            tone = _by_second(np.array([[EMG_TONE_UV[stage]] for stage in stages]))[:, 0]
            tone = np.interp(np.arange(n_samples) / sampling_rate, np.arange(len(tone)), tone).astype(np.float32)
            signals[channel] = tone * muscle_noise(n_samples, sampling_rate, rng) + _seen(waves, site)
    return {channel: signals[channel].astype(np.float32) for channel in sites}


def _seen(waves: dict[str, np.ndarray], site: Site) -> np.ndarray:
    """Add up what a site sees of the waves."""
    return sum(np.float32(share) * waves[name] for name, share in site.waves.items())


def _background_offsets(
    seen_uv: np.ndarray, stages: np.ndarray, sampling_rate: int, offsets: dict[str, np.ndarray], statistics: dict
) -> dict[str, np.ndarray]:
    """Take off the background what the waves add to it, since the measured spectra hold both.

    Args:
        seen_uv: (samples,) the waves as Fpz-Cz sees them, in uV.
        stages: (n_epochs,) strings of `STAGES`.
        sampling_rate: Hz.
        offsets: (bands,) for each stage of this night.
        statistics: "spectrum" of `statistics.json`.

    Returns:
        the offsets, less what the waves add.
    """
    log_power = log_band_power(seen_uv.reshape(-1, 5 * sampling_rate), sampling_rate)
    power = 10 ** np.nan_to_num(log_power, nan=-np.inf)  # nothing in bands that the rate cannot hold
    spared = {}
    for stage, offset in offsets.items():
        spared[stage] = offset
        of_stage = np.repeat(stages == stage, EPOCH_SECONDS // 5)
        if of_stage.any():
            # the measured mean is one of logarithms, on which waves that are rare and large have little influence
            relative = power[of_stage] / 10 ** (np.array(statistics["stages"][stage]["mean"]) + offset)
            excess = [np.log10(left + relative).mean(axis=0) for left in _BACKGROUNDS]
            spared[stage] = offset + np.log10(_BACKGROUNDS[np.abs(excess).argmin(axis=0)])
    return spared


def _by_second(values: np.ndarray) -> np.ndarray:
    """Turn values of epochs (n_epochs, n) into values of seconds (seconds + 1, n), blended over 4 s at a border."""
    seconds = np.repeat(values, EPOCH_SECONDS, axis=0)
    seconds = np.concatenate([seconds, seconds[-1:]])
    padded = np.pad(seconds, ((2, 2), (0, 0)), mode="edge")
    return np.mean([padded[shift : shift + len(seconds)] for shift in range(5)], axis=0)


def _spoil(
    signals: dict[str, np.ndarray], stages: np.ndarray, sampling_rate: int, rng: np.random.Generator
) -> tuple[np.ndarray, tuple[Artefact, ...]]:
    """Let electrodes drift, one pop, all go flat for a while; return the stages that are left and what was done."""
    # places are drawn first: how many channels there are must not move them
    pop_s = round(float(rng.uniform(0.1, 0.3) * len(stages) * EPOCH_SECONDS), 2)
    pop_uv = float(rng.uniform(250, 500) * rng.choice([-1, 1]))
    flat_epoch = int(rng.uniform(0.4, 0.8) * len(stages))
    # the neighbouring epochs lose less than half of their signal and keep their stage
    flat_s = flat_epoch * EPOCH_SECONDS - int(rng.integers(2, 10))
    flat_end_s = (flat_epoch + _FLAT_EPOCHS) * EPOCH_SECONDS + int(rng.integers(2, 10))

    time_s = np.arange(len(stages) * EPOCH_SECONDS * sampling_rate, dtype=np.float32) / np.float32(sampling_rate)
    for name, samples in signals.items():
        if site_of(name).kind == "emg":  # whose amplifier lets nothing slow through
            continue
        for period_s in rng.uniform(25, 90, 3):
            phase, size_uv = rng.uniform(0, 2 * np.pi), rng.uniform(2, 8)
            samples += np.float32(size_uv) * np.sin(np.float32(2 * np.pi / period_s) * time_s + np.float32(phase))

    channel = next(iter(signals))
    popped = signals[channel][round(pop_s * sampling_rate) :][: round(_POP_SECONDS * sampling_rate)]
    popped += (pop_uv * np.exp(-np.arange(len(popped)) / (0.4 * sampling_rate))).astype(np.float32)
    artefacts = [Artefact("electrode pop", pop_s, _POP_SECONDS, (channel,))]

    if len(stages) >= _FEWEST_EPOCHS_WITH_FLAT:
        for samples in signals.values():
            samples[flat_s * sampling_rate : flat_end_s * sampling_rate] = 0
        stages = stages.copy()
        stages[flat_epoch : flat_epoch + _FLAT_EPOCHS] = UNSCORED
        artefacts.append(Artefact("flat stretch", float(flat_s), float(flat_end_s - flat_s), tuple(signals)))
    return stages, tuple(artefacts)


def _edf_signal(name: str, samples_uv: np.ndarray, sampling_rate: int) -> edfio.EdfSignal:
    limit_uv = float(max(1, np.ceil(np.abs(samples_uv).max())))
    return edfio.EdfSignal(
        samples_uv.astype(np.float64),
        sampling_rate,
        label=name,
        physical_dimension="uV",
        physical_range=(-limit_uv, limit_uv),
    )


def _scored_bouts(hypnogram: Hypnogram) -> list[edfio.EdfAnnotation]:
    bouts, epoch = [], 0
    for stage, run in groupby(hypnogram.stages.tolist()):
        length = len(list(run))
        bouts.append(
            edfio.EdfAnnotation(
                epoch * hypnogram.epoch_seconds, length * hypnogram.epoch_seconds, SCORING_NAMES[stage]
            )
        )
        epoch += length
    return bouts

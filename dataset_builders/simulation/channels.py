"""What each channel of a SIMULATED night sees of the background and of the waves.

Fpz-Cz is measured (see `statistics.json`). Everything else is a textbook assumption on top of it, rounded
to a number: alpha is a posterior rhythm, slow waves and blinks are frontal, spindles central, an EOG sees the eyes and
some frontal EEG, and the chin is tense in wake, loose in sleep and without tone in R.
"""

from dataclasses import dataclass, field

import numpy as np

from modeling_sleepvit.channels import canonical_channel
from modeling_sleepvit.errors import SettingError

from .signals import band_centres_hz


DEFAULT_CHANNELS = ("EEG Fpz-Cz", "EEG Pz-Oz", "EOG horizontal", "EMG submental")
"""The channels of Sleep-EDF, as they are spelled there."""

EMG_TONE_UV = {"W": 14.0, "N1": 8.0, "N2": 5.5, "N3": 4.5, "R": 1.8}
"""Standard deviation of the chin's tone."""


@dataclass(frozen=True)
class Site:
    """Where a channel sits.

    Args:
        waves: how much of each kind of wave it sees, 1 at the electrode where the wave is largest.
        band_shift: log10 of the factor of the background's power against Fpz-Cz, by (stage, low Hz, high Hz).
        common_share: part of the background that is the same in all channels.
        kind: "eeg", "eog" or "emg".
    """

    waves: dict[str, float] = field(default_factory=dict)
    band_shift: dict[tuple[str, float, float], float] = field(default_factory=dict)
    common_share: float = 0.5
    kind: str = "eeg"

    def shift(self, stages: np.ndarray) -> np.ndarray:
        """(n_epochs, bands) what the background's log10 power differs by from that of Fpz-Cz; "*" is any stage."""
        centres = band_centres_hz()
        shift = np.zeros((len(stages), len(centres)))
        for (stage, low, high), by in self.band_shift.items():
            rows = np.ones(len(stages), bool) if stage == "*" else stages == stage
            shift[np.ix_(rows, (centres >= low) & (centres < high))] += by
        return shift


FRONTAL = Site(
    {"spindle": 0.7, "K-complex": 0.9, "slow wave": 0.9, "theta": 0.6, "sawtooth": 0.6, "alpha": 0.12, "blink": 0.8,
     "slow eye movement": 0.15, "rapid eye movement": 0.25, "muscle": 0.7}
)  # fmt: skip
CENTRAL = Site(
    {"spindle": 1.0, "K-complex": 1.0, "slow wave": 0.8, "theta": 0.8, "sawtooth": 1.0, "alpha": 0.5, "blink": 0.2,
     "slow eye movement": 0.05, "rapid eye movement": 0.08, "muscle": 0.4},
    {("W", 0, 4): -0.6, ("W", 8, 12): 0.2, ("W", 20, 60): -0.3, ("*", 12, 15): 0.1},
)  # fmt: skip
POSTERIOR = Site(
    {"spindle": 0.45, "K-complex": 0.4, "slow wave": 0.45, "theta": 0.7, "sawtooth": 0.5, "alpha": 1.0, "blink": 0.05,
     "slow eye movement": 0.03, "rapid eye movement": 0.03, "muscle": 0.35},
    {("W", 0, 4): -0.9, ("W", 8, 12): 0.3, ("N2", 0, 4): -0.3, ("N3", 0, 4): -0.5, ("R", 0, 4): -0.2,
     ("*", 12, 15): -0.15, ("W", 20, 60): -0.4},
    common_share=0.3,
)  # fmt: skip
EOG = Site(
    {"spindle": 0.15, "K-complex": 0.6, "slow wave": 0.5, "theta": 0.2, "alpha": 0.1, "blink": 0.35,
     "slow eye movement": 1.0, "rapid eye movement": 1.0, "muscle": 0.6},
    {("*", 0, 60): -0.4},
    common_share=0.7,
    kind="eog",
)  # fmt: skip
EMG = Site({"muscle": 2.0, "twitch": 1.0}, kind="emg")

_SITE_OF_LETTER = {"F": FRONTAL, "A": FRONTAL, "C": CENTRAL, "T": CENTRAL, "P": POSTERIOR, "O": POSTERIOR}


def site_of(channel: str) -> Site:
    """Tell where a channel sits by its name.

    Args:
        channel: name such as "EEG Fpz-Cz", "C4-M1", "EOG horizontal" or "EMG submental".

    Returns:
        the site.

    Raises:
        SettingError: the name is no EEG derivation of the 10-20 system, EOG or EMG.
    """
    words = channel.upper()
    if "EOG" in words:
        return EOG
    if "EMG" in words:
        return EMG
    electrode = canonical_channel(channel)
    if electrode is None or electrode[0] not in _SITE_OF_LETTER:
        raise SettingError(
            f'channel "{channel}" cannot be simulated: expected an EEG derivation such as C4-M1, or a name with EOG '
            "or EMG in it; name another channel."
        )
    return _SITE_OF_LETTER[electrode[0]]

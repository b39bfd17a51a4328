"""What a report holds, read back without a browser."""

import base64
import json
import re

import numpy as np


def embedded_data(text: str) -> dict:
    """Read the JSON that the script of a page reads."""
    return json.loads(re.search(r'<script type="application/json" id="night">(.*?)</script>', text, re.DOTALL)[1])


def eeg_uv(data: dict) -> np.ndarray:
    """(n_epochs, samples) the EEG of a page, NaN where it is missing."""
    values = np.frombuffer(base64.b64decode(data["eeg"]), dtype=np.int8).reshape(len(data["stages"]), -1)
    return np.where(values == data["eegMissing"], np.nan, values * np.array(data["eegStepUv"])[:, None])


def hertz_map(text: str) -> np.ndarray:
    """(32, seconds) bytes of a spectrogram or of relevance, 0 Hz first."""
    return np.frombuffer(base64.b64decode(text), dtype=np.uint8).reshape(32, -1)

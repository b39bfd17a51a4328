"""Fixtures that every room of tests shares."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data, beside the project or where SLEEPVIT_DATA points."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SLEEPVIT_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"real data are absent: expected them in {folder}; set SLEEPVIT_DATA to another place")
    return folder

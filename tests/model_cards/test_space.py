"""The page for a Space: a real upload in a real browser, and nothing left behind."""

import importlib.metadata
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import RepoCard

from dataset_builders.simulation import simulate_night, write_simulated_night
from model_cards.space.app import StagedNight, show_night, show_why
from modeling_sleepvit import Hypnogram, Recording
from modeling_sleepvit.stager import load_stager


SPACE = Path(__file__).resolve().parents[2] / "model_cards" / "space"
PATIENCE_MS = 120_000


def test_the_readme_says_what_a_space_needs_to_know():
    gradio = pytest.importorskip("gradio", reason='pip install ".[space]" installs what serves the page')
    data = RepoCard.load(SPACE / "README.md", repo_type="space", ignore_metadata_errors=False).data
    assert (data.sdk, data.sdk_version, data.app_file) == ("gradio", gradio.__version__, "app.py")
    assert data.license == "apache-2.0"
    assert (SPACE / data.app_file).is_file()
    wheel = f"sleepvit-{importlib.metadata.version('sleepvit')}-py3-none-any.whl"  # as its README builds it
    assert (SPACE / "requirements.txt").read_text().split() == [f"./{wheel}"]


@pytest.mark.parametrize(
    ("epoch", "message"),
    [(None, "Name an epoch"), (99999, "has no epoch 99999: expected 0 to 0"), (-1, "no epoch -1")],
)
def test_a_number_that_is_no_epoch_of_the_night_is_told_as_that(tmp_path, epoch, message):
    gradio = pytest.importorskip("gradio", reason='pip install ".[space]" installs what serves the page')
    recording = Recording(np.zeros((1, 3000)), 100, ("Fpz-Cz",), path=tmp_path / "night.edf")
    night = StagedNight(recording, {}, Hypnogram(["W"]), (0, 1), tmp_path)
    with pytest.raises(gradio.Error, match=message):
        show_why(None, night, epoch)


@pytest.fixture(scope="module")
def edf(tmp_path_factory) -> Path:
    """Ten minutes of SIMULATED sleep."""
    path = tmp_path_factory.mktemp("upload") / "SIMULATED_night.edf"
    write_simulated_night(path, simulate_night(1 / 6, seed=3))
    return path


@pytest.mark.parametrize("channel", ["", None])
def test_a_channel_that_was_emptied_is_the_best_one(edf, tiny_checkpoints, tmp_path, channel):
    pytest.importorskip("gradio", reason='pip install ".[space]" installs what serves the page')
    night = show_night(load_stager(tiny_checkpoints["sequence"]), tmp_path, str(edf), channel, None)[0]
    assert night.hypnogram.channels == ("EEG Fpz-Cz",)


@pytest.fixture(scope="module")
def served(browser, tmp_path_factory):
    """Address of the page, served as its README says, and the folder for temporary files that it had."""
    pytest.importorskip("gradio", reason='pip install ".[space]" installs what serves the page')
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    temporary = tmp_path_factory.mktemp("temporary")
    process = subprocess.Popen(
        [sys.executable, "app.py", "--port", str(port)],
        cwd=SPACE,
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said = ""
    while "Running on" not in said:
        line = process.stdout.readline()
        assert line, f"the page did not start: {said}"
        said += line
    yield f"http://127.0.0.1:{port}", temporary
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert not list(temporary.glob("sleepvit_space_*"))


def upload(tab, address: str, path: Path) -> None:
    tab.page.set_default_timeout(PATIENCE_MS)
    tab.page.goto(address)
    tab.page.set_input_files("#upload input[type=file]", path)


def test_an_uploaded_night_is_staged_and_explained(browser, served, edf, tmp_path):
    address, temporary = served
    with browser.tab() as tab:
        upload(tab, address, edf)
        tab.page.click("#channel input")
        tab.page.click("text=EEG Pz-Oz")
        tab.page.click("#stage:not([disabled])")
        picture = tab.page.locator("#night img")
        picture.wait_for()
        assert "Total sleep time (TST)" in tab.page.inner_text("#statistics")
        assert "Channel: EEG Pz-Oz" in tab.page.inner_text("#notes")

        with tab.page.expect_download() as download:
            tab.page.click("#csv")
        assert download.value.suggested_filename == "SIMULATED_night_hypnogram.csv"
        download.value.save_as(tmp_path / "night.csv")
        staged = load_stager()(edf, channels=["EEG Pz-Oz"])
        assert Hypnogram.from_csv(tmp_path / "night.csv").stages.tolist() == staged.stages.tolist()

        box = picture.bounding_box()
        picture.click(position={"x": box["width"] / 2, "y": box["height"] / 4})
        tab.page.locator("#why img").wait_for()
        assert 0 < int(tab.page.input_value("#epoch input")) < staged.n_epochs - 1
        assert all(request.startswith(address) for request in tab.requests)
    assert list(temporary.glob("sleepvit_space_*/**/SIMULATED_night.edf"))  # what the end of the page removes


def test_a_file_that_is_no_recording_is_refused_in_a_sentence(browser, served, tmp_path):
    path = tmp_path / "letter.edf"
    path.write_text("Dear colleague, the recording is on its way.")
    with browser.tab() as tab:
        upload(tab, served[0], path)
        toast = tab.page.locator(".toast-body")
        toast.wait_for()
        assert "letter.edf" in toast.inner_text()
        assert "sleepvit_space_" not in toast.inner_text()
        assert tab.page.is_disabled("#stage")


def test_a_file_that_is_too_large_is_not_kept(served):
    address, temporary = served
    head = b'--part\r\nContent-Disposition: form-data; name="files"; filename="large.edf"\r\n\r\n'
    request = urllib.request.Request(
        f"{address}/gradio_api/upload",
        data=head + bytes(200_000_001) + b"\r\n--part--\r\n",
        headers={"Content-Type": "multipart/form-data; boundary=part"},
    )
    with pytest.raises(OSError, match="413"):
        urllib.request.urlopen(request)
    assert not list(temporary.glob("**/large.edf"))

"""The report without a browser: it holds what the CSV holds, needs nothing else, and is small."""

import hashlib
import re

import numpy as np
import pytest

from modeling_sleepvit import (
    Recording,
    SleepStagingPipeline,
    SleepViTConfig,
    SleepViTFeatureExtractor,
    SleepViTForAudioClassification,
)
from modeling_sleepvit.explain_sleepvit import explain_night
from modeling_sleepvit.hypnogram import PROBABILITY_COLUMNS
from modeling_sleepvit.stager import load_stager
from train_scripts.night_report.page import write_night_report

from ...conftest import eeg_like
from .reading import embedded_data, hertz_map


def test_the_page_holds_the_epochs_of_the_csv(night_report):
    data, csv = night_report.data, night_report.csv
    assert data["stages"] == csv["stage"].tolist()
    assert len(data["stages"]) == 40
    for values, (_, row) in zip(data["probabilities"], csv.iterrows()):
        if row["stage"] == "UNS":
            assert values is None
        else:
            np.testing.assert_allclose(values, row[list(PROBABILITY_COLUMNS)].astype(float), atol=1e-4)
    assert night_report.text.count('<rect class="epoch ') == 40
    assert data["times"][:2] == [f"{night_report.recording.start:%H:%M}:{second}" for second in ("00", "30")]


def test_the_page_needs_nothing_else_and_says_what_it_is(night_report):
    text = night_report.text
    addresses = re.findall(r'(?:src|href|action|data)="([^"]*)"', text)
    assert addresses
    assert all(address.startswith("data:") for address in addresses)
    assert set(re.findall(r"https?://[^\"' ]+", text)) <= {"http://www.w3.org/2000/svg"}
    assert "@import" not in text
    assert "url(" not in text
    assert "Research use only, not a medical device" in text
    assert "n &amp; 1.edf" in text  # the file's name is text, not markup
    weights = night_report.stager.model.name_or_path + "/model.safetensors"
    with open(weights, "rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest()[:8] in text


def test_the_epochs_to_review_come_in_the_order_of_their_gain(night_report):
    data, confidence = night_report.data, night_report.csv["confidence"].to_numpy()
    order = data["reviewOrder"]
    assert sorted(order) == night_report.is_scored.tolist()
    assert (np.diff(confidence[order]) >= 0).all()
    expected = np.mean([*np.ones(10), *np.sort(confidence[night_report.is_scored])[10:]])
    assert data["agreement"][10] == pytest.approx(expected, abs=1e-4)
    assert data["agreement"][-1] == 1
    promise = " ".join(re.sub(r"<[^>]*>", "", night_report.text).split())
    assert "Review these 37 epochs (18.5 min) and the expected agreement rises from" in promise
    assert "to 100.0&nbsp;%" in promise


def test_the_explained_epochs_are_those_of_the_package(night_report):
    data, stager = night_report.data, night_report.stager
    explained = data["explained"]["epochs"]
    assert {str(epoch) for epoch in data["reviewOrder"][:20]} <= set(explained)
    clearest = night_report.csv.sort_values("confidence").dropna().groupby("stage")["epoch"].last()
    assert set(clearest.astype(str)) <= set(explained)
    epoch = data["reviewOrder"][0]
    prepared = stager.preprocess(night_report.recording)
    expected = explain_night(
        stager.model,
        prepared["input_values"][0],
        [epoch],
        target=data["stages"][epoch],
        is_scorable=~prepared["is_unscorable"][0],
    )
    rows = expected.to_rows()[0]
    shown = (hertz_map(explained[str(epoch)]["relevance"]).astype(float) - 128) / 127
    np.testing.assert_allclose(shown, rows / np.abs(rows).max(), atol=0.01)
    by_second = expected.relevance[0].sum(axis=0)  # as the picture of `sleepvit explain` has it
    np.testing.assert_allclose(explained[str(epoch)]["seconds"], by_second / np.abs(by_second).max(), atol=1e-3)
    neighbours = np.array(explained[str(epoch)]["neighbours"])
    np.testing.assert_array_equal(neighbours[:, 0], expected.window[0])
    shares = 100 * expected.epoch_relevance[0] / np.abs(expected.epoch_relevance[0]).sum()
    np.testing.assert_allclose(neighbours[:, 1], shares, atol=0.01)
    assert hertz_map(explained[str(epoch)]["spectrum"]).min() > 0  # power everywhere


@pytest.mark.parametrize("kind", ["center", "epoch", "two channels"])
def test_every_kind_of_model_gives_a_report(tmp_path, tiny_checkpoints, kind):
    stager = load_stager(tiny_checkpoints[kind])
    channels = ("C4-M1", "C3-M2")
    recording = Recording(eeg_like(2 * 6 * 3000).reshape(2, -1), 100, channels, id="two", notes=("One note.",))
    write_night_report(tmp_path / "two.html", stager, recording, stager(recording))
    text = (tmp_path / "two.html").read_text(encoding="utf-8")
    explained = embedded_data(text)["explained"]["epochs"]
    assert len(explained) == 6
    assert any(value["neighbours"] for value in explained.values()) == (kind == "center")
    assert "the first of 2 channels" in text
    assert "One note." in text
    assert embedded_data(text)["times"][3] == "0:01:30"  # no clock time is known


def test_a_model_that_cannot_be_explained_still_gives_a_report(tmp_path, night_report):
    """One that reads the waveform knows no bands; the page says so in place of explanations."""
    config = SleepViTConfig(encoder_type="inception-vtrans", num_rows=100, hidden_size=8, num_hidden_layers=1)
    model = SleepViTForAudioClassification(config)
    model.save_pretrained(tmp_path)
    SleepViTFeatureExtractor(representation="waveform", scaling="none").save_pretrained(tmp_path)
    stager = load_stager(tmp_path)
    recording = Recording(eeg_like(4 * 3000)[None], 100, ("Fpz-Cz",))
    write_night_report(tmp_path / "night.html", stager, recording, stager(recording))
    text = (tmp_path / "night.html").read_text(encoding="utf-8")
    assert embedded_data(text)["explained"]["epochs"] == {}
    assert "Not explained: " in text
    assert "Next explained" not in text


def test_a_model_that_was_never_saved_gives_a_report(tmp_path):
    model = SleepViTForAudioClassification(SleepViTConfig(num_frames=5, hidden_size=8, num_hidden_layers=1))
    stager = SleepStagingPipeline(model=model, feature_extractor=SleepViTFeatureExtractor())
    recording = Recording(eeg_like(4 * 3000)[None], 100, ("Fpz-Cz",))
    write_night_report(tmp_path / "night.html", stager, recording, stager(recording))
    text = (tmp_path / "night.html").read_text(encoding="utf-8")
    assert "<dt>Weights</dt><dd>never saved</dd>" in text


def test_a_night_without_a_scored_epoch_gives_a_report(tmp_path, night_report):
    recording = Recording(np.zeros((1, 9000)), 100, ("Fpz-Cz",))
    write_night_report(tmp_path / "dead.html", night_report.stager, recording, night_report.stager(recording))
    text = (tmp_path / "dead.html").read_text(encoding="utf-8")
    data = embedded_data(text)
    assert (data["probabilities"], data["reviewOrder"], data["explained"]["epochs"]) == ([None] * 3, [], {})
    assert "No epoch of this recording could be scored." in text
    assert "nan" not in re.sub(r"base64,[^\"]*", "", text).lower()


def test_a_whole_night_is_smaller_than_three_megabytes(tmp_path, night_report):
    recording = Recording(eeg_like(8 * 3600 * 128)[None], 128, ("C4-M1",))
    write_night_report(tmp_path / "night.html", night_report.stager, recording, night_report.stager(recording))
    assert (tmp_path / "night.html").stat().st_size < 3e6


def test_a_report_that_cannot_be_made_leaves_nothing(tmp_path, night_report):
    class Unreadable(SleepViTFeatureExtractor):
        def __call__(self, *args, **kwargs):
            raise ValueError("not now")

    stager = load_stager(night_report.stager.model.name_or_path)
    hypnogram = stager(night_report.recording)
    stager.feature_extractor = Unreadable()
    with pytest.raises(ValueError, match="not now"):
        write_night_report(tmp_path / "night.html", stager, night_report.recording, hypnogram)
    assert list(tmp_path.iterdir()) == []

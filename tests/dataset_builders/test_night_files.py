"""Prepared nights as Parquet files: their columns, taking up work again, failures."""

import os
import signal
from dataclasses import replace
from datetime import time

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset

from dataset_builders.night_files import is_current, prepare_night, prepare_nights
from dataset_builders.night_rows import Lights
from dataset_builders.scored_night import NightSettings, ScoredNight
from modeling_sleepvit import SleepViTFeatureExtractor
from modeling_sleepvit.errors import DatasetError


SETTINGS = NightSettings(SleepViTFeatureExtractor(), trim="none")


@pytest.fixture
def night(tmp_path, write_scored_edf):
    signal = write_scored_edf(tmp_path, "a1", ["W", "UNS", "N2", "R"])
    return ScoredNight("A", "a1", signal, tmp_path / "a1.csv")


def test_the_columns_of_a_night(night, tmp_path):
    path = tmp_path / "out" / "a1.parquet"
    assert prepare_night(night, SETTINGS, path)
    rows = Dataset(pq.read_table(path)).with_format("numpy")
    assert rows.features["label"] == ClassLabel(names=["W", "N1", "N2", "N3", "R"])
    assert rows["label"][:].tolist() == [0, -1, 2, 4]
    assert rows["scored"][:].tolist() == [True, False, True, True]
    assert rows["epoch"][:].tolist() == [0, 1, 2, 3]
    assert rows["onset_s"][:].tolist() == [0, 30, 60, 90]
    assert set(rows["subject"][:]) == {"A"}
    assert set(rows["recording"][:]) == {"a1"}
    np.testing.assert_array_equal(rows["input_values"][:], night.read(SETTINGS).input_values)
    assert rows["input_values"][:].dtype == np.float32


def test_a_night_is_prepared_again_only_when_its_sources_change(night, tmp_path, write_scored_edf):
    path = tmp_path / "out" / "a1.parquet"
    assert prepare_night(night, SETTINGS, path)
    assert not prepare_night(night, SETTINGS, path)
    night.scoring.write_text("stage\nW\nN1\nN2\nR\n")
    assert not is_current(night, SETTINGS, path)
    assert prepare_night(night, SETTINGS, path)
    assert Dataset(pq.read_table(path))["label"][:] == [0, 1, 2, 4]
    path.write_bytes(path.read_bytes()[:-100])  # cut off
    assert prepare_night(night, SETTINGS, path)
    # as after a copy that keeps times: another content of the same length, older than the prepared night
    night.scoring.write_text("stage\nW\nN1\nN3\nR\n")
    os.utime(night.scoring, (1, 1))
    assert prepare_night(night, SETTINGS, path)
    assert Dataset(pq.read_table(path))["label"][:] == [0, 1, 3, 4]


@pytest.mark.parametrize(
    ("change", "settings"),
    [
        ({"subject": "B"}, {}),
        ({"lights": Lights(time(0, 0, 30))}, {}),
        ({}, {"trim": "30min"}),
        ({}, {"channels": ("EEG Fpz-Cz",)}),
        ({}, {"feature_extractor": SleepViTFeatureExtractor(clip_at=3.0)}),
    ],
)
def test_a_night_is_prepared_again_for_another_subject_or_in_another_way(night, tmp_path, change, settings):
    path = tmp_path / "out" / "a1.parquet"
    prepare_night(night, SETTINGS, path)
    assert prepare_night(replace(night, **change), replace(SETTINGS, **settings), path)


def test_where_the_files_lie_cannot_be_read_out_of_a_prepared_night(night, tmp_path):
    path = tmp_path / "out" / "a1.parquet"
    prepare_night(night, SETTINGS, path)
    assert night.signal.parent.name.encode() not in path.read_bytes()


def test_epochs_of_another_shape_are_refused_by_name(night, tmp_path):
    with pytest.raises(DatasetError, match=r"a1\.edf: expected epochs of shape \(2, 20, 30\)"):
        prepare_night(night, SETTINGS, tmp_path / "a1.parquet", shape=(2, 20, 30))


class DyingNight(ScoredNight):
    """A night in whose reading the process is killed, as by a machine that runs out of memory."""

    def read(self, settings):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_ends_with_one_sentence(night, tmp_path):
    dying = [DyingNight("A", f"a{number}", night.signal, night.scoring) for number in range(3)]
    with pytest.raises(DatasetError, match="one of 2 processes was killed, probably because memory ran out"):
        prepare_nights(dying, SETTINGS, lambda night: tmp_path / f"{night.recording}.parquet", num_proc=2)


def test_a_night_that_fails_leaves_no_file_not_even_an_older_one(night, tmp_path):
    path = tmp_path / "out" / "a1.parquet"
    prepare_night(night, SETTINGS, path)
    night.scoring.write_text("stage\n" + "N2\n" * 9)
    with pytest.raises(DatasetError, match=r"a1\.edf: its scoring reaches to 270 s"):
        prepare_night(night, SETTINGS, path)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("num_proc", [1, 2])
def test_nights_that_fail_do_not_stop_the_others(night, tmp_path, num_proc):
    nights = [
        night,
        replace(night, recording="a2", signal=tmp_path / "nowhere.edf"),
        replace(night, recording="a3", scoring=None),
        replace(night, recording="a4", checksums=((night.scoring, "0" * 64),)),
        replace(night, recording="a5"),
    ]
    failed = prepare_nights(nights, SETTINGS, lambda night: tmp_path / f"{night.recording}.parquet", num_proc)
    assert [failure.recording for failure in failed] == ["a2", "a3", "a4"]
    assert "nowhere.edf" in failed[0].reason
    assert "expected a scoring of this recording, found none" in failed[1].reason
    assert "a1.csv: expected the SHA-256 000000000000..." in failed[2].reason
    assert sorted(path.name for path in tmp_path.glob("*.parquet")) == ["a1.parquet", "a5.parquet"]

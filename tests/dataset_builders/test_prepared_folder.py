"""A dataset as a folder: interrupted and resumed, mended, extended; and read again without this package."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from datasets import load_dataset

from dataset_builders.cohort import Cohort
from dataset_builders.prepared_folder import prepare_folder
from dataset_builders.splits import Split, Splits, by_fraction
from modeling_sleepvit import SleepViTFeatureExtractor
from modeling_sleepvit.errors import DatasetError, SettingError


STEMS = [f"P{person}_n{night}" for person in range(4) for night in (1, 2)]


@pytest.fixture
def cohort(tmp_path, write_scored_edf):
    for stem in STEMS:
        write_scored_edf(tmp_path / "cohort", stem)
    return tmp_path / "cohort"


def make(cohort, **settings):
    defaults = {"subject_pattern": "(P[0-9])", "feature_extractor": SleepViTFeatureExtractor()}
    return Cohort(folder=cohort, **{**defaults, **settings})


def content(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_folder_loads_without_this_package(cohort, tmp_path):
    splits = by_fraction([stem[:2] for stem in STEMS], (0.5, 0.25, 0.25), seed=3)
    prepare_folder(make(cohort), tmp_path / "out", splits)
    dataset = load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {name: len(rows) for name, rows in dataset.items()} == {"train": 32, "validation": 16, "test": 16}
    (split,) = Splits.from_json(tmp_path / "out" / "splits.json")
    for part in ("train", "validation", "test"):
        assert set(dataset[part]["subject"]) == set(getattr(split, part))
    assert dataset["train"].features["label"].names == ["W", "N1", "N2", "N3", "R"]
    extractor = SleepViTFeatureExtractor.from_pretrained(tmp_path / "out")
    assert extractor.to_dict() == SleepViTFeatureExtractor().to_dict()


def test_the_card_tells_what_is_in_it(cohort, tmp_path):
    prepared = prepare_folder(make(cohort, trim="none"), tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "8 recordings of 4 subjects; 64 rows" in card
    assert "| trim rule | none |" in card
    assert "| P3 | 4 | 2 | 6 | 2 | 2 | 16 |" in card
    assert "first" not in card.split("## Columns")[0].split("## Protocol")[0], "the epochs are whole"
    assert prepared.recordings["n_scored"].tolist() == [8] * 8
    assert prepared.recordings["notes"].str.contains("No channel was named: Fpz-Cz was read").all()
    assert "| note |" not in card
    assert "icence" not in card
    assert "license" not in card, "nobody has said under which one"


def test_a_cohort_whose_subjects_nobody_named_says_so(cohort, tmp_path):
    prepare_folder(make(cohort, subject_pattern=None), tmp_path / "out")
    assert "| note | Every recording counts as a person of its own" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize("stop_at", [1, 5])
def test_interrupted_and_resumed_gives_the_same_bytes(cohort, tmp_path, monkeypatch, stop_at):
    prepare_folder(make(cohort), tmp_path / "whole")
    real, n_read = SleepViTFeatureExtractor.__call__, []

    def interrupted(*args, **kwargs):
        n_read.append(1)
        if len(n_read) == stop_at:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(SleepViTFeatureExtractor, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare_folder(make(cohort), tmp_path / "stopped")
    assert not (tmp_path / "stopped" / "data").exists(), "half a dataset can be loaded"
    prepare_folder(make(cohort), tmp_path / "stopped")
    assert len(n_read) == len(STEMS) + 1, "finished nights were prepared again"
    assert content(tmp_path / "stopped") == content(tmp_path / "whole")


def test_killed_and_resumed_in_several_processes_gives_the_same_bytes(cohort, tmp_path, write_scored_edf):
    for number in range(40):
        write_scored_edf(cohort, f"P9_n{number:02d}", ["N2"] * 300)
    command = [
        *(sys.executable, "-m", "train_scripts.cli", "prepare", "cohort", str(cohort), "--num-proc", "2"),
        *("--subject-pattern", "(P[0-9])", "--output"),
    ]
    project = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(project), "OMP_NUM_THREADS": "1"}
    # a group of its own, so that the workers are killed with it
    process = subprocess.Popen([*command, str(tmp_path / "killed")], env=environment, start_new_session=True)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "killed").glob(".unfinished/*.parquet")):
        assert time.monotonic() < deadline, "nothing was prepared"
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    finished = list((tmp_path / "killed").glob(".unfinished/*.parquet"))
    assert 0 < len(finished) < 48
    for output in ("killed", "whole"):
        prepare_folder(make(cohort, feature_extractor=None), tmp_path / output)
    assert content(tmp_path / "killed") == content(tmp_path / "whole")


def test_what_is_broken_is_listed_and_what_is_mended_is_added(cohort, tmp_path, write_scored_edf):
    recording = cohort / "P0_n1.edf"
    whole = recording.read_bytes()
    recording.write_bytes(whole[:-5000])
    (cohort / "P1_n1.csv").write_text("stage\n" + "N2\n" * 20)
    (cohort / "P2_n1.csv").unlink()
    prepared = prepare_folder(make(cohort), tmp_path / "out")
    assert [failure.recording for failure in prepared.failed] == ["P0_n1", "P1_n1", "P2_n1"]
    for failure, reason in zip(prepared.failed, ("is truncated", "reaches to 600 s", "found none"), strict=True):
        assert reason in failure.reason
        assert failure.recording in failure.reason
    table = (tmp_path / "out" / "not_prepared.csv").read_text().splitlines()
    assert table[0] == "recording,reason"
    assert len(table) == 4
    assert "3 recordings, listed with reasons in `not_prepared.csv`" in (tmp_path / "out" / "README.md").read_text()
    assert len(list((tmp_path / "out").glob("data/train/*.parquet"))) == 5

    recording.write_bytes(whole)
    write_scored_edf(cohort, "P1_n1")
    write_scored_edf(cohort, "P2_n1")
    (cohort / "P3_n2.edf").unlink()
    (cohort / "P3_n2.csv").unlink()
    assert prepare_folder(make(cohort), tmp_path / "out").failed == []
    prepare_folder(make(cohort), tmp_path / "anew")
    assert content(tmp_path / "out") == content(tmp_path / "anew")


def test_other_settings_and_other_folders_are_refused(cohort, tmp_path):
    prepare_folder(make(cohort), tmp_path / "out")
    before = content(tmp_path / "out")
    with pytest.raises(SettingError, match=r"out: this dataset was begun with other settings \(trim\)"):
        prepare_folder(make(cohort, trim="none"), tmp_path / "out")
    with pytest.raises(SettingError, match=r"begun with other settings \(parts\)"):
        prepare_folder(
            make(cohort), tmp_path / "out", by_fraction(["P0", "P1", "P2", "P3"], (0.5, 0.25, 0.25), seed=0)
        )
    with pytest.raises(SettingError, match="expected a new folder or one that sleepvit prepare began"):
        prepare_folder(make(cohort), cohort)
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match="expected a new folder"):
        prepare_folder(make(cohort), tmp_path / "file")
    assert content(tmp_path / "out") == before


def test_splits_must_know_every_subject(cohort, tmp_path):
    splits = Splits("listed", None, (Split("mine", ("P0", "P1"), (), ("P2",)),))
    with pytest.raises(DatasetError, match="P3"):
        prepare_folder(make(cohort), tmp_path / "out", splits)
    assert not (tmp_path / "out").exists()

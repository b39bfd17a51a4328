"""The command `sleepvit prepare`: protocols by name, what it prints, what it refuses."""

import json

import numpy as np
import pytest

from dataset_builders.splits import Splits
from train_scripts import cli


@pytest.fixture
def prepare(tmp_path, capsys):
    """Run the command; returns exit code, output, errors and the folder of the dataset."""

    def run(*arguments):
        code = cli.main(["prepare", *map(str, arguments), "--output", str(tmp_path / "out")])
        captured = capsys.readouterr()
        return code, captured.out, captured.err, tmp_path / "out"

    return run


@pytest.fixture
def npz_nights(tmp_path):
    folder = tmp_path / "npz"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for subject in range(10):
        np.savez(folder / f"SC4{subject:02d}1E0.npz", x=rng.normal(size=(5, 500)), y=[0, 1, 2, 3, 4], fs=100)
    return folder


@pytest.fixture
def cohort(tmp_path, write_edf):
    """Four recordings: the scoring of the second is too long, the third has none, the fourth is cut off."""
    folder = tmp_path / "cohort"
    folder.mkdir()
    for stem, stages in (("S1", "W 1 2 3 R"), ("S2", "2 " * 30), ("S3", None), ("S4", "W 2")):
        path = write_edf(folder / f"{stem}.edf")
        if stages:
            (folder / f"{stem}.txt").write_text("\n".join(stages.split()) + "\n")
    path.write_bytes(path.read_bytes()[:-5000])
    return folder


def test_a_cohort_with_three_broken_nights(prepare, cohort):
    code, out, err, folder = prepare("cohort", cohort)
    assert code == 2
    assert "5 scored epochs of 1 recording, 1 subject\n" in out
    errors = err.splitlines()
    errors = [line for line in errors if line.startswith("sleepvit: error:")]
    assert len(errors) == 3
    reasons = {"S2": "its scoring reaches to 900 s", "S3": "expected a scoring", "S4": "is truncated"}
    for line, (stem, reason) in zip(errors, reasons.items(), strict=True):
        assert f"{stem} was not prepared: " in line
        assert f"{stem}.edf" in line
        assert reason in line
    assert "Traceback" not in err
    assert [path.name for path in folder.glob("data/train/*")] == ["S1.parquet"]
    assert (folder / "not_prepared.csv").is_file()


def test_where_nothing_could_be_prepared_the_reasons_are_left_and_other_settings_may_follow(prepare, cohort):
    (cohort / "S1.txt").write_text("W\n" * 5)  # no sleep, as the usual trim rule needs
    code, out, err, folder = prepare("cohort", cohort)
    assert code == 2
    assert "scored epochs" not in out
    assert err.splitlines()[-1].startswith(f"sleepvit: error: {cohort}: nothing could be prepared")
    assert "S1 was not prepared: " in err
    assert [path.name for path in folder.iterdir()] == ["not_prepared.csv"]
    assert len((folder / "not_prepared.csv").read_text().splitlines()) == 5

    code, out, *_ = prepare("cohort", cohort, "--trim", "none")
    assert code == 2, "the other three are as they were"
    assert "5 scored epochs of 1 recording," in out
    assert (folder / "preparation.json").is_file()


def test_a_dataset_outlives_the_disk_that_it_was_made_from(prepare, cohort):
    arguments = ("cohort", cohort, "--subject-pattern", "(S.)", "--fractions", "0.5,0,0.5")
    *_, folder = prepare(*arguments)
    paths = sorted(folder.rglob("*"))
    whole = {path: path.read_bytes() for path in paths if path.is_file()}
    (cohort / "S1.txt").rename(cohort / "S1.gone")
    code, _, err, _ = prepare(*arguments)
    assert code == 2
    assert "found none that can be prepared now" in err
    assert "left as" in err
    assert sorted(folder.rglob("*")) == paths
    assert {path: path.read_bytes() for path in whole} == whole


def test_where_no_spectrum_can_be_learned_the_reason_is_told(prepare, cohort):
    (cohort / "S1.txt").unlink()
    code, _, err, folder = prepare("cohort", cohort, "--refit-profile")
    assert code == 2
    assert "the first that cannot be read: " in err
    assert "S1.edf: expected a scoring of this recording" in err
    assert not folder.exists()


def test_a_file_in_the_place_of_the_cohort_is_called_one(prepare, cohort):
    code, _, err, _ = prepare("cohort", cohort / "S1.edf")
    assert code == 2
    assert "S1.edf: expected the folder that holds the recordings, found a file" in err


def test_a_recording_without_a_whole_epoch_is_told_its_length(prepare, tmp_path, write_edf):
    (tmp_path / "nights").mkdir()
    path = write_edf(tmp_path / "nights" / "short.edf", seconds=20)
    path.with_suffix(".txt").write_text("W\n")
    code, _, err, _ = prepare("cohort", path.parent)
    assert code == 2
    assert "found none: signal 0 to 20 s, scoring 0 to 30 s" in err


def test_a_folder_of_other_files_is_refused_before_anything_is_looked_for(prepare, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".DS_Store").touch()
    assert "absent: expected the folder that holds the recordings" in prepare("cohort", tmp_path / "absent")[2]
    (tmp_path / "out" / "thesis.docx").touch()
    code, _, err, _ = prepare("cohort", tmp_path / "absent")
    assert code == 2
    assert "out: expected a new folder or one that sleepvit prepare began, found other files" in err


def test_short_epochs_are_said_to_be_short(prepare, npz_nights):
    code, out, _, folder = prepare("npz", npz_nights)
    assert code == 0
    assert "50 scored epochs of 10 recordings, 10 subjects" in out
    card = (folder / "README.md").read_text()
    assert "**The source holds only the first 5 s of each epoch**" in card
    assert "| trim rule | that of the source files |" in card


def test_splits_by_fractions_and_from_a_file(prepare, npz_nights, tmp_path):
    code, *_, folder = prepare("npz", npz_nights, "--fractions", "0.6,0.2,0.2", "--seed", "5")
    assert code == 0
    assert {path.name: len(list(path.iterdir())) for path in (folder / "data").iterdir()} == {
        "train": 6,
        "validation": 2,
        "test": 2,
    }
    (split,) = Splits.from_json(folder / "splits.json")
    assert sorted(path.stem[:5] for path in (folder / "data" / "test").iterdir()) == list(split.test)

    again = cli.main(
        ["prepare", "npz", str(npz_nights), "--splits", str(folder / "splits.json"), "--output", str(tmp_path / "b")]
    )
    assert again == 0
    assert (
        sorted((tmp_path / "b" / "data" / "test").iterdir())[0].name
        == sorted((folder / "data" / "test").iterdir())[0].name
    )


def test_the_extractor_of_a_checkpoint_makes_the_rows(prepare, npz_nights, tiny_checkpoints):
    code, *_, folder = prepare("npz", npz_nights, "--model", tiny_checkpoints["epoch"])
    assert code == 0
    assert json.loads((folder / "preprocessor_config.json").read_text())["scaling"] == "robust"


def test_nobody_is_split_before_it_is_known_whose_nights_they_are(prepare, cohort):
    code, _, err, folder = prepare("cohort", cohort, "--fractions", "0.5,0,0.5")
    assert code == 2
    assert "expected to be told which recordings are of one person before they are split" in err
    assert not folder.exists()


def test_splits_stay_when_somebody_leaves_and_refuse_who_joins(prepare, npz_nights):
    arguments = ("npz", npz_nights, "--fractions", "0.6,0.2,0.2")
    *_, folder = prepare(*arguments)
    drawn = (folder / "splits.json").read_text()
    left = npz_nights / "SC4031E0.npz"
    gone = left.rename(left.with_suffix(".gone"))
    assert prepare(*arguments)[0] == 0
    assert (folder / "splits.json").read_text() == drawn
    assert not list(folder.rglob("SC4031E0.parquet"))
    gone.rename(npz_nights / "SC4991E0.npz")
    code, _, err, _ = prepare(*arguments)
    assert code == 2
    assert "SC499" in err


def test_other_fractions_need_another_folder(prepare, npz_nights):
    prepare("npz", npz_nights, "--fractions", "0.6,0.2,0.2")
    code, _, err, _ = prepare("npz", npz_nights, "--fractions", "0.8,0.1,0.1")
    assert code == 2
    assert "begun with other settings (parts)" in err


def test_odd_files_do_not_stop_the_others(prepare, npz_nights):
    (npz_nights / "SC4000E0.npz").write_bytes(b"PK no archive")
    np.savez(npz_nights / "SC4501E0.npz", x=np.ones((2, 3000)), y=[0, 1], fs=100)
    np.savez(npz_nights / "SC4511E0.npz", x=np.ones((2, 500)), y=np.eye(2), fs=100)
    code, out, err, _ = prepare("npz", npz_nights)
    assert code == 2
    assert "50 scored epochs of 10 recordings" in out
    for name, reason in (
        ("SC4000E0", "expected an npz night with x, y and fs"),
        ("SC4501E0", "expected epochs of shape (1, 20, 5)"),
        ("SC4511E0", "one y for each epoch"),
    ):
        (line,) = [line for line in err.splitlines() if f"{name} was not prepared" in line]
        assert reason in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--trim", "30min"), "--trim does not apply to npz; leave it out"),
        (("--scorings", "{stem}.xml"), "--scorings does not apply to npz"),
        (("--model", "nowhere"), "nowhere: no such folder here: expected a folder with a SleepViT checkpoint"),
        (("--subjects", "SC499"), "expected the subjects SC499, found none of that name"),
        (("--fractions", "0.9,0.9,0.2"), "expected fractions that sum to 1"),
        (("--splits", "nowhere.json"), "nowhere.json"),
        (("--push", "a/b/c"), "--push a/b/c: expected an id on the Hub (owner/name)"),
        (("--subject-pattern", "("), "the subject pattern '(' cannot be used"),
    ],
)
def test_mistakes_end_with_one_sentence(prepare, npz_nights, arguments, message):
    code, _, err, folder = prepare("npz", npz_nights, *arguments)
    assert code == 2
    assert err.count("sleepvit: error:") == 1
    assert message in err
    assert not folder.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("sedf-21", "."),
        ("npz", ".", "--channels", " , "),
        ("npz", ".", "--fractions", "1"),
        ("npz", ".", "--num-proc", "0"),
        ("npz", ".", "--fold", "a"),
    ],
)
def test_arguments_that_make_no_sense_end_with_usage(prepare, arguments):
    with pytest.raises(SystemExit) as error:
        prepare(*arguments)
    assert error.value.code == 2


def test_data_that_may_not_be_passed_on_are_not_shown_to_everybody(prepare, tmp_path):
    (tmp_path / "shhs" / "polysomnography" / "edfs").mkdir(parents=True)
    code, _, err, folder = prepare("shhs1", tmp_path / "shhs", "--push", "owner/shhs")
    assert code == 2
    assert "the data use agreement of shhs1 forbids passing data on; add --private" in err
    assert not folder.exists()

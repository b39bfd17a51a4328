"""The command `sleepvit evaluate`: what it writes for every kind of dataset, what it refuses."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from modeling_sleepvit.stages import IGNORED_ID, STAGES
from train_scripts import cli
from train_scripts.evaluation_report import hypnograms_of_night, nights_to_draw
from train_scripts.subject_metrics import checked_predictions, figures_by, figures_of_predictions, json_text


COLUMNS = ["subject", "recording", "epoch", "label", "p_W", "p_N1", "p_N2", "p_N3", "p_R"]
FILES = {"predictions.parquet", "metrics.json", "confusion_matrix.png", "review_curve.png", "report.md"}


@pytest.fixture
def evaluate(tmp_path, capsys, tiny_checkpoints):
    """Run the command with an untrained checkpoint; returns exit code, folder, metrics, report, output and errors."""

    def run(folder, *arguments, checkpoint=None, output=None):
        output = output or tmp_path / "out"
        checkpoint = checkpoint or tiny_checkpoints["sequence"]
        code = cli.main(["evaluate", *map(str, (checkpoint, folder, "--output", output, *arguments))])
        printed = capsys.readouterr()
        metrics, report = output / "metrics.json", output / "report.md"
        return SimpleNamespace(
            code=code,
            folder=output,
            metrics=json.loads(metrics.read_text(), parse_constant=pytest.fail) if metrics.is_file() else None,
            report=report.read_text() if report.is_file() else None,
            predictions=pd.read_parquet(output / "predictions.parquet") if report.is_file() else None,
            out=printed.out,
            err=printed.err,
        )

    return run


@pytest.fixture(scope="module")
def npz_nights(tmp_path_factory):
    """Six nights of noise of three subjects; of each night one epoch is not scored."""
    folder = tmp_path_factory.mktemp("npz")
    rng = np.random.default_rng(0)
    for subject in ("SC400", "SC401", "SC402"):
        for night in (1, 2):
            y = np.append(-1, rng.integers(0, 5, size=11))
            np.savez(folder / f"{subject}{night}E0.npz", x=rng.normal(scale=20, size=(12, 500)), y=y, fs=100)
    return folder


@pytest.fixture(scope="module")
def prepared(npz_nights, tiny_checkpoints, tmp_path_factory):
    """The same nights, prepared: one subject in each split."""
    folder = tmp_path_factory.mktemp("prepared") / "nights"
    arguments = ["--fractions", "0.34,0.33,0.33", "--model", str(tiny_checkpoints["sequence"])]
    assert cli.main(["prepare", "npz", str(npz_nights), "--output", str(folder), *arguments]) == 0
    return folder


@pytest.fixture
def cohort(tmp_path, write_edf):
    """Two subjects with scorings, the first with two nights."""
    folder = tmp_path / "cohort"
    folder.mkdir()
    for stem, stages in (("P1_a", "W W 1 2 ? 3 R W"), ("P1_b", "W 2 2 2 R R"), ("P2_a", "W W W 1 2 3 3 W W W")):
        write_edf(folder / f"{stem}.edf")
        (folder / f"{stem}.txt").write_text("\n".join(stages.split()) + "\n")
    return folder


def names_in(folder):
    return {path.name for path in folder.iterdir()}


def test_npz_nights(evaluate, npz_nights):
    done = evaluate(npz_nights, "--protocol", "noise, for tests", "--exclude", "SC4012E0,SC4022E0,SC4021E0")
    assert done.code == 0
    assert "33 scored epochs of 3 recordings, 2 subjects: accuracy " in done.out
    assert names_in(done.folder) == FILES | {"SC4001E0.png", "SC4002E0.png", "SC4011E0.png"}
    assert list(done.predictions.columns) == COLUMNS
    assert (done.predictions["label"] == IGNORED_ID).sum() == 3
    assert done.metrics["protocol"] == "noise, for tests"
    assert (done.metrics["trim"], done.metrics["split"]) == ("that of the source files", None)
    assert done.metrics["subjects"] == ["SC400", "SC401"]
    assert (done.metrics["n_epochs"], done.metrics["n_epochs_not_scored"]) == (33, 3)


def test_the_figures_are_those_of_the_predictions(evaluate, npz_nights):
    done = evaluate(npz_nights, "--figures", "0")
    expected = json.loads(json_text(figures_of_predictions(done.predictions)))
    assert {name: done.metrics[name] for name in expected} == expected
    nights = figures_by(done.predictions, "recording")
    kappas = {night["recording"]: f"| {night['kappa']:.3f} |" for _, night in nights.iterrows()}
    for line in done.report.splitlines():
        if line.startswith("| SC4"):
            assert kappas.pop(line.split(" | ")[0][2:]) in line
    assert not kappas


def test_the_report_names_protocol_trim_rule_counts_and_every_figure(evaluate, prepared, tiny_checkpoints):
    done = evaluate(prepared, "--split", "all", "--protocol", "One | sentence.", "--figures", "1")
    metrics, lines = done.metrics, done.report.splitlines()
    for line in (
        "One | sentence.",
        f"| checkpoint | {tiny_checkpoints['sequence']} |",
        f"| dataset | {prepared} |",
        "| split | all (train, validation, test) |",
        "| trim rule | that of the source files |",
        "| subjects | 3 |",
        "| recordings | 6 |",
        "| scored epochs | 66 of 30 s |",
        "| epochs without a scored stage | 6 |",
    ):
        assert line in lines
    low, high = metrics["intervals"]["accuracy"]
    assert f"| accuracy (%) | {100 * metrics['accuracy']:.1f} | {100 * low:.1f} to {100 * high:.1f} |" in lines
    low, high = metrics["intervals"]["kappa"]
    assert f"| kappa | {metrics['kappa']:.3f} | {low:.3f} to {high:.3f} |" in lines
    for index, stage in enumerate(STAGES):
        scored = sum(metrics["confusion_matrix"][index])
        assert sum(line.startswith(f"| {stage} | {scored} | ") for line in lines) == 1
    assert f"**{metrics['calibration_error']:.3f}**" in done.report
    assert f"{100 * metrics['review']['share_for_target']:.1f} %" in done.report
    bias = metrics["sleep_statistics"]["total_sleep_time_min"]["bias"]
    assert f"| total sleep time (TST), min | {bias:+.1f} |" in done.report
    assert "Research use only, not a medical device" in done.report
    pictures = [line.split("](")[1].strip("<>)") for line in lines if line.startswith("![")]
    assert len(pictures) == 3
    for name in pictures:
        with Image.open(done.folder / name) as picture:
            assert picture.width > 800


def test_a_prepared_dataset_is_evaluated_on_its_test_subjects(evaluate, prepared, npz_nights):
    done = evaluate(prepared, "--figures", "0")
    (subject,) = done.metrics["subjects"]
    assert done.metrics["split"] == "test"
    assert done.metrics["n_recordings"] == 2
    # one subject: no interval, in JSON and in words
    assert done.metrics["intervals"]["kappa"] == [None, None]
    assert "With one subject there is none." in done.report
    other = evaluate(prepared, "--split", "train", "--figures", "0", output=done.folder.with_name("train"))
    assert other.metrics["split"] == "train"
    assert subject not in other.metrics["subjects"]
    # rows from disk and rows made now are the same
    again = evaluate(npz_nights, "--subjects", subject, "--figures", "0", output=done.folder.with_name("npz"))
    pd.testing.assert_frame_equal(again.predictions, done.predictions)


def test_a_cohort(evaluate, cohort):
    done = evaluate(cohort, "--subject-pattern", "(P[0-9]+)", "--trim", "none", "--figures", "2")
    assert done.code == 0
    assert done.metrics["trim"] == "none"
    assert done.metrics["subjects"] == ["P1", "P2"]
    assert (done.metrics["n_recordings"], done.metrics["n_epochs"]) == (3, 23)
    assert len(names_in(done.folder) - FILES) == 2
    assert "2 of 3 nights are drawn, chosen evenly by kappa" in done.report


def test_nights_that_cannot_be_read_are_named(evaluate, cohort):
    (cohort / "P1_b.txt").unlink()
    done = evaluate(cohort, "--figures", "0")
    assert done.code == 2
    assert "P1_b was not evaluated: " in done.err
    assert [night["recording"] for night in done.metrics["not_evaluated"]] == ["P1_b"]
    assert done.metrics["n_recordings"] == 2
    assert "| recordings that could not be read | 1 |" in done.report
    assert "- P1_b: " in done.report
    assert "- Every recording counts as a person of its own" in done.report
    for path in cohort.glob("*.txt"):
        path.unlink()
    none = evaluate(cohort, output=done.folder.with_name("none"))
    assert none.code == 2
    assert "expected nights to evaluate, found none that can be read" in none.err
    assert not none.folder.exists()


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        ("prepared", ("--split", "tset"), "--split tset: "),
        ("prepared", ("--subjects", "SC499"), "expected the subjects SC499, found none of that name in test"),
        ("prepared", ("--trim", "none"), "--trim does not apply to "),
        ("npz_nights", ("--split", "test"), "--split does not apply to "),
        ("npz_nights", ("--trim", "none"), "--trim does not apply to npz"),
        ("npz_nights", ("--subjects", "SC499"), "expected the subjects SC499, found none"),
        ("cohort", ("--sampling-rate", "100"), "--sampling-rate does not apply to cohort"),
        ("cohort", ("--scorings", "{stim}.xml"), "{stim}.xml"),
    ],
)
def test_mistakes_end_with_one_sentence_and_no_files(request, evaluate, kind, arguments, message):
    done = evaluate(request.getfixturevalue(kind), *arguments)
    assert done.code == 2
    assert message in done.err
    assert len(done.err.splitlines()) == 1
    assert not done.folder.exists()


def test_folders_and_checkpoints_that_do_not_fit(evaluate, prepared, npz_nights, tiny_checkpoints, tmp_path):
    (tmp_path / "empty").mkdir()
    for folder, message, settings in (
        (tmp_path / "absent", "expected the folder that holds the recordings, found none", {}),
        (tmp_path / "empty", "empty", {}),
        (npz_nights, "nowhere: no such folder here", {"checkpoint": "nowhere"}),
        (npz_nights, "expected num_channels 2", {"checkpoint": tiny_checkpoints["two channels"]}),
        (npz_nights, "this is the folder of the dataset", {"output": npz_nights}),
        (npz_nights, "expected a folder, found a file", {"output": npz_nights / "SC4001E0.npz"}),
    ):
        done = evaluate(folder, **settings)
        assert done.code == 2
        assert message in done.err
        assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_rows_of_another_extractor_are_refused(evaluate, npz_nights, tmp_path):
    assert cli.main(["prepare", "npz", str(npz_nights), "--output", str(tmp_path / "others")]) == 0
    done = evaluate(tmp_path / "others")
    assert done.code == 2
    assert "its rows were not made by the feature extractor of" in done.err


def test_a_file_that_is_interrupted_leaves_what_was_there(evaluate, npz_nights, monkeypatch):
    done = evaluate(npz_nights, "--figures", "0")
    assert names_in(done.folder) == FILES
    before = {path.name: path.read_bytes() for path in done.folder.iterdir()}

    def no_room(figure, path, **settings):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Figure, "savefig", no_room)
    failed = evaluate(npz_nights, "--figures", "0")
    assert failed.code == 2
    assert "No space left on device" in failed.err
    assert {path.name: path.read_bytes() for path in done.folder.iterdir()} == before


def test_gaps_of_a_night_are_not_scored_in_both_hypnograms():
    rows = pd.DataFrame({"epoch": [4, 5, 8], "label": [0, IGNORED_ID, 3], "prediction": [0, 2, 4]})
    scored, staged = hypnograms_of_night(rows, 30.0)
    assert list(scored.stages) == ["W", "UNS", "UNS", "UNS", "N3"]
    assert list(staged.stages) == ["W", "N2", "UNS", "UNS", "R"]


def test_epochs_are_counted_in_the_recording(evaluate, cohort):
    (cohort / "P2_a.txt").write_text("\n".join("??W2332W") + "\n")
    done = evaluate(cohort, "--subjects", "P2_a", "--figures", "0")
    assert done.predictions["epoch"].tolist() == [2, 3, 4, 5, 6, 7]
    assert len(checked_predictions(done.predictions)) == 6


def test_the_worst_and_the_best_night_are_drawn():
    kappas = pd.Series([0.5, 0.9, np.nan, 0.7, 0.6])
    assert list(nights_to_draw(kappas, 9)) == [0, 1, 2, 3, 4]
    assert list(nights_to_draw(kappas, 2)) == [1, 2]
    assert list(nights_to_draw(kappas, 3)) == [1, 2, 4]
    assert list(nights_to_draw(kappas, 0)) == []

"""Any folder: recordings and scorings paired by names or by a table."""

import pytest

from dataset_builders.cohort import Cohort
from modeling_sleepvit import SleepViTFeatureExtractor
from modeling_sleepvit.errors import DatasetError


def make(folder, **settings):
    return Cohort(folder=folder, feature_extractor=SleepViTFeatureExtractor(), **settings)


def pairs(builder):
    return [(night.subject, night.recording, night.scoring and night.scoring.name) for night in builder.nights()]


def test_the_usual_names_are_found_without_being_told(tmp_path, write_scored_edf):
    for stem in ("a", "b", "c", "sub-01_task-sleep_eeg", "e"):
        write_scored_edf(tmp_path, stem, stages=None, n_epochs=2)
    for name in ("a-Hypnogram.edf", "b_hypnogram.csv", "b.CSV", "c.xml", "sub-01_task-sleep_events.tsv"):
        (tmp_path / name).write_text("")
    (tmp_path / "a-Hypnogram.edf").write_bytes((tmp_path / "a.edf").read_bytes())  # with signals: a recording too
    found = {recording: scoring for _, recording, scoring in pairs(make(tmp_path, recordings="[!a]*.edf"))}
    assert found == {
        "b": "b.CSV",  # the other one is what `sleepvit stage` writes: no truth
        "c": "c.xml",
        "e": None,
        "sub-01_task-sleep_eeg": "sub-01_task-sleep_events.tsv",
    }


def test_patterns(tmp_path, write_scored_edf):
    for visit in ("v1", "v2"):
        write_scored_edf(tmp_path / "P7" / visit, "psg")
        (tmp_path / "P7" / visit / "psg.csv").rename(tmp_path / "P7" / visit / "score-psg.tsv")
    builder = make(tmp_path, recordings="**/*.edf", scorings="score-{stem}.*", subject_pattern=r"(P\d+)/")
    assert pairs(builder) == [("P7", "v1_psg", "score-psg.tsv"), ("P7", "v2_psg", "score-psg.tsv")]
    assert builder.nights()[0].read(builder.settings).labels.tolist() == [0, 1, 2, 2, 3, 4, 2, 0]


def test_part_of_a_name_and_the_recording_itself_as_its_scoring(tmp_path, write_scored_edf):
    write_scored_edf(tmp_path, "SC4001E0-PSG", stages=None, n_epochs=2)
    (tmp_path / "SC4001EC-Hypnogram.txt").write_text("W\n")
    assert pairs(make(tmp_path, scorings="{stem:.6}*-Hypnogram.*"))[0][2] == "SC4001EC-Hypnogram.txt"
    assert pairs(make(tmp_path, scorings="{name}"))[0][2] == "SC4001E0-PSG.edf"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"recordings": "*.rec"}, r"expected recordings that fit '\*\.rec', found none"),
        ({"scorings": "{subject}.xml"}, r"cannot be used \('subject'\): expected {stem}, {name} or {bids} in it"),
        ({"scorings": ""}, "the pattern of scorings is empty"),
        ({"recordings": "/x/*.edf"}, "expected one that counts from the folder"),
        ({"subject_pattern": "P."}, "expected one group that holds the subject"),
        ({"table": "nowhere.csv"}, r"nowhere\.csv: expected a CSV table"),
    ],
)
def test_patterns_that_do_not_work(tmp_path, write_scored_edf, settings, message):
    write_scored_edf(tmp_path, "a")
    (tmp_path / "a_2.csv").write_text("W\n")
    with pytest.raises(DatasetError, match=message):
        make(tmp_path, **settings).nights()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"scorings": "{stem}*.csv"},
            r"a\.edf: expected one scoring, found a\.csv, a_2\.csv; say which by --scorings",
        ),
        ({"subject_pattern": "(b)"}, r"a\.edf: the subject pattern '\(b\)' does not fit this name"),
    ],
)
def test_a_recording_that_does_not_fit_is_a_problem_of_its_own(tmp_path, write_scored_edf, settings, message):
    for stem in ("a", "b"):
        write_scored_edf(tmp_path, stem)
    (tmp_path / "a_2.csv").write_text("W\n")
    builder = make(tmp_path, **settings)
    first, second = builder.nights()
    with pytest.raises(DatasetError, match=message):
        first.read(builder.settings)
    assert len(second.read(builder.settings)) == 8


@pytest.mark.parametrize("stem", ["P2 [a]", "Müller, 3", "P*"])
def test_names_with_special_characters(tmp_path, write_scored_edf, stem):
    write_scored_edf(tmp_path, stem)
    assert pairs(make(tmp_path)) == [(stem, stem, f"{stem}.csv")]


def test_names_that_are_no_utf_8(tmp_path, write_scored_edf):
    for path in (write_scored_edf(tmp_path, "x"), tmp_path / "x.csv"):
        path.rename(path.with_stem("P\udce9_n"))
    (night,) = make(tmp_path).nights()
    assert night.recording == "P\ufffd_n"
    assert night.scoring is not None


def test_a_link_that_leads_nowhere_is_reported_and_linked_folders_are_searched(tmp_path, write_scored_edf):
    write_scored_edf(tmp_path / "elsewhere", "b")
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "a.edf").symlink_to(tmp_path / "nowhere.edf")
    (tmp_path / "study" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "study" / "loop").symlink_to(tmp_path / "study")
    assert pairs(make(tmp_path / "study")) == [("a", "a", None), ("b", "b", "b.csv")]


class TestTable:
    @pytest.fixture
    def folder(self, tmp_path, write_scored_edf):
        for stem in ("a", "b"):
            write_scored_edf(tmp_path, stem)
        return tmp_path

    def test_a_table_pairs_and_names_and_tells_the_lights(self, folder):
        (folder / "pairs.csv").write_text(
            "recording,scoring,subject,lights_off,lights_on\na.edf,a.csv,P1,00:01,00:03:30\nb.edf,,P2,,\n"
        )
        builder = make(folder, table="pairs.csv", trim="lights")
        assert pairs(builder) == [("P1", "a", "a.csv"), ("P2", "b", None)]
        night = builder.nights()[0]
        assert (night.lights.off.isoformat(), night.lights.on.isoformat()) == ("00:01:00", "00:03:30")
        # the recordings begin at midnight: epochs 2 to 6
        assert night.read(builder.settings).labels.tolist() == [2, 2, 3, 4, 2]

    def test_without_a_subject_the_pattern_or_the_recording_counts(self, folder):
        (folder / "pairs.csv").write_text("recording;scoring\na.edf;a.csv\n")
        assert pairs(make(folder, table="pairs.csv")) == [("a", "a", "a.csv")]
        assert pairs(make(folder, table="pairs.csv", subject_pattern="(.).edf")) == [("a", "a", "a.csv")]

    def test_blanks_make_no_other_person(self, folder):
        (folder / "pairs.csv").write_text("recording, scoring , subject\na.edf, a.csv, P1\nb.edf,b.csv ,P1 \n")
        assert pairs(make(folder, table="pairs.csv")) == [("P1", "a", "a.csv"), ("P1", "b", "b.csv")]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("recording\na.edf\n", "found no scoring"),
            ("recording,scoring\n,a.csv\n", "line 2 names no recording"),
            ("recording,scoring\na.edf,a.csv\na.edf,b.csv\n", r"the recording a\.edf stands in two lines"),
            ("recording,scoring,lights_off\na.edf,a.csv,late\n", "expected a clock time such as 22:45"),
            ("recording,scoring,lights_off\na.edf,a.csv,2230\n", "line 2: expected a clock time such as 22:45"),
            ("recording,scoring,lights_off\na.edf,a.csv,22:45+02:00\n", "expected a clock time such as 22:45"),
            ("", "expected a CSV table"),
        ],
    )
    def test_tables_that_do_not_work(self, folder, text, message):
        (folder / "pairs.csv").write_text(text)
        with pytest.raises(DatasetError, match=rf"pairs\.csv: .*{message}"):
            make(folder, table="pairs.csv").nights()

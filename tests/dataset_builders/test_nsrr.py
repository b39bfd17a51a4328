"""NSRR cohorts: folders, names, persons, channels."""

import pytest

from dataset_builders.nsrr import NSRR
from modeling_sleepvit import SleepViTFeatureExtractor
from modeling_sleepvit.errors import DatasetError


PROFUSION = """<?xml version="1.0" encoding="UTF-8"?>
<CMPStudyConfig><EpochLength>30</EpochLength><ScoredEvents/>
<SleepStages>{}</SleepStages></CMPStudyConfig>
"""
NSRR_XML = """<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<PSGAnnotation><SoftwareVersion>Compumedics</SoftwareVersion><EpochLength>30</EpochLength><ScoredEvents>
<ScoredEvent><EventType/><EventConcept>Recording Start Time</EventConcept><Start>0</Start><Duration>240</Duration>
<ClockTime>00.00.00 23.00.00</ClockTime></ScoredEvent>
{}</ScoredEvents></PSGAnnotation>
"""
NSRR_STAGE = (
    "<ScoredEvent><EventType>Stages|Stages</EventType><EventConcept>{}</EventConcept><Start>{}</Start>"
    "<Duration>{}</Duration></ScoredEvent>"
)


@pytest.fixture
def shhs(tmp_path, write_scored_edf):
    """Two visits of one person and one of another, with one kind of scoring each."""
    root = tmp_path / "shhs" / "polysomnography"
    for visit, person in (("shhs1", "200001"), ("shhs2", "200001"), ("shhs1", "200002")):
        write_scored_edf(root / "edfs" / visit, f"{visit}-{person}", stages=None, n_epochs=8, label="EEG")
    for kind in ("profusion", "nsrr"):
        (root / f"annotations-events-{kind}" / "shhs1").mkdir(parents=True)
    stages = "".join(f"<SleepStage>{stage}</SleepStage>" for stage in (0, 1, 2, 3, 4, 5, 9, 0))
    (root / "annotations-events-profusion" / "shhs1" / "shhs1-200001-profusion.xml").write_text(
        PROFUSION.format(stages)
    )
    events = [("Wake|0", 0, 60), ("Stage 2 sleep|2", 60, 150), ("REM sleep|5", 210, 30)]
    for person in ("200001", "200002"):
        (root / "annotations-events-nsrr" / "shhs1" / f"shhs1-{person}-nsrr.xml").write_text(
            NSRR_XML.format("".join(NSRR_STAGE.format(*event) for event in events))
        )
    return tmp_path / "shhs"


def make(folder, name="shhs", **settings):
    return NSRR(name, folder=folder, feature_extractor=SleepViTFeatureExtractor(), **settings)


def test_both_visits_of_a_person_are_one_subject(shhs):
    nights = make(shhs).nights()
    assert [(night.recording, night.subject) for night in nights] == [
        ("shhs1-200001", "200001"),
        ("shhs1-200002", "200002"),
        ("shhs2-200001", "200001"),
    ]
    assert [night.recording for night in make(shhs, "shhs2").nights()] == ["shhs2-200001"]
    assert len(make(shhs / "polysomnography").nights()) == 3


def test_the_kinds_of_scoring(shhs):
    nights = make(shhs).nights()
    assert [night.scoring and night.scoring.name for night in nights] == [
        "shhs1-200001-profusion.xml",
        "shhs1-200002-nsrr.xml",
        None,
    ]
    preferred = make(shhs, scorings="nsrr").nights()[0]
    assert preferred.scoring.name == "shhs1-200001-nsrr.xml"
    with pytest.raises(DatasetError, match="the scorings 'xml' are unknown: expected profusion or nsrr"):
        make(shhs, scorings="xml").nights()


def test_rows_of_either_kind_from_the_channel_that_shhs_calls_eeg(shhs):
    builder = make(shhs)
    profusion, nsrr, without = builder.nights()
    assert profusion.read(builder.settings).labels.tolist() == [0, 1, 2, 3, 3, 4, -100, 0]
    assert nsrr.read(builder.settings).labels.tolist() == [0, 0, 2, 2, 2, 2, 2, 4]
    assert any('labelled "EEG"' in note for note in nsrr.read(builder.settings).notes)
    with pytest.raises(DatasetError, match=r"shhs2-200001\.edf: expected a scoring of this recording, found none"):
        without.read(builder.settings)


def test_another_layout_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="expected polysomnography/edfs in it"):
        make(tmp_path).nights()

"""Scorings of every format: those of Sleep-EDF and a PSG are real, the others are written here as documented."""

import warnings
from collections import Counter
from datetime import date, datetime, time

import edfio
import numpy as np
import pytest

from dataset_builders.scorings import read_scoring
from modeling_sleepvit.errors import HypnogramError, UnknownStageError
from modeling_sleepvit.stages import stage_from_name


PROFUSION = """<?xml version="1.0" encoding="UTF-8"?>
<CMPStudyConfig>
<EpochLength>20</EpochLength>
<StepChannels/>
<ScoredEvents>
<ScoredEvent><Name>Hypopnea</Name><Start>41.5</Start><Duration>13.4</Duration><Input>AIRFLOW</Input></ScoredEvent>
</ScoredEvents>
<SleepStages>
<SleepStage>0</SleepStage>
<SleepStage>1</SleepStage>
<SleepStage>2</SleepStage>
<SleepStage>3</SleepStage>
<SleepStage>4</SleepStage>
<SleepStage>5</SleepStage>
<SleepStage>6</SleepStage>
<SleepStage>9</SleepStage>
</SleepStages>
</CMPStudyConfig>
"""

NSRR = """<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<PSGAnnotation>
<SoftwareVersion>Compumedics</SoftwareVersion>
<EpochLength>30</EpochLength>
<ScoredEvents>
<ScoredEvent><EventType/><EventConcept>Recording Start Time</EventConcept><Start>0</Start><Duration>240.0</Duration>
<ClockTime>00.00.00 22.30.15</ClockTime></ScoredEvent>
<ScoredEvent><EventType>Respiratory|Respiratory</EventType><EventConcept>Hypopnea|Hypopnea</EventConcept>
<Start>41.5</Start><Duration>13.4</Duration><SignalLocation>AIRFLOW</SignalLocation></ScoredEvent>
<ScoredEvent><EventType>Stages|Stages</EventType><EventConcept>Wake|0</EventConcept>
<Start>0.0</Start><Duration>60.0</Duration></ScoredEvent>
<ScoredEvent><EventType>Stages|Stages</EventType><EventConcept>Stage 1 sleep|1</EventConcept>
<Start>60.0</Start><Duration>30.0</Duration></ScoredEvent>
<ScoredEvent><EventType>Stages|Stages</EventType><EventConcept>Stage 4 sleep|4</EventConcept>
<Start>90.0</Start><Duration>30.0</Duration></ScoredEvent>
<ScoredEvent><EventType>Stages|Stages</EventType><EventConcept>REM sleep|5</EventConcept>
<Start>120.0</Start><Duration>30.0</Duration></ScoredEvent>
<ScoredEvent><EventType>Stages|Stages</EventType><EventConcept>Movement|6</EventConcept>
<Start>150.0</Start><Duration>30.0</Duration></ScoredEvent>
<ScoredEvent><EventType>Stages|Stages</EventType><EventConcept>Unscored|9</EventConcept>
<Start>180.0</Start><Duration>30.0</Duration></ScoredEvent>
</ScoredEvents>
</PSGAnnotation>
"""


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(tmp_path, content, name="night.txt", **options):
    return read_scoring(write(tmp_path / name, content), **options)


def edf_plus(*annotations, kind=edfio.Edf, n_signals=0, **options):
    """EDF+ or BDF+ as edfio, which MNE exports with, writes it: 300 s that begin at 23:10:05."""
    signal = edfio.EdfSignal if kind is edfio.Edf else edfio.BdfSignal
    signals = [signal(np.sin(np.arange(30_000) + i), 100, label=f"EEG {i}") for i in range(n_signals)]
    options.setdefault("starttime", time(23, 10, 5))
    options.setdefault("recording", edfio.Recording(startdate=date(2020, 1, 31)))
    annotations = [edfio.EdfAnnotation(*annotation) for annotation in annotations]
    return kind(signals, annotations=annotations, **options).to_bytes()


SCORED = (
    (0, None, "Recording starts"),
    (30, 60, "Sleep stage W"),
    (33.5, 3, "Arousal"),
    (90, 30, "Sleep stage N2"),
    (120, 30, "Sleep stage R"),
    (121, None, "Lights on"),
)


class TestSleepEdf:
    def test_all_published_scorings_are_read(self, shared_data):
        paths = sorted((shared_data / "sleep-edf-hypnograms").glob("*-Hypnogram.edf"))
        assert len(paths) == 70
        found, expected = Counter(), Counter()
        for path in paths:
            scoring = read_scoring(path)
            found.update(scoring.stages.tolist())
            assert scoring.recording == path.stem
            assert scoring.notes == ()
            annotations = edfio.read_edf(path).annotations
            for annotation in annotations:
                expected[stage_from_name(annotation.text)] += annotation.duration / 30
            first, last = annotations[0], annotations[-1]
            assert (scoring.stages[0], scoring.stages[-1]) == tuple(stage_from_name(a.text) for a in (first, last))
            assert (scoring.offset_s, 30 * scoring.n_epochs) == (first.onset, last.onset + last.duration - first.onset)
        assert found == expected

    def test_the_first_night_agrees_with_its_published_epochs(self, shared_data):
        scoring = read_scoring(shared_data / "sleep-edf-hypnograms" / "SC4001EC-Hypnogram.edf")
        assert scoring.n_epochs == 2880
        assert (scoring.stages[0], scoring.stages[-1]) == ("W", "UNS")
        assert (scoring.start, scoring.offset_s) == (datetime(1989, 4, 24, 16, 13), 0)
        with np.load(shared_data / "sleep-edf-sc4001-30s" / "SC4001E0_30s.npz") as night:
            rows, stages = night["row"], [stage_from_name(stage) for stage in night["stage"]]
        # Row 100 is epoch 961 of the recording.
        np.testing.assert_array_equal(scoring.stages[rows + 861], stages)

    def test_a_scoring_that_begins_late_has_an_offset(self, shared_data):
        scoring = read_scoring(shared_data / "sleep-edf-hypnograms" / "ST7041JO-Hypnogram.edf")
        assert (scoring.offset_s, scoring.start) == (750, datetime(1994, 7, 20, 0, 2))
        assert scoring.n_epochs == 1008


class TestEdfPlus:
    @pytest.mark.parametrize("kind", [edfio.Edf, edfio.Bdf])
    @pytest.mark.parametrize("n_signals", [0, 2])
    def test_stages_are_read_among_other_events(self, tmp_path, kind, n_signals):
        scoring = read(tmp_path, edf_plus(*SCORED, kind=kind, n_signals=n_signals), "night.dat")
        assert scoring.stages.tolist() == ["W", "W", "N2", "R"]
        assert (scoring.offset_s, scoring.start) == (30, datetime(2020, 1, 31, 23, 10, 35))
        assert scoring.recording == "night"
        assert scoring.notes == (
            '3 events that are no stages were left out: "Recording starts", "Arousal", "Lights on".',
        )

    def test_what_mne_exports_is_read(self, tmp_path):
        mne = pytest.importorskip("mne")
        raw = mne.io.RawArray(np.zeros((1, 30_000)), mne.create_info(["EEG"], 100, "eeg"), verbose="error")
        raw.set_annotations(mne.Annotations([0, 60, 90], [60, 30, 30], ["Sleep stage W", "Sleep stage N1", "REM"]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mne.export.export_raw(tmp_path / "night.edf", raw, verbose="error")
        assert read_scoring(tmp_path / "night.edf").stages.tolist() == ["W", "W", "N1", "R"]

    def test_movement_among_other_events_is_no_stage(self, tmp_path):
        scored = [*SCORED, (12.5, 40, "Movement"), (95, 20, "Artifact")]
        scoring = read(tmp_path, edf_plus(*scored))
        assert scoring.stages.tolist() == ["W", "W", "N2", "R"]
        assert scoring.offset_s == 30

    def test_stages_that_belong_to_a_channel(self, tmp_path):
        scoring = read(tmp_path, edf_plus((0, 30, "Sleep stage W@@EEG F4-A1"), (30, 30, "Lights off@@EEG F4-A1")))
        assert scoring.stages.tolist() == ["W"]

    def test_movement_time_is_a_stage(self, tmp_path):
        scoring = read(tmp_path, edf_plus(*SCORED, (150, 30, "Movement time")))
        assert scoring.stages.tolist() == ["W", "W", "N2", "R", "UNS"]

    @pytest.mark.parametrize("text", ["Sleep stage X", "Stage 7", "sleep-n7", "Sleep stage"])
    def test_what_looks_like_a_stage_and_is_none_is_named(self, tmp_path, text):
        with pytest.raises(UnknownStageError, match=rf"annotation 7: unknown sleep stage '{text}': expected one of"):
            read(tmp_path, edf_plus(*SCORED, (150, 30, text)))

    def test_numbers_among_named_stages_are_other_events(self, tmp_path):
        assert read(tmp_path, edf_plus(*SCORED, (150, 30, "1"))).n_epochs == 4

    def test_a_file_without_stages_tells_what_it_holds(self, tmp_path):
        content = edf_plus((0, None, "Lights off"), (9, 10, "Apnea"))
        with pytest.raises(HypnogramError, match=r'night.txt: there is no stage .* only "Lights off", "Apnea"; give'):
            read(tmp_path, content)

    def test_a_recording_without_a_scoring_says_so(self, shared_data):
        with pytest.raises(HypnogramError, match=r"nox_120s.edf: there is no stage in it: .* found no name at all"):
            read_scoring(shared_data / "nox-psg-edf" / "nox_120s.edf")

    def test_a_recording_without_annotations_says_so(self, tmp_path, write_edf):
        path = write_edf(tmp_path / "night.edf", ("EEG Fpz-Cz", "EEG Pz-Oz"))
        with pytest.raises(HypnogramError, match="2 channels and none of annotations: expected"):
            read_scoring(path)

    def test_a_truncated_file_is_named(self, tmp_path):
        with pytest.raises(HypnogramError, match="is truncated: its header promises 1 records, the file holds 0"):
            read(tmp_path, edf_plus(*SCORED)[:-20])

    def test_damaged_annotations_are_named(self, tmp_path):
        content = edf_plus(*SCORED)
        with pytest.raises(HypnogramError, match="its annotations are damaged"):
            read(tmp_path, content[:512] + b"?" * (len(content) - 512))
        with pytest.raises(HypnogramError, match="expected numbers of less than 32 digits"):
            read(tmp_path, content[:512] + b"+" + b"1" * (len(content) - 513))

    def test_annotations_without_an_end_do_not_hold_it_up(self, tmp_path):
        content = edf_plus(*SCORED * 2000)
        with pytest.raises(HypnogramError, match="an end after at most 8192 bytes"):
            read(tmp_path, content[:512] + (b"+1\x14" * len(content))[: len(content) - 512])

    def test_letters_of_latin_1_do_no_harm(self, tmp_path):
        content = edf_plus(*SCORED).replace(b"Arousal", "Größe..".encode("latin-1"))
        assert read(tmp_path, content).stages.tolist() == ["W", "W", "N2", "R"]

    def test_an_impossible_date_costs_the_clock_time_alone(self, tmp_path):
        content = edf_plus(*SCORED)
        scoring = read(tmp_path, content[:168] + b"00.00.00" + content[176:])
        assert scoring.start is None
        assert scoring.n_epochs == 4

    def test_midnight_sharp_is_no_known_clock_time(self, tmp_path):
        content = edf_plus(*SCORED, starttime=time(0, 0, 0))
        assert content[176:184] == b"00.00.00"
        scoring = read(tmp_path, content)
        assert (scoring.start, scoring.offset_s) == (None, 30)
        a_second_later = edf_plus(*SCORED, starttime=time(0, 0, 1))
        assert read(tmp_path, a_second_later).start == datetime(2020, 1, 31, 0, 0, 31)


class TestXml:
    def test_profusion(self, tmp_path):
        scoring = read(tmp_path, PROFUSION)
        assert scoring.stages.tolist() == ["W", "N1", "N2", "N3", "N3", "R", "UNS", "UNS"]
        assert (scoring.epoch_seconds, scoring.offset_s, scoring.start) == (20, 0, None)

    def test_profusion_numbers_are_never_aasm(self, tmp_path):
        content = PROFUSION.replace("<SleepStage>5</SleepStage>", "")
        assert "R" not in read(tmp_path, content, numbers="aasm").stages

    def test_nsrr(self, tmp_path):
        scoring = read(tmp_path, NSRR)
        assert scoring.stages.tolist() == ["W", "W", "N1", "N3", "R", "UNS", "UNS"]
        assert scoring.offset_s == 0
        assert scoring.start is None, "the onsets count from the first sample; the NSRR moves clocks"

    def test_nsrr_with_concepts_of_an_ontology(self, tmp_path):
        events = [("SDO:WakeState", 30), ("SDO:NonRapidEyeMovementSleep-N4", 60), ("SDO:ArousalEvent", 61)]
        content = "".join(
            f"<ScoredEvent><EventConcept>{concept}</EventConcept><Start>{start}</Start><Duration>30</Duration>"
            "</ScoredEvent>"
            for concept, start in events
        )
        scoring = read(tmp_path, f"<PSGAnnotation><ScoredEvents>{content}</ScoredEvents></PSGAnnotation>")
        assert scoring.stages.tolist() == ["W", "N3"]
        assert scoring.offset_s == 30

    @pytest.mark.parametrize(
        ("content", "error", "message"),
        [
            (PROFUSION.replace(">6<", ">7<"), UnknownStageError, "epoch 6 has the stage number 7: expected one of -1"),
            (PROFUSION.replace(">6<", ">x<"), UnknownStageError, "epoch 6: unknown sleep stage 'x'"),
            (PROFUSION.replace(">20<", ">twenty<"), HypnogramError, "EpochLength is 'twenty': expected a number"),
            (PROFUSION.replace(">20<", ">0<"), HypnogramError, "epochs of 0 s were asked for"),
            (PROFUSION.replace("SleepStage", "Other"), HypnogramError, "there is no stage in it: .* found no entry"),
            (NSRR.replace("REM sleep|5", "Dream|7"), UnknownStageError, "event 6: unknown sleep stage 'Dream'"),
            (NSRR.replace(">120.0<", ">soon<"), HypnogramError, r"event 6 \(R\) has the onset nan s"),
            (NSRR.replace(">120.0<", ">1e12<"), HypnogramError, r"event 6 \(R\) has the onset 1e\+12 s"),
            (NSRR[:500], HypnogramError, "is damaged XML"),
            ("<html><body/></html>", HypnogramError, "XML with the root <html>: expected one of"),
            ('<!DOCTYPE a [<!ENTITY b "c">]>' + PROFUSION[38:], HypnogramError, "declares a document type"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path, content, error, message):
        with pytest.raises(error, match=message):
            read(tmp_path, content)


class TestFiles:
    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(HypnogramError, match=r"nowhere.edf is not a file: expected a scoring; check the path"):
            read_scoring(tmp_path / "nowhere.edf")

    @pytest.mark.parametrize("content", [b"", b"\n\n", b"# nothing\n", b"\xef\xbb\xbf"])
    def test_an_empty_file_is_named(self, tmp_path, content):
        with pytest.raises(HypnogramError, match=r"night.txt: it is empty"):
            read(tmp_path, content)

    @pytest.mark.parametrize("content", [b"PK\x03\x04\x14\x00", b"\x89PNG\r\n\x1a\n\x00\x00", b"\xff\xfeW"])
    def test_another_format_is_named(self, tmp_path, content):
        with pytest.raises(HypnogramError, match=r"of no known format: expected EDF\+"):
            read(tmp_path, content)

    def test_a_huge_text_is_not_read(self, tmp_path):
        path = tmp_path / "night.txt"
        with path.open("wb") as file:
            file.truncate(201 * 10**6)
        with pytest.raises(HypnogramError, match="it has 201 MB: expected"):
            read_scoring(path)

    def test_too_many_lines_are_no_scoring(self, tmp_path):
        with pytest.raises(HypnogramError, match="more than 1000000 lines"):
            read(tmp_path, "\n" * 1_000_001)

    def test_strange_names_can_be_printed(self, tmp_path):
        path = write(tmp_path / "n\udcffight.txt", "0\n5\n")
        assert read_scoring(path).recording == "n\ufffdight"
        with pytest.raises(UnknownStageError, match=r"n\ufffdight\.txt: line 1"):
            read_scoring(write(path, "dreaming"))

"""Scorings of every format: those of Sleep-EDF and a PSG are real, the others are written here as documented."""

import json
import warnings
from collections import Counter
from datetime import date, datetime, time

import edfio
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dataset_builders.scorings import read_scoring
from modeling_sleepvit.errors import HypnogramError, SettingError, SleepViTError, UnknownStageError
from modeling_sleepvit.hypnogram import Hypnogram
from modeling_sleepvit.stages import stage_from_name


STAGES = ["W", "W", "N1", "N2", "N2", "N3", "R", "UNS"]

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

TABLE = "onset,duration,stage\n" + "".join(f"{30 * i},30,{stage}\n" for i, stage in enumerate(STAGES))

BIDS = """onset\tduration\ttrial_type\tvalue
5.0\tn/a\tlights off\t1
60.0\t60.0\tSleep stage W\tn/a
75.25\t3.0\tarousal\t3
120.0\t30.0\tSleep stage N2\tn/a
150.0\t30.0\tn/a\tn/a
180.0\t30.0\tSleep stage R\tn/a
"""

NOXTURNAL = """Start Time,End Time,Event,Duration
[],[],[],[]
31/01/2020 23:59:00,31/01/2020 23:59:00,Analysis Start,0
31/01/2020 23:59:10,31/01/2020 23:59:40,sleep-wake,30
31/01/2020 23:59:30,31/01/2020 23:59:33,"arousal, spontaneous",3
31/01/2020 23:59:40,01/02/2020 00:00:40,sleep-n2,60
01/02/2020 00:00:40,01/02/2020 00:01:10,sleep-n3,30
01/02/2020 00:01:10,01/02/2020 00:01:40,sleep-rem,30
"""

NUMBERS = "0\n0\n1\n2\n2\n3\n5\n9\n"


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
        counts = Counter()
        for path in paths:
            scoring = read_scoring(path)
            counts.update(scoring.stages.tolist())
            assert scoring.recording == path.stem
            assert scoring.notes == ()
            ends = [annotation.onset + annotation.duration for annotation in edfio.read_edf(path).annotations]
            assert scoring.offset_s + 30 * scoring.n_epochs == max(ends)
        # Seconds of each annotation over all files / 30, counted apart from this package.
        assert counts == self.expected_counts(paths)

    def expected_counts(self, paths):
        counts = Counter()
        for path in paths:
            for annotation in edfio.read_edf(path).annotations:
                counts[stage_from_name(annotation.text)] += annotation.duration / 30
        return counts

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
        with pytest.raises(HypnogramError, match="more than 31 digits"):
            read(tmp_path, content[:512] + b"+" + b"1" * (len(content) - 513))

    def test_letters_of_latin_1_do_no_harm(self, tmp_path):
        content = edf_plus(*SCORED).replace(b"Arousal", "Größe..".encode("latin-1"))
        assert read(tmp_path, content).stages.tolist() == ["W", "W", "N2", "R"]

    def test_an_impossible_date_costs_the_clock_time_alone(self, tmp_path):
        content = edf_plus(*SCORED)
        scoring = read(tmp_path, content[:168] + b"00.00.00" + content[176:])
        assert scoring.start is None
        assert scoring.n_epochs == 4


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
        assert scoring.start == datetime(1985, 1, 1, 22, 30, 15)
        assert scoring.notes == ("The file tells the time of day alone: the date 1985-01-01 is arbitrary.",)

    def test_nsrr_with_a_date(self, tmp_path):
        scoring = read(tmp_path, NSRR.replace("00.00.00 22", "24.12.11 22"))
        assert scoring.start == datetime(2011, 12, 24, 22, 30, 15)
        assert scoring.notes == ()

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


class TestTables:
    def test_onsets_durations_and_stages(self, tmp_path):
        scoring = read(tmp_path, TABLE)
        assert scoring.stages.tolist() == STAGES
        assert (scoring.offset_s, scoring.start, scoring.notes) == (0, None, ())

    @pytest.mark.parametrize(
        "change",
        [
            lambda text: text.replace(",", ";"),
            lambda text: text.replace(",", "\t"),
            lambda text: text.replace(",", ";").replace(";30;", ";30,0;"),
            lambda text: text.replace("onset,duration,stage", "Start_Time, Duration [s], Sleep Stage"),
            lambda text: text.replace("onset,duration,stage\n", "# onset, duration, description\n"),
            lambda text: text.replace("\n", "\n\n# a comment\n"),
            lambda text: text.replace("\n", "\r\n").rstrip(),
            lambda text: "\ufeff" + text,
            lambda text: text.encode("utf-16"),
            lambda text: text.encode("utf-16-le"),
            lambda text: ("# Größe\n" + text).encode("latin-1"),
            lambda text: text.replace(",N1", ',"N1"').replace(",R", ", REM "),
        ],
    )
    def test_ways_to_write_it(self, tmp_path, change):
        assert read(tmp_path, change(TABLE)).stages.tolist() == STAGES

    def test_ends_instead_of_durations(self, tmp_path):
        assert read(tmp_path, "start,end,stage\n0,60,W\n60,90,R\n").stages.tolist() == ["W", "W", "R"]

    def test_onsets_alone(self, tmp_path):
        scoring = read(tmp_path, "onset_s,stage\n30,W\n120,R\n")
        assert scoring.stages.tolist() == ["W", "W", "W", "R"]
        assert scoring.offset_s == 30

    def test_bids_events(self, tmp_path):
        scoring = read(tmp_path, BIDS, "sub-01_events.tsv")
        assert scoring.stages.tolist() == ["W", "W", "N2", "UNS", "R"]
        assert scoring.offset_s == 60
        assert scoring.notes[0] == '2 events that are no stages were left out: "lights off", "arousal".'
        assert "the first is epoch 3, 150 s" in scoring.notes[1]

    def test_the_stages_that_people_gave_the_boas_nights(self, tmp_path):
        lines = [f"{30 * i}\t30\t{256 * 30 * i}\t0\t{code}" for i, code in enumerate([0, 1, 2, 3, 4, 8, -2])]
        content = "onset\tduration\tbegsample\toffset\tstage_hum\n" + "\n".join(lines)
        assert read(tmp_path, content, numbers="aasm").stages.tolist() == ["W", "N1", "N2", "N3", "R", "UNS", "UNS"]

    def test_our_own_tables_come_back_whole(self, tmp_path):
        probabilities = np.full((3, 5), 0.2)
        probabilities[1] = np.nan
        ours = Hypnogram(["W", "UNS", "R"], probabilities, epoch_seconds=20, recording="night", offset_s=40)
        ours.to_csv(tmp_path / "night_hypnogram.csv")
        assert read_scoring(tmp_path / "night_hypnogram.csv") == ours

    def test_a_damaged_table_of_ours_is_named(self, tmp_path):
        path = tmp_path / "night_hypnogram.csv"
        Hypnogram(["W", "N1", "R"]).to_csv(path)
        write(path, path.read_text().replace("1,30.0", "1,31.0"))
        with pytest.raises(HypnogramError, match=r"night_hypnogram.csv: .* onset 62 s"):
            read_scoring(path)

    def test_what_mne_saves_is_read(self, tmp_path):
        mne = pytest.importorskip("mne")
        annotations = mne.Annotations([30, 90, 95], [60, 30, 3], ["Sleep stage W", "Sleep stage R", "Arousal"])
        for name in ("annotations.csv", "annotations.txt"):
            annotations.save(tmp_path / name, verbose="error")
        scoring = read_scoring(tmp_path / "annotations.csv")
        assert scoring.stages.tolist() == ["W", "W", "R"]
        assert (scoring.offset_s, scoring.start) == (30, None)
        assert read_scoring(tmp_path / "annotations.txt").stages.tolist() == ["W", "W", "R"]

    @pytest.mark.parametrize(
        ("content", "error", "message"),
        [
            (TABLE.replace(",N1", ",N7"), UnknownStageError, "line 4: unknown sleep stage 'N7': expected one of"),
            (TABLE.replace(",N1", ",Lights off"), UnknownStageError, "line 4: unknown sleep stage 'Lights off'"),
            (TABLE.replace("60,30", "-60,30"), HypnogramError, r"line 4 \(N1\) has the onset -60 s"),
            (TABLE.replace("60,30", "60,-30"), HypnogramError, r"line 4 \(N1\) has the duration -30 s"),
            (TABLE.replace("60,30", "60,x"), HypnogramError, r"line 4 \(N1\) has the duration nan s"),
            (TABLE.replace("60,30", "n/a,30"), HypnogramError, r"line 4 \(N1\) has the onset nan s"),
            (TABLE.replace("60,30", "1e9,30"), HypnogramError, r"line 4 \(N1\) has the onset 1e\+09 s"),
            (TABLE + "240,3", HypnogramError, "line 10 has 2 columns: expected 3 as in the first line"),
            (TABLE.replace("60,30", "60,30,1"), HypnogramError, "line 4 has 4 columns: expected 3"),
            (
                TABLE.replace("stage", "colour"),
                HypnogramError,
                'line 1 names no column of stages: .* "colour"; rename',
            ),
            ("onset,duration,stage\n", HypnogramError, "there is no stage in it"),
            ("epoch,stage\n0,W\n2,R\n", HypnogramError, "line 3 has the epoch '2': expected consecutive numbers"),
            ("epoch,stage\n5,W\n6,R\n", HypnogramError, "line 2 has the epoch '5'"),
            ("duration,stage\n60,W\n30,R\n", HypnogramError, "has durations and no onsets"),
            ("onset,stage\n23:00:00,W\nnoon,R\n", HypnogramError, "line 3 has the time 'noon': expected seconds"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path, content, error, message):
        with pytest.raises(error, match=rf"night.txt: .*{message}|night.txt: {message}"):
            read(tmp_path, content)


class TestClockTimes:
    def test_noxturnal_events_pass_midnight(self, tmp_path):
        scoring = read(tmp_path, NOXTURNAL)
        assert scoring.stages.tolist() == ["W", "N2", "N2", "N3", "R"]
        assert scoring.start == datetime(2020, 1, 31, 23, 59, 10)
        assert scoring.offset_s == 0
        assert scoring.notes == (
            '2 events that are no stages were left out: "Analysis Start", "arousal, spontaneous".',
        )

    @pytest.mark.parametrize("without", ["End Time", "Duration"])
    def test_ends_or_durations_suffice(self, tmp_path, without):
        scoring = read(tmp_path, NOXTURNAL.replace(without, "Comment"))
        assert scoring.stages.tolist() == ["W", "N2", "N2", "N3", "R"]

    def test_times_of_day_get_an_arbitrary_date(self, tmp_path):
        scoring = read(tmp_path, NOXTURNAL.replace("31/01/2020 ", "").replace("01/02/2020 ", ""))
        assert scoring.stages.tolist() == ["W", "N2", "N2", "N3", "R"]
        assert scoring.start == datetime(1985, 1, 1, 23, 59, 10)
        assert scoring.notes[0] == "The file tells the time of day alone: the date 1985-01-01 is arbitrary."

    def test_events_that_are_sorted_by_kind(self, tmp_path):
        content = "start_time,end_time,event\n23:59:30,00:00:30,N2\n00:00:30,01:00:00,W\n23:50:00,23:50:10,Apnea\n"
        scoring = read(tmp_path, content)
        assert scoring.stages.tolist() == ["N2"] * 2 + ["W"] * 119
        assert scoring.start.time() == time(23, 59, 30)

    @pytest.mark.parametrize(
        ("first", "second", "start"),
        [
            ("2020-01-31 23:59:45", "2020-02-01 00:00:15", datetime(2020, 1, 31, 23, 59, 45)),
            ("2020-01-31T23:59:45.500", "2020-02-01T00:00:15.500", datetime(2020, 1, 31, 23, 59, 45, 500_000)),
            # Read as days before months, the night would last a month.
            ("01/31/2020 23:59:45", "02/01/2020 00:00:15", datetime(2020, 1, 31, 23, 59, 45)),
            ("02/01/2020 11:59:45 PM", "02/02/2020 12:00:15 AM", datetime(2020, 2, 1, 23, 59, 45)),
            ("01/02/2020 23:59:45", "02/02/2020 00:00:15", datetime(2020, 2, 1, 23, 59, 45)),
            ("31.01.2020 23:59:45", "01.02.2020 00:00:15", datetime(2020, 1, 31, 23, 59, 45)),
            ("11:59:45 PM", "12:00:15 AM", datetime(1985, 1, 1, 23, 59, 45)),
            ("23:59:45,25", "00:00:15,25", datetime(1985, 1, 1, 23, 59, 45, 250_000)),
        ],
    )
    def test_ways_to_write_times(self, tmp_path, first, second, start):
        scoring = read(tmp_path, f"start time;duration;event\n{first};00:00:30;N1\n{second};30;N2\n")
        assert scoring.stages.tolist() == ["N1", "N2"]
        assert scoring.start == start

    def test_french_exports(self, tmp_path):
        header = "Heure de début,Heure de fin,Événement,Durée"
        content = NOXTURNAL.replace("Start Time,End Time,Event,Duration", header).replace("sleep-wake", "Éveil")
        assert read(tmp_path, content.encode("utf-16")).stages.tolist() == ["W", "N2", "N2", "N3", "R"]

    def test_how_an_event_was_scored_is_left_out(self, tmp_path):
        content = NOXTURNAL.replace("sleep-n2", '"sleep-n2,Manual"')
        assert read(tmp_path, content).stages.tolist() == ["W", "N2", "N2", "N3", "R"]


class TestOneStagePerEpoch:
    @pytest.mark.parametrize(
        "content",
        [
            "W\nN1\nN2\nN3\nREM\n?\n",
            "stage\nwake\ns1\ns2\ns4\nrem\nart\n",
            "Sleep stage W\r\nSleep stage 1\r\nSleep stage 2\r\nSleep stage 4\r\nSleep stage R\r\nMovement time",
            "# scored by A. B.\n\n0\n1\n2\n4\n5\n-1\n",
            "0.0\n1.0\n2.0\n4.0\n5.0\n6.0\n",
            "epoch,stage\n1,0\n2,1\n3,2\n4,4\n5,5\n6,9\n",
            "epoch;hypnogram;note\n0;W;\n1;N1;\n2;N2;a\n3;N3;\n4;R;\n5;n/a;\n",
        ],
    )
    def test_ways_to_write_it(self, tmp_path, content):
        scoring = read(tmp_path, content, epoch_seconds=20)
        assert scoring.stages.tolist() == ["W", "N1", "N2", "N3", "R", "UNS"]
        assert (scoring.epoch_seconds, scoring.offset_s, scoring.start) == (20, 0, None)
        assert scoring.notes == ()

    def test_equal_durations_are_the_length_of_an_epoch(self, tmp_path):
        assert read(tmp_path, "epoch,duration,stage\n0,20,W\n1,20,R\n").epoch_seconds == 20

    def test_rows_without_known_onsets_are_noted(self, tmp_path):
        assert "No column of onsets is known" in read(tmp_path, "t0,stage\n0,W\n30,R\n").notes[0]

    def test_an_unknown_name_is_named(self, tmp_path):
        with pytest.raises(
            UnknownStageError, match=r"night.txt: line 4: unknown sleep stage 'dreaming': expected one"
        ):
            read(tmp_path, "# a night\nW\n\ndreaming\n")


class TestNumbers:
    def read(self, tmp_path, *codes, **options):
        return read(tmp_path, "\n".join(map(str, codes)), **options).stages.tolist()

    def test_a_five_tells_rechtschaffen_and_kales(self, tmp_path):
        assert self.read(tmp_path, 0, 3, 4, 5, 6, 9, -1) == ["W", "N3", "N3", "R", "UNS", "UNS", "UNS"]

    def test_without_four_and_five_both_are_alike(self, tmp_path):
        assert self.read(tmp_path, 0, 1, 2, 3, -1) == ["W", "N1", "N2", "N3", "UNS"]

    def test_a_four_alone_could_be_read_in_two_ways(self, tmp_path):
        with pytest.raises(HypnogramError, match=r'read in two ways, .* pass numbers="rk" or numbers="aasm"'):
            self.read(tmp_path, 0, 2, 4)
        assert self.read(tmp_path, 0, 2, 4, numbers="rk") == ["W", "N2", "N3"]
        assert self.read(tmp_path, 0, 2, 4, numbers="aasm") == ["W", "N2", "R"]

    def test_rem_by_name_makes_four_a_stage_of_nrem(self, tmp_path):
        assert self.read(tmp_path, "W", 1, 2, 4, "R") == ["W", "N1", "N2", "N3", "R"]

    def test_names_do_not_depend_on_it(self, tmp_path):
        assert self.read(tmp_path, "Sleep stage 4", "N3", "S4", numbers="aasm") == ["N3", "N3", "N3"]

    def test_five_is_rem_or_unknown_among_aasm_numbers(self, tmp_path):
        assert self.read(tmp_path, 0, 3, 5, numbers="aasm") == ["W", "N3", "R"]
        with pytest.raises(UnknownStageError, match="line 3 has the stage number 5: expected one of -2, -1, 0, 1"):
            self.read(tmp_path, 0, 4, 5, numbers="aasm")

    def test_other_numbers_are_unknown(self, tmp_path):
        with pytest.raises(UnknownStageError, match="line 2 has the stage number 7"):
            self.read(tmp_path, 0, 7)
        with pytest.raises(UnknownStageError, match=r"line 2: unknown sleep stage '2\.5'"):
            self.read(tmp_path, 0, 2.5)

    def test_another_setting_is_refused(self, tmp_path):
        with pytest.raises(SettingError, match="numbers is 'R&K': expected"):
            self.read(tmp_path, 0, 1, numbers="R&K")

    def test_dreem_scorings_are_aasm(self, shared_data, tmp_path):
        """Stages of a real night: the 4 is REM, and without a 5 nobody could know."""
        scorers = json.loads((shared_data / "dod-scorers" / "dodh.json").read_text())
        codes = next(iter(next(iter(scorers.values())).values()))
        stages = self.read(tmp_path, *codes, numbers="aasm")
        assert Counter(stages)["R"] == codes.count(4) > 0


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
        path = write(tmp_path / "n\udcffight.txt", NUMBERS)
        assert read_scoring(path).recording == "n\ufffdight"
        with pytest.raises(UnknownStageError, match=r"n\ufffdight\.txt: line 1"):
            read_scoring(write(path, "dreaming"))


SAMPLES = {
    "EDF+": edf_plus(*SCORED),
    "BDF+": edf_plus(*SCORED, kind=edfio.Bdf),
    "EDF+ with signals": edf_plus(*SCORED, n_signals=1)[:4000],
    "Profusion": PROFUSION.encode(),
    "NSRR": NSRR.encode(),
    "table": TABLE.encode(),
    "BIDS": BIDS.encode(),
    "Noxturnal": NOXTURNAL.encode(),
    "Noxturnal, UTF-16": NOXTURNAL.encode("utf-16"),
    "numbers": NUMBERS.encode(),
    "ours": b"epoch,onset_s,stage,p_W,p_N1,p_N2,p_N3,p_R,confidence\n0,0.0,W,1,0,0,0,0,1\n1,30.0,R,,,,,,\n",
}


class TestDamage:
    """Whatever a file holds, it is a hypnogram or the error of a user, and no warning."""

    fuzz = settings(
        deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
    )

    def read_or_refuse(self, tmp_path, content):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                result = read(tmp_path, content)
            except SleepViTError as error:
                result = str(error)
        if isinstance(result, str):
            assert result.startswith(str(tmp_path / "night.txt"))
            assert len(result) < 2000
        else:
            assert isinstance(result, Hypnogram)

    @fuzz
    @given(st.binary(max_size=2000))
    @example(b"0       ")
    @example(b"0       " + b"9" * 600)
    @example(b"\xffBIOSEMI" + b" " * 600)
    @example(b"<a" * 1000)
    @example(b'"' + b"a" * 200_000)
    @example(b"onset,stage\n9999-12-31 23:59:59,W\n0001-01-01 00:00:00,W\n")
    @example(b"onset,stage\n23:59:59,W\n-1:00:00,W\n")
    def test_arbitrary_bytes(self, tmp_path, content):
        self.read_or_refuse(tmp_path, content)

    @fuzz
    @given(st.text(alphabet="0123456789WNR.,;:\t\n\"'#- <>/nae+", max_size=300))
    def test_arbitrary_tables(self, tmp_path, text):
        self.read_or_refuse(tmp_path, "onset,duration,stage\n" + text)
        self.read_or_refuse(tmp_path, text)

    @pytest.mark.parametrize("sample", SAMPLES)
    @fuzz
    @given(data=st.data())
    def test_mutated_samples(self, tmp_path, sample, data):
        content = bytearray(SAMPLES[sample])
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, max(0, len(content) - 1)))
            end = data.draw(st.integers(at, min(len(content), at + 40)))
            what = data.draw(st.sampled_from(["flip", "cut", "repeat", "digits", "truncate"]))
            if what == "flip" and at < len(content):
                content[at] ^= data.draw(st.integers(1, 255))
            elif what == "cut":
                del content[at:end]
            elif what == "repeat":
                content[at:at] = content[at:end] * data.draw(st.integers(1, 50))
            elif what == "digits":
                content[at:end] = data.draw(st.sampled_from([b"9" * 8, b"-1", b"nan", b"1e308", b"inf", b"\xc3"]))
            else:
                del content[at:]
        self.read_or_refuse(tmp_path, bytes(content))

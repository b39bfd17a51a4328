"""Damaged scorings of every format: whatever a file holds, it is a hypnogram or the error of a user."""

import warnings

import edfio
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dataset_builders.scorings import read_scoring
from modeling_sleepvit.errors import SleepViTError
from modeling_sleepvit.hypnogram import Hypnogram


ANNOTATIONS = [
    edfio.EdfAnnotation(0, None, "Lights off"),
    edfio.EdfAnnotation(30, 60, "Sleep stage W"),
    edfio.EdfAnnotation(90, 30, "Sleep stage 2"),
]
PROFUSION = "<CMPStudyConfig><EpochLength>30</EpochLength><SleepStages>{}</SleepStages></CMPStudyConfig>"
NSRR = "<PSGAnnotation><EpochLength>30</EpochLength><ScoredEvents>{}</ScoredEvents></PSGAnnotation>"
CLOCK = "<EventType/><EventConcept>Recording Start Time</EventConcept><ClockTime>01.01.85 22.30.15</ClockTime>"
EVENT = "<EventType>Stages|Stages</EventType><EventConcept>{}</EventConcept><Start>{}</Start><Duration>30.0</Duration>"
EVENTS = [CLOCK, EVENT.format("Wake|0", 0), EVENT.format("Stage 2 sleep|2", 30), EVENT.format("REM sleep|5", 60)]
NOXTURNAL = """Start Time,End Time,Event,Duration
31/01/2020 23:59:10,31/01/2020 23:59:40,sleep-wake,30
31/01/2020 23:59:30,31/01/2020 23:59:33,"arousal, spontaneous",3
31/01/2020 23:59:40,01/02/2020 00:00:40,sleep-n2,60
"""
SAMPLES = {
    "EDF+": edfio.Edf([], annotations=ANNOTATIONS).to_bytes(),
    "BDF+": edfio.Bdf([], annotations=ANNOTATIONS).to_bytes(),
    "EDF+ with signals": edfio.Edf(
        [edfio.EdfSignal(np.arange(120.0), 1, label="EEG")], annotations=ANNOTATIONS
    ).to_bytes(),
    "Profusion": PROFUSION.format("".join(f"<SleepStage>{i}</SleepStage>" for i in (0, 1, 2, 3, 5, 9))).encode(),
    "NSRR": NSRR.format("".join(f"<ScoredEvent>{event}</ScoredEvent>" for event in EVENTS)).encode(),
    "table": b"onset,duration,stage\n0,30,W\n30,60,N2\n90,30,R\n",
    "BIDS": b"onset\tduration\ttrial_type\n5.0\tn/a\tlights off\n60.0\t30.0\tSleep stage W\n90.0\t30.0\tN2\n",
    "Noxturnal": NOXTURNAL.encode(),
    "Noxturnal in UTF-16": NOXTURNAL.encode("utf-16"),
    "elapsed times": b"time,stage\n00:00:00,W\n00:00:30,N1\n00:01:00,N2\n",
    "times of day": b"start;duration;stage\n23:59:30;00:00:30;W\n00:00:00;30;N1\n",
    "numbers": b"# R&K\n0\n0\n1\n2\n2\n3\n5\n9\n",
    "ours": b"epoch,onset_s,stage,p_W,p_N1,p_N2,p_N3,p_R,confidence\n0,0.0,W,1,0,0,0,0,1\n1,30.0,R,,,,,,\n",
}

fuzz = settings(
    deadline=None,
    max_examples=60,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def read_or_refuse(tmp_path, content):
    path = tmp_path / "night.txt"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            result = read_scoring(path)
        except SleepViTError as error:
            result = str(error)
    if isinstance(result, str):
        assert result.startswith(str(path))
        assert len(result) < 2000
        assert result.isprintable()
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
@example(b"onset,stage\n9999-12-31 23:59:00,W\n9999-12-31 23:59:30,W\nn/a,W\n")
@example(b"time,stage\n00:00,W\n00:00,N1\n00:01,N1\n00:01,R\n")
@example(b"stage\n\n")
def test_arbitrary_bytes(tmp_path, content):
    read_or_refuse(tmp_path, content)


@fuzz
@given(st.text(alphabet="0123456789WNR.,;:\t\n\"'#- <>/nae+", max_size=300))
def test_arbitrary_tables(tmp_path, text):
    read_or_refuse(tmp_path, b"onset,duration,stage\n" + text.encode())
    read_or_refuse(tmp_path, text.encode())


@pytest.mark.parametrize("sample", SAMPLES)
def test_the_samples_are_sound(tmp_path, sample):
    path = tmp_path / "night.txt"
    path.write_bytes(SAMPLES[sample])
    assert read_scoring(path).n_epochs > 1


@pytest.mark.parametrize("sample", SAMPLES)
@fuzz
@given(data=st.data())
def test_mutated_samples(tmp_path, sample, data):
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
    read_or_refuse(tmp_path, bytes(content))

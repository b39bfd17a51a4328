"""Scorings in text, written here as programs write them; one night of the Dreem Open Datasets is real."""

import json
from collections import Counter
from datetime import datetime, time

import numpy as np
import pytest

from dataset_builders.scorings import read_scoring
from modeling_sleepvit.errors import HypnogramError, SettingError, UnknownStageError
from modeling_sleepvit.hypnogram import Hypnogram


STAGES = ["W", "W", "N1", "N2", "N2", "N3", "R", "UNS"]

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


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(tmp_path, content, name="night.txt", **options):
    return read_scoring(write(tmp_path / name, content), **options)


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
        assert scoring.offset_s is None, "the file does not know when the recording began"
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
        assert (scoring.start, scoring.offset_s) == (start, None)

    @pytest.mark.parametrize("written", ["00:{}", "0:{}", "00:{}.000", "12:{} AM"])
    def test_times_that_begin_with_zero_are_elapsed_times(self, tmp_path, written):
        first, second, third = map(written.format, ("00:00", "00:30", "01:00"))
        scoring = read(tmp_path, f"time,stage\n{first},W\n{second},N1\n{third},N2\n")
        assert scoring.stages.tolist() == ["W", "N1", "N2"]
        assert (scoring.offset_s, scoring.start) == (0, None)
        assert scoring.notes[0].startswith("The first time is 00:00:00: the times were taken to count from the start")

    def test_elapsed_times_count_from_the_recording_and_may_pass_a_day(self, tmp_path):
        hours = [f"{hour % 24:02}:00:00,{(hour + 1) % 24:02}:00:00,sleep-n{1 + hour % 2}" for hour in range(1, 30)]
        content = "start,end,event\n00:00:00,00:00:10,lights off\n" + "\n".join(hours)
        scoring = read(tmp_path, content)
        assert (scoring.offset_s, scoring.start, scoring.n_epochs) == (3600, None, 29 * 120)

    @pytest.mark.parametrize(
        "content",
        [
            "start,end,event\n23:59:30,00:00:00,N2\n00:00:00,00:00:30,R\n",
            "start,end,event\n00:00:00,00:00:30,R\n23:59:30,00:00:00,N2\n",
            "start,event\n2020-02-01 00:00:00,N2\n2020-02-01 00:00:30,R\n",
        ],
    )
    def test_midnight_amid_a_night_or_with_a_date_is_a_clock_time(self, tmp_path, content):
        scoring = read(tmp_path, content)
        assert scoring.stages.tolist() == ["N2", "R"]
        assert scoring.start is not None
        assert scoring.offset_s is None

    @pytest.mark.parametrize(
        "time_of_zone",
        [
            "2020-01-31T23:59:45Z",
            "2020-01-31 23:59:45+00:00",
            "2020-01-31T23:59:45.500+0100",
            "2020-01-31T23:59-05",
            "23:59:45 UTC",
        ],
    )
    def test_a_time_zone_is_refused(self, tmp_path, time_of_zone):
        message = r"line 2 has the time '.*': expected the local clock time of the recording, without a zone\.$"
        with pytest.raises(HypnogramError, match=message):
            read(tmp_path, f"onset,stage\n{time_of_zone},W\n")
        with pytest.raises(HypnogramError, match=message):
            read(tmp_path, f"onset,end,stage\n2020-01-31 23:59:15,{time_of_zone},W\n")

    @pytest.mark.parametrize("duration", ["30", "n/a"])
    def test_times_in_minutes_that_two_epochs_share_are_refused(self, tmp_path, duration):
        stages = ["W", "W", "N1", "N2", "N2", "N3"] * 10
        rows = [f"23:{i // 2:02},{duration},{stage}" for i, stage in enumerate(stages)]
        with pytest.raises(HypnogramError, match=r"line \d+ .* overlaps line \d+ .* onsets rounded to minutes"):
            read(tmp_path, "time,duration,stage\n" + "\n".join(rows))

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
            "# scored by A. B.\n0\n1\n# arousal\n2\n3\n5\n-1\n\n \n# end\n\n",
            "0.0\n1.0\n2.0\n3.0\n5.0\n6.0\n",
            "epoch,stage\n1,0\n\n2,1\n3,2\n4,3\n5,5\n6,9\n",
            'stage\n0\n1\n2\n3\n5\n""\n',
            "epoch;hypnogram;note\n0;W;\n1;N1;\n2;N2;a\n3;N3;\n4;R;\n5;n/a;\n",
        ],
    )
    def test_ways_to_write_it(self, tmp_path, content):
        scoring = read(tmp_path, content, epoch_seconds=20)
        assert scoring.stages.tolist() == ["W", "N1", "N2", "N3", "R", "UNS"]
        assert (scoring.epoch_seconds, scoring.offset_s, scoring.start) == (20, 0, None)
        assert scoring.notes == ()

    @pytest.mark.parametrize(
        ("content", "line"),
        [
            ("W\nN1\n\nN2\n", 3),
            ("W\r\nN1\r\n\r\nN2\r\n", 3),
            ("\nW\nN1\n", 1),
            ("# scored by A. B.\n \t\nW\nN1\n", 2),
            ("stage\n\nW\nN1\n", 2),
            ("stage\nW\n\nN2\n", 3),
            ("stage,note\nW,\n\nN2,\n", 3),
            ("stage,duration\nW,30\n\nN2,30\n", 3),
            ("W\n" * 30 + "\nN2\n", 31),
        ],
    )
    def test_a_blank_line_that_would_shift_epochs_is_refused(self, tmp_path, content, line):
        message = f"line {line} is blank: expected a stage on every line; write \\? for an epoch that has none"
        with pytest.raises(HypnogramError, match=rf"night\.txt: {message}\.$"):
            read(tmp_path, content)

    def test_equal_durations_are_the_length_of_an_epoch(self, tmp_path):
        assert read(tmp_path, "epoch,duration,stage\n0,20,W\n1,20,R\n").epoch_seconds == 20

    def test_rows_without_known_onsets_are_noted(self, tmp_path):
        assert "No column of onsets is known" in read(tmp_path, "t0,stage\n0,W\n30,R\n").notes[0]

    def test_an_unknown_name_is_named(self, tmp_path):
        with pytest.raises(
            UnknownStageError, match=r"night.txt: line 4: unknown sleep stage 'dreaming': expected one"
        ):
            read(tmp_path, "# a night\nW\n# a comment\ndreaming\n")


class TestNumbers:
    def read(self, tmp_path, *codes, **options):
        return read(tmp_path, "\n".join(map(str, codes)), **options).stages.tolist()

    def test_rechtschaffen_and_kales(self, tmp_path):
        stages = ["W", "N3", "N3", "R", "UNS", "UNS", "UNS"]
        assert self.read(tmp_path, 0, 3, 4, 5, 6, 9, -1, numbers="rk") == stages

    @pytest.mark.parametrize("numbers", [None, "rk", "aasm"])
    def test_a_five_without_a_four_is_rem(self, tmp_path, numbers):
        assert self.read(tmp_path, 0, 3, 5, -1, numbers=numbers) == ["W", "N3", "R", "UNS"]

    def test_without_four_and_five_both_are_alike(self, tmp_path):
        assert self.read(tmp_path, 0, 1, 2, 3, -1) == ["W", "N1", "N2", "N3", "UNS"]

    @pytest.mark.parametrize("codes", [(0, 2, 4), (0, 2, 4, 5), (0, 2, 4, 5, 6, 9), ("W", 2, 4, 5)])
    def test_a_four_could_be_read_in_two_ways_whatever_else_occurs(self, tmp_path, codes):
        asked = r'pass numbers="rk" or numbers="aasm" \(on the command line --numbers rk or --numbers aasm\)\.$'
        with pytest.raises(HypnogramError, match=rf"read in two ways, since 4 occurs: .* {asked}"):
            self.read(tmp_path, *codes)

    def test_the_setting_tells_what_a_four_is(self, tmp_path):
        assert self.read(tmp_path, 0, 2, 4, numbers="rk") == ["W", "N2", "N3"]
        assert self.read(tmp_path, 0, 2, 4, numbers="aasm") == ["W", "N2", "R"]

    def test_rem_by_name_makes_four_a_stage_of_nrem(self, tmp_path):
        assert self.read(tmp_path, "W", 1, 2, 4, "R") == ["W", "N1", "N2", "N3", "R"]

    def test_names_do_not_depend_on_it(self, tmp_path):
        assert self.read(tmp_path, "Sleep stage 4", "N3", "S4", numbers="aasm") == ["N3", "N3", "N3"]

    def test_five_is_rem_or_unknown_among_aasm_numbers(self, tmp_path):
        assert self.read(tmp_path, 0, 3, 5, numbers="aasm") == ["W", "N3", "R"]
        assert self.read(tmp_path, 0, 4, 5, numbers="aasm") == ["W", "R", "UNS"]
        with pytest.raises(UnknownStageError, match="line 3 has the stage number 6: expected one of -2, -1, 0, 1"):
            self.read(tmp_path, 0, 4, 6, numbers="aasm")

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

import shutil
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import edfio
import numpy as np
import pytest

from modeling_sleepvit.errors import ChannelError, RecordingError, RecordingNotFoundError, SleepViTError
from modeling_sleepvit.recordings import (
    Recording,
    distinct_names,
    find_recordings,
    read_channel_names,
    read_recording,
    recording_from_array,
    recording_from_raw,
)


SECONDS = 60


def wave(seed=0, sampling_rate=100, amplitude=20.0, seconds=SECONDS):
    return amplitude * np.random.default_rng(seed).standard_normal(round(seconds * sampling_rate))


def signal(label, data=None, sampling_rate=100, unit="uV", kind=edfio.EdfSignal):
    data = wave(sum(label.encode()), sampling_rate) if data is None else data
    return kind(data, sampling_rate, label=label, physical_dimension=unit)


def write_edf(path, *signals, **options):
    options.setdefault("starttime", datetime(2020, 1, 31, 23, 10, 5).time())
    edfio.Edf(signals, **options).write(path)
    return path


def write_channels(path, *labels):
    return write_edf(path, *(signal(label) for label in labels))


def patch_header(path, offset, field):
    content = bytearray(path.read_bytes())
    content[offset : offset + len(field)] = field
    path.write_bytes(content)
    return path


@pytest.fixture
def edf(tmp_path):
    """Headers as in Sleep-EDF: four channels of three rates and no two units alike, then annotations."""
    return write_edf(
        tmp_path / "SC4001E0-PSG.edf",
        signal("EEG Fpz-Cz"),
        signal("EEG Pz-Oz"),
        signal("EOG horizontal"),
        signal("Resp oro-nasal", sampling_rate=1, unit=""),
        signal("EMG submental", sampling_rate=50, unit="mV"),
        signal("Temp rectal", sampling_rate=1, unit="DegC"),
        annotations=[edfio.EdfAnnotation(10, None, "Lights off"), edfio.EdfAnnotation(3, 2, "Größe")],
        patient=edfio.Patient(code="SC4001", name="Jane_Doe"),
        recording=edfio.Recording(startdate=datetime(2020, 1, 31).date()),
    )


class TestReadingEdf:
    def test_a_sleep_edf_file_gives_fpz_cz(self, edf):
        recording = read_recording(edf)
        assert recording.channel_names == ("EEG Fpz-Cz",)
        assert recording.sampling_rate == 100
        assert recording.duration_s == SECONDS
        assert recording.signals.dtype == np.float32
        np.testing.assert_allclose(recording.signals[0], wave(sum(b"EEG Fpz-Cz")), atol=0.01)
        assert recording.start == datetime(2020, 1, 31, 23, 10, 5)
        assert (recording.id, recording.subject, recording.path) == ("SC4001E0-PSG", "SC4001", edf)
        assert recording.notes == ('No channel was named: Fpz-Cz was read from the channel labelled "EEG Fpz-Cz".',)

    def test_names_are_read_without_annotations(self, edf):
        assert read_channel_names(edf)[:2] == ("EEG Fpz-Cz", "EEG Pz-Oz")
        assert len(read_channel_names(edf)) == 6

    def test_slow_channels_keep_their_own_rate(self, edf):
        recording = read_recording(edf, "EMG submental")
        assert (recording.sampling_rate, recording.signals.shape) == (50, (1, 3000))

    @pytest.mark.parametrize(
        ("unit", "uv"),
        [
            ("uV", 1),
            ("mV", 1e3),
            ("V", 1e6),
            ("nV", 1e-3),
            ("UV", 1),
            ("\xb5V", 1),
            ("\xc2\xb5V", 1),
            ("\x83\xcaV", 1),
        ],
    )
    def test_every_unit_of_voltage_comes_out_in_uv(self, tmp_path, unit, uv):
        path = write_edf(tmp_path / "x.edf", signal("C4-M1", wave() / uv))
        patch_header(path, 256 + (16 + 80), unit.encode("latin-1").ljust(8))
        recording = read_recording(path, "C4-M1")
        np.testing.assert_allclose(recording.signals[0], wave(), atol=0.05)
        assert recording.notes == ()

    @pytest.mark.parametrize(("unit", "stated"), [("", "states no unit"), ("%", 'states the unit "%"')])
    def test_numbers_without_a_voltage_are_taken_as_uv_and_noted(self, tmp_path, unit, stated):
        recording = read_recording(write_edf(tmp_path / "x.edf", signal("C4-M1", wave(), unit=unit)), "C4-M1")
        np.testing.assert_allclose(recording.signals[0], wave(), atol=0.01)
        assert any(stated in note and "taken as uV" in note for note in recording.notes)

    def test_a_unit_that_is_a_million_off_is_noted(self, tmp_path):
        recording = read_recording(write_edf(tmp_path / "x.edf", signal("C4-M1", wave(), unit="V")))
        assert "which scalp EEG does not have: check its unit" in recording.notes[-1]

    def test_a_damaged_calibration_is_noted(self, tmp_path):
        path = write_channels(tmp_path / "x.edf", "C4-M1")
        patch_header(path, 256 + (16 + 80 + 8), b"-80,5".ljust(8))
        assert any("states no unit" in note for note in read_recording(path).notes)

    def test_duplicated_labels_give_the_first_and_a_note(self, tmp_path):
        path = write_edf(tmp_path / "x.edf", signal("C4-M1", wave(1)), signal("C4-M1", wave(2)))
        recording = read_recording(path, "C4-M1")
        np.testing.assert_allclose(recording.signals[0], wave(1), atol=0.01)
        assert recording.notes == ('2 channels are labelled "C4-M1": the first of them was read.',)

    def test_several_channels_come_in_the_order_asked_for(self, edf):
        recording = read_recording(edf, ["Pz-Oz", "EEG Fpz-Cz"])
        assert recording.channel_names == ("EEG Pz-Oz", "EEG Fpz-Cz")
        assert recording.signals.shape == (2, 6000)

    def test_labels_in_either_encoding_are_legible(self, tmp_path):
        path = write_channels(tmp_path / "x.edf", "A", "B", "C4-M1")
        patch_header(path, 256, "Impédance".encode().ljust(16) + "Größe".encode("latin-1").ljust(16))
        assert read_channel_names(path) == ("Impédance", "Größe", "C4-M1")

    @pytest.mark.parametrize("date", [b"00.00.00", b"xx.xx.xx", b"        "])
    def test_an_impossible_date_is_no_obstacle(self, tmp_path, date):
        path = patch_header(write_channels(tmp_path / "x.edf", "C4-M1"), 168, date)
        assert read_recording(path).start is None

    def test_a_name_in_plain_edf_is_no_subject_code(self, tmp_path):
        path = write_channels(tmp_path / "x.edf", "C4-M1")
        patch_header(path, 8, b"Doe, Jane".ljust(80))
        patch_header(path, 192, b" " * 44)
        assert read_recording(path).subject is None

    def test_one_channel_of_a_wide_file_is_all_that_is_loaded(self, tmp_path, shared_data):
        """Eight hours of the clinical export with its 89 channels, 424 MB that are a hole in the file."""
        source = (shared_data / "nox-psg-edf" / "nox_120s.edf").read_bytes()
        header = bytearray(source[: int(source[184:192])])
        record_bytes, n_records = (len(source) - len(header)) // 12, 8 * 360
        header[236:244] = str(n_records).encode().ljust(8)
        path = tmp_path / "wide.edf"
        path.write_bytes(header)
        with path.open("r+b") as file:
            file.truncate(len(header) + n_records * record_bytes)
        tracemalloc.start()
        recording = read_recording(path, "F4-M1")
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert recording.duration_s == 8 * 3600
        assert peak_bytes < 8 * 4 * recording.signals.size < path.stat().st_size / 2


class TestBdf:
    @pytest.fixture
    def bdf(self, tmp_path):
        signals = [signal("Fz", wave(1), kind=edfio.BdfSignal), signal("C4", wave(2, 50), 50, kind=edfio.BdfSignal)]
        signals.append(signal("M1", wave(3, 50) / 1e3, 50, unit="mV", kind=edfio.BdfSignal))
        edfio.Bdf(signals, annotations=[edfio.EdfAnnotation(1, None, "x")]).write(tmp_path / "x.bdf")
        return tmp_path / "x.bdf"

    def test_24_bit_samples_are_decoded(self, bdf):
        recording = read_recording(bdf, "Fz")
        assert (recording.channel_names, recording.sampling_rate) == (("Fz",), 100)
        np.testing.assert_allclose(recording.signals[0], wave(1), atol=1e-3)

    def test_blocks_join_without_a_seam(self, bdf, monkeypatch):
        monkeypatch.setattr("modeling_sleepvit.recording_files._BLOCK_BYTES", 5000)
        np.testing.assert_allclose(read_recording(bdf, "Fz").signals[0], wave(1), atol=1e-3)

    def test_units_and_rates_are_those_of_the_channel(self, bdf):
        recording = read_recording(bdf, "C4-A1")
        assert recording.sampling_rate == 50
        np.testing.assert_allclose(recording.signals[0], wave(2, 50) - wave(3, 50), atol=1e-2)

    def test_truncation_is_noticed(self, bdf):
        bdf.write_bytes(bdf.read_bytes()[:-1000])
        with pytest.raises(RecordingError, match=r"promises 60 s of signal, the file holds \d+ s"):
            read_recording(bdf)


class TestDerivations:
    def test_a_clinical_export_of_89_channels_gives_f4_m1(self, shared_data):
        recording = read_recording(shared_data / "nox-psg-edf" / "nox_120s.edf")
        assert recording.channel_names == ("F4-M1",)
        assert (recording.sampling_rate, recording.duration_s) == (200, 120)
        assert recording.start == datetime(2018, 2, 6, 1, 36, 50)

    def test_electrodes_recorded_one_by_one_are_subtracted(self, tmp_path):
        path = write_edf(tmp_path / "x.edf", signal("EEG C4-REF", wave(1)), signal("A1", wave(2) / 1e3, unit="mV"))
        recording = read_recording(path, "C4-M1")
        assert recording.channel_names == ("C4-M1",)
        np.testing.assert_allclose(recording.signals[0], wave(1) - wave(2), atol=0.02)
        assert recording.notes == ('C4-M1 was computed as "EEG C4-REF" minus "A1".',)

    def test_the_export_derives_what_it_also_holds(self, shared_data):
        path = shared_data / "nox-psg-edf" / "nox_120s.edf"
        held = read_recording(path, "C4-M1").signals[0]
        apart = read_recording(path, ["C4", "M1"]).signals
        # The header rounds the range of every channel, which moves each of them by 3 uV.
        difference = held - (apart[0] - apart[1])
        assert np.ptp(difference) < 0.3

    def test_a_long_list_of_names_is_cut(self, shared_data):
        with pytest.raises(ChannelError, match=r"and 59 more\.$"):
            read_recording(shared_data / "nox-psg-edf" / "nox_120s.edf", "Fz-M1")


class TestBadFiles:
    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("x.edf", b"", "is empty: expected a recording, found 0 bytes"),
            ("x.edf", b"Once upon a time " * 99, "is not an EDF or BDF file: .* found b'Once upo'"),
            ("x.edf", bytes(range(256)) * 20, "is not an EDF or BDF file"),
            ("x.edf", b"0       short", "has a damaged header"),
            ("x.edf", b"0       " + b"z" * 2000, "has a damaged header"),
            ("x.txt", b"text", 'has the suffix ".txt": expected one of .edf, .rec, .bdf, .fif'),
            ("x_raw.fif", b"not a fif" * 99, "cannot be read as FIF"),
        ],
    )
    def test_what_is_no_recording_is_named_with_what_was_found(self, tmp_path, name, content, message):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(RecordingError, match=message) as caught:
            read_recording(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(RecordingNotFoundError, match=r"night.edf does not exist"):
            read_recording(tmp_path / "night.edf")

    def test_a_folder(self, tmp_path):
        with pytest.raises(RecordingError, match="is a folder: expected one recording"):
            read_recording(tmp_path)

    def test_truncation_tells_promised_and_found_seconds(self, edf):
        size = edf.stat().st_size
        with edf.open("r+b") as file:
            file.truncate(size * 2 // 3)
        with pytest.raises(RecordingError, match=r"promises 60 s of signal, the file holds (39|40) s; copy or export"):
            read_recording(edf)

    def test_a_header_alone(self, edf):
        with edf.open("r+b") as file:
            file.truncate(256 * 8)
        with pytest.raises(RecordingError, match="holds a header and no samples"):
            read_recording(edf)

    @pytest.mark.parametrize("size", [100, 256, 300, 256 * 8 - 1])
    def test_a_header_that_ends_early(self, edf, size):
        with edf.open("r+b") as file:
            file.truncate(size)
        with pytest.raises(RecordingError, match=r"damaged header|no samples"):
            read_recording(edf)

    @pytest.mark.parametrize(("n_records", "stated"), [(b"-1", "no length"), (b"20", "20 s")])
    def test_a_header_that_promises_less_is_legal_and_noted(self, edf, n_records, stated):
        recording = read_recording(patch_header(edf, 236, n_records.ljust(8)))
        assert recording.duration_s == SECONDS
        assert recording.notes[0] == f"The header states {stated}, the file holds 60 s: all of it was read."

    def test_a_record_length_of_zero(self, edf):
        with pytest.raises(RecordingError, match="expected records longer than 0 s"):
            read_recording(patch_header(edf, 244, b"0".ljust(8)))

    def test_gaps_between_records_are_refused(self, edf):
        patch_header(edf, 192, b"EDF+D")
        assert read_recording(edf).duration_s == SECONDS  # marked as one with gaps, but there are none
        edf.write_bytes(edf.read_bytes().replace(b"+30\x14\x14", b"+99\x14\x14"))
        with pytest.raises(RecordingError, match="gaps between its records"):
            read_recording(edf)

    def test_a_scoring_is_no_recording(self, shared_data):
        scoring = sorted((shared_data / "sleep-edf-hypnograms").rglob("*-Hypnogram.edf"))[0]
        with pytest.raises(RecordingError, match="holds annotations alone: expected signals"):
            read_recording(scoring)

    @pytest.mark.parametrize("seed", range(20))
    def test_random_damage_to_the_header_never_escapes_as_another_error(self, edf, seed):
        random = np.random.default_rng(seed)
        content = bytearray(edf.read_bytes())
        for offset in random.integers(0, 256 * 8, size=12):
            content[offset] = random.integers(32, 127)
        edf.write_bytes(content)
        try:
            read_recording(edf, "EEG Fpz-Cz")
        except SleepViTError as error:
            assert str(edf) in str(error)  # noqa: PT017 - damage to a comment field is harmless, so raising is optional


class TestMne:
    @pytest.fixture
    def raw(self):
        mne = pytest.importorskip("mne")
        info = mne.create_info(["EEG Fpz-Cz", "C4", "Aux"], 100, ["eeg", "eeg", "misc"])
        raw = mne.io.RawArray(np.stack([wave(1), wave(2), wave(3)]) * 1e-6, info, verbose="error")
        return raw.set_meas_date(datetime(2020, 1, 31, 23, 10, 5, tzinfo=UTC))

    def test_volts_become_uv_and_the_clock_is_local(self, raw):
        recording = recording_from_raw(raw)
        np.testing.assert_allclose(recording.signals[0], wave(1), atol=1e-3)
        assert recording.start == datetime(2020, 1, 31, 23, 10, 5)
        assert recording.notes[0].startswith("No channel was named: Fpz-Cz")

    def test_the_start_follows_a_crop(self, raw):
        assert recording_from_raw(raw.crop(10, 40)).start == datetime(2020, 1, 31, 23, 10, 15)

    def test_a_channel_that_is_no_voltage_is_taken_as_it_is(self, raw):
        recording = recording_from_raw(raw, "Aux")
        np.testing.assert_allclose(recording.signals[0], wave(3) * 1e-6, rtol=1e-5)
        assert any("states no unit" in note for note in recording.notes)

    def test_fif_reads_as_the_object_that_was_saved(self, raw, tmp_path):
        raw.save(tmp_path / "night_raw.fif", verbose="error")
        recording = read_recording(tmp_path / "night_raw.fif", ["C4", "Fpz-Cz"])
        np.testing.assert_allclose(recording.signals, [wave(2), wave(1)], atol=1e-3)
        assert recording.id == "night_raw"
        assert read_channel_names(tmp_path / "night_raw.fif") == ("EEG Fpz-Cz", "C4", "Aux")

    def test_a_truncated_fif_is_a_user_error(self, raw, tmp_path):
        path = tmp_path / "night_raw.fif"
        raw.save(path, verbose="error")
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(RecordingError, match=r"night_raw.fif.* cannot be read"):
            read_recording(path)

    def test_edf_reads_as_mne_reads_it(self, shared_data):
        mne = pytest.importorskip("mne")
        path = shared_data / "nox-psg-edf" / "nox_120s.edf"
        raw = mne.io.read_raw_edf(path, include=["C3-M2", "O1"], verbose="error")
        names = ["C3-M2", "O1"]
        np.testing.assert_allclose(
            read_recording(path, names).signals, recording_from_raw(raw, names).signals, atol=1e-3
        )


class TestArrays:
    def test_one_dimension_is_one_channel(self):
        recording = recording_from_array(wave(), 100)
        assert recording.signals.shape == (1, 6000)
        assert recording.channel_names == ("channel 1",)
        assert recording.notes == ()

    @pytest.mark.parametrize(
        ("array", "options", "message"),
        [
            (wave(), {}, "without a sampling rate: expected sampling_rate in Hz"),
            (wave(), {"sampling_rate": 0}, "sampling rate 0: expected a positive number of Hz"),
            (wave(), {"sampling_rate": "fast"}, "sampling rate 'fast'"),
            (wave(), {"sampling_rate": np.inf}, "sampling rate inf"),
            (wave().reshape(-1, 2), {"sampling_rate": 100}, "more channels than samples; transpose it"),
            (
                wave().reshape(2, 30, 100),
                {"sampling_rate": 100},
                r"shape \(2, 30, 100\): expected \(n_channels, n_samples",
            ),
            ([], {"sampling_rate": 100}, r"shape \(1, 0\)"),
            (["a", "b"], {"sampling_rate": 100}, "cannot be read as an array of numbers"),
            (wave(), {"sampling_rate": 100, "channel_names": ["a", "b"]}, r"1 channels and 2 channel names \(a, b\)"),
        ],
    )
    def test_a_likely_mistake_is_named(self, array, options, message):
        with pytest.raises(RecordingError, match=message):
            recording_from_array(array, **options)

    def test_volts_by_mistake_are_noted(self):
        (note,) = recording_from_array(wave() * 1e-6, 100).notes
        assert "check its unit" in note
        assert " 0.0000" in note

    def test_a_dead_channel_is_not_blamed_on_its_unit(self):
        assert recording_from_array(np.zeros(6000), 100).notes == ()

    def test_picking_finds_names_as_reading_does(self):
        recording = recording_from_array(np.stack([wave(1), wave(2)]), 100, ["EEG C4-A1", "M1"])
        assert recording.pick("C4-M1").channel_names == ("EEG C4-A1",)
        assert recording.pick(["M1", "EEG C4-A1"]).signals[0] == pytest.approx(recording.signals[1])
        with pytest.raises(ChannelError, match='no channel "O1"'):
            recording.pick("O1")

    def test_repr_is_short(self):
        recording = Recording(np.zeros((1, 6000)), 100, ("C4-M1",), id="night")
        assert repr(recording) == "<Recording night: C4-M1; 100 Hz; 60 s>"


class TestFinding:
    @pytest.fixture
    def folder(self, edf, tmp_path):
        nested = tmp_path / "b" / "c"
        nested.mkdir(parents=True)
        for name in ("b/c/two.EDF", "b/one.rec", "b/._one.edf", "b/notes.txt"):
            shutil.copy(edf, tmp_path / name)
        edfio.Edf([], annotations=[edfio.EdfAnnotation(0, 30, "Sleep stage W")]).write(
            tmp_path / "b" / "Hypnogram.edf"
        )
        (tmp_path / "b" / "broken.edf").write_bytes(b"")
        return tmp_path / "b"

    def test_a_folder_is_searched_for_recordings_alone(self, folder):
        found = find_recordings(folder)
        # The broken file is kept: whoever reads it learns what is wrong with it.
        assert found == [folder / "broken.edf", folder / "c" / "two.EDF", folder / "one.rec"]

    def test_files_and_folders_mix_and_nothing_comes_twice(self, folder, edf):
        found = find_recordings([edf, str(folder / "one.rec"), folder, folder / "c" / ".." / "one.rec"])
        assert found == [edf, folder / "one.rec", folder / "broken.edf", folder / "c" / "two.EDF"]

    def test_a_missing_path_is_kept_so_that_reading_it_reports_it(self, tmp_path):
        assert find_recordings(tmp_path / "nowhere") == [tmp_path / "nowhere"]

    def test_an_empty_folder_is_named(self, tmp_path):
        (tmp_path / "empty").mkdir()
        with pytest.raises(RecordingError, match=r"empty holds no recording: .*\.edf, .* that hold signals"):
            find_recordings([tmp_path / "empty"])

    def test_the_scorings_of_sleep_edf_are_left_out(self, shared_data):
        assert find_recordings(shared_data) == [Path(shared_data / "nox-psg-edf" / "nox_120s.edf")]

    def test_names_tell_recordings_apart(self):
        paths = [Path("/x/v/psg.edf"), Path("/y/v/psg.edf"), Path("/y/v/psg.rec"), Path("/z/other.edf")]
        assert list(distinct_names(paths).values()) == ["x_v_psg", "y_v_psg_edf", "y_v_psg_rec", "other"]

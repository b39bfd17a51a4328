"""Sleep-EDF: the protocols, the real scorings, and downloads from a server of our own."""

import hashlib
import shutil
import threading
from datetime import datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import edfio
import numpy as np
import pyarrow.parquet as pq
import pytest

from dataset_builders.prepared_folder import prepare_folder
from dataset_builders.sleep_edf import SleepEDF
from modeling_sleepvit import SleepViTFeatureExtractor
from modeling_sleepvit.errors import DatasetError


START = datetime(1989, 4, 24, 16, 13)


def begin_and_length(scoring):
    """When a scoring begins, and its length in s without what is not scored at its end."""
    edf = edfio.read_edf(scoring)
    scored = [note.onset + note.duration for note in edf.annotations if note.text != "Sleep stage ?"]
    return datetime.combine(edf.startdate, edf.starttime), int(max(scored))


@pytest.fixture(scope="module")
def sedf_20(shared_data, tmp_path_factory, write_flat_psg):
    """The 39 real scorings of Sleep-EDF-20, each with a recording of its length."""
    folder = tmp_path_factory.mktemp("sleep-edfx")
    for night in sorted((shared_data / "sleep-edf-20-5s").glob("*.npz")):
        (scoring,) = (shared_data / "sleep-edf-hypnograms").glob(f"{night.stem[:6]}*-Hypnogram.edf")
        shutil.copy(scoring, folder)
        start, seconds = begin_and_length(scoring)
        write_flat_psg(folder / f"{night.stem}-PSG.edf", seconds, start)
    return folder


def test_the_labels_of_sleep_edf_20_are_those_of_the_literature(sedf_20, shared_data, tmp_path):
    """42,308 scored epochs, night by night those of the real npz nights."""
    builder = SleepEDF("sedf-20", folder=sedf_20)
    prepared = prepare_folder(builder, tmp_path / "out")
    assert prepared.failed == []
    assert len(prepared.recordings) == 39
    assert prepared.recordings["n_scored"].sum() == 42_308
    assert prepared.recordings["subject"].nunique() == 20
    for night in sorted((shared_data / "sleep-edf-20-5s").glob("*.npz")):
        table = pq.read_table(tmp_path / "out" / "data" / "train" / f"{night.stem}.parquet").to_pandas()
        np.testing.assert_array_equal(table["label"][table["scored"]], np.load(night)["y"], night.stem)
        assert np.diff(table["epoch"]).tolist() == [1] * (len(table) - 1)
        assert (table["onset_s"] == 30 * table["epoch"]).all()
    # the sample of whole epochs begins 100 epochs earlier, at epoch 861 of the recording
    first = pq.read_table(tmp_path / "out" / "data" / "train" / "SC4001E0.parquet")["epoch"][0].as_py()
    assert first == 961


def test_the_rule_lights_begins_with_the_tables_of_the_release(sedf_20, shared_data, tmp_path):
    folder = tmp_path / "sleep-cassette"
    folder.mkdir()
    for path in sedf_20.glob("SC400*"):
        (folder / path.name).symlink_to(path)
    shutil.copy(shared_data / "sleep-edf-hypnograms" / "SC-subjects.xls", tmp_path)
    builder = SleepEDF("sedf-20", folder=tmp_path, subjects=["SC400"], trim="lights")
    rows = builder.nights()[0].read(builder.settings)
    # lights off at 00:38, 8 h 25 min after the recording began at 16:13
    assert rows.first_onset_s == timedelta(hours=8, minutes=25).total_seconds()
    assert rows.labels[0] == 0
    assert rows.labels[-1] in (1, 2, 3, 4)


@pytest.mark.parametrize(
    ("name", "n_nights", "n_subjects"), [("sedf-20", 39, 20), ("sedf-78", 153, 78), ("sedf-st", 44, 22)]
)
def test_the_protocols_name_the_nights_of_the_release(shared_data, name, n_nights, n_subjects):
    (config,) = [config for config in SleepEDF.BUILDER_CONFIGS if config.name == name]
    lines = (shared_data / "sleep-edf-hypnograms" / "SHA256SUMS.txt").read_text().splitlines()
    released = {line.split("/")[-1][:6] for line in lines if line.endswith("-PSG.edf")}
    assert len(config.nights) == n_nights
    assert len({night[:5] for night in config.nights}) == n_subjects
    assert set(config.nights) <= released
    if name == "sedf-78":
        assert set(config.nights) == {night for night in released if night.startswith("SC")}


def write_release(folder, write_flat_psg, nights=("SC4001E0", "SC4002E0")):
    """A tiny release: two nights of one subject with the list of sums."""
    (folder / "sleep-cassette").mkdir(parents=True)
    for night in nights:
        write_flat_psg(folder / "sleep-cassette" / f"{night}-PSG.edf", 300, START)
        notes = [edfio.EdfAnnotation(0, 150, "Sleep stage W"), edfio.EdfAnnotation(150, 150, "Sleep stage 2")]
        scoring = edfio.Edf(
            [],
            starttime=START.time(),
            recording=edfio.Recording(startdate=START.date()),
            annotations=notes,
        )
        scoring.write(folder / "sleep-cassette" / f"{night[:6]}EC-Hypnogram.edf")
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.relative_to(folder).as_posix()}"
        for path in sorted(folder.rglob("*.edf"))
    ]
    (folder / "SHA256SUMS.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def release(tmp_path, write_flat_psg):
    return write_release(tmp_path / "release", write_flat_psg)


@pytest.fixture
def server(release):
    """PhysioNet on 127.0.0.1."""
    handler = partial(SimpleHTTPRequestHandler, directory=release)
    handler.log_message = lambda *_: None
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


SUBJECT = {"subjects": ["SC400"], "feature_extractor": SleepViTFeatureExtractor()}


def test_a_local_copy_is_checked_against_the_sums_of_the_release(release, tmp_path):
    path = release / "sleep-cassette" / "SC4001E0-PSG.edf"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    prepared = prepare_folder(SleepEDF("sedf-20", folder=release, **SUBJECT), tmp_path / "out")
    assert [failure.recording for failure in prepared.failed] == ["SC4001E0"]
    assert "SC4001E0-PSG.edf: expected the SHA-256" in prepared.failed[0].reason
    assert prepared.recordings["recording"].tolist() == ["SC4002E0"]
    unchecked = prepare_folder(SleepEDF("sedf-20", folder=release, verify=False, **SUBJECT), tmp_path / "out")
    assert unchecked.failed == []


def test_missing_files_are_named(release):
    (release / "sleep-cassette" / "SC4002EC-Hypnogram.edf").unlink()
    with pytest.raises(DatasetError, match=r"found no SC4002\*-Hypnogram.edf; download them"):
        SleepEDF("sedf-20", folder=release, **SUBJECT).nights()
    with pytest.raises(DatasetError, match=r"expected the 39 nights of sedf-20, found no SC4002.* and \d+ more"):
        SleepEDF("sedf-20", folder=release).nights()


def test_names_in_small_letters_and_lost_nights(release, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in release.rglob("*.edf"):
        shutil.copy(path, folder / path.name.lower())
    shutil.copy(release / "SHA256SUMS.txt", folder)
    builder = SleepEDF("sedf-20", folder=folder, **SUBJECT)
    assert [(night.recording, night.subject) for night in builder.nights()] == [
        ("SC4001E0", "SC400"),
        ("SC4002E0", "SC400"),
    ]
    assert all(len(night.checksums) == 2 for night in builder.nights())
    (folder / "sc4002e0-psg.edf").unlink()
    builder = SleepEDF("sedf-20", folder=folder, exclude=["SC4002E0"], **SUBJECT)
    assert [night.recording for night in builder.nights()] == ["SC4001E0"]


class TestDownload:
    def test_what_is_missing_is_fetched_and_checked(self, server, release, tmp_path):
        folder = tmp_path / "new" / "copy"
        builder = SleepEDF("sedf-20", folder=folder, download=True, url=server, **SUBJECT)
        assert [night.recording for night in builder.nights()] == ["SC4001E0", "SC4002E0"]
        for path in release.rglob("*.edf"):
            assert (folder / path.relative_to(release)).read_bytes() == path.read_bytes()
        # what is there is not fetched again
        shutil.rmtree(release / "sleep-cassette")
        assert len(builder.nights()) == 2

    def test_a_damaged_file_is_refused_and_what_is_whole_is_kept(self, server, release, tmp_path):
        damaged = release / "sleep-cassette" / "SC4002E0-PSG.edf"
        damaged.write_bytes(damaged.read_bytes()[:-10])
        folder = tmp_path / "copy"
        folder.mkdir()
        with pytest.raises(DatasetError, match=r"SC4002E0-PSG\.edf could not be downloaded: .*hash"):
            SleepEDF("sedf-20", folder=folder, download=True, url=server, **SUBJECT).nights()
        assert (folder / "sleep-cassette" / "SC4001E0-PSG.edf").is_file()
        assert not (folder / "sleep-cassette" / "SC4002E0-PSG.edf").exists()

    def test_no_server(self, tmp_path):
        with pytest.raises(DatasetError, match=r"SHA256SUMS\.txt could not be downloaded"):
            SleepEDF("sedf-20", folder=tmp_path, download=True, url="http://127.0.0.1:9/", **SUBJECT).nights()

"""The subject tables of Sleep-EDF Expanded, real ones, and what is refused in their place."""

import datetime
import re

import pandas as pd
import pytest

from dataset_builders import sleep_edf_subjects
from dataset_builders.sleep_edf_subjects import lights_off_of, read_subject_tables
from modeling_sleepvit.errors import DatasetError


@pytest.fixture(scope="module")
def folder(shared_data):
    return shared_data / "sleep-edf-hypnograms"


@pytest.fixture(scope="module")
def table(folder):
    return read_subject_tables(folder)


def test_the_tables_hold_the_nights_of_the_release(folder, table):
    nights = set(table["subject"] + table["night"].astype(str))
    listed = (folder / "SHA256SUMS.txt").read_text()
    assert nights == set(re.findall(r"/(S[CT][0-9]{4})[0-9A-Z]{2}-PSG\.edf", listed))
    assert len(table) == len(nights) == 153 + 44
    scored = {path.name[:6] for path in folder.glob("*-Hypnogram.edf")}
    assert len(scored) == 70
    assert scored <= nights


def test_a_row_holds_what_the_table_says(table):
    assert list(table) == ["subject", "night", "age", "sex", "lights_off", "treatment"]
    rows = table.set_index(["subject", "night"])
    assert rows.loc[("SC400", 2)].tolist() == [33, "F", datetime.time(21, 57), None]
    assert rows.loc[("SC461", 1)].tolist() == [101, "F", datetime.time(0, 20), None]
    assert rows.loc[("SC482", 2)].tolist() == [56, "F", datetime.time(0, 5), None]
    assert rows.loc[("SC472", 1)].tolist() == [88, "M", datetime.time(23, 4), None]
    assert rows.loc[("ST701", 1)].tolist() == [60, "M", datetime.time(23, 1), "placebo"]
    # ST702 slept with temazepam first
    assert rows.loc[("ST702", 1)].tolist() == [35, "F", datetime.time(0, 0), "temazepam"]
    assert rows.loc[("ST702", 2)].tolist() == [35, "F", datetime.time(23, 27), "placebo"]


def test_the_two_codes_of_sex_give_the_published_counts(table):
    people = table.drop_duplicates("subject")
    counts = people.groupby(people["subject"].str[:2])["sex"].value_counts().to_dict()
    assert counts == {("SC", "F"): 41, ("SC", "M"): 37, ("ST", "F"): 15, ("ST", "M"): 7}
    telemetry = table[table["subject"].str.startswith("ST")]
    assert telemetry.groupby("subject")["treatment"].agg(sorted).map(tuple).unique().tolist() == [
        ("placebo", "temazepam")
    ]


def test_the_tables_are_found_in_the_parent_folder_too(folder, table, tmp_path):
    (tmp_path / "sleep-cassette").mkdir()
    (tmp_path / "SC-subjects.xls").write_bytes((folder / "SC-subjects.xls").read_bytes())
    cassette = read_subject_tables(tmp_path / "sleep-cassette", studies=["SC"])
    assert len(cassette) == 153
    pd.testing.assert_frame_equal(cassette, table[:153])
    with pytest.raises(DatasetError, match=r"sleep-cassette.ST-subjects\.xls: expected the table .* found none"):
        read_subject_tables(tmp_path / "sleep-cassette")
    with pytest.raises(DatasetError, match="expected the studies SC, ST, found: 'XX'"):
        read_subject_tables(tmp_path, studies=["XX"])


@pytest.mark.parametrize(
    ("recording", "expected"),
    [
        ("SC4001E0", datetime.time(0, 38)),
        ("/nights/SC4002E0-PSG.edf", datetime.time(21, 57)),
        ("SC4112EC-Hypnogram.edf", datetime.time(1, 14)),
        ("ST7011J0", datetime.time(23, 1)),
        ("ST7052JA-Hypnogram.edf", datetime.time(23, 23)),
    ],
)
def test_lights_off_of_a_night(table, recording, expected):
    assert lights_off_of(table, recording) == expected


@pytest.mark.parametrize(
    ("recording", "message"),
    [
        # the second night of this subject was lost
        ("SC4132E0", "SC4132E0: expected one row for night 2 of SC413 in the subject tables, found 0"),
        ("ST7231J0", "night 1 of ST723"),
        ("SC4003E0", "SC4003E0: expected a name of Sleep-EDF such as SC4001E0 or ST7011J0"),
        ("shhs1-200001.edf", "expected a name of Sleep-EDF"),
    ],
)
def test_a_night_that_is_not_in_the_tables_is_named(table, recording, message):
    with pytest.raises(DatasetError, match=message):
        lights_off_of(table, recording)


@pytest.mark.parametrize("content", [b"", b"subject,night,age\n", b"PK\x03\x04 cut off", "cut"])
def test_a_file_that_is_no_table_is_named(folder, tmp_path, content):
    if content == "cut":
        content = (folder / "SC-subjects.xls").read_bytes()[:9000]
    (tmp_path / "SC-subjects.xls").write_bytes(content)
    with pytest.raises(DatasetError, match=r"SC-subjects\.xls: expected an Excel table of subjects, but it cannot be"):
        read_subject_tables(tmp_path, studies=["SC"])


def test_a_table_under_the_name_of_the_other_is_named(folder, tmp_path):
    (tmp_path / "SC-subjects.xls").write_bytes((folder / "ST-subjects.xls").read_bytes())
    with pytest.raises(
        DatasetError, match=r"expected the header subject, night, age, sex \(F=1\), LightsOff, found: "
    ):
        read_subject_tables(tmp_path, studies=["SC"])


HEADER = ["subject", "night", "age", "sex (F=1)", "LightsOff"]
ROW = [0, 1, 33, 1, datetime.time(0, 38)]


@pytest.fixture
def read_rows(monkeypatch, tmp_path):
    """Read rows as if they stood in the sheet of SC-subjects.xls."""

    def read(*rows):
        (tmp_path / "SC-subjects.xls").touch()
        monkeypatch.setattr(sleep_edf_subjects.pd, "read_excel", lambda *args, **kwargs: pd.DataFrame(list(rows)))
        return read_subject_tables(tmp_path, studies=["SC"])

    return read


def test_empty_rows_are_passed_over(read_rows):
    table = read_rows(HEADER, [None] * 5, [*ROW[:4], datetime.time(1)])
    assert table.values.tolist() == [["SC400", 1, 33, "F", datetime.time(1), None]]


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        (0, 100, "row 3: expected a subject number, found: 100"),
        (1, 3, "expected a night of 1 or 2, found: 3"),
        (2, None, "expected an age in years, found: ''"),
        (2, 33.5, "expected an age in years, found: 33.5"),
        (3, "F", "expected a sex of 1 or 2, found: 'F'"),
        (4, "late", "expected lights off as a time of day, found: 'late'"),
    ],
)
def test_a_cell_that_cannot_be_is_named_with_its_row(read_rows, column, cell, message):
    spoilt = [5, *ROW[1:]]
    spoilt[column] = cell
    with pytest.raises(DatasetError, match=rf"SC-subjects\.xls: {message}" if "row" in message else message):
        read_rows(HEADER, ROW, spoilt)


def test_a_night_that_stands_twice_and_a_sheet_without_rows_are_refused(read_rows):
    with pytest.raises(DatasetError, match="expected every night once, found night 1 of SC400 twice"):
        read_rows(HEADER, ROW, ROW)
    with pytest.raises(DatasetError, match="found: no rows"):
        read_rows()

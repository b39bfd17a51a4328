"""Who was recorded when in Sleep-EDF Expanded: age, sex, treatment and lights off, from the release's two tables.

Source: `SC-subjects.xls` and `ST-subjects.xls` of https://physionet.org/content/sleep-edfx/1.0.0/ (Kemp et al. 2000).
"""

import datetime
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from python_calamine import CalamineError

from modeling_sleepvit.errors import DatasetError


COLUMNS = ("subject", "night", "age", "sex", "lights_off", "treatment")

# The tables' first rows, checked word for word: what the numbers mean stands there, and 1 is a woman in one table and
# a man in the other.
HEADERS = {
    "SC": [["subject", "night", "age", "sex (F=1)", "LightsOff"]],
    "ST": [
        ["Subject - age - sex", "", "", "Placebo night", "", "Temazepam night", ""],
        ["Nr", "Age", "M1/F2", "night nr", "lights off", "night nr", "lights off"],
    ],
}
SEXES = {"SC": {1: "F", 2: "M"}, "ST": {1: "M", 2: "F"}}
NUMBERED_FROM = {"SC": "SC4", "ST": "ST7"}


def read_subject_tables(folder: str | Path, studies: Iterable[str] = ("SC", "ST")) -> pd.DataFrame:
    """Read the tables of the release into one, a row for each night.

    Args:
        folder: holds `SC-subjects.xls` and `ST-subjects.xls`, or lies in the folder that does, as the release's
            `sleep-cassette` and `sleep-telemetry` do.
        studies: which tables to read: "SC" (cassette, healthy), "ST" (telemetry, placebo and temazepam) or both.

    Returns:
        one row for each night, ordered by subject and night: `subject` ("SC400"), `night` (1 or 2), `age` (years),
        `sex` ("F" or "M"), `lights_off` (datetime.time, as the clock on the wall showed it) and `treatment`
        ("placebo" or "temazepam"; None in SC).

    Raises:
        DatasetError: a table is missing or is not the release's.
    """
    nights = [night for study in studies for night in _nights(_find(Path(folder), study), study)]
    # as object: pandas would turn None into NaN
    treatments = pd.Series([night[-1] for night in nights], dtype=object)
    table = pd.DataFrame([night[:-1] for night in nights], columns=COLUMNS[:-1]).assign(treatment=treatments)
    return table.sort_values(["subject", "night"], ignore_index=True)


def lights_off_of(table: pd.DataFrame, recording: str | Path) -> datetime.time:
    """Tell when the lights went off in one night.

    Args:
        table: as `read_subject_tables` returns it.
        recording: name or path of a recording or of its scoring, for example "SC4001E0" or "ST7011JP-Hypnogram.edf".

    Returns:
        the time of day; the date is that of the recording or the day after.

    Raises:
        DatasetError: the name is not one of the release's, or the table has no such night.
    """
    name = Path(recording).name
    match = re.match(r"((?:SC4|ST7)[0-9]{2})([12])", name)
    if match is None:
        raise DatasetError(f"{name}: expected a name of Sleep-EDF such as SC4001E0 or ST7011J0; rename the file.")
    subject, night = match[1], int(match[2])
    rows = table[(table["subject"] == subject) & (table["night"] == night)]
    if len(rows) != 1:
        raise DatasetError(
            f"{name}: expected one row for night {night} of {subject} in the subject tables, found {len(rows)}; "
            "check the file's name."
        )
    return rows["lights_off"].iloc[0]


def _find(folder: Path, study: str) -> Path:
    if study not in HEADERS:
        raise DatasetError(f"expected the studies {', '.join(HEADERS)}, found: {study!r}.")
    name = f"{study}-subjects.xls"
    parent = folder.absolute().parent
    for place in (folder, parent):
        if (place / name).is_file():
            return place / name
    raise DatasetError(
        f"{folder / name}: expected the table of Sleep-EDF Expanded here or in {parent}, found none; "
        "download it from https://physionet.org/content/sleep-edfx/1.0.0/."
    )


def _nights(path: Path, study: str) -> list[tuple]:
    """The nights of one table, each in the order of `COLUMNS`."""
    try:
        sheet = pd.read_excel(path, header=None, engine="calamine")
    except (CalamineError, OSError, ValueError) as error:
        raise DatasetError(f"{path}: expected an Excel table of subjects, but it cannot be read: {error}.") from error
    headers = HEADERS[study]
    rows = [["" if pd.isna(cell) else cell for cell in row] for row in sheet.itertuples(index=False)]
    found = [[" ".join(str(cell).split()) for cell in row] for row in rows[: len(headers)]]
    if found != headers:
        expected, found = (" / ".join(", ".join(filter(None, row)) for row in part) for part in (headers, found))
        raise DatasetError(f"{path}: expected the header {expected}, found: {found or 'no rows'}.")

    nights = []
    for number, row in enumerate(rows[len(headers) :], start=len(headers) + 1):
        if not any(cell != "" for cell in row):
            continue
        where = f"{path}: row {number}"
        if study == "SC":
            person, night, age, sex, lights_off = row
            of_row = [(night, lights_off, None)]
        else:
            person, age, sex, *of_placebo_and_temazepam = row
            first, second = of_placebo_and_temazepam[:2], of_placebo_and_temazepam[2:]
            of_row = [(*first, "placebo"), (*second, "temazepam")]
        subject = f"{NUMBERED_FROM[study]}{_checked(person, range(100), 'a subject number', where):02d}"
        age = _checked(age, range(1, 131), "an age in years", where)
        sex = SEXES[study][_checked(sex, SEXES[study], "a sex of 1 or 2", where)]
        for night, lights_off, treatment in of_row:
            night = _checked(night, (1, 2), "a night of 1 or 2", where)
            if not isinstance(lights_off, datetime.time):
                raise DatasetError(f"{where}: expected lights off as a time of day, found: {lights_off!r}.")
            nights.append((subject, night, age, sex, lights_off, treatment))

    seen = set()
    for subject, night, *_ in nights:
        if (subject, night) in seen:
            raise DatasetError(f"{path}: expected every night once, found night {night} of {subject} twice.")
        seen.add((subject, night))
    return nights


def _checked(cell: Any, allowed: Iterable[int], what: str, where: str) -> int:
    """A cell as a whole number; Excel keeps them as floats, which is why 1.0 is 1."""
    if isinstance(cell, bool) or cell not in allowed:
        raise DatasetError(f"{where}: expected {what}, found: {cell!r}.")
    return int(cell)

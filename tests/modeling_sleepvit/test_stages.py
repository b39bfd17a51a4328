import numpy as np
import pytest

from modeling_sleepvit.errors import SleepViTError
from modeling_sleepvit.stages import (
    IGNORED_ID,
    PLOT_ORDER,
    SLEEP_STAGES,
    STAGE_COLOURS,
    STAGES,
    UNSCORED,
    UnknownStageError,
    ids_from_stages,
    stage_from_name,
    stages_from_ids,
)


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("W", "W"),
        (" wake ", "W"),
        ("Sleep stage 1", "N1"),
        ("S2", "N2"),
        ("Sleep stage 3", "N3"),
        ("Sleep stage 4", "N3"),
        ("REM", "R"),
        ("5", "R"),
        ("Sleep stage ?", "UNS"),
        ("Movement time", "UNS"),
        ("Stage 4 sleep", "N3"),
        ("REM_sleep", "R"),
        ("sleep-wake", "W"),
        ("sleep-n3", "N3"),
        ("SLEEP-S0", "W"),
        ("SLEEP-UNSCORED", "UNS"),
        ("SDO:WakeState", "W"),
        ("SDO:NonRapidEyeMovementSleep-N4", "N3"),
        ("SDO:RapidEyeMovementSleep", "R"),
        ("SRO:Stage2Sleep", "N2"),
        ("SRO:RapidEyeMovement", "R"),
        ("Éveil", "W"),
        ("artefact", "UNS"),
    ],
)
def test_older_and_longer_names_become_the_package_vocabulary(name, stage):
    assert stage_from_name(name) == stage


@pytest.mark.parametrize("name", ["", "N5", "Sleep stage", "Stage 7", "sleep", "sleep-spindle", "6", "dreaming"])
def test_a_name_of_no_vocabulary_is_an_error_that_shows_it(name):
    with pytest.raises(UnknownStageError) as error:
        stage_from_name(name)
    assert str(error.value) == (
        f"unknown sleep stage {name!r}: expected one of W, N1, N2, N3, R, a name of Rechtschaffen & Kales such as S2, "
        '"Sleep stage 4" or REM, or UNS for what is not scored.'
    )


def test_ids_and_stages_are_inverse():
    stages = [*STAGES, UNSCORED]
    ids = ids_from_stages(stages)
    np.testing.assert_array_equal(ids, [0, 1, 2, 3, 4, IGNORED_ID])
    assert ids.dtype == np.int64
    assert stages_from_ids(ids).tolist() == stages


def test_no_stages_are_no_ids():
    assert ids_from_stages([]).shape == stages_from_ids([]).shape == (0,)


def test_an_unknown_stage_names_its_epoch():
    with pytest.raises(UnknownStageError, match="epoch 2 has the stage 'REM'"):
        ids_from_stages(["W", "N1", "REM"])


def test_an_id_beyond_the_stages_names_its_epoch():
    with pytest.raises(UnknownStageError, match="epoch 1 has the stage id 5"):
        stages_from_ids([0, 5, 4])


def test_a_wrong_stage_is_a_user_error_and_a_value_error():
    assert issubclass(UnknownStageError, SleepViTError)
    assert issubclass(UnknownStageError, ValueError)


def test_order_and_colours_cover_the_vocabulary():
    assert set(PLOT_ORDER) == set(STAGES)
    assert set(SLEEP_STAGES) == set(STAGES) - {"W"}
    assert set(STAGE_COLOURS) == {*STAGES, UNSCORED}


def test_every_published_sleep_edf_label_is_known(shared_data):
    edfio = pytest.importorskip("edfio")
    scoring = sorted((shared_data / "sleep-edf-hypnograms").rglob("*-Hypnogram.edf"))[0]
    texts = {annotation.text for annotation in edfio.read_edf(scoring).annotations}
    assert {stage_from_name(text) for text in texts} >= {"W", "N1", "N2", "R"}

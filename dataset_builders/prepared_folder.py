"""A prepared dataset as a folder: one Parquet file per recording, its card, and the feature extractor that made it."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
from transformers.utils import FEATURE_EXTRACTOR_NAME

from modeling_sleepvit.errors import DatasetError, SettingError
from modeling_sleepvit.whole_files import written_whole

from .dataset_card import table_of_recordings, write_card
from .night_files import FailedNight, is_current, prepare_nights
from .nights_builder import NightsBuilder
from .splits import PARTS, Splits


SPLITS_FILE = "splits.json"
PREPARATION_FILE = "preparation.json"
NOT_PREPARED_FILE = "not_prepared.csv"

# They say where nights come from and which are taken: they may change between runs, since every prepared night knows
# its own origin.
_MAY_CHANGE = {
    *("folder", "recordings", "scorings", "table", "subject_pattern", "subjects", "exclude", "prefixes", "nights"),
    *("fingerprint", "download", "verify", "url", "version", "description"),
}


@dataclass(frozen=True)
class PreparedFolder:
    """What came of preparing a dataset.

    Args:
        recordings: one row per recording with its counts, as `dataset_card.table_of_recordings` gives it.
        failed: recordings that could not be prepared, with reasons.
    """

    recordings: pd.DataFrame
    failed: list[FailedNight]


def prepare_folder(
    builder: NightsBuilder,
    output: str | Path,
    splits: Splits | None = None,
    fold: str | None = None,
    num_proc: int = 1,
    repo: str | None = None,
) -> PreparedFolder:
    """Prepare a dataset as a folder that `load_dataset` reads without this package.

    Called again after an interruption, it goes on with the recordings that are missing; the files are the same, byte
    for byte, as without the interruption. Called again when recordings were added, mended or taken away, it does what
    that needs and no more. A recording that cannot be prepared does not stop the others. Where none can, a new folder
    keeps the reasons alone and may be begun with other settings; one that was whole before stays as it was.

    Args:
        builder: finds the nights and knows how to prepare them.
        output: folder of the dataset, new or begun before with the same settings.
        splits: by subject; None puts everybody into one split, "train".
        fold: name of the split among `splits`; None takes the first.
        num_proc: number of processes, each of which holds one recording at a time.
        repo: id that the dataset will have on the Hub, for its card.

    Returns:
        the recordings and those that failed.

    Raises:
        SettingError: the folder holds something else, or a dataset of other settings.
        DatasetError: there is nothing to prepare, the splits do not know a subject, or of a dataset that was whole
            no recording can be prepared any more.
    """
    output = Path(output)
    parts = builder.config.parts
    if splits is not None:
        split = splits.splits[0] if fold is None else splits.named(fold)
        parts = {part: list(getattr(split, part)) for part in PARTS}
        splits = splits if len(splits) == 1 else Splits("listed", splits.seed, (split,))
    part_of = {night: part for part, nights in builder.nights_by_part(parts).items() for night in nights}
    place_of = {night: output / "data" / part / f"{night.recording}.parquet" for night, part in part_of.items()}
    _begin(output, builder, parts)
    with _unfinished(output) as work:
        settings = builder.settings
        todo = [night for night, place in place_of.items() if not is_current(night, settings, place)]
        failed = prepare_nights(
            todo, settings, lambda night: work / f"{night.recording}.parquet", num_proc, builder.epoch_shape()
        )
        missing = {failure.recording for failure in failed}
        done = {night: place for night, place in place_of.items() if night.recording not in missing}
        if failed and not done and any(output.glob("data/*/*.parquet")):
            with suppress(OSError):  # of an earlier run, something is in it
                work.rmdir()
            raise DatasetError(
                f"{output}: expected the recordings that this dataset was made from, found none that can be prepared "
                f"now ({failed[0].reason.removesuffix('.')}); the dataset was left as it was: check the folders of "
                "the recordings and of their scorings, or remove this one to begin anew."
            )
        # From here on everything is quick, so that a folder is hardly ever seen between two states.
        for path in set(output.glob("data/*/*.parquet")) - set(done.values()):
            path.unlink()
        for night in todo:
            if night in done:
                done[night].parent.mkdir(parents=True, exist_ok=True)
                (work / done[night].name).replace(done[night])
    recordings = table_of_recordings({place: part_of[night] for night, place in done.items()})
    _write_table(recordings, output / "recordings.csv")
    _write_table(pd.DataFrame([asdict(failure) for failure in failed]), output / NOT_PREPARED_FILE)
    if not len(recordings):
        (output / PREPARATION_FILE).unlink()
        return PreparedFolder(recordings, failed)
    # not save_pretrained, which brings code along: a dataset is data
    builder.settings.feature_extractor.to_json_file(output / FEATURE_EXTRACTOR_NAME)
    if splits is not None:
        splits.to_json(output / SPLITS_FILE)
    write_card(output, builder, recordings, len(failed), repo)
    return PreparedFolder(recordings, failed)


def begun_extractor(output: str | Path) -> dict | None:
    """Tell the settings of the feature extractor that a dataset was begun with; None where none was begun."""
    path = Path(output) / PREPARATION_FILE
    return json.loads(path.read_text(encoding="utf-8"))["feature_extractor"] if path.is_file() else None


def check_place(output: Path) -> None:
    """Refuse a folder in which no dataset can be begun and none was.

    Args:
        output: the folder; it need not be there. Hidden files, which file managers leave behind, do not count.

    Raises:
        SettingError: it is a file, or holds other files than `prepare_folder` writes.
    """
    if not output.exists() or (output / PREPARATION_FILE).is_file():
        return
    if output.is_dir():
        found = {path.name for path in output.iterdir() if not path.name.startswith(".")}
        if found <= {NOT_PREPARED_FILE}:
            return
    raise SettingError(
        f"{output}: expected a new folder or one that sleepvit prepare began, found other files; choose another."
    )


def _begin(output: Path, builder: NightsBuilder, parts: dict[str, list[str]] | None) -> None:
    """Remember the settings in a new folder, and refuse to go on with others."""
    path = output / PREPARATION_FILE
    settings = {"builder": type(builder).__name__, "builder_version": str(builder.VERSION)} | {
        name: value
        for name, value in (vars(builder.config) | {"parts": parts}).items()
        if name not in _MAY_CHANGE and value is not None
    }
    if path.is_file():
        begun_with = json.loads(path.read_text(encoding="utf-8"))
        names = sorted({*settings, *begun_with})
        if changed := [name for name in names if settings.get(name) != begun_with.get(name)]:
            raise SettingError(
                f"{output}: this dataset was begun with other settings ({', '.join(changed)}); choose another folder "
                "(--output), or remove this one to begin anew."
            )
        return
    check_place(output)
    output.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as partial:
        partial.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")


@contextmanager
def _unfinished(output: Path) -> Iterator[Path]:
    """A hidden folder for nights that are finished while the dataset is not; it stays after an interruption."""
    work = output / ".unfinished"
    work.mkdir(exist_ok=True)
    for partial in output.rglob(".*.partial*"):
        partial.unlink()  # of a process that was killed
    yield work
    shutil.rmtree(work)


def _write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table, or no file where the table is empty."""
    if table.empty:
        path.unlink(missing_ok=True)
        return
    with written_whole(path) as partial:
        table.to_csv(partial, index=False)

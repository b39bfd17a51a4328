"""Prepared nights as Parquet files, one for each recording: written whole, and skipped when work is taken up again."""

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Array3D, ClassLabel, Features, Value
from datasets.features.features import numpy_to_pyarrow_listarray
from tqdm import tqdm

from modeling_sleepvit.errors import DatasetError, SleepViTError
from modeling_sleepvit.recordings import printable
from modeling_sleepvit.stages import IGNORED_ID, STAGES
from modeling_sleepvit.whole_files import written_whole

from .night_rows import NightRows
from .scored_night import NightSettings


UNSCORED_LABEL = -1
"""The `label` of rows that are not scored: `ClassLabel` knows no -100. Their `scored` is False."""

_ORIGIN_KEY = b"sleepvit_origin"
_NOTES_KEY = b"sleepvit_notes"


class Night(Protocol):
    """Anything that can be read into rows: a `ScoredNight`, an `NpzNight`."""

    subject: str
    recording: str

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that the rows come from."""

    def read(self, settings: NightSettings) -> NightRows:
        """Read the files and prepare the rows."""


@dataclass(frozen=True)
class FailedNight:
    """A night that could not be prepared, and why."""

    recording: str
    reason: str


def row_features(shape: Sequence[int], eog_shape: Sequence[int] | None = None) -> Features:
    """Describe the columns of a dataset of nights.

    Args:
        shape: (channels, rows, frames) of the `input_values` of one epoch.
        eog_shape: (EOG channels, EOG rows, frames) of its `eog_values`; None without EOG.

    Returns:
        the features: `input_values`, with EOG `eog_values`, `label` (-1 where not scored), `scored`, `subject`,
        `recording`, `epoch` and `onset_s` (both counted from the start of the recording).
    """
    return Features(
        {
            "input_values": Array3D(tuple(shape), "float32"),
            **({} if eog_shape is None else {"eog_values": Array3D(tuple(eog_shape), "float32")}),
            "label": ClassLabel(names=list(STAGES)),
            "scored": Value("bool"),
            "subject": Value("string"),
            "recording": Value("string"),
            "epoch": Value("int32"),
            "onset_s": Value("float64"),
        }
    )


def table_of_night(rows: NightRows) -> pa.Table:
    """Lay a night out as an Arrow table.

    Args:
        rows: the night.

    Returns:
        one row per epoch with the columns of `row_features`.
    """
    features = row_features(*(values.shape[1:] for values in rows.inputs.values()))
    schema = features.arrow_schema
    scored = rows.labels != IGNORED_ID
    columns = {
        **{
            name: pa.ExtensionArray.from_storage(
                schema.field(name).type, numpy_to_pyarrow_listarray(np.ascontiguousarray(values))
            )
            for name, values in rows.inputs.items()
        },
        "label": pa.array(np.where(scored, rows.labels, UNSCORED_LABEL)),
        "scored": pa.array(scored),
        "subject": pa.array([rows.subject] * len(rows)),
        "recording": pa.array([rows.recording] * len(rows)),
        "epoch": pa.array(rows.epochs.astype(np.int32)),
        "onset_s": pa.array(rows.onsets_s),
    }
    return pa.table(columns, schema=schema)


def origin_of(night: Night, settings: NightSettings | None = None) -> str:
    """Sum up what a prepared night comes from: whose it is, its files as they are now, and how it is prepared.

    Args:
        night: where the night comes from.
        settings: how it is prepared; None leaves them out.

    Returns:
        hexadecimal digits that change when anything of it does. Paths go into them, but cannot be read out of them.
    """
    state = [
        (os.fsencode(file.absolute()).hex(), status.st_size, status.st_mtime_ns)
        for file in night.files
        if file.exists()
        for status in (file.stat(),)
    ]
    how = None if settings is None else {**vars(settings), "feature_extractor": settings.feature_extractor.to_dict()}
    about = {name: value for name, value in vars(night).items() if not isinstance(value, Path)}
    return hashlib.sha256(json.dumps([about, state, how], default=str, sort_keys=True).encode()).hexdigest()


def is_current(night: Night, settings: NightSettings, path: Path) -> bool:
    """Tell whether a night is prepared already.

    Args:
        night: where the night comes from.
        settings: how it is prepared.
        path: its Parquet file.

    Returns:
        whether the file is there, whole, and made of the same files, for the same subject, in the same way.
    """
    try:
        return pq.read_schema(path).metadata.get(_ORIGIN_KEY) == origin_of(night, settings).encode()
    except (OSError, pa.ArrowInvalid):
        return False


def prepare_night(night: Night, settings: NightSettings, path: Path, shape: Sequence[int] | None = None) -> bool:
    """Prepare one night as a Parquet file, unless it is prepared already.

    Args:
        night: where the night comes from.
        settings: how it is prepared.
        path: the Parquet file.
        shape: (channels, rows, frames) that every epoch of the dataset has; None takes any.

    Returns:
        whether there was anything to do.

    Raises:
        SleepViTError: the night cannot be prepared; no file is left then.
    """
    if is_current(night, settings, path):
        return False
    path.unlink(missing_ok=True)
    rows = night.read(settings)
    found = tuple(rows.input_values.shape[1:])
    if shape is not None and found != tuple(shape):
        raise DatasetError(
            f"{night.files[0]}: expected epochs of shape {tuple(shape)} (channels, rows, frames) like the others, "
            f"found {found}; prepare it apart."
        )
    table = table_of_night(rows)
    about = {_ORIGIN_KEY: origin_of(night, settings), _NOTES_KEY: json.dumps(rows.notes)}
    table = table.replace_schema_metadata({**table.schema.metadata, **about})
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as partial:
        try:
            pq.write_table(table, partial, use_dictionary=["subject", "recording"], compression="zstd")
        except OSError as error:  # which does not name the file
            raise OSError(error.errno or errno.EIO, error.strerror or str(error), str(path)) from error
    return True


def notes_of_night(path: Path) -> list[str]:
    """Read the notes of a prepared night: what was chosen, dropped or guessed when it was read.

    Args:
        path: its Parquet file.

    Returns:
        sentences.
    """
    return json.loads(pq.read_schema(path).metadata.get(_NOTES_KEY, b"[]"))


def prepare_nights(
    nights: Sequence[Night],
    settings: NightSettings,
    path_of: Callable[[Night], Path],
    num_proc: int = 1,
    shape: Sequence[int] | None = None,
) -> list[FailedNight]:
    """Prepare nights one after the other or in several processes, each holding one recording at a time.

    Args:
        nights: where they come from.
        settings: how they are prepared.
        path_of: gives the Parquet file of a night.
        num_proc: number of processes.
        shape: (channels, rows, frames) that every epoch of the dataset has; None takes any.

    Returns:
        the nights that could not be prepared, in the order of `nights`.

    Raises:
        DatasetError: a process was killed; what was finished before is kept.
    """
    jobs = [(night, settings, path_of(night), shape) for night in nights]
    failed: dict[str, str] = {}
    with tqdm(total=len(nights), unit="night", disable=None) as progress:
        for night, reason in _outcomes(jobs, num_proc):
            progress.update()
            if reason is not None:
                failed[night.recording] = printable(" ".join(reason.split()))
    return [FailedNight(night.recording, failed[night.recording]) for night in nights if night.recording in failed]


def _outcomes(jobs: Sequence[tuple], num_proc: int) -> Iterable[tuple[Night, str | None]]:
    if num_proc <= 1:
        yield from ((job[0], _outcome(*job)) for job in jobs)
        return
    # Forked processes inherit the locks of PyTorch's threads and may wait for them for ever. A server that has done
    # nothing but import what they need gives birth to safe ones.
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(min(num_proc, len(jobs) or 1), mp_context=context) as pool:
        futures = {pool.submit(_outcome, *job): job[0] for job in jobs}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool as error:
            raise DatasetError(
                f"one of {num_proc} processes was killed, probably because memory ran out; call again with fewer "
                "processes (num_proc, --num-proc): what was finished is kept."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)  # after Ctrl-C: what has begun is finished, nothing else is begun


def _outcome(night: Night, settings: NightSettings, path: Path, shape: Sequence[int] | None) -> str | None:
    try:
        prepare_night(night, settings, path, shape)
    except SleepViTError as error:
        return str(error)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS) or str(error.filename) == str(path):
            raise  # there is no place to write to: no use in trying the others
        return f"{error.filename or path}: {error.strerror or error}."
    return None

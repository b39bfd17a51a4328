"""Scorings in EDF+ and BDF+ annotations, in Compumedics Profusion XML and in NSRR XML."""

import re
import warnings
from datetime import datetime, time
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from modeling_sleepvit.errors import HypnogramError

from .entries import RawScoring, ScoringEntry
from .names import cut, listed


LARGEST_SCORING_BYTES = 200 * 10**6
"""Of a text or of annotations; the scoring of a night has less than a hundredth of it."""

MOST_ENTRIES = 5 * 10**6
"""Of annotations or XML elements; ten days of epochs of 1 s have less than a fifth of it."""

# Widths of the fields of a channel in an EDF header, label first; every field is there once for each channel.
_FIELD_WIDTHS = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)
_N_SAMPLES_FIELD = 8
_ANNOTATION_END = b"\x14\x00"
_LONGEST_ANNOTATION = 8192
_RECORDING_START = "Recording Start Time"


def is_edf(head: bytes) -> bool:
    """Tell whether a file is EDF or BDF.

    Args:
        head: its first bytes.
    """
    return head[:8] in (b"0       ", b"\xffBIOSEMI")


def read_edf_annotations(path: Path) -> RawScoring:
    """Read the annotations of an EDF+ or BDF+ file, such as the scorings of Sleep-EDF; signals in it stay unread.

    Args:
        path: EDF or BDF file.

    Raises:
        HypnogramError: the file is damaged, truncated, or has no annotations.

    Source:
        Kemp and Olivan, European data format 'plus' (EDF+), Clinical Neurophysiology 114 (2003).
    """
    try:
        import edfio
    except ImportError as error:
        raise ImportError("EDF and BDF files are read with edfio: pip install edfio.") from error
    content = _annotation_channels_alone(path)
    read = edfio.read_bdf if content[0] == 0xFF else edfio.read_edf
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about dates and the number of records
            annotations = read(content, header_encoding="latin-1").annotations
    # Any exception of edfio means one thing to the user.
    except Exception as error:
        raise HypnogramError(
            f"its annotations are damaged ({cut(str(error))}): expected EDF+ annotations; export it again."
        ) from error
    entries = [
        ScoringEntry(annotation.text, f"annotation {number}", annotation.onset, annotation.duration)
        for number, annotation in enumerate(annotations, start=1)
    ]
    return RawScoring(entries, is_event_list=True, start=_edf_start(content))


def _annotation_channels_alone(path: Path) -> bytes:
    """Make a file in memory of the annotation channels: edfio would decode every signal of a BDF file."""
    with path.open("rb") as file:
        fixed = file.read(256)
        try:
            n_channels = int(fixed[252:256])
            fields = file.read(256 * n_channels)
            columns, begin = [], 0
            for width in _FIELD_WIDTHS:
                columns.append([fields[begin + width * i : begin + width * (i + 1)] for i in range(n_channels)])
                begin += width * n_channels
            n_samples = [int(field) for field in columns[_N_SAMPLES_FIELD]]
            n_promised = int(fixed[236:244])
        except ValueError as error:
            raise HypnogramError(
                f"its header is damaged ({cut(str(error))}): expected numbers where EDF puts them; export it again."
            ) from error
    chosen = [i for i, label in enumerate(columns[0]) if label.strip() in (b"EDF Annotations", b"BDF Annotations")]
    if not chosen:
        raise HypnogramError(
            f"it has {n_channels} channels and none of annotations: expected EDF+ or BDF+ with a scoring; give the "
            "file that holds the scoring."
        )
    if min(n_samples) <= 0:
        raise HypnogramError("its header is damaged: a channel has no samples in a record; export the file again.")
    ends = np.cumsum(n_samples) * (3 if fixed[0] == 0xFF else 2)
    header_bytes, record_bytes = 256 * (n_channels + 1), int(ends[-1])
    n_records = max(0, path.stat().st_size - header_bytes) // record_bytes
    if n_records == 0 or n_records < n_promised:
        raise HypnogramError(
            f"it is truncated: its header promises {n_promised} records, the file holds {n_records}; copy or "
            "export it again."
        )
    begins = np.concatenate([[0], ends[:-1]])
    if n_records * sum(int(ends[i] - begins[i]) for i in chosen) > LARGEST_SCORING_BYTES:
        raise HypnogramError(
            f"it has more than {LARGEST_SCORING_BYTES // 10**6} MB of annotations: expected a scoring."
        )
    records = np.memmap(path, np.uint8, "r", header_bytes, (n_records, record_bytes))
    annotations = np.concatenate([records[:, begins[i] : ends[i]] for i in chosen], axis=1).tobytes()
    header = fixed[:184] + b"%-8d" % (256 * (len(chosen) + 1)) + fixed[192:252] + b"%-4d" % len(chosen)
    return header + b"".join(column[i] for column in columns for i in chosen) + _readable(annotations)


def _readable(annotations: bytes) -> bytes:
    """Blank out letters that are no UTF-8, at which edfio gives up, and refuse what would hold it up."""
    if annotations.count(_ANNOTATION_END) > MOST_ENTRIES:
        raise HypnogramError(f"it has more than {MOST_ENTRIES} annotations: expected a scoring.")
    # edfio searches in a time that grows with the square of the length of a number or of an unfinished annotation.
    longest = max(len(annotation.strip(b"\x00")) for annotation in annotations.split(_ANNOTATION_END))
    if longest > _LONGEST_ANNOTATION or re.search(rb"\d{32}", annotations):
        raise HypnogramError(
            "its annotations are damaged: expected numbers of less than 32 digits and an end after at most "
            f"{_LONGEST_ANNOTATION} bytes; export it again."
        )
    try:
        annotations.decode()
    except UnicodeDecodeError:
        # Some programs write Latin-1 against the standard. Names of stages are ASCII, and lengths must not change.
        return re.sub(rb"[\x80-\xff]", b"?", annotations)
    return annotations


def _edf_start(header: bytes) -> datetime | None:
    """The date and time of the header; None for midnight sharp, which programs write that know no clock time."""
    try:
        start = datetime.strptime(header[168:184].decode("ascii"), "%d.%m.%y%H.%M.%S")
    except ValueError:
        return None
    return None if start.time() == time() else start


def read_scoring_xml(text: str) -> RawScoring:
    """Read the XML of Compumedics Profusion, one number per epoch, or of the NSRR, events with onset and duration.

    Args:
        text: the whole file.

    Raises:
        HypnogramError: the text is no XML, has a document type (which scorings have not, and which can name other
            files or grow without limit), or is XML of another kind.

    Source:
        Zhang et al., The National Sleep Research Resource, JAMIA 25 (2018); its SHHS folders annotations-events-nsrr
        and annotations-events-profusion.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise HypnogramError(
            "it declares a document type or entities, which no scoring needs: remove the declaration."
        )
    if text.count("<") > MOST_ENTRIES:
        raise HypnogramError(f"it has more than {MOST_ENTRIES} XML elements: expected a scoring.")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise HypnogramError(
            f"it is damaged XML ({error}): expected a whole file; copy or export it again."
        ) from error
    readers = {"CMPStudyConfig": _read_profusion, "PSGAnnotation": _read_nsrr}
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]  # without its namespace
    if root.tag not in readers:
        raise HypnogramError(f"it is XML with the root <{cut(root.tag)}>: expected one of {listed(readers)}.")
    return readers[root.tag](root, _epoch_length(root))


def _epoch_length(root: ElementTree.Element) -> float | None:
    text = root.findtext("EpochLength")
    if text is None:
        return None
    try:
        return float(text)
    except ValueError as error:
        raise HypnogramError(f"its EpochLength is {cut(text)!r}: expected a number of seconds.") from error


def _read_profusion(root: ElementTree.Element, epoch_seconds: float | None) -> RawScoring:
    stages = root.findall("SleepStages/SleepStage")
    entries = [ScoringEntry(stage.text or "", f"epoch {epoch}") for epoch, stage in enumerate(stages)]
    return RawScoring(entries, epoch_seconds=epoch_seconds, numbers="rk")


def _read_nsrr(root: ElementTree.Element, epoch_seconds: float | None) -> RawScoring:
    events = [
        {child.tag: (child.text or "").strip() for child in event} | {"number": number}
        for number, event in enumerate(root.iter("ScoredEvent"), start=1)
    ]
    has_types = any(event.get("EventType", "").startswith("Stages") for event in events)
    entries = [
        ScoringEntry(
            # "Stage 1 sleep|1": the name, then the number
            event.get("EventConcept", "").split("|")[0],
            f"event {event['number']}",
            _number(event.get("Start", "")),
            _number(event["Duration"]) if "Duration" in event else None,
        )
        for event in events
        if event.get("EventConcept") != _RECORDING_START
        # Some files have concepts of an ontology (SDO:WakeState) and no types.
        and (event.get("EventType", "").startswith("Stages") if has_types else not event.get("EventType"))
    ]
    # Its clock time is left out: Start counts from the first sample, while the NSRR moves dates and some clocks.
    return RawScoring(entries, not has_types, epoch_seconds, "rk")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")

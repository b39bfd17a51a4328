"""What stands beside a prepared dataset: its card, a table of its recordings, and the feature extractor."""

import hashlib
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
from huggingface_hub import DatasetCard, DatasetCardData

from modeling_sleepvit.feature_extraction_sleepvit import SleepViTFeatureExtractor
from modeling_sleepvit.stages import STAGES
from modeling_sleepvit.whole_files import written_whole

from .markdown_tables import markdown_table
from .night_files import notes_of_night
from .nights_builder import NightsBuilder


TEMPLATE = Path(__file__).with_name("dataset_card.md")
MOST_SUBJECTS_LISTED = 100

LICENCES = {
    "odc-by": "Open Data Commons Attribution License 1.0 (ODC-BY 1.0), that of the source; name the source.",
    "other": "The data use agreement of the source, which forbids passing the data on: keep this dataset private.",
}


def table_of_recordings(files: dict[Path, str]) -> pd.DataFrame:
    """Count the epochs of prepared nights.

    Args:
        files: split by Parquet file.

    Returns:
        one row per recording: `recording`, `subject`, `split`, `n_epochs`, `n_scored`, one count per stage, and
        `notes` on what was chosen, dropped or guessed.
    """
    rows = []
    for path, split in files.items():
        night = pq.read_table(path, columns=["recording", "subject", "label", "scored"]).to_pandas()
        labels = night["label"][night["scored"]]
        rows.append(
            {
                "recording": night["recording"].iloc[0],
                "subject": night["subject"].iloc[0],
                "split": split,
                "n_epochs": len(night),
                "n_scored": len(labels),
                **{stage: int((labels == index).sum()) for index, stage in enumerate(STAGES)},
                "notes": " ".join(notes_of_night(path)),
            }
        )
    return pd.DataFrame(rows)


def checksum_of_files(folder: Path, pattern: str) -> str:
    """Sum up the content of the files of a dataset.

    Args:
        folder: of the dataset.
        pattern: of its files, as `Path.glob` takes it.

    Returns:
        SHA-256 of what `sha256sum` prints for the files in the order of their names.
    """
    lines = []
    for path in sorted(folder.glob(pattern)):
        with path.open("rb") as file:
            lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.relative_to(folder).as_posix()}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def write_card(
    folder: Path, builder: NightsBuilder, recordings: pd.DataFrame, n_not_prepared: int, repo: str | None
) -> None:
    """Write the dataset card, which also tells `load_dataset` where the splits lie.

    Args:
        folder: of the dataset.
        builder: that made it.
        recordings: as `table_of_recordings` gives it.
        n_not_prepared: recordings that are missing in it.
        repo: its id on the Hub, or None.
    """
    config, extractor, shape = builder.config, builder.settings.feature_extractor, builder.epoch_shape()
    splits = list(dict.fromkeys(recordings["split"]))
    card_data = DatasetCardData(
        pretty_name=_name(builder),
        license=config.licence or None,
        task_categories=["audio-classification"],
        tags=["sleep-staging", "eeg", "polysomnography", "sleepvit"],
        configs=[
            {
                "config_name": "default",
                # what `datasets` keeps in its cache goes by the folder's last name and this header: without the
                # checksum, another dataset of that name, or an earlier state of this one, would be read in its place
                "description": f"SHA-256 {checksum_of_files(folder, 'data/*/*.parquet')}",
                "data_files": [{"split": split, "path": f"data/{split}/*.parquet"} for split in splits],
            }
        ],
    )
    by_subject = counts_by(recordings, "subject")
    card = DatasetCard.from_template(
        card_data,
        template_path=str(TEMPLATE),
        name=_name(builder),
        description=config.description,
        protocol=f"{type(builder).__name__} {config.name}, version {builder.VERSION}",
        trim=config.trim_rule,
        channels=_channels(builder),
        rows=_rows(extractor),
        scaling=f"{extractor.scaling}, recording by recording",
        shape=shape,
        eog_shape=builder.eog_shape(),
        epoch_seconds=extractor.epoch_seconds,
        covered_seconds=shape[-1],
        n_recordings=len(recordings),
        n_subjects=len(by_subject),
        n_rows=int(recordings["n_epochs"].sum()),
        n_scored=int(recordings["n_scored"].sum()),
        n_not_prepared=n_not_prepared,
        has_splits=len(splits) > 1,
        remarks=builder.remarks(),
        stage_table=markdown_table(
            recordings.groupby("split", sort=False, as_index=False)[[*STAGES, "n_scored"]].sum()
        ),
        subject_table=markdown_table(by_subject) if len(by_subject) <= MOST_SUBJECTS_LISTED else "",
        licence=LICENCES.get(config.licence),
        citation=config.citation,
        repo=repo,
    )
    with written_whole(folder / "README.md") as partial:
        card.save(partial)


def _channels(builder: NightsBuilder) -> str:
    if "channels" in builder.SETTLED_BY_SOURCE:
        return "those of the source files"
    return ", ".join(builder.config.channels or ["the best EEG channel of each recording"])


def _rows(extractor: SleepViTFeatureExtractor) -> str:
    if extractor.representation == "waveform":
        return f"{extractor.num_rows}, the samples of each second at {extractor.waveform_rate} Hz"
    return f"{extractor.num_rows}, up to {extractor.row_edges_hz[-1]} Hz, {extractor.power_scale} power"


def _name(builder: NightsBuilder) -> str:
    return f"{builder.config.name} for SleepViT"


def counts_by(recordings: pd.DataFrame, column: str) -> pd.DataFrame:
    """Sum the scored epochs of recordings up.

    Args:
        recordings: as `table_of_recordings` gives it.
        column: "subject" or "split".

    Returns:
        one row per subject or split, in the order of the recordings: a count per stage, and all of them.
    """
    sums = recordings.groupby(column, sort=False, as_index=False)[[*STAGES, "n_scored"]].sum()
    return sums.rename(columns={"n_scored": "all"})

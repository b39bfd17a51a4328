"""Measure how several experts who scored the same recordings agree, and how a model compares with them.

python -m train_scripts.scorer_agreement dodh.json --output DIR [--model STAGES]

Each scorer is compared with the consensus of the others: in every epoch the stage with most votes; where several
stages have as many, that of the most reliable scorer among those who voted for one of them. A scorer is the more
reliable in a recording, the more the others agree with them there (`soft_agreement`).

Source: Guillot et al., Dreem Open Datasets: Multi-Scored Sleep Datasets to Compare Human and Automated Sleep Staging
(IEEE Transactions on Neural Systems and Rehabilitation Engineering 2020), section on the consensus. There, each epoch
counts by the share of votes for its consensus and F1 is weighted by stage; the figures here count every epoch alike.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from modeling_sleepvit.errors import DatasetError, UnknownStageError
from modeling_sleepvit.hypnogram import Hypnogram
from modeling_sleepvit.metrics_sleepvit import confusion_matrix, figures_of_confusion
from modeling_sleepvit.stages import IGNORED_ID, STAGES, ids_from_stages, stage_from_name
from modeling_sleepvit.whole_files import written_whole

from .running import run_script
from .subject_metrics import distribution, json_text


FIGURES = ("accuracy", "macro_f1", "kappa", *(f"f1_{stage}" for stage in STAGES))

POOLED = "pooled"
"""In place of a record: all its scorer's epochs together."""

MODEL = "model"
"""In place of a scorer: the model that is compared with them."""

Scorings = dict[str, dict[str, np.ndarray]]
"""{scorer: {record: (n_epochs,) stage ids 0..4, -100 not scored}}"""


def main(argv: list[str] | None = None) -> None:
    """Print the agreement of each scorer and write `scorer_agreement.csv` and `scorer_agreement.json`.

    Args:
        argv: see `--help`; None reads the command line.

    Raises:
        DatasetError: a file cannot be read, or its scorings do not fit together.
        UnknownStageError: a stage is in no vocabulary.
    """
    parser = argparse.ArgumentParser(prog="scorer_agreement", description=__doc__.split("\n")[0])
    parser.add_argument("scorings", type=Path, help="JSON: {scorer: {record: [stage of each epoch]}}")
    parser.add_argument(
        "--model",
        type=Path,
        metavar="STAGES",
        help="stages of a model: JSON {record: [stage of each epoch]}, or a folder of RECORD_hypnogram.csv",
    )
    parser.add_argument(
        "--others-alone",
        action="store_true",
        help="let the scorer who is compared have no say in how reliable the others are (default: as published)",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the two files")
    args = parser.parse_args(argv)

    scorings = read_scorings(args.scorings)
    model = read_model_stages(args.model) if args.model else None
    table = agreement_table(scorings, model, args.others_alone)
    summary = {"file": args.scorings.name, "others_alone": args.others_alone, **agreement_summary(table)}
    args.output.mkdir(parents=True, exist_ok=True)
    with written_whole(args.output / "scorer_agreement.csv") as partial:
        table.to_csv(partial, index=False, lineterminator="\n")
    with written_whole(args.output / "scorer_agreement.json") as partial:
        partial.write_text(json_text(summary), encoding="utf-8")
    print(summary_text(summary))


def read_scorings(path: str | Path) -> Scorings:
    """Read the scorings of several experts.

    Args:
        path: JSON {scorer: {record: [stages]}}; a stage is a name that `stage_from_name` knows or an id 0..4 (W, N1,
            N2, N3, R), negative where the epoch was not scored.

    Returns:
        stage ids by scorer and record, -100 where not scored.

    Raises:
        DatasetError: the file is missing or is no such JSON, or two scorings of a record differ in length.
        UnknownStageError: a stage is in no vocabulary.
    """
    content = _read_json(path, "{scorer: {record: [stages]}}")
    for scorer, records in content.items():
        if not isinstance(records, dict):
            raise DatasetError(
                f"{path} holds a {type(records).__name__} for {scorer}: expected {{scorer: {{record: [stages]}}}}."
            )
    scorings = {
        scorer: {record: _ids(stages, f"{path}: {scorer}, {record}") for record, stages in records.items()}
        for scorer, records in content.items()
    }
    try:
        check_scorings(scorings)
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from error
    return scorings


def read_model_stages(path: str | Path) -> dict[str, np.ndarray]:
    """Read the stages that a model gave to recordings.

    Args:
        path: JSON {record: [stages]} as in `read_scorings`, or a folder of `<record>_hypnogram.csv` as
            `sleepvit stage` writes them.

    Returns:
        stage ids by record, -100 where the model gave none.

    Raises:
        DatasetError: there is neither.
        HypnogramError: a CSV is no hypnogram.
        UnknownStageError: a stage is in no vocabulary.
    """
    path = Path(path)
    if not path.is_dir():
        content = _read_json(path, "{record: [stages]}")
        return {record: _ids(stages, f"{path}: {record}") for record, stages in content.items()}
    hypnograms = [Hypnogram.from_csv(file) for file in sorted(path.glob("*_hypnogram.csv"))]
    if not hypnograms:
        raise DatasetError(f"{path} holds no file RECORD_hypnogram.csv: expected those that `sleepvit stage` writes.")
    return {hypnogram.recording: ids_from_stages(hypnogram.stages) for hypnogram in hypnograms}


def check_scorings(scorings: Scorings) -> None:
    """Check that scorings can be compared.

    Args:
        scorings: stage ids by scorer and record; a scorer may lack records.

    Raises:
        DatasetError: no record has two scorers, or the scorings of a record differ in length.
    """
    for record, of_record in _by_record(scorings).items():
        lengths = {scorer: len(ids) for scorer, ids in of_record.items()}
        if len(set(lengths.values())) > 1:
            found = ", ".join(f"{scorer} {length}" for scorer, length in lengths.items())
            raise DatasetError(
                f"the scorings of {record} differ in their number of epochs: expected one, found {found}."
            )
    if not any(len(of_record) > 1 for of_record in _by_record(scorings).values()):
        raise DatasetError("no record has two scorers: expected at least two who scored the same recording.")


def soft_agreement(votes: np.ndarray) -> np.ndarray:
    """Measure how reliable each scorer of a record is, by how the others vote for the scorer's stages.

    Args:
        votes: (n_scorers, n_epochs) stage ids 0..4, negative where not scored, which counts like a stage.

    Returns:
        (n_scorers,) the mean over the epochs of: votes of the others for the scorer's stage, divided by their votes
        for the stage most of them chose. 1 if a scorer is always with the largest group, NaN for one scorer alone.

    Source:
        Guillot et al. (2020), see the head of this module.
    """
    counts, own = _count_votes(votes)
    n_scorers, n_epochs = votes.shape
    if n_scorers < 2 or not n_epochs:
        return np.full(n_scorers, np.nan)
    agreement = np.empty(n_scorers)
    epochs = np.arange(n_epochs)
    for scorer, stages in enumerate(own):
        others = counts.copy()
        others[stages, epochs] -= 1
        agreement[scorer] = (others[stages, epochs] / others.max(axis=0)).mean()
    return agreement


def consensus(votes: np.ndarray, reliability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the stage of each epoch on which most scorers agree.

    Args:
        votes: (n_scorers, n_epochs) stage ids 0..4, negative where not scored, which counts like a stage: where most
            did not score an epoch, neither does the consensus.
        reliability: (n_scorers,) of any scale; where stages have as many votes, the stage of the most reliable of
            those who voted for one of them wins. Scorers of equal reliability come in their order.

    Returns:
        (n_epochs,) stage ids, -100 where not scored; and (n_epochs,) the share of the scorers who voted for them.
    """
    counts, own = _count_votes(votes)
    ranking = np.argsort(-np.asarray(reliability, dtype=float), kind="stable")
    support = np.take_along_axis(counts, own, axis=0)  # (scorers, epochs): how many voted like this scorer
    winner = ranking[(support == support.max(axis=0))[ranking].argmax(axis=0)]
    epochs = np.arange(votes.shape[1])
    stages = own[winner, epochs]
    return np.where(stages < len(STAGES), stages, IGNORED_ID), support[winner, epochs] / len(votes)


def compared_with_consensus(
    scorings: Scorings, model: Mapping[str, np.ndarray] | None = None, others_alone: bool = False
) -> Iterator[tuple[str, str, float, np.ndarray, np.ndarray, np.ndarray]]:
    """Lay the stages of every scorer, and of a model, beside the consensus that they are compared with.

    A scorer is compared with the consensus of the others, the model with that of all scorers; the published comparison
    leaves the least reliable scorer of a record out for a model, so that both face equally many votes.

    Args:
        scorings: stage ids by scorer and record.
        model: stage ids by record.
        others_alone: how reliable the others are is measured among themselves. As published, it is measured among all,
            so that the scorer who is compared has a say in ties: those who vote alike rank higher.

    Yields:
        name of the scorer ("model" for the model), record, the scorer's soft agreement with the others there (NaN for
        the model), and (n_epochs,) stage ids, stage ids of the consensus (-100 without one) and the share of the
        voters behind it.

    Raises:
        DatasetError: scorings or model do not fit together.
    """
    check_scorings(scorings)
    by_record = _by_record(scorings)
    if model is not None:
        if MODEL in scorings:
            raise DatasetError(f"a scorer is called {MODEL}: expected another name, since the model has this one.")
        _check_model(model, by_record)
    for record, of_record in by_record.items():
        votes = np.stack(list(of_record.values()))
        reliability = soft_agreement(votes)
        if len(votes) > 1:
            for index, scorer in enumerate(of_record):
                others = np.arange(len(votes)) != index
                ranks = soft_agreement(votes[others]) if others_alone else reliability[others]
                yield scorer, record, reliability[index], votes[index], *consensus(votes[others], ranks)
        if model is not None and record in model:
            yield MODEL, record, np.nan, model[record], *consensus(votes, reliability)


def agreement_table(
    scorings: Scorings, model: Mapping[str, np.ndarray] | None = None, others_alone: bool = False
) -> pd.DataFrame:
    """Compute the figures of each scorer, and of a model, in each record and in all of them.

    Args:
        scorings: stage ids by scorer and record.
        model: stage ids by record.
        others_alone: see `compared_with_consensus`.

    Returns:
        one row per scorer and record, then one per scorer whose `record` is "pooled": `scorer`, `record`, `n_epochs`,
        `FIGURES` with the consensus taken as the scoring, and `soft_agreement`, whose pooled value is the mean over
        the records.

    Raises:
        DatasetError: scorings or model do not fit together.
    """
    rows, counts = [], []
    for scorer, record, reliability, stages, agreed, _ in compared_with_consensus(scorings, model, others_alone):
        rows.append({"scorer": scorer, "record": record, "soft_agreement": reliability})
        counts.append(confusion_matrix(agreed, stages))
    of_records, counts = pd.DataFrame(rows), np.stack(counts)
    scorers = of_records["scorer"].unique()
    means = of_records.groupby("scorer")["soft_agreement"].mean()
    pooled = pd.DataFrame({"scorer": scorers, "record": POOLED, "soft_agreement": means[scorers].to_numpy()})
    pooled_counts = [counts[of_records["scorer"] == scorer].sum(axis=0) for scorer in scorers]
    table = pd.concat([of_records, pooled], ignore_index=True)
    counts = np.concatenate([counts, pooled_counts])
    table = table.assign(n_epochs=counts.sum(axis=(1, 2)), **figures_of_confusion(counts))
    return table[["scorer", "record", "n_epochs", *FIGURES, "soft_agreement"]]


def agreement_summary(table: pd.DataFrame) -> dict:
    """Summarise the agreement of scorers, and of a model, with the consensus.

    Args:
        table: as `agreement_table` returns it.

    Returns:
        `n_records`; `scorers`, for each by name `n_records`, its pooled `n_epochs`, `FIGURES` and `soft_agreement`,
        and `per_record` (median and quartiles of kappa, accuracy and macro-F1); `mean_of_scorers`, the mean of each
        pooled figure; `model` as a scorer's, where there is one.
    """
    summaries = {}
    for scorer, rows in table.groupby("scorer"):
        is_pooled = rows["record"] == POOLED
        pooled = rows[is_pooled].iloc[0]
        summaries[scorer] = {
            "n_records": int((~is_pooled).sum()),
            "n_epochs": int(pooled["n_epochs"]),
            **{figure: float(pooled[figure]) for figure in (*FIGURES, "soft_agreement")},
            "per_record": distribution(rows[~is_pooled]),
        }
    model = summaries.pop(MODEL, None)
    figures = [*FIGURES, "soft_agreement"]
    means = pd.DataFrame(summaries).T[figures].astype(float).mean()
    summary = {
        "n_records": int(table.loc[table["record"] != POOLED, "record"].nunique()),
        "scorers": summaries,
        "mean_of_scorers": {figure: float(means[figure]) for figure in figures},
    }
    if model is not None:
        del model["soft_agreement"]
        summary[MODEL] = model
    return summary


def summary_text(summary: Mapping) -> str:
    """Lay a summary out as a table for the terminal.

    Args:
        summary: as `agreement_summary` returns it.

    Returns:
        one line per scorer, their mean, and the model where there is one; figures but kappa in percent.
    """
    rows = {**summary["scorers"], "mean of scorers": summary["mean_of_scorers"]}
    if MODEL in summary:
        rows["model against all"] = summary[MODEL]
    table = pd.DataFrame(rows).T[[*FIGURES]].astype(float)
    percent = [name for name in FIGURES if name != "kappa"]
    table[percent] = (100 * table[percent]).map("{:.1f}".format)
    table["kappa"] = table["kappa"].map("{:.3f}".format)
    return f"{summary['n_records']} records, each scorer against the consensus of the others\n{table.to_string()}"


def _by_record(scorings: Scorings) -> dict[str, dict[str, np.ndarray]]:
    """Turn {scorer: {record: ids}} into {record: {scorer: ids}}, in the order of the first scorer who has a record."""
    by_record: dict[str, dict[str, np.ndarray]] = {}
    for scorer, records in scorings.items():
        for record, ids in records.items():
            by_record.setdefault(record, {})[scorer] = ids
    return by_record


def _check_model(model: Mapping[str, np.ndarray], by_record: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    if not set(model) & set(by_record):
        raise DatasetError(
            f"the model staged none of the scored records: expected some of {', '.join(sorted(by_record)[:3])}, ..., "
            f"found {', '.join(sorted(model)[:3]) or 'none'}; name them as in the scorings."
        )
    for record in set(model) & set(by_record):
        n_epochs = len(next(iter(by_record[record].values())))
        if len(model[record]) != n_epochs:
            raise DatasetError(
                f"the model staged {len(model[record])} epochs of {record}: expected {n_epochs} as in its scorings; "
                "trim both to one span."
            )


def _count_votes(votes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count (6, n_epochs) votes per stage, "not scored" last, and name the row of each (n_scorers, n_epochs) vote."""
    own = np.where(votes < 0, len(STAGES), votes)
    return (own[:, None, :] == np.arange(len(STAGES) + 1)[:, None]).sum(axis=0), own


def _read_json(path: str | Path, expected: str) -> dict:
    path = Path(path)
    if not path.is_file():
        raise DatasetError(f"{path} is not a file: expected a JSON {expected}; check the path.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} is not JSON: expected {expected} ({error}).") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{path} holds a {type(content).__name__}: expected {expected}.")
    return content


def _ids(stages: object, where: str) -> np.ndarray:
    """Turn names or ids of stages into ids; `where` names file, scorer and record in errors."""
    if not isinstance(stages, list):
        raise DatasetError(f"{where} holds a {type(stages).__name__}: expected a list with the stage of each epoch.")
    try:
        if all(isinstance(stage, str) for stage in stages):
            return ids_from_stages(stage_from_name(stage) for stage in stages)
    except UnknownStageError as error:
        raise UnknownStageError(f"{where}: {error}") from error
    for epoch, stage in enumerate(stages):
        if type(stage) is not int or stage >= len(STAGES):
            raise UnknownStageError(
                f"{where} holds {stage!r} in epoch {epoch}: expected 0 to 4 for {', '.join(STAGES)}, or a negative "
                "number where it was not scored, or names throughout."
            )
    return np.array([stage if stage >= 0 else IGNORED_ID for stage in stages], dtype=np.int64)


if __name__ == "__main__":
    sys.exit(run_script(main))

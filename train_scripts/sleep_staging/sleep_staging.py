"""The figures of sleep staging as a module of Hugging Face evaluate; the computing is done by `subject_metrics`.

evaluate.load("train_scripts/sleep_staging"), from the folder of the project
"""

# evaluate copies this file away and reads its imports line by line: our packages by full name, each import on one line
from collections.abc import Sequence

import datasets
import evaluate
import numpy as np
import pandas as pd

from modeling_sleepvit.errors import DatasetError
from modeling_sleepvit.hypnogram import EPOCH_SECONDS, PROBABILITY_COLUMNS
from modeling_sleepvit.stages import STAGES
from train_scripts.subject_metrics import figures_of_predictions


DESCRIPTION = (
    "Agreement of predicted sleep stages with a scoring: accuracy, balanced accuracy, macro-F1, F1 of each stage, "
    "Cohen's kappa, confusion matrix; calibration and the curve of expert review; distribution over recordings and "
    "subjects; bootstrap intervals over subjects; errors of total sleep time, sleep efficiency and wake after sleep "
    "onset."
)

INPUTS_DESCRIPTION = """
Args:
    predictions: stage ids 0..4 (W, N1, N2, N3, R), negative where there is no stage.
    references: scored stage ids 0..4, -100 where an epoch was not scored.
    probabilities: optional, five for each epoch in the order of the ids: calibration_error and review.
    subjects: optional, the subject of each epoch: n_subjects, per_subject and intervals.
    recordings: optional, the recording of each epoch, epochs in the order of the night: n_recordings, per_recording
        and sleep_statistics.
    epoch_seconds: length of an epoch in s (compute only).
    n_resamples, confidence, seed: of the intervals (compute only).
Returns:
    what train_scripts.subject_metrics.figures_of_predictions computes from what is given.
Examples:
    >>> sleep_staging = evaluate.load("train_scripts/sleep_staging")
    >>> sleep_staging.compute(predictions=[0, 2, 2], references=[0, 2, 3])["accuracy"]
    0.6666666666666666
"""

CITATION = """
@article{guillot2020dreem,
  title = {Dreem Open Datasets: Multi-Scored Sleep Datasets to Compare Human and Automated Sleep Staging},
  author = {Guillot, Antoine and Sauvet, Fabien and During, Emmanuel H. and Thorey, Valentin},
  journal = {IEEE Transactions on Neural Systems and Rehabilitation Engineering},
  volume = {28}, number = {9}, pages = {1955--1965}, year = {2020}
}
"""

ABSENT = {"probabilities": [], "subjects": "", "recordings": ""}
"""What stands for an optional input in each epoch, since evaluate itself knows no optional inputs."""


class SleepStaging(evaluate.Metric):
    """Sleep staging as a metric: `compute` returns all figures that its inputs allow."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation=CITATION,
            inputs_description=INPUTS_DESCRIPTION,
            features=datasets.Features(
                {
                    "predictions": datasets.Value("int64"),
                    "references": datasets.Value("int64"),
                    "probabilities": datasets.Sequence(datasets.Value("float64")),
                    "subjects": datasets.Value("string"),
                    "recordings": datasets.Value("string"),
                }
            ),
        )

    def add_batch(self, *, predictions: Sequence, references: Sequence, **optional) -> None:
        """Add epochs, with or without the optional inputs."""
        inputs = {"predictions": predictions, "references": references, **optional}
        for name, nothing in ABSENT.items():
            if inputs.get(name) is None:
                inputs[name] = [nothing] * len(predictions)
        # evaluate looks at [0], which a part of a pandas column may not have
        inputs = {name: getattr(values, "array", values) for name, values in inputs.items()}
        super().add_batch(**inputs)

    def add(self, *, prediction: int, reference: int, **optional) -> None:
        """Add one epoch, with or without the optional inputs."""
        given = {name: [value] for name, value in optional.items()}
        self.add_batch(predictions=[prediction], references=[reference], **given)

    def compute(
        self, *, predictions: Sequence | None = None, references: Sequence | None = None, **kwargs
    ) -> dict | None:
        """Compute all figures that the inputs allow."""
        if predictions is not None:
            kwargs = {**dict.fromkeys(ABSENT), **kwargs}
        return super().compute(predictions=predictions, references=references, **kwargs)

    def _compute(
        self,
        predictions: Sequence[int],
        references: Sequence[int],
        probabilities: Sequence[Sequence[float]],
        subjects: Sequence[str | None],
        recordings: Sequence[str | None],
        epoch_seconds: float = EPOCH_SECONDS,
        n_resamples: int = 2000,
        confidence: float = 0.95,
        seed: int = 0,
    ) -> dict:
        frame = pd.DataFrame({"label": references, "prediction": predictions}, dtype=np.int64)
        for column, values in (("subject", subjects), ("recording", recordings)):
            if any(values):
                frame[column] = [value or None for value in values]
        lengths = {len(row) for row in probabilities}
        if lengths - {0}:
            if lengths != {len(STAGES)}:
                raise DatasetError(
                    f"rows of {', '.join(map(str, sorted(lengths)))} probabilities were given: expected "
                    f"{len(STAGES)} for every epoch ({', '.join(STAGES)})."
                )
            frame[list(PROBABILITY_COLUMNS)] = np.asarray(probabilities, dtype=np.float64)
        return figures_of_predictions(frame, epoch_seconds, n_resamples, confidence, seed)

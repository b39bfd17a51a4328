"""Rebuild the figures of leave-one-subject-out on Sleep-EDF-20 from the published predictions of every epoch.

python -m benchmarks.leave_one_subject_out
"""

import dataclasses
import json
from pathlib import Path

import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from dataset_builders.markdown_tables import markdown_table
from model_cards.build_cards import fill_in
from modeling_sleepvit.hypnogram import PROBABILITY_COLUMNS
from modeling_sleepvit.metrics_sleepvit import staging_metrics
from modeling_sleepvit.stages import STAGES
from train_scripts.evaluate_checkpoint import write_metrics
from train_scripts.run_leave_one_subject_out import figures_of_folds
from train_scripts.training_settings import ModelArguments, make_model


RESULTS = Path(__file__).parent / "results" / "sedf20-5s"
CONFIGS = Path(__file__).parents[1] / "train_scripts" / "configs" / "sedf20-5s"
CHOOSING_SUBJECTS = ("SC400", "SC402", "SC405", "SC407", "SC410", "SC412", "SC415", "SC417")
"""Those on whom settings were chosen; their own folds have not learned from them, but the settings know them."""


ROW_NAMES = {
    "default": "default sequence model",
    "eegspec-seq-vtrans": "published Seq-VTrans, 3 epochs, centre label",
    "eegspec-vtrans": "published EEGspec-VTrans, one epoch",
}


def main() -> None:
    """Compute every `metrics.json` anew from its `predictions.parquet`, and put the tables into the README here."""
    metrics = {name: rebuild(RESULTS / name) for name in ROW_NAMES if (RESULTS / name).is_dir()}
    text = f"{agreement_table(metrics)}\n\n{calibration_table(metrics)}"
    fill_in(Path(__file__).parent / "README.md", "leave-one-subject-out", text)
    print(text)


def rebuild(folder: Path) -> dict:
    """Compute the figures of one configuration.

    Args:
        folder: holds `predictions.parquet` and `metrics.json`, which tells the protocol and each fold's temperatures.

    Returns:
        the figures, which are written to `metrics.json` too.
    """
    path = folder / "metrics.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    predictions = pd.read_parquet(folder / "predictions.parquet")
    metrics = figures_of_folds(predictions, told["protocol"], told["folds"], told["temperatures"])
    is_new = ~predictions["subject"].isin(CHOOSING_SUBJECTS)
    labels, probabilities = predictions["label"], predictions[list(PROBABILITY_COLUMNS)]
    metrics["without_choosing_subjects"] = {
        "left_out": list(CHOOSING_SUBJECTS),
        **staging_metrics(labels[is_new], probabilities[is_new].to_numpy().argmax(axis=1)),
    }
    metrics["model"] = size_of_model(json.loads((CONFIGS / f"{folder.name}.json").read_text(encoding="utf-8")))
    write_metrics(metrics, path)
    return metrics


def size_of_model(settings: dict) -> dict[str, float]:
    """Count what a configuration costs.

    Args:
        settings: of its training, as in `train_scripts/configs`.

    Returns:
        `n_parameters`, `n_mflops_per_epoch` of a forward pass over 5 s of each epoch, a multiplication and an addition
        counted as two, and `sequence_length`.
    """
    fields = {field.name for field in dataclasses.fields(ModelArguments)}
    model = make_model(ModelArguments(**{key: value for key, value in settings.items() if key in fields})).eval()
    config = getattr(model.config, "epoch_config", model.config)
    model.set_attn_implementation("eager")  # whose matrix products are counted
    epoch = {"input_values": torch.zeros(1, config.num_channels, config.num_rows, config.num_frames)}
    if config.num_eog_channels:
        epoch["eog_values"] = torch.zeros(1, config.num_eog_channels, config.num_eog_rows, config.num_frames)
    length = getattr(model.config, "sequence_length", 1)
    # without its own kernel for them, PyTorch reads LSTMs step by step in matrix products, which are counted
    was_enabled, torch.backends.mkldnn.enabled = torch.backends.mkldnn.enabled, False
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        if not hasattr(model.config, "epoch_config"):
            model(**epoch)
        else:
            # every epoch is encoded once, however many sequences it is part of: see night_staging
            embedding = model.sleepvit.encode_epochs(**{name: values[None] for name, values in epoch.items()})
    torch.backends.mkldnn.enabled = was_enabled
    n_flops = counter.get_total_flops()
    if length > 1:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(epoch_embeddings=embedding.expand(-1, length, -1))
        n_flops += counter.get_total_flops() / (length if model.config.label_mode == "all" else 1)
    return {
        "n_parameters": model.num_parameters(),
        "n_mflops_per_epoch": n_flops / 1e6,
        "sequence_length": length,
    }


def agreement_table(metrics: dict[str, dict]) -> str:
    """Make a Markdown table of the agreement with the scoring.

    Args:
        metrics: figures by name of the configuration.

    Returns:
        the table; accuracy and F1 in percent, kappa with its 95 % interval over subjects.
    """
    rows = []
    for name, figures in metrics.items():
        low, high = figures["intervals"]["kappa"]
        rows.append(
            {
                "model": ROW_NAMES[name],
                "parameters": figures["model"]["n_parameters"],
                "MFLOPs per epoch": f"{figures['model']['n_mflops_per_epoch']:.1f}",
                "folds": figures["folds"],
                "epochs": figures["n_epochs"],
                "accuracy": f"{100 * figures['accuracy']:.1f}",
                "macro-F1": f"{100 * figures['macro_f1']:.1f}",
                "kappa (95 %)": f"{figures['kappa']:.3f} ({low:.3f} to {high:.3f})",
                **{f"F1 {stage}": f"{100 * figures[f'f1_{stage}']:.1f}" for stage in STAGES},
                "kappa without the eight": f"{figures['without_choosing_subjects']['kappa']:.3f}",
            }
        )
    return markdown_table(pd.DataFrame(rows))


def calibration_table(metrics: dict[str, dict]) -> str:
    """Make a Markdown table of how far the probabilities can be trusted.

    Args:
        metrics: figures by name of the configuration.

    Returns:
        the table; errors and shares in percent.
    """
    rows = []
    for name, figures in metrics.items():
        sleep = figures["sleep_statistics"]["total_sleep_time_min"]
        rows.append(
            {
                "model": ROW_NAMES[name],
                "calibration error before": f"{100 * figures['calibration_error_before']:.1f}",
                "and after": f"{100 * figures['calibration_error']:.1f}",
                "to review for kappa .90": f"{100 * figures['review']['share_for_target']:.1f}",
                "total sleep time, bias (min)": f"{sleep['bias']:.1f}",
                "limits of agreement (min)": f"{sleep['lower_limit']:.0f} to {sleep['upper_limit']:.0f}",
                "median kappa of a subject": f"{figures['per_subject']['kappa']['median']:.3f}",
            }
        )
    return markdown_table(pd.DataFrame(rows))


if __name__ == "__main__":
    main()

"""Model cards: what a checkpoint is, what it learned from and how well it does; what is not known is left out."""

import json
import re
from pathlib import Path

import pandas as pd
from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dataset_builders.markdown_tables import markdown_table
from modeling_sleepvit import SleepViTFeatureExtractor
from modeling_sleepvit.hub_card import CARD_FILE, CARD_HEADER
from modeling_sleepvit.stages import STAGES
from modeling_sleepvit.whole_files import written_whole

from .training_settings import StagingModel


TEMPLATE = Path(__file__).with_name("model_card.md")
METRIC_NAMES = {
    "kappa": "Cohen's kappa",
    "macro_f1": "macro-F1",
    "accuracy": "accuracy",
    **{f"f1_{stage}": f"F1 of {stage}" for stage in STAGES},
}


def model_card(
    name: str,
    model: StagingModel,
    feature_extractor: SleepViTFeatureExtractor,
    record: dict | None = None,
    template: Path = TEMPLATE,
    metadata: dict | None = None,
    **values,
) -> str:
    """Fill a card.

    Args:
        name: of the checkpoint.
        model: that it holds.
        feature_extractor: that it holds.
        record: of its training, see `training_record`; None where nobody wrote one.
        template: the card's; one in another folder may extend `model_card.md`.
        metadata: more for the card's header, for example `license` or `eval_results`.
        **values: what else the template shows.

    Returns:
        the card, Markdown with a YAML header.
    """
    config, classes = model.config, tuple(model.config.id2label.values())
    validation = (record or {}).get("validation")
    header = CARD_HEADER | {"model_name": name}
    if validation:
        header["eval_results"] = results_of(validation, record["data"]["name"], "validation")
    base = record and record["settings"].get("model_name_or_path")
    if base and "/" in base:  # the name alone of a folder is no id
        header["base_model"] = base.partition("@")[0]
    if record and "emissions_g" in record:
        header["co2_eq_emissions"] = {"emissions": record["emissions_g"], "source": "CodeCarbon"}
    environment = Environment(
        loader=FileSystemLoader([template.parent, TEMPLATE.parent]),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    return environment.get_template(template.name).render(
        card_data=ModelCardData(**header | (metadata or {})).to_yaml(),
        name=name,
        channels=channels_of(config),
        classes=f"{', '.join(classes[:-1])} or {classes[-1]}",
        is_for_pipeline=set(classes) == set(STAGES),
        auto_class=next(auto_class for auto_class in config.AUTO_CLASSES if auto_class.startswith("AutoModelFor")),
        epoch_seconds=feature_extractor.epoch_seconds,
        n_parameters=f"{model.num_parameters():,}",
        sequence_length=getattr(config, "sequence_length", None),
        temperature=temperature_of(config.temperature, classes),
        record=record,
        counts_table=counts_table(record["data"]) if record else None,
        figures=validation
        and markdown_table(
            pd.DataFrame([{"epochs": int(validation["n_epochs"]), **figures_row(validation, classes)}])
        ),
        settings=json.dumps(record["settings"], indent=2) if record else None,
        **values,
    )


def write_card(folder: Path, name: str, model: StagingModel, feature_extractor, record: dict | None) -> None:
    """Write the card of a checkpoint into its folder, whole or not at all; arguments as for `model_card`."""
    with written_whole(folder / CARD_FILE) as partial:
        partial.write_text(model_card(name, model, feature_extractor, record), encoding="utf-8")


def results_of(
    metrics: dict, dataset: str, split: str, intervals: dict[str, list[float]] | None = None
) -> list[EvalResult]:
    """Give figures as the Hub lists them.

    Args:
        metrics: figures by name; those of `METRIC_NAMES` among them are taken.
        dataset: its name.
        split: whose figures they are.
        intervals: of 95 % by figure, where they are known.

    Returns:
        one result per figure, rounded to four decimals, with its interval.
    """
    return [
        EvalResult(
            task_type="audio-classification",
            task_name="Sleep staging",
            dataset_type=re.sub("[^a-z0-9]+", "-", dataset.lower()).strip("-"),
            dataset_name=dataset,
            dataset_split=split,
            metric_type=metric,
            metric_name=name,
            metric_value=round(metrics[metric], 4),
            metric_args={"interval_95": [round(end, 4) for end in intervals[metric]]} if intervals else None,
        )
        for metric, name in METRIC_NAMES.items()
        if metric in metrics
    ]


def figures_row(metrics: dict, classes: tuple[str, ...] = STAGES) -> dict[str, str]:
    """Give the figures that always stand together as a row of a table.

    Args:
        metrics: figures by name; what does not exist, such as kappa where there is one class alone, may be missing.
        classes: what the model tells apart.

    Returns:
        accuracy and F1 in percent, kappa.
    """
    key_of = {"accuracy": "accuracy", "macro-F1": "macro_f1", "kappa": "kappa"}
    key_of |= {f"F1 {name}": f"f1_{name}" for name in classes}
    return {
        name: f"{metrics[key]:.3f}" if key == "kappa" else f"{100 * metrics[key]:.1f}"
        for name, key in key_of.items()
        if key in metrics
    }


def counts_table(data: dict) -> str:
    """Make a table of the subjects, nights and scored epochs of a training, as its record has them."""
    parts = {"learned from": data["train"], "watched": data.get("validation")}
    rows = [
        {
            "": part,
            "subjects": counts["n_subjects"],
            "nights": counts["n_recordings"],
            "epochs": counts["n_epochs"],
            **counts["by_class"],
        }
        for part, counts in parts.items()
        if counts
    ]
    return markdown_table(pd.DataFrame(rows))


def channels_of(config) -> str:
    """Say which channels a model reads."""
    epoch_config = getattr(config, "epoch_config", config)
    eeg = "one EEG channel" if epoch_config.num_channels == 1 else f"{epoch_config.num_channels} EEG channels"
    return f"{eeg} and {epoch_config.num_eog_channels} of the EOG" if epoch_config.num_eog_channels else eeg


def temperature_of(temperature: list[float] | None, classes: tuple[str, ...]) -> str | None:
    """Say by what the pipeline divides the logarithms of probabilities."""
    if temperature is None or len(set(temperature)) == 1:
        return temperature and str(temperature[0])
    return ", ".join(f"{value} ({name})" for name, value in zip(classes, temperature))

"""Cards of the checkpoints in the package: every number in them stands in a metrics file."""

import json
import re
import shutil
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from dataset_builders.sleep_edf import CITATION
from model_cards.build_cards import CHECKPOINT_FILES, METRICS_FILES, RESULTS, checkpoint_card, embed
from modeling_sleepvit import embedded_checkpoint
from modeling_sleepvit.errors import CheckpointError
from train_scripts.model_card import METRIC_NAMES, TEMPLATE
from train_scripts.training_record import RECORD_FILE, checksum_of_files

from ..hub_clients import PROJECT


FOLDER = Path(embedded_checkpoint())
TEMPLATES = (TEMPLATE, PROJECT / "model_cards" / "template.md")
NUMBER = re.compile(r"(?<![\w.])[+-]?\d+(?:,\d{3})*(?:\.\d+)?(?![\w]|\.\d)")
FIXED = {"95", "100", *NUMBER.findall(CITATION)}
"""Of fixed phrases outside of the templates: "95 % between", "in 95 of 100 nights", the citation of the data."""


def facts() -> dict:
    """What the committed files hold, without the long curve of reviews, which would excuse any number."""
    files = {name: json.loads((RESULTS / path).read_text()) for name, path in METRICS_FILES.items()}
    files["metrics"]["review"] = {
        name: value for name, value in files["metrics"]["review"].items() if not isinstance(value, list)
    }
    for name in (RECORD_FILE, "config.json"):
        files[name] = json.loads((FOLDER / name).read_text())
    return files


def leaves(value) -> list:
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in (key, *leaves(inner))]
    return [leaf for inner in value for leaf in leaves(inner)] if isinstance(value, list) else [value]


def unexplained(card: str) -> list[str]:
    """Numbers of a card that are no figure of the files, rounded as shown, and no word of a template or a file."""
    known = leaves(facts())
    prose = [re.sub(r"\{[{%].*?[}%]\}", "\0", path.read_text(), flags=re.DOTALL) for path in TEMPLATES]
    words = {word for text in prose for part in text.split("\0") for word in NUMBER.findall(part)} | FIXED
    words |= {word for text in known if isinstance(text, str) for word in NUMBER.findall(text)}
    figures = [float(value) for value in known if isinstance(value, (int, float)) and not isinstance(value, bool)]
    return [word for word in NUMBER.findall(card) if word not in words and not is_among(word, figures)]


def is_among(word: str, figures: list[float]) -> bool:
    shown, decimals = float(word.replace(",", "")), len(word.partition(".")[2])
    near = 0.5 * 10.0**-decimals + 1e-9
    return any(abs(shown - factor * figure) <= near for figure in figures for factor in (1, 100))


@pytest.fixture(scope="module")
def card() -> ModelCard:
    return ModelCard.load(PROJECT / "model_cards" / f"{FOLDER.name}.md")


def test_every_number_of_the_card_stands_in_a_file(card):
    assert unexplained(str(card)) == []


@pytest.mark.parametrize("figure", ["0.98765", "43.2176", "1,234,567"])
def test_a_number_that_stands_in_no_file_is_found(card, figure):
    assert unexplained(f"{card}\nKappa is {figure}.") == [figure]


def test_the_templates_hold_no_figures():
    """A figure that was typed into a template would be excused by the template."""
    for path in TEMPLATES:
        prose = re.sub(r"\{[{%].*?[}%]\}", "", path.read_text(), flags=re.DOTALL)
        assert {word for word in NUMBER.findall(prose) if "." in word} <= {"1.0", "10.1109"}, path


def test_the_header_has_the_figures_with_their_intervals(card):
    metrics = facts()["metrics"]
    results = {result.metric_type: result for result in card.data.eval_results}
    assert set(results) == set(METRIC_NAMES)
    for name, result in results.items():
        assert result.metric_value == pytest.approx(metrics[name], abs=5e-5)
        assert result.metric_args["interval_95"] == pytest.approx(metrics["intervals"][name], abs=5e-5)
        assert result.dataset_split == "leave-one-subject-out"
        assert "first 5 s of each epoch" in result.dataset_name


def test_it_says_what_a_reader_has_to_know(card):
    for words in (
        "first 5 s of each 30 s epoch",
        "not a medical device",
        "ODC-BY",
        "Goldberger",
        "30 min on either side of sleep",
        "leave-one-subject-out",
        "SIMULATED",
        "run_leave_one_subject_out",
    ):
        assert words in card.content
    assert not re.search(r"\b(None|nan|TODO|unknown)\b", card.content)


def test_the_checksum_is_that_of_the_data(shared_data, card):
    assert f"`{checksum_of_files(shared_data / 'sleep-edf-20-5s', '*.npz')}`" in card.content


@pytest.mark.parametrize("missing", METRICS_FILES.values())
def test_without_a_metrics_file_there_is_no_card(tmp_path, missing):
    for path in METRICS_FILES.values():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(RESULTS / path, tmp_path / path)
    assert checkpoint_card(FOLDER, tmp_path) == checkpoint_card(FOLDER)
    (tmp_path / missing).unlink()
    with pytest.raises(FileNotFoundError, match=Path(missing).name):
        checkpoint_card(FOLDER, tmp_path)


def test_the_record_of_other_weights_is_refused(tmp_path):
    folder = tmp_path / FOLDER.name
    shutil.copytree(FOLDER, folder)
    record = json.loads((folder / RECORD_FILE).read_text())
    record["settings"]["model"]["epoch_config"]["hidden_size"] += 1
    (folder / RECORD_FILE).write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match=r"another hidden_size than config\.json"):
        checkpoint_card(folder)
    (folder / RECORD_FILE).unlink()
    with pytest.raises(CheckpointError, match="the record of its training, found none"):
        checkpoint_card(folder)


def test_embedding_takes_data_and_no_code(tmp_path, tiny_checkpoints):
    training, package = tmp_path / "training", tmp_path / "package"
    shutil.copytree(tiny_checkpoints["sequence"], training)
    package.mkdir()
    with pytest.raises(CheckpointError, match=f"found no {RECORD_FILE} in it"):
        embed(training, package)
    assert not list(package.iterdir())
    (training / RECORD_FILE).write_text("{}")
    embed(training, package)
    assert {path.name for path in package.iterdir()} == set(CHECKPOINT_FILES)
    assert all(path.read_bytes() == (training / path.name).read_bytes() for path in package.iterdir())

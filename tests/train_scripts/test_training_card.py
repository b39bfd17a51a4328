"""The cards of trainings say what the trainings' own files say, and nothing that nobody knows."""

import hashlib
import json
from types import SimpleNamespace

import pytest
from huggingface_hub import ModelCard
from transformers import TrainerState

from dataset_builders.npz_nights import read_npz_nights
from modeling_sleepvit import STAGES, SleepViTFeatureExtractor
from modeling_sleepvit.stager import load_stager
from train_scripts.model_card import channels_of, figures_row, model_card, temperature_of
from train_scripts.prepare_dataset import origin_of_prepared
from train_scripts.training_record import checksum_of_files, progress_of_training, read_record, record_of_training

from .conftest import train


def figures_at(run, step) -> dict:
    history = json.loads((run / "trainer_state.json").read_text())["log_history"]
    return next(entry for entry in history if entry["step"] == step and "eval_kappa" in entry)


@pytest.fixture(scope="module")
def run(simulated_nights, tmp_path_factory):
    """The folder of a training of three passes that keeps its best checkpoint."""
    folder = tmp_path_factory.mktemp("training")
    settings = {
        "data_dir": str(simulated_nights),
        "test_subjects": ["SC402"],
        "validation_subjects": ["SC401"],
        "model": {"hidden_size": 16, "num_hidden_layers": 1, "epoch_config": {"num_frames": 5, "hidden_size": 16}},
        "output_dir": str(folder / "run"),
        "num_train_epochs": 3,
        "learning_rate": 0.01,
        "save_strategy": "epoch",
        "eval_strategy": "epoch",
        "load_best_model_at_end": True,
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
    }
    assert train(settings, folder) == 0
    return folder / "run"


def test_each_checkpoint_has_the_figures_of_its_own_step(run):
    steps = sorted(int(path.name.split("-")[1]) for path in run.glob("checkpoint-*"))
    assert len(steps) == 3
    best = json.loads((run / "trainer_state.json").read_text())["best_global_step"]
    for folder, step in {**{run / f"checkpoint-{step}": step for step in steps}, run: best}.items():
        figures, card = figures_at(run, step), ModelCard.load(folder / "README.md")
        results = {result.metric_type: result for result in card.data.eval_results}
        assert set(results) == {"kappa", "macro_f1", "accuracy", "f1_W", "f1_N3"}, "the nights hold W and N3 alone"
        for name, result in results.items():
            assert result.metric_value == pytest.approx(figures[f"eval_{name}"], abs=5e-5)
            assert result.dataset_split == "validation"
        assert f"{figures['eval_kappa']:.3f}" in card.content
        assert f"({step:,} steps)" in card.content


def test_the_card_counts_what_was_learned_from_and_names_no_place(run, simulated_nights):
    card, record = (run / "README.md").read_text(), read_record(run)
    assert "| learned from | 1 | 2 | 100 | 50 | 0 | 0 | 50 | 0 |" in card
    assert "| watched | 1 | 2 | 100 | 50 | 0 | 0 | 50 | 0 |" in card
    assert f"`{record['data']['sha256']}`" in card
    assert f"transformers {record['versions']['transformers']}" in card
    assert str(simulated_nights.parent) not in card + (run / "training.json").read_text()
    settings = json.loads(card.split("```json\n")[1].split("```")[0])
    assert settings["num_train_epochs"] == 3
    assert settings["data_dir"] == simulated_nights.name
    assert "report_to" not in settings


def test_a_record_names_no_place_of_this_machine_whatever_the_setting(simulated_nights, tmp_path):
    nights = {"train": read_npz_nights(simulated_nights, SleepViTFeatureExtractor())}
    settings = {"data_dir": str(simulated_nights), "deepspeed": str(tmp_path), "lr_scheduler_type": "cosine"}
    told = record_of_training(settings, STAGES, nights)["settings"]
    assert told == {**settings, "data_dir": simulated_nights.name, "deepspeed": tmp_path.name}


def test_the_checksum_is_that_of_a_common_tool(simulated_nights):
    names = sorted(path.name for path in simulated_nights.iterdir())
    listing = "".join(
        f"{hashlib.sha256((simulated_nights / name).read_bytes()).hexdigest()}  {name}\n" for name in names
    )
    assert checksum_of_files(simulated_nights, "*.npz") == hashlib.sha256(listing.encode()).hexdigest()


SECTIONS = ("## Training data", "## Figures", "## Calibration", "## Emissions", "## Reproduce", "## Versions")


def sections_of(card: str) -> list[str]:
    return [name for name in SECTIONS if name in card]


def test_what_nobody_knows_is_not_there(tiny_checkpoints, run):
    stager = load_stager(tiny_checkpoints["sequence"])
    bare = model_card("mine", stager.model, stager.feature_extractor)
    assert sections_of(bare) == []
    assert "model-index" not in bare
    for word in ("None", "nan", "unknown", "More Information", "{{"):
        assert word not in bare
    record = {name: value for name, value in read_record(run).items() if name != "validation"}
    assert sections_of(model_card("mine", stager.model, stager.feature_extractor, record)) == [
        "## Training data",
        "## Reproduce",
        "## Versions",
    ]
    assert "Licence" not in bare


def test_what_is_known_is_there(tiny_checkpoints, run):
    stager = load_stager(tiny_checkpoints["sequence"])
    stager.model.config.temperature = [1.25] * 5
    record = read_record(run)
    record["data"] |= {"licence": "odc-by", "citation": "Kemp et al.", "trim": "30min", "description": "Nights."}
    card = model_card("mine", stager.model, stager.feature_extractor, record | {"emissions_g": 12.3456})
    assert sections_of(card) == list(SECTIONS)
    for words in ("logarithms of the probabilities by 1.25", "emitted 12.3 g", "Licence: odc-by.", "Kemp et al."):
        assert words in card
    assert "Nights. Trim rule: 30min. **It holds only 5 s of\neach epoch.** No subject" in card
    assert ModelCard(card).data.co2_eq_emissions == {"emissions": 12.3456, "source": "CodeCarbon"}


def test_a_prepared_dataset_brings_its_origin_along(tmp_path):
    (tmp_path / "preparation.json").write_text(json.dumps({"name": "sedf-20", "trim": "none"}))
    origin = origin_of_prepared(tmp_path)
    assert (origin.name, origin.licence, origin.trim_rule) == ("sedf-20", "odc-by", "none")
    assert "Kemp" in origin.citation
    (tmp_path / "preparation.json").write_text(json.dumps({"name": "a protocol of tomorrow"}))
    assert (origin_of_prepared(tmp_path).licence, origin_of_prepared(tmp_path).trim_rule) == ("", "not known")


def test_one_class_alone_has_no_kappa_to_show():
    figures = figures_row({"accuracy": 0.975, "macro_f1": 1.0, "f1_W": 1.0})
    assert figures == {"accuracy": "97.5", "macro-F1": "100.0", "F1 W": "100.0"}


def test_emissions_are_those_that_were_measured(tmp_path):
    state = TrainerState(global_step=4, epoch=1.0)
    assert "emissions_g" not in progress_of_training(state, False, tmp_path)
    (tmp_path / "emissions.csv").write_text("run_id,emissions\na,0.001\nb,0.0025\n")
    assert progress_of_training(state, False, tmp_path)["emissions_g"] == pytest.approx(2.5)


def test_channels_and_temperatures_are_put_into_words():
    assert channels_of(SimpleNamespace(num_channels=2, num_eog_channels=0)) == "2 EEG channels"
    assert channels_of(SimpleNamespace(num_channels=1, num_eog_channels=2)) == "one EEG channel and 2 of the EOG"
    assert temperature_of([1.5, 1.5], ("W", "N1")) == "1.5"
    assert temperature_of([1.5, 2.0], ("W", "N1")) == "1.5 (W), 2.0 (N1)"
    assert temperature_of(None, ("W", "N1")) is None

"""The weights that come with the package: they load offline without a prompt, and stage real sleep."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.signal import resample_poly
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForAudioClassification,
    AutoModelForAudioFrameClassification,
    pipeline,
)

from modeling_sleepvit import (
    Hypnogram,
    SleepViTFeatureExtractor,
    SleepViTForAudioClassification,
    SleepViTForAudioFrameClassification,
    SleepViTModel,
    SleepViTSequenceModel,
    embedded_checkpoint,
)
from modeling_sleepvit.errors import CheckpointError
from modeling_sleepvit.stages import stage_from_name


RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "sedf20-5s" / "default"


def test_it_is_small_and_complete():
    folder = Path(embedded_checkpoint())
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "preprocessor_config.json", "README.md"} <= names
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 8 * 2**20


def test_an_unknown_name_lists_those_there_are():
    with pytest.raises(CheckpointError, match=r"no embedded checkpoint 'none'.*sleepvit-sedf20-5s"):
        embedded_checkpoint("none")


def test_the_auto_classes_load_it():
    checkpoint = embedded_checkpoint()
    assert AutoConfig.from_pretrained(checkpoint).model_type == "sleepvit_sequence"
    assert isinstance(AutoFeatureExtractor.from_pretrained(checkpoint), SleepViTFeatureExtractor)
    assert isinstance(AutoModel.from_pretrained(checkpoint), SleepViTSequenceModel)
    model, info = AutoModelForAudioFrameClassification.from_pretrained(checkpoint, output_loading_info=True)
    assert isinstance(model, SleepViTForAudioFrameClassification)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert not model.training


def test_a_user_without_a_network_needs_three_lines():
    """In a fresh process, with the Hub out of reach and nobody to answer a prompt."""
    code = (
        "import modeling_sleepvit, numpy as np\n"
        "from transformers import pipeline\n"
        "stager = pipeline('sleep-staging', model=modeling_sleepvit.embedded_checkpoint())\n"
        "night = np.random.default_rng(0).normal(scale=20, size=9000)\n"
        "print(stager(night, sampling_rate=100).n_epochs)\n"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL
    )
    assert done.stdout.strip() == "3", done.stderr


@pytest.mark.parametrize(
    ("kind", "head_class", "base_class", "shape"),
    [
        ("sequence", AutoModelForAudioFrameClassification, SleepViTSequenceModel, (1, 4, 1, 20, 5)),
        ("epoch", AutoModelForAudioClassification, SleepViTModel, (2, 1, 20, 5)),
    ],
)
def test_logits_are_the_same_in_a_fresh_process(tiny_checkpoints, tmp_path, kind, head_class, base_class, shape):
    torch.manual_seed(1)
    rows = torch.randn(shape)
    torch.save(rows, tmp_path / "rows.pt")
    head = head_class.from_pretrained(tiny_checkpoints[kind])
    base = AutoModel.from_pretrained(tiny_checkpoints[kind])
    assert isinstance(base, base_class)
    code = (
        "import torch, modeling_sleepvit\n"
        f"from transformers import AutoModel, {head_class.__name__}\n"
        f"rows = torch.load({str(tmp_path / 'rows.pt')!r})\n"
        f"checkpoint = {str(tiny_checkpoints[kind])!r}\n"
        "with torch.no_grad():\n"
        f"    outputs = [{head_class.__name__}.from_pretrained(checkpoint)(rows).logits,\n"
        "               AutoModel.from_pretrained(checkpoint)(rows).last_hidden_state]\n"
        f"torch.save(outputs, {str(tmp_path / 'outputs.pt')!r})\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    logits, hidden = torch.load(tmp_path / "outputs.pt")
    with torch.no_grad():
        assert torch.equal(head(rows).logits, logits)
        assert torch.equal(base(rows).last_hidden_state, hidden)


def test_head_classes_of_presets_are_the_right_ones():
    config = AutoConfig.for_model("sleepvit")
    assert isinstance(AutoModelForAudioClassification.from_config(config), SleepViTForAudioClassification)
    assert isinstance(AutoModel.from_config(config), SleepViTModel)


def test_it_is_calibrated_with_the_temperatures_of_the_folds():
    config = AutoConfig.from_pretrained(embedded_checkpoint())
    metrics = json.loads((RESULTS / "metrics.json").read_text())
    expected = np.exp(np.log(list(metrics["temperatures"].values())).mean(axis=0))
    np.testing.assert_allclose(config.temperature, expected, atol=1e-4)
    assert metrics["calibration_error"] <= 0.05


# Real sleep


def test_real_whole_epochs(shared_data, record_property):
    """Six windows of 5 s in each, of which it has learned from the first alone; no evidence about other people."""
    night = np.load(shared_data / "sleep-edf-sc4001-30s" / "SC4001E0_30s.npz")
    stager = pipeline("sleep-staging", model=embedded_checkpoint())
    staged = stager(night["x"].ravel(), sampling_rate=100)
    agreement = staged.agreement(Hypnogram([stage_from_name(stage) for stage in night["stage"]]))
    record_property("kappa", agreement["kappa"])
    print(f"SC4001E0, 232 whole epochs of 30 s: kappa {agreement['kappa']:.3f}, accuracy {agreement['accuracy']:.3f}")
    assert agreement["n_epochs"] == 232
    assert agreement["kappa"] >= 0.75


@pytest.mark.parametrize(
    ("change", "sampling_rate"),
    [
        (lambda signal: 0.1 * signal, 100),
        (lambda signal: -10 * signal, 100),
        (lambda signal: resample_poly(signal, 1, 2), 50),
        (lambda signal: resample_poly(signal, 32, 25), 128),
        (lambda signal: resample_poly(signal, 5, 1), 500),
    ],
    ids=["a tenth of the gain", "ten times the gain, turned over", "50 Hz", "128 Hz", "500 Hz"],
)
def test_gain_polarity_and_rate_hardly_change_the_staging_of_real_sleep(shared_data, change, sampling_rate):
    signal = np.load(shared_data / "sleep-edf-sc4001-30s" / "SC4001E0_30s.npz")["x"].ravel()
    stager = pipeline("sleep-staging", model=embedded_checkpoint())
    agreement = stager(signal, sampling_rate=100).agreement(stager(change(signal), sampling_rate=sampling_rate))
    assert agreement["n_epochs"] == 232
    assert agreement["kappa"] >= (0.95 if sampling_rate >= 64 else 0.85)

"""`sleepvit export`: what was written gives the model's own numbers, for any number of epochs, and stages nights."""

import numpy as np
import pandas as pd
import pytest
import torch

from modeling_sleepvit import SleepViTForAudioFrameClassification, SleepViTSequenceConfig
from modeling_sleepvit.night_staging import night_probabilities
from modeling_sleepvit.onnx_sleepvit import OnnxSleepViT, graph_names
from modeling_sleepvit.stager import load_stager
from train_scripts import export_checkpoint
from train_scripts.cli import main as sleepvit
from train_scripts.export_checkpoint import StoredLinear, store_in_fewer_bits

from ..conftest import TINY


ONNX_EXPORTS = {"sequence": None, "epoch": "int8"}
PROGRAM_EXPORTS = {"center": "bf16"}


def export(checkpoint, output, file_format: str, precision: str | None) -> None:
    quantize = [] if precision is None else ["--quantize", precision]
    assert sleepvit(["export", str(checkpoint), "--format", file_format, *quantize, "--output", str(output)]) == 0


@pytest.fixture(scope="module")
def exported(tiny_checkpoints, tmp_path_factory):
    """Folders of the ONNX graphs of tiny checkpoints."""
    pytest.importorskip("onnxscript", reason='pip install ".[onnx]" installs what writes ONNX')
    pytest.importorskip("onnxruntime", reason='pip install ".[onnx]" installs what reads ONNX')
    folders = {name: tmp_path_factory.mktemp("exported") for name in ONNX_EXPORTS}
    for name, folder in folders.items():
        export(tiny_checkpoints[name], folder, "onnx", ONNX_EXPORTS[name])
    return folders


def night(n_epochs: int, n_windows: int = 6) -> torch.Tensor:
    return torch.randn(n_epochs, 1, 20, 5 * n_windows, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ONNX_EXPORTS)
@pytest.mark.parametrize(("n_epochs", "n_windows"), [(1, 6), (5, 1), (23, 6)])
def test_onnx_runtime_gives_the_models_probabilities(name, n_epochs, n_windows, exported, tiny_checkpoints):
    model = load_stager(tiny_checkpoints[name]).model
    if ONNX_EXPORTS[name] is not None:
        store_in_fewer_bits(model, ONNX_EXPORTS[name])
    onnx_model = load_stager(exported[name], runtime="onnx").model
    is_scorable = torch.arange(n_epochs) % 7 != 3  # padding inside sequences
    values = night(n_epochs, n_windows)
    expected = night_probabilities(model, values, is_scorable=is_scorable)
    found = night_probabilities(onnx_model, values, is_scorable=is_scorable)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("file_format", ["onnx", "torch-export"])
def test_sequences_of_two_take_a_night_of_one_epoch(file_format, tmp_path):
    window = {**TINY, "num_frames": 5}
    config = SleepViTSequenceConfig(**TINY, epoch_config=window, sequence_length=2)
    model = SleepViTForAudioFrameClassification(config).eval()
    if file_format == "onnx":
        pytest.importorskip("onnxscript", reason='pip install ".[onnx]" installs what writes ONNX')
        pytest.importorskip("onnxruntime", reason='pip install ".[onnx]" installs what reads ONNX')
    export_checkpoint.export(model, 30, tmp_path, file_format)
    for n_epochs in (1, 2, 3):
        expected = night_probabilities(model, night(n_epochs))
        if file_format == "onnx":
            found = night_probabilities(OnnxSleepViT.from_pretrained(tmp_path, config), night(n_epochs))
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
        elif n_epochs <= 2:
            epoch_encoder, sequence_encoder = (
                torch.export.load(tmp_path / f"{graph}.pt2").module() for graph in graph_names(config)
            )
            with torch.no_grad():
                embeddings = epoch_encoder(input_values=night(n_epochs))[None]
                mask = torch.ones(1, n_epochs, dtype=torch.long)
                logits = sequence_encoder(epoch_embeddings=embeddings, attention_mask=mask)
            torch.testing.assert_close(logits[0].softmax(dim=-1), expected)


def test_a_program_of_torch_export_gives_the_models_logits(tiny_checkpoints, tmp_path):
    export(tiny_checkpoints["center"], tmp_path / "exported", "torch-export", PROGRAM_EXPORTS["center"])
    model = load_stager(tiny_checkpoints["center"]).model
    store_in_fewer_bits(model, PROGRAM_EXPORTS["center"])
    epoch_encoder, sequence_encoder = (
        torch.export.load(tmp_path / "exported" / f"{graph}.pt2").module() for graph in graph_names(model.config)
    )
    values, mask = night(12).unflatten(0, (4, 3)), torch.tensor([[0, 1, 1], *[[1, 1, 1]] * 3])
    with torch.no_grad():
        embeddings = epoch_encoder(input_values=values.flatten(0, 1)).unflatten(0, (4, 3))
        logits = sequence_encoder(epoch_embeddings=embeddings, attention_mask=mask)
        torch.testing.assert_close(logits, model(values, attention_mask=mask).logits)


@pytest.mark.parametrize("precision", ["int8", "bf16"])
def test_fewer_bits_are_close(precision, tiny_checkpoints):
    model = load_stager(tiny_checkpoints["sequence"]).model
    expected = night_probabilities(model, night(12))
    store_in_fewer_bits(model, precision)
    assert 0 < (night_probabilities(model, night(12)) - expected).abs().max() < 0.02


def test_fewer_bits_are_what_is_stored(exported, tiny_checkpoints):
    stored = (exported["epoch"] / "model.onnx").read_bytes()
    for module in load_stager(tiny_checkpoints["epoch"]).model.modules():
        if isinstance(module, torch.nn.Linear):
            weight = module.weight.detach()
            assert weight.numpy().tobytes() not in stored
            assert weight.mT.contiguous().numpy().tobytes() not in stored


def test_int8_is_off_by_half_a_step_of_the_row_at_most():
    torch.manual_seed(0)
    linear = torch.nn.Linear(6, 4)
    linear.weight.data[2] = 0
    stored = StoredLinear(linear, "int8")
    assert stored.stored.dtype == torch.int8
    assert ((stored.weight - linear.weight).abs() <= linear.weight.abs().amax(dim=1, keepdim=True) / 254 + 1e-7).all()


def test_nothing_in_an_export_names_a_place_on_this_machine(exported):
    for folder in exported.values():
        for path in folder.glob("*.onnx"):
            assert b".py" not in path.read_bytes()


def test_the_command_stages_with_onnx_runtime(exported, tiny_checkpoints, write_edf, tmp_path):
    edf = write_edf(tmp_path / "night.edf")
    for model, runtime in ((tiny_checkpoints["sequence"], "torch"), (exported["sequence"], "onnx")):
        output = str(tmp_path / runtime)
        assert sleepvit(["stage", str(edf), "--model", str(model), "--runtime", runtime, "--output", output]) == 0
    with_torch, with_onnx = (pd.read_csv(tmp_path / runtime / "night_hypnogram.csv") for runtime in ("torch", "onnx"))
    assert with_torch["stage"].tolist() == with_onnx["stage"].tolist()
    np.testing.assert_allclose(with_torch.filter(like="p_"), with_onnx.filter(like="p_"), atol=1e-4)


# Refusals


def test_a_checkpoint_that_was_not_exported_says_what_to_do(tiny_checkpoints, write_edf, tmp_path, capsys):
    pytest.importorskip("onnxruntime", reason='pip install ".[onnx]" installs what reads ONNX')
    edf = write_edf(tmp_path / "night.edf")
    arguments = ["--model", str(tiny_checkpoints["sequence"]), "--runtime", "onnx", "--output", str(tmp_path / "out")]
    assert sleepvit(["stage", str(edf), *arguments]) == 2
    error = capsys.readouterr().err
    assert "expected epoch_encoder.onnx, found none; write it with sleepvit export --format onnx" in error
    assert not (tmp_path / "out").exists()


def test_a_damaged_graph_is_refused_in_a_sentence(exported, write_edf, tmp_path, capsys):
    folder = tmp_path / "damaged"
    folder.mkdir()
    for path in exported["epoch"].iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes()[:500] if path.suffix == ".onnx" else path.read_bytes())
    edf = write_edf(tmp_path / "night.edf")
    assert sleepvit(["stage", str(edf), "--model", str(folder), "--runtime", "onnx"]) == 2
    assert "expected a graph that ONNX Runtime reads" in capsys.readouterr().err


def test_without_the_libraries_the_command_says_how_to_install_them(tiny_checkpoints, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(export_checkpoint, "onnxscript", None)
    output = tmp_path / "exported"
    assert sleepvit(["export", str(tiny_checkpoints["epoch"]), "--format", "onnx", "--output", str(output)]) == 2
    assert 'pip install "sleepvit[onnx]"' in capsys.readouterr().err
    assert not list(tmp_path.iterdir())

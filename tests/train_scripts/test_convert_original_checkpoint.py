"""`sleepvit convert`: the authors' state dicts, made by the golden formula, against their network written out here."""

import collections

import pytest
import torch
from torch import nn
from torch.nn.functional import gelu, layer_norm, linear
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification, AutoModelForAudioFrameClassification

from modeling_sleepvit.stager import load_stager
from train_scripts.cli import main as sleepvit

from ..modeling_sleepvit.test_modeling import golden_values


ENCODER = {"D": 128, "layers": 8, "heads": 12, "d": 16, "M": 256, "features": 8, "positions": 151}
SMALL = {**ENCODER, "D": 32, "heads": 4, "M": 128}
EPOCH_MODELS = {
    "eegspec-vtrans": ENCODER,
    "eegspec-vtrans-channel-tokens": {**SMALL, "features": 4, "positions": 301},
    "eegspec-1s": {**SMALL, "features": 32, "positions": 301},
    "eegspec-eogspec-vtrans": {**ENCODER, "heads": 4, "d": 8, "M": 512, "positions": 181},
}
SEQUENCE_PARTS = {
    "trans.": {**SMALL, "d": 32},
    "seq_trans.": {**SMALL, "D": 64, "d": 32, "features": 32, "positions": 4},
}


# The authors' side: their names, their order, their network in plain matrices


def encoder_shapes(prefix: str, projection: str, sizes: dict) -> dict[str, tuple[int, ...]]:
    width, inner, hidden = sizes["D"], sizes["heads"] * sizes["d"], sizes["M"]
    shapes = {
        f"{projection}.weight": (width, sizes["features"]),
        f"{projection}.bias": (width,),
        "pos_embedding": (1, sizes["positions"], width),
        "cls_token": (1, 1, width),
    }
    for layer in range(sizes["layers"]):
        stem = f"transformer.layers.{layer}"
        shapes |= {
            f"{stem}.0.norm.weight": (width,),
            f"{stem}.0.norm.bias": (width,),
            f"{stem}.0.fn.to_qkv.weight": (3 * inner, width),
            f"{stem}.0.fn.to_out.0.weight": (width, inner),
            f"{stem}.0.fn.to_out.0.bias": (width,),
            f"{stem}.1.norm.weight": (width,),
            f"{stem}.1.norm.bias": (width,),
            f"{stem}.1.fn.net.0.weight": (hidden, width),
            f"{stem}.1.fn.net.0.bias": (hidden,),
            f"{stem}.1.fn.net.3.weight": (width, hidden),
            f"{stem}.1.fn.net.3.bias": (width,),
        }
    return {prefix + name: shape for name, shape in shapes.items()}


def head_shapes(prefix: str, width: int) -> dict[str, tuple[int, ...]]:
    names = ("mlp_head.0.weight", "mlp_head.0.bias", "mlp_head.1.weight", "mlp_head.1.bias")
    return {prefix + name: shape for name, shape in zip(names, ((width,), (width,), (5, width), (5,)))}


def golden_state(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    state = collections.OrderedDict()
    for number, (name, shape) in enumerate(shapes.items()):
        is_norm_weight = name.endswith((".norm.weight", "mlp_head.0.weight"))
        values = 0.2 * (golden_values(torch.Size(shape).numel(), number) - 0.5) + is_norm_weight
        state[name] = values.view(shape)
    return state


def epoch_state(preset: str, **overrides) -> dict[str, torch.Tensor]:
    sizes = {**EPOCH_MODELS[preset], **overrides}
    shapes = {**encoder_shapes("", "to_patch_embedding.1", sizes), **head_shapes("", sizes["D"])}
    if preset == "eegspec-eogspec-vtrans":
        shapes |= {"eog_to_patch_embedding.1.weight": (sizes["D"], 52), "eog_to_patch_embedding.1.bias": (sizes["D"],)}
    return golden_state(shapes)


def sequence_state() -> dict[str, torch.Tensor]:
    return golden_state(
        {
            **encoder_shapes("trans.", "eeg_to_patch_embedding.1", SEQUENCE_PARTS["trans."]),
            **encoder_shapes("seq_trans.", "seq_to_patch_embedding.0", SEQUENCE_PARTS["seq_trans."]),
            **head_shapes("seq_trans.", 64),
        }
    )


def tokens_of(preset: str, x: torch.Tensor) -> torch.Tensor:
    """Cut (batch, 2, rows, 30) into the authors' tokens, one after another by the rules of the paper's facts."""
    tokens = []
    bands = [range(row, row + 4) for row in range(0, 20, 4)]
    for rows in [range(32)] if preset == "eegspec-1s" else bands:
        for second in range(30):
            if preset in ("eegspec-vtrans", "eegspec-eogspec-vtrans"):
                tokens.append(torch.stack([x[:, channel, row, second] for row in rows for channel in range(2)], dim=1))
            else:
                tokens += [torch.stack([x[:, channel, row, second] for row in rows], dim=1) for channel in range(2)]
    return torch.stack(tokens, dim=1)  # (batch, tokens, features)


def embedded(state: dict, projection: str, tokens: torch.Tensor) -> torch.Tensor:
    return linear(tokens, state[f"{projection}.weight"], state[f"{projection}.bias"])


def class_token(state: dict, prefix: str, embedded: torch.Tensor, heads: int) -> torch.Tensor:
    own = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    h = torch.cat([own["cls_token"].expand(len(embedded), -1, -1), embedded], dim=1)
    h = h + own["pos_embedding"][:, : h.shape[1]]
    layer = 0
    while (stem := f"transformer.layers.{layer}") + ".0.norm.weight" in own:
        normed = layer_norm(h, h.shape[-1:], own[f"{stem}.0.norm.weight"], own[f"{stem}.0.norm.bias"])
        qkv = normed @ own[f"{stem}.0.fn.to_qkv.weight"].T
        attended = []
        width = qkv.shape[-1] // 3 // heads
        for head in range(heads):
            q, k, v = (qkv[..., (part * heads + head) * width :][..., :width] for part in range(3))
            attended.append((q @ k.mT / width**0.5).softmax(dim=-1) @ v)
        joined = torch.cat(attended, dim=-1)
        h = h + linear(joined, own[f"{stem}.0.fn.to_out.0.weight"], own[f"{stem}.0.fn.to_out.0.bias"])
        normed = layer_norm(h, h.shape[-1:], own[f"{stem}.1.norm.weight"], own[f"{stem}.1.norm.bias"])
        inside = gelu(linear(normed, own[f"{stem}.1.fn.net.0.weight"], own[f"{stem}.1.fn.net.0.bias"]))
        h = h + linear(inside, own[f"{stem}.1.fn.net.3.weight"], own[f"{stem}.1.fn.net.3.bias"])
        layer += 1
    return h[:, 0]


def head(state: dict, prefix: str, token: torch.Tensor) -> torch.Tensor:
    normed = layer_norm(
        token, token.shape[-1:], state[f"{prefix}mlp_head.0.weight"], state[f"{prefix}mlp_head.0.bias"]
    )
    return linear(normed, state[f"{prefix}mlp_head.1.weight"], state[f"{prefix}mlp_head.1.bias"])


def golden_input(*shape: int) -> torch.Tensor:
    return 4 * golden_values(torch.Size(shape).numel(), 1000).view(shape)


def convert(state, tmp_path, *options) -> int:
    torch.save(state, tmp_path / "theirs.pth")
    return sleepvit(["convert", str(tmp_path / "theirs.pth"), str(tmp_path / "ours"), *options])


# Parity


@pytest.mark.parametrize("preset", EPOCH_MODELS)
def test_an_epoch_model_of_the_authors_keeps_its_logits(preset, tmp_path, capsys):
    state = epoch_state(preset)
    assert convert(state, tmp_path) == 0
    assert preset in capsys.readouterr().out
    model = AutoModelForAudioClassification.from_pretrained(tmp_path / "ours", dtype=torch.float64)
    x = golden_input(2, 2, model.config.num_rows, 30)
    inputs = {"input_values": x}
    tokens = embedded(state, "to_patch_embedding.1", tokens_of(preset, x))
    if preset == "eegspec-eogspec-vtrans":
        inputs["eog_values"] = eog = golden_input(2, 2, 26, 30)
        seconds = torch.stack([eog[..., row, :][:, channel] for row in range(26) for channel in range(2)], dim=2)
        tokens = torch.cat([tokens, embedded(state, "eog_to_patch_embedding.1", seconds)], dim=1)
    expected = head(state, "", class_token(state, "", tokens, EPOCH_MODELS[preset]["heads"]))
    torch.testing.assert_close(model(**inputs).logits, expected, rtol=0, atol=1e-12)
    assert (model.num_parameters(), model.config.num_positions) == (
        sum(tensor.numel() for tensor in state.values()),
        EPOCH_MODELS[preset]["positions"],
    )


def test_the_golden_state_dict_gives_the_golden_logits(tmp_path):
    assert convert(epoch_state("eegspec-vtrans"), tmp_path) == 0
    model = AutoModelForAudioClassification.from_pretrained(tmp_path / "ours", dtype=torch.float64)
    expected = [-0.0160902477, 0.2572274255, -0.3560163005, 0.3202970771, 0.2701069965]
    assert model(golden_input(2, 2, 20, 30)).logits[0].tolist() == pytest.approx(expected, abs=1e-9)


def test_the_sequence_model_of_the_authors_keeps_its_logits(tmp_path):
    state = sequence_state()
    assert convert(state, tmp_path) == 0
    model = AutoModelForAudioFrameClassification.from_pretrained(tmp_path / "ours", dtype=torch.float64)
    assert model.num_parameters() == 604_517
    x = golden_input(2, 3, 2, 20, 30)
    tokens = embedded(state, "trans.eeg_to_patch_embedding.1", tokens_of("eegspec-vtrans", x.flatten(0, 1)))
    epochs = class_token(state, "trans.", tokens, heads=4).unflatten(0, (2, 3))
    token = class_token(state, "seq_trans.", embedded(state, "seq_trans.seq_to_patch_embedding.0", epochs), heads=4)
    torch.testing.assert_close(model(x).logits, head(state, "seq_trans.", token), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("preset", "n_rows", "n_eog_channels"),
    [("eegspec-vtrans", 20, 0), ("eegspec-1s", 32, 0), ("eegspec-eogspec-vtrans", 20, 2)],
)
def test_the_feature_extractor_beside_it_makes_what_it_reads(preset, n_rows, n_eog_channels, tmp_path):
    assert convert(epoch_state(preset), tmp_path) == 0
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path / "ours")
    assert (extractor.power_scale, extractor.scaling) == ("linear", "none")
    assert (len(extractor.row_widths_hz), extractor.num_eog_channels) == (n_rows, n_eog_channels)
    load_stager(tmp_path / "ours")  # refuses what does not fit together


# What people wrap around a state dict


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model"])
def test_wrapped_and_parallel_weights_are_unwrapped(wrapper, tmp_path, capsys):
    state = {f"module.{name}": tensor.float() for name, tensor in epoch_state("eegspec-1s").items()}
    assert convert({wrapper: state, "epoch": 3, "optimizer": {}}, tmp_path) == 0
    assert "left aside, since they are no weights of the model: epoch, optimizer" in capsys.readouterr().out
    model = AutoModelForAudioClassification.from_pretrained(tmp_path / "ours")
    assert torch.equal(model.classifier.weight, state["module.mlp_head.1.weight"])


# Heads


def test_other_sizes_need_the_number_of_heads(tmp_path, capsys):
    state = epoch_state("eegspec-vtrans", D=16, layers=2, heads=2, d=6, M=24)
    assert convert(state, tmp_path) == 2
    assert "give --num-attention-heads" in capsys.readouterr().err
    assert convert(state, tmp_path, "--num-attention-heads", "5") == 2
    assert "expected a divisor of the inner width 12" in capsys.readouterr().err
    assert convert(state, tmp_path, "--num-attention-heads", "2", "2") == 2
    assert not (tmp_path / "ours").exists()
    assert convert(state, tmp_path, "--num-attention-heads", "2") == 0
    model = AutoModelForAudioClassification.from_pretrained(tmp_path / "ours", dtype=torch.float64)
    assert (model.config.num_attention_heads, model.config.head_dim) == (2, 6)
    x = golden_input(1, 2, 20, 30)
    token = class_token(state, "", embedded(state, "to_patch_embedding.1", tokens_of("eegspec-vtrans", x)), heads=2)
    torch.testing.assert_close(model(x).logits, head(state, "", token), rtol=0, atol=1e-12)


# Refusals


def without(name: str, preset: str = "eegspec-vtrans") -> dict:
    state = epoch_state(preset)
    del state[name]
    return state


QKV = "transformer.layers.0.0.fn.to_qkv.weight"
LAST_LAYER = "transformer.layers.7.1.fn.net.3.bias"


@pytest.mark.parametrize(
    ("content", "messages"),
    [
        (
            without("eog_to_patch_embedding.1.bias", "eegspec-eogspec-vtrans"),
            ["missing eog_to_patch_embedding.1.bias"],
        ),
        (without(LAST_LAYER), [f"missing {LAST_LAYER}"]),
        (without("to_patch_embedding.1.weight"), ["expected the names of the paper's authors", "cls_token"]),
        (without("pos_embedding"), ["pos_embedding", "no such tensor"]),
        (
            {**epoch_state("eegspec-vtrans"), "extra.weight": torch.ones(2), "mlp_head.1.bias": torch.ones(4)},
            ["unknown extra.weight", "mlp_head.1.bias of shape (4,) in place of (5,)"],
        ),
        (
            {**epoch_state("eegspec-vtrans"), "to_patch_embedding.1.weight": torch.ones(128, 12)},
            ["12 and 151", "8 and 151 (eegspec-vtrans)"],
        ),
        ({**sequence_state(), "trans.mlp_head.1.bias": torch.ones(5)}, ["unknown trans.mlp_head.1.bias"]),
        ({**epoch_state("eegspec-1s"), "mlp_head.1.bias": torch.full((5,), torch.nan)}, ["mlp_head.1.bias"]),
        ({**epoch_state("eegspec-1s"), "steps": 7}, ["something else: steps"]),
        ({**epoch_state("eegspec-1s"), QKV: torch.ones(2, 2).to_sparse()}, [f"something else: {QKV}"]),
        ({**epoch_state("eegspec-1s"), QKV: torch.ones(2, 2, dtype=torch.float8_e4m3fn)}, [f"something else: {QKV}"]),
        ({**epoch_state("eegspec-1s"), QKV: torch.ones(2, 2, device="meta")}, [f"something else: {QKV}"]),
        ({**epoch_state("eegspec-1s"), QKV: torch.ones(191, 32)}, [f"{QKV} with as many rows", "found 191"]),
        ({"resnet.conv1.weight": torch.ones(3)}, ["found: resnet.conv1.weight"]),
        ({"state_dict": {}, "epoch": 1}, ["found dict without any"]),
        ([torch.ones(3)], ["found list"]),
        (nn.Linear(2, 2), ["other objects than tensors"]),
    ],
)
def test_what_is_not_theirs_is_refused_by_name(content, messages, tmp_path, capsys):
    assert convert(content, tmp_path) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "theirs.pth" in error
    for message in messages:
        assert message in error
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize("content", [b"", b"no tensors here", b"\x80\x02."])
def test_a_file_that_torch_cannot_read_is_refused(content, tmp_path, capsys):
    (tmp_path / "theirs.pth").write_bytes(content)
    assert sleepvit(["convert", str(tmp_path / "theirs.pth"), str(tmp_path / "ours")]) == 2
    assert "found a damaged file" in capsys.readouterr().err


def test_nothing_that_is_there_is_overwritten(tmp_path, capsys):
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "config.json").write_text("{}")
    assert convert(epoch_state("eegspec-1s"), tmp_path) == 2
    assert "expected a new or an empty folder" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "ours").iterdir()] == ["config.json"]

"""The models: published sizes, golden logits, shapes, masks, and what the library may do with them."""

import copy

import pytest
import torch

from modeling_sleepvit import (
    SleepViTConfig,
    SleepViTForAudioClassification,
    SleepViTForAudioFrameClassification,
    SleepViTModel,
    SleepViTSequenceConfig,
    SleepViTSequenceModel,
)
from modeling_sleepvit.feature_extraction_sleepvit import frequency_cut
from modeling_sleepvit.modeling_sleepvit import staging_loss


TINY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "head_dim": 4, "intermediate_size": 24}


def tiny_epoch_config(**overrides) -> SleepViTConfig:
    return SleepViTConfig(**{**TINY, "num_channels": 2, "num_rows": 8, "num_frames": 3, **overrides})


def tiny_sequence_config(**overrides) -> SleepViTSequenceConfig:
    return SleepViTSequenceConfig(
        **{**TINY, "hidden_size": 20, "epoch_config": tiny_epoch_config(), "sequence_length": 6, **overrides}
    )


def tiny_models() -> dict[str, tuple[torch.nn.Module, torch.Tensor]]:
    torch.manual_seed(0)
    center = tiny_sequence_config(sequence_length=3, label_mode="center")
    return {
        "epoch": (SleepViTForAudioClassification(tiny_epoch_config()).eval(), torch.randn(3, 2, 8, 3)),
        "epoch, channel tokens": (
            SleepViTForAudioClassification(tiny_epoch_config(channel_tokens=True, pooling="mean")).eval(),
            torch.randn(3, 2, 8, 3),
        ),
        "sequence": (
            SleepViTForAudioFrameClassification(tiny_sequence_config(auxiliary_loss_weight=0.3)).eval(),
            torch.randn(2, 6, 2, 8, 3),
        ),
        "center": (SleepViTForAudioFrameClassification(center).eval(), torch.randn(2, 3, 2, 8, 3)),
        "band projections": (
            SleepViTForAudioFrameClassification(
                tiny_sequence_config(epoch_config=tiny_epoch_config(band_projections=True))
            ).eval(),
            torch.randn(2, 6, 2, 8, 3),
        ),
    }


@pytest.fixture(params=["epoch", "epoch, channel tokens", "sequence", "center", "band projections"])
def model_and_input(request):
    return tiny_models()[request.param]


@pytest.mark.parametrize("channel_tokens", [False, True])
def test_projections_of_equal_weights_are_the_common_projection(channel_tokens):
    common = SleepViTModel(tiny_epoch_config(channel_tokens=channel_tokens)).eval()
    own = SleepViTModel(tiny_epoch_config(channel_tokens=channel_tokens, band_projections=True)).eval()
    projection = common.patch_embeddings.projection
    assert len(own.patch_embeddings.projections) == 2
    for band in own.patch_embeddings.projections:
        band.load_state_dict(projection.state_dict())
    missing = own.load_state_dict(common.state_dict(), strict=False)
    assert all("projections" in name for name in missing.missing_keys)
    rows = torch.randn(4, 2, 8, 3)
    torch.testing.assert_close(own(rows).pooler_output, common(rows).pooler_output)
    # and each band goes through its own
    with torch.no_grad():
        own.patch_embeddings.projections[1].weight.zero_()
    tokens, before = own.patch_embeddings(rows), common.patch_embeddings(rows)
    n_tokens = tokens.shape[1] // 2
    torch.testing.assert_close(tokens[:, :n_tokens], before[:, :n_tokens])
    assert not torch.allclose(tokens[:, n_tokens:], before[:, n_tokens:])


# Published models


@pytest.mark.parametrize(
    ("preset", "n_parameters", "input_shape"),
    [
        ("eegspec-vtrans", 1_340_421, (1, 2, 20, 30)),
        ("eegspec-vtrans-channel-tokens", 143_685, (1, 2, 20, 30)),
        ("eegspec-1s", 144_581, (1, 2, 32, 30)),
    ],
)
def test_epoch_presets_have_the_published_size(preset, n_parameters, input_shape):
    model = SleepViTForAudioClassification(SleepViTConfig.from_preset(preset)).eval()
    assert model.num_parameters() == n_parameters
    assert model(torch.zeros(input_shape)).logits.shape == (1, 5)


def test_sequence_preset_has_the_published_size():
    model = SleepViTForAudioFrameClassification(SleepViTSequenceConfig.from_preset("eegspec-seq-vtrans"))
    epoch_parameters = model.sleepvit.epoch_encoder.num_parameters()
    assert (model.num_parameters(), epoch_parameters) == (604_517, 204_320)
    assert model(torch.zeros(2, 3, 2, 20, 30)).logits.shape == (2, 5)


def test_published_presets_start_as_published():
    torch.manual_seed(0)
    model = SleepViTModel(SleepViTConfig.from_preset("eegspec-vtrans"))
    assert model.tokens.position_embeddings.std().item() == pytest.approx(1, abs=0.02)
    projection = model.layers[0].mlp.fc1.weight
    bound = 128**-0.5
    assert projection.abs().max() <= bound
    assert projection.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)


def test_unknown_preset_is_refused():
    with pytest.raises(ValueError, match=r"presets \['eegspec-1s'.*found: 'vit'"):
        SleepViTConfig.from_preset("vit")


def golden_values(n_values: int, tensor_number: int) -> torch.Tensor:
    k = torch.arange(n_values, dtype=torch.int64)
    return ((1103515245 * k + 12345 + 2654435761 * tensor_number) % 2**31).double() / 2**31


def golden_model() -> SleepViTForAudioClassification:
    """The final EEGspec-VTrans with the weights of the golden value, in the order of the paper's facts."""
    model = SleepViTForAudioClassification(SleepViTConfig.from_preset("eegspec-vtrans")).double().eval()
    encoder = model.sleepvit
    tensors = [
        encoder.patch_embeddings.projection.weight,
        encoder.patch_embeddings.projection.bias,
        encoder.tokens.position_embeddings,
        encoder.tokens.cls_token,
    ]
    for layer in encoder.layers:
        attention = layer.attention
        tensors += [layer.layernorm_before.weight, layer.layernorm_before.bias]
        tensors += [(attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight)]
        tensors += [attention.o_proj.weight, attention.o_proj.bias]
        tensors += [layer.layernorm_after.weight, layer.layernorm_after.bias]
        tensors += [layer.mlp.fc1.weight, layer.mlp.fc1.bias, layer.mlp.fc2.weight, layer.mlp.fc2.bias]
    tensors += [model.layernorm.weight, model.layernorm.bias, model.classifier.weight, model.classifier.bias]
    norm_weights = {id(module.weight) for module in model.modules() if isinstance(module, torch.nn.LayerNorm)}
    with torch.no_grad():
        for number, tensor in enumerate(tensors):
            parts = tensor if isinstance(tensor, tuple) else (tensor,)
            values = 0.2 * (golden_values(sum(part.numel() for part in parts), number) - 0.5)
            for part, chunk in zip(parts, values.chunk(len(parts))):
                part.copy_(chunk.view(part.shape) + (id(part) in norm_weights))
    return model


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_golden_logits(attention):
    model = golden_model()
    model.set_attn_implementation(attention)
    x = 4 * golden_values(2 * 2 * 20 * 30, 1000).view(2, 2, 20, 30)
    expected = torch.tensor(
        [
            [-0.0160902477, 0.2572274255, -0.3560163005, 0.3202970771, 0.2701069965],
            [-0.0073246654, 0.2530913575, -0.3476955377, 0.3216477859, 0.2727252564],
        ],
        dtype=torch.float64,
    )
    torch.testing.assert_close(model(x).logits, expected, rtol=0, atol=1e-8)


def test_golden_logits_through_the_frequency_cut():
    x = 4 * golden_values(2 * 32 * 30, 1000).view(1, 2, 32, 30)
    rows = torch.from_numpy(frequency_cut(x.numpy(), [1] * 16 + [4] * 4))
    expected = torch.tensor(
        [[-0.0136936670, 0.2539240368, -0.3567782522, 0.3179440528, 0.2689434389]], dtype=torch.float64
    )
    torch.testing.assert_close(golden_model()(rows).logits, expected, rtol=0, atol=1e-8)


# Tokens


def test_joint_tokens_are_band_major_with_channels_fastest():
    model = SleepViTModel(tiny_epoch_config(num_rows=8, num_frames=3))
    x = torch.arange(2 * 8 * 3, dtype=torch.float32).view(1, 2, 8, 3)
    patches = {}
    model.patch_embeddings.projection.register_forward_pre_hook(lambda _, args: patches.update(x=args[0]))
    model(x)
    band, second = 1, 2
    expected = [x[0, channel, 4 * band + row, second] for row in range(4) for channel in range(2)]
    assert patches["x"][0, 3 * band + second].tolist() == [value.item() for value in expected]


def test_channel_tokens_have_the_channel_fastest():
    model = SleepViTModel(tiny_epoch_config(channel_tokens=True))
    x = torch.arange(2 * 8 * 3, dtype=torch.float32).view(1, 2, 8, 3)
    patches = {}
    model.patch_embeddings.projection.register_forward_pre_hook(lambda _, args: patches.update(x=args[0]))
    model(x)
    band, second, channel = 1, 2, 1
    token = 2 * (3 * band + second) + channel
    assert patches["x"][0, token].tolist() == x[0, channel, 4:8, second].tolist()


def test_a_long_epoch_is_the_mean_of_its_windows():
    model = SleepViTModel(tiny_epoch_config()).eval()
    x = torch.randn(2, 2, 8, 9)
    output = model(x)
    windows = torch.stack([model(part).pooler_output for part in x.split(3, dim=-1)])
    torch.testing.assert_close(output.pooler_output, windows.mean(dim=0))
    assert output.last_hidden_state.shape == (2, 3 * (2 * 3 + 1), 16)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 3, 8, 3), "axis channels: expected 2, found 3"),
        ((1, 2, 9, 3), "axis rows: expected 8, found 9"),
        ((1, 2, 8, 4), "axis frames: expected a multiple of 3, found 4"),
        ((1, 2, 8, 0), "axis frames: expected a multiple of 3, found 0"),
        ((2, 8, 3), r"must have shape \(batch, channels, rows, frames\), found: \(2, 8, 3\)"),
    ],
)
def test_an_input_that_does_not_fit_is_refused_by_axis(shape, message):
    with pytest.raises(ValueError, match=message):
        SleepViTModel(tiny_epoch_config())(torch.zeros(shape))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 7, 2, 8, 3), r"axis epochs: expected 1 to 6 \(sequence_length\), found 7"),
        ((1, 6, 1, 8, 3), "axis channels: expected 2, found 1"),
        ((6, 2, 8, 3), r"\(batch, epochs, channels, rows, frames\)"),
    ],
)
def test_a_sequence_that_does_not_fit_is_refused_by_axis(shape, message):
    with pytest.raises(ValueError, match=message):
        SleepViTSequenceModel(tiny_sequence_config())(torch.zeros(shape))


@pytest.mark.parametrize(
    ("config_class", "fields", "message"),
    [
        (SleepViTConfig, {"num_rows": 10}, r"multiple of patch_rows \(4\).*found: 10"),
        (SleepViTConfig, {"num_positions": 10}, r"cover 150 patches.*found: 10"),
        (SleepViTConfig, {"patch_rows": 0}, "patch_rows must be 1 at least, found: 0"),
        (SleepViTSequenceConfig, {"sequence_length": 0}, "sequence_length must be 1 at least, found: 0"),
        (SleepViTConfig, {"pooling": "max"}, "'cls' or 'mean', found: 'max'"),
        (SleepViTConfig, {"weight_init": "zeros"}, "'normal' or 'published'"),
        (SleepViTConfig, {"label_smoothing": 1.0}, r"in \[0, 1\), found: 1.0"),
        (SleepViTConfig, {"class_weights": [1.0, 2.0]}, "each of the 5 classes, found: 2"),
        (SleepViTSequenceConfig, {"label_mode": "last"}, "'all' or 'center', found: 'last'"),
        (SleepViTSequenceConfig, {"label_mode": "center", "auxiliary_loss_weight": 0.1}, "needs label_mode 'all'"),
    ],
)
def test_a_config_that_cannot_work_is_refused(config_class, fields, message):
    with pytest.raises(ValueError, match=message):
        config_class(**fields)


# Sequences and masks


def test_a_short_sequence_equals_a_padded_and_masked_one():
    model, x = tiny_models()["sequence"]
    padded = torch.cat([x[:, :4], torch.full_like(x[:, 4:], 100.0)], dim=1)
    mask = torch.tensor([[1, 1, 1, 1, 0, 0]]).expand(2, -1)
    torch.testing.assert_close(model(x[:, :4]).logits, model(padded, attention_mask=mask).logits[:, :4])


@pytest.mark.parametrize(("n_epochs", "before", "after"), [(1, 1, 1), (2, 0, 1)])
def test_a_short_sequence_is_padded_around_the_centre(n_epochs, before, after):
    model, x = tiny_models()["center"]
    short = x[:, :n_epochs]
    padded = torch.nn.functional.pad(short, (0, 0) * 3 + (before, after), value=7.0)
    mask = torch.tensor([[0] * before + [1] * n_epochs + [0] * after]).expand(2, -1)
    # the epochs at the padding are encoded to something else, and masked
    torch.testing.assert_close(model(short).logits, model(padded, attention_mask=mask).logits)


def test_the_neighbours_matter_and_masked_epochs_do_not():
    model, x = tiny_models()["sequence"]
    changed = x.clone()
    changed[:, 5] += 1
    mask = torch.tensor([[1, 1, 1, 1, 1, 0]]).expand(2, -1)
    assert not torch.allclose(model(x).logits[:, 0], model(changed).logits[:, 0])
    torch.testing.assert_close(
        model(x, attention_mask=mask).logits[:, :5], model(changed, attention_mask=mask).logits[:, :5]
    )


def test_epoch_embeddings_may_stand_for_the_input():
    model, x = tiny_models()["sequence"]
    embeddings = model.sleepvit.encode_epochs(x)
    torch.testing.assert_close(model(epoch_embeddings=embeddings).logits, model(x).logits)
    with pytest.raises(ValueError, match="either input_values or epoch_embeddings"):
        model()


# Loss


def test_loss_ignores_unscored_epochs_and_respects_num_items():
    model, x = tiny_models()["sequence"]
    labels = torch.tensor([[0, 1, 2, -100, -100, -100], [4, -100, -100, -100, -100, -100]])
    output = model(x, labels=labels)
    scored = labels != -100
    expected = sum(
        weight * torch.nn.functional.cross_entropy(logits[scored], labels[scored])
        for weight, logits in ((1, output.logits), (0.3, output.epoch_logits))
    )
    torch.testing.assert_close(output.loss, expected)
    torch.testing.assert_close(model(x, labels=labels, num_items_in_batch=8).loss, expected * 4 / 8)


def test_loss_of_no_scored_epoch_is_zero():
    model, x = tiny_models()["epoch"]
    assert model(x, labels=torch.full((3,), -100)).loss.item() == 0


def test_loss_takes_class_weights_and_label_smoothing_from_the_config():
    config = tiny_epoch_config(class_weights=[1.0, 2.0, 0.5, 1.0, 0.5], label_smoothing=0.1)
    logits, labels = torch.randn(4, 5), torch.tensor([0, 1, 2, 4])
    expected = torch.nn.functional.cross_entropy(
        logits, labels, weight=torch.tensor(config.class_weights), label_smoothing=0.1, reduction="sum"
    )
    torch.testing.assert_close(staging_loss(logits, labels, config), expected / 4)


# What the library may do with the models


def test_eager_equals_sdpa(model_and_input):
    model, x = model_and_input
    model.set_attn_implementation("eager")
    eager = model(x).logits
    model.set_attn_implementation("sdpa")
    torch.testing.assert_close(model(x).logits, eager, rtol=0, atol=1e-5)


def test_outputs_are_captured(model_and_input):
    model, x = model_and_input
    model.set_attn_implementation("eager")
    output = model(x, output_attentions=True, output_hidden_states=True)
    assert (len(output.attentions), len(output.hidden_states)) == (2, 3)
    for attention in output.attentions:
        torch.testing.assert_close(attention.sum(dim=-1), torch.ones(attention.shape[:-1]))
    assert model(x).attentions is None


def test_bf16_is_close(model_and_input):
    model, x = model_and_input
    expected = model(x).logits
    logits = copy.deepcopy(model).bfloat16()(x).logits  # fp32 input is cast inside
    assert logits.dtype == torch.bfloat16
    torch.testing.assert_close(logits.float(), expected, rtol=0, atol=0.05)


def test_gradient_checkpointing_gives_the_same_gradients(model_and_input):
    model, x = model_and_input
    model.train()
    labels = torch.ones(model(x).logits.shape[:-1], dtype=torch.long)
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            model.activation_checkpointing_enable()
        model.zero_grad()
        model(x, labels=labels).loss.backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    torch.testing.assert_close(*gradients)


def test_compiles_without_a_graph_break(model_and_input):
    model, x = model_and_input
    # the "eager" backend traces the whole graph and skips code generation, which takes a compiler and a minute
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x).logits, model(x).logits)


def test_exports_with_a_dynamic_batch(model_and_input):
    model, x = model_and_input
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(model, (x,), dynamic_shapes={"input_values": {0: batch}}, strict=False)
    twice = torch.cat([x, x])
    torch.testing.assert_close(program.module()(twice).logits, model(twice).logits)


def test_flags_for_other_attention_kernels_are_set():
    for model_class in (SleepViTModel, SleepViTSequenceModel):
        assert model_class._supports_flash_attn
        assert model_class._supports_flex_attn
        assert model_class._supports_sdpa

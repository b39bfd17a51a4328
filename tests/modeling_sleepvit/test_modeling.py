"""The models: published sizes, golden logits, shapes, masks, and what the library may do with them."""

import copy

import pytest
import torch
from transformers import AutoModel, AutoModelForAudioClassification

from modeling_sleepvit import (
    SleepViTConfig,
    SleepViTForAudioClassification,
    SleepViTForAudioFrameClassification,
    SleepViTModel,
    SleepViTSequenceConfig,
    SleepViTSequenceModel,
)
from modeling_sleepvit.modeling_sleepvit import rotary_rotations, rotated, staging_loss
from modeling_sleepvit.spectral_rows import frequency_cut

from .tiny_models import TINY_EPOCHS, TINY_SEQUENCES, inputs_of, tiny_epoch_config, tiny_model, tiny_sequence_config


@pytest.fixture(params=[*TINY_EPOCHS, *TINY_SEQUENCES])
def model_and_inputs(request):
    return tiny_model(request.param)


def is_recurrent(model) -> bool:
    return getattr(model.config, "is_recurrent", False)


# Published models


PUBLISHED_SIZES = {
    "eegspec-vtrans": 1_340_421,
    "eegspec-vtrans-channel-tokens": 143_685,
    "eegspec-1s": 144_581,
    "eegspec-eogspec-vtrans": 1_222_021,
    "eegseq-inception-vtrans": 342_853,
    "eegspec-lstm": 64_741,
    "eegspec-bilstm": 48_357,
    "eegspec-lstm-vtrans": 170_761,
}


@pytest.mark.parametrize("preset", SleepViTConfig.PRESETS)
def test_epoch_presets_have_the_published_size(preset):
    config = SleepViTConfig.from_preset(preset)
    model = SleepViTForAudioClassification(config).eval()
    assert model.num_parameters() == PUBLISHED_SIZES[preset]
    assert model(**inputs_of(config, 1)).logits.shape == (1, 5)


@pytest.mark.parametrize("preset", SleepViTConfig.PRESETS)
def test_presets_fit_other_channels_and_windows_and_come_back_from_disk(preset, tmp_path):
    config = SleepViTConfig.from_preset(preset, num_channels=1, num_frames=5, num_positions=None)
    model = SleepViTForAudioClassification(config).eval()
    model.save_pretrained(tmp_path)
    loaded = AutoModelForAudioClassification.from_pretrained(tmp_path)
    inputs = inputs_of(config, 2)
    torch.testing.assert_close(loaded(**inputs).logits, model(**inputs).logits)
    loss = loaded.train()(**inputs, labels=torch.tensor([0, 4])).loss
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in loaded.parameters())
    encoder = AutoModel.from_pretrained(tmp_path)
    assert encoder(**inputs).pooler_output.shape == (2, config.hidden_size)


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
    with pytest.raises(ValueError, match=r"presets \['eegseq.*found: 'vit'"):
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


# Inputs


@pytest.mark.parametrize("name", TINY_EPOCHS)
def test_a_long_epoch_is_the_mean_of_its_windows(name):
    config = tiny_epoch_config(**TINY_EPOCHS[name])
    model = SleepViTModel(config).eval()
    parts = [inputs_of(config, 2) for _ in range(3)]
    output = model(**{name: torch.cat([part[name] for part in parts], dim=-1) for name in parts[0]})
    windows = torch.stack([model(**part).pooler_output for part in parts])
    torch.testing.assert_close(output.pooler_output, windows.mean(dim=0))
    n_tokens = config.num_patches + (not config.is_recurrent)
    assert output.last_hidden_state.shape == (2, 3 * n_tokens, 16)


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


def test_eog_that_is_missing_or_not_wanted_is_refused():
    eeg, eog = torch.zeros(1, 2, 8, 3), torch.zeros(1, 1, 5, 3)
    with pytest.raises(ValueError, match="reads 1 EOG channels, found no eog_values"):
        SleepViTModel(tiny_epoch_config(num_eog_channels=1, num_eog_rows=5))(eeg)
    with pytest.raises(ValueError, match=r"reads 0 EOG channels, found eog_values \(1, 1, 5, 3\)"):
        SleepViTModel(tiny_epoch_config())(eeg, eog)


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
        (SleepViTConfig, {"encoder_type": "gru"}, "one of vtrans, .*found: 'gru'"),
        (SleepViTConfig, {"encoder_type": "lstm"}, "'lstm' has no class token: pooling must be 'mean'"),
        (SleepViTConfig, {"encoder_type": "bilstm", "pooling": "mean", "hidden_size": 7}, "even .*found: 7"),
        (
            SleepViTConfig,
            {"encoder_type": "lstm", "pooling": "mean", "channel_tokens": True},
            "tokens that are patches",
        ),
        (SleepViTConfig, {"encoder_type": "lstm-vtrans", "num_eog_channels": 1}, "needs encoder_type 'vtrans'"),
        (SleepViTConfig, {"encoder_type": "inception-vtrans", "conv_kernels": [30]}, r"1 to 20 samples.*\[30\]"),
        (SleepViTConfig, {"weight_init": "zeros"}, "'normal' or 'published'"),
        (SleepViTConfig, {"label_smoothing": 1.0}, r"in \[0, 1\), found: 1.0"),
        (SleepViTConfig, {"class_weights": [1.0, 2.0]}, "each of the 5 classes, found: 2"),
        (SleepViTSequenceConfig, {"label_mode": "last"}, "'all' or 'center', found: 'last'"),
        (SleepViTSequenceConfig, {"position_type": "sine"}, "'learned' or 'rotary', found: 'sine'"),
        (SleepViTSequenceConfig, {"position_type": "rotary", "head_dim": 3}, "an even head_dim .*found: 3"),
        (SleepViTSequenceConfig, {"label_mode": "center", "sequence_length": 4}, "odd sequence_length"),
        (
            SleepViTSequenceConfig,
            {"label_mode": "center", "sequence_length": 3, "auxiliary_loss_weight": 0.1},
            "needs label_mode 'all'",
        ),
    ],
)
def test_a_config_that_cannot_work_is_refused(config_class, fields, message):
    with pytest.raises(ValueError, match=message):
        config_class(**fields)


# Sequences and masks


def test_a_short_sequence_equals_a_padded_and_masked_one():
    model, inputs = tiny_model("sequence")
    x = inputs["input_values"]
    padded = torch.cat([x[:, :4], torch.full_like(x[:, 4:], 100.0)], dim=1)
    mask = torch.tensor([[1, 1, 1, 1, 0, 0]]).expand(2, -1)
    torch.testing.assert_close(model(x[:, :4]).logits, model(padded, attention_mask=mask).logits[:, :4])


@pytest.mark.parametrize(("n_epochs", "before", "after"), [(1, 1, 1), (2, 0, 1)])
def test_a_short_sequence_is_padded_around_the_centre(n_epochs, before, after):
    model, inputs = tiny_model("center")
    x = inputs["input_values"]
    short = x[:, :n_epochs]
    padded = torch.nn.functional.pad(short, (0, 0) * 3 + (before, after), value=7.0)
    mask = torch.tensor([[0] * before + [1] * n_epochs + [0] * after]).expand(2, -1)
    # the epochs at the padding are encoded to something else, and masked
    torch.testing.assert_close(model(short).logits, model(padded, attention_mask=mask).logits)


def test_the_neighbours_matter_and_masked_epochs_do_not():
    model, inputs = tiny_model("sequence")
    x = inputs["input_values"]
    changed = x.clone()
    changed[:, 5] += 1
    mask = torch.tensor([[1, 1, 1, 1, 1, 0]]).expand(2, -1)
    assert not torch.allclose(model(x).logits[:, 0], model(changed).logits[:, 0])
    torch.testing.assert_close(
        model(x, attention_mask=mask).logits[:, :5], model(changed, attention_mask=mask).logits[:, :5]
    )


def test_rotary_positions_see_distances_alone():
    query, key = torch.randn(2, 8, dtype=torch.float64)
    places = torch.zeros(1, 7, 8, dtype=torch.float64)
    rotations = rotary_rotations(places, head_dim=8, base=100.0)
    scores = rotated(query.expand(7, 8), rotations) @ rotated(key.expand(7, 8), rotations).T  # (places, places)
    torch.testing.assert_close(scores[1:, 1:], scores[:-1, :-1], rtol=0, atol=1e-5)
    assert scores[0, 0] == pytest.approx((query @ key).item())
    assert not torch.allclose(scores[0, :-1], scores[0, 1:])


@pytest.mark.parametrize("position_type", ["learned", "rotary"])
def test_the_order_of_epochs_matters(position_type):
    torch.manual_seed(0)
    model = SleepViTForAudioFrameClassification(tiny_sequence_config(position_type=position_type, initializer_range=1))
    embeddings = torch.randn(1, 6, 16)
    logits = model.eval()(epoch_embeddings=embeddings).logits
    backwards = model(epoch_embeddings=embeddings.flip(1)).logits.flip(1)
    assert not torch.allclose(logits, backwards, atol=1e-3)


def test_epoch_embeddings_may_stand_for_the_input():
    model, inputs = tiny_model("sequence")
    x = inputs["input_values"]
    embeddings = model.sleepvit.encode_epochs(x)
    torch.testing.assert_close(model(epoch_embeddings=embeddings).logits, model(x).logits)
    with pytest.raises(ValueError, match="either input_values or epoch_embeddings"):
        model()


# Loss


def test_loss_ignores_unscored_epochs_and_respects_num_items():
    model, inputs = tiny_model("sequence")
    x = inputs["input_values"]
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
    model, inputs = tiny_model("epoch")
    x = inputs["input_values"]
    assert model(x, labels=torch.full((3,), -100)).loss.item() == 0


def test_loss_takes_class_weights_and_label_smoothing_from_the_config():
    config = tiny_epoch_config(class_weights=[1.0, 2.0, 0.5, 1.0, 0.5], label_smoothing=0.1)
    logits, labels = torch.randn(4, 5), torch.tensor([0, 1, 2, 4])
    expected = torch.nn.functional.cross_entropy(
        logits, labels, weight=torch.tensor(config.class_weights), label_smoothing=0.1, reduction="sum"
    )
    torch.testing.assert_close(staging_loss(logits, labels, config), expected / 4)


# What the library may do with the models


def test_eager_equals_sdpa(model_and_inputs):
    model, inputs = model_and_inputs
    model.set_attn_implementation("eager")
    eager = model(**inputs).logits
    model.set_attn_implementation("sdpa")
    torch.testing.assert_close(model(**inputs).logits, eager, rtol=0, atol=1e-5)


def test_outputs_are_captured(model_and_inputs):
    model, inputs = model_and_inputs
    model.set_attn_implementation("eager")
    output = model(**inputs, output_attentions=True, output_hidden_states=True)
    assert (len(output.attentions), len(output.hidden_states)) == (0 if is_recurrent(model) else 2, 3)
    for attention in output.attentions:
        torch.testing.assert_close(attention.sum(dim=-1), torch.ones(attention.shape[:-1]))
    assert model(**inputs).attentions is None


def test_bf16_is_close(model_and_inputs):
    model, inputs = model_and_inputs
    expected = model(**inputs).logits
    logits = copy.deepcopy(model).bfloat16()(**inputs).logits  # fp32 input is cast inside
    assert logits.dtype == torch.bfloat16
    torch.testing.assert_close(logits.float(), expected, rtol=0, atol=0.05)


def test_gradient_checkpointing_gives_the_same_gradients(model_and_inputs):
    model, inputs = model_and_inputs
    model.train()
    labels = torch.ones(model(**inputs).logits.shape[:-1], dtype=torch.long)
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            model.activation_checkpointing_enable()
        model.zero_grad()
        model(**inputs, labels=labels).loss.backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    torch.testing.assert_close(*gradients)


def test_compiles_without_a_graph_break(model_and_inputs):
    model, inputs = model_and_inputs
    torch._dynamo.reset()  # it gives up on a function that it has met in too many guises
    # the "eager" backend traces the whole graph and skips code generation, which takes a compiler and a minute
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    with torch._dynamo.config.patch(allow_rnn=True):  # nn.LSTM is traced only where that is asked for
        torch.testing.assert_close(compiled(**inputs).logits, model(**inputs).logits)


def test_exports_with_a_dynamic_batch(model_and_inputs):
    model, inputs = model_and_inputs
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(
        model, (), inputs, dynamic_shapes={name: {0: batch} for name in inputs}, strict=False
    )
    twice = {name: torch.cat([x, x]) for name, x in inputs.items()}
    torch.testing.assert_close(program.module()(**twice).logits, model(**twice).logits)


def test_flags_for_other_attention_kernels_are_set():
    for model_class in (SleepViTModel, SleepViTSequenceModel):
        assert model_class._supports_flash_attn
        assert model_class._supports_flex_attn
        assert model_class._supports_sdpa

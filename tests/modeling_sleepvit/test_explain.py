"""Explanations: equal to a reference in plain matrices, complete, for every kind of model, and leaving no trace."""

import copy

import numpy as np
import pytest
import torch

from modeling_sleepvit import SleepViTConfig, SleepViTForAudioClassification, SleepViTModel, explain, explain_night
from modeling_sleepvit.attributions import METHODS
from modeling_sleepvit.errors import SettingError

from . import golden_reference
from .test_modeling import golden_model
from .tiny_models import tiny_epoch_config, tiny_model


@pytest.fixture(scope="module")
def golden():
    return golden_model(), golden_reference.golden_input(2), golden_reference.golden_weights()


# Against plain matrices


def test_the_reference_gives_the_golden_logits(golden):
    model, x, weights = golden
    logits = torch.stack([golden_reference.decide(epoch, weights)[0] for epoch in x])
    torch.testing.assert_close(logits[0, 0].item(), -0.0160902477, rtol=0, atol=1e-9)
    torch.testing.assert_close(logits, model(x).logits, rtol=0, atol=1e-12)


@pytest.mark.parametrize("class_id", [1, 3])
def test_relevance_is_that_of_plain_matrices(golden, class_id):
    model, x, weights = golden
    found = explain(model, x, target=class_id, method="relevance").relevance
    expected = torch.stack([golden_reference.relevance_of_patches(epoch, class_id, weights) for epoch in x])
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-10)
    assert expected.min() > 1e-6  # the tolerance tells something


def test_rollout_is_that_of_plain_matrices_and_its_rows_sum_to_one(golden):
    model, x, weights = golden
    matrices = golden_reference.rollout_matrices(x[0], weights)
    for matrix in matrices:
        torch.testing.assert_close(matrix.sum(dim=-1), torch.ones(151, dtype=torch.float64))
    found = explain(model, x[:1], method="rollout").relevance[0]
    np.testing.assert_allclose(found, matrices[-1][0, 1:].reshape(5, 30).numpy(), rtol=0, atol=1e-10)


def test_integrated_gradients_are_complete(golden):
    model, x = golden[0], golden[1][:1]
    found = explain(model, x, target="N2", method="integrated_gradients")
    with torch.no_grad():
        difference = (model(x).logits - model(torch.zeros_like(x)).logits)[:, 2].numpy()
    np.testing.assert_allclose(found.logit_difference, difference, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.relevance.sum(axis=(1, 2)), difference, rtol=1e-3)
    np.testing.assert_allclose(found.completeness_gap, difference - found.relevance.sum(axis=(1, 2)), atol=1e-12)


# Every method on every kind of model


def one_second_baseline() -> tuple[torch.nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    config = tiny_epoch_config(num_rows=32, patch_rows=32, channel_tokens=True, num_positions=9)
    return SleepViTForAudioClassification(config).eval(), torch.randn(3, 2, 32, 3)


NAMES = ("epoch", "epoch, channel tokens", "sequence", "center", "rotary", "band projections")
MODELS = {name: (model, inputs["input_values"]) for name in NAMES for model, inputs in [tiny_model(name)]}
MODELS["1-second baseline"] = one_second_baseline()
LONGER = ("epoch", "sequence")
"""These are also given epochs of two of their windows."""


def scaled_up(model: torch.nn.Module) -> torch.nn.Module:
    """Weights large enough for an untrained model to have opinions."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 if parameter.dim() == 1 else 8)
    return model


@pytest.fixture(params=[*MODELS, *(f"{name}, long epochs" for name in LONGER)])
def model_and_values(request):
    name, _, is_long = request.param.partition(", long")
    model, x = MODELS[name]
    torch.manual_seed(1)
    return scaled_up(model), torch.cat([x, torch.randn_like(x)], dim=-1) if is_long else x


@pytest.mark.parametrize("method", METHODS)
def test_all_methods_explain_all_models(model_and_values, method):
    model, x = model_and_values
    config = getattr(model.config, "epoch_config", model.config)
    explanation = explain(model, x, method=method)
    channels = (config.num_channels,) if config.channel_tokens else ()
    epochs = x.shape[1:2] if x.dim() == 5 else ()
    shape = (len(x), *epochs, *channels, config.num_bands, x.shape[-1])
    assert explanation.relevance.shape == shape
    assert explanation.band_relevance.shape == shape[:-1]
    assert np.isfinite(explanation.relevance).all()
    assert explanation.relevance.std() > 0
    # a long epoch counts over all its seconds
    assert (explanation.relevance != 0).any(axis=tuple(range(explanation.relevance.ndim - 1))).all()
    logits = model(x).logits if x.dim() == 4 or model.config.label_mode == "center" else model(x).logits[:, 3]
    assert explanation.target.tolist() == logits.argmax(dim=-1).tolist()
    np.testing.assert_allclose(explanation.probability, logits.softmax(-1).max(-1).values.detach(), rtol=1e-4)
    if epochs:
        assert explanation.epoch_relevance.shape == (len(x), *epochs)
        assert explanation.epoch.tolist() == [x.shape[1] // 2] * len(x)
    if method == "integrated_gradients":
        gap = explanation.completeness_gap / explanation.logit_difference
        assert np.abs(gap).max() < 0.01
    # decisions do not know of each other
    alone = explain(model, x[1:2], method=method)
    np.testing.assert_allclose(alone.relevance, explanation.relevance[1:2], rtol=1e-3, atol=1e-5)


def test_occlusion_is_the_loss_of_one_patch():
    model, x = scaled_up(MODELS["epoch"][0]).double(), MODELS["epoch"][1].double()
    found = explain(model, x, target="R", method="occlusion", baseline=0.5)
    hidden, without_band = x.clone(), x.clone()
    hidden[:, :, 4:8, 2] = 0.5
    without_band[:, :, 4:8] = 0.5
    with torch.no_grad():
        whole, patch, band = (
            model(values).logits.log_softmax(-1)[:, 4].numpy() for values in (x, hidden, without_band)
        )
    np.testing.assert_allclose(found.relevance[:, 1, 2], whole - patch, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.band_relevance[:, 1], whole - band, rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", ["integrated_gradients", "occlusion"])
@pytest.mark.parametrize("name", ["epoch", "sequence", "center"])
def test_only_what_differs_from_the_baseline_can_matter(name, method):
    model, x = scaled_up(MODELS[name][0]), torch.zeros_like(MODELS[name][1])
    x[..., 4:, 1] = torch.linspace(-3, 3, x[..., 4:, 1].numel()).view_as(x[..., 4:, 1])
    found = explain(model, x, method=method).relevance
    is_other = np.ones(found.shape[-2:], dtype=bool)
    is_other[1, 1] = False
    np.testing.assert_allclose(found[..., is_other], 0, atol=1e-6)
    assert np.abs(found[..., 1, 1]).max() > 1e-3


@pytest.mark.parametrize("method", METHODS)
def test_padding_has_no_say(method):
    model, x = scaled_up(MODELS["sequence"][0]), MODELS["sequence"][1]
    mask = torch.tensor([[1, 1, 1, 1, 0, 0]]).expand(2, -1)
    padded = explain(model, x, method=method, epoch=1, attention_mask=mask)
    short = explain(model, x[:, :4], method=method, epoch=1)
    np.testing.assert_allclose(padded.relevance[:, :4], short.relevance, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(padded.relevance[:, 4:], 0, atol=1e-6)
    np.testing.assert_allclose(padded.epoch_relevance[:, :4], short.epoch_relevance, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_bf16_says_nearly_the_same(method):
    model, x = scaled_up(MODELS["sequence"][0]), MODELS["sequence"][1]
    expected = explain(model, x, target="N2", method=method).relevance
    found = explain(model.bfloat16(), x, target="N2", method=method).relevance
    assert found.dtype == np.float32
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("method", METHODS)
def test_inputs_that_do_not_fit_are_named(method):
    epoch, x = MODELS["epoch"]
    sequence, windows = MODELS["sequence"]
    for frames in (0, 2):  # shorter than a window of the encoder
        with pytest.raises(ValueError, match=f"axis frames: expected a multiple of 3, found {frames}"):
            explain(epoch, x[..., :frames], method=method)
    for model, empty in ((epoch, x[:0]), (sequence, windows[:0]), (sequence, windows[:, :0])):
        with pytest.raises(SettingError, match="nothing to explain"):
            explain(model, empty, method=method)
    mask = torch.tensor([[1, 1, 1, 0, 0, 0]]).expand(2, -1)
    with pytest.raises(SettingError, match=r"calls an epoch padding whose stage is explained \(\[3, 3\]\)"):
        explain(sequence, windows, method=method, attention_mask=mask)


# Nights


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["epoch", "sequence", "center", "epoch, channel tokens"])
def test_an_epoch_of_a_night_is_explained_as_in_its_window(name, method):
    model = scaled_up(MODELS[name][0])
    torch.manual_seed(5)
    night = torch.randn(9, 2, 8, 6)
    found = explain_night(model, night, epochs=[0, 4, 8], method=method)
    if name.startswith("epoch"):
        expected = explain(model, night[[0, 4, 8]], method=method)
        np.testing.assert_allclose(found.relevance, expected.relevance, rtol=1e-3, atol=1e-5)
        assert found.window is None
        return
    if name == "sequence":
        windows, places = torch.stack([night[0:6], night[1:7], night[3:9]]), [0, 3, 5]
        expected = explain(model, windows, method=method, epoch=places)
        assert found.window[:, 0].tolist() == [0, 1, 3]
    else:
        windows = torch.stack([night[[0, 0, 1]], night[3:6], night[[7, 8, 8]]])
        mask = torch.tensor([[0, 1, 1], [1, 1, 1], [1, 1, 0]])
        expected, places = explain(model, windows, method=method, attention_mask=mask), [1, 1, 1]
        assert found.window.tolist() == [[-1, 0, 1], [3, 4, 5], [7, 8, -1]]
    assert found.epoch.tolist() == places
    assert found.target.tolist() == expected.target.tolist()
    np.testing.assert_allclose(found.epoch_relevance, expected.epoch_relevance, rtol=1e-3, atol=1e-5)
    if method != "integrated_gradients":  # whose way there leads over all epochs, and here over this one alone
        of_epochs = expected.relevance[np.arange(3), places]
        np.testing.assert_allclose(found.relevance, of_epochs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("method", ["integrated_gradients", "occlusion"])
def test_the_neighbours_may_be_left_out(method):
    model, x = MODELS["sequence"]
    brief, whole = (explain(model, x, method=method, neighbours=neighbours) for neighbours in (False, True))
    assert brief.epoch_relevance is None
    np.testing.assert_array_equal(brief.relevance, whole.relevance)


def test_a_night_shorter_than_the_window_and_epochs_that_cannot_be_scored():
    model = scaled_up(MODELS["sequence"][0])
    torch.manual_seed(5)
    night = torch.randn(4, 2, 8, 3)
    is_scorable = torch.tensor([True, True, False, True])
    found = explain_night(model, night, epochs=[1, 3], is_scorable=is_scorable)
    changed = night.clone()
    changed[2] += 5
    again = explain_night(model, changed, epochs=[1, 3], is_scorable=is_scorable)
    assert found.window.tolist() == [[0, 1, 2, 3]] * 2
    np.testing.assert_allclose(found.relevance, again.relevance, rtol=1e-4)
    np.testing.assert_allclose(found.epoch_relevance[:, 2], 0, atol=1e-7)
    with pytest.raises(SettingError, match="epoch 2 cannot be scored"):
        explain_night(model, night, epochs=[2], is_scorable=is_scorable)
    with pytest.raises(SettingError, match="epoch 4 is not in this night: expected 0 to 3"):
        explain_night(model, night, epochs=[0, 4])
    with pytest.raises(SettingError, match="nothing to explain"):
        explain_night(model, night, epochs=[])
    with pytest.raises(SettingError, match=r"whole numbers from 0, found bool; of a mask, give np.flatnonzero"):
        explain_night(model, night, epochs=is_scorable.numpy())
    with pytest.raises(SettingError, match=r"one value for each of 4 epochs, found: \(3,\)"):
        explain_night(model, night, is_scorable=is_scorable[:3])


# Before and after


def state_of(model: torch.nn.Module) -> tuple[dict, dict]:
    configs = {id(module.config): module.config for module in model.modules() if hasattr(module, "config")}
    return {
        "modes": [module.training for module in model.modules()],
        "attention": [config._attn_implementation for config in configs.values()],
        "hooks": [
            (len(module._forward_hooks), len(module._forward_pre_hooks), len(module._backward_hooks))
            for module in model.modules()
        ],
        "asks for gradients": [p.requires_grad for p in model.parameters()],
        "attributes": [sorted(vars(module)) for module in model.modules()],
        "modes of autograd": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
    }, {
        "gradients": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "weights": [p.detach().clone() for p in model.parameters()],
        "random numbers": torch.get_rng_state(),
    }


def assert_unchanged(model: torch.nn.Module, before: tuple[dict, dict]) -> None:
    flags, tensors = state_of(model)
    assert flags == before[0]
    torch.testing.assert_close(tensors, before[1], rtol=0, atol=0)


@pytest.fixture
def model_in_disorder():
    """Half in training, one encoder eager and one not, some weights frozen and some with a gradient."""
    model, x = copy.deepcopy(MODELS["sequence"])
    model.train()
    model.sleepvit.layers[0].eval()
    model.activation_checkpointing_enable()
    model.config._attn_implementation = "sdpa"
    model.config.epoch_config._attn_implementation = "eager"
    model.classifier.weight.grad = torch.ones_like(model.classifier.weight)
    for parameter in model.sleepvit.epoch_encoder.parameters():
        parameter.requires_grad_(False)
    return model, x


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_the_model_is_left_as_it_was(model_in_disorder, method, mode):
    model, x = model_in_disorder
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    with mode():
        x = x * 1  # made where there may be no gradients
        before = state_of(model)
        explanation = explain(model, x, method=method)
        assert_unchanged(model, before)
    expected = explain(copy.deepcopy(model).eval(), x, method=method)
    np.testing.assert_array_equal(explanation.relevance, expected.relevance)


@pytest.mark.parametrize("method", METHODS)
def test_the_model_is_left_as_it_was_after_an_error(model_in_disorder, method):
    model, x = model_in_disorder
    before = state_of(model)
    with pytest.raises(ValueError, match="axis rows: expected 8, found 7"):
        explain(model, x[..., :7, :], method=method)
    with pytest.raises(SettingError, match="no class 'N4'"):
        explain_night(model, x[0], target="N4", method=method)
    assert_unchanged(model, before)


# What cannot be explained


def test_models_without_stages_or_attention_are_refused():
    model, x = MODELS["epoch"]
    with pytest.raises(SettingError, match=r"needs a SleepViT model with its stage head.*found SleepViTModel"):
        explain(SleepViTModel(tiny_epoch_config()), x)
    with pytest.raises(SettingError, match="found Linear"):
        explain(torch.nn.Linear(2, 2), x)
    blind = copy.deepcopy(model)
    blind.sleepvit.layers = blind.sleepvit.layers[:1]
    with pytest.raises(SettingError, match="SleepViTModel gave 1 attention maps, expected 2 over 7 tokens"):
        explain(blind, x, method="relevance")
    assert np.isfinite(explain(blind, x, method="occlusion").relevance).all()


def test_weights_that_cannot_have_gradients_are_refused():
    model, x = MODELS["epoch"]
    with torch.inference_mode():
        loaded = SleepViTForAudioClassification(model.config)
    with pytest.raises(SettingError, match="load the model outside of it"):
        explain(loaded, x, method="relevance")
    assert np.isfinite(explain(loaded, x, method="occlusion").relevance).all()


@pytest.mark.parametrize("encoder", ["lstm", "bilstm", "lstm-vtrans"])
def test_encoders_without_attention_between_patches_are_explained_by_their_values(encoder):
    model, inputs = tiny_model(f"epoch, {encoder}")
    with pytest.raises(SettingError, match=f"relevance follows the attention.*'{encoder}' does not have"):
        explain(model, inputs["input_values"], method="relevance")
    for method in ("integrated_gradients", "occlusion"):
        assert explain(model, inputs["input_values"], method=method).relevance.shape == (3, 2, 3)


@pytest.mark.parametrize("name", ["epoch, inception-vtrans", "epoch, EOG", "sequence, EOG"])
@pytest.mark.parametrize("method", METHODS)
def test_models_that_read_something_else_are_refused(name, method):
    model, inputs = tiny_model(name)
    with pytest.raises(SettingError, match="reads the spectrogram of the EEG alone"):
        explain(model, inputs["input_values"], method=method)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("epoch", {"method": "lime"}, "no method 'lime': expected one of rollout, gradient_rollout, relevance"),
        ("epoch", {"target": 5}, "no class 5: expected one of W, N1, N2, N3, R, or 0 to 4"),
        ("epoch", {"target": ["W", "W"]}, "one for each of 3 decisions, found: 2"),
        ("epoch", {"epoch": 0}, "for sequence models"),
        ("epoch", {"row_edges_hz": [0, 4, 8]}, r"one more edge than the model has rows \(8\), found: 3"),
        ("sequence", {"epoch": 6}, "epoch 6 of the window cannot be explained: expected 0 to 5"),
        ("sequence", {"epoch": [1, 2, 3]}, "one for each of 2 windows, found: 3"),
        ("sequence", {"attention_mask": torch.ones(2, 5)}, r"\(2, 6\), found: \(2, 5\)"),
        ("center", {"epoch": 0}, "expected 1, the only one that this model decides about"),
    ],
)
def test_what_cannot_be_is_refused(name, arguments, message):
    model, x = MODELS[name]
    with pytest.raises(SettingError, match=message):
        explain(model, x, **arguments)


# Classes and hertz


def test_classes_may_be_joined_and_named_by_any_of_theirs():
    torch.manual_seed(0)
    names = {0: "R", 1: "N1+N2", 2: "N3", 3: "W"}
    model = SleepViTForAudioClassification(tiny_epoch_config(id2label=names)).eval()
    x = torch.randn(2, 2, 8, 3)
    by_part, by_name, by_id = (
        explain(model, x, target=target) for target in ("N2", ["N1+N2", 1], torch.tensor([1, 1]))
    )
    assert by_part.target_names == by_name.target_names == by_id.target_names == ("N1+N2", "N1+N2")
    np.testing.assert_array_equal(by_part.relevance, by_name.relevance)
    np.testing.assert_array_equal(by_part.relevance, by_id.relevance)


@pytest.mark.parametrize("method", METHODS)
def test_explanations_are_specific_to_the_class(method):
    model, x = scaled_up(MODELS["epoch"][0]), MODELS["epoch"][1]
    wake, rem = (explain(model, x, target=name, method=method).relevance for name in ("W", "R"))
    assert np.array_equal(wake, rem) == (method == "rollout")


def test_rows_stand_at_their_true_frequency():
    torch.manual_seed(0)
    model = SleepViTForAudioClassification(SleepViTConfig(num_frames=3, num_hidden_layers=1)).eval()
    explanation = explain(model, torch.randn(2, 1, 20, 3))
    assert explanation.band_edges_hz == (0, 4, 8, 12, 16, 32)
    rows = explanation.to_rows()
    assert rows.shape == (2, 32, 3)
    for band, (low, high) in enumerate(((0, 4), (4, 8), (8, 12), (12, 16), (16, 32))):
        np.testing.assert_array_equal(
            rows[:, low:high], explanation.relevance[:, band : band + 1].repeat(high - low, 1)
        )


def test_edges_of_other_rows_are_not_guessed():
    model, x = MODELS["epoch"]
    with pytest.raises(SettingError, match=r"give row_edges_hz=feature_extractor.row_edges_hz to explain"):
        explain(model, x).to_rows()
    explanation = explain(model, x, row_edges_hz=[0, 1, 2, 3, 4, 6, 8, 12, 20])
    assert explanation.band_edges_hz == (0, 4, 20)
    assert explanation.to_rows().shape == (3, 20, 3)
    model, x = MODELS["1-second baseline"]
    explanation = explain(model, x)
    assert explanation.band_edges_hz == (0, 32)
    assert explanation.to_rows().shape == (3, 2, 32, 3)

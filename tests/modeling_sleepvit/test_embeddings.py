"""What the encoders read: which value of a window stands in which feature of which token."""

import pytest
import torch

from modeling_sleepvit import SleepViTConfig, SleepViTModel

from .tiny_models import TINY_EPOCHS, inputs_of, tiny_epoch_config


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


def test_kernels_of_the_raw_model_are_the_published_ones():
    config = SleepViTConfig.from_preset("eegseq-inception-vtrans")
    assert config.conv_kernels == [12, 31, 62, 125]
    assert config.steps_of_kernels == [(330, 105), (120, 0), (60, 0), (30, 0)]


@pytest.mark.parametrize(("sampling_rate", "num_frames"), [(100, 5), (128, 30), (64, 7), (9, 2)])
def test_kernels_give_every_second_equally_many_tokens(sampling_rate, num_frames):
    config = tiny_epoch_config(encoder_type="inception-vtrans", num_rows=sampling_rate, num_frames=num_frames)
    tokens = SleepViTModel(config).patch_embeddings(inputs_of(config, 2)["input_values"])
    assert tokens.shape == (2, config.num_patches, 16)
    assert config.num_patches == len(config.conv_kernels) * num_frames


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


def test_seconds_of_the_eog_follow_the_patches():
    model = SleepViTModel(tiny_epoch_config(num_eog_channels=2, num_eog_rows=5))
    eog = torch.arange(2 * 5 * 3, dtype=torch.float32).view(1, 2, 5, 3)
    seen = {}
    model.eog_embeddings.projection.register_forward_pre_hook(lambda _, args: seen.update(eog=args[0]))
    output = model(torch.zeros(1, 2, 8, 3), eog)
    assert seen["eog"][0, 1].tolist() == [eog[0, channel, row, 1].item() for row in range(5) for channel in range(2)]
    assert output.last_hidden_state.shape == (1, 1 + 2 * 3 + 3, 16)


def test_steps_are_band_major_with_rows_fastest():
    x = torch.arange(2 * 8 * 3, dtype=torch.float32).view(1, 2, 8, 3)
    steps = SleepViTModel(tiny_epoch_config(encoder_type="lstm", pooling="mean")).patch_embeddings(x)
    band, second = 1, 2
    expected = [x[0, channel, 4 * band + row, second].item() for channel in range(2) for row in range(4)]
    assert steps[0, 3 * band + second].tolist() == expected


def test_the_recurrent_branch_is_the_first_channel_of_every_band():
    model = SleepViTModel(tiny_epoch_config(**TINY_EPOCHS["epoch, lstm-vtrans"]))
    x = torch.randn(1, 2, 8, 3)
    seen = {}
    embeddings = model.patch_embeddings
    embeddings.recurrent_layers[0].register_forward_pre_hook(lambda _, args: seen.update(seconds=args[0]))
    embeddings.recurrent_projection.register_forward_hook(lambda _, args, output: seen.update(branch=output))
    embeddings.projection.register_forward_pre_hook(lambda _, args: seen.update(patches=args[0]))
    model(x)
    assert seen["seconds"][0, 1].tolist() == [x[0, channel, row, 1].item() for channel in range(2) for row in range(8)]
    for band in range(2):
        patch = seen["patches"][0, 3 * band + 1].view(4, 3)  # (rows, channels)
        torch.testing.assert_close(patch[:, 0], seen["branch"][0, 1])
        torch.testing.assert_close(patch[:, 1:], x[0, :, 4 * band : 4 * band + 4, 1].T)


def test_raw_features_are_step_major_with_filters_fastest():
    config = tiny_epoch_config(encoder_type="inception-vtrans", num_rows=4, conv_kernels=[2, 4])
    embeddings = SleepViTModel(config).patch_embeddings
    x = torch.randn(1, 2, 4, 3)
    seen = {}
    embeddings.branch_projections[0].register_forward_pre_hook(lambda _, args: seen.update(features=args[0]))
    embeddings(x)
    second = 1
    expected = [
        (weight * x[0, :, 2 * step : 2 * step + 2, second]).sum() + bias
        for step in range(2)
        for weight, bias in zip(embeddings.convolutions[0].weight, embeddings.convolutions[0].bias)
    ]
    torch.testing.assert_close(seen["features"][0, second], torch.stack(expected))

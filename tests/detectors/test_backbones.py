"""Backbones give four maps of the right stride, start from given weights, and freeze what they should."""

import pytest
import torch
import torchvision

from clis_core.config.detector import SLIM, TORCHVISION_BACKBONES, BackboneConfig
from clis_core.detectors.backbones import build_backbone
from clis_core.detectors.weights import read_state
from clis_core.errors import CheckpointError, ConfigError
from tests.detectors.test_convnorm import randomise_norms


@pytest.mark.parametrize(
    "name", [*TORCHVISION_BACKBONES, "timm/resnet26d", "timm/swin_s3_tiny_224", "timm/convnext_atto"]
)
def test_maps(name):
    frozen = 0 if name.startswith("timm/swin") else 1
    backbone = build_backbone(BackboneConfig(name=name, init="none", frozen_stages=frozen))
    with torch.no_grad():
        maps = backbone.eval()(torch.randn(1, 3, 96, 128))
    assert [tuple(m.shape) for m in maps] == [
        (1, c, 96 // s, 128 // s) for c, s in zip(backbone.channels, (4, 8, 16, 32), strict=True)
    ]


@pytest.mark.parametrize(
    "name", ["efficientnet_b0", "tf_efficientnet_b0", "regnety_002", "resnet26d", "mobilenetv4_conv_small"]
)
def test_timm_models_keep_their_function_and_take_a_file(tmp_path, name):
    import timm

    torch.manual_seed(0)
    whole = timm.create_model(name, pretrained=False)
    randomise_norms(whole)
    torch.save(whole.state_dict(), tmp_path / "w.pth")
    plain = timm.create_model(
        name, features_only=True, pretrained=True, pretrained_cfg_overlay={"file": str(tmp_path / "w.pth")}
    )
    config = BackboneConfig(name=f"timm/{name}", init=str(tmp_path / "w.pth"), frozen_stages=0)
    x = torch.randn(1, 3, 96, 128)
    with torch.no_grad():
        for ours, theirs in zip(build_backbone(config).eval()(x), plain.eval()(x)[-4:], strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


def test_the_slim_network_has_its_strides_freezes_and_learns():
    backbone = build_backbone(BackboneConfig(name=SLIM, init="none", norm="group", frozen_stages=1))
    maps = backbone(torch.randn(2, 3, 96, 128))
    assert [tuple(m.shape) for m in maps] == [
        (2, c, 96 // s, 128 // s) for c, s in zip(backbone.channels, (4, 8, 16, 32), strict=True)
    ]
    sum(m.square().mean() for m in maps).backward()
    frozen, *learning = backbone.stages
    assert all(not p.requires_grad for p in frozen.parameters())
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for stage in learning for p in stage.parameters())
    resnet18 = build_backbone(BackboneConfig(name="resnet18", init="none", norm="group", frozen_stages=0))
    assert 8 * sum(p.numel() for p in backbone.parameters()) < sum(p.numel() for p in resnet18.parameters())


@pytest.mark.parametrize(("init", "norm"), [("torchvision", "affine"), ("none", "affine"), ("none", "frozen")])
def test_the_slim_network_starts_from_random_weights_with_group_norm(init, norm):
    with pytest.raises(ConfigError, match="group norm and no ImageNet weights") as caught:
        build_backbone(BackboneConfig(name=SLIM, init=init, norm=norm))
    assert "norm=group" in caught.value.hint


def test_timm_normalisation_is_the_models_own():
    backbone = build_backbone(BackboneConfig(name="timm/mobilenetv3_small_050", init="none", frozen_stages=0))
    import timm

    config = timm.get_pretrained_cfg("mobilenetv3_small_050")
    assert backbone.mean == tuple(255 * x for x in config.mean)
    assert backbone.std == tuple(255 * x for x in config.std)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_starts_from_a_file_of_torchvision_weights(tmp_path, name):
    torch.manual_seed(1)
    network = torchvision.models.get_model(name, weights=None).eval()
    torch.save({"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}, tmp_path / "w.pth")
    backbone = build_backbone(BackboneConfig(name=name, init=str(tmp_path / "w.pth"))).eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        if name == "resnet18":
            expected = network.layer4(
                network.layer3(
                    network.layer2(network.layer1(network.maxpool(network.relu(network.bn1(network.conv1(x))))))
                )
            )
        else:
            expected = network.features(x)
        torch.testing.assert_close(backbone(x)[-1], expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "timm/resnet26d"])
@pytest.mark.parametrize("stages", [0, 1, 2])
def test_freezing(name, stages):
    backbone = build_backbone(BackboneConfig(name=name, init="none", frozen_stages=stages))
    maps = backbone(torch.randn(1, 3, 64, 64))
    assert [m.requires_grad for m in maps] == [i >= stages for i in range(4)]


def test_group_norm_for_networks_without_weights():
    backbone = build_backbone(BackboneConfig(name="resnet18", init="none", norm="group", frozen_stages=0))
    norms = [m for m in backbone.modules() if isinstance(m, torch.nn.GroupNorm)]
    assert len(norms) == 20
    maps = backbone(torch.randn(1, 3, 64, 64))
    assert all(0.1 < m.std() < 10 for m in maps)
    with pytest.raises(ConfigError, match="group"):
        build_backbone(BackboneConfig(name="resnet18", init="torchvision", norm="group"))


def test_norm_statistics_do_not_move():
    for name in ("resnet18", "timm/resnet26d"):
        backbone = build_backbone(BackboneConfig(name=name, init="none", frozen_stages=0)).train()
        before = {k: v.clone() for k, v in backbone.named_buffers()}
        backbone(torch.randn(2, 3, 64, 64))
        assert all(torch.equal(v, before[k]) for k, v in backbone.named_buffers())


class Evil:
    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no such weight file"),
        (b"", "damaged"),
        (b"hello", "damaged"),
        ({"a": 1}, "holds no tensors"),
        ({"weight": torch.zeros(1)}, "lacks"),
        ({"x": Evil()}, "execute code"),
    ],
)
def test_bad_weight_files(tmp_path, capsys, content, says):
    path = tmp_path / "w.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(CheckpointError, match=says) as caught:
        build_backbone(BackboneConfig(name="resnet18", init=str(path)))
    assert "w.pth" in caught.value.message
    assert caught.value.hint
    assert "executed" not in capsys.readouterr().out


def test_weights_of_another_backbone(tmp_path):
    path = tmp_path / "w.pth"
    torch.save(torchvision.models.resnet34(weights=None).state_dict(), path)
    build_backbone(BackboneConfig(name="resnet34", init=str(path)))
    with pytest.raises(CheckpointError, match=r"shape|lacks"):
        build_backbone(BackboneConfig(name="resnet50", init=str(path)))


def test_safetensors(tmp_path):
    from safetensors.torch import save_file

    state = torchvision.models.resnet18(weights=None).state_dict()
    save_file(state, tmp_path / "w.safetensors")
    assert read_state(tmp_path / "w.safetensors").keys() == state.keys()


@pytest.mark.parametrize(
    "config",
    [
        BackboneConfig(name="timm/nothing_like_it", init="none"),
        BackboneConfig(name="timm/vit_tiny_patch16_224", init="none", frozen_stages=0),
        BackboneConfig(name="timm/resnet26d", init="torchvision"),
        BackboneConfig(name="resnet18", init="timm"),
    ],
)
def test_impossible_backbones(config):
    with pytest.raises(ConfigError) as caught:
        build_backbone(config)
    assert caught.value.hint

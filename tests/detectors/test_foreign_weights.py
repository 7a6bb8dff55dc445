"""Faster R-CNN weights of other programs: the same network, under three layouts of names."""

import re

import pytest
import torch
from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

from clis_core.config.class_loss import Eqlv2Loss
from clis_core.config.detector import BackboneConfig, FasterRCNNConfig, HeadConfig, MtlConfig, PyramidConfig
from clis_core.detectors.build import build_detector
from clis_core.detectors.foreign_weights import foreign_layout, load_foreign
from clis_core.errors import CheckpointError
from tests.detectors.test_convnorm import randomise_norms

CLASSES = 4


@pytest.fixture(scope="module")
def theirs():
    """torchvision's own, with random norms, so that a norm put in the wrong place is seen."""
    torch.manual_seed(0)
    backbone = resnet_fpn_backbone(
        backbone_name="resnet18", weights=None, trainable_layers=3, norm_layer=nn.BatchNorm2d
    )
    anchors = AnchorGenerator(((32,), (64,), (128,), (256,), (512,)), ((0.5, 1.0, 2.0),) * 5)
    model = FasterRCNN(backbone, CLASSES + 1, rpn_anchor_generator=anchors, min_size=96, max_size=160)
    randomise_norms(model)
    return model.eval()


def ours(**changes):
    config = FasterRCNNConfig(
        backbone=BackboneConfig(name=changes.pop("name", "resnet18"), init="none", frozen_stages=2),
        short_side=96,
        long_side=160,
        **changes,
    )
    torch.manual_seed(5)
    return build_detector(config, CLASSES).eval()


def background_last(key, rows):
    """torchvision has it first, and a box regression for it."""
    if key.startswith("roi_heads.box_predictor.cls_score"):
        return torch.cat((rows[1:], rows[:1]))
    return rows[4:] if key.startswith("roi_heads.box_predictor.bbox_pred") else rows


def to_detectron2(state):
    """torchvision's names and rows as detectron2 has them, for pixels in BGR, 0..255 less the mean."""
    out = {}
    deviation = torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1)
    for key, rows in state.items():
        tensor = (rows / deviation).flip(1) if key == "backbone.body.conv1.weight" else background_last(key, rows)
        name = key.replace("backbone.body.bn1", "backbone.bottom_up.stem.conv1.norm")
        name = name.replace("backbone.body.conv1", "backbone.bottom_up.stem.conv1")
        name = re.sub(r"backbone\.body\.layer(\d)", lambda m: f"backbone.bottom_up.res{int(m[1]) + 1}", name)
        name = re.sub(r"(res.*)\.bn(\d)", r"\1.conv\2.norm", name)
        name = name.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")
        name = re.sub(r"backbone\.fpn\.inner_blocks\.(\d)\.0", lambda m: f"backbone.fpn_lateral{int(m[1]) + 2}", name)
        name = re.sub(r"backbone\.fpn\.layer_blocks\.(\d)\.0", lambda m: f"backbone.fpn_output{int(m[1]) + 2}", name)
        name = name.replace("rpn.head.conv.0.0", "proposal_generator.rpn_head.conv")
        name = name.replace("rpn.head.cls_logits", "proposal_generator.rpn_head.objectness_logits")
        name = name.replace("rpn.head.bbox_pred", "proposal_generator.rpn_head.anchor_deltas")
        name = name.replace("box_head.fc6", "box_head.fc1").replace("box_head.fc7", "box_head.fc2")
        if not name.endswith("num_batches_tracked"):
            out[name] = tensor
    return out


def to_mmdetection(state):
    out = {}
    for key, rows in state.items():
        name = key.replace("backbone.body.", "backbone.")
        name = re.sub(r"backbone\.fpn\.inner_blocks\.(\d)\.0", r"neck.lateral_convs.\1.conv", name)
        name = re.sub(r"backbone\.fpn\.layer_blocks\.(\d)\.0", r"neck.fpn_convs.\1.conv", name)
        name = name.replace("rpn.head.conv.0.0", "rpn_head.rpn_conv").replace("rpn.head.cls_logits", "rpn_head.rpn_cls")
        name = name.replace("rpn.head.bbox_pred", "rpn_head.rpn_reg")
        name = re.sub(r"roi_heads\.box_head\.fc(\d)", lambda m: f"roi_head.bbox_head.shared_fcs.{int(m[1]) - 6}", name)
        name = name.replace("roi_heads.box_predictor.cls_score", "roi_head.bbox_head.fc_cls")
        out[name.replace("roi_heads.box_predictor.bbox_pred", "roi_head.bbox_head.fc_reg")] = background_last(key, rows)
    return out


def to_old_torchvision(state):
    """The names of torchvision's published files."""
    return {
        re.sub(r"(inner_blocks|layer_blocks)\.(\d)\.0", r"\1.\2", k).replace("conv.0.0", "conv"): v
        for k, v in state.items()
    }


@pytest.mark.parametrize("layout", ["torchvision", "old torchvision", "detectron2", "mmdetection"])
def test_the_same_network_under_every_layout(theirs, layout):
    state = theirs.state_dict()
    convert = {"detectron2": to_detectron2, "mmdetection": to_mmdetection, "old torchvision": to_old_torchvision}
    state = convert.get(layout, dict)(state)
    assert foreign_layout(state) == layout.removeprefix("old ")
    detector = ours()
    imported = load_foreign(detector, state, "file")
    assert imported.kept == []
    assert imported.unused == []
    assert len(imported.loaded) == len(detector.state_dict())
    generator = torch.Generator().manual_seed(3)
    image = torch.randint(0, 256, (3, 96, 128), dtype=torch.uint8, generator=generator)
    with torch.no_grad():
        # torchvision's normalisation, with its constants; the frame is a multiple of 32 in both.
        images, _ = theirs.transform([image.float() / 255])
        batch = detector.preprocess([_raw(image)])
        torch.testing.assert_close(batch.pixels, images.tensors, atol=1e-4, rtol=1e-4)
        expected = list(theirs.backbone(images.tensors).values())
        features = detector.encoder(batch.pixels)
        for mine, other in zip(features, expected, strict=True):
            torch.testing.assert_close(mine, other, atol=1e-4 * float(other.abs().max()), rtol=1e-3)
        logits, _ = theirs.rpn.head(expected)
        rpn = detector.rpn(batch.pixels, expected)
        torch.testing.assert_close(rpn.logits, torch.cat([x.permute(0, 2, 3, 1).flatten(1) for x in logits], dim=1))
        boxes = [torch.tensor([[0.0, 0.0, 60.0, 40.0], [30.0, 20.0, 128.0, 96.0]])]
        pooled = theirs.roi_heads.box_roi_pool(dict(zip("0123", expected[:4], strict=True)), boxes, [(96, 128)])
        classes, regression = theirs.roi_heads.box_predictor(theirs.roi_heads.box_head(pooled))
        embedded = detector.head.embed(pooled)
        torch.testing.assert_close(detector.head.fc_cls(embedded.cls), classes, atol=1e-4, rtol=1e-3)
        labels = torch.tensor([3, 1])
        chosen = regression.view(2, CLASSES + 1, 4)[torch.arange(2), labels]
        torch.testing.assert_close(detector.head.offsets(embedded.loc, labels), chosen, atol=1e-4, rtol=1e-3)


def _raw(image):
    from clis_core.batch import RawImage

    return RawImage(image, (96, 128))


def test_a_pyramid_with_norms_is_folded(theirs):
    """torchvision's second version has batch norms after the pyramid's convolutions."""
    state = dict(theirs.state_dict())
    generator = torch.Generator().manual_seed(1)
    unit = "backbone.fpn.inner_blocks.1"
    conv = nn.Conv2d(128, 256, 1, bias=False)
    norm = nn.BatchNorm2d(256).eval()
    norm.running_mean.copy_(torch.randn(256, generator=generator))
    norm.running_var.copy_(torch.rand(256, generator=generator) + 0.5)
    norm.weight.data.copy_(torch.randn(256, generator=generator))
    norm.bias.data.copy_(torch.randn(256, generator=generator))
    state[f"{unit}.0.weight"] = conv.weight.data
    del state[f"{unit}.0.bias"]
    state |= {f"{unit}.1.{k}": v for k, v in norm.state_dict().items()}
    detector = ours()
    load_foreign(detector, state, "file")
    x = torch.randn(1, 128, 5, 5, generator=generator)
    with torch.no_grad():
        torch.testing.assert_close(detector.encoder.pyramid.inner_blocks[1](x), norm(conv(x)), atol=1e-4, rtol=1e-4)


def test_other_classes_keep_their_first_weights(theirs):
    detector = build_detector(ours().config, 7)
    before = detector.head.fc_cls.weight.clone()
    imported = load_foreign(detector, theirs.state_dict(), "file")
    assert imported.kept == ["head.fc_cls.weight", "head.fc_cls.bias", "head.fc_reg.weight", "head.fc_reg.bias"]
    assert torch.equal(detector.head.fc_cls.weight, before)
    assert "roi_heads.box_predictor.cls_score.weight" in imported.unused


def test_a_specialised_head_gets_the_layers_on_both_sides(theirs):
    detector = ours(head=HeadConfig(specialised=True, objectness=True))
    imported = load_foreign(detector, theirs.state_dict(), "file")
    assert imported.kept == ["head.fc_obj.weight", "head.fc_obj.bias"]
    expected = theirs.roi_heads.box_head.fc7.weight
    assert torch.equal(detector.head.cls_2fc.fc7.weight, expected)
    assert torch.equal(detector.head.loc_2fc.fc7.weight, expected)


def test_auxiliary_heads_keep_their_first_weights(theirs):
    detector = ours(mtl=MtlConfig(window=True, refine=True, width=16))
    imported = load_foreign(detector, theirs.state_dict(), "file")
    assert imported.kept
    assert all(name.startswith("mtl.") for name in imported.kept)


def test_levels_of_a_shorter_pyramid_are_found_by_their_stride(theirs):
    detector = ours(pyramid=PyramidConfig(strides=(8, 16, 32)))
    imported = load_foreign(detector, theirs.state_dict(), "file")
    assert imported.kept == []
    assert "backbone.fpn.inner_blocks.0.0.weight" in imported.unused
    expected = theirs.backbone.fpn.layer_blocks[1][0].weight
    assert torch.equal(detector.encoder.pyramid.layer_blocks[0][0].weight, expected)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"name": "resnet34"}, "backbone.body.layer1.2.conv1.weight is missing"),
        ({"pyramid": PyramidConfig(channels=128)}, "backbone.fpn.inner_blocks.0.0.weight has shape"),
        ({"head": HeadConfig(width=512)}, "roi_heads.box_head.fc6.weight has shape [1024, 12544]"),
        ({"name": "mobilenet_v2"}, "detector.backbone.name is 'mobilenet_v2'"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_changed(theirs, changes, named):
    detector = ours(**changes)
    before = {k: v.clone() for k, v in detector.state_dict().items()}
    with pytest.raises(CheckpointError, match=re.escape(named)) as caught:
        load_foreign(detector, theirs.state_dict(), "file.pth")
    assert "file.pth" in caught.value.message
    assert caught.value.hint
    assert all(torch.equal(v, before[k]) for k, v in detector.state_dict().items())


def test_other_files_are_refused(theirs):
    for state in ({"fc.weight": torch.zeros(2)}, {"roi_head.bbox_head.fc_cls.weight": torch.zeros(2)}):
        assert foreign_layout(state) is None
        with pytest.raises(CheckpointError, match="not a Faster R-CNN"):
            load_foreign(ours(), state, "file")


def test_a_class_layer_of_another_loss_keeps_its_first_weights(theirs):
    """Of the same shape, but no softmax."""
    detector = ours(class_loss=Eqlv2Loss())
    before = detector.head.fc_cls.weight.clone()
    assert before.shape == ours().head.fc_cls.weight.shape
    imported = load_foreign(detector, theirs.state_dict(), "file")
    assert torch.equal(detector.head.fc_cls.weight, before)
    assert {"head.fc_cls.weight", "head.fc_cls.bias"} <= set(imported.kept)
    assert "head.fc_reg.weight" in imported.loaded

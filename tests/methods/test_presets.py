"""Every preset builds, and teaches from every awkward batch: the same keys, finite, attached to the graph."""

import pytest
import torch

from clis_core.config.load import Layer, preset_layer, resolve
from clis_core.config.presets import PRESETS
from clis_core.detectors.build import build_detector
from clis_core.methods.build import build_method
from tests.losses.some import some_counts
from tests.methods.small import some_batch, with_pictures

# The full presets at full width but few regions: what is tested is that their parts fit, not their speed.
SMALLER = {"rpn": {"samples": 64, "before_nms": 50, "proposals": 20}, "roi": {"samples": 16}}

BOXES = {"rpn_objectness", "rpn_box", "class", "box"}
OF_PICTURES = {"clis": {"image_class", "contrast"}, "detic": {"image_class"}, "dlwl": {"image_class"}}
OF_PICTURES["unbiased-teacher"] = {"pseudo_rpn_objectness", "pseudo_class"}
OF_PICTURES["self-training"] = {f"pseudo_{name}" for name in BOXES}
"""What a method teaches from pictures."""


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if "-r50-" in n or "-r101-" in n else []) for n in PRESETS]
)
def test_preset(name):
    random = {"detector": {"backbone": {"init": "none"}}, "method": SMALLER}
    config = resolve([preset_layer(name), Layer("test", random)])
    torch.manual_seed(0)
    method = build_method(config.method, build_detector(config.detector, 5, some_counts()), pictures=64).train()
    expected = {"class", "box"}
    if config.detector.kind == "faster-rcnn":
        expected = set(BOXES) | ({"objectness"} if config.detector.head.objectness else set())
        expected |= {"mask"} if config.detector.mask.enabled else set()
    elif config.detector.head.quality != "none":
        expected.add("quality")
    if config.method.kind in ("supervised", "clis") and config.method.mtl.foreground_weight:
        expected |= {"window", "closeness", "foreground", "class_refined"}
    expected |= OF_PICTURES.get(config.method.kind, set())
    for boxes in ((2, 1), (0, 0), (1,)):
        batch = some_batch(boxes)
        pasted = int(config.method.kind == "clis")
        losses = method(with_pictures(batch, s=4, t=pasted) if config.method.kind in OF_PICTURES else batch)
        assert losses.keys() == expected
        assert all(v.isfinite() and v.shape == () for v in losses.values())
        sum(losses.values()).backward()
    assert all(p.grad is not None for p in method.parameters() if p.requires_grad)
    method.detector.eval()
    with torch.no_grad():
        small = torch.randint(0, 256, (3, 32, 48), dtype=torch.uint8)
        method.detector.config = method.detector.config.model_copy(update={"short_side": 64, "long_side": 96})
        assert len(method.detector([small])[0].scores) <= config.detector.postprocess.detections

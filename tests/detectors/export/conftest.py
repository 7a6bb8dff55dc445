"""A small detector and its exported files, written once."""

import pytest
import torch

from clis_core.categories import Categories, Category
from clis_core.config.detector import FasterRCNNConfig, MaskConfig
from clis_core.detectors.build import build_detector
from clis_core.detectors.checkpoint import fingerprint
from clis_core.detectors.export.about import About
from tests.detectors.conftest import SMALL

CATEGORIES = Categories(Category(id=10 * i, name=f"thing {i}") for i in range(1, 6)).with_counts(range(1, 6))


def sharp_detector(classes=5, mask=None, **head):
    """Its scores differ as a trained detector's do."""
    torch.manual_seed(0)
    config: FasterRCNNConfig = SMALL.model_copy(
        update={"head": SMALL.head.model_copy(update=head), "short_side": 128, "long_side": 256}
    )
    config = config.model_copy(update={"mask": MaskConfig(**mask or {})})
    detector = build_detector(config, classes).eval()
    torch.manual_seed(3)
    for layer, std in (
        (detector.head.fc_cls, 0.3),
        (detector.head.fc_reg, 0.05),
        (detector.rpn.head.bbox_pred, 0.05),
        (detector.rpn.head.cls_logits, 0.3),
    ):
        torch.nn.init.normal_(layer.weight, std=std)
    return detector


def about_of(detector, **changes):
    values = {"step": 7, "weights": fingerprint(detector.state_dict()), "candidates": 200, **changes}
    return About(detector.config, CATEGORIES, **values)


@pytest.fixture(scope="session")
def detector():
    return sharp_detector(specialised=True, objectness=True)


@pytest.fixture(scope="session")
def onnx_path(detector, tmp_path_factory):
    """Any frame, any number of images."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    from clis_core.detectors.export.onnx_file import write_onnx

    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    write_onnx(detector, about_of(detector), path)
    return path


@pytest.fixture(scope="session")
def pt2_path(detector, tmp_path_factory):
    """Any frame, one image at a time."""
    from clis_core.detectors.export.pt2_file import write_pt2

    path = tmp_path_factory.mktemp("pt2") / "model.pt2"
    write_pt2(detector, about_of(detector, batch=1), path)
    return path

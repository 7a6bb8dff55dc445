"""Small detectors with the heads of MTL-SSL whose refinement says something."""

import torch

from clis_core.config.detector import MtlConfig
from clis_core.detectors.build import build_detector
from tests.detectors.conftest import SMALL

HEADS = {
    "window": {"window": True},
    "closeness": {"closeness": True},
    "both": {"window": True, "closeness": True},
}


def mtl_detector(classes=5, loss=None, head=None, config=SMALL, **mtl):
    """In inference mode, with scores that differ as a trained detector's do."""
    torch.manual_seed(0)
    changes = {"mtl": MtlConfig(width=16, **mtl), "head": SMALL.head.model_copy(update=head or {})}
    if loss is not None:
        changes["class_loss"] = loss
    detector = build_detector(config.model_copy(update=changes), classes).eval()
    torch.manual_seed(3)
    layers = [(detector.head.fc_cls, 0.3), (detector.head.fc_reg, 0.05)]
    layers += [(detector.rpn.head.bbox_pred, 0.05), (detector.rpn.head.cls_logits, 0.3)]
    layers += [(part.fc, 0.5) for part in (detector.mtl.window, detector.mtl.closeness) if part is not None]
    if detector.mtl.fc_refine is not None:
        layers.append((detector.mtl.fc_refine, 0.3))
    for layer, std in layers:
        torch.nn.init.normal_(layer.weight, std=std)
    return detector

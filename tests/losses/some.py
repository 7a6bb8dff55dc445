"""Every class loss, small, and regions for it."""

from __future__ import annotations

import torch

from clis_core.config.class_loss import (
    BagsLoss,
    EqlLoss,
    Eqlv2Loss,
    FederatedLoss,
    SeesawLoss,
    SoftmaxLoss,
)
from clis_core.losses.build import build_class_loss
from clis_core.losses.counts import ClassCounts

LOSSES = {
    "softmax": SoftmaxLoss(),
    "seesaw": SeesawLoss(),
    "seesaw-plain": SeesawLoss(objectness=False),
    "eql": EqlLoss(threshold=0.05),
    "eqlv2": Eqlv2Loss(),
    "eqlv2-plain": Eqlv2Loss(objectness=False),
    "bags": BagsLoss(bounds=(5, 50), others=2.0),
    "federated": FederatedLoss(classes=3),
}


def some_counts(classes=5):
    boxes = torch.tensor([400, 60, 8, 5, 2, 1] * (1 + classes // 6))[:classes]
    return ClassCounts(images=(boxes + 1) // 2, boxes=boxes, all_images=200)


def make(name="", classes=5, config=None):
    return build_class_loss(config or LOSSES[name], classes, some_counts(classes)).train()


def regions(loss, count=12, classes=5, seed=0, scale=2.0, objects=True):
    """Logits and labels; half of the regions are background if ``objects``, else all are objects."""
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(count, loss.num_logits, generator=generator)
    labels = torch.randint(1, classes + 1, (count,), generator=generator)
    if objects:
        labels[torch.rand(count, generator=generator) < 0.5] = 0
    return logits, labels

"""Self-training: the losses of both kinds of images and their ratio, by loops."""

import pytest
import torch

from clis_core.batch import RawImage, Target
from clis_core.methods.detection_losses import detection_losses
from tests.methods.small import some_batch, with_pictures
from tests.methods.test_image_methods import OWN, make


def parts(method, batch):
    """The plain losses of detection images and of mosaics, in the order that the method draws its samples in."""
    detector, config = method.detector, method.config
    mosaics = [m for c in batch.companions for m in c.mosaics]
    pictures = [RawImage(m.pixels, (64, 64)) for m in mosaics]
    found = []
    for raw, targets, count in (
        (batch.images, batch.targets, True),
        (pictures, [Target(m.regions, m.labels) for m in mosaics], False),
    ):
        images = detector.preprocess(raw)
        features = detector.encoder(images.pixels)
        losses = detection_losses(detector, images, features, targets, config.rpn, config.roi, count=count)
        found.append({k: float(v.detach()) for k, v in losses.items()})
    return found


def test_losses_in_loops():
    method = make("self-training", weight=0.5, momentum=0.9)
    totals = []
    for n in range(4):
        batch = with_pictures(some_batch((2, 1)), t=0, seed=n)
        torch.manual_seed(n)
        human, pseudo = parts(method, batch)
        torch.manual_seed(n)
        losses = {k: float(v.detach()) for k, v in method(batch).items()}
        method.after_step()
        totals.append((sum(human.values()), sum(pseudo.values())))
        means = list(totals[0])
        for step, values in enumerate(totals[1:], start=1):
            keep = min(0.9, step / (step + 1))
            means = [keep * m + (1 - keep) * v for m, v in zip(means, values, strict=True)]
        for name in OWN:
            assert losses[name] == pytest.approx(human[name] / 1.5, rel=1e-5)
            assert losses[f"pseudo_{name}"] == pytest.approx(0.5 * means[0] / means[1] * pseudo[name] / 1.5, rel=1e-4)
    assert int(method.steps) == 4


def test_without_normalisation_alpha_alone_weighs():
    method = make("self-training", weight=0.5, normalise=False)
    batch = with_pictures(some_batch((2, 1)), t=0)
    torch.manual_seed(0)
    _, pseudo = parts(method, batch)
    torch.manual_seed(0)
    losses = method(batch)
    for name in OWN:
        assert float(losses[f"pseudo_{name}"].detach()) == pytest.approx(0.5 * pseudo[name] / 1.5, rel=1e-5)
    assert not method.means.any()


def test_steps_without_pictures_leave_the_means():
    method = make("self-training")
    method(some_batch((2, 1)))
    assert int(method.steps) == 0
    assert not method.means.any()

"""The parity check: nothing for equals, and a fault for each way in which an export can go wrong."""

import pytest
import torch

from clis_core.detectors.export.model import ExportedDetector
from clis_core.detectors.export.parity import TOLERANCES, Tolerance, compare, refer
from clis_core.detectors.fixed import FixedDetector, TorchKernels
from tests.detectors.export.conftest import about_of
from tests.detectors.test_faster_rcnn import picture

IMAGES = [picture(100, 150), picture(150, 100, seed=1)]


def exported(detector, change=lambda result: result, **about):
    record = about_of(detector, batch=1, **about)
    graph = FixedDetector(detector, record.candidates, TorchKernels())
    return ExportedDetector(lambda images, sizes: change(graph(images, sizes)), record)


def parity_of(detector, other):
    return compare(refer(detector, other.about, IMAGES), other, IMAGES, TOLERANCES["fp32"])


def test_equal(detector):
    parity = parity_of(detector, exported(detector))
    assert (parity.images, parity.same, parity.weighted, parity.uncertain) == (2, 1.0, 1.0, 0)
    assert parity.box_gap < 1e-3
    assert parity.detections > 40
    assert parity.seconds.keys() == {"detector", "exported"}
    assert parity.within(TOLERANCES["fp32"])


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r._replace(boxes=r.boxes + 1),
        lambda r: r._replace(boxes=r.boxes[..., [1, 0, 3, 2]]),
        lambda r: r._replace(labels=r.labels.clamp(max=3)),
        lambda r: r._replace(scores=r.scores * 0.9),
        lambda r: r._replace(scores=torch.where(torch.arange(r.scores.shape[1]) % 20 == 0, 0, r.scores)),
    ],
)
def test_faults_of_every_kind(detector, change):
    parity = parity_of(detector, exported(detector, change))
    assert not parity.within(TOLERANCES["fp32"])


def test_additional_detections_count_as_well(detector):
    post = detector.config.postprocess.model_copy(update={"nms_iou": 0.9})
    graph = FixedDetector(detector, 200, TorchKernels())
    graph.postprocess = post
    other = ExportedDetector(graph, exported(detector).about)
    parity = parity_of(detector, other)
    assert parity.same < 0.99


def test_references_say_how_many_candidates_decide(detector):
    references = refer(detector, exported(detector).about, IMAGES)
    most = max(r.needed for r in references)
    enough = parity_of(detector, exported(detector, candidates=most))
    assert enough.uncertain == 0
    assert enough.same == 1.0
    assert parity_of(detector, exported(detector, candidates=min(r.needed for r in references) - 2)).uncertain == 2


def test_weights_of_detections_are_their_scores():
    """The best one is wrong: little by number, much by score."""
    from clis_core.batch import Detection
    from clis_core.detectors.export.parity import _gaps

    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30], [40, 40, 50, 50]])
    reference = Detection(boxes, torch.tensor([1, 1, 1]), torch.tensor([0.8, 0.1, 0.1]))
    found = reference._replace(labels=torch.tensor([2, 1, 1]))
    counts, gaps = _gaps(reference, found, Tolerance(0.5, 1e-3, 0.01, 0.9, 0.9))
    assert counts.tolist() == pytest.approx([4, 6, 0.4, 2.0])
    assert gaps.tolist() == [0, 0, 0]

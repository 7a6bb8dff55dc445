"""Exported files of a detector with a mask head: masks as the detector has them, and the check sees when not."""

import pytest
import torch

from clis_core.detectors.export.model import ExportedDetector
from clis_core.detectors.export.parity import TOLERANCES, compare, refer
from clis_core.detectors.fixed import FixedDetector, TorchKernels
from tests.detectors.export.conftest import about_of, sharp_detector
from tests.detectors.test_faster_rcnn import picture

IMAGES = [picture(100, 150), picture(150, 100, seed=1)]
MASK = {"enabled": True, "convs": 1, "channels": 8, "pool": 3}


@pytest.fixture(scope="module", params=[False, True], ids=["by class", "agnostic"])
def detector(request):
    detector = sharp_detector(mask={**MASK, "class_agnostic": request.param}, specialised=True, objectness=True)
    torch.manual_seed(4)
    torch.nn.init.normal_(detector.mask_head.predictor.mask_fcn_logits.weight, std=1.0)
    torch.nn.init.normal_(detector.mask_head.predictor.mask_fcn_logits.bias, std=1.0)
    return detector


def parity_of(detector, other, precision="fp32"):
    references = refer(detector, other.about, IMAGES)
    return compare(references, other, IMAGES, TOLERANCES[precision])


def graph_of(detector, change=lambda result: result, **options):
    record = about_of(detector, batch=1)
    graph = FixedDetector(detector, record.candidates, TorchKernels(), **options)
    return ExportedDetector(lambda images, sizes: change(graph(images, sizes)), record)


def test_the_graph(detector):
    parity = parity_of(detector, graph_of(detector))
    assert parity.same == 1.0
    assert parity.detections > 40
    assert parity.mask_gap < 1e-4
    with torch.no_grad():
        masks = detector([IMAGES[0]])[0].masks
        (found,) = graph_of(detector)([IMAGES[0]])
    assert masks.std() > 0.05
    assert found.masks.shape == masks.shape == (len(found.scores), 6, 6)
    torch.testing.assert_close(found.masks, masks, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r._replace(masks=r.masks.flip(-1)),
        lambda r: r._replace(masks=r.masks.mT),
        lambda r: r._replace(masks=r.masks.roll(1, 1)),
        lambda r: r._replace(masks=1 - r.masks),
    ],
)
def test_faults(detector, change):
    assert not parity_of(detector, graph_of(detector, change)).within(TOLERANCES["fp32"])


def test_half_precision(detector):
    parity = parity_of(detector, graph_of(detector, half=True), "fp16")
    assert parity.within(TOLERANCES["fp16"])
    assert parity.mask_gap > 1e-5


def test_rows_beyond_what_was_found_are_zero(detector):
    post = detector.config.postprocess
    few = detector.config.model_copy(update={"postprocess": post.model_copy(update={"score_threshold": 0.5})})
    graph = FixedDetector(detector, 200, TorchKernels())
    graph.postprocess = few.postprocess
    images = torch.zeros(1, 3, 96, 128, dtype=torch.uint8)
    result = graph(images, torch.tensor([[96, 128]]))
    there = result.scores > 0
    assert not there.all()
    assert not result.masks[~there].any()


@pytest.mark.slow
@pytest.mark.parametrize("batch", [None, 1])
def test_onnx(detector, tmp_path, batch):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    from clis_core.detectors.export.onnx_file import open_onnx, write_onnx

    write_onnx(detector, about_of(detector, batch=batch), tmp_path / "model.onnx")
    exported = ExportedDetector(*open_onnx(tmp_path / "model.onnx", torch.device("cpu")))
    parity = parity_of(detector, exported)
    assert parity.within(TOLERANCES["fp32"])
    assert parity.mask_gap < 1e-3


@pytest.mark.slow
def test_pt2(detector, tmp_path):
    from clis_core.detectors.export.pt2_file import open_pt2, write_pt2

    write_pt2(detector, about_of(detector, batch=1), tmp_path / "model.pt2")
    exported = ExportedDetector(*open_pt2(tmp_path / "model.pt2", torch.device("cpu")))
    parity = parity_of(detector, exported)
    assert parity.within(TOLERANCES["fp32"])
    assert parity.mask_gap < 1e-3


@pytest.mark.slow
def test_weights(detector, tmp_path):
    pytest.importorskip("safetensors")
    from clis_core.detectors.export.weights_file import read_safetensors, write_safetensors

    write_safetensors(detector, about_of(detector), tmp_path / "model.safetensors")
    again = read_safetensors(tmp_path / "model.safetensors").detector
    with torch.no_grad():
        assert torch.equal(again([IMAGES[0]])[0].masks, detector([IMAGES[0]])[0].masks)

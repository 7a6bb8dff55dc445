"""Detectors of every class loss: one graph of fixed shapes, exported files and weights that give the same."""

import pytest
import torch

from clis_core.detectors.build import build_detector
from clis_core.detectors.export.about import About
from clis_core.detectors.fixed import FixedDetector, TorchKernels
from clis_core.detectors.load import load_model
from tests.detectors.export.conftest import CATEGORIES, about_of, sharp_detector
from tests.detectors.test_faster_rcnn import picture
from tests.losses.some import LOSSES, some_counts


def detector_of(name, **head):
    plain = sharp_detector(**head)
    torch.manual_seed(1)
    config = plain.config.model_copy(update={"class_loss": LOSSES[name]})
    detector = build_detector(config, 5, some_counts()).eval()
    state = plain.state_dict()
    detector.load_state_dict({k: v for k, v in state.items() if not k.startswith("head.fc_cls")}, strict=False)
    torch.nn.init.normal_(detector.head.fc_cls.weight, std=0.3)
    torch.nn.init.zeros_(detector.head.fc_cls.bias)  # of the losses that begin with small scores too
    for key, buffer in detector.head.class_loss.state_dict().items():
        if key in ("seen", "gradients"):
            buffer.copy_(torch.arange(buffer.numel()).view_as(buffer) * 70_000)  # beyond float16
    return detector


def same(found, reference):
    assert len(found.scores) == len(reference.scores) > 10
    torch.testing.assert_close(found.boxes, reference.boxes, atol=0.05, rtol=1e-3)
    assert torch.equal(found.labels, reference.labels)
    torch.testing.assert_close(found.scores, reference.scores, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("head", [{}, {"specialised": True, "objectness": True}, {"classifier": "cosine"}], ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_the_graph_of_fixed_shapes_equals_the_detector(name, head):
    detector = detector_of(name, **head)
    graph = FixedDetector(detector, 200, TorchKernels())
    image = picture(128, 192)
    with torch.inference_mode():
        boxes, labels, scores, certain = (x[0] for x in graph(image[None], torch.tensor([[128, 192]]))[:4])
        reference = detector([image])[0]
    assert certain
    count = int((scores > 0).sum())
    same(type(reference)(boxes[:count], labels[:count], scores[:count]), reference)
    half = FixedDetector(detector, 200, TorchKernels(), half=True)
    assert all(p.dtype == torch.float16 for p in half.head.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["onnx", "pt2"])
@pytest.mark.parametrize(("name", "head"), [("seesaw", {"classifier": "cosine"}), ("eqlv2", {}), ("bags", {})])
def test_exported_files_equal_the_detector(tmp_path, name, head, suffix):
    if suffix == "onnx":
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")
    from clis_core.detectors.export.onnx_file import write_onnx
    from clis_core.detectors.export.pt2_file import write_pt2

    detector = detector_of(name, **head)
    path = tmp_path / f"model.{suffix}"
    (write_onnx if suffix == "onnx" else write_pt2)(detector, about_of(detector, batch=1), path)
    image = picture(128, 200)
    with torch.inference_mode():
        same(load_model(path).model([image])[0], detector([image])[0])


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", LOSSES)
def test_files_of_weights_keep_the_statistics(tmp_path, name, precision):
    pytest.importorskip("safetensors")
    from clis_core.detectors.export.weights_file import write_safetensors

    detector = detector_of(name)
    about: About = about_of(detector, precision=precision)
    write_safetensors(detector, about, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.categories == CATEGORIES
    for key, value in detector.head.class_loss.state_dict().items():
        assert torch.equal(loaded.model.head.class_loss.state_dict()[key], value)

"""Exported files find what the detector finds, for images of every size, and are refused where they are not ours."""

import json
from pathlib import Path

import pytest
import torch

from clis_core.detectors.export.about import KEY
from clis_core.detectors.export.capture import capture
from clis_core.detectors.export.model import place
from clis_core.detectors.fixed import FixedDetector, TorchKernels
from clis_core.detectors.load import load_model
from clis_core.errors import CheckpointError, ConfigError
from tests.detectors.export.conftest import CATEGORIES, about_of, sharp_detector
from tests.detectors.test_faster_rcnn import picture

SIZES = [(128, 200), (200, 128), (300, 900), (130, 140), (40, 60)]


@pytest.fixture(params=["onnx", "pt2"])
def path(request):
    return request.getfixturevalue(f"{request.param}_path")


def same(found, reference):
    assert len(found.scores) == len(reference.scores) > 10
    torch.testing.assert_close(found.boxes, reference.boxes, atol=0.05, rtol=1e-3)
    assert torch.equal(found.labels, reference.labels)
    torch.testing.assert_close(found.scores, reference.scores, atol=1e-4, rtol=1e-3)


def test_equals_the_detector(detector, path):
    loaded = load_model(path)
    assert loaded.categories == CATEGORIES
    assert loaded.step == 7
    assert loaded.model.config.short_side == 128
    with torch.inference_mode():
        for seed, (height, width) in enumerate(SIZES):
            image = picture(height, width, seed)
            (found,) = loaded.model([image])
            same(found, detector([image])[0])
    assert loaded.model.images == len(SIZES)
    assert loaded.model.uncertain == 0


def test_several_images_at_a_time(detector, path):
    images = [picture(128, 200), picture(200, 128, seed=1), picture(150, 150, seed=2)]
    model = load_model(path).model
    with torch.inference_mode():
        together = model(images)
        # PT2 takes one at a time; ONNX pads them to one frame, as the detector does.
        expected = detector(images) if path.suffix == ".onnx" else [detector([x])[0] for x in images]
    for found, reference in zip(together, expected, strict=True):
        same(found, reference)
    assert model([]) == []


def test_files_name_no_place_of_this_machine(path):
    content = path.read_bytes()
    here = Path(__file__).parents[3]
    assert str(here).encode() not in content
    assert b"site-packages" not in content


def test_the_metadata_are_readable_without_this_package(onnx_path):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(onnx_path), providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["names"]) == {str(i): f"thing {i}" for i in range(1, 6)}
    assert "short side is 128 pixels" in metadata["preprocessing"]
    assert json.loads(metadata[KEY])["categories"][1]["id"] == 20
    shapes = {x.name: x.shape for x in session.get_inputs() + session.get_outputs()}
    assert shapes["images"] == ["batch", 3, "height", "width"]
    assert shapes["boxes"] == ["batch", 200, 4]


def test_a_pt2_file_runs_with_torch_alone(detector, pt2_path):
    program = torch.export.load(pt2_path, extra_files={f"{KEY}.json": ""}).module()
    image = picture(128, 192)
    with torch.inference_mode():
        boxes, _, scores, _ = program(image[None], torch.tensor([[128, 192]]))
        reference = detector([image])[0]
    torch.testing.assert_close(boxes[0, : len(reference.scores)], reference.boxes, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(scores[0, : len(reference.scores)], reference.scores)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["onnx", "pt2"])
@pytest.mark.parametrize(
    "changes",
    [
        {"frame": (160, 224), "batch": 2},
        {"frame": (96, 96), "batch": 1, "nms": False},
        {"batch": 1, "candidates": 30},
    ],
)
def test_fixed_frames_and_batches(tmp_path, suffix, changes):
    """Images too large for the frame shrink, the NMS that is left out is done outside, doubt is counted."""
    from clis_core.detectors.export.onnx_file import write_onnx
    from clis_core.detectors.export.parity import TOLERANCES, compare, refer
    from clis_core.detectors.export.pt2_file import write_pt2

    detector = sharp_detector()
    about = about_of(detector, **changes)
    path = tmp_path / f"model.{suffix}"
    (write_onnx if suffix == "onnx" else write_pt2)(detector, about, path)
    model = load_model(path).model
    assert (model.about.frame, model.about.batch) == (about.frame, about.batch)
    images = [picture(h, w, seed) for seed, (h, w) in enumerate(SIZES)]
    with torch.inference_mode():
        for image, found in zip(images, model(images), strict=True):
            assert found.boxes.min() >= 0
            assert (found.boxes[:, 2].max(), found.boxes[:, 3].max()) <= (image.shape[2], image.shape[1])
            frames, sizes = place(about, [image])
            if about.frame:
                assert frames.shape[2:] == about.frame
                h, w = sizes[0]
                assert h / w == pytest.approx(image.shape[1] / image.shape[2], rel=0.03)  # the aspect stays
    parity = compare(refer(detector, about, images), model, images, TOLERANCES["fp32"])
    if about.candidates == 30:
        assert parity.uncertain > 0
        assert not parity.within(TOLERANCES["fp32"])
    else:
        assert parity.uncertain == 0
        assert parity.within(TOLERANCES["fp32"])
        assert parity.box_gap < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["onnx", "pt2"])
def test_half_precision_is_near(tmp_path, suffix):
    from clis_core.detectors.export.onnx_file import write_onnx
    from clis_core.detectors.export.parity import TOLERANCES, compare, refer
    from clis_core.detectors.export.pt2_file import write_pt2

    detector = sharp_detector(specialised=True, objectness=True)
    path = tmp_path / f"model.{suffix}"
    about = about_of(detector, batch=1, precision="fp16")
    (write_onnx if suffix == "onnx" else write_pt2)(detector, about, path)
    images = [picture(h, w, seed) for seed, (h, w) in enumerate(SIZES)]
    parity = compare(refer(detector, about, images), load_model(path).model, images, TOLERANCES["fp16"])
    assert parity.within(TOLERANCES["fp16"])
    assert parity.box_gap > 1e-3  # else it was not run in half precision
    assert path.stat().st_size < 0.6 * sum(4 * p.numel() for p in detector.state_dict().values())


@pytest.mark.parametrize("suffix", [".onnx", ".pt2", ".safetensors", ".pt"])
def test_files_that_cannot_be_used(tmp_path, suffix):
    if suffix == ".onnx":
        pytest.importorskip("onnxruntime")
    if suffix == ".safetensors":
        pytest.importorskip("safetensors")
    for content in (None, b"", b"PK\x03\x04 nothing"):
        path = tmp_path / f"model{suffix}"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(CheckpointError) as caught:
            load_model(path)
        assert str(path) in caught.value.message
        assert caught.value.hint


def test_an_onnx_file_of_another_program(tmp_path, onnx_path):
    import onnx

    model = onnx.load(onnx_path)
    path = tmp_path / "other.onnx"
    for text, named in ((None, "another program"), ("{}", "cannot be read"), ('{"format": 9}', "format 9")):
        del model.metadata_props[:]
        if text is not None:
            model.metadata_props.add(key=KEY, value=text)
        onnx.save(model, path)
        with pytest.raises(CheckpointError, match=named):
            load_model(path)


def test_a_device_that_onnx_runtime_lacks(onnx_path):
    with pytest.raises(ConfigError, match="has no meta"):
        load_model(onnx_path, "meta")


def test_what_torch_cannot_capture_is_told(detector):
    """NMS of a number of lists that is not known: the kernels of PT2 cannot."""
    graph = FixedDetector(detector, 200, TorchKernels())
    with pytest.raises(ConfigError, match="could not capture") as caught:
        capture(graph, about_of(detector))
    assert caught.value.hint == "Fix the frame and the batch: --size 800x1344 --batch 1"

"""`load_detector`: pictures of any kind in, named detections out; each kind gives the same."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clis_core.detectors.export.model import ExportedDetector
from clis_core.detectors.export.pt2_file import write_pt2
from clis_core.detectors.export.weights_file import write_safetensors
from clis_core.errors import CheckpointError, ClisError, ConfigError, DataError
from clis_core.jobs import inference
from clis_core.jobs.inference import NamedDetections, load_detector, to_tensor
from tests.detectors.export.conftest import about_of, sharp_detector
from tests.detectors.test_faster_rcnn import picture
from tests.jobs.test_export import make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("world"), sharp_detector())[0]


@pytest.fixture(scope="module")
def detector(run):
    return load_detector(run, "cpu")


def same(one: NamedDetections, other: NamedDetections) -> bool:
    return len(one) > 5 and all(
        torch.equal(getattr(one, name), getattr(other, name)) for name in ("boxes", "labels", "scores")
    )


def test_every_kind_of_picture_gives_the_same(detector, tmp_path):
    pixels = picture(100, 150)
    array = pixels.permute(1, 2, 0).numpy()
    image = Image.fromarray(array)
    image.save(tmp_path / "a.png")
    with torch.inference_mode():
        plain = detector.model([pixels])[0]
    expected = detector(pixels)
    assert torch.equal(expected.boxes, plain.boxes)
    assert torch.equal(expected.scores, plain.scores)
    assert expected.size == (100, 150)
    for kind in (array, image, tmp_path / "a.png", str(tmp_path / "a.png"), image.convert("RGBA"), np.asarray(image)):
        assert same(expected, detector(kind))
    assert isinstance(detector([array]), list)
    assert [len(found) for found in detector([])] == []


def test_many_pictures_in_parts(detector):
    images = [picture(100, 150, seed) for seed in range(3)]
    for found, image in zip(detector(images, batch=1), images, strict=True):
        assert same(found, detector(image))
    assert len(detector(tuple(images), batch=2)) == 3


def test_names_and_threshold(detector):
    found = detector(picture(100, 150))
    assert found.names == [detector.categories[label - 1].name for label in found.labels.tolist()]
    assert {c.group for c in found.classes} == {"r"}
    middle = float(found.scores[len(found) // 2])
    best = detector(picture(100, 150), threshold=middle)
    assert 0 < len(best) < len(found)
    assert best.scores.min() >= middle
    assert len(best.names) == len(best.boxes) == len(best)
    assert found.boxes.requires_grad_().sum().requires_grad  # no leftovers of inference mode


def test_files_and_images_are_turned_upright(detector, tmp_path):
    image = Image.fromarray(picture(100, 150).permute(1, 2, 0).numpy())
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.png", exif=exif)
    assert detector(tmp_path / "turned.png").size == (150, 100)
    with Image.open(tmp_path / "turned.png") as opened:
        assert same(detector(tmp_path / "turned.png"), detector(opened))


@pytest.mark.parametrize(
    "name", ["checkpoint", "w.safetensors", *(pytest.param(n, marks=pytest.mark.slow) for n in ("m.pt2", "m.onnx"))]
)
def test_every_kind_of_file(run, detector, tmp_path, name):
    if name == "checkpoint":
        path = next((run / "checkpoints").iterdir())
    else:
        if name == "m.onnx":
            pytest.importorskip("onnxscript")
            pytest.importorskip("onnxruntime")
            from clis_core.detectors.export.onnx_file import write_onnx as write
        else:
            write = write_pt2 if name == "m.pt2" else write_safetensors
        path = tmp_path / name
        write(detector.model, about_of(detector.model, batch=1), path)
    loaded = load_detector(path)
    assert loaded.step == 7
    assert loaded.identity() == {**detector.identity(), "file": str(path)}
    found = loaded(picture(100, 150))
    if name in ("checkpoint", "w.safetensors"):
        assert same(found, detector(picture(100, 150)))
    assert len(found) > 5
    assert found.names[0].startswith("thing ")


def test_another_size(run, detector):
    large = load_detector(run, "cpu", short_side=192)
    assert (large.model.config.short_side, large.model.config.long_side) == (192, 384)
    assert not torch.equal(large(picture(100, 150)).scores[:5], detector(picture(100, 150)).scores[:5])
    with pytest.raises(ConfigError):
        load_detector(run, "cpu", short_side=0)


@pytest.mark.slow
def test_another_size_of_a_graph(run, detector, tmp_path):
    large = load_detector(run, "cpu", short_side=192)
    write_pt2(detector.model, about_of(detector.model, batch=1), tmp_path / "open.pt2")
    exported = load_detector(tmp_path / "open.pt2", short_side=192)(picture(100, 150))
    assert torch.allclose(exported.scores[:5], large(picture(100, 150)).scores[:5], atol=1e-4)


def test_a_fixed_frame_has_its_size(detector):
    def never(images, sizes):
        raise AssertionError

    exported = ExportedDetector(never, about_of(detector.model, frame=(128, 192)))
    with pytest.raises(ConfigError, match="fixed to 128 x 192") as error:
        inference._set_short_side(exported, 64, Path("fixed.onnx"))
    assert error.value.hint


@pytest.mark.parametrize(
    ("image", "what", "hint"),
    [
        (np.zeros((3, 8, 8), np.uint8), "array uint8 [3, 8, 8]", "[h, w, 3]"),
        (np.zeros((8, 8, 3), np.float32), "array float32", "astype('uint8')"),
        (np.zeros((8, 8), np.uint8), "array uint8 [8, 8]", ""),
        (np.zeros((0, 8, 3), np.uint8), "[0, 8, 3]", ""),
        (torch.zeros(8, 8, 3, dtype=torch.uint8), "tensor uint8 [8, 8, 3]", "permute(2, 0, 1)"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), "tensor uint8 [2, 3, 8, 8]", "list(x)"),
        (torch.zeros(3, 8, 8), "tensor float32", "torch.uint8"),
        (Image.new("I;16", (8, 8)), "mode I;16", ""),
        (7, "of type int", "a path"),
        ("gone.jpg", "gone.jpg cannot be read", ""),
    ],
)
def test_what_is_no_picture(detector, image, what, hint):
    with pytest.raises(DataError) as error:
        detector(image)
    assert what in error.value.message
    assert error.value.hint
    assert hint in error.value.hint


def test_the_picture_at_fault_is_named(detector):
    with pytest.raises(DataError, match="Picture 2 is of type NoneType"):
        detector([picture(40, 40), picture(40, 40), None], batch=1)


@pytest.mark.parametrize("path", ["", "gone.pt", "gone.onnx"])
def test_what_is_no_detector(tmp_path: Path, path: str) -> None:
    with pytest.raises(CheckpointError) as error:
        load_detector(tmp_path / path)
    assert error.value.hint


def test_odd_devices(run):
    with pytest.raises(ClisError, match="is not a device"):
        load_detector(run, "toaster")


def test_arrays_that_cannot_be_written_to_are_no_cause_of_warnings():
    array = np.zeros((8, 8, 3), np.uint8)
    array.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert to_tensor(array, "it").shape == (3, 8, 8)

"""What else a one-stage detector is for: a graph of fixed shapes, files, regions by label, detections above floors."""

import math

import pytest
import torch

from clis_core.batch import RawImage, fit_size
from clis_core.detectors.above_floors import detect_above_floors
from clis_core.detectors.export.model import place
from clis_core.detectors.export.parity import framed as place_in_frame
from clis_core.detectors.export.parity import refer
from clis_core.detectors.fixed import FixedDetector, TorchKernels, candidates_needed
from clis_core.detectors.label_regions import label_regions
from clis_core.detectors.load import identity, load_model
from clis_core.detectors.preprocess import unscaled
from clis_core.errors import ConfigError
from tests.detectors.dense import KINDS, lively_dense, pictures
from tests.detectors.export.conftest import about_of
from tests.detectors.test_fixed import found, framed, kernels  # noqa: F401

ALL = 100_000


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("frame", [(64, 96), (128, 160)])
def test_the_graph_of_fixed_shapes_equals_the_detector(kernels, kind, frame):  # noqa: F811
    detector = lively_dense(kind, level_candidates=60, detections=40)
    generator = torch.Generator().manual_seed(0)
    images = [torch.randint(0, 256, (3, h, w), dtype=torch.uint8, generator=generator) for h, w in ((64, 96), (50, 80))]
    batch, inputs = framed(detector, images, frame)
    graph = FixedDetector(detector, ALL, kernels)
    with torch.no_grad():
        expected, result = detector.detect(batch), graph(*inputs)
    assert result.certain.all()
    for index, reference in enumerate(expected):
        mine = found(result, index)
        assert 5 < len(mine.scores) == len(reference.scores)
        torch.testing.assert_close(mine.scores, reference.scores, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(mine.boxes, reference.boxes, atol=1e-3, rtol=1e-4)
        assert torch.equal(mine.labels, reference.labels)


def test_too_few_candidates_are_told():
    detector = lively_dense("retinanet", detections=8)
    batch, inputs = framed(detector, [pictures()[2]], (64, 96))
    with torch.no_grad():
        scored = detector.score(batch)
        expected = detector.select(scored, batch.sizes)[0]
        needed = candidates_needed(scored.scores, expected, detector.config.postprocess)
        assert 8 < needed < len(scored.scores)
        for count in (8, needed - 2, needed, ALL):
            result = FixedDetector(detector, count, TorchKernels())(*inputs)
            assert bool(result.certain[0]) == (count >= needed)
            assert torch.equal(found(result, 0).labels, expected.labels) or not result.certain[0]


def test_half_precision_is_for_the_layers():
    detector = lively_dense("fcos")
    graph = FixedDetector(detector, 20, TorchKernels(), half=True)
    assert {p.dtype for p in graph.parameters()} == {torch.float16}
    assert {p.dtype for p in detector.parameters()} == {torch.float32}


def same(mine, reference):
    assert len(mine.scores) == len(reference.scores) > 5
    torch.testing.assert_close(mine.scores, reference.scores, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(mine.boxes, reference.boxes, atol=0.05, rtol=1e-3)
    assert torch.equal(mine.labels, reference.labels)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["onnx", "pt2"])
@pytest.mark.parametrize("kind", ["retinanet-iou", "fcos"])
def test_exported_files_equal_the_detector(tmp_path, kind, suffix):
    if suffix == "onnx":
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")
    from clis_core.detectors.export.onnx_file import write_onnx
    from clis_core.detectors.export.pt2_file import write_pt2

    detector = lively_dense(kind, detections=50)
    path = tmp_path / f"model.{suffix}"
    about = about_of(detector, batch=1, candidates=2000)
    (write_onnx if suffix == "onnx" else write_pt2)(detector, about, path)
    loaded = load_model(path)
    for seed, size in enumerate([(64, 96), (100, 64), (64, 128)]):  # frames that fit: no padding, no equals
        generator = torch.Generator().manual_seed(seed)
        image = torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator)
        with torch.inference_mode():
            same(loaded.model([image])[0], in_frame(detector, loaded.model.about, image))
            (reference,) = refer(detector, loaded.model.about, [image])
        assert reference.needed <= 2000
    assert loaded.model.uncertain == 0


def in_frame(detector, about, image):
    """What the detector finds in the very frame that the file sees, which is 96 pixels at least."""
    batch = place_in_frame(detector, *place(about, [image]))
    return unscaled(detector.detect(batch), [image], batch.sizes)[0]


def test_a_file_of_weights_is_the_same_detector(tmp_path):
    pytest.importorskip("safetensors")
    from clis_core.detectors.export.weights_file import write_safetensors

    for kind in ("retinanet-iou", "fcos"):
        detector = lively_dense(kind)
        write_safetensors(detector, about_of(detector), tmp_path / "model.safetensors")
        model = load_model(tmp_path / "model.safetensors").model
        assert identity(model)["weights"] == identity(detector)["weights"]
        assert model.config.kind == detector.config.kind
        with torch.inference_mode():
            same(model(pictures()[:1])[0], detector(pictures()[:1])[0])


def raw(detector, images):
    config = detector.config
    return [RawImage(x, fit_size(x.shape[1], x.shape[2], config.short_side, config.long_side)) for x in images]


@pytest.mark.parametrize("kind", KINDS)
def test_regions_by_label_in_loops(kind):
    detector = lively_dense(kind)
    images, labels = pictures(), [1, 3, 5]
    seen = raw(detector, images)
    with torch.inference_mode():
        batch = detector.preprocess(seen)
        output = detector.output(batch.pixels, detector.encoder(batch.pixels))
    for rule in ("rank-first", "max-score"):
        regions = label_regions(detector, seen, labels, rule)
        for n, (region, label) in enumerate(zip(regions, labels, strict=True)):
            best, first = (-1.0, None, 0), 0
            for level in output.levels:
                logits = level.logits[n].tolist()
                quality = None if level.quality is None else level.quality[n].tolist()
                for a, row in enumerate(logits):
                    scores = [1 / (1 + math.exp(-z)) for z in row]
                    if quality is not None:
                        scores = [s / (1 + math.exp(-quality[a])) for s in scores]
                        scores = [s**0.5 for s in scores] if detector.head.square_root else scores
                    value = scores[label - 1] if rule == "rank-first" else max(scores)
                    if value > best[0]:
                        rank = 1 + sum(s > scores[label - 1] for s in scores)
                        best = (value, scores[label - 1], rank)
                        place = first + a
                first += len(logits)
            assert region.score == pytest.approx(best[1], rel=1e-3)
            assert region.rank == best[2]
            box = detector.boxes_of(output, n, batch.sizes[n])(torch.tensor([place]), torch.tensor([label]))[0]
            height, width = batch.sizes[n]
            if region.box is None:
                assert float((box[2:] - box[:2]).min()) < 2
            else:
                frame = torch.tensor([width, height, width, height])
                torch.testing.assert_close(region.box, box / frame, atol=1e-4, rtol=0)


def test_a_rule_that_needs_proposals_is_refused():
    detector = lively_dense("fcos")
    with pytest.raises(ConfigError, match=r"largest proposal.*'fcos'") as caught:
        label_regions(detector, raw(detector, pictures()), [1, 2, 3], "max-size")
    assert "rank-first" in caught.value.hint


@pytest.mark.parametrize("kind", KINDS)
def test_above_floors_there_is_a_cap_for_each_class_of_a_level_and_none_for_an_image(kind):
    detector = lively_dense(kind, level_candidates=30, detections=10)
    none = torch.full((5,), -torch.inf)
    with torch.inference_mode():
        whole = detect_above_floors(detector, pictures(), none)
        for expected, (ordinary, every) in zip(detector(pictures()), whole, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(ordinary[:3], expected[:3], strict=True))
            assert len(every.scores) > 30
            # What the cap leaves out of the ordinary ones is there.
            best = every.scores[: len(ordinary.scores)]
            assert (best >= ordinary.scores - 1e-6).all()
        scores = torch.cat([every.scores for _, every in whole])
        labels = torch.cat([every.labels for _, every in whole])
        floors = torch.tensor([scores[labels == c].quantile(c / 6).item() for c in range(1, 5)] + [2.0])
        fewer = detect_above_floors(detector, pictures(), floors)
    for (_, before), (_, after) in zip(whole, fewer, strict=True):
        kept = before.scores > floors[before.labels - 1]
        assert 0 < kept.sum() < len(kept)
        assert all(torch.equal(a, b[kept]) for a, b in zip(after[:3], before[:3], strict=True))

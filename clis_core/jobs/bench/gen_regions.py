"""A region of each picture by its label, against full inference with the same detector: pictures a second out."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from clis_core.batch import RawImage, fit_size
from clis_core.config.detector import BackboneConfig, FasterRCNNConfig, HeadConfig
from clis_core.detectors.boxcoding import ROI_WEIGHTS, clip, decode
from clis_core.detectors.convnorm import freeze
from clis_core.detectors.faster_rcnn import FasterRCNN
from clis_core.detectors.label_regions import SMALLEST, LabelRegion, label_regions
from clis_core.jobs.bench.timing import alternate, machine, medians, ratio
from clis_core.jobs.region_finders import RegionOptions

CLASSES, HEIGHT, WIDTH, SHORT = 1203, 375, 500, 800
PICTURES = 2
ROUNDS = 5


def run(scale: float = 1.0) -> dict[str, Any]:
    """Measure ResNet-50-FPN, 1,203 classes, pictures of 500 x 375 resized to 800 pixels, in alternation.

    Full inference is the detector's own: scores of all classes, NMS, 300 detections. Both take decoded pictures, two
    at a time (eight on a GPU).

    Args:
        scale: multiplies the sides to which the pictures are resized.

    Returns:
        ``ours`` and ``peer`` (full inference) in pictures a second (medians) and their ``ratio`` (median of pairs), for
        the plain detector, which the paper makes its regions with; ``cpu_ratio``: the same by CPU seconds of all
        threads, which tells more on a busy machine; the same for the detector with specialised heads and objectness
        under ``specialised``. ``default``: the plain detector's as `clis gen-regions` is run, which enlarges no picture
        to more than 1.5 times its size (562 pixels here), against full inference at 800.
        ``equal``: whether the regions of both are the arg max of the label's column of all scores, computed plainly.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    count = 4 * PICTURES if device.type == "cuda" else PICTURES
    generator = torch.Generator().manual_seed(0)
    pictures = [
        torch.randint(0, 256, (HEIGHT, WIDTH, 3), dtype=torch.uint8, generator=generator).permute(2, 0, 1).to(device)
        for _ in range(count)
    ]
    labels = torch.randint(1, CLASSES + 1, (count,), generator=generator).tolist()
    plain = _detector(HeadConfig(), scale, device)
    special = _detector(HeadConfig(specialised=True, objectness=True), scale, device)
    calls = {
        "ours": _regions(plain, pictures, labels, SHORT * scale),
        "peer": lambda: plain(pictures),
        "special_ours": _regions(special, pictures, labels, SHORT * scale),
        "special_peer": lambda: special(pictures),
        "default": _regions(plain, pictures, labels, min(SHORT, round(RegionOptions().max_enlarge * HEIGHT)) * scale),
    }
    with torch.inference_mode():
        wall, busy, _ = alternate(calls, ROUNDS)
    seconds = medians(wall)
    equal = all(_is_best(d, pictures, labels) for d in (plain, special))
    return {
        "name": "gen-regions",
        "ours": count / seconds["ours"],
        "peer": count / seconds["peer"],
        "ratio": ratio(wall, "peer", "ours"),
        "cpu_ratio": ratio(busy, "peer", "ours"),
        "equal": equal,
        "unit": "pictures a second",
        "specialised": {
            "ours": count / seconds["special_ours"],
            "peer": count / seconds["special_peer"],
            "ratio": ratio(wall, "special_peer", "special_ours"),
            "cpu_ratio": ratio(busy, "special_peer", "special_ours"),
        },
        "default": {
            "ours": count / seconds["default"],
            "ratio": ratio(wall, "peer", "default"),
            "cpu_ratio": ratio(busy, "peer", "default"),
        },
        "pictures_at_a_time": count,
        **machine(device),
    }


def _detector(head: HeadConfig, scale: float, device: torch.device) -> FasterRCNN:
    torch.manual_seed(0)
    config = FasterRCNNConfig(
        backbone=BackboneConfig(init="none", norm="frozen"),
        head=head,
        short_side=max(32, round(SHORT * scale)),
        long_side=max(32, round(1333 * scale)),
    )
    detector = FasterRCNN(config, CLASSES).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return detector.eval()  # type: ignore[no-any-return]


def _regions(
    detector: FasterRCNN, pictures: list[Tensor], labels: list[int], short: float
) -> Callable[[], list[LabelRegion]]:
    """The regions as the job finds them: with the norms folded into the weights."""
    own = copy.deepcopy(detector)
    side = max(32, round(short))
    long = round(detector.config.long_side * side / detector.config.short_side)
    own.config = own.config.model_copy(update={"short_side": side, "long_side": long})
    freeze(own.encoder)
    seen = _resized(own, pictures)
    return lambda: label_regions(own, seen, labels)


def _resized(detector: FasterRCNN, pictures: list[Tensor]) -> list[RawImage]:
    """The pictures in the detector's own size."""
    short, long = detector.config.short_side, detector.config.long_side
    return [RawImage(x, fit_size(x.shape[1], x.shape[2], short, long)) for x in pictures]


@torch.no_grad()
def _is_best(detector: FasterRCNN, pictures: list[Tensor], labels: list[int]) -> bool:
    """Whether each region is the box of the highest score of its label among all regions."""
    seen = _resized(detector, pictures)
    found = label_regions(detector, seen, labels)
    batch = detector.preprocess(seen)
    features = detector.encoder(batch.pixels)
    output = detector.rpn(batch.pixels, features)
    rpn = detector.config.rpn
    proposals = detector.rpn.propose(output, batch.sizes, rpn.before_nms, rpn.proposals, rpn.nms_iou)
    embedded = detector.head.embed(detector.pool_regions(features, proposals))
    scores = detector.head.scores(detector.head.fc_cls(embedded.cls), embedded.loc)  # [R, C]
    first = 0
    for region, boxes, label, size in zip(found, proposals, labels, batch.sizes, strict=True):
        best = first + int(scores[first : first + len(boxes), label - 1].argmax())
        kind = torch.tensor([label], device=scores.device)
        offsets = detector.head.offsets(embedded.loc[best : best + 1], kind).float()
        box = clip(decode(offsets, boxes[best - first : best - first + 1], ROI_WEIGHTS), size)[0].cpu()
        relative = box / torch.tensor([size[1], size[0]] * 2)
        if region.box is None:
            if float((box[2:] - box[:2]).min()) >= SMALLEST:
                return False
        elif not torch.allclose(region.box, relative, atol=1e-3):
            return False
        first += len(boxes)
    return True

"""One training step against torchvision's own Faster R-CNN: the same backbone, boxes and proposals; seconds out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from clis_core.batch import Batch, RawImage, Target
from clis_core.config.detector import BackboneConfig, FasterRCNNConfig
from clis_core.config.method import SupervisedConfig
from clis_core.detectors.build import build_detector
from clis_core.jobs.bench.timing import alternate, medians
from clis_core.jobs.bench.torchvision_detector import torchvision_detector
from clis_core.methods.build import build_method

CLASSES, HEIGHT, WIDTH, BOXES = 1203, 800, 1066, 12
RATE = 0.0  # the same work, while the random network stays as it is: its norms do nothing, and it would diverge


def run(scale: float = 1.0) -> dict[str, Any]:
    """Measure ResNet-50-FPN, 1,203 classes, one image of 800 x 1066, SGD, fp32, in alternation with torchvision.

    Both have frozen stem, first stage and norms, 2,000 / 1,000 proposals, 256 anchors and 512 regions an image,
    class-specific boxes, and get the same decoded image and boxes. On a GPU bf16 and a compiled encoder are measured
    as well.

    Args:
        scale: multiplies the image's sides.

    Returns:
        ``ours`` and ``peer`` in seconds a step (medians, interleaved) and their ``ratio``.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rounds, batch = (20, 4) if device.type == "cuda" else (5, 1)
    size = (max(64, round(HEIGHT * scale)), max(64, round(WIDTH * scale)))
    data = draw_batch(size, batch).to(device)
    variants = {"ours": _ours(device, data), "peer": _torchvision(device, data, size)}
    if device.type == "cuda":
        variants["ours_bf16"] = _ours(device, data, amp=True)
        variants["ours_bf16_compiled"] = _ours(device, data, amp=True, compiled=True)
        variants["peer_bf16"] = _torchvision(device, data, size, amp=True)
    seconds = alternate(variants, rounds, warm_up=2).wall
    median = medians(seconds)
    return {
        "name": "train-step",
        "ours": median["ours"],
        "peer": median["peer"],
        "ratio": median["peer"] / median["ours"],
        "equal": None,
        "unit": "seconds a step",
        "peer_name": "torchvision FasterRCNN, ResNet-50-FPN",
        "images_a_step": batch,
        "image_size": list(size),
        "classes": CLASSES,
        "images_per_second": {name: batch / s for name, s in median.items()},
        "spread": {name: [min(s), max(s)] for name, s in seconds.items()},
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
    }


def draw_batch(size: tuple[int, int], count: int) -> Batch:
    """Images of noise with random boxes, always the same."""
    generator = torch.Generator().manual_seed(0)
    images, targets = [], []
    for _ in range(count):
        pixels = torch.randint(0, 256, (*size, 3), dtype=torch.uint8, generator=generator).permute(2, 0, 1)
        frame = torch.tensor([size[1], size[0]])
        centre = torch.rand(BOXES, 2, generator=generator) * frame
        side = torch.exp(torch.rand(BOXES, 2, generator=generator) * 3 + 3)
        boxes = torch.cat((centre - side / 2, centre + side / 2), dim=1)
        boxes = torch.minimum(boxes.clamp(min=0), frame.repeat(2).float())
        images.append(RawImage(pixels, size))
        targets.append(Target(boxes, torch.randint(1, CLASSES + 1, (BOXES,), generator=generator)))
    return Batch(images, targets, [f"image {i}" for i in range(count)])


def _ours(device: torch.device, data: Batch, *, amp: bool = False, compiled: bool = False) -> Callable[[], None]:
    torch.manual_seed(0)
    config = FasterRCNNConfig(backbone=BackboneConfig(init="none", norm="frozen"))
    detector = build_detector(config, CLASSES).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if compiled:
        detector.encoder.compile(dynamic=True)
    method = build_method(SupervisedConfig(), detector).train()
    return _stepper(method, lambda: sum(method(data).values()), device, amp)


def _torchvision(device: torch.device, data: Batch, size: tuple[int, int], *, amp: bool = False) -> Callable[[], None]:
    torch.manual_seed(0)
    model = torchvision_detector(
        size, CLASSES, trainable_layers=3, rpn_pre_nms_top_n_train=2000, rpn_post_nms_top_n_train=1000
    ).to(device)
    model.train()
    images = [i.pixels for i in data.images]
    targets = [{"boxes": t.boxes, "labels": t.labels} for t in data.targets]

    def loss() -> Tensor:
        # torchvision takes floats in 0..1; the conversion is part of its step as normalising is of ours.
        return sum(model([x.float() / 255 for x in images], targets).values())  # type: ignore[no-any-return]

    return _stepper(model, loss, device, amp)


def _stepper(module: torch.nn.Module, loss: Callable[[], Any], device: torch.device, amp: bool) -> Callable[[], None]:
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(parameters, lr=RATE, momentum=0.9, weight_decay=1e-4)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=amp):
            total = loss()
        total.backward()
        if not torch.isfinite(total):
            raise RuntimeError("the loss is not finite: the two sides may not have done the same work")
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step

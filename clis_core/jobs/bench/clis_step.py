"""The step of CLIS against that of its baseline with specialised heads, by s and t: seconds and ratios out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from clis_core.batch import Batch, Companions, Losses, Mosaic, Patch, Target
from clis_core.config.load import Layer, preset_layer, resolve
from clis_core.config.pictures import PicturesConfig
from clis_core.data.mosaic import compose, draw_picture
from clis_core.data.paste import cut_patch, draw_patch
from clis_core.detectors.build import build_detector
from clis_core.jobs.bench.timing import alternate, machine, medians, ratio
from clis_core.jobs.bench.train_step import CLASSES, HEIGHT, WIDTH, draw_batch
from clis_core.methods.build import Method, build_method
from clis_core.methods.clis import Clis

PICTURE = (375, 500)
PICTURES = 1_237_737
PAPER = {
    (0, 0): 0.249,
    (4, 0): 0.275,
    (8, 0): 0.296,
    (16, 0): 0.381,
    (32, 0): 0.416,
    (16, 1): 0.403,
    (16, 2): 0.479,
    (16, 4): 0.531,
}
"""Seconds a step on V100 GPUs by (s, t): CLIS, tables V and VI."""
SMALL = "small"
ROUNDS = 3
RATE = 0.0  # as in `train_step`

Step = Callable[[], object]


def run(scale: float = 1.0) -> dict[str, Any]:
    """Measure ResNet-50-FPN, 1,203 classes, one image of 800 x 1066, mosaics of 448, a full queue; forward to SGD.

    The baseline has the same detector and the same image. All variants alternate; those of the small presets (256
    pixels, four images a step, s = 8, t = 2) among themselves.

    Args:
        scale: multiplies the sides of images and mosaics.

    Returns:
        ``ours`` (s = 16, t = 2) and ``peer`` (the baseline) in seconds a step (medians), their ``ratio`` (peer over
        ours) and ``times``, ours over peer (median of pairs); ``cpu_times``: the same by CPU seconds of all threads,
        which tells more on a busy machine. ``by_s_and_t``: seconds, and times of the baseline by both clocks, beside
        the paper's. ``small``: times of the small presets. ``equal``: whether CLIS without pictures has the baseline's
        losses.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    size = (max(64, round(HEIGHT * scale)), max(64, round(WIDTH * scale)))
    mosaic = max(32, 2 * round(224 * scale))
    data = draw_batch(size, 1).to(device)
    baseline, method = methods_of("specialised-r50-1x", "clis-r50-1x", device, CLASSES)
    steps: dict[str, Step] = {"peer": stepper(baseline, data)}
    for s, t in PAPER:
        steps[_name(s, t)] = stepper(method, with_pictures(data, s, t, mosaic, CLASSES).to(device))
    equal = _same_losses(baseline, method, data)
    rounds = 20 if device.type == "cuda" else ROUNDS
    found = alternate(steps, rounds)
    del baseline, method, steps
    small = alternate(_small(device), rounds)
    chosen, wall, small_wall = _name(16, 2), medians(found.wall), medians(small.wall)
    rows = {
        _name(s, t): {
            "seconds": wall[_name(s, t)],
            "times": ratio(found.wall, _name(s, t), "peer"),
            "cpu_times": ratio(found.busy, _name(s, t), "peer"),
            "paper_seconds": seconds,
            "paper_times": seconds / PAPER[0, 0],
        }
        for (s, t), seconds in PAPER.items()
    }
    return {
        "name": "clis-step",
        "ours": wall[chosen],
        "peer": wall["peer"],
        "ratio": 1 / ratio(found.wall, chosen, "peer"),
        "times": ratio(found.wall, chosen, "peer"),
        "cpu_times": ratio(found.busy, chosen, "peer"),
        "equal": equal,
        "unit": "seconds a step",
        "by_s_and_t": rows,
        "small": {
            "ours": small_wall[SMALL],
            "peer": small_wall["peer"],
            "times": ratio(small.wall, SMALL, "peer"),
            "cpu_times": ratio(small.busy, SMALL, "peer"),
        },
        "image_size": list(size),
        "mosaic": mosaic,
        **machine(device),
    }


def _name(s: int, t: int) -> str:
    return f"s={s} t={t}"


def methods_of(baseline: str, clis: str, device: torch.device, classes: int) -> tuple[Method, Method]:
    """The methods of two presets, each with a detector of the same random weights; CLIS with a full queue."""
    methods = []
    for name in (baseline, clis):
        torch.manual_seed(0)
        untrained = {"detector": {"backbone": {"init": "none", "norm": "frozen"}}}
        config = resolve([preset_layer(name), Layer("bench", untrained)])
        detector = build_detector(config.detector, classes).to(memory_format=torch.channels_last)
        methods.append(build_method(config.method, detector, PICTURES).to(device).train())
    assert isinstance(methods[1], Clis)
    queue = methods[1].queue
    queue.keys.copy_(torch.nn.functional.normalize(torch.randn_like(queue.keys), dim=1))
    queue.count.fill_(len(queue.keys))
    return methods[0], methods[1]


def _small(device: torch.device) -> dict[str, Step]:
    """The steps of specialised-small and clis-small; the weights are random."""
    classes, data = 71, draw_batch((256, 256), 4).to(device)
    data = Batch(data.images, [Target(t.boxes, t.labels % classes + 1) for t in data.targets], data.names)
    baseline, method = methods_of("specialised-small", "clis-small", device, classes)
    pictured = with_pictures(data, 8, 2, 192, classes).to(device)
    return {"peer": stepper(baseline, data), SMALL: stepper(method, pictured)}


def with_pictures(data: Batch, s: int, t: int, mosaic: int, classes: int) -> Batch:
    """The batch with mosaics and patches, placed as the loader places them; regions of half to all of a picture."""
    config = PicturesConfig(s=s, t=t, mosaic=mosaic)
    random = np.random.default_rng(0)
    companions, targets = [], []
    for number, (image, target) in enumerate(zip(data.images, data.targets, strict=True)):
        pictures, regions, drawn, labels = [], [], [], []
        for place in range(number * s, (number + 1) * s):
            pictures.append(torch.from_numpy(random.integers(0, 256, (*PICTURE, 3), np.uint8)).permute(2, 0, 1))
            sides = random.uniform(0.5, 1, 2)
            low = random.uniform(0, 1, 2) * (1 - sides)
            regions.append(np.concatenate([low, low + sides]).astype(np.float32))
            labels.append(int(random.integers(1, classes + 1)))
            drawn.append(draw_picture(0, place, PICTURE, regions[-1], config))
        mosaics = []
        for i in range(0, s, 4):
            pixels, boxes = compose(pictures[i : i + 4], drawn[i : i + 4], mosaic)
            mosaics.append(Mosaic(pixels, torch.from_numpy(boxes), torch.tensor(labels[i : i + 4])))
        patches: list[Patch] = []
        for i in range(t):
            how = draw_patch(0, number * s + i, image.size, config.paste)
            patches.append(cut_patch(how, pictures[i], regions[i], labels[i], i, image.size))
        companions.append(Companions(mosaics, patches))
        extra = torch.stack([p.box for p in patches]) if patches else torch.zeros((0, 4))
        more = torch.tensor([p.label for p in patches], dtype=torch.int64)
        whole = Target(torch.cat((target.boxes.cpu(), extra)), torch.cat((target.labels.cpu(), more)))
        targets.append(whole._replace(masks=target.masks and target.masks.extended(len(extra))))
    return Batch(data.images, targets, data.names, companions)


def stepper(method: Method, data: Batch) -> Step:
    """A training step of a method, from the batch to `after_step`."""
    parameters = [p for p in method.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(parameters, lr=RATE, momentum=0.9, weight_decay=1e-4)

    def step() -> None:
        total = torch.stack(list(method(data).values())).sum()
        total.backward()  # type: ignore[no-untyped-call]
        if not torch.isfinite(total):
            raise RuntimeError("the loss is not finite: the two sides may not have done the same work")
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        method.after_step()

    return step


def _same_losses(baseline: Method, method: Method, data: Batch) -> bool:
    """Whether the detection losses are the same where there is no picture."""
    found: list[Losses] = []
    for each in (baseline, method):
        torch.manual_seed(0)
        with torch.no_grad():
            found.append(each(data))
    return all(torch.allclose(value, found[1][name], rtol=1e-5) for name, value in found[0].items())

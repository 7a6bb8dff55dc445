"""The queue of the contrast: a step's loss and its new keys, against the plain way, in seconds; memory out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from clis_core.jobs.bench.clis_step import methods_of, stepper, with_pictures
from clis_core.jobs.bench.timing import alternate, machine, medians, ratio
from clis_core.jobs.bench.train_step import CLASSES, HEIGHT, WIDTH, draw_batch
from clis_core.losses.contrast import contrastive_loss
from clis_core.methods.momentum import KeyQueue

SIZE, FEATURES, TAU = 115_712, 128, 0.2
PAIRS = (2, 32, 64)
ROUNDS = 20
STEPS = 2


def run(scale: float = 1.0) -> dict[str, Any]:
    """Measure loss, backward and pushing 2 P keys, for a full queue of 115,712 keys of 128 features.

    The plain way is MoCo's (He et al. 2020): logits of a copy of the queue put beside the positive ones, cross entropy.

    Args:
        scale: multiplies the keys of the queue, and the image's sides of the step.

    Returns:
        For P = 2, a step's of one image: ``ours`` and ``peer`` in seconds (medians, interleaved) and their ``ratio``;
        ``share``: ours as a part of a whole CLIS step (s = 16, t = 2, ResNet-50-FPN, 800 x 1066). ``by_pairs``: the
        same for each P, and the MB that are kept from the loss to its backward pass beside the queue. ``queue_mb``:
        of the queue itself. ``equal``: whether both losses and their gradients are the same.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    size = max(64, round(SIZE * scale))
    queue = KeyQueue(size, FEATURES).to(device)
    generator = torch.Generator().manual_seed(0)
    keys = F.normalize(torch.randn(size, FEATURES, generator=generator), dim=1)
    queue.push(keys.to(device), torch.ones(size, dtype=torch.int64, device=device))
    rows: dict[str, dict[str, float]] = {}
    equal = True
    for pairs in PAIRS:
        views = F.normalize(torch.randn(2, pairs, FEATURES, generator=generator), dim=2).to(device)
        ours = _call(queue, views, lambda f_i, f_d: contrastive_loss(f_i, f_d, queue.held()[0], TAU))
        peer = _call(queue, views, partial(_plain, queue))
        a, b = ours(), peer()
        equal &= all(torch.allclose(x, y, rtol=1e-4, atol=1e-6) for x, y in zip(a, b, strict=True))
        seconds = alternate({"ours": ours, "peer": peer}, ROUNDS, warm_up=0).wall
        rows[f"P={pairs}"] = {
            **medians(seconds),
            "ratio": ratio(seconds, "peer", "ours"),
            "kept_mb": _kept(queue, views) / 1e6,
        }
    step = _step_seconds(scale, device)
    first = rows[f"P={PAIRS[0]}"]
    return {
        "name": "queue",
        "ours": first["ours"],
        "peer": first["peer"],
        "ratio": first["ratio"],
        "equal": equal,
        "unit": "seconds",
        "share": first["ours"] / step,
        "step": step,
        "by_pairs": rows,
        "queue_mb": sum(buffer.nbytes for buffer in queue.buffers()) / 1e6,
        "keys": size,
        **machine(device),
    }


Call = Callable[[], tuple[Tensor, ...]]


def _call(queue: KeyQueue, views: Tensor, loss_of: Callable[[Tensor, Tensor], Tensor]) -> Call:
    """Loss, backward and the new keys; gives the loss and the gradients of both views."""

    def call() -> tuple[Tensor, ...]:
        f_i, f_d = (view.clone().requires_grad_() for view in views)
        loss = loss_of(f_i, f_d)
        loss.backward()  # type: ignore[no-untyped-call]
        assert f_i.grad is not None
        assert f_d.grad is not None
        _push(queue, views)
        return loss.detach(), f_i.grad, f_d.grad

    return call


def _plain(queue: KeyQueue, f_i: Tensor, f_d: Tensor) -> Tensor:
    positive = torch.einsum("nc,nc->n", f_i, f_d)[:, None]
    negative = torch.einsum("nc,ck->nk", f_i, queue.keys.clone().T)
    logits = torch.cat((positive, negative), dim=1) / TAU
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64, device=logits.device))


def _push(queue: KeyQueue, views: Tensor) -> None:
    """The keys of both views; those that were there, so that the queue of both sides stays the same."""
    count = 2 * views.shape[1]
    place = (int(queue.pointer) + torch.arange(count, device=views.device)) % len(queue.keys)
    queue.push(queue.keys[place], queue.labels[place])


def _kept(queue: KeyQueue, views: Tensor) -> int:
    """Bytes that autograd keeps for the backward pass, beside the queue."""
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    f_i, f_d = (view.clone().requires_grad_() for view in views)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = contrastive_loss(f_i, f_d, queue.held()[0], TAU)
    kept.pop(queue.keys.untyped_storage().data_ptr(), None)
    assert loss.requires_grad  # what it keeps is still alive
    return sum(kept.values())


def _step_seconds(scale: float, device: torch.device) -> float:
    """Of a whole CLIS step."""
    _, method = methods_of("specialised-r50-1x", "clis-r50-1x", device, CLASSES)
    data = draw_batch((max(64, round(HEIGHT * scale)), max(64, round(WIDTH * scale))), 1)
    step = stepper(method, with_pictures(data, 16, 2, max(32, 2 * round(224 * scale)), CLASSES).to(device))
    return medians(alternate({"step": step}, STEPS).wall)["step"]

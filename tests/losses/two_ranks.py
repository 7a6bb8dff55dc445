"""One process of several: it learns from its part of the regions, and writes statistics, values and gradients.

python -m torch.distributed.run --standalone --nproc_per_node 2 -m tests.losses.two_ranks FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import distributed

from clis_core.config.class_loss import EqualizedFocalLoss, EqualizedQualityFocalLoss
from clis_core.losses.build import build_class_loss, build_dense_loss
from tests.losses.some import LOSSES, regions, some_counts

PARTS = ((0, 7), (7, 24))
"""Regions of rank 0 and of rank 1: unequal, and with unequal shares of each class."""
STEPS = 3
DENSE = {"efl": EqualizedFocalLoss(), "eqfl": EqualizedQualityFocalLoss()}


def learn(part: slice, world: int) -> dict[str, dict[str, torch.Tensor]]:
    """What every loss gives for a part of the regions."""
    found = {}
    for name in (*LOSSES, *DENSE):
        dense = name in DENSE
        loss = build_dense_loss(DENSE[name], 5) if dense else build_class_loss(LOSSES[name], 5, some_counts())
        loss.train()
        values, gradients = [], []
        for step in range(STEPS):
            torch.manual_seed(step)
            logits, labels = regions(loss, count=24, seed=step)
            quality = [torch.rand(24)[part]] if name == "eqfl" else []
            if step == 2:
                labels[:7] = 0  # rank 0 has no object at all
            whole = logits.requires_grad_()
            torch.manual_seed(100 + step)
            value = loss(whole[part], labels[part], *quality)
            pictures = loss(whole[part], labels[part].clamp(min=1), *quality, count=False)
            (gradient,) = torch.autograd.grad(value + pictures, whole)
            values.append(torch.stack((value, pictures)).detach() / world)
            gradients.append(gradient / world)
        state = {f"state.{k}": v for k, v in loss.state_dict().items()}
        found[name] = {"values": torch.stack(values), "gradients": torch.cat(gradients, dim=1), **state}
    return found


def main(folder: Path) -> None:
    """Learn from this rank's part."""
    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    found = learn(slice(*PARTS[rank]), distributed.get_world_size())
    torch.save(found, folder / f"{rank}.tmp")
    (folder / f"{rank}.tmp").rename(folder / f"{rank}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

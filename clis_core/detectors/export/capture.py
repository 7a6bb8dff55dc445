"""A graph module in, the program that torch captured of it out: for frames and batches as the record says."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from clis_core.detectors.export.about import LARGEST, SMALLEST, STEP, About
from clis_core.detectors.fixed import FixedDetector
from clis_core.errors import ConfigError

LARGEST_BATCH = 1024
# Unequal and not 1, so that nothing is taken for a constant.
_EXAMPLE_BATCH, _EXAMPLE_FRAME = 2, (192, 256)


class _Plain(nn.Module):
    """The outputs as a plain tuple, which needs no class of ours to be loaded."""

    def __init__(self, graph: FixedDetector) -> None:
        super().__init__()
        self.detector = graph  # "graph" is taken in what torch makes of it

    def forward(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, ...]:
        return tuple(x for x in self.detector(images, sizes) if x is not None)


def capture(graph: FixedDetector, about: About) -> ExportedProgram:
    """Capture the graph.

    Args:
        graph: on the CPU.
        about: its frame and batch are fixed, or open where they are None.

    Raises:
        ConfigError: torch cannot capture this detector with an open frame or batch.
    """
    frame, batch = about.frame or _EXAMPLE_FRAME, about.batch or _EXAMPLE_BATCH
    images = torch.zeros(batch, 3, *frame, dtype=torch.uint8)
    sizes = torch.tensor([frame] * batch)
    count = Dim("batch", min=1, max=LARGEST_BATCH)
    rows = {} if about.batch else {0: count}
    sides = (Dim(name, min=SMALLEST // STEP, max=LARGEST // STEP) for name in ("rows", "columns"))
    steps = {} if about.frame else {axis: STEP * side for axis, side in zip((2, 3), sides, strict=True)}
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of deprecations within torch and torchvision
            program = torch.export.export(
                _Plain(graph).eval(), (images, sizes), dynamic_shapes=({**rows, **steps}, rows), strict=False
            )
    except Exception as error:
        if about.frame and about.batch:
            hint = "pip install --upgrade torch; or export the weights alone: --format safetensors"
        else:
            hint = "Fix the frame and the batch: --size 800x1344 --batch 1"
        reason = next((line for line in str(error).splitlines() if line.strip()), "")
        raise ConfigError(
            f"torch could not capture this detector ({type(error).__name__}: {reason.strip()}).", hint=hint
        ) from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it names this machine's files
    return program

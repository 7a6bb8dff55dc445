"""A detector in, a PT2 file (a program of torch.export) out; and a PT2 file in, a function that runs it out."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
import torchvision.ops  # noqa: F401  (registers the NMS that the program calls)
from torch import Tensor

from clis_core.detectors.build import Detector
from clis_core.detectors.export import about as about_file
from clis_core.detectors.export.about import About
from clis_core.detectors.export.capture import capture
from clis_core.detectors.export.pt2_check import check_pt2
from clis_core.detectors.fixed import FixedDetections, FixedDetector, Run, TorchKernels
from clis_core.errors import CheckpointError
from clis_core.files import replacing

EXTRA = f"{about_file.KEY}.json"


def write_pt2(detector: Detector, about: About, path: Path) -> None:
    """Write a detector as one PT2 file, weights included.

    Arguments and results are those of `fixed.FixedDetector`; the record is the extra file ``clis.json``. The program
    takes one number of images, ``about.batch``.

    Raises:
        ConfigError: the detector cannot be captured as asked.
    """
    graph = FixedDetector(
        detector, about.candidates, TorchKernels(), nms=about.nms, half=about.precision == "fp16"
    ).cpu()
    program: Any = capture(graph.to(memory_format=torch.contiguous_format), about)
    program.example_inputs = None  # nobody needs them, and they are stored as a pickle
    with warnings.catch_warnings(), replacing(path) as temporary, temporary.open("wb") as file:
        warnings.simplefilter("ignore")  # of deprecations within torch
        torch.export.save(program, file, extra_files={EXTRA: about.to_json()})


def open_pt2(path: Path, device: torch.device) -> tuple[Run, About]:
    """Open a PT2 file that clis wrote; it is checked first, see `check_pt2`.

    Raises:
        CheckpointError: the file is missing, damaged, not one of clis, or holds what could execute code.
    """
    check_pt2(path)
    extra = {EXTRA: ""}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.load(path, extra_files=extra)
            if device.type != "cpu":
                from torch.export.passes import move_to_device_pass

                program = move_to_device_pass(program, device)
            module = program.module()
    except Exception as error:
        raise CheckpointError(
            f"{path}: damaged, or written by a torch that this one ({torch.__version__}) cannot read "
            f"({type(error).__name__}).",
            hint="Copy it again, or export it again: clis export RUN --format pt2 -o FILE",
        ) from error

    def run(images: Tensor, sizes: Tensor) -> FixedDetections:
        with torch.inference_mode():
            return FixedDetections(*(x.cpu() for x in module(images.to(device), sizes.to(device))))

    return run, about_file.from_json(extra[EXTRA], str(path))

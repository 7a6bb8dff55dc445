"""A file that holds a detector, in any form that clis writes, in; something that detects out."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from clis_core.batch import Detection
from clis_core.categories import Categories
from clis_core.config.detector import DetectorConfig
from clis_core.detectors.checkpoint import load_detector

EXPORTED = (".onnx", ".pt2", ".safetensors")
"""Suffixes of what `clis export` writes and `load_model` reads."""


class Model(Protocol):
    """What detects: a detector of this package, or an exported file that runs."""

    @property
    def config(self) -> DetectorConfig:
        """Its settings."""

    def __call__(self, images: list[Tensor], /) -> list[Detection]:
        """Images uint8 ``[3, h, w]`` of any size to one `Detection` each, in pixels of the image."""


class Loaded(NamedTuple):
    """A model with the classes that it knows.

    Attributes:
        model: in inference mode.
        categories: label i is ``categories[i - 1]``.
        step: training steps behind it.
    """

    model: Model
    categories: Categories
    step: int


def load_model(path: Path | str, device: torch.device | str = "cpu") -> Loaded:
    """Read a checkpoint (``.pt``) or an exported file (``.onnx``, ``.pt2``, ``.safetensors``) by its suffix.

    Raises:
        CheckpointError: the file is missing, damaged or not one of clis.
        ConfigError: a library that the format needs is not installed, or not for this device.
    """
    path, device = Path(path), torch.device(device)
    match path.suffix:
        case ".onnx":
            from clis_core.detectors.export.model import ExportedDetector
            from clis_core.detectors.export.onnx_file import open_onnx

            exported = ExportedDetector(*open_onnx(path, device))
        case ".pt2":
            from clis_core.detectors.export.model import ExportedDetector
            from clis_core.detectors.export.pt2_file import open_pt2

            exported = ExportedDetector(*open_pt2(path, device))
        case ".safetensors":
            from clis_core.detectors.export.weights_file import read_safetensors

            return Loaded(*read_safetensors(path, device))
        case _:
            return Loaded(*load_detector(path, device))
    return Loaded(exported, exported.categories, exported.about.step)

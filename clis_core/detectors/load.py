"""A file that holds a detector, in any form that clis writes, in; something that detects out."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import torch

from clis_core.categories import Categories
from clis_core.detectors.build import Detector
from clis_core.detectors.checkpoint import detector_from_checkpoint, fingerprint
from clis_core.detectors.export.model import ExportedDetector

Model = Detector | ExportedDetector
"""What detects: ``config``, and images uint8 ``[3, h, w]`` of any size to one `Detection` each."""


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


def identity(model: Model) -> dict[str, str]:
    """What tells one model from another: its weights, its form and where it runs."""
    if isinstance(model, ExportedDetector):
        return {"weights": hashlib.sha256(model.about.to_json().encode()).hexdigest(), "device": model.device.type}
    return {"weights": fingerprint(model.state_dict()), "device": next(model.parameters()).device.type}


def load_model(path: Path | str, device: torch.device | str = "cpu") -> Loaded:
    """Read a checkpoint (``.pt``) or an exported file (``.onnx``, ``.pt2``, ``.safetensors``) by its suffix.

    Raises:
        CheckpointError: the file is missing, damaged or not one of clis.
        ConfigError: a library that the format needs is not installed, or not for this device.
    """
    path, device = Path(path), torch.device(device)
    match path.suffix:
        case ".onnx":
            from clis_core.detectors.export.onnx_file import open_onnx

            exported = ExportedDetector(*open_onnx(path, device), device)
        case ".pt2":
            from clis_core.detectors.export.pt2_file import open_pt2

            exported = ExportedDetector(*open_pt2(path, device), device)
        case ".safetensors":
            from clis_core.detectors.export.weights_file import read_safetensors

            return Loaded(*read_safetensors(path, device))
        case _:
            return Loaded(*detector_from_checkpoint(path, device))
    return Loaded(exported, exported.categories, exported.about.step)

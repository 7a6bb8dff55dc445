"""A detector to a plain dictionary of tensors and text, and back: what every checkpoint holds at least."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from clis_core.categories import Categories
from clis_core.config.detector import DetectorConfig
from clis_core.detectors.build import Detector, build_detector
from clis_core.errors import CheckpointError

FORMAT = 1


class DamagedCheckpointError(CheckpointError):
    """A checkpoint that is not whole; an older one may be."""


class Shipped(NamedTuple):
    """A detector with the classes that it knows.

    Attributes:
        detector: in inference mode.
        categories: label i is ``categories[i - 1]``.
        step: training steps behind it.
    """

    detector: Detector
    categories: Categories
    step: int


def pack(detector: Detector, state: dict[str, torch.Tensor], categories: Categories, step: int) -> dict[str, Any]:
    """What is needed to run a detector elsewhere.

    Args:
        detector: gives the config.
        state: its weights, or averaged ones.
        categories: its classes.
        step: training steps behind it.
    """
    return {
        "format": FORMAT,
        "step": step,
        "detector_config": detector.config.model_dump_json(),
        "categories": json.dumps(categories.to_records()),
        "detector": state,
    }


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's dictionary, on the CPU; nothing in the file is executed.

    Raises:
        DamagedCheckpointError: the file is not whole.
        CheckpointError: it is missing, not a checkpoint of clis, or of a newer format.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint.", hint="A run's checkpoints are in its checkpoints folder.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: not a checkpoint of clis; loading it would execute code from it.",
            hint="To start a training from weights of another program, save its tensors alone and use --init FILE.",
        ) from error
    except (OSError, MemoryError) as error:
        raise CheckpointError(
            f"{path}: the checkpoint cannot be read: {error}", hint="Mend the disk or free memory, and try again."
        ) from error
    except Exception as error:
        raise DamagedCheckpointError(
            f"{path}: the checkpoint is damaged ({type(error).__name__}).",
            hint="Use an older one of the run's checkpoints: --checkpoint FILE",
        ) from error
    if not isinstance(content, dict) or not {"format", "step", "detector_config", "detector"} <= content.keys():
        raise CheckpointError(
            f"{path}: not a checkpoint of clis.",
            hint="To start a training from other weights, use --init FILE.",
        )
    if content["format"] != FORMAT:
        raise CheckpointError(
            f"{path}: checkpoint format {content['format']}, but this clis reads {FORMAT}.",
            hint="pip install --upgrade clis",
        )
    return content


def unpack(content: dict[str, Any], path: Path, device: torch.device | str = "cpu") -> Shipped:
    """The detector of a checkpoint, averaged weights if it has them.

    Raises:
        CheckpointError: its parts do not fit together.
    """
    try:
        config = TypeAdapter(DetectorConfig).validate_json(content["detector_config"])
        categories = Categories.from_records(json.loads(content["categories"]))
    except (ValidationError, ValueError, TypeError, KeyError) as error:
        raise DamagedCheckpointError(
            f"{path}: the checkpoint's description cannot be read: {error}",
            hint="Use an older one of the run's checkpoints: --checkpoint FILE",
        ) from error
    detector = build_detector(without_first_weights(config), len(categories))
    detector.config = config
    load_state(detector, content.get("ema") or content["detector"], path)
    detector = detector.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    return Shipped(detector, categories, int(content["step"]))


def without_first_weights(config: DetectorConfig) -> DetectorConfig:
    """The same detector with random first weights, for where a checkpoint's follow."""
    return config.model_copy(update={"backbone": config.backbone.model_copy(update={"init": "none"})})


def load_detector(path: Path | str, device: torch.device | str = "cpu") -> Shipped:
    """Read a detector from a checkpoint file.

    Raises:
        CheckpointError: the file is missing, damaged or not a checkpoint of clis.
    """
    path = Path(path)
    return unpack(read_checkpoint(path), path, device)


def fingerprint(state: dict[str, torch.Tensor]) -> str:
    """SHA-256 of weights by name: the same for the same weights, wherever and however they are stored."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).clone().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def load_state(module: nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    """Load a module's weights strictly.

    Raises:
        CheckpointError: names or shapes do not fit.
    """
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise CheckpointError(
            f"{path}: the weights do not fit the model: {first}",
            hint="The run was trained with another config or other classes: see its config.toml.",
        ) from error

"""A detector in, a safetensors file of its weights out; and back."""

from __future__ import annotations

from pathlib import Path

import torch

from clis_core.detectors.build import Detector, build_detector
from clis_core.detectors.checkpoint import Shipped, load_state
from clis_core.detectors.export import about as about_file
from clis_core.detectors.export.about import About
from clis_core.errors import CheckpointError, ConfigError
from clis_core.files import replacing

INSTALL = "pip install 'clis[onnx]', or pip install safetensors"


def write_safetensors(detector: Detector, about: About, path: Path) -> None:
    """Write a detector's weights, without anything that only training needs; the record is in the metadata.

    Raises:
        ConfigError: the library is not installed.
    """
    try:
        from safetensors.torch import save
    except ImportError as error:
        raise ConfigError("Writing safetensors needs a library that is not installed.", hint=INSTALL) from error
    kind = torch.float16 if about.precision == "fp16" else torch.float32
    state = {
        name: tensor.detach().cpu().to(kind if _is_weight(name, tensor) else tensor.dtype).contiguous().clone()
        for name, tensor in detector.state_dict().items()
    }
    with replacing(path) as temporary:
        temporary.write_bytes(save(state, metadata={"format": "pt", about_file.KEY: about.to_json()}))


def _is_weight(name: str, tensor: torch.Tensor) -> bool:
    """Statistics of a class loss are sums beyond what float16 reaches."""
    return tensor.is_floating_point() and ".class_loss." not in name


def read_safetensors(path: Path, device: torch.device | str = "cpu") -> Shipped:
    """The detector of a safetensors file that clis wrote, in inference mode.

    Raises:
        CheckpointError: the file is missing, damaged, or not one of clis.
        ConfigError: the library is not installed.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file.", hint="Make one: clis export RUN --format safetensors -o FILE")
    try:
        from safetensors import safe_open
    except ImportError as error:
        raise ConfigError(f"{path}: reading it needs a library that is not installed.", hint=INSTALL) from error
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(about_file.KEY)
            state = {name: file.get_tensor(name) for name in file.keys()} if text else {}  # noqa: SIM118
    except Exception as error:
        raise CheckpointError(
            f"{path}: damaged, or not a safetensors file ({type(error).__name__}).",
            hint="Copy it again, or export it again: clis export RUN --format safetensors -o FILE",
        ) from error
    if text is None:
        raise CheckpointError(
            f"{path}: weights of another program, without a description of the detector.",
            hint="To start a training from a backbone's weights: --set detector.backbone.init=FILE",
        )
    about = about_file.from_json(text, str(path))
    detector = build_detector(about.config, len(about.categories))
    load_state(detector, {name: tensor.float() for name, tensor in state.items()}, path)
    detector = detector.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    return Shipped(detector, about.categories, about.step)

"""Weight files in, state dictionaries out; pickles are never executed."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clis_core.errors import CheckpointError

BACKBONE = "backbone.pt"
"""In the run folder of `clis pretrain`: the weights that detectors start from."""
CLASSIFIERS = ("classifier.", "fc.", "head.")
"""How the names of a classification network's last layers begin."""
WRAPPERS = ("state_dict", "model", "module", "model_state_dict", "network")


def read_state(path: Path) -> dict[str, Tensor]:
    """A state dictionary from a ``.pth``/``.pt`` or ``.safetensors`` file, or from the run of a pre-training.

    Common wrappings (``{"state_dict": ...}``, keys that all start with ``module.``) are taken off.

    Raises:
        CheckpointError: the file is missing, damaged, holds no tensors, or would have to execute code to load.
    """
    path = path / BACKBONE if path.is_dir() else path
    if not path.is_file():
        raise CheckpointError(f"{path}: no such weight file.", hint="Give the path of a .pth or .safetensors file.")
    loaded: Any
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            loaded = load_file(path)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except ImportError as error:
        raise CheckpointError(
            f"{path}: reading .safetensors needs a library that is not installed.",
            hint="pip install safetensors",
        ) from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: the file is not a plain file of tensors, and loading it would execute code from it.",
            hint="Save only tensors: torch.save(model.state_dict(), FILE).",
        ) from error
    except Exception as error:
        raise CheckpointError(
            f"{path}: damaged or not a weight file ({type(error).__name__}: {error}).",
            hint="Download or copy it again.",
        ) from error
    for key in WRAPPERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not any(isinstance(v, Tensor) for v in loaded.values()):
        raise CheckpointError(
            f"{path}: holds no tensors by name.",
            hint="A state dictionary is expected: torch.save(model.state_dict(), FILE).",
        )
    state = {str(k): v for k, v in loaded.items() if isinstance(v, Tensor)}
    while all(k.startswith("module.") for k in state):
        state = {k.removeprefix("module."): v for k, v in state.items()}
    return state


def load_backbone_state(network: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Load a classification network's weights, without its classifier.

    Args:
        network: the network, in torchvision's or timm's own layout.
        state: names as in that layout; a common prefix such as ``backbone.`` is taken off.
        source: what to call the weights in a message.

    Raises:
        CheckpointError: a tensor of the encoder is missing or has another shape.
    """
    own = network.state_dict()
    wanted = {k for k in own if not k.startswith(CLASSIFIERS) and not k.endswith("num_batches_tracked")}
    for prefix in ("backbone.", "backbone.body.", "encoder."):
        if not wanted & state.keys() and any(k.removeprefix(prefix) in wanted for k in state):
            state = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    missing = sorted(wanted - state.keys())
    if missing:
        have = ", ".join(sorted(state)[:3])
        raise CheckpointError(
            f"{source}: lacks {len(missing)} of the backbone's {len(wanted)} tensors, such as {missing[0]!r} "
            f"(it has {have}, ...).",
            hint="Are these weights of another backbone? Set detector.backbone.name to match.",
        )
    for key in sorted(wanted):
        if state[key].shape != own[key].shape:
            raise CheckpointError(
                f"{source}: {key!r} has shape {list(state[key].shape)}, but the backbone's has {list(own[key].shape)}.",
                hint="Are these weights of another backbone? Set detector.backbone.name to match.",
            )
    network.load_state_dict({k: state[k] for k in wanted}, strict=False)

"""A detector to a plain dictionary of tensors and text, and back: what every checkpoint holds at least."""

from __future__ import annotations

import hashlib
import json
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from clis_core.categories import Categories
from clis_core.config.detector import DetectorConfig
from clis_core.detectors.build import Detector, build_detector
from clis_core.errors import CheckpointError, DataError, format_hint
from clis_core.files import check_stored

FORMAT = 1
HASH = "sha256"
"""Where a checkpoint has the `content_hash` of all the rest; those of older versions have none."""

_OLDER = "Use an older one of the run's checkpoints: --checkpoint FILE"
_NEEDED = {"format", "step", "detector_config", "categories", "detector"}
_DEEPEST = 32  # tables in tables
_MOST_VALUES = 2_000_000
_PICKLE = b"\x80"  # what pickles start with; torch packs them into an archive


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
        with path.open("rb") as file:
            if file.read(1) == _PICKLE:
                raise pickle.UnpicklingError("a pickle as it is")
        check_archive(path)
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
            hint=_OLDER,
        ) from error
    if not isinstance(content, dict) or not content.keys() >= _NEEDED:
        raise CheckpointError(
            f"{path}: not a checkpoint of clis.",
            hint="To start a training from other weights, use --init FILE.",
        )
    if content["format"] != FORMAT:
        raise CheckpointError(
            f"{path}: checkpoint format {content['format']}, but this clis reads {FORMAT}.",
            hint=format_hint(content["format"], FORMAT),
        )
    if not isinstance(content["step"], int):
        raise DamagedCheckpointError(f"{path}: the checkpoint is damaged: its step is no number.", hint=_OLDER)
    if HASH in content and content[HASH] != _hash_or_none(content):
        raise DamagedCheckpointError(
            f"{path}: the checkpoint is damaged: its content is not what was written.", hint=_OLDER
        )
    return content


def unpack(content: dict[str, Any], path: Path, device: torch.device | str = "cpu") -> Shipped:
    """The detector of a checkpoint, averaged weights if it has them.

    Raises:
        CheckpointError: its parts do not fit together.
    """
    config, categories = config_of(content, path), categories_of(content, path)
    detector = build_detector(without_first_weights(config), len(categories))
    detector.config = config
    load_state(detector, content.get("ema") or content["detector"], path)
    detector = detector.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    return Shipped(detector, categories, int(content["step"]))


def config_of(content: dict[str, Any], path: Path) -> DetectorConfig:
    """The detector's settings of a checkpoint.

    Raises:
        DamagedCheckpointError: they cannot be read.
    """
    try:
        config: DetectorConfig = TypeAdapter(DetectorConfig).validate_json(content["detector_config"])
    except (ValidationError, ValueError, TypeError, RecursionError) as error:
        raise _unreadable(path, error) from error
    return config


def categories_of(content: dict[str, Any], path: Path) -> Categories:
    """The classes of a checkpoint.

    Raises:
        DamagedCheckpointError: they cannot be read.
    """
    try:
        categories = Categories.from_records(json.loads(content["categories"]))
    except (DataError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _unreadable(path, error) from error
    return categories


def _unreadable(path: Path, error: Exception) -> DamagedCheckpointError:
    return DamagedCheckpointError(f"{path}: the checkpoint's description cannot be read: {error}", hint=_OLDER)


def without_first_weights(config: DetectorConfig) -> DetectorConfig:
    """The same detector with random first weights, for where a checkpoint's follow."""
    return config.model_copy(update={"backbone": config.backbone.model_copy(update={"init": "none"})})


def detector_from_checkpoint(path: Path | str, device: torch.device | str = "cpu") -> Shipped:
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


def content_hash(content: dict[str, Any]) -> str:
    """SHA-256 of a checkpoint's values, in their order, without the hash itself.

    torch's files have sums of their own, but it does not look at them.

    Raises:
        ValueError: something that a checkpoint does not hold.
    """
    digest = hashlib.sha256()
    for piece in _pieces({key: value for key, value in content.items() if key != HASH}):
        digest.update(piece)
    return digest.hexdigest()


def check_archive(path: Path) -> None:
    """Check that a file of torch's can be loaded in about the memory of its size.

    Raises:
        OSError: it cannot be read.
        ValueError, zipfile.BadZipFile: it is no such file, or unpacks to more than it is.
    """
    with zipfile.ZipFile(path) as archive:
        check_stored(archive, path.stat().st_size)
        for entry in archive.infolist():
            if entry.filename.endswith(".pkl"):
                archive.read(entry)  # looks at its sum: a damaged pickle is not taken for a malicious one


def check_tensor(tensor: torch.Tensor) -> None:
    """Check that a tensor is as large as its memory says, and no view that repeats it.

    Raises:
        ValueError: it is not.
    """
    if tensor.layout != torch.strided or tensor.device.type == "meta":
        raise ValueError("a tensor that is not held in memory as it is")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ValueError("a tensor that is larger than its memory")


def _hash_or_none(content: dict[str, Any]) -> str | None:
    try:
        return content_hash(content)
    except (ValueError, RuntimeError, OverflowError):
        return None


def _pieces(value: Any, depth: int = 0, budget: list[int] | None = None) -> Iterator[bytes | memoryview]:
    """The bytes that a hash is made of: types, lengths and values."""
    budget = [_MOST_VALUES] if budget is None else budget
    budget[0] -= 1
    if depth > _DEEPEST or budget[0] < 0:
        raise ValueError("too many values in each other")
    if isinstance(value, torch.Tensor):
        check_tensor(value)
        yield f"tensor {value.dtype} {tuple(value.shape)}\n".encode()
        flat = value.detach().cpu().contiguous().reshape(-1)
        yield flat.view(torch.uint8).numpy().data
    elif isinstance(value, dict):
        yield f"dict {len(value)}\n".encode()
        for key, item in value.items():
            yield from _pieces(key, depth + 1, budget)
            yield from _pieces(item, depth + 1, budget)
    elif isinstance(value, (list, tuple)):
        yield f"{'list' if isinstance(value, list) else 'tuple'} {len(value)}\n".encode()
        for item in value:
            yield from _pieces(item, depth + 1, budget)
    elif value is None or isinstance(value, (bool, int, float, str)):
        text = repr(value).encode(errors="surrogatepass")
        yield f"{type(value).__name__} {len(text)}\n".encode()
        yield text
    else:
        raise ValueError(f"a {type(value).__name__}")


def load_state(module: nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    """Load a module's weights strictly.

    Raises:
        CheckpointError: names or shapes do not fit.
    """
    try:
        module.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise CheckpointError(
            f"{path}: the weights do not fit the model: {first}",
            hint="The run was trained with another config or other classes: see its config.toml.",
        ) from error

"""A run, a checkpoint or a file of `clis export` in; a detector for pictures of many kinds out.

    from clis_core.jobs.inference import load_detector

    detector = load_detector("runs/first")
    found = detector("photo.jpg", threshold=0.3)

K detections of a picture, C classes. Boxes are xyxy in pixels of the upright picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from clis_core.batch import Detection
from clis_core.categories import Categories, Category
from clis_core.config.workspace import is_run
from clis_core.data.decode import read_image
from clis_core.data.mask_paste import rle_of_mask
from clis_core.data.segmentation import Rle
from clis_core.detectors.checkpoint import fingerprint
from clis_core.detectors.export.model import ExportedDetector
from clis_core.detectors.load import Loaded, Model, load_model
from clis_core.errors import CheckpointError, ConfigError, DataError
from clis_core.jobs.device import open_device
from clis_core.jobs.evaluate import find_checkpoint

Picture = str | Path | Image.Image | NDArray[np.uint8] | Tensor
"""A path; a Pillow image; an array uint8 ``[h, w, 3]``; a tensor uint8 ``[3, h, w]``. RGB."""
BATCH = 8
_KINDS = "a path, a Pillow image, an array uint8 [h, w, 3] or a tensor uint8 [3, h, w]"


@dataclass(frozen=True, eq=False)
class NamedDetections:
    """What was found in one picture, best first.

    Attributes:
        boxes: float32 ``[K, 4]``, xyxy, pixels of the picture.
        labels: int64 ``[K]``, 1..C; label i is ``categories[i - 1]``.
        scores: float32 ``[K]``, 0..1.
        categories: the classes that the detector knows.
        size: (height, width) of the picture, pixels.
        masks: float32 ``[K, S, S]``, 0..1, stretched over the boxes; None of a detector without a mask head.
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor
    categories: Categories
    size: tuple[int, int]
    masks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def classes(self) -> list[Category]:
        """The class of each detection."""
        return [self.categories[label - 1] for label in self.labels.tolist()]

    @property
    def names(self) -> list[str]:
        """The name of the class of each detection."""
        return [c.name for c in self.classes]

    def above(self, threshold: float) -> NamedDetections:
        """Those with a score of ``threshold`` and more."""
        keep = self.scores >= threshold
        masks = None if self.masks is None else self.masks[keep]
        return replace(self, boxes=self.boxes[keep], labels=self.labels[keep], scores=self.scores[keep], masks=masks)

    def rles(self) -> list[Rle] | None:
        """The masks in pixels of the picture, as pycocotools has them; None without masks."""
        if self.masks is None:
            return None
        pairs = zip(self.masks.numpy(), self.boxes.numpy(), strict=True)
        return [rle_of_mask(mask, box, self.size) for mask, box in pairs]


class NamedDetector:
    """A detector that takes pictures as they come, and names what it finds.

    Args:
        loaded: the model with its classes.
        path: the file that it came from.

    Attributes:
        model: works on uint8 ``[3, h, w]``.
        categories: label i is ``categories[i - 1]``.
        step: training steps behind it.
        path: likewise.
    """

    def __init__(self, loaded: Loaded, path: Path) -> None:
        self.model: Model = loaded.model
        self.categories = loaded.categories
        self.step = loaded.step
        self.path = path

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a text is a path, not a list of letters
        self, images: Picture, *, threshold: float = 0.0, batch: int = BATCH
    ) -> NamedDetections: ...
    @overload
    def __call__(
        self, images: Sequence[Picture], *, threshold: float = 0.0, batch: int = BATCH
    ) -> list[NamedDetections]: ...
    def __call__(
        self, images: Picture | Sequence[Picture], *, threshold: float = 0.0, batch: int = BATCH
    ) -> NamedDetections | list[NamedDetections]:
        """Detect.

        Args:
            images: one picture, or a list of them. Files and Pillow images are turned upright by their EXIF data.
            threshold: leave out what scores less; the detector's own ``score_threshold`` is applied in any case.
            batch: pictures that are decoded and go through the network at a time.

        Returns:
            Detections of one picture, or a list of them.

        Raises:
            DataError: a file cannot be read, or something is no such picture.
        """
        if isinstance(images, (str, Path, Image.Image, np.ndarray, Tensor)) or not isinstance(images, Sequence):
            return self._some([to_tensor(images, "the picture")], threshold)[0]
        found: list[NamedDetections] = []
        for start in range(0, len(images), max(1, batch)):
            part = images[start : start + max(1, batch)]
            found += self._some([to_tensor(x, f"picture {start + n}") for n, x in enumerate(part)], threshold)
        return found

    def identity(self) -> dict[str, Any]:
        """What tells this detector from others, for records."""
        model = self.model
        weights = model.about.weights if isinstance(model, ExportedDetector) else fingerprint(model.state_dict())
        return {"file": str(self.path), "step": self.step, "weights_sha256": weights}

    def _some(self, images: list[Tensor], threshold: float) -> list[NamedDetections]:
        with torch.inference_mode():
            results = self.model(images)
        return [
            self._named(found, (int(x.shape[-2]), int(x.shape[-1]))).above(threshold)
            for found, x in zip(results, images, strict=True)
        ]

    def _named(self, found: Detection, size: tuple[int, int]) -> NamedDetections:
        # Clones: tensors of inference mode cannot be worked on with gradients.
        boxes, labels, scores = (x.cpu().clone() for x in found[:3])
        masks = None if found.masks is None else found.masks.float().cpu().clone()
        return NamedDetections(boxes.float(), labels, scores.float(), self.categories, size, masks)


def load_detector(
    path: Path | str, device: str = "", *, checkpoint: str = "last", short_side: int | None = None
) -> NamedDetector:
    """Load a detector.

    Args:
        path: a run folder, a checkpoint (``.pt``), or a file of `clis export` (``.onnx``, ``.pt2``, ``.safetensors``).
        device: such as "cpu", "cuda", "cuda:1"; by default cuda where there is one, and the CPU for ``.onnx``.
        checkpoint: of a run folder: "last" or "best".
        short_side: resize pictures to this short side (pixels), in the place of the training's; the bound of the long
            side changes in proportion. Not for an exported graph with a fixed frame.

    Raises:
        CheckpointError: the file is missing, damaged or not one of clis.
        ConfigError: no such device, a library that the format needs is missing, or the frame is fixed.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        if not is_run(path):
            raise CheckpointError(
                f"{path}: a folder, but no run: there is no config.toml in it.", hint="Name a run folder or a file."
            )
        path = find_checkpoint(path, checkpoint)
    loaded = load_model(path, open_device("cpu" if path.suffix == ".onnx" and not device else device))
    if short_side is not None:
        _set_short_side(loaded.model, short_side, path)
    return NamedDetector(loaded, path)


def _set_short_side(model: Model, short_side: int, path: Path) -> None:
    if short_side < 1:
        raise ConfigError(f"A short side of {short_side} pixels is none.", hint="--short-side 480")
    long_side = max(short_side, round(short_side * model.config.long_side / model.config.short_side))
    config = model.config.model_copy(update={"short_side": short_side, "long_side": long_side})
    if not isinstance(model, ExportedDetector):
        model.config = config
    elif model.about.frame is None:
        model.about = replace(model.about, config=config)
    else:
        height, width = model.about.frame
        raise ConfigError(
            f"{path}: its frame is fixed to {height} x {width} pixels, so the short side cannot be changed.",
            hint="Leave --short-side away, or export it without --size: clis export RUN -o FILE",
        )


def to_tensor(image: Picture, name: str) -> Tensor:
    """A picture of any kind as uint8 ``[3, h, w]``, RGB, upright.

    Args:
        image: see `Picture`.
        name: what to call it in a message, if it has no path.

    Raises:
        DataError: the file cannot be read, or this is no such picture.
    """
    match image:
        case str() | Path():
            return read_image(Path(image))
        case Image.Image():
            return _of_pillow(image, name)
        case np.ndarray():
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
                raise _other(name, f"an array {image.dtype} {list(image.shape)}", image.dtype.kind == "f")
            return torch.from_numpy(np.array(image)).permute(2, 0, 1)
        case Tensor():
            if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3 or 0 in image.shape:
                kind = f"a tensor {str(image.dtype).removeprefix('torch.')} {list(image.shape)}"
                raise _other(name, kind, image.is_floating_point())
            return image
        case _:
            raise _other(name, f"of type {type(image).__name__}", False)


def _of_pillow(image: Image.Image, name: str) -> Tensor:
    if image.mode.startswith(("I", "F")):
        raise _other(name, f"a Pillow image of mode {image.mode}", False)
    upright = ImageOps.exif_transpose(image)
    rgba = upright.convert("RGBA") if upright.mode == "P" and "transparency" in upright.info else upright
    return torch.from_numpy(np.array(rgba.convert("RGB"))).permute(2, 0, 1)


def _other(name: str, what: str, floats: bool) -> DataError:
    hint = f"A picture is {_KINDS}."
    if floats:
        hint += " From 0..1: (255 * x).round().astype('uint8'), or (255 * x).round().to(torch.uint8)"
    elif "tensor" in what:
        hint += " From [h, w, 3]: x.permute(2, 0, 1); from a batch: list(x)"
    return DataError(f"{name[:1].upper()}{name[1:]} is {what}.", hint=hint)

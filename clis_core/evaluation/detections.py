"""What a detector found, image by image, in; arrays and a compact file out."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clis_core.data.segmentation import Rle
from clis_core.errors import NPY_DAMAGE, DataError
from clis_core.evaluation.rles import COLUMNS as MASKS
from clis_core.evaluation.rles import Rles
from clis_core.files import check_stored, replacing

SUFFIX = ".npz"
FORMAT = "clis-detections"
VERSION = 1
_DAMAGE = (
    *(OSError, KeyError, AttributeError, RuntimeError, zipfile.BadZipFile, zlib.error),
    *NPY_DAMAGE,
)
"""What numpy and zipfile raise for a damaged file, by where the damage is."""
_ARRAYS = ("image_ids", "category_ids", "boxes", "scores", "sizes")


@dataclass(frozen=True, eq=False)
class Detections:
    """K detections of a data set, in any order; equal scores keep theirs.

    Attributes:
        image_ids: int64 ``[K]``, as in the annotation file.
        category_ids: int32 ``[K]``, as in the annotation file (not the contiguous labels).
        boxes: ``[K, 4]``, xyxy, pixels of the original image; float32 from a detector, float64 from a file
            of somebody else's.
        scores: ``[K]``, float32 or float64.
        sizes: float64 ``[K, 2]``, width and height as a results file gave them, else None. They are kept
            because ``x + w - x`` is not ``w`` in floating point, and an IoU that ties with a threshold
            would fall on its other side.
        masks: the K masks; None of a detector of boxes.
        source: where messages say they come from: a file, or the detector.
        meta: what was stored with them: the fingerprint of the run that made them.

    Raises:
        ValueError: arrays of different lengths, of the wrong shape or of the wrong kind.
    """

    image_ids: NDArray[np.int64]
    category_ids: NDArray[np.int32]
    boxes: NDArray[np.floating[Any]]
    scores: NDArray[np.floating[Any]]
    sizes: NDArray[np.float64] | None = None
    masks: Rles | None = None
    source: str = "the detector"
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.image_ids)
        forms = {
            "image_ids": ((count,), "i"),
            "category_ids": ((count,), "i"),
            "boxes": ((count, 4), "f"),
            "scores": ((count,), "f"),
        }
        if self.sizes is not None:
            forms["sizes"] = ((count, 2), "f")
        if self.masks is not None and len(self.masks) != count:
            raise ValueError(f"{len(self.masks)} masks of {count} detections")
        for name, (shape, kind) in forms.items():
            array = getattr(self, name)
            if array.shape != shape or array.dtype.kind != kind:
                raise ValueError(f"{name} is {array.dtype} {list(array.shape)}, not {list(shape)} of kind {kind!r}")

    def __len__(self) -> int:
        return len(self.image_ids)

    def xywh(self, which: NDArray[Any] | slice = slice(None)) -> NDArray[np.float64]:
        """Boxes ``[k, 4]`` as COCO and LVIS write them, x, y, width, height; of ``which``, all without it."""
        boxes = self.boxes[which].astype(np.float64)
        boxes[:, 2:] = boxes[:, 2:] - boxes[:, :2] if self.sizes is None else self.sizes[which]
        return boxes

    def only(self, which: NDArray[np.bool_]) -> Detections:
        """Those that are marked in ``which``, bool ``[K]``, in their order."""
        return replace(
            self,
            image_ids=self.image_ids[which],
            category_ids=self.category_ids[which],
            boxes=self.boxes[which],
            scores=self.scores[which],
            sizes=None if self.sizes is None else self.sizes[which],
            masks=None if self.masks is None else self.masks.only(which),
        )

    def save(self, path: Path, *, meta: Mapping[str, Any] | None = None) -> None:
        """Write a compact file: an uncompressed npz of the arrays, `FORMAT`, `VERSION` and ``meta``.

        Args:
            path: ends in ``.npz``; it appears whole or not at all.
            meta: json-able, handed back by `load`; None stores ``self.meta``.
        """
        arrays = {name: getattr(self, name) for name in _ARRAYS if getattr(self, name) is not None}
        arrays |= mask_arrays(self.masks)
        arrays["header"] = header_array(self.meta if meta is None else meta)
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)

    @classmethod
    def load(cls, path: Path) -> Detections:
        """Read what `save` wrote.

        Raises:
            DataError: the file is missing, damaged, or of another format or a newer version.
        """
        hint = "Make it again with clis eval, or give a COCO results json."
        try:
            with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
                check_stored(file.zip, path.stat().st_size)
                header = json.loads(file["header"].tobytes())
                if header["format"] != FORMAT or header["version"] != VERSION:
                    raise DataError(
                        f"{path} holds {header['format']} version {header['version']}; "
                        f"this clis reads {FORMAT} version {VERSION}.",
                        hint=hint,
                    )
                arrays = {name: file[name] for name in _ARRAYS if name in file.files}
                columns = [file[name] for name in MASKS] if set(MASKS) <= set(file.files) else None
            masks = None if columns is None else Rles(*columns)
            return cls(**arrays, masks=masks, source=str(path), meta=header["meta"])
        except FileNotFoundError as error:
            raise DataError(f"There is no file {path}.", hint="Check the path.") from error
        except _DAMAGE as error:
            raise DataError(f"{path} is no whole file of detections: {error}.", hint=hint) from error


def mask_arrays(masks: Rles | None) -> dict[str, NDArray[Any]]:
    """The arrays of masks by their names in a file; none without masks."""
    return {} if masks is None else dict(zip(MASKS, (masks.sizes, masks.lengths, masks.text), strict=True))


def header_array(meta: Mapping[str, Any]) -> NDArray[np.uint8]:
    """What tells a file of detections from others, and ``meta``, as bytes."""
    return np.frombuffer(
        json.dumps({"format": FORMAT, "version": VERSION, "meta": dict(meta)}).encode(), dtype=np.uint8
    )


class DetectionBuilder:
    """Collects the detections of one image after another.

    Args:
        source: where messages will say they come from.
    """

    def __init__(self, source: str = "the detector") -> None:
        self._source = source
        self._image_ids: list[int] = []
        self._parts: list[tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]] = []
        self._masks: list[Rle] | None = None

    def add(
        self,
        image_id: int,
        category_ids: ArrayLike,
        boxes: ArrayLike,
        scores: ArrayLike,
        masks: Sequence[Rle] | None = None,
    ) -> None:
        """Add one image; an image without detections may be left out.

        Args:
            image_id: its id in the annotation file.
            category_ids: ``[k]``, ids of the annotation file.
            boxes: ``[k, 4]``, xyxy, pixels of the original image.
            scores: ``[k]``.
            masks: k of them, for all images or for none.
        """
        if masks is not None:
            self._masks = self._masks or []
            self._masks += masks
        self._image_ids.append(image_id)
        self._parts.append(
            (
                np.array(category_ids, dtype=np.int32).reshape(-1),
                np.array(boxes, dtype=np.float32).reshape(-1, 4),
                np.array(scores, dtype=np.float32).reshape(-1),
            )
        )

    def build(self) -> Detections:
        """All that was added, in that order."""
        nothing = (np.zeros(0, np.int32), np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
        columns = zip(nothing, *self._parts, strict=True)
        categories, boxes, scores = (np.concatenate(column) for column in columns)
        counts = [len(part[2]) for part in self._parts]
        return Detections(
            image_ids=np.repeat(np.array(self._image_ids, dtype=np.int64), counts),
            category_ids=categories,
            boxes=boxes,
            scores=scores,
            masks=None if self._masks is None else Rles.of(self._masks),
            source=self._source,
        )

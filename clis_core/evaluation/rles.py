"""The masks of detections as columns of numbers: what a file of detections and a selection of them need.

K masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clis_core.data.segmentation import Rle, runs_of

COLUMNS: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {
    "mask_sizes": (np.dtype(np.int32), (2,)),
    "mask_lengths": (np.dtype(np.int32), ()),
    "mask_text": (np.dtype(np.uint8), ()),
}
"""The arrays in a file, and the shape of their entries."""


@dataclass(frozen=True, eq=False)
class Rles:
    """Masks by COCO's run lengths.

    Attributes:
        sizes: int32 ``[K, 2]``, (height, width) of each one's image.
        lengths: int32 ``[K]``, characters of each.
        text: uint8 ``[sum of lengths]``, COCO's text of the run lengths, one mask after the other.

    Raises:
        ValueError: arrays that do not fit together.
    """

    sizes: NDArray[np.int32]
    lengths: NDArray[np.int32]
    text: NDArray[np.uint8]

    def __post_init__(self) -> None:
        arrays: dict[str, NDArray[Any]] = {
            "mask_sizes": self.sizes,
            "mask_lengths": self.lengths,
            "mask_text": self.text,
        }
        for name, (kind, entry) in COLUMNS.items():
            if arrays[name].dtype != kind or arrays[name].shape[1:] != entry or arrays[name].ndim != 1 + len(entry):
                raise ValueError(f"{name} is {arrays[name].dtype} {list(arrays[name].shape)}")
        few = len(self.lengths) and self.lengths.min() < 0
        if few or len(self.sizes) != len(self.lengths) or self.lengths.sum(dtype=np.int64) != len(self.text):
            raise ValueError("the masks' sizes, lengths and text do not fit together")

    def __len__(self) -> int:
        return len(self.lengths)

    @classmethod
    def of(cls, masks: Sequence[Rle]) -> Rles:
        """The masks of a list."""
        return cls(
            np.array([m["size"] for m in masks], np.int32).reshape(-1, 2),
            np.array([len(m["counts"]) for m in masks], np.int32),
            np.frombuffer(b"".join(m["counts"] for m in masks), np.uint8),
        )

    def only(self, which: NDArray[np.bool_]) -> Rles:
        """Those that are marked in ``which``, bool ``[K]``, in their order."""
        return Rles(self.sizes[which], self.lengths[which], self.text[np.repeat(which, self.lengths)])

    def joined(self, other: Rles) -> Rles:
        """These, then those of ``other``."""
        return Rles(
            np.concatenate([self.sizes, other.sizes]),
            np.concatenate([self.lengths, other.lengths]),
            np.concatenate([self.text, other.text]),
        )

    def empty(self) -> NDArray[np.bool_]:
        """Which cover nothing: bool ``[K]``. They have one run."""
        last = np.concatenate([[0], np.cumsum(((self.text - 48) & 32) == 0)])  # ends of numbers before each character
        ends = np.cumsum(self.lengths, dtype=np.int64)
        empty: NDArray[np.bool_] = last[ends] - last[ends - self.lengths] <= 1
        return empty

    def records(self) -> list[Rle]:
        """The masks as pycocotools takes them."""
        text, ends = self.text.tobytes(), np.cumsum(self.lengths, dtype=np.int64).tolist()
        return [
            {"size": size, "counts": text[start:end]}
            for size, start, end in zip(self.sizes.tolist(), [0, *ends], ends, strict=False)
        ]

    def first_wrong(self) -> int | None:
        """The number of the first mask that is not whole, which pycocotools would read beyond its end; or None."""
        for number, mask in enumerate(self.records()):
            try:
                runs = runs_of(mask["counts"])
            except ValueError:
                return number
            if (len(runs) and runs.min() < 0) or sum(runs.tolist()) != mask["size"][0] * mask["size"][1]:
                return number
        return None

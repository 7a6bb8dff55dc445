"""Detections of some images at a time in, files of them on disk; one file of all of them out.

So predicting needs memory for the images of one part, whatever the size of the data set; it can be stopped at any
moment and go on with the parts that are missing; and several processes can each make some of them.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from clis_core.evaluation.detections import Detections, header_array, mask_arrays
from clis_core.evaluation.judged import ranks_in_runs
from clis_core.evaluation.rles import COLUMNS as MASKS
from clis_core.evaluation.top_scores import TopScores
from clis_core.files import replacing, write_text

PLAN = "plan.json"
COLUMNS: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {
    "image_ids": (np.dtype(np.int64), ()),
    "category_ids": (np.dtype(np.int32), ()),
    "boxes": (np.dtype(np.float32), (4,)),
    "scores": (np.dtype(np.float32), ()),
}
"""The arrays of a part and the shape of their entries."""


@dataclass(frozen=True)
class Parts:
    """A folder of parts.

    Attributes:
        folder: where they are.
        images: how many the data set has.
        size: images of a part; the last one may have fewer.
        every: whether each part has a second file, of detections without a cap.
    """

    folder: Path
    images: int
    size: int
    every: bool = False

    def __len__(self) -> int:
        return (self.images + self.size - 1) // self.size

    def begin(self, plan: Mapping[str, Any]) -> int:
        """Keep the parts that were made by the same plan; throw away others.

        Args:
            plan: json-able; what the detections depend on.

        Returns:
            How many parts there are already.
        """
        file = self.folder / PLAN
        text = json.dumps({**plan, "images": self.images, "size": self.size, "every": self.every}, indent=1) + "\n"
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            shutil.rmtree(self.folder, ignore_errors=True)
            write_text(file, text)
        return len(self) - len(self.missing())

    def missing(self) -> list[int]:
        """Parts that are not there yet, rising."""
        return [n for n in range(len(self)) if not self.file(n).is_file()]

    def images_of(self, part: int) -> range:
        """The images of a part, as places in the data set."""
        return range(part * self.size, min((part + 1) * self.size, self.images))

    def file(self, part: int) -> Path:
        """The file of a part; it is there when the part is complete."""
        return self.folder / f"{part:06d}.npz"

    def every_file(self, part: int) -> Path:
        """The second file of a part."""
        return self.folder / f"{part:06d}-every.npz"

    def write(self, part: int, found: Detections, every: Detections | None) -> None:
        """Write a part, whole or not at all."""
        if every is not None:
            every.save(self.every_file(part))
        found.save(self.file(part))

    def join(self, target: Path, meta: Mapping[str, Any]) -> None:
        """Write the detections of all parts into one file, in the order of the images.

        It is, byte for byte, what `Detections.save` would write of all of them at once.

        Args:
            target: ends in ``.npz``; it appears whole or not at all.
            meta: json-able, stored with them.
        """
        self._join(target, meta, (Detections.load(self.file(n)) for n in range(len(self))))

    def join_best(self, target: Path, meta: Mapping[str, Any], category_ids: Sequence[int], most: int) -> None:
        """Write the best ``most`` of each class of the second files; of equal scores the earlier are the better.

        Args:
            target: as in `join`.
            meta: as in `join`.
            category_ids: rising, all that occur.
            most: of each class.
        """
        ids = np.array(category_ids, dtype=np.int64)
        files = [self.every_file(n) for n in range(len(self))]
        top = TopScores(len(ids), most)
        for file in files:
            part = Detections.load(file)
            top.add(np.searchsorted(ids, part.category_ids), part.scores)
        floors, ties = top.settle(), most - top.above()

        def best() -> Iterator[Detections]:
            for file in files:
                part = Detections.load(file)
                yield part.only(_among_best(np.searchsorted(ids, part.category_ids), part.scores, floors, ties))

        self._join(target, meta, best())

    def remove(self) -> None:
        """Throw the parts away."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _join(self, target: Path, meta: Mapping[str, Any], pieces: Iterable[Detections]) -> None:
        counts: dict[str, int] = {}
        with contextlib.ExitStack() as stack:
            files: dict[str, IO[bytes]] = {}
            for piece in pieces:
                own = {name: getattr(piece, name) for name in COLUMNS} | mask_arrays(piece.masks)
                for name, column in own.items():
                    if name not in files:
                        files[name] = stack.enter_context(self._column(name).open("wb"))
                    files[name].write(np.ascontiguousarray(column).tobytes())
                    counts[name] = counts.get(name, 0) + len(column)
        with replacing(target) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for name, count in counts.items():
                dtype, entry = (COLUMNS | MASKS)[name]
                with (
                    archive.open(f"{name}.npy", "w", force_zip64=True) as member,
                    self._column(name).open("rb") as column,
                ):
                    shape = {"descr": dtype.str, "fortran_order": False, "shape": (count, *entry)}
                    np.lib.format.write_array_header_1_0(member, shape)
                    shutil.copyfileobj(column, member, 1 << 20)
            with archive.open("header.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, header_array(meta), allow_pickle=False)
        for name in counts:
            self._column(name).unlink()

    def _column(self, name: str) -> Path:
        return self.folder / f"{name}.column"


def _among_best(
    category: NDArray[np.int64],
    score: NDArray[np.floating[Any]],
    floors: NDArray[np.float32],
    ties_left: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Which scores are above their class's floor, or on it while ``ties_left`` lasts, which is counted down here."""
    kept = score > floors[category]
    ties = np.flatnonzero(score == floors[category])
    ties = ties[np.argsort(category[ties], kind="stable")]
    ties = ties[ranks_in_runs(category[ties]) < ties_left[category[ties]]]
    ties_left -= np.bincount(category[ties], minlength=len(ties_left))
    kept[ties] = True
    return kept

"""An annotation json as arrays goes in; faults of its ids and boxes are noted, and what can be learnt from comes out.

N images, A annotations, C categories.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clis_core.data.check.findings import SHOWN, Findings
from clis_core.data.check.raw_file import RawFile

_OUT = 1.0  # pixels by which boxes reach out of images in LVIS and COCO themselves


class Usable(NamedTuple):
    """What training would learn from.

    Attributes:
        boxes: int64 ``[B]``, which annotations.
        image_of: int64 ``[A]``, index of each annotation's image, -1 where it is not listed.
        category_of: int64 ``[A]``, index of each annotation's category, -1 where it is not listed.
        images: int64 ``[C]``, images with a usable box of each category.
        instances: int64 ``[C]``, annotations of each category.
    """

    boxes: NDArray[np.int64]
    image_of: NDArray[np.int64]
    category_of: NDArray[np.int64]
    images: NDArray[np.int64]
    instances: NDArray[np.int64]


def check_boxes(file: RawFile, where: str, findings: Findings) -> Usable:
    """Check the ids, what they refer to, and the boxes of a file.

    Args:
        file: the annotations.
        where: name of the split.
        findings: gets the faults.
    """
    category_ids = np.array([c.id for c in file.categories], np.int64)
    _check_ids(file, category_ids, where, findings)
    image_of = _index_of(file.of_image, file.image_ids)
    category_of = _index_of(file.of_category, category_ids)

    def note(code: str, wrong: NDArray[np.bool_], text: Callable[[int], str]) -> None:
        found = np.flatnonzero(wrong)
        shown = ((file.path, file.annotation(k), text(k)) for k in found[:SHOWN].tolist())
        findings.add_many(code, where, len(found), shown)

    note(
        "D107", (image_of < 0) & ~_among(file.of_image, file.faulty["images"]), lambda k: f"image_id {file.of_image[k]}"
    )
    note(
        "D108",
        (category_of < 0) & ~_among(file.of_category, file.faulty["categories"]),
        lambda k: f"category_id {file.of_category[k]}",
    )
    note("D109", file.ids < 1, lambda k: f"id {file.ids[k]}")
    note("D110", file.without_area, lambda k: "")
    note("D208", file.crowd, lambda k: f"image {file.of_image[k]}")
    if where == "val" and file.is_lvis:
        note("D209", file.crowd | file.ignored, lambda k: f"image {file.of_image[k]}")
    good = _check_geometry(file, image_of, note)
    usable = np.flatnonzero(good & (image_of >= 0) & (category_of >= 0) & ~file.crowd)
    if len(usable):
        _check_repeats(file, usable, image_of, where, findings)
    elif where == "train" and file.complete and len(file.ids):
        findings.add("D005", where, file.path)
    count = len(file.categories)
    pairs = np.unique(image_of[usable] * max(1, count) + category_of[usable])  # an image counts once for a class
    listed = category_of[category_of >= 0]
    return Usable(
        usable,
        image_of,
        category_of,
        np.bincount(pairs % max(1, count), minlength=count),
        np.bincount(listed, minlength=count),
    )


def check_images(file: RawFile, usable: Usable, where: str, findings: Findings) -> None:
    """Note images without a box."""
    if not file.complete:
        return
    empty = np.bincount(usable.image_of[usable.boxes], minlength=len(file.image_ids)) == 0
    found = np.flatnonzero(empty)
    shown = ((file.path, file.image(i), file.names[i]) for i in found[:SHOWN].tolist())
    findings.add_many("D207", where, len(found), shown)


def _check_ids(file: RawFile, category_ids: NDArray[np.int64], where: str, findings: Findings) -> None:
    for code, ids, name in (
        ("D104", file.image_ids, file.image),
        ("D105", file.ids, file.annotation),
        ("D106", category_ids, file.category),
    ):
        first, again = _repeated(ids)
        shown = (
            (file.path, name(k), f"{name(j)} has it too")
            for j, k in zip(first[:SHOWN].tolist(), again[:SHOWN].tolist(), strict=True)
        )
        findings.add_many(code, where, len(again), shown)


def _repeated(ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of ids that stood before, in their order, and where each stood first."""
    _, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    of_each = first[inverse.ravel()]
    again = np.flatnonzero(of_each != np.arange(len(ids)))
    return of_each[again], again


def _index_of(wanted: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.int64]:
    """Index in ``known`` of each wanted id, -1 where it is not there; of ids that repeat, the first."""
    if not len(known):
        return np.full(len(wanted), -1, np.int64)
    order = np.argsort(known, kind="stable")
    place = np.minimum(np.searchsorted(known[order], wanted), len(known) - 1)
    index = order[place].astype(np.int64)
    return np.where(known[index] == wanted, index, -1)


def _among(ids: NDArray[np.int64], faulty: set[int]) -> NDArray[np.bool_]:
    """Whether each id is that of a record that is there, but has a fault: bool ``[A]``."""
    return np.isin(ids, np.array(sorted(faulty), np.int64))


def _check_geometry(
    file: RawFile, image_of: NDArray[np.int64], note: Callable[[str, NDArray[np.bool_], Callable[[int], str]], None]
) -> NDArray[np.bool_]:
    """Whether each box has an area within its image, as training clips it: bool ``[A]``."""
    listed = image_of >= 0
    sides = np.full((len(file.ids), 2), np.inf)  # (width, height); nothing is known of a box without an image
    sides[listed] = file.sizes[image_of[listed]][:, ::-1]
    low, extent = file.xywh[:, :2], file.xywh[:, 2:]
    with np.errstate(over="ignore", invalid="ignore"):
        high = low + extent
        inside = np.clip(np.stack([low, high]), 0, sides).astype(np.float32)  # [2, A, 2]
        flat = ~_all(extent > 0)
        good = _all(np.isfinite(high)) & _all(inside[1] > inside[0])
        outside = ~good & ~flat
        over: NDArray[np.float64] = np.maximum(-low, high - sides).max(axis=1, initial=0)
        thin = good & ~_all(extent >= 1)

    def box(k: int) -> str:
        text = ", ".join(f"{v:g}" for v in file.xywh[k])
        size = f" in {sides[k, 0]:.0f} x {sides[k, 1]:.0f} pixels" if listed[k] else ""
        return f"[{text}]{size}"

    note("D201", flat, box)
    note("D202", outside, box)
    note("D203", good & (over > _OUT), box)
    note("D204", thin, box)
    return good


def _all(rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether all of each row ``[A, 2]`` is so: bool ``[A]``."""
    return rows[:, 0] & rows[:, 1]


def _check_repeats(
    file: RawFile, usable: NDArray[np.int64], image_of: NDArray[np.int64], where: str, findings: Findings
) -> None:
    """Note boxes that are the same to the last digit as another one in their image."""
    xywh, image, category = file.xywh[usable], image_of[usable], file.of_category[usable]
    order = np.lexsort((category, xywh[:, 3], xywh[:, 2], xywh[:, 1], xywh[:, 0], image))
    before, after = order[:-1], order[1:]
    same = (image[before] == image[after]) & (xywh[before] == xywh[after]).all(axis=1)
    alike = category[before] == category[after]
    for code, found in (("D205", same & alike), ("D206", same & ~alike)):
        places = np.flatnonzero(found)
        pairs = [(int(usable[before[p]]), int(usable[after[p]])) for p in places[:SHOWN]]
        shown = ((file.path, file.annotation(max(a, b)), f"as {file.annotation(min(a, b))}") for a, b in pairs)
        findings.add_many(code, where, len(places), shown)

"""The ground truth of boxes in, that of masks out.

An object without a mask cannot be found by one. So that nobody is blamed for finding it, a COCO file's becomes a crowd
of its box, where detections count neither as right nor as wrong; an LVIS file's goes, and its class is then not
exhaustively marked in its image.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
from msgspec import Raw
from numpy.typing import NDArray

from clis_core.data.annotation_faults import FAULTS, explain
from clis_core.data.annotation_json import Side
from clis_core.data.mask_paste import Window, rle_of_window
from clis_core.data.segmentation import Rle, read_segmentation
from clis_core.data.segmentations import HINT
from clis_core.errors import DataError
from clis_core.evaluation.groundtruth import GroundTruth
from clis_core.evaluation.records import CategoryId, ImageId, read_bytes


class _Image(msgspec.Struct, gc=False):
    id: ImageId
    height: Side
    width: Side


class _Category(msgspec.Struct, gc=False):
    id: CategoryId


class _Annotation(msgspec.Struct, gc=False):
    image_id: ImageId
    category_id: CategoryId
    segmentation: Raw = Raw(b"null")


class _File(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


def mask_truth(truth: GroundTruth) -> GroundTruth | None:
    """The objects' masks.

    Args:
        truth: of `read_ground_truth`.

    Returns:
        the same with `GroundTruth.masks`, and notes on these alone; None where not a single object has one.

    Raises:
        DataError: a segmentation is wrong, or an image has no size.
    """
    if truth.voc:
        return None
    data = read_bytes(truth.path)
    try:
        file = msgspec.json.decode(data, type=_File)
    except FAULTS as error:
        raise explain(truth.path, memoryview(data), error, _File) from None
    sizes = {i.id: (i.height, i.width) for i in file.images}
    known = {c.id for c in file.categories}
    masks: list[Rle | None] = []
    for number, one in enumerate(file.annotations):
        if one.image_id not in sizes or one.category_id not in known:
            continue
        text = bytes(one.segmentation)
        try:
            mask = read_segmentation(text, sizes[one.image_id])
        except ValueError as error:
            raise DataError(f"{truth.path}: annotations[{number}].segmentation: {error}.", hint=HINT) from None
        # A polygon so small that it has no pixel is a mask, though one that nobody finds.
        masks.append(_nothing(sizes[one.image_id]) if mask is None and len(text) > len("[[]]") else mask)
    without = np.array([mask is None for mask in masks], np.bool_)
    if without.all():
        return None
    sides = [sizes[i] for i in truth.box_image_ids.tolist()]
    if without.any():
        return _excused(truth, masks, without, sides)
    return replace(truth, masks=[mask for mask in masks if mask is not None], notes=())


def _nothing(size: tuple[int, int]) -> Rle:
    return rle_of_window(Window(np.zeros((0, 0), np.bool_), 0, 0), size)


def _within(xywh: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    """The part of a box ``[4]`` that lies in an image of (height, width); pycocotools would walk all of its outline."""
    low = np.clip(xywh[:2], 0, size[::-1])
    return np.concatenate([low, np.clip(xywh[:2] + xywh[2:], low, size[::-1]) - low])


def _excused(
    truth: GroundTruth, masks: list[Rle | None], without: NDArray[np.bool_], sides: list[tuple[int, int]]
) -> GroundTruth:
    note = f"{int(without.sum())} of {len(masks)} objects have no mask; in mask AP detections "
    if truth.protocol == "coco":
        from pycocotools import mask as coco_mask

        filled = [
            coco_mask.frPyObjects(_within(truth.xywh[n], sides[n])[None], *sides[n])[0] if mask is None else mask
            for n, mask in enumerate(masks)
        ]
        note += "within their boxes count neither as right nor as wrong."
        return replace(truth, masks=filled, crowd=truth.crowd | without, notes=(note,))
    lists = dict(zip(truth.image_ids.tolist(), truth.not_exhaustive, strict=True))
    for n in np.flatnonzero(without).tolist():
        image, category = int(truth.box_image_ids[n]), int(truth.box_category_ids[n])
        lists[image] = [*(lists[image] or []), category]
    note += "of their class in their images count as right or not at all."
    kept = ~without
    return replace(
        truth,
        not_exhaustive=[lists[i] for i in truth.image_ids.tolist()],
        masks=[mask for mask in masks if mask is not None],
        notes=(note,),
        **{
            name: getattr(truth, name)[kept]
            for name in ("box_image_ids", "box_category_ids", "xywh", "areas", "crowd", "ignored")
        },
    )

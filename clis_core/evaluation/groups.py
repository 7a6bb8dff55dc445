"""Categories or training annotations in, the groups rare, common and frequent out."""

from __future__ import annotations

from pathlib import Path

from clis_core.categories import Categories, Group
from clis_core.data.annotations import load_annotations


def groups_of(categories: Categories) -> dict[int, Group]:
    """``r``, ``c`` or ``f`` by category id, of the classes that have a group."""
    return {c.id: c.group for c in categories if c.group is not None}


def categories_of_training_set(train_gt: Path) -> Categories:
    """The classes with the number of training images that hold each, as training itself counts them, and groups.

    A ``frequency`` in the file goes first. Crowd boxes do not count.

    Args:
        train_gt: annotation json of the training images, LVIS or COCO.

    Raises:
        DataError: the file is missing or malformed.
    """
    table = load_annotations(train_gt, None)
    return table.categories.with_counts(table.image_counts().tolist())

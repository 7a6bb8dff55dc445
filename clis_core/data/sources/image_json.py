"""A json that gives images categories, as Detic writes it, goes in; its rows come out."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec

from clis_core.data.sources.names import printable
from clis_core.errors import DataError


class Row(NamedTuple):
    """One picture of a list: its path and its labels; several or none where the list does not say one."""

    path: str
    labels: tuple[str, ...]


class _Image(msgspec.Struct, gc=False):
    file_name: str
    pos_category_ids: list[int]


class _Category(msgspec.Struct):
    id: int
    name: str


class _File(msgspec.Struct):
    images: list[_Image]
    categories: list[_Category]


def read_image_json(path: Path) -> list[Row]:
    """Read ``images`` (``file_name``, ``pos_category_ids``) and ``categories`` (``id``, ``name``).

    Returns:
        A row for each image, in the order of the file; its labels are the names of its categories.

    Raises:
        DataError: the file is no such json, or an image has a category that the file does not list.
    """
    try:
        content = msgspec.json.decode(path.read_bytes(), type=_File)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror or error}.", hint="Check the path and its permissions."
        ) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise DataError(
            f"{path} is no list of pictures with categories: {error}.",
            hint='It needs "images" with "file_name" and "pos_category_ids", and "categories" with "id" and "name"; '
            "or write a CSV with the header path,label.",
        ) from None
    names = {category.id: printable(category.name) for category in content.categories}
    known: dict[tuple[str, ...], tuple[str, ...]] = {}  # one tuple for all images of a class
    rows = []
    for number, image in enumerate(content.images):
        unknown = next((i for i in image.pos_category_ids if i not in names), None)
        if unknown is not None:
            raise DataError(
                f"{path}: images[{number}] ({image.file_name!r}) has category {unknown}, which the file does not list.",
                hint="Add it to 'categories', or take it out of 'pos_category_ids'.",
            )
        labels = tuple(names[i] for i in dict.fromkeys(image.pos_category_ids))
        rows.append(Row(image.file_name, known.setdefault(labels, labels)))
    return rows

"""A table of annotations and folders go in; the path of every image comes out, known to exist."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from clis_core.data.annotations import AnnotationTable
from clis_core.errors import DataError

Naming = Literal["file_name", "coco_url", "file_name's last part", "coco_url's last part"]
Listings = dict[str, frozenset[str]]


@dataclass(frozen=True)
class ImageFiles:
    """Where the images of a table are.

    Attributes:
        table: the images' names.
        root: the folder that they start from.
        naming: what of the json is appended to the folder.
    """

    table: AnnotationTable
    root: Path
    naming: Naming = "file_name"

    def __len__(self) -> int:
        return len(self.table)

    def name(self, index: int) -> str:
        """Name of an image under the root."""
        table = self.table
        name = table.file_name(index) if self.naming.startswith("file_name") else table.url_name(index)
        return _last(name) if self.naming.endswith("last part") else name

    def path(self, index: int) -> Path:
        """Path of an image."""
        return self.root / self.name(index)


def locate(table: AnnotationTable, roots: Sequence[Path], url_roots: Sequence[Path], hint: str) -> ImageFiles:
    """The first folder and naming under which every image exists.

    Folders are listed once each: LVIS has 100,000 images, and asking for each one is slow on network disks.

    Args:
        table: the images' names.
        roots: folders to try with every naming.
        url_roots: folders to try with split folder and name by ``coco_url`` alone: val2017's parent for
            LVIS v1 val, whose pictures lie in train2017 as well.
        hint: how the user names the folder.

    Raises:
        DataError: images are missing under each; names one, and the places.
    """
    names = namings(table.file_names(), table.url_names())
    listings: Listings = {}
    tries = places_for(names, roots, url_roots)
    for root, naming in tries:
        if _exists(root, names[naming][0], listings) and not missing(root, names[naming], listings):
            return ImageFiles(table, root, naming)
    raise _not_found(table, [(root, names[naming]) for root, naming in tries], listings, hint)


def namings(file_names: list[str], url_names: list[str]) -> dict[Naming, list[str]]:
    """What the images of a json may be called on disk, by what of the json is taken for it."""
    return {
        "file_name": file_names,
        "coco_url": url_names,
        "file_name's last part": [_last(name) for name in file_names],
        "coco_url's last part": [_last(name) for name in url_names],
    }


def places_for(
    names: Mapping[Naming, list[str]], roots: Sequence[Path], url_roots: Sequence[Path]
) -> list[tuple[Path, Naming]]:
    """Folders with the namings that tell the images apart, in the order in which `locate` tries them."""
    usable = [naming for naming in names if _tells_apart(names[naming], names["file_name"])]
    tries = [(root, naming) for root in roots for naming in usable]
    return tries + [(root, "coco_url") for root in url_roots if "coco_url" in usable]


def missing(root: Path, names: Sequence[str], listings: Listings) -> list[int]:
    """Indices of the names that are not there.

    Args:
        root: the folder that the names start from.
        names: of files.
        listings: what is in each folder that has been listed; is added to.
    """
    return [i for i, name in enumerate(names) if not _exists(root, name, listings)]


def _tells_apart(names: list[str], file_names: list[str]) -> bool:
    """Whether every image has a name, and a/1.jpg and b/1.jpg do not become one file."""
    return all(names) and (names == file_names or len(set(names)) >= len(set(file_names)))


def _not_found(
    table: AnnotationTable,
    tries: list[tuple[Path, list[str]]],
    listings: Listings,
    hint: str,
) -> DataError:
    if not tries:
        return DataError(f"{table.path}: there is no folder to look for its images in.", hint=hint)
    gone = min((missing(root, names, listings) for root, names in tries), key=len)
    places = ", ".join(dict.fromkeys(str(root / names[gone[0]]) for root, names in tries))
    return DataError(
        f"{table.path}: {len(gone)} of {len(table)} images are not found. The first is image "
        f"{table.image_ids[gone[0]]}; looked for {places}.",
        hint=hint,
    )


def _exists(root: Path, name: str, listings: Listings) -> bool:
    folder, base = os.path.split(os.path.join(root, name))
    if folder not in listings:
        listings[folder] = _listing(folder)
    return base in listings[folder]


def _listing(folder: str) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))
    except OSError:
        return frozenset()


def _last(name: str) -> str:
    return name.rpartition("/")[2]

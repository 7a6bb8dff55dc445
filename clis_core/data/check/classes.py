"""The categories and federated lists of an annotation json go in; what does not fit is noted.

N images, C categories.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from clis_core.categories import group_of_count
from clis_core.data.check.boxes import Usable
from clis_core.data.check.findings import SHOWN, Findings
from clis_core.data.check.raw_file import FEDERATED, RawFile
from clis_core.data.matching import plain_name

_GROUPS = ("r", "c", "f")


def check_classes(file: RawFile, usable: Usable, where: str, findings: Findings) -> None:
    """Check names, frequencies and counts of the categories.

    Args:
        file: the annotations.
        usable: what of them training would learn from.
        where: name of the split; counts are those of training images, so they are checked for "train" alone.
        findings: gets the faults.
    """
    _check_names(file, where, findings)
    _check_frequencies(file, where, findings)
    if not file.complete:
        return
    code = "D401" if where == "train" else "D402"
    found = [k for k in range(len(file.categories)) if not usable.images[k]]
    _note(code, found, file, where, findings)
    if where == "train":
        _check_counts(file, usable, where, findings)


def check_federated(file: RawFile, usable: Usable, where: str, findings: Findings) -> None:
    """Check the lists of classes that are absent, or not exhaustively annotated, from images of an LVIS file."""
    if not file.is_lvis:
        return
    lacking = np.flatnonzero(np.logical_or.reduce(list(file.lacking.values())))
    shown = ((file.path, file.image(i), _lacks(file, i)) for i in lacking[:SHOWN].tolist())
    findings.add_many("D410" if where == "val" else "D411", where, len(lacking), shown)
    known = np.array([c.id for c in file.categories], np.int64)
    keys = {name: _keys(*file.federated[name], known) for name in FEDERATED}
    for name in FEDERATED:
        faulty = np.array(sorted(file.faulty["categories"]), np.int64)
        strange = np.flatnonzero((keys[name] < 0) & ~np.isin(file.federated[name][1], faulty))
        entries = zip(*(part[strange[:SHOWN]].tolist() for part in file.federated[name]), strict=True)
        findings.add_many(
            "D415", where, len(strange), ((file.path, file.image(i), f"{name} has {c}") for i, c in entries)
        )
    absent, inexhaustive = (np.unique(keys[name][keys[name] >= 0]) for name in FEDERATED)
    listed = (usable.image_of >= 0) & (usable.category_of >= 0)
    boxes = np.unique(usable.image_of[listed] * max(1, len(known)) + usable.category_of[listed])
    for code, found in (
        ("D412", np.intersect1d(absent, boxes, assume_unique=True)),
        ("D413", np.setdiff1d(inexhaustive, boxes, assume_unique=True)),
        ("D414", np.intersect1d(absent, inexhaustive, assume_unique=True)),
    ):
        pairs = (divmod(int(key), len(known)) for key in found[:SHOWN])
        shown = ((file.path, file.image(i), _named(file, c)) for i, c in pairs)
        findings.add_many(code, where, len(found), shown)


def _keys(of_image: NDArray[np.int64], ids: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.int64]:
    """A number for each pair of image and category, -1 for a category that is not listed."""
    if not len(known):
        return np.full(len(ids), -1, np.int64)
    order = np.argsort(known, kind="stable")
    index = order[np.minimum(np.searchsorted(known[order], ids), len(known) - 1)]
    return np.where(known[index] == ids, of_image * len(known) + index, -1)


def _lacks(file: RawFile, index: int) -> str:
    return "no " + " and no ".join(name for name in FEDERATED if file.lacking[name][index])


def _check_names(file: RawFile, where: str, findings: Findings) -> None:
    exact: dict[str, int] = {}
    plain: dict[str, int] = {}
    for k, category in enumerate(file.categories):
        first = exact.setdefault(category.name, k)
        if first != k:
            findings.add("D404", where, file.path, file.category(k), f"{category.name!r}, as {file.category(first)}")
            continue
        first = plain.setdefault(plain_name(category.name), k)
        if first != k:
            text = f"{category.name!r}, where {file.category(first)} is {file.categories[first].name!r}"
            findings.add("D403", where, file.path, file.category(k), text)


def _check_frequencies(file: RawFile, where: str, findings: Findings) -> None:
    for k, category in enumerate(file.categories):
        if category.frequency is not None and category.frequency not in _GROUPS:
            findings.add("D407", where, file.path, file.category(k), f"frequency {category.frequency!r}")
    without = [k for k, category in enumerate(file.categories) if category.frequency is None]
    if len(without) < len(file.categories):
        _note("D408", without, file, where, findings)


def _check_counts(file: RawFile, usable: Usable, where: str, findings: Findings) -> None:
    for k, category in enumerate(file.categories):
        images, instances = int(usable.images[k]), int(usable.instances[k])
        group = category.frequency
        if images and group in _GROUPS and group != group_of_count(images):
            text = (
                f"{_named(file, k)} is {group!r} and has {images} training images, which is {group_of_count(images)!r}"
            )
            findings.add("D405", where, file.path, file.category(k), text)
        said = {"image_count": (category.image_count, images), "instance_count": (category.instance_count, instances)}
        other = [
            f"{name} {value}, counted {n}" for name, (value, n) in said.items() if value is not None and value != n
        ]
        if other:
            findings.add("D406", where, file.path, file.category(k), f"{_named(file, k)}: {'; '.join(other)}")


def _note(code: str, found: Iterable[int], file: RawFile, where: str, findings: Findings) -> None:
    categories = list(found)
    shown = ((file.path, file.category(k), _named(file, k)) for k in categories[:SHOWN])
    findings.add_many(code, where, len(categories), shown)


def _named(file: RawFile, index: int) -> str:
    return repr(file.categories[index].name)

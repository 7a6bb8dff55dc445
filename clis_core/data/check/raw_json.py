"""An annotation json of any quality goes in; what of it can be read comes out as arrays, its faults noted."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from msgspec import Raw, Struct
from numpy.typing import NDArray

from clis_core.data.annotation_faults import FAULTS, explain
from clis_core.data.annotation_json import AnnotationFields, json_text
from clis_core.data.check.findings import Findings
from clis_core.data.check.raw_file import FEDERATED, LISTS, CategoryRecord, ImageRecord, RawFile
from clis_core.errors import DataError

_MENDED = 2**28  # bytes of the largest file that is copied to take NaN out of it
_TOKENS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|-?Infinity|NaN', re.DOTALL)
SINGULAR = {"images": "image", "annotations": "annotation", "categories": "category"}


class _Annotation(AnnotationFields, gc=False):
    ignore: int | bool | None = 0
    area: float | None = None


class _Known(Struct):
    id: Raw = Raw(b"")


def read_raw(path: Path, where: str, findings: Findings) -> RawFile:
    """Read what can be read of an annotation json, record by record.

    Args:
        path: the file.
        where: name of the split.
        findings: gets what is wrong with the file and with single records.
    """
    file = RawFile(path)
    lists = _lists(path, where, findings)
    for name in LISTS:
        if lists.get(name) is None:
            file.complete = False
        elif not lists[name]:
            findings.add("D004" if name != "annotations" else "D005", where, path, name, "the list is empty")
    _read_images(file, lists.get("images") or [], where, findings)
    _read_categories(file, lists.get("categories") or [], where, findings)
    _read_annotations(file, lists.get("annotations") or [], where, findings)
    return file


def _lists(path: Path, where: str, findings: Findings) -> dict[str, list[Raw] | None]:
    """The three lists, None for one that is not there or is no list."""
    try:
        text = json_text(path)
    except DataError as error:
        findings.add("D001", where, path, "", error.message)
        return {}
    try:
        found = msgspec.json.decode(text, type=dict[str, Raw])
    except msgspec.ValidationError as error:
        findings.add("D002", where, path, "", explain(path, text, error, _Known).message)
        return {}
    except FAULTS as error:
        mended = _without_nan(path, text, where, findings)
        if mended is None:
            findings.add("D001", where, path, "", explain(path, text, error, _Known).message)
            return {}
        found = mended
    lists: dict[str, list[Raw] | None] = dict.fromkeys(LISTS)
    for name in LISTS:
        try:
            lists[name] = msgspec.json.decode(found[name], type=list[Raw])
        except KeyError:
            findings.add("D002", where, path, name, "there is no such list")
        except FAULTS as error:
            findings.add("D002", where, path, name, f"this is no list: {error}")
    return lists


def _without_nan(path: Path, text: memoryview, where: str, findings: Findings) -> dict[str, Raw] | None:
    """The file with null for each NaN and Infinity; None where that does not make json of it."""
    if len(text) > _MENDED:
        return None
    places: list[tuple[int, str]] = []

    def null(token: re.Match[bytes]) -> bytes:
        if token[0][:1] == b'"':
            return token[0]
        places.append((token.start(), token[0].decode()))
        return b"null"

    mended = _TOKENS.sub(null, text)
    try:
        found = msgspec.json.decode(mended, type=dict[str, Raw]) if places else None
    except FAULTS:
        return None
    findings.add_many("D003", where, len(places), ((path, f"byte {at}", literal) for at, literal in places))
    return found


Record = TypeVar("Record")


def _each(
    raws: list[Raw], kind: type[Record], take: Callable[[int, Record], None], tell: Callable[[int, str], None]
) -> None:
    """Decode records one by one: those without a fault are taken, of the others the fault is told."""
    decode = msgspec.json.Decoder(kind).decode
    for number, raw in enumerate(raws):
        try:
            record = decode(raw)
        except FAULTS as error:
            tell(number, _plain(error))
        else:
            take(number, record)


def _teller(file: RawFile, name: str, raws: list[Raw], where: str, findings: Findings) -> Callable[[int, str], None]:
    """A function that notes the fault of a record."""

    def tell(number: int, what: str) -> None:
        known = _known_id(raws[number])
        if re.fullmatch(r"-?\d{1,18}", known):
            file.faulty[name].add(int(known))
        named = f" ({SINGULAR[name]} {known.strip(chr(34))[:40]})" if known else ""
        findings.add(LISTS[name], where, file.path, f"{name}[{number}]{named}", what)

    return tell


def _known_id(raw: Raw) -> str:
    """The id of a record with a fault, as it is written; "" where it cannot be told."""
    try:
        return bytes(msgspec.json.decode(raw, type=_Known).id).decode(errors="replace")
    except FAULTS:
        return ""


def _plain(error: Exception) -> str:
    """msgspec's words without its code quotes, the field first."""
    if isinstance(error, UnicodeDecodeError):
        return "a text that is not UTF-8"
    what, _, at = str(error).replace("`", "").partition(" - at $")
    what = what.replace("Object missing required field ", "there is no field ")
    what = what[:1].lower() + what[1:]
    return f"{at.lstrip('.')}: {what}" if at.lstrip(".") else what


def _read_images(file: RawFile, raws: list[Raw], where: str, findings: Findings) -> None:
    numbers, ids, sizes = array("q"), array("q"), array("q")
    entries = {name: (array("q"), array("q")) for name in FEDERATED}
    lacking = {name: array("b") for name in FEDERATED}
    tell = _teller(file, "images", raws, where, findings)

    def take(number: int, image: ImageRecord) -> None:
        name, url = image.names()
        if not name:
            tell(number, "it has neither file_name nor coco_url")
            return
        for field_name in FEDERATED:
            listed = getattr(image, field_name)
            lacking[field_name].append(listed is None)
            of_image, of_category = entries[field_name]
            of_image.extend([len(ids)] * len(listed or ()))
            of_category.extend(listed or ())
        numbers.append(number)
        ids.append(image.id)
        sizes.extend((image.height, image.width))
        file.names.append(name)
        file.url_names.append(url)

    _each(raws, ImageRecord, take, tell)
    file.image_numbers, file.image_ids = _whole(numbers), _whole(ids)
    file.sizes = _whole(sizes).reshape(-1, 2)
    file.federated = {name: (_whole(a), _whole(b)) for name, (a, b) in entries.items()}
    file.lacking = {name: np.array(lacking[name], np.bool_) for name in FEDERATED}


def _read_categories(file: RawFile, raws: list[Raw], where: str, findings: Findings) -> None:
    def take(number: int, category: CategoryRecord) -> None:
        file.category_numbers.append(number)
        file.categories.append(category)

    _each(raws, CategoryRecord, take, _teller(file, "categories", raws, where, findings))


def _read_annotations(file: RawFile, raws: list[Raw], where: str, findings: Findings) -> None:
    numbers, ids, images, categories = (array("q") for _ in range(4))
    boxes, crowd, ignored, without_area = array("d"), array("b"), array("b"), array("b")

    def take(number: int, annotation: _Annotation) -> None:
        numbers.append(number)
        ids.append(annotation.id)
        images.append(annotation.image_id)
        categories.append(annotation.category_id)
        boxes.extend(annotation.bbox)
        crowd.append(bool(annotation.iscrowd))
        ignored.append(bool(annotation.ignore))
        without_area.append(annotation.area is None)

    _each(raws, _Annotation, take, _teller(file, "annotations", raws, where, findings))
    file.numbers, file.ids, file.of_image, file.of_category = map(_whole, (numbers, ids, images, categories))
    file.xywh = np.array(boxes, np.float64).reshape(-1, 4)
    file.crowd, file.ignored = np.array(crowd, np.bool_), np.array(ignored, np.bool_)
    file.without_area = np.array(without_area, np.bool_)


def _whole(values: Any) -> NDArray[np.int64]:
    return np.array(values, np.int64)

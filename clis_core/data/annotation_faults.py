"""A decoder's complaint about an annotation json goes in; an error that names the record comes out."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
from msgspec import Raw, Struct

from clis_core.errors import DataError

FAULTS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for a text that is not what it should be."""
_SINGULAR = {"images": "image", "annotations": "annotation", "categories": "category"}


class _Known(Struct):
    """What can be told of a record whatever else it holds."""

    id: Raw = Raw(b"")


def explain(path: Path, text: memoryview, error: Exception, file_type: type[Struct]) -> DataError:
    """Say what is wrong with an annotation file, and where.

    Args:
        path: the file.
        text: what it holds.
        error: what msgspec raised.
        file_type: the type that the text was decoded as.
    """
    if isinstance(error, msgspec.ValidationError):
        return _wrong_record(path, text, str(error))
    if isinstance(error, RecursionError):
        deep = f"{path} is no annotation file: its brackets are nested too deep."
        return DataError(deep, hint="Give an LVIS or COCO annotation json.")
    if isinstance(error, UnicodeDecodeError):
        return DataError(f"{path} is not UTF-8 text: {error.reason}.", hint="Save the json as UTF-8.")
    return _wrong_json(path, text, str(error), file_type)


def _wrong_json(path: Path, text: memoryview, reason: str, file_type: type[Struct]) -> DataError:
    """An error for bytes that are no json."""
    found = re.search(r"\(byte (\d+)\)", reason)
    if found is None:
        cut = f"{path} ends in the middle, at byte {len(text)}: it is cut short."
        return DataError(cut, hint="Download or copy it again.")
    at = int(found.group(1))
    start = max(0, at - 30)
    window = bytes(text[start : at + 30])
    literal = re.compile(rb"NaN|-?Infinity").search(window, max(0, at - start - 1), at - start + 10)
    if literal:
        return _not_a_number(path, text, start + literal.start(), literal.group(), file_type)
    near = window.decode("utf-8", "replace")
    return DataError(
        f"{path} is not json: {reason.removeprefix('JSON is malformed: ')}, near {near!r}.",
        hint="Give an LVIS or COCO annotation json.",
    )


def _not_a_number(path: Path, text: memoryview, at: int, literal: bytes, file_type: type[Struct]) -> DataError:
    """An error for NaN, which is no json: with null in its place the typed decoder tells the record."""
    where = f"byte {at}"
    if len(text) < 2**28:  # the text is copied: well enough for an error, but not of a gigabyte
        patched = bytes(text[:at]) + b"null" + bytes(text[at + len(literal) :])
        try:
            msgspec.json.decode(patched, type=file_type)
        except msgspec.ValidationError as error:
            where = _record(memoryview(patched), str(error))[0]
        except FAULTS:  # a second one stands in a field that is skipped
            pass
    return DataError(
        f"{path}: {where}: {literal.decode()} is not a number that json knows.",
        hint="Leave the record out, or write a number in its place.",
    )


def _wrong_record(path: Path, text: memoryview, reason: str) -> DataError:
    """An error for json that is well-formed but not what an annotation file holds."""
    if "- at `$" not in reason:
        if reason.startswith("Expected `object`, got `array`"):
            return DataError(
                f"{path} holds a list, not an annotation file: it looks like a results file.",
                hint="An annotation json is an object with 'images', 'annotations' and 'categories'.",
            )
        missing = re.search(r"missing required field `(\w+)`", reason)
        what = f"has no '{missing.group(1)}'" if missing else f"is not an annotation file ({_plain(reason)})"
        return DataError(f"{path} {what}.", hint="An annotation json has 'images', 'annotations' and 'categories'.")
    where, what = _record(text, reason)
    return DataError(f"{path}: {where}: {what}.", hint="Correct the record, or leave it out of the file.")


def _record(text: memoryview, reason: str) -> tuple[str, str]:
    """("annotations[3].bbox (annotation 17)", "expected array of length 4") from msgspec's message."""
    what, _, at = reason.partition(" - at `$.")
    where = at.rstrip("`")
    found = re.match(r"(images|annotations|categories)\[(\d+)\]", where)
    if found:
        kind, number = found.group(1), int(found.group(2))
        try:
            lists = msgspec.json.decode(text, type=msgspec.defstruct("_Lists", [(kind, list[Raw])]))
            known = bytes(msgspec.json.decode(getattr(lists, kind)[number], type=_Known).id).decode()
        except (*FAULTS, IndexError):  # the record is no object, the file is cut short, or has the list twice
            known = ""
        if known:
            where += f" ({_SINGULAR[kind]} {known.strip(chr(34))})"
    return where, _plain(what)


def _plain(reason: str) -> str:
    """msgspec's words without its code quotes."""
    reason = reason.replace("`", "").replace("Object missing required field ", "there is no field ")
    return reason[:1].lower() + reason[1:]

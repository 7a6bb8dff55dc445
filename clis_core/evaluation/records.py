"""The text of a results json in, typed records out; what is wrong is told by file, record and field."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec

from clis_core.errors import DataError

T = TypeVar("T")

ImageId = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""The engines carry ids in float64, which is exact up to here."""
CategoryId = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]

HINT = (
    "A results file is a list of records such as "
    '{"image_id": 42, "category_id": 18, "bbox": [258.2, 41.3, 348.3, 243.8], "score": 0.236}, '
    "bbox as x, y, width, height in pixels."
)
_BOM = b"\xef\xbb\xbf"


def read_bytes(path: Path) -> bytes:
    """The whole file, without a byte order mark.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return path.read_bytes().removeprefix(_BOM)
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror or error}.", hint="Check the path.") from None


def decode(data: bytes, decoder: msgspec.json.Decoder[list[T]], path: Path, *, first: int = 0) -> list[T]:
    """Decode a list of records.

    Args:
        data: the json.
        decoder: for records of a known form.
        path: the file that it came from, for messages.
        first: number of the first record of ``data`` within the file.

    Raises:
        DataError: not json, or not of this form.
    """
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        match = re.match(r"\[(\d+)\]\.?(.*)`", where)
        place = f", record {int(match[1]) + first}" + (match[2] and f", {match[2]}") if match else ""
        raise DataError(f"{path}{place}: {what}.", hint=HINT) from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error.reason}.", hint="Save the json as UTF-8.") from None
    except RecursionError:
        raise DataError(f"{path}: its brackets are nested too deep.", hint=HINT) from None
    except msgspec.DecodeError as error:
        raise DataError(f"{path}{_fault(data, str(error))}", hint=HINT) from None


def _fault(data: bytes, error: str) -> str:
    """Say where json breaks off; Python's json.dump writes NaN and Infinity, which json does not have."""
    at = re.search(r"byte (\d+)", error)
    if at is None:
        return f" ends in the middle, at byte {len(data)}: it is cut short."
    position = int(at[1])
    literal = re.compile(rb"NaN|-?Infinity").search(data, max(0, position - 1), position + 9)
    if literal is None:
        return f" is not json: {error}."
    start = data.rfind(b"{", 0, position)
    fields = re.findall(rb'"(\w+)"\s*:', data[start:position])
    field = f", {fields[-1].decode()}" if fields else ""
    try:
        before = data[:start].rstrip(b" \t\r\n,") + b"]"
        place = f"record {len(msgspec.json.decode(before, type=list[msgspec.Raw]))}"
    except (
        msgspec.MsgspecError,
        RecursionError,
        UnicodeDecodeError,
    ):  # it is no flat list of records, so the byte has to do
        place = f"byte {position}"
    return f", {place}{field}: {literal[0].decode()} is not a number that json knows."

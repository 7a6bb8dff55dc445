"""The bytes of a picture from anywhere go in; an upright JPEG that training can read comes out, or the reason why not.

A good JPEG is passed on byte for byte; everything else that shows a picture is encoded anew.
"""

from __future__ import annotations

import functools
import io
import re
import warnings
import zlib
from typing import NamedTuple

import numpy as np
from PIL import Image

from clis_core.data.decode import MAX_PIXELS, decode, header_of, jpeg_segments, orientation_of
from clis_core.errors import DataError

MAX_BYTES = 64 << 20
"""A picture is refused if it is larger, compressed or not (64 MiB)."""
QUALITY = 95
"""Of JPEGs that are written anew; with full colour resolution."""

_GZIP = b"\x1f\x8b"
_END = b"\xff\xd9"
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""In the data of a scan: no stuffed 0xFF, no filling, no restart."""
_PLAIN_FRAMES = (0xC0, 0xC1)
_TABLES = (0xC4, 0xDB, 0xDD, 0xE0, 0xE1, 0xE2, 0xEE)
"""Markers before a scan: tables, and what says how colours are meant, how to turn, how many pictures there are."""
_SKIPPED = (*range(0xE3, 0xEE), 0xEF, 0xFE)
"""Markers of other applications' data and of comments, which no decoder looks into."""
_LONGEST = 2048
"""Bytes of tables that are remembered; EXIF makes more of them, and differs from picture to picture."""
_TAIL = 64 << 10
"""Cameras write up to some kilobytes behind a JPEG's end."""


class RefusedPictureError(Exception):
    """A file that cannot be used as a picture.

    Args:
        reason: why, in words that can be counted: the same fault gives the same words.
        detail: more about this one.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


class Picture(NamedTuple):
    """A picture that training can read.

    Attributes:
        data: JPEG, upright, grey or RGB.
        height: pixels.
        width: pixels.
        changed: why it is not the file's own bytes: "gzip", "PNG", "CMYK", "turned upright", "made smaller"; empty for
            a copy.
    """

    data: bytes
    height: int
    width: int
    changed: tuple[str, ...]


def check_picture(
    data: bytes, name: str, *, min_side: int = 1, max_side: int | None = None, max_pixels: int = MAX_PIXELS
) -> Picture:
    """Check a file that should be a picture, and make it an upright JPEG if it is not one.

    Every picture is decoded as far as it takes to know that it is whole.

    Args:
        data: the file's bytes.
        name: what to call it in the detail of a refusal.
        min_side: refuse a short side of fewer pixels.
        max_side: make pictures smaller whose long side has more pixels; None keeps them as they are.
        max_pixels: refuse larger ones before they are decoded.

    Raises:
        RefusedPictureError: it is empty, HTML or something else that is no picture, cut short, damaged, or too large.
    """
    changed: list[str] = []
    if data[:2] == _GZIP:
        data = _gunzip(data)
        changed.append("gzip")
    if not data:
        raise RefusedPictureError("empty")
    if len(data) > MAX_BYTES:
        raise RefusedPictureError(f"larger than {MAX_BYTES >> 20} MiB")
    if _is_text(data):
        raise RefusedPictureError("a web page or text", data[:60].decode(errors="replace"))
    try:
        header = header_of(data, name)
    except DataError as error:
        reason = _too_large(max_pixels) if "decompression bomb" in error.message else "no picture"
        raise RefusedPictureError(reason, error.message) from None
    height, width = header.height, header.width
    if height * width > max_pixels:
        raise RefusedPictureError(_too_large(max_pixels), f"{width} x {height}")
    if min(height, width) < min_side:
        raise RefusedPictureError(f"a side below {min_side} pixels", f"{width} x {height}")
    smaller = max_side is not None and max(height, width) > max_side
    if header.kind == "JPEG" and header.plain and not smaller:
        turned = _check_jpeg(data)
        if not turned:
            return Picture(data, height, width, tuple(changed))
        changed.append("turned upright")
    elif header.kind != "JPEG":
        changed.append(header.kind)
    elif not header.plain:
        changed.append("CMYK or 12 bits")
    if smaller:
        changed.append("made smaller")
    return _encode(data, name, max_side, max_pixels, changed)


def _too_large(max_pixels: int) -> str:
    return f"more than {max_pixels} pixels"


def _gunzip(data: bytes) -> bytes:
    """The inside of gzip, to one byte past the limit."""
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        inside = unpacker.decompress(data, MAX_BYTES + 1)
    except zlib.error as error:
        raise RefusedPictureError("damaged gzip", str(error)) from None
    if not unpacker.eof and len(inside) <= MAX_BYTES:
        raise RefusedPictureError("damaged gzip", "it is cut short")
    return inside


def _is_text(data: bytes) -> bool:
    """Whether the first bytes are printable: HTML, JSON, an error message."""
    head = data[:64].lstrip(b"\xef\xbb\xbf \t\r\n")
    return bool(head) and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head)


def _check_jpeg(data: bytes) -> bool:
    """Check that a JPEG can be decoded to its end; whether EXIF wants it turned.

    A file of one scan of Huffman codes that runs up to the end mark fails in its tables or nowhere: a decoder takes
    wrong codes for others and goes on, and it stops at the mark, so nothing can be missing. There the tables are
    decoded without the scan, and once for all files that share them. Every other file is decoded whole: brightness
    alone, at an eighth of the size, which reads all of the compressed data at a fraction of the time.

    Raises:
        RefusedPictureError: it is cut short or damaged.
    """
    tables = _tables(data)
    try:
        if tables is None:
            return _is_turned(data)
        return _is_turned_by(tables) if len(tables) <= _LONGEST else _is_turned(tables)
    except Exception as error:  # Pillow's readers raise whatever a damaged file leads them to
        whole = _END in data[-_TAIL:]
        raise RefusedPictureError("damaged" if whole else "cut short", str(error)) from None


def _is_turned(data: bytes) -> bool:
    """Decode a JPEG; whether EXIF wants it turned."""
    with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        image.draft("L", (1, 1))
        image.load()
        return 1 < orientation_of(image) <= 8


@functools.lru_cache(maxsize=1024)
def _is_turned_by(tables: bytes) -> bool:
    """The same, remembered: pictures of one origin often agree in their tables."""
    return _is_turned(tables)


def _tables(data: bytes) -> bytes | None:
    """The tables of a JPEG as one without data; None if it is not sequential, or its one scan does not end it."""
    channels, kept = 0, [data[:2]]
    for marker, at, end in jpeg_segments(data):
        if marker not in _SKIPPED:
            kept.append(data[at:end])
        if marker == 0xDA:
            found = _MARKER.search(data, end) if channels == data[at + 4] else None
            return b"".join([*kept, _END]) if found is not None and found[0] == _END else None
        if marker in _PLAIN_FRAMES and not channels:
            channels = data[at + 9]
        elif marker not in _TABLES and marker not in _SKIPPED:
            return None
    return None


def _encode(data: bytes, name: str, max_side: int | None, max_pixels: int, changed: list[str]) -> Picture:
    try:
        pixels = decode(data, name, max_pixels=max_pixels)
    except DataError as error:
        raise RefusedPictureError("damaged", error.message) from None
    image = Image.fromarray(np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()))
    if max_side is not None:
        image.thumbnail((max_side, max_side), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=QUALITY, subsampling=0)
    return Picture(out.getvalue(), image.height, image.width, tuple(changed))

"""The bytes of an image file go in; an upright RGB image comes out, or an error that says what is wrong.

The one decoder: training, regions and evaluation see the same pixels.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torchvision.io  # noqa: F401  (registers torch.ops.image)
from PIL import Image
from torch import Tensor

from clis_core.errors import DataError

MAX_PIXELS = Image.MAX_IMAGE_PIXELS or 89_478_485
"""Larger images are refused before they are decoded: 89 megapixels are 268 MB."""

_RGB = 3  # torchvision's ImageReadMode.RGB
_ORIENTATION = 0x0112  # the EXIF tag
_SIDEWAYS = 5  # from this orientation on the sides are swapped
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Header(NamedTuple):
    """What a picture's first bytes say.

    Attributes:
        height: as stored, pixels.
        width: as stored, pixels.
        kind: the format, as Pillow names it: "JPEG", "PNG", ...
        plain: whether torchvision reads it the way Pillow does: 8 bits, and grey or RGB.
    """

    height: int
    width: int
    kind: str
    plain: bool


def decode(
    data: bytes,
    name: str,
    *,
    exif: bool = True,
    at_least: int | None = None,
    size: tuple[int, int] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Tensor:
    """Decode an image.

    JPEG goes through torchvision's operator where it has one (1.2 to 1.3 times as fast as Pillow, the same pixels),
    everything else through Pillow: PNG, WebP, GIF (its first frame), BMP, TIFF, AVIF, and CMYK files. Transparency is
    dropped. 16 bits are scaled to 8.

    Args:
        data: the file's bytes.
        name: what to call it in a message.
        exif: turn it upright by its EXIF orientation (Pillow turns TIFF in any case).
        at_least: decode a JPEG at 1/2, 1/4 or 1/8 as long as its short side keeps this many pixels; who asks
            computes scales from the size that the annotations state.
        size: the upright (height, width) that the annotations state.
        max_pixels: refuse what claims to be larger.

    Returns:
        uint8 ``[3, h, w]``, RGB, channels last in memory.

    Raises:
        DataError: the file is empty, cut short, no image, too large, or not of the stated size.
    """
    header = header_of(data, name)
    if header.height * header.width > max_pixels:
        raise DataError(
            f"{name} is too large: {header.width} x {header.height} pixels; at most {max_pixels} are read.",
            hint="Make it smaller, or leave it out.",
        )
    shrink = at_least is not None and header.kind == "JPEG" and min(header[:2]) >= 2 * at_least
    image = None if shrink or not header.plain else _by_torchvision(data, header.kind, exif)
    if image is None:
        image, full = _by_pillow(data, name, exif, at_least if shrink else None)
    else:
        full = (image.shape[1], image.shape[2])
    if size is not None and tuple(size) != full:
        raise _other_size(name, full, size, exif)
    if image.stride(0) != 1 or image.stride(2) != 3:
        image = image.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    return image


def read_image(
    path: Path,
    *,
    exif: bool = True,
    at_least: int | None = None,
    size: tuple[int, int] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Tensor:
    """Read and decode an image file; see `decode`.

    Raises:
        DataError: the file cannot be read, or `decode` refuses it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"Image {path} cannot be read: {error.strerror or error}.",
            hint="Check the image folder and its permissions (data.train_images, data.val_images).",
        ) from None
    return decode(data, str(path), exif=exif, at_least=at_least, size=size, max_pixels=max_pixels)


def header_of(data: bytes, name: str) -> Header:
    """Size and kind of an image by its first bytes.

    Raises:
        DataError: this is no image.
    """
    header = None
    if data[:2] == b"\xff\xd8":
        header = _jpeg_header(data)
    elif data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) >= 25:
        width, height = struct.unpack(">II", data[16:24])
        # Never plain: torchvision 0.29's decoder of PNG ends the process where one bit of the pixels is wrong.
        header = Header(height, width, "PNG", False)
    if header is None:
        with (
            warnings.catch_warnings(action="ignore"),
            _open(data, name) as image,
        ):  # of size: the caller checks
            header = Header(image.height, image.width, image.format or "", False)
    return header


def _jpeg_header(data: bytes) -> Header | None:
    """Look for the segment that states the size; None where there is none."""
    for marker, at, _ in jpeg_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a start of frame
            bits, height, width, channels = struct.unpack(">BHHB", data[at + 4 : at + 10])
            # CMYK is seldom, and whether it is inverted a convention: Pillow decides, whatever the version.
            return Header(height, width, "JPEG", bits == 8 and channels in (1, 3) and height > 0)
    return None


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Walk a JPEG's segments as far as the bytes look like some, and only as far as it is asked.

    Yields:
        (marker, place of its first byte, place behind the segment).
    """
    at = 2
    while at + 10 <= len(data) and data[at] == 0xFF:
        if data[at + 1] == 0xFF:  # a byte of padding
            at += 1
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        yield data[at + 1], at, end
        at = end


def _operator(kind: str) -> Callable[[Tensor, int, bool], Tensor] | None:
    """torchvision's decoder of a kind of file, None where there is none.

    The operator itself, because the function around it warns since torchvision 0.29 that it will go away.
    When it does, Pillow reads everything.
    """
    return getattr(torch.ops.image, f"decode_{kind.lower()}", None)


def _by_torchvision(data: bytes, kind: str, exif: bool) -> Tensor | None:
    """uint8 ``[3, h, w]``; None where torchvision does not decode it, and Pillow shall, or say why not."""
    operator = _operator(kind)
    if operator is None:
        return None
    try:
        return operator(torch.frombuffer(bytearray(data), dtype=torch.uint8), _RGB, exif)
    except RuntimeError:
        return None


def _by_pillow(data: bytes, name: str, exif: bool, at_least: int | None) -> tuple[Tensor, tuple[int, int]]:
    """uint8 ``[3, h, w]``, and the upright (height, width) that it has at full size."""
    with warnings.catch_warnings(action="ignore"), _open(data, name) as image:  # of metadata, mostly
        height, width = image.height, image.width
        if at_least is not None:
            image.draft(None, (at_least, at_least))
        try:
            image.load()
            turn = orientation_of(image) if exif else 1
            plain = _eight_bits(image)
            pixels = np.array(plain.transpose(_TURNS[turn]) if turn in _TURNS else plain)  # [h, w, 3]
        except Exception as error:  # Pillow's readers raise whatever a damaged file leads them to
            damaged = f"{name} is damaged: {_reason(error)}."
            raise DataError(damaged, hint="Replace it, or leave it out.") from None
    if at_least is None:
        full = (pixels.shape[0], pixels.shape[1])
    else:
        full = (width, height) if turn >= _SIDEWAYS else (height, width)
    return torch.from_numpy(pixels).permute(2, 0, 1), full


def orientation_of(image: Image.Image) -> int:
    """How the camera was held, 1 to 8; 1 where EXIF is missing or damaged, as in many web pictures."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # as above
        return 1


def _open(data: bytes, name: str) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data))
    except Exception as error:  # as above
        raise DataError(f"{name} {_no_image(data, error)}.", hint="Replace it, or leave it out.") from None


def _eight_bits(image: Image.Image) -> Image.Image:
    """RGB of 8 bits; `Image.convert` would clip 16 bits, not scale them."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        values = np.asarray(image).astype(np.uint32)
        image = Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise ValueError(f"its pixels are {image.mode}, 32 bits of an unknown range")
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


def _no_image(data: bytes, error: Exception) -> str:
    start = data[:256].lstrip().lower()
    if not data:
        return "is empty (0 bytes)"
    if start.startswith((b"<!doctype html", b"<html", b"<head")):
        return "is a web page, not an image"
    if start.startswith((b"<?xml", b"<svg")):
        return "is XML or SVG, not an image of pixels"
    if data[:2] == b"\x1f\x8b":
        return "is compressed by gzip, not an image"
    if data[:2] == b"\xff\xd8" or data[:8] == b"\x89PNG\r\n\x1a\n":
        return "is cut short or damaged: its header is not whole"
    return f"is no image that can be read: {_reason(error)}"


def _reason(error: Exception) -> str:
    """Pillow's words without the address of its buffer."""
    text = str(error).partition(" <_io")[0].rstrip(".") or type(error).__name__
    return text[:1].lower() + text[1:]


def _other_size(name: str, full: tuple[int, int], size: tuple[int, int], exif: bool) -> DataError:
    swapped = full == (size[1], size[0])
    other = "false" if exif else "true"
    return DataError(
        f"{name} is {full[1]} x {full[0]} pixels, but the annotations say {size[1]} x {size[0]}.",
        hint=f"If its boxes are right on the {'un' if exif else ''}turned image: --set data.exif={other}"
        if swapped
        else "Use the images that were annotated, or correct width and height in the json.",
    )

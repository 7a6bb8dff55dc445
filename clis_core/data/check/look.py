"""The bytes of an image file go in; what can be told of it without knowing what it should be comes out."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clis_core.data.decode import decode, header_of, orientation_of
from clis_core.data.near_duplicates import LOOK, colours_of, difference_hash
from clis_core.errors import DataError

_SIDEWAYS = 5  # from this EXIF orientation on the sides are swapped
_CHUNK = 8  # items that one thread takes in one go


class Look(NamedTuple):
    """What a file shows.

    Attributes:
        sha256: of its bytes.
        size: upright (height, width), pixels.
        stored: the same before EXIF turns it.
        orientation: EXIF's, 1 to 8.
        hash: see `difference_hash`.
        colours: see `colours_of`, uint8 ``[16, 16, 3]``.
    """

    sha256: bytes
    size: tuple[int, int]
    stored: tuple[int, int]
    orientation: int
    hash: int
    colours: NDArray[np.uint8]


def look_at(data: bytes, name: str) -> Look:
    """Look at an image: all of its data are read, at a part of its size where it is a JPEG.

    Args:
        data: the file's bytes.
        name: what to call it in a message.

    Raises:
        DataError: it cannot be decoded.
    """
    pixels = decode(data, name, at_least=LOOK)
    header = header_of(data, name)
    stored = (header.height, header.width)
    with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data)) as image:
        orientation = orientation_of(image)
    size = stored[::-1] if _SIDEWAYS <= orientation <= 8 else stored
    colours = colours_of(pixels).round().astype(np.uint8)
    return Look(hashlib.sha256(data).digest(), size, stored, orientation, difference_hash(pixels), colours)


def look_at_file(path: Path) -> Look:
    """Look at an image file.

    Raises:
        DataError: it cannot be read or decoded.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.", hint="Check its permissions.") from None
    return look_at(data, str(path))


Item = TypeVar("Item")


def look_at_all(
    items: Iterable[Item], look: Callable[[Item], Look], workers: int
) -> Iterator[tuple[Item, Look | DataError]]:
    """Look at many images in threads: Pillow and hashlib work outside of Python's lock.

    Args:
        items: what to look at; read at most two chunks a thread ahead of what is taken.
        look: looks at one.
        workers: threads.

    Yields:
        The items in their order, each with what was seen or what was wrong.
    """

    def some(chunk: list[Item]) -> list[tuple[Item, Look | DataError]]:
        return [(item, _or_error(look, item)) for item in chunk]

    ahead: deque[Future[list[tuple[Item, Look | DataError]]]] = deque()
    # Warnings are Python's own, not a thread's: who sets them aside in one thread may restore them in another's midst.
    with warnings.catch_warnings(action="ignore"), ThreadPoolExecutor(workers) as pool:
        try:
            for chunk in _chunks(items):
                ahead.append(pool.submit(some, chunk))
                if len(ahead) > 2 * workers:
                    yield from ahead.popleft().result()
            while ahead:
                yield from ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def _or_error(look: Callable[[Item], Look], item: Item) -> Look | DataError:
    try:
        return look(item)
    except DataError as error:
        return error


def _chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    chunk: list[Item] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk

"""An index file, or a tar that lost its index, goes in; the place of every picture in the tar comes out."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clis_core.data.shards.manifest import INDEX
from clis_core.errors import JSON_DAMAGE, NPY_DAMAGE, DataError

PARTS = (".jpg", ".json", ".cls")
"""The members of a sample, in their order."""


def read_index(path: Path, samples: int, size: int) -> NDArray[Any]:
    """Open an index; its entries stay on disk until they are used.

    Args:
        path: the ``.index.npy``.
        samples: number of entries that it must have.
        size: of the tar, bytes; no entry may point outside of it.

    Returns:
        `INDEX` ``[samples]``, memory-mapped, read-only.

    Raises:
        DataError: it is missing, damaged, or does not fit the tar.
    """
    try:
        index = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise _unusable(path, f"cannot be read: {error.strerror or error}") from None
    except NPY_DAMAGE:  # of a damaged header, or fewer bytes than it says
        raise _unusable(path, "is damaged or cut short") from None
    if not isinstance(index, np.ndarray) or index.dtype != INDEX or index.ndim != 1:
        raise _unusable(path, "is no index of a shard")
    if len(index) != samples:
        raise _unusable(path, f"has {len(index)} entries instead of {samples}")
    wrong = np.zeros(samples, bool)
    for start, length in (("offset", "size"), ("record", "record_size")):
        starts, lengths = index[start], index[length].astype(np.int64)
        wrong |= (starts < tarfile.BLOCKSIZE) | (lengths <= 0) | (starts > size - lengths)
    wrong |= (index["height"] <= 0) | (index["width"] <= 0)
    if wrong.any():
        raise _unusable(path, f"points outside of its tar in entry {int(wrong.argmax())}")
    return index


def index_tar(path: Path) -> NDArray[Any]:
    """Make the index of a tar anew, by walking its headers.

    Returns:
        `INDEX` ``[N]``, in the order of the tar.

    Raises:
        DataError: it is no tar, is cut short, or holds something else than whole samples.
    """
    entries: list[tuple[int, ...]] = []
    try:
        with tarfile.open(path, "r:") as tar:
            members: list[tarfile.TarInfo] = []
            for member in tar:
                members.append(member)
                if len(members) == len(PARTS):
                    entries.append(_entry(tar, members))
                    members = []
                    tar.members = []  # type: ignore[attr-defined]  # it would keep them all
        if members:
            raise ValueError(f"{members[0].name} is no whole sample")
        return np.array(entries, INDEX)
    except OSError as error:
        raise _unusable(path, f"cannot be read: {error.strerror or error}") from None
    except (tarfile.TarError, ValueError, OverflowError, EOFError) as error:
        raise _unusable(path, f"is no shard or is damaged, behind {len(entries)} samples: {error}") from None


def _entry(tar: tarfile.TarFile, members: list[tarfile.TarInfo]) -> tuple[int, ...]:
    """`INDEX` entry of three members."""
    key = members[0].name.removesuffix(PARTS[0])
    if [m.name for m in members] != [key + part for part in PARTS] or not all(m.isreg() for m in members):
        raise ValueError(f"{members[0].name} does not begin a sample of jpg, json and cls")
    picture, record, label = members
    if record.size > 1 << 20 or label.size > 20:
        raise ValueError(f"the json or cls of {key} is too large")
    fields, digits = (tar.extractfile(m) for m in (record, label))
    assert fields is not None and digits is not None  # noqa: PT018  (for mypy: they are regular files)
    try:
        facts = json.loads(fields.read())
        size = (int(facts["height"]), int(facts["width"]))
        category = int(digits.read())
    except (*JSON_DAMAGE, TypeError, KeyError, OverflowError):
        raise ValueError(f"the json or cls of {key} is damaged") from None
    return (picture.offset_data, picture.size, record.offset_data, record.size, category, *size)


def _unusable(path: Path, what: str) -> DataError:
    return DataError(f"{path} {what}.", hint=f"See what is left: clis shards verify {path.parent}")

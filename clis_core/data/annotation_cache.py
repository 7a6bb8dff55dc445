"""Arrays and a few facts go into a folder named by the content of their source; memory maps come out."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clis_core.errors import JSON_DAMAGE, NPY_DAMAGE
from clis_core.files import TEMPORARY, sync_folder, write_text

VERSION = 2
"""Raised whenever what is stored changes, so that older folders are written anew."""

Arrays = dict[str, NDArray[Any]]


def content_hash(path: Path, cache: Path) -> str:
    """SHA-256 of a file, remembered in ``cache`` by path, size and time of change.

    Hashing 1.1 GB takes 0.5 s and more; an unchanged file is not read again.
    """
    before = path.stat()
    seen = cache / f"{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]}.seen.json"
    state = {"path": str(path.resolve()), "size": before.st_size, "mtime_ns": before.st_mtime_ns}
    try:
        known = json.loads(seen.read_bytes())
        if all(known[k] == v for k, v in state.items()):
            return str(known["sha256"])
    except (*JSON_DAMAGE, OSError, KeyError, TypeError):
        pass
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    # A file may be written twice within one tick of the clock: one that young is hashed again next time.
    if time.time_ns() - before.st_mtime_ns > 2_000_000_000:
        write_text(seen, json.dumps({**state, "sha256": digest}))
    return digest


def load(folder: Path) -> tuple[Arrays, dict[str, Any]] | None:
    """Map the arrays of a folder.

    Returns:
        the arrays, read-only, and the facts; None where the folder is missing, damaged or of another version.
    """
    try:
        facts = json.loads((folder / "facts.json").read_bytes())
        if facts["version"] != VERSION:
            return None
        arrays = {}
        for name, (kind, shape) in facts["arrays"].items():
            empty = 0 in shape  # of which there is nothing to map
            stored = np.load(folder / f"{name}.npy", mmap_mode=None if empty else "r", allow_pickle=False)
            if stored.dtype.str != kind or list(stored.shape) != shape:
                return None
            arrays[name] = stored.view(np.ndarray)  # the map's own class makes each slice slow
        return arrays, facts["facts"]
    except (*JSON_DAMAGE, *NPY_DAMAGE, OSError, KeyError, AttributeError):
        return None


def store(folder: Path, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> bool:
    """Write a folder under a temporary name, and rename it: it is there whole, or not at all.

    Of several writers the first wins; the others leave its folder alone.

    Returns:
        whether the folder is there now; false where the disk is full or read-only.
    """
    part = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}{TEMPORARY}")
    try:
        part.mkdir(parents=True)
        for name, values in arrays.items():
            with (part / f"{name}.npy").open("wb") as file:
                np.save(file, values, allow_pickle=False)
                os.fsync(file.fileno())
        kinds = {name: (values.dtype.str, list(values.shape)) for name, values in arrays.items()}
        about = {"version": VERSION, "arrays": kinds, "facts": dict(facts)}
        write_text(part / "facts.json", json.dumps(about))
        _rename(part, folder)
        _sweep(folder)
    except OSError:
        return load(folder) is not None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return True


def _rename(part: Path, folder: Path) -> None:
    """Put the folder in its place, unless another writer has put a good one there."""
    try:
        part.rename(folder)
    except OSError:
        if load(folder) is not None:
            return
        damaged = folder.with_name(f"{part.name}.damaged")
        folder.rename(damaged)  # maps of it that are still open stay valid
        shutil.rmtree(damaged, ignore_errors=True)
        part.rename(folder)
    sync_folder(folder.parent)


def _sweep(folder: Path) -> None:
    """Remove what writers that were killed have left beside a folder."""
    for part in folder.parent.glob(f".{folder.name}.*"):
        if time.time() - part.stat().st_mtime > 3600:
            shutil.rmtree(part, ignore_errors=True)

"""The name of an official data set and its folder in; what there is of it, and what is to be fetched, out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import requests

from clis_core.data.download.answers import Remote
from clis_core.data.download.archives import PARTS, SETS, Archive, Part, SetName
from clis_core.data.download.part_file import have_of
from clis_core.data.download.transfer import Patience, look, open_session
from clis_core.data.download.unpack import count_files, sizes
from clis_core.data.shards.remote import shown
from clis_core.errors import JSON_DAMAGE, ConfigError, DataError

WORK = ".download"
"""Folder within the data set's: archives, pieces of them, and the record of what is done."""
DONE = "done.json"
State = Literal["done", "there", "unpack", "fetch"]

_STATES: dict[State, str] = {
    "done": "is done",
    "there": "is there already, not by clis: left as it is, unchecked",
    "unpack": "is fetched; to be unpacked",
    "fetch": "to be fetched",
}


@dataclass(frozen=True)
class Item:
    """An archive, and what is to do about it.

    Attributes:
        archive: which.
        state: what there is of it.
        remote: what the server says of it; None where it need not be asked.
        size: of the archive, bytes; None where nobody says.
        have: bytes that are there.
        staged: bytes that an earlier call has unpacked and not yet moved to their place.
    """

    archive: Archive
    state: State
    remote: Remote | None
    size: int | None
    have: int
    staged: int = 0

    @property
    def unpacked(self) -> int:
        """Bytes that unpacking will still write, about."""
        return max(0, round((self.size or 0) * self.archive.growth) - self.staged)

    @property
    def says(self) -> str:
        """The state in words."""
        return _STATES[self.state]


@dataclass(frozen=True)
class Plan:
    """What a download will do.

    Attributes:
        name: of the data set.
        folder: gets it.
        items: in the order in which they are fetched.
        keep: whether archives stay.
        to_fetch: bytes.
        needed: bytes of disk at the worst moment; an estimate, for only a fetched archive says what it unpacks to.
        free: bytes of disk.
        notes: what the user should know before.
    """

    name: SetName
    folder: Path
    items: tuple[Item, ...]
    keep: bool
    to_fetch: int
    needed: int
    free: int
    notes: tuple[str, ...] = ()

    @property
    def todo(self) -> list[Item]:
        """The archives that are not done."""
        return [item for item in self.items if item.state in ("fetch", "unpack")]

    def check_space(self) -> None:
        """Check that it fits.

        Raises:
            DataError: it does not.
        """
        check_space(self.folder, self.needed, self.free)

    def to_record(self) -> dict[str, Any]:
        """For json."""
        return {
            "set": self.name,
            "folder": str(self.folder),
            "to_fetch": self.to_fetch,
            "needed": self.needed,
            "free": self.free,
            "archives": [
                {
                    "name": item.archive.name,
                    "address": shown(item.remote.address) if item.remote else None,
                    "part": item.archive.part,
                    "state": item.state,
                    "size": item.size,
                    "have": item.have,
                    "sha256": item.archive.sha256,
                }
                for item in self.items
            ],
        }


def plan_download(
    name: str,
    folder: Path,
    *,
    only: Collection[str] = (),
    base_url: str | None = None,
    keep: bool = False,
    patience: Patience = Patience(),  # noqa: B008  (frozen)
    sets: Mapping[SetName, Sequence[Archive]] = SETS,
) -> Plan:
    """Look what is there and ask what is not; only servers of archives that are missing are contacted.

    Args:
        name: of the data set: "lvis-v1", "lvis-v0.5" or "coco-2017".
        folder: of the data set.
        only: parts of it, of `PARTS`; empty takes all.
        base_url: folder on the web that holds the archives by their names, in the place of the official ones.
        keep: leave archives where they are when they are unpacked.
        patience: with servers.
        sets: archives by the name of the data set.

    Raises:
        ConfigError: there is no such data set or part.
        DataError: an archive cannot be had, or is not the official one by its size.
    """
    archives = _archives(name, only, sets)
    done = read_done(folder)
    with open_session() as session:
        items = tuple(_item(session, archive, folder, done, base_url, patience) for archive in archives)
    known: SetName = next(known for known in sets if known == name)
    to_fetch = sum(max(0, (item.size or 0) - item.have) for item in items if item.state == "fetch")
    return Plan(
        known, folder, items, keep, to_fetch, _needed(items, keep), free_bytes(folder), _notes(known, folder, items)
    )


def staging_of(folder: Path, archive: Archive) -> Path:
    """Where an archive is unpacked before its files are moved to their place."""
    return folder / WORK / f"{archive.name}.unpacked"


def _notes(name: SetName, folder: Path, items: Sequence[Item]) -> tuple[str, ...]:
    parts = {item.archive.part for item in items}
    if name == "lvis-v1" and "train" not in parts and not (folder / "train2017").is_dir():
        return ("Most images of the validation set of LVIS v1 are in train2017.zip: evaluation needs it as well.",)
    return ()


def _archives(name: str, only: Collection[str], sets: Mapping[SetName, Sequence[Archive]]) -> list[Archive]:
    found = next((archives for known, archives in sets.items() if known == name), None)
    if found is None:
        raise ConfigError(f"There is no data set {name!r} to download.", hint=f"One of: {', '.join(sets)}")
    unknown = sorted(set(only) - set(PARTS))
    if unknown:
        raise ConfigError(f"There is no part {', '.join(unknown)}.", hint=f"As in --only {','.join(PARTS[:2])}")
    wanted: tuple[Part, ...] = tuple(part for part in PARTS if not only or part in only)
    return [archive for archive in found if archive.part in wanted]


def _item(
    session: requests.Session,
    archive: Archive,
    folder: Path,
    done: Mapping[str, Any],
    base_url: str | None,
    patience: Patience,
) -> Item:
    path = folder / WORK / archive.name
    whole = count_files(folder / archive.folder, archive.wanted) >= archive.files
    if whole and (archive.name in done or not path.exists()):
        return Item(archive, "done" if archive.name in done else "there", None, archive.size, archive.size or 0)
    address = f"{base_url.rstrip('/')}/{archive.name}" if base_url else archive.address + archive.name
    staged = sum(sizes(staging_of(folder, archive)).values())
    if path.exists():
        size = path.stat().st_size
        return Item(archive, "unpack", Remote(address, archive.size, ""), size, size, staged)
    remote = look(session, address, patience)
    if archive.size is not None and remote.size not in (None, archive.size):
        raise DataError(
            f"{shown(address)} has {remote.size} bytes, and the official {archive.name} has {archive.size}.",
            hint="Take another mirror, or the official address without --base-url",
        )
    size_or_none = archive.size if archive.size is not None else remote.size
    return Item(archive, "fetch", Remote(address, size_or_none, remote.tag), size_or_none, have_of(path), staged)


def _needed(items: Sequence[Item], keep: bool) -> int:
    used = most = 0
    for item in items:
        if item.state not in ("fetch", "unpack"):
            continue
        size = item.size or 0
        new = max(0, size - item.have)
        most = max(most, used + new + item.unpacked)
        used += item.unpacked + (new if keep else new - size)
    return most


def free_bytes(folder: Path) -> int:
    """Free bytes of the disk that a folder lies on, or will."""
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    return shutil.disk_usage(there).free


def check_space(folder: Path, needed: int, free: int, less: str = "parts alone: --only annotations,val") -> None:
    """Check that there is room.

    Args:
        folder: to write to.
        needed: bytes.
        free: bytes.
        less: how to need less.

    Raises:
        DataError: there is not.
    """
    if needed > free:
        raise DataError(
            f"{folder}: about {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free.",
            hint=f"Make room, take another disk with -o DIR, or {less}",
        )


def read_done(folder: Path) -> dict[str, Any]:
    """What clis has noted as done in a folder, by the names of archives."""
    try:
        found = json.loads((folder / WORK / DONE).read_bytes())
    except (OSError, *JSON_DAMAGE):
        return {}
    return found if isinstance(found, dict) else {}

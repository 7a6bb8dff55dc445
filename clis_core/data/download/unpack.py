"""A zip archive of strangers in; the wanted files of it in a folder out, each whole or not there.

No path of the archive is used but the base name. Links, encrypted and unknown members are not written, and sizes are
bounded before a byte is unpacked.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from clis_core.data.download.part_file import naming_full_disk
from clis_core.files import TEMPORARY, sync_folder
from clis_core.report import Reporter

MOST_GROWTH = 50
"""An archive may unpack to so many times its size; annotations reach four."""
MOST_DIRECTORY = 256 << 20
"""Bytes of the archive's own list of files, which is read into memory."""
_PIECE = 1 << 20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_END = b"PK\x05\x06"
_END_64 = b"PK\x06\x07"


class DamagedArchiveError(Exception):
    """A file that is no whole zip archive, or one that must not be unpacked."""


@dataclass(frozen=True)
class Contents:
    """What shall be unpacked of an archive.

    Attributes:
        members: by base name.
        size: of all of them unpacked, bytes.
        others: files that are left out.
    """

    members: dict[str, zipfile.ZipInfo]
    size: int
    others: int


@dataclass
class Unpacked:
    """What was done.

    Attributes:
        written: new files.
        there: files that were there, of the right size.
        other: names of files that were there, and have another size than the archive's; they are left as they are.
    """

    written: int
    there: int
    other: list[str]


def read_contents(archive: Path, wanted: re.Pattern[str]) -> Contents:
    """The files of an archive whose base names match.

    Raises:
        DamagedArchiveError: it is no zip, is cut short, holds none of these, or would unpack to what it must not.
    """
    size = archive.stat().st_size
    if _directory_bytes(archive) > MOST_DIRECTORY:
        raise DamagedArchiveError("its list of files is too large")
    try:
        with zipfile.ZipFile(archive) as file:
            infos = file.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise DamagedArchiveError(f"it is no whole zip: {error}") from None
    members: dict[str, zipfile.ZipInfo] = {}
    others = 0
    for info in infos:
        name = info.filename.rpartition("/")[2]
        if info.is_dir():
            continue
        if not wanted.fullmatch(name) or info.filename.startswith("__MACOSX/"):
            others += 1
            continue
        _check_member(info)
        if name in members:
            raise DamagedArchiveError(f"it holds {name} twice")
        members[name] = info
    total = sum(info.file_size for info in members.values())
    if not members:
        raise DamagedArchiveError(f"it holds no file called {wanted.pattern}")
    if total > MOST_GROWTH * size:
        raise DamagedArchiveError(f"its {size} bytes would unpack to {total}, more than {MOST_GROWTH} times as many")
    return Contents(members, total, others)


def unpack(archive: Path, contents: Contents, staging: Path, place: Path, *, reporter: Reporter) -> Unpacked:
    """Unpack into ``staging`` what is not in ``place`` yet, then move it there.

    A process that is killed leaves whole files in either; the next call goes on. Where ``place`` is not there, it
    appears with all its files at once.

    Args:
        archive: the zip.
        contents: of `read_contents`.
        staging: a folder of ours, on the same disk.
        place: where the files go; what is there is left as it is.
        reporter: gets progress.

    Raises:
        DamagedArchiveError: a member's bytes are not what the archive says of them.
        DataError: the disk is full.
    """
    done = Unpacked(0, 0, [])
    task, total = f"{archive.name} unpacked, files", len(contents.members)
    with naming_full_disk(place), _open(archive) as file:
        staging.mkdir(parents=True, exist_ok=True)
        there = sizes(place)
        for number, (name, info) in enumerate(contents.members.items(), 1):
            if name in there:
                same = there[name] == info.file_size
                done.there += same
                done.other += [] if same else [name]
            elif not _is_whole(staging / name, info):
                _extract(file, info, staging / name)
            if number < total:
                reporter.progress(task, number, total)
        done.written = _publish(staging, place, contents)
    reporter.progress(task, total, total)
    return done


def count_files(place: Path, wanted: re.Pattern[str]) -> int:
    """How many files of a folder have names that match."""
    try:
        with os.scandir(place) as entries:  # without their sizes: on a network disk each would be asked for
            return sum(wanted.fullmatch(entry.name) is not None for entry in entries)
    except FileNotFoundError:
        return 0


def missing_bytes(contents: Contents, staging: Path, place: Path) -> int:
    """What `unpack` will write."""
    there = {**sizes(staging), **sizes(place)}
    return sum(info.file_size for name, info in contents.members.items() if name not in there)


def sizes(folder: Path) -> dict[str, int]:
    """The files of a folder with their bytes; none where there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
    except FileNotFoundError:
        return {}


def _open(archive: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(archive)
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise DamagedArchiveError(f"it is no whole zip: {error}") from None


def _check_member(info: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise DamagedArchiveError(f"{info.filename} is a link or a device")
    if info.flag_bits & _ENCRYPTED or info.compress_type not in _METHODS:
        raise DamagedArchiveError(f"{info.filename} is encrypted, or packed in an unusual way")


def _extract(file: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> None:
    """Write one member; `zipfile` stops at the stated size and checks the CRC."""
    temporary = target.with_name(f".{target.name}{TEMPORARY}")
    try:
        with file.open(info) as source, temporary.open("wb") as out:
            shutil.copyfileobj(source, out, _PIECE)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DamagedArchiveError(f"{info.filename}: {error}") from None
    if temporary.stat().st_size != info.file_size:
        raise DamagedArchiveError(f"{info.filename}: it has not the {info.file_size} bytes that the archive states")
    temporary.replace(target)


def _is_whole(path: Path, info: zipfile.ZipInfo) -> bool:
    """Whether an earlier call has written a member; its bytes may not have reached the disk."""
    try:
        if path.stat().st_size != info.file_size:
            return False
        crc = 0
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                crc = zlib.crc32(piece, crc)
    except OSError:
        return False
    return crc == info.CRC


def _publish(staging: Path, place: Path, contents: Contents) -> int:
    """Move the files to their place; how many are new there comes out."""
    for path in staging.iterdir():
        if path.name not in contents.members:
            path.unlink()
    names = [path.name for path in staging.iterdir()]
    _sync()
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        staging.rename(place)
    else:
        new = [name for name in names if not (place / name).exists()]
        for name in new:
            (staging / name).rename(place / name)
        shutil.rmtree(staging)
        sync_folder(place)
        names = new
    sync_folder(place.parent)
    return len(names)


def _sync() -> None:
    """Bring all files to the disk: one call in the place of one for each of a hundred thousand."""
    if hasattr(os, "sync"):
        os.sync()


def _directory_bytes(archive: Path) -> int:
    """What a zip says of the length of its list of files; 0 where it is no zip."""
    with archive.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        start = file.seek(max(0, size - (1 << 16) - 22 - 20))
        tail = file.read()
        at = tail.rfind(_END)
        if at < 0 or at + 22 > len(tail):
            return 0
        (length,) = struct.unpack_from("<I", tail, at + 12)
        if length != 0xFFFFFFFF or at < 20 or tail[at - 20 : at - 16] != _END_64:
            return int(length)
        (place,) = struct.unpack_from("<Q", tail, at - 12)
        if place >= start + at:
            return 0
        file.seek(place + 40)
        return int.from_bytes(file.read(8), "little")

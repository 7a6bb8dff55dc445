"""`clis shards fetch`: the address of a folder of shards in; the folder on disk, with its tars or without, out."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import requests

from clis_core.data.download.part_file import digest_of, have_of, naming_full_disk, size_of
from clis_core.data.download.transfer import Patience, WrongBytesError, fetch, look, open_session
from clis_core.data.shards.manifest import MANIFEST, Manifest, ShardFile, read_manifest
from clis_core.data.shards.origin import ORIGIN, check_address, write_origin
from clis_core.data.shards.out_folder import finished_already, is_finished
from clis_core.data.shards.places import MOST_BYTES
from clis_core.errors import DataError
from clis_core.files import locked
from clis_core.jobs.download_plan import check_space, free_bytes
from clis_core.report import Reporter

WORK = ".fetch"
"""Folder within the shards': the manifest until all else is there, and the lock.

The manifest is in its folder `NEW` until all files that were there before have been checked by it.
"""
NEW = "new"


def fetch_shards(
    address: str,
    out: Path,
    *,
    leave_tars: bool = False,
    patience: Patience = Patience(),  # noqa: B008  (frozen)
    reporter: Reporter,
) -> Manifest:
    """Copy a folder of shards from a web server; each file is checked by the hash that the manifest has of it.

    It may be stopped at any moment: the same call goes on. A folder without its tars gets them by a call that does
    not leave them.

    Args:
        address: of the folder, as in ``https://host/shards``.
        out: the folder to make.
        leave_tars: fetch the manifest and the indices alone; the pictures are read from the server when they are used.
        patience: with the server.
        reporter: gets progress and messages.

    Returns:
        What the folder holds.

    Raises:
        ConfigError: it is no such address.
        DataError: something cannot be had, is not what the manifest says, does not fit on the disk, or ``out`` holds
            other shards.
    """
    address = check_address(address)
    work = out / WORK
    with naming_full_disk(out):
        (work / NEW).mkdir(parents=True, exist_ok=True)
        with locked(work / ".lock") as held, open_session() as session:
            if not held:
                raise DataError(f"{out}: another process fetches into it.", hint="Wait for it, or -o DIR")
            manifest = _fetch_manifest(session, address, out, patience, reporter)
            if not leave_tars:
                missing = [shard for shard in manifest.shards if not _is_there(out / shard.name, shard.size)]
                needed = sum(shard.size - have_of(out / shard.name) for shard in missing)
                check_space(out, needed, free_bytes(out), "leave the pictures on the server: --leave-tars")
            for number, shard in enumerate(manifest.shards):
                for name, size, sha256 in _files(shard)[: 1 if leave_tars else 2]:
                    if not _is_there(out / name, size):
                        _fetch(session, f"{address}/{name}", out / name, size, sha256, patience, reporter)
                reporter.progress("shards", number + 1, len(manifest.shards))
            if leave_tars:
                write_origin(out, address)
            else:
                (out / ORIGIN).unlink(missing_ok=True)
            (work / MANIFEST).replace(out / MANIFEST)
        shutil.rmtree(work)
    return manifest


def _fetch_manifest(
    session: requests.Session, address: str, out: Path, patience: Patience, reporter: Reporter
) -> Manifest:
    """Fetch the manifest into the folder's `WORK`; all of its files that are there already are those that it names.

    Raises:
        DataError: it cannot be had, or something in the folder is of other shards.
    """
    work, new = out / WORK, out / WORK / NEW
    (new / MANIFEST).unlink(missing_ok=True)
    _fetch(session, f"{address}/{MANIFEST}", new / MANIFEST, None, None, patience, reporter)
    manifest, text = read_manifest(new), (new / MANIFEST).read_bytes()
    if is_finished(out) and (out / MANIFEST).read_bytes() != text:
        raise finished_already(out)
    checked = next((path.read_bytes() for path in (out / MANIFEST, work / MANIFEST) if path.is_file()), None)
    if checked != text:
        (work / MANIFEST).unlink(missing_ok=True)
        for shard in manifest.shards:
            _check_there(out, shard, reporter)
    (new / MANIFEST).replace(work / MANIFEST)
    return manifest


def _files(shard: ShardFile) -> list[tuple[str, int | None, str]]:
    """Name, size where the manifest has it, and sha256 of a shard's files: the index, and the tar."""
    return [(shard.index_name, None, shard.index_sha256), (shard.name, shard.size, shard.sha256)]


def _is_there(path: Path, size: int | None) -> bool:
    return path.is_file() and size in (None, size_of(path))


def _check_there(out: Path, shard: ShardFile, reporter: Reporter) -> None:
    """Check those of a shard's files that are there: shards of others have the same names.

    Raises:
        DataError: one is of others.
    """
    for name, size, sha256 in _files(shard):
        path = out / name
        if path.is_file() and not (_is_there(path, size) and digest_of(path, name, reporter) == sha256):
            raise DataError(
                f"{path} is not that of the server's manifest: it is of other shards, or these were built anew.",
                hint=f"Take another folder: -o DIR; or remove it: rm {shlex.quote(str(path))}",
            )


def _fetch(
    session: requests.Session,
    address: str,
    path: Path,
    size: int | None,
    sha256: str | None,
    patience: Patience,
    reporter: Reporter,
) -> None:
    remote = look(session, address, patience)
    if sha256 is None and (remote.size or 0) > MOST_BYTES:
        raise DataError(f"{address} has {remote.size} bytes, which no manifest has.", hint="Check the address")
    try:
        if None not in (size, remote.size) and size != remote.size:
            raise WrongBytesError(f"it has {remote.size} bytes, not {size}")
        fetch(session, remote, path, sha256=sha256, patience=patience, reporter=reporter)
    except WrongBytesError as error:
        raise DataError(
            f"{path.name} is not what the manifest says: {error}.",
            hint="The folder on the server is not whole, or was built anew meanwhile: copy it there once more",
        ) from None

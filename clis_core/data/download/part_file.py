"""A file to fetch in; what is there of it on disk, and what the server said of that, out."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from clis_core.data.download.answers import Remote
from clis_core.data.shards.remote import shown
from clis_core.errors import JSON_DAMAGE, DataError
from clis_core.files import write_text
from clis_core.report import Reporter

PART = ".part"
MB = 1_000_000
PIECE = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)


def have_of(path: Path) -> int:
    """Bytes of a file that an earlier attempt has left."""
    return size_of(path.with_name(path.name + PART))


def discard(path: Path) -> None:
    """Throw a file away, and what is there of it."""
    part = path.with_name(path.name + PART)
    for file in (path, part, note_of(part)):
        file.unlink(missing_ok=True)


def resumable(part: Path, remote: Remote, checked: bool) -> tuple[str, int]:
    """The tag of what is there, and its bytes; none where nothing would tell that the rest is of another file."""
    note = _read_note(part)
    tag = str(note.get("tag", "")) if note.get("address") == shown(remote.address) else ""
    return tag, size_of(part) if note and (tag or checked) else 0


def is_whole(part: Path, remote: Remote, checked: bool) -> bool:
    """Whether nothing of the file is missing."""
    tag, have = resumable(part, remote, checked)
    return have == remote.size and (checked or tag == remote.tag)


def digest_of(part: Path, name: str, reporter: Reporter) -> str:
    """Its sha256."""
    digest, size, done = hashlib.sha256(), size_of(part), 0
    task, most = f"{name} checked, MB", max(1, -(-size // MB))
    with part.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
            done += len(piece)
            reporter.progress(task, min(done // MB, most - 1), most)
    reporter.progress(task, most, most)
    return digest.hexdigest()


def note_of(part: Path) -> Path:
    """Where it stands what the server said of the file."""
    return part.with_name(part.name + ".json")


def write_note(part: Path, address: str, tag: str, size: int | None) -> None:
    """Write beside the part what the server says of its file."""
    write_text(note_of(part), json.dumps({"address": shown(address), "tag": tag, "size": size}))


def _read_note(part: Path) -> dict[str, object]:
    try:
        note = json.loads(note_of(part).read_bytes())
    except (OSError, *JSON_DAMAGE):
        return {}
    return note if isinstance(note, dict) else {}


def size_of(path: Path) -> int:
    """Bytes of a file, 0 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


@contextlib.contextmanager
def naming_full_disk(path: Path) -> Iterator[None]:
    """A block whose "no space left" leaves it as a `DataError`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DataError(
            f"The disk is full: {path}; what has come is kept.",
            hint="Make room, and run the same command again: it goes on. Or take another disk: -o DIR",
        ) from None

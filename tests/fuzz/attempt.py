"""A reader and bytes go in; what was wrong with how it took them comes out."""

from __future__ import annotations

import contextlib
import os
import signal
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from clis_core.errors import ClisError
from tests.fuzz.readers import Reader

SECONDS = 20


class TooLongError(BaseException):
    """A reader took too long."""


def lay_out(reader: Reader, folder: Path) -> Path:
    """Write what stands beside the file; its path comes out."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in reader.beside.items():
        (folder / name).write_bytes(data)
    return folder / reader.name


def attempt(reader: Reader, path: Path, data: bytes) -> str | None:
    """Read bytes; None where it was taken or refused in good order, else what came and where."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()  # a map of the last one may be open
    path.write_bytes(data)
    before = set(os.listdir(path.parent))
    try:
        with _limited(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader.read(path)
    except ClisError as error:
        if not error.hint:
            return f"no hint: {error.message[:100]}"
    except TooLongError:
        return f"more than {SECONDS} s"
    except BaseException as error:  # MemoryError and RecursionError as well
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "clis_core" in f.filename]
        place = f"{Path(frames[-1].filename).name}:{frames[-1].name}" if frames else "?"
        return f"{type(error).__name__} in {place}: {str(error)[:120]}"
    if new := set(os.listdir(path.parent)) - before:
        return f"wrote {sorted(new)}"
    return None


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    def late(number: int, frame: FrameType | None) -> None:
        raise TooLongError

    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of the processor: others may keep it busy
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)

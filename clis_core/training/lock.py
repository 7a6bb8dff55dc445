"""A run folder in, a lock out: two processes never train in the same folder."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from clis_core.errors import CheckpointError

NAME = ".lock"


@contextlib.contextmanager
def run_lock(run: Path) -> Iterator[None]:
    """Hold a run folder; the system lets go of it when the process ends, however it ends.

    Raises:
        CheckpointError: another process holds it.
    """
    if sys.platform == "win32":  # has no flock
        yield
        return
    import fcntl

    with (run / NAME).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CheckpointError(
                f"{run}: another process is training in this folder.", hint="Choose another one: -o FOLDER"
            ) from None
        except OSError:  # a file system without locks
            yield
            return
        yield

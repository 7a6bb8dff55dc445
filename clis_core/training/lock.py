"""A run folder in, a lock out: two processes never train in the same folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from clis_core.errors import CheckpointError
from clis_core.files import locked

NAME = ".lock"


@contextlib.contextmanager
def run_lock(run: Path) -> Iterator[None]:
    """Hold a run folder; the system lets go of it when the process ends, however it ends.

    Raises:
        CheckpointError: another process holds it.
    """
    with locked(run / NAME) as held:
        if not held:
            raise CheckpointError(
                f"{run}: another process is training in this folder.", hint="Choose another one: -o FOLDER"
            )
        yield

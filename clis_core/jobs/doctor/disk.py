"""The folder of the runs in; free space and writing speed of its disk out."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

from clis_core.jobs.doctor.checks import Check

LITTLE = 10_000_000_000
NOTHING = 200_000_000
SLOW = 20e6
_PIECE = 4 << 20
_MOST = 32
_SECONDS = 1.5


def disk(runs: Path) -> list[Check]:
    """Whether a run can be written, and how fast.

    Args:
        runs: folder of the runs; it need not be there yet.
    """
    place = existing(runs)
    free = shutil.disk_usage(place).free
    figures: dict[str, object] = {"folder": str(place), "free": free}
    try:
        speed = write_speed(place)
    except OSError as error:
        text = f"Nothing can be written into {place}: {error.strerror or error}."
        return [Check("disk", "error", text, f"chmod u+w {place}, or another folder: -o FOLDER", figures)]
    figures["bytes_per_second"] = round(speed)
    text = f"{free / 1e9:.1f} GB free in {place}, written at {speed / 1e6:.0f} MB/s"
    if free < NOTHING:
        return [Check("disk", "error", f"Only {text}: no checkpoint fits.", "Make room, or -o FOLDER", figures)]
    if free < LITTLE:
        hint = "Checkpoints of large detectors take some hundred MB each: --set train.keep=1, or make room"
        return [Check("disk", "warning", f"Only {text}.", hint, figures)]
    if speed < SLOW:
        hint = "Put runs on a local disk: -o FOLDER, or runs in clis.toml"
        return [Check("disk", "warning", f"{text}: checkpoints will take long.", hint, figures)]
    return [Check("disk", "fine", f"{text}.", None, figures)]


def existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    absolute = folder.absolute()
    return next(place for place in (absolute, *absolute.parents) if place.is_dir())


def write_speed(folder: Path) -> float:
    """Bytes a second of a short test, to the disk and not to memory; the file has no name where the system can.

    Raises:
        OSError: nothing can be written.
    """
    piece = os.urandom(_PIECE)
    with tempfile.TemporaryFile(dir=folder, prefix=".clis-doctor-") as file:
        began = time.perf_counter()
        written = 0
        while written < _MOST * _PIECE and time.perf_counter() - began < _SECONDS:
            written += file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        return written / max(time.perf_counter() - began, 1e-9)

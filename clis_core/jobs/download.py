"""`clis download`: a plan of what is missing of an official data set in, its folder as training expects it out."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import requests

from clis_core.data.download.archives import Archive
from clis_core.data.download.part_file import discard
from clis_core.data.download.transfer import Patience, WrongBytesError, fetch, open_session
from clis_core.data.download.unpack import DamagedArchiveError, Unpacked, missing_bytes, read_contents, unpack
from clis_core.data.layout import find_dataset
from clis_core.errors import DataError, Interrupted
from clis_core.files import locked, write_text
from clis_core.jobs.download_plan import DONE, WORK, Item, Plan, check_space, free_bytes, read_done, staging_of
from clis_core.report import Reporter

_TRIALS = 2


@dataclass
class Downloaded:
    """What was done.

    Attributes:
        folder: of the data set.
        archives: by name: what was written of it.
    """

    folder: Path
    archives: dict[str, Unpacked] = field(default_factory=dict)

    def to_record(self) -> dict[str, Any]:
        """For json."""
        return {
            name: {"written": found.written, "there": found.there, "other": len(found.other)}
            for name, found in self.archives.items()
        }


def download(plan: Plan, *, patience: Patience = Patience(), reporter: Reporter) -> Downloaded:  # noqa: B008
    """Fetch, check and unpack what a plan says.

    Everything may be stopped at any moment: the same call goes on.

    Args:
        plan: of `plan_download`.
        patience: with servers.
        reporter: gets progress and messages.

    Raises:
        DataError: an archive cannot be had or is not the official one, the disk is full, or another process
            downloads into this folder.
        Interrupted: SIGINT or SIGTERM; what has come is kept.
    """
    work = plan.folder / WORK
    result = Downloaded(plan.folder)
    _remove_left(plan)
    if not plan.todo:
        reporter.info(f"{plan.folder}: there is nothing to do.")
        return result
    plan.check_space()
    work.mkdir(parents=True, exist_ok=True)
    with _stoppable(plan), locked(work / ".lock") as held, open_session() as session:
        if not held:
            raise DataError(f"{plan.folder}: another process downloads into it.", hint="Wait for it, or -o DIR")
        for item in plan.todo:
            result.archives[item.archive.name] = _get(session, item, plan, patience, reporter)
    _look_at_whole(plan, reporter)
    return result


def _get(session: requests.Session, item: Item, plan: Plan, patience: Patience, reporter: Reporter) -> Unpacked:
    """One archive: fetched, unpacked, noted as done; once more from its start if it is damaged."""
    archive, path = item.archive, plan.folder / WORK / item.archive.name
    place = plan.folder / archive.folder
    why = ""
    for trial in range(_TRIALS):
        try:
            if not path.exists():
                assert item.remote is not None  # of what is to be done
                fetch(session, item.remote, path, sha256=archive.sha256, patience=patience, reporter=reporter)
            contents = read_contents(path, archive.wanted)
            if len(contents.members) != archive.files:
                raise DamagedArchiveError(f"it holds {len(contents.members)} files, not {archive.files}")
            staging = staging_of(plan.folder, archive)
            check_space(plan.folder, missing_bytes(contents, staging, place), free_bytes(plan.folder))
            found = unpack(path, contents, staging, place, reporter=reporter)
        except (WrongBytesError, DamagedArchiveError) as error:
            why = str(error)
            discard(path)
            if trial + 1 < _TRIALS:
                reporter.warn(f"{archive.name}: {why}; fetching it anew")
        else:
            _note_done(plan.folder, archive, plan.keep)
            if not plan.keep:
                path.unlink()
            _tell(archive, found, contents.others, place, reporter)
            return found
    raise DataError(
        f"{archive.name} is not what it should be, {_TRIALS} times: {why}.",
        hint="A proxy or a mirror may change it: try another network, or the official address without --base-url",
    )


def _tell(archive: Archive, found: Unpacked, others: int, place: Path, reporter: Reporter) -> None:
    checked = "its sha256 is as known" if archive.sha256 else "no checksum of it is known: its CRCs are right"
    left = f", {others} others left out" if others else ""
    there = f", {found.there} were there" if found.there else ""
    reporter.info(f"{archive.name}: {checked}; {found.written} files into {place}{there}{left}")
    if found.other:
        reporter.warn(
            f"{place}: {len(found.other)} files have another size than in {archive.name}, and were left as they are, "
            f"such as {found.other[0]}; to replace them, delete them and run the command again."
        )


def _note_done(folder: Path, archive: Archive, keep: bool) -> None:
    done = {**read_done(folder), archive.name: {"files": archive.files, "sha256": archive.sha256, "kept": keep}}
    write_text(folder / WORK / DONE, json.dumps(done, indent=1) + "\n")


def _remove_left(plan: Plan) -> None:
    """Remove archives that a process that was killed has unpacked, and had no time to remove."""
    done = read_done(plan.folder)
    for item in plan.items:
        entry = done.get(item.archive.name)
        if item.state == "done" and isinstance(entry, dict) and entry.get("kept") is False:
            discard(plan.folder / WORK / item.archive.name)


def _look_at_whole(plan: Plan, reporter: Reporter) -> None:
    """Say what training would stumble over, as annotations of two data sets in one folder."""
    if all(item.archive.part != "annotations" for item in plan.items):
        return
    try:
        find_dataset(plan.folder)
    except DataError as error:
        reporter.warn(f"{error.message} {error.hint}")


@contextlib.contextmanager
def _stoppable(plan: Plan) -> Iterator[None]:
    """Make SIGTERM what Ctrl-C is, at once: nothing here minds where it is stopped."""
    caught: list[str] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if not caught:  # schedulers send it twice
            caught.append(signal.Signals(number).name)
            raise KeyboardInterrupt

    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)} if main else {}
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(
            f"Stopped by {''.join(caught) or 'SIGINT'}; what has come is kept in {plan.folder / WORK}.",
            hint="Run the same command again to go on.",
        ) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""A command, a kind of fault and a dice go in; the command runs, is disturbed and goes on; what was wrong comes out."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.faults.compare import differences, digests, litter
from tests.faults.process import Disturbance, Ended, children_of, run
from tests.faults.world import OUT, Command, damage

TYPED = (3, 4, 5, 6, 130)
AFTER_SIGNAL = {signal.SIGTERM: (130, -signal.SIGTERM), signal.SIGINT: (130, -signal.SIGINT)}


@dataclass(frozen=True)
class Reference:
    """What a command does undisturbed.

    Attributes:
        files: what it leaves.
        varying: files that are not the same each time.
        seconds: that it takes.
        events: changes of files that it makes.
    """

    files: dict[str, str]
    varying: set[str]
    seconds: float
    events: int


@dataclass(frozen=True)
class Outcome:
    """What came of a trial.

    Attributes:
        ended: "finished", "typed error", "killed": how the disturbed process ended.
        equal: whether the result is the undisturbed one in the end.
        detail: what was done, and what was said.
        wrong: what should not be; empty is well.
        left: temporary files that were left in the end.
        warned: whether a process that finished had warned.
    """

    ended: str
    equal: bool
    detail: str
    wrong: tuple[str, ...]
    left: tuple[str, ...] = ()
    warned: bool = False


class Trial:
    """One run of a command that is disturbed.

    Args:
        command: which.
        world: the folder with its inputs.
        work: its own folder, which is emptied; always the same one, for paths stand in results.
        reference: what it does undisturbed.
        dice: of the moment and the place.
    """

    def __init__(self, command: Command, world: Path, work: Path, reference: Reference, dice: random.Random) -> None:
        self.command, self.world, self.work, self.reference, self.dice = command, world, work, reference, dice
        self.out = work / OUT

    def prepare(self) -> None:
        """Make the folder as the command expects it."""
        prepare(self.command, self.world, self.work)

    def moment(self) -> float:
        """Seconds, at random within what the command takes."""
        return self.dice.uniform(0.0, 1.05 * self.reference.seconds)

    def first(self, how: Disturbance) -> Ended:
        """Run the command disturbed."""
        return run(self.command.words, self.work, how)

    def judge(self, ended: Ended, detail: str, *, allowed: tuple[int, ...] = ()) -> Outcome:
        """Go on undisturbed where it did not finish, and compare.

        Args:
            ended: the disturbed process.
            detail: what was done to it.
            allowed: exit codes that are no typed error and yet in order.
        """
        wrong = []
        if ended.code not in (0, *allowed) and not is_typed(ended):
            wrong.append(f"ended with {ended.code}: {ended.said.strip()[-600:]!r}")
        if ended.code:
            again = self._again()
            if again.code and not self._was_finished(again):
                wrong.append(f"cannot go on, {again.code}: {again.said.strip()[-600:]!r}")
        found = digests(self.out)
        different = differences(self.reference.files, found, self.reference.varying)
        how = "finished" if ended.code == 0 else "killed" if ended.code < 0 else "typed error"
        lines = [line for line in ended.said.splitlines() if line.startswith(("Error", "Stopped", "Hint"))]
        said = " | ".join(lines)[:300]
        warned = ended.code == 0 and "Warning" in ended.said
        return Outcome(how, not different, f"{detail}; {said}", tuple(wrong + different), tuple(litter(found)), warned)

    def _again(self) -> Ended:
        again = run(self.command.again or self.command.words, self.work)
        if again.code in TYPED and self.command.again:  # it was stopped before there was something to go on with
            shutil.rmtree(self.out, ignore_errors=True)
            self.out.mkdir(exist_ok=True)
            again = run(self.command.words, self.work)
        return again

    def _was_finished(self, ended: Ended) -> bool:
        return is_typed(ended) and "already finished" in ended.said


def is_typed(ended: Ended) -> bool:
    """Whether a process ended with an error that says what to do."""
    told = "Hint: " in ended.said or "Interrupted." in ended.said
    return ended.code in TYPED and told and "Traceback" not in ended.said and "This is a bug" not in ended.said


def prepare(command: Command, world: Path, work: Path) -> None:
    """Make the folder of a trial."""
    shutil.rmtree(work, ignore_errors=True)
    (work / OUT).mkdir(parents=True)
    for name in command.inputs:
        source = world / name
        if source.is_dir():
            shutil.copytree(source, work / name, copy_function=shutil.copy2)
        else:
            shutil.copy2(source, work / name)
    for place, name in command.outputs.items():
        shutil.copytree(world / name, work / place)


def kill_at_a_time(trial: Trial) -> Outcome:
    at = trial.moment()
    ended = trial.first(Disturbance(at_time=at, action=lambda process: os.kill(process, signal.SIGKILL)))
    return trial.judge(ended, f"at {at:.2f} s", allowed=(-signal.SIGKILL,))


def kill_at_a_write(trial: Trial) -> Outcome:
    """Twice: what goes on is killed as well."""
    at = trial.dice.randrange(trial.reference.events)
    ended = trial.first(Disturbance(at_event=at))
    detail = f"at change {at} of {trial.reference.events}"
    if trial.dice.random() < 0.5 and ended.code:
        second = trial.dice.randrange(trial.reference.events)
        run(trial.command.again or trial.command.words, trial.work, Disturbance(at_event=second))
        detail += f", then at {second}"
    return trial.judge(ended, detail, allowed=(-signal.SIGKILL,))


def _signalled(number: signal.Signals) -> Callable[[Trial], Outcome]:
    def disturb(trial: Trial) -> Outcome:
        at = trial.moment()
        group = trial.dice.random() < 0.5  # as a terminal or a scheduler does

        def send(process: int) -> None:
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if group else os.kill)(process, number)

        ended = trial.first(Disturbance(at_time=at, action=send))
        return trial.judge(ended, f"at {at:.2f} s{' to the group' if group else ''}", allowed=AFTER_SIGNAL[number])

    return disturb


def full_disk(trial: Trial) -> Outcome:
    """A file system of its own that is too small."""
    whole = sum(path.stat().st_size for path in trial.world.parent.glob(f"reference/{trial.command.name}/**/*"))
    before = sum(path.stat().st_size + 8192 for path in trial.out.rglob("*"))  # in whole pages
    size = before + int(trial.dice.uniform(0.02, 1.0) * max(whole - before, 20_000))
    with small_disk(trial.out, size) as grow:
        ended = trial.first(Disturbance())
        grow()
        return trial.judge(ended, f"of {size} bytes, {whole} are needed")


def full_at_a_write(trial: Trial) -> Outcome:
    at = trial.dice.randrange(trial.reference.events)
    ended = trial.first(Disturbance(at_event=at, event="full"))
    return trial.judge(ended, f"at change {at} of {trial.reference.events}")


def file_size(trial: Trial) -> Outcome:
    sizes = [path.stat().st_size for path in (trial.world.parent / "reference" / trial.command.name).rglob("*")]
    limit = trial.dice.randrange(200, max(400, *sizes))
    ended = trial.first(Disturbance(file_size=limit))
    return trial.judge(ended, f"files of at most {limit} bytes")


def read_only(trial: Trial) -> Outcome:
    _permit(trial.out, 0o555, 0o444)
    ended = trial.first(Disturbance(obeys_permissions=True))
    _permit(trial.out, 0o755, 0o644)
    return trial.judge(ended, "from the start")


def becomes_read_only(trial: Trial) -> Outcome:
    at = trial.moment()

    def forbid(_: int) -> None:
        _permit(trial.out, 0o555, 0o444)

    ended = trial.first(Disturbance(at_time=at, action=forbid, obeys_permissions=True))
    _permit(trial.out, 0o755, 0o644)
    return trial.judge(ended, f"at {at:.2f} s")


def _permit(folder: Path, folders: int, files: int) -> None:
    for path in (folder, *folder.rglob("*")):
        with contextlib.suppress(FileNotFoundError):
            path.chmod(folders if path.is_dir() else files)


def input_vanishes(trial: Trial) -> Outcome:
    files = [path for name in trial.command.inputs for path in _files(trial.work / name)]
    files += [path for name in trial.command.outputs for path in _files(trial.work / name)]
    path = trial.dice.choice(sorted(files))
    at = trial.dice.choice([0.0, trial.moment()])
    away = trial.work.parent / "away"

    def take(_: int = 0) -> None:
        with contextlib.suppress(FileNotFoundError):
            path.rename(away)

    if at == 0.0:
        take()
    ended = trial.first(Disturbance(at_time=at, action=take) if at else Disturbance())
    if away.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        away.rename(path)
    detail = f"{path.relative_to(trial.work)} at {at:.2f} s"
    if ended.code == 0 and trial.command.takes_what_is_there:  # the result is that of the source without it
        trial.prepare()
        return trial.judge(Ended(-signal.SIGKILL, ended.said, 0.0), detail, allowed=(-signal.SIGKILL,))
    return trial.judge(ended, detail)


def checkpoint_damaged(trial: Trial) -> Outcome:
    """The newest or, at times, any one; of a training that was killed, which then goes on."""
    command = trial.command
    before = ""
    if command.again:
        at = trial.dice.randrange(trial.reference.events // 2, trial.reference.events)
        trial.first(Disturbance(at_event=at))
        before = f"killed at change {at}, "
    files = _matching(trial.work, command.checkpoints)
    if not files:
        return trial.judge(Ended(-9, "", 0.0), "too early", allowed=(-9,))
    path = files[-1] if trial.dice.random() < 0.75 else trial.dice.choice(files)
    whole = path.read_bytes()
    what = damage(path, trial.dice)
    ended = run(command.again or command.words, trial.work)
    if ended.code or (path != files[-1] and path.exists()):  # an older one is nothing that anybody reads
        path.write_bytes(whole)
    return trial.judge(ended, f"{before}{path.name} {what} of {len(whole)}")


def shard_damaged(trial: Trial) -> Outcome:
    path = trial.dice.choice(_matching(trial.work, trial.command.shards))
    whole = path.read_bytes()
    at = trial.dice.choice([0.0, trial.moment()])
    what: list[str] = []

    def spoil(_: int = 0) -> None:
        what.append(damage(path, trial.dice))

    if at == 0.0:
        spoil()
    ended = trial.first(Disturbance(at_time=at, action=spoil) if at else Disturbance())
    if ended.code:
        path.write_bytes(whole)
    return trial.judge(ended, f"{path.name} {''.join(what)} of {len(whole)}, at {at:.2f} s")


def state_damaged(trial: Trial) -> Outcome:
    """What a killed command left of its own, to go on with, is damaged; it goes on, or says to begin anew."""
    command = trial.command
    at = trial.dice.randrange(trial.reference.events)
    trial.first(Disturbance(at_event=at))
    files = [path for path in _files(trial.out) if ".cache" not in path.parts]
    if not files:
        return trial.judge(Ended(-9, "", 0.0), "too early", allowed=(-9,))
    path = trial.dice.choice(sorted(files))
    what = damage(path, trial.dice)
    ended = run(command.again or command.words, trial.work)
    if ended.code:
        prepare(command, trial.world, trial.work)
    return trial.judge(ended, f"killed at change {at}, {path.relative_to(trial.out)} {what}")


def worker_dies(trial: Trial) -> Outcome:
    at = trial.moment()
    killed: list[int] = []

    def kill(process: int) -> None:
        end = time.monotonic() + 2
        while not (found := children_of(process)) and time.monotonic() < end and _runs(process):
            time.sleep(0.002)
        if found:
            killed.append(trial.dice.choice(found))
            with contextlib.suppress(ProcessLookupError):
                os.kill(killed[-1], signal.SIGKILL)

    ended = trial.first(Disturbance(at_time=at, action=kill))
    return trial.judge(ended, f"at {at:.2f} s" if killed else "there was none")


def clock_changes(trial: Trial) -> Outcome:
    shift = trial.dice.choice([-86_400.0, -3.0, 86_400.0, -40 * 365 * 86_400.0])
    calls = trial.dice.choice([0, trial.dice.randrange(1, 60)])
    if trial.dice.random() < 0.5:  # files from the future
        late = time.time() + 86_400
        for name in (*trial.command.inputs, *trial.command.outputs):
            for path in _files(trial.work / name):
                os.utime(path, (late, late))
    kill = trial.dice.choice([None, trial.dice.randrange(trial.reference.events)])
    ended = trial.first(Disturbance(clock=(calls, shift), at_event=kill))
    return trial.judge(ended, f"by {shift:g} s after {calls} calls, killed at {kill}", allowed=(-signal.SIGKILL,))


Kind = Callable[[Trial], Outcome]
KINDS: dict[str, Kind] = {
    "kill -9 at any time": kill_at_a_time,
    "kill -9 before a change of a file": kill_at_a_write,
    "SIGTERM": _signalled(signal.SIGTERM),
    "SIGINT": _signalled(signal.SIGINT),
    "full disk": full_disk,
    "disk full from a change of a file on": full_at_a_write,
    "file size limit": file_size,
    "read-only folder": read_only,
    "folder becomes read-only": becomes_read_only,
    "input vanishes": input_vanishes,
    "checkpoint damaged": checkpoint_damaged,
    "shard damaged": shard_damaged,
    "own state damaged": state_damaged,
    "worker dies": worker_dies,
    "clock changes": clock_changes,
}


def fits(kind: str, command: Command) -> bool:
    """Whether a command can meet a kind of fault here."""
    match kind:
        case "checkpoint damaged":
            return bool(command.checkpoints)
        case "shard damaged":
            return bool(command.shards)
        case "worker dies":
            return command.workers
        case "input vanishes":
            return bool(command.inputs)
        case "full disk":
            return can_mount()
    return True


def can_mount() -> bool:
    """Whether file systems can be mounted here."""
    return os.getuid() == 0 and not subprocess.run(["unshare", "-m", "true"], check=False).returncode


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Callable[[], None]]:
    """Mount a file system of some size over a folder, which keeps what is in it; a function lets it grow."""
    aside = folder.with_name("aside")
    shutil.copytree(folder, aside)
    _root("mount", "-t", "tmpfs", "-o", f"size={max(size, 65536)}", "tmpfs", str(folder))
    try:
        shutil.copytree(aside, folder, dirs_exist_ok=True)
        yield lambda: _root("mount", "-o", "remount,size=2g", str(folder))
    finally:
        _root("umount", "-l", str(folder))
        shutil.rmtree(aside)


def _root(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


def _runs(process: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def _files(place: Path) -> list[Path]:
    return [path for path in place.rglob("*") if path.is_file()] if place.is_dir() else [place]


def _matching(folder: Path, globs: tuple[str, ...]) -> list[Path]:
    return sorted(path for each in globs for path in folder.glob(each) if path.is_file())

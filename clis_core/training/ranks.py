"""What torchrun says of this process: its rank among how many; and how all of them agree, wait and end together.

Two ways lead from process to process: the network's tensors go over NCCL on GPUs and gloo on CPUs; what the processes
say to each other, and waiting, over gloo with patience.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import distributed

from clis_core.errors import ClisError

T = TypeVar("T")
E = TypeVar("E", bound=ClisError)


class LostProcessError(ClisError):
    """Another process of the job has ended, or does not answer."""


GRACE = 10.0
"""Seconds in which the living tell that they live, once a connection is lost."""
ASKED = 1.0
"""Seconds between two looks at whether another process was told to stop."""
_LOST = ("Connection closed", "Connection reset", "Connection refused", "Broken pipe", "Timed out", "timed out")


@dataclass
class Link:
    """What joins the processes.

    Attributes:
        store: of torchrun, for a few words.
        group: for waiting and agreeing, on the CPU.
    """

    store: Any
    group: Any
    asked: float = 0.0
    stopped: str | None = None


@dataclass(frozen=True)
class Ranks:
    """This process among those of torchrun.

    Attributes:
        rank: 0 for the first, which writes what is shared.
        world: how many there are; 1 without torchrun.
        local: rank among those of this machine.
        link: to the others; None where there are none.
    """

    rank: int = 0
    world: int = 1
    local: int = 0
    link: Link | None = field(default=None, compare=False, repr=False)

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until all processes are here.

        Raises:
            LostProcessError: another one has ended.
        """
        if self.link:
            with self.naming_the_lost():
                distributed.barrier(group=self.link.group)

    def on_first(self, job: Callable[[], T]) -> T:
        """Run a function in the first process, while the others wait.

        Returns:
            What it returned, in all processes.

        Raises:
            ClisError: what it raised, in all processes.
        """
        said: list[Any] = [None, None]
        if self.first:
            try:
                said[0] = job()
            except ClisError as error:
                said[1] = error
        if self.link:
            with self.naming_the_lost():
                distributed.broadcast_object_list(said, src=0, group=self.link.group)
        if said[1] is not None:
            raise self.of_all(said[1])
        return said[0]  # type: ignore[no-any-return]

    def first_before_others(self, job: Callable[[], T]) -> T:
        """Run a function in all processes, first in the first, which leaves on disk what the others then find.

        Raises:
            ClisError: what it raised in the first, in all processes.
        """
        made: list[T] = []
        self.on_first(lambda: made.append(job()))
        return made[0] if made else job()

    def agree(self, stop: int, problem: ClisError | None = None) -> int:
        """Tell the others of a signal or a problem, and hear of theirs; all processes at the same point.

        Args:
            stop: number of the signal that came, or 0.
            problem: what this process cannot go on with.

        Returns:
            The number of a signal that came to any of them, or 0.

        Raises:
            ClisError: a problem of any process, in all of them.
        """
        if not self.link:
            if problem:
                raise problem
            return stop
        told = torch.tensor([stop, self.world - self.rank if problem else 0])
        with self.naming_the_lost():
            distributed.all_reduce(told, op=distributed.ReduceOp.MAX, group=self.link.group)
            stop, whose = told.tolist()
            if whose:
                said = [problem]
                distributed.broadcast_object_list(said, src=self.world - whose, group=self.link.group)
                assert said[0] is not None
                raise self.of_all(said[0])
        return int(stop)

    def of_all(self, error: E) -> E:
        """An error that all processes raise at the same point, marked as such."""
        error.of_all = self.world > 1
        return error

    def gathered(self, value: T) -> list[T]:
        """What every process says, in the order of the ranks."""
        if not self.link:
            return [value]
        said: list[Any] = [None] * self.world
        with self.naming_the_lost():
            distributed.all_gather_object(said, value, group=self.link.group)
        return said

    def largest(self, values: Sequence[float]) -> list[float]:
        """The largest of each number over all processes."""
        if not self.link:
            return list(values)
        numbers = torch.tensor(values, dtype=torch.float64)
        with self.naming_the_lost():
            distributed.all_reduce(numbers, op=distributed.ReduceOp.MAX, group=self.link.group)
        return numbers.tolist()

    def stopping(self, own: str | None) -> str | None:
        """A signal's name that any process got; unlike `agree`, at whatever point each of them is.

        Args:
            own: the name of a signal that this process got.
        """
        link = self.link
        if not link or link.stopped:
            return link.stopped if link else own
        now = time.monotonic()
        with self.naming_the_lost():
            if own:
                link.store.set("clis/stop", own)
                link.stopped = own
            elif now - link.asked >= ASKED:
                link.asked = now
                if link.store.check(["clis/stop"]):
                    link.stopped = link.store.get("clis/stop").decode()
        return link.stopped

    def device(self, wanted: str) -> str:
        """Name of this process's device: of several GPUs, its own.

        Args:
            wanted: what the user asked for; empty takes cuda where there is one.
        """
        if self.world > 1 and (wanted == "cuda" or (not wanted and torch.cuda.is_available())):
            return f"cuda:{self.local % max(1, torch.cuda.device_count())}"
        return wanted

    @contextlib.contextmanager
    def naming_the_lost(self) -> Iterator[None]:
        """A block that needs the others: torch's error for a lost one leaves it as a `ClisError` that names it."""
        try:
            yield
        except RuntimeError as error:  # DistError and its children are such
            if not self.link or not _is_loss(error):
                raise
            raise self._lost(error) from error

    def _lost(self, error: RuntimeError) -> LostProcessError:
        """Name the processes that do not tell within `GRACE` that they live."""
        assert self.link is not None
        store, others = self.link.store, set(range(self.world)) - {self.rank}
        with contextlib.suppress(RuntimeError):  # the store goes with the first machine
            store.set(f"clis/alive/{self.rank}", "")
            end = time.monotonic() + GRACE
            while others and time.monotonic() < end:
                others -= {rank for rank in others if store.check([f"clis/alive/{rank}"])}
                time.sleep(0.1)
        ended = {rank for rank in others if self._has_ended(rank)}
        names = [f"{rank} ({self._who(rank)})" for rank in sorted(ended or others)]
        who = f"Process {', '.join(names)} of {self.world}" if names else "Another process of this job"
        return LostProcessError(
            f"{who} has ended{'' if ended else ' or does not answer'}: {first_words(error)}",
            hint="Its own message says why, or the system's log where it was killed. Then go on: run the same command "
            "again; a training with --resume",
        )

    def _who(self, rank: int) -> str:
        """Machine and process id of a process."""
        assert self.link is not None
        with contextlib.suppress(RuntimeError):
            if self.link.store.check([f"clis/who/{rank}"]):
                return self.link.store.get(f"clis/who/{rank}").decode()  # type: ignore[no-any-return]
        return "unknown"

    def _has_ended(self, rank: int) -> bool:
        """Whether a process is known to have ended; of those on other machines nothing is known."""
        host, _, number = self._who(rank).partition(", process ")
        if host != socket.gethostname() or not number.isdigit():
            return False
        try:
            os.kill(int(number), 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False


ALONE = Ranks()
"""The only process."""


def first_words(error: RuntimeError) -> str:
    """What an error of torch says, without the place in its source and without advice."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return re.sub(r"\[\S+\.cc:\d+\] ", "", line).partition(". ")[0]


def _is_loss(error: RuntimeError) -> bool:
    return isinstance(error, distributed.DistError) or any(words in str(error) for words in _LOST)

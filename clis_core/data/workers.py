"""A function that decodes a batch, and batches, go in; workers run it; images come out in order."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from clis_core.data.slots import Slots
from clis_core.errors import ClisError, DataError

B = TypeVar("B")  # what describes a batch
R = TypeVar("R")  # what belongs to an image
_AHEAD = 2  # batches that a worker prepares before they are asked for
_NO_MEMORY = (
    "In a container more memory can be shared: docker run --shm-size=8g. "
    "To load in the training process: --set data.workers=0"
)
_LOOK = 2.0  # seconds between two looks of a worker at whether the main process is there
_MOST = 2**30  # bytes of a slot; larger batches go torch's way


def load_batches(
    load: Callable[[B], Iterator[tuple[Tensor, R]]],
    batches: Iterable[B],
    *,
    workers: int,
    largest: int,
    pin: bool,
) -> Iterator[tuple[list[Tensor], list[R]]]:
    """Load batches, in worker processes or in this one, and hand them on in their order.

    The global random state is neither read nor changed. Workers end with the iteration.

    Args:
        load: gives the images of a batch one by one, uint8 ``[3, h, w]``, channels last in memory, each with
            what belongs to it.
        batches: what describes each batch.
        workers: processes; 0 loads in this one.
        largest: bytes of the images of a batch, at most.
        pin: put images into page-locked memory, so that they are copied to a GPU while it works.

    Raises:
        ClisError: what ``load`` raised.
        DataError: a worker died.
    """
    slots = _slots(workers, largest)
    loader: DataLoader[Any] = DataLoader(
        _Batches(load, slots),
        batch_size=None,  # what the sampler gives is a whole batch
        sampler=_WithSlots(batches, slots),
        num_workers=workers,
        prefetch_factor=_AHEAD if workers else None,
        collate_fn=_as_it_is,
        worker_init_fn=_start_worker,
        generator=torch.Generator(),  # else it would advance the global random state
    )
    try:
        for loaded in loader:
            if isinstance(loaded, ClisError):
                raise loaded
            images, rest = loaded.unpack(slots) if isinstance(loaded, _Packed) else loaded
            yield [image.pin_memory() for image in images] if pin else images, rest
    except RuntimeError as error:
        died = worker_died(error)
        if died is None:
            raise
        raise died from None


def worker_died(error: RuntimeError) -> DataError | None:
    """The user's words for torch's error when a worker has died; None for another error.

    torch raises it wherever the main process happens to be, not only where it waits for images.
    """
    text = str(error)
    if "DataLoader worker (pid" not in text:
        return None
    return DataError(
        f"A process that loads images died: {text.strip().splitlines()[0]}",
        hint=f"It was killed, or out of memory. {_NO_MEMORY}",
    )


@contextlib.contextmanager
def naming_dead_workers() -> Iterator[None]:
    """A block that uses a loader: torch's error for a dead worker leaves it as a `DataError` (see `worker_died`)."""
    try:
        yield
    except RuntimeError as error:
        died = worker_died(error)
        if died is None:
            raise
        raise died from error


@dataclass
class _Packed(Generic[R]):
    """A batch on its way from a worker.

    Attributes:
        slot: where the images are, one after the other; None if they are in ``pixels``.
        pixels: uint8 ``[sum of 3 h w]``.
        shapes: (height, width) of each.
        rest: what belongs to each.
    """

    slot: int | None
    pixels: Tensor | None
    shapes: list[tuple[int, int]]
    rest: list[R]

    def unpack(self, slots: Slots | None) -> tuple[list[Tensor], list[R]]:
        """The images, uint8 ``[3, h, w]`` each, as views of the one piece of memory that they came in."""
        lengths = [3 * h * w for h, w in self.shapes]
        if self.pixels is not None:
            pixels = self.pixels
        else:
            assert slots is not None
            assert self.slot is not None
            pixels = slots.read(self.slot, sum(lengths))
        parts = torch.split(pixels, lengths)
        views = [p.view(h, w, 3).permute(2, 0, 1) for p, (h, w) in zip(parts, self.shapes, strict=True)]
        return views, self.rest


class _Batches(Dataset[Any], Generic[B, R]):
    """(slot, description of a batch) to the batch, packed if this is a worker."""

    def __init__(self, load: Callable[[B], Iterator[tuple[Tensor, R]]], slots: Slots | None) -> None:
        self._load = load
        self._slots = slots

    def __getitem__(self, item: tuple[int | None, B]) -> tuple[list[Tensor], list[R]] | _Packed[R] | ClisError:
        slot, batch = item
        try:
            if get_worker_info() is not None:
                return self._pack(slot, batch)
            loaded = list(self._load(batch))
        except ClisError as error:  # raised here, torch would make another one of it, without the hint
            return error
        return [image for image, _ in loaded], [rest for _, rest in loaded]

    def _pack(self, slot: int | None, batch: B) -> _Packed[R]:
        shapes, rest = [], []

        def parts() -> Iterator[NDArray[np.uint8]]:
            # One at a time: the next image is decoded into memory that is still in the processor's cache.
            for image, belongs in self._load(batch):
                shapes.append((image.shape[1], image.shape[2]))
                rest.append(belongs)
                yield image.permute(1, 2, 0).numpy().reshape(-1)

        if slot is not None and self._slots is not None:
            self._slots.write(slot, parts())
            return _Packed(slot, None, shapes, rest)
        pixels = torch.from_numpy(np.concatenate(list(parts())))
        try:
            # Here, for torch would do it in a thread of the queue, which loses a batch for which there is no room.
            pixels.share_memory_()  # type: ignore[no-untyped-call]
        except (RuntimeError, OSError) as error:
            raise DataError(f"There is no shared memory for a batch of images: {error}", hint=_NO_MEMORY) from None
        return _Packed(None, pixels, shapes, rest)


class _WithSlots(Generic[B]):
    """Each batch with a free slot; the main process runs it, so that workers know nothing of the order."""

    def __init__(self, batches: Iterable[B], slots: Slots | None) -> None:
        self._batches = batches
        self._slots = slots

    def __iter__(self) -> Iterator[tuple[int | None, B]]:
        for batch in self._batches:
            yield (self._slots.take() if self._slots else None), batch


def _slots(workers: int, size: int) -> Slots | None:
    """Slots for what workers prepare, what was just received, and what the network still holds."""
    if not workers or size > _MOST:
        return None
    rounds = -(-(_AHEAD * workers + 2) // workers)  # whole rounds, so that a worker gets its own slots again
    try:
        return Slots(rounds * workers, size)
    except OSError:
        return None


def _as_it_is(loaded: Any) -> Any:
    return loaded


def _start_worker(_: int) -> None:
    """Leave it to the main process to stop: it needs its workers until it has done so in good order.

    Ctrl-C, timeout(1) and cluster schedulers send their signals to every process of a job.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_obey_parent, daemon=True).start()


def _obey_parent() -> None:
    """End when the main process says so, or when it is gone.

    torch looks at that as well, but takes whoever is its parent by then for the main process: one that was killed while
    it started its workers would leave them for good.
    """
    parent = multiprocessing.parent_process()
    while parent is not None and parent.is_alive():
        sent = signal.sigtimedwait({signal.SIGTERM}, _LOOK)
        if sent is not None and sent.si_pid in (os.getppid(), parent.pid):
            break
    os._exit(0)

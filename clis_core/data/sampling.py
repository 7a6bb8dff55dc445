"""Labels of a training set and a seed go in; which images each step sees comes out, for any step at once.

N images. The order is a function of (seed, step) alone, so a resumed run goes on where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from clis_core.data.annotations import AnnotationTable

T = TypeVar("T")
_WINDOW = 64  # batches within which wide and tall images are sorted apart
_BLOCK = 1 << 20  # roundings drawn at once
# Streams of random numbers that one seed gives.
_ROUNDING, _SHUFFLE, _BATCHES = 1, 2, 3


def repeat_factors(table: AnnotationTable, threshold: float) -> NDArray[np.float64]:
    """How often an epoch shall show each image (Gupta et al. 2019, LVIS, sec. 6).

    r(c) = max(1, sqrt(t / f(c))), f(c) the fraction of images with class c; r(I) = max over the classes in I.

    Args:
        table: the training images.
        threshold: t.

    Returns:
        float64 ``[N]``, 1 or more; 1 for an image without boxes.
    """
    fractions = np.maximum(table.image_counts(), 1) / len(table)  # f(c); a class without images is in none
    by_class = np.maximum(1.0, np.sqrt(threshold / fractions))  # r(c)
    by_image = np.ones(len(table))
    image = np.repeat(np.arange(len(table)), np.diff(table.offsets))
    np.maximum.at(by_image, image, by_class[table.labels - 1])  # r(I)
    return by_image


def class_balanced_factors(table: AnnotationTable) -> NDArray[np.float64]:
    """How often an epoch shall show each image so that it draws an image for every class equally often.

    A class is drawn, then one of its n(c) images (class-aware sampling, Shen et al. 2016): of N draws, image I gets
    N / C times the sum over its classes of 1 / n(c). Classes without images are not counted in C.

    Args:
        table: the training images.

    Returns:
        float64 ``[N]``, whose sum is N; 0 for an image without boxes.
    """
    counts = table.image_counts()
    image = np.repeat(np.arange(len(table)), np.diff(table.offsets))
    pairs = np.unique(image * len(counts) + table.labels - 1)  # an image counts once for a class
    share = 1 / np.maximum(counts, 1)
    by_image = np.bincount(pairs // len(counts), share[pairs % len(counts)], minlength=len(table))
    factors: NDArray[np.float64] = by_image * (len(table) / np.count_nonzero(counts))
    return factors


def mixed(seed: int, number: int) -> int:
    """A 63-bit seed from (seed, number): neighbours get unrelated streams (splitmix64's finaliser)."""
    z = (seed * 0x9E3779B97F4A7C15 + number + 1) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return (z ^ (z >> 31)) >> 1


class Portion(NamedTuple):
    """Which images of a step a process has: its equal share of each part that the step is cut into.

    So the processes together have in each part what one process alone would have there, in the order of the ranks.

    Attributes:
        rank: of the process.
        world: how many processes there are.
        parts: of a step, one after the other.
    """

    rank: int = 0
    world: int = 1
    parts: int = 1

    def cut(self, images: Sequence[T]) -> list[Sequence[T]]:
        """The parts of a step, of all processes."""
        size = len(images) // self.parts
        return [images[start : start + size] for start in range(0, len(images), size)]

    def own(self, part: Sequence[T]) -> Sequence[T]:
        """This process's share of a part."""
        size = len(part) // self.world
        return part[self.rank * size : (self.rank + 1) * size]


ALONE = Portion()
"""Of the only process."""


class ImageOrder:
    """The infinite stream of training images: epoch after epoch, each shuffled anew.

    An epoch holds image i ``repeats[i]`` times, rounded to whole numbers. Epochs follow each other without a
    gap, so one may end within a batch.

    Args:
        repeats: float64 ``[N]``, how often an epoch holds each image; ones for plain shuffling.
        seed: seed of the order.
        rounding: "stochastic" rounds at random anew each epoch, so that an image's mean is its factor (the
            manner of detectron2); "ceil" rounds up.
        batch: images a step.
        wide: bool ``[N]``, which images are wider than tall; batches are then of one kind as far as possible,
            by sorting within 64 batches of the stream. None leaves the stream as it is.
    """

    def __init__(
        self,
        repeats: NDArray[np.float64],
        seed: int,
        rounding: Literal["stochastic", "ceil"],
        batch: int,
        wide: NDArray[np.bool_] | None = None,
    ) -> None:
        self._whole = (np.ceil(repeats) if rounding == "ceil" else np.floor(repeats)).astype(np.int64)
        self._part = np.maximum(repeats - self._whole, 0.0)
        self._seed = seed
        self._batch = batch
        self._wide = wide if batch > 1 else None
        self._ends = np.zeros(0, np.int64)  # where the epochs end in the stream, as far as they are known
        self._epoch: tuple[int, NDArray[np.int64]] = (-1, np.zeros(0, np.int64))
        self._window: tuple[int, NDArray[np.int64]] = (-1, np.zeros(0, np.int64))

    def images(self, step: int) -> list[tuple[int, int]]:
        """The images of a step.

        Returns:
            (index of the image, its place in the stream); the place occurs once in a run, and seeds the
            image's augmentation.
        """
        if self._wide is None:
            places = np.arange(step * self._batch, (step + 1) * self._batch)
        else:
            number, row = divmod(step, _WINDOW)
            if self._window[0] != number:
                self._window = (number, self._sort_window(number, self._wide))
            places = self._window[1][row]
        return list(zip(self._at(places).tolist(), places.tolist(), strict=True))

    def epoch(self, step: int) -> int:
        """The epoch in which a step begins, but for the sorting of wide and tall images."""
        place = step * self._batch
        self._know(place)
        return int(np.searchsorted(self._ends, place, side="right"))

    def places(self, epoch: int) -> range:
        """Places of an epoch in the stream."""
        while len(self._ends) <= epoch:
            self._know(int(self._ends[-1]) if len(self._ends) else 0)
        return range(int(self._ends[epoch - 1]) if epoch else 0, int(self._ends[epoch]))

    def times(self, epoch: int) -> NDArray[np.int64]:
        """How often an epoch holds each image: int64 ``[N]``."""
        times: NDArray[np.int64] = self._counts(epoch, 1)[0]
        return times

    def _sort_window(self, number: int, wide: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Places of the stream, int64 ``[_WINDOW, batch]``: every one of the window once."""
        size = _WINDOW * self._batch
        places = np.arange(number * size, (number + 1) * size)
        is_wide = wide[self._at(places)]
        kinds = [places[is_wide], places[~is_wide]]
        whole = [kind[: len(kind) // self._batch * self._batch] for kind in kinds]
        left = [kind[len(some) :] for kind, some in zip(kinds, whole, strict=True)]  # together 0 or 1 batch
        rows = np.concatenate([*whole, *left]).reshape(_WINDOW, self._batch)
        return rows[self._random(_BATCHES, number).permutation(_WINDOW)]

    def _at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Indices of the images at places of the stream."""
        self._know(int(places.max()))
        epochs = np.searchsorted(self._ends, places, side="right")
        found = np.empty(len(places), np.int64)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            found[here] = self._order(int(epoch))[places[here] - (self._ends[epoch - 1] if epoch else 0)]
        return found

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """Indices of the images of an epoch, shuffled."""
        if self._epoch[0] != epoch:
            repeated = np.repeat(np.arange(len(self._whole)), self._counts(epoch, 1)[0])
            self._epoch = (epoch, self._random(_SHUFFLE, epoch).permutation(repeated))
        return self._epoch[1]

    def _know(self, place: int) -> None:
        """Extend the ends of epochs beyond a place; a million roundings take some milliseconds."""
        known = [self._ends]
        last = int(self._ends[-1]) if len(self._ends) else 0
        epoch = len(self._ends)
        while last <= place:
            many = max(1, min(_BLOCK // len(self._whole), (place - last) // max(1, int(self._whole.sum())) + 1))
            known.append(last + np.cumsum(self._counts(epoch, many).sum(axis=1)))
            last = int(known[-1][-1])
            epoch += many
        if len(known) > 1:
            self._ends = np.concatenate(known)

    def _counts(self, epoch: int, many: int) -> NDArray[np.int64]:
        """How often epochs from ``epoch`` on hold each image: int64 ``[many, N]``."""
        if not self._part.any():
            return np.broadcast_to(self._whole, (many, len(self._whole)))
        # One stream of random numbers for all epochs, entered where this epoch's share starts: the generator
        # counts in steps of four numbers.
        steps = -(-len(self._whole) // 4)
        bits = np.random.Philox(key=(self._seed, _ROUNDING)).advance(epoch * steps)
        drawn = np.random.Generator(bits).random((many, steps * 4))[:, : len(self._whole)]
        return self._whole + (drawn < self._part)

    def _random(self, stream: int, number: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=(self._seed, stream), counter=(0, 0, 0, number)))

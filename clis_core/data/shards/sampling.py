"""Labels of pictures and a seed go in; which picture stands at each position of an endless stream comes out.

N pictures. The order is a function of (seed, position) alone, so a resumed run goes on where it was, and any number of
processes share a stream by taking its positions in turns.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Streams of random numbers that one seed gives.
_EPOCH, _ROUND, _PASS = 11, 12, 13


def positions(step: int, rank: int, world: int, per_rank: int) -> NDArray[np.int64]:
    """Positions of the stream that a rank takes in a step.

    Args:
        step: from 0.
        rank: of ``world``.
        world: number of ranks.
        per_rank: positions that each takes in a step.

    Returns:
        int64 ``[per_rank]``; those of all ranks together are a step's ``world * per_rank`` positions, each once.
    """
    start = step * world * per_rank
    return np.arange(start + rank, start + world * per_rank, world, dtype=np.int64)


class PictureSampler:
    """An endless stream of pictures.

    Args:
        labels: int ``[N]``, class of each picture.
        seed: of the order, 0 or more.
        kind: "uniform" takes each picture once an epoch of N positions, every epoch in an order of its own.
            "class-balanced" takes every class that has pictures once a round, every round in an order of its own;
            within a class, each picture once before one comes again.
    """

    def __init__(self, labels: NDArray[np.integer], seed: int, kind: Literal["uniform", "class-balanced"]) -> None:
        if len(labels) == 0:
            raise ValueError("there is no picture to draw")
        self._number = len(labels)
        self._seed = seed
        self._pictures: list[NDArray[np.int32]] = []  # of each class
        if kind == "class-balanced":
            order = np.argsort(labels, kind="stable").astype(np.int32)
            self._pictures = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
        # The newest permutation of each: of the epoch, of the round, and of each class's pass.
        self._epoch: tuple[int, NDArray[np.int64]] = (-1, np.zeros(0, np.int64))
        self._round: tuple[int, NDArray[np.int64]] = (-1, np.zeros(0, np.int64))
        self._passes: dict[int, tuple[int, NDArray[np.int32]]] = {}

    def __call__(self, position: ArrayLike) -> NDArray[np.int64]:
        """The pictures at positions of the stream.

        Args:
            position: int, any shape; 0 or more.

        Returns:
            Their numbers, int64, of the same shape.
        """
        places = np.asarray(position, np.int64)
        found = np.empty(places.size, np.int64)
        size = len(self._pictures) or self._number
        rounds, within = np.divmod(places.ravel(), size)
        for number in np.unique(rounds).tolist():
            here = np.flatnonzero(rounds == number)
            if not self._pictures:
                found[here] = self._of_epoch(number)[within[here]]
            else:
                classes = self._of_round(number)[within[here]]
                found[here] = [self._of_class(c, number) for c in classes.tolist()]
        return found.reshape(places.shape)

    def _of_epoch(self, epoch: int) -> NDArray[np.int64]:
        """The pictures in the order of an epoch."""
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self._random(_EPOCH, epoch).permutation(self._number))
        return self._epoch[1]

    def _of_round(self, number: int) -> NDArray[np.int64]:
        """The classes in the order of a round."""
        if self._round[0] != number:
            self._round = (number, self._random(_ROUND, number).permutation(len(self._pictures)))
        return self._round[1]

    def _of_class(self, which: int, number: int) -> int:
        """The picture of a class in a round."""
        turn, place = divmod(number, len(self._pictures[which]))
        there = self._passes.get(which)
        if there is None or there[0] != turn:
            there = (turn, self._random(_PASS, turn, which).permutation(self._pictures[which]))
            self._passes[which] = there
        return int(there[1][place])

    def _random(self, stream: int, number: int, part: int = 0) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=(self._seed, stream), counter=(0, 0, part, number)))

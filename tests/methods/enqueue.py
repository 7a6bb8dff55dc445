"""One process of several: keys of its own go in; what `gathered` gave and the queue then held go to a file.

python -m torch.distributed.run --standalone --nproc_per_node 2 -m tests.methods.enqueue FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import distributed

from clis_core.losses.ranks import gathered
from clis_core.methods.momentum import KeyQueue

COUNTS = ((3, 1), (0, 2), (0, 0), (5, 4), (2, 0))
"""Keys of rank 0 and of rank 1, push by push."""
SIZE, FEATURES = 7, 4


def keys_of(push: int, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys ``[n, FEATURES]`` and labels ``[n]`` that no other push or rank has."""
    count = COUNTS[push][rank]
    first = 100 * push + 10 * rank
    labels = torch.arange(first, first + count)
    return labels[:, None] + torch.arange(FEATURES) / 8, labels


def main(folder: Path) -> None:
    """Push every push's keys of this rank."""
    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    queue, seen = KeyQueue(SIZE, FEATURES), []
    for push in range(len(COUNTS)):
        keys, labels = keys_of(push, rank)
        rows = gathered(keys).rows
        queue.push(keys, labels)
        seen.append({"gathered": rows, **{k: v.clone() for k, v in queue.state_dict().items()}})
    torch.save(seen, folder / f"{rank}.tmp")
    (folder / f"{rank}.tmp").rename(folder / f"{rank}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

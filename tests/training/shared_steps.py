"""Steps of every kind of training, by one process and then by all: how far losses, gradients and buffers are apart.

torchrun --standalone --nproc_per_node 2 -m tests.training.shared_steps DATA SHARDS FOLDER [KIND ...]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from clis_core.config.run import RunConfig
from clis_core.data.sampling import Portion
from clis_core.detectors.build import build_detector
from clis_core.detectors.checkpoint import fingerprint
from clis_core.jobs.training_data import class_counts, open_companions, open_training_split, training_loader
from clis_core.jobs.training_state import training_state
from clis_core.training.joining import ranks
from clis_core.training.ranks import ALONE, Ranks
from clis_core.training.step import Step
from tests.training.kinds import kinds

STEPS = 2
Tensors = dict[str, Tensor]


def steps(
    config: RunConfig, all_ranks: Ranks, starts: Sequence[Tensors] = ()
) -> tuple[dict[str, Tensors], list[Tensors]]:
    """Losses, gradients and buffers of some steps, and the state that each began with.

    Args:
        config: of the training.
        all_ranks: the processes.
        starts: states to begin each step with, so that a step is judged without what rounding made of those before.
    """
    data = open_training_split(config, None)
    categories = data.table.categories
    pictures = open_companions(config, categories)
    torch.manual_seed(config.seed)
    detector = build_detector(config.detector, len(categories), class_counts(data.table))
    state = training_state(config, detector, 64 if pictures else 0, torch.device("cpu"))
    method = state.method.train()
    take = Step(state, config.train, seed=config.seed, run=Path(), all_ranks=all_ranks)
    portion = Portion(all_ranks.rank, all_ranks.world, config.train.accumulate)
    found: dict[str, Tensors] = {}
    began: list[Tensors] = []
    for number, batch in enumerate(training_loader(config, data, pictures, 0, STEPS, portion=portion)):
        if starts:
            method.load_state_dict(starts[number])
        began.append(_copy(method.state_dict()))
        gradients: Tensors = {}
        hook = state.optimiser.register_step_pre_hook(
            lambda *_, g=gradients: g.update(
                {n: p.grad.clone() for n, p in method.named_parameters() if p.grad is not None}
            )
        )
        losses, norm = take(batch)
        hook.remove()
        state.step += 1
        found[f"losses {number}"] = {k: torch.tensor(v) for k, v in {**losses, "norm": norm}.items()}
        found[f"gradients {number}"] = gradients
        found[f"buffers {number}"] = _copy(dict(method.named_buffers()))
    found["weights"] = _copy(dict(method.named_parameters()))
    return found, began


def _copy(tensors: Tensors) -> Tensors:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def difference(a: Tensors, b: Tensors) -> float:
    """The largest difference of two tensors, relative to the largest value of the first of them.

    A ten-thousandth of the largest value of all counts at least: some gradients are 0 but for rounding.
    """
    assert a.keys() == b.keys()
    assert all(bool(x.isfinite().all()) for tensors in (a, b) for x in tensors.values())
    sizes = {name: float(x.abs().max()) for name, x in a.items() if x.numel()}
    least = 1e-4 * max(sizes.values(), default=0.0)
    apart = {name: float((a[name].double() - b[name].double()).abs().max()) for name in sizes}
    return max((apart[name] / max(size, least, 1e-30) for name, size in sizes.items()), default=0.0)


def compare(config: RunConfig) -> dict[str, float]:
    """How far one process and all of them are apart, part by part; and all of them from each other."""
    alone, began = steps(config, ALONE)
    with ranks() as all_ranks:
        assert all_ranks.world > 1
        shared, _ = steps(config, all_ranks, began)
        prints = all_ranks.gathered([fingerprint(tensors) for tensors in shared.values()])
    result = {part: difference(alone[part], shared[part]) for part in alone if part != "weights"}
    return {**result, "between processes": float(any(other != prints[0] for other in prints))}


def main(*words: str) -> None:
    """Compare, and write what was found."""
    data, shards, folder = (Path(word) for word in words[:3])
    configs = kinds(data, shards)
    found = {name: compare(configs[name]) for name in words[3:] or configs}
    with ranks() as all_ranks:
        (folder / f"{all_ranks.rank}.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])

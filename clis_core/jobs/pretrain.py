"""`clis pretrain`: shards of labelled pictures in, a backbone that classifies them out, to start detectors from.

The baseline of CLIS, sec. IV-D4, table X: the pictures are used before the detector's training instead of in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from clis_core.config.detector import TORCHVISION_BACKBONES
from clis_core.data.crops import CentreCrops, TrainingCrops, held_out
from clis_core.data.regions import shard_hashes
from clis_core.data.shards.reader import Shards
from clis_core.data.shards.sampling import PictureSampler
from clis_core.data.workers import load_batches, naming_dead_workers
from clis_core.detectors.preprocess import MEAN, STD
from clis_core.detectors.weights import BACKBONE, CLASSIFIERS, load_backbone_state, read_state
from clis_core.errors import CheckpointError, ConfigError, DataError, Interrupted, TrainingDiverged
from clis_core.files import replacing, write_text
from clis_core.jobs.device import naming_full_memory, open_device
from clis_core.report import JsonLinesReporter, Reporter
from clis_core.training.interrupt import StopRequest
from clis_core.training.lock import run_lock

RECORD, STATE = "pretrain.json", "state.pt"
LOG_EVERY = 20


@dataclass(frozen=True)
class PretrainOptions:
    """How to learn; what is left out is the paper's.

    Attributes:
        backbone: a network of torchvision.
        init: its first weights: "none", "torchvision", or a file.
        epochs: times that each picture is seen.
        batch: pictures a step.
        lr: rate of SGD with momentum 0.9 and weight decay 1e-4.
        milestones: parts of the steps after which the rate is a tenth of what it was.
        size: side of a crop, pixels.
        area: smallest and largest part of a picture that a crop is.
        held_out: part of the pictures that accuracy is measured on.
        checkpoint_every: steps between checkpoints.
        seed: of everything random.
        workers: processes that decode.
        device: see `open_device`.
    """

    backbone: str = "resnet50"
    init: str = "none"
    epochs: float = 100.0
    batch: int = 256
    lr: float = 0.1
    milestones: tuple[float, ...] = (0.3, 0.6, 0.9)
    size: int = 224
    area: tuple[float, float] = (0.08, 1.0)
    held_out: float = 0.02
    checkpoint_every: int = 1000
    seed: int = 0
    workers: int = 4
    device: str = ""


@dataclass(frozen=True)
class PretrainResult:
    """What a pre-training leaves.

    Attributes:
        weights: of the backbone, in torchvision's layout: what ``--init`` takes.
        steps: done.
        top1: accuracy on the held-out pictures, percent; None where there are none.
    """

    weights: Path
    steps: int
    top1: float | None


def pretrain(folder: Path, out: Path, options: PretrainOptions, *, reporter: Reporter) -> PretrainResult:
    """Teach a network to tell the classes of pictures; goes on where an earlier run of the same command stopped.

    Args:
        folder: of the shards.
        out: run folder; gets backbone.pt, pretrain.json, log.jsonl and, until it is finished, state.pt.
        options: how.
        reporter: gets messages, progress and records.

    Raises:
        ConfigError: the backbone is none of torchvision's.
        DataError: the shards cannot be used.
        CheckpointError: ``out`` holds another run, or weights cannot be read.
        TrainingDiverged: a loss that is not finite.
        Interrupted: SIGINT or SIGTERM; the state was saved.
    """
    shards, device = Shards(folder), open_device(options.device)
    labels = np.unique(shards.labels, return_inverse=True)[1].astype(np.int64)  # 0..K-1, int64 [N]
    learnt, kept = held_out(len(shards), options.held_out)
    if not len(learnt) or labels.max() < 1:
        raise DataError(f"{folder} holds fewer than two classes to tell apart.", hint="Build shards of more classes.")
    torch.manual_seed(options.seed)
    network = _network(options, int(labels.max()) + 1).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.SGD(network.parameters(), lr=options.lr, momentum=0.9, weight_decay=1e-4)
    steps = max(1, round(options.epochs * len(learnt) / options.batch))
    plan = {**asdict(replace(options, workers=0, device="")), "steps": steps, "shards": shard_hashes(shards.manifest)}
    out.mkdir(parents=True, exist_ok=True)
    with run_lock(out), StopRequest() as stop, naming_dead_workers(), naming_full_memory("Take a smaller --batch"):
        record = _begin(out, json.loads(json.dumps(plan)))
        if "top1" in record:
            reporter.info(f"{out} is finished already.")
            return PretrainResult(out / BACKBONE, steps, record["top1"])
        first = _restore(out / STATE, network, optimiser, device)
        log = JsonLinesReporter(out / "log.jsonl", reporter)
        log.drop_after(first)
        log.info(f"{len(learnt)} pictures of {labels.max() + 1} classes, {steps} steps of {options.batch} on {device}.")
        run = _Run(network, optimiser, labels, options, steps, device)
        for step, values in run.train(shards, learnt, first):
            log.progress("pretrain", step, steps, values)
            if step % LOG_EVERY == 0 or step == steps:
                log.record("train", {"step": step, **values})
            if step < steps and (step % options.checkpoint_every == 0 or stop.name):
                _save(out / STATE, network, optimiser, step)
            if stop.name and step < steps:
                raise Interrupted(
                    f"Stopped by {stop.name} after step {step} of {steps}.", hint="Run the same command again to go on."
                )
        top1 = run.accuracy(shards, kept)
        _write(out / BACKBONE, {k: v for k, v in network.state_dict().items() if not k.startswith(CLASSIFIERS)})
        write_text(out / RECORD, json.dumps({**record, "top1": top1}, indent=1) + "\n")
        (out / STATE).unlink(missing_ok=True)
    return PretrainResult(out / BACKBONE, steps, top1)


class _Run:
    """One training: network and data in, steps out."""

    def __init__(
        self,
        network: nn.Module,
        optimiser: torch.optim.Optimizer,
        labels: NDArray[np.int64],
        options: PretrainOptions,
        steps: int,
        device: torch.device,
    ) -> None:
        self._network, self._optimiser, self._labels = network, optimiser, labels
        self._options, self._steps, self._device = options, steps, device
        self._mean = torch.tensor(MEAN, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(STD, device=device).view(1, 3, 1, 1)
        self._largest = options.batch * 3 * options.size**2

    def train(self, shards: Shards, learnt: NDArray[np.int64], first: int) -> Iterator[tuple[int, dict[str, float]]]:
        """Steps done, from ``first`` + 1 on, and what each came to."""
        options = self._options
        sampler = PictureSampler(self._labels[learnt], options.seed, "uniform")

        def pairs(step: int) -> list[tuple[int, int]]:
            places = np.arange(step * options.batch, (step + 1) * options.batch)
            return list(zip(learnt[sampler(places)].tolist(), places.tolist(), strict=True))

        batches = load_batches(
            TrainingCrops(shards, options.size, options.area, options.seed),
            map(pairs, range(first, self._steps)),
            workers=options.workers,
            largest=self._largest,
            pin=self._device.type == "cuda",
        )
        self._network.train()
        for step, (crops, numbers) in enumerate(batches, start=first):
            torch.manual_seed((options.seed << 32) + step)  # dropout
            rate = options.lr * 0.1 ** sum(step >= m * self._steps for m in options.milestones)
            for group in self._optimiser.param_groups:
                group["lr"] = rate
            label = self._label(numbers)
            logits = self._network(self._input(crops))
            loss = F.cross_entropy(logits.float(), label)
            value = float(loss.detach())
            if not np.isfinite(value):
                raise TrainingDiverged(
                    f"Step {step}: the loss is not finite.", hint=f"Another -o, with --lr {options.lr / 2:g}"
                )
            self._optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimiser.step()
            top1 = float((logits.argmax(dim=1) == label).float().mean())
            yield step + 1, {"loss": value, "lr": rate, "top1": 100 * top1}

    @torch.no_grad()
    def accuracy(self, shards: Shards, kept: NDArray[np.int64]) -> float | None:
        """Percent of held-out pictures whose class scores highest."""
        if not len(kept):
            return None
        numbers, size = kept.tolist(), self._options.batch
        batches = load_batches(
            CentreCrops(shards, self._options.size),
            (numbers[i : i + size] for i in range(0, len(numbers), size)),
            workers=self._options.workers,
            largest=self._largest,
            pin=False,
        )
        self._network.eval()
        right = sum(
            int((self._network(self._input(crops)).argmax(dim=1) == self._label(some)).sum()) for crops, some in batches
        )
        return 100 * right / len(numbers)

    def _input(self, crops: list[Tensor]) -> Tensor:
        pixels = torch.stack([crop.to(self._device, non_blocking=True) for crop in crops]).float()
        return ((pixels - self._mean) / self._std).contiguous(memory_format=torch.channels_last)

    def _label(self, numbers: list[int]) -> Tensor:
        return torch.from_numpy(self._labels[numbers]).to(self._device)


def _network(options: PretrainOptions, classes: int) -> nn.Module:
    name = options.backbone
    if name not in TORCHVISION_BACKBONES:
        raise ConfigError(
            f"Backbone {name!r} is none of torchvision's.", hint=f"--backbone {', '.join(TORCHVISION_BACKBONES)}"
        )
    network: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=classes)
    if options.init == "torchvision":
        weights = "DEFAULT" if name.startswith("mobilenet") else "IMAGENET1K_V1"
        try:
            first = torchvision.models.get_model(name, weights=weights).state_dict()
        except (OSError, RuntimeError) as error:
            raise ConfigError(
                f"The ImageNet weights of {name} could not be had: {error}", hint="--init FILE, or --init none"
            ) from error
        load_backbone_state(network, first, "torchvision")
    elif options.init != "none":
        load_backbone_state(network, read_state(Path(options.init)), options.init)
    return network


def _begin(out: Path, plan: dict[str, Any]) -> dict[str, Any]:
    """What is noted of the run, once it is known to be the same."""
    file = out / RECORD
    if not file.is_file():
        write_text(file, json.dumps(plan, indent=1) + "\n")
        return plan
    try:
        made = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} cannot be read: {error}.", hint="Take another folder: -o FOLDER") from None
    other = [key for key in plan if not isinstance(made, Mapping) or made.get(key) != plan[key]]
    if other:
        raise CheckpointError(
            f"{out} holds a pre-training with another {', '.join(other)}.", hint="Take another folder: -o FOLDER"
        )
    return dict(made)


def _save(path: Path, network: nn.Module, optimiser: torch.optim.Optimizer, step: int) -> None:
    _write(path, {"network": network.state_dict(), "optimiser": optimiser.state_dict(), "step": step})


def _write(path: Path, content: dict[str, Any]) -> None:
    with replacing(path) as temporary, temporary.open("wb") as file:
        torch.save(content, file)


def _restore(path: Path, network: nn.Module, optimiser: torch.optim.Optimizer, device: torch.device) -> int:
    """Bring the training to where it was saved; steps done."""
    if not path.is_file():
        return 0
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        return int(state["step"])
    except Exception as error:
        raise CheckpointError(
            f"{path}: damaged ({type(error).__name__}).", hint=f"Begin anew: remove {path.parent}"
        ) from error

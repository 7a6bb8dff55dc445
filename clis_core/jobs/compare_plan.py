"""Presets, seeds and a budget in; the trainings and what has to be made before each of them out.

A row of a comparison is a preset, or a preset and ``+pretrained``: its backbone first learns to classify the pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from clis_core.config.load import Layer, preset_layer, resolve
from clis_core.config.methods import learns_from_pictures, takes_whole_pictures
from clis_core.config.run import RunConfig
from clis_core.config.stages import ON_MOSAICS, STARTS_FROM, counterpart
from clis_core.errors import ClisError

PRETRAINED = "+pretrained"


@dataclass(frozen=True)
class ComparePlan:
    """What to compare.

    Attributes:
        rows: presets, each perhaps with "+pretrained".
        seeds: of each; what is made once is made by a run of the first.
        minutes: of every training, None for another budget.
        iterations: of every training, None for another budget; without either each preset has its own.
        settings: the layer that names the data set, and what else the user sets, for all rows.
        shards: pictures with a class label.
        regions: folder of their regions, "full-image" or "centre"; None makes them.
        out: folder of all that is made.
    """

    rows: tuple[str, ...]
    seeds: tuple[int, ...]
    minutes: float | None
    iterations: int | None
    settings: Layer
    shards: Path | None
    regions: str | None
    out: Path


@dataclass(frozen=True)
class Step:
    """Something to make.

    Attributes:
        kind: a training; or the regions or mosaics that its run makes; or the backbone that it begins with.
        row: of that training.
        seed: of that training.
    """

    kind: Literal["train", "regions", "mosaics", "pretrain"]
    row: str
    seed: int

    @property
    def name(self) -> str:
        """Unique in a comparison; the name of its folder."""
        return f"{self.row}-seed{self.seed}" if self.kind == "train" else f"{self.kind}-{self.row}"

    @property
    def about(self) -> str:
        """What it is, for a person."""
        return {
            "train": f"{self.row}, seed {self.seed}",
            "regions": f"regions by {self.row}, seed {self.seed}",
            "mosaics": f"mosaics by {self.row}, seed {self.seed}",
            "pretrain": f"pre-training of the backbone of {self.row}",
        }[self.kind]

    def folder(self, out: Path) -> Path:
        """Where it is made."""
        return out / ("runs" if self.kind == "train" else "prepared") / self.name


@dataclass(frozen=True)
class Failure:
    """A step that could not be made.

    Attributes:
        step: which.
        error: why.
    """

    step: Step
    error: ClisError


def preset_of(row: str) -> str:
    """The preset of a row."""
    return row.removesuffix(PRETRAINED)


def bare_config(plan: ComparePlan, row: str) -> RunConfig:
    """A row's config without what the comparison makes for it.

    Raises:
        ConfigError: there is no such preset, or the settings do not fit it.
    """
    return resolve([preset_layer(preset_of(row)), plan.settings])


def directly_before(plan: ComparePlan, step: Step) -> list[Step]:
    """What a step needs itself."""
    first, preset = plan.seeds[0], preset_of(step.row)
    if step.kind == "pretrain":
        return []
    if step.kind != "train":
        return [Step("train", step.row, step.seed)]
    config, needed = bare_config(plan, step.row), []
    if step.row != preset:
        needed.append(Step("pretrain", preset, first))
    if preset in STARTS_FROM and config.train.start is None:
        needed.append(Step("train", STARTS_FROM[preset], step.seed))
        if preset in ON_MOSAICS:
            needed.append(Step("mosaics", STARTS_FROM[preset], first))
    if _uses_regions(config) and plan.regions is None:
        needed.append(Step("regions", counterpart(preset, "specialised"), first))
    return needed


def all_before(plan: ComparePlan, step: Step) -> list[Step]:
    """Everything that has to be made for a step, first things first, each once."""
    found: dict[Step, None] = {}
    for before in directly_before(plan, step):
        found |= dict.fromkeys([*all_before(plan, before), before])
    return list(found)


def all_steps(plan: ComparePlan) -> list[Step]:
    """Everything that a comparison makes, in its order."""
    found: dict[Step, None] = {}
    for step in trainings(plan):
        found |= dict.fromkeys([*all_before(plan, step), step])
    return list(found)


def trainings(plan: ComparePlan) -> list[Step]:
    """The trainings to compare: all rows with the first seed, then with the next."""
    return [Step("train", row, seed) for seed in plan.seeds for row in plan.rows]


def config_of(plan: ComparePlan, step: Step, budget: Layer) -> RunConfig:
    """The whole config of a training.

    Args:
        plan: what is compared.
        step: the training.
        budget: its length.
    """
    config = bare_config(plan, step.row)
    own: dict[str, Any] = {}
    if _uses_pictures(config):
        own["pictures"] = {"shards": plan.shards} | ({"regions": plan.regions} if _uses_regions(config) else {})
    for before in directly_before(plan, step):
        _put(own, before, str(before.folder(plan.out)))
    # Settings of the user's win over the budget's warm-up.
    layers = [preset_layer(preset_of(step.row)), budget, plan.settings, Layer("clis compare", own)]
    return resolve([*layers, Layer("--seeds", {"seed": step.seed})])


def _put(own: dict[str, Any], before: Step, folder: str) -> None:
    """Name what was made in the settings of the training that needs it."""
    match before.kind:
        case "train":
            own["train"] = {"start": folder}
        case "regions":
            own["pictures"] = {**own["pictures"], "regions": folder}
        case "mosaics":
            own["data"] = {"root": folder}
        case "pretrain":
            own["detector"] = {"backbone": {"init": folder}}


def _uses_pictures(config: RunConfig) -> bool:
    return learns_from_pictures(config.method) and config.pictures.s > 0


def _uses_regions(config: RunConfig) -> bool:
    return _uses_pictures(config) and not takes_whole_pictures(config.method)


def needs_shards(plan: ComparePlan, row: str) -> bool:
    """Whether a row, or what has to be made for it, needs labelled pictures."""
    steps = all_before(plan, Step("train", row, plan.seeds[0]))
    return _uses_pictures(bare_config(plan, row)) or any(step.kind != "train" for step in steps)

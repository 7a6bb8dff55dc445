"""A comparison's plan in; nothing out where all of it can run, else an error that names every row that cannot."""

from __future__ import annotations

import os

from clis_core.config.detector import TORCHVISION_BACKBONES
from clis_core.config.methods import learns_from_pictures, pictures_for
from clis_core.config.stages import ON_MOSAICS
from clis_core.config.workspace import require_data
from clis_core.data.layout import json_of
from clis_core.data.regions import open_regions
from clis_core.data.shards.reader import Shards
from clis_core.errors import ConfigError, DataError
from clis_core.jobs.compare_plan import PRETRAINED, ComparePlan, bare_config, needs_shards, preset_of

_PICTURES = "Name them: --images SHARDS, a folder of clis build-images or build-imagenet-subset; or leave these out"


def check(plan: ComparePlan) -> None:
    """Check what can be checked before anything starts.

    Raises:
        ConfigError: rows that cannot be compared, all at once.
        DataError: the data set or the pictures cannot be used.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(
            "A comparison runs in one process, and starts each training itself.",
            hint="Without torchrun: clis compare ...; one training on many GPUs: torchrun ... -m clis_cli train",
        )
    budget = plan.minutes or plan.iterations
    if budget and "iterations" in plan.settings.values.get("train", {}):
        raise ConfigError("train.iterations is set beside the budget.", hint="--iterations N alone, or --minutes X")
    problems = [(row, problem) for row in plan.rows for problem in _problems(plan, row)]
    if problems:
        hints = dict.fromkeys(problem.hint for _, problem in problems if problem.hint)
        raise ConfigError(
            "These cannot be compared:\n" + "\n".join(f"{row}: {problem.message}" for row, problem in problems),
            hint="\n".join(hints),
        )
    _check_data(plan)


def _problems(plan: ComparePlan, row: str) -> list[ConfigError]:
    try:
        config = bare_config(plan, row)
        if row in ON_MOSAICS:
            raise ConfigError(
                "learns from mosaics, and has nothing to be evaluated on.",
                hint=f"What follows it is compared, and it is run first: {ON_MOSAICS[row]}",
            )
        if not config.train.eval_at_end:
            raise ConfigError("is not evaluated.", hint="Leave train.eval_at_end as it is")
        backbone = config.detector.backbone.name
        if row.endswith(PRETRAINED) and backbone not in TORCHVISION_BACKBONES:
            raise ConfigError(
                f"clis pretrain does not know its backbone {backbone}.", hint=f"It can do {preset_of(row)}"
            )
        if needs_shards(plan, row) and plan.shards is None:
            raise ConfigError("needs pictures with a class label, and none are named.", hint=_PICTURES)
        if learns_from_pictures(config.method):
            pictures_for(config.method, config.pictures)
    except ConfigError as error:
        return [error]
    return []


def _check_data(plan: ComparePlan) -> None:
    config = bare_config(plan, plan.rows[0])
    require_data(config)
    for split in ("train", "val"):
        file = json_of(config.data, split)
        if file is None or not file.exists():  # of VOC it may be the folder of several years
            raise DataError(
                f"{file or config.data.root}: there are no annotations for {split}.",
                hint=f"Name them: --set data.{split}=FILE, or a data set that has them: --data DIR",
            )
    if plan.shards is not None:
        shards = Shards(plan.shards)
        if plan.regions is not None:
            open_regions(plan.regions, shards)

"""A step of a comparison that is no training in; regions, mosaics or a pre-trained backbone, and their minutes, out."""

from __future__ import annotations

from dataclasses import replace

from clis_core.config.workspace import checkpoints_of
from clis_core.data.layout import json_of
from clis_core.data.regions import REGIONS
from clis_core.detectors.weights import BACKBONE
from clis_core.jobs.apart import apart
from clis_core.jobs.compare_plan import ComparePlan, Step, bare_config
from clis_core.jobs.compare_state import State
from clis_core.jobs.gen_mosaics import TRAIN_JSON, gen_mosaics
from clis_core.jobs.gen_regions import RegionOptions, gen_regions
from clis_core.jobs.mosaic_pictures import MosaicOptions
from clis_core.jobs.pretrain import PretrainOptions, pretrain
from clis_core.report import Reporter

PAPER_SIZE = 640
"""Short side of images, in pixels, from which on a backbone is pre-trained as in the paper."""
FINISHED = {"regions": REGIONS, "mosaics": TRAIN_JSON, "pretrain": BACKBONE}
"""The file that says so."""


def prepare(plan: ComparePlan, step: Step, state: State, reporter: Reporter) -> None:
    """Make it, from where it is, in a process of its own.

    Args:
        plan: what is compared; it has pictures.
        step: what to make; the detector that it needs is trained.
        state: gets the minutes.
        reporter: gets messages and progress.

    Raises:
        ClisError: it cannot be made.
        Interrupted: SIGINT or SIGTERM.
    """
    shards, out = plan.shards, step.folder(plan.out)
    assert shards is not None  # see check
    if (out / FINISHED[step.kind]).is_file():
        return
    config = bare_config(plan, step.row)
    with state.counting(step.name) as tick:
        if step.kind == "pretrain":
            apart(pretrain, shards, out, pretraining_of(plan, step), reporter=reporter, tick=tick)
            return
        detector = checkpoints_of(Step("train", step.row, step.seed).folder(plan.out))[-1]
        if step.kind == "regions":
            how = RegionOptions(device=config.device)
            apart(gen_regions, detector, shards, out, how, reporter=reporter, tick=tick)
        else:
            classes, stitch = json_of(config.data, "train"), MosaicOptions(device=config.device)
            words = (shards, classes, out, stitch)
            apart(gen_mosaics, *words, checkpoint=detector, reporter=reporter, tick=tick)


def pretraining_of(plan: ComparePlan, step: Step) -> PretrainOptions:
    """How the backbone of a preset learns to classify: as in the paper, or in small from the weights that it has."""
    config = bare_config(plan, step.row)
    backbone = config.detector.backbone
    paper = PretrainOptions(backbone=backbone.name, seed=step.seed, workers=config.data.workers, device=config.device)
    if config.detector.short_side >= PAPER_SIZE:
        return paper
    return replace(paper, init=backbone.init, epochs=10.0, batch=64, lr=0.01, size=96)

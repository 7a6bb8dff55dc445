"""A detector and a split in, files of its detections out: by one process or several, going on where it was stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clis_core.batch import fit_size
from clis_core.categories import Categories
from clis_core.data.layout import Split
from clis_core.detectors.load import Model, identity
from clis_core.errors import ClisError, Interrupted
from clis_core.evaluation.fixed import PER_CLASS
from clis_core.evaluation.images import load_images
from clis_core.evaluation.parts import Parts
from clis_core.evaluation.predict import batches_of, predict
from clis_core.report import Reporter
from clis_core.training.ranks import Ranks

DETECTIONS = "detections.npz"
FIXED = "detections-fixed.npz"
PART = 64
"""Images of a part."""
UNCAPPED_PART = 16
"""Images of a part without a cap: the first ones have hundreds of thousands of detections each."""


def detect(
    detector: Model,
    categories: Categories,
    data: Split,
    folder: Path,
    *,
    batch: int,
    workers: int,
    exif: bool,
    every: bool,
    step: int,
    all_ranks: Ranks,
    reporter: Reporter,
    stopping: Callable[[], str | None],
) -> None:
    """Detect on all images of a split; the first process then joins what all have found.

    The files are the same, byte for byte, for any number of processes with the same number of threads each, and
    however often it was stopped.

    Args:
        detector: in inference mode, on its device; ``every`` needs one of this package.
        categories: the classes that it was trained on.
        data: the images.
        folder: gets `DETECTIONS`, and parts in a folder of their own, which go on where an earlier call stopped.
        batch: images at a time.
        workers: processes that decode.
        exif: whether to turn images upright.
        every: write `FIXED` as well, the best 10,000 of each class without a cap on an image.
        step: training steps behind the detector, for the record.
        all_ranks: the processes; each has the same arguments.
        reporter: gets progress and messages.
        stopping: asked between batches whether to stop; gives the name of a signal.

    Raises:
        Interrupted: asked to stop, in all processes.
        ClisError: what any of them could not go on with, in all processes.
    """
    size = UNCAPPED_PART if every else PART
    parts = Parts(folder / "parts", len(data.table), -(-size // batch) * batch, every)

    def begin() -> list[int]:
        there = parts.begin(_plan(detector, data, batch, exif))
        if there:
            reporter.info(f"{there} of {len(parts)} parts of the detections are there already.")
        return parts.missing()

    missing = all_ranks.on_first(begin)
    mine = missing[all_ranks.rank :: all_ranks.world]
    images = load_images(
        data,
        batches_of(parts, mine, batch),
        workers=workers,
        exif=exif,
        at_least=largest_side_needed(detector, data),
    )
    there_before = sorted(set(range(len(parts))) - set(missing))

    def stop() -> str | None:
        return all_ranks.stopping(stopping())

    done = False
    problem: ClisError | None = None
    try:
        done = predict(
            detector, categories, data.table, parts, mine, there_before, images, reporter=reporter, stopping=stop
        )
    except ClisError as error:
        problem = error
        all_ranks.stopping("a problem")  # the others need not finish their share
    if all_ranks.agree(int(not done), problem):
        raise all_ranks.of_all(
            Interrupted(
                f"Stopped by {stop() or 'a signal'}; what was detected is kept in {folder}.",
                hint="Run the same command again to go on.",
            )
        )

    def join() -> None:
        meta = {"step": step, "ground_truth": str(data.table.path)}
        parts.join(folder / DETECTIONS, meta)
        if every:
            parts.join_best(folder / FIXED, meta, categories.ids, PER_CLASS)

    all_ranks.on_first(join)


def largest_side_needed(detector: Model, data: Split) -> int:
    """Short side (pixels) that an image must at least be decoded at, so that the detector only ever shrinks it."""
    config = detector.config
    sizes = (fit_size(int(h), int(w), config.short_side, config.long_side) for h, w in data.table.sizes)
    return max(min(size) for size in sizes)


def _plan(detector: Model, data: Split, batch: int, exif: bool) -> dict[str, Any]:
    """What the detections depend on."""
    images = hashlib.sha256()
    for array in (data.table.image_ids, data.table.sizes):
        images.update(array.tobytes())
    return {
        **identity(detector),
        "detector": detector.config.model_dump(mode="json"),
        "images_sha256": images.hexdigest(),
        "files": str(data.files.root.absolute()),
        "batch": batch,
        "exif": exif,
    }

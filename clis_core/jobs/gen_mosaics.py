"""`clis gen-mosaics`: shards of labelled pictures in, a data set of mosaics with pseudo boxes out (MosaicOS).

The pictures are cut into blocks in an order of their own. Each block's mosaics are written, and then what is in them;
when all are there, this becomes the folder's train.json, which says that it is finished.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from clis_core import __version__
from clis_core.categories import Categories
from clis_core.config.pictures import WHOLE_PICTURE, PicturesConfig
from clis_core.data.annotations import load_annotations
from clis_core.data.companions import PictureSet, open_pictures
from clis_core.data.pseudo_boxes import PseudoBoxes, fixed_boxes
from clis_core.data.regions import shard_hashes
from clis_core.data.shards.reader import Shards
from clis_core.data.stitch import stitch
from clis_core.data.workers import load_batches, naming_dead_workers
from clis_core.errors import ConfigError, DataError, Interrupted
from clis_core.files import locked, replacing, write_text
from clis_core.jobs.device import naming_full_memory
from clis_core.jobs.mosaic_pictures import MosaicOptions, MosaicPictures, PseudoBoxFinder
from clis_core.report import Reporter
from clis_core.training.interrupt import StopRequest

TRAIN_JSON, IMAGES, STAGING = "train.json", "images", ".staging"
BLOCK = 128
"""Pictures whose mosaics are written at a time: what a kill can cost."""
QUALITY = 95


@dataclass(frozen=True)
class MosaicResult:
    """What was made.

    Attributes:
        folder: of the data set.
        mosaics: how many.
        boxes: in all of them.
        left_out: pictures without a box, and those that were left over in a block.
    """

    folder: Path
    mosaics: int
    boxes: int
    left_out: int


def gen_mosaics(
    shards: Path, data: Path, out: Path, options: MosaicOptions, *, checkpoint: Path | None, reporter: Reporter
) -> MosaicResult:
    """Make the mosaics; goes on where an earlier run of the same command stopped.

    Args:
        shards: folder of the pictures.
        data: training json whose classes the data set shall have.
        out: folder of the data set: train.json and images/.
        options: how.
        checkpoint: of the detector, for the rules that need one.
        reporter: gets progress and messages.

    Raises:
        ConfigError: the rule needs a detector, or has no use for the one that is named.
        DataError: shards, regions or json cannot be used, or ``out`` holds something else.
        CheckpointError: the detector cannot be read.
        Interrupted: SIGINT or SIGTERM; running the same command again goes on.
    """
    asked = options.boxes in ("fixed", "regions")
    if asked == (checkpoint is not None):
        raise ConfigError(
            f"Boxes by the rule {options.boxes} need {'no' if asked else 'a'} detector.",
            hint="clis gen-mosaics SHARDS --data DIR "
            + (f"--boxes {options.boxes}" if asked else f"--boxes {options.boxes} --detector RUN"),
        )
    categories = load_annotations(data, None).categories
    opened = Shards(shards)
    regions = str(options.regions) if options.regions else None
    which = PicturesConfig(shards=shards, regions=regions if options.boxes == "regions" else WHOLE_PICTURE)
    pictures = open_pictures(which, categories, opened)
    finder = PseudoBoxFinder(checkpoint, categories, options) if checkpoint else None
    plan = {
        "clis": __version__,
        "boxes": options.boxes,
        "threshold": options.threshold,
        "max_side": options.max_side,
        "seed": options.seed,
        "detector": finder.sha256 if finder else None,
        "regions": pictures.regions.fingerprint(),
        "shards": shard_hashes(opened.manifest),
        "categories": categories.ids,
    }
    (out / STAGING).mkdir(parents=True, exist_ok=True)
    with (
        contextlib.ExitStack() as held,
        StopRequest() as stop,
        naming_dead_workers(),
        naming_full_memory("Take a smaller --batch"),
    ):
        if not held.enter_context(locked(out / STAGING / "lock")):
            raise DataError(f"{out}: another process is making mosaics there.", hint="Wait until it has ended.")
        _check_plan(out, plan)
        if not (out / TRAIN_JSON).is_file():
            _fill(pictures, finder, out, options, stop, reporter)
            _join(pictures, categories, out, plan)
        else:
            reporter.info(f"{out} is finished already.")
    shutil.rmtree(out / STAGING, ignore_errors=True)
    return _result(out, len(pictures.numbers), reporter)


def _check_plan(out: Path, plan: Mapping[str, Any]) -> None:
    """Note what is made in a folder, or check that it is the same.

    Raises:
        DataError: it was begun or made otherwise.
    """
    file = out / "mosaics.json"
    if not file.is_file():
        if (out / TRAIN_JSON).exists():
            raise DataError(f"{out} holds another data set.", hint="Choose another folder: -o FOLDER")
        write_text(file, json.dumps(plan, indent=1) + "\n")
        return
    try:
        made = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read: {error}.", hint=f"Begin anew: remove {out}") from None
    other = [key for key in plan if key != "clis" and (not isinstance(made, dict) or made.get(key) != plan[key])]
    if other:
        raise DataError(
            f"{out} holds mosaics that were made otherwise: another {', '.join(other)}.",
            hint="Choose another folder: -o FOLDER",
        )


def _blocks(pictures: PictureSet, out: Path, seed: int) -> list[tuple[Path, list[int]]]:
    """The file of each block, and its pictures as indices into the set."""
    order = np.random.Generator(np.random.Philox(seed)).permutation(len(pictures.numbers)).tolist()
    starts = range(0, len(order), BLOCK)
    return [(out / STAGING / f"{n:06d}.json", order[i : i + BLOCK]) for n, i in enumerate(starts)]


def _fill(
    pictures: PictureSet,
    finder: PseudoBoxFinder | None,
    out: Path,
    options: MosaicOptions,
    stop: StopRequest,
    reporter: Reporter,
) -> None:
    """Write the mosaics of the blocks that are not there yet."""
    blocks = _blocks(pictures, out, options.seed)
    missing = [(file, block) for file, block in blocks if not file.is_file()]
    done = len(pictures.numbers) - sum(len(block) for _, block in missing)
    (out / IMAGES).mkdir(exist_ok=True)
    step = options.batch
    loaded = load_batches(
        MosaicPictures(pictures, options.max_side),
        (block[i : i + step] for _, block in missing for i in range(0, len(block), step)),
        workers=options.workers,
        largest=step * 3 * options.max_side**2,
        pin=False,
    )
    for file, block in missing:
        pixels: list[Tensor] = []
        boxes: list[PseudoBoxes] = []
        for _ in range(0, len(block), step):
            images, indices = next(loaded)
            labels = [int(pictures.labels[i]) for i in indices]
            if finder is not None:
                boxes += finder.find(images, labels)
            elif options.boxes == "fixed":
                boxes += map(fixed_boxes, labels)
            else:
                found = (pictures.regions.box(int(pictures.numbers[i])) for i in indices)
                boxes += [PseudoBoxes(b[None], np.array([k], np.int64)) for b, k in zip(found, labels, strict=True)]
            pixels += images
        write_text(file, json.dumps(list(_write(pictures, block, pixels, boxes, out / IMAGES, file.stem))))
        done += len(block)
        reporter.progress("mosaics", done, len(pictures.numbers))
        if stop.name and done < len(pictures.numbers):
            raise Interrupted(
                f"Stopped by {stop.name} after {done} of {len(pictures.numbers)} pictures; what was made is kept.",
                hint="Run the same command again to go on.",
            )


def _write(
    pictures: PictureSet,
    block: Sequence[int],
    pixels: Sequence[Tensor],
    boxes: Sequence[PseudoBoxes],
    folder: Path,
    name: str,
) -> Iterator[dict[str, Any]]:
    """Write the mosaics of a block; what is in each."""
    some = [k for k, found in enumerate(boxes) if len(found.boxes)]
    for start in range(0, len(some) - 3, 4):
        four = some[start : start + 4]
        canvas, placed = stitch([pixels[k] for k in four], [boxes[k].boxes for k in four])
        file = folder / f"{name}-{start // 4:02d}.jpg"
        with replacing(file) as temporary:
            Image.fromarray(canvas.permute(1, 2, 0).numpy()).save(temporary, "JPEG", quality=QUALITY, subsampling=0)
        yield {
            "file_name": file.name,
            "height": canvas.shape[1],
            "width": canvas.shape[2],
            "pictures": [pictures.shards.key(int(pictures.numbers[block[k]])) for k in four],
            "boxes": placed.round(2).tolist(),
            "labels": np.concatenate([boxes[k].labels for k in four]).tolist(),
        }


def _join(pictures: PictureSet, categories: Categories, out: Path, plan: Mapping[str, Any]) -> None:
    """The json of all blocks."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for file, _ in _blocks(pictures, out, int(plan["seed"])):
        for mosaic in json.loads(file.read_text(encoding="utf-8")):
            boxes, labels = mosaic.pop("boxes"), mosaic.pop("labels")
            images.append({"id": len(images) + 1, **mosaic})
            for (x0, y0, x1, y1), label in zip(boxes, labels, strict=True):
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": len(images),
                        "category_id": categories[label - 1].id,
                        "bbox": [x0, y0, x1 - x0, y1 - y0],
                        "area": (x1 - x0) * (y1 - y0),
                        "iscrowd": 0,
                    }
                )
    if not images:
        raise DataError(
            "Not four pictures of a block have a box that is trusted.",
            hint="A lower --threshold, or boxes that need no trust: --boxes fixed",
        )
    classes = [
        {k: v for k, v in (("id", c.id), ("name", c.name), ("synset", c.synset), ("frequency", c.group)) if v}
        for c in categories
    ]
    content = {
        "info": {"description": "Mosaics of labelled pictures with pseudo boxes, by clis gen-mosaics", **plan},
        "images": images,
        "annotations": annotations,
        "categories": classes,
    }
    write_text(out / TRAIN_JSON, json.dumps(content))


def _result(out: Path, count: int, reporter: Reporter) -> MosaicResult:
    content = json.loads((out / TRAIN_JSON).read_text(encoding="utf-8"))
    mosaics, boxes = len(content["images"]), len(content["annotations"])
    left = count - 4 * mosaics
    if left:
        reporter.info(f"{left} of {count} pictures are in no mosaic: without a box, or left over in a block.")
    return MosaicResult(out, mosaics, boxes, left)

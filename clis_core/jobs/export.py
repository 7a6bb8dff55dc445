"""`clis export`: a run in; one file out that other programs run, that this one checked, or that holds weights alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from clis_core.config.detector import finds_masks
from clis_core.config.run import RunConfig
from clis_core.data.decode import read_image
from clis_core.data.layout import open_split
from clis_core.detectors.build import Detector
from clis_core.detectors.checkpoint import Shipped, detector_from_checkpoint, fingerprint
from clis_core.detectors.export.about import About, Precision, check_frame
from clis_core.detectors.export.model import ExportedDetector
from clis_core.detectors.export.parity import TOLERANCES, Parity, compare, refer
from clis_core.errors import ClisError, ConfigError, DataError
from clis_core.files import sync_folder, write_text
from clis_core.jobs.evaluate import find_checkpoint, with_inference_settings
from clis_core.jobs.model_card import model_card
from clis_core.report import Reporter

Format = Literal["onnx", "pt2", "safetensors"]
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
MARGIN = 2.0
"""The graph gets this many times the candidates that any of the pictures needed."""
LEAST, MOST, ROUND = 4, 16_384, 256
"""Candidates are at least so many times the detections, at most so many, and a multiple of."""


@dataclass(frozen=True)
class ExportOptions:
    """What to write.

    Attributes:
        format: of the file.
        checkpoint: "last", "best", or a file.
        frame: height and width that the graph takes, pixels; None for any multiples of 32.
        batch: images that it takes at a time; None for any number (ONNX), or one (PT2).
        precision: of the network's layers.
        nms: whether the last NMS is part of the graph.
        candidates: pairs of region and class that the graph looks at; None for what the pictures need, and a margin.
        images: folder of pictures for the check; None takes the run's validation images.
        check: how many pictures; 0 leaves the check out.
    """

    format: Format
    checkpoint: str = "last"
    frame: tuple[int, int] | None = None
    batch: int | None = None
    precision: Precision = "fp32"
    nms: bool = True
    candidates: int | None = None
    images: Path | None = None
    check: int = 50


@dataclass(frozen=True)
class ExportResult:
    """What was written.

    Attributes:
        path: the file.
        size: its bytes.
        about: what it says of itself.
        parity: how far it agrees with the run; None where it was not run.
        card: the model card, beside weights alone.
    """

    path: Path
    size: int
    about: About
    parity: Parity | None = None
    card: Path | None = None


def export(run: Path, config: RunConfig, out: Path, options: ExportOptions, *, reporter: Reporter) -> ExportResult:
    """Write a run's detector as one file. A file that fails the check is not kept.

    Args:
        run: the run folder.
        config: the run's config, with what the user has changed for inference.
        out: the file.
        options: what to write.
        reporter: gets progress and messages.

    Raises:
        CheckpointError: there is no such checkpoint, or it cannot be read.
        ConfigError: options that do not fit, or a library that is missing.
        DataError: the pictures of the check cannot be read.
        ClisError: the file does not find what the detector finds.
    """
    if options.frame is not None:
        check_frame(options.frame)
    path = find_checkpoint(run, options.checkpoint)
    shipped = detector_from_checkpoint(path)
    shipped.detector.config = with_inference_settings(shipped.detector.config, config.detector)
    about = About(
        shipped.detector.config,
        shipped.categories,
        shipped.step,
        fingerprint(shipped.detector.state_dict()),
        frame=options.frame,
        batch=options.batch or (1 if options.format == "pt2" else None),
        nms=options.nms,
        precision=options.precision,
    )
    if not options.nms and finds_masks(about.config):
        raise ConfigError(
            "Masks are made of the detections that the last NMS leaves; without it there would be one for each of "
            "thousands of candidates.",
            hint="Leave the NMS in the graph, without --no-nms",
        )
    if options.format == "safetensors":
        return _weights(run, config, shipped, about, out)
    paths = _pictures(run, config, options)
    return _graph(shipped.detector, about, out, options, paths, config.data.exif, reporter)


def _weights(run: Path, config: RunConfig, shipped: Shipped, about: About, out: Path) -> ExportResult:
    from clis_core.detectors.export.weights_file import write_safetensors

    write_safetensors(shipped.detector, about, out)
    card = out.with_suffix(".md")
    write_text(card, model_card(run, config, about, out.name, sum(p.numel() for p in shipped.detector.parameters())))
    return ExportResult(out, out.stat().st_size, about, card=card)


def _graph(
    detector: Detector,
    about: About,
    out: Path,
    options: ExportOptions,
    paths: list[Path],
    exif: bool,
    reporter: Reporter,
) -> ExportResult:
    def pictures() -> Iterator[Tensor]:
        return (read_image(path, exif=exif) for path in paths)

    count = len(paths)
    references = refer(detector, about, pictures(), lambda done: reporter.progress("detect", done, count))
    needed = max((r.needed for r in references), default=0)
    about = replace(about, candidates=options.candidates or choose_candidates(needed, about))
    reporter.info(_about_candidates(needed, count, about.candidates))
    unchecked = out.with_name(f".{out.stem}.unchecked{out.suffix}")
    try:
        reporter.info(f"Writing {out.name}.")
        exported = _write(detector, about, unchecked, options.format)
        parity = None
        if references:
            tolerance = TOLERANCES[about.precision]
            parity = compare(
                references, exported, pictures(), tolerance, lambda done: reporter.progress("check", done, count)
            )
            if not parity.within(tolerance):
                raise _difference(parity, about)
            if parity.uncertain:
                reporter.warn(
                    f"In {parity.uncertain} of {count} pictures {about.candidates} candidates may have been too few."
                )
        unchecked.replace(out)
        sync_folder(out.parent)
    finally:
        unchecked.unlink(missing_ok=True)
    return ExportResult(out, out.stat().st_size, about, parity)


def _write(detector: Detector, about: About, path: Path, form: Format) -> ExportedDetector:
    """Write the file, and open it again."""
    device = torch.device("cpu")
    if form == "onnx":
        from clis_core.detectors.export.onnx_file import open_onnx, write_onnx

        write_onnx(detector, about, path)
        return ExportedDetector(*open_onnx(path, device))
    from clis_core.detectors.export.pt2_file import open_pt2, write_pt2

    write_pt2(detector, about, path)
    return ExportedDetector(*open_pt2(path, device))


def choose_candidates(needed: int, about: About) -> int:
    """The K of the graph: twice what the pictures needed, within bounds; a multiple of 256.

    Args:
        needed: the most that any picture needed; 0 where none was looked at.
        about: gives the number of detections.
    """
    least = LEAST * about.config.postprocess.detections
    wanted = min(max(MARGIN * needed, least), MOST)
    return -(-int(wanted) // ROUND) * ROUND


def _about_candidates(needed: int, pictures: int, candidates: int) -> str:
    if not pictures:
        return f"{candidates} candidates; no picture was looked at to choose them by."
    return f"{candidates} candidates; of {pictures} pictures none needed more than {needed}."


def _difference(parity: Parity, about: About) -> ClisError:
    hint = "Report it with your versions of torch, onnxscript and onnxruntime; --format safetensors needs no graph."
    if parity.uncertain:
        hint = f"More candidates: --candidates {4 * about.candidates}"
    elif about.precision == "fp16":
        hint = "Full precision: leave --half away"
    return ClisError(
        f"The exported file does not find what the detector finds, and was not kept: {100 * parity.same:.1f} % of "
        f"{parity.detections} detections in {parity.images} pictures are the same ({100 * parity.weighted:.1f} % by "
        "score).",
        hint=hint,
    )


def _pictures(run: Path, config: RunConfig, options: ExportOptions) -> list[Path]:
    """The pictures of the check, spread over all that there are."""
    if not options.check:
        return []
    found = _in_folder(options.images) if options.images is not None else _validation_images(config, run)
    step = max(1, len(found) // options.check)
    return found[::step][: options.check]


def _in_folder(folder: Path) -> list[Path]:
    paths = [folder] if folder.is_file() else sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise DataError(f"{folder}: no pictures there to check the file on.", hint="--images FOLDER, with JPEG or PNG")
    return paths


def _validation_images(config: RunConfig, run: Path) -> list[Path]:
    try:
        split = open_split(config.data, "val", run.parent / ".cache")
    except (ConfigError, DataError) as error:
        raise DataError(
            f"The file is to be checked on the run's validation images: {error.message}",
            hint="Check it on other pictures: --images FOLDER; or not at all: --check 0",
        ) from error
    return [split.files.path(index) for index in range(len(split.table))]

"""What an exported file says of itself: a record in, JSON text out, and back."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from clis_core import __version__
from clis_core.batch import fit_size
from clis_core.categories import Categories
from clis_core.config.detector import DetectorConfig
from clis_core.errors import JSON_DAMAGE, CheckpointError, ClisError, ConfigError, format_hint

KEY = "clis"
"""The key of the JSON in a file's metadata."""
FORMAT = 1
STEP = 32
"""Height and width of a frame are multiples of it."""
SMALLEST, LARGEST = 96, 8192
"""Bounds of a frame's sides, pixels."""

Precision = Literal["fp32", "fp16"]


@dataclass(frozen=True)
class About:
    """An exported detector.

    Attributes:
        config: of the detector.
        categories: label i is ``categories[i - 1]``.
        step: training steps behind it.
        weights: SHA-256 of the weights that were exported, as `checkpoint.fingerprint` gives it.
        frame: height and width of the images that the graph takes, pixels; None for any multiple of 32.
        batch: images that it takes at a time; None for any number.
        candidates: K of `fixed.FixedDetector`; 0 for a file of weights.
        nms: whether the last NMS is part of the graph.
        precision: of the network's layers.
    """

    config: DetectorConfig
    categories: Categories
    step: int
    weights: str
    frame: tuple[int, int] | None = None
    batch: int | None = None
    candidates: int = 0
    nms: bool = True
    precision: Precision = "fp32"

    def to_json(self) -> str:
        """The record as text. Paths of the training machine are left out."""
        backbone = self.config.backbone.model_copy(update={"init": "none"})
        record = {
            "format": FORMAT,
            "clis": __version__,
            "step": self.step,
            "weights_sha256": self.weights,
            "frame": self.frame,
            "batch": self.batch,
            "candidates": self.candidates,
            "nms": self.nms,
            "precision": self.precision,
            "preprocessing": self.preprocessing,
            "categories": self.categories.to_records(),
            "detector_config": self.config.model_copy(update={"backbone": backbone}).model_dump(mode="json"),
        }
        return json.dumps(record)

    @property
    def preprocessing(self) -> str:
        """What to do with an image, in words."""
        frame = f"{self.frame[0]} x {self.frame[1]}" if self.frame else "whose sides are multiples of 32"
        return (
            f"RGB, uint8, upright by EXIF. Resized (bilinear, antialiased) so that the short side is "
            f"{self.config.short_side} pixels, but the long side no more than {self.config.long_side}"
            f"{' and it fits the frame' if self.frame else ''}; aspect kept. Put at the top left of a frame "
            f"{frame} (height x width); what is outside of the image does not count. Normalised in the graph."
        )

    def fit(self, height: int, width: int) -> tuple[int, int]:
        """The (height, width) that an image is resized to: the training's, or smaller if it would not fit the frame."""
        size = fit_size(height, width, self.config.short_side, self.config.long_side)
        if self.frame is None or (size[0] <= self.frame[0] and size[1] <= self.frame[1]):
            return size
        scale = min(self.frame[0] / height, self.frame[1] / width)
        return max(1, round(height * scale)), max(1, round(width * scale))

    def frame_for(self, sizes: list[tuple[int, int]]) -> tuple[int, int]:
        """The (height, width) of the frame for images of these sizes: the fixed one, or the smallest that holds all."""
        if self.frame is not None:
            return self.frame
        sides = (max(h for h, _ in sizes), max(w for _, w in sizes))
        return _multiple(sides[0]), _multiple(sides[1])


def check_frame(frame: tuple[int, int]) -> None:
    """Check that a frame can be exported.

    Raises:
        ConfigError: a side is no multiple of 32, or out of bounds.
    """
    if any(side % STEP or not SMALLEST <= side <= LARGEST for side in frame):
        good = "x".join(str(min(max(_multiple(side), SMALLEST), LARGEST)) for side in frame)
        raise ConfigError(
            f"A frame of {frame[0]} x {frame[1]} pixels cannot be exported: sides are multiples of {STEP} from "
            f"{SMALLEST} to {LARGEST}.",
            hint=f"--size {good}",
        )


def from_json(text: str, source: str) -> About:
    """The inverse of `About.to_json`.

    Args:
        text: from a file's metadata.
        source: what to call the file in a message.

    Raises:
        CheckpointError: the text is not such a record, or one of a newer clis.
    """
    try:
        record: Any = json.loads(text)
        if record["format"] != FORMAT:
            raise CheckpointError(
                f"{source}: its description has format {record['format']}, but this clis reads {FORMAT}.",
                hint=format_hint(record["format"], FORMAT),
            )
        about = About(
            config=TypeAdapter(DetectorConfig).validate_python(record["detector_config"]),
            categories=Categories.from_records(record["categories"]),
            step=int(record["step"]),
            weights=str(record["weights_sha256"]),
            batch=None if record["batch"] is None else int(record["batch"]),
            candidates=int(record["candidates"]),
            nms=bool(record["nms"]),
            precision=TypeAdapter(Precision).validate_python(record["precision"]),
        )
        if record["frame"] is None:
            return about
        frame = (int(record["frame"][0]), int(record["frame"][1]))
        check_frame(frame)
        return replace(about, frame=frame)
    except CheckpointError:
        raise
    except (*JSON_DAMAGE, ClisError, ValidationError, TypeError, KeyError, IndexError, OverflowError) as error:
        raise CheckpointError(
            f"{source}: its description cannot be read ({type(error).__name__}).",
            hint="Export it again: clis export RUN -o FILE",
        ) from error


def _multiple(side: int) -> int:
    return max(SMALLEST, -(-side // STEP) * STEP)

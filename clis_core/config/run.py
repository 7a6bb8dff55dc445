"""The whole of a run: what `config.toml` in a run folder holds."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from clis_core.config.data import DataConfig
from clis_core.config.detector import DetectorConfig, FasterRCNNConfig
from clis_core.config.frozen import Frozen
from clis_core.config.method import SupervisedConfig
from clis_core.config.methods import MethodConfig
from clis_core.config.pictures import PicturesConfig
from clis_core.config.train import TrainConfig


class EvalConfig(Frozen):
    """How detections are judged."""

    batch: int = Field(default=1, ge=1)
    """Images that the detector takes at a time."""
    engine: Literal["hotcoco", "lvis", "pycocotools", "voc"] | None = None
    """None: hotcoco for LVIS files, pycocotools for COCO files, voc for lists of VOC. "lvis" is the slow authority for
    LVIS."""


class RunConfig(Frozen):
    """Everything that makes a run; it is passed in slices and stops at clis_core.jobs."""

    preset: str = ""
    """The preset that this config started from."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Seed of everything random."""
    device: str = ""
    """"cpu", "cuda", "cuda:1", "mps"; empty takes cuda where there is one, else cpu."""
    data: DataConfig = DataConfig()
    detector: DetectorConfig = FasterRCNNConfig()
    method: MethodConfig = SupervisedConfig()
    pictures: PicturesConfig = PicturesConfig()
    train: TrainConfig = TrainConfig()
    eval: EvalConfig = EvalConfig()

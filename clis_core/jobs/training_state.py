"""A config and a detector go in; everything that a training holds beside its data comes out, on its device."""

from __future__ import annotations

import torch

from clis_core.config.run import RunConfig
from clis_core.detectors.build import Detector
from clis_core.methods.build import build_method
from clis_core.training.checkpoint import TrainState
from clis_core.training.ema import Averaged
from clis_core.training.optim import build_optimiser
from clis_core.training.start import learn_only


def training_state(config: RunConfig, detector: Detector, pictures: int, device: torch.device) -> TrainState:
    """Method, optimiser, scaler and average of a training's first step.

    Args:
        config: the whole run.
        detector: with its first weights; it is moved to the device.
        pictures: number of pictures of the image-level data; 0 where there are none.
        device: where training runs.
    """
    # Channels last: faster convolutions on the CPU and on a GPU's tensor cores.
    detector = detector.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if config.train.compile:
        detector.encoder.compile(dynamic=True)
        detector.encoder.backbone.compile(dynamic=True)  # the pictures' regions leave the pyramid before its end
    method = build_method(config.method, detector, pictures).to(device)
    learn_only(detector, config.train.learn)
    return TrainState(
        method=method,
        optimiser=build_optimiser(method, config.train),
        scaler=torch.amp.GradScaler(device.type, enabled=config.train.amp == "fp16"),
        averaged=Averaged(detector, config.train.ema) if config.train.ema else None,
    )

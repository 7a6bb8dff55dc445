"""A checkpoint in, the first weights of a new training out; and which of the weights it changes."""

from __future__ import annotations

from pathlib import Path

from clis_core.categories import Categories
from clis_core.config.detector import DetectorConfig
from clis_core.config.train import Learn
from clis_core.detectors.build import Detector
from clis_core.detectors.checkpoint import detector_from_checkpoint
from clis_core.errors import CheckpointError, ConfigError

CLASSIFIERS = ("head.fc_cls.", "head.conv_cls.")
STATISTICS = "head.class_loss."
SCALE = "head.fc_cls.scale"
ADDED = ("mtl.", "mask_head.")  # what a detector may have more than the one that it starts from


def start_from(detector: Detector, categories: Categories, path: Path, *, reset_classifier: bool = False) -> list[str]:
    """Set a detector's weights to those of a checkpoint, averaged ones if it has them.

    The class layer keeps its first weights where the checkpoint's is of another class loss or of another kind, since
    its columns mean other things. Factors of a class layer are 1 where the checkpoint's has none, and auxiliary heads
    and a mask head keep their first weights where it has none. Statistics of the class loss begin anew: they are those
    of a training.

    Args:
        detector: is changed in place.
        categories: its classes; the checkpoint's must be the same, in the same order.
        path: a checkpoint of clis.
        reset_classifier: let the class layer keep its first weights in any case.

    Returns:
        The names of the parameters that keep their first weights.

    Raises:
        CheckpointError: the checkpoint cannot be read, knows other classes, or does not fit outside of the class layer.
    """
    shipped = detector_from_checkpoint(path)
    if [(c.id, c.name) for c in shipped.categories] != [(c.id, c.name) for c in categories]:
        raise CheckpointError(
            f"{path}: knows other classes than the training data have.",
            hint="Start from a run on annotations with the same categories.",
        )
    new = shipped.detector.state_dict()
    anew = reset_classifier or _layer(shipped.detector.config) != _layer(detector.config)
    kept = CLASSIFIERS if anew else ()
    kept = (*kept, *(part for part in ADDED if not any(name.startswith(part) for name in new)))
    left = (STATISTICS, *kept) if SCALE in new else (STATISTICS, *kept, SCALE)
    own = detector.state_dict()
    for name in sorted({k for k in own.keys() | new.keys() if not k.startswith(left)}):
        if name not in new or name not in own or new[name].shape != own[name].shape:
            shapes = [list(s[name].shape) if name in s else "none" for s in (new, own)]
            raise CheckpointError(
                f"{path}: does not fit the detector: {name} is {shapes[0]} there, {shapes[1]} here.",
                hint="Take the settings of its run: --config RUN/config.toml, and --set what shall differ",
            )
    detector.load_state_dict({k: v for k, v in new.items() if not k.startswith(left)}, strict=False)
    return [k for k in own if k.startswith(kept)]


def learn_only(detector: Detector, what: Learn) -> None:
    """Let a training change all of a detector, its class layer alone, or that layer's factors alone.

    Raises:
        ConfigError: the class layer has no factors.
    """
    if what == "all":
        return
    learnt = {"classifier": CLASSIFIERS, "scales": (SCALE,)}[what]
    if not any(name.startswith(learnt) for name, _ in detector.named_parameters()):
        raise ConfigError(
            "train.learn = 'scales', but the class layer has no factors.",
            hint="--set detector.head.classifier=scaled",
        )
    for name, parameter in detector.named_parameters():
        parameter.requires_grad_(name.startswith(learnt))


def _layer(config: DetectorConfig) -> tuple[object, ...]:
    """What the columns of a class layer mean."""
    if config.kind != "faster-rcnn":
        return ("one sigmoid for each class",)
    columns = config.class_loss.model_dump(include={"kind", "objectness", "bounds"})
    return columns, config.head.classifier == "cosine"

"""A detector in, an ONNX file out; and an ONNX file in, a function that runs it with ONNX Runtime out."""

from __future__ import annotations

import contextlib
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clis_core.config.detector import finds_masks
from clis_core.detectors.build import Detector
from clis_core.detectors.export import about as about_file
from clis_core.detectors.export.about import About
from clis_core.detectors.export.capture import capture
from clis_core.detectors.fixed import FixedDetections, FixedDetector, Run
from clis_core.errors import CheckpointError, ConfigError
from clis_core.files import replacing

INSTALL = "pip install 'clis[onnx]'"
OUTPUTS = ("boxes", "labels", "scores", "certain")
MASKS = "masks"
"""One more, of a detector with a mask head."""
_NAMES_OF_DIMENSIONS = ("batch", "height", "width")


def write_onnx(detector: Detector, about: About, path: Path) -> None:
    """Write a detector as one ONNX file (opset 18), weights included.

    Inputs are ``images`` uint8 ``[N, 3, H, W]`` and ``sizes`` int64 ``[N, 2]``, outputs those of
    `fixed.FixedDetections`. The metadata hold the whole record (key "clis"), and the class names by label ("names")
    and the preprocessing in words ("preprocessing") for others.

    Raises:
        ConfigError: the libraries are not installed, or the detector cannot be captured as asked.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401

        from clis_core.detectors.export.onnx_kernels import OPSET, OnnxKernels, translations
    except ImportError as error:
        raise ConfigError(f"Writing ONNX needs a library that is not installed: {error.name}.", hint=INSTALL) from error
    graph = FixedDetector(
        detector, about.candidates, OnnxKernels(), nms=about.nms, half=about.precision == "fp16"
    ).cpu()
    captured = capture(graph, about)
    with _quiet():
        program: Any = torch.onnx.export(
            captured,
            dynamo=True,
            custom_translation_table=translations(),
            opset_version=OPSET,
            input_names=["images", "sizes"],
            output_names=_outputs(about),
            verbose=False,
        )
    _finish(program.model, about)
    with replacing(path) as temporary:
        program.save(str(temporary))


def _finish(model: Any, about: About) -> None:
    """Name the dimensions, describe the file, and drop what the exporter noted of this machine's source files."""
    names = {str(d): n for d, n in zip(_open_dimensions(model), _NAMES_OF_DIMENSIONS, strict=False)}
    for value in (*model.graph.inputs, *model.graph.outputs):
        if value.shape is not None:
            for axis, dimension in enumerate(value.shape):
                value.shape[axis] = names.get(str(dimension), dimension)
    for part in (model.graph, *model.functions.values()):
        for node in part:
            node.metadata_props.clear()
            node.doc_string = None
            for value in node.outputs:
                value.metadata_props.clear()
                if value not in model.graph.outputs:
                    value.shape = None  # runtimes infer it; the exporter's names would contradict the inputs'
        part.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
    model.producer_name, model.graph.name = "clis", "detector"
    model.metadata_props.clear()
    model.metadata_props.update(
        {
            about_file.KEY: about.to_json(),
            "names": json.dumps({i: c.name for i, c in enumerate(about.categories, start=1)}),
            "preprocessing": about.preprocessing,
        }
    )


def _open_dimensions(model: Any) -> list[Any]:
    """The dimensions of ``images`` that are not fixed, in the order N, H, W; a placeholder for a fixed one."""
    shape = model.graph.inputs[0].shape
    return [shape[axis] if not isinstance(shape[axis], int) else f"fixed {axis}" for axis in (0, 2, 3)]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's notes, which are about its own inner life."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def open_onnx(path: Path, device: torch.device) -> tuple[Run, About]:
    """Open an ONNX file that clis wrote.

    Args:
        path: the file.
        device: cpu, or cuda where ONNX Runtime has it.

    Raises:
        CheckpointError: the file is missing, damaged, or not one of clis.
        ConfigError: ONNX Runtime is not installed, or not for this device.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(f"{path}: running ONNX needs ONNX Runtime, which is not installed.", hint=INSTALL) from error
    providers = ["CPUExecutionProvider"]
    if device.type != "cpu":
        if device.type != "cuda" or "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise ConfigError(
                f"{path}: the ONNX Runtime that is installed has no {device.type}.",
                hint="--device cpu; or for a GPU of NVIDIA's: pip install onnxruntime-gpu",
            )
        providers = [("CUDAExecutionProvider", {"device_id": device.index or 0}), *providers]  # type: ignore[list-item]
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file.", hint="Make one: clis export RUN --format onnx -o FILE")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors alone
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:
        raise CheckpointError(
            f"{path}: damaged, or not an ONNX file ({type(error).__name__}).",
            hint="Copy it again, or export it again: clis export RUN --format onnx -o FILE",
        ) from error
    text = session.get_modelmeta().custom_metadata_map.get(about_file.KEY)
    if text is None:
        raise CheckpointError(
            f"{path}: an ONNX file of another program; what its inputs and outputs mean is not known.",
            hint="Files of clis come from: clis export RUN --format onnx -o FILE",
        )

    about = about_file.from_json(text, str(path))
    names = _outputs(about)

    def run(images: Tensor, sizes: Tensor) -> FixedDetections:
        feed = {"images": np.ascontiguousarray(images.cpu().numpy()), "sizes": sizes.cpu().numpy()}
        return FixedDetections(*(torch.from_numpy(x) for x in session.run(names, feed)))

    return run, about


def _outputs(about: About) -> list[str]:
    return [*OUTPUTS, MASKS] if finds_masks(about.config) else [*OUTPUTS]

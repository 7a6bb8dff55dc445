"""The benchmark of inference: torchvision, clis and ONNX Runtime find the same, and what counts as the same."""

from __future__ import annotations

import pytest
import torch

from clis_core.batch import Detection
from clis_core.jobs.bench import inference, inference_dense


@pytest.mark.slow
def test_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "ROUNDS", 1)
    monkeypatch.setattr(inference, "CLASSES", 40)
    result = inference.run(0.2)
    assert result["name"] == "inference"
    assert result["equal"] is True
    assert min(result[key] for key in ("ours", "peer", "ratio", "clis", "clis_times")) > 0
    assert result["detections"] > 50
    assert result["candidates"] == pytest.approx(inference.CANDIDATES, abs=0.02)
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    assert result["onnx"] > 0
    assert result["same_detections"]["onnx"] >= 0.99


@pytest.mark.slow
def test_report_of_one_stage_detectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference_dense, "ROUNDS", 1)
    monkeypatch.setattr(inference_dense, "CLASSES", 40)
    result = inference_dense.run(0.2)
    assert result["name"] == "inference-dense"
    assert result["equal"] is True
    assert min(result[key] for key in ("ours", "peer", "ratio")) > 0
    assert min(result["fcos"].values()) > 0
    assert result["detections"] > 50


def found(boxes: list[list[float]], labels: list[int], scores: list[float]) -> Detection:
    return Detection(torch.tensor(boxes).reshape(-1, 4), torch.tensor(labels), torch.tensor(scores))


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (found([[0, 0, 100, 100], [50, 50, 90, 90]], [1, 2], [0.5, 0.4]), 1.0),
        (found([[50, 50, 90, 90], [0, 0, 100, 100.2]], [2, 1], [0.4, 0.502]), 1.0),  # another order, rounding
        (found([[0, 0, 100, 100], [50, 50, 90, 90]], [1, 1], [0.5, 0.4]), 0.5),
        (found([[0, 0, 100, 100], [50, 50, 90, 90]], [1, 2], [0.5, 0.41]), 0.5),
        (found([[0, 0, 100, 100], [50, 50, 90, 95]], [1, 2], [0.5, 0.4]), 0.5),
        (found([], [], []), 0.0),
    ],
)
def test_agreement(other: Detection, expected: float) -> None:
    reference = found([[0, 0, 100, 100], [50, 50, 90, 90]], [1, 2], [0.5, 0.4])
    assert inference.agreement(reference, other) == expected

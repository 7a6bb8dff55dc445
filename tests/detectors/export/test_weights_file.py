"""Weights alone: the same detector from them, without what training needs."""

import pytest
import torch

from clis_core.detectors.checkpoint import fingerprint
from clis_core.detectors.load import load_model
from clis_core.errors import CheckpointError
from tests.detectors.export.conftest import CATEGORIES, about_of
from tests.detectors.test_faster_rcnn import picture

safetensors = pytest.importorskip("safetensors.torch")


def test_the_same_detector(detector, tmp_path):
    from clis_core.detectors.export.weights_file import write_safetensors

    path = tmp_path / "model.safetensors"
    write_safetensors(detector, about_of(detector), path)
    loaded = load_model(path)
    assert (loaded.categories, loaded.step) == (CATEGORIES, 7)
    assert fingerprint(loaded.model.state_dict()) == fingerprint(detector.state_dict())
    image = picture(100, 150)
    with torch.inference_mode():
        for mine, other in zip(loaded.model([image])[0][:3], detector([image])[0][:3], strict=True):
            assert torch.equal(mine, other)
    assert set(safetensors.load_file(path)) == set(detector.state_dict())
    assert str(tmp_path) not in path.read_bytes()[:200_000].decode("latin-1")


def test_half_the_size(detector, tmp_path):
    from clis_core.detectors.export.weights_file import write_safetensors

    for precision in ("fp32", "fp16"):
        write_safetensors(detector, about_of(detector, precision=precision), tmp_path / f"{precision}.safetensors")
    whole, half = ((tmp_path / f"{p}.safetensors").stat().st_size for p in ("fp32", "fp16"))
    assert half < 0.51 * whole
    loaded = load_model(tmp_path / "fp16.safetensors").model.state_dict()
    for name, tensor in detector.state_dict().items():
        torch.testing.assert_close(loaded[name], tensor, atol=1e-3, rtol=1e-3)


def test_weights_of_another_program(tmp_path):
    safetensors.save_file({"x": torch.zeros(2)}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="another program"):
        load_model(tmp_path / "x.safetensors")


def test_weights_that_do_not_fit_their_description(detector, tmp_path):
    from clis_core.detectors.export.weights_file import write_safetensors

    path = tmp_path / "x.safetensors"
    write_safetensors(detector, about_of(detector), path)
    state = safetensors.load_file(path)
    del state["head.fc_cls.bias"]
    safetensors.save_file(state, path, metadata={"clis": about_of(detector).to_json()})
    with pytest.raises(CheckpointError, match="do not fit"):
        load_model(path)

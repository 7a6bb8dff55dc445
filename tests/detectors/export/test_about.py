"""The record of an exported file survives its JSON, names no path, and refuses what it cannot be."""

import json
from dataclasses import replace

import pytest

from clis_core.detectors.export.about import About, check_frame, from_json
from clis_core.errors import CheckpointError, ConfigError
from tests.detectors.export.conftest import about_of, sharp_detector


@pytest.fixture
def about():
    return about_of(sharp_detector(), frame=(160, 224), batch=2, nms=False, precision="fp16")


def test_round_trip(about):
    assert from_json(about.to_json(), "file") == about
    open_one = replace(about, frame=None, batch=None)
    assert from_json(open_one.to_json(), "file") == open_one


def test_the_place_of_the_first_weights_stays_at_home(about):
    backbone = about.config.backbone.model_copy(update={"init": "/home/me/secret.pth"})
    text = replace(about, config=about.config.model_copy(update={"backbone": backbone})).to_json()
    assert "secret" not in text
    assert from_json(text, "file").config.backbone.init == "none"


@pytest.mark.parametrize(
    "change",
    [
        {"categories": []},
        {"categories": [{"id": 1}]},
        {"frame": [100, 100]},
        {"frame": [160]},
        {"precision": "int8"},
        {"detector_config": {"backbone": {"name": "nope"}}},
        {"step": None},
    ],
)
def test_records_that_make_no_sense(about, change):
    text = json.dumps({**json.loads(about.to_json()), **change})
    with pytest.raises(CheckpointError, match=r"m\.onnx: its description cannot be read"):
        from_json(text, "m.onnx")


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"format": 2}'])
def test_texts_that_are_none(text):
    with pytest.raises(CheckpointError):
        from_json(text, "m.onnx")


def test_frames():
    check_frame((800, 1344))
    for frame, hint in (((800, 1333), "--size 800x1344"), ((64, 64), "--size 96x96"), ((9000, 96), "--size 8192x96")):
        with pytest.raises(ConfigError) as caught:
            check_frame(frame)
        assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("frame", "size", "expected"),
    [
        (None, (480, 640), (128, 171)),  # as in training: short side 128
        (None, (100, 1000), (26, 256)),  # long side 256
        ((160, 224), (480, 640), (128, 171)),  # fits as it is
        ((160, 160), (480, 640), (120, 160)),  # shrunk, the aspect kept
        ((96, 224), (640, 480), (96, 72)),
    ],
)
def test_the_size_in_the_frame(about, frame, size, expected):
    about = replace(about, frame=frame)
    assert about.fit(*size) == expected
    height, width = about.frame_for([expected])
    assert height >= expected[0]
    assert width >= expected[1]
    assert height % 32 == width % 32 == 0


def test_an_open_frame_is_as_small_as_the_images_allow(about: About):
    about = replace(about, frame=None)
    assert about.frame_for([(128, 171), (200, 100)]) == (224, 192)
    assert about.frame_for([(20, 20)]) == (96, 96)

"""What methods need of the pictures: whole pictures or regions, and nothing pasted but by CLIS."""

import pytest

from clis_core.config.load import Layer, preset_layer, resolve
from clis_core.config.methods import learns_from_pictures, pictures_for
from clis_core.errors import ConfigError


def config_of(preset, **layers):
    return resolve([preset_layer(preset), Layer("--set", layers)])


@pytest.mark.parametrize("preset", ["detic-small", "dlwl-small", "unbiased-teacher-small"])
def test_whole_pictures_need_no_regions(preset):
    config = config_of(preset)
    assert learns_from_pictures(config.method)
    settings = pictures_for(config.method, config.pictures)
    assert settings.regions == "full-image"
    assert settings.model_copy(update={"regions": None}) == config.pictures
    config = config_of(preset, pictures={"regions": "full-image"})
    assert pictures_for(config.method, config.pictures) == config.pictures


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ({"pictures": {"t": 2}}, "pictures.t = 2, but the method detic pastes nothing"),
        ({"pictures": {"regions": "centre"}}, "pictures.regions = centre, but the method detic looks for the class"),
    ],
    ids=str,
)
def test_what_a_method_has_no_use_for_is_refused(layers, words):
    config = config_of("detic-small", **layers)
    with pytest.raises(ConfigError, match=words) as caught:
        pictures_for(config.method, config.pictures)
    assert caught.value.hint


@pytest.mark.parametrize("preset", ["clis-small", "self-training-small"])
def test_regions_are_taken_as_they_are(preset):
    config = config_of(preset, pictures={"regions": "centre"})
    assert pictures_for(config.method, config.pictures) is config.pictures


def test_thresholds_of_anchors_are_in_order():
    with pytest.raises(ConfigError, match="negative_iou must not be above positive_iou"):
        config_of("detic-small", method={"rpn": {"negative_iou": 0.8}})

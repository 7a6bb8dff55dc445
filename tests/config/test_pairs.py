"""Methods and detectors that do not go together are refused by the config, by name; presets of one-stage detectors."""

import pytest

from clis_core.config.dense_presets import DENSE_PRESETS
from clis_core.config.load import Layer, difference, preset_layer, resolve
from clis_core.config.presets import PRESETS
from clis_core.errors import ConfigError


@pytest.mark.parametrize(
    ("preset", "values", "words", "way_out"),
    [
        ("clis-small", {"detector": {"kind": "retinanet"}}, "'clis' does not go with", "method.kind=supervised"),
        ("fcos-small", {"method": {"kind": "clis"}}, "'clis' does not go with", "detector.kind=faster-rcnn"),
        ("baseline-small", {"detector": {"kind": "fcos"}}, "'max-iou' does not go with", "assign.kind=ranges"),
        (
            "retinanet-small",
            {"method": {"dense": {"assign": {"kind": "ranges"}}}},
            "'ranges' does not go with",
            "assign.kind=max-iou",
        ),
        ("detic-small", {"detector": {"mtl": {"window": True}}}, "'detic' does not teach", "detector.mtl.window=false"),
        (
            "retinanet-small",
            {"method": {"mtl": {"foreground_weight": 0.5}}},
            "foreground_weight = 0.5 does not go with",
            "foreground_weight=0",
        ),
        ("mtl-ssl-small", {"train": {"learn": "classifier"}}, "'classifier' does not go with", "train.learn=all"),
    ],
)
def test_pairs_that_do_not_go(preset, values, words, way_out):
    with pytest.raises(ConfigError, match=words) as caught:
        resolve([preset_layer(preset), Layer("--set", values)])
    assert way_out in caught.value.hint


def test_refinement_needs_something_to_refine_by():
    alone = {"detector": {"mtl": {"refine": True}}}
    with pytest.raises(ConfigError, match=r"detector\.mtl: refine needs a head to refine by"):
        resolve([preset_layer("baseline-small"), Layer("--set", alone)])


def test_pairs_that_go():
    for preset in ("retinanet-small", "fcos-small"):
        resolve([preset_layer(preset), Layer("--set", {"method": {"dense": {"assign": {"kind": "atss"}}}})])
    assert resolve([Layer("--set", {"detector": {"kind": "retinanet"}})]).detector.kind == "retinanet"


@pytest.mark.parametrize(
    ("preset", "values", "words"),
    [
        ("fcos-small", {"head": {"width": 3}}, "kind 'fcos' has no head.width; of kind 'faster-rcnn' it has"),
        ("baseline-small", {"head": {"convs": 3}}, "has no head.convs; of kind 'retinanet' or 'fcos' it has"),
        ("fcos-small", {"anchors": {"scales": [3]}}, "kind 'fcos' has no anchors; of kind 'retinanet' it has"),
        ("fcos-small", {"head": {"covs": 3}}, "did you mean detector.head.convs"),
        ("fcos-small", {"class_loss": {"kind": "seesaw"}}, "must be one of focal, efl, eqfl"),
        ("baseline-small", {"class_loss": {"kind": "efl"}}, "must be one of softmax"),
    ],
)
def test_a_key_of_another_detector_is_named(preset, values, words):
    with pytest.raises(ConfigError) as caught:
        resolve([preset_layer(preset), Layer("--set", {"detector": values})])
    assert words in caught.value.message


def config_of(name):
    return resolve([preset_layer(name)])


@pytest.mark.parametrize("name", ["efl-r50-2x", "efl-r101-2x", "efl-focal-r50-2x", "eqfl-r50-2x"])
def test_the_improved_retinanet_is_efl_s(name):
    config = config_of(name)
    assert (config.detector.anchors.scales, config.detector.anchors.ratios) == ((6.0, 8.0), (1.0,))
    head = config.detector.head
    assert (head.convs, head.norm, head.quality, head.combine) == (4, "group", "iou", "product")
    dense = config.method.dense
    assert (dense.assign.kind, dense.assign.k, dense.box) == ("atss", 18, "giou")
    assert config.detector.class_loss.prior == 0.001
    train = config.train
    assert (train.iterations, train.clip) == (180_000, 35)
    assert [round(24 * m) for m in train.schedule.milestones] == [16, 22]
    changed = {key for key, _, _ in difference(config_of("efl-r50-2x"), config) if key != "preset"}
    assert all(k.startswith(("detector.class_loss.", "detector.backbone.name")) for k in changed)


def test_presets_are_named_as_their_functions_and_small_ones_see_what_baseline_small_sees():
    for name in DENSE_PRESETS:
        assert PRESETS[name] is DENSE_PRESETS[name]
    small = config_of("baseline-small")
    for name in ("retinanet-small", "fcos-small", "efl-small", "efl-focal-small", "eqfl-small"):
        other = config_of(name)
        assert (other.data, other.train, other.detector.backbone) == (small.data, small.train, small.detector.backbone)
        assert other.detector.short_side == small.detector.short_side

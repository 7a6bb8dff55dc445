"""The JSON schemas: an editor accepts with them what clis accepts, and marks what it refuses."""

import json
import tomllib
from typing import Any

import jsonschema
import pytest

from clis_core.config.load import dump_toml, preset_layer, resolve
from clis_core.config.presets import PRESETS
from clis_core.config.schema import config_schema, workspace_schema

CONFIG = jsonschema.Draft7Validator(config_schema())
WORKSPACE = jsonschema.Draft7Validator(workspace_schema())


def faults(validator: Any, toml: str) -> list[str]:
    return [".".join(map(str, error.path)) for error in validator.iter_errors(tomllib.loads(toml))]


def test_they_are_schemas() -> None:
    for schema in (config_schema(), workspace_schema()):
        jsonschema.Draft7Validator.check_schema(schema)
        text = json.dumps(schema)
        assert "$defs" not in text
        assert "prefixItems" not in text


@pytest.mark.parametrize("name", PRESETS)
def test_presets_fit(name: str) -> None:
    text = dump_toml(resolve([preset_layer(name)]))
    assert faults(CONFIG, text) == faults(WORKSPACE, text) == []


@pytest.mark.parametrize(
    "toml",
    [
        "method.beta = 0.01",  # of one kind, which a preset has set
        "method.rpn.samples = 64",  # of both kinds
        "train.optimiser.weight_decay = 0.1",
        'data.train = "boxes.json"',
        "data.short_sides = [224, 256]",
    ],
)
def test_a_layer_need_not_name_the_kind_of_a_table(toml: str) -> None:
    assert faults(CONFIG, toml) == []


@pytest.mark.parametrize(
    ("toml", "where"),
    [
        ("train.lr = 0", "train.lr"),
        ("train.lr = 'fast'", "train.lr"),
        ("train.lrr = 1", "train"),
        ("trian.lr = 1", ""),
        ("method.kind = 'cliss'", "method"),
        ("train.amp = 'fp8'", "train.amp"),
        ("pictures.scale = [0.1, 0.2, 0.3]", "pictures.scale"),
    ],
)
def test_a_mistake_is_marked(toml: str, where: str) -> None:
    assert faults(CONFIG, toml) == [where]


def test_a_workspace_has_a_table_of_its_own() -> None:
    assert faults(WORKSPACE, '[workspace]\nruns = "runs"\npictures = ["a", "b"]\n[train]\nlr = 0.01\n') == []
    assert faults(WORKSPACE, "[workspace]\nrun = 1\n") == ["workspace"]
    assert faults(CONFIG, '[workspace]\nruns = "runs"\n') == [""]


def test_it_carries_descriptions_and_ranges() -> None:
    lr = config_schema()["definitions"]["TrainConfig"]["properties"]["lr"]
    assert "Goyal" in lr["description"]
    assert lr["exclusiveMinimum"] == 0

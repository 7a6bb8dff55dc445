"""A config written as TOML loads to an equal config."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clis_core.config.load import dump_toml, load_config, preset_layer, resolve, save_config
from clis_core.config.presets import PRESETS
from clis_core.config.run import RunConfig


@pytest.mark.parametrize("name", PRESETS)
def test_presets_come_back(name: str, tmp_path: Path) -> None:
    config = resolve([preset_layer(name)])
    save_config(config, tmp_path / "config.toml")
    assert load_config(tmp_path / "config.toml") == config
    assert [p.name for p in tmp_path.iterdir()] == ["config.toml"]


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
paths = st.none() | texts.map(lambda text: Path("/", text))
floats = st.floats(min_value=0, max_value=1, exclude_min=True, exclude_max=True)
tables: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "preset": texts,
        "seed": st.integers(0, 2**31 - 1),
        "device": texts,
        "data": st.fixed_dictionaries(
            {"train": paths, "val": paths, "flip": floats},
            optional={
                "short_sides": st.lists(st.integers(32, 8192), min_size=1, max_size=8),
                "sampler": st.just({"kind": "uniform"})
                | st.fixed_dictionaries({"kind": st.just("repeat-factor"), "threshold": floats}),
            },
        ),
        "detector": st.fixed_dictionaries(
            {"kind": st.just("faster-rcnn"), "head": st.fixed_dictionaries({"specialised": st.booleans()})},
            optional={
                "backbone": st.fixed_dictionaries({"init": texts}),
                "rpn": st.fixed_dictionaries({"anchor_ratios": st.lists(floats)}),
            },
        ),
        "train": st.fixed_dictionaries(
            {"lr": st.floats(min_value=0, exclude_min=True, allow_infinity=False)},
            optional={
                "schedule": st.fixed_dictionaries(
                    {"kind": st.just("multistep"), "milestones": st.lists(floats).map(sorted)}
                ),
                "optimiser": st.fixed_dictionaries({"kind": st.just("adamw"), "betas": st.tuples(floats, floats)}),
            },
        ),
        "eval": st.fixed_dictionaries({"engine": st.none() | st.sampled_from(["hotcoco", "lvis", "pycocotools"])}),
    },
)


@settings(deadline=None)
@given(tables)
def test_random_settings_come_back(values: dict[str, Any]) -> None:
    config = RunConfig.model_validate(values)
    assert RunConfig.model_validate(tomllib.loads(dump_toml(config))) == config


def test_short_lists_stay_on_a_line_and_keys_without_a_value_are_left_out() -> None:
    text = dump_toml(RunConfig())
    assert "short_sides = [640, 672, 704, 736, 768, 800]\n" in text
    assert "engine" not in text


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config.toml"
    save_config(RunConfig(seed=1), file)

    def fail(self: Path, target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save_config(RunConfig(seed=2), file)
    assert load_config(file).seed == 1
    assert [p.name for p in tmp_path.iterdir()] == ["config.toml"]

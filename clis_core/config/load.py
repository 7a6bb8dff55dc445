"""Layers of settings in, one checked `RunConfig` out; and back to TOML.

Order: defaults < preset < workspace < --config < --set and flags. A later layer wins key by key.
"""

from __future__ import annotations

import datetime
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from clis_core.config.explain import validate
from clis_core.config.keys import Key, anchored
from clis_core.config.pairs import check_learn, check_pair
from clis_core.config.presets import DEFAULT_PRESET, preset
from clis_core.config.run import RunConfig
from clis_core.errors import ConfigError
from clis_core.files import write_text

FILES_UNDER_ROOT = ("train", "val", "train_images", "val_images")
_HINT = "All keys with their values: clis presets " + DEFAULT_PRESET
_HINT_CLIS = "--preset clis-r50-1x, or clis-small for a try; all presets: clis presets"


@dataclass(frozen=True)
class Layer:
    """Some settings and where they came from.

    Attributes:
        source: where from, in words that a user knows: a file, ``preset x``, ``--set``.
        values: nested tables; paths are absolute.
        sources: where single keys came from, if not from ``source``.
    """

    source: str
    values: dict[str, Any]
    sources: Mapping[Key, str] = field(default_factory=dict)


def resolve(layers: Iterable[Layer]) -> RunConfig:
    """Merge layers over the defaults, later ones over earlier ones, and check the result.

    Where a layer changes a table's ``kind``, the table's other keys start afresh; where it changes
    ``data.root``, so do the files that the root gives.

    Raises:
        ConfigError: one line for each problem.
    """
    merged = RunConfig().model_dump()
    sources: dict[Key, str] = {}
    for layer in layers:
        merged = _merge(merged, layer.values)
        for key, _ in leaves(layer.values):
            sources = {k: s for k, s in sources.items() if k[: len(key)] != key and key[: len(k)] != k}
            sources[key] = layer.sources.get(key, layer.source)

    def source(key: Key) -> str:
        known = (sources[key[:n]] for n in range(len(key), 0, -1) if key[:n] in sources)
        return next(known, None) or next((s for k, s in sources.items() if k[: len(key)] == key), "defaults")

    # alpha and beta without a preset that has them: the first thing to be forgotten.
    method = merged["method"] if isinstance(merged["method"], Mapping) else {}
    forgotten = method.get("kind") == "supervised" and {"alpha", "beta"} & method.keys()
    config = validate(RunConfig, merged, source, hint=_HINT_CLIS if forgotten else _HINT)
    check_pair(config.method, config.detector)
    check_learn(config.train.learn, config.detector)
    return config


def run_layers(workspace: Layer | None, config: Path | None, command: Layer) -> list[Layer]:
    """The layers of a new run: the preset that they name, the workspace, a config file, the command line.

    Raises:
        ConfigError: the file cannot be read, the preset is unknown, or the file and the command name two.
    """
    file = read_layer(config) if config else None
    layers = [layer for layer in (workspace, file, command) if layer]
    naming = [layer for layer in layers if isinstance(layer.values.get("preset"), str)]
    name: str = naming[-1].values["preset"] if naming else DEFAULT_PRESET
    if file and file.values.get("preset", name) != name:
        raise ConfigError(
            f"{file.source} builds on preset {file.values['preset']!r}, the command names {name!r}.",
            hint=f"Leave --preset away, or take the line with 'preset' out of {file.source}",
        )
    if not name:
        return layers
    try:
        return [preset_layer(name), *layers]
    except ConfigError as error:
        where = naming[-1].sources.get(("preset",), naming[-1].source)
        raise ConfigError(f"{error.message} (from {where})", hint=error.hint) from None


def preset_layer(name: str) -> Layer:
    """What a preset adds to the defaults.

    Raises:
        ConfigError: there is none of this name.
    """
    return Layer(f"preset {name}", {"preset": name, **preset(name)})


def read_layer(path: Path) -> Layer:
    """The settings in a TOML file; its relative paths start from its folder.

    Raises:
        ConfigError: the file is missing or is no TOML.
    """
    return Layer(str(path), anchored(read_toml(path), (RunConfig,), path.absolute().parent))


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as plain tables.

    Raises:
        ConfigError: the file is missing or is no TOML; with line and column.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror}.", hint="Check the path.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text.", hint="Save it as UTF-8.") from error
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ConfigError(
            f"{path}: its brackets are nested too deep.", hint="Write lists and tables plainly."
        ) from None
    except tomllib.TOMLDecodeError as error:
        what, _, place = str(error).removesuffix(")").rpartition(" (at ")
        if place == "end of document":
            place = f"line {text.count(chr(10)) + 1}, column {len(text) - text.rfind(chr(10))}"
        raise ConfigError(
            f"{path}, {place}: {what}.",
            hint='Texts need quotes in TOML (name = "resnet50"), tables a line such as [train].',
        ) from error


def command_layer(settings: Sequence[str], flags: Mapping[str, tuple[str, Any]] | None = None) -> Layer:
    """The settings of the command line.

    Args:
        settings: texts ``key.key=value``; a value that is no TOML is taken as a text.
        flags: by flag such as ``--lr``, the key that it sets and its value; None was not given.

    Raises:
        ConfigError: a setting without ``=`` or without a key.
    """
    values: dict[str, Any] = {}
    sources: dict[Key, str] = {}
    for text in settings:
        name, equals, value = text.partition("=")
        key = tuple(part.strip() for part in name.split("."))
        if not equals or not all(key):
            raise ConfigError(f"--set {text}: needs KEY=VALUE.", hint="For example: --set train.lr=0.01")
        _put(values, key, _value(value))
    for flag, (name, value) in (flags or {}).items():
        if value is not None:
            key = tuple(name.split("."))
            _put(values, key, value)
            sources[key] = flag
    return Layer("--set", anchored(values, (RunConfig,), Path.cwd()), sources)


def load_config(path: Path) -> RunConfig:
    """The config that a run's ``config.toml`` holds.

    Raises:
        ConfigError: it cannot be read or does not fit.
    """
    return resolve([read_layer(path)])


def dump_toml(config: RunConfig) -> str:
    """The config as TOML that loads to an equal config; keys without a value are left out."""
    text = tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))
    # Lists of plain values on one line; texts in them hold no line breaks, for TOML escapes those.
    return re.sub(r"\[\n((?:    [^\[{\n]*,\n)+)\]", _one_line, text)


def save_config(config: RunConfig, path: Path) -> None:
    """Write the config as TOML; the file is there whole or not at all."""
    write_text(path, dump_toml(config))


def difference(old: RunConfig, new: RunConfig) -> list[tuple[str, Any, Any]]:
    """The dotted keys whose values differ, with both values; None where a config does not have the key."""
    a, b = (dict(leaves(config.model_dump(mode="json"))) for config in (old, new))
    return [(".".join(key), a.get(key), b.get(key)) for key in {**a, **b} if a.get(key) != b.get(key)]


def leaves(values: Mapping[str, Any], above: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Every key that holds no table, with its value."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves(value, (*above, name))
        else:
            yield (*above, name), value


def _one_line(items: re.Match[str]) -> str:
    return "[" + ", ".join(line.strip().removesuffix(",") for line in items[1].splitlines()) + "]"


def _merge(low: Mapping[str, Any], high: Mapping[str, Any], key: Key = ()) -> dict[str, Any]:
    if "kind" in high and high["kind"] != low.get("kind"):
        low = {}
    if key == ("data",) and high.get("root") is not None:
        low = {k: v for k, v in low.items() if k not in FILES_UNDER_ROOT}
    merged = dict(low)
    for name, value in high.items():
        below = low.get(name)
        if isinstance(value, Mapping):
            merged[name] = _merge(below if isinstance(below, Mapping) else {}, value, (*key, name))
        else:
            merged[name] = value
    return merged


def _put(values: dict[str, Any], key: Key, value: Any) -> None:
    for step in key[:-1]:
        if not isinstance(values.get(step), dict):
            values[step] = {}
        values = values[step]
    values[key[-1]] = value


def _value(text: str) -> Any:
    try:
        table = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text.strip()
    value = table["value"]
    dates = datetime.date | datetime.time  # a folder may be called 2024-05-01
    return text.strip() if len(table) > 1 or isinstance(value, dates) else value

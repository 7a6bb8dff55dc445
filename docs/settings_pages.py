"""The models of a config go in; pages of Markdown come out: every key with its type, default, range and meaning."""

from __future__ import annotations

import inspect
import json
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from clis_core.config.frozen import OrFile
from clis_core.config.keys import Models, models_in
from clis_core.config.presets import PRESETS, summary
from clis_core.config.run import RunConfig
from clis_core.config.workspace import WorkspaceTable

NOTE = "<!-- Written by `python -m docs.generate` from {}; do not change it here. -->\n"
_SOURCE = "the models in clis_core/config"
_PLAIN = {bool: "true or false", int: "integer", float: "number", str: "text", Path: "path"}
_MANY = {"integer": "integers", "number": "numbers", "text": "texts", "path": "paths"}
_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def pages() -> dict[str, str]:
    """The text of each page by its name below docs/."""
    sections = {
        name: models for name, field in RunConfig.model_fields.items() if (models := models_in(field.annotation))
    }
    made = {f"settings/{name}.md": _page(name, models) for name, models in sections.items()}
    made["settings/workspace.md"] = _page("workspace", (WorkspaceTable,))
    made["settings/presets.md"] = _presets()
    made["settings/index.md"] = _index(sections)
    return made


def _index(sections: dict[str, Models]) -> str:
    rows = [f"| [`[{name}]`]({name}.md) | {_about(models)} |" for name, models in sections.items()]
    plain = {name: field for name, field in RunConfig.model_fields.items() if name not in sections}
    return "\n".join(
        [
            NOTE.format(_SOURCE),
            "# Settings\n",
            "Every key of a run's config, of a file for `--config`, and of `--set`.",
            "[Configuration](../configuration.md) tells how layers of them are put together,",
            "[`clis presets NAME`](../commands/presets.md) prints all with the values of a preset.\n",
            "## Keys outside of a table\n",
            *_rows(plain, ()),
            "\n## Tables\n",
            "| | |\n|---|---|",
            *rows,
            f"| [`[workspace]`](workspace.md) | {_about((WorkspaceTable,))} |",
            "\n```{toctree}\n:hidden:\n",
            *sections,
            "workspace\npresets\n```\n",
        ]
    )


def _page(name: str, models: Models) -> str:
    return "\n".join([NOTE.format(_SOURCE), f"# [{name}]\n", *_table((name,), models)])


def _table(
    key: tuple[str, ...], models: Models, owners: dict[type[BaseModel], list[str]] | None = None
) -> Iterator[str]:
    """A table, or the tables that may stand at a key, and the tables in them.

    Args:
        key: where.
        models: the tables.
        owners: the kinds of the table above that each of them belongs to, where these are not the same.
    """
    below: dict[tuple[str, ...], dict[type[BaseModel], list[str]]] = {}
    by_kind = len(models) > 1 and all("kind" in m.model_fields for m in models)
    if by_kind:
        kinds = ", ".join(f"`{_toml(_kind(m))}`" for m in models)
        yield f"One of {kinds}, by its `kind`. Where a later layer changes it, the other keys start afresh.\n"
    for model in models:
        if len(models) > 1:
            of = f", kind = {_toml(_kind(model))}" if by_kind else f" of {', '.join((owners or {})[model])}"
            yield f"{'##' if len(key) == 1 else '###'} {'.'.join(key)}{of}\n"
        yield f"{_doc(model)}\n"
        yield from _rows(model.model_fields, key)
        yield ""
        for name, field in model.model_fields.items():
            for inner in models_in(field.annotation):
                here = below.setdefault((*key, name), {}).setdefault(inner, [])
                here += [f"`{_kind(model)}`"] if "kind" in model.model_fields else []
    for place, parts in below.items():
        yield f"## {'.'.join(place)}\n"
        yield from _table(place, tuple(parts), parts)


def _kind(model: type[BaseModel]) -> Any:
    return model.model_fields["kind"].default


def _rows(fields: dict[str, FieldInfo], key: tuple[str, ...]) -> Iterator[str]:
    yield "| key | type | default | |\n|---|---|---|---|"
    for name, field in fields.items():
        path = ".".join((*key, name))
        if models_in(field.annotation):
            anchor = re.sub(r"[^\w -]", "", path).replace(" ", "-")
            yield f"| `{path}` | [table](#{anchor}) | | {_about(models_in(field.annotation))} |"
        else:
            shown = "" if field.default in (None, PydanticUndefined) else f"`{_toml(field.default)}`"
            kind = "Which of the tables this is." if name == "kind" else ""
            cells = (f"`{path}`", type_of(field), shown, _flat(field.description or kind))
            yield "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def type_of(field: FieldInfo) -> str:
    """Type and range of a setting in words, such as "number, ≥ 0, ≤ 1"."""
    words = _type(field.annotation)
    marks = [mark for mark in field.metadata if isinstance(mark, OrFile)]
    if marks:
        words = ", ".join(f"`{_toml(word)}`" for word in marks[0].words) + ", or a path"
    bounds = [
        f"{sign} {getattr(mark, name):,}".replace(",", " ")
        for mark in field.metadata
        for name, sign in _BOUNDS.items()
        if getattr(mark, name, None) is not None
    ]
    return ", ".join([words, *bounds])


def _type(annotation: Any) -> str:
    origin, inside = get_origin(annotation), get_args(annotation)
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    if origin is Literal:
        return ", ".join(f"`{_toml(word)}`" for word in inside)
    if origin in (Union, types.UnionType):  # with None, which is a key that is left out
        return ", ".join(_type(part) for part in inside if part is not type(None))
    if origin is tuple:
        many = _MANY[_type(inside[0])]
        return f"list of {many}" if inside[-1] is Ellipsis else f"list of {len(inside)} {many}"
    raise TypeError(f"there are no words for {annotation}")


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, float) and value == round(value, 3):
        return f"{value:g}" if "." in f"{value:g}" or "e" in f"{value:g}" else f"{value:.1f}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return json.dumps(str(value) if isinstance(value, Path) else value)


def _presets() -> str:
    rows = [f"| `{name}` | {_flat(summary(name))} |" for name in PRESETS]
    return "\n".join(
        [
            NOTE.format("clis_core/config/presets.py"),
            "# Presets\n",
            "What `--preset` takes. [`clis presets NAME`](../commands/presets.md) prints one with all its settings,",
            "`clis presets diff A B` what differs between two.\n",
            "| preset | |\n|---|---|",
            *rows,
            "",
        ]
    )


def _about(models: Models) -> str:
    """The first sentence of a table; of a table that is one of several, their kinds."""
    if len(models) > 1:
        return "one of " + ", ".join(f"`{_kind(m)}`" for m in models)
    return _flat(_doc(models[0]).partition("\n\n")[0])


def _doc(model: type[BaseModel]) -> str:
    return inspect.getdoc(model) or ""


def _flat(text: str) -> str:
    return " ".join(text.split())

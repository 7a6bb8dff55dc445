"""A config model in, its keys out: their paths, the tables of a union, and the values that name files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from clis_core.config.frozen import OrFile

Key = tuple[str, ...]
Models = tuple[type[BaseModel], ...]


def models_in(annotation: Any) -> Models:
    """The tables that an annotation allows: none for a plain value, several for a union by ``kind``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return (annotation,)
    return tuple(model for part in get_args(annotation) for model in models_in(part))


def fields_of(models: Models) -> dict[str, list[FieldInfo]]:
    """The fields of all these tables by name."""
    found: dict[str, list[FieldInfo]] = {}
    for model in models:
        for name, field in model.model_fields.items():
            found.setdefault(name, []).append(field)
    return found


def models_at(models: Models, key: Key) -> Models:
    """The tables that may stand at a key; none where the key does not lead to a table."""
    for step in key:
        models = tuple(m for f in fields_of(models).get(step, []) for m in models_in(f.annotation))
    return models


def all_keys(models: Models, prefix: Key = ()) -> Iterator[Key]:
    """Every key of these tables and of the tables in them, each once."""
    for name, fields in fields_of(models).items():
        yield (*prefix, name)
        yield from all_keys(tuple(m for f in fields for m in models_in(f.annotation)), (*prefix, name))


def of_kind(models: Models, kind: Any) -> Models:
    """The tables of a union that a ``kind`` picks."""
    return tuple(m for m in models if "kind" in m.model_fields and m.model_fields["kind"].default == kind)


def anchored(values: Mapping[str, Any], models: Models, base: Path) -> dict[str, Any]:
    """The same values with each relative path made absolute.

    Args:
        values: a table as the user wrote it.
        models: what may stand there.
        base: the absolute folder that relative paths start from.
    """
    fields = fields_of(models)
    return {name: _anchored(value, fields.get(name, []), base) for name, value in values.items()}


def _anchored(value: Any, fields: list[FieldInfo], base: Path) -> Any:
    if isinstance(value, Mapping):
        return anchored(value, tuple(m for f in fields for m in models_in(f.annotation)), base)
    if isinstance(value, list | tuple):
        return [_anchored(v, fields, base) for v in value]
    if not isinstance(value, str | Path) or not any(_is_file(f, str(value)) for f in fields):
        return value
    if str(value) == "":  # TOML has no null: an empty text takes a path back
        return None
    return str(absolute(Path(value), base))


def absolute(path: Path, base: Path) -> Path:
    """A path as seen from the folder ``base``, with ``~`` and ``..`` resolved."""
    try:
        path = base / path.expanduser()
    except RuntimeError:  # ~name of nobody
        path = base / path
    return path.resolve() if ".." in path.parts else path


def _is_file(field: FieldInfo, value: str) -> bool:
    if any(isinstance(mark, OrFile) and value not in mark.words for mark in field.metadata):
        return True
    return _names_path(field.annotation)


def _names_path(annotation: Any) -> bool:
    return annotation is Path or any(_names_path(part) for part in get_args(annotation))

"""A table of settings in, a checked model out, or a ConfigError with one line for each problem."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from clis_core.config.keys import Key, Models, all_keys, fields_of, models_at, of_kind
from clis_core.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)
Source = Callable[[Key], str]


def validate(model: type[Model], values: Mapping[str, Any], source: Source, hint: str) -> Model:
    """Check the settings.

    Args:
        model: what the settings shall become.
        values: the settings, nested.
        source: where the value of a key came from, in words.
        hint: what to try next.

    Raises:
        ConfigError: with key, value, source and, for a misspelt word, what may have been meant.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [_line(problem, (model,), values, source) for problem in error.errors(include_url=False)]
        raise ConfigError("\n".join(dict.fromkeys(lines)), hint=hint) from None


def _line(problem: ErrorDetails, root: Models, values: Mapping[str, Any], source: Source) -> str:
    key, table = _locate(values, problem["loc"])
    code, value = problem["type"], problem["input"]
    if code == "extra_forbidden":
        return _elsewhere(key, value, root, values, source) or _unknown(key, value, root, table, source)
    if code == "union_tag_not_found":
        return f"{_dotted(key)} ({source(key)}): needs a kind"
    if code == "union_tag_invalid":
        key, value = (*key, "kind"), problem["ctx"]["tag"]
    what = problem["msg"].removeprefix("Value error, ").partition(", unable")[0]
    what = what.replace("Input should be", "must be")
    if code in ("union_tag_invalid", "literal_error"):
        words = re.findall(r"'([^']*)'", problem["ctx"].get("expected_tags") or problem["ctx"]["expected"])
        what = f"must be one of {', '.join(words)}{_closest(str(value), words)}"
    elif code in ("model_type", "model_attributes_type"):
        keys = list(fields_of(models_at(root, key)))[:4]
        what = "is a table: set one of its keys, " + ", ".join(_dotted((*key, name)) for name in keys)
    elif isinstance(value, Mapping) and code == "value_error":  # the keys of a table do not fit each other
        named = [word for word in re.findall(r"\w+", what) if word in value]
        sources = dict.fromkeys(source((*key, word)) for word in named)
        return f"{_dotted(key)}: {what} ({', '.join(sources) or source(key)})"
    elif isinstance(value, Mapping):
        what = "is a single value, not a table"
    return f"{_shown(key, value)} ({source(key)}): {what}"


def _closest(word: str, words: list[str]) -> str:
    near = difflib.get_close_matches(word, words, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _locate(values: Mapping[str, Any], loc: tuple[int | str, ...]) -> tuple[Key, Mapping[str, Any]]:
    """The user's key for a place that pydantic names, which repeats the kinds of unions; and its table."""
    key: list[str] = []
    node: Any = values
    table = values
    for step in loc:
        if isinstance(node, Mapping):
            if step == node.get("kind") and step not in node:
                continue
            table, node = node, node.get(str(step))
        elif isinstance(node, list | tuple) and isinstance(step, int) and step < len(node):
            node = node[step]
        key.append(str(step))
    return tuple(key), table


def _elsewhere(key: Key, value: Any, root: Models, values: Mapping[str, Any], source: Source) -> str | None:
    """What to say of a key that another kind of its table, or of a table above, has; None where none has it."""
    for n in range(len(key) - 1, 0, -1):
        table: Any = values
        models = root
        for step in key[:n]:
            # Of the tables above, those of the kinds that were asked for.
            models = models_at(of_kind(models, table.get("kind")) or models, (step,))
            table = table.get(step)
            if not isinstance(table, Mapping):
                return None
        kind = table.get("kind")
        others = [
            repr(model.model_fields["kind"].default)
            for model in models
            if "kind" in model.model_fields and key[-1] in fields_of(models_at((model,), key[n:-1]))
        ]
        if kind is not None and others:
            return (
                f"{_shown(key, value)} ({source(key)}): {'.'.join(key[:n])} of kind {kind!r} has no "
                f"{'.'.join(key[n:])}; of kind {' or '.join(others)} it has"
            )
    return None


def _unknown(key: Key, value: Any, root: Models, table: Mapping[str, Any], source: Source) -> str:
    *above, name = key
    siblings = models_at(root, tuple(above))
    kind = table.get("kind")  # where the table is one of several
    if "kind" not in fields_of(siblings):
        kind = None
    level = of_kind(siblings, kind) or siblings
    meant = _meant(key, level, root)
    rest: Key = ()
    while isinstance(value, Mapping) and len(value) == 1:  # a whole table is unknown: name its only key
        (step, value), *_ = value.items()
        rest = (*rest, step)
    if not meant and rest:
        meant, rest, key = _meant((*key, *rest), (), root), (), (*key, *rest)
    suggestion = " or ".join(_dotted((*m, *rest)) for m in meant)
    whose = f"{'.'.join(above)} of kind {kind!r} has no {name}" if kind is not None else "unknown key"
    asked = f"; did you mean {suggestion}?" if suggestion else ""
    return f"{_shown((*key, *rest), value)} ({source(key)}): {whose}{asked}"


def _meant(key: Key, level: Models, root: Models) -> list[Key]:
    """The same name elsewhere, else the closest name beside it, else the closest name anywhere."""
    *above, last = key
    last = last.replace("-", "_").lower()
    everywhere = [k for k in all_keys(root) if k != key]
    same = [k for k in everywhere if k[-1] == last]
    if same:
        return same[:3] if last != "kind" else []
    near = difflib.get_close_matches(last, fields_of(level), n=1)
    if near:
        return [(*above, near[0])]
    far = difflib.get_close_matches(last, {k[-1] for k in everywhere}, n=1, cutoff=0.75)
    return [k for k in everywhere if far and k[-1] == far[0]][:3]


def _dotted(key: Key) -> str:
    return re.sub(r"\.(\d+)\b", r"[\1]", ".".join(key)) or "the config"


def _shown(key: Key, value: Any) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return f"{_dotted(key)} = {text if len(text) <= 60 else text[:57] + '...'}"

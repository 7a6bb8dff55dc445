"""Texts and attributes in, markup out; whatever is not markup already is escaped."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable
from typing import Any

VOID = ("img", "input", "meta", "br", "rect", "path", "circle", "line")
"""Elements that hold nothing; those of SVG are closed, as XML wants it."""


class Html(str):
    """Markup: text that has been escaped where it had to be."""

    __slots__ = ()


def escape(text: object) -> Html:
    """Text as markup; markup stays as it is."""
    return text if isinstance(text, Html) else Html(html.escape(str(text), quote=True))


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """An element.

    Args:
        name: such as ``td``.
        *children: texts, which are escaped, markup, or lists of both; None is left out.
        **attributes: ``cls`` is ``class``, underscores are hyphens; None and False leave one out, True gives it no
            value.
    """
    words = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        attribute = "class" if key == "cls" else key.rstrip("_").replace("_", "-")
        words.append(attribute if value is True else f'{attribute}="{escape(value)}"')
    opening = " ".join(words)
    if name in VOID:
        return Html(f"<{opening}/>")
    return Html(f"<{opening}>{join(children)}</{name}>")


def join(children: Iterable[object], between: str = "") -> Html:
    """Texts and markup, one after another, as markup."""
    parts = []
    for child in children:
        if child is None:
            continue
        parts.append(join(child) if isinstance(child, list | tuple) else escape(child))
    return Html(between.join(parts))


def breaking(text: str, after: str) -> Html:
    """A text that may break after each of some letters."""
    for letter in after:
        text = text.replace(letter, f"{letter}\n")
    return join(text.split("\n"), Html("<wbr>"))


def embedded_json(value: Any) -> Html:
    """JSON for a script element: nothing in it can end the element or begin a comment."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    return Html(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def number(value: float | int | None, digits: int = 1, *, sign: bool = False) -> str:
    """A figure as it is shown; a dash where there is none."""
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:+,}" if sign else f"{value:,}"
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    return text.replace("-", "−")  # a minus sign

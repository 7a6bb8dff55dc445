"""Columns and rows in, a table that sorts out; what belongs to a class carries its place, so that a filter finds it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from clis_core.page.content import GROUPS, ClassInfo, Report
from clis_core.page.html import Html, breaking, number, tag

TALL = 24
"""Rows from which on a table scrolls in its frame."""


@dataclass(frozen=True)
class Cell:
    """What stands in a cell.

    Attributes:
        shown: text or markup.
        value: what it sorts by; None goes last, whichever way.
        figure: whether it is set right.
        cls: of the style sheet.
    """

    shown: object
    value: float | str | None
    figure: bool = True
    cls: str = ""


def figure(value: float | int | None, digits: int = 1, *, sign: bool = False) -> Cell:
    """A number, or a dash."""
    cls = "" if not sign or not value or abs(value) < 0.05 else "up" if value > 0 else "down"
    return Cell(number(value, digits, sign=sign), value, True, cls)


def words(text: object, value: str | None = None) -> Cell:
    """A text."""
    return Cell(text, str(text) if value is None else value, False)


def group_cell(info: ClassInfo) -> Cell:
    """Rare, common or frequent; sorts in that order."""
    return Cell(GROUPS[info.group], float(list(GROUPS).index(info.group)), False)


def class_cell(report: Report, place: int) -> Cell:
    """A class's name, which opens what is known of it."""
    name = report.classes[place].name
    return Cell(
        tag("button", breaking(name, "_"), type="button", cls="class", data_class=place), name.casefold(), False
    )


def table(
    name: str,
    head: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    classes: Iterable[Sequence[int]] | None = None,
    note: str | None = None,
    **attributes: object,
) -> Html:
    """A table in a frame that scrolls sideways where it has to.

    Args:
        name: the caption.
        head: of the columns; their buttons sort.
        rows: the first cell of each is its head.
        classes: places of the classes that each row is about, for the filter.
        note: below it.
        **attributes: of the table.
    """
    listed = list(rows)
    about = list(classes) if classes is not None else [()] * len(listed)
    kinds = [cell.figure for cell in listed[0]] if listed else [False] * len(head)
    heads = [
        tag("th", tag("button", text, type="button", cls="sort"), scope="col", cls="n" if n else None)
        for text, n in zip(head, kinds, strict=True)
    ]
    body = [
        tag(
            "tr",
            [_cell(cell, first=n == 0) for n, cell in enumerate(row)],
            data_c=" ".join(str(place) for place in places) if classes is not None else None,
        )
        for row, places in zip(listed, about, strict=True)
    ]
    content = tag(
        "table",
        tag("caption", tag("span", name)),
        tag("thead", tag("tr", heads)),
        tag("tbody", body),
        cls="sorts",
        **attributes,
    )
    frame = tag(
        "div",
        content,
        cls="frame tall" if len(listed) > TALL else "frame",
        role="region",
        aria_label=name,
        tabindex="0",
    )
    return tag("div", frame, tag("p", note, cls="note") if note else None, cls="tabled")


def _cell(cell: Cell, *, first: bool) -> Html:
    value = None if cell.value is None else repr(cell.value) if isinstance(cell.value, float) else cell.value
    cls = " ".join(filter(None, ("n" if cell.figure else "", cell.cls))) or None
    if first:
        return tag("th", cell.shown, scope="row", data_v=value, cls=cls)
    return tag("td", cell.shown, data_v=value, cls=cls)

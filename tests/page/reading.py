"""A page in; its tables, texts and everything that could load or run something, out."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import NamedTuple


class ReadCell(NamedTuple):
    text: str
    value: str | None


class Page(HTMLParser):
    """What is on a page.

    Attributes:
        tables: rows of cells by the table's id.
        captions: of all tables.
        tags: every element's name and attributes.
        scripts: their contents.
        texts: of titles, headings, cells, labels, ...
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[ReadCell]]] = {}
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.styles: list[str] = []
        self.texts: list[str] = []
        self._table: str | None = None
        self._inside: str | None = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag in ("script", "style"):
            self._inside = tag
            if tag == "script":
                self.scripts.append((attributes, ""))
        if tag == "table":
            self._table = attributes.get("id") or f"table {len(self.tables)}"
            self.tables[self._table] = []
        elif tag == "tr" and self._table:
            self.tables[self._table].append([])
        elif tag in ("td", "th") and self._table:
            self.tables[self._table][-1].append(ReadCell("", attributes.get("data-v")))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self._table = None
        if tag in ("script", "style"):
            self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        elif self._inside == "style":
            self.styles.append(data)
        else:
            self.texts.append(data)
            if self._table and self.tables[self._table] and self.tables[self._table][-1]:
                cell = self.tables[self._table][-1][-1]
                self.tables[self._table][-1][-1] = ReadCell(cell.text + data, cell.value)

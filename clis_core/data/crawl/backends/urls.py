"""A file of categories and addresses goes in, CSV or JSON lines; the hits of each category come out, in its order."""

from __future__ import annotations

import csv
import difflib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from clis_core.categories import Categories, Category
from clis_core.data.crawl.backends.backend import Hit, text_of
from clis_core.errors import DataError

ADDRESS = ("url", "address", "image_url")
CATEGORY = ("category", "category_id", "category_name", "class", "class_name", "label", "name")
_MORE = {"page": ("page", "page_url"), "licence": ("licence", "license"), "creator": ("creator",), "title": ("title",)}
_FORM = (
    "CSV with a header such as category,url or category,url,licence,creator,page,title; or one JSON object a line with "
    'these keys: {"category": "aerosol_can", "url": "https://..."}'
)


def read_addresses(path: Path, categories: Categories, most: int) -> dict[int, list[Hit]]:
    """The addresses of each category, by its id.

    Args:
        path: the file; ``.jsonl`` and ``.ndjson`` are JSON lines, everything else is CSV.
        categories: those that may occur, by name or id.
        most: addresses of a category, the first ones.

    Raises:
        DataError: the file cannot be read, has no such columns, or names an unknown category; says the line.
    """
    by_name = {c.name: c for c in categories}
    by_id = {str(c.id): c for c in categories}
    hits: dict[int, list[Hit]] = {}
    seen: set[tuple[int, str]] = set()
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = path.suffix.lower() in (".jsonl", ".ndjson")
            for number, row in _json_rows(path, file) if lines else _csv_rows(path, file):
                category, hit = _hit(path, number, row, by_name, by_id)
                mine = hits.setdefault(category.id, [])
                if len(mine) < most and (category.id, hit.address) not in seen:
                    seen.add((category.id, hit.address))
                    mine.append(hit)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}.", hint=f"Name a file of addresses: {_FORM}"
        ) from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is no UTF-8 text.", hint=f"Save it as {_FORM}") from None
    if not hits:
        raise DataError(f"{path} holds no address.", hint=f"Fill it: {_FORM}")
    return hits


def _hit(
    path: Path, number: int, row: dict[str, Any], by_name: dict[str, Category], by_id: dict[str, Category]
) -> tuple[Category, Hit]:
    address = next((row[name] for name in ADDRESS if row.get(name)), None)
    label = next((row[name] for name in CATEGORY if row.get(name) not in (None, "")), None)
    if not isinstance(address, str) or not isinstance(label, str | int):
        raise DataError(f"{path}, line {number}, has no category or no address.", hint=f"Correct it: {_FORM}")
    name = str(label).strip()
    category = by_name.get(name) or by_id.get(name)
    if category is None:
        like = difflib.get_close_matches(name, by_name, 1)
        raise DataError(
            f"{path}, line {number}: {name[:100]!r} is no category.",
            hint=f"Did you mean {like[0]}?"
            if like
            else "Use the names or ids of the categories (--lvis); see --dry-run.",
        )
    more = {field: next((text_of(row[n]) for n in names if row.get(n)), None) for field, names in _MORE.items()}
    return category, Hit(address.strip(), **more)  # type: ignore[arg-type]


def _csv_rows(path: Path, file: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.reader(file)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        if not set(ADDRESS) & set(header) or not set(CATEGORY) & set(header):
            raise DataError(f"{path}: its first line does not name the columns category and url.", hint=_FORM)
        for row in reader:
            if any(row):
                yield reader.line_num, dict(zip(header, row, strict=False))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}.", hint=f"Correct it: {_FORM}") from None


def _json_rows(path: Path, file: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(file, start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                raise DataError(f"{path}, line {number}, is no JSON object.", hint=f"Correct it: {_FORM}")
            yield number, row

"""A file in which users say which label is which category goes in; its entries come out, each with its place."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from clis_core.errors import DataError

MAX_BYTES = 16 * 2**20
"""Larger files are refused."""
LEFT_OUT = ("", "-")
"""What stands for no category."""

_HEADER = ["label", "category"]
_EXAMPLE = 'Begin it with the line label,category, then one line a label: "fire truck",207'


class Entry(NamedTuple):
    """What a map file says of one label.

    Attributes:
        where: the file and the line, or the key, for messages.
        label: as the source has it.
        category: name or id of a category; None leaves the label out.
    """

    where: str
    label: str
    category: str | int | None


def read_map(path: Path) -> list[Entry]:
    """Read a map file.

    Args:
        path: JSON where the name ends in ``.json``: an object of label to category name or id; else CSV with the
            header ``label,category`` (comma, semicolon or tab). An empty category, ``-`` or null leaves a label out.

    Raises:
        DataError: the file cannot be read or is no such file, or has a label twice; names the line or the key.
    """
    text = _text(path)
    found = _of_json(path, text) if path.suffix.lower() == ".json" else _of_csv(path, text)
    entries: dict[str, Entry] = {}
    for entry in found:
        if entry.label in entries:
            raise DataError(
                f"{entry.where}: the label {entry.label!r} has been mapped before ({entries[entry.label].where}).",
                hint="Keep one of the two.",
            )
        entries[entry.label] = entry
    return list(entries.values())


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DataError(
            f"Map file {path} cannot be read: {error.strerror or error}.", hint=f"Check the path. {_EXAMPLE}"
        ) from None
    if len(data) > MAX_BYTES:
        raise DataError(
            f"Map file {path} is larger than {MAX_BYTES // 2**20} MiB.", hint=f"Is it another file? {_EXAMPLE}"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(
            f"Map file {path} is not UTF-8 text.", hint='Save it as UTF-8 (in Excel: "CSV UTF-8").'
        ) from None


def _of_csv(path: Path, text: str) -> Iterator[Entry]:
    first = text.partition("\n")[0]
    header = (d for d in ",;\t" if [cell.strip(' "\r').lower() for cell in first.split(d)] == _HEADER)
    delimiter = next(header, None)
    if delimiter is None:
        raise DataError(f"{path}, line 1: {first[:60]!r} is not the header label,category.", hint=_EXAMPLE)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    try:
        next(rows)
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            where = f"{path}, line {rows.line_num}"
            if len(row) != len(_HEADER):
                raise DataError(
                    f"{where} has {len(row)} columns, not two.", hint=f"Quote a label that holds a {delimiter!r}."
                )
            yield Entry(where, row[0], _named(row[1]))
    except csv.Error as error:
        raise DataError(f"{path}, line {rows.line_num}: {error}.", hint=_EXAMPLE) from None


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with the keys that it has twice."""


def _of_json(path: Path, text: str) -> Iterable[Entry]:
    hint = 'Write an object of labels and categories: {"fire truck": 207, "sofa": "couch", "misc": null}'
    try:
        pairs = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        raise DataError(f"Map file {path} is not json: {error}.", hint=hint) from None
    if not isinstance(pairs, _Pairs):
        raise DataError(f"Map file {path} does not hold an object.", hint=hint)
    for label, value in pairs:
        where = f"{path}, {label!r}"
        if isinstance(value, bool) or not isinstance(value, str | int | None):
            raise DataError(f"{where}: a category is a name, an id or null.", hint=hint)
        yield Entry(where, label, _named(value) if isinstance(value, str) else value)


def _named(category: str) -> str | None:
    category = category.strip()
    return None if category in LEFT_OUT else category

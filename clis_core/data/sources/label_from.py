"""What the user says of where a WebDataset sample has its label goes in; a rule that finds it comes out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from clis_core.data.sources.names import UNLABELLED, printable, split_path
from clis_core.errors import ConfigError, DataError

RULES = ("json:KEY", "key-prefix", "filename", "cls")
_FILE_NAMES = ("filename", "file_name", "path")

Kind = Literal["json", "key-prefix", "filename", "cls", "own"]


class OutsideClassListError(Exception):
    """A number that the class list has no line for."""


@dataclass(frozen=True)
class LabelRule:
    """Where a sample has its label.

    Attributes:
        kind: "json": a field of its json; "key-prefix": its key before the first ``_``; "filename": the json's field
            filename, file_name or path, of that the parent folder, else what comes before the first ``_``; "cls": the
            class list's line of that number, from 0; "own": as clis writes it, json's wnid, else class_name.
        key: of the json, for "json".
        classes: the class list, for "cls".
    """

    kind: Kind
    key: str = ""
    classes: tuple[str, ...] = ()

    @property
    def reads(self) -> str | None:
        """Extension of the file of the sample that is read for the label; None where its key is enough."""
        return None if self.kind == "key-prefix" else "cls" if self.kind == "cls" else "json"

    def of_key(self, key: str) -> str:
        """The label by the key alone."""
        return _before_underscore(key)

    def of_json(self, record: Mapping[str, Any]) -> str:
        """The label by the sample's json; `UNLABELLED` where it does not say."""
        if self.kind == "own":
            return _text(record.get("wnid")) or _text(record.get("class_name"))
        if self.kind == "json":
            return _text(record.get(self.key))
        path = next((_text(record[name]) for name in _FILE_NAMES if name in record), "")
        folder, name = split_path(path.replace("\\", "/"))
        return folder or _before_underscore(name)

    def name_of(self, record: Mapping[str, Any]) -> str:
        """The picture's name before clis wrote it; empty where the json is not clis's own or does not say."""
        return split_path(_text(record.get("filename")))[1] if self.kind == "own" else ""

    def of_cls(self, data: bytes) -> str:
        """The label by the sample's class number; `UNLABELLED` where it is none.

        Raises:
            OutsideClassListError: the class list is too short for it.
        """
        digits = data.strip()
        if not digits.isdigit() or len(digits) > 9:
            return UNLABELLED
        number = int(digits)
        if number >= len(self.classes):
            raise OutsideClassListError(f"class {number}, but the class list has {len(self.classes)} lines, from 0")
        return self.classes[number]


def parse_label_from(text: str, class_list: Path | None) -> LabelRule:
    """A rule from what the user typed.

    Args:
        text: one of `RULES`.
        class_list: a file of one class a line.

    Raises:
        ConfigError: the text is none of them, or "cls" and a class list do not come together.
        DataError: the class list cannot be read.
    """
    kind, colon, key = text.partition(":")
    if kind == "json" and key:
        rule = LabelRule("json", key)
    elif kind == "key-prefix" and not colon:
        rule = LabelRule("key-prefix")
    elif kind == "filename" and not colon:
        rule = LabelRule("filename")
    elif kind == "cls" and not colon:
        if class_list is None:
            raise ConfigError(
                "label_from=cls: the numbers of the samples need the list of their classes.",
                hint="--class-list FILE, with one class a line; the first line is class 0",
            )
        return LabelRule("cls", classes=_read_class_list(class_list))
    else:
        raise ConfigError(
            f"label_from={text!r} is no place that a sample has a label in.",
            hint=f"One of {', '.join(RULES)} for WebDataset shards; tar for class tars; folder for class folders",
        )
    if class_list is not None:
        raise ConfigError(
            f"A class list is of no use with label_from={text}.", hint="--label-from cls, or no --class-list"
        )
    return rule


def _read_class_list(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"Class list {path} cannot be read: {error}.", hint="A text file with one class a line, class 0 first."
        ) from None
    classes = tuple(printable(line.strip()) for line in lines)
    empty = next((number for number, name in enumerate(classes, start=1) if not name), None)
    if empty is not None or not classes:
        raise DataError(
            f"Class list {path}, line {empty or 1}, is empty.", hint="One class a line, class 0 first, no line empty."
        )
    return classes


def _text(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return UNLABELLED
    return printable(str(value).strip())


def _before_underscore(name: str) -> str:
    found = re.match(r"([^_]+)_", name)
    return found[1] if found else UNLABELLED

"""A list of paths and labels goes in (CSV, TSV, JSONL, or json with one category an image); the files come out."""

from __future__ import annotations

import csv
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import msgspec

from clis_core.data.sources import problems
from clis_core.data.sources.image_json import Row, read_image_json
from clis_core.data.sources.member import START, Member, Position
from clis_core.data.sources.names import UNLABELLED, printable, split_path
from clis_core.data.sources.picture_file import read_picture_file, size_of
from clis_core.errors import DataError

LISTS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json")
PATH_NAMES = ("path", "file", "file_name", "filename", "image")
LABEL_NAMES = ("label", "class", "class_name", "category", "name")
_MAX_LINE = 1 << 20
_SHOWN = f"one of {', '.join(PATH_NAMES)}, and one of {', '.join(LABEL_NAMES)}"


class Listing:
    """A list of pictures and their labels; it is the one part, in its own order.

    - CSV or TSV with a header, JSONL with an object a line: a path (``path``, ``file``, ``file_name``, ``filename`` or
      ``image``) and a label (``label``, ``class``, ``class_name``, ``category`` or ``name``); no other field is read.
    - json as Detic writes it: ``images`` with ``file_name`` and ``pos_category_ids``, and ``categories``; the label is
      the category's name. A picture with several categories is a member with that problem.

    A file that is missing is a member with that problem.

    Args:
        path: the list.
        root: folder that relative paths start from; None takes the list's own.

    Raises:
        DataError: the list cannot be read, or a row of it has no path or no label; names the line.
    """

    def __init__(self, path: Path, root: Path | None = None) -> None:
        self.kind = "list of files"
        self._path = path
        self._root = path.parent if root is None else root
        self._image_rows = read_image_json(path) if path.suffix.lower() == ".json" else None
        with closing(self._rows()) as rows:
            self._labels = sorted({label for row in rows for label in row.labels})
        if not self._labels:
            raise DataError(f"{path} lists no picture.", hint="Give each picture a line: images/1.jpg,zebra")

    def labels(self) -> list[str]:
        """See `Source`."""
        return list(self._labels)

    def size(self, wanted: Callable[[str], bool]) -> int:
        """See `Source`."""
        with closing(self._rows()) as rows:
            return max(1, sum(size_of(self._root / row.path) for row in rows if any(map(wanted, row.labels))))

    def members(self, wanted: Callable[[str], bool], start: Position = START) -> Iterator[Member]:
        """See `Source`."""
        if start.part > 0:
            return
        with closing(self._rows()) as rows:
            for number, row in enumerate(rows):
                if number < start.member:
                    continue
                labels = [label for label in row.labels or (UNLABELLED,) if wanted(label)]
                if not labels:
                    continue
                if len(row.labels) == 1:
                    data, problem = read_picture_file(self._root / row.path)
                else:
                    data, problem = None, problems.SEVERAL if row.labels else problems.NO_LABEL
                yield Member(labels[0], split_path(row.path)[1], data, problem, Position(0, number + 1))

    def _rows(self) -> Generator[Row]:
        """A pass over the list. It holds the file open until it is closed."""
        if self._image_rows is not None:
            yield from self._image_rows
            return
        read = _read_jsonl if self._path.suffix.lower() in (".jsonl", ".ndjson") else _read_csv
        with closing(_lines(self._path)) as lines:
            yield from read(self._path, lines)


def _read_csv(path: Path, lines: Iterator[str]) -> Iterator[Row]:
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    reader = csv.reader(lines, delimiter=separator, strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        at = _column(path, header, PATH_NAMES), _column(path, header, LABEL_NAMES)
        for fields in reader:
            if not fields:
                continue
            if len(fields) <= max(at):
                raise DataError(
                    f"{path}, line {reader.line_num}: {len(fields)} fields, but the header has {len(header)}.",
                    hint='Put quotation marks around a field that holds the separator: "a, b.jpg"',
                )
            yield _row(path, reader.line_num, fields[at[0]], fields[at[1]])
    except csv.Error as error:
        raise DataError(
            f"{path}, line {reader.line_num}: {error}.", hint="Write it as CSV with the header path,label"
        ) from None


def _column(path: Path, header: Sequence[str], names: Sequence[str]) -> int:
    found = [name for name in header if name in names]
    if len(found) != 1:
        what = f"{' and '.join(found)} could each be the {names[0]}" if found else f"no column is the {names[0]}"
        raise DataError(
            f"{path}: {what}; its first line is {printable(','.join(header))[:80]!r}.",
            hint=f"The first line names the columns, such as path,label: {_SHOWN}.",
        )
    return header.index(found[0])


def _read_jsonl(path: Path, lines: Iterator[str]) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise DataError(
                f"{path}, line {number}: {error}.", hint='Write an object a line: {"path": "1.jpg", "label": "zebra"}'
            ) from None
        yield _row(path, number, _value(path, number, record, PATH_NAMES), _value(path, number, record, LABEL_NAMES))


def _value(path: Path, number: int, record: object, names: Sequence[str]) -> str:
    found = [name for name in names if name in record] if isinstance(record, dict) else []
    value = record[found[0]] if isinstance(record, dict) and len(found) == 1 else None
    if not isinstance(value, str | int) or isinstance(value, bool):
        what = f"{' and '.join(found)} could each be" if len(found) > 1 else "there is no text for"
        raise DataError(
            f"{path}, line {number}: {what} the {names[0]}.",
            hint=f'Write an object a line: {{"path": "1.jpg", "label": "zebra"}}; the keys are {_SHOWN}.',
        )
    return str(value)


def _row(path: Path, number: int, file: str, label: str) -> Row:
    file, label = file.strip().replace("\\", "/"), printable(label.strip())
    if not file or not label:
        what = "label" if file else "path"
        raise DataError(f"{path}, line {number}: its {what} is empty.", hint="Fill it in, or take the line out.")
    if "://" in file:
        raise DataError(
            f"{path}, line {number}: {printable(file)[:80]!r} is an address, not a file.",
            hint="Download the pictures first: clis crawl-google --backend urls --urls FILE",
        )
    return Row(file, (label,))


def _lines(path: Path) -> Generator[str]:
    """The lines of a text file with their ends; none is read further than to the limit."""
    number = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            while line := file.readline(_MAX_LINE + 1):
                number += 1
                if len(line) > _MAX_LINE:
                    raise DataError(f"{path}, line {number} is longer than 1 MiB.", hint="Write one picture a line.")
                yield line
    except UnicodeDecodeError:
        raise DataError(
            f"{path} is no UTF-8 text, after line {number}.", hint=f"iconv -f LATIN1 -t UTF-8 {path} > list.csv"
        ) from None
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror or error}.", hint="Check the path and its permissions."
        ) from None

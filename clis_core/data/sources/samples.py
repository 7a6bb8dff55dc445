"""A WebDataset shard goes in; its samples come out: which files they have, and where in the tar these lie."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from clis_core.data.sources.byte_stream import PlainBytes, byte_stream
from clis_core.data.sources.names import PICTURES, printable, split_path
from clis_core.data.sources.tar_members import GET_AGAIN, damage_told
from clis_core.data.sources.tar_walk import Entry, EntryKind, TarWalk
from clis_core.errors import DataError

_MAX_FIELD = 1 << 20  # bytes of a json or a class number
_MOST_SHOWN = 12


class Sample(NamedTuple):
    """Files in a row that have one key: the part of their path before the first dot of their name.

    Attributes:
        key: the key, with its folder; hostile.
        extensions: of the first files, in lower case, printable.
        picture: path and entry of the first picture.
        fields: the first json and the first cls.
    """

    key: str
    extensions: tuple[str, ...] = ()
    picture: Entry | None = None
    fields: Mapping[str, Entry] = {}

    @property
    def name(self) -> str:
        """The key without its folder, printable."""
        return split_path(self.key)[1]


class Shard:
    """An open shard.

    Attributes:
        stream: its bytes.
    """

    def __init__(self, stream: PlainBytes, walk: TarWalk) -> None:
        self.stream = stream
        self._walk = walk

    def samples(self) -> Iterator[Sample]:
        """The samples in their order, each when all its files are known; hidden files are passed over.

        Raises:
            DamagedTarError, UnreadableError: the tar is cut short or damaged.
        """
        sample: Sample | None = None
        for entry in self._walk:
            folder, slash, name = entry.path.rpartition("/")
            stem, dot, extension = name.partition(".")
            if entry.kind is EntryKind.FOLDER or not stem or not dot:
                continue
            key = folder + slash + stem
            if sample is None or sample.key != key:
                if sample is not None:
                    yield sample
                sample = Sample(key)
            sample = _with(sample, extension.lower(), entry)
        if sample is not None:
            yield sample

    def field(self, sample: Sample, extension: str) -> bytes | None:
        """The sample's json or cls; None where it has none, or one that is no regular file or larger than 1 MiB."""
        entry = sample.fields.get(extension)
        if entry is None or entry.kind is not EntryKind.FILE or entry.size > _MAX_FIELD:
            return None
        return self.stream.read_at(entry.offset, entry.size)

    def json(self, sample: Sample) -> dict[str, Any]:
        """The sample's json object; empty where there is none."""
        try:
            record = msgspec.json.decode(self.field(sample, "json") or b"null")
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return {}
        return record if isinstance(record, dict) else {}


@contextlib.contextmanager
def opened_shard(path: Path) -> Iterator[Shard]:
    """Open a shard at its first sample.

    Raises:
        DataError: it cannot be read, is compressed, is no tar, or turns out to be cut short or damaged.
    """
    with byte_stream(path) as stream:
        if not isinstance(stream, PlainBytes):
            raise DataError(
                f"Shard {path} is compressed.", hint="Unpack it, such as with gunzip, bunzip2 or unxz: tars are read."
            )
        walk = TarWalk(stream)
        with damage_told(path, walk, GET_AGAIN):
            yield Shard(stream, walk)


def describe_first(path: Path) -> list[str]:
    """What the first sample of a shard holds, in lines for a person; none where there is no sample.

    Raises:
        DataError: as `opened_shard`.
    """
    with opened_shard(path) as shard:
        sample = next(shard.samples(), None)
        if sample is None or not (sample.picture or sample.fields):
            return []
        lines = [f"key {sample.name!r}, with {', '.join(sample.extensions)}"]
        number = shard.field(sample, "cls")
        if number is not None:
            lines.append(f"cls = {_short(number.decode('utf-8', 'replace'))}")
        fields = list(shard.json(sample).items())[:_MOST_SHOWN]
        return lines + [f"json:{printable(key)} = {_short(value)}" for key, value in fields]


def _with(sample: Sample, extension: str, entry: Entry) -> Sample:
    """The sample with one more file; memory stays small for any number of files of one key."""
    if len(sample.extensions) < _MOST_SHOWN:
        sample = sample._replace(extensions=(*sample.extensions, printable(extension)))
    if extension in PICTURES and sample.picture is None:
        sample = sample._replace(picture=entry)
    elif extension in ("json", "cls") and extension not in sample.fields:
        sample = sample._replace(fields={**sample.fields, extension: entry})
    return sample


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

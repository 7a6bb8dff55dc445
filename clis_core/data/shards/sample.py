"""A labelled picture and its key go in; the record that lies beside it in the shard comes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Sample(NamedTuple):
    """A labelled picture.

    Attributes:
        prefix: what its key starts with: the WordNet id or the class name.
        name: of the file in its source, for the key and the record.
        category: its id.
        jpeg: upright, grey or RGB.
        height: pixels.
        width: pixels.
        record: more fields of its json: where it comes from, what was changed.
        sha256: of ``jpeg``, hexadecimal; None has it computed.
    """

    prefix: str
    name: str
    category: int
    jpeg: bytes
    height: int
    width: int
    record: Mapping[str, Any]
    sha256: str | None = None

    def to_record(self, key: str, class_name: str, sha256: str) -> dict[str, Any]:
        """Its json: what every sample has, then the fields of its own.

        Args:
            key: of the sample in the shards.
            class_name: of its category.
            sha256: of ``jpeg``, hexadecimal.
        """
        record = {
            "key": key,
            "class_name": class_name,
            "category_id": self.category,
            "width": self.width,
            "height": self.height,
            "sha256": sha256,
            "filename": self.name,
        }
        if not record.keys().isdisjoint(self.record):
            raise ValueError(f"a record has fields of its own called {sorted(record.keys() & self.record.keys())}")
        return {**record, **self.record}

"""The name of a data set in; its official archives out: addresses, sizes, checksums, and where their files go."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Part = Literal["annotations", "val", "train"]
SetName = Literal["lvis-v1", "lvis-v0.5", "coco-2017"]

PARTS: tuple[Part, ...] = ("annotations", "val", "train")
"""In the order in which they are fetched: the small ones first."""


@dataclass(frozen=True)
class Archive:
    """A zip file on the web.

    Attributes:
        name: of the file.
        address: of its folder, with a slash at the end.
        part: what it holds.
        folder: where its files go, below the folder of the data set.
        wanted: matches the base names of the files that are taken from it.
        files: number of these.
        size: bytes; None where the publisher's is not known.
        sha256: hexadecimal; None where none is known. Neither LVIS nor COCO publishes checksums: these are the ones
            that TensorFlow Datasets has noted for the same addresses, which others have confirmed.
        growth: bytes on disk for a byte of the archive, rounded up; for the look at free space before it is there.
    """

    name: str
    address: str
    part: Part
    folder: str
    wanted: re.Pattern[str]
    files: int
    size: int | None
    sha256: str | None
    growth: float


_COCO = "http://images.cocodataset.org/"  # its certificate is not for this name, so https fails; the sha256 decides
_LVIS = "https://dl.fbaipublicfiles.com/LVIS/"
_PICTURE = re.compile(r"\d{12}\.jpg")

_VAL = Archive(
    "val2017.zip",
    f"{_COCO}zips/",
    "val",
    "val2017",
    _PICTURE,
    5_000,
    815_585_330,
    "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
    1.02,
)
_TRAIN = Archive(
    "train2017.zip",
    f"{_COCO}zips/",
    "train",
    "train2017",
    _PICTURE,
    118_287,
    19_336_861_798,
    "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
    1.02,
)


def _lvis(file: str, size: int | None = None, sha256: str | None = None) -> Archive:
    return Archive(
        f"{file}.zip", _LVIS, "annotations", "annotations", re.compile(re.escape(file)), 1, size, sha256, 4.0
    )


SETS: dict[SetName, tuple[Archive, ...]] = {
    "lvis-v1": (
        _lvis(
            "lvis_v1_val.json",
            64_026_968,
            "5cae9a3c79aadb667550c2b5dcf7f4d86e059a41ec91ef690225b667e28e9ba5",
        ),
        _lvis(
            "lvis_v1_train.json",
            350_264_821,
            "334a4caa374030a7817cf050364525e910f7960f9b6968cef47cffbf3893f8ba",
        ),
        _VAL,
        _TRAIN,
    ),
    "lvis-v0.5": (_lvis("lvis_v0.5_val.json"), _lvis("lvis_v0.5_train.json"), _VAL, _TRAIN),
    "coco-2017": (
        Archive(
            "annotations_trainval2017.zip",
            f"{_COCO}annotations/",
            "annotations",
            "annotations",
            re.compile(r"instances_(train|val)2017\.json"),
            2,
            252_907_541,
            "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
            4.0,
        ),
        _VAL,
        _TRAIN,
    ),
}
"""Archives by the name of the data set, in the order in which they are fetched."""

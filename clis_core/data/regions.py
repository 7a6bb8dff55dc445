"""Pre-defined regions: where in each picture its class is (CLIS, sec. IV-A3); files beside the shards, and back.

N pictures, numbered through the shards. A folder of regions holds ``00000.regions.npy``, ... with one `REGION` entry
for each sample of the shard of that name, and ``regions.json``, written last: how they were made, and for which shards.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from clis_core.config.pictures import REGION_RULES
from clis_core.data.shards.manifest import MANIFEST, Manifest
from clis_core.data.shards.reader import Shards
from clis_core.errors import DataError
from clis_core.files import replacing, write_text

FORMAT = 1
REGIONS = "regions.json"
REGION = np.dtype(
    [
        ("box", "<f4", (4,)),  # xyxy, relative to the picture: 0..1
        ("score", "<f4"),  # of the picture's own class there, 0..1
        ("rank", "<i4"),  # of that class among all at this place, 1 is the best; 0 where nothing was ranked
        ("fallback", "?"),  # whether nothing sensible was found and the whole picture is taken
    ]
)
CENTRE = (0.1, 0.1, 0.9, 0.9)
WHOLE = (0.0, 0.0, 1.0, 1.0)


class Regions(Protocol):
    """Where in each picture its class is."""

    def box(self, number: int) -> NDArray[np.float32]:
        """xyxy of a picture's region, relative to the picture (0..1), float32 ``[4]``."""
        ...

    def fingerprint(self) -> str:
        """The same for the same regions, wherever they lie."""
        ...


@dataclass(frozen=True)
class ConstantRegions:
    """The same region in every picture.

    Attributes:
        relative: xyxy, 0..1.
    """

    relative: tuple[float, float, float, float]

    def box(self, number: int) -> NDArray[np.float32]:
        """See `Regions`."""
        return np.array(self.relative, np.float32)

    def fingerprint(self) -> str:
        """See `Regions`."""
        return f"constant {self.relative}"


class RegionFiles:
    """The regions in a folder; a copy for another process is the folder's name.

    Args:
        folder: of `gen_regions`.
        shards: the folder of the shards that they are of.

    Raises:
        DataError: they are not finished, damaged, or of other shards.
    """

    def __init__(self, folder: Path, shards: Path, manifest: Manifest) -> None:
        self._made_of = (folder, shards, manifest)
        self.about = read_about(folder)
        _check_shards(self.about, folder, shards, manifest)
        self._parts = [read_part(folder / name_of(shard.name), shard.samples) for shard in manifest.shards]
        self._ends = np.cumsum([shard.samples for shard in manifest.shards])

    def __reduce__(self) -> tuple[Any, ...]:
        return RegionFiles, self._made_of

    def entry(self, number: int) -> Any:
        """The `REGION` entry of a picture."""
        part = int(np.searchsorted(self._ends, number, side="right"))
        return self._parts[part][number - (self._ends[part - 1] if part else 0)]

    def box(self, number: int) -> NDArray[np.float32]:
        """See `Regions`."""
        found: NDArray[np.float32] = self.entry(number)["box"]
        return found

    def fingerprint(self) -> str:
        """See `Regions`."""
        digest = hashlib.sha256()
        for part in self._parts:
            digest.update(np.ascontiguousarray(part["box"]).tobytes())
        return digest.hexdigest()


def open_regions(which: str | None, shards: Shards) -> Regions:
    """The regions that a config names.

    Args:
        which: "full-image", "centre", or a folder; None is the folder beside the shards.
        shards: the pictures.

    Raises:
        DataError: there are none, or they are of other shards.
    """
    if which in REGION_RULES:
        return ConstantRegions(WHOLE if which == "full-image" else CENTRE)
    folder = Path(which) if which else regions_beside(shards.folder)
    if not (folder / REGIONS).is_file():
        raise DataError(
            f"There are no finished regions in {folder}.",
            hint=f"Make them: clis gen-regions --detector RUN {shards.folder}; "
            "or do without a detector: --set pictures.regions=full-image",
        )
    return RegionFiles(folder, shards.folder, shards.manifest)


def regions_beside(shards: Path) -> Path:
    """The folder that regions go to where none is named."""
    return shards.with_name(f"{shards.name}-regions")


def name_of(shard: str) -> str:
    """File of the regions of a shard."""
    return shard.removesuffix(".tar") + ".regions.npy"


def write_part(path: Path, entries: NDArray[Any]) -> None:
    """Write the regions of a shard, whole or not at all."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, entries.astype(REGION, copy=False), allow_pickle=False)


def read_part(path: Path, samples: int) -> NDArray[Any]:
    """The regions of a shard, memory-mapped.

    Raises:
        DataError: the file is missing, damaged, or of another number of samples.
    """
    try:
        entries = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(path, str(error)) from None
    if entries.dtype != REGION or entries.shape != (samples,):
        raise _damaged(path, f"it holds {entries.shape} of {entries.dtype}, not {samples} regions")
    boxes = entries["box"]
    if not (np.isfinite(boxes).all() and (boxes >= 0).all() and (boxes <= 1).all()):
        raise _damaged(path, "a box reaches out of its picture")
    if not (boxes[:, 2:] > boxes[:, :2]).all():
        raise _damaged(path, "a box has no area")
    return entries  # type: ignore[no-any-return]


def write_about(folder: Path, manifest: Manifest, about: Mapping[str, Any]) -> None:
    """Write regions.json, which says that the folder is finished.

    Args:
        folder: with the regions of every shard.
        manifest: of the shards.
        about: how they were made: rule, detector, counts.
    """
    content = {"format": FORMAT, **about, "shards": shard_hashes(manifest)}
    write_text(folder / REGIONS, json.dumps(content, indent=1) + "\n")


def read_about(folder: Path) -> dict[str, Any]:
    """What regions.json says.

    Raises:
        DataError: there is none, or it is damaged.
    """
    path = folder / REGIONS
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        number, shards = content["format"], content["shards"]
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror or error}.",
            hint="The same clis gen-regions command goes on where it was stopped.",
        ) from None
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(path, str(error)) from None
    if number != FORMAT or not isinstance(shards, dict):
        raise DataError(f"{path}: regions of another format than {FORMAT}.", hint="pip install --upgrade clis")
    return dict(content)


def shard_hashes(manifest: Manifest) -> dict[str, str]:
    """SHA-256 of each shard by its name."""
    return {shard.name: shard.sha256 for shard in manifest.shards}


def _check_shards(about: Mapping[str, Any], folder: Path, shards: Path, manifest: Manifest) -> None:
    if about["shards"] != shard_hashes(manifest):
        raise DataError(
            f"The regions in {folder} are of other shards than {shards / MANIFEST} lists.",
            hint=f"Make those of these shards: clis gen-regions --detector RUN {shards} -o FOLDER",
        )


def _damaged(path: Path, what: str) -> DataError:
    return DataError(f"{path} is damaged: {what}.", hint="Remove it and run clis gen-regions again.")

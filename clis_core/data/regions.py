"""Pre-defined regions: where in each picture its class is (CLIS, sec. IV-A3); files beside the shards, and back.

N pictures, numbered through the shards. A folder of regions holds ``00000.regions.npy``, ... with one `REGION` entry
for each sample of the shard of that name, and ``regions.json``, written last: how they were made, and for which shards.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from clis_core.config.pictures import REGION_RULES
from clis_core.data.shards.manifest import MANIFEST, Manifest
from clis_core.data.shards.reader import Shards
from clis_core.errors import JSON_DAMAGE, NPY_DAMAGE, DataError, format_hint
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

    The boxes are held in memory, 20 MB for ImageNet's 1.24 million pictures, which forked workers share: a memory map
    would keep a descriptor for each of what may be more shards than a process may open files.

    Args:
        folder: of `gen_regions`.
        shards: the folder of the shards that they are of.
        manifest: of the shards.

    Attributes:
        about: what regions.json says.
        boxes: xyxy of each picture's region, relative to the picture (0..1), float32 ``[N, 4]``.

    Raises:
        DataError: they are not finished, damaged, or of other shards.
    """

    def __init__(self, folder: Path, shards: Path, manifest: Manifest) -> None:
        self._folder, self._shards, self._manifest = folder.absolute(), shards, manifest
        self.about = read_about(folder)
        _check_shards(self.about, folder, shards, manifest)
        self.boxes = np.concatenate([np.empty((0, 4), np.float32), *(part["box"] for part in self._parts())])
        self.boxes.flags.writeable = False

    def __reduce__(self) -> tuple[Any, ...]:
        return RegionFiles, (self._folder, self._shards, self._manifest)

    def entries(self) -> NDArray[Any]:
        """The `REGION` entries of all pictures, read anew."""
        return np.concatenate([np.empty(0, REGION), *self._parts()])

    def box(self, number: int) -> NDArray[np.float32]:
        """See `Regions`."""
        found: NDArray[np.float32] = self.boxes[number]
        return found

    def fingerprint(self) -> str:
        """See `Regions`."""
        return hashlib.sha256(self.boxes.tobytes()).hexdigest()

    def _parts(self) -> Iterator[NDArray[Any]]:
        for shard in self._manifest.shards:
            yield read_part(self._folder / name_of(shard.name), shard.samples)


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
    """The `REGION` entries of a shard, or of a part of it.

    Raises:
        DataError: the file is missing, damaged, or of another number of samples.
    """
    try:
        entries = np.load(path, allow_pickle=False)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.", hint=_anew(path)) from None
    except NPY_DAMAGE as error:
        raise _damaged(path, str(error)) from None
    if not isinstance(entries, np.ndarray) or entries.dtype != REGION or entries.shape != (samples,):
        raise _damaged(path, f"it does not hold {samples} regions")
    boxes = entries["box"]
    if not ((boxes >= 0).all() and (boxes <= 1).all()):
        raise _damaged(path, "a box reaches out of its picture")
    if not (boxes[:, 2:] > boxes[:, :2]).all():
        raise _damaged(path, "a box has no area")
    return entries


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
    except (*JSON_DAMAGE, TypeError, KeyError) as error:
        raise _damaged(path, str(error)) from None
    if number != FORMAT or not isinstance(shards, dict):
        raise DataError(f"{path}: regions of another format than {FORMAT}.", hint=format_hint(number, FORMAT))
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
    return DataError(f"{path} is damaged: {what}.", hint=_anew(path))


def _anew(path: Path) -> str:
    return f"Remove {path.parent} and make the regions again: clis gen-regions --detector RUN SHARDS -o {path.parent}"

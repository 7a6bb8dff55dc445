"""An annotation json and folders go in; whether its image files are there, and are what it says, is noted.

N images.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clis_core.data.check.findings import SHOWN, Findings
from clis_core.data.check.look import Look, look_at_all, look_at_file
from clis_core.data.check.raw_file import RawFile
from clis_core.data.images import Listings, Naming, missing, namings, places_for
from clis_core.errors import DataError
from clis_core.report import Reporter


@dataclass(frozen=True)
class Files:
    """Where the images of a json are.

    Attributes:
        file: the json.
        root: the folder that the names start from.
        names: N names below it.
        there: int64, which images have a file; of records that share one, the first.
    """

    file: RawFile
    root: Path
    names: list[str]
    there: NDArray[np.int64]

    def path(self, index: int) -> Path:
        """Path of an image."""
        return self.root / self.names[index]


def find_files(
    file: RawFile, places: tuple[Sequence[Path], Sequence[Path]], where: str, findings: Findings
) -> Files | None:
    """Find the folder and the naming under which most images are there; those that are not are noted.

    Args:
        file: the json.
        places: folders for any naming, and folders for that by ``coco_url``; see `image_folders`.
        where: name of the split.
        findings: gets the faults.

    Returns:
        None where no folder can be told: there is no image, or no folder.
    """
    if not file.names:
        return None
    named = namings(file.names, file.url_names)
    tries = places_for(named, *places)
    if not tries:
        findings.add_many("D301", where, len(file.names), [(file.path, "", "there is no folder to look for them in")])
        return None
    root, naming, gone = _best(named, tries)
    shown = ((root / named[naming][i], f"{file.path}, {file.image(i)}", "there is no such file") for i in gone[:SHOWN])
    findings.add_many("D301", where, len(gone), shown)
    there = np.setdiff1d(np.arange(len(file.names)), gone)
    return Files(file, root, named[naming], _without_repeats(file, root, named[naming], there, where, findings))


def _best(named: dict[Naming, list[str]], tries: Sequence[tuple[Path, Naming]]) -> tuple[Path, Naming, list[int]]:
    """The first place under which the fewest images are missing, and which are."""
    listings: Listings = {}
    best: tuple[Path, Naming, list[int]] | None = None
    for root, naming in tries:
        gone = missing(root, named[naming], listings)
        if best is None or len(gone) < len(best[2]):
            best = (root, naming, gone)
        if not gone:
            break
    assert best is not None  # there is a place to try
    return best


def _without_repeats(
    file: RawFile, root: Path, names: list[str], there: NDArray[np.int64], where: str, findings: Findings
) -> NDArray[np.int64]:
    first: dict[str, int] = {}
    kept = []
    for i in there.tolist():
        one = first.setdefault(os.path.normpath(names[i]), i)
        if one == i:
            kept.append(i)
        else:
            findings.add("D305", where, root / names[i], f"{file.path}, {file.image(i)}", f"as {file.image(one)}")
    return np.array(kept, np.int64)


def look_at_files(
    files: Files,
    *,
    sample: int | None,
    exif: bool,
    workers: int,
    where: str,
    findings: Findings,
    reporter: Reporter,
) -> Generator[tuple[int, Look]]:
    """Look at the image files, check their sizes, and hand on what was seen.

    Args:
        files: where they are.
        sample: look at so many, drawn always alike; None looks at all.
        exif: whether training turns them upright.
        workers: threads.
        where: name of the split.
        findings: gets the faults.
        reporter: gets progress.

    Yields:
        Index of an image that could be read, and what it shows.
    """
    chosen = pick_sample(files.there, sample).tolist()
    file = files.file
    looked = look_at_all(chosen, lambda index: look_at_file(files.path(index)), workers)
    for done, (index, seen) in enumerate(looked, start=1):
        reporter.progress(f"{where} images", done, len(chosen))
        record = f"{file.path}, {file.image(index)}"
        if isinstance(seen, DataError):
            findings.add("D302", where, files.path(index), record, seen.message)
            continue
        said = (int(file.sizes[index, 0]), int(file.sizes[index, 1]))
        if said != (seen.size if exif else seen.stored):
            swapped = said == (seen.stored if exif else seen.size)
            text = f"{_size(seen.stored)} pixels, EXIF orientation {seen.orientation}, annotated as {_size(said)}"
            findings.add("D304" if swapped else "D303", where, files.path(index), record, text)
        elif exif and 1 < seen.orientation <= 8:
            text = f"{_size(seen.stored)} pixels, EXIF orientation {seen.orientation}"
            findings.add("D307", where, files.path(index), record, text)
        yield index, seen


def pick_sample(numbers: NDArray[np.int64], sample: int | None) -> NDArray[np.int64]:
    """``sample`` of the numbers in their order, drawn always alike; all where there are no more."""
    if sample is None or sample >= len(numbers):
        return numbers
    return np.sort(np.random.Generator(np.random.Philox(0)).permutation(numbers)[:sample])


def _size(size: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]}"

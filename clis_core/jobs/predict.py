"""`clis predict`: a detector and any pictures in; what is in them out, as json, tables and drawn pictures."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from torch import Tensor

from clis_core.data.decode import decode
from clis_core.data.named_pictures import Failure, NamedPicture
from clis_core.data.sources.picture_file import read_picture_file
from clis_core.data.web_pictures import WebPictures
from clis_core.detectors.export.model import ExportedDetector
from clis_core.errors import ConfigError, DataError, Interrupted
from clis_core.jobs import predict_files as files
from clis_core.jobs.device import naming_full_memory
from clis_core.jobs.inference import NamedDetector
from clis_core.jobs.predict_files import Done
from clis_core.report import Reporter
from clis_core.training.interrupt import StopRequest

Format = Literal["pictures", "json", "csv", "coco"]
FILES: dict[Format, tuple[str, ...]] = {
    "pictures": (),
    "json": (files.JSON,),
    "csv": (files.CSV,),
    "coco": (files.COCO, files.COCO_IMAGES),
}
"""What each format writes, but for the drawn pictures."""
THREADS = 4
"""That read and decode."""


@dataclass(frozen=True)
class PredictOptions:
    """What to keep of the detections, and as what.

    Attributes:
        threshold: least score.
        formats: what to write.
        batch: pictures at a time.
        max_labels: labels on a drawn picture at most; None: no bound.
        overwrite: replace results that are there.
    """

    threshold: float = 0.3
    formats: tuple[Format, ...] = ("pictures", "json")
    batch: int = 1
    max_labels: int | None = 50
    overwrite: bool = False


class Predictions(NamedTuple):
    """What came of it.

    Attributes:
        done: the pictures that were looked at.
        failures: what could not be read.
        record: all of it as it stands in the json.
    """

    done: list[Done]
    failures: list[Failure]
    record: dict[str, Any]


def predict(
    detector: NamedDetector,
    pictures: Sequence[NamedPicture],
    failures: Sequence[Failure],
    out: Path | None,
    options: PredictOptions,
    *,
    reporter: Reporter,
) -> Predictions:
    """Detect in pictures, and write what was found. A picture that cannot be read is told, and the others go on.

    Args:
        detector: of `load_detector`.
        pictures: of `find_pictures`.
        failures: likewise; they stand in the results.
        out: folder for the results; None writes nothing.
        options: what to write.
        reporter: gets progress, and a warning for each failure.

    Raises:
        ConfigError: there are results in the folder already.
        DataError: nothing could be read.
        Interrupted: SIGINT or SIGTERM came; drawn pictures that were finished are kept.
    """
    drawn: list[str | None] = [None] * len(pictures)
    if out is not None:
        if "pictures" in options.formats:
            drawn = [f"{files.PICTURES}/{name}" for name in files.drawn_names(pictures)]
        _check_free(out, [name for f in options.formats for name in FILES[f]] + [n for n in drawn if n], options)
    for failure in failures:
        reporter.warn(f"{failure.name}: {failure.reason}")
    failed = list(failures)
    done: list[Done] = []
    if pictures:
        reporter.progress("predict", 0, len(pictures))
    with StopRequest() as stop, naming_full_memory("--batch 1, or --device cpu"):
        for part in _read(pictures, options.batch):
            if stop.name:
                raise Interrupted(
                    f"Stopped by {stop.name} after {len(done)} of {len(pictures)} pictures; no list was written.",
                    hint="Run the same command again with --overwrite." if out is not None else "Run it again.",
                )
            for index, error in ((i, x) for i, x in part if isinstance(x, DataError)):
                failed.append(Failure(pictures[index].name, error.message))
                reporter.warn(error.message)
            good = [(i, x) for i, x in part if isinstance(x, Tensor)]
            found = detector([x for _, x in good], threshold=options.threshold, batch=options.batch)
            for (index, pixels), result in zip(good, found, strict=True):
                name = drawn[index]
                if out is not None and name is not None:
                    files.write_picture(pixels, result, out / name, options.max_labels)
                done.append(Done(pictures[index].name, result, name))
            reporter.progress("predict", len(done) + len(failed) - len(failures), len(pictures))
    if not done:
        raise DataError(
            f"None of {len(failed)} pictures could be read; the first: {failed[0].name}: {failed[0].reason}"
            if failed
            else "There are no pictures.",
            hint="Name pictures or folders: clis predict RUN photo.jpg photos/",
        )
    if isinstance(detector.model, ExportedDetector) and detector.model.uncertain:
        reporter.warn(
            f"In {detector.model.uncertain} of {detector.model.images} pictures the graph's "
            f"{detector.model.about.candidates} candidates may have been too few. Export it with more: "
            f"--candidates {4 * detector.model.about.candidates}"
        )
    record = files.to_record(detector.identity(), options.threshold, done, failed)
    if out is not None:
        _write(out, options.formats, detector, done, record)
    return Predictions(done, failed, record)


def _write(
    out: Path, formats: Sequence[Format], detector: NamedDetector, done: list[Done], record: dict[str, Any]
) -> None:
    if "json" in formats:
        files.write_json(record, out / files.JSON)
    if "csv" in formats:
        files.write_csv(done, out / files.CSV)
    if "coco" in formats:
        files.write_coco(detector.categories, done, out)


def _check_free(out: Path, names: list[str], options: PredictOptions) -> None:
    there = [name for name in names if (out / name).exists()]
    if there and not options.overwrite:
        raise ConfigError(
            f"{out}: there are results already: {there[0]}{f' and {len(there) - 1} more' if len(there) > 1 else ''}.",
            hint="Another folder: -o FOLDER; or to replace them: --overwrite",
        )


def _read(pictures: Sequence[NamedPicture], batch: int) -> Iterator[list[tuple[int, Tensor | DataError]]]:
    """Batches of pictures by their place in the list, decoded ahead; the error in the place of one that cannot be."""
    web = WebPictures()

    def load(picture: NamedPicture) -> Tensor | DataError:
        try:
            return decode(_bytes_of(picture, web), picture.name)
        except DataError as error:
            return error

    pool = ThreadPoolExecutor(THREADS)
    try:
        ahead: deque[Future[Tensor | DataError]] = deque()
        todo = iter(pictures)
        part: list[tuple[int, Tensor | DataError]] = []
        for index in range(len(pictures)):
            while len(ahead) < THREADS + batch and (picture := next(todo, None)) is not None:
                ahead.append(pool.submit(load, picture))
            part.append((index, ahead.popleft().result()))
            if len(part) == batch or index == len(pictures) - 1:
                yield part
                part = []
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _bytes_of(picture: NamedPicture, web: WebPictures) -> bytes:
    if picture.path is None:
        return web.read(picture.name)
    data, problem = read_picture_file(picture.path)
    if data is None:
        raise DataError(f"{picture.name}: {problem}.", hint="Check the path.")
    return data

"""`clis report`: evaluated runs in, one self-contained HTML page that compares them out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from clis_core import __version__
from clis_core.config.data import DataConfig
from clis_core.config.load import FILES_UNDER_ROOT, Layer, read_layer, resolve
from clis_core.config.workspace import Workspace
from clis_core.data.layout import find_json
from clis_core.errors import ConfigError, DataError
from clis_core.evaluation.examples import choose
from clis_core.evaluation.groundtruth import GroundTruth, read_ground_truth
from clis_core.evaluation.judged import Objects, objects_of
from clis_core.evaluation.outcomes import Incidents, Outcome, changes, outcome_of
from clis_core.files import write_text
from clis_core.jobs.report_pictures import PictureMaker
from clis_core.jobs.report_runs import (
    Evaluated,
    Split,
    distinct_titles,
    find_evaluation,
    read_evaluation,
)
from clis_core.page.content import MOST_RUNS, Report, Run
from clis_core.page.page import page
from clis_core.report import Reporter

PICTURES = 24


@dataclass(frozen=True)
class Written:
    """What came of it.

    Attributes:
        path: the page.
        size: its bytes.
        pictures: how many are on it.
        runs: their titles, the first being what the others are compared with.
    """

    path: Path
    size: int
    pictures: int
    runs: tuple[str, ...]


def report(
    runs: Sequence[str | None],
    out: Path,
    *,
    split: Split = "val",
    pictures: int = PICTURES,
    data: Path | None = None,
    workspace: Workspace | None = None,
    reporter: Reporter,
) -> Written:
    """Write a page about one or several evaluated runs.

    Memory is that of the ground truth and of the judged detections' scores, whatever the number of detections: those
    on disk are read some images at a time.

    Args:
        runs: run folders, names of runs, files of ``clis export``, or folders of ``clis eval -o``; the first is what
            the others are compared with. None is the newest run.
        out: the page; replaced whole or not at all.
        split: the evaluation to show.
        pictures: how many to show; 0 needs no image.
        data: folder of the data set, where it is not any more where the evaluation found it.
        workspace: whose runs are meant, and whose data where no run says.
        reporter: gets progress and notes.

    Raises:
        CheckpointError: there is no such run.
        ConfigError: a run's config cannot be read, too many runs are named, or one twice.
        DataError: a run has not been evaluated on the split, the runs were judged on different data, or a file is
            missing or damaged.
    """
    evaluated = _read_all(runs, split, workspace)
    first = evaluated[0]
    truth = _ground_truth(evaluated, split, data)
    _check_classes(truth, first)
    objects = objects_of(truth)
    with_files = [n for n, one in enumerate(evaluated) if one.detections is not None]
    outcomes: dict[int, Outcome] = {}
    for done, n in enumerate(with_files):
        reporter.progress("judge", done, len(with_files))
        path = evaluated[n].detections
        assert path is not None
        outcomes[n] = outcome_of(truth, path, first.score_cut)
    if with_files:
        reporter.progress("judge", len(with_files), len(with_files))
    shown: list[Run] = [
        replace(one.shown, precision=outcomes[n].precision if n in outcomes else None)
        for n, one in enumerate(evaluated)
    ]
    made = []
    if pictures and outcomes:
        maker = PictureMaker(truth, objects, _data_config(evaluated, data, workspace), split, first.score_cut)
        examples = choose(_incidents(objects, outcomes), [info.group for info in first.classes], pictures)
        made = maker.make(
            examples, {n: evaluated[n].detections for n in with_files}, outcomes, len(evaluated), reporter
        )
    notes = _notes(evaluated)
    if pictures and not outcomes:
        notes.append("There are no detections on disk, so that there are neither curves nor pictures.")
    for note in notes:
        reporter.warn(note)
    text = page(
        Report(
            split=split,
            ground_truth=str(first.ground_truth),
            protocol=first.protocol,
            images=len(truth.image_ids),
            classes=first.classes,
            runs=shown,
            score_cut=first.score_cut,
            pictures=made,
            notes=notes,
            version=__version__,
        )
    )
    write_text(out, text)
    return Written(out, out.stat().st_size, len(made), tuple(run.name for run in shown))


def _incidents(objects: Objects, outcomes: dict[int, Outcome]) -> Incidents:
    """What went wrong in the last run, and what changed from the first one to it."""
    numbers = sorted(outcomes)
    first, last = outcomes[numbers[0]], outcomes[numbers[-1]]
    return last.incidents if first is last else last.incidents.plus(changes(objects, first, last))


def _read_all(runs: Sequence[str | None], split: Split, workspace: Workspace | None) -> list[Evaluated]:
    if len(runs) > MOST_RUNS:
        raise ConfigError(
            f"{len(runs)} runs are named; a page shows {MOST_RUNS} that can still be told apart.",
            hint="Name fewer, or make several pages.",
        )
    found = [find_evaluation(name, workspace, split) for name in runs]
    folders = [folder.resolve() for _, folder, _ in found]
    for n, folder in enumerate(folders):
        if folder in folders[:n]:
            raise ConfigError(f"{runs[n]} is named twice: {folder}.", hint="Name each run once.")
    titles = distinct_titles([title for title, _, _ in found], [run or folder for _, folder, run in found])
    evaluated = [read_evaluation(title, folder, run) for title, (_, folder, run) in zip(titles, found, strict=True)]
    for other in evaluated[1:]:
        _check_same(evaluated[0], other)
    return evaluated


def _check_same(first: Evaluated, other: Evaluated) -> None:
    """Check that two evaluations were made on the same images by the same rules."""

    def refuse(why: str) -> DataError:
        return DataError(
            f"{first.place} and {other.place} cannot be compared: {why}.",
            hint=f"Evaluate both on the same data: clis eval {other.place} --set data.val={first.ground_truth}",
        )

    if first.protocol != other.protocol:
        raise refuse(f"one was judged by the {first.protocol.upper()} protocol, the other by {other.protocol.upper()}")
    if first.score_cut != other.score_cut:
        raise refuse(f"mistakes were counted from a score of {first.score_cut:g} on, and of {other.score_cut:g}")
    if len(first.classes) != len(other.classes):
        raise refuse(f"one has {len(first.classes)} classes, the other {len(other.classes)}")
    for a, b in zip(first.classes, other.classes, strict=True):
        if (a.id, a.name) != (b.id, b.name):
            raise refuse(f"class {a.id} is {a.name!r} in one, class {b.id} {b.name!r} in the other")
        if (a.images, a.objects) != (b.images, b.objects):
            raise refuse(
                f"{a.name!r} has {a.objects} objects in {a.images} images in one, {b.objects} in {b.images} in the "
                f"other ({first.ground_truth}, {other.ground_truth})"
            )
    if first.ground_truth != other.ground_truth and _digest(first.ground_truth) != _digest(other.ground_truth):
        raise refuse(f"{first.ground_truth} and {other.ground_truth} differ")


def _digest(path: Path) -> str | None:
    """Of a file's contents; None where it cannot be read any more."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _ground_truth(evaluated: Sequence[Evaluated], split: Split, data: Path | None) -> GroundTruth:
    """The annotation file, where the evaluation had it or in ``data``."""
    if data is not None:
        path = find_json(data, split)
        if path is None:
            raise DataError(
                f"{data} has no annotations for {split}.", hint="Name the folder that holds them: --data DIR"
            )
        return read_ground_truth(path)
    there = [one.ground_truth for one in evaluated if one.ground_truth.is_file()]
    if not there:
        raise DataError(
            f"The ground truth is gone: there is no {evaluated[0].ground_truth}.",
            hint="Say where the data set lies now: clis report RUN --data DIR",
        )
    return read_ground_truth(there[0])


def _check_classes(truth: GroundTruth, first: Evaluated) -> None:
    """Check that the annotation file is still the one that the evaluation has seen."""
    objects = objects_of(truth)
    ids, counts = truth.category_ids.tolist(), objects.per_class.tolist()
    if [(c.id, c.objects) for c in first.classes] != list(zip(ids, counts, strict=True)):
        raise DataError(
            f"{truth.path} is not what {first.place} was evaluated on: its classes or their objects are others.",
            hint=f"Evaluate again: clis eval {first.place}",
        )


def _data_config(evaluated: Sequence[Evaluated], data: Path | None, workspace: Workspace | None) -> DataConfig:
    """Where the images are: in ``data``, else where the first run that has a config, or the workspace, says."""
    files = [one.run / "config.toml" for one in evaluated if one.run is not None]
    layers = [read_layer(path) for path in files[:1]] or ([workspace.layer] if workspace else [])
    # Of the data alone: the rest of a config may be that of an older clis.
    tables = [Layer(layer.source, {"data": layer.values["data"]}) for layer in layers if "data" in layer.values]
    config = resolve(tables).data
    if data is None:
        return config
    return config.model_copy(update={"root": data, **dict.fromkeys(FILES_UNDER_ROOT)})


def _notes(evaluated: Sequence[Evaluated]) -> list[str]:
    first, notes = evaluated[0], []
    for other in evaluated[1:]:
        groups = sum(a.group != b.group for a, b in zip(first.classes, other.classes, strict=True))
        if groups:
            notes.append(
                f"{groups} classes are in another group (rare, common, frequent) for {other.shown.name}, which was "
                f"trained on other images: its APr, APc and APf are of other classes than those of {first.shown.name}."
            )
        if other.shown.engine != first.shown.engine:
            notes.append(f"{first.shown.name} was judged by {first.shown.engine}, {other.shown.name} by "
                         f"{other.shown.engine}.")  # fmt: skip
    return notes

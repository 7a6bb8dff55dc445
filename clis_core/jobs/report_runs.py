"""The folder of an evaluation in; its figures, log and settings as the page shows them out, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from clis_core.categories import Group
from clis_core.config.load import leaves, read_toml
from clis_core.config.model_file import output_folder
from clis_core.config.workspace import Workspace, is_run, resolve_run
from clis_core.errors import DataError
from clis_core.evaluation.records import read_bytes
from clis_core.jobs.detect import DETECTIONS
from clis_core.jobs.eval_files import METRICS
from clis_core.jobs.run_log import read_log
from clis_core.page.content import ClassInfo, ClassResult, GroupResult, Run

EXPORTED = (".onnx", ".pt2", ".safetensors")
Split = Literal["val", "train"]
T = TypeVar("T")


class _Metrics(msgspec.Struct):
    metrics: dict[str, float | None]
    engine: str
    protocol: str
    detections: int
    step: int | None = None
    notes: list[str] = []


class _Best(msgspec.Struct):
    score: float
    f1: float
    precision: float
    recall: float


class _Class(msgspec.Struct):
    id: int
    name: str
    group: Group | None
    train_images: int | None
    images: int
    objects: int
    detections: int
    AP: float | None
    AP50: float | None
    best_f1: _Best | None


class _Classes(msgspec.Struct):
    version: int
    ground_truth: str
    protocol: str
    classes: list[_Class]


class _TakenFor(msgspec.Struct):
    id: int
    objects: int


class _GivenTo(msgspec.Struct):
    id: int
    detections: int


class _Group(msgspec.Struct):
    AP50: float | None
    dAP50: dict[str, float | None]
    objects: dict[str, int]


class _ClassMistakes(msgspec.Struct):
    id: int
    objects: dict[str, int]
    taken_for: list[_TakenFor]
    given_to: list[_GivenTo]


class _Mistakes(msgspec.Struct):
    version: int
    score_cut: float
    groups: dict[str, _Group]
    classes: list[_ClassMistakes]


@dataclass(frozen=True)
class Evaluated:
    """An evaluation, and what it is of.

    Attributes:
        place: what the user named, for messages.
        folder: of the evaluation.
        run: the run folder; None for others.
        shown: what the page shows of it.
        classes: the classes of the ground truth.
        ground_truth: annotation file that it was judged by.
        protocol: lvis or coco.
        score_cut: least score of a mistake.
        detections: the file of its detections; None where there is none.
    """

    place: str
    folder: Path
    run: Path | None
    shown: Run
    classes: list[ClassInfo]
    ground_truth: Path
    protocol: str
    score_cut: float
    detections: Path | None


def find_evaluation(name: str | None, workspace: Workspace | None, split: Split) -> tuple[str, Path, Path | None]:
    """What a word of the command line means: a run, a file of `clis export`, or a folder of `clis eval -o`.

    Returns:
        What to call it, the folder of its evaluation, and its run folder or None.

    Raises:
        CheckpointError: there is no such run.
        DataError: it has not been evaluated on the split.
    """
    path = None if name is None else Path(name).expanduser()
    if path is not None and path.suffix in EXPORTED:
        folder = output_folder(path, split)
        _check_evaluated(str(path), folder, f"clis eval {path} --split {split}")
        return path.name, folder, path.parent if is_run(path.parent) else None
    if path is not None and (path / METRICS).is_file():
        return path.absolute().name, path, None
    run = resolve_run(name, workspace)
    _check_evaluated(str(run), run / f"eval-{split}", f"clis eval {run} --split {split}")
    return run.name, run / f"eval-{split}", run


def _check_evaluated(what: str, folder: Path, command: str) -> None:
    if not (folder / METRICS).is_file():
        raise DataError(f"{what} has not been evaluated: there is no {folder / METRICS}.", hint=command)
    if not (folder / "per_class.json").is_file() or not (folder / "mistakes.json").is_file():
        raise DataError(
            f"{folder} lacks per_class.json or mistakes.json: its evaluation is of an older clis.", hint=command
        )


def read_evaluation(title: str, folder: Path, run: Path | None) -> Evaluated:
    """Read the files of an evaluation.

    Args:
        title: what the page calls it.
        folder: of the evaluation.
        run: its run folder, for log and settings.

    Raises:
        ConfigError: the run's config cannot be read.
        DataError: a file is missing, damaged, or of a newer version.
    """
    metrics = _read(folder / METRICS, _Metrics)
    table = _read(folder / "per_class.json", _Classes)
    mistakes = _read(folder / "mistakes.json", _Mistakes)
    for name, version in (("per_class.json", table.version), ("mistakes.json", mistakes.version)):
        if version != 1:
            raise DataError(f"{folder / name} is of version {version}; this clis reads 1.", hint="Update clis.")
    if [c.id for c in table.classes] != [c.id for c in mistakes.classes]:
        raise DataError(f"{folder}: its files are not of one evaluation.", hint=f"Evaluate again: clis eval {title}")
    place = {c.id: n for n, c in enumerate(table.classes)}
    try:
        results = [_result(c, m, place) for c, m in zip(table.classes, mistakes.classes, strict=True)]
        groups = {name: GroupResult(g.AP50, g.dAP50, g.objects) for name, g in mistakes.groups.items()}
        _ = [(g.counts["all"], g.counts["found"]) for g in groups.values()]
    except KeyError as error:
        raise DataError(
            f"{folder / 'mistakes.json'}: {error} is not there.", hint=f"Evaluate again: clis eval {title}"
        ) from None
    detections = folder / DETECTIONS
    return Evaluated(
        place=str(run or folder),
        folder=folder,
        run=run,
        shown=Run(
            name=title,
            step=metrics.step,
            detections=metrics.detections,
            engine=metrics.engine,
            metrics=metrics.metrics,
            classes=results,
            groups=groups,
            notes=metrics.notes,
            log=read_log(run / "log.jsonl") if run else (),
            settings=_settings(run / "config.toml") if run else None,
        ),
        classes=[ClassInfo(c.id, c.name, c.group, c.train_images, c.images, c.objects) for c in table.classes],
        ground_truth=Path(table.ground_truth),
        protocol=table.protocol,
        score_cut=mistakes.score_cut,
        detections=detections if detections.is_file() else None,
    )


def _result(table: _Class, mistakes: _ClassMistakes, place: dict[int, int]) -> ClassResult:
    best = table.best_f1
    return ClassResult(
        ap=table.AP,
        ap50=table.AP50,
        detections=table.detections,
        best_f1=None if best is None else (best.score, best.f1, best.precision, best.recall),
        counts={name: mistakes.objects[name] for name in ("all", "found", "Cls", "Loc", "Miss")},
        taken_for=[(place[x.id], x.objects) for x in mistakes.taken_for],
        given_to=[(place[x.id], x.detections) for x in mistakes.given_to],
    )


def _settings(path: Path) -> dict[str, Any]:
    """A run's config as it stands in its file: a run of an older clis may have keys that this one does not know."""
    return {".".join(key): value for key, value in leaves(read_toml(path))}


def _read(path: Path, form: type[T]) -> T:
    data = read_bytes(path)
    try:
        return msgspec.json.decode(data, type=form)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{path} is no such file of clis eval: {error}.", hint="Run clis eval again.") from None


def distinct_titles(titles: Sequence[str], folders: Sequence[Path]) -> list[str]:
    """Titles that tell runs of the same name apart, by as many folders above as it takes."""
    found = list(titles)
    paths = [folder.absolute() for folder in folders]
    depth = 1
    while len(set(found)) < len(found) and depth < 20:
        twice = {title for title in found if found.count(title) > 1}
        for n, title in enumerate(found):
            if title in twice:
                above = paths[n].parts[-depth - 1 : -1] if len(paths[n].parts) > depth else paths[n].parts
                found[n] = "/".join([*above, titles[n]])
        depth += 1
    return found


def renamed(evaluated: Evaluated, title: str) -> Evaluated:
    """The same under another title."""
    return replace(evaluated, shown=replace(evaluated.shown, name=title))

"""`clis data check`: annotations, images and shards in, everything that is wrong with them out."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clis_core.config.data import DataConfig
from clis_core.data.check.boxes import Usable, check_boxes, check_images
from clis_core.data.check.classes import check_classes, check_federated
from clis_core.data.check.copies import Copies
from clis_core.data.check.files import Files, find_files, look_at_files
from clis_core.data.check.findings import Finding, Findings
from clis_core.data.check.pictures import Mapped, look_at_pictures, map_categories, open_shards
from clis_core.data.check.raw_file import RawFile
from clis_core.data.check.raw_json import read_raw
from clis_core.data.check.rules import RULES
from clis_core.data.check.splits import check_splits
from clis_core.data.layout import SplitName, find_dataset, image_folders, json_of
from clis_core.data.shards.reader import Shards
from clis_core.data.voc import is_voc
from clis_core.errors import ConfigError
from clis_core.report import Reporter

FORMAT = 1
"""Of the json; raised when a field changes its meaning."""


@dataclass(frozen=True)
class CheckOptions:
    """What is looked at.

    Attributes:
        files: look at image files and pictures as well, not at annotations alone.
        sample: look at so many files of each split and pictures of the shards; None: at all.
        workers: threads that look at files.
        ignore: codes that are not told.
    """

    files: bool = True
    sample: int | None = None
    workers: int = 2
    ignore: Collection[str] = ()


@dataclass
class CheckReport:
    """What was found.

    Attributes:
        findings: errors first, then warnings, then notes.
        checked: what was looked at, by split and for the shards.
        mapping: which category of the shards is which class; empty without shards.
    """

    findings: list[Finding] = field(default_factory=list)
    checked: dict[str, dict[str, Any]] = field(default_factory=dict)
    mapping: list[Mapped] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """Kinds of faults by severity."""
        found = Counter(finding.rule.severity for finding in self.findings)
        return {severity: found[severity] for severity in ("error", "warning", "note")}

    def to_record(self) -> dict[str, Any]:
        """For json."""
        return {
            "format": FORMAT,
            "counts": self.counts(),
            "checked": self.checked,
            "findings": [finding.to_record() for finding in self.findings],
            "mapping": [mapped._asdict() for mapped in self.mapping],
        }


@dataclass
class _Checked:
    """A split that was read; without ``files`` where its images are not looked at, or in no folder."""

    file: RawFile
    files: Files | None


def check_data(data: DataConfig, shards: Path | None, options: CheckOptions, *, reporter: Reporter) -> CheckReport:
    """Look for everything that would spoil training or evaluation, and go on past each fault.

    Args:
        data: where the data are; ``exif`` says whether images are turned.
        shards: a folder of shards for these data; None for none.
        options: what is looked at.
        reporter: gets progress.

    Raises:
        ConfigError: no data set is named, or there is no such code to ignore.
        DataError: there is no such data set, or it cannot be told which file is its json.
    """
    unknown = sorted(set(options.ignore) - set(RULES))
    if unknown:
        raise ConfigError(f"There is no code {', '.join(unknown)}.", hint="Codes are as in --ignore D207,D506")
    report, findings = CheckReport(), Findings(options.ignore)
    splits: dict[SplitName, _Checked] = {}
    for split, path in _jsons(data).items():
        if path is None:
            findings.add("D006", split, data.root or "", "", f"no json for {split} was found or named")
        else:
            splits[split] = _check_split(path, split, data, options, findings, report)
    if "train" in splits and "val" in splits:
        check_splits(splits["train"].file, splits["val"].file, findings)
    opened = open_shards(shards, findings) if shards is not None else None
    if opened is not None:
        first = splits.get("train") or splits["val"]
        report.mapping = map_categories(opened, first.file.categories, findings)
        report.checked["shards"] = {"folder": str(opened.folder), "pictures": len(opened), "looked_at": 0}
    if options.files:
        _look(splits, opened, data, options, findings, report, reporter)
    report.findings = findings.result()
    return report


def _jsons(data: DataConfig) -> dict[SplitName, Path | None]:
    if data.root is not None and data.train is None and data.val is None:
        layout = find_dataset(data.root)
        return {"train": layout.train, "val": layout.val}
    found: dict[SplitName, Path | None] = {"train": json_of(data, "train"), "val": json_of(data, "val")}
    if not any(found.values()):
        raise ConfigError(
            "Nothing says what to check: no DATA, and no data set in a clis.toml here or above.",
            hint="clis data check DIR, or clis data check train.json",
        )
    return found


def _check_split(
    path: Path, split: SplitName, data: DataConfig, options: CheckOptions, findings: Findings, report: CheckReport
) -> _Checked:
    if is_voc(path):
        raise ConfigError(
            f"{path} is of PASCAL VOC; what is checked here are the jsons of LVIS and COCO.",
            hint="VOC's files are checked as they are read: clis doctor --data DIR",
        )
    file = read_raw(path, split, findings)
    usable = check_boxes(file, split, findings)
    check_images(file, usable, split, findings)
    check_classes(file, usable, split, findings)
    check_federated(file, usable, split, findings)
    report.checked[split] = _figures(file, usable)
    if not options.files:
        return _Checked(file, None)
    explicit = data.train_images if split == "train" else data.val_images
    return _Checked(file, find_files(file, image_folders(explicit, path, data.root), split, findings))


def _figures(file: RawFile, usable: Usable) -> dict[str, Any]:
    return {
        "file": str(file.path),
        "images": len(file.image_ids),
        "annotations": len(file.ids),
        "usable_boxes": len(usable.boxes),
        "categories": len(file.categories),
        "federated": file.is_lvis,
        "looked_at": 0,
    }


def _look(
    splits: dict[SplitName, _Checked],
    shards: Shards | None,
    data: DataConfig,
    options: CheckOptions,
    findings: Findings,
    report: CheckReport,
    reporter: Reporter,
) -> None:
    """Look at files: val's first, since the others are compared with them."""
    copies, sample, workers = Copies(findings), options.sample, options.workers
    order: tuple[SplitName, ...] = ("val", "train")
    for split in order:
        files = splits[split].files if split in splits else None
        if files is None:
            continue
        add = copies.add_val if split == "val" else copies.add_train
        with contextlib.closing(
            look_at_files(
                files,
                sample=sample,
                exif=data.exif,
                workers=workers,
                where=split,
                findings=findings,
                reporter=reporter,
            )
        ) as seen:
            for index, look in seen:
                add(files.path(index), f"{files.file.path}, {files.file.image(index)}", look)
                report.checked[split]["looked_at"] += 1
    if shards is None:
        return
    with contextlib.closing(
        look_at_pictures(shards, sample=sample, workers=workers, findings=findings, reporter=reporter)
    ) as pictures:
        for file, key, look in pictures:
            copies.add_picture(file, key, look)
            report.checked["shards"]["looked_at"] += 1

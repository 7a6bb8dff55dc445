"""The annotation files of train and val go in; where they do not agree about the classes is noted."""

from __future__ import annotations

from clis_core.data.check.findings import Findings
from clis_core.data.check.raw_file import RawFile


def check_splits(train: RawFile, val: RawFile, findings: Findings) -> None:
    """Check that an id means the same class in both files, and is in both."""
    if not (train.complete and val.complete):
        return
    ours = {c.id: c for c in reversed(train.categories)}
    theirs = {c.id for c in val.categories} | val.faulty["categories"]
    for k, category in enumerate(val.categories):
        same = ours.get(category.id)
        if same is None and category.id in train.faulty["categories"]:
            continue
        if same is None:
            findings.add("D501", "val", val.path, val.category(k), f"{category.name!r} is not in {train.path}")
        elif same.name != category.name:
            findings.add("D501", "val", val.path, val.category(k), f"{category.name!r}, but {same.name!r} in train")
        elif None not in (same.frequency, category.frequency) and same.frequency != category.frequency:
            text = f"{category.name!r}: {category.frequency!r}, but {same.frequency!r} in train"
            findings.add("D503", "val", val.path, val.category(k), text)
    for k, category in enumerate(train.categories):
        if category.id not in theirs:
            findings.add("D502", "train", train.path, train.category(k), f"{category.name!r}")

"""One set of pictures in every packing: the same members, the same when reading goes on from any position."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from clis_core.data.sources.member import START, Member, Position, Source
from clis_core.data.sources.open import open_source, open_sources
from tests.pack import PACKINGS, WNIDS, Item, class_folders, class_tars, draw_items, tar_of_tars

ITEMS = draw_items()


def everything(label: str) -> bool:
    return True


def items_of(members: list[Member]) -> list[Item]:
    assert all(m.problem is None for m in members)
    return [Item(m.label, m.name, m.data or b"") for m in members]


@pytest.fixture(params=list(PACKINGS))
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    packed = PACKINGS[request.param](tmp_path / "in", ITEMS)
    return open_source(packed.path, **packed.arguments)


def test_the_same_members(source: Source) -> None:
    members = list(source.members(everything))
    assert sorted(items_of(members)) == sorted(ITEMS)
    assert members == list(source.members(everything))
    assert all(b.after > a.after for a, b in pairwise(members))
    assert source.kind


def test_labels_and_size(source: Source) -> None:
    assert source.labels() in (None, sorted(WNIDS))
    total = sum(len(item.data) for item in ITEMS)
    assert total / 4 < source.size(everything) < total + 60_000  # small JPEGs can be packed, and tars have padding
    assert source.size(lambda label: False) >= 1


@pytest.mark.parametrize("labels", [set(WNIDS), {WNIDS[1]}, {WNIDS[0], WNIDS[2]}, set()])
def test_going_on_from_every_position(source: Source, labels: set[str]) -> None:
    whole = list(source.members(everything))
    starts = [START, *(m.after for m in whole)]
    for read, start in enumerate(starts):
        rest = list(source.members(lambda label: label in labels, start))
        assert rest == [m for m in whole[read:] if m.label in labels]


def test_wanted_may_change_its_mind(source: Source) -> None:
    taken: Counter[str] = Counter()

    def fewer_than_two(label: str) -> bool:
        return taken[label] < 2

    for member in source.members(fewer_than_two):
        taken[member.label] += 1
    assert taken == dict.fromkeys(WNIDS, 2)


def test_size_of_what_is_wanted(tmp_path: Path) -> None:
    for name in ("class tars", "tar of tars", "class folders", "ImageNet-21K-P", "CSV", "image json"):
        packed = PACKINGS[name](tmp_path / name, ITEMS)
        source = open_source(packed.path, **packed.arguments)
        exact = sum(len(item.data) for item in ITEMS if item.label == WNIDS[0])
        one = source.size(lambda label: label == WNIDS[0])
        assert exact <= one <= exact + 12_000
        assert one < source.size(everything)
        assert source.size(lambda label: False) == 1


def test_several_sources(tmp_path: Path) -> None:
    paths = [
        class_tars(tmp_path / "tars", ITEMS[:6]),
        tar_of_tars(tmp_path / "whole.tar.gz", ITEMS[6:9], "w:gz"),
        class_folders(tmp_path / "folders", ITEMS[9:]),
    ]
    source = open_sources(paths)
    whole = list(source.members(everything))
    assert items_of(whole) == sorted(ITEMS[:6]) + sorted(ITEMS[6:9]) + sorted(ITEMS[9:])
    assert source.kind == "class tars and tar of class tars and class folders"
    assert source.labels() is None
    assert source.size(everything) == sum(open_source(p).size(everything) for p in paths)
    for read, start in enumerate([START, *(m.after for m in whole)]):
        assert list(source.members(everything, start)) == whole[read:]
    assert open_sources([paths[0], paths[2]]).labels() == sorted(WNIDS)


def test_a_position_survives_json(tmp_path: Path) -> None:
    source = open_sources([class_tars(tmp_path / "a", ITEMS), class_folders(tmp_path / "b", ITEMS)])
    whole = list(source.members(everything))
    assert max(m.after.part for m in whole) < 2**53
    assert list(source.members(everything, Position(*list(whole[15].after)))) == whole[16:]


def test_photographs_of_class_tars(tinylvis: Path) -> None:
    source = open_source(tinylvis / "imagenet")
    members = list(source.members(everything))
    assert len(members) == 5947
    assert all(m.problem is None and m.name.startswith(m.label) for m in members)
    assert source.labels() == sorted({m.label for m in members})


def test_photographs_of_class_folders(cocosmall: Path) -> None:
    source = open_source(cocosmall / "images_by_class")
    assert source.kind == "class folders"  # one of the classes is called train
    counts = Counter(m.label for m in source.members(everything))
    assert len(counts) == 37
    assert counts.total() == 2101
    assert list(counts) == source.labels()

"""Categories and their meanings: what comes with clis, what a json says, which classes of ImageNet they are."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from clis_core.categories import Category
from clis_core.data import taxonomy
from clis_core.data.annotations import load_annotations
from clis_core.data.taxonomy import Concept, concepts, fallback_query, in_imagenet, match_wnids, query, wnid_of
from clis_core.errors import ConfigError, DataError


@pytest.fixture
def shared_taxonomy() -> Path:
    """Folder of the lists that the built-in tables are checked against."""
    folder = (Path(__file__).parents[2] / "../shared/taxonomy").resolve()
    if not folder.is_dir():
        pytest.skip("the shared lists are not beside this checkout")
    return folder


def json_file(path: Path, categories: list[dict[str, Any]], labels: Sequence[int] = (), **more: Any) -> Path:
    """A json whose k-th image holds one box of the category labels[k]."""
    images = [{"id": k, "width": 9, "height": 9, "file_name": f"{k}.jpg"} for k in range(max(1, len(labels)))]
    boxes = [{"id": k, "image_id": k, "category_id": c, "bbox": [0, 0, 3, 3]} for k, c in enumerate(labels)]
    path.write_text(json.dumps({"images": images, "annotations": boxes, "categories": categories} | more))
    return path


def concept(number: int, name: str, synset: str | None = None, definition: str = "") -> Concept:
    return Concept(Category(number, name, synset), (), definition)


@pytest.mark.parametrize(
    ("which", "number", "matched", "groups", "held"),
    [
        ("v1", 1203, 997, {"r": 277, "c": 390, "f": 330}, {"r": 337, "c": 461, "f": 405}),
        ("v0.5", 1230, 1024, {"r": 385, "c": 387, "f": 252}, {"r": 454, "c": 461, "f": 315}),
    ],
)
def test_lvis_in_imagenet(which: str, number: int, matched: int, groups: dict[str, int], held: dict[str, int]) -> None:
    found = concepts(which)
    assert len(found) == number
    assert Counter(c.category.group for c in found) == held
    match = match_wnids(found)
    assert len(match.by_wnid) == matched
    assert Counter(c.group for c in match.by_wnid.values()) == groups
    assert {c.id for c in match.by_wnid.values()} | match.unmatched.keys() == {c.category.id for c in found}
    assert len(match.by_wnid) + len(match.unmatched) == number


def test_lvis_v1_has_everything() -> None:
    found = concepts("v1")
    assert [c.category.id for c in found] == list(range(1, 1204))
    assert found[0] == Concept(
        Category(1, "aerosol_can", "aerosol.n.02", "c", 64),
        ("aerosol_can", "spray_can"),
        "a dispenser that holds a substance under pressure",
    )
    assert all(c.definition and c.synonyms and c.category.images for c in found)


def test_lvis_v05_states_no_image_counts() -> None:
    assert {c.category.images for c in concepts("v0.5")} == {None}


def test_other_release() -> None:
    with pytest.raises(ConfigError, match="v2") as caught:
        concepts("v2")
    assert "v0.5" in str(caught.value.hint)


def test_imagenet_table() -> None:
    table = taxonomy._wnids()
    wnids = [wnid for wnid, _ in table.values() if wnid]
    assert sum(held for _, held in table.values()) == 21_841
    assert len(set(wnids)) == len(wnids)
    assert all(re.fullmatch(r"n\d{8}", wnid) for wnid in wnids)
    assert [synset for synset, (wnid, _) in table.items() if not wnid] == ["stop_sign.n.01"]


def test_wnids() -> None:
    assert wnid_of("zebra.n.01") == "n02391049"
    assert wnid_of("stop_sign.n.01") is None
    assert wnid_of("no_such_thing.n.01") is None
    assert in_imagenet("n02391049")
    assert wnid_of("kite.n.03") == "n03621473"
    assert not in_imagenet("n03621473")
    assert not in_imagenet("n99999999")


def test_reasons() -> None:
    lacking = [
        concept(1, "zebra", "zebra.n.01"),
        concept(2, "thing"),
        concept(3, "stop sign", "stop_sign.n.01"),
        concept(4, "kite", "kite.n.03"),
        concept(5, "gizmo", "gizmo.n.77"),
        concept(6, "cat", "cat.n.01"),
    ]
    match = match_wnids(lacking, ["n02391049", "n01440764"])
    assert match.by_wnid == {"n02391049": lacking[0].category}
    assert match.unmatched == {
        2: "no synset",
        3: "synset stop_sign.n.01 is not in WordNet 3.0",
        4: "n03621473 is not among ImageNet's 21,841 classes",
        5: "synset gizmo.n.77 is not among ImageNet's 21,841 classes",
        6: "the source has no n02121620",
    }


def test_the_source_decides_what_it_holds() -> None:
    kite = concept(4, "kite", "kite.n.03")
    assert match_wnids([kite]).by_wnid == {}
    assert match_wnids([kite], ["n03621473"]).by_wnid == {"n03621473": kite.category}


def test_two_categories_of_one_synset_are_not_guessed() -> None:
    match = match_wnids([concept(1, "zebra", "zebra.n.01"), concept(2, "quagga", "zebra.n.01"), concept(3, "x")])
    assert match.by_wnid == {}
    assert match.unmatched[1] == match.unmatched[2] == "another category has its synset zebra.n.01 too"


def test_a_file_with_all_fields(tmp_path: Path) -> None:
    zebra = {"id": 7, "name": "zebra", "synset": "zebra.n.01", "synonyms": ["zebra", "stripy"], "def": "an equine"}
    path = json_file(
        tmp_path / "a.json",
        [zebra | {"frequency": "f", "image_count": 3}, {"id": 2, "name": "cat", "image_count": 30, "frequency": "x"}],
        annotations="is not read",
    )
    assert concepts(path) == [
        Concept(Category(2, "cat", None, "c", 30)),
        Concept(Category(7, "zebra", "zebra.n.01", "f", 3), ("zebra", "stripy"), "an equine"),
    ]


def test_counts_that_a_file_lacks_are_counted(tmp_path: Path) -> None:
    categories: list[dict[str, Any]] = [{"id": 5, "name": "a"}, {"id": 3, "name": "b", "image_count": 500}]
    path = json_file(tmp_path / "a.json", [*categories, {"id": 9, "name": "c"}], [5] * 12 + [3] + [9])
    assert [c.category for c in concepts(path)] == [
        Category(3, "b", None, "f", 500),
        Category(5, "a", None, "c", 12),
        Category(9, "c", None, "r", 1),
    ]
    for count in (-1, True, "7", None):
        wrong = json_file(tmp_path / "c.json", [{"id": 1, "name": "a", "image_count": count}], [1, 1])
        assert [c.category.images for c in concepts(wrong)] == [2]
    plain = json_file(tmp_path / "b.json", [{"id": 5, "name": "a"}, {"id": 3, "name": "b"}], [5] * 12 + [3])
    table = load_annotations(plain, None)
    assert [c.category for c in concepts(plain)] == list(table.categories.with_counts(table.image_counts()))


def test_coco_categories_have_their_synsets(tmp_path: Path) -> None:
    coco = [{"id": 74, "name": "mouse"}, {"id": 73, "name": "mouse"}, {"id": 24, "name": "Zebra"}]
    mouse = next(c for c in concepts(json_file(tmp_path / "a.json", coco)) if c.category.id == 74)
    assert mouse.category.synset == "mouse.n.04"
    assert "on-screen pointer" in mouse.definition
    others = [c for c in concepts(tmp_path / "a.json") if c.category.id != 74]
    assert {c.category.synset for c in others} == {None}, "the name alone says nothing"
    own = [{"id": 74, "name": "mouse", "synset": "mouse.n.01"}]
    assert concepts(json_file(tmp_path / "b.json", own))[0] == Concept(Category(74, "mouse", "mouse.n.01", "r", 0))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "empty"),
        ("[1, 2]", "holds a list"),
        ("{}", "categories"),
        ('{"categories": []}', "no categories"),
        ('{"categories": [{"id": 1}]}', r"categories\[0\]"),
        ('{"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}', "occurs twice"),
        ('{"categories": [{"id": 1, "name": "a", "synonyms": "b"}]}', "synonyms"),
        ('{"categories": [{"id": 1, "name": "a"', "cut short"),
        ('{"categories": [{"id": 1, "name": "a"}]}', "images"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(DataError, match=words) as caught:
        concepts(path)
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_a_file_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = json_file(tmp_path / "a.json", [{"id": 1, "name": "a", "image_count": 2}])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert [c.category.name for c in concepts(path)] == ["a"]


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        concepts(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("name", "definition", "full", "short"),
    [
        ("zebra", "a striped equine", "zebra a striped equine", "zebra"),
        ("hot_dog", "", "hot dog", "hot dog"),
        ("bow_(weapon)", "a weapon for arrows", "bow weapon a weapon for arrows", "bow weapon"),
        ("crate", "a box (usually of wood); for shipping", "crate a box ; for shipping", "crate"),
        ("mouse_(for computers) pointer", "", "mouse pointer for computers", "mouse pointer for computers"),
    ],
)
def test_queries(name: str, definition: str, full: str, short: str) -> None:
    made = concept(1, name, definition=definition)
    assert query(made) == full
    assert fallback_query(made) == short


def test_queries_are_those_of_the_list(shared_taxonomy: Path) -> None:
    with (shared_taxonomy / "lvis_v1_queries.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(c.category.id, c.category.name) for c in concepts("v1")] == [(int(r["lvis_id"]), r["name"]) for r in rows]
    assert [query(c) for c in concepts("v1")] == [r["query_name_def"] for r in rows]
    assert [fallback_query(c) for c in concepts("v1")] == [r["query_name"] for r in rows]


def test_tables_are_those_of_the_lists(shared_taxonomy: Path) -> None:
    wnids = (shared_taxonomy / "imagenet22k_wnids.txt").read_text().split()
    assert taxonomy._imagenet() == set(wnids)
    assert len(match_wnids(concepts("v1"), wnids).by_wnid) == 997
    assert len(match_wnids(concepts("v0.5"), wnids).by_wnid) == 1024
    for line in (shared_taxonomy / "lvis_synset_to_wnid.tsv").read_text().splitlines():
        if not line.startswith("#"):
            synset, wnid, held = line.split("\t")
            assert wnid_of(synset) == (wnid or None)
            assert in_imagenet(wnid) == (held == "1")
    for which, name in (("v1", "lvis_v1_categories.json"), ("v0.5", "lvis_v05_categories.json")):
        for ours, theirs in zip(concepts(which), json.loads((shared_taxonomy / name).read_text()), strict=True):
            category = ours.category
            assert (category.id, category.name, category.synset) == (theirs["id"], theirs["name"], theirs["synset"])
            assert (category.group, category.images) == (theirs["frequency"], theirs.get("image_count"))
            assert (list(ours.synonyms), ours.definition) == (theirs["synonyms"], theirs["def"])


def test_real_files(tinylvis: Path, cocosmall: Path) -> None:
    ours = concepts(tinylvis / "lvis_train.json")
    official = {c.category.id: c for c in concepts("v1")}
    assert len(match_wnids(ours).by_wnid) == len(ours) == 71
    assert all(c.synonyms == official[c.category.id].synonyms for c in ours)
    held = [path.stem for path in (tinylvis / "imagenet").glob("*.tar")]
    match = match_wnids(ours, held)
    assert len(match.unmatched) == 6
    assert all(reason.startswith("the source has no n") for reason in match.unmatched.values())
    coco = concepts(cocosmall / "instances_train.json")
    assert len(coco) == 80
    assert all(c.category.synset and c.definition for c in coco)
    assert len(match_wnids(coco).by_wnid) == 68

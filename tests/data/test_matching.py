"""Labels and categories: what fits, what is refused, what a map file may say."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clis_core.categories import Category
from clis_core.data import map_file
from clis_core.data.map_file import read_map
from clis_core.data.matching import Match, check, did_you_mean, match_names, matching_json, rows
from clis_core.data.taxonomy import Concept, concepts
from clis_core.errors import DataError


def concept(number: int, name: str, synset: str | None = None, synonyms: tuple[str, ...] = ()) -> Concept:
    return Concept(Category(number, name, synset), synonyms)


ZEBRA = concept(3, "zebra", "zebra.n.01", ("zebra", "stripy_horse"))
TRUCK = concept(7, "Fire-truck", "fire_engine.n.01", ("Fire-truck", "fire engine"))
CAFE = concept(9, "café")
BAT = concept(11, "bat_(animal)", "bat.n.01", ("bat_(animal)", "club"))
CLUB = concept(12, "golf_club", "golf_club.n.02", ("golf_club", "club"))
WORLD = [ZEBRA, TRUCK, CAFE, BAT, CLUB]


def file(folder: Path, text: str, name: str = "map.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def refused(folder: Path, text: str, name: str = "map.csv", labels: tuple[str, ...] = ("zebra", "lorry")) -> str:
    path = file(folder, text, name)
    with pytest.raises(DataError) as caught:
        match_names(labels, WORLD, path)
    assert str(path) in caught.value.message
    assert caught.value.hint
    return caught.value.message


@pytest.mark.parametrize(
    ("label", "found", "how"),
    [
        ("zebra", ZEBRA, "name"),
        ("ZEBRA", ZEBRA, "spelling"),
        ("fire_truck", TRUCK, "spelling"),
        ("fire  truck ", TRUCK, "spelling"),
        ("FIRE ENGINE", TRUCK, "synonym"),
        ("stripy horse", ZEBRA, "synonym"),
        (unicodedata.normalize("NFD", "café"), CAFE, "spelling"),
        ("zebra.n.01", ZEBRA, "synset"),
        ("n02391049", ZEBRA, "wnid"),
    ],
)
def test_ways_to_fit(label: str, found: Concept, how: str) -> None:
    assert match_names([label], WORLD).matched == {label: Match(found.category, how)}


@pytest.mark.parametrize("label", ["zebras", "firetruck", "bat", "cafe", "n0239104", "zebra.n.02", "", "_"])
def test_nothing_is_guessed(label: str) -> None:
    match = match_names([label], WORLD)
    assert match.unmatched.keys() == {label}
    assert (match.matched, match.ambiguous) == ({}, {})


def test_reasons() -> None:
    assert match_names(["n01440764", "17", "lorry"], WORLD).unmatched == {
        "n01440764": "no category has this WordNet id",
        "17": "a number: which category it means has to be said in a map file",
        "lorry": "no category has this name, synonym or synset",
    }


def test_several_labels_may_be_one_category_and_keep_their_order() -> None:
    match = match_names(["zebra", "n02391049", "x", "Zebra", "zebra"], WORLD)
    assert list(match.matched) == ["zebra", "n02391049", "Zebra"]
    assert {found.category for found in match.matched.values()} == {ZEBRA.category}


def test_the_first_level_that_fits_decides() -> None:
    other = concept(20, "stripy horse", None, ("zebra",))
    match = match_names(["zebra", "stripy_horse", "Stripy Horse"], [*WORLD, other])
    assert match.matched["zebra"] == Match(ZEBRA.category, "name"), "though it is a synonym of the other"
    assert match.matched["stripy_horse"] == Match(other.category, "spelling")
    assert not match.ambiguous


def test_a_label_that_fits_several_is_refused() -> None:
    match = match_names(["club", "zebra"], WORLD)
    assert match.ambiguous == {"club": [BAT.category, CLUB.category]}
    assert "club" not in match.matched
    with pytest.raises(DataError) as caught:
        check(match, WORLD)
    assert "'club': bat_(animal) (id 11) or golf_club (id 12)" in caught.value.message
    assert caught.value.hint is not None
    assert caught.value.hint.endswith("--map FILE:\nlabel,category\nclub,11")


def test_names_of_nothing_but_signs_are_not_alike() -> None:
    assert match_names(["-"], [concept(1, "_")]).unmatched.keys() == {"-"}


def test_one_category_that_fits_twice_is_not_ambiguous() -> None:
    one = concept(1, "putter", None, ("golf_club", "golf-club"))
    assert match_names(["golf club"], [one]).matched == {"golf club": Match(one.category, "synonym")}


@pytest.mark.parametrize("name", ["zebra", "Zebra"])
def test_categories_of_one_name_are_ambiguous(name: str, tmp_path: Path) -> None:
    twins = [concept(1, name), concept(2, name)]
    assert match_names(["zebra"], twins).ambiguous == {"zebra": [c.category for c in twins]}
    settled = match_names(["zebra"], twins, file(tmp_path, "label,category\nzebra,2"))
    assert settled.matched == {"zebra": Match(twins[1].category, "map")}
    with pytest.raises(DataError, match=r"line 2: .* \(id 1\) or .* \(id 2\)"):
        match_names(["zebra"], twins, file(tmp_path, f"label,category\nzebra,{name}"))


def test_the_hint_of_an_ambiguous_match_settles_it(tmp_path: Path) -> None:
    labels = ["club", "CLUB"]
    with pytest.raises(DataError) as caught:
        check(match_names(labels, WORLD), WORLD)
    lines = str(caught.value.hint).partition("FILE:\n")[2]
    match = match_names(labels, WORLD, file(tmp_path, lines))
    check(match, WORLD)
    assert match.matched == {label: Match(BAT.category, "map") for label in labels}


def test_no_label_that_fits() -> None:
    with pytest.raises(DataError) as caught:
        check(match_names(["zebras", "lorry", *map(str, range(20))], WORLD), WORLD)
    assert "None of the 22 labels" in caught.value.message
    assert "'zebras' (did you mean 'zebra'?), 'lorry', '0'" in caught.value.message
    assert "and 12 more" in caught.value.message
    with pytest.raises(DataError, match="no labels"):
        check(match_names([], WORLD), WORLD)
    check(match_names(["lorry", "zebra"], WORLD), WORLD)


def test_did_you_mean() -> None:
    assert did_you_mean("zebbra", WORLD) == ["zebra"]
    assert did_you_mean("stripey horse", WORLD) == ["zebra"]
    assert did_you_mean("Fire Trucks", WORLD)[0] == "Fire-truck"
    assert did_you_mean("lorry", WORLD) == []
    assert did_you_mean("n02391048", [*WORLD, concept(1, "n02391049")]) == []


MAPS = {
    "map.csv": 'label,category\nlorry,Fire-truck\n"big, striped",3\n\nclub, golf club \nzebra, "-"\nbat,\n',
    "excel.csv": '\ufeffLabel;Category\r\nlorry;7\r\n"big, striped";3\r\nclub;12\r\nzebra;-\r\nbat;\r\n',
    "tabs.tsv": "label\tcategory\nlorry\tfire truck\nbig, striped\tzebra\nclub\t12\nzebra\t-\nbat\t\n",
    "map.json": '{"lorry": 7, "big, striped": "zebra", "club": "golf_club", "zebra": null, "bat": "-"}',
}


@pytest.mark.parametrize("name", MAPS)
def test_map_files(tmp_path: Path, name: str) -> None:
    labels = ["lorry", "big, striped", "club", "zebra", "bat", "café"]
    match = match_names(labels, WORLD, file(tmp_path, MAPS[name], name))
    assert match.matched == {
        "lorry": Match(TRUCK.category, "map"),
        "big, striped": Match(ZEBRA.category, "map"),
        "club": Match(CLUB.category, "map"),
        "café": Match(CAFE.category, "name"),
    }
    assert match.unmatched == dict.fromkeys(["zebra", "bat"], "left out by the map file")
    assert not match.ambiguous


def test_labels_in_a_map_may_write_letters_another_way(tmp_path: Path) -> None:
    label = unicodedata.normalize("NFD", "mañana")
    assert match_names([label], WORLD, file(tmp_path, "label,category\nmañana,3")).matched[label].how == "map"


def test_a_name_that_is_another_categorys_id(tmp_path: Path) -> None:
    world = [concept(5, "6"), concept(6, "six")]
    with pytest.raises(DataError, match=r"'6' could be 6 \(id 5\) or six \(id 6\)"):
        match_names(["x"], world, file(tmp_path, "label,category\nx,6"))
    assert match_names(["x"], world, file(tmp_path, '{"x": 6}', "m.json")).matched["x"].category.id == 6
    assert match_names(["x"], world, file(tmp_path, "label,category\nx,5")).matched["x"].category.id == 5


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("m.csv", "label,category\nzebra,3\nlory,7\n", ["line 3", "'lory'", "did you mean 'lorry'"]),
        ("m.csv", "label,category\nlorry,Fire-trck\n", ["line 2", "'Fire-trck'", "did you mean 'Fire-truck'"]),
        ("m.csv", "label,category\nlorry,99\n", ["line 2", "no category '99'"]),
        ("m.csv", "label,category\nzebra,3\n\nzebra,7\n", ["line 4", "mapped before", "line 2"]),
        ("m.csv", "label,category\nzebra,3\nzebra ,7\n", ["line 3", "mapped before"]),
        ("m.csv", "label,category\nzebra\n", ["line 2", "1 columns"]),
        ("m.csv", "label,category\nbig, zebra,3\n", ["line 2", "3 columns"]),
        ("m.csv", 'label,category\n"zebra,3\n', ["line 2"]),
        ("m.csv", 'label,category\n"zebra"s,3\n', ["line 2", "expected after"]),
        ("m.csv", "zebra,3\n", ["line 1", "header"]),
        ("m.csv", "", ["line 1", "header"]),
        ("m.csv", "label,category\n" + "x" * 200_000 + ",3\n", ["line 2", "limit"]),
        ("m.csv", "label,category\nze\0bra,3\n", ["line 2"]),
        ("m.json", '{"zebra": 3', ["not json"]),
        ("m.json", '["zebra"]', ["object"]),
        ("m.json", '{"zebra": {"id": 3}}', ["'zebra'", "a name, an id or null"]),
        ("m.json", '{"zebra": true}', ["'zebra'", "a name, an id or null"]),
        ("m.json", '{"zebra": 3.0}', ["'zebra'", "a name, an id or null"]),
        ("m.json", '{"zebra": 3, "zebra": 7}', ["'zebra'", "mapped before"]),
        ("m.json", '{"lory": 7}', ["'lory'", "did you mean 'lorry'"]),
        ("m.json", '{"zebra": ' + "[" * 100_000, ["not json"]),
    ],
)
def test_maps_that_are_refused(tmp_path: Path, name: str, text: str, words: list[str]) -> None:
    message = refused(tmp_path, text, name)
    assert [word for word in words if word not in message] == []


def test_maps_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            read_map(path)
    (tmp_path / "utf16.csv").write_bytes("label,category\n".encode("utf-16"))
    with pytest.raises(DataError, match="not UTF-8") as caught:
        read_map(tmp_path / "utf16.csv")
    assert "CSV UTF-8" in str(caught.value.hint)
    monkeypatch.setattr(map_file, "MAX_BYTES", 20)
    with pytest.raises(DataError, match="larger than"):
        read_map(file(tmp_path, "label,category\nzebra,3\n"))


@given(st.binary(max_size=60), st.sampled_from(["m.csv", "m.json"]), st.sampled_from([b"", b"label,category\n", b"{"]))
def test_any_bytes_are_a_map_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str, start: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(start + data)
    hint: str | None = "none needed"
    try:
        match_names(["zebra"], WORLD, path)
    except DataError as error:
        hint = error.hint
    assert hint


def test_rows_and_json() -> None:
    match = match_names(["n02391049", "club", "zebbra", "lorry"], WORLD)
    assert rows(match, WORLD) == [
        ("n02391049", "zebra (id 3)", "wnid"),
        ("club", "bat_(animal) (id 11) or golf_club (id 12)", "ambiguous"),
        ("zebbra", "", "no category has this name, synonym or synset (did you mean 'zebra'?)"),
        ("lorry", "", "no category has this name, synonym or synset"),
    ]
    assert json.loads(matching_json(match, WORLD)) == {
        "matched": [{"label": "n02391049", "category_id": 3, "category": "zebra", "how": "wnid"}],
        "ambiguous": [
            {
                "label": "club",
                "categories": [
                    {"category_id": 11, "category": "bat_(animal)"},
                    {"category_id": 12, "category": "golf_club"},
                ],
            }
        ],
        "unmatched": [
            {
                "label": label,
                "reason": "no category has this name, synonym or synset",
                "did_you_mean": near,
            }
            for label, near in (("zebbra", ["zebra"]), ("lorry", []))
        ],
    }


def test_lvis_matches_itself() -> None:
    lvis = concepts("v1")
    for how, labels in (
        ("name", [c.category.name for c in lvis]),
        ("spelling", [c.category.name.replace("_", "-").upper() + " " for c in lvis]),
        ("synset", [str(c.category.synset) for c in lvis]),
    ):
        match = match_names(labels, lvis)
        assert [(found.category.id, found.how) for found in match.matched.values()] == [
            (c.category.id, how) for c in lvis
        ]


def test_coco_pictures_by_folder(cocosmall: Path) -> None:
    coco = concepts(cocosmall / "instances_train.json")
    folders = sorted(path.name for path in (cocosmall / "images_by_class").iterdir())
    match = match_names(folders, coco)
    assert len(match.matched) == len(folders) == 37
    assert {found.how for found in match.matched.values()} == {"name"}
    assert all(found.category.name == label for label, found in match.matched.items())
    coded = match_names(["n02391049", "sofa.n.01"], coco)
    assert [found.category.name for found in coded.matched.values()] == ["zebra", "couch"]

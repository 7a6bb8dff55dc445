"""`clis presets`: the list, one of them, and what differs between two."""

import json
import tomllib
from typing import Any

import pytest

from clis_core.config.load import preset_layer, resolve
from clis_core.config.presets import PRESETS


def test_the_list(clis: Any) -> None:
    assert [line.split()[0] for line in clis("presets").out.splitlines()] == list(PRESETS)
    assert list(json.loads(clis("presets", "--json").out)) == list(PRESETS)


def test_one_of_them(clis: Any) -> None:
    config = resolve([preset_layer("clis-tiny")])
    assert tomllib.loads(clis("presets", "clis-tiny").out)["method"]["kind"] == "clis"
    assert json.loads(clis("presets", "clis-tiny", "--json").out) == config.model_dump(mode="json")


def test_what_differs(clis: Any) -> None:
    shown = clis("presets", "diff", "baseline-small", "clis-small").out
    rows = {line.split()[0]: line.split()[1:] for line in shown.splitlines() if line.strip()[:1].isalpha()}
    assert rows["setting"] == ["baseline-small", "clis-small"]
    assert rows["method.kind"] == ['"supervised"', '"clis"']
    assert rows["detector.head.specialised"] == ["false", "true"]
    assert rows["method.alpha"][0] == "-"
    assert not {"preset", "seed", "train.lr"} & rows.keys()


def test_what_differs_as_json(clis: Any) -> None:
    found = json.loads(clis("presets", "diff", "baseline-r50-1x", "baseline-r50-2x", "--json").out)
    assert found == {"train.iterations": {"baseline-r50-1x": 90_000, "baseline-r50-2x": 180_000}}


def test_the_same_twice(clis: Any) -> None:
    result = clis("presets", "diff", "clis-tiny", "clis-tiny")
    assert (result.code, result.out) == (0, "")
    assert "same settings" in result.err
    assert json.loads(clis("presets", "diff", "clis-tiny", "clis-tiny", "--json").out) == {}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("diff",), 2),
        (("diff", "clis-tiny"), 2),
        (("clis-tiny", "clis-small"), 2),
        (("diff", "clis-tiny", "clis-small", "clis-tiny"), 2),
        (("diff", "clis-tiny", "nope"), 3),
        (("nope",), 3),
    ],
)
def test_other_words(clis: Any, words: tuple[str, ...], code: int) -> None:
    result = clis("presets", *words)
    assert (result.code, result.out) == (code, "")
    assert result.err


def test_no_preset_has_the_name_of_the_word() -> None:
    assert "diff" not in PRESETS

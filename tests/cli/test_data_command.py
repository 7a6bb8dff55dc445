"""`clis data check`: what is shown, what json holds, and when the exit code is 4."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from clis_core.data.check.rules import RULES
from clis_core.jobs.check_data import FORMAT
from tests.cli.conftest import Run

DOCS = Path(__file__).parents[2] / "docs" / "data-check.md"


@pytest.fixture
def data(drawn_lvis: Path, tmp_path: Path) -> Path:
    return shutil.copytree(drawn_lvis, tmp_path / "data")


def change(data: Path, split: str, **fields: Any) -> None:
    """Set fields of the first annotation of a split."""
    path = data / f"lvis_v1_{split}.json"
    content = json.loads(path.read_text())
    content["annotations"][0].update(fields)
    path.write_text(json.dumps(content))


def test_sound_data(clis: Run, data: Path) -> None:
    shown = clis("data", "check", "data")
    assert shown.code == 0
    assert shown.out.splitlines()[0].startswith("train: 24 images, ")
    assert shown.err.splitlines()[-1] == "No errors: 0 kinds of error, 0 kinds of warning, 0 kinds of note."
    assert clis("data", "check", "data", "--strict").code == 0


def test_an_error_is_exit_code_4_and_says_where(clis: Run, data: Path) -> None:
    change(data, "train", image_id=10**9)
    shown = clis("data", "check", "data", "--no-files")
    assert shown.code == 4
    assert "D107 error, train: annotations of an image that is not listed (1)\n" in shown.out
    assert f"{data / 'lvis_v1_train.json'}: annotations[0] (annotation 1): image_id 1000000000" in shown.out
    assert "Hint: Leave them out, or add the images." in shown.out
    assert shown.err.startswith("Error: The data have faults: 1 kind of error")
    assert clis("data", "check", "data", "--no-files", "--ignore", "d107, D207").code == 0


def test_warnings_count_when_asked(clis: Run, data: Path) -> None:
    change(data, "train", bbox=[1, 1, 0, 5])
    words = ("data", "check", "data", "--no-files", "--ignore", "D406,D401,D207,D405")
    assert clis(*words).code == 0
    assert clis(*words, "--strict").code == 4


def test_json_is_whole_whatever_the_exit_code(clis: Run, data: Path) -> None:
    change(data, "train", image_id=10**9)
    shown = clis("data", "check", "data", "--json", "--sample", "3")
    assert shown.code == 4
    found = json.loads(shown.out)
    assert found["format"] == FORMAT
    assert found["counts"]["error"] == 1
    assert found["checked"]["train"]["looked_at"] == 3
    finding = found["findings"][0]
    assert finding.keys() == {"code", "severity", "where", "count", "title", "hint", "examples"}
    assert finding["examples"][0].keys() == {"file", "record", "text"}
    assert f'"format": {FORMAT}' in DOCS.read_text()
    assert all(f'"{key}"' in DOCS.read_text() for key in {*found, *finding, *finding["examples"][0]})


def test_a_json_file_or_settings_name_the_data(clis: Run, data: Path) -> None:
    shown = clis("data", "check", "data/lvis_v1_train.json")
    assert shown.code == 0
    assert "D006 note, val" in shown.out
    shown = clis("data", "check", "--set", "data.val=data/lvis_v1_val.json", "--json")
    assert list(json.loads(shown.out)["checked"]) == ["val"]


def test_the_workspace_names_data_and_shards(clis: Run, data: Path, tmp_path: Path) -> None:
    assert clis("init", "--data", "data", "--shards", "shards").code == 0
    shown = clis("data", "check")
    assert "D601 error, shards: folders of shards that cannot be used (1)" in shown.out
    assert clis("data", "check", "data").code == 0  # what is named takes the place of all of it


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("check",), 3, "Nothing says what to check"),
        (("check", "nowhere"), 4, "does not exist"),
        (("check", "data", "--ignore", "D9"), 3, "There is no code D9"),
        (("check", "data", "--sample", "0"), 2, "sample"),
    ],
)
def test_refusals(clis: Run, data: Path, words: tuple[str, ...], code: int, message: str) -> None:
    shown = clis("data", *words)
    assert (shown.code, shown.out) == (code, "")
    assert message in shown.err
    assert "Traceback" not in shown.err


def test_the_docs_have_every_code() -> None:
    rows = [line.split("|") for line in DOCS.read_text().splitlines() if line.startswith("| D")]
    assert [(row[1].strip(), row[2].strip(), row[3].strip()) for row in rows] == [
        (rule.code, rule.severity, rule.title) for rule in RULES.values()
    ]

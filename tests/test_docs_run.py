"""The commands of a page, run one after the other on drawn data in the place of somebody's."""

import re
import shlex
from pathlib import Path

import pytest

from tests.draw import draw_coco, draw_pictures
from tests.processes import run_module

ROOT = Path(__file__).parents[1]
SMALL = {"specialised-r50-1x": "specialised-tiny", "clis-r50-1x": "clis-tiny"}
FEW = '\n[train]\niterations = 2\nbatch = 2\n\n[data]\nroot = "mine"\nworkers = 0\n'


def commands_of(page: str) -> list[list[str]]:
    """The commands of clis in a page's blocks of shell, with presets that train in seconds."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.S)
    lines = [line.partition(" #")[0] for block in blocks for line in block.splitlines()]
    return [[SMALL.get(word, word) for word in shlex.split(line)[1:]] for line in lines if line.startswith("clis ")]


@pytest.mark.slow
def test_own_data_from_boxes_to_a_report(tmp_path: Path) -> None:
    drawn = draw_coco(tmp_path / "mine", train=12, val=6)
    for split in ("train", "val"):
        (file,) = drawn.rglob(f"instances_{split}*.json")
        file.rename(drawn / f"{split}.json")
    draw_pictures(tmp_path / "pictures", each=4)
    commands = commands_of("prepare/own-data.md")
    assert [words[0] for words in commands][-3:] == ["inspect", "train", "report"]
    for words in commands:
        run_module("clis_cli", *words, folder=tmp_path)
        if words[0] == "init":
            settings = tmp_path / "clis.toml"
            settings.write_text(settings.read_text().replace('\n[data]\nroot = "mine"\n', FEW))
            assert "iterations = 2" in settings.read_text()
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {".cache", "base", "clis"}
    assert (tmp_path / "report.html").is_file()

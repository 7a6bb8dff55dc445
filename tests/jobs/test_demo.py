"""The demo's folder, what it remembers, and what it reads from its runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from clis_core.data.annotations import load_annotations
from clis_core.errors import ClisError, ConfigError, DataError
from clis_core.files import locked
from clis_core.jobs import demo as job
from clis_core.jobs.demo import LOCK, STATE, Asked, Demo, steps
from clis_core.jobs.run_log import training_minutes

QUICK = Asked(quick=True)


def begun(folder: Path, asked: Asked = QUICK) -> Demo:
    show = Demo(folder, asked)
    with show.open():
        pass
    return show


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_folder_with_other_things_is_refused_and_left_alone(tmp_path: Path) -> None:
    used = tmp_path / "used"
    used.mkdir()
    (used / "thesis.txt").write_text("mine")
    (used / "zebra").mkdir()
    file = tmp_path / "file"
    file.write_text("a file")
    for place, what in ((used, "holds thesis.txt and more"), (file, "is not a folder")):
        with pytest.raises(DataError, match=what) as caught:
            Demo(place, QUICK)
        assert f"clis demo {place}-2" in str(caught.value.hint)
    assert snapshot(used) == {"thesis.txt": b"mine"}
    assert (used / "zebra").is_dir()


@pytest.mark.parametrize("make", ["missing", "empty", "killed"])
def test_a_new_folder_and_what_a_killed_demo_leaves_are_taken(tmp_path: Path, make: str) -> None:
    folder = tmp_path / "a" / "demo"
    if make != "missing":
        folder.mkdir(parents=True)
    if make == "killed":
        (folder / LOCK).touch()
        (folder / f".{STATE}.12-abcd.tmp").write_text('{"form')
    assert begun(folder).done == []
    assert json.loads((folder / STATE).read_text())["seed"] == 0


def test_a_demo_of_another_kind_is_not_gone_on_with(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    begun(folder, Asked(seed=3))
    before = snapshot(folder)
    for other in (Asked(seed=3, quick=True), Asked(seed=4), Asked(seed=3, clis="9.9")):
        with pytest.raises(ConfigError, match="begun with --seed 3") as caught:
            Demo(folder, other)
        assert f"clis demo {folder} --seed 3;" in str(caught.value.hint)
        assert f"clis demo {folder}-2 --seed {other.seed}" in str(caught.value.hint)
    assert snapshot(folder) == before


@pytest.mark.parametrize("text", ["", "[]", '{"seed": 0}', '{"seed": 0, "quick": true, "clis": "1", "done": 3}'])
def test_a_strange_demo_json_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / STATE).write_text(text)
    with pytest.raises(DataError, match=re.escape(str(tmp_path / STATE))):
        Demo(tmp_path, QUICK)


def test_two_demos_do_not_share_a_folder_at_once(tmp_path: Path) -> None:
    show = Demo(tmp_path / "demo", QUICK)
    with show.open(), pytest.raises(DataError, match="another demo is running"), Demo(show.folder, QUICK).open():
        pass
    with show.open():  # it was let go of
        pass
    with locked(show.folder / LOCK) as held:
        assert held


def test_a_step_that_has_ended_is_remembered(tmp_path: Path) -> None:
    show = begun(tmp_path)
    first, second, *_ = steps(QUICK)
    show.end(first)
    show.end(second)
    assert Demo(tmp_path, QUICK).done == [first.name, second.name]


def test_it_draws_what_was_asked_and_clears_what_a_killed_draw_left(tmp_path: Path) -> None:
    show = begun(tmp_path)
    left = tmp_path / ".data.77-abcd.tmp"
    (left / "train").mkdir(parents=True)
    assert not show.drawn
    show.draw()
    assert show.drawn
    assert not left.exists()
    table = load_annotations(tmp_path / "data" / "train.json", None)
    assert len(table) == QUICK.size.scenes
    assert {c.group for c in table.categories} == {"r", "c", "f"}
    assert len(list((tmp_path / "data" / "pictures").glob("*.tar"))) == len(table.categories) == job.CLASSES


def test_a_training_that_has_begun_is_resumed_and_results_are_replaced(tmp_path: Path) -> None:
    show = begun(tmp_path)
    by_name = {step.name: step for step in steps(QUICK)}
    for step in by_name.values():
        assert show.words(step) == step.words
    (tmp_path / "clis.toml").touch()
    (tmp_path / "predictions").mkdir()
    checkpoints = tmp_path / "runs" / "base" / "checkpoints"
    checkpoints.mkdir(parents=True)
    assert show.words(by_name["base"]) == by_name["base"].words  # no checkpoint: it starts anew
    (checkpoints / "step-00000010.pt").touch()
    assert show.words(by_name["base"]) == ("train", "--resume", "-o", "base")
    assert show.words(by_name["longer"]) == by_name["longer"].words
    assert show.words(by_name["init"])[-1] == "--force"
    assert show.words(by_name["predict"])[-1] == "--overwrite"


def test_the_export_is_one_that_the_installed_libraries_can_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "clis.pt2" in next(step for step in steps(QUICK) if step.name == "export").words
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert "clis.onnx" in next(step for step in steps(QUICK) if step.name == "export").words


def test_minutes_are_those_of_all_steps_in_the_log(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[train]\nbatch = 6\n")
    records = [
        {"kind": "info", "text": "begins"},
        {"kind": "train", "step": 10, "images_per_second": 2.0},  # 10 steps of 6 images at 2 a second: 30 s
        {"kind": "eval", "step": 10, "AP": 1.0},
        {"kind": "train", "step": 15, "images_per_second": 1.0},  # 30 s
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records) + '{"kind": "train", "st')
    assert training_minutes(tmp_path) == pytest.approx(1.0)


def test_results_before_there_are_any_are_an_error_of_ours(tmp_path: Path) -> None:
    show = begun(tmp_path)
    with pytest.raises((OSError, ClisError)):
        show.results()

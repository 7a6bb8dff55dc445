"""All of a machine and its data: what is told, and that nothing is left behind."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from clis_core.config.load import command_layer, preset_layer, resolve
from clis_core.config.run import RunConfig
from clis_core.errors import ConfigError
from clis_core.jobs.build_options import BuildOptions
from clis_core.jobs.doctor import data as data_module
from clis_core.jobs.doctor import decoder as decoder_module
from clis_core.jobs.doctor import versions as versions_module
from clis_core.jobs.doctor.checks import Check, Findings
from clis_core.jobs.doctor.data import data, shards, weights
from clis_core.jobs.doctor.decoder import decoder, drawn_jpeg
from clis_core.jobs.doctor.examine import examine
from clis_core.report import SilentReporter
from tests.jobs.building import build_subset, vocabulary
from tests.pack import class_tars, draw_items


def config_of(*settings: str, preset: str = "baseline-tiny") -> RunConfig:
    return resolve([preset_layer(preset), command_layer(list(settings))])


def look(config: RunConfig, runs: Path, **options: Any) -> Findings:
    return examine(config, runs, **{"fitting": False, "broken": None, "reporter": SilentReporter(), **options})


def levels(checks: list[Check]) -> list[tuple[str, str]]:
    return [(check.area, check.level) for check in checks]


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder_module, "_SECONDS", 0.01)


def test_a_data_set_is_told_with_its_counts(drawn_lvis: Path, tmp_path: Path) -> None:
    found = look(config_of(f"data.root={drawn_lvis}"), tmp_path / "runs")
    assert found.ok
    texts = [check.text for check in found.checks if check.area == "data"]
    assert texts[0].startswith("train: 24 images, all there, ")
    assert texts[1].startswith("val: 12 images, all there, ")
    assert {check.area for check in found.checks} == {"versions", "cpu", "memory", "disk", "decoder", "data", "gpu"}
    assert list(tmp_path.iterdir()) == []


def test_the_record_is_json(drawn_lvis: Path, tmp_path: Path) -> None:
    record = look(config_of(f"data.root={drawn_lvis}"), tmp_path).to_record()
    assert json.loads(json.dumps(record)) == record
    assert (record["format"], record["ok"]) == (1, True)
    assert {frozenset(check) for check in record["checks"]} == {frozenset({"area", "level", "text", "hint", "figures"})}
    assert {check["level"] for check in record["checks"]} <= {"fine", "note", "warning", "error"}


def test_nothing_named_is_no_fault(tmp_path: Path) -> None:
    found, categories = data(config_of(), tmp_path)
    assert (levels(found), categories) == ([("data", "note")], None)
    assert shards(config_of(), None) == []


def test_a_missing_image_is_an_error(drawn_lvis: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(drawn_lvis, tmp_path / "data")
    next((folder / "val2017").iterdir()).unlink()
    found, _ = data(config_of(f"data.root={folder}"), tmp_path / "runs")
    assert ("data", "error") in levels(found)
    assert all(check.hint for check in found if check.level == "error")


def test_no_val_is_an_error_if_it_is_needed(drawn_lvis: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(drawn_lvis, tmp_path / "data")
    (folder / "lvis_v1_val.json").unlink()
    settings = f"data.root={folder}"
    assert ("data", "error") in levels(data(config_of(settings), tmp_path)[0])
    found = data(config_of(settings, "train.eval_at_end=false"), tmp_path)[0]
    assert ("data", "warning") in levels(found)
    assert ("data", "error") not in levels(found)


def test_a_large_json_is_read_from_the_cache_alone(
    drawn_lvis: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clis_core.data.layout import open_split

    config = config_of(f"data.root={drawn_lvis}")
    monkeypatch.setattr(data_module, "LARGE", 100)
    found, categories = data(config, tmp_path)
    assert categories is None
    assert "it was not read" in found[0].text
    assert not (tmp_path / ".cache").exists()
    open_split(config.data, "train", tmp_path / ".cache")
    found, categories = data(config, tmp_path)
    assert categories is not None
    assert "24 images, all there" in found[0].text


@pytest.fixture
def built(tmp_path: Path) -> Path:
    source = class_tars(tmp_path / "tars", draw_items())
    build_subset(
        source, tmp_path / "shards", vocabulary(tmp_path / "data" / "train.json"), options=BuildOptions(shards=2)
    )
    return tmp_path / "shards"


def test_shards_are_counted(built: Path) -> None:
    found = shards(config_of(f"pictures.shards={built}"), None)
    assert levels(found) == [("shards", "fine"), ("shards", "note")]
    assert found[0].figures["pictures"] == 12
    assert found[1].hint == "clis shards verify"


def test_shards_that_are_not_whole(built: Path) -> None:
    tar = next(built.glob("*.tar"))
    tar.write_bytes(tar.read_bytes()[:-512])
    setting = f"pictures.shards={built}"
    assert levels(shards(config_of(setting), None)) == [("shards", "warning")]  # a baseline needs none
    (found,) = shards(config_of(setting, preset="clis-tiny"), None)
    assert found.level == "error"
    assert tar.name in found.text
    assert found.hint


def test_clis_without_shards(drawn_lvis: Path, tmp_path: Path, built: Path) -> None:
    (found,) = shards(config_of(preset="clis-tiny"), None)
    assert (found.level, found.area) == ("error", "shards")
    _, categories = data(config_of(f"data.root={drawn_lvis}"), tmp_path)
    setting = f"pictures.shards={built}"
    (found,) = shards(config_of(setting, "pictures.regions=full-image", preset="clis-tiny"), categories)
    assert found.level == "error"  # pictures of other classes than the data's
    (found,) = shards(config_of(setting, preset="clis-tiny"), categories)
    assert "regions" in found.text.lower() + str(found.hint).lower()


def test_first_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert weights(config_of()) == []  # random ones
    (found,) = weights(config_of(preset="baseline-r50-1x"))
    assert found.level == "note"
    assert found.figures["url"].startswith("https://download.pytorch.org/")
    path = Path(found.figures["file"])
    path.parent.mkdir()
    path.touch()
    assert weights(config_of(preset="baseline-r50-1x"))[0].level == "fine"
    missing = weights(config_of(f"detector.backbone.init={tmp_path / 'no.pth'}", preset="baseline-r50-1x"))
    assert missing[0].level == "error"
    timm = weights(config_of("detector.backbone.init=timm", preset="baseline-r50-1x"))
    assert timm[0].level == "note"


def test_the_decoder_is_timed_and_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = decoder()
    assert found.level == "fine"
    assert found.figures["pictures_per_second"] > 0
    assert found.figures["pillow_per_second"] > 0
    assert drawn_jpeg() == drawn_jpeg()
    assert 50_000 < len(drawn_jpeg()) < 300_000

    class Without:
        pass

    monkeypatch.setattr(torch.ops, "image", Without())
    (found,) = decoder()
    assert found.level == "warning"
    assert "torchvision has no decoder here" in found.text


def test_broken_packages_keep_the_rest_from_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(versions_module.IMPORTED, "torchvision", "no_such_module")
    found = look(config_of(), tmp_path)
    assert not found.ok
    areas = {check.area for check in found.checks}
    assert {"cpu", "memory", "disk"} <= areas
    assert not areas & {"gpu", "decoder", "data"}
    assert any("packages are broken" in check.text for check in found.checks)


def test_a_broken_config_keeps_the_rest_from_nothing(tmp_path: Path) -> None:
    found = look(RunConfig(), tmp_path, broken=ConfigError("clis.toml, line 3: odd.", hint="Edit it"))
    assert not found.ok
    assert ("settings", "error") in levels(found.checks)
    assert ("decoder", "fine") in levels(found.checks)


def test_fitting_takes_the_classes_of_the_data(
    drawn_lvis: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clis_core.jobs.doctor import fit

    asked: list[Any] = []

    def noted(config: RunConfig, *words: Any) -> list[Check]:
        asked.append(words[:2])
        return [Check("fit", "fine", "fits")]

    monkeypatch.setattr(fit, "fit", noted)
    assert ("fit", "fine") in levels(look(config_of(f"data.root={drawn_lvis}"), tmp_path, fitting=True).checks)
    look(config_of(), tmp_path, fitting=True)
    assert asked == [(6, fit.PICTURES), (1203, fit.PICTURES)]


def test_nobody_is_contacted(tmp_path: Path, drawn_lvis: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*_: Any) -> None:
        raise AssertionError("a connection was made")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    look(config_of(f"data.root={drawn_lvis}", preset="baseline-r50-1x"), tmp_path)


def test_the_parts_that_run_first_import_no_torch() -> None:
    import subprocess

    code = (
        "import sys, clis_core.jobs.doctor.examine; assert 'torch' not in sys.modules, "
        "'a broken torch would keep the doctor from looking'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])

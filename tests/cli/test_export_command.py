"""`clis export`: what reaches the job, and what is told before it starts."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clis_core.config.load import command_layer, load_config, preset_layer, resolve, save_config
from clis_core.detectors.export.parity import Parity

ABOUT = SimpleNamespace(frame=None, batch=None, precision="fp32", nms=True, candidates=1280, weights="abc")
PARITY = Parity(50, 12209, 1.0, 0.999, 1.3e-4, 3e-6, 2, {"detector": 0.05, "exported": 0.04})
RESULT = SimpleNamespace(path=Path("m.onnx"), size=25_500_000, about=ABOUT, parity=PARITY, card=None)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    config = resolve([preset_layer("baseline-tiny"), command_layer(["data.root=/data"])])
    save_config(config, tmp_path / "runs" / "one" / "config.toml")
    (tmp_path / "clis.toml").touch()
    return tmp_path / "runs" / "one"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    from clis_core.jobs import export as job

    noted: list[Any] = []
    monkeypatch.setattr(job, "export", lambda *words, reporter: noted.append(words) or RESULT)
    return noted


def test_the_newest_run_as_onnx(clis: Any, calls: Any, run: Path) -> None:
    result = clis("export")
    assert result.code == 0
    ((folder, config, out, wanted),) = calls
    assert (folder, out) == (run, run / "model.onnx")
    assert config == load_config(run / "config.toml")
    assert (wanted.format, wanted.frame, wanted.batch, wanted.check) == ("onnx", None, None, 50)
    assert (wanted.precision, wanted.nms, wanted.candidates, wanted.checkpoint) == ("fp32", True, None, "last")
    assert "50 pictures, 12209 detections" in result.out
    assert "100.00 %, by score 99.90 %" in result.out
    assert "too few in 2 pictures" in result.out


def test_options_reach_the_job(clis: Any, calls: Any, run: Path, tmp_path: Path) -> None:
    words = "one -o x/m.pt2 --checkpoint best --size 800x1344 --batch 4 --half --no-nms --candidates 99 --check 3"
    more = ["--images", str(tmp_path), "--set", "detector.postprocess.detections=7"]
    assert clis("export", *words.split(), *more).code == 0
    ((_, config, out, wanted),) = calls
    assert out == Path("x/m.pt2")
    assert (wanted.format, wanted.frame, wanted.batch, wanted.check) == ("pt2", (800, 1344), 4, 3)
    assert (wanted.precision, wanted.nms, wanted.candidates) == ("fp16", False, 99)
    assert (wanted.checkpoint, wanted.images) == ("best", tmp_path)
    assert config.detector.postprocess.detections == 7


def test_one_number_for_both_sides(clis: Any, calls: Any, run: Path) -> None:
    clis("export", "--size", "512")
    assert calls[0][3].frame == (512, 512)


def test_json_is_alone_on_stdout(clis: Any, calls: Any, run: Path) -> None:
    told = json.loads(clis("export", "--json").out)
    assert told["parity"]["box_gap"] == 1.3e-4
    assert (told["file"], told["bytes"], told["candidates"]) == ("m.onnx", 25_500_000, 1280)


def test_results_have_a_job_of_their_own(clis: Any, fake_job: Any, run: Path) -> None:
    calls = fake_job("clis_core.jobs.export_results", "export_results", 17)
    result = clis("export", "one", "-o", "r.json", "--checkpoint", "best", "--json")
    assert json.loads(result.out) == {"file": "r.json", "detections": 17}
    (call,) = calls
    assert call["words"][2] == Path("r.json")
    assert call["checkpoint"] == "best"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("-o model.bin", ".onnx, .pt2, .safetensors, .json"),
        ("-o model.onnx --format pt2", ".pt2"),
        ("--size 800,1344", "800x1344"),
        ("--size 0x", "800x1344"),
        ("-o w.safetensors --size 512", "--check go with onnx and pt2"),
        ("-o r.json --check 5", "--check go with onnx and pt2"),
        ("-o w.safetensors --no-nms", "--check go with onnx and pt2"),
        ("-o r.json --half", "--half"),
        ("--images nowhere", "nowhere"),
    ],
)
def test_options_that_do_not_fit(clis: Any, calls: Any, run: Path, words: str, named: str) -> None:
    result = clis("export", *words.split())
    assert result.code == 2
    assert named in " ".join(result.err.replace("│", " ").split())
    assert calls == []


def test_settings_of_the_training_cannot_change(clis: Any, calls: Any, run: Path) -> None:
    assert clis("export", "--set", "train.lr=1").code == 3
    assert calls == []


def test_dry_runs_touch_nothing(clis: Any, calls: Any, run: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    result = clis("export", "-o", "w.safetensors", "--dry-run")
    assert result.code == 0
    assert "would write  w.safetensors; w.md" in result.err
    assert 'preset = "baseline-tiny"' in result.out
    assert "/data" in clis("export", "--dry-run").err
    assert sorted(tmp_path.rglob("*")) == before
    assert calls == []

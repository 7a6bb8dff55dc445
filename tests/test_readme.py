"""The commands of the README, run on drawn data in the place of LVIS, ImageNet and somebody's own."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.draw import draw_coco, draw_lvis, draw_pictures
from tests.pack import class_tars, draw_items
from tests.processes import run_module

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
ELSEWHERE = ("demo", "download", "crawl-google", "bench")  # tests/jobs and tests/cli run these
FEW = ["--iterations", "2", "--batch", "2", "--set", "train.warmup=1", "--set", "data.workers=0"]
REAL = [("dog", "dog.n.01", "n02084071"), ("zebra", "zebra.n.01", "n02391049"), ("apple", "apple.n.01", "n07739125")]


def section(title: str) -> str:
    found = re.search(rf"(?s)^## {re.escape(title)}\n(.*?)(?=^## |\Z)", TEXT, re.M)
    assert found is not None, title
    return found[1]


def commands(text: str) -> list[list[str]]:
    """Those of a section's blocks and tables, in their order, with presets that train in seconds."""
    blocks = "\n".join(re.findall(r"(?s)```sh\n(.*?)```", text))
    lines = [*blocks.splitlines(), *re.findall(r"^\| `(clis [^`]+)` \|", text, re.M)]
    words = [shlex.split(re.sub(r"-(r50-1x|small)\b", "-tiny", line.partition(" #")[0])) for line in lines]
    return [line[1:] for line in words if line[:1] == ["clis"] and line[1] not in ELSEWHERE]


def run(words: list[str], folder: Path) -> None:
    if words[0] == "train" and "--resume" not in words:
        words = [*words, *FEW]
    if words[0] == "ablate":
        words = [*words, "--budget", "tiny", "--seeds", "0", "--set", "train.iterations=2", "--set", "train.warmup=1"]
    run_module("clis_cli", *words, folder=folder)


@pytest.mark.slow
def test_lvis_and_imagenet(tmp_path: Path) -> None:
    draw_lvis(tmp_path / "data" / "lvis", train=8, val=4, classes=len(REAL))
    for file in (tmp_path / "data" / "lvis").glob("*.json"):
        content = json.loads(file.read_text())
        for category, (name, synset, _) in zip(content["categories"], REAL, strict=True):
            category.update(name=name, synset=synset)
        file.write_text(json.dumps(content))
    class_tars(tmp_path / "fall11", draw_items([wnid for *_, wnid in REAL]))
    lines = commands(section("LVIS and ImageNet-22k"))
    assert [words[0] for words in lines] == [
        *("build-imagenet-subset", "train", "gen-regions", "train", "eval", "report", "export"),
    ]
    for words in lines:
        # The drawn set has other ids than LVIS.
        run([word.replace("v1", "data/lvis/lvis_v1_train.json") if word == "v1" else word for word in words], tmp_path)
    assert (tmp_path / "report.html").is_file()
    assert (tmp_path / "clis.onnx").is_file()


@pytest.mark.slow
def test_own_data(tmp_path: Path) -> None:
    drawn = draw_coco(tmp_path / "mine", train=8, val=4)
    for split in ("train", "val"):
        (file,) = drawn.rglob(f"instances_{split}*.json")
        file.rename(drawn / f"{split}.json")
    draw_pictures(tmp_path / "pictures", each=4)
    image = next(drawn.rglob("*.jpg"))
    (tmp_path / "photos").mkdir()
    shutil.copy(image, tmp_path / "photos")
    content = json.loads((drawn / "val.json").read_text())
    found = [
        {**{key: a[key] for key in ("image_id", "category_id", "bbox")}, "score": 0.9} for a in content["annotations"]
    ]
    (tmp_path / "results.json").write_text(json.dumps(found))
    lines = commands(section("Your own data"))
    assert [words[0] for words in lines] == [
        *("data", "build-images", "train", "gen-regions", "train"),
        *("predict", "train", "inspect", "shards", "ablate", "eval", "doctor"),
    ]
    for words in lines:
        run(words, tmp_path)
    assert (tmp_path / "predictions" / "detections.json").is_file()
    assert (tmp_path / "ablation-ii" / "ablation.json").is_file()


@pytest.mark.slow
def test_the_python_example(tmp_path: Path) -> None:
    """With the run and the photo that it names."""
    draw_lvis(tmp_path / "data", train=8, val=4, classes=3)
    run(["train", "--data", "data", "--preset", "baseline-tiny", "-o", "runs/clis"], tmp_path)
    shutil.copy(next((tmp_path / "data").rglob("*.jpg")), tmp_path / "photo.jpg")
    (code,) = re.findall(r"(?s)```python\n(.*?)```", TEXT)
    done = subprocess.run(
        [sys.executable, "-c", code + "\nprint(type(detections).__name__)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()

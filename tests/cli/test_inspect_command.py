"""`clis inspect`: which settings and which run it is asked for, and what it prints."""

import json
from pathlib import Path
from typing import Any

import pytest

from clis_core.config.load import load_config, save_config
from clis_core.jobs.inspect import InspectResult
from tests.cli.conftest import Jobs, Run

JOB = "clis_core.jobs.inspect"


@pytest.fixture
def job(fake_job: Jobs) -> list[dict[str, Any]]:
    import sys

    from clis_core.jobs import inspect as real

    calls = fake_job(JOB, "inspect", InspectResult([Path("samples.jpg")], {"seed": 0}, None))
    for name in ("PARTS", "InspectOptions"):
        setattr(sys.modules[JOB], name, getattr(real, name))
    return calls


def test_the_words_of_train(clis: Run, job: list[dict[str, Any]], tmp_path: Path) -> None:
    words = "--preset clis-small --data d --images shards --regions centre --batch 3 --seed 5 --set data.flip=0.0"
    more = "-o look --only samples,counts --count 9 --from-step 7 --side 100 --format png"
    result = clis("inspect", *words.split(), *more.split())
    assert result.code == 0, result.err
    assert result.err.endswith("Wrote samples.jpg\n")
    (call,) = job
    config, out, options = call["words"]
    assert (config.preset, config.seed, config.train.batch, config.data.flip) == ("clis-small", 5, 3, 0.0)
    assert (config.data.root, config.pictures.shards) == (tmp_path / "d", tmp_path / "shards")
    assert config.pictures.regions == "centre"
    assert out == Path("look")
    assert vars(options) == {
        "parts": ["samples", "counts"],
        "count": 9,
        "from_step": 7,
        "side": 100,
        "suffix": ".png",
    }
    assert call["run"] is None
    assert call["cache"] == tmp_path / ".cache"


def test_the_workspace_is_taken(clis: Run, job: list[dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "clis.toml").write_text('[workspace]\npreset = "baseline-tiny"\n[data]\nroot = "mine"\n')
    assert clis("inspect").code == 0
    config, out, options = job[0]["words"]
    assert (config.preset, config.data.root, out) == ("baseline-tiny", tmp_path / "mine", Path("inspect"))
    assert (options.parts, options.from_step) == ([], 0)
    assert job[0]["cache"] == tmp_path / "runs" / ".cache"


def test_a_run_is_taken_with_its_settings(clis: Run, job: list[dict[str, Any]], tmp_path: Path) -> None:
    from clis_core.config.load import command_layer, preset_layer, resolve

    run = tmp_path / "runs" / "first"
    settings = ["data.root=there", "seed=3", "train.batch=7"]
    save_config(resolve([preset_layer("specialised-tiny"), command_layer(settings)]), run / "config.toml")
    assert clis("inspect", "runs/first", "--set", "data.flip=1.0").code == 0
    config, out, _ = job[0]["words"]
    assert out == run / "inspect"
    assert (job[0]["run"], job[0]["cache"]) == (run, tmp_path / "runs" / ".cache")
    own = load_config(run / "config.toml")
    assert config.data.flip == 1.0
    assert config == own.model_copy(update={"data": own.data.model_copy(update={"flip": 1.0})})


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 3, "No training data is named"),
        (("nowhere",), 5, "There is no run 'nowhere'"),
        (("--only", "samples,boxes", "--data", "d"), 2, "not boxes"),
        (("a-run", "--preset", "clis-small"), 2, "no --preset beside it"),
        (("--data", "d", "--count", "0"), 2, "count"),
    ],
)
def test_refusals(clis: Run, job: list[dict[str, Any]], words: tuple[str, ...], code: int, message: str) -> None:
    result = clis("inspect", *words)
    assert (result.code, result.out, job) == (code, "", [])
    assert message in result.err
    assert "Traceback" not in result.err


def test_counts_on_the_screen_and_as_json(clis: Run, drawn_lvis: Path) -> None:
    words = ("inspect", "--data", str(drawn_lvis), "--preset", "baseline-tiny", "--only", "counts", "-o", "look")
    shown = clis(*words)
    assert shown.code == 0, shown.err
    rows = [line.split() for line in shown.out.splitlines() if line.strip()]
    assert rows[0][:2] == ["Epoch", "0:"]
    assert [row[0] for row in rows if row[0] in ("rare", "common", "frequent", "all")] == [
        "rare",
        "common",
        "frequent",
        "all",
    ]
    assert sum(row[0].endswith(("disc", "square", "triangle", "ring", "cross", "diamond")) for row in rows) == 6
    found = json.loads(clis(*words, "--json").out)
    assert found["files"] == ["look/counts.txt", "look/inspect.json"]
    table = Path("look/counts.txt").read_text()
    for of in found["counts"]["classes"]:
        assert f"{of['name']:<15}" in table
    assert found["counts"]["groups"]["all"]["images_drawn"] == sum(
        c["images_drawn"] for c in found["counts"]["classes"]
    )


def test_sheets_are_written_where_they_are_said(clis: Run, drawn_lvis: Path, tmp_path: Path) -> None:
    shown = clis("inspect", "--data", str(drawn_lvis), "--preset", "baseline-tiny", "-n", "2", "-o", "look")
    assert shown.code == 0, shown.err
    assert [line for line in shown.err.splitlines() if line.startswith("Wrote")] == [
        "Wrote look/samples.jpg",
        "Wrote look/counts.txt",
        "Wrote look/inspect.json",
    ]
    assert sorted(path.name for path in (tmp_path / "look").iterdir()) == ["counts.txt", "inspect.json", "samples.jpg"]

"""Plans of comparisons: what is made before what, with which settings, for how long; and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clis_core.config.load import Layer, preset_layer, resolve
from clis_core.config.presets import PRESETS
from clis_core.config.published import PUBLISHED, published
from clis_core.config.stages import ON_MOSAICS, STARTS_FROM, counterpart
from clis_core.errors import ConfigError, DataError
from clis_core.jobs.compare_budget import TIMED, WARM, budget_layer, iterations_within, timing_config
from clis_core.jobs.compare_check import check
from clis_core.jobs.compare_plan import ComparePlan, Step, all_before, all_steps, config_of
from clis_core.jobs.compare_prepare import pretraining_of
from clis_core.jobs.compare_state import inputs_of
from tests.voc import draw_voc, write_list

NOTHING = Layer("no budget", {})


def plan_of(*rows: str, seeds: tuple[int, ...] = (3, 4), shards: Path | None = Path("/shards"), **other: Any) -> Any:
    given: dict[str, Any] = {"minutes": None, "iterations": None, "regions": None, "out": Path("/out"), **other}
    settings = Layer("test", given.pop("settings", {}))
    return ComparePlan(rows=rows, seeds=seeds, settings=settings, shards=shards, **given)


def before(plan: ComparePlan, row: str, seed: int) -> list[tuple[str, str, int]]:
    return [(s.kind, s.row, s.seed) for s in all_before(plan, Step("train", row, seed))]


def test_the_presets_that_build_on_others_are_known() -> None:
    for name in PRESETS:
        config = resolve([preset_layer(name)])
        if config.train.learn != "all" or config.train.reset_classifier:
            assert name in STARTS_FROM
    assert {*STARTS_FROM, *STARTS_FROM.values(), *ON_MOSAICS, *ON_MOSAICS.values()} <= PRESETS.keys()
    assert {name for name in PRESETS if name.startswith("mosaicos-")} <= STARTS_FROM.keys()


@pytest.mark.parametrize(
    ("preset", "kind", "like"),
    [
        ("clis-small", "specialised", "specialised-small"),
        ("specialised-r50-1x", "clis", "clis-r50-1x"),
        ("mask-clis-small", "specialised", "mask-specialised-small"),
        ("mask-clis-tiny", "specialised", "specialised-tiny"),
        ("clis-mtl-small", "specialised", "specialised-small"),
        ("mtl-ssl-small", "clis", "clis-small"),
        ("baseline-voc-r101-600", "specialised", "specialised-r50-1x"),
    ],
)
def test_the_preset_that_is_most_like_another(preset: str, kind: str, like: str) -> None:
    assert counterpart(preset, kind) == like


def test_what_is_made_before_what() -> None:
    plan = plan_of("clis-small", "self-training-small", "crt-small", "mosaicos-scenes-small", "detic-small")
    regions = [("train", "specialised-small", 3), ("regions", "specialised-small", 3)]
    assert before(plan, "clis-small", 4) == before(plan, "self-training-small", 4) == regions
    assert before(plan, "crt-small", 4) == [("train", "baseline-small", 4)]
    assert before(plan, "detic-small", 4) == []
    assert before(plan, "mosaicos-scenes-small", 4) == [
        ("train", "baseline-small", 4),
        ("train", "baseline-small", 3),
        ("mosaics", "baseline-small", 3),
        ("train", "mosaicos-mosaics-small", 4),
    ]
    steps = all_steps(plan)
    assert len(set(steps)) == len(steps)
    assert sum(step.kind == "regions" for step in steps) == 1
    assert before(plan_of("clis-small", regions="centre"), "clis-small", 3) == []
    assert before(plan_of("specialised-tiny+pretrained"), "specialised-tiny+pretrained", 4) == [
        ("pretrain", "specialised-tiny", 3)
    ]


def test_a_training_names_what_was_made_for_it() -> None:
    plan = plan_of("clis-small")
    made = config_of(plan, Step("train", "clis-small", 4), NOTHING)
    assert (made.seed, made.preset, made.pictures.shards) == (4, "clis-small", Path("/shards"))
    assert made.pictures.regions == "/out/prepared/regions-specialised-small"
    second = config_of(plan, Step("train", "crt-small", 4), NOTHING)
    assert second.train.start == Path("/out/runs/baseline-small-seed4")
    assert second.pictures.shards is None
    mosaics = config_of(plan, Step("train", "mosaicos-mosaics-small", 4), NOTHING)
    assert mosaics.data.root == Path("/out/prepared/mosaics-baseline-small")
    taught = config_of(plan, Step("train", "baseline-small+pretrained", 4), NOTHING)
    assert taught.detector.backbone.init == "/out/prepared/pretrain-baseline-small"
    whole = config_of(plan_of("detic-small", regions="centre"), Step("train", "detic-small", 4), NOTHING)
    assert whole.pictures.regions is None
    own = plan_of("crt-small", settings={"train": {"start": "/mine"}})
    assert config_of(own, Step("train", "crt-small", 4), NOTHING).train.start == Path("/mine")
    assert before(own, "crt-small", 4) == []


def test_a_schedule_fits_its_budget() -> None:
    whole = resolve([preset_layer("unbiased-teacher-small")])
    part = resolve([preset_layer("unbiased-teacher-small"), budget_layer("unbiased-teacher-small", 150)])
    assert (whole.train.iterations, whole.train.warmup, whole.method.burn_in) == (1500, 100, 500)
    assert (part.train.iterations, part.train.warmup, part.method.burn_in) == (150, 10, 50)
    plan = plan_of("baseline-small", settings={"train": {"warmup": 7}})
    made = config_of(plan, Step("train", "baseline-small", 0), budget_layer("baseline-small", 150))
    assert (made.train.iterations, made.train.warmup) == (150, 7)
    assert iterations_within(5, 0.2) == 1500
    assert iterations_within(0.001, 9.0) == 1


def test_the_steps_that_are_timed_have_the_phases_of_the_whole() -> None:
    timed = timing_config(resolve([preset_layer("unbiased-teacher-small")]))
    assert timed.train.iterations == WARM + TIMED
    assert timed.method.burn_in - WARM == TIMED / 3
    assert not timed.train.eval_at_end
    pasted = timing_config(resolve([preset_layer("clis-small")])).pictures.paste.until
    assert round(pasted * (WARM + TIMED)) - WARM == round(0.7 * TIMED)


def test_all_that_cannot_run_is_refused_at_once(drawn_lvis: Path) -> None:
    data = {"data": {"root": drawn_lvis}}
    rows = ("baseline-tiny", "clis-tiny", "detic-small", "mosaicos-mosaics-small", "clis-tinny", "fcos-tiny+pretrained")
    with pytest.raises(ConfigError) as caught:
        check(plan_of(*rows, shards=None, settings=data))
    refused = [line.partition(":")[0] for line in caught.value.message.splitlines()[1:]]
    assert refused == list(rows[1:])
    for word in ("--images", "mosaicos-scenes-small", "Did you mean clis-tiny?"):
        assert word in (caught.value.hint or "")
    check(plan_of("baseline-tiny", "crt-small", shards=None, settings=data))


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"train": {"iterations": 5}}, ConfigError, "beside the budget"),
        ({"train": {"eval_at_end": False}}, ConfigError, "not evaluated"),
        ({"data": {"root": None, "train": None}}, ConfigError, "No training data"),
        ({"data": {"val": "/nowhere.json"}}, DataError, "no annotations for val"),
    ],
)
def test_settings_that_make_no_comparison(drawn_lvis: Path, settings: Any, error: Any, words: str) -> None:
    given = {**settings, "data": {"root": drawn_lvis, **settings.get("data", {})}}
    with pytest.raises(error, match=words) as caught:
        check(plan_of("baseline-tiny", iterations=7, shards=None, settings=given))
    assert caught.value.hint


def test_several_years_of_voc(tmp_path: Path) -> None:
    draw_voc(tmp_path, "VOC2007", val="test")
    draw_voc(tmp_path, "VOC2012", seed=1)
    plan = plan_of("baseline-tiny", shards=None, settings={"data": {"root": tmp_path}}, out=tmp_path / "out")
    check(plan)
    before = inputs_of(plan)
    assert inputs_of(plan) == before
    write_list(tmp_path / "VOC2012", "trainval", ["2012_train000001"])
    after = inputs_of(plan)
    assert [name for name in before if after[name] != before[name]] == ["train annotations"]


def test_no_torchrun(drawn_lvis: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="one process"):
        check(plan_of("baseline-tiny", settings={"data": {"root": drawn_lvis}}))


def test_backbones_are_taught_as_in_the_paper_or_in_small() -> None:
    plan = plan_of("specialised-r50-1x+pretrained", settings={"detector": {"backbone": {"init": "mine.pth"}}})
    full = pretraining_of(plan, Step("pretrain", "specialised-r50-1x", 3))
    assert (full.backbone, full.init, full.epochs, full.batch, full.seed) == ("resnet50", "none", 100, 256, 3)
    small = pretraining_of(plan, Step("pretrain", "specialised-small", 3))
    assert (small.backbone, small.init, small.epochs, small.batch) == ("mobilenet_v2", "mine.pth", 10, 64)


def test_the_papers_rows() -> None:
    assert all(any(name.startswith(f"{word}-") for name in PRESETS) for word in PUBLISHED)

    def rows(*presets: str, after: tuple[str, ...] = ()) -> list[tuple[str, str]]:
        found = published([*presets, *after], [False] * len(presets) + [True] * len(after))
        return [(([*presets, *after])[n], f"{row.table} {row.figures[0]}") for n, row in found]

    assert rows("specialised-small", "clis-small") == [("specialised-small", "II 25.2"), ("clis-small", "I, VII 29.2")]
    # Masks stand beside masks alone.
    assert rows("detic-small", "clis-small") == [
        ("detic-small", "IX 25.1"),
        ("clis-small", "I, VII 29.2"),
        ("clis-small", "IX 29.3"),
    ]
    assert rows("clis-r101-1x", "efl-focal-small", "efl-r50-2x") == [
        ("clis-r101-1x", "I 31.1"),
        ("efl-r50-2x", "I 27.5"),
    ]
    assert rows(after=("specialised-small",)) == [("specialised-small", "X 26.1")]
    assert rows("baseline-voc-r101-600", "baseline-coco-r101-600") == []
    assert rows("eql-small", "clis-v05-r50-1x") == [("clis-v05-r50-1x", "VII 30.4")]

"""Whether a training fits: real steps measured, the rest by a line, and what fits instead."""

from __future__ import annotations

import math
import multiprocessing
from typing import Any

import pytest

from clis_core.config.load import Layer, preset_layer, resolve
from clis_core.config.run import RunConfig
from clis_core.config.train import TrainConfig
from clis_core.jobs.doctor import fit as module
from clis_core.jobs.doctor.drawn import drawn_batch
from clis_core.jobs.doctor.fit import checkpoints, judge, largest_part, suggest
from clis_core.jobs.doctor.measure import Measured, Size, measure, next_size, predicted_memory
from clis_core.report import SilentReporter

GB = 1_000_000_000


def config_of(name: str, **train: Any) -> RunConfig:
    return resolve([preset_layer(name), Layer("test", {"device": "cpu", **({"train": train} if train else {})})])


def sizes(*rows: tuple[int, float, float]) -> tuple[Size, ...]:
    return tuple(Size(images, round(memory * GB), seconds) for images, memory, seconds in rows)


def test_memory_is_told_by_a_line() -> None:
    assert predicted_memory(sizes((1, 3, 1), (2, 4, 2)), 16) == 18 * GB
    assert predicted_memory(sizes((0, 1, 0), (1, 9, 1), (2, 4, 2), (4, 6, 2)), 8) == 10 * GB
    assert predicted_memory(sizes((1, 4, 1), (2, 4, 2)), 16) == 4 * GB
    assert predicted_memory(sizes((0, 1, 0), (1, 3, 2)), 4) == 9 * GB


def test_what_is_measured_next() -> None:
    start = (0, 0.5, 0)
    assert next_size(list(sizes(start)), 4, 10 * GB) == (1, "")
    assert next_size(list(sizes(start, (1, 1, 0.1))), 4, 10 * GB) == (2, "")
    assert next_size(list(sizes(start, (1, 1, 0.1), (2, 1.1, 0.2))), 3, 10 * GB) == (3, "")
    assert next_size(list(sizes(start, (1, 1, 0.1), (2, 1.1, 0.2))), 2, 10 * GB) == (0, "")
    assert next_size(list(sizes(start, (1, 3, 0.1), (2, 5.1, 0.2))), 16, 10 * GB) == (0, "memory")
    assert next_size(list(sizes(start, (1, 6, 0.1))), 16, 10 * GB) == (0, "memory")
    assert next_size(list(sizes(start, (1, 3, 90.0))), 16, 10 * GB) == (0, "time")


def test_a_training_that_fits() -> None:
    config = config_of("baseline-r50-1x")
    found = Measured(
        sizes((0, 1, 0), (1, 4, 0.2), (2, 5, 0.3), (4, 7, 0.5), (8, 11, 0.9), (16, 19, 1.6)), 80 * GB, GB, ""
    )
    (check,) = judge(config, 1203, found)
    assert check.level == "fine"
    assert check.figures["exact"] is True
    assert check.figures["memory"] == 19 * GB
    assert check.figures["seconds"] == pytest.approx(1.6 * 90_000)
    assert check.figures["largest"] == 16 + 53
    assert check.figures["suggestion"]["lr"] == 0.02
    assert "learning rate 0.02" in check.text
    assert "40.0 hours for 90000 steps" in check.text


def test_a_training_that_does_not_fit_is_told_in_parts_or_with_another_batch() -> None:
    config = config_of("baseline-r50-1x")
    found = Measured(sizes((0, 1, 0), (1, 4, 1.0), (2, 6, 2.0)), 12 * GB, GB, "memory")
    assert largest_part(found) == 4  # 0.9 of 12 GB
    (check,) = judge(config, 1203, found)
    assert check.level == "error"
    assert "baseline-r50-1x does not fit: 16 images of 1203 classes at a time take 34.0 GB" in check.text
    assert check.figures["fits"] is False
    assert check.figures["seconds_a_step"] == pytest.approx(16.0)
    assert "--set train.accumulate=4" in str(check.hint)
    assert "--batch 4 --iterations 360000 (learning rate 0.005)" in str(check.hint)


def test_parts_divide_the_batch() -> None:
    train = TrainConfig(batch=12, lr=0.02, lr_batch=16)
    assert [suggest(train, largest).accumulate for largest in (12, 7, 5, 4, 1, 0)] == [1, 2, 3, 3, 12, 12]
    assert suggest(train, 12).lr == pytest.approx(0.015)
    cut = TrainConfig(batch=16, accumulate=4)
    assert suggest(cut, 16).accumulate == 4


def test_where_memory_ran_out_the_size_before_is_the_largest() -> None:
    rows = sizes((0, 1, 0), (1, 2, 1.0), (2, 3, 2.0))
    assert largest_part(Measured(rows, 64 * GB, GB, "full")) == 2
    assert largest_part(Measured(rows, 64 * GB, GB, "time")) == 2 + 54
    assert largest_part(Measured(rows[:2], 64 * GB, GB, "time")) == 1 + 55


def test_a_long_step_is_enough_to_tell_from() -> None:
    found = Measured(sizes((0, 0.5, 0), (1, 3, 200.0)), 20 * GB, GB, "time")
    (check,) = judge(config_of("clis-r50-1x"), 1203, found)
    assert check.level == "error"
    assert "take 40.5 GB (told from steps with 1)" in check.text
    assert "train.accumulate=4" in str(check.hint)  # four at a time: 10.5 GB


@pytest.mark.parametrize("before", [(), sizes((0, 1, 0))])
def test_not_even_one_image(before: tuple[Size, ...]) -> None:
    (check,) = judge(config_of("baseline-r50-1x"), 1203, Measured(before, 2 * GB, 0, "full"))
    assert check.level == "error"
    assert "Not even one image" in check.text
    assert check.hint


def test_what_could_not_be_measured_is_a_warning() -> None:
    (check,) = judge(config_of("baseline-tiny"), 9, Measured((), 2 * GB, 0, "ValueError: odd"))
    assert check.level == "warning"
    assert "ValueError: odd" in check.text


def test_checkpoints_need_room() -> None:
    train = TrainConfig(keep=2)
    assert checkpoints(train, GB, 100 * GB)[0].level == "fine"
    (check,) = checkpoints(train, GB, 3 * GB)
    assert check.level == "error"
    assert "A checkpoint takes 1000 MB; up to 4" in check.text
    assert checkpoints(train, 0, 3 * GB) == []


def test_drawn_images_are_the_largest_that_training_sees() -> None:
    config = config_of("clis-r50-1x")
    batch = drawn_batch(config, 1203, 1)
    assert batch.images[0].size == (800, 1333)
    assert len(batch.companions[0].mosaics) == 4
    assert len(batch.companions[0].patches) == 2
    assert len(batch.targets[0].boxes) == 12 + 2
    assert drawn_batch(config_of("baseline-tiny"), 5, 3).companions == []
    for target in drawn_batch(config_of("baseline-tiny"), 5, 3).targets:
        assert 1 <= int(target.labels.min()) <= int(target.labels.max()) <= 5
        assert bool((target.boxes[:, 2:] > target.boxes[:, :2]).all())


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["baseline-tiny", "clis-tiny"])
def test_real_steps_are_measured_in_a_process_of_their_own(preset: str) -> None:
    config = config_of(preset, ema=0.99)
    found = measure(config, 7, 50, 2, 64 * GB, SilentReporter())
    assert found.stopped == ""
    assert [size.images for size in found.sizes] == [0, 1, 2]
    assert all(size.seconds > 0 and math.isfinite(size.seconds) for size in found.sizes[1:])
    assert found.sizes[0].memory <= found.sizes[1].memory <= found.sizes[2].memory
    assert found.sizes[0].memory > 100_000_000  # torch alone
    assert found.state > 2 * 4 * 11_000_000  # weights and averages of ResNet-18


@pytest.mark.slow
def test_what_goes_wrong_in_the_process_is_told() -> None:
    config = config_of("baseline-tiny").model_copy(update={"device": "cuda:99"})
    found = measure(config, 7, 50, 2, 64 * GB, SilentReporter())
    assert found.sizes == ()
    assert "cuda:99" in found.stopped


@pytest.mark.slow
def test_a_process_that_is_killed_for_its_memory_is_told_so() -> None:
    class Killing(SilentReporter):
        def info(self, text: str) -> None:
            for child in multiprocessing.active_children():
                child.kill()

    found = measure(config_of("baseline-tiny"), 7, 50, 64, 64 * GB, Killing())
    assert found.stopped == "full"
    assert [size.images for size in found.sizes] == [0, 1]
    assert judge(config_of("baseline-tiny"), 7, found)[0].level == "error"


def test_fit_measures_a_part_of_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def measured(config: RunConfig, *words: Any) -> Measured:
        asked.append(words[:4])
        return Measured(sizes((0, 1, 0), (1, 1, 0.5), (2, 1.5, 1.0), (4, 2, 2.0)), 64 * GB, GB, "")

    monkeypatch.setattr(module, "measure", measured)
    config = config_of("baseline-r50-1x", accumulate=4)
    checks = module.fit(config, 80, 1000, 64 * GB, 100 * GB, SilentReporter())
    assert asked == [(80, 1000, 4, 64 * GB)]
    assert checks[0].figures["seconds_a_step"] == pytest.approx(8.0)
    assert [check.area for check in checks] == ["fit", "disk"]

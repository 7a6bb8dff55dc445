"""The largest batch: the search, the rule of the learning rate, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clis_core.config.load import Layer, preset_layer, resolve
from clis_core.errors import ClisError, ConfigError
from clis_core.jobs import find_batch as module
from clis_core.jobs.find_batch import find_batch, largest, with_batch
from clis_core.jobs.train import train
from clis_core.report import SilentReporter
from clis_core.training.optim import scaled_rate
from clis_core.training.ranks import ALONE

CONFIG = resolve([preset_layer("baseline-tiny")])


class Heard(SilentReporter):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def info(self, text: str) -> None:
        self.texts.append(text)


@pytest.mark.parametrize("most", [1, 2, 3, 7, 64, 100])
def test_the_largest_number_that_fits_is_found_whatever_it_is(most: int) -> None:
    for limit in range(most + 5):
        tried: list[int] = []

        def fits(n: int, limit: int = limit, tried: list[int] = tried) -> bool:
            tried.append(n)
            return n <= limit

        assert largest(fits, most) == min(limit, most)
        assert len(tried) == len(set(tried))
        assert all(1 <= n <= most for n in tried)
        assert len(tried) <= 2 * most.bit_length() + 1


def test_it_doubles_before_it_halves() -> None:
    tried: list[int] = []
    assert largest(lambda n: tried.append(n) or n <= 11, 1024) == 11  # type: ignore[func-returns-value]
    assert tried == [1, 2, 4, 8, 16, 12, 10, 11]


def test_rate_and_steps_follow_the_batch() -> None:
    heard = Heard()
    new = with_batch(CONFIG, 10, heard, "10 images at a time").train
    old = CONFIG.train
    assert (new.batch, new.lr, new.lr_batch) == (10, old.lr, old.lr_batch)
    assert scaled_rate(new) == pytest.approx(scaled_rate(old) * 10 / old.batch)
    assert new.iterations == round(old.iterations * old.batch / 10)
    assert "Batch 10 (10 images at a time) in place of 4: learning rate 0.00125 in place of 0.0005" in heard.texts[0]


def test_a_cpu_has_no_such_limit(drawn_lvis: Path, tmp_path: Path) -> None:
    config = resolve([preset_layer("baseline-tiny"), Layer("test", {"data": {"root": drawn_lvis}, "device": "cpu"})])
    with pytest.raises(ConfigError, match="tries what a GPU holds") as caught:
        train(config, tmp_path / "run", find=True, reporter=SilentReporter())
    assert caught.value.hint == "clis doctor --preset baseline-tiny measures the memory of a step and tells what fits"
    assert not (tmp_path / "run").exists()


def on_gpu(monkeypatch: pytest.MonkeyPatch, answer: int) -> list[tuple[object, ...]]:
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a GPU")
    monkeypatch.setattr(module, "_apart", lambda *words: asked.append(words) or answer)  # type: ignore[func-returns-value]
    return asked


def test_parts_and_the_size_of_the_data_count(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = on_gpu(monkeypatch, 6)
    config = CONFIG.model_copy(update={"train": CONFIG.train.model_copy(update={"accumulate": 2})})
    found = find_batch(config, 7, 100, 30, torch.device("cuda:0"), ALONE, Heard())
    assert found.train.batch == 12
    assert asked[0][1:] == (7, 30, "cuda:0", 50)  # a step never has more images than there are


def test_not_even_one_image(monkeypatch: pytest.MonkeyPatch) -> None:
    on_gpu(monkeypatch, 0)
    with pytest.raises(ConfigError, match="Not even one image"):
        find_batch(CONFIG, 7, 100, 0, torch.device("cuda:0"), ALONE, Heard())


def sizes_up_to(limit: int) -> object:
    def steps(state: object, config: object, classes: int, images: int, device: object) -> object:
        if images > limit + 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return module_size(images)

    return steps


def module_size(images: int) -> object:
    from clis_core.jobs.doctor.measure import Size

    return Size(images, images * 100, 0.1)


def test_steps_that_fail_and_steps_that_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU: 11 images would still run, but leave less than a tenth free."""
    cleaned: list[int] = []
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1111, 2000))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: cleaned.append(1))
    monkeypatch.setattr(module, "steps", sizes_up_to(10))
    words = CONFIG.model_dump(mode="json"), 3, 0, "cpu", 64
    assert module._largest(*words) == 9  # 999.9 bytes may be filled
    assert len(cleaned) == 8  # 1, 2, 4, 8, 16, 12, 10, 9
    monkeypatch.setattr(module, "steps", lambda *_: (_ for _ in ()).throw(RuntimeError("another fault")))
    with pytest.raises(RuntimeError, match="another fault"):
        module._largest(*words)


def test_a_process_that_fails_is_told() -> None:
    with pytest.raises(ClisError, match="could not be found"):
        module._apart(CONFIG.model_dump(mode="json"), 3, 0, "cuda:77", 4)

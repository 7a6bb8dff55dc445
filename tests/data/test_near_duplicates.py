"""Near-duplicates: a hash that survives encoding and resizing, and the exact rule of who stays."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from clis_core.data import near_duplicates as module
from clis_core.data.near_duplicates import NearDuplicates, are_alike, colours_of, difference_hash
from clis_core.errors import ConfigError


def picture(seed: int, width: int = 160, height: int = 120) -> Image.Image:
    """Something with shapes of many sizes."""
    random = np.random.default_rng(seed)
    total = np.full((height, width, 3), 128.0)
    for cells in (3, 7, 20):
        noise = Image.fromarray(random.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        total += (np.asarray(noise.resize((width, height), Image.Resampling.BICUBIC), float) - 128) / cells**0.5
    return Image.fromarray(total.clip(0, 255).astype(np.uint8))


def tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> Image.Image:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return Image.open(file).convert("RGB")


def distance(a: int, b: int) -> int:
    return (a ^ b).bit_count()


def by_loops(image: Image.Image) -> int:
    """The definition, in fractions."""
    pixels = np.asarray(image).astype(int)
    height, width, _ = pixels.shape

    def mean(row: int, column: int) -> Fraction:
        total = Fraction(0)
        for y in range(height):
            down = min(Fraction(y + 1), Fraction((row + 1) * height, 8)) - max(Fraction(y), Fraction(row * height, 8))
            for x in range(width) if down > 0 else ():
                right, left = Fraction((column + 1) * width, 9), Fraction(column * width, 9)
                along = min(Fraction(x + 1), right) - max(Fraction(x), left)
                if along > 0:
                    red, green, blue = pixels[y, x].tolist()
                    total += down * along * Fraction(299 * red + 587 * green + 114 * blue, 1000)
        return total / Fraction(height * width, 72)

    value = 0
    for row in range(8):
        for column in range(8):
            value = 2 * value + (mean(row, column + 1) - mean(row, column) > 1)
    return value


def one_after_the_other(hashes: Sequence[int], threshold: int, forced: int = 0) -> list[int]:
    """The rule, as two loops; the first ``forced`` hashes are kept whatever they are near."""
    kept: list[int] = []
    found = []
    for k, value in enumerate(hashes):
        near = next((i for i in kept if distance(hashes[i], value) <= threshold), -1)
        if near < 0 or k < forced:
            kept.append(k)
        found.append(near)
    return found


def added(duplicates: NearDuplicates, hashes: Sequence[int]) -> list[int]:
    found = [duplicates.add(value) for value in hashes]
    return [-1 if index is None else index for index in found]


@pytest.mark.parametrize(("width", "height"), [(9, 8), (31, 17), (18, 40), (5, 3), (1, 1), (10, 1)])
def test_the_hash_is_what_it_says(width: int, height: int) -> None:
    image = picture(1, width, height)
    assert difference_hash(image) == by_loops(image)
    assert difference_hash(tensor(image)) == by_loops(image)


def test_bits_are_in_reading_order() -> None:
    pixels = np.zeros((80, 90, 3), np.uint8)
    pixels[:10, 10:] = 200  # the first row grows lighter once, at its second cell
    assert difference_hash(Image.fromarray(pixels)) == 1 << 63
    pixels = np.zeros((80, 90, 3), np.uint8)
    pixels[70:, 80:] = 200
    assert difference_hash(Image.fromarray(pixels)) == 1


def test_tall_pictures_are_summed_exactly() -> None:
    pixels = np.full((66_001, 9, 3), 255, np.uint8)
    pixels[:, 0] = 254  # one level is not more than one level; the sum of 255s, 16,830,255, is no float32
    assert difference_hash(Image.fromarray(pixels)) == 0
    pixels[:, 0] = 253
    assert difference_hash(Image.fromarray(pixels)) == int.from_bytes(b"\x80" * 8, "big")


def test_other_modes_and_memory_orders() -> None:
    image = picture(2)
    assert difference_hash(image.convert("RGBA")) == difference_hash(image)
    assert difference_hash(tensor(image).contiguous()) == difference_hash(image)
    assert difference_hash(image.convert("L")) == difference_hash(image.convert("L").convert("RGB"))


def test_pictures_without_contrast_have_no_bits() -> None:
    noise = np.random.default_rng(0).normal(128, 5, (150, 200, 3)).clip(0, 255).astype(np.uint8)
    plain = [Image.new("RGB", (50, 40), grey) for grey in ("black", "grey", "white")]
    assert [difference_hash(image) for image in [*plain, Image.fromarray(noise)]] == [0, 0, 0, 0]


def test_copies_are_near_and_others_are_not() -> None:
    hashes = []
    for seed in range(20):
        image = picture(seed, 200, 150)
        value = difference_hash(image)
        copies = [
            encoded(image, quality=90),
            encoded(image, quality=30),
            encoded(image, "WEBP", quality=60),
            encoded(image.resize((100, 75), Image.Resampling.BICUBIC), quality=85),
            encoded(image.resize((333, 250), Image.Resampling.LANCZOS), quality=85),
            image.convert("L").convert("RGB"),
        ]
        assert max(distance(value, difference_hash(copy)) for copy in copies) <= module.THRESHOLD
        assert distance(value, difference_hash(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))) > 10
        hashes.append(value)
    assert min(distance(a, b) for k, a in enumerate(hashes) for b in hashes[:k]) > module.THRESHOLD


@pytest.mark.slow
def test_real_pictures(cocosmall: Path) -> None:
    images = [Image.open(path).convert("RGB") for path in sorted((cocosmall / "images/train").glob("*.jpg"))]
    hashes = [difference_hash(image) for image in images]
    assert set(NearDuplicates().add_all(hashes).tolist()) == {-1}
    for image, value in zip(images, hashes, strict=True):
        half = image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC)
        assert distance(value, difference_hash(encoded(image, quality=50))) <= module.THRESHOLD
        assert distance(value, difference_hash(encoded(half, quality=85))) <= module.THRESHOLD


# Few bits in few places: many hashes are near each other, many are the same.
_BITS = st.sampled_from([0, 1, 7, 15, 31, 32, 33, 50, 63])
_HASH = st.sets(_BITS, max_size=5).map(lambda bits: sum(1 << bit for bit in bits))
_ANY = st.integers(0, 2**64 - 1)


@settings(deadline=None, max_examples=200)
@given(
    hashes=st.lists(_HASH | _ANY, max_size=60),
    threshold=st.sampled_from([0, 1, 2, 4, 10, 63]),
    forced=st.integers(0, 8),
    cut=st.integers(0, 60),
    dear=st.sampled_from([0, 10**9]),
)
def test_the_first_stays(hashes: list[int], threshold: int, forced: int, cut: int, dear: int) -> None:
    expected = one_after_the_other(hashes, threshold, forced)
    forced = min(forced, len(hashes))
    single, batch = NearDuplicates(threshold), NearDuplicates(threshold)
    for duplicates in (single, batch):
        assert [duplicates.keep(value) for value in hashes[:forced]] == list(range(forced))
    rest = hashes[forced:]
    assert added(single, rest) == expected[forced:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_DEARER", dear)  # 0: always by the index; a lot: always one by one
        found = [*batch.add_all(rest[:cut]).tolist(), *batch.add_all(rest[cut:]).tolist()]
    assert found == expected[forced:]
    assert len(single) == len(batch) == len(hashes)
    assert [single.find(value) for value in hashes] == [batch.find(value) for value in hashes]


def planted(number: int) -> NDArray[np.uint64]:
    random = np.random.default_rng(0)
    hashes = random.integers(0, 2**64, number, dtype=np.uint64)
    for k in range(1, number, 3):
        value = int(hashes[random.integers(0, k)])
        for bit in random.choice(64, random.integers(0, 9), replace=False):
            value ^= 1 << int(bit)
        hashes[k] = value
    return hashes


@pytest.mark.parametrize("threshold", [0, 4, 7])
def test_many(threshold: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", 64)  # more blocks than one
    hashes = planted(1500)
    expected = one_after_the_other(hashes.tolist(), threshold)
    assert 30 < sum(index >= 0 for index in expected) < 1000
    assert NearDuplicates(threshold).add_all(hashes).tolist() == expected
    assert added(NearDuplicates(threshold), hashes.tolist()) == expected


def test_the_index_serves_many_and_gives_way_where_it_would_cost_more() -> None:
    hashes = planted(3000)
    assert module._near_pairs(hashes, 4) is not None
    assert module._near_pairs(hashes, 20) is None
    alike = np.arange(4096, dtype=np.uint64) << np.uint64(20)  # all have the other pieces in common
    assert module._near_pairs(alike, 4) is None
    assert NearDuplicates(4).add_all(alike).tolist() == one_after_the_other(alike.tolist(), 4)


def test_without_numpys_bit_count(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = np.append(planted(400), np.array([0, 2**64 - 1], np.uint64))
    assert module._bit_count_by_sums(hashes).tolist() == [value.bit_count() for value in hashes.tolist()]
    expected = NearDuplicates().add_all(hashes).tolist()
    monkeypatch.setattr(module, "_bit_count", module._bit_count_by_sums)
    assert NearDuplicates().add_all(hashes).tolist() == expected
    assert added(NearDuplicates(), hashes.tolist()) == expected


def test_validation_pictures_all_stay() -> None:
    duplicates = NearDuplicates(2)
    assert [duplicates.keep(0b000), duplicates.keep(0b011)] == [0, 1]
    assert duplicates.add(0b1111) == 1, "it is near the second one, which add would have dropped"
    assert duplicates.add(0b1) == 0
    assert duplicates.add(2**64 - 1) is None
    assert duplicates.find(2**64 - 2) == 4
    assert len(duplicates) == 5


def test_validation_pictures_all_stay_in_a_batch() -> None:
    duplicates = NearDuplicates(2)
    duplicates.keep(0b000)
    duplicates.keep(0b011)
    random = np.random.default_rng(0).integers(0, 2**64, 500, dtype=np.uint64)
    found = duplicates.add_all(np.append(np.array([0b1111, 0b1], np.uint64), random))
    assert found.tolist() == [1, 0, *[-1] * 500]


@pytest.mark.parametrize("threshold", [-1, 64])
def test_no_threshold(threshold: int) -> None:
    with pytest.raises(ConfigError) as caught:
        NearDuplicates(threshold)
    assert caught.value.hint


def test_find_all_finds_what_find_finds_and_the_others() -> None:
    found = NearDuplicates()
    for value in (0, 2**63, 0b1111, 0b11111, 0):
        found.keep(value)
    assert found.find_all(0) == [0, 1, 2, 4]
    assert found.find(0) == 0
    assert found.find_all(2**64 - 1) == []


def test_colours_tell_pictures_of_one_hash_apart() -> None:
    red, blue = (tensor(Image.new("RGB", (80, 60), colour)) for colour in ("red", "blue"))
    assert difference_hash(red) == difference_hash(blue)
    assert not are_alike(colours_of(red), colours_of(blue))
    drawn = picture(3)
    other = encoded(drawn.resize((80, 60)), quality=40)
    assert colours_of(tensor(drawn)).shape == (16, 16, 3)
    assert are_alike(colours_of(tensor(drawn)), colours_of(tensor(other)))
    assert not are_alike(colours_of(tensor(drawn)), colours_of(tensor(picture(4))))

"""Patches: the box frames the instance wherever it is pasted, and everything fits into any image."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clis_core.batch import Patch
from clis_core.config.pictures import Paste
from clis_core.data.mosaic import resize_uint8
from clis_core.data.paste import DrawnPatch, cut_patch, draw_patch, pick
from tests.data.painted import PAINTS, find, painted, random_box

IMAGE = (240, 320)


def config(**fields: object) -> Paste:
    return Paste.model_validate(fields)


def patch_of(
    seed: int, place: int, picture: torch.Tensor, box: np.ndarray, size: tuple[int, int], paste: Paste
) -> Patch:
    return cut_patch(draw_patch(seed, place, size, paste), picture, box, 9, 2, size)


def pasted(patch: Patch, size: tuple[int, int]) -> torch.Tensor:
    """The patch over a black image."""
    image = torch.zeros((3, *size), dtype=torch.uint8)
    height, width = patch.pixels.shape[-2:]
    image[:, patch.top : patch.top + height, patch.left : patch.left + width] = patch.pixels
    return image


@pytest.mark.parametrize("flip", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(6))
def test_the_box_frames_the_instance(seed: int, flip: float) -> None:
    random = np.random.default_rng(seed)
    size = (int(random.integers(50, 300)), int(random.integers(50, 300)))
    box = random_box(random, size)
    patch = patch_of(seed, 11, painted(size, box.tolist(), PAINTS[0]), box, IMAGE, config(flip=flip))
    assert (patch.label, patch.source) == (9, 2)
    assert patch.box.dtype == torch.float32
    # The ground of the picture is more like black than like the paint.
    np.testing.assert_allclose(patch.box.numpy(), find(pasted(patch, IMAGE), PAINTS[0], (0, 0, 0)), atol=1.01)


def test_a_mirrored_patch_is_mirrored_within_its_place() -> None:
    picture = painted((100, 160), (0.2, 0.3, 0.5, 0.8), PAINTS[1])
    picture[:, 40:50, 40:50] = torch.tensor(PAINTS[2], dtype=torch.uint8)[:, None, None]  # a corner, so not symmetric
    box = np.array([0.2, 0.3, 0.5, 0.8], np.float32)
    plain, mirrored = (patch_of(0, 3, picture, box, IMAGE, config(flip=f)) for f in (0.0, 1.0))
    assert torch.equal(mirrored.pixels, plain.pixels.flip(-1))
    assert not torch.equal(mirrored.pixels, plain.pixels)
    assert (mirrored.top, mirrored.left, mirrored.opacity) == (plain.top, plain.left, plain.opacity)
    width = plain.pixels.shape[-1]
    wanted = plain.box.clone()
    wanted[0], wanted[2] = 2 * plain.left + width - plain.box[2], 2 * plain.left + width - plain.box[0]
    torch.testing.assert_close(mirrored.box, wanted)


def test_margin_size_and_opacity_are_drawn_from_their_ranges() -> None:
    picture, box = painted((200, 300), (0.3, 0.3, 0.6, 0.6), PAINTS[0]), np.array([0.3, 0.3, 0.6, 0.6], np.float32)
    paste = config(margin=(1.2, 1.4), side=(0.2, 0.3), opacity=(0.5, 0.7))
    patches = [patch_of(0, place, picture, box, IMAGE, paste) for place in range(60)]
    root = math.sqrt(IMAGE[0] * IMAGE[1])
    for patch in patches:
        sides = (patch.box[2:] - patch.box[:2]).tolist()
        assert 0.2 * root - 1.5 <= max(sides) <= 0.3 * root + 1.5
        assert sides[0] / sides[1] == pytest.approx(90 / 60, rel=0.1)
        ratio = patch.pixels.shape[-1] / sides[0]
        assert 1.15 <= ratio <= 1.5  # whole pixels around the margin
        assert 0.5 <= patch.opacity <= 0.7
    assert max(p.opacity for p in patches) > 0.65
    assert min(p.opacity for p in patches) < 0.55
    assert max(float(p.box[2] - p.box[0]) for p in patches) > 0.28 * root
    assert min(float(p.box[2] - p.box[0]) for p in patches) < 0.22 * root
    corners = np.array([(p.top, p.left) for p in patches])
    assert (np.ptp(corners, axis=0) > np.array(IMAGE) * 0.5).all()  # they lie everywhere


def test_a_patch_reaches_every_edge() -> None:
    picture, whole = painted((30, 50), (0, 0, 1, 1), PAINTS[0]), np.array([0, 0, 1, 1], np.float32)
    for part, place in (((0.0, 0.0), (0, 0)), ((0.9999, 0.0), (240 - 30, 0)), ((0.0, 0.9999), (0, 320 - 50))):
        patch = cut_patch(DrawnPatch(1.0, 50.0, False, part, 0.6), picture, whole, 1, 0, IMAGE)
        assert patch.pixels.shape == (3, 30, 50)
        assert (patch.top, patch.left) == place
        assert patch.box.tolist() == [place[1], place[0], place[1] + 50, place[0] + 30]


def test_opaque_patches_cover_and_small_ones_are_made_larger() -> None:
    picture, box = painted((100, 100), (0.4, 0.4, 0.6, 0.6), PAINTS[0]), np.array([0.4, 0.4, 0.6, 0.6], np.float32)
    patch = patch_of(0, 0, picture, box, (600, 800), config(mode="opaque", side=(0.01, 0.01), min_side=50))
    assert patch.opacity == 1.0
    assert float((patch.box[2:] - patch.box[:2]).max()) == pytest.approx(50, abs=1.5)


relative = st.floats(0, 1, width=32)
long = st.integers(1, 400)


@settings(max_examples=300, deadline=None)
@given(
    picture=st.one_of(st.tuples(long, long), st.tuples(st.just(1), long), st.tuples(long, st.just(1))),
    image=st.one_of(st.tuples(st.integers(1, 1400), st.integers(1, 1400)), st.tuples(st.just(1), long)),
    corners=st.tuples(relative, relative, relative, relative),
    place=st.integers(0, 2**40),
    paste=st.sampled_from(
        [config(), config(flip=1.0), config(min_side=2000), config(side=(1, 1), margin=(3, 9)), config(margin=(1, 1))]
    ),
)
def test_everything_fits(
    picture: tuple[int, int], image: tuple[int, int], corners: tuple[float, ...], place: int, paste: Paste
) -> None:
    x, y = sorted(corners[::2]), sorted(corners[1::2])
    box = np.array([x[0], y[0], x[1], y[1]], np.float32)
    patch = patch_of(0, place, torch.zeros((3, *picture), dtype=torch.uint8), box, image, paste)
    height, width = patch.pixels.shape[-2:]
    assert patch.pixels.dtype == torch.uint8
    assert 1 <= height <= image[0]
    assert 1 <= width <= image[1]
    assert 0 <= patch.top <= image[0] - height
    assert 0 <= patch.left <= image[1] - width
    x0, y0, x1, y1 = patch.box.tolist()
    slack = 1e-3
    assert patch.left - slack <= x0 <= x1 - 1 + slack
    assert x1 <= patch.left + width + slack
    assert patch.top - slack <= y0 <= y1 - 1 + slack
    assert y1 <= patch.top + height + slack


def test_a_region_of_a_part_of_a_pixel_has_a_box_with_an_area() -> None:
    box = np.array([0.5, 0.0, 0.5000001, 1.0], np.float32)
    patch = patch_of(0, 0, torch.zeros((3, 20_000, 3), dtype=torch.uint8), box, IMAGE, config(min_side=1))
    assert float((patch.box[2:] - patch.box[:2]).min()) == pytest.approx(1)


@pytest.mark.parametrize("seed", range(8))
def test_a_picture_may_be_decoded_smaller_as_far_as_the_patch_needs(seed: int) -> None:
    random = np.random.default_rng(seed)
    full = (int(random.integers(300, 900)), int(random.integers(300, 900)))
    box = random_box(random, full)
    drawn = draw_patch(seed, 0, IMAGE, config(margin=(1, 1)))
    needed = drawn.needed(full, box)
    scale = needed / min(full)
    region = np.array([(box[3] - box[1]) * full[0], (box[2] - box[0]) * full[1]])
    assert region.max() * scale >= drawn.side - 1e-3  # nothing is enlarged that need not be
    assert region.max() * (needed - 1) / min(full) < drawn.side  # and no smaller picture would do
    picture = painted(full, box.tolist(), PAINTS[0])
    smaller = resize_uint8(picture, (round(full[0] * scale), round(full[1] * scale)))
    a, b = (cut_patch(drawn, pixels, box, 1, 0, IMAGE) for pixels in (picture, smaller))
    torch.testing.assert_close(a.box, b.box, atol=6.0, rtol=0)
    np.testing.assert_allclose(b.box.numpy(), find(pasted(b, IMAGE), PAINTS[0], (0, 0, 0)), atol=1.6)


def test_a_function_of_seed_and_place_alone() -> None:
    first = [draw_patch(0, place, IMAGE, config()) for place in range(30)]
    assert first == [draw_patch(0, place, IMAGE, config()) for place in reversed(range(30))][::-1]
    assert not set(first) & {draw_patch(1, place, IMAGE, config()) for place in range(30)}
    assert len(set(first)) == 30


def test_picking_takes_t_different_pictures() -> None:
    counts = [5, 1, 9, 1, 70, 3, 2, 8]
    found = [pick(0, position, counts, 3, "uniform") for position in range(400)]
    assert all(len(set(p)) == 3 for p in found)
    often = np.bincount(np.concatenate(found), minlength=8)
    assert often.min() > 100  # of 150
    assert found == [pick(0, position, counts, 3, "uniform") for position in range(400)]
    assert found != [pick(1, position, counts, 3, "uniform") for position in range(400)]
    assert pick(0, 0, counts, 0, "uniform") == []


def test_picking_the_rarest() -> None:
    counts = [5, 1, 9, 1, 70, 1, 2, 8]
    found = [pick(0, position, counts, 2, "rare") for position in range(300)]
    assert {i for p in found for i in p} == {1, 3, 5}  # those of one image each, ties by chance
    assert np.bincount(np.concatenate(found), minlength=6)[[1, 3, 5]].min() > 150
    assert all(p[3] == 6 for p in (pick(0, position, counts, 4, "rare") for position in range(20)))

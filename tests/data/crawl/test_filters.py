"""Pictures that are of no use, each with its reason."""

from __future__ import annotations

import hashlib

import pytest
from PIL import Image, ImageFilter

from clis_core.data.crawl.filters import Filter, examine
from clis_core.data.near_duplicates import difference_hash
from clis_core.data.picture import RefusedPictureError
from tests.data.crawl.web import encode, jpeg, photo


def test_what_is_known_of_a_good_picture() -> None:
    data = jpeg(1)
    facts = examine(data, "x", Filter())
    assert (facts.sha256, facts.size) == (hashlib.sha256(data).hexdigest(), len(data))
    assert (facts.height, facts.width) == (120, 160)
    assert (facts.hash ^ difference_hash(photo(1))).bit_count() <= 4


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"<html>not found</html>", "a web page or text"),
        (b'<?xml version="1.0"?><svg/>', "a web page or text"),
        (jpeg(1)[:2000], "cut short"),
        (jpeg(1, width=63, height=200), "a side below 64 pixels"),
        (jpeg(1, width=400, height=80), "longer than 4 to 1"),
        (encode(Image.new("RGB", (100, 100), (200, 10, 10)), "PNG"), "of one colour"),
        (encode(photo(1).convert("L").point(lambda v: 100 + v // 64)), "of one colour"),
    ],
)
def test_what_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(RefusedPictureError) as error:
        examine(data, "x", Filter())
    assert error.value.reason == reason


@pytest.mark.parametrize(
    "data",
    [
        encode(photo(1), "PNG"),
        encode(photo(1), "WEBP"),
        encode(photo(1), "GIF"),
        encode(photo(1).convert("CMYK")),
        encode(photo(1).convert("L")),
        jpeg(1, width=64, height=64),
        jpeg(1, width=400, height=100),
        encode(photo(1).filter(ImageFilter.GaussianBlur(20))),
    ],
)
def test_what_is_kept(data: bytes) -> None:
    assert examine(data, "x", Filter()).size == len(data)


def test_limits_are_the_callers() -> None:
    wanted = Filter(min_side=10, max_aspect=10, min_contrast=0)
    assert examine(jpeg(1, width=100, height=20), "x", wanted).width == 100
    with pytest.raises(RefusedPictureError):
        examine(jpeg(1), "x", Filter(min_contrast=200))

"""One decoder: every kind of file to the same upright RGB, every damaged one to a reason."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch import Tensor

from clis_core.data import decode as module
from clis_core.data.decode import decode, read_image
from clis_core.errors import DataError

HEIGHT, WIDTH = 121, 160


def smooth() -> Image.Image:
    """A smooth picture, which survives JPEG well; no two of its corners are alike."""
    noise = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)


def encode(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **({"quality": 95} if kind == "JPEG" else {}) | options)
    return file.getvalue()


def hwc(image: Tensor) -> np.ndarray:
    return image.permute(1, 2, 0).numpy()


def difference(image: Tensor, reference: Image.Image) -> float:
    return float(np.abs(hwc(image).astype(int) - np.asarray(reference).astype(int)).mean())


def oriented(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


@pytest.fixture(params=["torchvision", "pillow"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways: with torchvision's operators, and without, as when it drops them."""
    if request.param == "pillow":
        monkeypatch.setattr(module, "_operator", lambda _: None)
    elif module._operator("JPEG") is None:
        pytest.skip("this torchvision has no decoders")
    return str(request.param)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    ("data", "tolerance"),
    [
        (encode(smooth()), 2),
        (encode(smooth(), progressive=True), 2),
        (encode(smooth().convert("CMYK")), 2),
        (encode(smooth(), "PNG"), 0),
        (encode(smooth().convert("RGBA"), "PNG"), 0),
        (encode(smooth(), "WEBP", lossless=True), 0),
        (encode(smooth(), "BMP"), 0),
        (encode(smooth(), "TIFF"), 0),
        (encode(smooth(), "GIF", save_all=True, append_images=[smooth().rotate(180)]), 14),
    ],
)
def test_kinds(data: bytes, tolerance: float) -> None:
    image = decode(data, "x")
    assert image.shape == (3, HEIGHT, WIDTH)
    assert image.dtype == torch.uint8
    assert image.stride() == (1, 3 * WIDTH, 3)  # channels last
    assert difference(image, smooth()) <= tolerance


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(("mode", "kind"), [("L", "JPEG"), ("L", "PNG"), ("1", "PNG"), ("P", "PNG"), ("LA", "PNG")])
def test_modes(mode: str, kind: str) -> None:
    image = smooth().convert(mode)
    assert difference(decode(encode(image, kind), "x"), image.convert("RGB")) <= 2 * (kind == "JPEG")


@pytest.mark.usefixtures("backend")
def test_palette_with_transparency() -> None:
    image = smooth().quantize(16)
    data = encode(image, "PNG", transparency=bytes([0, 100, 255]))
    assert difference(decode(data, "x"), image.convert("RGB")) == 0


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled(kind: str) -> None:
    values = np.linspace(0, 65535, HEIGHT * WIDTH).astype(np.uint16).reshape(HEIGHT, WIDTH)
    image = decode(encode(Image.fromarray(values), kind), "x")
    expected = np.round(values / 65535 * 255).astype(np.uint8)
    assert np.array_equal(hwc(image)[..., 0], expected)
    assert np.array_equal(hwc(image)[..., 2], expected)


@pytest.mark.usefixtures("backend")
def test_sixteen_bits_of_colour_are_scaled() -> None:
    values = np.random.default_rng(0).integers(0, 65536, (4, 5, 3)).astype(">u2")
    raw = b"".join(b"\0" + row.tobytes() for row in values)
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in (
        (b"IHDR", (5).to_bytes(4, "big") + (4).to_bytes(4, "big") + bytes([16, 2, 0, 0, 0])),
        (b"IDAT", zlib.compress(raw)),
        (b"IEND", b""),
    ):
        data += len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
    image = hwc(decode(data, "x")).astype(int)
    assert np.abs(image - values.astype(int) / 257).max() <= 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(backend: str, orientation: int, kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(smooth(), kind, exif=oriented(orientation), **options)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    image = decode(data, "x", size=upright.size[::-1])
    assert image.stride(0) == 1
    assert image.stride(2) == 3
    assert difference(image, upright) == 0
    unturned = decode(data, "x", exif=False, size=(HEIGHT, WIDTH))
    assert difference(unturned, smooth()) < 2


@pytest.mark.parametrize("orientation", [1, 6])
def test_orientation_of_tiff(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = decode(encode(smooth(), "TIFF", exif=exif), "x")
    assert image.shape[1:] == ((HEIGHT, WIDTH) if orientation == 1 else (WIDTH, HEIGHT))


@pytest.mark.usefixtures("backend")
def test_damaged_exif_does_not_matter() -> None:
    for kind in ("JPEG", "WEBP"):
        data = encode(smooth(), kind, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xffgarbage")
        assert decode(data, "x").shape == (3, HEIGHT, WIDTH)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("keep", [0.02, 0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_cut_short(kind: str, keep: float) -> None:
    data = encode(smooth(), kind)
    with pytest.raises(DataError) as caught:
        decode(data[: int(len(data) * keep)], "dog.jpg")
    assert caught.value.message.startswith("dog.jpg ")
    assert "0x" not in caught.value.message
    assert caught.value.hint


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"\n <!DOCTYPE html><html></html>", "is a web page"),
        (b"<HTML><body>404</body></HTML>", "is a web page"),
        (b'<?xml version="1.0"?><svg/>', "XML or SVG"),
        (b"\x1f\x8b\x08\x00" + b"\0" * 40, "gzip"),
        (b"text" * 100, "is no image"),
        (b"\xff\xd8\xff\xe0", "cut short"),
        (b"\xff\xd8\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "cut short"),
        (b"\x89PNG\r\n\x1a\n", "cut short"),
        (encode(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"), "32 bits"),
    ],
)
def test_no_image(data: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        decode(data, "x")


def bomb(kind: str) -> bytes:
    """A small file that claims to be 60,000 x 60,000 pixels."""
    data = bytearray(encode(Image.new("RGB", (64, 64)), kind))
    if kind == "JPEG":
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = (60000).to_bytes(2, "big") * 2
    elif kind == "PNG":
        data[16:24] = (60000).to_bytes(4, "big") * 2
        data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    else:
        data[6:10] = (60000).to_bytes(2, "little") * 2
    return bytes(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF"])
def test_bombs_are_not_decoded(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_by_torchvision", lambda *_: pytest.fail("decoded"))
    monkeypatch.setattr(module, "_by_pillow", lambda *_: pytest.fail("decoded"))
    with pytest.raises(DataError) as caught:
        decode(bomb(kind), "x")
    assert "too large" in caught.value.message or "exceeds limit" in caught.value.message
    assert len(bomb(kind)) < 2000


def test_limit_of_pixels() -> None:
    data = encode(smooth())
    assert decode(data, "x", max_pixels=HEIGHT * WIDTH).shape[1] == HEIGHT
    with pytest.raises(DataError, match="160 x 121 pixels; at most 19359"):
        decode(data, "x", max_pixels=HEIGHT * WIDTH - 1)


def photo(orientation: int = 1) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((1201, 903), Image.Resampling.BICUBIC)
    return encode(image, exif=oriented(orientation))


@pytest.mark.parametrize(
    ("at_least", "side"),
    [(904, 903), (903, 903), (452, 903), (451, 452), (226, 452), (225, 226), (112, 113), (5, 113)],
)
def test_large_photos_are_decoded_smaller(at_least: int, side: int) -> None:
    image = decode(photo(), "x", at_least=at_least, size=(903, 1201))
    assert image.shape[1] == side
    assert image.stride(0) == 1
    full = Image.open(io.BytesIO(photo())).convert("RGB")
    reduced = full.resize((image.shape[2], image.shape[1]), Image.Resampling.BOX)
    assert difference(image, reduced) < 3


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_large_photos_stay_upright(orientation: int) -> None:
    data = photo(orientation)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    image = decode(data, "x", at_least=200, size=upright.size[::-1])
    reduced = upright.resize((image.shape[2], image.shape[1]), Image.Resampling.BOX)
    assert min(image.shape[1:]) == 226
    assert difference(image, reduced) < 3
    with pytest.raises(DataError, match="but the annotations say"):
        decode(data, "x", at_least=200, size=(upright.size[1], upright.size[0] + 1))
    unturned = decode(data, "x", at_least=200, exif=False, size=(903, 1201))
    assert unturned.shape[1:] == (226, 301)


def test_other_kinds_are_not_made_smaller() -> None:
    assert decode(encode(smooth(), "PNG"), "x", at_least=10).shape == (3, HEIGHT, WIDTH)
    assert decode(encode(smooth().convert("CMYK")), "x", at_least=30, size=(HEIGHT, WIDTH)).shape[1] == 31


@pytest.mark.usefixtures("backend")
def test_size_that_contradicts_the_annotations(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(encode(smooth()))
    assert read_image(path, size=(HEIGHT, WIDTH)).shape == (3, HEIGHT, WIDTH)
    with pytest.raises(DataError) as caught:
        read_image(path, size=(HEIGHT, WIDTH + 1))
    assert str(path) in caught.value.message
    assert "160 x 121" in caught.value.message
    assert "161 x 121" in caught.value.message
    path.write_bytes(encode(smooth(), exif=oriented(6)))
    with pytest.raises(DataError) as caught:
        read_image(path, size=(HEIGHT, WIDTH))
    assert "--set data.exif=false" in (caught.value.hint or "")
    with pytest.raises(DataError) as caught:
        read_image(path, size=(WIDTH, HEIGHT), exif=False)
    assert "--set data.exif=true" in (caught.value.hint or "")


def test_unreadable_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jpg", tmp_path):
        with pytest.raises(DataError) as caught:
            read_image(path)
        assert str(path) in caught.value.message
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"")
    with pytest.raises(DataError) as caught:
        read_image(broken)
    assert str(broken) in caught.value.message


@pytest.mark.slow
def test_both_ways_agree_on_photographs(cocosmall: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in sorted((cocosmall / "images/val").iterdir()):
        fast = read_image(path)
        with monkeypatch.context() as patch:
            patch.setattr(module, "_operator", lambda _: None)
            slow = read_image(path)
        assert torch.equal(fast, slow)

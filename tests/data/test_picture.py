"""Files that should be pictures: copied, encoded anew, or refused with a reason."""

import gzip
import io
import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clis_core.data.decode import MAX_PIXELS, decode, header_of
from clis_core.data.picture import MAX_BYTES, RefusedPictureError, check_picture
from clis_core.errors import DataError

RNG = np.random.default_rng(3)
PIXELS = np.kron(RNG.integers(0, 256, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)  # 48 x 64


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def picture(mode: str = "RGB") -> Image.Image:
    return Image.fromarray(PIXELS).convert(mode)


JPEG = encoded(picture(), "JPEG", quality=90)


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


@pytest.mark.parametrize(
    "data",
    [
        JPEG,
        encoded(picture("L"), "JPEG"),
        encoded(picture(), "JPEG", progressive=True),
        encoded(picture(), "JPEG", exif=exif(1)),
        JPEG + b"a comment of the camera's after the end",
    ],
    ids=["baseline", "grey", "progressive", "upright by EXIF", "bytes after the end"],
)
def test_a_good_jpeg_is_copied_byte_for_byte(data: bytes) -> None:
    found = check_picture(data, "x.jpg")
    assert found.data == data
    assert (found.height, found.width, found.changed) == (48, 64, ())


def sixteen_bits() -> bytes:
    return encoded(Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257), "PNG")


@pytest.mark.parametrize(
    ("data", "changed"),
    [
        (encoded(picture(), "PNG"), ("PNG",)),
        (encoded(picture("RGBA"), "PNG"), ("PNG",)),
        (sixteen_bits(), ("PNG",)),
        (encoded(picture("P"), "GIF"), ("GIF",)),
        (encoded(picture(), "WEBP", lossless=True), ("WEBP",)),
        (encoded(picture(), "BMP"), ("BMP",)),
        (encoded(picture(), "TIFF"), ("TIFF",)),
        (encoded(picture("CMYK"), "JPEG"), ("CMYK or 12 bits",)),
        (gzip.compress(encoded(picture(), "PNG")), ("gzip", "PNG")),
    ],
    ids=["png", "rgba", "16 bits", "gif", "webp", "bmp", "tiff", "cmyk", "gzip png"],
)
def test_other_files_become_jpegs_of_the_same_pixels(data: bytes, changed: tuple[str, ...]) -> None:
    found = check_picture(data, "x")
    assert found.changed == changed
    before = decode(gzip.decompress(data) if changed[0] == "gzip" else data, "x").float()
    after = decode(found.data, "x").float()
    assert after.shape == (3, 48, 64)
    assert (before - after).abs().mean() < 4


def test_a_gzipped_jpeg_is_its_inside() -> None:
    found = check_picture(gzip.compress(JPEG), "x.jpg")
    assert found.data == JPEG
    assert found.changed == ("gzip",)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_turned_jpeg_is_made_upright(orientation: int) -> None:
    data = encoded(picture(), "JPEG", exif=exif(orientation), quality=95)
    found = check_picture(data, "x.jpg")
    assert found.changed == ("turned upright",)
    assert (found.height, found.width) == ((64, 48) if orientation >= 5 else (48, 64))
    unturned = decode(found.data, "x", exif=False)
    assert torch.equal(unturned, decode(found.data, "x"))  # it no longer says that it is to be turned
    assert (unturned.float() - decode(data, "x").float()).abs().mean() < 4


def test_long_sides_are_made_shorter_on_request() -> None:
    found = check_picture(JPEG, "x.jpg", max_side=32)
    assert (found.height, found.width, found.changed) == (24, 32, ("made smaller",))
    assert decode(found.data, "x").shape == (3, 24, 32)
    assert check_picture(JPEG, "x.jpg", max_side=64).data == JPEG


def bomb(side: int) -> bytes:
    """A PNG of some kilobytes that says side x side pixels, and holds them."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    squeeze = zlib.compressobj(9)
    row = bytes(side + 1)
    body = b"".join(squeeze.compress(row) for _ in range(64)) + squeeze.flush()
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (gzip.compress(b""), "empty"),
        (b"<!DOCTYPE html><html>404 Not Found</html>", "a web page or text"),
        (b"\xef\xbb\xbf\n {'error': 'no such file'}", "a web page or text"),
        (gzip.compress(b"<html>"), "a web page or text"),
        (b"\x00\x01\x02\x03" * 20, "no picture"),
        (JPEG[: len(JPEG) // 2], "cut short"),
        (JPEG[:30], "no picture"),
        (encoded(picture(), "PNG")[:-40], "damaged"),
        (gzip.compress(JPEG)[:20] + b"\xff" * 40, "damaged gzip"),
        (gzip.compress(JPEG)[:-30], "damaged gzip"),
        (bomb(30_000), "more than 89478485 pixels"),
        (encoded(picture().resize((4, 64)), "JPEG"), "a side below 16 pixels"),
    ],
    ids=["empty", "gzip of nothing", "html", "json", "gzip of html", "noise", "half a jpeg", "a jpeg's start",
         "cut png", "damaged gzip", "cut gzip", "bomb", "thin"],
)  # fmt: skip
def test_what_is_refused_and_why(data: bytes, reason: str) -> None:
    with pytest.raises(RefusedPictureError) as caught:
        check_picture(data, "x", min_side=16)
    assert caught.value.reason == reason


def test_gzip_is_not_unpacked_beyond_the_limit() -> None:
    with pytest.raises(RefusedPictureError, match="larger than 64 MiB"):
        check_picture(gzip.compress(bytes(MAX_BYTES + 1)), "x")


def test_a_jpeg_that_passes_is_one_that_training_can_read() -> None:
    """Every cut of a JPEG is either refused here or read to its end by the decoder."""
    for end in range(2, len(JPEG), 7):
        try:
            found = check_picture(JPEG[:end], "x.jpg")
        except RefusedPictureError:
            continue
        assert decode(found.data, "x").shape == (3, 48, 64)


JPEGS = [
    JPEG,
    encoded(picture("L"), "JPEG"),
    encoded(picture(), "JPEG", optimize=True, subsampling=0),
    encoded(picture(), "JPEG", restart_marker_blocks=3),
    encoded(picture(), "JPEG", progressive=True),
    encoded(picture(), "JPEG", exif=exif(6)),
]
DAMAGE = st.tuples(
    st.sampled_from(["set", "cut", "insert", "drop"]),
    st.floats(0, 1),
    st.sampled_from([b"\xff", b"\x00", b"\xff\xd9", b"\xff\xd0", b"\xff\xda", b"\xff\xc4", b"\xff\xd8", b"\x7f\x01"]),
)


def damaged(data: bytes, damages: list[tuple[str, float, bytes]]) -> bytes:
    for kind, where, what in damages:
        at = 2 + int(where * (len(data) - 2))
        if kind == "set":
            data = data[:at] + what + data[at + len(what) :]
        elif kind == "insert":
            data = data[:at] + what + data[at:]
        elif kind == "drop":
            data = data[:at] + data[at + 5 :]
        else:
            data = data[:at] + what
    return data


@given(st.sampled_from(JPEGS), st.lists(DAMAGE, min_size=1, max_size=4))
def test_a_jpeg_is_judged_as_if_all_of_it_were_decoded(data: bytes, damages: list[tuple[str, float, bytes]]) -> None:
    """`check_picture` leaves out what cannot fail; here every byte goes through the decoder."""
    data = damaged(data, damages)
    try:
        header = header_of(data, "x")
    except DataError:
        return
    if header.kind != "JPEG" or not header.plain or header.height * header.width > MAX_PIXELS // 100:
        return
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            image.draft("L", (1, 1))
            image.load()
        readable = True
    except Exception:
        readable = False
    try:
        check_picture(data, "x")
        accepted = True
    except RefusedPictureError as error:
        accepted = error.reason not in ("cut short", "damaged")
    assert accepted == readable


def test_a_damaged_exif_leaves_the_picture_as_it_is() -> None:
    block = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x04oops\0\0"
    data = JPEG[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + JPEG[2:]
    assert check_picture(data, "x").data == data


def test_large_pictures_of_every_kind_are_called_so() -> None:
    tiff = bytearray(encoded(picture(), "TIFF"))
    for tag in (0x0100, 0x0101):  # width and height, as long integers
        at = tiff.index(struct.pack("<H", tag), 8)
        tiff[at : at + 12] = struct.pack("<HHII", tag, 4, 1, 30_000)
    for data in (bomb(30_000), bytes(tiff)):
        with pytest.raises(RefusedPictureError, match="more than 89478485 pixels"):
            check_picture(data, "x")


def test_the_real_class_tars(tinylvis) -> None:
    import tarfile

    refused = []
    for path in sorted((tinylvis / "imagenet").glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member)
                assert file is not None
                try:
                    found = check_picture(file.read(), member.name)
                except RefusedPictureError as error:
                    refused.append((member.name, error.reason))
                else:
                    assert decode(found.data, member.name).shape[1:] == (found.height, found.width)
    assert ("n01917289_207.JPEG", "empty") in refused
    assert ("n04597913_271.JPEG", "a web page or text") in refused
    assert len(refused) < 40

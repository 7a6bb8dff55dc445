"""Readers of files that others write: some mutations of each, and what fuzzing has found before."""

from __future__ import annotations

import io
import random
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from clis_core.data.decode import decode
from clis_core.errors import ClisError, DataError
from clis_core.evaluation.detections import Detections
from tests.fuzz.attempt import attempt, lay_out
from tests.fuzz.mutate import mutate
from tests.fuzz.readers import readers

NAMES = [
    *("annotations", "taxonomy", "ground truth", "results json", "detections", "manifest", "shard index", "shard"),
    *("shard as a stream", "tar of pictures", "regions", "regions.json", "region list", "region csv", "config"),
    *("clis.toml", "checkpoint", "weights", "safetensors", "about", "map csv", "map json", "split file", "class list"),
    *("addresses csv", "addresses json", "list csv", "list jsonl", "list json", "picture", "log", "annotation cache"),
    *("voc xml", "voc list"),
    *("calibration.json", "metrics.json", "mistakes.json", "per_class.json"),
]
QUICK = settings(
    max_examples=25, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def test_every_reader_is_here() -> None:
    assert sorted(readers()) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_good_file_is_taken(tmp_path: Path, name: str) -> None:
    reader = readers()[name]
    path = lay_out(reader, tmp_path / "it")
    for good in reader.good:
        path.write_bytes(good)
        if name == "about":  # of a detector without its config
            with pytest.raises(ClisError):
                reader.read(path)
        else:
            reader.read(path)


@pytest.mark.parametrize("name", NAMES)
@QUICK
@given(number=st.integers(0, 2**32))
def test_only_our_errors_come_out(tmp_path: Path, name: str, number: int) -> None:
    reader, dice = readers()[name], random.Random(number)
    path = lay_out(reader, tmp_path / "it")
    assert attempt(reader, path, mutate(dice.choice(reader.good), dice)) is None


def _npy(header: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header.encode() + b"\n" + bytes(64)


DEEP = b"[" * 100_000
BOTH = (b'{"annotations": [], "annotations": [{}], ', b'"images": [{"id": 1, "width": 4, "height": 4}], ')
FOUND = [
    ("annotations", b"".join(BOTH) + b'"categories": []}'),  # the list twice: a record that the last one does not have
    ("annotations", b'{"images": [], "annotations": [{}, {"id": "x"}], "annotations": [], "categories": []}'),
    ("results json", DEEP),
    ("config", b"x = " + DEEP),
    ("clis.toml", b"x = " + DEEP),
    ("about", DEEP),
    ("log", b'{"kind": "train", "x": ' + DEEP + b"\n"),
    ("metrics.json", DEEP),
    ("mistakes.json", DEEP),
    ("annotation cache", DEEP),
    ("map csv", b'label,"category"x\n'),
    ("shard index", _npy("{'descr': (")),
    ("shard index", _npy("{'descr': '<i8', 'fortran_order': False, 'shape': (1, 2 3)}")),
    ("shard index", _npy("{'descr': '<i8', 'fortran_order': False, 'shape': (99999999999999999999,)}")),
    ("shard index", _npy("{'descr': '<i8', 'fortran_order': False, 'shape': (1000000000,)}")),
    ("regions", _npy("{'descr': (")),
    ("regions", _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}")),
]


@pytest.mark.parametrize(("name", "data"), FOUND)
def test_what_was_found_before(tmp_path: Path, name: str, data: bytes) -> None:
    reader = readers()[name]
    assert attempt(reader, lay_out(reader, tmp_path / "it"), data) is None


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1" * 400])
@pytest.mark.parametrize("field", ["samples", "size"])
def test_numbers_of_a_manifest_beyond_all_bounds(tmp_path: Path, field: str, number: str) -> None:
    import re

    reader = readers()["manifest"]
    text = re.sub(rf'("{field}": )\d+', rf"\g<1>{number}", reader.good[0].decode())
    assert attempt(reader, lay_out(reader, tmp_path / "it"), text.encode()) is None


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1"])
def test_a_flipped_bit_of_a_png_does_not_end_the_process(mode: str) -> None:
    """torchvision's decoder does, at nearly every bit."""
    pixels = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    out, dice = io.BytesIO(), random.Random(0)
    Image.fromarray(pixels).convert(mode).save(out, "PNG")
    whole = out.getvalue()
    refused = 0
    for _ in range(10):
        data = bytearray(whole)
        data[dice.randrange(whole.index(b"IDAT") + 8, len(data) - 16)] ^= 16
        try:
            assert decode(bytes(data), "it").shape == (3, 24, 32)
        except DataError:
            refused += 1
    assert refused >= 5


def test_a_bomb_of_detections_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        with zipfile.ZipFile(io.BytesIO(readers()["detections"].good[0])) as good:
            file.writestr("header.npy", good.read("header.npy"))
        header = "{'descr': '<i8', 'fortran_order': False, 'shape': (20000000,)}"
        file.writestr("image_ids.npy", _npy(header)[:-64] + bytes(160_000_000))
    assert path.stat().st_size < 1_000_000
    with pytest.raises(DataError, match="compressed"):
        Detections.load(path)


@pytest.mark.parametrize("name", ["annotations", "shard as a stream", "checkpoint", "config", "list csv"])
def test_links_that_lead_nowhere_or_to_themselves(tmp_path: Path, name: str) -> None:
    reader = readers()[name]
    path = lay_out(reader, tmp_path / "it")
    for target in (path, tmp_path / "nothing"):
        path.unlink(missing_ok=True)
        path.symlink_to(target)
        with warnings.catch_warnings(), pytest.raises(ClisError) as caught:
            reader.read(path)
        assert caught.value.hint

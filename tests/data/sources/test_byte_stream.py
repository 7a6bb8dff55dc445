"""Files as streams: the same bytes by any compression, an error where a file ends or breaks early."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clis_core.data.sources import byte_stream as module
from clis_core.data.sources.byte_stream import PlainBytes, UnreadableError, byte_stream, compression_of
from clis_core.errors import DataError

CONTENT = np.random.default_rng(0).integers(0, 64, 2 << 20, dtype=np.uint8).tobytes()
HALF = len(CONTENT) // 2


def xz(data: bytes) -> bytes:
    return lzma.compress(data, preset=0)


def xz_in_two(data: bytes) -> bytes:
    """Two streams with padding between and behind them, as xz allows."""
    return xz(data[:HALF]) + bytes(8) + xz(data[HALF:]) + bytes(4)


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "gzip in two": lambda data: gzip.compress(data[:HALF]) + gzip.compress(data[HALF:]),
    "bzip2": bz2.compress,
    "bzip2 in two": lambda data: bz2.compress(data[:HALF]) + bz2.compress(data[HALF:]),
    "xz": xz,
    "xz in two": xz_in_two,
}


@pytest.mark.parametrize("kind", list(PACKED))
def test_the_same_bytes(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(PACKED[kind](CONTENT))
    assert compression_of(path) == (None if kind == "plain" else kind.split(maxsplit=1)[0])
    with byte_stream(path) as stream:
        assert isinstance(stream, PlainBytes) == (kind == "plain")
        pieces = [stream.read(n) for n in (0, 1, 511, 70_000)]
        assert stream.skip(1_500_000)
        assert stream.position == 1_570_512
        assert b"".join(pieces) == CONTENT[:70_512]
        assert stream.read(5 << 20) == CONTENT[1_570_512:]
        assert stream.read(1) == b""
        assert stream.read(1) == b""
        assert stream.skip(0)
        assert not stream.skip(1)
        assert stream.position == len(CONTENT)


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz", "xz in two"])
@pytest.mark.parametrize("keep", [0.3, 0.8, 0.9999])
def test_cut_short(tmp_path: Path, kind: str, keep: float) -> None:
    path = tmp_path / "x"
    data = PACKED[kind](CONTENT).rstrip(b"\0")
    path.write_bytes(data[: int(len(data) * keep)])
    with byte_stream(path) as stream, pytest.raises(UnreadableError, match="cut short"):
        list(iter(lambda: stream.read(100_000), b""))


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz"])
def test_garbage_within_and_behind(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    data = bytearray(PACKED[kind](CONTENT))
    data[len(data) // 2 : len(data) // 2 + 99] = b"?" * 99
    path.write_bytes(data)
    with byte_stream(path) as stream, pytest.raises(UnreadableError, match="cannot be read"):
        stream.skip(len(CONTENT) + 1)


def test_xz_that_asks_for_much_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    path.write_bytes(lzma.compress(b"x" * 1000, preset=9))
    with byte_stream(path) as stream:
        assert stream.read(2000) == b"x" * 1000
    monkeypatch.setattr(module, "_XZ_MEMORY", 32 << 20)
    with byte_stream(path) as stream, pytest.raises(UnreadableError, match="Memory usage limit"):
        stream.read(2000)


@pytest.mark.parametrize(("start", "name"), [(b"\x28\xb5\x2f\xfd", "zstd"), (b"PK\x03\x04", "zip")])
def test_compressions_that_are_not_read(tmp_path: Path, start: bytes, name: str) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(start + bytes(100))
    with pytest.raises(DataError, match=f"compressed by {name}") as caught:
        compression_of(path)
    assert str(path) in (caught.value.hint or "")


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, words in ((tmp_path / "none", "No such file"), (tmp_path, "regular"), (tmp_path / "pipe", "regular")):
        with pytest.raises(DataError, match=words):
            compression_of(path)


def test_a_broken_disk(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(CONTENT)
    with byte_stream(path) as stream:
        assert isinstance(stream, PlainBytes)
        stream._file.close()
        stream._file = Broken()  # type: ignore[assignment]
        with pytest.raises(UnreadableError, match="Input/output error"):
            stream.read(10)


class Broken:
    def seek(self, offset: int) -> int:
        return offset

    def read(self, size: int) -> bytes:
        raise OSError(5, "Input/output error")

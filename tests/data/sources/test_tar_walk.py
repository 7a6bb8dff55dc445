"""Tars, whole and hostile: what `tarfile` writes is read as it reads it, damage is told, memory stays constant."""

from __future__ import annotations

import contextlib
import io
import tarfile
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clis_core.data.sources.byte_stream import UnpackedBytes, UnreadableError
from clis_core.data.sources.tar_walk import MAX_HEADER, DamagedTarError, EntryKind, TarWalk
from tests.pack import tar_bytes

FILES = [("a/1.jpg", b"x" * 700), ("a/2.jpg", b""), ("b/3.jpg", b"y" * 512)]


def walk(data: bytes) -> TarWalk:
    return TarWalk(UnpackedBytes(io.BytesIO(data)))


def read(data: bytes) -> list[tuple[str, bytes]]:
    tar = walk(data)
    return [(e.path, tar.read(e)) for e in tar if e.kind is EntryKind.FILE and e.size < 1 << 20]


def header(name: str, *, size: int = 0, kind: bytes = tarfile.REGTYPE, **fields: Any) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    for key, value in fields.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.GNU_FORMAT)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


END = bytes(1024)


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_formats(format: int) -> None:
    assert read(tar_bytes(FILES, format=format)) == FILES


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@given(
    names=st.lists(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=150),
        max_size=4,
    ),
    sizes=st.lists(st.integers(0, 1100), min_size=4, max_size=4),
)
@settings(deadline=None, max_examples=60)
def test_as_tarfile_reads_it(format: int, names: list[str], sizes: list[int]) -> None:
    names = [name.rstrip("/") + "." for name in names]  # a slash at the end would make it a folder
    data = tar_bytes([(n, bytes([k + 1]) * s) for k, (n, s) in enumerate(zip(names, sizes, strict=False))], "w", format)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        expected = [
            (m.name.encode("utf-8", "surrogateescape"), m.offset_data, m.size) for m in tar.getmembers() if m.isreg()
        ]
    found = [
        (e.path.encode("utf-8", "surrogateescape"), e.offset, e.size) for e in walk(data) if e.kind is EntryKind.FILE
    ]
    assert found == expected


def test_data_may_be_left_unread() -> None:
    tar = walk(tar_bytes(FILES))
    seen = [(entry.path, tar.read(entry) if entry.path.startswith("b") else None) for entry in tar]
    assert seen == [("a/1.jpg", None), ("a/2.jpg", None), FILES[2]]
    assert tar.last == "b/3.jpg"


def test_what_is_no_regular_file() -> None:
    kinds = {
        "link": tarfile.SYMTYPE,
        "hard": tarfile.LNKTYPE,
        "char": tarfile.CHRTYPE,
        "block": tarfile.BLKTYPE,
        "fifo": tarfile.FIFOTYPE,
        "unknown": b"Q",
    }
    data = b"".join(header(name, kind=kind, linkname="/etc/passwd") for name, kind in kinds.items())
    data += header("folder", kind=tarfile.DIRTYPE, size=512) + header("x.jpg", size=3) + padded(b"abc") + END
    tar = walk(data)
    entries = [(e.path, e.kind, tar.read(e)) for e in tar]
    assert entries[:-2] == [(name, EntryKind.OTHER, b"") for name in kinds]
    assert entries[-2] == ("folder", EntryKind.FOLDER, b"")  # old tars give folders and links sizes without data
    assert entries[-1] == ("x.jpg", EntryKind.FILE, b"abc")


def test_sparse_files_are_passed_over() -> None:
    info = bytearray(header("s.jpg", size=512, kind=tarfile.GNUTYPE_SPARSE))
    info[482] = 1  # the map goes on in two more blocks
    info[148:156] = b"%06o\0 " % tarfile.calc_chksums(bytes(info))[0]
    more = bytearray(512)
    more[504] = 1
    pax = tar_bytes_with_pax({"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "q/t.jpg"})
    data = (
        bytes(info) + bytes(more) + bytes(512) + padded(b"z" * 9) + pax + header("x.jpg", size=1) + padded(b"a") + END
    )
    assert [(e.path, e.kind) for e in walk(data)] == [
        ("s.jpg", EntryKind.OTHER),
        ("q/t.jpg", EntryKind.OTHER),
        ("x.jpg", EntryKind.FILE),
    ]


def tar_bytes_with_pax(records: dict[str, str], size: int = 0) -> bytes:
    """One file with a pax header of these records, without an end mark."""
    info = tarfile.TarInfo("p.jpg")
    info.size, info.pax_headers = size, records
    return info.tobuf(tarfile.PAX_FORMAT) + padded(b"p" * size)


def test_pax_size_counts() -> None:
    info = tar_bytes_with_pax({"size": "700"})
    assert read(info + padded(b"d" * 700) + header("x") + END) == [("p.jpg", b"d" * 700), ("x", b"")]


def test_global_headers_are_passed_over() -> None:
    data = tarfile.TarInfo.create_pax_global_header({"comment": "x" * 2000, "path": "evil"})
    assert read(data + tar_bytes(FILES)) == FILES


def test_chains_of_extended_headers_do_not_nest() -> None:
    long = header("././@LongLink", kind=tarfile.GNUTYPE_LONGNAME, size=4) + padded(b"n.jp")
    assert read(long * 5000 + header("x") + END) == [("n.jp", b"")]


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE])
def test_huge_headers_are_not_read(kind: bytes) -> None:
    class Stream(UnpackedBytes):
        def read(self, size: int) -> bytes:
            assert size <= MAX_HEADER
            return super().read(size)

    data = header("x", kind=kind, size=8 << 30) + bytes(5000)
    with pytest.raises(DamagedTarError, match=f"claims {8 << 30} bytes"):
        list(TarWalk(Stream(io.BytesIO(data))))


@pytest.mark.parametrize(
    "records", [b"9999 path=x\n", b"x path=y\n", b"0 path=x\n", b"11 path=abcdef", b"-5 a=b\n", b"7 path\n"]
)
def test_damaged_pax_records(records: bytes) -> None:
    data = header("x", kind=tarfile.XHDTYPE, size=len(records)) + padded(records) + header("y") + END
    with pytest.raises(DamagedTarError, match="pax header"):
        list(walk(data))


@pytest.mark.parametrize("value", ["-1", "1e9", "9" * 21, ""])
def test_damaged_pax_sizes(value: str) -> None:
    with pytest.raises(DamagedTarError, match="pax header"):
        list(walk(tar_bytes_with_pax({"size": value}) + END))


def test_negative_sizes() -> None:
    data = bytearray(header("x"))
    data[124:136] = b"\xff" * 11 + b"\x00"  # base 256
    data[148:156] = b"%06o\0 " % tarfile.calc_chksums(bytes(data))[0]
    with pytest.raises(DamagedTarError, match="negative size"):
        list(walk(bytes(data) + END))


def test_cut_short_at_every_byte() -> None:
    data = tar_bytes(FILES)
    content = 3 * 512 + 1024 + 512
    for cut in range(0, content + 512, 64):
        with pytest.raises(DamagedTarError, match=r"cut short|no tar|empty"):
            read(data[:cut])
    assert read(data[: content + 512]) == FILES  # one block of zeros is an end, if nothing follows
    with pytest.raises(DamagedTarError) as caught:
        read(data[:content])
    assert caught.value.endless


def test_the_last_whole_entry() -> None:
    tar = walk(tar_bytes(FILES)[:700])
    with pytest.raises(DamagedTarError, match=r"cut short within 'a/1\.jpg'"):
        list(tar)
    assert tar.last is None
    tar = walk(tar_bytes(FILES)[: 512 + 1024 + 512 + 512 + 100])
    with pytest.raises(DamagedTarError, match=r"cut short within 'b/3\.jpg'"):
        list(tar)
    assert tar.last == "a/2.jpg"


def test_no_tar() -> None:
    for data in (b"hello", b"<html>" * 200, bytes(range(256)) * 8):
        with pytest.raises(DamagedTarError, match="no tar archive"):
            list(walk(data))
    with pytest.raises(DamagedTarError, match="empty"):
        list(walk(b""))


def test_damaged_header_in_the_middle() -> None:
    data = bytearray(tar_bytes(FILES))
    data[512 + 1024 + 3] ^= 1
    with pytest.raises(DamagedTarError, match="bad checksum in the header at byte 1536"):
        list(walk(bytes(data)))


def test_a_hole_of_zeros_is_not_the_end() -> None:
    many = tar_bytes([(f"{k}.jpg", bytes([k + 1]) * 700) for k in range(60)])
    holed = many[:1536] + bytes(16384) + many[1536 + 16384 :]
    with pytest.raises(DamagedTarError, match="hole of zeros at byte 1536"):
        list(walk(holed))
    one = many[:1536] + bytes(512) + many[2048:]
    with pytest.raises(DamagedTarError, match="hole of zeros at byte 1536"):
        list(walk(one))
    with pytest.raises(DamagedTarError, match="hole of zeros"):
        list(walk(many + bytes(2 << 20)))
    with pytest.raises(DamagedTarError, match="several tars"):
        list(walk(many + many))


def test_padding_of_other_writers() -> None:
    data = b"".join(header(name, size=len(content)) + padded(content) for name, content in FILES)
    assert read(data + END) == FILES
    assert read(data + bytes(1 << 19)) == FILES
    assert read(data + END + b"old" * 100) == FILES  # what was left in the record


def test_streams_within_streams() -> None:
    outer = walk(tar_bytes([("1.tar", tar_bytes(FILES)), ("2.tar", tar_bytes(FILES)[:1600]), ("3", b"three")]))
    seen: list[Any] = []
    for entry in outer:
        if entry.path == "1.tar":
            inner = TarWalk(outer.inner(entry))
            for file in inner:
                seen.append(inner.read(file))
                if len(seen) == 2:
                    break
        elif entry.path == "2.tar":
            with pytest.raises(DamagedTarError):
                list(TarWalk(outer.inner(entry)))
        else:
            seen.append(outer.read(entry))
    assert seen == [FILES[0][1], b"", b"three"]
    cut = walk(tar_bytes([("1.tar", tar_bytes(FILES))])[:1200])
    with pytest.raises(UnreadableError, match="cut short"):  # the outer tar's fault, not the inner one's
        [list(TarWalk(cut.inner(entry))) for entry in cut]


class Endless(io.RawIOBase):
    """A tar of very many small files, made as it is read."""

    def __init__(self, number: int) -> None:
        self._block = header("x" * 90 + ".jpg", size=1) + padded(b"d")
        self._left = number * len(self._block)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = min(len(buffer), self._left, 64 * len(self._block)) or len(buffer)
        data = self._block * 64 if self._left else bytes(size)
        buffer[:size] = data[:size]
        self._left -= size if self._left else 0
        return size


def test_memory_stays_constant() -> None:
    stream = UnpackedBytes(io.BufferedReader(Endless(64 * 300), 64 * 1024))
    tar = TarWalk(stream)
    peaks = []
    tracemalloc.start()
    try:
        for number, entry in enumerate(tar):
            tar.read(entry)
            if number % 6000 == 5999:
                peaks.append(tracemalloc.get_traced_memory()[1])
                tracemalloc.reset_peak()
            if number == 18_000:
                break
    finally:
        tracemalloc.stop()
    assert len(peaks) == 3
    assert peaks[-1] < peaks[0] + 20_000


@given(data=st.data())
@settings(deadline=None, max_examples=300)
def test_mutated_tars(data: st.DataObject) -> None:
    content = bytearray(tar_bytes(FILES, format=data.draw(st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 3600))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):  # so that more than the check of the sum is met
        for at in (0, 1536, 2048):
            block = content[at : at + 512]
            block[148:156] = b"%06o\0 " % tarfile.calc_chksums(bytes(block))[0]
            content[at : at + 512] = block
    with contextlib.suppress(DamagedTarError):  # and no other
        read(bytes(content[: data.draw(st.integers(0, len(content)))]))

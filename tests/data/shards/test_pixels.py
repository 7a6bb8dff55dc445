"""Pixels of a picture by its number: those of the file, or a smaller copy, or an error that names it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clis_core.data.shards.pixels import decode_picture
from clis_core.errors import DataError
from tests.data.painted import painted_shards


def test_whole_and_smaller(tmp_path: Path) -> None:
    shards = painted_shards(tmp_path / "s", 6, regions=False)
    for number in range(6):
        whole = decode_picture(shards, number)
        assert torch.equal(whole, shards.image(number))
        height, width = shards.size(number)
        half = decode_picture(shards, number, min(height, width) // 2)
        assert half.shape == (3, -(-height // 2), -(-width // 2))
        assert half.stride(0) == 1
        assert torch.equal(decode_picture(shards, number, min(height, width) // 2 + 1), whole)


def test_damage_names_shard_and_key(tmp_path: Path) -> None:
    shards = painted_shards(tmp_path / "s", 1, shards=1, regions=False)
    tar = tmp_path / "s" / "00000.tar"
    data = bytearray(tar.read_bytes())
    start = data.index(b"\xff\xda", 512)
    data[start : start + 60] = bytes(60)
    tar.write_bytes(data)
    for at_least in (None, 8):
        with pytest.raises(DataError) as caught:
            decode_picture(shards, 0, at_least)
        assert caught.value.message.startswith(f"{tar}, n00000003_0: the picture is damaged: ")
        assert caught.value.hint == f"See what is left: clis shards verify {tmp_path / 's'}"

"""`clis shards`: a folder of shards in, whether it is whole, or what it holds, out."""

from __future__ import annotations

from pathlib import Path

from clis_core.data.shards.info import Info
from clis_core.data.shards.info import info as read_info
from clis_core.data.shards.verify import Report
from clis_core.data.shards.verify import verify as check
from clis_core.report import Reporter


def verify_shards(folder: Path, *, decode: bool, reporter: Reporter) -> Report:
    """Check counts, hashes and pictures; see `clis_core.data.shards.verify.verify`."""
    return check(folder, decode=decode, reporter=reporter)


def shards_info(folder: Path) -> Info:
    """What a folder of shards holds; see `clis_core.data.shards.info.info`."""
    return read_info(folder)

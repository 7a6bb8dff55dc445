"""The one writer and the one lock."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clis_core.files import locked, replacing, write_text

HOLD = """
import os, sys, time
from pathlib import Path
from clis_core.files import locked
with locked(Path(sys.argv[1])) as held:
    assert held
    if os.fork() == 0:
        print("holds", flush=True)
    time.sleep(60)
"""


def _write_half(path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_text("half of tw")
        path.with_name("missing").read_text()


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    write_text(path, "one")
    with pytest.raises(FileNotFoundError):
        _write_half(path)
    assert path.read_text() == "one"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


@pytest.mark.skipif(sys.platform == "win32", reason="has no flock")
def test_a_child_of_a_killed_holder_does_not_hold_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "holds\n"
    with locked(path) as held:
        assert not held
    process.kill()
    process.wait()
    try:
        with locked(path) as held:
            assert held
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the child
        process.stdout.close()


@pytest.mark.skipif(sys.platform == "win32", reason="has no flock")
def test_a_lock_that_was_left_can_be_taken_again(tmp_path: Path) -> None:
    for _ in range(3):
        with locked(tmp_path / "lock") as held:
            assert held
            with locked(tmp_path / "lock") as other:
                assert not other

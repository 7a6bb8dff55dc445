"""The one writer and the one lock."""

import errno
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


def _full(path: Path) -> None:
    with replacing(path):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_told_with_the_file_that_was_meant(tmp_path: Path) -> None:
    """A write that fails names no file."""
    with pytest.raises(OSError, match="No space left") as caught:
        _full(tmp_path / "it")
    assert caught.value.filename == str(tmp_path / "it")
    with pytest.raises(FileNotFoundError) as missing:  # of another file, which keeps its name
        _write_half(tmp_path / "it")
    assert missing.value.filename == str(tmp_path / "missing")


@pytest.mark.skipif(sys.platform == "win32", reason="limits")
def test_a_file_that_may_not_grow_is_named(tmp_path: Path) -> None:
    script = (
        "import resource, sys; from pathlib import Path; from clis_core.files import write_text\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "try: write_text(Path(sys.argv[1]), 'x' * 100)\n"
        "except OSError as error: print(error.filename)"
    )
    words = [sys.executable, "-c", script, str(tmp_path / "it")]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    assert done.stdout.strip() == str(tmp_path / "it")
    assert list(tmp_path.iterdir()) == []

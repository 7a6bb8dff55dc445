"""Checkpoints with flipped bits, bombs and code in them: noticed, told, and left for the one before."""

from __future__ import annotations

import io
import pickle
import random
import shutil
import zipfile
from pathlib import Path

import pytest
import torch

from clis_core.config.workspace import checkpoints_of
from clis_core.detectors.checkpoint import HASH, DamagedCheckpointError, detector_from_checkpoint, read_checkpoint
from clis_core.errors import CheckpointError
from clis_core.report import SilentReporter
from clis_core.training.checkpoint import restore, save
from tests.training.test_loop import CLASSES, CONFIG, make_state, run_loop


class Warned(SilentReporter):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def warn(self, text: str) -> None:
        self.texts.append(text)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    run_loop(folder, make_state(CONFIG))
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A run of its own with checkpoints of steps 4 and 6."""
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 16
    path.write_bytes(data)


def place_of_weights(path: Path) -> int:
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
        return largest.header_offset + 200 + largest.file_size // 2


def test_a_flipped_bit_of_a_weight_is_noticed(run: Path) -> None:
    older, newest = checkpoints_of(run)
    flip(newest, place_of_weights(newest))
    torch.load(newest, weights_only=True)  # torch takes it
    with pytest.raises(DamagedCheckpointError, match="not what was written") as caught:
        detector_from_checkpoint(newest)
    assert "--checkpoint" in (caught.value.hint or "")
    state, reporter = make_state(CONFIG), Warned()
    assert restore(run, state, CLASSES, reporter) == older
    assert newest.name in reporter.texts[0]
    flip(older, place_of_weights(older))
    with pytest.raises(CheckpointError, match="none of the 2"):
        restore(run, make_state(CONFIG), CLASSES, SilentReporter())


def test_any_flipped_bit_is_noticed_or_changes_nothing(run: Path) -> None:
    path = checkpoints_of(run)[-1]
    whole, dice = path.read_bytes(), random.Random(0)
    want = read_checkpoint(path)
    weights = want["detector"]
    noticed = 0
    for number in range(24):
        path.write_bytes(whole)
        flip(path, dice.randrange(len(whole) if number % 2 else 20_000))  # the pickle is at the start
        try:
            found = read_checkpoint(path)
        except DamagedCheckpointError:
            noticed += 1
        else:
            assert all(torch.equal(weights[name], found["detector"][name]) for name in weights)
    assert noticed > 15


def test_a_damaged_checkpoint_does_not_take_the_place_of_a_good_one(run: Path) -> None:
    """It is newer than what is saved next, and one is kept."""
    older, newest = checkpoints_of(run)
    flip(newest, place_of_weights(newest))
    state = make_state(CONFIG)
    assert restore(run, state, CLASSES, SilentReporter()) == older
    state.step = 5
    saved = save(run, state, CLASSES, keep=1)
    assert checkpoints_of(run) == [saved]
    assert newest.with_name(f"{newest.name}.damaged").exists()
    detector_from_checkpoint(saved)


def test_checkpoints_of_before_the_hash_are_read(run: Path) -> None:
    path = checkpoints_of(run)[-1]
    content = torch.load(path, weights_only=True)
    del content[HASH]
    torch.save(content, path)
    assert restore(run, make_state(CONFIG), CLASSES, SilentReporter()) == path


class Evil:
    def __reduce__(self):
        return print, ("executed",)


def archive(pickled: bytes, *more: tuple[str, bytes], kind: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", kind) as file:
        for name, data in (("a/data.pkl", pickled), ("a/byteorder", b"little"), ("a/version", b"3\n"), *more):
            file.writestr(name, data)
    return out.getvalue()


@pytest.mark.parametrize("form", ["plain", "archive", "torch"])
def test_code_is_never_executed(tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    path = tmp_path / "evil.pt"
    evil = pickle.dumps({"format": 1, "step": Evil()}, protocol=2)
    if form == "torch":
        torch.save({"format": 1, "step": Evil()}, path)
    else:
        path.write_bytes(evil if form == "plain" else archive(evil))
    with pytest.raises(CheckpointError, match="would execute code"):
        detector_from_checkpoint(path)
    assert "executed" not in capsys.readouterr().out


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was loaded"))
    path = tmp_path / "bomb.pt"
    path.write_bytes(archive(b"\x80\x02}.", ("a/data/0", bytes(50 << 20)), kind=zipfile.ZIP_DEFLATED))
    assert path.stat().st_size < 100_000
    with pytest.raises(DamagedCheckpointError):
        read_checkpoint(path)
    data = bytearray(archive(b"\x80\x02}.", ("a/data/0", b"x" * 1000)))
    for mark, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):  # it says that it is larger
        start = data.rindex(mark)
        data[start + place : start + place + 4] = (1 << 30).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(DamagedCheckpointError):
        read_checkpoint(path)


def test_a_tensor_that_says_it_is_larger_than_its_memory(run: Path) -> None:
    path = checkpoints_of(run)[-1]
    content = torch.load(path, weights_only=True)
    content["best"] = torch.zeros(1).expand(10**6, 10**6)
    torch.save(content, path)
    with pytest.raises(DamagedCheckpointError, match="not what was written"):
        read_checkpoint(path)


def test_a_table_that_holds_itself_a_thousand_times(run: Path) -> None:
    path = checkpoints_of(run)[-1]
    content = torch.load(path, weights_only=True)
    inner: list[object] = []
    for _ in range(60):  # 2 ** 60 values to walk through
        inner = [inner, inner]
    content["best"] = inner
    torch.save(content, path)
    with pytest.raises(DamagedCheckpointError, match="not what was written"):
        read_checkpoint(path)


@pytest.mark.parametrize("key", ["categories", "detector_config", "detector", "step", "optimiser", "method"])
def test_parts_of_a_wrong_kind(run: Path, key: str) -> None:
    older, path = checkpoints_of(run)
    older.unlink()
    content = torch.load(path, weights_only=True)
    del content[HASH]
    for wrong in ("[" * 100_000, [1], None):
        torch.save({**content, key: wrong}, path)
        if key in ("categories", "detector_config", "step"):
            with pytest.raises(CheckpointError):
                detector_from_checkpoint(path)
        if key != "detector_config":  # the run's config says that
            with pytest.raises(CheckpointError):
                restore(run, make_state(CONFIG), CLASSES, SilentReporter())

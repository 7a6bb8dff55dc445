"""Why torch has no GPU, in words and with what to do; the GPU itself where there is one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clis_core.jobs.doctor.gpu import driver_version, gpu, runs_on, without_gpu

DRIVER_TEXT = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.57.02  Tue Jul 13 16:14:05 2021\nGCC version: 9\n"
OPEN_TEXT = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n"


@pytest.mark.parametrize(("text", "version"), [(DRIVER_TEXT, "470.57.02"), (OPEN_TEXT, "580.65.06"), ("?", None)])
def test_the_driver_says_its_version(tmp_path: Path, text: str, version: str | None) -> None:
    (tmp_path / "version").write_text(text)
    assert driver_version(tmp_path / "version") == version
    assert driver_version(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("built", "driver", "wanted", "level", "says"),
    [
        (None, None, "", "note", "runs on the CPU"),
        ("12.6", None, "", "note", "No NVIDIA driver"),
        ("12.6", None, "cuda", "error", "No NVIDIA driver"),
        (None, "550.1", "", "warning", "built without CUDA"),
        (None, "550.1", "cuda:1", "error", "built without CUDA"),
        ("12.6", "470.57.02", "", "warning", "470.57.02 is too old for CUDA 12.6"),
        ("13.2", "570.1", "", "warning", "needs 580"),
        ("12.6", "550.1", "", "warning", "torch finds no GPU: torch's words"),
    ],
)
def test_why_there_is_none(built: str | None, driver: str | None, wanted: str, level: str, says: str) -> None:
    (found,) = without_gpu(built, driver, ["torch's words\nand more"], wanted)
    assert found.level == level
    assert says in found.text
    assert found.hint or level == "note"


def test_apples_gpu() -> None:
    assert without_gpu(None, None, [], "", mps=True)[0].level == "fine"


@pytest.mark.parametrize(
    ("capability", "built", "works"),
    [
        ((8, 6), ["sm_80", "sm_90"], True),
        ((8, 0), ["sm_86"], False),
        ((12, 0), ["sm_80", "sm_90"], False),
        ((12, 0), ["sm_80", "sm_90", "compute_90"], True),
        ((12, 0), ["sm_120"], True),
        ((9, 0), ["sm_90a"], True),
        ((7, 0), ["sm_75", "compute_90"], False),
    ],
)
def test_what_code_runs_on(capability: tuple[int, int], built: list[str], works: bool) -> None:
    assert runs_on(capability, built) is works


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_is_tried() -> None:
    first = gpu("")[0]
    assert first.level in ("fine", "warning")
    assert first.figures["total"] >= first.figures["free"] > 0

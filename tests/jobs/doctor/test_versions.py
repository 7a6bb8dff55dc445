"""Packages that are missing, too old, or do not go together, and what is said to do about them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from clis_core.jobs.doctor.versions import imports, installed, mismatches, satisfies, too_old, versions


def of(**found: str) -> Callable[[str], str | None]:
    return found.get


@pytest.mark.parametrize(
    ("version", "clauses", "fits"),
    [
        ("2.15.0+cu132", ">=2.6", True),
        ("2.5.1", ">=2.6", False),
        ("2.10.0", ">=2.6", True),
        ("2.6", "==2.6.0", True),
        ("2.6.1", "==2.6.0", False),
        ("2.6.1", "==2.6.*", True),
        ("8.3.2", "!=8.3.*,>=5.3.0", False),
        ("8.4", "!=8.3.*,>=5.3.0", True),
        ("3.0", ">=2,<3", False),
        ("2.9", ">2.9", False),
        ("2.9", "<=2.9", True),
        ("1.0rc1", ">=1.0", True),
        ("1.0", "", True),
    ],
)
def test_versions_are_compared_as_numbers(version: str, clauses: str, fits: bool) -> None:
    assert satisfies(version, clauses) is fits


def test_missing_and_old_packages_are_errors_with_the_command_that_helps() -> None:
    found = too_old({"torch": ">=2.6", "numpy": ">=1.26", "rich": ">=13.7"}, of(torch="2.5.0", rich="14.0"))
    assert [check.level for check in found] == ["error", "error"]
    assert [check.hint for check in found] == ["pip install -U 'torch>=2.6'", "pip install -U 'numpy>=1.26'"]
    assert "torch 2.5.0 is not what clis needs (>=2.6)" in found[0].text
    assert "numpy is not installed" in found[1].text


@pytest.mark.parametrize(
    ("requirement", "torch", "vision", "says"),
    [
        ("torch (==2.6.0)", "2.7.0", "0.21.0", "torchvision 0.21.0 is for torch ==2.6.0; here is 2.7.0"),
        ("torch==2.6.0", "2.7.0", "0.21.0", "torchvision 0.21.0 is for torch ==2.6.0"),
        ("torch (>=2.14.0)", "2.15.0+cpu", "0.29.0+cu132", "torch is built for cpu, torchvision for cu132"),
    ],
)
def test_torch_and_torchvision_that_do_not_go_together(requirement: str, torch: str, vision: str, says: str) -> None:
    (found,) = mismatches(lambda _: ["numpy", requirement], of(torch=torch, torchvision=vision))
    assert found.level == "error"
    assert says in found.text
    assert "torch torchvision" in str(found.hint)


def test_torch_and_torchvision_that_go_together() -> None:
    both = of(torch="2.6.0+cu126", torchvision="0.21.0+cu126")
    assert mismatches(lambda _: ["torch==2.6.0"], both) == []
    assert mismatches(lambda _: [], of(torch="2.6.0")) == []


@pytest.mark.parametrize(
    ("error", "means", "hint"),
    [
        (RuntimeError("operator torchvision::nms does not exist"), "of different builds", "torch torchvision"),
        (ValueError("numpy.dtype size changed, may indicate binary incompatibility"), "another NumPy", "pycocotools"),
        (ImportError("libGL.so.1: cannot open shared object file"), "a system library is missing", "libgl1"),
        (ImportError("undefined symbol: ncclCommRegister"), "CUDA libraries of another", "LD_LIBRARY_PATH"),
        (OSError("libcudnn.so.9: cannot open shared object file"), "CUDA libraries of another", "LD_LIBRARY_PATH"),
        (ImportError("something else"), "something else", "pycocotools"),
    ],
)
def test_a_broken_package_is_told_with_what_it_means(error: Exception, means: str, hint: str) -> None:
    def load(module: str) -> Any:
        raise error

    (found,) = imports({"pycocotools": "pycocotools.mask"}, load)
    assert found.level == "error"
    assert means in found.text
    assert str(error) in found.text
    assert hint in str(found.hint)


def test_the_packages_here_are_named() -> None:
    first = versions()[0]
    assert first.figures["installed"]["torch"] == installed("torch")
    assert f"torch {installed('torch')}" in first.text
    assert imports({"numpy": "numpy"}, __import__) == []
    assert installed("no-such-package") is None

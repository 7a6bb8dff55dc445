"""The installed packages in; their versions, and which of them do not go together, out."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from clis_core import __version__
from clis_core.jobs.doctor.checks import Check

NAMED = ("torch", "torchvision", "numpy", "pillow")
"""In the text; the json has all."""
IMPORTED = {"torch": "torch", "torchvision": "torchvision", "numpy": "numpy", "pillow": "PIL.Image",
            "msgspec": "msgspec", "pycocotools": "pycocotools.mask", "hotcoco": "hotcoco"}  # fmt: skip
"""What training and evaluation import, by package."""
NEWEST_KNOWN = (3, 14)

_REQUIREMENT = re.compile(r"([A-Za-z0-9_.-]+)\s*\(?([^;()\[\]]*)\)?")
_CLAUSE = re.compile(r"(==|>=|<=|!=|<|>)\s*(\d+(?:\.\d+)*)(\.\*)?")
_REINSTALL = "pip install --force-reinstall --no-cache-dir"
_BREAKS: tuple[tuple[str, str, str], ...] = (
    (
        r"torchvision::nms|torchvision.*_C|undefined symbol.*c10",
        "torch and torchvision are of different builds or releases",
        f"{_REINSTALL} torch torchvision, both from one index (PyPI, or --index-url https://download.pytorch.org/whl/cpu)",
    ),
    (
        r"numpy\.dtype size changed|compiled using NumPy 1|numpy\.core\.multiarray failed|_ARRAY_API",
        "it was built for another NumPy",
        f"{_REINSTALL} {{package}}",
    ),
    (r"libGL\.so|libgthread", "a system library is missing", "apt-get install libgl1 libglib2.0-0"),
    (
        r"libcu\w+\.so|libnccl|libnv\w+\.so|nvJitLink|undefined symbol: nccl",
        "it finds CUDA libraries of another release",
        "unset LD_LIBRARY_PATH, or pip install --force-reinstall torch torchvision",
    ),
)
"""A pattern in the error of an import, what it means, and what to do."""

Installed = Callable[[str], str | None]


def versions() -> list[Check]:
    """What is installed, what of it is missing or too old, and what cannot be imported."""
    needed = _needed(_requires("clis"))
    found = {"python": platform.python_version(), "clis": __version__}
    found |= {name: version for name in needed if (version := installed(name))}
    optional = {name: installed(name) for name in ("timm", "tensorboard", "onnx", "onnxruntime", "safetensors")}
    text = ", ".join(f"{name} {found[name]}" for name in ("python", "clis", *NAMED) if name in found)
    figures: dict[str, Any] = {"installed": found, "optional": optional, "platform": platform.platform()}
    return [
        Check("versions", "fine", text, None, figures),
        *_python(sys.version_info[:2]),
        *too_old(needed, installed),
        *mismatches(_requires, installed),
        *imports(IMPORTED, importlib.import_module),
    ]


def installed(name: str) -> str | None:
    """The version of a package, None where it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def too_old(needed: dict[str, str], of: Installed) -> list[Check]:
    """Packages that clis needs and that are missing or too old.

    Args:
        needed: clauses such as ">=2.6" by package.
        of: gives the installed version.
    """
    found = []
    for name, clauses in needed.items():
        version = of(name)
        if version is None or not satisfies(version, clauses):
            what = "is not installed" if version is None else f"{version} is not what clis needs ({clauses})"
            found.append(Check("versions", "error", f"{name} {what}.", f"pip install -U '{name}{clauses}'"))
    return found


def mismatches(requires: Callable[[str], Sequence[str]], of: Installed) -> list[Check]:
    """Whether torch is the one that torchvision was built for, and both are for the same hardware."""
    torch, vision = of("torch"), of("torchvision")
    if torch is None or vision is None:
        return []
    clauses = _needed(requires("torchvision")).get("torch", "")
    hint = f"{_REINSTALL} torch torchvision, both from one index"
    if not satisfies(torch, clauses):
        return [Check("versions", "error", f"torchvision {vision} is for torch {clauses}; here is {torch}.", hint)]
    (_, _, build), (_, _, other) = torch.partition("+"), vision.partition("+")
    if build and other and build != other:
        return [Check("versions", "error", f"torch is built for {build}, torchvision for {other}.", hint)]
    return []


def imports(modules: dict[str, str], load: Callable[[str], Any]) -> list[Check]:
    """What cannot be imported, and why.

    Args:
        modules: to import, by package.
        load: imports a module.
    """
    found = []
    for package, module in modules.items():
        try:
            load(module)
        except Exception as error:  # whatever a package that is half installed raises
            said = f"{type(error).__name__}: {error}".splitlines()[0]
            means, hint = _meaning(str(error), package)
            found.append(Check("versions", "error", f"{package} cannot be imported: {means}{said}", hint))
    return found


def satisfies(version: str, clauses: str) -> bool:
    """Whether a version fits clauses such as ">=2.6" or "==2.6.0"; clauses of another form are passed over."""
    have = _numbers(version.partition("+")[0])
    for operator, text, star in _CLAUSE.findall(clauses):
        want = _numbers(text)
        if star:
            same = have[: len(want)] == want
            compared = 0 if same else 1
        else:
            length = max(len(have), len(want))
            a, b = (tuple(x) + (0,) * (length - len(x)) for x in (have, want))
            compared = (a > b) - (a < b)
        fits = {"==": compared == 0, "!=": compared != 0, ">=": compared >= 0}
        fits |= {"<=": compared <= 0, "<": compared < 0, ">": compared > 0}
        if not fits[operator]:
            return False
    return True


def _python(version: tuple[int, ...]) -> list[Check]:
    if sys.maxsize <= 2**32:
        return [Check("versions", "error", "This Python has 32 bits; torch needs 64.", "Install a 64-bit Python.")]
    if version > NEWEST_KNOWN:
        newest = ".".join(map(str, NEWEST_KNOWN))
        text = f"Python {'.'.join(map(str, version))} is newer than those that clis was tried with (up to {newest})."
        return [Check("versions", "note", text)]
    return []


def _requires(name: str) -> Sequence[str]:
    try:
        return importlib.metadata.requires(name) or ()
    except importlib.metadata.PackageNotFoundError:
        return ()


def _needed(requirements: Iterable[str]) -> dict[str, str]:
    """Clauses by package; what belongs to an extra is left out."""
    found = {}
    for line in requirements:
        match = _REQUIREMENT.match(line)
        if match and "extra ==" not in line:
            found[match[1].lower()] = match[2].strip()
    return found


def _numbers(version: str) -> tuple[int, ...]:
    """(2, 6, 0) of "2.6.0rc1": a release before the final one counts as it."""
    return tuple(int(found[0]) for part in version.split(".") if (found := re.match(r"\d+", part)))


def _meaning(said: str, package: str) -> tuple[str, str]:
    for pattern, means, hint in _BREAKS:
        if re.search(pattern, said):
            return f"{means}. ", hint.format(package=package)
    return "", f"{_REINSTALL} {package}"

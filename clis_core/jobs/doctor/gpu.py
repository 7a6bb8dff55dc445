"""The GPUs of the machine in; whether torch can use them, and their memory, out."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

from clis_core.jobs.doctor.checks import Check

DRIVER = Path("/proc/driver/nvidia/version")
OLDEST_DRIVER = {"11": 450, "12": 525, "13": 580}
"""Major release of the driver on Linux by that of CUDA."""
_REINSTALL = "pip install --force-reinstall torch torchvision"
_BUSY = 0.5


def gpu(wanted: str) -> list[Check]:
    """What there is; torch can be imported.

    Args:
        wanted: the config's device; empty takes the GPU where there is one.
    """
    import torch

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        usable = torch.cuda.is_available()
    if usable:
        return [check for number in range(torch.cuda.device_count()) for check in _device(number)]
    built = torch.version.cuda or getattr(torch.version, "hip", None)
    return without_gpu(
        built, driver_version(DRIVER), [str(w.message) for w in said], wanted, mps=torch.backends.mps.is_available()
    )


def without_gpu(
    built: str | None, driver: str | None, said: list[str], wanted: str, *, mps: bool = False
) -> list[Check]:
    """Why torch has no CUDA device.

    Args:
        built: release of CUDA that torch is built for; None for a build without.
        driver: version of the NVIDIA driver; None where there is none.
        said: torch's warnings.
        wanted: the config's device.
        mps: whether there is a GPU of Apple's.
    """
    needed = wanted.startswith("cuda")
    level: Any = "error" if needed else "warning"
    figures: dict[str, Any] = {"devices": [], "cuda": built, "driver": driver, "mps": mps}
    if mps:
        return [Check("gpu", "error" if needed else "fine", "Apple's GPU: --device mps", None, figures)]
    if driver is None:
        text = "No NVIDIA driver: training runs on the CPU, which is enough for the small and tiny presets."
        hint = "--device cpu" if needed else None
        return [Check("gpu", "error" if needed else "note", text, hint, figures)]
    if built is None:
        text = f"There is an NVIDIA driver ({driver}), but this torch is built without CUDA."
        return [Check("gpu", level, text, f"{_REINSTALL} (from PyPI, not from an index of CPU builds)", figures)]
    oldest = OLDEST_DRIVER.get(built.partition(".")[0])
    if oldest and int(driver.partition(".")[0]) < oldest:
        text = f"The NVIDIA driver {driver} is too old for CUDA {built}, which torch is built for: it needs {oldest}."
        hint = f"Install a driver of {oldest} or newer, or a torch for an older CUDA: https://pytorch.org/get-started"
        return [Check("gpu", level, text, hint, figures)]
    why = f": {said[0].splitlines()[0]}" if said else ""
    text = f"There is an NVIDIA driver ({driver}), but torch finds no GPU{why}."
    hint = "nvidia-smi shows what the driver sees; is CUDA_VISIBLE_DEVICES empty? In a container: docker run --gpus all"
    return [Check("gpu", level, text, hint, figures)]


def driver_version(path: Path) -> str | None:
    """The version that the driver's kernel module states; None where there is none."""
    try:
        found = re.search(r"Kernel Module(?: for \S+)?\s+(\d+[.\d]*)", path.read_text(encoding="utf-8"))
    except OSError:
        return None
    return found[1] if found else None


def runs_on(capability: tuple[int, int], built: list[str]) -> bool:
    """Whether code that was built for some architectures runs on a GPU: of its generation, or to be compiled for it."""
    major, minor = capability
    for name in built:
        found = re.fullmatch(r"(sm|compute)_(\d+)(\d)[af]?", name)
        if not found:
            continue
        own = (int(found[2]), int(found[3]))
        if (found[1] == "sm" and own[0] == major and own[1] <= minor) or (found[1] == "compute" and own <= capability):
            return True
    return False


def _device(number: int) -> list[Check]:
    import torch

    properties = torch.cuda.get_device_properties(number)
    capability = (properties.major, properties.minor)
    figures: dict[str, Any] = {
        "number": number,
        "name": properties.name,
        "capability": list(capability),
        "cuda": torch.version.cuda,
        "driver": driver_version(DRIVER),
    }
    name = f"cuda:{number} {properties.name}"
    built = torch.cuda.get_arch_list()
    if torch.version.cuda and built and not runs_on(capability, built):
        text = f"{name} (sm_{capability[0]}{capability[1]}): this torch is built for {', '.join(built)} alone."
        return [Check("gpu", "error", text, f"{_REINSTALL}; older GPUs need a torch for an older CUDA", figures)]
    try:
        free, total = torch.cuda.mem_get_info(number)
        x = torch.ones(64, 64, device=f"cuda:{number}")
        worked = float((x @ x).sum()) == 64.0**3
    except RuntimeError as error:
        text = f"{name} does not work: {str(error).splitlines()[0]}"
        return [
            Check("gpu", "error", text, "nvidia-smi tells whether another process holds it; or --device cpu", figures)
        ]
    figures |= {"total": total, "free": free}
    if not worked:
        return [Check("gpu", "error", f"{name} computes wrong sums.", "Leave it out: CUDA_VISIBLE_DEVICES", figures)]
    text = f"{name}: {free / 1e9:.1f} of {total / 1e9:.1f} GB free"
    if free < _BUSY * total:
        hint = f"nvidia-smi shows who; another one: --device cuda:{1 - min(number, 1)}"
        return [Check("gpu", "warning", f"{text}: another process uses it.", hint, figures)]
    return [Check("gpu", "fine", f"{text}.", None, figures)]

"""Names of benchmarks in; what each saw, one after the other, with the machine and the versions, in one file out."""

from __future__ import annotations

import importlib
import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from clis_core import __version__
from clis_core.errors import JSON_DAMAGE, ClisError, DataError
from clis_core.files import write_text
from clis_core.jobs.bench.fresh_process import apart
from clis_core.jobs.doctor.machine import load_average, memory_bytes, usable_cores
from clis_core.report import Reporter

FORMAT = 1
Result = dict[str, Any]


@dataclass
class Suite:
    """Benchmarks that were run on one machine.

    Attributes:
        scale: of the work.
        environment: the machine and the versions.
        results: what each saw, by name.
        failed: why it saw nothing, by name.
    """

    scale: float
    environment: dict[str, Any]
    results: dict[str, Result] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def to_record(self) -> dict[str, Any]:
        """For json."""
        return {"format": FORMAT, **vars(self)}


def measure(name: str, scale: float) -> Result:
    """Run one benchmark in this process."""
    result: Result = importlib.import_module(f"clis_core.jobs.bench.{name.replace('-', '_')}").run(scale=scale)
    return result


def run_suite(
    names: Sequence[str],
    *,
    scale: float = 1.0,
    out: Path | None = None,
    reporter: Reporter,
    run: Callable[[str, float], Result] | None = None,
) -> Suite:
    """Run benchmarks, each in a process of its own; one that fails is noted, and the others go on.

    Args:
        names: of the benchmarks.
        scale: of the work; 1 is the size of LVIS.
        out: file that gets the results, anew after each.
        reporter: gets progress and failures.
        run: what to call for each, in place of the benchmark in a fresh process.
    """
    run = run or (lambda name, scale: apart(measure, name, scale))
    suite = Suite(scale, environment())
    for number, name in enumerate(names):
        reporter.info(f"{name} ({number + 1} of {len(names)})")
        try:
            suite.results[name] = run(name, scale)
        except Exception as error:  # of any benchmark: those before and after it count
            suite.failed[name] = error.message if isinstance(error, ClisError) else f"{type(error).__name__}: {error}"
            reporter.warn(f"{name}: {suite.failed[name]}")
        if out is not None:
            write_text(out, json.dumps(suite.to_record(), indent=1) + "\n")
    return suite


def environment() -> dict[str, Any]:
    """The machine and the versions, for whoever reads the figures."""
    import torch

    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return {
        "clis": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "torchvision", "numpy")},
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "memory_gb": round(memory_bytes()[0] / 1e9, 1),
        "gpus": gpus,
        "load_before": round(load_average(), 2),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or os.name
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def read_suite(path: Path) -> Suite:
    """Read what `run_suite` wrote.

    Raises:
        DataError: it is no such file.
    """
    hint = "Such a file is made by: clis bench --all -o FILE"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.", hint=hint) from None
    except JSON_DAMAGE:
        raise DataError(f"{path} is no json.", hint=hint) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DataError(f"{path} holds no benchmarks of format {FORMAT}.", hint=hint)
    kinds = {"scale": int | float, "environment": dict, "results": dict, "failed": dict}
    for name, kind in kinds.items():
        if not isinstance(content.get(name), kind):
            raise DataError(f"{path}: {name} is missing or of another kind.", hint=hint)
    if not all(isinstance(result, dict) for result in content["results"].values()):
        raise DataError(f"{path}: a result is no object.", hint=hint)
    return Suite(**{name: content[name] for name in kinds})

"""A config and a folder for runs in; everything that would stop, slow down or surprise a training out."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path
from typing import Any

from clis_core.config.run import RunConfig
from clis_core.errors import ClisError
from clis_core.jobs.doctor.checks import Check, Findings, of_error
from clis_core.jobs.doctor.disk import disk, existing
from clis_core.jobs.doctor.machine import cpu, memory, memory_bytes
from clis_core.jobs.doctor.versions import versions
from clis_core.report import Reporter

LVIS_CLASSES = 1203


def examine(config: RunConfig, runs: Path, *, fitting: bool, broken: ClisError | None, reporter: Reporter) -> Findings:
    """Look at versions, machine, disk and data; contacts nobody.

    Nothing is left behind, and a part that cannot be looked at keeps no other from it.

    Args:
        config: of the training that is thought of.
        runs: folder of its runs.
        fitting: measure real steps of it as well.
        broken: why the config is not the one that was asked for; None where it is.
        reporter: gets messages.
    """
    found = Findings(versions())
    if broken is not None:
        found.checks.append(of_error("settings", broken))
    able = not any(check.level == "error" for check in found.checks if "cannot be imported" in check.text)
    threads = importlib.import_module("torch").get_num_threads() if able else None
    found.checks += [*cpu(config.data.workers, threads), *memory(), *disk(runs)]
    if not able:
        text = "GPU, decoder, data and memory of a training were not looked at: packages are broken."
        found.checks.append(Check("versions", "note", text))
        return found
    from clis_core.jobs.doctor.data import data, shards, weights
    from clis_core.jobs.doctor.decoder import decoder
    from clis_core.jobs.doctor.gpu import gpu

    found.checks += decoder()
    checks, categories = data(config, runs)
    found.checks += [*checks, *shards(config, categories), *weights(config)]
    if fitting:
        # Before this process itself takes memory of the GPU.
        found.checks += _fit(config, runs, len(categories) if categories else LVIS_CLASSES, found, reporter)
    found.checks += gpu(config.device)
    return found


def _fit(config: RunConfig, runs: Path, classes: int, found: Findings, reporter: Reporter) -> list[Check]:
    from clis_core.jobs.doctor.fit import PICTURES, fit

    figures: dict[str, Any] = next((c.figures for c in found.checks if c.area == "shards" and c.figures), {})
    pictures = int(figures.get("of_classes", figures.get("pictures", PICTURES)))
    free = shutil.disk_usage(existing(runs)).free
    return fit(config, classes, pictures, memory_bytes()[1], free, reporter)

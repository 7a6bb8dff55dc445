"""`clis ablate`: a table of the paper in, a run for each row and seed, and ours beside the paper's numbers out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clis_core.config.ablations import PRESETS, Budget, Row, Table
from clis_core.config.load import Layer, preset_layer, resolve
from clis_core.config.run import RunConfig
from clis_core.config.workspace import checkpoints_of
from clis_core.data.regions import REGIONS
from clis_core.errors import ConfigError
from clis_core.files import write_text
from clis_core.jobs.gen_regions import RegionOptions, gen_regions
from clis_core.jobs.sweep import Outcome, mean_and_spread, run_or_resume
from clis_core.report import Reporter

METRICS = ("AP", "APr", "APc", "APf")


@dataclass(frozen=True)
class AblationPlan:
    """What to run.

    Attributes:
        table: the rows.
        budget: which presets.
        seeds: of each row.
        data: the layer that names the data set, and what else the user sets.
        shards: pictures with a class label.
        google: a second folder of them, for table XI.
        detector: checkpoint that makes the regions; None trains the specialised baseline for it.
        out: folder of all runs.
    """

    table: Table
    budget: Budget
    seeds: tuple[int, ...]
    data: Layer
    shards: Path | None
    google: Path | None
    detector: Path | None
    out: Path


@dataclass(frozen=True)
class RowResult:
    """How a row came out.

    Attributes:
        row: which.
        outcomes: one for each seed.
    """

    row: Row
    outcomes: Sequence[Outcome]

    def mean(self, name: str) -> float | None:
        """Mean of a metric over the seeds."""
        found = mean_and_spread([outcome.metrics.get(name) for outcome in self.outcomes])
        return found[0] if found else None

    def spread(self, name: str) -> float | None:
        """Half of the range of a metric over the seeds."""
        found = mean_and_spread([outcome.metrics.get(name) for outcome in self.outcomes])
        return found[1] if found else None


def ablate(plan: AblationPlan, *, reporter: Reporter) -> list[RowResult]:
    """Run every row of a table with every seed; what has been run before is read.

    Regions are made first where a row needs them, by ``plan.detector`` or else by the specialised baseline of seed 0,
    which is then trained first. The results are in ``plan.out/ablation.json`` as well.

    Raises:
        ConfigError: a row needs pictures that are not named, or a folder holds a run with other settings.
        Interrupted: SIGINT or SIGTERM; running the same command again goes on.
    """
    results: list[RowResult] = []
    for row in plan.table.rows:
        outcomes = []
        for seed in plan.seeds:
            config = config_of(plan, row, seed, reporter)
            run = plan.out / "runs" / f"{_file_name(row)}-seed{seed}"
            reporter.info(f"{row.name}, seed {seed}: {run}")
            outcomes.append(run_or_resume(config, run, reporter))
        results.append(RowResult(row, outcomes))
        write_text(plan.out / "ablation.json", json.dumps(to_record(plan, results), indent=1) + "\n")
    return results


def config_of(plan: AblationPlan, row: Row, seed: int, reporter: Reporter) -> RunConfig:
    """The whole config of a row's run; makes the regions that it needs."""
    layers = [preset_layer(PRESETS[plan.budget][row.base]), Layer(f"row {row.name!r}", dict(row.settings)), plan.data]
    if row.base == "clis":
        shards = plan.google if row.images == "google" else plan.shards
        if shards is None:
            flag = "--google" if row.images == "google" else "--images"
            raise ConfigError(f"The row {row.name!r} needs pictures.", hint=f"Name their shards: {flag} SHARDS")
        regions = _regions(plan, row.regions, shards, reporter)
        layers.append(Layer("clis ablate", {"pictures": {"shards": shards, "regions": regions}}))
    layers.append(Layer("--seeds", {"seed": seed}))
    return resolve(layers)


def _regions(plan: AblationPlan, rule: str, shards: Path, reporter: Reporter) -> str:
    """Folder of the regions by a rule; made if it is not there."""
    if rule in ("full-image", "centre"):
        return rule
    folder = plan.out / "regions" / f"{shards.name}-{rule}"
    if not (folder / REGIONS).is_file():
        checkpoint = plan.detector or _train_detector(plan, reporter)
        reporter.info(f"Regions by the rule {rule}: {folder}")
        gen_regions(checkpoint, shards, folder, RegionOptions(rule=rule), reporter=reporter)  # type: ignore[arg-type]
    return str(folder.absolute())


def _train_detector(plan: AblationPlan, reporter: Reporter) -> Path:
    """The specialised baseline of the first seed, which is a row of most tables as well."""
    row = next((row for row in plan.table.rows if row.base == "specialised"), Row("detector", "specialised"))
    seed = plan.seeds[0]
    run = plan.out / "runs" / f"{_file_name(row)}-seed{seed}"
    reporter.info(f"The detector that makes the regions: {run}")
    run_or_resume(config_of(plan, row, seed, reporter), run, reporter)
    return checkpoints_of(run)[-1]


def to_record(plan: AblationPlan, results: Sequence[RowResult]) -> dict[str, Any]:
    """The results as plain json values: every seed, means, and differences to the first row, ours and the paper's."""
    first = results[0]
    rows = []
    for result in results:
        paper = dict(zip(METRICS, result.row.paper, strict=False)) if result.row.paper else None
        rows.append(
            {
                "row": result.row.name,
                "mean": {name: result.mean(name) for name in METRICS},
                "spread": {name: result.spread(name) for name in METRICS},
                "difference": {name: _minus(result.mean(name), first.mean(name)) for name in METRICS},
                "paper": paper,
                "paper_difference": _paper_difference(result.row, first.row),
                "minutes": sum(o.minutes for o in result.outcomes) / len(result.outcomes),
                "seeds": {str(o.seed): {name: o.metrics.get(name) for name in METRICS} for o in result.outcomes},
            }
        )
    return {"table": plan.table.title, "budget": plan.budget, "seeds": list(plan.seeds), "rows": rows}


def _paper_difference(row: Row, first: Row) -> Mapping[str, float] | None:
    if row.paper is None or first.paper is None:
        return None
    return {name: round(a - b, 1) for name, a, b in zip(METRICS, row.paper, first.paper, strict=False)}


def _minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _file_name(row: Row) -> str:
    return "".join(c if c.isalnum() or c in ".-" else "-" for c in row.name).strip("-")

"""Outcomes and failures of a comparison in; its rows, and the table as cells and as Markdown, out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from clis_core.config.load import load_config
from clis_core.config.published import published
from clis_core.jobs.compare_plan import PRETRAINED, ComparePlan, Failure, Step, all_before, preset_of
from clis_core.jobs.compare_state import State
from clis_core.jobs.run_log import training_minutes
from clis_core.jobs.sweep import Outcome, mean_and_spread

TABLE = "compare.md"
METRICS = ("AP", "APr", "APc", "APf")
HEAD = ("", *METRICS, "steps", "min", "prep. min", "MB", "seeds")
PAPER_HEAD = ("compared here", "in the paper", "table", "judged by", *METRICS)
PACE = 0.1
"""Part of the budget by which a training may miss it without a word."""
PAPER_TITLE = "The paper's numbers (CLIS, arXiv 2210.05568): other data, machines and budgets, not measured here"


def results_of(
    plan: ComparePlan, outcomes: Mapping[Step, Outcome], failures: Mapping[Step, Failure], state: State
) -> dict[str, Any]:
    """The rows so far, and the paper's, as plain json values."""
    papers = published([preset_of(row) for row in plan.rows], [row.endswith(PRETRAINED) for row in plan.rows])
    return {
        "presets": list(plan.rows),
        "seeds": list(plan.seeds),
        "rows": [_row(plan, row, outcomes, failures, state) for row in plan.rows],
        "paper": [
            {
                "preset": plan.rows[n],
                "system": paper.system,
                "table": paper.table,
                "judged": paper.judged,
                **dict(zip(METRICS, paper.figures, strict=True)),
            }
            for n, paper in papers
        ],
        "reports": [],
    }


def _row(
    plan: ComparePlan, row: str, outcomes: Mapping[Step, Outcome], failures: Mapping[Step, Failure], state: State
) -> dict[str, Any]:
    steps = [Step("train", row, seed) for seed in plan.seeds]
    ended = {step: outcomes[step] for step in steps if step in outcomes}
    seeds: dict[str, dict[str, Any]] = {
        str(step.seed): {
            **{name: found.metrics.get(name) for name in METRICS},
            "run": str(found.run),
            "iterations": load_config(found.run / "config.toml").train.iterations,
            "minutes": found.minutes,
            "preparation_minutes": _prepared(plan, step, state),
            "memory_mb": found.memory_mb,
        }
        for step, found in ended.items()
    }
    found = {name: mean_and_spread([seed[name] for seed in seeds.values()]) for name in METRICS}
    return {
        "preset": row,
        "iterations": next((seed["iterations"] for seed in seeds.values()), None),
        "mean": {name: pair[0] if pair else None for name, pair in found.items()},
        "spread": {name: pair[1] if pair else None for name, pair in found.items()},
        "minutes": _of(seeds.values(), "minutes", lambda x: sum(x) / len(x)),
        "preparation_minutes": _of(seeds.values(), "preparation_minutes", lambda x: sum(x) / len(x)),
        "memory_mb": _of(seeds.values(), "memory_mb", max),
        "seeds": seeds,
        "failed": {str(step.seed): _why(failures[step], step) for step in steps if step in failures},
    }


def _prepared(plan: ComparePlan, step: Step, state: State) -> float:
    """Minutes of all that had to be made for a training, whoever else uses it."""
    return sum(
        training_minutes(before.folder(plan.out)) if before.kind == "train" else state.prepared.get(before.name, 0.0)
        for before in all_before(plan, step)
    )


def _of(seeds: Iterable[Mapping[str, Any]], name: str, summary: Callable[[list[float]], float]) -> float | None:
    values = [seed[name] for seed in seeds]
    return summary(values) if values else None


def _why(failure: Failure, step: Step) -> dict[str, Any]:
    error = failure.error
    what = "" if failure.step == step else f"{failure.step.about}: "
    return {"error": type(error).__name__, "message": what + error.message, "hint": error.hint}


def cells(record: Mapping[str, Any]) -> list[list[str]]:
    """The rows as texts under `HEAD`."""
    many = len(record["seeds"])
    return [
        [
            row["preset"],
            *(_with_spread(row["mean"][name], row["spread"][name], len(row["seeds"])) for name in METRICS),
            _text(row["iterations"], ".0f"),
            _text(row["minutes"], ".1f"),
            _text(row["preparation_minutes"], ".1f"),
            _text(row["memory_mb"], ".0f"),
            f"{len(row['seeds'])} of {many}",
        ]
        for row in record["rows"]
    ]


def paper_cells(record: Mapping[str, Any]) -> list[list[str]]:
    """The paper's rows as texts under `PAPER_HEAD`."""
    return [
        [row["preset"], row["system"], row["table"], row["judged"], *(_text(row[name], ".1f") for name in METRICS)]
        for row in record["paper"]
    ]


def failures_of(record: Mapping[str, Any]) -> list[str]:
    """A line for each training that failed."""
    found = []
    for row in record["rows"]:
        for seed, why in row["failed"].items():
            hint = f" Hint: {why['hint']}" if why["hint"] else ""
            found.append(f"{row['preset']}, seed {seed}: {why['error']}: {why['message']}{hint}")
    return found


def notes_of(record: Mapping[str, Any]) -> list[str]:
    """What qualifies the numbers: trainings that took longer or shorter than their budget, as on a busy machine."""
    budget = record["minutes"]
    return [
        f"{row['preset']}, seed {seed}: {found['minutes']:.3g} minutes, not {budget:g}; the machine was not as fast as "
        f"when {found['iterations']} steps were worked out, or faster."
        for row in record["rows"]
        for seed, found in row["seeds"].items()
        if budget is not None and abs(found["minutes"] - budget) > PACE * budget
    ]


def title(record: Mapping[str, Any]) -> str:
    """What the table shows."""
    seeds = ", ".join(map(str, record["seeds"]))
    if record["minutes"] is not None:
        budget = f"{record['minutes']:g} minutes of training each"
    elif record["fixed_iterations"] is not None:
        budget = f"{record['fixed_iterations']} steps each"
    else:
        budget = "each preset's own schedule"
    return f"AP on val, {budget}, seeds {seeds}"


def markdown(record: Mapping[str, Any]) -> str:
    """The comparison as a page."""
    lines = [f"{title(record)}; mean ± half of the range.", "", *_lines(HEAD, cells(record))]
    for mark, said in (("Failed", failures_of(record)), ("Note", notes_of(record))):
        lines += [f"\n{mark}: {line}" for line in said]
    if record["paper"]:
        lines += ["", f"{PAPER_TITLE}.", "", *_lines(PAPER_HEAD, paper_cells(record))]
    return "\n".join(lines) + "\n"


def _lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def _with_spread(mean: float | None, spread: float | None, seeds: int) -> str:
    if mean is None or spread is None:
        return "-"
    return f"{mean:.1f} ± {spread:.1f}" if seeds > 1 else f"{mean:.1f}"


def _text(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)

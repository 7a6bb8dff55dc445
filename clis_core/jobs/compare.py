"""`clis compare`: presets on one data set in; a run for each preset and seed, with equal budgets, and a table out.

What a preset needs before its training (a detector's regions or mosaics, another run, a pre-trained backbone) is made
in the right order, once for all that share it, and its minutes are counted apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clis_core.config.load import Layer
from clis_core.errors import ClisError, DataError, Interrupted
from clis_core.files import locked, write_text
from clis_core.jobs.compare_budget import budget_layer, iterations_within, time_steps
from clis_core.jobs.compare_check import check
from clis_core.jobs.compare_plan import ComparePlan, Failure, Step, config_of, directly_before, preset_of, trainings
from clis_core.jobs.compare_prepare import prepare
from clis_core.jobs.compare_state import State, open_state
from clis_core.jobs.compare_table import TABLE, markdown, results_of
from clis_core.jobs.report import report
from clis_core.jobs.sweep import Outcome, run_or_resume
from clis_core.page.content import MOST_RUNS
from clis_core.report import Reporter

LOCK = ".compare.lock"


def compare(plan: ComparePlan, *, reporter: Reporter) -> dict[str, Any]:
    """Run every row with every seed, and what is needed before; what has been made before is read.

    A training that fails is noted, and the others go on. The results are in ``plan.out/compare.json`` and in
    ``compare.md`` after each training, the pages of ``clis report`` at the end.

    Returns:
        What compare.json holds.

    Raises:
        ConfigError: rows that cannot be compared, or the folder holds a comparison of another kind.
        DataError: the data cannot be used, or another process compares in the folder.
        Interrupted: SIGINT or SIGTERM; the same command goes on.
    """
    check(plan)
    plan.out.mkdir(parents=True, exist_ok=True)
    with locked(plan.out / LOCK) as held:
        if not held:
            raise DataError(
                f"{plan.out}: another comparison is running in this folder.",
                hint="Wait until it has ended, or take another folder: -o FOLDER",
            )
        state = open_state(plan)
        making = Making(plan, state, reporter)
        for step in trainings(plan):
            making.make(step)
            state.results = results_of(plan, making.outcomes, making.failures, state)
            _write(plan, state)
        state.results["reports"] = _pages(plan, making.outcomes, reporter)
        _write(plan, state)
    return state.record()


def _write(plan: ComparePlan, state: State) -> None:
    state.save()
    write_text(plan.out / TABLE, markdown(state.record()))


class Making:
    """Makes steps and all that they need, each once.

    Args:
        plan: what is compared.
        state: what is known already.
        reporter: gets messages and progress.
    """

    def __init__(self, plan: ComparePlan, state: State, reporter: Reporter) -> None:
        self._plan, self._state, self._reporter = plan, state, reporter
        self._made: set[Step] = set()
        self.outcomes: dict[Step, Outcome] = {}
        self.failures: dict[Step, Failure] = {}

    def make(self, step: Step) -> Failure | None:
        """Make a step, unless that has been tried; why it is not there comes out."""
        if step not in self._made:
            self._made.add(step)
            failure = self._make(step)
            if failure is not None:
                self.failures[step] = failure
        return self.failures.get(step)

    def _make(self, step: Step) -> Failure | None:
        for before in directly_before(self._plan, step):
            failure = self.make(before)
            if failure is not None:
                return failure
        self._reporter.info(f"{step.about}: {step.folder(self._plan.out)}")
        try:
            if step.kind == "train":
                self.outcomes[step] = self._train(step)
            else:
                prepare(self._plan, step, self._state, self._reporter)
        except Interrupted:
            raise
        except ClisError as error:
            self._reporter.warn(f"{step.about}: {error.message}")
            return Failure(step, error)
        return None

    def _train(self, step: Step) -> Outcome:
        plan = self._plan
        iterations = plan.iterations if plan.minutes is None else self._within(plan.minutes, step)
        preset = preset_of(step.row)
        budget = Layer("no budget", {}) if iterations is None else budget_layer(preset, iterations)
        return run_or_resume(config_of(plan, step, budget), step.folder(plan.out), self._reporter)

    def _within(self, minutes: float, step: Step) -> int:
        """The steps of a row within the budget; timed once, for all seeds and for a comparison that goes on."""
        state = self._state
        if step.row not in state.iterations:
            run = step.folder(self._plan.out).with_name(f".timing-{step.row}")
            self._reporter.info(f"{step.row}: how long is a step?")
            config = config_of(self._plan, step, Layer("no budget", {}))
            seconds = time_steps(config, run, self._reporter)
            steps = iterations_within(minutes, seconds)
            state.step_seconds[step.row], state.iterations[step.row] = seconds, steps
            state.save()
            self._reporter.info(f"{step.row}: {seconds:.3f} s, so that {minutes:g} minutes are {steps} steps")
        return state.iterations[step.row]


def _pages(plan: ComparePlan, outcomes: dict[Step, Outcome], reporter: Reporter) -> list[str]:
    """Write the pages of ``clis report``: one, or one for each seed and so many rows as a page can show."""
    ended = [step for step in trainings(plan) if step in outcomes]
    groups: list[Sequence[Step]] = [ended] if len(ended) <= MOST_RUNS else []
    for seed in plan.seeds if not groups else ():
        of_seed = [step for step in ended if step.seed == seed]
        first, others = of_seed[:1], of_seed[1:]
        starts = range(0, max(1, len(others)), MOST_RUNS - 1)
        groups += [[*first, *others[n : n + MOST_RUNS - 1]] for n in starts if of_seed]
    pages = []
    for number, group in enumerate(groups, start=1):
        if group:
            page = plan.out / ("report.html" if len(groups) == 1 else f"report-{number}.html")
            report([str(step.folder(plan.out)) for step in group], page, reporter=reporter)
            pages.append(str(page))
    return pages

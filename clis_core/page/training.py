"""A report in; the curves of the logs and the settings that differ out."""

from __future__ import annotations

from typing import Any

from clis_core.page.charts import Dots, Line, chart, linear_axis
from clis_core.page.content import Report
from clis_core.page.figures import curves_of_log
from clis_core.page.html import Html, breaking, tag
from clis_core.page.overview import legend, section
from clis_core.page.tables import table, words

LAST = ("lr", "gradient_norm")
"""Charts that come after those of the losses."""
NAMES = {"loss": "loss, all together", "lr": "learning rate", "gradient_norm": "gradient norm"}
EVALUATIONS = ("AP", "APr")
NOT_SET = "–"


def loss_curves(report: Report) -> Html | None:
    """Every loss, the learning rate, the gradient's norm, and AP where it was measured on the way."""
    logs = [curves_of_log(run.log, "train") for run in report.runs]
    names = list(dict.fromkeys(name for log in logs for name in log))
    if not names:
        return None
    names = [n for n in names if n not in LAST] + [n for n in LAST if n in names]
    end = max(step for log in logs for points in log.values() for step, _ in points)
    steps = linear_axis("step", 0, end, steps=4)
    charts = []
    for name in names:
        lines = [Line(n, log[name]) for n, log in enumerate(logs) if name in log]
        values = sorted(value for line in lines for _, value in line.points)
        # The first steps of a training are far above the rest, and would leave it flat.
        high = min(values[-1], 1.25 * values[int(0.98 * (len(values) - 1))])
        low = min(0.0, values[0])
        y = linear_axis(NAMES.get(name, name), low, high)
        charts.append(chart(NAMES.get(name, name), steps, y, lines))
    evaluations = [curves_of_log(run.log, "eval") for run in report.runs]
    for name in EVALUATIONS:
        lines = [Line(n, log[name]) for n, log in enumerate(evaluations) if name in log]
        if max((len(line.points) for line in lines), default=0) > 1:
            y = linear_axis(name, 0, max(value for line in lines for _, value in line.points))
            charts.append(chart(f"{name} on the way", steps, y, [*lines, *(Dots(x.run, x.points) for x in lines)]))
    text = "Losses as they are weighted, so that they add up. Curves are means of neighbouring steps; peaks are cut."
    without = [run.name for run, log in zip(report.runs, logs, strict=True) if not log]
    if without:
        text += f" Without a log: {', '.join(without)}."
    return section("losses", "Training", legend(report), tag("div", charts, cls="charts"), tag("p", text, cls="note"))


def settings(report: Report) -> Html | None:
    """The settings that are not the same in all runs."""
    runs = [run for run in report.runs if run.settings is not None]
    if len(report.runs) < 2:
        return None
    tables = [run.settings or {} for run in runs]
    keys = sorted({key for values in tables for key in values})
    rows = []
    for key in keys:
        texts = [_text(values.get(key)) for values in tables]
        if len(set(texts)) > 1:
            rows.append([words(tag("code", breaking(key, "._")), key), *(words(text) for text in texts)])
    without = [run.name for run in report.runs if run.settings is None]
    note = f"Without a config: {', '.join(without)}." if without else None
    if not rows:
        return section("settings", "Settings", tag("p", note or "All settings are equal."))
    head = ["setting", *(run.name for run in runs)]
    return section("settings", "Settings", table("Settings that differ", head, rows, note=note, id="differences"))


def _text(value: Any) -> str:
    match value:
        case None:
            return NOT_SET
        case bool():
            return str(value).lower()
        case list() | tuple():
            return "[" + ", ".join(_text(x) for x in value) + "]"
        case _:
            return str(value)

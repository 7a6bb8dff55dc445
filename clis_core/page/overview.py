"""A report in; its head, the table of the runs, AP by training images and precision by recall out."""

from __future__ import annotations

import math

from clis_core.categories import COMMON_MAX_IMAGES, RARE_MAX_IMAGES
from clis_core.page.charts import Band, Dots, Line, chart, linear_axis, log_axis
from clis_core.page.content import GROUPS, Report, Run
from clis_core.page.figures import mean_by_count, mean_curve, members
from clis_core.page.html import Html, join, number, tag
from clis_core.page.tables import Cell, figure, table, words

MAIN = ("AP", "AP50", "AP50_11", "AP75", "APs", "APm", "APl", "APr", "APc", "APf")
MASKS = tuple(f"{name}_mask" for name in ("AP", "AP50", "AP75", "APr", "APc", "APf"))
RECALL = linear_axis("recall, %", 0, 100)
PRECISION = linear_axis("precision, %", 0, 100)


def swatch(run: int) -> Html:
    """A sample of a run's line and mark."""
    line = tag("path", d="M1 6H27", cls=f"line s{run}")
    return tag("svg", line, tag("path", d="M14 6h0", cls=f"dots s{run}"), viewBox="0 0 28 12", cls="swatch")


def legend(report: Report) -> Html | None:
    """Which run is which, where there are several."""
    if len(report.runs) < 2:
        return None
    names = [tag("li", swatch(n), run.name) for n, run in enumerate(report.runs)]
    return tag("ul", names, cls="legend", aria_label="Runs")


def section(name: str, title: str, *content: object) -> Html:
    """A part of the page that a link can lead to."""
    return tag("section", tag("h2", title, id=f"{name}-title"), content, id=name, aria_labelledby=f"{name}-title")


def headline(report: Report) -> Html:
    """The metrics of every run, those after the first with what they differ by."""
    names = [name for name in (*MAIN, *MASKS) if any(name in run.metrics for run in report.runs)]
    names += [name for name in report.runs[0].metrics if name not in names and not name.endswith("_mask")
              and name[:4] not in ("ARs@", "ARm@", "ARl@")]  # fmt: skip
    first = report.runs[0]
    rows = [
        [
            words([swatch(n) if len(report.runs) > 1 else None, " ", run.name], run.name),
            figure(run.step),
            *(_metric(run, first, name) for name in names),
        ]
        for n, run in enumerate(report.runs)
    ]
    base = f" Differences are to {first.name}." if len(report.runs) > 1 else ""
    return section(
        "runs",
        "Runs" if len(report.runs) > 1 else "Run",
        table("Metrics, percent points", ["run", "step", *names], rows, id="headline"),
        tag(
            "p",
            f"{report.images:,} images of {report.split}, {len(report.classes):,} classes, {report.protocol.upper()} "
            f"protocol: {report.ground_truth}. APr, APc and APf are of rare, common and frequent classes.{base}",
            cls="note",
        ),
        [tag("p", f"{run.name}: {note}", cls="note") for run in report.runs for note in run.notes],
        [tag("p", note, cls="note") for note in report.notes],
    )


def _metric(run: Run, first: Run, name: str) -> Cell:
    value, base = run.metrics.get(name), first.metrics.get(name)
    if run is first or value is None or base is None:
        return figure(value)
    gain = value - base
    cls = "up" if gain >= 0.05 else "down" if gain <= -0.05 else "same"
    return Cell([number(value), tag("span", number(gain, sign=True), cls=f"gain {cls}")], value)


def by_train_images(report: Report) -> Html:
    """AP of each class against its number of training images, with the bands rare, common, frequent."""
    known = [info.train_images for info in report.classes if info.train_images]
    if not known:
        text = "The number of training images that hold a class is not known. For a file of detections: --train-gt."
        return section("counts", "AP by training images", tag("p", text))
    x = log_axis("training images with the class", 1, max(*known, COMMON_MAX_IMAGES * 2))
    y = linear_axis("AP of a class", 0, 100)
    edges = [math.sqrt(n * (n + 1)) for n in (RARE_MAX_IMAGES, COMMON_MAX_IMAGES)]  # between the counts
    names = [GROUPS[group] for group in ("r", "c", "f")]
    bands = [Band(*band) for band in zip(names, [1.0, *edges], [*edges, x.high], strict=True)]
    means = [Line(n, mean_by_count(report.classes, run)) for n, run in enumerate(report.runs)]
    charts = []
    if len(report.runs) > 1:
        top = max(ap for line in means for _, ap in line.points)
        means_y = linear_axis("mean AP of classes", 0, top)
        marks = [Dots(line.run, line.points) for line in means]
        charts.append(chart("Means", x, means_y, [*means, *marks], bands=bands))
    for n, run in enumerate(report.runs):
        points = [
            (float(info.train_images), result.ap)
            for info, result in zip(report.classes, run.classes, strict=True)
            if info.train_images and result.ap is not None
        ]
        charts.append(
            chart(run.name, x, y, [Dots(n, points), means[n]], bands=bands, data_run=n, data_most=int(x.high))
        )
    text = "A line is the mean of the classes with 1, 2–3, 4–7, 8–15, … training images."
    never = sum(info.train_images == 0 for info in report.classes)
    if never:
        text += f" {never} classes without training images are left out."
    if any((info.train_images or 0) and info.group is None for info in report.classes):
        text += " The bands are LVIS's: up to 10 images, up to 100, more."
    return section(
        "counts", "AP by training images", legend(report), tag("div", charts, cls="charts"), tag("p", text, cls="note")
    )


def precision_recall(report: Report) -> Html:
    """Mean precision at each recall of all classes and of each group."""
    charts = []
    for group, name in {"all": "All classes", "r": "Rare", "c": "Common", "f": "Frequent"}.items():
        lines = [
            Line(n, points)
            for n, run in enumerate(report.runs)
            if run.precision is not None and (points := mean_curve(run.precision, members(report, group)))
        ]
        if lines:
            charts.append(chart(name, RECALL, PRECISION, lines, data_group=group))
    without = [run.name for run in report.runs if run.precision is None]
    text = "At an IoU of 0.5: the mean over classes, whose area is AP50. A class's own curve is under its name below."
    if without:
        text += f" Without detections on disk: {', '.join(without)}."
    return section(
        "precision",
        "Precision and recall",
        legend(report),
        tag("div", charts, cls="charts"),
        tag("p", join([text]), cls="note"),
    )

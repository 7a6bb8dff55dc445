"""A report in; winners and losers, what mistakes cost, what is taken for what, and the class table out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from clis_core.page.content import GROUPS, Report
from clis_core.page.figures import Change, changes
from clis_core.page.html import Html, number, tag
from clis_core.page.overview import legend, section, swatch
from clis_core.page.tables import Cell, class_cell, figure, group_cell, table, words

LISTED = 10
"""Winners, and losers."""
PAIRS = 60
"""Confusions that are listed, at most."""
KINDS = {
    "Cls": "wrong class",
    "Loc": "badly placed",
    "Both": "wrong class and place",
    "Dupe": "found twice",
    "Bkg": "nothing there",
    "Miss": "missed",
}


def winners_and_losers(report: Report) -> Html | None:
    """The classes that gained and lost most against the first run, for every other run."""
    if len(report.runs) < 2:
        return None
    first, tables = report.runs[0], []
    for n, run in enumerate(report.runs[1:], start=1):
        found = changes(first, run)
        gains = [change for change in found if change.gain > 0]
        losses = [change for change in found[::-1] if change.gain < 0]
        largest = max((abs(change.gain) for change in found), default=1.0)
        for what, listed in (("Winners", gains), ("Losers", losses)):
            title = f"{what}: {run.name} against {first.name}"
            tables.append(_changes(report, title, f"{what.lower()}-{n}", listed[:LISTED], largest))
    text = "AP of a class with few objects moves far by chance: compare several seeds before you believe one class."
    return section("changes", "Winners and losers", tag("div", tables, cls="pairs"), tag("p", text, cls="note"))


def _changes(report: Report, title: str, name: str, listed: Sequence[Change], largest: float) -> Html:
    head = ["class", "gain", "before", "after", "group", "train images", "objects"]
    rows = []
    for change in listed:
        info, look = report.classes[change.place], "up" if change.gain > 0 else "down"
        width = round(100 * abs(change.gain) / largest, 1)
        length = tag("rect", x=round(100 - width, 1), width=width, height=10, cls=f"bar {look}")
        bar = tag("svg", length, viewBox="0 0 100 10", preserveAspectRatio="none", cls="bars", aria_hidden="true")
        rows.append(
            [
                class_cell(report, change.place),
                Cell([number(change.gain, sign=True), bar], change.gain, True, look),
                figure(change.before),
                figure(change.after),
                group_cell(info),
                figure(info.train_images),
                figure(info.objects),
            ]
        )
    if not rows:
        return tag("p", f"{title}: none.", cls="note")
    return table(title, head, rows, classes=[[change.place] for change in listed], id=name)


def mistakes(report: Report) -> Html:
    """What AP50 would gain without each kind of mistake, by group and run."""
    rows = []
    for group, name in {"all": "all", **{g: GROUPS[g] for g in ("r", "c", "f")}}.items():
        for n, run in enumerate(report.runs):
            result = run.groups.get(group)
            if result is None or not result.counts.get("all"):
                continue
            found = 100 * result.counts["found"] / result.counts["all"]
            mark = swatch(n) if len(report.runs) > 1 else None
            gains = [figure(result.gains.get(kind)) for kind in KINDS]
            order = float(["all", "r", "c", "f"].index(group))
            classes = Cell(name, order, False)
            rows.append([classes, words([mark, " ", run.name], run.name), figure(result.ap50), *gains, figure(found)])
    head = ["classes", "run", "AP50", *KINDS.values(), "found, %"]
    title = "What AP50 would gain without each kind of mistake, percent points"
    note = (
        f"Detections from a score of {report.score_cut:g} on, at an IoU of 0.5, in the manner of TIDE. Each kind is "
        "put right on its own; the gains do not add up. “Found” is the share of objects that were found."
    )
    return section("mistakes", "Mistakes", table(title, head, rows, note=note, id="costs"))


def confusions(report: Report) -> Html:
    """What the objects that were not found were taken for, rare classes first."""
    counts = [
        Counter({(c, other): n for c, result in enumerate(run.classes) for other, n in result.taken_for})
        for run in report.runs
    ]
    pairs = {pair for counter in counts for pair in counter}
    ranks = list(GROUPS)

    def order(pair: tuple[int, int]) -> tuple[int, int, int, int]:
        return ranks.index(report.classes[pair[0]].group), -max(c[pair] for c in counts), *pair

    listed = sorted(pairs, key=order)
    shown = listed[:PAIRS]
    rows = []
    for c, other in shown:
        not_found = [run.classes[c].counts["all"] - run.classes[c].counts["found"] for run in report.runs]
        columns = [
            cell for n in range(len(report.runs)) for cell in (figure(counts[n][c, other]), figure(not_found[n]))
        ]
        info = report.classes[c]
        rows.append(
            [class_cell(report, c), group_cell(info), class_cell(report, other), figure(info.objects), *columns]
        )
    head = ["class", "group", "taken for", "objects"]
    for run in report.runs:
        ending = f", {run.name}" if len(report.runs) > 1 else ""
        head += [f"times{ending}", f"not found{ending}"]
    note = (
        "An object that was not found is taken for the class of the best-scored detection of another class on it "
        "(IoU ≥ 0.5). By LVIS that class need not be judged in the image, and is then no mistake."
    )
    if len(listed) > len(shown):
        note += f" {len(shown)} of {len(listed):,} pairs; a class's own are under its name."
    title = "Objects that were not found, by what they were taken for"
    if not rows:
        return section("confusions", "Confusions", tag("p", "No object was taken for another class."))
    return section("confusions", "Confusions", table(title, head, rows, classes=shown, note=note, id="confused"))


def class_table(report: Report) -> Html:
    """Every class with its AP in every run, rare classes first and the lowest AP of the last run first."""
    several = len(report.runs) > 1
    last = report.runs[-1]

    def order(c: int) -> tuple[int, float, int]:
        ap = last.classes[c].ap
        return list(GROUPS).index(report.classes[c].group), 101.0 if ap is None else ap, c

    places = sorted(range(len(report.classes)), key=order)
    rows = []
    for c in places:
        info, results = report.classes[c], [run.classes[c] for run in report.runs]
        cells = [class_cell(report, c), group_cell(info), *(figure(result.ap) for result in results)]
        cells += [figure(_minus(result.ap, results[0].ap), sign=True) for result in results[1:]]
        counts = results[-1].counts
        found = 100 * counts["found"] / counts["all"] if counts["all"] else None
        cells += [figure(info.train_images), figure(info.objects), figure(results[-1].ap50), figure(found)]
        rows.append(cells)
    names = [f"AP, {run.name}" for run in report.runs] if several else ["AP"]
    names += [f"gain, {run.name}" for run in report.runs[1:]]
    ending = f", {last.name}" if several else ""
    head = ["class", "group", *names, "train images", "objects", f"AP50{ending}", f"found, %{ending}"]
    return section(
        "classes",
        "Classes",
        legend(report),
        table("Classes", head, rows, classes=[[c] for c in places], id="class-table"),
    )


def _minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b

"""A report in, one HTML page out that needs nothing else: no network, no other file, and little of it JavaScript."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import Any

import numpy as np

from clis_core.page import charts, compared, overview, pictures, training
from clis_core.page.content import GROUPS, ClassResult, Report, Run
from clis_core.page.html import Html, embedded_json, tag

SIZE = "@@SIZE@@"
"""Where the page says how large it is."""


def page(report: Report) -> str:
    """The whole page; the same report gives the same bytes.

    Nothing on it runs, is styled or is loaded but its own style sheet and script, which the browser knows by their
    hash; class names and the names of runs are texts wherever they stand.
    """
    parts = [
        overview.headline(report),
        compared.winners_and_losers(report),
        overview.by_train_images(report),
        overview.precision_recall(report),
        compared.mistakes(report),
        compared.confusions(report),
        pictures.pictures(report),
        compared.class_table(report),
        training.loss_curves(report),
        training.settings(report),
    ]
    shown = [part for part in parts if part is not None]
    style, script = _asset("page.css"), _asset("page.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
    )
    title = " / ".join(run.name for run in report.runs)
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"{title} – clis report"),
        tag("style", Html(style)),
    )
    body = tag(
        "body",
        tag("a", "To the contents", href="#main", cls="skip"),
        tag("header", tag("h1", title), _contents(shown)),
        _filter(report),
        tag("main", shown, id="main"),
        tag("footer", f"clis {report.version}, {len(report.pictures)} pictures, {SIZE}."),
        tag("dialog", id="detail", aria_labelledby="detail-title"),
        tag("div", id="tip", role="status", hidden=True),
        tag("script", embedded_json(_data(report)), type="application/json", id="data"),
        tag("script", Html(script)),
    )
    text = f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"
    size = f"{len(text.encode()) / 1e6:.1f} MB"
    return size.join(text.rsplit(SIZE, 1))


def _asset(name: str) -> str:
    return files("clis_core.page").joinpath(name).read_text(encoding="utf-8").strip()


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _contents(parts: list[Html]) -> Html:
    links = []
    for part in parts:
        name = part.split('id="', 1)[1].split('"', 1)[0]
        title = part.split("<h2", 1)[1].split(">", 1)[1].split("</h2>", 1)[0]
        links.append(tag("li", tag("a", Html(title), href=f"#{name}")))
    return tag("nav", tag("ul", links), aria_label="Contents")


def _filter(report: Report) -> Html:
    """Hidden until the script runs, for it does nothing without."""
    there = [group for group in GROUPS if any(info.group == group for info in report.classes)]
    boxes = [
        tag("label", tag("input", type="checkbox", checked=True, value=group or "", name="group"), GROUPS[group])
        for group in there
    ]
    field = tag("input", type="search", id="filter", autocomplete="off", placeholder="class name")
    return tag(
        "form",
        tag("label", tag("span", "Classes "), field),
        tag("output", id="matching", for_="filter"),
        boxes if len(there) > 1 else None,
        id="filters",
        role="search",
        hidden=True,
    )


def _data(report: Report) -> dict[str, Any]:
    """What the script needs to draw a class's own view and to name dots."""
    frame = [charts.LEFT, charts.WIDTH - charts.RIGHT, charts.TOP, charts.HEIGHT - charts.BOTTOM]
    return {
        "frame": [*frame, charts.WIDTH, charts.HEIGHT],
        "groups": [GROUPS[info.group] for info in report.classes],
        "ids": [info.id for info in report.classes],
        "names": [info.name for info in report.classes],
        "codes": [info.group or "" for info in report.classes],
        "train": [info.train_images for info in report.classes],
        "objects": [info.objects for info in report.classes],
        "images": [info.images for info in report.classes],
        "runs": [_run(run) for run in report.runs],
    }


def _run(run: Run) -> dict[str, Any]:
    return {
        "name": run.name,
        "classes": [_result(result) for result in run.classes],
        "curves": None if run.precision is None else _packed(run.precision),
    }


def _result(result: ClassResult) -> list[Any]:
    """AP, AP50, detections, best threshold, objects by fate, taken for, given to."""
    best = None if result.best_f1 is None else [round(value, 3) for value in result.best_f1]
    counts = [result.counts[name] for name in ("all", "found", "Cls", "Loc", "Miss")]
    ap, ap50 = (None if value is None else round(value, 2) for value in (result.ap, result.ap50))
    return [ap, ap50, result.detections, best, counts, list(result.taken_for), list(result.given_to)]


def _packed(precision: np.ndarray[Any, np.dtype[np.float64]]) -> str:
    """Curves in steps of 0.4 percent points, a byte each, base64."""
    return base64.b64encode(np.rint(np.clip(precision, 0, 1) * 255).astype(np.uint8).tobytes()).decode()

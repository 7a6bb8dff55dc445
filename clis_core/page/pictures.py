"""Pictures with boxes in; figures whose boxes are drawn by the browser, and switched one by one, out."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from itertools import groupby

from clis_core.evaluation.examples import Shown, Truth
from clis_core.evaluation.outcomes import What
from clis_core.page.boxes import DrawnBox, Look, frame_of, letter, mark_of
from clis_core.page.content import GROUPS, Picture, Report
from clis_core.page.html import Html, join, tag
from clis_core.page.overview import section, swatch

TITLES: dict[What, str] = {
    "Lost": "Found before, lost now",
    "Gained": "Lost before, found now",
    "Cls": "Wrong class",
    "Miss": "Missed",
    "Loc": "Badly placed",
    "Bkg": "Nothing there",
    "Dupe": "Found twice",
    "Both": "Wrong class and badly placed",
}
MEANINGS = {
    "right": "right",
    "Cls": "wrong class",
    "Loc": "badly placed",
    "Both": "wrong class and place",
    "Dupe": "found twice",
    "Bkg": "nothing there",
    "not judged": "not judged",
}
FATES = {"found": "found", "Cls": "wrong class", "Loc": "badly placed", "Miss": "missed", "ignored": "does not count"}
SURE = 0.3
"""Detections from this score on are drawn at first; the others on demand."""


def pictures(report: Report) -> Html | None:
    """All pictures by what happened, with a switch for whose boxes are drawn."""
    if not report.pictures:
        return None
    with_boxes = [n for n in range(len(report.runs)) if report.pictures[0].shown[n] is not None]
    last = with_boxes[-1]
    switches: list[Html] = []
    for n in with_boxes if len(with_boxes) > 1 else []:
        switches.append(
            tag(
                "label",
                tag("input", type="radio", name="boxes", id=f"boxes-{n}", checked=n == last),
                swatch(n),
                report.runs[n].name,
            )
        )
    numbers = {id(picture): n for n, picture in enumerate(report.pictures)}
    parts = []
    for what, listed in groupby(report.pictures, key=lambda picture: picture.example.what):
        figures = [_picture(report, picture, numbers[id(picture)], with_boxes) for picture in listed]
        parts.append(tag("h3", _title(report, what, with_boxes)))
        parts.append(tag("div", figures, cls="pictures"))
    text = (
        f"By what happened in {report.runs[last].name}, rare classes first, the worst of each class first. Letters "
        "(dashed) are the annotated objects, numbers the detections. Detections that are “not judged” are of classes "
        "that nobody looked for in this image, or where not all objects are annotated. Those below a score of "
        f"{SURE:g} are drawn when they are ticked."
    )
    return section(
        "pictures",
        "Pictures",
        tag("p", text, cls="note"),
        tag("fieldset", tag("legend", "Boxes of"), switches, cls="switches") if switches else None,
        parts,
    )


def _title(report: Report, what: What, with_boxes: Sequence[int]) -> str:
    first, last = report.runs[with_boxes[0]].name, report.runs[with_boxes[-1]].name
    match what:
        case "Lost":
            return f"Found by {first}, not by {last}"
        case "Gained":
            return f"Found by {last}, not by {first}"
        case _:
            return TITLES[what]


def _picture(report: Report, picture: Picture, number: int, with_boxes: Sequence[int]) -> Html:
    width, height = picture.size
    example, info = picture.example, report.classes[picture.example.category]
    objects = [
        DrawnBox(f"p{number}o{k}", letter(k), o.box, "object", o.place == example.object)
        for k, o in enumerate(picture.objects)
    ]
    frames, marks = [tag("g", [frame_of(picture, box) for box in objects])], []
    items = [_object(report, picture, k, box.name, with_boxes) for k, box in enumerate(objects)]
    lists = [tag("ol", items, cls="objects")]
    for n in with_boxes:
        shown = picture.shown[n] or []
        boxes = [_drawn(picture, d, k, f"p{number}r{n}d{k}") for k, d in enumerate(shown)]
        cls = f"of-run r{n}" + (" last" if n == with_boxes[-1] else "")
        frames.append(tag("g", [frame_of(picture, box) for box in boxes], cls=cls))
        marks.append(tag("g", [mark_of(picture, box) for box in boxes], cls=cls))
        items = [_detection(report, d, box) for d, box in zip(shown, boxes, strict=True)]
        empty = tag("p", f"No detection from a score of {report.score_cut:g} on.", cls="note")
        lists.append(tag("div", tag("ol", items, cls="detections") if items else empty, cls=cls))
    layers = [*frames, *marks, tag("g", [mark_of(picture, box) for box in objects])]
    places = sorted({example.category, *(o.category for o in picture.objects)})
    names = ", ".join(report.classes[o.category].name for o in picture.objects)
    data = base64.b64encode(picture.jpeg).decode()
    photo = tag("img", src=f"data:image/jpeg;base64,{data}", width=width, height=height, loading="lazy",
                alt=f"Image {picture.image_id} with {names or 'no annotated object'}")  # fmt: skip
    caption = [tag("strong", info.name), f" ({GROUPS[info.group]}) "]
    return tag(
        "figure",
        tag("figcaption", caption, tag("span", f"image {picture.image_id}", cls="unit")),
        tag("div", photo, tag("svg", layers, viewBox=f"0 0 {width} {height}", aria_hidden="true"), cls="photo"),
        tag("details", tag("summary", "Boxes"), lists, open=True),
        cls="picture",
        data_c=" ".join(map(str, places)),
    )


def _object(report: Report, picture: Picture, k: int, name: str, with_boxes: Sequence[int]) -> Html:
    truth: Truth = picture.objects[k]
    info = report.classes[truth.category]
    fates = []
    for n in with_boxes:
        fate = FATES[(picture.fates[n] or ())[k]]
        fates.append(tag("span", swatch(n) if len(with_boxes) > 1 else None, " ", fate, cls=f"fate f-{fate[:5]}"))
    text = [tag("b", letter(k)), f" {info.name} ({GROUPS[info.group]}): ", join(fates, " ")]
    return tag("li", _switch(name, True, text))


def _detection(report: Report, shown: Shown, box: DrawnBox) -> Html:
    name = report.classes[shown.category].name
    verdict = tag("span", MEANINGS[shown.verdict], cls=f"verdict v-{box.look}")
    score = tag("span", f"{shown.score:.2f}", cls="unit")
    return tag("li", _switch(box.name, not box.hidden, [tag("b", box.mark), f" {name} ", score, " ", verdict]))


def _switch(name: str, on: bool, text: object) -> Html:
    return tag("label", tag("input", type="checkbox", checked=on, data_box=name), text)


def _drawn(picture: Picture, shown: Shown, k: int, name: str) -> DrawnBox:
    about = _about(picture, shown)
    return DrawnBox(name, str(k + 1), shown.box, _look(shown), about, shown.score < SURE and not about, shown.mask)


def _look(shown: Shown) -> Look:
    match shown.verdict:
        case "right":
            return "right"
        case "not judged":
            return "unjudged"
        case _:
            return "wrong"


def _about(picture: Picture, shown: Shown) -> bool:
    example = picture.example
    if example.object >= 0:
        return shown.object == example.object
    return shown.verdict == example.what and shown.category == example.category

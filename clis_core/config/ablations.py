"""The tables of papers as settings: each row is a layer over the full method, beside the numbers that are printed.

"CLIS" is Li et al., arXiv 2210.05568; its numbers are box AP on LVIS v1 val with ResNet-50 after 90,000 iterations.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from clis_core.errors import ConfigError

Budget = Literal["small", "tiny", "full"]

PRESETS: dict[Budget, dict[str, str]] = {
    "small": {
        "clis": "clis-small",
        "specialised": "specialised-small",
        "baseline": "baseline-small",
        "mtl": "mtl-ssl-small",
    },
    "tiny": {
        "clis": "clis-tiny",
        "specialised": "specialised-tiny",
        "baseline": "baseline-tiny",
        "mtl": "mtl-ssl-tiny",
    },
    "full": {
        "clis": "clis-r50-1x",
        "specialised": "specialised-r50-1x",
        "baseline": "baseline-r50-1x",
        "mtl": "mtl-ssl-coco-r101-600",
    },
}
"""The presets of a budget, by what they are."""


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        name: as printed.
        base: "clis", "specialised", "baseline" or "mtl".
        settings: over the base's preset, nested.
        paper: AP, APr, APc, APf as the paper prints them, or AP alone; None where it has no such row.
        regions: rule that the regions are made by.
        images: "google" for the second folder of shards.
    """

    name: str
    base: str = "clis"
    settings: Mapping[str, Any] = field(default_factory=dict)
    paper: tuple[float, ...] | None = None
    regions: str = "rank-first"
    images: Literal["main", "google"] = "main"


@dataclass(frozen=True)
class Table:
    """A table of rows.

    Attributes:
        title: what it shows.
        rows: the full method, or what the others are compared with, first.
    """

    title: str
    rows: tuple[Row, ...]


_FULL = (29.2, 24.4, 28.6, 31.9)
_NO_CONTRAST = (28.2, 20.5, 27.8, 32.0)
_NO_IMAGES = (25.2, 14.6, 24.0, 31.2)
_WITHOUT_CONTRAST: Mapping[str, Any] = {"pictures": {"t": 0}, "method": {"beta": 0.0}}


def _alpha(value: float, paper: tuple[float, float, float, float]) -> Row:
    return Row(f"alpha {value}", settings={"pictures": {"t": 0}, "method": {"alpha": value, "beta": 0.0}}, paper=paper)


def _beta(value: float, paper: tuple[float, float, float, float] | None) -> Row:
    return Row(f"beta {value}", settings={"method": {"beta": value}}, paper=paper)


def _s(value: int, paper: tuple[float, float, float, float]) -> Row:
    return Row(f"s {value}", settings={"pictures": {"s": value, "t": 0}, "method": {"beta": 0.0}}, paper=paper)


def _t(value: int, paper: tuple[float, float, float, float]) -> Row:
    return Row(f"t {value}", settings={"pictures": {"t": value}}, paper=paper)


def _fraction(value: float, paper: tuple[float, float, float, float]) -> Row:
    return Row(f"{value:.0%} of the pictures", settings={"pictures": {"fraction": value}}, paper=paper)


def _mtl(name: str, *on: str, paper: tuple[float, ...] | None = None) -> Row:
    heads = {head: head in on for head in ("window", "closeness", "refine")}
    training = {"foreground_weight": 1.0 if "foreground" in on else 0.0}
    return Row(name, "mtl", {"detector": {"mtl": heads}, "method": {"mtl": training}}, paper)


TABLES: dict[str, Table] = {
    "II": Table(
        "components (CLIS, table II)",
        (
            Row("CLIS", paper=_FULL),
            Row("w/o TSS", settings={"detector": {"head": {"specialised": False}}}, paper=(25.9, 20.3, 25.0, 29.5)),
            Row("w/o SS", settings={"method": {"siamese": False}}, paper=(28.3, 21.7, 27.6, 32.0)),
            Row("w/o CLR", settings=_WITHOUT_CONTRAST, paper=_NO_CONTRAST),
            Row("w/o ILS", "specialised", paper=_NO_IMAGES),
            Row("w/o (TSS + ILS)", "baseline", paper=(22.0, 8.9, 20.8, 29.1)),
        ),
    ),
    "III": Table(
        "weight of the image loss, without contrast (CLIS, table III)",
        (
            _alpha(0.1, _NO_CONTRAST),
            Row("alpha 0", "specialised", paper=_NO_IMAGES),
            _alpha(0.01, (26.1, 16.6, 25.2, 31.3)),
            _alpha(0.05, (27.3, 17.5, 27.1, 31.8)),
            _alpha(0.2, (28.0, 19.5, 27.9, 31.9)),
            _alpha(0.5, (26.5, 17.8, 26.5, 30.4)),
        ),
    ),
    "IV": Table(
        "weight of the contrast (CLIS, table IV; NaN at 0.1 in the paper)",
        (
            _beta(0.05, _FULL),
            Row("beta 0, nothing pasted", settings=_WITHOUT_CONTRAST, paper=_NO_CONTRAST),
            Row("beta 0, pasted all the same", settings={"method": {"beta": 0.0}}),
            _beta(0.01, (28.9, 22.5, 28.8, 31.9)),
            _beta(0.08, (28.7, 21.8, 28.6, 32.0)),
            _beta(0.1, None),
        ),
    ),
    "V": Table(
        "pictures for each detection image, without contrast (CLIS, table V)",
        (
            _s(16, _NO_CONTRAST),
            Row("s 0", "specialised", paper=_NO_IMAGES),
            _s(4, (27.7, 19.5, 27.5, 31.5)),
            _s(8, (27.8, 18.5, 27.7, 31.9)),
            _s(32, (28.2, 20.0, 27.9, 32.0)),
        ),
    ),
    "VI": Table(
        "instances pasted into each detection image (CLIS, table VI)",
        (
            _t(2, _FULL),
            Row("t 0", settings=_WITHOUT_CONTRAST, paper=_NO_CONTRAST),
            _t(1, (28.8, 21.8, 28.6, 32.1)),
            _t(4, (28.3, 22.3, 28.1, 31.3)),
        ),
    ),
    "VIII": Table(
        "size of the image-level data (CLIS, table VIII)",
        (
            Row("100% of the pictures", paper=_FULL),
            Row("none", "specialised", paper=_NO_IMAGES),
            _fraction(0.1, (27.6, 21.3, 26.8, 31.3)),
            _fraction(0.5, (28.7, 23.1, 28.1, 31.9)),
        ),
    ),
    "XI": Table(
        "pictures of Google (CLIS, table XI)",
        (
            Row("Google", paper=(26.8, 19.9, 25.7, 31.0), images="google"),
            Row("none", "specialised", paper=_NO_IMAGES),
        ),
    ),
    "regions": Table(
        "where in a picture its class is (not in the paper but for rank-first)",
        (
            Row("rank-first", settings=_WITHOUT_CONTRAST, paper=_NO_CONTRAST),
            Row("max-score", settings=_WITHOUT_CONTRAST, regions="max-score"),
            Row("max-size", settings=_WITHOUT_CONTRAST, regions="max-size"),
            Row("full-image", settings=_WITHOUT_CONTRAST, regions="full-image"),
            Row("centre", settings=_WITHOUT_CONTRAST, regions="centre"),
        ),
    ),
    "contrast": Table(
        "pasting and the contrastive loss apart (the paper has both or none)",
        (
            Row("CLIS", paper=_FULL),
            Row("neither", settings=_WITHOUT_CONTRAST, paper=_NO_CONTRAST),
            Row("pasting alone", settings={"method": {"beta": 0.0}}),
            Row("loss alone: pasted, no ground truth", settings={"pictures": {"paste": {"boxes": "ignored"}}}),
            Row("opaque", settings={"pictures": {"paste": {"mode": "opaque"}}}),
            Row("momentum 0.99", settings={"method": {"momentum": 0.99}}),
            Row("same class masked", settings={"method": {"mask_same_class": True}}),
            Row("positive of the slow copy", settings={"method": {"positive": "momentum"}}),
            Row("rare classes first", settings={"pictures": {"paste": {"pick": "rare"}}}),
            Row("pasted to the end", settings={"pictures": {"paste": {"until": 1.0}}}),
            Row("none pasted in the last 30 %", settings={"pictures": {"paste": {"until": 0.7}}}),
        ),
    ),
    "mtl": Table(
        "auxiliary tasks of MTL-SSL (its AP on COCO 2017 with C4; the rest is not in our sources)",
        (
            _mtl("baseline", paper=(32.7,)),
            _mtl("windows", "window"),
            _mtl("closeness", "closeness"),
            _mtl("foreground", "foreground"),
            _mtl("all three", "window", "closeness", "foreground"),
            _mtl("all three and refinement", "window", "closeness", "foreground", "refine", paper=(34.6,)),
        ),
    ),
}


def table(name: str) -> Table:
    """A table by its number or name, in any case.

    Raises:
        ConfigError: there is none of this name.
    """
    by_name = {known.lower(): found for known, found in TABLES.items()}
    if name.lower() not in by_name:
        near = difflib.get_close_matches(name, TABLES, n=1)
        meant = f"Did you mean {near[0]}? " if near else ""
        raise ConfigError(f"There is no table {name!r} to run.", hint=f"{meant}There are: {', '.join(TABLES)}")
    return by_name[name.lower()]

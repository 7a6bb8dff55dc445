"""Which pictures are chosen, and what is told of the boxes on them."""

import numpy as np

from clis_core.evaluation.detections import DetectionBuilder
from clis_core.evaluation.evaluate import prepare
from clis_core.evaluation.examples import MOST, ORDER, Example, choose, shown_of, truths_of
from clis_core.evaluation.judged import objects_of
from clis_core.evaluation.outcomes import WHAT, Incidents, verdicts_on
from tests.evaluation.odd_world import write


def incidents(*rows):
    what, category, image, weight, place = zip(*rows, strict=True)
    what = [WHAT.index(w) for w in what]
    return Incidents(*(np.array(x) for x in (what, category, image)), np.array(weight, float), np.array(place))


GROUPS = ["f", "r", None, "r", "c"]


def test_rare_classes_first_then_many_classes_then_the_worst():
    found = incidents(
        ("Miss", 0, 1, 900.0, 0),
        ("Miss", 1, 2, 5.0, 1),
        ("Miss", 1, 3, 7.0, 2),
        ("Miss", 3, 4, 6.0, 3),
        ("Miss", 4, 5, 800.0, 4),
        ("Miss", 2, 6, 999.0, 5),
    )
    assert [(e.category, e.image) for e in choose(found, GROUPS, 10)] == [
        (1, 3),
        (3, 4),
        (1, 2),
        (4, 5),
        (0, 1),
        (2, 6),
    ]
    assert [(e.category, e.image) for e in choose(found, GROUPS, 2)] == [(1, 3), (3, 4)]


def test_every_kind_gets_its_share_in_the_order_of_the_page():
    rows = [(what, n % 2, 100 * k + n, float(n), -1) for k, what in enumerate(WHAT) for n in range(5)]
    chosen = choose(incidents(*rows), GROUPS, 16)
    assert [e.what for e in chosen] == [what for what in ORDER for _ in range(2)]
    assert choose(incidents(*rows), GROUPS, 0) == []
    assert len(choose(incidents(*rows), GROUPS, 1000)) == len(rows)


def test_a_picture_is_shown_once():
    rows = [(what, 1, image, 1.0, -1) for what in WHAT for image in range(3)]
    chosen = choose(incidents(*rows), GROUPS, 50)
    assert sorted(e.image for e in chosen) == [0, 1, 2]
    rows.append(("Bkg", 0, 9, 0.1, -1))
    assert ("Bkg", 9) in [(e.what, e.image) for e in choose(incidents(*rows), GROUPS, 50)]


def test_what_is_told_of_each_detection(tmp_path):
    box = [10.0, 10.0, 40.0, 40.0]
    raw = {
        "images": [{"id": 4, "width": 200, "height": 200, "neg_category_ids": [3], "not_exhaustive_category_ids": []}],
        "categories": [{"id": i, "name": f"c{i}", "frequency": "f"} for i in (1, 2, 3, 5)],
        "annotations": [
            {"id": 1, "image_id": 4, "category_id": 1, "bbox": box, "area": 1600.0},
            {"id": 2, "image_id": 4, "category_id": 2, "bbox": [100.0, 100.0, 50.0, 50.0], "area": 2500.0},
        ],
    }
    truth = prepare(write(tmp_path, raw)).truth
    objects = objects_of(truth)
    builder = DetectionBuilder()
    on, near, away = [10, 10, 50, 50], [30, 10, 70, 50], [150, 10, 180, 40]
    told = [
        (1, on, 0.9, "right", 0),
        (1, on, 0.8, "Dupe", 0),
        (3, on, 0.7, "Cls", 0),
        (1, near, 0.6, "Loc", 0),
        (3, near, 0.5, "Both", -1),
        (1, away, 0.4, "Bkg", -1),
        (5, on, 0.3, "not judged", -1),
    ]
    below = [(1, away, 0.04, "", -1)]
    many = [(1, away, 0.1 - n * 1e-3, "Bkg", -1) for n in range(MOST)]
    everything = [*told, *below, *many]
    builder.add(4, *([row[n] for row in everything] for n in range(3)))
    verdicts = verdicts_on(truth, objects, builder.build(), 0.05)
    shown = shown_of(truth, verdicts, Example("Loc", 0, 0, 0), 0.05)
    seen = [(truth.category_ids[s.category], [round(v) for v in s.box], s.verdict, s.object) for s in shown]
    assert seen == [(c, b, v, o) for c, b, _, v, o in [*told, *many][:MOST]]
    assert [round(s.score, 3) for s in shown] == [round(row[2], 3) for row in [*told, *many][:MOST]]
    shown = shown_of(truth, verdicts, Example("Bkg", 0, 0, -1), 0.05)
    assert len(shown) == len(told) + len(many), "all that the picture is about"
    truths = truths_of(objects, 0)
    assert [(t.category, t.box, t.ignored) for t in truths] == [
        (0, (10.0, 10.0, 50.0, 50.0), False),
        (1, (100.0, 100.0, 150.0, 150.0), False),
    ]

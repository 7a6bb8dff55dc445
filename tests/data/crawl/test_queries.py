"""What is searched for."""

from __future__ import annotations

import csv
import io

import pytest

from clis_core.categories import Category
from clis_core.data.crawl.queries import COLUMNS, make_queries, query_table
from clis_core.data.taxonomy import Concept, concepts
from clis_core.errors import DataError

CONCEPTS = [
    Concept(Category(9, "bow_(weapon)", group="r"), ("bow",), 'a weapon for shooting arrows, "curved"'),
    Concept(Category(2, "aerosol_can", group="c"), (), "a dispenser"),
    Concept(Category(4, "thing", group="f")),
]


def test_queries_are_in_the_order_of_the_ids() -> None:
    queries = make_queries(CONCEPTS)
    assert [(q.category.id, q.text, q.fallback) for q in queries] == [
        (2, "aerosol can a dispenser", "aerosol can"),
        (4, "thing", "thing"),
        (9, 'bow weapon a weapon for shooting arrows, "curved"', "bow weapon"),
    ]


def test_groups() -> None:
    assert [q.category.id for q in make_queries(CONCEPTS, ["r", "c"])] == [2, 9]
    assert len(make_queries(concepts("v1"), ["r"])) == 337
    with pytest.raises(DataError, match="No category is of group"):
        make_queries(CONCEPTS[:1], ["f"])
    with pytest.raises(DataError, match="'thing' is rare, common or frequent"):
        make_queries([Concept(Category(1, "thing"))], ["r"])


def test_the_table_can_be_read_again() -> None:
    rows = list(csv.reader(io.StringIO(query_table(make_queries(CONCEPTS)))))
    assert rows[0] == list(COLUMNS)
    assert rows[3] == ["9", "bow_(weapon)", "r", 'bow weapon a weapon for shooting arrows, "curved"', "bow weapon"]

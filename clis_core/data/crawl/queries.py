"""Concepts go in, the texts that are searched for come out, one pair for each category."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from clis_core.categories import Category, Group
from clis_core.data.taxonomy import Concept, fallback_query, query
from clis_core.errors import DataError

COLUMNS = ("category_id", "name", "group", "query", "fallback")


@dataclass(frozen=True)
class Query:
    """What is searched for to find pictures of a category.

    Attributes:
        category: the category.
        text: its name and definition, as CLIS asked Google (sec. IV-D5).
        fallback: its name and what stands in brackets behind it.
    """

    category: Category
    text: str
    fallback: str


def make_queries(concepts: Iterable[Concept], only: Collection[Group] = ()) -> list[Query]:
    """The queries for concepts, in the order of the category ids.

    Args:
        concepts: the categories with their definitions.
        only: take the categories of these groups alone; empty takes all.

    Raises:
        DataError: a category has no group although ``only`` asks for it, or none is left.
    """
    chosen = []
    for concept in sorted(concepts, key=lambda c: c.category.id):
        group = concept.category.group
        if only and group is None:
            raise DataError(
                f"Nothing says whether category {concept.category.name!r} is rare, common or frequent.",
                hint="Leave out --only, or name a json that has the groups or the training images: --lvis FILE",
            )
        if not only or group in only:
            chosen.append(Query(concept.category, query(concept), fallback_query(concept)))
    if not chosen:
        raise DataError(f"No category is of group {', '.join(only)}.", hint="The groups are r, c and f: --only r,c")
    return chosen


def query_table(queries: Iterable[Query]) -> str:
    """The queries as CSV with the header `COLUMNS`."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for q in queries:
        table.writerow((q.category.id, q.category.name, q.category.group or "", q.text, q.fallback))
    return text.getvalue()

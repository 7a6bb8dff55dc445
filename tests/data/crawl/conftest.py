"""No test of the crawler reaches another machine."""

import pytest

from tests.data.crawl.web import loopback_only, web

__all__ = ["loopback_only", "web"]


@pytest.fixture(autouse=True)
def _stay_here(loopback_only: None) -> None:
    """Use the fixture in every test."""

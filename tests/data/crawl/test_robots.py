"""What owners of pictures say to crawlers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clis_core.data.crawl.robots import RobotRules, opt_out


@pytest.mark.parametrize(
    ("text", "path", "allowed"),
    [
        ("", "/a.jpg", True),
        ("User-agent: *\nDisallow: /private/", "/private/a.jpg", False),
        ("User-agent: *\nDisallow: /private/", "/public/a.jpg", True),
        ("User-agent: *\nDisallow: /", "/a.jpg", False),
        ("User-agent: *\nDisallow:", "/a.jpg", True),
        ("User-agent: other\nDisallow: /", "/a.jpg", True),
        ("user-agent: *\ndisallow: /\n\nUSER-AGENT: Clis # us\nDisallow: /b", "/a.jpg", True),
        ("User-agent: *\nAllow: /\nUser-agent: clis\nUser-agent: other\nDisallow: /", "/a.jpg", False),
        ("User-agent: clis\nDisallow: /a\n\nUser-agent: x\nAllow: /\n\nUser-agent: clis\nDisallow: /b", "/b", False),
        ("User-agent: *\nDisallow: /a\nAllow: /a/b", "/a/b/c", True),  # the longest one decides
        ("User-agent: *\nAllow: /a\nDisallow: /a", "/a", True),  # of equals, allow
        ("User-agent: *\nDisallow: /a\nAllow: /a", "/a", True),
        ("User-agent: *\nDisallow: /\n\nUser-agent: clis\nDisallow:", "/a", True),  # our own rules, though none
        ("User-agent: *\nDisallow: /*.gif$", "/x/y.gif", False),
        ("User-agent: *\nDisallow: /*.gif$", "/x/y.gif?size=2", True),
        ("User-agent: *\nDisallow: /a*b*c", "/a--b--c--", False),
        ("User-agent: *\nDisallow: /a*b*c", "/a--c--b--", True),
        ("User-agent: *\nDisallow: /*?size=", "/x?size=3", False),
        ("User-agent: *\nDisallow: /a$", "/ab", True),
        ("User-agent: *\nDisallow: /a*a$", "/a", True),  # pieces do not share a letter
        ("User-agent: *\nDisallow: /%7Ejoe/", "/~joe/a.jpg", False),
        ("\ufeffUser-agent: *\nDisallow: /", "/a.jpg", False),
        ("<html><body>User-agent: *</body></html>", "/a.jpg", True),
        ("Disallow: /\nUser-agent: *\nCrawl-delay: 1\nDisallow: /b", "/a", True),  # before any agent: for nobody
    ],
)
def test_rules(text: str, path: str, allowed: bool) -> None:
    assert RobotRules(text).allows(f"https://host.test{path}") is allowed


@given(st.text(alphabet="ab*$", min_size=1, max_size=12), st.text(alphabet="ab", max_size=20))
def test_patterns_match_as_regular_expressions_would(pattern: str, path: str) -> None:
    import re

    body, end = (pattern[:-1], "$") if pattern.endswith("$") else (pattern, "")
    expression = re.compile(".*".join(re.escape(piece) for piece in f"/{body}".split("*")) + (r"\Z" if end else ""))
    rules = RobotRules(f"User-agent: *\nDisallow: /{body}{end}")
    assert rules.allows(f"https://host.test/{path}") is (expression.match(f"/{path}") is None)


def test_a_pattern_that_would_take_a_regular_expression_for_ever() -> None:
    rules = RobotRules("User-agent: *\nDisallow: /" + "*a" * 200 + "b")
    assert rules.allows("https://host.test/" + "a" * 5000)


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["noai"], "X-Robots-Tag: noai"),
        (["max-snippet: 20, NoImageAI"], "X-Robots-Tag: noimageai"),
        (["noindex"], "X-Robots-Tag: noindex"),
        (["nofollow", "noimageindex"], "X-Robots-Tag: noimageindex"),
        (["none"], "X-Robots-Tag: none"),
        (["clis: noindex"], "X-Robots-Tag: noindex"),
        (["googlebot: nofollow, clis: noai"], "X-Robots-Tag: noai"),
        (["googlebot: noindex, noai"], None),  # both are meant for googlebot
        (["unavailable_after: 25 Jun 2030 15:00:00 PST"], None),
        (["all"], None),
        ([], None),
    ],
)
def test_x_robots_tag(lines: list[str], found: str | None) -> None:
    assert opt_out({"x-robots-tag": lines}) == found


def test_tdm_reservation() -> None:
    assert opt_out({"tdm-reservation": ["1"]}) == "TDM-Reservation: 1"
    assert opt_out({"tdm-reservation": ["0"]}) is None

"""What `clis bench --all` saw goes in, docs/benchmarks.json; a page of Markdown comes out: every figure of it."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from clis_core.jobs import bench
from clis_core.jobs.bench_suite import Suite, read_suite
from docs.settings_pages import NOTE

FIGURES = Path(__file__).parent / "benchmarks.json"
_HEAD = """# Every figure of the benchmarks

`clis bench --all --scale {scale:g} -o docs/benchmarks.json` on one machine; [benchmarks](../benchmarks.md) says how to
read it. Ratios above 1 mean that clis is better, `times` above 1 that it takes longer; `equal` says whether both sides
gave the same answer. Medians; what is measured stands with each.
"""


def pages() -> dict[str, str]:
    """The text of the page by its name below docs/."""
    return {"figures/benchmarks.md": _page(read_suite(FIGURES))} if FIGURES.exists() else {}


def _page(suite: Suite) -> str:
    parts = [NOTE.format("docs/benchmarks.json"), _HEAD.format(scale=suite.scale), _table(suite.environment)]
    for name, result in suite.results.items():
        parts += [f"## {name}\n", _what(name), _table({k: v for k, v in result.items() if k != "name"})]
    parts += [f"## {name}\n\nNot measured: {why}\n" for name, why in suite.failed.items()]
    return "\n".join(parts)


def _what(name: str) -> str:
    """What a benchmark measures, from its function; not imported, for that would import torch."""
    source = Path(bench.__path__[0], f"{name.replace('-', '_')}.py").read_text(encoding="utf-8")
    found = next(x for x in ast.parse(source).body if isinstance(x, ast.FunctionDef) and x.name == "run")
    text = inspect.cleandoc(ast.get_docstring(found) or "").replace("``", "`")
    what, _, returned = text.partition("\n\nReturns:\n")
    return f"{what.partition(chr(10) + chr(10) + 'Args:')[0]}\n\n{inspect.cleandoc(returned)}\n"


def _table(figures: Mapping[str, Any]) -> str:
    rows = [f"| `{key}` | {_shown(value)} |" for key, value in _flat(figures)]
    return "\n".join(["| | |", "|---|---|", *rows, ""])


def _flat(figures: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in figures.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    if isinstance(value, list):
        return ", ".join(map(_shown, value)) or "none"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)

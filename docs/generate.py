"""Writes the pages that are made of the code: `python -m docs.generate`; `--check` only tells which are not fresh."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from clis_core.config.schema import config_schema, workspace_schema
from docs import benchmark_pages, command_pages, settings_pages

DOCS = Path(__file__).parent
FOLDERS = ("commands", "settings", "schema", "figures")
"""Folders of docs/ that hold such pages and nothing else."""


def pages() -> dict[str, str]:
    """The text of each page by its name below docs/."""
    return {
        **command_pages.pages(),
        **settings_pages.pages(),
        **benchmark_pages.pages(),
        "schema/config.json": _json(config_schema()),
        "schema/workspace.json": _json(workspace_schema()),
    }


def stale() -> list[str]:
    """Names of the pages that are missing, differ from what would be made, or belong to nothing any more."""
    made = pages()
    there = {path.relative_to(DOCS).as_posix(): path for name in FOLDERS for path in (DOCS / name).glob("*.*")}
    fresh = {name for name, path in there.items() if path.read_text(encoding="utf-8") == made.get(name)}
    return sorted((made.keys() | there.keys()) - fresh)


def main() -> None:
    """Bring the pages up to date, or fail where they are not."""
    names, made = stale(), pages()
    if sys.argv[1:] == ["--check"]:
        sys.exit("Not fresh: " + ", ".join(names) + "\nRun: python -m docs.generate" if names else 0)
    for name in names:
        path = DOCS / name
        if name in made:
            path.parent.mkdir(exist_ok=True)
            path.write_text(made[name], encoding="utf-8")
        else:
            path.unlink()
        print(name)


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    main()

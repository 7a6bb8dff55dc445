"""Every error that is raised on purpose says what to do."""

import ast
from pathlib import Path

from clis_core import errors

ROOT = Path(__file__).parents[1]
NAMES = {name for name in dir(errors) if isinstance(getattr(errors, name), type)} | {"DamagedCheckpointError"}


def test_every_error_has_a_hint() -> None:
    without = []
    for path in [p for top in ("clis_cli", "clis_core") for p in (ROOT / top).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = isinstance(node, ast.Call) and getattr(node.func, "id", None) in NAMES
            if named and not any(keyword.arg in ("hint", None) for keyword in node.keywords):
                without.append(f"{path.name}:{node.lineno}")
    assert without == []


def test_files_of_other_formats_say_which_clis_is_the_older() -> None:
    assert "pip install --upgrade clis" in errors.format_hint(3, 2)
    assert "older clis wrote it" in errors.format_hint(1, 2)
    assert "pip install --upgrade clis" in errors.format_hint("new", 2)

"""The pages that are made of the code are those of this code, and have every option and every setting."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from clis_core.config.keys import Models, models_in
from clis_core.config.run import RunConfig
from clis_core.config.schema import config_schema, workspace_schema
from clis_core.config.workspace import WorkspaceTable
from docs.generate import DOCS, main, pages, stale
from tests.cli.test_help import COMMANDS

OF_ALL = {"--help", "-h"}


def settings(models: Models, above: str = "") -> Iterator[tuple[str, Any]]:
    for model in models:
        for name, field in model.model_fields.items():
            inner = models_in(field.annotation)
            yield from settings(inner, f"{above}{name}.") if inner else [(above + name, field)]


SETTINGS = [*settings((RunConfig,)), *settings((WorkspaceTable,), "workspace.")]


def test_the_pages_are_fresh() -> None:
    assert stale() == [], "Run: python -m docs.generate"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_has_the_options_of_help(name: str, clis: Any) -> None:
    shown = re.sub(r"(?s).*?╭─ (?:Arguments|Options) ", "", clis(*name.split(), "--help").out, count=1)
    helped = set(re.findall(r"^│[ *]+(-[\w-]+|--[\w-]+)", shown, re.M)) | set(
        re.findall(r"^│.*?\s(-\w)\s", shown, re.M)
    )
    page = pages()[f"commands/{name.replace(' ', '-')}.md"]
    rows = [line.split(" | ")[0] for line in page.splitlines() if line.startswith("| `-")]
    written = {word for row in rows for word in re.findall(r"`(-[\w-]+)`", row)}
    assert helped - OF_ALL <= written
    assert all(word in shown for word in written)
    assert written


def test_every_setting_has_a_row_with_a_meaning() -> None:
    text = "\n".join(text for name, text in pages().items() if name.startswith("settings/"))
    rows = {cells[0]: cells for line in text.splitlines() if len(cells := line.strip("| ").split(" | ")) == 4}
    for key, field in SETTINGS:
        assert f"`{key}`" in rows, key
        assert key.endswith(".kind") or field.description, key
        assert rows[f"`{key}`"][3], key


def test_rows_state_type_default_and_range() -> None:
    train, data = pages()["settings/train.md"], pages()["settings/data.md"]
    assert "| `train.lr` | number, > 0 | `0.02` | Learning rate at a batch of" in train
    assert '| `train.amp` | `"off"`, `"bf16"`, `"fp16"` | `"off"` |' in train
    assert "| `data.short_sides` | list of integers | `[640, 672, 704, 736, 768, 800]` |" in data
    assert "| `data.train` | path |  | Annotation json" in data


def test_the_published_schemas_are_those_that_the_command_prints(clis: Any) -> None:
    for name, words, schema in (
        ("config", (), config_schema()),
        ("workspace", ("--workspace",), workspace_schema()),
    ):
        assert json.loads((DOCS / "schema" / f"{name}.json").read_text(encoding="utf-8")) == schema
        assert json.loads(clis("config", "schema", *words).out) == schema


def test_check_tells_what_is_not_fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr("docs.generate.DOCS", tmp_path)
    monkeypatch.setattr("sys.argv", ["generate", "--check"])
    with pytest.raises(SystemExit, match=r"commands/train\.md.*\n.*python -m docs\.generate"):
        main()
    monkeypatch.setattr("sys.argv", ["generate"])
    main()
    assert stale() == []
    (tmp_path / "commands" / "gone.md").write_text("of a command that is no more", encoding="utf-8")
    (tmp_path / "settings" / "train.md").unlink()
    assert stale() == ["commands/gone.md", "settings/train.md"]
    main()
    assert stale() == []

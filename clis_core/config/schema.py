"""The config models go in; JSON schemas for editors, and for whoever writes settings by program, come out."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from clis_core.config.run import RunConfig
from clis_core.config.workspace import WorkspaceTable

DRAFT = "http://json-schema.org/draft-07/schema#"
"""The newest draft that the editors' TOML plug-ins know."""


def config_schema() -> dict[str, Any]:
    """The schema of a file of settings: of ``--config``, and of a run's config.toml."""
    return _of_layer(RunConfig, "Settings of clis")


def workspace_schema() -> dict[str, Any]:
    """The schema of a clis.toml: the table [workspace], and settings beside it."""
    whole, table = config_schema(), _of_layer(WorkspaceTable, "")
    whole["title"] = "Workspace of clis"
    whole["properties"]["workspace"] = {k: v for k, v in table.items() if k not in ("$schema", "title", "definitions")}
    return whole


def _of_layer(model: type[BaseModel], title: str) -> dict[str, Any]:
    """A file is one layer of settings: it may set a table's keys and leave its ``kind`` to the layer below."""
    made = model.model_json_schema(ref_template="#/definitions/{model}")
    definitions = made.pop("$defs", {})
    return {"$schema": DRAFT, **_plain(made), "title": title, "definitions": _plain(definitions)}


def _plain(node: Any) -> Any:
    """The same schema for draft 7, with each union as "any of these", for without a ``kind`` several may fit."""
    if isinstance(node, list):
        return [_plain(part) for part in node]
    if not isinstance(node, dict):
        return node
    node = {{"oneOf": "anyOf", "prefixItems": "items"}.get(k, k): v for k, v in node.items() if k != "discriminator"}
    return {name: _plain(value) for name, value in node.items()}

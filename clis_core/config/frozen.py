"""The base of every config model: immutable, no unknown keys."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A table of the config file; an unknown key in it is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


@dataclass(frozen=True)
class OrFile:
    """Marks a text that is one of ``words`` or else names a file, so that relative paths can be resolved."""

    words: tuple[str, ...]

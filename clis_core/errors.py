"""Every error that clis raises on purpose: a message, and a hint that can be pasted."""

from __future__ import annotations

import tokenize

JSON_DAMAGE = (ValueError, RecursionError)
"""What `json.loads` raises for bytes that are no json, or nested too deep."""
NPY_DAMAGE = (
    ValueError,
    EOFError,
    OverflowError,
    MemoryError,
    TypeError,
    SyntaxError,
    tokenize.TokenError,
    RecursionError,
)
"""What numpy raises for a damaged array file: its header is the source of a Python value."""


def format_hint(found: object, known: int) -> str:
    """What to do about a file of another format: which of the two programs is the older one."""
    if isinstance(found, int) and found < known:
        return "An older clis wrote it: make it anew with this one, or install that one to use it."
    return "pip install --upgrade clis"


class ClisError(Exception):
    """An error that the user can act on.

    Args:
        message: what is wrong, with the file and the record.
        hint: what to type or change; shown on its own line.
    """

    exit_code = 1
    of_all = False
    """Whether all processes of torchrun raise it, so that one of them may tell it for all."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(ClisError):
    """A setting that is unknown, out of range, or does not fit another one."""

    exit_code = 3


class DataError(ClisError):
    """A data set, an image or a results file that cannot be used as it is."""

    exit_code = 4


class CheckpointError(ClisError):
    """A checkpoint or a run folder that is missing, damaged or of another model."""

    exit_code = 5


class TrainingDiverged(ClisError):
    """A loss or a gradient that is no longer finite."""

    exit_code = 6


class Interrupted(ClisError):
    """The job was asked to stop (SIGINT, SIGTERM) and has saved what it had."""

    exit_code = 130

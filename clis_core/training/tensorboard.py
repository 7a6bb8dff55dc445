"""Records in, TensorBoard event files out; needs the extra 'tensorboard'."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clis_core.errors import ConfigError
from clis_core.report import Reporter


class TensorBoardReporter:
    """Writes the numbers of records that have a step as scalars ``kind/name``, and hands everything on.

    Args:
        folder: for the event files.
        inner: a reporter that gets everything as well.
        first_step: what the folder already holds of this step and later ones is hidden.

    Raises:
        ConfigError: tensorboard is not installed.
    """

    def __init__(self, folder: Path, inner: Reporter, *, first_step: int = 0) -> None:
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ImportError as error:
            raise ConfigError(
                "train.tensorboard = true needs tensorboard.", hint="pip install 'clis[tensorboard]'"
            ) from error
        self._writer = SummaryWriter(str(folder), purge_step=first_step)
        self._inner = inner

    def info(self, text: str) -> None:
        """Hand it on."""
        self._inner.info(text)

    def warn(self, text: str) -> None:
        """Hand it on."""
        self._inner.warn(text)

    def progress(self, task: str, done: int, total: int | None, figures: Mapping[str, float] | None = None) -> None:
        """Hand it on."""
        self._inner.progress(task, done, total, figures)

    def record(self, kind: str, values: Mapping[str, Any]) -> None:
        """Write the numbers and hand the record on."""
        step = values.get("step")
        if step is not None:
            for name, value in values.items():
                if name != "step" and isinstance(value, int | float):
                    self._writer.add_scalar(f"{kind}/{name}", value, step)
            self._writer.flush()
        self._inner.record(kind, values)

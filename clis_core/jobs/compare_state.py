"""A comparison's folder in; what a resumed comparison has to know of its beginning out, and kept."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clis_core import __version__
from clis_core.config.load import leaves
from clis_core.config.resume import is_free
from clis_core.data.annotation_cache import content_hash
from clis_core.data.layout import json_of
from clis_core.data.regions import open_regions, shard_hashes
from clis_core.data.shards.reader import Shards
from clis_core.data.voc import VocSet, is_voc, read_voc
from clis_core.errors import JSON_DAMAGE, ConfigError, DataError
from clis_core.files import write_text
from clis_core.jobs.compare_plan import ComparePlan, bare_config

FILE = "compare.json"
RESULTS = ("presets", "seeds", "rows", "paper", "reports")
SECONDS_BETWEEN_SAVES = 10.0


@dataclass
class State:
    """What was found out once and counts for all that follows.

    Attributes:
        file: where it is kept.
        asked: budget and settings; a comparison that goes on has to have the same.
        inputs: hashes of the annotations, the pictures and their regions, by what they are; likewise.
        iterations: of each row, where the budget is minutes.
        step_seconds: of each row, that they were worked out from.
        prepared: minutes that regions, mosaics and pre-trainings took, by the name of the step.
        results: rows and what else is known so far.
    """

    file: Path
    asked: Mapping[str, Any]
    inputs: dict[str, str] = field(default_factory=dict)
    iterations: dict[str, int] = field(default_factory=dict)
    step_seconds: dict[str, float] = field(default_factory=dict)
    prepared: dict[str, float] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)

    def save(self) -> None:
        """Write the file, whole or not at all."""
        write_text(self.file, json.dumps(self.record(), indent=1) + "\n")

    def record(self) -> dict[str, Any]:
        """All of it as plain json values."""
        kept = {"iterations": self.iterations, "step_seconds": self.step_seconds, "prepared_minutes": self.prepared}
        return {"format": 1, "clis": __version__, **self.asked, "inputs": self.inputs, **kept, **self.results}

    @contextmanager
    def counting(self, name: str, clock: Callable[[], float] = time.monotonic) -> Iterator[Callable[[], None]]:
        """Count the minutes of a preparation, those before a stop included.

        Args:
            name: of the step.
            clock: seconds that only grow.

        Yields:
            what to call when it begins, and now and then meanwhile, so that a kill costs seconds of the count alone.
        """
        before = self.prepared.get(name, 0.0)
        began: float | None = None
        saved = 0.0

        def count(now: float) -> None:
            if began is not None:
                self.prepared[name] = before + (now - began) / 60
                self.save()

        def tick() -> None:
            nonlocal began, saved
            now = clock()
            if began is None:
                began = saved = now
            elif now - saved >= SECONDS_BETWEEN_SAVES:
                saved = now
                count(now)

        try:
            yield tick
        finally:
            count(clock())


def open_state(plan: ComparePlan) -> State:
    """What a folder knows of a comparison, a new one's if it holds none.

    Raises:
        ConfigError: it holds one with another budget, other settings or other data.
        DataError: its file is damaged.
    """
    settings = {".".join(key): value for key, value in leaves(plan.settings.values)}
    counting = {key: value for key, value in settings.items() if not is_free(key)}
    asked: dict[str, Any] = {"minutes": plan.minutes, "fixed_iterations": plan.iterations, "settings": counting}
    asked = json.loads(json.dumps(asked, default=str))
    inputs = inputs_of(plan)
    state = State(plan.out / FILE, asked, inputs)
    if not state.file.is_file():
        return state
    try:
        content = json.loads(state.file.read_text(encoding="utf-8"))
        before = {key: content[key] for key in asked}
        state.inputs = {**content["inputs"], **inputs}  # pictures may come with a preset that is added
        others = [name for name, known in content["inputs"].items() if inputs.get(name, known) != known]
        state.results = {key: content[key] for key in RESULTS if key in content}
        state.iterations = {str(row): int(steps) for row, steps in content["iterations"].items()}
        state.step_seconds = {str(row): float(seconds) for row, seconds in content["step_seconds"].items()}
        state.prepared = {str(name): float(minutes) for name, minutes in content["prepared_minutes"].items()}
    except (*JSON_DAMAGE, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{state.file} is not what clis compare writes.", hint="Take another folder: -o FOLDER"
        ) from error
    differing = [f"{key}: {before[key]!r} there, {asked[key]!r} now" for key in asked if before[key] != asked[key]]
    if differing:
        raise ConfigError(
            f"{plan.out} holds a comparison with another budget or other settings:\n" + "\n".join(differing),
            hint="Presets and seeds may be added to it; for all else take another folder: -o FOLDER",
        )
    if others:
        raise ConfigError(
            f"{plan.out} holds a comparison on other data: {', '.join(others)} there differ from those named now.",
            hint="What has been trained there would stand beside it in one table; take another folder: -o FOLDER",
        )
    return state


def inputs_of(plan: ComparePlan) -> dict[str, str]:
    """Hashes of what is learnt from and judged by, wherever it lies: its place is free in a run that goes on."""
    config = bare_config(plan, plan.rows[0])
    cache = plan.out / "runs" / ".cache"  # that of the trainings, which read the same files
    cache.mkdir(parents=True, exist_ok=True)
    found: dict[str, str] = {}
    for split in ("train", "val"):
        file = json_of(config.data, split)
        assert file is not None, "see check"
        found[f"{split} annotations"] = _hash_of_voc(read_voc(file)) if is_voc(file) else content_hash(file, cache)
    if plan.shards is not None:
        shards = Shards(plan.shards)
        listed = json.dumps(shard_hashes(shards.manifest), sort_keys=True)
        found["pictures"] = hashlib.sha256(listed.encode()).hexdigest()
        regions = plan.regions
        found["regions"] = "made here" if regions is None else open_regions(regions, shards).fingerprint()
    return found


def _hash_of_voc(found: VocSet) -> str:
    """Of what its many files say."""
    digest = hashlib.sha256("\n".join([*(c.name for c in found.categories), *found.names]).encode())
    for column in (found.sizes, found.image_of, found.category_ids, found.xywh, found.difficult):
        digest.update(column.tobytes())
    return digest.hexdigest()

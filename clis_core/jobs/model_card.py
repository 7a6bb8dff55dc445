"""A run and what was exported of it in, a model card in Markdown out: data, settings, metrics and licence fields."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clis_core import __version__
from clis_core.categories import Categories
from clis_core.config.detector import DetectorConfig, FasterRCNNConfig
from clis_core.config.load import dump_toml
from clis_core.config.methods import learns_from_pictures
from clis_core.config.run import RunConfig
from clis_core.detectors.export.about import About
from clis_core.errors import JSON_DAMAGE

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf")
FILL_IN = "(to be filled in by who publishes the file)"


def model_card(run: Path, config: RunConfig, about: About, file: str, parameters: int) -> str:
    """Write the card. It names files and folders of the training machine by their last part alone.

    Args:
        run: the run folder; the metrics come from its last evaluation, if that was of the same weights.
        config: of the run.
        about: what was exported.
        file: name of the weights' file.
        parameters: how many weights there are.
    """
    sections = [
        _head(run, about),
        _use(file),
        _data(config, about.categories),
        _metrics(run, about),
        f"## Settings\n\n```toml\n{_settings(config, about)}```\n",
        _licences(config),
        f"## The file\n\n{parameters:,} parameters, {about.precision}, after {about.step:,} training steps. SHA-256 of "
        f"the weights: `{about.weights}` (`clis_core.detectors.checkpoint.fingerprint`). Written by clis "
        f"{__version__}.\n",
    ]
    return "\n".join(sections)


def _head(run: Path, about: About) -> str:
    return (
        "---\nlicense: other\nlibrary_name: clis\npipeline_tag: object-detection\n"
        "tags: [object-detection, long-tailed]\n---\n\n"
        f"# {run.name}\n\n{_parts(about.config)}, {len(about.categories)} classes.\n"
    )


def _parts(config: DetectorConfig) -> str:
    backbone = config.backbone.name
    if isinstance(config, FasterRCNNConfig):
        sides = "task-specialised 2fc" if config.head.specialised else "one 2fc"
        objectness = ", objectness" if config.head.objectness else ""
        refined = ", class refined by surroundings (MTL-SSL)" if config.mtl.refine else ""
        kind = "Mask" if config.mask.enabled else "Faster"
        return f"{kind} R-CNN with a feature pyramid: {backbone}, {sides}{objectness}{refined}"
    name = "RetinaNet" if config.kind == "retinanet" else "FCOS"
    quality = f", {config.head.quality}" if config.head.quality != "none" else ""
    return f"{name}: {backbone}, {config.class_loss.kind} loss{quality}"


def _use(file: str) -> str:
    return (
        "## Use\n\n```python\nfrom clis_core.detectors.load import load_model\n\n"
        f'model, categories, step = load_model("{file}")\n'
        "found = model([image])[0]  # .boxes .labels .scores; image: uint8 [3, h, w], RGB\n```\n"
    )


def _data(config: RunConfig, categories: Categories) -> str:
    lines = [f"Boxes: {_name(config.data.train or config.data.root) or 'not named'}."]
    counts = {g: len(categories.labels_in_group(g)) for g in ("r", "c", "f")}
    groups = f"{counts['r']} rare (1 to 10 training images), {counts['c']} common (11 to 100), {counts['f']} frequent"
    lines.append(f"{len(categories)} classes{': ' + groups if any(counts.values()) else ''}.")
    if learns_from_pictures(config.method):
        lines.append(f"Pictures that carry only a class label: {_name(config.pictures.shards) or 'none'}.")
    first = config.detector.backbone.init
    lines.append(f"First weights of the backbone: {Path(first).name if first else 'none'}.")
    return "## Data\n\n" + "\n".join(f"- {line}" for line in lines) + "\n"


def _metrics(run: Path, about: About) -> str:
    found = [f for f in sorted(run.glob("eval-*/metrics.json")) if _record(f).get("step") == about.step]
    if not found:
        return "## Metrics\n\nNot measured: `clis eval` writes them into the run.\n"
    rows = ["| images | " + " | ".join(METRICS) + " |", "|---" * (len(METRICS) + 1) + "|"]
    for file in found:
        record = _record(file)
        values = [record["metrics"].get(name) for name in METRICS]
        cells = ["-" if v is None else f"{v:.1f}" for v in values]
        rows.append(f"| {file.parent.name.removeprefix('eval-')}, {record['images']} | " + " | ".join(cells) + " |")
    return "## Metrics\n\nPercent points.\n\n" + "\n".join(rows) + "\n"


def _record(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except JSON_DAMAGE:
        return {}
    return content if isinstance(content, dict) and isinstance(content.get("metrics"), dict) else {}


def _settings(config: RunConfig, about: About) -> str:
    used = config.model_copy(update={"detector": about.config}).model_dump(exclude_none=True)
    tables = dump_toml(RunConfig.model_validate(_without_paths(used))).split("\n\n")
    unused = () if learns_from_pictures(config.method) else ("[pictures]", "[pictures.")
    return "\n\n".join(table for table in tables if not table.startswith(unused)).rstrip("\n") + "\n"


def _without_paths(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_paths(inner) for key, inner in value.items()}
    if isinstance(value, Path) or (isinstance(value, str) and Path(value).is_absolute()):
        return Path(value).name
    return value


def _name(path: Path | None) -> str:
    return path.name if path is not None else ""


def _licences(config: RunConfig) -> str:
    init = config.detector.backbone.init
    rows = {
        "these weights": FILL_IN,
        "training images and annotations": f"those of the data set {FILL_IN}",
        "first weights of the backbone": "none were used"
        if init == "none"
        else f"those of {Path(init).name} {FILL_IN}",
        "code (clis)": "Apache-2.0",
    }
    if learns_from_pictures(config.method):
        rows["pictures with a class label"] = f"those of their sources {FILL_IN}"
    return "## Licences\n\n| of | licence |\n|---|---|\n" + "".join(f"| {k} | {v} |\n" for k, v in rows.items())

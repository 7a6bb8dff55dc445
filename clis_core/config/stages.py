"""A preset's name in; the presets whose runs it builds on out."""

from __future__ import annotations

from clis_core.config.presets import PRESETS

STARTS_FROM: dict[str, str] = {
    "bags-r50-1x": "baseline-r50-2x",
    "bags-r101-1x": "baseline-r101-2x",
    "bags-small": "baseline-small",
    "crt-r50-1x": "baseline-r50-1x",
    "crt-small": "baseline-small",
    "lws-r50-1x": "baseline-r50-1x",
    "lws-small": "baseline-small",
    "mosaicos-mosaics-r50-1x": "baseline-r50-1x",
    "mosaicos-mosaics-small": "baseline-small",
    "mosaicos-scenes-r50-1x": "mosaicos-mosaics-r50-1x",
    "mosaicos-scenes-small": "mosaicos-mosaics-small",
}
"""The preset whose run a preset goes on from: what its ``train.start`` has to name."""

ON_MOSAICS = {"mosaicos-mosaics-r50-1x": "mosaicos-scenes-r50-1x", "mosaicos-mosaics-small": "mosaicos-scenes-small"}
"""Presets whose data are the mosaics of ``clis gen-mosaics``, which have no images to evaluate on; and what follows."""


def counterpart(preset: str, kind: str) -> str:
    """The preset of another kind that is most like one: specialised-small is clis-small's, as mask- is mask-'s."""
    words = preset.split("-")
    for n in range(len(words)):
        if (like := "-".join([*words[:n], kind, *words[n + 1 :]])) in PRESETS:
            return like
    for n in range(1, len(words)):
        if (like := "-".join([kind, *words[n:]])) in PRESETS:
            return like
    return next(name for name in PRESETS if name.startswith(f"{kind}-"))

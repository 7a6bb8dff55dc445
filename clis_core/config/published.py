"""Presets in; what CLIS (Li et al., arXiv 2210.05568) prints of the same methods in tables I, II, VII and IX to XI out.

The numbers are those of its authors and of theirs that it cites, on LVIS val with their programs, schedules and
machines: to stand beside ours, never among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Figures = tuple[float | None, float | None, float | None, float | None]

BOX, V05, MASK = "box AP, LVIS v1", "box AP, LVIS v0.5", "mask AP, LVIS v1"


@dataclass(frozen=True)
class Published:
    """A row of a table of the paper.

    Attributes:
        system: as the paper calls it, with the backbone and the schedule where it says them.
        table: its number.
        judged: by which AP, on which data.
        figures: AP, APr, APc, APf in percent points; None where the sources at hand do not have it.
    """

    system: str
    table: str
    judged: str
    figures: Figures


_CLIS = Published("CLIS, ResNet-50, 1x", "I, VII", BOX, (29.2, 24.4, 28.6, 31.9))
_CLIS_MASK = Published("Mask R-CNN with CLIS, ResNet-50, 2x", "IX", MASK, (29.3, 23.0, 29.0, 32.4))
_CLIS_V05 = Published("CLIS, ResNet-50, 1x", "VII", V05, (30.4, 25.5, 30.5, 32.1))
_SPECIALISED = Published("CLIS w/o (ILS), ResNet-50, 1x", "II", BOX, (25.2, 14.6, 24.0, 31.2))
_PRETRAINED = Published("the same after pre-training on the pictures", "X", BOX, (26.1, 15.7, 25.1, 31.8))

PUBLISHED: dict[str, tuple[Published, ...]] = {
    "baseline": (
        Published("Faster R-CNN, ResNet-50, 1x", "II", BOX, (22.0, 8.9, 20.8, 29.1)),
        Published("Faster R-CNN, ResNet-50, 2x", "I", BOX, (24.1, 14.7, 22.2, 30.5)),
        Published("Faster R-CNN, ResNet-50", "VII", V05, (24.2, 13.3, 23.3, 29.7)),
        Published("Mask R-CNN, ResNet-50, 2x", "IX", MASK, (23.7, 13.5, 22.8, 29.3)),
    ),
    "baseline-r101": (Published("Faster R-CNN, ResNet-101, 2x", "I", BOX, (25.7, 15.1, None, None)),),
    # Of other papers and data sets.
    "baseline-voc": (),
    "baseline-coco": (),
    "specialised": (_SPECIALISED,),
    "clis": (_CLIS, _CLIS_V05, _CLIS_MASK),
    "clis-r101": (Published("CLIS, ResNet-101, 1x", "I", BOX, (31.1, 25.2, 30.9, 33.8)),),
    "clis-v05": (_CLIS_V05,),
    "clis-google": (Published("CLIS, pictures of Google, ResNet-50, 1x", "XI", BOX, (26.8, 19.9, 25.7, 31.0)),),
    "eqlv2": (Published("EQLv2, ResNet-50, 2x", "I", BOX, (25.5, 16.4, 23.9, 31.2)),),
    "eqlv2-r101": (Published("EQLv2, ResNet-101, 2x", "I", BOX, (26.9, 18.2, 25.4, 32.4)),),
    "bags": (Published("BAGS, ResNet-50, 2x + 1x", "I", BOX, (26.0, 17.2, 24.9, 31.1)),),
    "bags-r101": (Published("BAGS, ResNet-101, 2x + 1x", "I", BOX, (27.6, 18.7, 26.5, 32.6)),),
    "seesaw": (
        Published("Seesaw, ResNet-50, 2x", "I", BOX, (26.4, 17.5, 25.3, 31.5)),
        Published("Mask R-CNN with Seesaw, ResNet-50, 2x", "IX", MASK, (26.8, 19.8, 26.3, 30.5)),
    ),
    "seesaw-r101": (Published("Seesaw, ResNet-101, 2x", "I", BOX, (27.8, 18.7, 27.0, 32.8)),),
    "efl": (Published("EFL, ResNet-50, 2x", "I", BOX, (27.5, 20.2, 26.1, 32.4)),),
    "efl-r101": (Published("EFL, ResNet-101, 2x", "I", BOX, (29.2, 23.5, 27.4, 33.8)),),
    "efl-focal": (),
    "mosaicos-scenes": (
        Published("MosaicOS, ImageNet and Google, ResNet-50", "VII", BOX, (23.9, 15.5, 22.4, 29.3)),
        Published("Mask R-CNN with MosaicOS, ResNet-50", "IX", MASK, (24.5, 18.3, 23.0, 28.9)),
    ),
    "unbiased-teacher": (Published("Unbiased Teacher, ImageNet, ResNet-50", "VII", BOX, (19.2, 6.6, 17.4, 26.8)),),
    "self-training": (Published("self-training, ImageNet, ResNet-50", "VII", V05, (22.7, 14.5, 21.4, 27.6)),),
    "dlwl": (Published("DLWL, YFCC-100M, ResNet-50", "VII", V05, (22.1, 14.2, None, None)),),
    "detic": (Published("Detic without CLIP, ResNet-50", "IX", MASK, (25.1, 18.6, None, None)),),
}
"""By the first words of a preset's name; of small presets, what the paper has of the method in full size."""


def published(presets: Sequence[str], pretrained: Sequence[bool]) -> list[tuple[int, Published]]:
    """What the paper prints of these presets, with the place of the preset that each row belongs to.

    A row by another AP than most (masks, LVIS v0.5) is left out where no other preset has one by the same.

    Args:
        presets: their names.
        pretrained: which of them begin with a backbone that has learnt to classify the pictures.
    """
    rows = [(n, row) for n, name in enumerate(presets) for row in (_of(name) if not pretrained[n] else _after(name))]
    of = {judged: {n for n, row in rows if row.judged == judged} for judged in (BOX, V05, MASK)}
    alone = {n for n in range(len(presets)) if sum(m == n for m, _ in rows) == 1}
    return [(n, row) for n, row in rows if row.judged == BOX or n in alone or len(of[row.judged]) > 1]


def _of(preset: str) -> tuple[Published, ...]:
    known = [name for name in PUBLISHED if preset.startswith(f"{name}-")]
    return PUBLISHED[max(known, key=len)] if known else ()


def _after(preset: str) -> tuple[Published, ...]:
    return (_PRETRAINED,) if preset.startswith("specialised-") else ()

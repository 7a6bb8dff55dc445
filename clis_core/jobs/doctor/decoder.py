"""A drawn JPEG in; how many of its kind the decoder reads a second, beside Pillow, out."""

from __future__ import annotations

import io
import time
from collections.abc import Callable

from clis_core.jobs.doctor.checks import Check

WIDTH, HEIGHT = 640, 480
_SECONDS = 0.5


def decoder() -> list[Check]:
    """Pictures a second of one thread; torch and torchvision can be imported."""
    import numpy as np
    import torch
    from PIL import Image

    from clis_core.data.decode import decode, header_of

    data = drawn_jpeg()
    fast = hasattr(torch.ops.image, "decode_jpeg") and header_of(data, "it").plain

    def by_pillow() -> None:
        with Image.open(io.BytesIO(data)) as image:
            np.asarray(image.convert("RGB"))

    ours, pillow = _rate(lambda: decode(data, "it")), _rate(by_pillow)
    figures = {"pictures_per_second": round(ours), "pillow_per_second": round(pillow), "torchvision": fast}
    text = f"{ours:.0f} JPEGs of {WIDTH} x {HEIGHT} a second and thread; Pillow {pillow:.0f}"
    if not fast:
        hint = "pip install --force-reinstall torch torchvision"
        return [
            Check("decoder", "warning", f"{text}: torchvision has no decoder here, Pillow reads all.", hint, figures)
        ]
    return [Check("decoder", "fine", f"{text}.", None, figures)]


def drawn_jpeg() -> bytes:
    """A picture with the detail of a photograph: 640 x 480, quality 90."""
    import numpy as np
    from PIL import Image

    coarse = np.random.default_rng(0).integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), np.uint8)
    image = Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    fine = np.random.default_rng(1).integers(-12, 13, (HEIGHT, WIDTH, 1))
    out = io.BytesIO()
    Image.fromarray((np.asarray(image) + fine).clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=90)
    return out.getvalue()


def _rate(work: Callable[[], object]) -> float:
    """How often it can be done a second; the first time is not counted."""
    work()
    began = time.perf_counter()
    count = 0
    while time.perf_counter() - began < _SECONDS:
        work()
        count += 1
    return count / (time.perf_counter() - began)

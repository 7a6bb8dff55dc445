"""What every test starts from: restored random state, drawn data sets, shared photographs if they exist."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.draw import draw_coco, draw_lvis

# More threads than cores make small networks slow, and tests may run side by side.
torch.set_num_threads(1)

SHARED = Path(__file__).parents[1] / "../shared/data"


@pytest.fixture(autouse=True)
def _same_random_state() -> Iterator[None]:
    """Restore every global random state after a test."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        yield
    random.setstate(python)
    np.random.set_state(numpy)


@pytest.fixture(scope="session")
def drawn_lvis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a drawn data set in LVIS v1 format; read it, do not change it."""
    return draw_lvis(tmp_path_factory.mktemp("drawn_lvis"))


@pytest.fixture(scope="session")
def drawn_coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a drawn data set in COCO format; read it, do not change it."""
    return draw_coco(tmp_path_factory.mktemp("drawn_coco"))


@pytest.fixture(scope="session")
def tinylvis() -> Path:
    """Folder of the shared photographs in LVIS format."""
    return _shared("tinylvis")


@pytest.fixture(scope="session")
def cocosmall() -> Path:
    """Folder of the shared photographs in COCO format."""
    return _shared("cocosmall")


def _shared(name: str) -> Path:
    folder = (SHARED / name).resolve()
    if not folder.is_dir():
        pytest.skip(f"the shared data set {name} is not beside this checkout")
    return folder

"""Two processes with half of a batch each learn what one learns from all of it, for every kind of training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clis_core.config.detector import FasterRCNNConfig
from clis_core.config.presets import PRESETS
from clis_core.jobs.build_images import build_images, plan_images
from clis_core.jobs.build_options import BuildOptions
from clis_core.report import SilentReporter
from tests.draw import draw_lvis, draw_pictures
from tests.processes import TORCHRUN, run_module
from tests.training.kinds import kinds

Differences = dict[str, dict[str, float]]
KINDS = list(kinds(Path("data"), Path("shards")))
ROUNDING = {"losses": 1e-5, "gradients": 1e-4, "buffers": 1e-4}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Differences]:
    """What each of two processes has found."""
    folder = tmp_path_factory.mktemp("shared")
    data = draw_lvis(folder / "world")
    plan = plan_images([draw_pictures(folder / "pictures", each=8)], data / "lvis_v1_train.json")
    build_images(plan, folder / "shards", BuildOptions(workers=1), reporter=SilentReporter())
    words = (str(data), str(folder / "shards"), str(folder))
    done = run_module(*TORCHRUN, "tests.training.shared_steps", *words, check=False, seconds=3000)
    # By what was written: gloo may abort at the interpreter's exit, when everything is done.
    files = [folder / f"{rank}.json" for rank in range(2)]
    assert all(file.is_file() for file in files), done.stderr
    return [json.loads(file.read_text()) for file in files]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_learn_as_one(found: list[Differences], kind: str) -> None:
    for of_process in found:
        parts = of_process[kind]
        assert parts.pop("between processes") == 0  # bit for bit
        assert {part.split()[0] for part in parts} == ROUNDING.keys()
        for part, difference in parts.items():
            assert difference <= ROUNDING[part.split()[0]], part


def test_the_kinds_are_those_of_the_presets() -> None:
    made = kinds(Path("data"), Path("shards"))
    of_presets = {name: config for name, config in made.items() if name in PRESETS}
    assert {c.method.kind for c in of_presets.values()} == {
        "supervised",
        "clis",
        "detic",
        "dlwl",
        "self-training",
        "unbiased-teacher",
    }
    losses = {c.detector.class_loss.kind for c in of_presets.values()}
    of_regions = {"softmax", "seesaw", "eql", "eqlv2", "bags", "federated"}
    assert losses == of_regions | {"focal", "efl", "eqfl"}
    assert {c.detector.kind for c in of_presets.values()} == {"faster-rcnn", "retinanet", "fcos"}
    heads = [c.detector.head for c in of_presets.values() if isinstance(c.detector, FasterRCNNConfig)]
    assert {(head.specialised, head.objectness) for head in heads} == {(False, False), (True, True)}
    assert {c.detector.class_loss.kind for c in made.values() if c.method.kind == "clis"} == of_regions

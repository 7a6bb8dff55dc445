"""The packages that we call leave no trace: numpy, logging, stdout and stderr, and what is imported when."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from clis_core.evaluation.evaluate import ENGINES, evaluate
from clis_core.evaluation.lvis import numpy_with_float
from clis_core.jobs.bench.lvis_eval import run, synthetic_truth
from tests.evaluation.odd_world import coco_truth, odd_detections, write


def test_numpy_is_itself_again(tmp_path: Path) -> None:
    import lvis.eval

    truth = synthetic_truth(3, 5, 0)
    evaluate(write(tmp_path, truth), odd_detections(truth, 20, 0), engine="lvis")
    assert lvis.eval.np is np
    assert not hasattr(np, "float")


def test_numpy_is_itself_again_after_an_error() -> None:
    import lvis.eval

    def fail() -> None:
        with numpy_with_float():
            assert lvis.eval.np.float is float
            assert lvis.eval.np.argsort is np.argsort
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert lvis.eval.np is np


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for protocol, truth in {"lvis": synthetic_truth(3, 5, 0), "coco": coco_truth(3, 5, 0)}.items():
        for category in truth["categories"]:
            del category["name"]  # hotcoco would remark on it
        detections = odd_detections(truth, 20, 0)
        detections.category_ids[::2] = 999  # ... and on these
        gt = write(tmp_path, truth)
        for engine in ENGINES[protocol]:
            evaluate(gt, detections, engine=engine)
    assert capfd.readouterr() == ("", "")


FRESH = """
import logging, sys
from pathlib import Path
from clis_core.jobs.evaluate_file import evaluate_file
from clis_core.report import SilentReporter
heavy = {"torch", "lvis", "hotcoco", "pycocotools", "cv2", "matplotlib"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
detections, gt = map(Path, sys.argv[1:])
evaluate_file(detections, gt, reporter=SilentReporter())
assert "hotcoco" in sys.modules and not {"torch", "lvis", "cv2"} & set(sys.modules)
root = logging.getLogger()
before = root.handlers[:], root.level
evaluate_file(detections, gt, engine="lvis", reporter=SilentReporter())
assert "lvis" in sys.modules and "torch" not in sys.modules
assert (root.handlers[:], root.level) == before
"""


def test_a_fresh_process_imports_late_and_keeps_its_logging(tmp_path: Path) -> None:
    truth = synthetic_truth(3, 5, 0)
    odd_detections(truth, 20, 0).save(tmp_path / "detections.npz")
    command = [
        sys.executable,
        "-W",
        "error",
        "-c",
        FRESH,
        tmp_path / "detections.npz",
        write(tmp_path, truth),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2], timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
def test_bench() -> None:
    seen = run(0.005)
    assert seen["name"] == "lvis-eval"
    assert seen["images"] == 10
    assert seen["equal"] is True
    for name in ("ours", "peer", "ratio", "ours_from_json", "peer_from_json", "ours_mb", "peer_mb"):
        assert seen[name] > 0, name

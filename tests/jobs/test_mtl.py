"""MTL-SSL through the jobs: runs that resume bit for bit, evaluation, export and prediction of what they ship."""

import pytest
import torch
from PIL import Image

from clis_core.config.load import Layer, load_config, preset_layer, resolve
from clis_core.config.workspace import checkpoints_of
from clis_core.detectors.checkpoint import detector_from_checkpoint, fingerprint
from clis_core.jobs.build_images import build_images, plan_images
from clis_core.jobs.build_options import BuildOptions
from clis_core.jobs.evaluate import evaluate_run
from clis_core.jobs.export import ExportOptions, export
from clis_core.jobs.train import train
from clis_core.report import SilentReporter
from tests.detectors.test_faster_rcnn import picture
from tests.draw import draw_pictures

QUICK = {
    "train": {"iterations": 4, "batch": 2, "checkpoint_every": 2, "log_every": 1, "warmup": 1, "eval_at_end": False},
    "detector": {"backbone": {"name": "mobilenet_v2"}, "pyramid": {"channels": 16}},
}
TASKS = {"window", "closeness", "foreground", "class_refined"}


def last(run):
    return detector_from_checkpoint(checkpoints_of(run)[-1]).detector


@pytest.fixture
def shards(drawn_lvis, tmp_path):
    plan = plan_images([draw_pictures(tmp_path / "pictures")], next(drawn_lvis.rglob("*train*.json")))
    build_images(plan, tmp_path / "shards", BuildOptions(workers=1), reporter=SilentReporter())
    return tmp_path / "shards"


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["mtl-ssl-tiny", "clis-mtl-tiny"])
def test_a_run_from_training_to_export(drawn_lvis, shards, tmp_path, preset):
    layers = [preset_layer(preset), Layer("quick", {"data": {"root": drawn_lvis}, **QUICK})]
    config = resolve([*layers, Layer("pictures", {"pictures": {"shards": str(shards), "regions": "centre"}})])
    train(config, tmp_path / "whole", reporter=SilentReporter())
    train(config, tmp_path / "half", reporter=SilentReporter())
    for file in checkpoints_of(tmp_path / "half")[1:]:
        file.unlink()  # as if killed after step 2
    train(load_config(tmp_path / "half" / "config.toml"), tmp_path / "half", resume=True, reporter=SilentReporter())
    state = last(tmp_path / "whole").state_dict()
    assert fingerprint(state) == fingerprint(last(tmp_path / "half").state_dict())
    assert state["mtl.fc_refine.weight"].abs().sum() > 0  # it has learnt
    assert not any("foreground" in name for name in state)  # of no use at inference
    lines = (tmp_path / "whole" / "log.jsonl").read_text()
    assert all(f'"{task}"' in lines for task in TASKS)

    values = evaluate_run(tmp_path / "whole", config, fixed=True, reporter=SilentReporter()).values
    assert values["AP"] is not None
    assert values["AP_fixed"] is not None

    folder = tmp_path / "to-check"
    folder.mkdir()
    Image.fromarray(picture(100, 120).permute(1, 2, 0).numpy()).save(folder / "a.png")
    options = ExportOptions(format="pt2", images=folder, frame=(96, 128))
    result = export(tmp_path / "whole", config, tmp_path / "model.pt2", options, reporter=SilentReporter())
    assert result.parity.same == 1.0
    with torch.no_grad():
        assert len(last(tmp_path / "whole")([picture(90, 120)])[0].scores) > 0

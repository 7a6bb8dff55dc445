"""The benchmarks run, at a small scale, and report what `clis bench` promises."""

import importlib

import pytest

NAMES = [
    "postprocess",
    "lvis_eval",
    "annotations",
    "train_step",
    "loading",
    "build",
    "shard_reads",
    "near_duplicates",
    "mtl_labels",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_report(name):
    result = importlib.import_module(f"clis_core.jobs.bench.{name}").run(scale=0.02 if name != "train_step" else 0.1)
    assert {"name", "ours", "peer", "ratio", "equal"} <= result.keys()
    assert result["name"] == name.replace("_", "-")
    assert result["ours"] > 0
    assert result["peer"] > 0
    assert result["ratio"] > 0
    assert result["equal"] is (None if name == "train_step" else True)

"""All benchmarks in one run: each is kept at once, failures do not stop the others; and ratios against earlier ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from clis_cli.commands.bench import Name
from clis_core.errors import ClisError, ConfigError, DataError
from clis_core.jobs import bench
from clis_core.jobs.bench_compare import Change, check_comparable, compare
from clis_core.jobs.bench_suite import Suite, environment, measure, read_suite, run_suite
from clis_core.report import SilentReporter


def test_every_benchmark_has_a_name() -> None:
    folder = Path(bench.__file__).parent
    found = {path.stem.replace("_", "-") for path in folder.glob("*.py") if "\ndef run(" in path.read_text()}
    assert found == set(get_args(Name))


def test_each_is_kept_as_soon_as_it_is_known_and_failures_do_not_stop_the_others(tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    seen: list[tuple[str, list[str]]] = []

    def run(name: str, scale: float) -> dict[str, Any]:
        seen.append((name, list(json.loads(out.read_text())["results"]) if out.exists() else []))
        if name == "b":
            raise ClisError("no tar here", hint="none")
        if name == "c":
            raise ValueError("odd")
        return {"name": name, "ratio": scale}

    suite = run_suite(["a", "b", "c", "d"], scale=0.5, out=out, reporter=SilentReporter(), run=run)
    assert seen == [("a", []), ("b", ["a"]), ("c", ["a"]), ("d", ["a"])]
    assert suite.results == {"a": {"name": "a", "ratio": 0.5}, "d": {"name": "d", "ratio": 0.5}}
    assert suite.failed == {"b": "no tar here", "c": "ValueError: odd"}
    assert read_suite(out) == suite


@pytest.mark.slow
def test_a_real_one_runs_in_a_process_of_its_own() -> None:
    suite = run_suite(["near-duplicates"], scale=0.01, reporter=SilentReporter())
    assert suite.failed == {}
    found = suite.results["near-duplicates"]
    assert found["equal"] is True
    assert found.keys() == measure("near-duplicates", 0.01).keys()


def test_the_environment_says_what_figures_depend_on() -> None:
    found = environment()
    assert found.keys() >= {"clis", "python", "torch", "processor", "cores", "threads", "memory_gb", "gpus"}
    assert found["cores"] >= 1
    assert found["memory_gb"] > 0.1


def suite(scale: float = 1.0, failed: tuple[str, ...] = (), **results: dict[str, Any]) -> Suite:
    return Suite(scale, {}, results, dict.fromkeys(failed, "broken"))


def found(before: dict[str, Any], after: dict[str, Any], tolerance: float = 0.2) -> dict[str, Change]:
    return {change.key: change for change in compare(suite(x=before), suite(x=after), tolerance)}


def test_lower_ratios_and_higher_times_are_worse() -> None:
    before = {"ours": 1.0, "ratio": 2.0, "small": {"times": 1.5, "ours": 3.0}, "cpu_ratio": 2.0, "ratio_from_json": 4.0}
    after = {"ours": 9.0, "ratio": 1.5, "small": {"times": 1.7, "ours": 9.0}, "cpu_ratio": 3.0, "ratio_from_json": 3.0}
    changes = found(before, after)
    assert {key: (round(c.better or 0, 3), c.worse) for key, c in changes.items()} == {
        "ratio": (0.75, True),
        "small.times": (0.882, False),
        "cpu_ratio": (1.5, False),
        "ratio_from_json": (0.75, True),
    }
    assert not any(c.worse for c in found(before, after, 0.3).values())


@pytest.mark.parametrize(("after", "worse"), [(True, False), (False, True), (None, True)])
def test_sides_that_no_longer_agree_are_worse(after: bool | None, worse: bool) -> None:
    assert found({"equal": True}, {"equal": after})["equal"].worse is worse
    assert not found({"equal": None}, {"equal": after})["equal"].worse


def test_a_figure_that_only_one_has_is_left_out() -> None:
    assert found({"ratio": 2.0, "onnx_ratio": 1.0}, {"ratio": 2.0, "onnx_ratio": None}).keys() == {"ratio"}


def test_what_fails_now_is_worse_and_what_was_not_run_is_not_told() -> None:
    before = suite(x={"ratio": 1.0}, y={"ratio": 1.0})
    assert [(c.name, c.worse) for c in compare(before, suite(failed=("x",)))] == [("x", True)]


def test_other_scales_are_not_compared() -> None:
    with pytest.raises(ConfigError, match=r"scale 1 and 0\.5"):
        compare(suite(), suite(0.5))
    old = suite(a={"ratio": 1.0})
    check_comparable(old, ["a", "b"], 1.0)
    with pytest.raises(ConfigError, match="measured nothing of: b, c"):
        check_comparable(old, ["b", "c"], 1.0)


@pytest.mark.parametrize(
    "text",
    ["", "[", "[]", '{"format": 2}', '{"format": 1, "scale": 1, "environment": {}, "results": {"a": 1}, "failed": {}}'],
)
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match=r"x\.json"):
        read_suite(tmp_path / "x.json")
    with pytest.raises(DataError, match="cannot be read"):
        read_suite(tmp_path / "y.json")

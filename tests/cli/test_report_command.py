"""`clis report`: what reaches the job, and a page from words alone."""

import json
from pathlib import Path

import pytest

from tests.draw import draw_lvis
from tests.jobs.evaluated import evaluated_run


@pytest.fixture
def workspace(tmp_path):
    """A workspace with two evaluated runs; the current folder."""
    draw_lvis(tmp_path / "data")
    (tmp_path / "clis.toml").write_text('[workspace]\nruns = "runs"\n\n[data]\nroot = "data"\n')
    for n, name in enumerate(("first", "second")):
        evaluated_run(tmp_path / "runs" / name, tmp_path / "data", seed=n)
    return tmp_path


def test_runs_by_name(clis, workspace):
    done = clis("report", "first", "second", "--pictures", "3")
    assert done.code == 0, done.err
    size = (workspace / "report.html").stat().st_size
    assert done.out == f"report.html: {size / 1e6:.1f} MB, 3 pictures, first, second\n"


def test_the_newest_run_without_a_name_and_json(clis, workspace):
    done = clis("report", "--json", "-o", "pages/one.html")
    written = json.loads(done.out)
    assert written["runs"] == ["second"]
    assert written["path"] == "pages/one.html"
    assert written["bytes"] == Path("pages/one.html").stat().st_size


def test_dry_run_writes_nothing(clis, workspace):
    done = clis("report", "first", "runs/second", "--dry-run")
    assert done.code == 0
    assert f"would read   {workspace / 'runs' / 'first' / 'eval-val'}" in done.err
    assert "would write  report.html" in done.err
    assert not Path("report.html").exists()


def test_a_run_that_was_not_evaluated(clis, workspace):
    for words in (("--dry-run",), ()):
        done = clis("report", "first", "--split", "train", *words)
        assert done.code == 4
        assert f"Hint: clis eval {workspace / 'runs' / 'first'} --split train" in done.err


def test_usage(clis):
    assert clis("report").code == 5
    assert clis("report", "a", "--pictures", "-1").code == 2
    assert clis("report", "a", "--split", "test").code == 2

"""The benchmark of the report runs at a small scale, and its curves are those of the evaluation."""

import pytest

from clis_core.jobs.bench import report


@pytest.mark.slow
def test_report():
    result = report.run(scale=0.002)
    assert result["name"] == "report"
    assert result["equal"] is True
    assert (result["images"], result["detections"], result["runs"], result["pictures"]) == (40, 12000, 2, 24)
    assert result["imports_mb"] <= result["one_run_mb"]
    assert min(result[key] for key in ("seconds", "cpu_seconds", "one_run_seconds", "at_once_mb", "page_mb")) > 0

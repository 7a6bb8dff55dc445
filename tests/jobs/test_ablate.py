"""Tables of the paper: every row's settings are valid, and a table is run once, read afterwards."""

import json

import pytest

from clis_core.config.ablations import PRESETS, TABLES, Row, table
from clis_core.config.load import Layer, leaves, preset_layer, resolve
from clis_core.errors import ConfigError
from clis_core.jobs import ablate as job
from clis_core.jobs import sweep
from clis_core.jobs.ablate import AblationPlan, RowResult, ablate, to_record
from clis_core.jobs.build_images import build_images, plan_images
from clis_core.jobs.build_pictures import BuildOptions
from clis_core.jobs.sweep import Outcome, mean_and_spread
from clis_core.report import SilentReporter
from tests.draw import draw_pictures

ALL = [(name, row) for name, found in TABLES.items() for row in found.rows]


@pytest.mark.parametrize("budget", PRESETS)
@pytest.mark.parametrize(("name", "row"), ALL, ids=[f"{name}: {row.name}" for name, row in ALL])
def test_the_settings_of_every_row_fit_and_count(name, row, budget) -> None:
    config = resolve([preset_layer(PRESETS[budget][row.base]), Layer("row", dict(row.settings))])
    for key, value in leaves(row.settings):
        found = config.model_dump()
        for step in key:
            found = found[step]
        assert found == value


def test_rows_without_pictures_are_the_baselines() -> None:
    for _, row in ALL:
        config = resolve([preset_layer(PRESETS["small"][row.base]), Layer("row", dict(row.settings))])
        assert (config.method.kind == "clis") == (row.base == "clis")


def test_names_of_tables() -> None:
    assert table("ii") is TABLES["II"]
    with pytest.raises(ConfigError, match="no table") as caught:
        table("region")
    assert caught.value.hint is not None
    assert "Did you mean regions?" in caught.value.hint


def outcome(tmp_path, seed, **metrics) -> Outcome:
    return Outcome(tmp_path, seed, {"AP": None, "APr": None, "APc": None, "APf": None, **metrics}, 1.5, 100.0)


def test_means_spreads_and_differences(tmp_path) -> None:
    ours = [outcome(tmp_path, 0, AP=20.0), outcome(tmp_path, 1, AP=24.0)]
    full = RowResult(Row("CLIS", paper=(29.2, 24.4, 28.6, 31.9)), ours)
    ours = [outcome(tmp_path, 0, AP=15.0), outcome(tmp_path, 1, AP=16.0)]
    other = RowResult(Row("w/o X", paper=(25.9, 20.3, 25.0, 29.5)), ours)
    plan = AblationPlan(TABLES["II"], "small", (0, 1), Layer("x", {}), None, None, None, tmp_path)
    rows = to_record(plan, [full, other])["rows"]
    assert rows[0]["mean"]["AP"] == 22
    assert rows[0]["spread"]["AP"] == 2
    assert rows[1]["difference"]["AP"] == -6.5
    assert rows[1]["paper_difference"] == {"AP": -3.3, "APr": -4.1, "APc": -3.6, "APf": -2.4}
    assert rows[1]["mean"]["APr"] is None
    assert mean_and_spread([1.0, None]) is None
    assert mean_and_spread([]) is None


def test_rows_of_which_the_paper_has_ap_alone(tmp_path) -> None:
    rows = TABLES["mtl"].rows
    assert [row.name for row in rows][0::5] == ["baseline", "all three and refinement"]
    plan = AblationPlan(TABLES["mtl"], "small", (0,), Layer("x", {}), None, None, None, tmp_path)
    record = to_record(plan, [RowResult(row, [outcome(tmp_path, 0, AP=20.0)]) for row in rows])["rows"]
    assert record[-1]["paper"] == {"AP": 34.6}
    assert record[-1]["paper_difference"] == {"AP": 1.9}
    assert record[1]["paper_difference"] is None


@pytest.mark.slow
def test_a_table_is_run_once_and_read_afterwards(drawn_lvis, tmp_path, monkeypatch) -> None:
    truth = next(drawn_lvis.rglob("*train*.json"))
    pictures = plan_images([draw_pictures(tmp_path / "pictures")], truth)
    build_images(pictures, tmp_path / "shards", BuildOptions(), reporter=SilentReporter())
    settings = {"data": {"root": drawn_lvis}, "train": {"iterations": 2, "warmup": 0, "log_every": 1}}
    plan = AblationPlan(
        TABLES["regions"], "tiny", (0, 3), Layer("test", settings), tmp_path / "shards", None, None, tmp_path / "out"
    )
    results = ablate(plan, reporter=SilentReporter())
    assert [r.row.name for r in results] == ["rank-first", "max-score", "max-size", "full-image", "centre"]
    assert [o.seed for o in results[0].outcomes] == [0, 3]
    assert sorted(f.name for f in (tmp_path / "out" / "regions").iterdir()) == [
        "shards-max-score",
        "shards-max-size",
        "shards-rank-first",
    ]
    written = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert written == json.loads(json.dumps(to_record(plan, results)))
    runs = sorted(f.name for f in (tmp_path / "out" / "runs").iterdir() if f.name != ".cache")
    assert "detector-seed0" in runs  # which made the regions
    assert "rank-first-seed3" in runs
    assert len(runs) == 11

    def never(*words, **options):
        raise AssertionError("trained again")

    monkeypatch.setattr(sweep, "train", never)
    monkeypatch.setattr(job, "gen_regions", never)
    again = ablate(plan, reporter=SilentReporter())
    assert [r.mean("AP") for r in again] == [r.mean("AP") for r in results]

    changed = {**settings, "train": {"iterations": 2, "warmup": 0, "log_every": 1, "lr": 0.5}}
    other = AblationPlan(
        TABLES["regions"], "tiny", (0,), Layer("test", changed), tmp_path / "shards", None, None, tmp_path / "out"
    )
    with pytest.raises(ConfigError, match=r"train\.lr"):
        ablate(other, reporter=SilentReporter())


def test_pictures_must_be_named(drawn_lvis, tmp_path) -> None:
    plan = AblationPlan(
        TABLES["XI"], "tiny", (0,), Layer("test", {"data": {"root": drawn_lvis}}), None, None, None, tmp_path
    )
    with pytest.raises(ConfigError, match="needs pictures") as caught:
        ablate(plan, reporter=SilentReporter())
    assert caught.value.hint is not None
    assert "--google" in caught.value.hint

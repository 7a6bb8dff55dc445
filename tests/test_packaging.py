"""What is built: archives with everything that the commands need and nothing else, and an installation that works."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

from clis_core import __version__

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PACKAGES = ("clis_cli", "clis_core")
FILES = sorted(
    path.relative_to(ROOT).as_posix()
    for package in PACKAGES
    for path in (ROOT / package).rglob("*")
    if path.is_file() and "__pycache__" not in path.parts
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a source archive, and of a wheel that was built from it."""
    source = tmp_path_factory.mktemp("source")
    for name in (*PACKAGES, "docs", "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", source / "dist", source],
        check=True,
        capture_output=True,
    )
    return source / "dist"


def wheel_of(built: Path) -> Path:
    return built / f"clis-{__version__}-py3-none-any.whl"


@pytest.mark.slow
def test_the_archives_hold_the_packages_and_nothing_else(built: Path) -> None:
    assert sorted(path.name for path in built.iterdir()) == [wheel_of(built).name, f"clis-{__version__}.tar.gz"]
    with zipfile.ZipFile(wheel_of(built)) as wheel:
        names = wheel.namelist()
    about = f"clis-{__version__}.dist-info/"
    assert sorted(name for name in names if not name.startswith(about)) == FILES
    assert {"clis_cli/py.typed", "clis_core/py.typed", "clis_core/data/assets/lvis_v1.json"} <= set(names)
    assert {f"{about}licenses/LICENSE", f"{about}licenses/clis_core/data/assets/NOTICE.txt"} <= set(names)
    with tarfile.open(built / f"clis-{__version__}.tar.gz") as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert set(FILES) | {"LICENSE", "README.md", "pyproject.toml"} <= inside
    assert not [name for name in inside if name.startswith(("tests", "docs"))]


@pytest.mark.slow
def test_what_is_installed_works_without_the_sources(built: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel_of(built)]
    subprocess.run(pip, check=True, capture_output=True)
    empty = tmp_path / "empty"
    empty.mkdir()

    def run(*words: str | Path) -> str:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        done = subprocess.run(words, cwd=empty, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    # The dependencies are those of this environment: a line in a .pth adds its folder, but not the .pth files in it.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    assert Path(run(python, "-c", "import clis_core; print(clis_core.__file__)").strip()).is_relative_to(site)
    clis = tmp_path / "venv" / "bin" / "clis"
    assert run(clis, "--version") == f"clis {__version__}\n"
    assert "build-imagenet-subset" in run(clis, "--help")
    assert "997" in run(clis, "build-imagenet-subset", "--lvis", "v1", "--dry-run")  # read from the assets
    assert run(python, "-m", "clis_cli", "presets", "diff", "baseline-tiny", "clis-tiny")
    assert list(empty.iterdir()) == []


def test_the_version_is_said_once_for_all() -> None:
    assert PROJECT["version"] == __version__
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    assert citation["license"] == PROJECT["license"]
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    changes = (ROOT / "docs" / "changelog.md").read_text(encoding="utf-8")
    assert re.search(r"^## (\S+)", changes, re.M)[1] == __version__.partition(".dev")[0]  # type: ignore[index]


def test_what_is_checked_is_the_same_everywhere() -> None:
    """`.ci/run` is the list; the hooks of pre-commit are of it, and the workflow runs it with each Python."""
    steps = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert [repo["repo"] for repo in hooks] == ["local"]  # the tools of the environment, in the versions of extra "dev"
    entries = [hook["entry"] for repo in hooks for hook in repo["hooks"]]
    assert {"ruff check .", "ruff format --check .", "mypy"} <= set(entries)
    assert [entry for entry in entries if entry not in steps] == ["python -m docs.generate --check"]
    job = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"]["ci"]
    assert ".ci/run" in [step.get("run") for step in job["steps"]]
    known = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if re.search(r"Python :: 3\.\d+$", c)]
    assert job["strategy"]["matrix"]["python"] == known

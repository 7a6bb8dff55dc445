"""`clis` in this process, in an empty folder, with jobs that only note what they were asked."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from clis_cli.app import main


class Result(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Result]
Jobs = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def clis(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str) -> Result:
        with pytest.raises(SystemExit) as end:
            main(words)
        assert isinstance(end.value.code, int)
        return Result(end.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def fake_job(monkeypatch: pytest.MonkeyPatch) -> Jobs:
    """Put a function in the place of a job; it keeps its arguments and returns, or raises, what is given."""

    def replace(module: str, function: str, answer: Any) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = []

        def job(*words: Any, **options: Any) -> Any:
            calls.append({"words": words, **options})
            if isinstance(answer, BaseException):
                raise answer
            return answer

        fake = ModuleType(module)
        setattr(fake, function, job)
        monkeypatch.setitem(sys.modules, module, fake)
        return calls

    return replace

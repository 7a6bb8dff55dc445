"""`clis demo`: an empty folder goes in; a drawn data set and the commands to type there come out, and what they gave.

The commands are the user's own and are run by the command line. This job draws, says which command is next, and
remembers which have ended, so that a demo that was killed goes on with the command that it was killed in.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shlex
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clis_core import __version__
from clis_core.config.workspace import checkpoints_of
from clis_core.data.drawn.data_set import draw_data_set
from clis_core.data.drawn.style import CATALOGUE
from clis_core.errors import ConfigError, DataError
from clis_core.files import TEMPORARY, locked, write_text
from clis_core.jobs.run_log import training_minutes

STATE = "demo.json"
LOCK = ".demo.lock"
DATA = Path("data")
RUNS = Path("runs")
REPORT = Path("report.html")
PREDICTIONS = Path("predictions")
METRICS = ("AP", "APr", "APc", "APf")
_ONNX = ("onnx", "onnxscript", "onnxruntime")  # of the extra 'onnx'


@dataclass(frozen=True)
class Size:
    """How much is drawn and trained.

    Attributes:
        scenes: for training.
        val: scenes to evaluate on.
        pictures: with a class label alone, of each class.
        iterations: of the baseline and of CLIS.
        longer: of the baseline that trains as many minutes as CLIS.
        check: pictures that the exported file is checked on.
    """

    scenes: int
    val: int
    pictures: int
    iterations: int
    longer: int
    check: int


FULL = Size(scenes=300, val=150, pictures=150, iterations=600, longer=1000, check=20)
QUICK = Size(scenes=200, val=52, pictures=8, iterations=10, longer=15, check=4)
CLASSES = 16


@dataclass(frozen=True)
class Asked:
    """What a demo is of; one that goes on has to be the same.

    Attributes:
        seed: of the drawing and the trainings.
        quick: whether all is so small that it only shows that it runs.
        clis: version of this program.
    """

    seed: int = 0
    quick: bool = False
    clis: str = __version__

    @property
    def size(self) -> Size:
        """How much is drawn and trained."""
        return QUICK if self.quick else FULL


@dataclass(frozen=True)
class Step:
    """A command of the demo.

    Attributes:
        name: unique in the demo.
        about: what it does, for a person.
        words: the command without `clis`.
        run: name of the run that it trains; "" for other commands.
    """

    name: str
    about: str
    words: tuple[str, ...]
    run: str = ""


def steps(asked: Asked) -> list[Step]:
    """The commands, first things first, as they are typed in the demo's folder."""
    size = asked.size
    seed = ("--seed", str(asked.seed)) if asked.seed else ()
    few = ("--iterations", str(size.iterations)) if asked.quick else ()
    plain, ours = "specialised-drawn", "clis-drawn"
    suffix = ".onnx" if all(importlib.util.find_spec(name) for name in _ONNX) else ".pt2"
    scenes = f"{DATA}/val/{(size.scenes + 1) // 10:05d}*.jpg"
    return [
        Step("init", "A workspace: commands in this folder need no paths", (
            "init", "--data", f"{DATA}", "--pictures", f"{DATA}/pictures", "--preset", ours)),
        Step("shards", "The labelled pictures, one tar for each class, become shards", (
            "build-images", "--label-from", "tar")),
        Step("base", "A detector that learns from boxes alone", (
            "train", "--preset", plain, "-o", "base", *few, *seed), "base"),
        Step("longer", "The same again, for as many minutes as CLIS will take", (
            "train", "--preset", plain, "-o", "base-longer", "--iterations", str(size.longer), *seed), "base-longer"),
        Step("regions", "Where in each labelled picture its class is", (
            "gen-regions", "--detector", "base", "--short-side", "64")),
        Step("clis", "CLIS: a detector that learns from boxes and from labelled pictures", (
            "train", "--preset", ours, "--alpha", "0.1", "--beta", "0.05", "-o", "clis", *few, *seed), "clis"),
        Step("eval-base", "How good the detector of boxes alone is; APr: for rare classes", ("eval", "base")),
        Step("eval-clis", "How good CLIS is", ("eval", "clis")),
        Step("report", "All on one page", ("report", "base", "base-longer", "clis", "-o", f"{REPORT}")),
        Step("export", "A file for other programs, checked against the run", (
            "export", "clis", "-o", f"clis{suffix}", "--check", str(size.check))),
        Step("predict", "What CLIS finds in some scenes", (
            "predict", "clis", scenes, "-o", f"{PREDICTIONS}")),
    ]  # fmt: skip


def typed(words: Sequence[str]) -> str:
    """A command as a person types it."""
    return shlex.join(["clis", *words])


class Demo:
    """A demo in its folder.

    Args:
        folder: empty, not there, or of a demo of the same kind.
        asked: what it is of.

    Raises:
        ConfigError: the folder holds a demo of another kind.
        DataError: it holds something else.
    """

    def __init__(self, folder: Path, asked: Asked) -> None:
        self.folder = folder
        self.asked = asked
        self.done: list[str] = _check(folder, asked)

    @property
    def command(self) -> str:
        """What to type to go on with it."""
        return f"clis demo {shlex.quote(str(self.folder))} {_options(self.asked)}"

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Make the folder, and hold it.

        Raises:
            DataError: another process holds it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / LOCK) as held:
            if not held:
                raise DataError(
                    f"{self.folder}: another demo is running in this folder.",
                    hint=f"Wait until it has ended, or take another folder: clis demo {_beside(self.folder)}",
                )
            self.done = _check(self.folder, self.asked)  # again: it may have ended since
            self._save()
            yield

    @property
    def drawn(self) -> bool:
        """Whether the data set is there."""
        return (self.folder / DATA).exists()

    def draw(self) -> None:
        """Draw the data set."""
        for left in self.folder.glob(f".{DATA}.*{TEMPORARY}"):  # of a demo that was killed while it drew
            shutil.rmtree(left, ignore_errors=True)
        size = self.asked.size
        draw_data_set(
            self.folder / DATA,
            seed=self.asked.seed,
            scenes=size.scenes,
            val=size.val,
            pictures_per_class=size.pictures,
            classes=CLASSES,
            far=CATALOGUE,
        )

    def words(self, step: Step) -> tuple[str, ...]:
        """The command of a step as it has to be given now: one that was stopped may have to go on."""
        if step.run and checkpoints_of(self.folder / RUNS / step.run):
            return ("train", "--resume", "-o", step.run)
        if step.name == "init" and (self.folder / "clis.toml").exists():
            return (*step.words, "--force")
        if step.name == "predict" and (self.folder / PREDICTIONS).exists():
            return (*step.words, "--overwrite")
        return step.words

    def end(self, step: Step) -> None:
        """Remember that a step has ended well."""
        self.done.append(step.name)
        self._save()

    def results(self) -> list[dict[str, Any]]:
        """For each run: its name, iterations, minutes of training and metrics, as they stand in its files."""
        found = []
        for run in [step.run for step in steps(self.asked) if step.run]:
            folder = self.folder / RUNS / run
            metrics = json.loads((folder / "eval-val" / "metrics.json").read_text(encoding="utf-8"))
            about = {"run": run, "iterations": metrics["step"], "minutes": training_minutes(folder)}
            found.append(about | {name: metrics["metrics"][name] for name in METRICS})
        return found

    def record(self) -> dict[str, Any]:
        """All that came of it, as plain json values."""
        return {
            "format": 1,
            "folder": str(self.folder.absolute()),
            **asdict(self.asked),
            "runs": self.results(),
            "report": str((self.folder / REPORT).absolute()),
            "commands": [typed(step.words) for step in steps(self.asked)],
        }

    def _save(self) -> None:
        write_text(
            self.folder / STATE, json.dumps({"format": 1, **asdict(self.asked), "done": self.done}, indent=1) + "\n"
        )


def _check(folder: Path, asked: Asked) -> list[str]:
    """The steps that have ended in a folder; it can be used for this demo."""
    if (folder / STATE).is_file():
        return _read(folder, asked)
    if folder.is_dir():
        # A demo that was killed in its first moment left no more than these.
        others = [p.name for p in folder.iterdir() if p.name != LOCK and not _is_temporary(p.name)]
        if not others:
            return []
        what = f"is not an empty folder: it holds {sorted(others)[0]}" + (" and more" if len(others) > 1 else "")
    elif folder.exists() or folder.is_symlink():
        what = "is not a folder"
    else:
        return []
    raise DataError(
        f"{folder} {what}.", hint=f"The demo wants a folder of its own, such as: clis demo {_beside(folder)}"
    )


def _is_temporary(name: str) -> bool:
    return name.startswith(f".{STATE}.") and name.endswith(TEMPORARY)


def _read(folder: Path, asked: Asked) -> list[str]:
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        begun = Asked(**{name: state[name] for name in asdict(asked)})
        done = [str(name) for name in state["done"]]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{folder / STATE} is not what clis demo writes.", hint=f"Take another folder: clis demo {_beside(folder)}"
        ) from error
    if begun != asked:
        raise ConfigError(
            f"{folder} holds a demo that was begun with {_options(begun)}, clis {begun.clis}.",
            hint=f"Go on with it: clis demo {shlex.quote(str(folder))} {_options(begun)}; or take another folder: "
            f"clis demo {_beside(folder)} {_options(asked)}",
        )
    return done


def _options(asked: Asked) -> str:
    return f"--seed {asked.seed}{' --quick' if asked.quick else ''}"


def _beside(folder: Path) -> str:
    """Another folder to propose."""
    path = folder.absolute()
    n = 2
    while (other := path.with_name(f"{path.name}-{n}")).exists():
        n += 1
    return shlex.quote(str(other if folder.name in ("", "..") else folder.with_name(other.name)))

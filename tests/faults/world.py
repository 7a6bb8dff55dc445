"""A folder goes in; small drawn data, a trained run, shards and regions in it, and every long command, come out."""

from __future__ import annotations

import contextlib
import io
import os
import random
import shutil
import signal
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.draw import draw_lvis, draw_pictures, name
from tests.jobs.building import vocabulary
from tests.pack import draw_items, tar_bytes

OUT = "o"
"""Where commands write: nothing else of a trial's folder changes."""
RUN = f"{OUT}/run"


@dataclass(frozen=True)
class Command:
    """A long command on the drawn data.

    Attributes:
        name: of the command, and what is special about it.
        words: what is typed in the trial's folder.
        again: what is typed to go on; the same where it is None.
        inputs: what it needs of the world.
        outputs: what of the world it starts from and changes, by its place under `OUT`.
        checkpoints: globs of checkpoints that it reads.
        shards: globs of files of shards that it reads.
        takes_what_is_there: whether a file that is missing from the start is no fault of its source.
        workers: whether it has processes that load pictures.
    """

    name: str
    words: tuple[str, ...]
    again: tuple[str, ...] | None = None
    inputs: tuple[str, ...] = ()
    outputs: dict[str, str] = field(default_factory=dict)
    checkpoints: tuple[str, ...] = ()
    shards: tuple[str, ...] = ()
    takes_what_is_there: bool = False
    workers: bool = False


def _sets(**values: object) -> tuple[str, ...]:
    return tuple(word for key, value in values.items() for word in ("--set", f"{key.replace('__', '.')}={value}"))


_LOOP = _sets(train__checkpoint_every=2, train__log_every=1, train__batch=2, data__workers=1)
_LOCAL = ("--delay", "0", "--no-robots", "--partial")
_BASELINE = ("train", "--preset", "baseline-tiny", "--data", "world", "--iterations", "8", *_LOOP)
_CLIS = ("train", "--preset", "clis-tiny", "--data", "world", "--images", "shards", "--iterations", "6", *_LOOP)


def commands(address: str) -> list[Command]:
    """The commands; a server at ``address`` has what crawl-google and download fetch."""
    resume = ("train", "--resume", "-o", RUN)
    out = f"{OUT}/out"
    run = {RUN: "base"}
    pt, tars = (f"{RUN}/checkpoints/*.pt",), ("shards/*.tar", "shards/*.npy", "shards/*.json")
    regions = ("shards-regions/*",)
    return [
        Command(
            "build-imagenet-subset",
            ("build-imagenet-subset", "imagenet", "--lvis", "words.json", "-o", out, "--shards", "3"),
            inputs=("imagenet", "words.json"),
            takes_what_is_there=True,
        ),
        Command(
            "build-images",
            ("build-images", "pictures", "--data", "world/lvis_v1_train.json", "-o", out, "--shards", "3"),
            inputs=("pictures", "world"),
            takes_what_is_there=True,
        ),
        Command(
            "crawl-google",
            ("crawl-google", "-o", out, "--lvis", "world/lvis_v1_train.json", "--urls", "urls.csv", *_LOCAL),
            inputs=("world", "urls.csv"),
        ),
        Command(
            "download",
            ("download", "lvis-v0.5", "--only", "annotations", "--base-url", address, "--yes", "-o", out),
        ),
        Command(
            "gen-regions",
            ("gen-regions", "--detector", "base", "shards", "-o", out, "--batch", "4", "--workers", "1"),
            inputs=("base", "shards", "world"),
            checkpoints=("base/checkpoints/*.pt",),
            shards=tars,
            workers=True,
        ),
        Command("train", (*_BASELINE, "-o", RUN), resume, inputs=("world",), checkpoints=pt, workers=True),
        Command(
            "train (CLIS)",
            (*_CLIS, "-o", RUN),
            resume,
            inputs=("world", "shards", "shards-regions"),
            checkpoints=pt,
            shards=tars + regions,
            workers=True,
        ),
        Command("eval", ("eval", RUN, "--set", "data.workers=1"), None, ("world",), run, checkpoints=pt, workers=True),
        Command("report", ("report", "runs/base", "-o", f"{out}.html", "--pictures", "4"), inputs=("world", "runs")),
        Command(
            "export (onnx)",
            ("export", "base", "-o", f"{out}.onnx", "--check", "2"),
            inputs=("world", "base"),
            checkpoints=("base/checkpoints/*.pt",),
        ),
        Command(
            "export (safetensors)",
            ("export", "base", "-o", f"{out}.safetensors"),
            inputs=("world", "base"),
            checkpoints=("base/checkpoints/*.pt",),
        ),
        Command(
            "predict",
            ("predict", "base", "world/val2017", "-o", out, "--threshold", "0.05", "--overwrite"),
            inputs=("world", "base"),
            checkpoints=("base/checkpoints/*.pt",),
        ),
    ]


def make_world(folder: Path, address: str, run: Callable[[Path, tuple[str, ...]], None]) -> None:
    """Draw the data and make what commands start from.

    Args:
        folder: gets it; paths of it stand in the configs of its runs.
        address: of the server.
        run: runs the words of a command in a folder and fails where the command does.
    """
    draw_lvis(folder / "world", train=16, val=6)
    draw_pictures(folder / "pictures", each=6)
    draw_pictures(folder / "web", each=7, size=110, seed=1)
    vocabulary(folder / "words.json")
    items = draw_items(each=8)
    (folder / "imagenet").mkdir()
    for label in {item.label for item in items}:
        files = [(item.name, item.data) for item in items if item.label == label]
        (folder / "imagenet" / f"{label}.tar").write_bytes(tar_bytes(files))
    rows = [f"{name(c)},{address}/{name(c)}/{k:03d}.jpg" for c in range(6) for k in range(8)]
    (folder / "urls.csv").write_text("category,url\n" + "\n".join(rows) + "\n")
    pictures = ("build-images", "pictures", "--data", "world/lvis_v1_train.json", "-o", "shards", "--shards", "3")
    run(folder, pictures)
    run(folder, (*_BASELINE, "-o", "base"))
    run(folder, ("gen-regions", "--detector", "base", "shards", "--batch", "4"))
    shutil.copytree(folder / "base", folder / "runs" / "base")
    run(folder, ("eval", "runs/base", "--set", "data.workers=0"))


@contextlib.contextmanager
def serving(pictures: Path) -> Iterator[str]:
    """A process that serves the drawn pictures and archives; its address comes out."""
    archives = {}
    for split in ("val", "train"):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as out:
            out.writestr(f"lvis_v0.5_{split}.json", bytes(range(256)) * 4000)
        archives[f"lvis_v0.5_{split}.json.zip"] = file.getvalue()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            with contextlib.suppress(ConnectionError):
                self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            name = self.path.strip("/")
            path = pictures / name
            data = archives.get(name) or (path.read_bytes() if path.is_file() and ".." not in name else None)
            if data is None:
                self.send_error(404)
                return
            asked = self.headers["Range"]
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
            self.send_response(206 if asked else 200)
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("ETag", '"1"')
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            for place in range(start, len(data) if body else start, 100_000):
                self.wfile.write(data[place : place + 100_000])

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    process = os.fork()  # no thread: commands are forked from this process
    if process == 0:
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
        os._exit(0)
    address = f"http://127.0.0.1:{server.server_port}"
    server.server_close()
    try:
        yield address
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def damage(path: Path, dice: random.Random) -> str:
    """Damage a file as disks and copies do; what was done comes out."""
    data = bytearray(path.read_bytes())
    kind = dice.choice(["flip", "flip", "flip", "short", "zeros", "empty"]) if data else "empty"
    place = dice.randrange(len(data)) if data else 0
    if kind == "flip":
        data[place] ^= 1 << dice.randrange(8)
    elif kind == "short":
        del data[place:]
    elif kind == "zeros":
        end = min(len(data), place + 4096)
        data[place:end] = bytes(end - place)
    else:
        data.clear()
    path.unlink()  # a reader that has it open or mapped keeps what it had
    path.write_bytes(data)
    return f"{kind} at {place}"

"""Fuzzes the readers, guided by coverage where atheris is installed, until the time is over.

    pip install atheris
    python -m tests.fuzz --minutes 10 -o found/
    python -m tests.fuzz --only checkpoint --blind

What a reader should not have raised is told, once for each place, and its bytes are kept. Nothing of this is needed for
the tests of CI, which try some mutations of each file without guidance (test_readers.py).
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import random
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="in all, shared by the readers")
    parser.add_argument("--only", action="append", default=[], help="readers whose name has this in it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--blind", action="store_true", help="without guidance")
    parser.add_argument("-o", "--out", type=Path, default=Path("fuzz-found"))
    options = parser.parse_args()
    guide = None if options.blind else _guide()
    if guide:
        with guide.instrument_imports(include=["clis_core", "tomllib", "zipfile", "tarfile", "csv"]):
            importlib.import_module("tests.fuzz.readers")
    from tests.fuzz.readers import readers

    names = [n for n in readers() if not options.only or any(text in n for text in options.only)]
    options.out.mkdir(parents=True, exist_ok=True)
    seconds = 60 * options.minutes / len(names)
    _bound_memory()
    wrong = 0
    for name in names:
        process = os.fork()  # libFuzzer runs once in a process, and never returns
        if process == 0:
            _fuzz(name, seconds, options.seed, options.out, guide)
            os._exit(0)
        _, status = os.waitpid(process, 0)
        file = options.out / f"{name.replace(' ', '-')}.json"
        told = json.loads(file.read_text()) if file.exists() else {"tried": 0, "found": {"it died": status}}
        wrong += len(told["found"])
        code = os.waitstatus_to_exitcode(status)
        print(
            f"{name:24}{told['tried']:9} tried, refused or taken but {len(told['found'])} kinds; exit {code}",
            flush=True,
        )
        for what in told["found"]:
            print(f"    {what}", flush=True)
    return 1 if wrong else 0


def _guide() -> Any:
    try:
        import atheris
    except ImportError:
        print("atheris is not installed; without guidance.", file=sys.stderr)
        return None
    return atheris


def _bound_memory() -> None:
    """What a reader takes beyond this is a MemoryError, which is told."""
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = now + (3 << 30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _fuzz(name: str, seconds: float, seed: int, out: Path, guide: Any) -> None:
    from tests.fuzz.attempt import attempt, lay_out
    from tests.fuzz.mutate import mutate
    from tests.fuzz.readers import readers

    reader = readers()[name]
    file = out / f"{name.replace(' ', '-')}.json"
    told: dict[str, Any] = {"tried": 0, "found": {}}
    file.write_text(json.dumps(told))
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        path = lay_out(reader, Path(folder) / "it")
        for good in reader.good:
            assert attempt(reader, path, good) is None or name == "checkpoint", attempt(reader, path, good)
        end = time.monotonic() + seconds

        def one(data: bytes) -> None:
            told["tried"] += 1
            what = attempt(reader, path, data)
            if what is not None:
                place = what.partition(": ")[0]
                if place not in (known.partition(": ")[0] for known in told["found"]):
                    kept = out / f"{name.replace(' ', '-')}-{hashlib.sha256(data).hexdigest()[:12]}"
                    kept.write_bytes(data)
                    told["found"][what] = kept.name
            if what is not None or told["tried"] % 200 == 0:
                file.write_text(json.dumps(told))
            if time.monotonic() > end:
                file.write_text(json.dumps(told))
                os._exit(0)

        if guide is None:
            dice = random.Random(seed)
            while True:
                one(mutate(dice.choice(reader.good), dice))

        def custom(data: bytes, largest: int, number: int) -> bytes:
            dice = random.Random(number)
            base = data if data and dice.random() < 0.9 else dice.choice(reader.good)
            return mutate(base, dice)[:largest]

        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        for number, good in enumerate(reader.good):
            (corpus / str(number)).write_bytes(good)
        largest = max(1 << 16, 2 * max(map(len, reader.good)))
        arguments = [sys.argv[0], str(corpus), f"-seed={seed + 1}", f"-max_len={largest}", "-verbosity=0"]
        guide.Setup([*arguments, "-rss_limit_mb=0", "-timeout=600"], one, custom_mutator=custom)
        guide.Fuzz()


if __name__ == "__main__":
    sys.exit(main())

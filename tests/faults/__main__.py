"""Runs every long command on drawn data, disturbs it at random moments, and tells whether anything is lost.

python -m tests.faults --rounds 3 --seed 0 -o faults.json
python -m tests.faults --command train --kind "kill -9"  --rounds 50
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.faults.compare import digests
from tests.faults.kinds import KINDS, Reference, Trial, fits, prepare
from tests.faults.process import preload, run
from tests.faults.world import OUT, Command, commands, make_world, serving


def main() -> int:
    options = _options()
    if (
        os.environ.get("OMP_NUM_THREADS") != "1"
    ):  # a command that is forked from a process with threads may wait for ever
        words = [sys.executable, "-m", "tests.faults", *sys.argv[1:]]
        os.execve(sys.executable, words, {**os.environ, "OMP_NUM_THREADS": "1"})
    preload()
    with tempfile.TemporaryDirectory(prefix="faults-", dir=options.folder) as name:
        Path(name).chmod(0o755)  # a trial may run as another user
        with serving(Path(name) / "world" / "web") as address:
            results = []
            for result in _trials(Path(name), address, options):
                results.append(result)
                if options.out:
                    options.out.write_text(json.dumps(results, indent=1) + "\n")
    _show(results)
    return 1 if any(result["wrong"] for result in results) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1, help="how often each command meets each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--command", action="append", default=[], help="commands whose name has this in it")
    parser.add_argument("--kind", action="append", default=[], help="kinds whose name has this in it")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no trial later")
    parser.add_argument("--folder", type=Path, default=None, help="where to work")
    parser.add_argument("-o", "--out", type=Path, default=None, help="a json of all trials")
    return parser.parse_args()


def _trials(folder: Path, address: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    end = time.monotonic() + 60 * options.minutes
    world, work = folder / "world", folder / "work"
    make_world(world, address, _must)
    chosen = [c for c in commands(address) if _is_meant(c.name, options.command)]
    references = {command.name: _reference(command, world, work) for command in chosen}
    for number in range(options.rounds):
        for command in chosen:
            for kind, disturb in KINDS.items():
                if not (_is_meant(kind, options.kind) and fits(kind, command)) or time.monotonic() > end:
                    continue
                dice = random.Random(f"{options.seed} {number} {command.name} {kind}")
                trial = Trial(command, world, work, references[command.name], dice)
                trial.prepare()
                outcome = disturb(trial)
                result = {"command": command.name, "kind": kind, "round": number, **vars(outcome)}
                print(f"{command.name}, {kind}: {outcome.ended}", file=sys.stderr, flush=True)
                if outcome.wrong:
                    print(json.dumps(result, indent=1), file=sys.stderr, flush=True)
                yield result


def _reference(command: Command, world: Path, work: Path) -> Reference:
    """Run a command twice as it is."""
    found = []
    for _ in range(2):
        prepare(command, world, work)
        ended = run(command.words, work)
        if ended.code:
            raise SystemExit(f"{command.name} fails undisturbed: {ended.said}")
        found.append(digests(work / OUT))
    kept = world.parent / "reference" / command.name
    shutil.copytree(work / OUT, kept)
    varying = {name for name in found[0] if found[0][name] != found[1].get(name)}
    told = f"{command.name}: {ended.seconds:.1f} s, {ended.events} changes of files"
    print(f"{told}, differing each time: {sorted(varying) or 'none'}", file=sys.stderr, flush=True)
    return Reference(found[0], varying, ended.seconds, ended.events)


def _must(folder: Path, words: tuple[str, ...]) -> None:
    ended = run(words, folder)
    if ended.code:
        raise SystemExit(f"{' '.join(words)}: {ended.said}")


def _is_meant(name: str, asked: list[str]) -> bool:
    return not asked or any(text in name for text in asked)


def _show(results: list[dict[str, Any]]) -> None:
    """A line for each command and kind: tried, finished, stopped with a typed error, killed, equal in the end."""
    print(
        f"{'command':26}{'kind':38}{'tried':>6}{'finished':>9}{'typed':>6}{'killed':>7}{'equal':>6}{'wrong':>6}{'left':>5}"
    )
    for name, kind in dict.fromkeys((r["command"], r["kind"]) for r in results):
        mine = [r for r in results if (r["command"], r["kind"]) == (name, kind)]
        counts = [sum(r["ended"] == how for r in mine) for how in ("finished", "typed error", "killed")]
        counts += [
            sum(r["equal"] for r in mine),
            sum(bool(r["wrong"]) for r in mine),
            sum(bool(r["left"]) for r in mine),
        ]
        widths = (9, 6, 7, 6, 6, 5)
        print(f"{name:26}{kind:38}{len(mine):6}" + "".join(f"{n:{w}}" for n, w in zip(counts, widths, strict=True)))


if __name__ == "__main__":
    sys.exit(main())

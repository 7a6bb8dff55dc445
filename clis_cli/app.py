"""The command `clis`: its commands, and the one place where an error becomes an exit code."""

from __future__ import annotations

import errno
import os
import shlex
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from clis_cli.commands import (
    ablate,
    bench,
    build,
    compare,
    config,
    crawl_google,
    data,
    demo,
    doctor,
    download,
    eval,
    export,
    gen_mosaics,
    gen_regions,
    init,
    inspect,
    predict,
    presets,
    pretrain,
    report,
    shards,
    train,
)
from clis_cli.console import note, speaks
from clis_core import __version__
from clis_core.errors import ClisError, ConfigError, DataError

INTERRUPTED = 130
_ROOM = "Make room on the disk that results go to, then run the same command again."
_OF_THE_DISK = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: "Files may not be that large here (ulimit -f, or the file system); write to another disk.",
    errno.EROFS: "The file system is read-only; write to another folder.",
    errno.EIO: "The disk or its connection fails; look into the system's log, or use another disk.",
    errno.EACCES: "You may not read or write there: name another folder, or have its permissions changed.",
    errno.EPERM: "You may not read or write there: name another folder, or have its permissions changed.",
    errno.EMFILE: "Too many files are open: ulimit -n 4096, then run the same command again.",
}
_SHARED = ("train", "gen-regions", "eval")  # whose work processes of torchrun share
_NO_MEMORY = "can't allocate memory"  # torch's words on a CPU, of an error of no type of its own
BUG = 1

app = typer.Typer(
    name="clis",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("init")(init.init)
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)
app.command("download")(download.download)
app.command("build-imagenet-subset")(build.build_imagenet_subset)
app.command("build-images")(build.build_images)
app.command("crawl-google")(crawl_google.crawl_google)
app.add_typer(data.app, name="data")
app.add_typer(shards.app, name="shards")
app.command("gen-regions")(gen_regions.gen_regions)
app.command("gen-mosaics")(gen_mosaics.gen_mosaics)
app.command("presets")(presets.presets)
app.add_typer(config.app, name="config")
app.command("inspect")(inspect.inspect)
app.command("pretrain")(pretrain.pretrain)
app.command("train")(train.train)
app.command("eval")(eval.evaluate)
app.command("report")(report.report)
app.command("predict")(predict.predict)
app.command("export")(export.export)
app.command("compare")(compare.compare)
app.command("ablate")(ablate.ablate)
app.command("bench")(bench.bench)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"clis {__version__}")
        raise typer.Exit


@app.callback()
def clis(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; fits anywhere.")] = False,
) -> None:
    """Train object detectors on long-tailed data with the help of images that carry only a class label.

    A first run, on a laptop:

        clis init --data data/tinylvis --preset baseline-small

        clis train

        clis eval
    """
    if os.environ.get("WORLD_SIZE", "1") != "1" and context.invoked_subcommand not in _SHARED:
        error = ConfigError(
            f"clis {context.invoked_subcommand} runs in one process, and torchrun has started it in several.",
            hint=f"Without torchrun, which is for {', '.join(_SHARED)}; unset WORLD_SIZE where it is left over",
        )
        error.of_all = True
        raise error


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    end = words.index("--") if "--" in words else len(words)
    debug = "--debug" in words[:end]
    words = [w for w in words[:end] if w != "--debug"] + words[end:]
    code = _run(words, debug)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _close_stdout()
    sys.exit(code)


def _run(words: list[str], debug: bool) -> int:
    try:
        app(args=words, prog_name="clis")
    except SystemExit as end:  # Typer's own way out: success, a usage error, Ctrl-C
        if end.code == INTERRUPTED:
            note("Interrupted.")
        return end.code if isinstance(end.code, int) else BUG
    except Exception as error:
        if debug:
            traceback.print_exc()
        return _tell(error, shlex.join(["clis", *words, "--debug"]))
    return 0


def _tell(error: Exception, again: str) -> int:
    """Say what went wrong; the exit code comes out."""
    match error:
        case ClisError(of_all=True) if not speaks():
            return error.exit_code
        case ClisError():
            _complain("" if error.exit_code == INTERRUPTED else "Error: ", error.message, error.hint)
            return error.exit_code
        case BrokenPipeError():
            _close_stdout()
        case OSError(errno=number) if number in _OF_THE_DISK or error.filename:
            where = f": {os.fsdecode(error.filename)}" if error.filename else ""
            hint = _OF_THE_DISK.get(number or 0, "See where with: {again}")
            _complain("Error: ", f"{error.strerror}{where}", hint.format(again=again))
            return DataError.exit_code
        case MemoryError() | RuntimeError() if isinstance(error, MemoryError) or _NO_MEMORY in str(error):
            first = str(error).partition("\n")[0]
            less = "Less at a time needs less: a smaller --batch, fewer workers; or end other programs."
            _complain("Error: ", f"Out of memory: {first}" if first else "Out of memory.", less)
            return ClisError.exit_code
        case _:
            bug = f"This is a bug in clis: {type(error).__name__}: {error}"
            _complain("Error: ", bug, f"See where with: {again}")
    return BUG


def _complain(mark: str, message: str, hint: str | None) -> None:
    coloured = mark and not os.environ.get("NO_COLOR")  # https://no-color.org
    typer.echo(typer.style(mark + message, fg="red") if coloured else mark + message, err=True)
    if hint:
        typer.echo(f"Hint: {hint}", err=True)


def _close_stdout() -> None:
    # The reader of a pipe left, as `head` does; the flush at exit must not complain about it.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

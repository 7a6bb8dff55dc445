"""What a user writes for shards (a folder, an address, a command) goes in; where each shard is comes out."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import webdataset.shardlists

from clis_core.data.shards.manifest import MANIFEST, Manifest, parse_manifest, read_manifest
from clis_core.data.shards.origin import read_origin
from clis_core.data.shards.remote import Command, Download, LocalFile, Place
from clis_core.data.shards.resuming import Access, opened
from clis_core.errors import ConfigError, DataError

NAME = "{}"
"""Stands for the name of a file in a command."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
_SHELL = frozenset("();<>|&")
_PLAIN = re.compile(r"[A-Za-z0-9_.-]+")
MOST_BYTES = 256 << 20
"""Of a manifest."""


class ShardPlace(NamedTuple):
    """Where a shard is, and what the manifest says of it.

    Attributes:
        place: of the tar.
        size: bytes; None without a manifest.
        samples: their number; None without a manifest.
    """

    place: Place
    size: int | None
    samples: int | None


def find_shards(source: Path | str | Sequence[str], access: Access) -> tuple[Manifest | None, list[ShardPlace]]:
    """The shards of a source, in their order, and its manifest where it has one; see `stream`.

    Raises:
        ConfigError: such a source is not read.
        DataError: its manifest cannot be read.
    """
    if isinstance(source, str) and _scheme(source) in ("", "file"):
        source = source if _is_tar(source) else _path(source)
    if isinstance(source, Path) and not _is_tar(source.name):
        manifest, origin = read_manifest(source), read_origin(source)
        if origin is not None:
            return manifest, _listed(manifest, lambda name: _place_in(f"{origin}/", name, access))
        return manifest, _listed(manifest, lambda name: LocalFile(source / name))
    if isinstance(source, str) and (NAME in source if _scheme(source) == "pipe" else not _is_tar(source)):
        manifest = _fetch_manifest(_place_in(source, MANIFEST, access), access)
        return manifest, _listed(manifest, lambda name: _place_in(source, name, access))
    given = [str(source)] if isinstance(source, (str, Path)) else source
    tars = [ShardPlace(_place(tar, access), None, None) for address in given for tar in _expand(address)]
    if not tars:
        raise ConfigError("There is no address of a shard.", hint="Name a folder of shards, or its address.")
    return None, tars


def _is_tar(address: str) -> bool:
    return address.partition("?")[0].endswith(".tar")


def _scheme(address: str) -> str:
    """What stands before the colon; empty for a path."""
    found = _SCHEME.match(address)
    return found[1].lower() if found else ""


def _path(address: str) -> Path:
    return Path(unquote(urlsplit(address).path) if _scheme(address) == "file" else address)


def _place(address: str, access: Access) -> Place:
    """Where a tar is."""
    scheme = _scheme(address)
    if scheme in ("", "file"):
        return LocalFile(_path(address))
    if scheme in ("http", "https") and urlsplit(address).netloc:
        return Download(address, access.timeout)
    if scheme == "pipe":
        return Command(_words(address))
    raise ConfigError(
        f"{address}: shards are read from a folder, http(s) or a command, not from {scheme}.",
        hint="For other stores name a command: pipe:aws s3 cp s3://bucket/shards/{} -",
    )


def _listed(manifest: Manifest, place_of: Callable[[str], Place]) -> list[ShardPlace]:
    return [ShardPlace(place_of(shard.name), shard.size, shard.samples) for shard in manifest.shards]


def _place_in(folder: str, name: str, access: Access) -> Place:
    """Where a file of a folder is, whose names a manifest tells."""
    if _scheme(folder) == "pipe":
        if not _PLAIN.fullmatch(name):  # it may go into a script that the user wrote
            raise DataError(f"The manifest of {folder} names {name!r}.", hint="Names have A-Z a-z 0-9 _ . - only.")
        return Command([word.replace(NAME, name) for word in _words(folder)])
    _place(folder, access)  # such a scheme is read
    parts = urlsplit(folder)
    path = f"{parts.path.rstrip('/')}/{quote(name)}"
    return Download(urlunsplit(parts._replace(path=path)), access.timeout)


def _words(address: str) -> list[str]:
    """The words of a command; no shell will see them."""
    lexer = shlex.shlex(address.partition(":")[2], posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        words = list(lexer)
    except ValueError as error:
        raise ConfigError(f"{address}: {error}.", hint="Close the quotation marks.") from None
    if not words or any(_SHELL.issuperset(word) for word in words):
        what = "is run without a shell, which knows no | > & ;" if words else "names no command"
        raise ConfigError(f"{address} {what}.", hint="With a shell: pipe:sh -c 'COMMAND | COMMAND'")
    return words


def _expand(address: str) -> list[str]:
    """Addresses that braces stand for, as webdataset writes them."""
    if "::" in address or "${" in address:  # webdataset would split there, and ask environment variables
        raise ConfigError(f"{address} has :: or ${{.", hint="Give a list of addresses, each in full.")
    try:
        found: list[str] = webdataset.shardlists.expand_urls(address)
    except ValueError as error:
        raise ConfigError(f"{address}: {error}.", hint="As in https://host/shards/{00000..00099}.tar") from None
    return found


def _fetch_manifest(place: Place, access: Access) -> Manifest:
    with opened(place, None, access) as stream:
        data = stream.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise DataError(f"{place.name} is larger than {MOST_BYTES >> 20} MiB.", hint="It is no manifest of shards.")
    return parse_manifest(data.decode("utf-8", "replace"), place.name)

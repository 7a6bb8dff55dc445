"""A folder of shards whose tars stayed on a server goes in; the server's address comes out.

Such a folder has the manifest, the indices and ``origin.json``, an object with ``format`` and ``address``.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from urllib.parse import urlsplit

from clis_core.data.shards.remote import shown
from clis_core.errors import JSON_DAMAGE, ConfigError, DataError
from clis_core.files import write_text

ORIGIN = "origin.json"
FORMAT = 1


def check_address(address: str) -> str:
    """The address of a folder on a web server, without a slash at its end.

    Raises:
        ConfigError: it is none, or has a password or a key, which would be kept in a file.
    """
    try:
        parts = urlsplit(address)
    except ValueError:  # brackets that are no IPv6 address
        parts = urlsplit("")
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"{shown(address)} is not the address of a folder on a web server.",
            hint="As in https://host/shards; shards of other stores are copied with their own programs",
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(
            f"{shown(address)} has a user, a password or a query, which clis does not keep.",
            hint="Let the server know this machine by its network, or copy the shards with a program of the store",
        )
    return address.rstrip("/")


def write_origin(folder: Path, address: str) -> None:
    """Note where a folder's tars are."""
    write_text(folder / ORIGIN, json.dumps({"format": FORMAT, "address": address}, indent=1) + "\n")


def read_origin(folder: Path) -> str | None:
    """The address of the server's folder; None where all is in this one.

    Raises:
        DataError: the note is damaged.
    """
    path = folder / ORIGIN
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, *JSON_DAMAGE) as error:
        raise _unusable(path, f"cannot be read: {error}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT or not isinstance(content.get("address"), str):
        raise _unusable(path, f"is no note of format {FORMAT}")
    try:
        return check_address(content["address"])
    except ConfigError as error:
        raise _unusable(path, f"holds no address: {error.message}") from None


def tars_elsewhere(folder: Path, address: str) -> DataError:
    """What to say where the tars themselves are needed."""
    return DataError(
        f"{folder} holds no tars: they stayed at {address}.",
        hint="To have them here, each checked by its hash: "
        f"clis shards fetch {shlex.quote(address)} -o {shlex.quote(str(folder))}",
    )


def _unusable(path: Path, what: str) -> DataError:
    return DataError(f"{path} {what}.", hint=f"Fetch it anew: clis shards fetch ADDRESS -o {path.parent} --leave-tars")

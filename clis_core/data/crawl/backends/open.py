"""The name of a place to search goes in, with the file of its key; the place comes out."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, assert_never

from clis_core.data.crawl.backends.backend import Backend
from clis_core.data.crawl.backends.bing import Bing
from clis_core.data.crawl.backends.flickr import Flickr
from clis_core.data.crawl.backends.google import Google
from clis_core.data.crawl.backends.openverse import Openverse
from clis_core.errors import ConfigError, DataError

BackendName = Literal["google", "bing", "openverse", "flickr"]
_KEYS = "For flickr an API key (https://www.flickr.com/services/api/keys), for openverse an access token."


def open_backend(name: BackendName, key_file: Path | None = None) -> Backend:
    """A place that is searched.

    Args:
        name: which.
        key_file: text file that holds its key or token and nothing else.

    Raises:
        ConfigError: the place needs a key and there is none, or takes none.
        DataError: the file of the key cannot be used.
    """
    key = None if key_file is None else _read_key(key_file)
    match name:
        case "google" | "bing":
            if key is not None:
                raise ConfigError(f"{name} takes no key.", hint="Leave out --key-file.")
            return Google() if name == "google" else Bing()
        case "openverse":
            return Openverse(key or "")
        case "flickr":
            if key is None:
                raise ConfigError(
                    "flickr needs an API key.",
                    hint="Get one at https://www.flickr.com/services/api/keys, write it into a file, --key-file FILE",
                )
            return Flickr(key)
    assert_never(name)


def _read_key(path: Path) -> str:
    try:
        key = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.", hint=f"Write the key into it. {_KEYS}") from None
    except UnicodeDecodeError:
        key = ""
    if not key or len(key.split()) != 1 or len(key) > 4096:
        raise DataError(f"{path} does not hold one key and nothing else.", hint=f"Write the key into it. {_KEYS}")
    return key

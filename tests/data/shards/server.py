"""A folder goes in; a web server on the loopback that breaks off, refuses and redirects as it is told comes out."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.loopback import QuietHandler, listening


@dataclass
class Site:
    """A web server.

    Attributes:
        folder: that it serves.
        address: of the folder, with a slash.
        ranges: whether it knows range requests.
        lengths: whether it says how long a file is.
        cuts: by name of a file: bytes to send before breaking off, for each of the next answers.
        stalls: by name: bytes to send before saying nothing for a second, for each of the next answers.
        answers: by name: what to answer instead, for each of the next requests: a status, or an address to go to.
        asked: (name, range asked for) of each request.
        connections: opened so far.
        tag: version of all files.
    """

    folder: Path
    address: str = ""
    ranges: bool = True
    lengths: bool = True
    cuts: dict[str, list[int]] = field(default_factory=dict)
    stalls: dict[str, list[int]] = field(default_factory=dict)
    answers: dict[str, list[int | str]] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    connections: int = 0
    tag: str = '"1"'
    over: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def serving(folder: Path, *, keeps: bool = False) -> Iterator[Site]:
    """Serve a folder; connections are kept open or closed after each answer."""
    site = Site(folder)

    class Handler(QuietHandler):
        protocol_version = "HTTP/1.1" if keeps else "HTTP/1.0"

        def setup(self) -> None:
            site.connections += 1
            super().setup()

        def do_GET(self) -> None:
            name = self.path.partition("?")[0].rpartition("/")[2]
            site.asked.append((name, self.headers["Range"]))
            if site.answers.get(name):
                answer = site.answers[name].pop(0)
                self.send_response(answer if isinstance(answer, int) else 302)
                if isinstance(answer, str):
                    self.send_header("Location", answer)
                self.end_headers()
                return
            path = site.folder / name
            if not path.is_file():
                self.send_error(404)
                return
            data = path.read_bytes()
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers["Range"] or "") if site.ranges else None
            start = int(asked[1]) if asked else 0
            whole = len(data)
            data = data[: int(asked[2]) + 1] if asked and asked[2] else data
            self.send_response(206 if asked else 200)
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{whole}")
            self.send_header("ETag", site.tag)
            if site.lengths:
                self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            if site.stalls.get(name):
                self.wfile.write(data[start : start + site.stalls[name].pop(0)])
                self.wfile.flush()
                site.over.wait(1.0)
                return
            cut = site.cuts[name].pop(0) if site.cuts.get(name) else len(data)
            self.wfile.write(data[start : start + cut])
            self.close_connection = self.close_connection or start + cut < len(data)

    with listening(Handler) as port:
        site.address = f"http://127.0.0.1:{port}/some/folder/"
        try:
            yield site
        finally:
            site.over.set()

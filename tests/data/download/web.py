"""Files in memory go in; a web server on the loopback that cuts, stalls and lies as it is told comes out."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from clis_core.data.download.transfer import Patience
from tests.loopback import QuietHandler, listening

QUICK = Patience(connect=5, silence=5, attempts=3, backoff=0.0, most_wait=0.0, progress=1)


@dataclass
class Web:
    """A web server.

    Attributes:
        files: bytes by name.
        address: of their folder.
        ranges: whether it knows range requests.
        head: whether it knows HEAD.
        lengths: whether it says how long a file is.
        tag: ETag of all files; empty sends none.
        cuts: by name: bytes to send before breaking off, for each of the next answers.
        answers: by name: status and headers to answer in the place of the next GETs.
        heads: likewise for HEAD.
        stalls: by name: bytes to send before waiting for `go_on`.
        asked: (method, name, range, if-range) of each request.
    """

    files: dict[str, bytes]
    address: str = ""
    ranges: bool = True
    head: bool = True
    lengths: bool = True
    tag: str = '"1"'
    cuts: dict[str, list[int]] = field(default_factory=dict)
    answers: dict[str, list[tuple[int, dict[str, str]]]] = field(default_factory=dict)
    heads: dict[str, list[int]] = field(default_factory=dict)
    stalls: dict[str, int] = field(default_factory=dict)
    asked: list[tuple[str, str, str | None, str | None]] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)

    def ranges_asked(self, name: str) -> list[str | None]:
        """The ranges of the GETs of a file."""
        return [asked for method, of, asked, _ in self.asked if method == "GET" and of == name]


@contextlib.contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Web]:
    """Serve files."""
    web = Web(files)

    class Handler(QuietHandler):
        protocol_version = "HTTP/1.1"

        def note(self) -> str:
            name = self.path.rpartition("/")[2]
            web.asked.append((self.command, name, self.headers["Range"], self.headers["If-Range"]))
            return name

        def answer(self, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            if status not in {200, 206} and "Content-Length" not in headers:
                self.send_header("Content-Length", "0")
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True

        def do_HEAD(self) -> None:
            name = self.note()
            if not web.head:
                return self.answer(405, {})
            if web.heads.get(name):
                return self.answer(web.heads[name].pop(0), {})
            if name not in web.files:
                return self.answer(404, {})
            headers = {"Content-Length": str(len(web.files[name]))} if web.lengths else {}
            return self.answer(200, {**headers, **({"ETag": web.tag} if web.tag else {})})

        def do_GET(self) -> None:
            name = self.note()
            if web.answers.get(name):
                return self.answer(*web.answers[name].pop(0))
            if name not in web.files:
                return self.answer(404, {})
            data, tag = web.files[name], web.tag
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers["Range"] or "")
            partial = bool(asked) and web.ranges and self.headers["If-Range"] in (None, tag)
            start = int(asked[1]) if asked and partial else 0
            stop = int(asked[2]) + 1 if asked and partial and asked[2] else len(data)
            if partial and start >= len(data):
                return self.answer(416, {"Content-Range": f"bytes */{len(data)}"})
            headers = {"ETag": tag} if tag else {}
            if web.lengths:
                headers["Content-Length"] = str(stop - start)
            if partial:
                headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
            self.answer(206 if partial else 200, headers)
            cut = web.cuts[name].pop(0) if web.cuts.get(name) else len(data)
            body = data[start : min(stop, start + cut)]
            if name in web.stalls and not web.go_on.is_set():
                self.wfile.write(body[: web.stalls[name]])
                self.wfile.flush()
                web.go_on.wait(60)
                body = body[web.stalls[name] :]
            with contextlib.suppress(OSError):  # whoever asked may have left
                self.wfile.write(body)
            return None

    with listening(Handler) as port:
        web.address = f"http://127.0.0.1:{port}/pub/"
        try:
            yield web
        finally:
            web.go_on.set()

"""A folder goes in; a web server on the loopback that fails, stalls and cuts connections now and then comes out."""

from __future__ import annotations

import contextlib
import os
import random
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_PIECE = 1 << 18


@contextlib.contextmanager
def serving(folder: Path, *, faults: float = 0.0, stall: float = 0.5, seed: int = 0) -> Iterator[tuple[str, list[str]]]:
    """Serve the files of a folder, with ranges.

    Args:
        folder: of the files.
        faults: of so many requests each is answered with 503, cut after a part, or stalled after a part.
        stall: seconds that a server which stalls says nothing, before it cuts the connection.
        seed: of the faults.

    Yields:
        The address, and the faults so far.
    """
    dice, told, lock = random.Random(seed), [], threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            with lock:
                fault = dice.choice(["503", "cut", "stall"]) if dice.random() < faults else ""
                if fault:
                    told.append(fault)
                part = dice.random()
            with contextlib.suppress(ConnectionError):
                self._answer(fault, part)

        def _answer(self, fault: str, part: float) -> None:
            path = folder / os.path.basename(self.path)
            if fault == "503" or not path.is_file():
                self.send_error(503 if fault == "503" else 404)
                return
            size = path.stat().st_size
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
            start = min(int(asked[1]), size) if asked else 0
            self.send_response(206 if asked else 200)
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
            self.send_header("ETag", f'"{size}"')
            self.send_header("Content-Length", str(size - start))
            self.end_headers()
            left = int((size - start) * part) if fault else size - start
            with path.open("rb") as file:
                file.seek(start)
                while left > 0 and (data := file.read(min(_PIECE, left))):
                    self.wfile.write(data)
                    left -= len(data)
            if fault == "stall":
                over.wait(stall)

    over = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", told
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()

"""A file server on this machine that misbehaves as asked."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Served:
    """What a server gives, and how; ``asked`` lists the ranges of the requests."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.asked: list[str] = []
        #: After how many bytes each answer ends; nothing: never.
        self.cuts: list[int] = []
        self.ignores_range = False
        self.kind = "application/zip"
        self.length: int | None = None
        self.wrong_start = 0
        self.statuses: list[int] = []
        self.tag = '"one"'
        self.redirects = ""
        self.url = ""


@contextlib.contextmanager
def serving(served: Served) -> Iterator[str]:
    """Serve on 127.0.0.1; gives the address of the file."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.close_connection = True
            wanted = self.headers.get("Range", "")
            served.asked.append(wanted)
            if self.path == "/moved" or served.statuses:
                self.send_response(302 if self.path == "/moved" else served.statuses.pop(0))
                self.send_header("Location", served.redirects)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            fresh = self.headers.get("If-Range", served.tag) == served.tag
            start = 0
            if wanted and fresh and not served.ignores_range:
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            body = served.content[start:]
            total = len(served.content) if served.length is None else served.length
            if start:
                self.send_response(206)
                first = start + served.wrong_start
                self.send_header("Content-Range", f"bytes {first}-{total - 1}/{total}")
                self.send_header("Content-Length", str(len(body)))
            else:
                self.send_response(200)
                self.send_header("Content-Length", str(total))
            self.send_header("Content-Type", served.kind)
            self.send_header("ETag", served.tag)
            self.end_headers()
            most = served.cuts.pop(0) if served.cuts else len(body)
            with contextlib.suppress(OSError):  # who asked may have heard enough
                self.wfile.write(body[:most])

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        served.url = f"http://127.0.0.1:{server.server_port}/some.zip"
        yield served.url
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

"""A web server of files on a bad line: at a seeded rate it drops connections, fails, truncates and lies."""

from __future__ import annotations

import re
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from urllib.parse import unquote, urlsplit

FAULTS = ("drop", "error", "busy", "truncate", "lie_short", "lie_long", "cut_silently")


class Server(ThreadingHTTPServer):
    """Serves the files below `root`.

    rate: share of the answers that are faulty. ranges: whether parts of files are served. retry_after: of a 503,
    delay: before each answer, in seconds. headers: of a file with these bytes, in place of the server's own.
    redirects: from paths to addresses. drip: seconds between two bytes of a body, or, if `drip_head`, lines of a head
    without end.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self,
        root: Path,
        rate: float = 0,
        seed: int = 0,
        ranges: bool = True,
        retry_after: int = 0,
        delay: float = 0,
        headers: Callable[[bytes], dict[str, str]] = lambda data: {},
        redirects: dict[str, str] | None = None,
        drip: float = 0,
        drip_head: bool = False,
    ):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root, self.rate, self.seed, self.ranges = root, rate, seed, ranges
        self.retry_after, self.delay, self.headers = retry_after, delay, headers
        self.redirects, self.drip, self.drip_head = redirects or {}, drip, drip_head
        self.lock = threading.Lock()
        self.requests: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()  # bytes of bodies

    def fault(self, path: str) -> tuple[str | None, Random]:
        """What goes wrong with this request: it depends on seed, path and how often that was asked for."""
        with self.lock:
            self.requests[path] += 1
            random = Random(f"{self.seed} {path} {self.requests[path]}")
            fault = random.choice(FAULTS) if random.random() < self.rate else None
            if fault:
                self.faults[fault] += 1
            return fault, random


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)  # as a proxy it is asked for whole URLs
        fault, random = self.server.fault(path)
        time.sleep(self.server.delay)
        file = self.server.root / path.lstrip("/")
        if self.server.drip_head:
            with suppress(OSError):
                while True:
                    self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                    time.sleep(self.server.drip)
        if path in self.server.redirects:
            self.send_response(302)
            self.send_header("Location", self.server.redirects[path])
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif fault == "drop":
            self.close_connection = True
        elif fault in ("error", "busy"):
            self.fail(500 if fault == "error" else 503)
        elif not file.is_file():
            self.fail(404)
        else:
            self.answer(path, file.read_bytes(), fault, random)

    def fail(self, status: int) -> None:
        self.send_response(status)
        if status == 503:
            self.send_header("Retry-After", str(self.server.retry_after))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer(self, path: str, data: bytes, fault: str | None, random: Random) -> None:
        start = 0
        if self.server.ranges and (asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))):
            start = int(asked[1])
            if start >= len(data):
                self.fail(416)
                return
        body = data[start:]
        part = body[: random.randrange(len(body))]
        said, body = {
            "truncate": (len(body), part),
            "lie_short": (len(part), part),
            "lie_long": (len(body) + 100, body),
            "cut_silently": (None, part),
        }.get(fault, (len(body), body))
        self.send_response_only(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        if said is not None:
            self.send_header("Content-Length", str(said))
        if fault:
            self.send_header("Connection", "close")
            self.close_connection = True
        for name, value in self.server.headers(data).items():
            self.send_header(name, value)
        self.end_headers()
        with self.server.lock:
            self.server.sent[path] += len(body)
        if not self.server.drip:
            self.wfile.write(body)
            return
        with suppress(OSError):  # nobody waits for it any more
            for i in range(len(body)):
                self.wfile.write(body[i : i + 1])
                time.sleep(self.server.drip)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serve(root: Path, context: ssl.SSLContext | None = None, **options: object) -> Iterator[tuple[str, Server]]:
    """The address of a running server, and the server."""
    server = Server(root, **options)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http{'s' if context else ''}://127.0.0.1:{server.server_port}", server
    finally:
        server.shutdown()
        server.server_close()

"""A proxy between a client and a server that writes down what both say, and when.

Proxy(upstream, folder) is a context; .url is where clients go. Each exchange is an Exchange in .exchanges, in the order
of the requests, and with a folder also a file NNN.json there, as tools/goldens/agent_requests.py reads it.
"""

import dataclasses
import http.client
import http.server
import itertools
import json
import pathlib
import threading
import time
import urllib.parse

HOP = {"connection", "host", "transfer-encoding", "keep-alive", "content-length", "accept-encoding"}


@dataclasses.dataclass
class Exchange:
    method: str
    path: str
    headers: list[tuple[str, str]]
    body: dict | None
    bytes: int
    begun: float
    status: int = 0
    content_type: str = ""
    pieces: list[tuple[float, bytes]] = dataclasses.field(default_factory=list)  # seconds since `begun`, and what came
    ended: bool = False

    @property
    def answer(self) -> str:
        return b"".join(piece for _, piece in self.pieces).decode(errors="replace")

    @property
    def streamed(self) -> bool:
        return self.content_type.startswith("text/event-stream")

    def events(self) -> list[tuple[float, dict]]:
        """What a stream's events hold, each with the second in which it was whole."""
        found, text = [], b""
        for second, piece in self.pieces:
            text += piece
            while b"\n\n" in text:
                event, text = text.split(b"\n\n", 1)
                data = b"\n".join(line[5:] for line in event.splitlines() if line.startswith(b"data:")).strip()
                if data and data != b"[DONE]":
                    found.append((second, json.loads(data)))
        return found

    def longest_silence(self) -> float:
        times = [0.0, *(second for second, _ in self.pieces)]
        return max((b - a for a, b in itertools.pairwise(times)), default=0.0)


class Proxy:
    def __init__(self, upstream: str, folder: pathlib.Path | None = None, about: dict | None = None):
        self.upstream = urllib.parse.urlsplit(upstream)
        self.folder, self.about = folder, about or {}
        self.exchanges: list[Exchange] = []
        self.lock = threading.Lock()
        self.server = _Server(("127.0.0.1", 0), _Handler)
        self.server.proxy = self
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        if self.folder:
            self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def asked(self) -> list[Exchange]:
        """The requests that want an answer of the model."""
        return [e for e in self.exchanges if e.method == "POST" and "count_tokens" not in e.path]

    def add(self, exchange: Exchange):
        with self.lock:
            self.exchanges.append(exchange)
            number = len(self.exchanges)
        if self.folder:
            kept = {name: getattr(exchange, name) for name in ("method", "path", "headers", "bytes", "body")}
            (self.folder / f"{number:03}.json").write_text(json.dumps({**self.about, **kept}, ensure_ascii=False))


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    proxy: Proxy

    def handle_error(self, *_):
        pass  # clients leave


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_):
        pass

    def read_body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def forward(self):
        body = self.read_body()
        exchange = Exchange(
            self.command,
            self.path,
            list(self.headers.items()),
            json.loads(body) if body else None,
            len(body),
            time.monotonic(),
        )
        self.server.proxy.add(exchange)
        upstream = http.client.HTTPConnection(self.server.proxy.upstream.netloc, timeout=3600)
        try:
            headers = {key: value for key, value in exchange.headers if key.lower() not in HOP}
            upstream.request(self.command, self.path, body or None, headers)
            self.give_back(upstream.getresponse(), exchange)
        finally:
            upstream.close()

    def give_back(self, response: http.client.HTTPResponse, exchange: Exchange):
        exchange.status, exchange.content_type = response.status, response.getheader("content-type", "")
        self.send_response_only(response.status)
        for key, value in response.getheaders():
            if key.lower() not in HOP:
                self.send_header(key, value)
        bodiless = self.command == "HEAD" or response.status in (204, 304)
        self.send_header(*(("content-length", "0") if bodiless else ("transfer-encoding", "chunked")))
        self.end_headers()
        while not bodiless and (piece := response.read1(65536)):
            exchange.pieces.append((time.monotonic() - exchange.begun, piece))
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
        if not bodiless:
            self.wfile.write(b"0\r\n\r\n")
        exchange.ended = True

    do_GET = do_POST = do_HEAD = do_DELETE = forward

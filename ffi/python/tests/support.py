"""What the tests share: an upstream on a real socket, and configs."""

from __future__ import annotations

import http.server
import threading
import time
import urllib.parse
import urllib.request
from types import TracebackType
from typing import Any, Dict, List, Optional, Tuple, Type

import weir


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "Upstream"

    def _answer(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(url.query)
        body = self._body()
        self.server.seen.append((self.command, self.path, body))
        time.sleep(float(query.get("sleep", ["0"])[0]))
        answer = body or f"{self.server.name}:{url.path}".encode()
        self.send_response(200)
        self.send_header("x-method", self.command)
        self.send_header("x-given", self.headers.get("x-given", ""))
        self.send_header("set-cookie", "a=1")
        self.send_header("set-cookie", "b=2")
        if "chunks" in query:
            self.send_header("transfer-encoding", "chunked")
            self.send_header("trailer", "x-sum")
            self.end_headers()
            for _ in range(int(query["chunks"][0])):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(answer), answer))
            self.wfile.write(b"0\r\nx-sum: all\r\n\r\n")
            return
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PUT = _answer

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        body = b""
        while True:
            size = int(self.rfile.readline(), 16)
            body += self.rfile.read(size)
            self.rfile.readline()
            if size == 0:
                return body

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Upstream(http.server.ThreadingHTTPServer):
    """Answers with its name and the path, or with the body that came. `?sleep=0.1` waits, `?chunks=3` answers in pieces."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, name: str = "upstream") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.name = name
        self.seen: List[Tuple[str, str, bytes]] = []
        self.at = f"127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def __exit__(
        self,
        kind: Optional[Type[BaseException]] = None,
        fault: Optional[BaseException] = None,
        trace: Optional[TracebackType] = None,
    ) -> None:
        self.shutdown()
        self.server_close()


def get(url: str) -> bytes:
    """A GET by urllib, on a connection of its own."""
    with urllib.request.urlopen(url, timeout=20) as response:
        body: bytes = response.read()
        return body


def manager(config: Dict[str, Any]) -> Dict[str, Any]:
    """The connection manager of what `weir.forward` made."""
    chain = config["static_resources"]["listeners"][0]["filter_chains"][0]
    found: Dict[str, Any] = chain["filters"][0]["typed_config"]
    return found


def answering(text: str) -> Dict[str, Any]:
    """A config that answers by itself."""
    config = weir.forward("127.0.0.1:1")
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": text}}}
    manager(config)["route_config"]["virtual_hosts"][0]["routes"] = [route]
    return config

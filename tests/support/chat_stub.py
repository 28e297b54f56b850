"""An OpenAI-compatible server that misbehaves on request: real sockets, one behaviour a request."""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Behaviour = Callable[["Handler"], None]


class Stub:
    """What the server does, request by request (the last behaviour again and again), and what it was asked."""

    def __init__(self, *behaviours: Behaviour) -> None:
        self.behaviours = list(behaviours)
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        self.over = threading.Event()  # lets stalled requests go when the test ends
        self.url = ""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stub: Stub
    asked: dict[str, Any]

    def do_POST(self) -> None:
        self.asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        stub = self.stub
        with stub.lock:
            behaviour = stub.behaviours[min(len(stub.requests), len(stub.behaviours) - 1)]
            stub.requests.append(self.asked)
            stub.headers.append({name.title(): value for name, value in self.headers.items()})
            stub.at_once += 1
            stub.most_at_once = max(stub.most_at_once, stub.at_once)
        try:
            behaviour(self)
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            with stub.lock:
                stub.at_once -= 1

    def send(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    @property
    def system(self) -> str:
        return self.asked["messages"][0]["content"]

    @property
    def material(self) -> str:
        return self.asked["messages"][1]["content"]

    @property
    def ticket(self) -> str:
        return re.search(r'the word "(\w+)"', self.system)[1]

    def section(self, name: str) -> str:
        """What a judge that goes by the fences finds in a section."""
        return self.material.split(f"<{name} {self.ticket}>\n")[1].split(f"\n</{name} {self.ticket}>")[0]

    def log_message(self, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # of 5, a busy machine loses connections, which are then tried again after up to 31 seconds


def says(text: str | Callable[[Handler], str]) -> Behaviour:
    """Answer with a chat completion."""

    def behave(handler: Handler) -> None:
        content = text if isinstance(text, str) else text(handler)
        usage = {"prompt_tokens": 100, "completion_tokens": 10}
        handler.send(json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}], "usage": usage}).encode())

    return behave


def verdict(**fields: Any) -> Behaviour:
    """Answer with a verdict that carries the right ticket."""
    return says(lambda handler: json.dumps({"ticket": handler.ticket, "analysis": "so it is", **fields}))


def fails(status: int, **headers: str) -> Behaviour:
    return lambda handler: handler.send(b'{"error": "no"}', status, **headers)


def sends(body: bytes) -> Behaviour:
    return lambda handler: handler.send(body)


def stalls(handler: Handler) -> None:
    handler.stub.over.wait(20)


def drips(handler: Handler) -> None:
    """A byte now and then: never silent for long, never done."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    while not handler.stub.over.wait(0.05):
        handler.wfile.write(b" ")
        handler.wfile.flush()


def resets(handler: Handler) -> None:
    """RST instead of an answer."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def slowly(behaviour: Behaviour, seconds: float) -> Behaviour:
    def behave(handler: Handler) -> None:
        time.sleep(seconds)
        behaviour(handler)

    return behave


@contextmanager
def serving(*behaviours: Behaviour) -> Iterator[Stub]:
    stub = Stub(*behaviours)
    server = Server(("127.0.0.1", 0), type("Bound", (Handler,), {"stub": stub}))
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a torn connection is what some tests are about
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    stub.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield stub
    finally:
        stub.over.set()
        server.shutdown()
        server.server_close()

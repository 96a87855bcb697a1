"""A chat completion endpoint on the loopback interface that does what it is told, also wrong.

Each request takes the next of the planned replies; the last one repeats.
"""

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

JSON_TYPE = "application/json"


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    path: str
    headers: Mapping[str, str]
    body: str

    @property
    def document(self) -> dict[str, Any]:
        """What was sent."""
        return json.loads(self.body)


Plan = Callable[["Handler"], None]


@dataclass
class ModelServer:
    """What is planned, and what was asked."""

    url: str
    plans: Sequence[Plan] = ()
    asked: list[Asked] = field(default_factory=list[Asked])
    ended: threading.Event = field(default_factory=threading.Event)
    turn: threading.Lock = field(default_factory=threading.Lock)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    body = ""
    server: "Server"  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        self.body = body = self.rfile.read(int(self.headers["content-length"])).decode()
        place = self.server.place
        with place.turn:
            plan = place.plans[min(len(place.asked), len(place.plans) - 1)]
            place.asked.append(
                Asked(
                    self.path, {name.lower(): value for name, value in self.headers.items()}, body
                )
            )
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            plan(self)

    def reply(
        self, content: bytes, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        """A whole reply."""
        self.send_response(status)
        self.send_header("content-type", JSON_TYPE)
        self.send_header("content-length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its signature
        """Quiet."""


class Server(ThreadingHTTPServer):
    """Knows its place."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    place: ModelServer


def completion(
    content: str | None,
    tokens: tuple[int, int] | None = (100, 20),
    refusal: str | None = None,
    finish_reason: str = "stop",
) -> dict[str, Any]:
    """A chat completion as a provider writes it."""
    said: dict[str, Any] = {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish_reason,
                "message": {"role": "assistant", "content": content, "refusal": refusal},
            }
        ],
    }
    if tokens is not None:
        tokens_in, tokens_out = tokens
        said["usage"] = {
            "prompt_tokens": tokens_in,
            "completion_tokens": tokens_out,
            "total_tokens": tokens_in + tokens_out,
        }
    return said


def says(content: str | None, **how: Any) -> Plan:
    """A completion."""
    return lambda handler: handler.reply(json.dumps(completion(content, **how)).encode())


def raw(content: bytes) -> Plan:
    """Any body, with status 200."""
    return lambda handler: handler.reply(content)


def status(code: int, message: str = "no", **headers: str) -> Plan:
    """An error; `retry_after` becomes its header."""
    body = json.dumps({"error": {"code": code, "message": message}}).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler: handler.reply(body, code, named)


def hangs(handler: Handler) -> None:
    """Never answers."""
    handler.server.place.ended.wait(30)
    handler.close_connection = True


def drips(handler: Handler) -> None:
    """A valid reply, a byte at a time, for ever."""
    handler.send_response(200)
    handler.send_header("content-type", JSON_TYPE)
    handler.send_header("content-length", "100000")
    handler.end_headers()
    while not handler.server.place.ended.is_set():
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.05)
    handler.close_connection = True


def resets(handler: Handler) -> None:
    """Takes the request, then the connection is gone."""
    now = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
    handler.connection.close()
    handler.close_connection = True


def truncates(handler: Handler) -> None:
    """Less of a body than the header promised."""
    content = json.dumps(completion('{"verdict": "yes"}')).encode()
    handler.send_response(200)
    handler.send_header("content-type", JSON_TYPE)
    handler.send_header("content-length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content[: len(content) // 2])
    handler.wfile.flush()
    handler.close_connection = True


@contextlib.contextmanager
def model_server() -> Iterator[ModelServer]:
    """Runs until the end of the block."""
    server = Server(("127.0.0.1", 0), Handler)
    server.place = ModelServer(f"http://127.0.0.1:{server.server_address[1]}/v1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.place
    finally:
        server.place.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()

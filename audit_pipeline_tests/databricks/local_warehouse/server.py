"""The HTTPS front of the local warehouse: Thrift, chunks, OAuth, jobs, volumes, control."""

import contextlib
import json
import re
import secrets
import socket
import ssl
import struct
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from databricks.sql.thrift_api.TCLIService import TCLIService
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.transport.TTransport import TMemoryBuffer

from audit_pipeline_tests.databricks.local_warehouse.certificate import make_certificates
from audit_pipeline_tests.databricks.local_warehouse.engine import Engine, load_folder
from audit_pipeline_tests.databricks.local_warehouse.faults import PIECES, Fault, Faults
from audit_pipeline_tests.databricks.local_warehouse.jobs import LocalJobs
from audit_pipeline_tests.databricks.local_warehouse.journal import Entry, Journal
from audit_pipeline_tests.databricks.local_warehouse.oauth import OAuth
from audit_pipeline_tests.databricks.local_warehouse.thrift_service import ThriftService
from audit_pipeline_tests.databricks.local_warehouse.volumes import Volumes

HTTP_PATH = "/sql/1.0/warehouses/local"
JSON_TYPE = "application/json"
_REST = re.compile(r"/api/2\.\d/(?:jobs/(?=runs/)|(?=clusters/|workspace/))")
"""Of the requests that `LocalJobs` answers, what is before their names."""


class WarehouseServer:
    """A warehouse on a free port of the loopback interface.

    Args:
        engine: where statements run. Closing it is the caller's.
        folder: where the certificates and `identity.json` are written, or found: so a process that
            starts there again is the same warehouse to its clients. The
            volumes are there too.
    """

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        identity = folder / "identity.json"
        known: dict[str, Any] = json.loads(identity.read_text()) if identity.exists() else {}
        self.ca_file, server_file = folder / "ca.pem", folder / "server.pem"
        if not known:
            make_certificates(folder)
        self.token: str = known.get("token") or "dapi" + secrets.token_hex(16)
        self.control_token: str = known.get("control_token") or secrets.token_hex(16)
        self.client_id = "local-principal"
        self.client_secret: str = known.get("client_secret") or secrets.token_hex(16)
        self.faults, self.journal = Faults(), Journal()
        self._http = _Server(("127.0.0.1", known.get("port", 0)), _Handler)
        self._http.warehouse = self
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(server_file)
        # the handshake waits for the connection's own thread: a slow client delays nobody else
        self._http.socket = context.wrap_socket(
            self._http.socket, server_side=True, do_handshake_on_connect=False
        )
        self.port: int = self._http.server_address[1]
        self.url = f"https://127.0.0.1:{self.port}"
        self.oauth = OAuth(self.url, self.client_id, self.client_secret)
        self.thrift = ThriftService(engine, self.faults, self.journal, self.url)
        self.jobs, self.volumes = LocalJobs(), Volumes(folder / "Volumes")
        identity.touch(mode=0o600)
        identity.write_text(json.dumps(self.described()))

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.faults.clear()
        self.jobs.close()
        self._http.shutdown()
        self._http.server_close()
        self.thrift.close()

    def described(self) -> dict[str, object]:
        """What a client must know, for JSON."""
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "http_path": HTTP_PATH,
            "ca_file": str(self.ca_file),
            "token": self.token,
            "control_token": self.control_token,
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "volume": str(self.volumes.volume),
        }

    def control(self, action: str, body: dict[str, Any]) -> object:
        """What the test says to the warehouse.

        Raises:
            ValueError: there is no such action, or it makes no sense.
        """
        if action == "fault":
            self.faults.arm(body)
        elif action == "clear":
            self.faults.clear()
            self.journal.clear()
        elif action == "log":
            return self.journal.read()
        elif action == "drop-sessions":
            return {"dropped": self.thrift.drop_sessions()}
        elif action == "revoke-tokens":
            self.oauth.revoke()
        elif action == "cluster":
            self.jobs.clusters[body["cluster_id"]] = body["env"]
            self.jobs.secrets.update(body["secrets"])
        elif action == "jobs":
            return self.jobs.submitted()
        elif action == "limits":
            return self._limited(body)
        elif action == "load":
            return {"tables": load_folder(self.engine, Path(body["folder"]))}
        else:
            raise ValueError(f"no such action: {action}")
        return {}

    def _limited(self, limits: dict[str, float]) -> dict[str, object]:
        before = dict(vars(self.thrift.limits))
        for name, value in limits.items():
            if name not in before:
                raise ValueError(f"no limit is called {name}")
            setattr(self.thrift.limits, name, value)
        return before


class _Server(ThreadingHTTPServer):
    """Knows its warehouse."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    warehouse: WarehouseServer

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that do not trust the certificate, or hang up, are expected."""


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    # a whole reply in one write: with one for each header line, acknowledgements are waited for
    wbufsize = -1
    disable_nagle_algorithm = True
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its signature
        """Quiet."""

    def do_GET(self) -> None:
        self._answer(b"")

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def do_PUT(self) -> None:
        self.do_POST()

    def do_DELETE(self) -> None:
        self.do_POST()

    def _answer(self, body: bytes) -> None:
        path = urllib.parse.urlsplit(self.path).path
        if path.startswith("/control/"):
            self._control(path.removeprefix("/control/"), body)
            return
        warehouse = self.server.warehouse
        entry = Entry(_name_of(path, body), len(body), self.headers.get("User-Agent") or "")
        warehouse.journal.request(entry)
        cleared = warehouse.faults.cleared
        fault = warehouse.faults.due(entry.request, body) or Fault(on="", kind="delay")
        if fault.kind == "status":
            self._send(entry, fault.status, b"", fault.headers)
            return
        if fault.kind == "hang":
            cleared.wait()
        if fault.kind in ("hang", "reset_before"):
            self._reset()
            return
        if fault.kind == "delay":
            time.sleep(fault.seconds)
        reply = self._reply(path, body)
        if fault.kind == "reset_after":
            self._reset()
        else:
            self._send(entry, *reply, fault=fault)

    def _reply(self, path: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        warehouse = self.server.warehouse
        if path.startswith("/chunks/"):
            # such a link carries its own right, and no token
            chunk = warehouse.thrift.chunks.get(path)
            return (404, b"", {}) if chunk is None else (200, chunk, {})
        if path == "/oidc/.well-known/oauth-authorization-server":
            return _as_json(*warehouse.oauth.discovery())
        if path == "/oidc/v1/token":
            return _as_json(*warehouse.oauth.token(self.headers.get("Authorization") or "", body))
        if not self._is_allowed():
            said = "Invalid access token."
            headers = {"x-databricks-reason-phrase": said, "x-thriftserver-error-message": said}
            return 403, b"", headers
        if path.startswith("/api/2.0/connector-service/feature-flags/"):
            return _as_json(200, {"flags": [], "ttl_seconds": 900})
        if path == HTTP_PATH:
            return 200, _thrift(warehouse.thrift, body), {"Content-Type": "application/x-thrift"}
        if path.startswith("/api/2.0/fs/"):
            return _rest(*warehouse.volumes.answer(self.command, path, body))
        if _REST.match(path):
            query = urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query)
            asked = json.loads(body) if body else dict(query)
            return _rest(*warehouse.jobs.answer(_REST.sub("", path), asked))
        return _as_json(404, {"error_code": "ENDPOINT_NOT_FOUND", "message": f"No API for {path}"})

    def _is_allowed(self) -> bool:
        scheme, _, token = (self.headers.get("Authorization") or "").partition(" ")
        warehouse = self.server.warehouse
        ours = secrets.compare_digest(token.encode(), warehouse.token.encode())
        return scheme == "Bearer" and (ours or warehouse.oauth.gave(token))

    def _control(self, action: str, body: bytes) -> None:
        warehouse = self.server.warehouse
        entry = Entry("control", len(body), "")
        if self.headers.get("Authorization") != f"Bearer {warehouse.control_token}":
            self._send(entry, 403, b"", {})
            return
        try:
            status, said = 200, warehouse.control(action, json.loads(body or b"{}"))
        except Exception as error:  # noqa: BLE001 - the test is told what it did wrong
            status, said = 400, {"error": f"{type(error).__name__}: {error}"}
        self._send(entry, *_as_json(status, said))

    def _send(
        self,
        entry: Entry,
        status: int,
        content: bytes,
        headers: dict[str, str],
        fault: Fault | None = None,
    ) -> None:
        kind = fault.kind if fault else ""
        truncated = kind == "truncate"
        sent = content[: len(content) // 2] if truncated else content
        # before it is sent: whoever has the reply may look into the journal at once
        entry.status, entry.sent_bytes = status, len(sent)
        self.close_connection = self.close_connection or truncated
        with contextlib.suppress(OSError):  # whoever asked may be gone
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.flush()
            size = -(-len(sent) // PIECES) if fault and kind == "drip" else len(sent)
            for start in range(0, len(sent), max(size, 1)):
                if fault and kind == "drip":
                    time.sleep(fault.seconds)
                self.wfile.write(sent[start : start + size])
                self.wfile.flush()

    def _reset(self) -> None:
        # closed with a linger of 0 seconds, a connection is reset instead of shut down
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True


def _name_of(path: str, body: bytes) -> str:
    """The name of a request, as `Fault.on` has it."""
    if path == HTTP_PATH:
        with contextlib.suppress(Exception):
            return str(_protocol(body).readMessageBegin()[0])
    if path.startswith("/chunks/"):
        return f"CloudFetch/{path.rpartition('/')[2]}"
    if _REST.match(path):
        return "Jobs/" + _REST.sub("", path).removeprefix("runs/")
    if path.startswith("/api/2.0/fs/"):
        return "Volumes"
    if path.startswith("/oidc/"):
        return "OAuthToken" if path.endswith("/token") else "OAuthDiscovery"
    return "FeatureFlags" if "/feature-flags/" in path else "unknown"


def _protocol(body: bytes = b"") -> TBinaryProtocol:
    # thrift's own limit of 15 MiB for a text is too small for a statement with many rows in it
    return TBinaryProtocol(
        TMemoryBuffer(body), string_length_limit=None, container_length_limit=None
    )


def _thrift(service: ThriftService, body: bytes) -> bytes:
    reply = TMemoryBuffer()
    TCLIService.Processor(service).process(_protocol(body), TBinaryProtocol(reply))
    return reply.getvalue()


def _rest(status: int, said: object) -> tuple[int, bytes, dict[str, str]]:
    if isinstance(said, bytes):
        return status, said, {"Content-Type": "application/octet-stream"}
    return _as_json(status, said)


def _as_json(status: int, said: object) -> tuple[int, bytes, dict[str, str]]:
    return status, json.dumps(said).encode(), {"Content-Type": JSON_TYPE}

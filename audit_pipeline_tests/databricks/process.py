"""A local warehouse as a test sees it: a process to start, to break and to look into."""

import json
import ssl
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

START_SECONDS_MAX = 120
STOP_SECONDS_MAX = 20
CONTROL_SECONDS_MAX = 120
ROOT = Path(__file__).parents[2]

QUICK_RETRIES = {
    # the connector bounds the maximum to 5 seconds at least, and sleeps that long after a 503
    "_retry_delay_min": 0.1,
    "_retry_delay_max": 5.0,
    "_retry_stop_after_attempts_count": 3,
    "_retry_stop_after_attempts_duration": 30.0,
}


class WarehouseDidNotStart(Exception):
    """The process ended, or was ended, before it said where it listens; its own words follow."""


@dataclass(frozen=True)
class ConnectionSettings:
    """What a client must know. `host` has no port; `ca_file` signs the server's certificate."""

    host: str
    port: int
    http_path: str
    token: str
    ca_file: str
    client_id: str
    client_secret: str

    @property
    def url(self) -> str:
        """Of the workspace."""
        return f"https://{self.host}:{self.port}"

    def connect_arguments(self, **more: Any) -> dict[str, Any]:
        """For `databricks.sql.connect`; `more` replaces what is given here.

        Without telemetry: asking whether it may send any takes the connector half a minute when
        nobody answers on port 443.
        """
        return {
            "server_hostname": self.host,
            "http_path": self.http_path,
            "access_token": self.token,
            "enable_telemetry": False,
            "_port": self.port,
            "_tls_trusted_ca_file": self.ca_file,
            **QUICK_RETRIES,
            **more,
        }


class LocalWarehouse:
    """`with LocalWarehouse("duckdb") as warehouse:` a process that ends with the block.

    Args:
        engine: duckdb, spark or sail.
        data: a folder of `<schema>/<table>.parquet`, to be the tables of catalog `main`.
        home: a folder to keep its port, its tokens and its certificate in: for `start_again`.

    Raises:
        WarehouseDidNotStart: on entering the block.
    """

    def __init__(
        self, engine: str = "duckdb", data: Path | None = None, home: Path | None = None
    ) -> None:
        self.engine = engine
        self._data, self._home = data, home
        self._process: subprocess.Popen[str] | None = None
        self._said: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._start()
        return self

    def kill(self) -> None:
        """End it as a crash does; its tables in memory are lost."""
        assert self._process is not None
        self._process.kill()
        self._stop()
        self._errors.close()

    def start_again(self) -> None:
        """After `kill`: another process under the same address; whoever was let in still is."""
        self._start()

    def _start(self) -> None:
        module = "audit_pipeline_tests.databricks.local_warehouse"
        command = [sys.executable, "-m", module, "--engine", self.engine]
        if self._data is not None:
            command += ["--data", str(self._data)]
        if self._home is not None:
            command += ["--home", str(self._home)]
        # to a file and not to a pipe, which would fill and stop the process when nobody reads
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 — closed when the process has ended
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        assert self._process.stdout is not None
        too_late = threading.Timer(START_SECONDS_MAX, self._process.kill)
        too_late.start()
        line = self._process.stdout.readline()
        too_late.cancel()
        if not line.startswith("{"):
            self._stop()
            self._errors.seek(0)
            words = self._errors.read()
            self._errors.close()
            raise WarehouseDidNotStart(f"{' '.join(command)}\n{line}{words}")
        self._said = json.loads(line)
        trust = ssl.create_default_context(cafile=self._said["ca_file"])
        # loopback only: no proxy that the environment names
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust)
        )

    def __exit__(self, *_: object) -> None:
        self._stop()
        self._errors.close()

    def _stop(self) -> None:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def settings(self) -> ConnectionSettings:
        """Where it is and who may come in."""
        known = {name: self._said[name] for name in ConnectionSettings.__dataclass_fields__}
        return ConnectionSettings(**known)

    def fault(self, on: str, kind: str = "status", **how: Any) -> None:
        """Order a fault: the attributes of `local_warehouse.faults.Fault`."""
        self._control("fault", {"on": on, "kind": kind, **how})

    def clear(self) -> None:
        """No faults any more, and an empty log."""
        self._control("clear")

    def log(self) -> dict[str, Any]:
        """Since the last `clear`: `requests` (dictionaries), `statements`, `bytes_sent`."""
        return self._control("log")

    def requests(self) -> list[str]:
        """The names of the requests since the last `clear`, in order."""
        return [entry["request"] for entry in self.log()["requests"]]

    def statements(self) -> list[str]:
        """The statements since the last `clear`, in order, a repeated one as often as it came."""
        return self.log()["statements"]

    def bytes_sent(self) -> dict[str, int]:
        """Bytes of the replies' bodies by kind of request, since the last `clear`."""
        return self.log()["bytes_sent"]

    def load(self, folder: Path) -> int:
        """Put the files `<folder>/<schema>/<table>.parquet` in place as tables.

        Returns:
            The number of tables.
        """
        return self._control("load", {"folder": str(folder)})["tables"]

    def drop_sessions(self) -> int:
        """Forget the sessions, as if they had been idle for too long; how many there were."""
        return self._control("drop-sessions")["dropped"]

    def revoke_tokens(self) -> None:
        """Let the OAuth tokens given so far hold no more."""
        self._control("revoke-tokens")

    @property
    def volume(self) -> str:
        """A folder that both clients and jobs can write to."""
        return str(self._said["volume"])

    def cluster(
        self, cluster_id: str, env: dict[str, str], secrets: dict[str, str] | None = None
    ) -> None:
        """Let there be a cluster with this environment, and these secrets for new ones."""
        self._control("cluster", {"cluster_id": cluster_id, "env": env, "secrets": secrets or {}})

    def jobs(self) -> list[dict[str, Any]]:
        """What was submitted, in order; each with its `state`."""
        return self._control("jobs")

    def limits(self, **limits: float) -> dict[str, Any]:
        """Set some of `thrift_service.Limits`; what they all were before."""
        return self._control("limits", limits)

    def _control(self, action: str, body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 - https to loopback
            f"{self.settings().url}/control/{action}",
            json.dumps(body or {}).encode(),
            {"Authorization": f"Bearer {self._said['control_token']}"},
        )
        try:
            with self._opener.open(request, timeout=CONTROL_SECONDS_MAX) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as refused:
            with refused:
                raise ValueError(f"{action}: {refused.read().decode()}") from None

"""The Jobs API as dagster-databricks asks it: a submitted Python file runs as a process.

A cluster is an environment. What a real one would have installed is this checkout, on PYTHONPATH.
"""

import os
import re
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audit_pipeline_tests.databricks.local_warehouse.volumes import Reply

ROOT = Path(__file__).parents[3]
CANCEL_SECONDS_MAX = 20
KEPT = ("HOME", "LANG", "PATH", "TMPDIR")


@dataclass
class LocalRun:
    """One submitted run, of one task."""

    run_id: int
    asked: dict[str, Any]
    process: "subprocess.Popen[str] | None" = None
    cannot: str = ""
    cancelled: bool = False
    said: Any = field(default_factory=lambda: tempfile.TemporaryFile("w+"))  # noqa: SIM115 - `close` closes it

    def state(self) -> dict[str, str]:
        """As `runs/get` has it."""
        if self.cannot:
            said = f"Task failed: {self.cannot}"
            return {"life_cycle_state": "INTERNAL_ERROR", "result_state": "FAILED"} | {
                "state_message": said
            }
        if self.process is None or self.process.poll() is None:
            return {"life_cycle_state": "RUNNING", "state_message": "In run"}
        ended = {"life_cycle_state": "TERMINATED"}
        if self.cancelled:
            return {**ended, "result_state": "CANCELED", "state_message": "Run cancelled."}
        if self.process.returncode:
            said = "Task failed with an error. See its output for details."
            return {**ended, "result_state": "FAILED", "state_message": said}
        return {**ended, "result_state": "SUCCESS", "state_message": ""}

    def trace(self) -> str:
        """What it wrote to its standard error."""
        self.said.seek(0)
        return self.said.read()


class LocalJobs:
    """Runs, and the clusters on which they run.

    Attributes:
        clusters: id → environment.
        secrets: `scope/key` → what `{{secrets/scope/key}}` in a new cluster's environment is.
    """

    def __init__(self) -> None:
        self.clusters: dict[str, dict[str, str]] = {}
        self.secrets: dict[str, str] = {}
        self._runs: dict[int, LocalRun] = {}
        self._tokens: dict[str, int] = {}
        self._lock = threading.Lock()

    def submitted(self) -> list[dict[str, Any]]:
        """Each run's submission, in order, with the state that it is in."""
        return [{**run.asked, "state": run.state()} for run in self._runs.values()]

    def close(self) -> None:
        """End what runs."""
        for run in self._runs.values():
            self._end(run)
            run.said.close()

    def answer(self, action: str, asked: dict[str, Any]) -> Reply:
        """The reply to `runs/…`, `clusters/get` or `workspace/get-status`."""
        if action == "clusters/get":
            cluster_id = str(asked.get("cluster_id"))
            if cluster_id not in self.clusters:
                return _refused(f"Cluster {cluster_id} does not exist")
            return 200, {"cluster_id": cluster_id, "state": "RUNNING"}
        if action == "workspace/get-status":
            if not Path(str(asked.get("path"))).is_file():
                return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "No such path."}
            return 200, {"path": asked["path"], "object_type": "FILE"}
        if action == "runs/submit":
            return self._submit(asked)
        run = self._runs.get(int(asked.get("run_id") or 0))
        if run is None:
            return _refused(f"Run {asked.get('run_id')} does not exist.")
        if action == "runs/cancel":
            run.cancelled = True
            self._end(run)
            return 200, {}
        if action == "runs/get-output":
            trace = run.trace()
            last = trace.strip().splitlines()[-1:]
            return 200, {"error": "".join(last), "error_trace": trace}
        if action != "runs/get":
            return 404, {"error_code": "ENDPOINT_NOT_FOUND", "message": f"No API for {action}"}
        kind = "CLIENT_ERROR" if run.cannot else "SUCCESS"
        return 200, {
            "run_id": run.run_id,
            "run_page_url": f"https://127.0.0.1/#job/{run.run_id}",
            "state": run.state(),
            "status": {"termination_details": {"type": kind, "message": run.cannot}},
            "tasks": [{"task_key": run.asked["tasks"][0]["task_key"], "run_id": run.run_id}],
        }

    def _submit(self, asked: dict[str, Any]) -> Reply:
        (task,) = asked["tasks"]
        cluster_id, new = task.get("existing_cluster_id"), task.get("new_cluster")
        if (cluster_id is None) == (new is None):
            return _refused("Exactly one of existing_cluster_id and new_cluster must be given")
        if new is None and cluster_id not in self.clusters:
            return _refused(f"Cluster {cluster_id} does not exist")
        with self._lock:
            token = str(asked.get("idempotency_token") or len(self._runs))
            if token in self._tokens:
                return 200, {"run_id": self._tokens[token]}
            run = LocalRun(len(self._runs) + 1001, asked)
            self._runs[run.run_id] = run
            self._tokens[token] = run.run_id
        env = self.clusters[cluster_id] if new is None else self._filled(new)
        self._begin(run, task["spark_python_task"], env)
        return 200, {"run_id": run.run_id}

    def _filled(self, cluster: dict[str, Any]) -> dict[str, str]:
        """A new cluster's environment, with the secrets that it names."""
        return {
            name: re.sub(r"\{\{secrets/(.+?)\}\}", lambda found: self.secrets[found[1]], value)
            for name, value in cluster.get("spark_env_vars", {}).items()
        }

    def _begin(self, run: LocalRun, task: dict[str, Any], env: dict[str, str]) -> None:
        file = task["python_file"]
        if not Path(file).is_file():
            run.cannot = f"Cannot read the python file {file}."
            return
        clean = {name: os.environ[name] for name in KEPT if name in os.environ}
        run.process = subprocess.Popen(
            [sys.executable, file, *task.get("parameters", [])],
            env={**clean, "PYTHONPATH": str(ROOT), **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=run.said,
            text=True,
        )

    def _end(self, run: LocalRun) -> None:
        if run.process is not None and run.process.poll() is None:
            run.process.kill()
            run.process.wait(CANCEL_SECONDS_MAX)


def _refused(message: str) -> Reply:
    return 400, {"error_code": "INVALID_PARAMETER_VALUE", "message": message}

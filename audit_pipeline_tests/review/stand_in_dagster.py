"""What answers as Dagster's web server does, to the questions that the desk asks."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def run(job_id: str, status: str, done: int = 0, busy: str | None = None) -> dict[str, Any]:
    """A run of four steps, as Dagster tells of it."""
    stats = [{"stepKey": f"s{n}", "status": "SUCCESS", "startTime": 1.0} for n in range(done)]
    if busy:
        stats.append({"stepKey": busy, "status": "IN_PROGRESS", "startTime": 2.0})
    return {
        "__typename": "Run",
        "runId": job_id,
        "status": status,
        "pipelineName": "daily_audit",
        "creationTime": 1_740_000_000.5,
        "startTime": None if status == "QUEUED" else 1_740_000_001.0,
        "endTime": None,
        "tags": [{"key": "dagster/partition", "value": "2025-02-01"}],
        "executionPlan": None
        if status == "QUEUED"
        else {"steps": [{"key": f"s{n}"} for n in range(4)]},
        "stepStats": stats,
    }


@dataclass
class StandIn:
    """Answers as Dagster does.

    Attributes:
        asked: every question: the name of the operation and its variables.
        spoils: of an operation, what is answered instead: (HTTP status, body).
    """

    runs: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    asked: list[tuple[str, dict[str, Any]]] = field(
        default_factory=list[tuple[str, dict[str, Any]]]
    )
    spoils: dict[str, tuple[int, bytes]] = field(default_factory=dict[str, tuple[int, bytes]])
    has_audit: bool = True

    def answer(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        """What is said to an operation."""
        unknown = {"__typename": "RunNotFoundError", "message": "no such run"}
        match name:
            case "Places":
                known = [{"name": "daily_audit"}] if self.has_audit else []
                node = {"name": "__repository__", "location": {"name": "here"}, "jobs": known}
                said = {"__typename": "RepositoryConnection", "nodes": [node]}
                return {"repositoriesOrError": said}
            case "Launch":
                made = run("new-run", "QUEUED")
                made["tags"] = given["params"]["executionMetadata"]["tags"]
                self.runs["new-run"] = made
                said = {"__typename": "LaunchRunSuccess", "run": {"runId": "new-run"}}
                return {"launchRun": said}
            case "Job":
                return {"runOrError": self.runs.get(given["id"], unknown)}
            case "Jobs":
                ids = [*self.runs]
                cursor = given["cursor"]
                first = len(ids)  # after an unknown one there is nothing
                if cursor is None or cursor in ids:
                    first = ids.index(cursor) + 1 if cursor else 0
                some = [self.runs[one] for one in ids[first : first + given["limit"]]]
                return {"runsOrError": {"__typename": "Runs", "results": some}}
            case "Failures":
                failed = {
                    "__typename": "ExecutionStepFailureEvent",
                    "stepKey": "statements",
                    "failureMetadata": None,
                    "error": {
                        "message": "outer",
                        "errorChain": [{"error": {"message": "the\nbooks " + "x" * 900}}],
                    },
                }
                events = [{"__typename": "RunStartEvent"}, failed]
                return {"runOrError": {"__typename": "Run", "eventConnection": {"events": events}}}
            case "Cancel":
                self.runs[given["id"]]["status"] = "CANCELING"
                return {"terminateRun": {"__typename": "TerminateRunSuccess"}}
        raise AssertionError(name)


@contextmanager
def serving() -> Iterator[tuple[StandIn, str]]:
    """One, and its address."""
    stands_in = StandIn()

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name = asked["query"].split("(")[0].split("{")[0].split()[1]
            stands_in.asked.append((name, asked["variables"]))
            code, body = stands_in.spoils.get(name, (200, b""))
            if not body:
                said = stands_in.answer(name, asked["variables"])
                body = json.dumps({"data": said}).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield stands_in, f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()

"""Audits as Dagster runs: started, watched and cancelled by the GraphQL API of its web server.

A job's id is the id of its run, which is also the audit run's id in the store and in the trail.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

import requests

from audit_pipeline.model.errors import BadUsage, TransitionRefused

AUDIT_JOB = "daily_audit"
CONNECT_SECONDS_MAX, ANSWER_SECONDS_MAX = 2, 15
DAYS_MAX = 20_000
MESSAGE_CHARACTERS_MAX = 400
EVENTS_MAX = 1_000
"""How many events of a failed run are looked through for what failed."""


class DagsterUnavailable(Exception):
    """Dagster's web server cannot be reached, or cannot do what it is asked now."""


class JobUnknown(Exception):
    """No audit has this id."""


class JobStatus(StrEnum):
    """How far a job is."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def has_ended(self) -> bool:
        """Nothing of it changes any more."""
        return self not in (JobStatus.PENDING, JobStatus.PROCESSING)


STATUSES = {
    "QUEUED": JobStatus.PENDING,
    "NOT_STARTED": JobStatus.PENDING,
    "MANAGED": JobStatus.PENDING,
    "STARTING": JobStatus.PENDING,
    "STARTED": JobStatus.PROCESSING,
    "SUSPENDED": JobStatus.PROCESSING,
    "CANCELING": JobStatus.PROCESSING,
    "SUCCESS": JobStatus.COMPLETED,
    "FAILURE": JobStatus.FAILED,
    "CANCELED": JobStatus.CANCELLED,
}
"""Of Dagster's run statuses."""

RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
STARTED_BY, REQUEST, KIND = "audit/started_by", "audit/request", "audit/kind"


@dataclass(frozen=True)
class Job:
    """An audit, as far as Dagster knows. Instants are UTC.

    Attributes:
        steps_done: of `steps`, which is 0 before the run has a plan.
        at_work: the first step that is under way.
        started_by: the person who started it from the desk; None for others.
    """

    job_id: str
    status: JobStatus
    kind: str | None
    from_on: str | None
    to_on: str | None
    started_by: str | None
    steps: int
    steps_done: int
    at_work: str | None
    created_at: dt.datetime | None
    started_at: dt.datetime | None
    ended_at: dt.datetime | None
    error: str | None = None

    @property
    def percentage(self) -> int:
        """Steps done of the steps to do; 100 for a completed job only."""
        if self.status is JobStatus.COMPLETED:
            return 100
        return min(99, 100 * self.steps_done // self.steps) if self.steps else 0


_RUN = """
  runId status pipelineName creationTime startTime endTime
  tags { key value }
  executionPlan { steps { key } }
  stepStats { stepKey status startTime }
"""

_PLACES = """query Places { repositoriesOrError { __typename
  ... on RepositoryConnection { nodes { name location { name } jobs { name } } }
  ... on PythonError { message } } }"""

_LAUNCH = """mutation Launch($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } }
  ... on RunConfigValidationInvalid { errors { message } }
  ... on Error { message } } }"""

_JOB = f"""query Job($id: ID!) {{ runOrError(runId: $id) {{ __typename
  ... on Run {{ {_RUN} }} ... on Error {{ message }} }} }}"""

_JOBS = f"""query Jobs($job: String!, $cursor: String, $limit: Int!) {{
  runsOrError(filter: {{pipelineName: $job}}, cursor: $cursor, limit: $limit) {{ __typename
  ... on Runs {{ results {{ {_RUN} }} }} ... on Error {{ message }} }} }}"""

_FAILURES = """query Failures($id: ID!, $limit: Int!) { runOrError(runId: $id) { __typename
  ... on Run { eventConnection(limit: $limit) { events { __typename
    ... on ExecutionStepFailureEvent {
      stepKey failureMetadata { description } error { message errorChain { error { message } } } }
    ... on RunFailureEvent { message error { message } } } } }
  ... on Error { message } } }"""

_CANCEL = """mutation Cancel($id: String!) { terminateRun(runId: $id) { __typename
  ... on TerminateRunFailure { message } ... on Error { message } } }"""


class Dagster:
    """The web server at an address. Nothing is kept between two questions."""

    def __init__(self, url: str) -> None:
        self._url = url

    def start(
        self, kind: str, from_on: dt.date, to_on: dt.date, started_by: str, request_id: str
    ) -> str:
        """Start an audit of these days (inclusive) as one run; returns the job's id.

        Raises:
            BadUsage: these days cannot be audited.
            DagsterUnavailable: nobody is there, or nobody there knows the audit.
        """
        if from_on > to_on:
            raise BadUsage(f"from {from_on} is after to {to_on}")
        if (to_on - from_on).days >= DAYS_MAX:
            raise BadUsage(f"{from_on} to {to_on} is more than {DAYS_MAX:,} days")
        tags = {
            RANGE_START: from_on.isoformat(),
            RANGE_END: to_on.isoformat(),
            STARTED_BY: started_by,
            REQUEST: request_id,
            KIND: kind,
        }
        params = {
            "selector": self._place() | {"jobName": AUDIT_JOB},
            "executionMetadata": {
                "tags": [{"key": key, "value": value} for key, value in tags.items()]
            },
        }
        said = self._ask(_LAUNCH, {"params": params})["launchRun"]
        if said["__typename"] == "LaunchRunSuccess":
            return str(said["run"]["runId"])
        mistakes = [one["message"] for one in said.get("errors", ())]
        raise DagsterUnavailable(
            f"Dagster does not start the audit: {_line('; '.join(mistakes) or said.get('message'))}"
        )

    def job(self, job_id: str) -> Job:
        """How far an audit is.

        Raises:
            JobUnknown: there is no such run, or it is no audit.
            DagsterUnavailable: nobody is there.
        """
        run = self._ask(_JOB, {"id": job_id})["runOrError"]
        if run["__typename"] == "RunNotFoundError" or run.get("pipelineName") not in (
            None,
            AUDIT_JOB,
        ):
            raise JobUnknown(f"there is no job {job_id}")
        _refuse_error(run, "Run")
        error = None
        if STATUSES.get(run["status"]) is JobStatus.FAILED:
            error = self._why(job_id)
        return _job(run, error)

    def jobs(self, limit: int, cursor: str | None = None) -> list[Job]:
        """The audits, the newest first, without what failed in each.

        Args:
            cursor: the id of the last job of the page before.

        Raises:
            DagsterUnavailable: nobody is there.
        """
        asked = {"job": AUDIT_JOB, "cursor": cursor, "limit": limit}
        said = self._ask(_JOBS, asked)["runsOrError"]
        _refuse_error(said, "Runs")
        return [_job(run, None) for run in said["results"]]

    def cancel(self, job_id: str) -> Job:
        """Ask an audit to end; what it has written stays. Returns the job as it now is.

        Raises:
            JobUnknown: there is no such job.
            TransitionRefused: it has ended already.
            DagsterUnavailable: nobody is there.
        """
        before = self.job(job_id)
        if before.status.has_ended:
            raise TransitionRefused(f"job {job_id} is {before.status} already")
        said = self._ask(_CANCEL, {"id": job_id})["terminateRun"]
        if said["__typename"] != "TerminateRunSuccess":
            raise TransitionRefused(f"Dagster does not cancel it: {_line(said.get('message'))}")
        return self.job(job_id)

    def _place(self) -> dict[str, str]:
        said = self._ask(_PLACES, {})["repositoriesOrError"]
        _refuse_error(said, "RepositoryConnection")
        for node in said["nodes"]:
            if AUDIT_JOB in {job["name"] for job in node["jobs"]}:
                return {
                    "repositoryName": node["name"],
                    "repositoryLocationName": node["location"]["name"],
                }
        raise DagsterUnavailable(
            f"the Dagster at {self._shown} has no job {AUDIT_JOB}: its code location did not load"
        )

    def _why(self, job_id: str) -> str | None:
        """What failed first, in a line."""
        run = self._ask(_FAILURES, {"id": job_id, "limit": EVENTS_MAX})["runOrError"]
        events = run.get("eventConnection", {}).get("events", ())
        for event in events:
            if event["__typename"] == "ExecutionStepFailureEvent":
                return _line(f"{event['stepKey']}: {_cause(event)}")
        for event in events:
            if event["__typename"] == "RunFailureEvent":
                return _line((event["error"] or event)["message"])
        return None

    def _ask(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        try:
            answer = requests.post(
                f"{self._url}/graphql",
                json={"query": query, "variables": dict(variables)},
                timeout=(CONNECT_SECONDS_MAX, ANSWER_SECONDS_MAX),
                allow_redirects=False,
            )
            said = answer.json()
        except (requests.RequestException, ValueError) as fault:
            raise DagsterUnavailable(
                f"no Dagster answers at {self._shown}; start it with `make ui`, or name another in "
                "AUDIT_DAGSTER_URL"
            ) from fault
        data = said.get("data") if isinstance(said, dict) else None
        if answer.status_code != requests.codes.ok or not isinstance(data, dict):
            raise DagsterUnavailable(
                f"what answers at {self._shown} is not Dagster, or of another version "
                f"(HTTP {answer.status_code}); start it with `make ui`"
            )
        return data

    @property
    def _shown(self) -> str:
        address = urlsplit(self._url)
        return f"{address.scheme}://{address.netloc}"


def _job(run: Mapping[str, Any], error: str | None) -> Job:
    tags = {tag["key"]: tag["value"] for tag in run["tags"]}
    stats = run["stepStats"]
    done = {one["stepKey"] for one in stats if one["status"] in ("SUCCESS", "SKIPPED")}
    busy = [one for one in stats if one["status"] == "IN_PROGRESS"]
    first = min(busy, key=lambda one: one["startTime"] or 0, default={"stepKey": None})
    partition = tags.get("dagster/partition")
    return Job(
        job_id=run["runId"],
        status=STATUSES[run["status"]],
        kind=tags.get(KIND),
        from_on=tags.get(RANGE_START, partition),
        to_on=tags.get(RANGE_END, partition),
        started_by=tags.get(STARTED_BY),
        steps=len((run["executionPlan"] or {}).get("steps", ())),
        steps_done=len(done),
        at_work=first["stepKey"],
        created_at=_instant(run["creationTime"]),
        started_at=_instant(run["startTime"]),
        ended_at=_instant(run["endTime"]),
        error=error,
    )


def _instant(seconds: float | None) -> dt.datetime | None:
    return None if seconds is None else dt.datetime.fromtimestamp(seconds, dt.UTC)


def _cause(event: Mapping[str, Any]) -> str:
    """What the code said on purpose, else the deepest error."""
    described = (event["failureMetadata"] or {}).get("description")
    if described:
        return str(described)
    error = event["error"] or {"message": "", "errorChain": []}
    messages = [error["message"], *(link["error"]["message"] for link in error["errorChain"])]
    return str(messages[-1])


def _line(text: object) -> str:
    words = " ".join(str(text or "it does not say why").split())
    return words if len(words) <= MESSAGE_CHARACTERS_MAX else f"{words[:MESSAGE_CHARACTERS_MAX]}…"


def _refuse_error(said: Mapping[str, Any], expected: str) -> None:
    if said["__typename"] != expected:
        raise DagsterUnavailable(f"Dagster cannot say: {_line(said.get('message'))}")

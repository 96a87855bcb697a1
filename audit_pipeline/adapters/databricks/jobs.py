"""Heavy Python steps on a cluster: who asks, for what task, and what became of a run.

The SDK's errors are `OSError`s, which the run worker would try again: here they are told apart, as
those of the warehouse are, by who must act.
"""

import contextlib
import json
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from audit_pipeline.model.errors import (
    BadUsage,
    GoldUnreadable,
    RulesInvalid,
    WarehouseError,
    WarehouseRejected,
    WarehouseUnauthorised,
    WarehouseUnavailable,
)
from audit_pipeline.model.gold import Health
from audit_pipeline.model.workspace import Job, Workspace

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service.jobs import Run, SubmitTask

RETRY_SECONDS = 60
"""How long one request is tried again by the SDK; a step is tried again over half an hour."""
REPLY_SECONDS = 60
SAID_MAX = 1_000
"""Characters of what a job says; our own messages are shorter."""
TASK = "audit_heavy_step"
_NOT_AGAIN = (WarehouseRejected, BadUsage, GoldUnreadable, RulesInvalid)


def client_of(workspace: Workspace) -> "WorkspaceClient":
    """A client of the workspace's REST API, for who asks the warehouse too."""
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.core import Config

    who: dict[str, Any] = {"auth_type": "pat", "token": workspace.token}
    if workspace.client_id:
        who = {
            "auth_type": "oauth-m2m",
            "client_id": workspace.client_id,
            "client_secret": workspace.client_secret,
        }
    config = Config(
        host=f"https://{workspace.host}",
        retry_timeout_seconds=RETRY_SECONDS,
        http_timeout_seconds=REPLY_SECONDS,
        product=workspace.program,
        **who,
    )
    client = WorkspaceClient(config=config)
    if workspace.ca_file:
        _trust(client, workspace.ca_file)
    return client


def _trust(client: "WorkspaceClient", ca_file: str) -> None:
    """Let a client trust these certificates, also where the environment names others.

    The SDK has no setting for it, and a session's own loses to REQUESTS_CA_BUNDLE.
    """
    from requests.adapters import HTTPAdapter

    class Trusting(HTTPAdapter):
        def send(self, request: Any, *_: Any, **how: Any) -> Any:
            return super().send(request, **{**how, "verify": ca_file})

    client.api_client._api_client._session.mount("https://", Trusting())  # noqa: SLF001


def task_of(job: Job) -> "SubmitTask":
    """The task of one heavy step: the entry point on the cluster, without parameters."""
    from databricks.sdk.service.jobs import SubmitTask

    cluster: dict[str, object] = {"existing_cluster_id": job.cluster_id}
    if not job.cluster_id:
        cluster = {"new_cluster": json.loads(job.cluster)}
    entry_point: dict[str, object] = {"python_file": job.file, "parameters": []}
    return SubmitTask.from_dict({"task_key": TASK, "spark_python_task": entry_point, **cluster})


def submission(prefix: str, tables: Sequence[str]) -> dict[str, Any]:
    """What is said of a run: its name, and a token with which it begins once, if asked twice."""
    name = f"audit {', '.join(tables)}"
    return {"run_name": name, "idempotency_token": f"{prefix}_{secrets.token_hex(8)}"}


@contextmanager
def told_apart(workspace: Workspace) -> Iterator[None]:
    """Errors of the REST API as one of the three, each with its remedy."""
    from databricks.sdk import errors
    from databricks.sdk.core import DatabricksError

    try:
        yield
    except (errors.Unauthenticated, errors.PermissionDenied) as fault:
        raise WarehouseUnauthorised(
            f"Databricks does not let {workspace.who} run a job ({_short(fault)}). It needs "
            "CAN RESTART on the cluster, or the right to make one, and READ and WRITE VOLUME; "
            "docs/databricks.md lists the grants"
        ) from fault
    except (errors.BadRequest, errors.NotFound) as fault:
        raise WarehouseRejected(
            f"Databricks rejects a job ({_short(fault)}). DATABRICKS_JOB_CLUSTER_ID or "
            "DATABRICKS_JOB_CLUSTER, DATABRICKS_JOB_FILE and DATABRICKS_JOB_VOLUME must name "
            "what is there; `audit-pipeline databricks check` tries them"
        ) from fault
    except (DatabricksError, OSError) as fault:
        # The SDK's "timed out" has what it met the last time as its cause.
        raise _unavailable(_short(fault.__cause__ or fault), workspace) from fault


def cancel(client: "WorkspaceClient", run_id: int | None) -> None:
    """End a run that nobody waits for any more, and wait until it makes no tables."""
    from datetime import timedelta

    if run_id is None:
        return
    # What ended the waiting says more than a run that cannot be cancelled.
    with contextlib.suppress(OSError, RuntimeError):
        client.jobs.cancel_run(run_id)
        waiting = timedelta(seconds=RETRY_SECONDS)
        client.jobs.wait_get_run_job_terminated_or_skipped(run_id, timeout=waiting)


def fault_of(
    client: "WorkspaceClient", run_id: int, said: Mapping[str, object], workspace: Workspace
) -> Exception:
    """Why a run did not succeed.

    Args:
        client: to ask for the rest.
        run_id: of a run that has ended.
        said: the job's own last words, `fault` and `said`; empty where it could say nothing.
        workspace: for the message.

    Returns:
        An AuditError. What the job met itself is of the job's own kind.
    """
    run = client.jobs.get_run(run_id)
    place = f"run {run_id}, {run.run_page_url}" if run.run_page_url else f"run {run_id}"
    if said:
        kind = _kind(str(said.get("fault")))
        return kind(f"{_short(said.get('said'))} (in a Databricks job: {place})")
    state = run.state
    result = state.result_state.value if state and state.result_state else "no result"
    why = _short(_error(client, run) or (state and state.state_message) or "no reason given")
    if result in ("CANCELED", "UPSTREAM_CANCELED"):
        return WarehouseRejected(
            f"the Databricks job was cancelled ({place}); start the audit again when it may run"
        )
    if result == "TIMEDOUT":
        return WarehouseRejected(
            f"the Databricks job took too long ({place}); give it a larger cluster"
        )
    details = run.status.termination_details if run.status else None
    ended_by = details.type.value if details and details.type else ""
    if ended_by in ("CLOUD_FAILURE", "INTERNAL_ERROR"):
        return _unavailable(f"{place}: {why}", workspace)
    return WarehouseRejected(
        f"a Databricks job failed ({place}): {why}. Its log is there; if the cluster lacks this "
        "package or its settings, docs/databricks.md says how they get there"
    )


def check_jobs_health(workspace: Workspace, job: Job) -> Health:
    """The cluster can be seen, the entry point is there, the volume can be written to."""
    name = f"jobs on {'cluster ' + job.cluster_id if job.cluster_id else 'a new cluster each'}"
    try:
        with told_apart(workspace):
            client = client_of(workspace)
            if job.cluster_id:
                client.clusters.get(job.cluster_id)
            if job.file.startswith("/Volumes/"):
                client.files.get_metadata(job.file)
            else:
                client.workspace.get_status(job.file)
            probe = f"{job.volume}/health_{secrets.token_hex(6)}"
            client.files.create_directory(probe)
            client.files.delete_directory(probe)
    except WarehouseError as fault:
        return Health(name, False, str(fault))
    return Health(name, True, f"{job.file} is there, {job.volume} can be written to")


def _error(client: "WorkspaceClient", run: "Run") -> str:
    """What the task said when it failed; the run itself only says that one did."""
    with contextlib.suppress(OSError):
        for task in run.tasks or []:
            if task.run_id is not None:
                return client.jobs.get_run_output(task.run_id).error or ""
    return ""


def _kind(name: str) -> type[Exception]:
    """The error of that name; what may be asked again only where the job says so."""
    known = (*_NOT_AGAIN, WarehouseUnavailable, WarehouseUnauthorised)
    return next((kind for kind in known if kind.__name__ == name), WarehouseRejected)


def _unavailable(said: str, workspace: Workspace) -> WarehouseUnavailable:
    return WarehouseUnavailable(
        f"Databricks' jobs cannot be reached, or not now, at {workspace.host} ({said}). The step "
        "is tried again; if that does not help, see whether the cluster can start"
    )


def _short(said: object) -> str:
    """One line, bounded, without the configuration that the SDK appends to a refusal."""
    text = re.sub(r"\s+", " ", str(said)).strip().partition(". Config: ")[0]
    return text.rstrip(".")[:SAID_MAX]

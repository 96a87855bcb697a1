"""What can go wrong with a warehouse, told apart by who must act.

Rejected SQL is a defect and is not asked again. What is unavailable is asked again later, by the
connector for seconds and by Dagster for minutes. What is unauthorised waits for a person.
"""

import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from audit_pipeline.model.errors import (
    WarehouseError,
    WarehouseRejected,
    WarehouseUnauthorised,
    WarehouseUnavailable,
)
from audit_pipeline.model.workspace import Workspace

UNKNOWN_SESSION = "Invalid SessionHandle"
"""What is said of a session that was idle for too long, or of before a restart."""

_NOT_ALLOWED = (
    "INSUFFICIENT_PERMISSIONS",
    "PERMISSION_DENIED",
    "INSUFFICIENT_PRIVILEGES",
    "SQLSTATE: 42501",
)
_LATER = (
    "DELTA_CONCURRENT",
    "CONCURRENT_APPEND",
    UNKNOWN_SESSION,
    "Invalid OperationHandle",
    "TEMPORARILY_UNAVAILABLE",
    "QUERY_QUEUED_TIMEOUT",
)
_SAID_CHARS_MAX = 400


@contextmanager
def told_apart(workspace: Workspace, *, is_connecting: bool = False) -> Iterator[None]:
    """Turn the connector's errors into ours.

    Args:
        workspace: for the words: where it is and whose rights count.
        is_connecting: no session is open yet, so that "not found" is said of the warehouse.

    Raises:
        WarehouseError: one of the three.
    """
    from databricks.sql import exc
    from urllib3.exceptions import HTTPError

    try:
        yield
    except exc.ServerOperationError as fault:
        raise _of_statement(str(fault), workspace) from fault
    except exc.RequestError as fault:
        raise _of_request(fault, workspace, is_connecting=is_connecting) from fault
    except (exc.Error, HTTPError, OSError) as fault:
        # A truncated body and some faults of TLS come out as urllib3's own errors.
        raise of_network(fault, workspace) from fault


def credentials_refused(workspace: Workspace, said: str) -> WarehouseUnauthorised:
    """Nobody comes in with these."""
    remedy = (
        "Renew DATABRICKS_CLIENT_SECRET, or see whose DATABRICKS_CLIENT_ID it is,"
        if workspace.client_id
        else "Renew DATABRICKS_TOKEN"
    )
    return WarehouseUnauthorised(
        f"Databricks refuses the credentials of {workspace.who} at {workspace.host} "
        f"({_short(said)}). {remedy} and let it use the warehouse"
    )


def of_network(fault: BaseException, workspace: Workspace) -> WarehouseError:
    """An error of the connection itself."""
    chain = [*_chain(fault)]
    untrusted = next((f for f in chain if isinstance(f, ssl.SSLCertVerificationError)), None)
    if untrusted is not None:
        return WarehouseUnauthorised(
            f"The certificate of {workspace.host} is not trusted, so {workspace.who} is not shown "
            f"to it ({_short(str(untrusted))}). Where a company's proxy signs certificates, name "
            "its authority's file with DATABRICKS_CA_FILE"
        )
    if any(isinstance(f, socket.gaierror) for f in chain):
        said = f"the name {workspace.host} does not resolve; see DATABRICKS_HOST"
        return unavailable(said, workspace)
    return unavailable(f"{type(fault).__name__}: {fault}", workspace)


def unavailable(said: str, workspace: Workspace) -> WarehouseUnavailable:
    """Not now: asked again later."""
    return WarehouseUnavailable(
        f"Databricks cannot be reached at {workspace.host}{workspace.http_path} by "
        f"{workspace.who} ({_short(said)}). "
        "The step is tried again; if that does not help, see whether the warehouse runs"
    )


def _of_statement(said: str, workspace: Workspace) -> WarehouseError:
    text = _short(said)
    if any(code in said for code in _NOT_ALLOWED):
        return WarehouseUnauthorised(
            f"Databricks does not allow {workspace.who} to do this: {text}. An administrator of "
            "the catalog must grant it; `audit-pipeline databricks grants` prints the grants"
        )
    if any(code in said for code in _LATER):
        return unavailable(said, workspace)
    return WarehouseRejected(
        f"Databricks rejects a statement of {workspace.who}: {text}. If gold's columns have "
        "changed, `audit-pipeline databricks check` names them"
    )


def _of_request(fault: Any, workspace: Workspace, *, is_connecting: bool) -> WarehouseError:
    # What was raised while a token was fetched is carried in the connector's own error.
    ours = next((cause for cause in fault.args if isinstance(cause, WarehouseError)), None)
    if ours is not None:
        return ours
    context = fault.context or {}
    said, code = context.get("error-message") or str(fault), context.get("http-code")
    # The connector remembers the status of an earlier reply where there was none to this request.
    causes = [cause for cause in fault.args if isinstance(cause, OSError)]
    if causes:
        return of_network(causes[0], workspace)
    if code in (401, 403):
        return credentials_refused(workspace, f"HTTP {code}: {_short(said)}")
    if is_connecting and code in (400, 404):
        return WarehouseRejected(
            f"There is no SQL warehouse for {workspace.who} at {workspace.host}"
            f"{workspace.http_path} (HTTP {code}: {_short(said)}). See DATABRICKS_WAREHOUSE_ID or "
            "DATABRICKS_HTTP_PATH"
        )
    return unavailable(said if code is None else f"HTTP {code}: {said}", workspace)


def _chain(fault: BaseException | None) -> Iterator[BaseException]:
    """The error and what it came from; urllib3 keeps that in `reason`."""
    seen: set[int] = set()
    waiting = [fault]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__cause__, one.__context__, getattr(one, "reason", None)]


def _short(said: str) -> str:
    """The first line, bounded: a message may quote a whole statement or an HTML page."""
    line = next((line for line in str(said).splitlines() if line.strip()), "no reason given")
    # A link to a result carries its own right in its query.
    line = re.sub(r"(url: [^\s?]*)\?\S*", r"\1?…", line)
    return re.sub(r"\s+", " ", line).strip().rstrip(".")[:_SAID_CHARS_MAX]

"""The real connector, its sessions, and its errors told apart by who must act.

Rejected SQL is a defect and is not asked again. What is unavailable is asked again later, by the
connector for seconds and by Dagster for minutes. What is unauthorised waits for a person.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from audit_pipeline.model.errors import (
    WarehouseRejected,
    WarehouseUnauthorised,
    WarehouseUnavailable,
)
from audit_pipeline.model.workspace import Workspace

if TYPE_CHECKING:
    from audit_pipeline.model.query import Value

ATTEMPTS = 4
"""Of one HTTP request by the connector itself; a step is tried again over half an hour."""
RETRY_AFTER_MAX = 20.0
"""Seconds between two of these attempts; the connector's own bound is a minute."""

_NOT_ALLOWED = ("INSUFFICIENT_PERMISSIONS", "PERMISSION_DENIED", "INSUFFICIENT_PRIVILEGES")
_LATER = (
    "DELTA_CONCURRENT",
    "CONCURRENT_APPEND",
    "Invalid SessionHandle",
    "TEMPORARILY_UNAVAILABLE",
    "QUERY_QUEUED_TIMEOUT",
)


class Cursor(Protocol):
    """What is used of the connector's cursor."""

    def execute(self, operation: str, parameters: Any = None) -> object:
        """Run a statement."""
        ...

    def fetchall_arrow(self) -> Any:
        """All remaining rows."""
        ...

    def fetchmany_arrow(self, size: int) -> Any:
        """Up to that many of the next rows; an empty table after the last."""
        ...

    def columns(self, *, catalog_name: str, schema_name: str) -> Any:
        """Ask for the columns of a schema's tables."""
        ...

    def close(self) -> None:
        """Forget the result."""
        ...


class Session:
    """One session of the warehouse; its temporary views live as long as it does.

    Raises:
        WarehouseError: one of the three, also from every statement.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        with _told_apart(workspace):
            self._connection = _connected(workspace)

    def close(self) -> None:
        """End the session; a warehouse that is gone has ended it already."""
        with contextlib.suppress(Exception):
            self._connection.close()

    @contextmanager
    def cursor(self) -> Iterator[Cursor]:
        """A cursor, with its errors told apart."""
        with _told_apart(self._workspace):
            cursor = self._connection.cursor()
            try:
                yield cursor
            finally:
                with contextlib.suppress(Exception):  # the statement's own error says more
                    cursor.close()

    def run(self, sql: str, parameters: "Mapping[str, Value]" = {}) -> Any:  # noqa: B006 — read only
        """All rows of a statement, as an Arrow table."""
        with self.cursor() as cursor:
            cursor.execute(sql, dict(parameters) or None)
            return cursor.fetchall_arrow()


def _connected(workspace: Workspace) -> Any:
    from databricks import sql

    host, _, port = workspace.host.partition(":")
    more: dict[str, Any] = {"access_token": workspace.token}
    if workspace.client_id:
        more = {"credentials_provider": _principal(workspace)}
    if port:
        more["_port"] = int(port)
    if workspace.ca_file:
        more["_tls_trusted_ca_file"] = workspace.ca_file
    return sql.connect(
        server_hostname=host,
        http_path=workspace.http_path,
        session_configuration={"ANSI_MODE": "true", "TIMEZONE": "UTC"},
        user_agent_entry="audit_pipeline",
        # Half a minute of attempts at connect otherwise, where only the warehouse is let through.
        enable_telemetry=False,
        _socket_timeout=workspace.silence_max,
        _retry_stop_after_attempts_count=ATTEMPTS,
        _retry_delay_max=RETRY_AFTER_MAX,
        **more,
    )


def _principal(workspace: Workspace) -> Any:
    """The provider of tokens that Databricks' own SDK has for service principals."""
    from databricks.sdk.core import Config
    from databricks.sdk.credentials_provider import oauth_service_principal

    def provider() -> Any:
        config = Config(
            host=f"https://{workspace.host}",
            client_id=workspace.client_id,
            client_secret=workspace.client_secret,
        )
        return oauth_service_principal(config)

    return provider


@contextmanager
def _told_apart(workspace: Workspace) -> Iterator[None]:
    from databricks.sql import exc
    from urllib3.exceptions import HTTPError

    try:
        yield
    except exc.ServerOperationError as fault:
        raise _of_statement(str(fault), workspace) from fault
    except exc.RequestError as fault:
        raise _of_request(fault, workspace) from fault
    except (exc.Error, HTTPError, OSError) as fault:
        # A truncated body and some faults of TLS come out as urllib3's own errors.
        raise _unavailable(f"{type(fault).__name__}: {fault}", workspace) from fault


def _of_statement(said: str, workspace: Workspace) -> Exception:
    text = _short(said)
    if any(code in said for code in _NOT_ALLOWED):
        return WarehouseUnauthorised(
            f"Databricks does not allow {workspace.who} to do this: {text}. An administrator of "
            "the catalog must grant it; docs/databricks.md lists the grants"
        )
    if any(code in said for code in _LATER):
        return _unavailable(said, workspace)
    return WarehouseRejected(
        f"Databricks rejects a statement: {text}. If gold's columns have changed, "
        "`audit-pipeline databricks check` names them"
    )


def _of_request(fault: Any, workspace: Workspace) -> Exception:
    code = (fault.context or {}).get("http-code")
    said = (fault.context or {}).get("error-message") or str(fault)
    if code in (401, 403):
        return WarehouseUnauthorised(
            f"Databricks refuses the credentials of {workspace.who} at {workspace.host} "
            f"(HTTP {code}: {_short(said)}). Renew DATABRICKS_TOKEN, or DATABRICKS_CLIENT_ID and "
            "DATABRICKS_CLIENT_SECRET, and let it use the warehouse"
        )
    return _unavailable(said if code is None else f"HTTP {code}: {said}", workspace)


def _unavailable(said: str, workspace: Workspace) -> WarehouseUnavailable:
    return WarehouseUnavailable(
        f"Databricks cannot be reached at {workspace.host}{workspace.http_path} ({_short(said)}). "
        "The step is tried again; if that does not help, see whether the warehouse runs"
    )


def _short(said: str) -> str:
    """The first line, bounded: a message may quote a whole statement or an HTML page."""
    line = next((line for line in str(said).splitlines() if line.strip()), "no reason given")
    return re.sub(r"\s+", " ", line).strip().rstrip(".")[:400]

"""The real connector and its sessions."""

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from audit_pipeline.adapters.databricks.faults import UNKNOWN_SESSION, told_apart
from audit_pipeline.adapters.databricks.oauth import MachineTokens
from audit_pipeline.model.errors import BadUsage
from audit_pipeline.model.workspace import Workspace

if TYPE_CHECKING:
    from audit_pipeline.model.query import Value

ATTEMPTS = 4
"""Of one HTTP request by the connector itself; a step is tried again over half an hour."""
RETRY_AFTER_MAX = 20.0
"""Seconds between two of these attempts; the connector's own bound is a minute."""


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

    Attributes:
        is_lost: the warehouse does not know it any more; a new one may be opened.

    Raises:
        BadUsage: the connector is not installed.
        WarehouseError: one of the three, also from every statement.
    """

    def __init__(self, workspace: Workspace) -> None:
        _need_connector()
        self._workspace = workspace
        self.is_lost = False
        with told_apart(workspace, is_connecting=True):
            self._connection = _connected(workspace)

    def close(self) -> None:
        """End the session; a warehouse that is gone has ended it already."""
        with contextlib.suppress(Exception):
            self._connection.close()

    @contextmanager
    def cursor(self) -> Iterator[Cursor]:
        """A cursor, with its errors told apart."""
        with told_apart(self._workspace):
            cursor = self._connection.cursor()
            try:
                yield cursor
            except Exception as fault:
                self.is_lost = self.is_lost or UNKNOWN_SESSION in str(fault)
                raise
            finally:
                with contextlib.suppress(Exception):  # the statement's own error says more
                    cursor.close()

    def run(self, sql: str, parameters: "Mapping[str, Value]" = {}) -> Any:  # noqa: B006 — read only
        """All rows of a statement, as an Arrow table."""
        with self.cursor() as cursor:
            cursor.execute(sql, dict(parameters) or None)
            return cursor.fetchall_arrow()


def _need_connector() -> None:
    try:
        import_module("databricks.sql")
    except ImportError as fault:
        raise BadUsage(
            f"Databricks needs what is not installed ({fault}): `make setup-databricks` installs it"
        ) from fault


def _connected(workspace: Workspace) -> Any:
    from databricks import sql

    host, _, port = workspace.host.partition(":")
    more: dict[str, Any] = {"access_token": workspace.token}
    if workspace.client_id:
        more = {"credentials_provider": MachineTokens(workspace)}
    if port:
        more["_port"] = int(port)
    if workspace.ca_file:
        more["_tls_trusted_ca_file"] = workspace.ca_file
    return sql.connect(
        server_hostname=host,
        http_path=workspace.http_path,
        session_configuration={"ANSI_MODE": "true", "TIMEZONE": "UTC"},
        user_agent_entry=workspace.program,
        # Half a minute of attempts at connect otherwise, where only the warehouse is let through.
        enable_telemetry=False,
        _socket_timeout=workspace.silence_max,
        _retry_stop_after_attempts_count=ATTEMPTS - 1,  # the connector counts those after the first
        _retry_delay_max=RETRY_AFTER_MAX,
        **more,
    )

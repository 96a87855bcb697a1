"""The adapter when things go wrong: which of the three errors, how often it asks, what it says.

Time is bounded by the settings, so requests are counted and no clock is read; the connector's waits
between attempts are noted and not slept.
"""

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from audit_pipeline.adapters.databricks.connection import ATTEMPTS, RETRY_AFTER_MAX, Session
from audit_pipeline.adapters.databricks.oauth import EARLIER
from audit_pipeline.model.errors import (
    WarehouseError,
    WarehouseRejected,
    WarehouseUnauthorised,
    WarehouseUnavailable,
)
from audit_pipeline.model.workspace import Workspace
from audit_pipeline_tests.databricks.messages import told
from audit_pipeline_tests.databricks.process import LocalWarehouse
from audit_pipeline_tests.databricks.staging import workspace_of

MANY = 60_000
"""Rows that come by links, in three chunks."""
SOME = 30_000
"""Rows that come inline, in two fetches."""
FOREVER = 99


pytestmark = [
    pytest.mark.usefixtures("broken_sockets", "connector_waits"),
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in.*ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning"
    ),
]


@pytest.fixture
def warehouse(duckdb_warehouse: LocalWarehouse) -> Iterator[LocalWarehouse]:
    duckdb_warehouse.clear()
    yield duckdb_warehouse
    duckdb_warehouse.clear()


# ── a session ───────────────────────────────────────────────────────────────────────────────────

BUSY = "see whether the warehouse runs"
RENEW = "Renew DATABRICKS_TOKEN"


@dataclass(frozen=True)
class Case:
    """A fault of a request, and what becomes of it.

    Attributes:
        on: the request that meets it.
        kind: of the fault.
        how: the fault's other attributes.
        error: what is raised; None where all rows arrive.
        times: how often the request is made.
        says: a part of the message.
        rows: of the query.
    """

    on: str
    kind: str
    how: dict[str, Any] = field(default_factory=dict[str, Any])
    error: type[WarehouseError] | None = None
    times: int = 1
    says: str = BUSY
    rows: int = 1


ONCE_BUSY = [
    Case(on, "status", {"status": status, "headers": headers}, times=2)
    for on in ("OpenSession", "ExecuteStatement")
    for status in (429, 503)
    for headers in ({}, {"Retry-After": "3"})
]
ALWAYS_BUSY = [
    Case(on, kind, {"times": FOREVER} | how, WarehouseUnavailable, ATTEMPTS)
    for on in ("OpenSession", "ExecuteStatement")
    for kind, how in (
        ("status", {"status": 503}),
        ("status", {"status": 429, "headers": {"Retry-After": "3"}}),
        ("reset_before", {}),
        ("reset_after", {}),
        ("hang", {}),
    )
]
REFUSED = [
    Case(on, "status", {"status": status}, WarehouseUnauthorised, 1, RENEW)
    for on in ("OpenSession", "ExecuteStatement")
    for status in (401, 403)
]
NO_ANSWER = [
    Case("OpenSession", "status", {"status": 404}, WarehouseRejected, 1, "DATABRICKS_WAREHOUSE_ID"),
    Case("ExecuteStatement", "status", {"status": 404}, WarehouseUnavailable),
    Case("ExecuteStatement", "status", {"status": 500}, WarehouseUnavailable),
    Case("OpenSession", "status", {"status": 500}, None, 2),
    Case("ExecuteStatement", "truncate", {}, WarehouseUnavailable),
    Case("ExecuteStatement", "reset_before", {}, None, 2),
    Case("ExecuteStatement", "reset_after", {}, None, 2),
    Case("ExecuteStatement", "hang", {}, None, 2),
    Case("ExecuteStatement", "drip", {"seconds": 0.1}, None),
    Case("ExecuteStatement", "drip", {"seconds": 1.0}, WarehouseUnavailable),
]
RESULTS = [
    Case("CloudFetch/1", "expired_link", {}, WarehouseUnavailable, 0, "link has expired", MANY),
    Case("CloudFetch/1", "status", {"status": 403}, WarehouseUnavailable, 1, "HTTP 403", MANY),
    Case("CloudFetch/1", "status", {"status": 500}, None, 2, rows=MANY),
    Case("CloudFetch/1", "truncate", {}, None, 2, rows=MANY),
    Case("CloudFetch/1", "reset_before", {}, None, 2, rows=MANY),
    Case("FetchResults", "reset_before", {}, None, 2, rows=SOME),
    Case("FetchResults", "reset_after", {}, WarehouseUnavailable, 2, rows=SOME),
    Case("FetchResults", "truncate", {}, WarehouseUnavailable, rows=SOME),
]


def _named(case: Case) -> str:
    times = "always" if case.how.get("times") else "once"
    more = [str(v) for k, v in case.how.items() if k in ("status", "seconds")]
    more += ["Retry-After"] if case.how.get("headers") else []
    return "-".join([case.on.replace("/", ""), case.kind, *more, times])


@pytest.mark.parametrize(
    "case", [*ONCE_BUSY, *ALWAYS_BUSY, *REFUSED, *NO_ANSWER, *RESULTS], ids=_named
)
def test_a_request_that_goes_wrong(
    warehouse: LocalWarehouse, connector_waits: list[float], case: Case
) -> None:
    """All rows, or one of the three errors, after a bounded number of attempts."""
    workspace = replace(workspace_of(warehouse), silence_max=0.5)
    warehouse.fault(case.on, case.kind, **case.how)

    def ask() -> int:
        session = Session(workspace)
        try:
            return session.run(f"SELECT id FROM range({case.rows})").num_rows
        finally:
            session.close()

    if case.error is None:
        assert ask() == case.rows
    else:
        with pytest.raises(case.error) as fault:
            ask()
        assert type(fault.value) is case.error
        told(fault, workspace, case.says)
    assert warehouse.requests().count(case.on) == case.times
    assert all(seconds <= RETRY_AFTER_MAX for seconds in connector_waits)


STATEMENTS = {
    "a missing table": ("SELECT * FROM main.nowhere.nothing", "", WarehouseRejected, "check"),
    "no SQL": ("SELEC 1", "", WarehouseRejected, "check"),
    "not granted": (
        "SELECT 1",
        "[INSUFFICIENT_PERMISSIONS] User does not have SELECT on Table. SQLSTATE: 42501",
        WarehouseUnauthorised,
        "databricks grants",
    ),
    "not granted, in other words": (
        "SELECT 1",
        "[PERMISSION_DENIED_X] no. SQLSTATE: 42501",
        WarehouseUnauthorised,
        "databricks grants",
    ),
    "another writer was first": (
        "SELECT 1",
        "[DELTA_CONCURRENT_APPEND] Files were added. SQLSTATE: 2D521",
        WarehouseUnavailable,
        BUSY,
    ),
}


@pytest.mark.parametrize("case", STATEMENTS)
def test_a_statement_that_is_refused(warehouse: LocalWarehouse, case: str) -> None:
    """Once: what is said about a statement is said again however often it is sent."""
    sql, message, error, says = STATEMENTS[case]
    workspace = workspace_of(warehouse)
    if message:
        warehouse.fault("ExecuteStatement", "refused", message=message)
    session = Session(workspace)
    with pytest.raises(error) as fault:
        session.run(sql)
    session.close()
    told(fault, workspace, says)
    assert warehouse.statements() == [sql]


def test_a_page_of_words_becomes_a_line(warehouse: LocalWarehouse) -> None:
    """A message may quote the statement, with whatever a vendor is called in it."""
    workspace = workspace_of(warehouse)
    warehouse.fault(
        "ExecuteStatement", "refused", message="[X] " + "long " * 999 + "\n<html>\n" * 9
    )
    session = Session(workspace)
    with pytest.raises(WarehouseRejected) as fault:
        session.run("SELECT 1")
    session.close()
    told(fault, workspace)
    assert "<html>" not in str(fault.value)


def test_a_certificate_that_is_not_trusted(warehouse: LocalWarehouse) -> None:
    """A person must act; and no token went out before."""
    workspace = replace(workspace_of(warehouse), ca_file="")
    with pytest.raises(WarehouseUnauthorised) as fault:
        Session(workspace)
    told(fault, workspace, "DATABRICKS_CA_FILE", "CERTIFICATE_VERIFY_FAILED")
    assert warehouse.requests() == []


def test_a_host_that_has_no_address(
    warehouse: LocalWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up: list[str] = []

    def unknown(host: str, *_: Any, **__: Any) -> Any:
        looked_up.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    workspace = replace(workspace_of(warehouse), host="dbc-1.example.invalid")
    with monkeypatch.context() as offline:
        offline.setattr(socket, "getaddrinfo", unknown)
        with pytest.raises(WarehouseUnavailable) as fault:
            Session(workspace)
    told(fault, workspace, "DATABRICKS_HOST", "dbc-1.example.invalid")
    assert len(looked_up) == ATTEMPTS


def test_nobody_listens(warehouse: LocalWarehouse) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    workspace = replace(workspace_of(warehouse), host=f"127.0.0.1:{port}")
    with pytest.raises(WarehouseUnavailable) as fault:
        Session(workspace)
    told(fault, workspace, BUSY)


def test_what_goes_wrong_while_closing_is_not_told(warehouse: LocalWarehouse) -> None:
    """The statement's own error is the one that a person can act on."""
    session = Session(workspace_of(warehouse))
    for request in ("CloseSession", "CloseOperation"):
        warehouse.fault(request, status=500, times=FOREVER)

    def ask_and_close() -> None:
        try:
            session.run("SELECT * FROM main.nowhere.nothing")
        finally:
            session.close()

    with pytest.raises(WarehouseRejected, match="TABLE_OR_VIEW_NOT_FOUND"):
        ask_and_close()
    assert "CloseSession" in warehouse.requests()


# ── a service principal ─────────────────────────────────────────────────────────────────────────


def _machine(warehouse: LocalWarehouse, **more: str) -> Workspace:
    settings = warehouse.settings()
    return workspace_of(
        warehouse,
        **{
            "DATABRICKS_TOKEN": "",
            "DATABRICKS_CLIENT_ID": settings.client_id,
            "DATABRICKS_CLIENT_SECRET": settings.client_secret,
            **more,
        },
    )


def test_a_service_principal_comes_in(warehouse: LocalWarehouse) -> None:
    """With one token for all statements, and the named authority trusted for that too."""
    session = Session(_machine(warehouse))
    assert session.run("SELECT 1 AS one").to_pylist() == [{"one": 1}]
    assert session.run("SELECT 2 AS two").to_pylist() == [{"two": 2}]
    session.close()
    assert warehouse.requests()[:2] == ["OAuthToken", "OpenSession"]
    assert warehouse.requests().count("OAuthToken") == 1


def test_a_token_is_renewed_before_it_ends(
    warehouse: LocalWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connector has a clock of its own for that."""
    session = Session(_machine(warehouse))
    later = SimpleNamespace(monotonic=lambda: time.monotonic() + 3600 - EARLIER)
    monkeypatch.setattr("audit_pipeline.adapters.databricks.oauth.time", later)
    monkeypatch.setattr("databricks.sql.auth.token_federation.Token.is_expired", lambda _: True)
    warehouse.revoke_tokens()
    assert session.run("SELECT 1 AS one").num_rows == 1
    session.close()
    assert warehouse.requests().count("OAuthToken") == 2


def test_a_wrong_secret(warehouse: LocalWarehouse) -> None:
    """A person must act; nobody is asked twice, and the secret is not told."""
    workspace = _machine(warehouse, DATABRICKS_CLIENT_SECRET="wrong-and-secret")
    with pytest.raises(WarehouseUnauthorised) as fault:
        Session(workspace)
    told(fault, workspace, "DATABRICKS_CLIENT_SECRET", "service principal", "invalid_client")
    assert warehouse.requests() == ["OAuthToken"]


def test_a_token_that_was_revoked(warehouse: LocalWarehouse) -> None:
    workspace = _machine(warehouse)
    session = Session(workspace)
    warehouse.revoke_tokens()
    with pytest.raises(WarehouseUnauthorised) as fault:
        session.run("SELECT 1")
    session.close()
    told(fault, workspace, "HTTP 403")


TOKENLESS: dict[str, dict[str, Any]] = {
    "busy": {"kind": "status", "status": 503},
    "broken": {"kind": "status", "status": 500},
    "reset": {"kind": "reset_before"},
    "reply lost": {"kind": "reset_after"},
    "half a reply": {"kind": "truncate"},
    "silent": {"kind": "hang"},
    "slow": {"kind": "drip", "seconds": 1.0},
    "an empty reply": {"kind": "status", "status": 200},
}


@pytest.mark.parametrize("case", TOKENLESS)
def test_no_token_is_given(warehouse: LocalWarehouse, case: str) -> None:
    """Dagster asks again later; a token endpoint that says nothing keeps nobody."""
    workspace = replace(_machine(warehouse), silence_max=0.5)
    warehouse.fault("OAuthToken", times=FOREVER, **TOKENLESS[case])
    with pytest.raises(WarehouseUnavailable) as fault:
        Session(workspace)
    told(fault, workspace, BUSY)
    assert warehouse.requests() == ["OAuthToken"]


def test_a_token_endpoint_that_is_not_trusted(warehouse: LocalWarehouse) -> None:
    workspace = replace(_machine(warehouse), ca_file="")
    with pytest.raises(WarehouseUnauthorised) as fault:
        Session(workspace)
    told(fault, workspace, "DATABRICKS_CA_FILE")
    assert warehouse.requests() == []

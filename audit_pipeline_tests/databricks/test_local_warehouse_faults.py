"""What goes wrong on order, and what the real connector then does: each fault does what it says.

The connector's answers are facts about its version 4.9.0 that the adapter is written against.
"""

import base64
import gc
import json
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import urllib3.exceptions

from audit_pipeline_tests.databricks.process import LocalWarehouse

sql = pytest.importorskip("databricks.sql", reason="make setup-databricks")
exc = pytest.importorskip("databricks.sql.exc")

MANY = "SELECT id, CAST(id AS STRING) AS s FROM range(60000)"
"""Three chunks; or three inline fetches."""


@pytest.fixture
def warehouse(duckdb_warehouse: LocalWarehouse) -> Iterator[LocalWarehouse]:
    duckdb_warehouse.clear()
    yield duckdb_warehouse
    duckdb_warehouse.clear()


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the connector would have slept between attempts: it does not, here."""
    asked: list[float] = []
    quick = SimpleNamespace(sleep=asked.append, time=time.time)
    monkeypatch.setattr("databricks.sql.auth.retry.time", quick)
    return asked


def _rows(
    warehouse: LocalWarehouse, on: str, kind: str, how: dict[str, Any], **connect: Any
) -> int:
    """How many rows of MANY arrive, when one thing goes wrong after the session is open."""
    with _connected(warehouse, **connect) as connected, connected.cursor() as cursor:
        warehouse.fault(on, kind, **how)
        cursor.execute(MANY)
        return cursor.fetchall_arrow().num_rows


def _connected(warehouse: LocalWarehouse, **connect: Any) -> Any:
    return sql.connect(**warehouse.settings().connect_arguments(**connect))


# ── before anything is asked ────────────────────────────────────────────────────────────────────


def test_a_client_that_does_not_trust_the_authority_is_refused(warehouse: LocalWarehouse) -> None:
    with pytest.raises(urllib3.exceptions.MaxRetryError, match="CERTIFICATE_VERIFY_FAILED"):
        _connected(warehouse, _tls_trusted_ca_file=None, _retry_stop_after_attempts_count=1)
    assert warehouse.requests() == []


def test_the_certificate_is_for_this_host_only(warehouse: LocalWarehouse) -> None:
    settings = warehouse.settings()
    trust = ssl.create_default_context(cafile=settings.ca_file)
    with (
        pytest.raises(ssl.SSLCertVerificationError, match=r"not valid for 'elsewhere\.example'"),
        socket.create_connection((settings.host, settings.port), timeout=10) as plain,
    ):
        trust.wrap_socket(plain, server_hostname="elsewhere.example")


def test_a_wrong_token_is_refused(warehouse: LocalWarehouse) -> None:
    with pytest.raises(exc.RequestError, match="Invalid access token") as refused:
        _connected(warehouse, access_token="dapi-another")
    assert refused.value.context["http-code"] == 403
    assert warehouse.statements() == []


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_not_tried_again(
    warehouse: LocalWarehouse, slept: list[float], status: int
) -> None:
    warehouse.fault("OpenSession", status=status)
    with pytest.raises(exc.RequestError) as refused:
        _connected(warehouse)
    assert refused.value.context["http-code"] == status
    assert warehouse.requests() == ["OpenSession"]
    assert slept == []


# ── while it runs ───────────────────────────────────────────────────────────────────────────────

BUSY = [(503, {"Retry-After": "1"}), (503, {}), (429, {"Retry-After": "1"}), (429, {})]


@pytest.mark.parametrize(("status", "headers"), BUSY)
def test_a_busy_warehouse_is_asked_again(
    warehouse: LocalWarehouse, slept: list[float], status: int, headers: dict[str, str]
) -> None:
    """It waits for `_retry_delay_max`, whatever `Retry-After` says: the longer of the two."""
    how = {"status": status, "headers": headers}
    assert _rows(warehouse, "ExecuteStatement", "status", how) == 60_000
    assert slept == [5.0]
    assert warehouse.requests().count("ExecuteStatement") == 2
    assert len(warehouse.statements()) == 1


def test_a_warehouse_that_stays_busy_is_given_up(
    warehouse: LocalWarehouse, slept: list[float]
) -> None:
    """After the bounded number of attempts, and by an error that is not the connector's own."""
    with pytest.raises(urllib3.exceptions.MaxRetryError, match="too many 503"):
        _rows(warehouse, "ExecuteStatement", "status", {"times": 99})
    assert slept == [5.0, 5.0, 5.0]


@pytest.mark.parametrize(
    ("status", "said"), [(500, ""), (403, "Token expired"), (401, "Token expired")]
)
def test_a_statement_that_fails_is_not_repeated(
    warehouse: LocalWarehouse, status: int, said: str
) -> None:
    """500 at a statement may mean that it ran; 401 and 403 mean that somebody must act."""
    how = {"status": status, "headers": {"x-databricks-reason-phrase": said} if said else {}}
    with pytest.raises(exc.RequestError, match=said or "Error during request") as failed:
        _rows(warehouse, "ExecuteStatement", "status", how)
    assert failed.value.context["http-code"] == status
    assert warehouse.statements() == []


def test_the_nth_request_and_how_many_from_there(warehouse: LocalWarehouse) -> None:
    with _connected(warehouse) as connected, connected.cursor() as cursor:
        warehouse.fault("ExecuteStatement", status=500, nth=2, times=2)
        outcomes = []
        for _ in range(4):
            try:
                cursor.execute("SELECT 1 AS one")
            except exc.RequestError:
                outcomes.append("failed")
            else:
                outcomes.append("answered")
    assert outcomes == ["answered", "failed", "failed", "answered"]


LOST = [("reset_before", 1), ("reset_after", 2)]


@pytest.mark.parametrize(("kind", "rows"), LOST)
def test_an_insert_whose_connection_breaks_is_sent_again(
    warehouse: LocalWarehouse, kind: str, rows: int
) -> None:
    """Without a word: so a plain INSERT whose reply is lost leaves its rows twice."""
    with _connected(warehouse) as connected, connected.cursor() as cursor:
        cursor.execute("CREATE OR REPLACE TABLE main.default.lost (x INT) USING DELTA")
        warehouse.clear()
        warehouse.fault("ExecuteStatement", kind)
        cursor.execute("INSERT INTO main.default.lost VALUES (1)")
        sent = warehouse.requests().count("ExecuteStatement")
        carried_out = len(warehouse.statements())
        cursor.execute("SELECT count(*) AS n FROM main.default.lost")
        assert cursor.fetchall()[0].n == rows
    assert (sent, carried_out) == (2, rows)


def test_a_replacement_whose_reply_is_lost_leaves_one_copy(warehouse: LocalWarehouse) -> None:
    with _connected(warehouse) as connected, connected.cursor() as cursor:
        cursor.execute("CREATE OR REPLACE TABLE main.default.replaced (x INT) USING DELTA")
        warehouse.clear()
        warehouse.fault("ExecuteStatement", "reset_after")
        cursor.execute("INSERT INTO main.default.replaced REPLACE WHERE x = 1 SELECT 1")
        assert len(warehouse.statements()) == 2
        cursor.execute("SELECT count(*) AS n FROM main.default.replaced")
        assert cursor.fetchall()[0].n == 1
        cursor.execute("DESCRIBE HISTORY main.default.replaced")
        operations = [row.operation for row in cursor.fetchall()]
    assert operations == ["WRITE", "WRITE", "CREATE OR REPLACE TABLE"]


def test_half_a_reply_is_an_error_of_urllib3(warehouse: LocalWarehouse) -> None:
    with pytest.raises(urllib3.exceptions.ProtocolError, match="IncompleteRead"):
        _rows(warehouse, "ExecuteStatement", "truncate", {})


def test_a_reply_that_does_not_come_ends_by_the_clients_own_patience(
    warehouse: LocalWarehouse,
) -> None:
    connect = {"_socket_timeout": 0.3, "_retry_stop_after_attempts_count": 1}
    with pytest.raises(urllib3.exceptions.MaxRetryError, match="Read timed out"):
        _rows(warehouse, "ExecuteStatement", "hang", {"times": 9}, **connect)
    assert warehouse.statements() == []


def test_a_slow_reply_is_waited_for(warehouse: LocalWarehouse) -> None:
    """Slower than the client's patience it is an error, else it is not."""
    assert _rows(warehouse, "ExecuteStatement", "delay", {"seconds": 0.2}) == 60_000
    connect = {"_socket_timeout": 0.2, "_retry_stop_after_attempts_count": 1}
    with pytest.raises(urllib3.exceptions.MaxRetryError, match="Read timed out"):
        _rows(warehouse, "ExecuteStatement", "delay", {"seconds": 0.6, "times": 9}, **connect)


# ── results ─────────────────────────────────────────────────────────────────────────────────────

INLINE = {"use_cloud_fetch": False}


def test_an_inline_fetch_that_never_arrived_is_asked_again(warehouse: LocalWarehouse) -> None:
    assert _rows(warehouse, "FetchResults", "reset_before", {}, **INLINE) == 60_000


def test_inline_rows_whose_reply_is_lost_are_missed(warehouse: LocalWarehouse) -> None:
    """They cannot be asked for again; the connector notices the hole."""
    with pytest.raises(exc.DataError, match="some result batches must have been skipped"):
        _rows(warehouse, "FetchResults", "reset_after", {}, **INLINE)


def test_half_an_inline_fetch_is_an_error_of_urllib3(warehouse: LocalWarehouse) -> None:
    with pytest.raises(urllib3.exceptions.ProtocolError, match="IncompleteRead"):
        _rows(warehouse, "FetchResults", "truncate", {}, **INLINE)


@pytest.mark.parametrize(
    ("kind", "how"), [("reset_before", {}), ("truncate", {}), ("status", {"status": 500})]
)
def test_a_chunk_that_does_not_arrive_is_asked_again(
    warehouse: LocalWarehouse, kind: str, how: dict[str, Any]
) -> None:
    """The named one: the second of three."""
    assert _rows(warehouse, "CloudFetch/1", kind, how) == 60_000
    chunks = [name for name in warehouse.requests() if name.startswith("CloudFetch/")]
    assert sorted(chunks) == ["CloudFetch/0", "CloudFetch/1", "CloudFetch/1", "CloudFetch/2"]


def test_a_chunk_that_is_refused_is_an_error(warehouse: LocalWarehouse) -> None:
    with pytest.raises(exc.RequestError, match="HTTP 403"):
        _rows(warehouse, "CloudFetch", "status", {"status": 403, "nth": 2})


def test_a_link_past_its_time_is_an_error(warehouse: LocalWarehouse) -> None:
    """The connector does not ask for a new one."""
    with pytest.raises(exc.Error, match="link has expired"):
        _rows(warehouse, "CloudFetch/1", "expired_link", {})


# ── sessions ────────────────────────────────────────────────────────────────────────────────────


def test_a_session_that_was_idle_for_too_long_is_unknown(warehouse: LocalWarehouse) -> None:
    """Its temporary views are gone too: the client must connect anew."""
    with _connected(warehouse) as connected, connected.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY VIEW mine AS SELECT 1 AS x")
        assert warehouse.drop_sessions() >= 1
        with pytest.raises(exc.DatabaseError, match="Invalid SessionHandle") as unknown:
            cursor.execute("SELECT x FROM mine")
        assert type(unknown.value) is exc.DatabaseError
    with (
        _connected(warehouse) as connected,
        connected.cursor() as cursor,
        pytest.raises(exc.ServerOperationError, match="TABLE_OR_VIEW_NOT_FOUND"),
    ):
        cursor.execute("SELECT x FROM mine")


def test_a_statement_can_be_cancelled(warehouse: LocalWarehouse) -> None:
    endless = "SELECT count(*) AS n FROM range(10000000) a CROSS JOIN range(10000000) b"
    with _connected(warehouse) as connected, connected.cursor() as cursor:
        cursor.ASYNC_DEFAULT_POLLING_INTERVAL = 0.05
        cursor.execute_async(endless)
        assert cursor.is_query_pending()
        cursor.cancel()
        with pytest.raises(exc.Error):
            cursor.get_async_execution_result()
    assert "CancelOperation" in warehouse.requests()


def test_a_forgotten_connection_is_closed_by_the_collector(warehouse: LocalWarehouse) -> None:
    """Which asks the server in the middle of it: hence a process of its own."""
    connected: Any = _connected(warehouse)
    warehouse.clear()
    del connected
    gc.collect()
    assert warehouse.requests() == ["CloseSession"]


# ── OAuth for machines, feature flags, control ──────────────────────────────────────────────────


def _machine(warehouse: LocalWarehouse, monkeypatch: pytest.MonkeyPatch, **config: str) -> Any:
    """The provider of databricks-sdk, as production makes one."""
    core = pytest.importorskip("databricks.sdk.core", reason="make setup-databricks")
    settings = warehouse.settings()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", settings.ca_file)
    given = {"client_id": settings.client_id, "client_secret": settings.client_secret} | config
    made = core.Config(host=settings.url, auth_type="oauth-m2m", **given)
    return lambda: core.oauth_service_principal(made)


def test_a_service_principal_comes_in_by_oauth(
    warehouse: LocalWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The discovery document, then a token, then statements with it; the token is not exchanged."""
    provider = _machine(warehouse, monkeypatch)
    warehouse.clear()
    arguments = warehouse.settings().connect_arguments(credentials_provider=provider)
    del arguments["access_token"]
    with sql.connect(**arguments) as connected, connected.cursor() as cursor:
        cursor.execute("SELECT 1 AS one")
        assert cursor.fetchall()[0].one == 1
        assert warehouse.requests()[:4] == [
            "OAuthDiscovery",
            "OAuthToken",
            "OpenSession",
            "ExecuteStatement",
        ]
        warehouse.revoke_tokens()
        with pytest.raises(exc.RequestError) as refused:
            cursor.execute("SELECT 1 AS one")
        assert refused.value.context["http-code"] == 403


def test_a_wrong_secret_gets_no_token(
    warehouse: LocalWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = _machine(warehouse, monkeypatch, client_secret="another")
    with pytest.raises(exc.RequestError, match="invalid_client"):
        _connected(warehouse, credentials_provider=provider, access_token=None)
    assert warehouse.requests()[-1] == "OAuthToken"


def _get(warehouse: LocalWarehouse, path: str, **headers: str) -> Any:
    settings = warehouse.settings()
    trust = ssl.create_default_context(cafile=settings.ca_file)
    asked = urllib.request.Request(settings.url + path, headers=headers)  # noqa: S310 - loopback
    with urllib.request.urlopen(asked, context=trust, timeout=10) as reply:  # noqa: S310
        return json.load(reply)


def test_feature_flags_are_for_those_with_a_token(warehouse: LocalWarehouse) -> None:
    path = "/api/2.0/connector-service/feature-flags/PYTHON/4.9.0"
    given = _get(warehouse, path, Authorization=f"Bearer {warehouse.settings().token}")
    assert given == {"flags": [], "ttl_seconds": 900}
    with pytest.raises(urllib.error.HTTPError, match="403") as refused:
        _get(warehouse, path, Authorization="Bearer nobody")
    refused.value.close()


def test_control_is_not_for_clients(warehouse: LocalWarehouse) -> None:
    token = warehouse.settings().token
    basic = base64.b64encode(f"x:{token}".encode()).decode()
    for authorization in (f"Bearer {token}", f"Basic {basic}", ""):
        with pytest.raises(urllib.error.HTTPError, match="403") as refused:
            _get(warehouse, "/control/log", Authorization=authorization)
        refused.value.close()


def test_a_fault_that_is_none_is_told(warehouse: LocalWarehouse) -> None:
    with pytest.raises(ValueError, match="no kind of fault is called 'misspelt'"):
        warehouse.fault("ExecuteStatement", "misspelt")
    with pytest.raises(ValueError, match="a fault has no"):
        warehouse.fault("ExecuteStatement", seconnds=1)

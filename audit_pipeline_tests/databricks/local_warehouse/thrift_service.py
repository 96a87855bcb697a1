"""The Thrift protocol of a SQL warehouse: what databricks-sql-connector 4.9 asks of one.

The method names are those of the generated interface `TCLIService.Iface`.
"""

import contextlib
import re
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from databricks.sql.thrift_api.TCLIService import ttypes

from audit_pipeline_tests.databricks.local_warehouse import catalogue
from audit_pipeline_tests.databricks.local_warehouse.engine import Engine, Result, Session, SqlError
from audit_pipeline_tests.databricks.local_warehouse.faults import Faults
from audit_pipeline_tests.databricks.local_warehouse.journal import Journal
from audit_pipeline_tests.databricks.local_warehouse.parameters import from_thrift
from audit_pipeline_tests.databricks.local_warehouse.results import ResultRows, link

OK = ttypes.TStatus(ttypes.TStatusCode.SUCCESS_STATUS)
State = ttypes.TOperationState
PROTOCOL = ttypes.TProtocolVersion.SPARK_CLI_SERVICE_PROTOCOL_V9
STATUS_WAIT_SECONDS = 0.2


@dataclass
class Limits:
    """What a real warehouse decides for itself, and a test may set.

    Attributes:
        rows_per_fetch: rows in one reply or one chunk.
        link_rows_min: a result of that many rows is handed out by links, if the client can.
        direct_seconds: how long a statement is waited for before the client is told to poll.
    """

    rows_per_fetch: int = 20_000
    link_rows_min: int = 50_000
    direct_seconds: float = 5.0


@dataclass
class Operation:
    """One statement at work, or done."""

    session: Session
    guid: bytes = field(default_factory=lambda: uuid.uuid4().bytes)
    done: threading.Event = field(default_factory=threading.Event)
    rows: ResultRows | None = None
    modified: int | None = None
    error: Exception | None = None
    cancelled: bool = False

    @property
    def handle(self) -> ttypes.TOperationHandle:
        """As the client knows it."""
        return ttypes.TOperationHandle(
            ttypes.THandleIdentifier(self.guid, b"o" * 16),
            ttypes.TOperationType.EXECUTE_STATEMENT,
            hasResultSet=True,
        )

    def status(self) -> ttypes.TGetOperationStatusResp:
        """Where it stands."""
        if not self.done.is_set():
            return ttypes.TGetOperationStatusResp(status=OK, operationState=State.RUNNING_STATE)
        if self.cancelled:
            return ttypes.TGetOperationStatusResp(status=OK, operationState=State.CANCELED_STATE)
        if self.error is not None:
            message = str(self.error)
            sqlstate = re.search(r"SQLSTATE: (\w{5})", message)
            return ttypes.TGetOperationStatusResp(
                status=OK,
                operationState=State.ERROR_STATE,
                sqlState=sqlstate[1] if sqlstate else None,
                errorMessage=message,
                displayMessage=message,
                diagnosticInfo=f"{type(self.error).__name__}: {message}",
            )
        return ttypes.TGetOperationStatusResp(
            status=OK,
            operationState=State.FINISHED_STATE,
            hasResultSet=True,
            numModifiedRows=self.modified,
        )


class ThriftService:
    """One warehouse: its sessions, its statements, the chunks that wait to be fetched.

    Args:
        engine: where statements run.
        faults: what goes wrong with links.
        journal: where statements are written down.
        url: of this server, for the links.
    """

    def __init__(self, engine: Engine, faults: Faults, journal: Journal, url: str) -> None:
        self.limits = Limits()
        self.chunks: dict[str, bytes] = {}
        self._engine, self._faults, self._journal, self._url = engine, faults, journal, url
        self._sessions: dict[bytes, Session] = {}
        self._operations: dict[bytes, Operation] = {}

    def drop_sessions(self) -> int:
        """Forget every session and statement, as a warehouse does with idle ones."""
        dropped = len(self._sessions)
        for session in list(self._sessions.values()):
            session.close()
        self._sessions.clear()
        self._operations.clear()
        return dropped

    # ── sessions ────────────────────────────────────────────────────────────────────────────────

    def OpenSession(self, request: Any) -> ttypes.TOpenSessionResp:
        """A session in the catalog and schema that the client names."""
        wanted = request.initialNamespace
        guid = uuid.uuid4().bytes
        try:
            session = self._engine.open(wanted and wanted.catalogName, wanted and wanted.schemaName)
        except SqlError as error:
            return ttypes.TOpenSessionResp(status=_refused(error), serverProtocolVersion=PROTOCOL)
        self._sessions[guid] = session
        return ttypes.TOpenSessionResp(
            status=OK,
            serverProtocolVersion=PROTOCOL,
            sessionHandle=ttypes.TSessionHandle(ttypes.THandleIdentifier(guid, b"s" * 16)),
            initialNamespace=wanted,
            canUseMultipleCatalogs=True,
        )

    def CloseSession(self, request: Any) -> ttypes.TCloseSessionResp:
        """The end of one."""
        session = self._sessions.pop(request.sessionHandle.sessionId.guid, None)
        if session is None:
            return ttypes.TCloseSessionResp(status=_unknown("SessionHandle"))
        session.close()
        return ttypes.TCloseSessionResp(status=OK)

    # ── statements ──────────────────────────────────────────────────────────────────────────────

    def ExecuteStatement(self, request: Any) -> ttypes.TExecuteStatementResp:
        """Run a statement."""
        self._journal.statement(request.statement)
        parameters = [from_thrift(sent) for sent in request.parameters or ()]
        fault = self._faults.due("ExecuteStatement", request.statement.encode(), "statement")

        def work(session: Session) -> Result:
            if fault is not None:
                raise RuntimeError(fault.message)
            return session.execute(request.statement, parameters)

        return self._start(
            request,
            ttypes.TExecuteStatementResp,
            work,
            by_link=bool(request.canDownloadResult),
            compressed=bool(request.canDecompressLZ4Result),
        )

    def GetCatalogs(self, request: Any) -> ttypes.TGetCatalogsResp:
        """The catalogs."""
        return self._start(request, ttypes.TGetCatalogsResp, catalogue.catalogs)

    def GetSchemas(self, request: Any) -> ttypes.TGetSchemasResp:
        """The schemas whose names fit."""
        return self._start(
            request, ttypes.TGetSchemasResp, lambda session: catalogue.schemas(session, request)
        )

    def GetTables(self, request: Any) -> ttypes.TGetTablesResp:
        """The tables and views whose names and kinds fit."""
        return self._start(
            request, ttypes.TGetTablesResp, lambda session: catalogue.tables(session, request)
        )

    def GetColumns(self, request: Any) -> ttypes.TGetColumnsResp:
        """The columns whose names fit."""
        return self._start(
            request, ttypes.TGetColumnsResp, lambda session: catalogue.columns(session, request)
        )

    def GetOperationStatus(self, request: Any) -> ttypes.TGetOperationStatusResp:
        """Whether a statement is done; waits a little, so that a client does not ask too often."""
        operation = self._operation(request)
        if operation is None:
            return ttypes.TGetOperationStatusResp(status=_unknown("OperationHandle"))
        operation.done.wait(STATUS_WAIT_SECONDS)
        return operation.status()

    def GetResultSetMetadata(self, request: Any) -> ttypes.TGetResultSetMetadataResp:
        """Names and types of a result."""
        operation = self._operation(request)
        if operation is None or operation.rows is None:
            return ttypes.TGetResultSetMetadataResp(status=_unknown("OperationHandle"))
        return operation.rows.metadata()

    def FetchResults(self, request: Any) -> ttypes.TFetchResultsResp:
        """The next rows. They are gone then: an inline fetch cannot be repeated."""
        operation = self._operation(request)
        if operation is None or operation.rows is None:
            return ttypes.TFetchResultsResp(status=_unknown("OperationHandle"))
        return self._fetch(operation, request.maxRows, with_metadata=True)

    def CancelOperation(self, request: Any) -> ttypes.TCancelOperationResp:
        """Stop a statement."""
        operation = self._operation(request)
        if operation is not None and not operation.done.is_set():
            operation.cancelled = True
            operation.session.interrupt()
        return ttypes.TCancelOperationResp(status=OK)

    def CloseOperation(self, request: Any) -> ttypes.TCloseOperationResp:
        """Forget a statement and its rows."""
        guid = request.operationHandle.operationId.guid
        if self._operations.pop(guid, None) is None:
            return ttypes.TCloseOperationResp(status=_unknown("OperationHandle"))
        self._forget_chunks(guid)
        return ttypes.TCloseOperationResp(status=OK)

    # ── inside ──────────────────────────────────────────────────────────────────────────────────

    def _operation(self, request: Any) -> Operation | None:
        return self._operations.get(request.operationHandle.operationId.guid)

    def _forget_chunks(self, guid: bytes) -> None:
        for path in [path for path in self.chunks if guid.hex() in path]:
            del self.chunks[path]

    def _start(
        self,
        request: Any,
        reply: Any,
        work: Callable[[Session], Result | pa.Table],
        *,
        by_link: bool = False,
        compressed: bool = False,
    ) -> Any:
        """Begin some work in a thread, and answer with its result if that comes soon."""
        session = self._sessions.get(request.sessionHandle.sessionId.guid)
        if session is None:
            return reply(status=_unknown("SessionHandle"))
        operation = Operation(session)
        self._operations[operation.guid] = operation

        def run() -> None:
            try:
                done = work(session)
                result = done if isinstance(done, Result) else Result(done)
                linked = by_link and result.table.num_rows >= self.limits.link_rows_min
                operation.rows = ResultRows(result.table, linked, compressed)
                operation.modified = result.modified
            except Exception as error:  # noqa: BLE001 - whatever it is, the client is told
                operation.error = error
            finally:
                operation.done.set()

        threading.Thread(target=run, daemon=True).start()
        # without direct results the client wants no rows yet: it polls
        seconds = self.limits.direct_seconds if request.getDirectResults else 0
        if not operation.done.wait(seconds) or not request.getDirectResults:
            return reply(status=OK, operationHandle=operation.handle)
        return reply(
            status=OK,
            operationHandle=operation.handle,
            directResults=self._direct(operation, request.getDirectResults.maxRows),
        )

    def _direct(self, operation: Operation, rows_max: int) -> ttypes.TSparkDirectResults:
        direct = ttypes.TSparkDirectResults(operationStatus=operation.status())
        rows = operation.rows
        if rows is None:
            return direct
        direct.resultSetMetadata = rows.metadata()
        direct.resultSet = self._fetch(operation, rows_max)
        if not rows.has_more and not rows.by_link:
            # all is said: the client need not close it
            del self._operations[operation.guid]
            direct.closeOperation = ttypes.TCloseOperationResp(status=OK)
        return direct

    def _fetch(
        self, operation: Operation, rows_max: int, *, with_metadata: bool = False
    ) -> ttypes.TFetchResultsResp:
        rows = operation.rows
        assert rows is not None
        start, part = rows.take(
            min(rows_max or self.limits.rows_per_fetch, self.limits.rows_per_fetch)
        )
        row_set = self._linked(operation, start, part) if rows.by_link else rows.inline(start, part)
        return ttypes.TFetchResultsResp(
            status=OK,
            hasMoreRows=rows.has_more,
            results=row_set,
            resultSetMetadata=rows.metadata() if with_metadata else None,
        )

    def _linked(self, operation: Operation, start: int, part: pa.Table) -> ttypes.TRowSet:
        rows = operation.rows
        assert rows is not None
        links: list[ttypes.TSparkArrowResultLink] = []
        if part.num_rows:
            number = rows.chunks
            packed, plain_bytes = rows.chunk(part)
            path = f"/chunks/{operation.guid.hex()}/{number}"
            self.chunks[path] = packed
            fault = self._faults.due(f"CloudFetch/{number}", moment="link")
            links = [
                link(self._url + path, start, part.num_rows, plain_bytes, expired=fault is not None)
            ]
        return ttypes.TRowSet(startRowOffset=start, rows=[], resultLinks=links)

    def close(self) -> None:
        """End every session."""
        with contextlib.suppress(Exception):
            self.drop_sessions()


def _unknown(handle: str) -> ttypes.TStatus:
    return ttypes.TStatus(
        ttypes.TStatusCode.INVALID_HANDLE_STATUS, errorMessage=f"Invalid {handle}"
    )


def _refused(error: SqlError) -> ttypes.TStatus:
    return ttypes.TStatus(
        ttypes.TStatusCode.ERROR_STATUS,
        sqlState=error.sqlstate,
        errorMessage=str(error),
        displayMessage=str(error),
    )

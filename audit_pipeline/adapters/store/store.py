"""The store: opened by its address, read by anyone, written by one transaction at a time."""

import contextlib
import datetime as dt
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import itemgetter
from types import TracebackType
from typing import Any, Protocol, Self

from sqlalchemy import ColumnElement, Connection, Engine, func, select
from sqlalchemy.exc import DatabaseError, DBAPIError, InterfaceError, OperationalError

from audit_pipeline.adapters import failpoints
from audit_pipeline.adapters.store import engine as engines
from audit_pipeline.adapters.store import trail_reader
from audit_pipeline.adapters.store.rows import (
    FlagRow,
    PartitionRow,
    RunRow,
    StoredQuery,
    decision_of,
    finding_of,
    in_lots,
)
from audit_pipeline.adapters.store.schema import (
    AUDIT_PARTITIONS,
    AUDIT_TRAIL,
    DECISIONS,
    FINDINGS,
    FLAGS,
    QUERIES,
    WORKFLOW_STATE,
)
from audit_pipeline.adapters.store.trail import Checkpoint, TrailEntry
from audit_pipeline.adapters.store.writer import Writer, saved_state
from audit_pipeline.model.decision import Decision
from audit_pipeline.model.errors import FlagUnknown, StoreUnavailable
from audit_pipeline.model.finding import Finding
from audit_pipeline.model.flag import FlagState, Severity

FIRST_AUDIT_AT = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
"""The last audit where there was none; the specification's default."""

PREFIX_CHARACTERS_MIN = 6
CANDIDATES_SHOWN_MAX = 10
TRAIL_ROWS_AT_ONCE = 2_000


def _utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class Sealing(Protocol):
    """What signs the trail outside the database; `adapters.trail.sealing.Sealer`."""

    def committed(self, store: "Store", *, urgent: bool) -> None:
        """A transaction that appended to the trail is committed; must not raise."""


class Store:
    """Flags, findings, decisions, the trail and workflow state in one SQL database.

    Reading and writing raise `StoreUnavailable` where the database fails.

    Attributes:
        sealer: what signs the trail after commits; None: nobody does.
    """

    def __init__(self, engine: Engine, clock: Callable[[], dt.datetime] = _utc_now) -> None:
        self.sealer: Sealing | None = None
        self._engine = engine
        self._clock = clock
        self._turn = threading.Lock()
        self._writing = threading.local()

    @classmethod
    def open(
        cls,
        url: str,
        *,
        migrate: bool = True,
        clock: Callable[[], dt.datetime] = _utc_now,
        sealer: Sealing | None = None,
    ) -> Self:
        """Open the store at an address, and bring its schema to this code's version.

        Args:
            url: `sqlite:///<file>` (its folder is created) or `postgresql+psycopg2://…`.
            migrate: false: a store of an older version is refused instead of migrated.
            clock: what time it is, UTC.
            sealer: what signs the trail after commits.

        Raises:
            StoreUnavailable: it cannot be opened, or it is newer than this code.
        """
        engine = engines.engine_of(url)
        try:
            engines.prepare(engine, migrate=migrate)
        except BaseException:
            engine.dispose()
            raise
        store = cls(engine, clock)
        store.sealer = sealer
        return store

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def writing(self, effect: str = "write") -> Iterator[Writer]:
        """One transaction: committed at the end, taken back on any error.

        Writers take turns, whichever thread, process or machine they are in, so nothing slow
        (a model, a query of the warehouse) belongs inside.

        Args:
            effect: its name among the failpoints.

        Raises:
            RuntimeError: this thread is writing already; use the Writer that it has.
        """
        if getattr(self._writing, "now", False):
            raise RuntimeError("this thread has a transaction open; use its Writer")
        if not self._turn.acquire(timeout=engines.WAIT_SECONDS_MAX):
            raise StoreUnavailable(
                f"{self._name}: another thread kept writing for {engines.WAIT_SECONDS_MAX} s"
            )
        self._writing.now = True
        try:
            failpoints.here(f"{effect}.before")
            with self._faults(), engines.write_connection(self._engine) as connection:
                writer = Writer(connection, self._clock())
                yield writer
                failpoints.here(f"{effect}.within")
            failpoints.here(f"{effect}.after")
        finally:
            self._writing.now = False
            self._turn.release()
        if self.sealer is not None and (writer.appended or writer.urgent):
            self.sealer.committed(self, urgent=writer.urgent)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection on which every statement sees the same state of the store."""
        with self._faults(), engines.read_connection(self._engine) as connection:
            yield connection

    @property
    def _name(self) -> str:
        return engines.shown(str(self._engine.url))

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as fault:
            # a refused row is the caller's fault; the others are the database's
            failed = isinstance(fault, OperationalError | InterfaceError)
            if failed or type(fault) is DatabaseError:
                raise engines.unavailable(self._name, fault) from fault
            raise

    # ---- findings and queries

    def findings_of(
        self, population: str, transaction_ids: Iterable[str], outside: tuple[dt.date, dt.date]
    ) -> list[Finding]:
        """The findings on these transactions that are dated outside a range (inclusive).

        Returns:
            Ordered by transaction, audit date and rule.
        """
        with self.reading() as connection:
            return [
                finding_of(row)
                for lot in in_lots(transaction_ids)
                for row in connection.execute(
                    select(FINDINGS)
                    .where(
                        FINDINGS.c.population == population,
                        FINDINGS.c.transaction_id.in_(lot),
                        ~FINDINGS.c.audit_on.between(*outside),
                    )
                    .order_by(FINDINGS.c.transaction_id, FINDINGS.c.audit_on, FINDINGS.c.rule_id)
                ).mappings()
            ]

    def findings_of_flag(self, flag_id: str) -> list[Finding]:
        """Everything that led to a flag, ordered by audit date and rule."""
        return [finding for finding, _ in self.findings_with_queries(flag_id)]

    def findings_with_queries(self, flag_id: str) -> list[tuple[Finding, str | None]]:
        """Everything that led to a flag, each with the id of the query that found it."""
        with self.reading() as connection:
            rows = connection.execute(
                select(FINDINGS)
                .where(FINDINGS.c.flag_id == flag_id)
                .order_by(FINDINGS.c.audit_on, FINDINGS.c.rule_id)
            )
            return [(finding_of(row), row["query_id"]) for row in rows.mappings()]

    def findings_by_flag(self, flag_ids: Iterable[str]) -> dict[str, list[Finding]]:
        """Flag id → everything that led to it, ordered by audit date and rule."""
        found: dict[str, list[Finding]] = {}
        with self.reading() as connection:
            for lot in in_lots(flag_ids):
                rows = connection.execute(
                    select(FINDINGS)
                    .where(FINDINGS.c.flag_id.in_(lot))
                    .order_by(FINDINGS.c.audit_on, FINDINGS.c.rule_id)
                )
                for row in rows.mappings():
                    found.setdefault(row["flag_id"], []).append(finding_of(row))
        return found

    def rules_by_transaction(self, population: str) -> dict[str, set[str]]:
        """Transaction id → the rules that have a finding with points on it."""
        with self.reading() as connection:
            rows = connection.execute(
                select(FINDINGS.c.transaction_id, FINDINGS.c.rule_id)
                .where(FINDINGS.c.population == population, FINDINGS.c.score > 0)
                .distinct()
            )
            found: dict[str, set[str]] = {}
            for transaction_id, rule_id in rows:
                found.setdefault(transaction_id, set()).add(rule_id)
            return found

    def transactions_with_findings(
        self, population: str, from_on: dt.date, to_on: dt.date
    ) -> set[str]:
        """The transactions that have a finding on the audit dates from_on … to_on (inclusive)."""
        with self.reading() as connection:
            return set(
                connection.scalars(
                    select(FINDINGS.c.transaction_id)
                    .where(
                        FINDINGS.c.population == population,
                        FINDINGS.c.audit_on.between(from_on, to_on),
                    )
                    .distinct()
                )
            )

    def flagged_transactions(self, population: str) -> set[str]:
        """The transactions that have a flag which is open or decided."""
        standing = (FlagState.OPEN.value, FlagState.DECIDED.value)
        with self.reading() as connection:
            return set(
                connection.scalars(
                    select(FLAGS.c.transaction_id).where(
                        FLAGS.c.population == population, FLAGS.c.state.in_(standing)
                    )
                )
            )

    def flags_of_transactions(
        self, population: str, transaction_ids: Iterable[str]
    ) -> list[dict[str, Any]]:
        """Every flag of these transactions in every state: the columns of `flags`, by id."""
        found: list[dict[str, Any]] = []
        with self.reading() as connection:
            for lot in in_lots(sorted(transaction_ids)):
                rows = connection.execute(
                    select(FLAGS).where(
                        FLAGS.c.population == population, FLAGS.c.transaction_id.in_(lot)
                    )
                )
                found.extend(dict(row) for row in rows.mappings())
        return sorted(found, key=itemgetter("flag_id"))

    def queries_of(self, flag_id: str) -> list[StoredQuery]:
        """What re-performs the findings of a flag, each query once, ordered by rule."""
        asked = select(FINDINGS.c.query_id).where(FINDINGS.c.flag_id == flag_id)
        with self.reading() as connection:
            rows = connection.execute(
                select(QUERIES)
                .where(QUERIES.c.query_id.in_(asked))
                .order_by(QUERIES.c.rule_id, QUERIES.c.query_id)
            )
            return [StoredQuery.of(row) for row in rows.mappings()]

    # ---- flags and decisions

    def flag(self, flag_id_or_prefix: str) -> FlagRow:
        """The flag of this id, or the only one whose id begins like this (6 characters or more).

        Raises:
            FlagUnknown: there is none, or more than one: the message names them.
        """
        begin = flag_id_or_prefix.strip().lower()
        if len(begin) < PREFIX_CHARACTERS_MIN:
            raise FlagUnknown(
                f"{begin!r} is too short for a flag id; give at least its first "
                f"{PREFIX_CHARACTERS_MIN} characters"
            )
        with self.reading() as connection:
            rows = (
                connection.execute(
                    select(FLAGS)
                    .where(FLAGS.c.flag_id.startswith(begin, autoescape=True))
                    .order_by(FLAGS.c.flag_id)
                    .limit(CANDIDATES_SHOWN_MAX + 1)
                )
                .mappings()
                .all()
            )
        if not rows:
            raise FlagUnknown(f"there is no flag {begin}; `audit-pipeline flags` lists them")
        if len(rows) > 1:
            more = ", …" if len(rows) > CANDIDATES_SHOWN_MAX else ""
            named = ", ".join(row["flag_id"] for row in rows[:CANDIDATES_SHOWN_MAX])
            raise FlagUnknown(f"{begin} could be more than one flag: {named}{more}")
        return FlagRow.of(rows[0])

    def flags(
        self,
        population: str | None = None,
        severity: Severity | str | None = None,
        state: FlagState | str | None = FlagState.OPEN,
        *,
        rule: str | None = None,
        audit_run_id: str | None = None,
        from_on: dt.date | None = None,
        to_on: dt.date | None = None,
        limit: int | None = None,
    ) -> list[FlagRow]:
        """Flags in the order in which a reviewer works: severity, score, audit date, transaction.

        Args:
            state: None: every state.
            rule: with a finding of this rule.
            audit_run_id: last changed by this run.
            from_on: on the flag's audit date, inclusive, as is `to_on`.
            limit: at most so many.
        """
        wanted = _where(
            (population, FLAGS.c.population.__eq__),
            (state, FLAGS.c.state.__eq__),
            (audit_run_id, FLAGS.c.audit_run_id.__eq__),
            (from_on, FLAGS.c.audit_on.__ge__),
            (to_on, FLAGS.c.audit_on.__le__),
        )
        if rule is not None:
            found = FINDINGS.c.flag_id == FLAGS.c.flag_id
            wanted.append(
                select(FINDINGS.c.rule_id).where(found, FINDINGS.c.rule_id == rule).exists()
            )
        levels = list(Severity) if severity is None else [Severity(severity)]
        rows: list[FlagRow] = []
        with self.reading() as connection:
            for level in levels:  # one at a time, each in the order of idx_flags_worklist
                query = (
                    select(FLAGS)
                    .where(FLAGS.c.severity_level == level.value, *wanted)
                    .order_by(
                        FLAGS.c.severity_score.desc(), FLAGS.c.audit_on, FLAGS.c.transaction_id
                    )
                )
                if limit is not None:
                    query = query.limit(max(0, limit - len(rows)))
                rows.extend(FlagRow.of(row) for row in connection.execute(query).mappings())
        return rows

    def decisions_of(self, flag_id: str) -> list[Decision]:
        """Every decision on a flag, the latest last."""
        with self.reading() as connection:
            rows = connection.execute(
                select(DECISIONS)
                .where(DECISIONS.c.flag_id == flag_id)
                .order_by(DECISIONS.c.decided_at, DECISIONS.c.recorded_at)
            )
            return [decision_of(row) for row in rows.mappings()]

    # ---- trail, ledger, runs

    def trail(
        self,
        audit_run_id: str | None = None,
        agent_name: str | None = None,
        after: int = 0,
        limit: int | None = None,
    ) -> Iterator[TrailEntry]:
        """The trail in order; read in pages, so a long one needs no memory and no lock.

        It gives the rows as they are stored, also those that somebody tampered with: see
        `TrailEntry.intact`.

        Args:
            after: only entries with a larger sequence number.
            limit: at most so many.
        """
        wanted = _where(
            (audit_run_id, AUDIT_TRAIL.c.audit_run_id.__eq__),
            (agent_name, AUDIT_TRAIL.c.agent_name.__eq__),
        )
        return trail_reader.pages(self.reading, wanted, after, limit, TRAIL_ROWS_AT_ONCE)

    def checkpoints(self) -> list[Checkpoint]:
        """The signed states of the trail that are kept here, the longest last."""
        with self.reading() as connection:
            return trail_reader.checkpoints(connection)

    def partitions(
        self,
        population: str | None = None,
        from_on: dt.date | None = None,
        to_on: dt.date | None = None,
        audit_run_id: str | None = None,
    ) -> list[PartitionRow]:
        """The disposition ledger, ordered by population and audit date; the range is inclusive."""
        wanted = _where(
            (population, AUDIT_PARTITIONS.c.population.__eq__),
            (from_on, AUDIT_PARTITIONS.c.audit_on.__ge__),
            (to_on, AUDIT_PARTITIONS.c.audit_on.__le__),
            (audit_run_id, AUDIT_PARTITIONS.c.audit_run_id.__eq__),
        )
        with self.reading() as connection:
            rows = connection.execute(
                select(AUDIT_PARTITIONS)
                .where(*wanted)
                .order_by(AUDIT_PARTITIONS.c.population, AUDIT_PARTITIONS.c.audit_on)
            )
            return [PartitionRow.of(row) for row in rows.mappings()]

    def runs(
        self, population: str | None = None, status: str | None = None, limit: int | None = None
    ) -> list[RunRow]:
        """The audit runs, the newest first."""
        wanted = _where(
            (population, WORKFLOW_STATE.c.population.__eq__),
            (status, WORKFLOW_STATE.c.workflow_status.__eq__),
        )
        with self.reading() as connection:
            rows = connection.execute(
                select(WORKFLOW_STATE)
                .where(*wanted)
                .order_by(WORKFLOW_STATE.c.created_at.desc(), WORKFLOW_STATE.c.audit_run_id)
                .limit(limit)
            )
            return [RunRow.of(row) for row in rows.mappings()]

    # ---- the specification's names

    def save_workflow_state(self, audit_run_id: str, state: Mapping[str, Any]) -> None:
        """See `Writer.save_workflow_state`."""
        with self.writing("workflow_state") as writer:
            writer.save_workflow_state(audit_run_id, state)

    def restore_workflow_state(self, audit_run_id: str) -> dict[str, Any]:
        """The state that was last saved for a run; empty where there is none."""
        with self.reading() as connection:
            return saved_state(connection, audit_run_id)

    def mark_audit_complete(self, audit_run_id: str, summary: Mapping[str, Any]) -> None:
        """See `Writer.mark_audit_complete`."""
        with self.writing("close") as writer:
            writer.mark_audit_complete(audit_run_id, summary)

    def get_last_audit_timestamp(self, population: str | None = None) -> dt.datetime:
        """When the last completed audit began, UTC; 2025-01-01 where there was none."""
        wanted = _where((population, WORKFLOW_STATE.c.population.__eq__))
        with self.reading() as connection:
            began = connection.scalar(
                select(func.max(WORKFLOW_STATE.c.created_at)).where(
                    WORKFLOW_STATE.c.workflow_status == "completed", *wanted
                )
            )
        return began or FIRST_AUDIT_AT


def _where(
    *filters: tuple[object, Callable[[Any], ColumnElement[bool]]],
) -> list[ColumnElement[bool]]:
    """The conditions whose value is given."""
    return [condition(value) for value, condition in filters if value is not None]

"""What one writing transaction may do. `Store.writing` makes it, commits it or takes it back."""

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Table, delete, func, insert, select, update

from audit_pipeline.adapters.store import rule_versions
from audit_pipeline.adapters.store.rows import (
    FLAG_CONTENT,
    FlagChanges,
    PartitionRow,
    StoredQuery,
    evidence_text,
    flag_content,
    in_lots,
    instant_text,
    json_text,
)
from audit_pipeline.adapters.store.schema import (
    AUDIT_PARTITIONS,
    AUDIT_TRAIL,
    FINDINGS,
    FLAGS,
    QUERIES,
    TRAIL_CHECKPOINTS,
    WORKFLOW_STATE,
    WORKFLOW_STATUSES,
)
from audit_pipeline.adapters.store.trail import Checkpoint, trail_row
from audit_pipeline.model.errors import BadUsage
from audit_pipeline.model.finding import Finding
from audit_pipeline.model.flag import Flag, FlagState, Severity, flag_id, transition
from audit_pipeline.model.trail import TrailEvent

if TYPE_CHECKING:
    from sqlalchemy.dialects.postgresql import Insert as PostgresInsert
    from sqlalchemy.dialects.sqlite import Insert as SqliteInsert

    from audit_pipeline.model.rule import Rules


class Writer:
    """One open transaction; nothing of it is seen by others before it commits.

    Attributes:
        connection: for statements on tables that have no method here (`users`, `llm_calls`).
        now: the one instant of this transaction, UTC.
        appended: it has added to the trail.
        urgent: the trail is to be sealed as soon as this is committed.
    """

    def __init__(self, connection: Connection, now: dt.datetime) -> None:
        self.connection = connection
        self.now = now
        self.appended = False
        self.urgent = False

    # ---- findings and the queries that re-perform them

    def replace_findings(
        self,
        population: str,
        from_on: dt.date,
        to_on: dt.date,
        findings: Sequence[Finding],
        query_ids: Mapping[str, str],
    ) -> None:
        """These are now all findings of the population on the audit dates from_on … to_on.

        Args:
            from_on: inclusive.
            to_on: inclusive.
            query_ids: of a rule id, the query that found its findings; it must be stored by the
                time the transaction commits.

        Raises:
            ValueError: a finding is dated outside the range.
        """
        stray = [f for f in findings if not from_on <= f.audit_on <= to_on]
        if stray:
            raise ValueError(f"{len(stray)} findings outside {from_on} … {to_on}: {stray[0]}")
        self.connection.execute(
            delete(FINDINGS).where(
                FINDINGS.c.population == population, FINDINGS.c.audit_on.between(from_on, to_on)
            )
        )
        raised_as = cache(lambda transaction_id: flag_id(transaction_id, population))
        rows = [
            {
                "population": population,
                "transaction_id": f.transaction_id,
                "rule_id": f.rule_id,
                "audit_on": f.audit_on,
                "flag_id": raised_as(f.transaction_id),
                "rule_version": f.rule_version,
                "measured": f.measured,
                "threshold": f.threshold,
                "score": f.score,
                "evidence": evidence_text(f),
                "query_id": query_ids.get(f.rule_id),
            }
            for f in findings
        ]
        if rows:
            self.connection.execute(insert(FINDINGS), rows)

    def put_queries(self, queries: Iterable[StoredQuery]) -> None:
        """Keep what re-performs the findings; one that is already there stays as it is."""
        rows = {
            query.query_id: {
                "query_id": query.query_id,
                "rule_id": query.rule_id,
                "sql": query.sql,
                "parameters": json_text(query.parameters),
                "snapshot_id": query.snapshot_id,
                "tables": json_text(query.tables),
                "created_at": self.now,
            }
            for query in queries
        }
        self._upsert(QUERIES, list(rows.values()), overwrite=())

    # ---- flags

    def publish_flags(
        self, population: str, flags: Sequence[Flag], touched: Iterable[str], audit_run_id: str
    ) -> FlagChanges:
        """Make the flags of the touched transactions exactly `flags`.

        Flags are updated by `flag_id`, never duplicated, and a review column is never named. A
        row whose content is the same is not written at all. A decided flag keeps its state, unless
        one person decided it and it has become critical: it then waits for a second one.

        Args:
            flags: unique by flag_id, all of this population.
            touched: the transactions that this run looked at; one that has a flag in the store
                but none in `flags` is superseded, unless it is decided.
        """
        stored = self._stored_flags([flag.flag_id for flag in flags])
        created: list[str] = []
        updated: list[str] = []
        unchanged: list[str] = []
        reopened: list[str] = []
        writes: list[dict[str, Any]] = []
        for flag in flags:
            content = flag_content(flag)
            found = stored.get(flag.flag_id)
            state = FlagState.OPEN if found is None else FlagState(found["state"])
            if found is None:
                created.append(flag.flag_id)
            elif state is FlagState.SUPERSEDED or (
                state is FlagState.DECIDED
                and flag.severity_level is Severity.CRITICAL
                and found["approver_id"] is None
            ):
                reopened.append(flag.flag_id)
            elif all(found[name] == content[name] for name in FLAG_CONTENT):
                unchanged.append(flag.flag_id)
                continue
            else:
                updated.append(flag.flag_id)
            writes.append(content | {"flag_id": flag.flag_id})
        # before they become critical: a decided critical flag has two people, the database says
        self._reopen(reopened)
        self._write_flags(writes, audit_run_id)
        return FlagChanges(
            created=tuple(created),
            updated=tuple(updated),
            unchanged=tuple(unchanged),
            superseded=self._supersede(
                population, touched, {flag.flag_id for flag in flags}, audit_run_id
            ),
            reopened=tuple(reopened),
        )

    def _stored_flags(self, flag_ids: Iterable[str]) -> dict[str, Mapping[Any, Any]]:
        columns = [FLAGS.c[name] for name in ("flag_id", "state", "approver_id", *FLAG_CONTENT)]
        return {
            row["flag_id"]: row
            for lot in in_lots(flag_ids)
            for row in self.connection.execute(
                select(*columns).where(FLAGS.c.flag_id.in_(lot))
            ).mappings()
        }

    def _reopen(self, flag_ids: Iterable[str]) -> None:
        for lot in in_lots(flag_ids):
            self.connection.execute(
                update(FLAGS)
                .where(FLAGS.c.flag_id.in_(lot))
                .values(state=FlagState.OPEN.value, reviewed=False)
            )

    def _write_flags(self, writes: Sequence[Mapping[str, Any]], audit_run_id: str) -> None:
        born = {"first_run_id": audit_run_id, "created_at": self.now}
        changed = {"audit_run_id": audit_run_id, "updated_at": self.now}
        # The state is left out: new rows are open by default, others keep theirs. Both databases
        # hold the checks against the row that would be inserted, which has no reviewers.
        rows = [{**row, **changed, **born} for row in writes]
        if rows:
            self._upsert(FLAGS, rows, overwrite=[*writes[0], *changed])

    def _supersede(
        self, population: str, touched: Iterable[str], published: set[str], audit_run_id: str
    ) -> tuple[str, ...]:
        gone = [
            found
            for lot in in_lots(touched)
            for found in self.connection.scalars(
                select(FLAGS.c.flag_id)
                .where(
                    FLAGS.c.population == population,
                    FLAGS.c.transaction_id.in_(lot),
                    FLAGS.c.state == FlagState.OPEN.value,
                )
                .order_by(FLAGS.c.transaction_id)
            )
            if found not in published
        ]
        state = transition(FlagState.OPEN, FlagState.SUPERSEDED).value
        for lot in in_lots(gone):
            self.connection.execute(
                update(FLAGS)
                .where(FLAGS.c.flag_id.in_(lot))
                .values(state=state, audit_run_id=audit_run_id, updated_at=self.now)
            )
        return tuple(gone)

    # ---- the ledger

    def put_partitions(self, partitions: Iterable[PartitionRow]) -> None:
        """Replace the ledger's row of each audited day."""
        rows = [asdict(partition) for partition in partitions]
        self._upsert(AUDIT_PARTITIONS, rows, overwrite=rows[0] if rows else ())

    # ---- the trail

    def append_events(self, events: Sequence[TrailEvent]) -> int:
        """Append to the trail, in this order.

        Returns:
            The trail's last sequence number: its length.
        """
        last = self.connection.scalar(select(func.max(AUDIT_TRAIL.c.log_sequence_number))) or 0
        rows = [trail_row(event, number) for number, event in enumerate(events, last + 1)]
        if rows:
            self.connection.execute(insert(AUDIT_TRAIL), rows)
            self.appended = True
        return last + len(rows)

    def record_rules(self, rules: "Rules", audit_run_id: str) -> None:
        """Keep the versions of the rules that are not known yet, and say so in the trail."""
        changed = rule_versions.record(self.connection, rules, self.now)
        if changed:
            event = TrailEvent(
                audit_run_id=audit_run_id,
                agent_name="audit_logging",
                tool_called="record_rules",
                occurred_at=self.now,
                output_summary={"changed": changed},
            )
            self.append_events([event])

    def put_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Keep a signed state of the trail; one of the same size is replaced."""
        row = asdict(checkpoint)
        self._upsert(TRAIL_CHECKPOINTS, [row], overwrite=row)

    # ---- the state of a run

    def save_workflow_state(self, audit_run_id: str, state: Mapping[str, Any]) -> None:
        """Save how far a run is; `restore_workflow_state` gives the same mapping back.

        Args:
            state: JSON-able; what JSON has no word for is kept as its `str`. The keys
                workflow_status (or status), current_agent, completed_agents, pending_agents,
                population, from_on and to_on also fill the columns of those names. A population
                and a range, once given, stay.

        Raises:
            BadUsage: the status is not one of the specification's.
        """
        status = state.get("workflow_status") or state.get("status") or "in_progress"
        if status not in WORKFLOW_STATUSES:
            raise BadUsage(
                f"{status!r} is no workflow status; there are {', '.join(WORKFLOW_STATUSES)}"
            )
        stored = (
            self.connection.execute(
                select(WORKFLOW_STATE).where(WORKFLOW_STATE.c.audit_run_id == audit_run_id)
            )
            .mappings()
            .one_or_none()
        )
        row = {
            "audit_run_id": audit_run_id,
            "workflow_status": str(status),
            "current_agent": state.get("current_agent"),
            "completed_agents": json_text(list(state.get("completed_agents") or ())),
            "pending_agents": json_text(list(state.get("pending_agents") or ())),
            "intermediate_results": json_text(dict(state)),
            "updated_at": self.now,
            "population": state.get("population"),
            "from_on": _day(state.get("from_on")),
            "to_on": _day(state.get("to_on")),
        }
        if stored is None:
            self.connection.execute(insert(WORKFLOW_STATE).values(**row, created_at=self.now))
            return
        for name in ("population", "from_on", "to_on"):
            if row[name] is None:
                del row[name]
        self.connection.execute(
            update(WORKFLOW_STATE).where(WORKFLOW_STATE.c.audit_run_id == audit_run_id).values(row)
        )

    def workflow_state(self, audit_run_id: str) -> dict[str, Any]:
        """The state that was last saved for a run; empty where there is none."""
        return saved_state(self.connection, audit_run_id)

    def mark_audit_complete(self, audit_run_id: str, summary: Mapping[str, Any]) -> None:
        """Save the run as completed, with its summary, over the state it had."""
        self.urgent = True
        state = self.workflow_state(audit_run_id)
        done = [*state.get("completed_agents", ()), *state.get("pending_agents", ())]
        self.save_workflow_state(
            audit_run_id,
            state
            | {
                "completed_agents": list(dict.fromkeys(done)),
                "status": "completed",
                "workflow_status": "completed",
                "current_agent": None,
                "pending_agents": [],
                "summary": dict(summary),
                "completed_at": instant_text(self.now),
            },
        )

    def _upsert(
        self, table: Table, rows: Sequence[Mapping[str, Any]], overwrite: Iterable[str]
    ) -> None:
        """Insert; where the key is there already, overwrite these columns of it, or none."""
        if not rows:
            return
        keys = [column.name for column in table.primary_key.columns]
        statement = _dialects_insert(self.connection, table)
        columns = {name: statement.excluded[name] for name in overwrite if name not in keys}
        if columns:
            statement = statement.on_conflict_do_update(index_elements=keys, set_=columns)
        else:
            statement = statement.on_conflict_do_nothing(index_elements=keys)
        self.connection.execute(statement, [dict(row) for row in rows])


def saved_state(connection: Connection, audit_run_id: str) -> dict[str, Any]:
    """The state that was last saved for a run; empty where there is none."""
    stored = connection.scalar(
        select(WORKFLOW_STATE.c.intermediate_results).where(
            WORKFLOW_STATE.c.audit_run_id == audit_run_id
        )
    )
    return json.loads(stored or "{}")


def _dialects_insert(connection: Connection, table: Table) -> "SqliteInsert | PostgresInsert":
    """INSERT with ON CONFLICT; each dialect has its own, and loads 30 modules for it."""
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert as sqlite_insert

        return sqlite_insert(table)
    from sqlalchemy.dialects.postgresql import insert as postgres_insert

    return postgres_insert(table)


def _day(value: object) -> dt.date | None:
    """A date, or the ISO text of one."""
    match value:
        case None | "":
            return None
        case dt.datetime():
            return value.date()
        case dt.date():
            return value
        case _:
            return dt.date.fromisoformat(str(value))

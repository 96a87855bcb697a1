"""What every step of the map has around it: a tool log, workflow state, errors without a traceback.

A step works on `step.books`; what its tools were asked and answered goes to the trail when the
step ends, also when it fails.
"""

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol, TypeVar, runtime_checkable

import dagster as dg
import pyarrow as pa

from audit_pipeline.adapters.contracts import FINDING_SCHEMA, check_findings
from audit_pipeline.agents.audit_logging import ToolLog
from audit_pipeline.agents.data_quality import gate
from audit_pipeline.books import TABLES, Books
from audit_pipeline.model.errors import GateClosed, StoreUnavailable, WarehouseUnavailable
from audit_pipeline.model.query import Query
from audit_pipeline.resources import AuditStore, Gold, dates_of, step_errors

Result = TypeVar("Result")

AGENTS = (
    "data_quality",
    "reconciliation",
    "anomaly_detection",
    "context_enrichment",
    "escalation",
    "audit_logging",
)


def audit_run_id(context: dg.AssetExecutionContext) -> str:
    """The root run, so that a re-execution continues the same audit."""
    return context.run.root_run_id or context.run.run_id


def gate_reasons(gold: Gold, books: Books) -> list[str]:
    """Why the gate is closed for the range of the books; empty when it is open."""
    state = gold.state
    books.need("completeness")
    rows = books.warehouse.rows(Query("SELECT * FROM audit.completeness"))
    broken = {file.table: file.problem for file in state.files if file.problem is not None}
    return gate.gate_reasons(rows, broken, state.missing_columns, gold.rules["DQ-01"])


@dataclass
class Step:
    """One agent's step in a run."""

    context: dg.AssetExecutionContext
    gold: Gold
    books: Books
    run_id: str
    log: ToolLog
    counts: dict[str, int] = field(default_factory=dict[str, int])

    def call(self, tool: str, work: Callable[[], Result], **given: object) -> Result:
        """Do the work of one tool and log the call: how long, with what, what came out."""
        started_at = dt.datetime.now(dt.UTC)
        asked = {
            "from": self.books.from_on.isoformat(),
            "to": self.books.to_on.isoformat(),
            **given,
        }
        try:
            result = work()
        except Exception as fault:
            self.log.called(tool, started_at, dt.datetime.now(dt.UTC), asked, {}, fault)
            raise
        self.log.called(tool, started_at, dt.datetime.now(dt.UTC), asked, _size(result))
        return result

    def table(self, tool: str, *tables: str) -> None:
        """Derive tables of the books as one tool call."""
        self.call(tool, lambda: self.books.need(*tables), tables=list(tables))

    def _ask(self, rule_id: str, query: Query) -> pa.Table:
        version = self.gold.rules[rule_id].version
        return self.call(
            f"rule {rule_id}", lambda: self.books.warehouse.query(query), version=version
        )

    def findings(self, queries: dict[str, Query]) -> pa.Table:
        """The findings of an agent's rules, each rule one tool call."""
        found: list[pa.Table] = []
        for rule_id, query in queries.items():
            self.books.need(*(name for name in TABLES if f"audit.{name}" in query.sql))
            rows = self._ask(rule_id, query)
            if rows.num_rows:
                found.append(rows.select(FINDING_SCHEMA.names).cast(FINDING_SCHEMA))
        if not found:
            return FINDING_SCHEMA.empty_table()
        return check_findings(pa.concat_tables(found))


@runtime_checkable
class _Counted(Protocol):
    def counts(self) -> dict[str, int]: ...


def _size(result: object) -> dict[str, object]:
    if isinstance(result, _Counted):
        return dict(result.counts())
    rows = getattr(result, "num_rows", None)
    if isinstance(rows, int):
        return {"rows": rows}
    if isinstance(result, list | dict | tuple):
        return {"count": len(result)}
    return {}


@contextmanager
def step_of(
    agent: str,
    context: dg.AssetExecutionContext,
    gold: Gold,
    store: AuditStore,
    *,
    gated: bool = True,
) -> Iterator[Step]:
    """A step of that agent: its books, its tool log, its place in the workflow.

    Args:
        gated: refuse to work on partitions whose gate is closed, whoever asked for them; a
            selection in the UI that leaves the gate's own asset out does not open it.

    Raises:
        dagster.Failure: an expected error, as one line that names the remedy; not retried.
    """
    run_id = audit_run_id(context)
    place = AGENTS.index(agent)
    with step_errors(), store.opened() as opened:
        from_on, to_on = dates_of(context)
        state: dict[str, object] = {
            "workflow_status": "in_progress",
            "current_agent": agent,
            "completed_agents": list(AGENTS[:place]),
            "pending_agents": list(AGENTS[place:]),
            "from_on": from_on.isoformat(),
            "to_on": to_on.isoformat(),
        }
        try:
            books = gold.books(from_on, to_on)
            books.elsewhere = gold.elsewhere(context, books)
            state["population"] = gold.population
            opened.save_workflow_state(run_id, state)
            step = Step(context, gold, books, run_id, ToolLog(run_id, agent))
            try:
                if gated:
                    reasons = gate_reasons(gold, books)
                    if reasons:
                        raise GateClosed("the quality gate is closed: " + "; ".join(reasons))
                yield step
            finally:
                if step.log.events:
                    with opened.writing() as writer:
                        writer.append_events(step.log.events)
        except WarehouseUnavailable:
            # Dagster tries the step again; until then the run stands still, and says so.
            with suppress(StoreUnavailable):  # what the warehouse said is the error to tell
                opened.save_workflow_state(run_id, {**state, "workflow_status": "paused"})
            raise

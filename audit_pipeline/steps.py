"""What every step of the map has around it: a tool log, workflow state, errors without a traceback.

A step works on `step.books`; what its tools were asked and answered goes to the trail when the
step ends, also when it fails.
"""

import datetime as dt
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol, TypeVar, runtime_checkable

import dagster as dg
import pyarrow as pa

from audit_pipeline.adapters import process
from audit_pipeline.adapters.contracts import FINDING_SCHEMA, check_findings
from audit_pipeline.adapters.state import LiveState, live_state
from audit_pipeline.adapters.store import Store, attempts
from audit_pipeline.adapters.store.writer import Writer
from audit_pipeline.agents.audit_logging import ToolLog
from audit_pipeline.agents.data_quality import gate
from audit_pipeline.books import TABLES, Books
from audit_pipeline.model.errors import (
    GateClosed,
    PartitionBusy,
    StoreUnavailable,
    WarehouseUnavailable,
)
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


def routed(queue: str, priority: int) -> dict[str, str]:
    """The tags that send a step to workers, where there are workers; otherwise without effect.

    Args:
        queue: one of `settings.QUEUES`: a machine may serve one kind of work and not another.
        priority: 0 to 9; of steps that wait for the same worker the highest goes first. What is
            near the end of its run has a high one: a run that ends publishes its flags and gives
            its memory back, one that is begun does neither.
    """
    return {"dagster-celery/queue": queue, "dagster-celery/priority": str(priority)}


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
    attempt: attempts.Attempt
    log: ToolLog
    store: Store
    live: LiveState = field(default_factory=live_state)
    counts: dict[str, int] = field(default_factory=dict[str, int])

    def call(self, tool: str, work: Callable[[], Result], **given: object) -> Result:
        """Do the work of one tool and log the call: how long, with what, what came out."""
        started_at, asked = dt.datetime.now(dt.UTC), self._asked(given)
        try:
            result = work()
        except Exception as fault:
            self.log.called(tool, started_at, dt.datetime.now(dt.UTC), asked, {}, fault)
            self.live.advance(self.run_id, self.log.agent_name, tools=1)
            raise
        size = _size(result)
        self.log.called(tool, started_at, dt.datetime.now(dt.UTC), asked, size)
        rows = size.get("rows")
        made = rows if isinstance(rows, int) else 0
        self.live.advance(self.run_id, self.log.agent_name, tools=1, rows=made)
        return result

    def commit(
        self, tool: str, effect: str, store: Store, work: Callable[[Writer], Result]
    ) -> Result:
        """Do what a tool does to the store, with its entry in the trail, in one transaction.

        Args:
            effect: the transaction's name among the failpoints.
            work: what it does; nothing slow.

        Raises:
            AttemptSuperseded: a later attempt has these days; nothing was written.
        """
        started_at, asked = dt.datetime.now(dt.UTC), self._asked({})
        logged = ToolLog(self.run_id, self.log.agent_name)
        try:
            with store.writing(effect) as writer:
                attempts.require(writer.connection, self.attempt)
                writer.append_events(self.log.events)
                result = work(writer)
                logged.called(tool, started_at, dt.datetime.now(dt.UTC), asked, _size(result))
                writer.append_events(logged.events)
        except Exception as fault:
            self.log.called(tool, started_at, dt.datetime.now(dt.UTC), asked, {}, fault)
            raise
        self.log.events.clear()
        self.live.advance(self.run_id, self.log.agent_name, tools=1)
        return result

    def holding(self) -> AbstractContextManager[None]:
        """Within it nobody takes the days over; for an effect outside the store."""
        return attempts.holding(self.store, self.attempt.dagster_run_id)

    def _asked(self, given: dict[str, object]) -> dict[str, object]:
        return {
            "from": self.books.from_on.isoformat(),
            "to": self.books.to_on.isoformat(),
            **given,
        }

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


def _bid(
    context: dg.AssetExecutionContext, gold: Gold, from_on: dt.date, to_on: dt.date
) -> attempts.Bid:
    """What a step asks for; a step in a process of its own dies with its run's process."""
    parent = multiprocessing.parent_process()
    executor = context.job_def.executor_def.name
    if executor in ("multiprocess", "celery"):
        process.die_with_parent()
    worker = process.holder()
    if executor == "celery":
        worker = None  # on some machine or other
    elif executor == "multiprocess" and parent is not None:
        worker = process.holder(parent.pid)
    return attempts.Bid(
        population=gold.population,
        from_on=from_on,
        to_on=to_on,
        audit_run_id=audit_run_id(context),
        dagster_run_id=context.run.run_id,
        step_key=context.op_execution_context.get_step_execution_context().step.key,
        holder=process.holder(),
        worker=worker,
    )


@contextmanager
def _beating(store: Store, bid: attempts.Bid) -> Iterator[None]:
    """Say that the step is alive, for as long as it is."""
    done = threading.Event()

    def beats() -> None:
        while not done.wait(attempts.BEAT_SECONDS):
            with suppress(StoreUnavailable):  # the step itself will complain
                attempts.beat(store, bid.dagster_run_id, bid.step_key)

    heart = threading.Thread(target=beats, name="audit-beat", daemon=True)
    heart.start()
    try:
        yield
    finally:
        done.set()
        heart.join()


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
        PartitionBusy: another audit of these days is at work; Dagster tries again later.
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
            bid = _bid(context, gold, from_on, to_on)
            with opened.writing("begin") as writer:
                attempt = attempts.begin(writer, bid, lambda other: _finished(context, other))
                writer.save_workflow_state(run_id, state)
            store.live.save_workflow_state(run_id, state)
            store.live.advance(run_id, agent)
            log = ToolLog(run_id, agent)
            step = Step(context, gold, books, run_id, attempt, log, opened, store.live)
            with _beating(opened, bid):
                try:
                    if gated:
                        reasons = gate_reasons(gold, books)
                        if reasons:
                            raise GateClosed("the quality gate is closed: " + "; ".join(reasons))
                    yield step
                finally:
                    with opened.writing("step_events") as writer:
                        writer.append_events(step.log.events)
                        attempts.ended(writer, bid.dagster_run_id, bid.step_key)
        except (WarehouseUnavailable, PartitionBusy):
            # Dagster tries the step again; until then the run stands still, and says so.
            with suppress(StoreUnavailable):  # what the warehouse said is the error to tell
                opened.save_workflow_state(run_id, {**state, "workflow_status": "paused"})
            raise


def _finished(context: dg.AssetExecutionContext, dagster_run_id: str) -> bool | None:
    """Whether that run has ended; None where this Dagster does not know it."""
    run = context.instance.get_run_by_id(dagster_run_id)
    return None if run is None else run.is_finished

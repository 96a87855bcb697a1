"""The table `llm_calls`: what each attempt may cost, did cost and answered, and the budgets.

An attempt is reserved before it is made and settled after it, each in one transaction that
excludes every other writer of the store, so that no number of processes spends more than a
budget. What was reserved counts as spent until it is settled; where a process died in between,
until the reservation expires.
"""

import datetime as dt
import uuid
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import ColumnElement, Connection, case, func, insert, or_, select, update

from audit_pipeline.adapters.store import Store
from audit_pipeline.adapters.store.schema import LLM_CALLS
from audit_pipeline.model.question import Outcome, Question
from audit_pipeline.model.trail import TrailEvent

EXPIRES_AFTER_SECONDS = 600
"""Beyond the deadline of its question; by then no attempt is under way."""

_C = LLM_CALLS.c


@dataclass(frozen=True)
class Spent:
    """What counts as spent, in US dollars: settled costs, and reservations that stand."""

    run: Decimal
    day: Decimal


@dataclass(frozen=True)
class Reserved:
    """An attempt that may be made."""

    call_id: str
    question: Question
    model: str
    prompt_hash: str
    attempt: int
    dollars: Decimal


@dataclass(frozen=True)
class Settled:
    """How an attempt ended.

    Attributes:
        dollars: what it cost; what was reserved, where that is unknown.
        tokens_in: as the provider counted them; None where it did not say.
        tokens_out: likewise.
        answer: the validated answer as JSON.
        error: a line without secrets.
    """

    outcome: Outcome
    dollars: Decimal
    duration_ms: int
    tokens_in: int | None = None
    tokens_out: int | None = None
    answer: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class Calls:
    """Attempts that were made for one purpose and ended alike; cost in US dollars."""

    agent: str
    purpose: str
    model: str
    outcome: str
    attempts: int
    tokens_in: int
    tokens_out: int
    cost: Decimal
    duration_ms: int


def calls_of(store: Store, audit_run_id: str | None = None) -> list[Calls]:
    """The attempts of a run, or of all, by agent, purpose, model and outcome."""
    keys = (_C.agent_name, _C.purpose, _C.model, _C.status)
    query = select(
        *keys,
        func.count(),
        func.coalesce(func.sum(_C.tokens_in), 0),
        func.coalesce(func.sum(_C.tokens_out), 0),
        func.coalesce(func.sum(_C.cost_dollars), 0),
        func.coalesce(func.sum(_C.duration_ms), 0),
    )
    if audit_run_id is not None:
        query = query.where(_C.audit_run_id == audit_run_id)
    with store.reading() as connection:
        rows = connection.execute(query.group_by(*keys).order_by(*keys)).all()
    return [
        Calls(*row[:4], int(row[4]), int(row[5]), int(row[6]), Decimal(str(row[7])), int(row[8]))
        for row in rows
    ]


class CallLedger:
    """The calls of one audit run, with the budgets of the run and of the day.

    Not to be used within a transaction of the same thread on the same store.

    Args:
        from_on: the first audit date of the run; `to_on` is the last.
        budget_run: US dollars.
        budget_day: US dollars, of all runs of a UTC day.
    """

    def __init__(
        self,
        store: Store,
        audit_run_id: str,
        from_on: dt.date,
        to_on: dt.date,
        budget_run: Decimal,
        budget_day: Decimal,
    ) -> None:
        self._store = store
        self.audit_run_id = audit_run_id
        self._dates = {"from_on": from_on, "to_on": to_on}
        self.budget_run = budget_run
        self.budget_day = budget_day

    def spent(self) -> Spent:
        """What counts as spent now."""
        now = dt.datetime.now(dt.UTC)
        with self._store.reading() as connection:
            return self._spent(connection, now)

    def reserve(
        self,
        question: Question,
        model: str,
        prompt_hash: str,
        attempt: int,
        dollars: Decimal,
        seconds_max: float,
    ) -> Reserved | None:
        """Hold `dollars` for an attempt, or None where a budget does not have them left.

        Args:
            seconds_max: within which the attempt ends.
        """
        with self._store.writing("reserve") as writer:
            spent = self._spent(writer.connection, writer.now)
            if spent.run + dollars > self.budget_run or spent.day + dollars > self.budget_day:
                return None
            held = Reserved(str(uuid.uuid4()), question, model, prompt_hash, attempt, dollars)
            lasts = dt.timedelta(seconds=seconds_max + EXPIRES_AFTER_SECONDS)
            writer.connection.execute(
                insert(LLM_CALLS).values(
                    **self._row(held),
                    status="reserved",
                    started_at=writer.now,
                    expires_at=writer.now + lasts,
                )
            )
            return held

    def settle(self, held: Reserved, ended: Settled) -> None:
        """Record how an attempt ended, with its entry in the trail."""
        with self._store.writing("settle") as writer:
            writer.connection.execute(
                update(LLM_CALLS)
                .where(_C.call_id == held.call_id)
                .values(
                    status=ended.outcome.value,
                    tokens_in=ended.tokens_in,
                    tokens_out=ended.tokens_out,
                    cost_dollars=ended.dollars,
                    duration_ms=ended.duration_ms,
                    answer=ended.answer,
                    error_message=ended.error,
                )
            )
            writer.append_events([self._event(held, ended, writer.now)])

    def found(self, prompt_hash: str) -> str | None:
        """The latest answer to exactly this prompt, as JSON; None where there is none."""
        with self._store.reading() as connection:
            return connection.scalar(
                select(_C.answer)
                .where(
                    _C.prompt_sha256 == prompt_hash,
                    _C.status == Outcome.ANSWERED.value,
                    _C.answer.is_not(None),
                )
                .order_by(_C.started_at.desc(), _C.call_id)
                .limit(1)
            )

    def put_cached(
        self, question: Question, model: str, prompt_hash: str, answer: str | None = None
    ) -> None:
        """Record that an answer was found again; it costs nothing.

        Args:
            answer: as JSON, where no attempt of this store has it.
        """
        held = Reserved(str(uuid.uuid4()), question, model, prompt_hash, 0, Decimal(0))
        ended = Settled(Outcome.CACHED, Decimal(0), 0, answer=answer)
        with self._store.writing("settle") as writer:
            writer.connection.execute(
                insert(LLM_CALLS).values(
                    **self._row(held),
                    status=ended.outcome.value,
                    cost_dollars=ended.dollars,
                    duration_ms=ended.duration_ms,
                    answer=ended.answer,
                    started_at=writer.now,
                    expires_at=writer.now,
                )
            )
            writer.append_events([self._event(held, ended, writer.now)])

    def _row(self, held: Reserved) -> dict[str, object]:
        return {
            "call_id": held.call_id,
            "audit_run_id": self.audit_run_id,
            **self._dates,
            "agent_name": held.question.agent,
            "purpose": held.question.purpose,
            "model": held.model,
            "attempt": held.attempt,
            "prompt_sha256": held.prompt_hash,
            "reserved_dollars": held.dollars,
        }

    def _event(self, held: Reserved, ended: Settled, at: dt.datetime) -> TrailEvent:
        counted = ended.tokens_in is not None and ended.tokens_out is not None
        return TrailEvent(
            audit_run_id=self.audit_run_id,
            agent_name=held.question.agent,
            tool_called="call_llm",
            occurred_at=at,
            execution_time_ms=ended.duration_ms,
            input_data={
                "call_id": held.call_id,
                "purpose": held.question.purpose,
                "prompt_sha256": held.prompt_hash,
                "attempt": held.attempt,
                **{name: day.isoformat() for name, day in self._dates.items()},
            },
            output_summary={
                "outcome": ended.outcome.value,
                "cost_dollars": f"{ended.dollars:f}",
                "reserved_dollars": f"{held.dollars:f}",
            },
            llm_model=held.model,
            llm_tokens_used=(ended.tokens_in or 0) + (ended.tokens_out or 0) if counted else None,
            llm_cost_dollars=f"{ended.dollars:f}",
            error_message=ended.error,
        )

    def _spent(self, connection: Connection, now: dt.datetime) -> Spent:
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        return Spent(
            run=_sum(connection, now, _C.audit_run_id == self.audit_run_id),
            day=_sum(connection, now, _C.started_at >= midnight),
        )


def _sum(connection: Connection, now: dt.datetime, of: ColumnElement[bool]) -> Decimal:
    counts = case((_C.status == "reserved", _C.reserved_dollars), else_=_C.cost_dollars)
    stands = or_(_C.status != "reserved", _C.expires_at > now)
    total = connection.scalar(select(func.sum(counts)).where(of, stands))
    # SQLite adds the decimals as floats; rounded at their scale, the sum is exact again
    return round(Decimal(str(total or 0)), 6)

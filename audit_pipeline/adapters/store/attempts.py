"""Attempts at an audit: who may write a range of days, and whose processes are alive.

Each Dagster run is an attempt, with an epoch that is larger than that of every attempt before it.
Of two attempts that share a day only the one with the larger epoch may write, which is asked again
inside the transaction of every effect: a step that outlived its run finds itself superseded
instead of overwriting what its successor wrote.

One audit of a day at a time: a new attempt is refused while one of another audit is alive. An
attempt of the same audit (a re-execution) takes the days over at once.
"""

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, RowMapping, func, insert, select, update

from audit_pipeline.adapters.process import is_gone
from audit_pipeline.adapters.store.schema import AUDIT_ATTEMPTS, AUDIT_STEPS
from audit_pipeline.adapters.store.store import Store
from audit_pipeline.adapters.store.writer import Writer
from audit_pipeline.model.errors import AttemptSuperseded, PartitionBusy
from audit_pipeline.model.trail import TrailEvent

BEAT_SECONDS = 15
"""How often a step at work says that it is."""

LOST_AFTER = dt.timedelta(seconds=4 * BEAT_SECONDS)
"""A step that has said nothing for so long is lost, on whatever machine it was."""

SILENT_AFTER = dt.timedelta(minutes=15)
"""A run without a step at work may wait so long for its next one: for a worker, for a retry."""

_A, _S = AUDIT_ATTEMPTS.c, AUDIT_STEPS.c
Finished = Callable[[str], bool | None]
"""Whether Dagster knows that a run has ended; None where it does not know the run."""


@dataclass(frozen=True)
class Attempt:
    """One Dagster run's attempt at a range of days."""

    epoch: int
    population: str
    from_on: dt.date
    to_on: dt.date
    audit_run_id: str
    dagster_run_id: str


@dataclass(frozen=True)
class Bid:
    """What a step asks for when it begins.

    Attributes:
        audit_run_id: the root run.
        dagster_run_id: the run itself.
        holder: the process of the step, see `adapters.process.holder`.
        worker: the process of the run, where it is known.
    """

    population: str
    from_on: dt.date
    to_on: dt.date
    audit_run_id: str
    dagster_run_id: str
    step_key: str
    holder: str
    worker: str | None = None


def begin(writer: Writer, bid: Bid, finished: Finished) -> Attempt:
    """The attempt that a step belongs to: its run's, or a new one with the next epoch.

    Raises:
        AttemptSuperseded: a later attempt has these days, or the run has ended.
        PartitionBusy: another audit of one of these days is alive.
    """
    connection = writer.connection
    if finished(bid.dagster_run_id):
        raise AttemptSuperseded(f"run {bid.dagster_run_id[:8]} has ended; this step outlived it")
    row = _row_of(connection, bid.dagster_run_id)
    if row is None:
        row = _granted(writer, bid, finished)
    attempt = _attempt(row)
    require(connection, attempt)
    if row["released_at"] is not None:  # a step that is tried again after the run had given up
        _mark_released(connection, [attempt.epoch], None)
    step = _S.dagster_run_id == bid.dagster_run_id, _S.step_key == bid.step_key
    at_work = {
        "holder": bid.holder,
        "began_at": writer.now,
        "beat_at": writer.now,
        "ended_at": None,
    }
    if connection.execute(update(AUDIT_STEPS).where(*step).values(at_work)).rowcount == 0:
        connection.execute(
            insert(AUDIT_STEPS).values(
                dagster_run_id=bid.dagster_run_id, step_key=bid.step_key, **at_work
            )
        )
    return attempt


def require(connection: Connection, attempt: Attempt) -> None:
    """Refuse to go on unless the attempt still has its days; asked inside the effect's transaction.

    Raises:
        AttemptSuperseded: a later attempt has them.
    """
    later = _superseding(connection, attempt)
    if later is not None:
        raise AttemptSuperseded(
            f"run {later['dagster_run_id'][:8]} has taken over {_days(later)} of "
            f"{attempt.population} (since {later['granted_at']:%Y-%m-%d %H:%M:%S} UTC); "
            "what this run would write is left to that one"
        )


@contextlib.contextmanager
def holding(store: Store, dagster_run_id: str) -> Iterator[None]:
    """The same for an effect outside the store: nobody takes the days over while it is done.

    Raises:
        AttemptSuperseded: a later attempt has the days of this run.
    """
    with store.writing("partition") as writer:
        row = _row_of(writer.connection, dagster_run_id)
        if row is not None:
            require(writer.connection, _attempt(row))
        yield


def beat(store: Store, dagster_run_id: str, step_key: str) -> None:
    """Say that a step is alive."""
    with store.writing("beat") as writer:
        writer.connection.execute(
            update(AUDIT_STEPS)
            .where(_S.dagster_run_id == dagster_run_id, _S.step_key == step_key)
            .values(beat_at=writer.now)
        )


def ended(writer: Writer, dagster_run_id: str, step_key: str) -> None:
    """A step has ended, well or not."""
    writer.connection.execute(
        update(AUDIT_STEPS)
        .where(_S.dagster_run_id == dagster_run_id, _S.step_key == step_key)
        .values(ended_at=writer.now)
    )


def release(writer: Writer, dagster_run_id: str) -> None:
    """The run has ended: its days are free."""
    writer.connection.execute(
        update(AUDIT_ATTEMPTS)
        .where(_A.dagster_run_id == dagster_run_id, _A.released_at.is_(None))
        .values(released_at=writer.now)
    )


def failed(writer: Writer, audit_run_id: str, dagster_run_id: str) -> None:
    """The run has failed: its days are free, and its workflow says that it failed.

    Unless a later run goes on with the same audit: whoever tells of a failure may be late.
    """
    release(writer, dagster_run_id)
    row = _row_of(writer.connection, dagster_run_id)
    later = select(_A.epoch).where(
        _A.audit_run_id == audit_run_id, _A.epoch > (0 if row is None else row["epoch"])
    )
    if writer.connection.scalar(later.limit(1)) is not None:
        return
    state = writer.workflow_state(audit_run_id)
    if state.get("workflow_status") in ("in_progress", "paused"):
        writer.save_workflow_state(audit_run_id, {**state, "workflow_status": "failed"})


def held(store: Store) -> list[Attempt]:
    """The attempts that have days and have not given them back, the oldest first."""
    with store.reading() as connection:
        rows = connection.execute(
            select(AUDIT_ATTEMPTS).where(_A.released_at.is_(None)).order_by(_A.epoch)
        )
        return [_attempt(row) for row in rows.mappings()]


def why_lost(
    store: Store, dagster_run_id: str, heard_at: dt.datetime, now: dt.datetime
) -> str | None:
    """Why a run that Dagster takes for running cannot go on by itself; None where it may.

    Args:
        heard_at: when Dagster last heard of it, UTC.
    """
    with store.reading() as connection:
        row = _row_of(connection, dagster_run_id)
        steps = [] if row is None else _steps(connection, row)
    if row is not None and row["worker"] is not None and is_gone(row["worker"]):
        return f"its process {row['worker']} is gone"
    at_work = [step for step in steps if step["ended_at"] is None]
    for step in at_work:
        # Dagster's own executor is given the time to notice that a step's process is gone.
        patience = LOST_AFTER / 2 if is_gone(step["holder"]) else LOST_AFTER
        if now - step["beat_at"] > patience:
            return (
                f"step {step['step_key']} was last seen at {step['beat_at']:%H:%M:%S} UTC, "
                f"in process {step['holder']}"
            )
    ends = [step["ended_at"] for step in steps if step["ended_at"] is not None]
    if not at_work and now - max([heard_at, *ends]) > SILENT_AFTER:
        return f"nothing was heard of it for {SILENT_AFTER.seconds // 60} minutes"
    return None


def _granted(writer: Writer, bid: Bid, finished: Finished) -> RowMapping:
    """A new attempt; what it takes over is released, and stands in the trail."""
    connection = writer.connection
    overlapping = (
        connection.execute(
            select(AUDIT_ATTEMPTS).where(
                *_overlapping(bid.population, bid.from_on, bid.to_on), _A.released_at.is_(None)
            )
        )
        .mappings()
        .all()
    )
    for other in overlapping:
        if other["audit_run_id"] != bid.audit_run_id and _is_alive(
            connection, other, writer.now, finished
        ):
            raise PartitionBusy(
                f"{_days(other)} of {bid.population} are being audited by run "
                f"{other['dagster_run_id'][:8]} since {other['granted_at']:%H:%M:%S} UTC; one "
                "audit of a day at a time"
            )
    _mark_released(connection, [other["epoch"] for other in overlapping], writer.now)
    epoch = (connection.scalar(select(func.max(_A.epoch))) or 0) + 1
    connection.execute(
        insert(AUDIT_ATTEMPTS).values(
            epoch=epoch,
            population=bid.population,
            from_on=bid.from_on,
            to_on=bid.to_on,
            audit_run_id=bid.audit_run_id,
            dagster_run_id=bid.dagster_run_id,
            worker=bid.worker,
            granted_at=writer.now,
        )
    )
    if overlapping:
        taken = [other["dagster_run_id"] for other in overlapping]
        event = TrailEvent(
            bid.audit_run_id,
            "audit_logging",
            "take_over",
            writer.now,
            input_data={"from": bid.from_on.isoformat(), "to": bid.to_on.isoformat()},
            output_summary={"epoch": epoch, "run": bid.dagster_run_id, "from_runs": taken},
        )
        writer.append_events([event])
    row = _row_of(connection, bid.dagster_run_id)
    assert row is not None  # noqa: S101 - it was just written
    return row


def _is_alive(
    connection: Connection, row: RowMapping, now: dt.datetime, finished: Finished
) -> bool:
    """Another audit's attempt may still write."""
    if row["worker"] is not None and is_gone(row["worker"]):
        return False
    known = finished(row["dagster_run_id"])
    if known:
        return False
    steps = _steps(connection, row)
    at_work = [step for step in steps if step["ended_at"] is None]
    if at_work:
        return any(
            now - step["beat_at"] <= LOST_AFTER and not is_gone(step["holder"]) for step in at_work
        )
    quiet = now - max([row["granted_at"], *(step["ended_at"] for step in steps)])
    # A run that this Dagster does not know leaves only its steps to judge by.
    return quiet <= (SILENT_AFTER if known is False else LOST_AFTER)


def _superseding(connection: Connection, attempt: Attempt) -> RowMapping | None:
    later = (
        select(AUDIT_ATTEMPTS)
        .where(
            *_overlapping(attempt.population, attempt.from_on, attempt.to_on),
            _A.epoch > attempt.epoch,
        )
        .order_by(_A.epoch.desc())
        .limit(1)
    )
    return connection.execute(later).mappings().one_or_none()


def _overlapping(
    population: str, from_on: dt.date, to_on: dt.date
) -> tuple[ColumnElement[bool], ...]:
    return _A.population == population, _A.from_on <= to_on, _A.to_on >= from_on


def _row_of(connection: Connection, dagster_run_id: str) -> RowMapping | None:
    query = select(AUDIT_ATTEMPTS).where(_A.dagster_run_id == dagster_run_id)
    return connection.execute(query).mappings().one_or_none()


def _steps(connection: Connection, row: RowMapping) -> list[RowMapping]:
    query = select(AUDIT_STEPS).where(_S.dagster_run_id == row["dagster_run_id"])
    return list(connection.execute(query.order_by(_S.step_key)).mappings())


def _mark_released(connection: Connection, epochs: list[int], at: dt.datetime | None) -> None:
    if epochs:
        connection.execute(
            update(AUDIT_ATTEMPTS).where(_A.epoch.in_(epochs)).values(released_at=at)
        )


def _attempt(row: RowMapping) -> Attempt:
    return Attempt(
        row["epoch"],
        row["population"],
        row["from_on"],
        row["to_on"],
        row["audit_run_id"],
        row["dagster_run_id"],
    )


def _days(row: RowMapping) -> str:
    same = row["from_on"] == row["to_on"]
    return str(row["from_on"]) if same else f"{row['from_on']} to {row['to_on']}"

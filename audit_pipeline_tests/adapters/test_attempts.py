"""Attempts: one audit of a day at a time, and no write by one that was superseded."""

import datetime as dt
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audit_pipeline.adapters import process
from audit_pipeline.adapters.store import Store, attempts
from audit_pipeline.model.errors import AttemptSuperseded, PartitionBusy

pytest_plugins = ("audit_pipeline_tests.postgres",)

NOON = dt.datetime(2025, 4, 1, 12, tzinfo=dt.UTC)
MONDAY, TUESDAY, WEDNESDAY = (dt.date(2025, 3, 31) + dt.timedelta(days=n) for n in range(3))
ELSEWHERE = "another-machine:77:5"


class Clock:
    """Noon, until it is told otherwise."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> dt.datetime:
        return self.now

    def passes(self, **time: float) -> None:
        self.now += dt.timedelta(**time)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Store]:
    """An empty one of each kind."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
    with Store.open(url, clock=clock) as opened:
        yield opened


def bid(run: str, root: str = "", **more: Any) -> attempts.Bid:
    """Monday and Tuesday, for a run; of an audit of its own, unless a root is named."""
    asked = attempts.Bid(
        "acme", MONDAY, TUESDAY, root or run, run, "flags", process.holder(), worker=None
    )
    return replace(asked, **more)


def begin(
    store: Store, asked: attempts.Bid, finished: attempts.Finished = lambda _: None
) -> attempts.Attempt:
    """A step of that run begins."""
    with store.writing() as writer:
        return attempts.begin(writer, asked, finished)


def writes(store: Store, attempt: attempts.Attempt) -> None:
    """An effect of that attempt."""
    with store.writing() as writer:
        attempts.require(writer.connection, attempt)


def ends(store: Store, asked: attempts.Bid) -> None:
    """The step has ended; its run goes on."""
    with store.writing() as writer:
        attempts.ended(writer, asked.dagster_run_id, asked.step_key)


def test_the_steps_of_a_run_share_its_epoch(store: Store) -> None:
    first = begin(store, bid("r1"))
    assert begin(store, bid("r1", step_key="audit_log")) == first
    assert first.epoch == 1
    writes(store, first)


def test_another_audit_of_a_day_waits(store: Store) -> None:
    begin(store, bid("r1"))
    with pytest.raises(PartitionBusy, match=r"2025-03-31 to 2025-04-01 of acme .* by run r1 since"):
        begin(store, bid("r2", from_on=TUESDAY, to_on=WEDNESDAY))
    assert begin(store, bid("r3", from_on=WEDNESDAY, to_on=WEDNESDAY)).epoch == 2
    assert begin(store, bid("r4", population="other")).epoch == 3


def test_released_days_are_free_and_the_later_attempt_supersedes(store: Store) -> None:
    first = begin(store, bid("r1"))
    with store.writing() as writer:
        attempts.release(writer, "r1")
    writes(store, first)  # nobody has taken over yet
    second = begin(store, bid("r2"))
    writes(store, second)
    with pytest.raises(AttemptSuperseded, match=r"run r2 has taken over .*since 2025-04-01 12"):
        writes(store, first)
    with pytest.raises(AttemptSuperseded), attempts.holding(store, "r1"):
        pytest.fail("it is superseded")
    for stands in ("r2", "a run that is no attempt"):
        with attempts.holding(store, stands):
            pass
    with pytest.raises(AttemptSuperseded):
        begin(store, bid("r1", step_key="audit_log"))
    assert [entry.event.tool_called for entry in store.trail()] == []


def test_a_reexecution_takes_over_at_once_and_the_trail_says_so(store: Store) -> None:
    orphan = begin(store, bid("r1", "root"))
    resumed = begin(store, bid("r2", "root"))
    with pytest.raises(AttemptSuperseded):
        writes(store, orphan)
    writes(store, resumed)
    [entry] = store.trail()
    assert entry.event.tool_called == "take_over"
    assert entry.event.output_summary == {"epoch": 2, "from_runs": ["r1"], "run": "r2"}
    assert attempts.held(store) == [resumed]


def test_a_step_that_outlived_its_run_does_not_begin(store: Store) -> None:
    with pytest.raises(AttemptSuperseded, match="run r1 has ended"):
        begin(store, bid("r1"), lambda run: run == "r1")


def test_only_an_overlap_supersedes(store: Store) -> None:
    monday = begin(store, bid("r1", to_on=MONDAY))
    tuesday = begin(store, bid("r2", from_on=TUESDAY))
    writes(store, monday)
    writes(store, tuesday)


def test_a_retry_of_a_run_that_gave_up_holds_the_days_again(store: Store) -> None:
    first = begin(store, bid("r1"))
    with store.writing() as writer:
        attempts.release(writer, "r1")
    assert attempts.held(store) == []
    assert begin(store, bid("r1")) == first
    assert attempts.held(store) == [first]
    with pytest.raises(PartitionBusy):
        begin(store, bid("r2"))


@pytest.mark.parametrize("process_of", ["worker", "holder"])
def test_whose_process_is_gone_does_not_stop_another(
    store: Store, nobody: str, process_of: str
) -> None:
    begin(store, bid("r1", **{process_of: nobody}))
    assert begin(store, bid("r2")).epoch == 2


def test_whose_beat_is_old_does_not_stop_another(store: Store, clock: Clock) -> None:
    begin(store, bid("r1", holder=ELSEWHERE))
    clock.passes(seconds=50)
    attempts.beat(store, "r1", "flags")
    clock.passes(seconds=50)
    with pytest.raises(PartitionBusy):
        begin(store, bid("r2"))
    clock.passes(seconds=11)
    assert begin(store, bid("r2")).epoch == 2


@pytest.mark.parametrize(("said", "waits"), [("ended", False), ("runs", True), ("unknown", False)])
def test_between_two_steps_dagster_is_asked(
    store: Store, clock: Clock, said: str, *, waits: bool
) -> None:
    """A run that Dagster takes for running may wait long for its next step."""
    known = {"ended": True, "runs": False, "unknown": None}[said]

    def of_first(run: str) -> bool | None:
        return known if run == "r1" else False

    asked = bid("r1")
    begin(store, asked)
    ends(store, asked)
    clock.passes(minutes=5)
    if waits:
        with pytest.raises(PartitionBusy):
            begin(store, bid("r2"), of_first)
        clock.passes(minutes=11)
    assert begin(store, bid("r2"), of_first).epoch == 2


def test_a_run_that_dagster_knows_to_have_ended_does_not_stop_another(store: Store) -> None:
    begin(store, bid("r1"))
    assert begin(store, bid("r2"), lambda run: run == "r1").epoch == 2


def test_why_a_run_is_lost(store: Store, clock: Clock, nobody: str) -> None:
    """Each reason, and the other side of its boundary."""

    def why(run: str, heard_ago: float = 0) -> str | None:
        heard = clock.now - dt.timedelta(seconds=heard_ago)
        return attempts.why_lost(store, run, heard, clock.now)

    days = itertools.count()

    def one(run: str, **more: Any) -> attempts.Bid:
        on = WEDNESDAY + dt.timedelta(days=next(days))
        asked = bid(run, from_on=on, to_on=on, **more)
        begin(store, asked)
        return asked

    one("worker gone", worker=nobody)
    one("step gone", holder=nobody)
    one("far away", holder=ELSEWHERE)
    one("at work")
    between = one("between")
    ends(store, between)
    assert "is gone" in str(why("worker gone"))
    assert why("step gone") is None, "the executor may notice it first"
    clock.passes(seconds=31)
    assert "step flags was last seen at 12:00:00" in str(why("step gone"))
    assert why("far away") is None
    clock.passes(seconds=30)
    assert ELSEWHERE in str(why("far away"))
    attempts.beat(store, "at work", "flags")
    assert why("at work", heard_ago=10_000) is None
    clock.passes(seconds=60)
    assert why("at work") is None
    clock.passes(seconds=1)
    assert "last seen" in str(why("at work"))
    assert why("between", heard_ago=10_000) is None, "it ended a step two minutes ago"
    clock.passes(minutes=15)
    assert why("between", heard_ago=899) is None
    assert "15 minutes" in str(why("between", heard_ago=901))
    assert why("never seen", heard_ago=899) is None
    assert "15 minutes" in str(why("never seen", heard_ago=901))


@pytest.mark.parametrize(
    ("before", "after"),
    [("in_progress", "failed"), ("paused", "failed"), ("completed", "completed")],
)
def test_a_failed_run_frees_its_days_and_says_so(store: Store, before: str, after: str) -> None:
    begin(store, bid("r1"))
    store.save_workflow_state("r1", {"workflow_status": before})
    with store.writing() as writer:
        attempts.failed(writer, "r1", "r1")
    assert store.restore_workflow_state("r1")["workflow_status"] == after
    assert attempts.held(store) == []


def test_who_tells_of_a_failure_late_does_not_stop_the_retry(store: Store) -> None:
    begin(store, bid("r1", "root"))
    again = begin(store, bid("r2", "root"))
    store.save_workflow_state("root", {"workflow_status": "in_progress"})
    for late in ("r1", "a run that never began"):
        with store.writing() as writer:
            attempts.failed(writer, "root", late)
        assert store.restore_workflow_state("root")["workflow_status"] == "in_progress"
    assert attempts.held(store) == [again]


def test_a_run_that_never_began_has_no_workflow(store: Store) -> None:
    with store.writing() as writer:
        attempts.failed(writer, "root", "root")
    assert store.restore_workflow_state("root") == {}


# ── processes ───────────────────────────────────────────────────────────────────────────────────


def test_a_process_is_there_until_it_is_not(nobody: str) -> None:
    assert not process.is_gone(process.holder())
    assert process.is_gone(nobody)
    assert not process.is_gone(ELSEWHERE), "nothing is known of other machines"
    for text in ("", "x", "a:b:c", process.holder().rpartition(":")[0] + ":x"):
        assert not process.is_gone(text)


def test_a_zombie_is_gone() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    name = process.holder(child.pid)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process.is_gone(name)
    child.wait()


def test_another_process_with_the_same_number_is_not_the_same() -> None:
    host, pid, start = process.holder().split(":")
    assert process.is_gone(f"{host}:{pid}:{int(start) + 1}")


CHILD = """
import os, sys, time
from audit_pipeline.adapters.process import die_with_parent
if os.fork() == 0:
    die_with_parent()
    print(os.getpid(), flush=True)
    time.sleep(60)
else:
    time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals the end of a parent")
def test_a_child_dies_with_its_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = process.holder(int(parent.stdout.readline()))
        assert not process.is_gone(child)
        parent.kill()
        parent.wait()
        assert parent.stdout.read() == b"", "the pipe closes when the child is dead too"
    deadline = time.monotonic() + 10  # its files close a moment before it is gone
    while not process.is_gone(child):
        assert time.monotonic() < deadline
        time.sleep(0.01)

"""Reviewing: who may decide on a flag, what two people have to say, what the trail has of it."""

import datetime as dt
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from audit_pipeline.adapters.store import Store, reviewing
from audit_pipeline.adapters.store.rows import FlagChanges, FlagRow, decision_id
from audit_pipeline.adapters.store.schema import (
    COMMENTS,
    DECISIONS,
    FLAGS,
    SECOND_REVIEWS,
    USERS,
    WITHDRAWALS,
    WORKLIST,
)
from audit_pipeline.adapters.store.writer import Writer
from audit_pipeline.model.decision import Decision, Reason, Verdict
from audit_pipeline.model.errors import (
    AuditError,
    BadUsage,
    DecisionRefused,
    FlagTaken,
    FlagUnknown,
    OwnCharge,
    SamePerson,
    TransitionRefused,
)
from audit_pipeline.model.flag import Charge, Flag, FlagState, Severity, flag_id
from audit_pipeline.model.person import Role, same_person, two_people
from audit_pipeline_tests.environment import ROOT

pytest_plugins = ("audit_pipeline_tests.postgres",)

NOON = dt.datetime(2025, 3, 1, 12, tzinfo=dt.UTC)
DAY = dt.date(2025, 2, 1)
FLAG = flag_id("t1", "demo")
CRITICAL, WARNING, INFO = Severity.CRITICAL, Severity.WARNING, Severity.INFO
ATTEMPTS = 50


class Clock:
    """One minute later each time it is asked."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> dt.datetime:
        self.now += dt.timedelta(minutes=1)
        return self.now


@pytest.fixture(
    params=["sqlite", pytest.param("postgres", marks=[pytest.mark.postgres, pytest.mark.slow])]
)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty store of each kind."""
    if request.param == "postgres":
        return request.getfixturevalue("postgres_url")
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(url: str, clock: Clock) -> Iterator[Store]:
    """With four people in it."""
    with Store.open(url, clock=clock) as opened:
        people(opened, "ann", "bob", "cat")
        person(opened, "jsmith", display_name="Jo", cardholder="John  SMITH")
        yield opened


def person(store: Store, user_id: str, **given: Any) -> None:
    row = {
        "user_id": user_id,
        "display_name": user_id.title(),
        "role": Role.APPROVER.value,
        "disabled": False,
        "token_version": 1,
        "created_at": NOON,
        "updated_at": NOON,
    }
    with store.writing() as writer:
        writer.connection.execute(insert(USERS).values(row | given))


def people(store: Store, *user_ids: str) -> None:
    for user_id in user_ids:
        person(store, user_id)


def flag(severity: Severity = WARNING, cardholder: str = "", transaction_id: str = "t1") -> Flag:
    return Flag(
        flag_id=flag_id(transaction_id, "demo"),
        transaction_id=transaction_id,
        population="demo",
        audit_on=DAY,
        severity_level=severity,
        severity_score={CRITICAL: 90, WARNING: 50, INFO: 20}[severity],
        confidence_score=0.5,
        explanation=f"{severity} {transaction_id}",
        links=(),
        points=(),
        findings=(),
        charge=Charge("Acme", "v1", cardholder, Decimal("10.00"), DAY),
    )


def publish(store: Store, *flags: Flag, touched: tuple[str, ...] = ("t1",)) -> FlagChanges:
    with store.writing() as writer:
        return writer.publish_flags("demo", flags, touched, "run")


def said(
    who: str = "ann", verdict: Verdict = Verdict.REJECTED, minute: int = 0, flag: str = FLAG
) -> Decision:
    at = NOON + dt.timedelta(hours=1, minutes=minute)
    return Decision(flag, verdict, Reason.CORRECTED, who, at, "seen")


def do(store: Store, action: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """One action in a transaction of its own."""
    with store.writing() as writer:
        return action(writer, *given, **named)


def decide(
    store: Store, decision: Decision | None = None, seen_at: dt.datetime | None = None
) -> FlagRow:
    return do(store, reviewing.decide, decision or said(), seen_at)


def second(store: Store, decision: Decision, who: str, *, agrees: bool = True) -> FlagRow:
    return do(store, reviewing.review_second, decision_id(decision), who, agrees=agrees)


def told(store: Store) -> list[tuple[str, str]]:
    """Who did what, as the trail has it."""
    return [(entry.event.agent_name, entry.event.tool_called) for entry in store.trail()]


def count(store: Store, table: Any) -> int:
    with store.reading() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0


@contextmanager
def refused(store: Store, fault: type[Exception], says: str | None = None) -> Iterator[None]:
    """Refused, and nothing of it is left: neither in the flag nor in the trail."""
    before = (store.flags(state=None), told(store), count(store, WORKLIST))
    with pytest.raises(fault, match=says):
        yield
    assert (store.flags(state=None), told(store), count(store, WORKLIST)) == before


# ---- one person


@pytest.mark.parametrize("severity", [WARNING, INFO])
def test_one_person_closes_what_is_not_critical(store: Store, severity: Severity) -> None:
    publish(store, flag(severity))
    row = decide(store)
    assert (row.state, row.reviewed) == (FlagState.DECIDED, True)
    assert (row.human_decision, row.reviewer_id, row.approver_id) == ("rejected", "ann", None)
    assert row == store.flag(FLAG)
    assert not reviewing.awaits_second(row)
    assert told(store) == [("reviewer:ann", "decide")]


@pytest.mark.parametrize("severity", Severity)
def test_needing_more_information_leaves_it_open(store: Store, severity: Severity) -> None:
    """And nothing of it waits for a second person."""
    publish(store, flag(severity))
    row = decide(store, said(verdict=Verdict.NEEDS_MORE_INFO))
    assert (row.state, row.reviewed) == (FlagState.OPEN, False)
    assert row.human_decision is Verdict.NEEDS_MORE_INFO
    assert not reviewing.awaits_second(row)
    with refused(store, TransitionRefused):
        second(store, said(verdict=Verdict.NEEDS_MORE_INFO), "bob")


def test_what_does_not_wait_takes_no_second_person(store: Store) -> None:
    publish(store, flag(WARNING))
    decide(store)
    with refused(store, TransitionRefused):
        second(store, said(), "bob")


def test_an_unknown_flag_is_named(store: Store) -> None:
    """Whatever is to be done to it."""
    for action, given in (
        (reviewing.decide, (said(),)),
        (reviewing.withdraw, (FLAG, "ann")),
        (reviewing.comment, (FLAG, "ann", "why?")),
        (reviewing.assign, ([FLAG], "ann", "bob")),
        (reviewing.snooze, ([FLAG], NOON, "bob")),
        (reviewing.lock, (FLAG, "ann")),
    ):
        with refused(store, FlagUnknown, FLAG):
            do(store, action, *given)


def test_a_superseded_flag_is_not_decided(store: Store) -> None:
    publish(store, flag())
    publish(store)
    with refused(store, TransitionRefused):
        decide(store)


# ---- two people


def test_a_critical_flag_takes_two(store: Store) -> None:
    publish(store, flag(CRITICAL))
    first = decide(store)
    assert (first.state, first.reviewed, first.approver_id) == (FlagState.OPEN, False, None)
    assert reviewing.awaits_second(first)
    row = second(store, said(), "bob")
    assert (row.state, row.reviewed, row.approver_id) == (FlagState.DECIDED, True, "bob")
    assert row.reviewer_id == "ann"
    assert told(store) == [("reviewer:ann", "decide"), ("reviewer:bob", "approve_decision")]
    assert publish(store, flag(CRITICAL)).unchanged


def test_a_second_person_speaks_once(store: Store) -> None:
    publish(store, flag(CRITICAL))
    decide(store)
    second(store, said(), "bob")
    with refused(store, TransitionRefused):
        second(store, said(), "cat")
    assert count(store, SECOND_REVIEWS) == 1


def test_a_refused_decision_does_not_hold(store: Store) -> None:
    """The flag is open, as if nobody had decided; both words stay."""
    publish(store, flag(CRITICAL))
    decide(store)
    row = second(store, said(), "bob", agrees=False)
    assert (row.state, row.human_decision, row.reviewer_id) == (FlagState.OPEN, None, None)
    assert not reviewing.awaits_second(row)
    assert (count(store, DECISIONS), count(store, SECOND_REVIEWS)) == (1, 1)
    assert told(store)[-1] == ("reviewer:bob", "refuse_decision")
    with refused(store, TransitionRefused):
        second(store, said(), "cat")
    again = said("cat", minute=1)
    decide(store, again)
    assert second(store, again, "bob").state is FlagState.DECIDED


def test_a_refused_change_leaves_what_two_people_said(store: Store) -> None:
    publish(store, flag(CRITICAL))
    decide(store)
    second(store, said(), "bob")
    change = said("cat", Verdict.APPROVED, minute=1)
    assert reviewing.awaits_second(decide(store, change))
    row = second(store, change, "bob", agrees=False)
    assert (row.state, row.human_decision) == (FlagState.DECIDED, Verdict.REJECTED)
    assert (row.reviewer_id, row.approver_id) == ("ann", "bob")


@pytest.mark.parametrize(
    "spelling",
    ["ann", "ANN", " ann", "ann\t", "a\u200bnn", "\uff41\uff4e\uff4e", "ann\u00a0", "\u202eann"],
)
@pytest.mark.parametrize("agrees", [True, False])
def test_the_second_person_is_another_one(store: Store, spelling: str, agrees: bool) -> None:  # noqa: FBT001
    """However the name is spelt, and even to refuse."""
    publish(store, flag(CRITICAL))
    decide(store)
    with refused(store, SamePerson):
        second(store, said(), spelling, agrees=agrees)


@pytest.mark.parametrize("nobody", ["", "  ", "\u200b", "\x00 \u2028"])
def test_nobody_is_not_a_person(store: Store, nobody: str) -> None:
    """Neither as the first of two nor as the second."""
    publish(store, flag(CRITICAL))
    decide(store)
    if "\x00" not in nobody:  # a sign for it is what is stored
        with refused(store, SamePerson):
            second(store, said(), nobody)
        unsigned = said(nobody, minute=1)
        decide(store, unsigned)
        with refused(store, SamePerson):
            second(store, unsigned, "bob")


def test_only_the_decision_that_was_looked_at(store: Store) -> None:
    """Somebody has decided anew meanwhile: the second person has to look again."""
    publish(store, flag(CRITICAL))
    decide(store)
    decide(store, said("cat", Verdict.APPROVED, minute=1))
    with refused(store, TransitionRefused):
        second(store, said(), "bob")
    with refused(store, TransitionRefused, "there is no decision"):
        do(store, reviewing.review_second, "0" * 64, "bob", agrees=True)


def test_the_second_persons_words_leave_a_digest_in_the_trail(store: Store) -> None:
    publish(store, flag(CRITICAL))
    decide(store)
    identity = decision_id(said())
    do(store, reviewing.review_second, identity, "bob", agrees=True, notes="as agreed")
    *_, last = store.trail()
    assert last.event.input_data["decision_id"] == identity
    assert len(str(last.event.input_data["notes_sha256"])) == 64
    assert "as agreed" not in str(last.document)


# ---- what a re-run changes


def test_one_persons_word_waits_when_a_flag_becomes_critical(store: Store) -> None:
    publish(store, flag(WARNING))
    decide(store)
    assert publish(store, flag(CRITICAL)).reopened == (FLAG,)
    row = store.flag(FLAG)
    assert (row.state, row.reviewed, row.human_decision) == (FlagState.OPEN, False, "rejected")
    assert reviewing.awaits_second(row)
    with refused(store, SamePerson):
        second(store, said(), "ann")
    row = second(store, said(), "bob")
    assert (row.state, row.reviewed, row.approver_id) == (FlagState.DECIDED, True, "bob")


def test_what_two_people_said_survives_every_severity(store: Store) -> None:
    publish(store, flag(CRITICAL))
    decide(store)
    second(store, said(), "bob")
    for severity in (INFO, CRITICAL, WARNING, CRITICAL):
        assert publish(store, flag(severity)).updated == (FLAG,)
        assert store.flag(FLAG).state is FlagState.DECIDED


def test_a_waiting_decision_outlives_vanished_findings(store: Store) -> None:
    """The flag is superseded meanwhile; when it is back, the decision waits again."""
    publish(store, flag(CRITICAL))
    decide(store)
    publish(store)
    assert store.flag(FLAG).state is FlagState.SUPERSEDED
    with refused(store, TransitionRefused):
        second(store, said(), "bob")
    publish(store, flag(CRITICAL))
    assert second(store, said(), "bob").state is FlagState.DECIDED


def test_what_is_taken_back_from_a_superseded_flag_does_not_review_it(store: Store) -> None:
    """The earlier decision stands again, but the flag is superseded, not decided."""
    publish(store, flag(WARNING))
    decide(store)
    decide(store, said("bob", Verdict.NEEDS_MORE_INFO, minute=1))
    publish(store)
    row = do(store, reviewing.withdraw, FLAG, "bob")
    assert (row.state, row.reviewed) == (FlagState.SUPERSEDED, False)
    assert row.human_decision is Verdict.REJECTED


# ---- taking back


def test_a_decision_is_taken_back_by_who_said_it(store: Store) -> None:
    publish(store, flag(WARNING))
    decide(store)
    with refused(store, DecisionRefused, "ann decided this"):
        do(store, reviewing.withdraw, FLAG, "bob")
    row = do(store, reviewing.withdraw, FLAG, "Ann ")
    assert (row.state, row.reviewed, row.human_decision) == (FlagState.OPEN, False, None)
    assert (count(store, DECISIONS), count(store, WITHDRAWALS)) == (1, 1)
    assert told(store)[-1] == ("reviewer:Ann ", "withdraw_decision")
    with refused(store, DecisionRefused, "no decision"):
        do(store, reviewing.withdraw, FLAG, "ann")


def test_the_decision_before_it_stands_again(store: Store) -> None:
    publish(store, flag(WARNING))
    decide(store)
    decide(store, said("bob", Verdict.APPROVED, minute=1))
    row = do(store, reviewing.withdraw, FLAG, "bob")
    assert (row.state, row.human_decision, row.reviewer_id) == ("decided", "rejected", "ann")


def test_taken_back_from_a_critical_flag_it_opens_again(store: Store) -> None:
    """Whether somebody has agreed or not; and what was taken back is not agreed to."""
    publish(store, flag(CRITICAL))
    decide(store)
    second(store, said(), "bob")
    assert do(store, reviewing.withdraw, FLAG, "ann").state is FlagState.OPEN
    later = said(minute=1)
    decide(store, later)
    do(store, reviewing.withdraw, FLAG, "ann")
    with refused(store, TransitionRefused):
        second(store, later, "bob")
    assert store.flag(FLAG).approver_id is None


def test_what_was_taken_back_does_not_come_back_when_sent_again(store: Store) -> None:
    publish(store, flag(WARNING))
    decide(store)
    do(store, reviewing.withdraw, FLAG, "ann")
    with refused_nothing(store):
        assert decide(store).state is FlagState.OPEN


@contextmanager
def refused_nothing(store: Store) -> Iterator[None]:
    """Taken, and nothing has changed."""
    before = (store.flags(state=None), told(store))
    yield
    assert (store.flags(state=None), told(store)) == before


# ---- one's own charge


@pytest.mark.parametrize(
    ("who", "cardholder"),
    [
        ("ann", "ann"),
        ("ann", " ANN "),
        ("ANN", "ann"),
        ("jsmith", "John Smith"),
        ("jsmith", "john smith\t"),
        ("JSmith ", "John Smith"),
        ("jsmith", "\uff2aohn Smith"),
        ("jsmith", "JO"),
        ("jsmith", "JSMITH"),
    ],
)
def test_nobody_decides_on_their_own_charge(store: Store, who: str, cardholder: str) -> None:
    """By the name they sign in with, are shown as or stand on cards with; in both roles."""
    publish(store, flag(CRITICAL, cardholder))
    with refused(store, OwnCharge):
        decide(store, said(who))
    decide(store, said("cat"))
    with refused(store, OwnCharge):
        second(store, said("cat"), who)
    assert second(store, said("cat"), "bob").state is FlagState.DECIDED


def test_a_charge_of_nobody_is_nobodys_own(store: Store) -> None:
    person(store, "dee", cardholder=" ", display_name=" ")
    publish(store, flag(WARNING, " "))
    assert decide(store, said("dee")).state is FlagState.DECIDED


def test_whose_charge_it_is_may_turn_out_later(store: Store) -> None:
    """The first person has spent it: the second may say no to it, but not yes."""
    publish(store, flag(CRITICAL))
    decide(store)
    publish(store, flag(CRITICAL, "Ann"))
    with refused(store, OwnCharge):
        second(store, said(), "bob")
    assert second(store, said(), "bob", agrees=False).state is FlagState.OPEN


# ---- locks, and flags that have changed


def test_a_locked_flag_is_one_persons(store: Store) -> None:
    publish(store, flag(CRITICAL))
    decide(store)
    do(store, reviewing.lock, FLAG, "ann", seconds=3600)
    for action in (
        lambda: decide(store, said("bob", minute=1)),
        lambda: second(store, said(), "bob"),
        lambda: do(store, reviewing.lock, FLAG, "bob"),
    ):
        with refused(store, FlagTaken, "ann has this flag open"):
            action()
    do(store, reviewing.release, FLAG, "bob")
    with refused(store, FlagTaken):
        do(store, reviewing.lock, FLAG, "bob")
    do(store, reviewing.lock, FLAG, "ann")
    decide(store, said(minute=1))
    assert second(store, said(minute=1), "bob").state is FlagState.DECIDED


def test_a_lock_passes(store: Store, clock: Clock) -> None:
    """At its second, not before."""
    publish(store, flag())
    do(store, reviewing.lock, FLAG, "ann", seconds=300)
    clock.now += dt.timedelta(minutes=3, seconds=59)
    with refused(store, FlagTaken):
        decide(store, said("bob"))
    clock.now = clock.now.replace(second=0)
    assert decide(store, said("bob")).state is FlagState.DECIDED


def test_a_released_flag_is_anybodys(store: Store) -> None:
    publish(store, flag())
    do(store, reviewing.lock, FLAG, "ann")
    do(store, reviewing.release, FLAG, "ann")
    assert decide(store, said("bob")).state is FlagState.DECIDED


def test_a_flag_that_has_changed_is_looked_at_again(store: Store) -> None:
    publish(store, flag())
    seen_at = store.flag(FLAG).updated_at
    publish(store, flag(INFO))
    with refused(store, FlagTaken, "has changed"):
        decide(store, seen_at=seen_at)
    seen_at = store.flag(FLAG).updated_at
    do(store, reviewing.comment, FLAG, "bob", "hm")
    do(store, reviewing.assign, [FLAG], "bob", "bob")
    do(store, reviewing.snooze, [FLAG], NOON, "bob")
    decide(store, seen_at=seen_at)  # what people say or plan does not change what was seen
    with refused(store, FlagTaken):
        decide(store, said("cat", minute=1), seen_at)


def test_the_same_decision_sent_twice_is_not_a_change(store: Store) -> None:
    """Even if it says what it had seen."""
    publish(store, flag())
    seen_at = store.flag(FLAG).updated_at
    first = decide(store, seen_at=seen_at)
    assert decide(store, seen_at=seen_at) == first
    assert (count(store, DECISIONS), len(told(store))) == (1, 1)


# ---- words and work


def test_a_comment_stays_and_the_trail_has_its_digest(store: Store) -> None:
    publish(store, flag())
    hostile = "<script>'); DROP TABLE comments;-- \x00 \ud800"
    identity = do(store, reviewing.comment, FLAG, "ann", hostile)
    with store.reading() as connection:
        row = connection.execute(select(COMMENTS)).mappings().one()
    assert (row["comment_id"], row["flag_id"], row["author_id"]) == (identity, FLAG, "ann")
    assert row["body"] == hostile.replace("\x00", "\ufffd").replace("\ud800", "\ufffd")
    (entry,) = store.trail()
    assert entry.intact
    assert "script" not in str(entry.document)
    assert entry.event.input_data["comment_id"] == identity


@pytest.mark.parametrize("empty", ["", " \n\t"])
def test_a_comment_has_words(store: Store, empty: str) -> None:
    publish(store, flag())
    with refused(store, BadUsage):
        do(store, reviewing.comment, FLAG, "ann", empty)


def work(store: Store) -> dict[str, Any]:
    with store.reading() as connection:
        return dict(connection.execute(select(WORKLIST)).mappings().one())


def test_work_is_shared_out(store: Store) -> None:
    publish(store, flag())
    do(store, reviewing.assign, [FLAG], "bob", "ann")
    do(store, reviewing.snooze, [FLAG], NOON, "ann")
    assert (work(store)["assignee_id"], work(store)["snoozed_until_at"]) == ("bob", NOON)
    do(store, reviewing.assign, [FLAG], None, "cat")
    do(store, reviewing.snooze, [FLAG], None, "cat")
    assert (work(store)["assignee_id"], work(store)["snoozed_until_at"]) == (None, None)
    events = [entry.event for entry in store.trail()]
    assert [(e.agent_name, e.tool_called) for e in events] == [
        ("reviewer:ann", "assign"),
        ("reviewer:ann", "snooze"),
        ("reviewer:cat", "assign"),
        ("reviewer:cat", "snooze"),
    ]
    assert events[0].input_data == {"flag_id": FLAG, "assignee_id": "bob"}
    assert events[1].input_data == {"flag_id": FLAG, "until": "2025-03-01T12:00:00.000000Z"}


def test_work_is_given_to_people_who_are_here(store: Store) -> None:
    """Not to a name, and not to somebody who is locked out."""
    publish(store, flag())
    person(store, "gone", disabled=True)
    for whose in ("gone", "nobody", "ann' OR '1'='1"):
        with refused(store, BadUsage):
            do(store, reviewing.assign, [FLAG], whose, "ann")


def test_one_unknown_flag_among_several_leaves_all_as_they_were(store: Store) -> None:
    publish(store, flag())
    with refused(store, FlagUnknown):
        do(store, reviewing.assign, [FLAG, "none"], "bob", "ann")


def test_a_re_run_touches_no_work(store: Store) -> None:
    publish(store, flag())
    do(store, reviewing.assign, [FLAG], "bob", "ann")
    before = work(store)
    publish(store, flag(CRITICAL))
    publish(store)
    assert work(store) == before


# ---- what the database itself refuses


def ready(writer: Writer) -> None:
    """A critical flag with a decision of ann's on it."""
    writer.publish_flags("demo", [flag(CRITICAL)], ["t1"], "run")
    reviewing.decide(writer, said())


BY_HAND = {
    "decided by nobody": lambda: update(FLAGS).values(state="decided", reviewer_id=None),
    "decided by one": lambda: update(FLAGS).values(state="decided", approver_id=None),
    "decided by one twice": lambda: update(FLAGS).values(state="decided", approver_id="Ann"),
    "approved by the reviewer": lambda: _second_by_hand(approver_id="ann"),
    "approved by the reviewer in capitals": lambda: _second_by_hand(approver_id="ANN"),
    "approved under another's name": lambda: _second_by_hand(reviewer_id="bob", approver_id="ann"),
    "approved what nobody said": lambda: _second_by_hand(decision_id="0" * 64),
    "approved by nobody": lambda: _second_by_hand(approver_id=None),
    "taken back what nobody said": lambda: insert(WITHDRAWALS).values(
        decision_id="0" * 64, withdrawn_by="ann", withdrawn_at=NOON
    ),
    "a decision deleted": lambda: delete(FLAGS),
    "another state": lambda: update(FLAGS).values(state="closed"),
    "another verdict": lambda: update(DECISIONS).values(verdict="fine"),
}


def _second_by_hand(**given: object) -> Any:
    row = {
        "decision_id": decision_id(said()),
        "reviewer_id": "ann",
        "approver_id": "bob",
        "agrees": True,
        "reviewed_at": NOON,
        "notes": "",
    }
    return insert(SECOND_REVIEWS).values(row | given)


@pytest.mark.parametrize("case", BY_HAND)
def test_the_database_refuses_it_too(store: Store, case: str) -> None:
    """Where the code is bypassed."""
    do(store, ready)
    with refused(store, IntegrityError), store.writing() as writer:
        writer.connection.execute(BY_HAND[case]())


def test_the_database_takes_two_people(store: Store) -> None:
    """What it refuses above, it refuses for that reason."""
    do(store, ready)
    with store.writing() as writer:
        writer.connection.execute(_second_by_hand())
        writer.connection.execute(update(FLAGS).values(state="decided", approver_id="bob"))
    assert store.flag(FLAG).state is FlagState.DECIDED


def test_a_critical_severity_written_by_hand_over_one_persons_word_is_refused(
    store: Store,
) -> None:
    publish(store, flag(WARNING))
    decide(store)
    with refused(store, IntegrityError), store.writing() as writer:
        writer.connection.execute(update(FLAGS).values(severity_level="CRITICAL"))


# ---- races


def approve_as(url: str, identity: str, names: str, begin: str) -> None:
    """Each of the names tries once, when the file `begin` is there; says how many succeeded."""
    with Store.open(url) as store:
        while not Path(begin).exists():
            time.sleep(0.01)
        sys.stdout.write(str(sum(_approves(store, identity, name) for name in names.split())))


def _approves(store: Store, identity: str, name: str) -> bool:
    try:
        do(store, reviewing.review_second, identity, name, agrees=True)
    except (SamePerson, TransitionRefused):
        return False
    return True


def race(url: str, identity: str, names: list[str], folder: Path) -> int:
    """How many of them succeed: half in threads of this process, the others in two processes."""
    begin = folder / "begin"
    call = "import sys; from audit_pipeline_tests.adapters.test_reviewing import approve_as as a; "
    half, quarter = len(names) // 2, len(names) * 3 // 4
    others = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"{call}a(*sys.argv[1:])",
                url,
                identity,
                " ".join(lot),
                str(begin),
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for lot in (names[half:quarter], names[quarter:])
    ]
    with Store.open(url) as one, Store.open(url) as other, ThreadPoolExecutor(8) as pool:
        begin.touch()
        took = list(
            pool.map(
                lambda pair: _approves((one, other)[pair[0] % 2], identity, pair[1]),
                enumerate(names[:half]),
            )
        )
    said_by_others = [process.communicate(timeout=120)[0] for process in others]
    assert [process.returncode for process in others] == [0, 0]
    return sum(took) + sum(map(int, said_by_others))


def test_nobody_wins_a_race_against_themselves(store: Store, url: str, tmp_path: Path) -> None:
    publish(store, flag(CRITICAL))
    decide(store)
    spellings = ["ann", "Ann", "ANN", "aNN", "anN"] * (ATTEMPTS // 5)
    assert race(url, decision_id(said()), spellings, tmp_path) == 0
    assert count(store, SECOND_REVIEWS) == 0
    assert store.flag(FLAG).state is FlagState.OPEN
    assert len(told(store)) == 1


def test_one_of_many_wins_the_race(store: Store, url: str, tmp_path: Path) -> None:
    publish(store, flag(CRITICAL))
    decide(store)
    names = [f"person-{number}" for number in range(ATTEMPTS)]
    assert race(url, decision_id(said()), names, tmp_path) == 1
    assert count(store, SECOND_REVIEWS) == 1
    row = store.flag(FLAG)
    assert row.state is FlagState.DECIDED
    assert told(store)[1:] == [(f"reviewer:{row.approver_id}", "approve_decision")]


def test_one_of_many_takes_a_flag(store: Store) -> None:
    """Those who open it at once: one has it, the others are told who."""
    publish(store, flag())

    def takes(number: int) -> bool:
        try:
            do(store, reviewing.lock, FLAG, f"person-{number}")
        except FlagTaken:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        # the clock of the tests goes on a minute each time: five of them keep it
        assert sum(pool.map(takes, range(5))) == 1


def test_a_broken_transaction_leaves_nothing(store: Store) -> None:
    publish(store, flag(CRITICAL))
    decide(store)

    def breaks_off(writer: Writer) -> None:
        reviewing.review_second(writer, decision_id(said()), "bob", agrees=True)
        raise AuditError("no")

    with refused(store, AuditError):
        do(store, breaks_off)
    assert count(store, SECOND_REVIEWS) == 0


# ---- names


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("ann", "ann", True),
        ("Jos\u00e9", "JOSE\u0301", True),
        ("Stra\u00dfe", "STRASSE", True),
        ("a  b", "A\u00a0B", True),
        ("ab", "a b", False),
        ("ann", "anna", False),
        ("", "", False),
        (" ", "\u200b", False),
    ],
)
def test_how_names_are_compared(one: str, other: str, same: bool) -> None:  # noqa: FBT001
    assert same_person(one, other) is same_person(other, one) is same
    if one.strip():
        assert two_people(one, other) is two_people(other, one) is not same


def test_sqlite_keeps_foreign_keys_for_every_connection(tmp_path: Path) -> None:
    """The checks above rely on it; a plain connection of somebody else's does not have it."""
    place = tmp_path / "one.db"
    with Store.open(f"sqlite:///{place}") as store, store.writing() as writer:
        assert writer.connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    with closing(sqlite3.connect(place)) as plain:
        plain.execute(
            "INSERT INTO withdrawals VALUES (?, 'eve', '2025-01-01 00:00:00.000000')", ["0" * 64]
        )

"""Whatever is done to a store, in whatever order: a model of it in plain Python says what is there.

The machine publishes ranges as an audit does, decides, agrees and refuses as a second person,
takes decisions back, changes the rules, saves runs, breaks off halfway and opens the store anew.
After each step everything that is stored is what the model has.
"""

import datetime as dt
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete, select, text, update

from audit_pipeline.adapters.store import Store, reviewing
from audit_pipeline.adapters.store.rows import FlagChanges, PartitionRow, decision_id
from audit_pipeline.adapters.store.schema import (
    DECISIONS,
    FINDINGS,
    FLAGS,
    METADATA,
    SECOND_REVIEWS,
    WITHDRAWALS,
)
from audit_pipeline.adapters.store.writer import Writer
from audit_pipeline.model.decision import Decision, Reason, Verdict
from audit_pipeline.model.errors import DecisionRefused, TransitionRefused
from audit_pipeline.model.finding import Finding
from audit_pipeline.model.flag import Charge, Flag, FlagState, Point, Severity, flag_id
from audit_pipeline.model.trail import TrailEvent

pytest_plugins = ("audit_pipeline_tests.postgres",)

NOON = dt.datetime(2025, 3, 1, 12, tzinfo=dt.UTC)
DAYS = [dt.date(2025, 2, 1) + dt.timedelta(days=n) for n in range(4)]
TRANSACTIONS = ("t0", "t1", "t2")
POPULATIONS = ("p", "q")
RULES = ("RC-01", "AN-02")
INFO_AT = 20
SEVERITIES = ((40, Severity.CRITICAL), (30, Severity.WARNING), (INFO_AT, Severity.INFO))
CARDHOLDERS = {"t2": "Bob"}
"""Whose charges the transactions are; the others are nobody's."""

APPROVERS = ("ann", "bob", "cat", "ANN ")

Key = tuple[dt.date, str, str]
"""Audit date, transaction, rule: what a finding is unique on."""


class BrokenOff(Exception):
    """The process was stopped in the middle of a transaction."""


class Clock:
    """One minute later each time it is asked, whoever asks."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> dt.datetime:
        self.now += dt.timedelta(minutes=1)
        return self.now


@dataclass
class Expected:
    """A flag as the model has it; `review` is the decision that stands, `approver` agreed to it."""

    transaction_id: str
    population: str
    content: tuple[dt.date, int, str]
    severity: Severity
    run: str
    first_run: str
    state: FlagState = FlagState.OPEN
    review: Decision | None = None
    approver: str | None = None

    @property
    def awaits(self) -> bool:
        """A second person."""
        return (
            self.state is FlagState.OPEN
            and self.severity is Severity.CRITICAL
            and self.review is not None
            and self.review.verdict is not Verdict.NEEDS_MORE_INFO
        )

    def is_own(self, who: str) -> bool:
        """It is this person's charge."""
        return CARDHOLDERS.get(self.transaction_id, "").lower() == who.strip().lower()


@dataclass
class Model:
    """What is in the store: flags by id, findings by population, decisions, trail, ledger, runs.

    Attributes:
        decisions: of a flag, in the order in which they were recorded.
        second: who said yes or no to a decision.
        taken_back: decisions, with who took them back.
        trail: run and tool of each event.
    """

    flags: dict[str, Expected] = field(default_factory=dict[str, Expected])
    findings: dict[str, dict[Key, Finding]] = field(
        default_factory=lambda: {name: {} for name in POPULATIONS}
    )
    decisions: dict[str, list[Decision]] = field(default_factory=dict[str, list[Decision]])
    second: dict[Decision, tuple[str, bool]] = field(
        default_factory=dict[Decision, tuple[str, bool]]
    )
    taken_back: dict[Decision, str] = field(default_factory=dict[Decision, str])
    trail: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    ledger: dict[tuple[str, dt.date], PartitionRow] = field(
        default_factory=dict[tuple[str, dt.date], PartitionRow]
    )
    runs: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])

    @property
    def given(self) -> list[Decision]:
        """Every decision."""
        return [one for many in self.decisions.values() for one in many]

    def project(self, identity: str) -> None:
        """What follows for a flag from what was said about it."""
        flag = self.flags[identity]
        standing = [
            one
            for one in self.decisions.get(identity, ())
            if one not in self.taken_back and self.second.get(one, ("", True))[1]
        ]
        # of those dated alike, the one that was recorded last
        flag.review = max(reversed(standing), key=lambda one: one.decided_at, default=None)
        flag.approver = None if flag.review is None else self.second.get(flag.review, (None,))[0]
        holds = flag.review is not None and flag.review.verdict is not Verdict.NEEDS_MORE_INFO
        if flag.severity is Severity.CRITICAL:
            holds = holds and flag.approver is not None
        if flag.state is not FlagState.SUPERSEDED:
            flag.state = FlagState.DECIDED if holds else FlagState.OPEN


def flag_of(population: str, transaction_id: str, findings: Sequence[Finding]) -> Flag | None:
    """Escalation in a few lines: each rule counts once, from twenty points on there is a flag."""
    best = {
        name: max((f.score for f in findings if f.rule_id == name), default=0) for name in RULES
    }
    score = sum(best.values())
    if score < INFO_AT:
        return None
    said = ", ".join(sorted({f"{f.rule_id} v{f.rule_version} on {f.audit_on}" for f in findings}))
    return Flag(
        flag_id=flag_id(transaction_id, population),
        transaction_id=transaction_id,
        population=population,
        audit_on=max(f.audit_on for f in findings),
        severity_level=next(level for least, level in SEVERITIES if score >= least),
        severity_score=score,
        confidence_score=0.5,
        explanation=said,
        links=(),
        points=tuple(Point(name, points, name) for name, points in best.items() if points),
        findings=tuple(findings),
        charge=Charge(cardholder=CARDHOLDERS.get(transaction_id, "")),
    )


class StoreMachine(RuleBasedStateMachine):
    """Steps on a store and on its model; `place` gives the address of an empty one."""

    def __init__(self, place: Callable[[], str]) -> None:
        super().__init__()
        self.url = place()
        self.clock = Clock()
        self.store = Store.open(self.url, clock=self.clock)
        self.model = Model()
        self.version, self.points = 1, 30
        self.run_number = 0

    def teardown(self) -> None:
        """Close it; the next example has another."""
        self.store.close()

    # ---- steps

    @initialize(population=st.sampled_from(POPULATIONS), hits=st.sampled_from([True, True, False]))
    def begin(self, population: str, hits: bool) -> None:  # noqa: FBT001 - drawn by name
        """Mostly with a critical flag on each transaction: there is something to decide."""
        days = DAYS[:1]
        found = {(day, each, name) for day in days for each in TRANSACTIONS for name in RULES}
        self._audit(population, days, found if hits else set(), breaks_off=False)

    @rule(
        population=st.sampled_from(POPULATIONS),
        span=st.tuples(*[st.integers(0, len(DAYS) - 1)] * 2).map(sorted),
        hits=st.sets(
            st.tuples(st.sampled_from(DAYS), st.sampled_from(TRANSACTIONS), st.sampled_from(RULES))
        ),
        breaks_off=st.sampled_from([False, False, True]),
        again=st.booleans(),
    )
    def audit(
        self,
        population: str,
        span: list[int],
        hits: set[Key],
        breaks_off: bool,  # noqa: FBT001 - drawn by name
        again: bool,  # noqa: FBT001 - as above
    ) -> None:
        """A range is audited: what is found there now stands for what was found there before."""
        days = DAYS[span[0] : span[1] + 1]
        self._audit(population, days, {key for key in hits if key[0] in days}, breaks_off)
        if again and not breaks_off:
            self._audit(population, days, {key for key in hits if key[0] in days}, breaks_off)

    @precondition(lambda self: any(self.model.findings.values()))
    @rule(population=st.sampled_from(POPULATIONS), first=st.integers(0, len(DAYS) - 1))
    def find_nothing(self, population: str, first: int) -> None:
        """Everything from a day on was mended."""
        self._audit(population, DAYS[first:], set(), breaks_off=False)

    @rule(version=st.integers(1, 3), points=st.sampled_from([0, 10, 20, 30]))
    def change_rules(self, version: int, points: int) -> None:
        """From now on findings are of another version and give other points."""
        self.version, self.points = version, points

    @precondition(lambda self: self.model.flags)
    @rule(
        pick=st.integers(0, 99),
        verdict=st.sampled_from(Verdict),
        reviewer=st.sampled_from(["ann", "bob"]),
        minute=st.integers(0, 3),
        breaks_off=st.sampled_from([False, False, True]),
    )
    def decide(
        self,
        pick: int,
        verdict: Verdict,
        reviewer: str,
        minute: int,
        breaks_off: bool,  # noqa: FBT001 - drawn by name
    ) -> None:
        """Any flag, also a superseded one; also what was said before, or dated before it."""
        said = self._decision(pick, verdict, reviewer, minute)
        if breaks_off:
            refused = (TransitionRefused, DecisionRefused)
            with suppress(BrokenOff, *refused), self.store.writing() as writer:
                reviewing.decide(writer, said)
                raise BrokenOff
            return
        self._expect(said, self._decided([said], self._decide))

    @precondition(lambda self: self.model.flags)
    @rule(pick=st.integers(0, 99), verdict=st.sampled_from(Verdict), minute=st.integers(0, 3))
    def decide_twice_at_once(self, pick: int, verdict: Verdict, minute: int) -> None:
        """Two clicks, each in a process of its own."""
        said = self._decision(pick, verdict, "ann", minute)

        def in_another(decision: Decision) -> bool:
            with Store.open(self.url, clock=self.clock) as other:
                return self._decide(decision, other)

        first, second = self._decided([said, said], in_another)
        assert first == second
        self._expect(said, [first])

    @precondition(lambda self: any(self.model.decisions.values()))
    @rule(pick=st.integers(0, 99))
    def decide_as_before(self, pick: int) -> None:
        """The same decision sent once more changes nothing, whatever the flag has become."""
        given = self.model.given
        assert self._decide(given[pick % len(given)])

    @precondition(lambda self: any(self.model.decisions.values()))
    @rule(
        pick=st.integers(0, 99),
        who=st.sampled_from(APPROVERS),
        agrees=st.sampled_from([True, True, False]),
        breaks_off=st.sampled_from([False, False, False, True]),
    )
    def review_second(
        self,
        pick: int,
        who: str,
        agrees: bool,  # noqa: FBT001 - drawn by name
        breaks_off: bool,  # noqa: FBT001 - as above
    ) -> None:
        """A decision that waits, if there is one; else any."""
        waiting = [flag.review for flag in self.model.flags.values() if flag.awaits and flag.review]
        among = waiting or self.model.given
        self._review(among[pick % len(among)], who, agrees=agrees, breaks_off=breaks_off)

    @precondition(lambda self: any(self.model.decisions.values()))
    @rule(pick=st.integers(0, 99), who=st.sampled_from(["ann", "bob"]))
    def withdraw(self, pick: int, who: str) -> None:
        """The decision that stands, if it is the person's own."""
        self._withdraw(self.model.given[pick % len(self.model.given)].flag_id, who)

    @precondition(lambda self: self.model.flags)
    @rule(
        pick=st.integers(0, 99),
        verdict=st.sampled_from([Verdict.REJECTED, Verdict.APPROVED]),
        minute=st.integers(0, 3),
        who=st.sampled_from(APPROVERS),
        agrees=st.sampled_from([True, True, False]),
        changes_mind=st.booleans(),
    )
    def decide_between_two(
        self,
        pick: int,
        verdict: Verdict,
        minute: int,
        who: str,
        agrees: bool,  # noqa: FBT001 - drawn by name
        changes_mind: bool,  # noqa: FBT001 - as above
    ) -> None:
        """One decides, the next one looks at it at once; the first may take it back."""
        said = self._decision(pick, verdict, "ann", minute)
        self._expect(said, self._decided([said], self._decide))
        if said in self.model.given:
            self._review(said, who, agrees=agrees)
        if changes_mind:
            self._withdraw(said.flag_id, "ann")

    @rule(
        run=st.sampled_from(["r1", "r2"]),
        state=st.fixed_dictionaries(
            {"status": st.sampled_from(["in_progress", "failed", "paused"])},
            optional={
                "completed_agents": st.lists(st.sampled_from(["a", "b"]), unique=True),
                "pending_agents": st.lists(st.sampled_from(["b", "c"]), unique=True),
                "note": st.text(st.characters(codec="utf-8"), max_size=5),
            },
        ),
    )
    def save_run(self, run: str, state: dict[str, Any]) -> None:
        self.store.save_workflow_state(run, state)
        self.model.runs[run] = state

    @rule(run=st.sampled_from(["r1", "r2"]), flags=st.integers(0, 9))
    def complete_run(self, run: str, flags: int) -> None:
        self.store.mark_audit_complete(run, {"flags": flags})
        state = self.model.runs.get(run, {})
        done = [*state.get("completed_agents", ()), *state.get("pending_agents", ())]
        self.model.runs[run] = state | {
            "status": "completed",
            "workflow_status": "completed",
            "current_agent": None,
            "completed_agents": list(dict.fromkeys(done)),
            "pending_agents": [],
            "summary": {"flags": flags},
            "completed_at": self.clock.now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }

    @rule()
    def open_again(self) -> None:
        self.store.close()
        self.store = Store.open(self.url, clock=self.clock)

    # ---- what each of them does to the store and to the model

    def _audit(
        self,
        population: str,
        days: Sequence[dt.date],
        hits: set[Key],
        breaks_off: bool,  # noqa: FBT001
    ) -> None:
        self.run_number += 1
        run = f"run-{self.run_number}"
        measured = Decimal(self.points)
        found = {
            key: Finding(*key, self.version, measured, Decimal(1), self.points, ())
            for key in sorted(hits)
        }
        before = self.model.findings[population]
        outside = {key: one for key, one in before.items() if key[0] not in days}
        touched = {key[1] for key in {*found, *before} if key[0] in days}
        range_ = (days[0], days[-1])
        assert touched == {key[1] for key in found} | self.store.transactions_with_findings(
            population, *range_
        )
        known = self.store.findings_of(population, touched, outside=range_)
        assert known == [outside[k] for k in sorted(outside, key=_by_entry) if k[1] in touched]
        flags = [
            flag
            for transaction_id in sorted(touched)
            if (
                flag := flag_of(
                    population,
                    transaction_id,
                    [f for f in (*known, *found.values()) if f.transaction_id == transaction_id],
                )
            )
        ]
        ledger = self._ledger(population, days, touched, flags, run)
        changes = FlagChanges()
        with suppress(BrokenOff), self.store.writing() as writer:
            writer.replace_findings(population, *range_, list(found.values()), {})
            changes = writer.publish_flags(population, flags, touched, run)
            writer.put_partitions(ledger)
            writer.append_events(_events(run, changes))
            if breaks_off:
                raise BrokenOff
        if breaks_off:
            return
        self.model.findings[population] = outside | found
        self.model.ledger |= {(population, row.audit_on): row for row in ledger}
        expected = self._publish(population, flags, touched, run)
        assert changes == expected
        self.model.trail += [(run, event.tool_called) for event in _events(run, expected)]

    def _ledger(
        self,
        population: str,
        days: Sequence[dt.date],
        touched: set[str],
        flags: Sequence[Flag],
        run: str,
    ) -> list[PartitionRow]:
        """One entry a day and transaction, of one dollar each."""
        flagged = {flag.transaction_id for flag in flags}
        flagged |= self.store.flagged_transactions(population) - touched
        count, many = len(TRANSACTIONS), len(flagged)
        amounts = [Decimal(n).quantize(Decimal("0.01")) for n in (count, many, count - many, 0)]
        return [
            PartitionRow(
                population, day, run, count, amounts[0], many, amounts[1],
                count - many, amounts[2], 0, amounts[3],
            )
            for day in days
        ]  # fmt: skip

    def _publish(
        self, population: str, flags: Sequence[Flag], touched: set[str], run: str
    ) -> FlagChanges:
        """The model's own publishing."""
        did: dict[str, list[str]] = {name: [] for name in CHANGES}
        for flag in flags:
            content = (flag.audit_on, flag.severity_score, flag.explanation)
            stands = self.model.flags.get(flag.flag_id)
            if stands is None:
                did["created"].append(flag.flag_id)
                self.model.flags[flag.flag_id] = Expected(
                    flag.transaction_id, population, content, flag.severity_level, run, run
                )
                continue
            is_alone = stands.state is FlagState.DECIDED and stands.approver is None
            if stands.state is FlagState.SUPERSEDED or (
                is_alone and flag.severity_level is Severity.CRITICAL
            ):
                did["reopened"].append(flag.flag_id)
                stands.state = FlagState.OPEN
            elif stands.content == content:
                did["unchanged"].append(flag.flag_id)
                continue
            else:
                did["updated"].append(flag.flag_id)
            stands.content, stands.severity, stands.run = content, flag.severity_level, run
        raised = {flag.transaction_id for flag in flags}
        for transaction_id in sorted(touched - raised):
            gone = self.model.flags.get(flag_id(transaction_id, population))
            if gone is not None and gone.state is FlagState.OPEN:
                gone.state, gone.run = FlagState.SUPERSEDED, run
                did["superseded"].append(flag_id(transaction_id, population))
        return FlagChanges(**{name: tuple(ids) for name, ids in did.items()})

    def _review(self, said: Decision, who: str, *, agrees: bool, breaks_off: bool = False) -> None:
        flag = self.model.flags[said.flag_id]
        may = flag.awaits and flag.review == said and not flag.is_own(who)
        may = may and who.strip().lower() != said.reviewer_id
        taken = self._done(
            lambda writer: reviewing.review_second(writer, decision_id(said), who, agrees=agrees),
            breaks_off=breaks_off,
        )
        assert taken == may
        if taken and not breaks_off:
            self.model.second[said] = (who, agrees)
            self.model.project(said.flag_id)
            tool = "approve_decision" if agrees else "refuse_decision"
            self.model.trail.append((flag.run, tool))

    def _withdraw(self, identity: str, who: str) -> None:
        flag = self.model.flags[identity]
        taken = self._done(lambda writer: reviewing.withdraw(writer, identity, who))
        assert taken == (flag.review is not None and flag.review.reviewer_id == who)
        if taken and flag.review is not None:
            self.model.taken_back[flag.review] = who
            self.model.project(identity)
            self.model.trail.append((flag.run, "withdraw_decision"))

    def _decision(self, pick: int, verdict: Verdict, reviewer: str, minute: int) -> Decision:
        ids = sorted(self.model.flags)
        at = NOON + dt.timedelta(days=1, minutes=minute)
        return Decision(ids[pick % len(ids)], verdict, Reason.CORRECTED, reviewer, at, "seen")

    def _decide(self, said: Decision, store: Store | None = None) -> bool:
        """Whether it was taken, now or before."""
        return self._done(lambda writer: reviewing.decide(writer, said), store)

    def _done(
        self,
        action: Callable[[Writer], object],
        store: Store | None = None,
        *,
        breaks_off: bool = False,
    ) -> bool:
        """Whether it is not refused."""
        try:
            with suppress(BrokenOff), (store or self.store).writing() as writer:
                action(writer)
                if breaks_off:
                    raise BrokenOff
        except (TransitionRefused, DecisionRefused):
            return False
        return True

    @staticmethod
    def _decided(decisions: Sequence[Decision], take: Callable[[Decision], bool]) -> Sequence[bool]:
        if len(decisions) == 1:
            return [take(decisions[0])]
        with ThreadPoolExecutor(len(decisions)) as pool:
            return list(pool.map(take, decisions))

    def _expect(self, said: Decision, taken: Sequence[bool]) -> None:
        flag = self.model.flags[said.flag_id]
        given = self.model.decisions.setdefault(said.flag_id, [])
        if said in given:
            assert taken == [True]
            return
        may = flag.state is not FlagState.SUPERSEDED and not flag.is_own(said.reviewer_id)
        assert taken == [may]
        if not may:
            return
        given.append(said)
        self.model.project(said.flag_id)
        self.model.trail.append((flag.run, "decide"))

    # ---- what holds after each of them

    @invariant()
    def flags_are_those_of_the_model(self) -> None:
        """Content, state and review columns; nothing more and nothing less."""
        stored = self.store.flags(state=None)
        assert {row.flag_id: row for row in stored}.keys() == self.model.flags.keys()
        assert len(stored) == len(self.model.flags)
        for row in stored:
            flag = self.model.flags[row.flag_id]
            assert (row.transaction_id, row.population) == (flag.transaction_id, flag.population)
            assert (row.audit_on, row.severity_score, row.explanation) == flag.content
            assert (row.state, row.audit_run_id, row.first_run_id) == (
                flag.state,
                flag.run,
                flag.first_run,
            )
            assert row.severity_level is flag.severity
            assert row.reviewed == (flag.state is FlagState.DECIDED)
            assert reviewing.awaits_second(row) == flag.awaits
            assert row.approver_id == flag.approver
            said = flag.review
            assert (row.human_decision, row.reviewer_id, row.review_timestamp) == (
                (said.verdict, said.reviewer_id, said.decided_at) if said else (None, None, None)
            )

    @invariant()
    def a_critical_flag_is_closed_by_two(self) -> None:
        """Without the model: whoever they are, they are not one."""
        for row in self.store.flags(severity=Severity.CRITICAL, state=FlagState.DECIDED):
            names = {
                (row.reviewer_id or "").strip().lower(),
                (row.approver_id or "").strip().lower(),
            }
            assert len(names - {""}) == 2
            assert CARDHOLDERS.get(row.transaction_id, "nobody").lower() not in names

    @invariant()
    def no_second_word_and_no_withdrawal_is_lost(self) -> None:
        reviewed = select(
            SECOND_REVIEWS.c.decision_id, SECOND_REVIEWS.c.approver_id, SECOND_REVIEWS.c.agrees
        )
        taken_back = select(WITHDRAWALS.c.decision_id, WITHDRAWALS.c.withdrawn_by)
        with self.store.reading() as connection:
            second = {row[0]: (row[1], row[2]) for row in connection.execute(reviewed)}
            withdrawn = {row[0]: row[1] for row in connection.execute(taken_back)}
        assert second == {decision_id(one): word for one, word in self.model.second.items()}
        assert withdrawn == {decision_id(one): who for one, who in self.model.taken_back.items()}

    @invariant()
    def no_decision_is_lost_or_changed(self) -> None:
        with self.store.reading() as connection:
            ids = list(connection.scalars(select(DECISIONS.c.decision_id)))
        assert len(ids) == len(set(ids)) == sum(map(len, self.model.decisions.values()))
        for identity, given in self.model.decisions.items():
            assert self.store.decisions_of(identity) == sorted(given, key=lambda d: d.decided_at)

    @invariant()
    def findings_are_those_last_published(self) -> None:
        with self.store.reading() as connection:
            count = len(connection.execute(select(FINDINGS.c.rule_id)).all())
        assert count == sum(map(len, self.model.findings.values()))
        never = (dt.date(1900, 1, 1), dt.date(1900, 1, 1))
        for population, findings in self.model.findings.items():
            stored = self.store.findings_of(population, TRANSACTIONS, outside=never)
            assert stored == [findings[key] for key in sorted(findings, key=_by_entry)]

    @invariant()
    def the_trail_has_every_event_once(self) -> None:
        entries = list(self.store.trail())
        assert [e.log_sequence_number for e in entries] == list(range(1, len(entries) + 1))
        assert all(entry.intact for entry in entries)
        told = [(entry.audit_run_id, entry.event.tool_called) for entry in entries]
        assert told == self.model.trail

    @invariant()
    def the_ledger_balances(self) -> None:
        rows = self.store.partitions()
        assert {(row.population, row.audit_on): row for row in rows} == self.model.ledger
        for row in rows:
            assert row.transactions == row.flagged + row.cleared + row.quarantined
            disposed = row.flagged_amount + row.cleared_amount + row.quarantined_amount
            assert row.amount == disposed

    @invariant()
    def runs_come_back(self) -> None:
        for run in ("r1", "r2"):
            assert self.store.restore_workflow_state(run) == self.model.runs.get(run, {})
        assert {row.audit_run_id for row in self.store.runs()} == set(self.model.runs)


CHANGES = ("created", "updated", "unchanged", "superseded", "reopened")


def _by_entry(key: Key) -> tuple[str, dt.date, str]:
    return key[1], key[0], key[2]


def _events(run: str, changes: FlagChanges) -> list[TrailEvent]:
    """One for each flag that publishing touched, as an audit writes them."""
    return [
        TrailEvent(run, "escalation", f"flag_{change}", NOON, output_summary={"flag_id": identity})
        for change in CHANGES
        if change != "unchanged"
        for identity in getattr(changes, change)
    ]


# ---- where it runs

BRIEF = settings(
    max_examples=15, stateful_step_count=15, deadline=None, database=None, print_blob=False
)
LONG = settings(BRIEF, max_examples=150, stateful_step_count=60)


class Files:
    """Empty SQLite stores, each a copy of one that was migrated once."""

    number: ClassVar[Iterator[int]]

    def __init__(self, folder: Path) -> None:
        self.folder, self.made = folder, 0
        Store.open(f"sqlite:///{folder / 'empty.db'}").close()

    def __call__(self) -> str:
        """The address of one more."""
        self.made += 1
        copy = self.folder / f"{self.made}.db"
        shutil.copyfile(self.folder / "empty.db", copy)
        return f"sqlite:///{copy}"


@contextmanager
def files() -> Iterator[Files]:
    """In a folder of their own, which goes with them."""
    with tempfile.TemporaryDirectory() as folder:
        yield Files(Path(folder))


def emptied(url: str) -> str:
    """The address of a store that has nothing in it any more."""
    with Store.open(url) as store, store.writing() as writer:
        names = ", ".join(METADATA.tables)
        writer.connection.execute(text(f"TRUNCATE {names}"))
    return url


def run_machine(place: Callable[[], str], how: settings) -> None:
    class Placed(StoreMachine):
        def __init__(self) -> None:
            super().__init__(place)

    run_state_machine_as_test(Placed, settings=how)


def test_on_sqlite() -> None:
    with files() as place:
        run_machine(place, BRIEF)


@pytest.mark.postgres
def test_on_postgres(postgres_url: str) -> None:
    run_machine(partial(emptied, postgres_url), settings(BRIEF, max_examples=3))


@pytest.mark.slow
def test_on_sqlite_for_long() -> None:
    with files() as place:
        run_machine(place, LONG)


@pytest.mark.slow
@pytest.mark.postgres
def test_on_postgres_for_long(postgres_url: str) -> None:
    run_machine(partial(emptied, postgres_url), settings(LONG, max_examples=40))


# ---- what it finds

Publish = Callable[[Writer, str, Sequence[Flag], Any, str], FlagChanges]


def _overwrites_decided(patched: pytest.MonkeyPatch) -> None:
    """A re-run opens the decided flags that it changes."""
    real = Writer.publish_flags

    def publish(writer: Writer, *given: Any) -> FlagChanges:
        changes = real(writer, *given)
        changed = update(FLAGS).where(FLAGS.c.flag_id.in_(changes.updated))
        writer.connection.execute(changed.values(state="open", human_decision=None, reviewed=False))
        return changes

    patched.setattr(Writer, "publish_flags", publish)


def _deletes_what_vanishes(patched: pytest.MonkeyPatch) -> None:
    """Instead of superseding it."""
    real = Writer._supersede

    def supersede(writer: Writer, *given: Any) -> tuple[str, ...]:
        gone = real(writer, *given)
        writer.connection.execute(delete(DECISIONS).where(DECISIONS.c.flag_id.in_(gone)))
        writer.connection.execute(delete(FLAGS).where(FLAGS.c.flag_id.in_(gone)))
        return gone

    patched.setattr(Writer, "_supersede", supersede)


def _forgets_an_event(patched: pytest.MonkeyPatch) -> None:
    """The last of several."""
    real = Writer.append_events

    def append(writer: Writer, events: Sequence[TrailEvent]) -> int:
        return real(writer, events[:-1] if len(events) > 1 else events)

    patched.setattr(Writer, "append_events", append)


def _keeps_findings_that_vanished(patched: pytest.MonkeyPatch) -> None:
    """A range in which nothing is found keeps what it had."""
    real = Writer.replace_findings

    def replace_findings(writer: Writer, *given: Any) -> None:
        if given[3]:
            real(writer, *given)

    patched.setattr(Writer, "replace_findings", replace_findings)


def _records_decisions_twice(patched: pytest.MonkeyPatch) -> None:
    """The same decision has another id each time."""
    real, asked = reviewing.decision_id, iter(range(10**9))
    patched.setattr(
        reviewing, "decision_id", lambda said: real(replace(said, notes=str(next(asked))))
    )


def _shows_the_last_said(patched: pytest.MonkeyPatch) -> None:
    """The flag shows what was said last, not what was dated last."""
    real = reviewing.decide

    def decide(writer: Writer, said: Decision) -> object:
        row = real(writer, said)
        shown = update(FLAGS).where(FLAGS.c.flag_id == said.flag_id)
        writer.connection.execute(shown.values(review_timestamp=said.decided_at))
        return row

    patched.setattr(reviewing, "decide", decide)


def _commits_half(patched: pytest.MonkeyPatch) -> None:
    """Findings stay when the transaction breaks off."""
    real = Writer.replace_findings

    def replace_findings(writer: Writer, *given: Any) -> None:
        real(writer, *given)
        writer.connection.exec_driver_sql("COMMIT")
        writer.connection.exec_driver_sql("BEGIN")

    patched.setattr(Writer, "replace_findings", replace_findings)


def _compares_names_by_their_bytes(patched: pytest.MonkeyPatch) -> None:
    """The second person is the first one, in capitals and with a space."""
    patched.setattr(reviewing, "two_people", lambda one, other: one != other)


def _takes_ones_own_charge(patched: pytest.MonkeyPatch) -> None:
    """Whoever the card names."""
    patched.setattr(reviewing, "refuse_own", lambda *_: None)


def _forgets_a_withdrawal(patched: pytest.MonkeyPatch) -> None:
    """The flag is open, but the next decision that falls lets the one that was taken back stand."""
    real = reviewing.withdraw

    def withdraw(writer: Writer, *given: Any) -> object:
        row = real(writer, *given)
        writer.connection.execute(delete(WITHDRAWALS))
        return row

    patched.setattr(reviewing, "withdraw", withdraw)


def _lets_a_refused_decision_stand(patched: pytest.MonkeyPatch) -> None:
    """The refusal is recorded, the flag shows the decision all the same."""
    real = reviewing.review_second

    def review_second(writer: Writer, identity: str, who: str, *, agrees: bool) -> object:
        asked = select(DECISIONS).where(DECISIONS.c.decision_id == identity)
        said = writer.connection.execute(asked).mappings().one()
        row = real(writer, identity, who, agrees=agrees)
        if not agrees:
            shown = update(FLAGS).where(FLAGS.c.flag_id == said["flag_id"])
            writer.connection.execute(shown.values(human_decision=said["verdict"]))
        return row

    patched.setattr(reviewing, "review_second", review_second)


def _lets_anybody_take_back(patched: pytest.MonkeyPatch) -> None:
    """Not only who said it."""
    patched.setattr(reviewing, "same_person", lambda *_: True)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "defect",
    [
        pytest.param(_overwrites_decided, marks=SLOW),
        _deletes_what_vanishes,
        pytest.param(_forgets_an_event, marks=SLOW),
        pytest.param(_keeps_findings_that_vanished, marks=SLOW),
        pytest.param(_records_decisions_twice, marks=SLOW),
        pytest.param(_shows_the_last_said, marks=SLOW),
        pytest.param(_commits_half, marks=SLOW),
        _compares_names_by_their_bytes,
        pytest.param(_takes_ones_own_charge, marks=SLOW),
        pytest.param(_forgets_a_withdrawal, marks=SLOW),
        pytest.param(_lets_a_refused_decision_stand, marks=SLOW),
        pytest.param(_lets_anybody_take_back, marks=SLOW),
    ],
    ids=lambda defect: defect.__name__.strip("_"),
)
def test_the_machine_finds(
    monkeypatch: pytest.MonkeyPatch, defect: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """A store with this defect does not pass."""
    defect(monkeypatch)
    soon = settings(BRIEF, max_examples=300, derandomize=True, phases=[Phase.generate])
    with files() as place, pytest.raises(AssertionError):
        run_machine(place, soon)

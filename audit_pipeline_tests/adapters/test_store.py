"""The store: what a re-run may change, what only a decision may, and a trail without gaps."""

import datetime as dt
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from threading import Event

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, StatementError

from audit_pipeline.adapters.store import Store, engine, reviewing
from audit_pipeline.adapters.store.columns import Exact, storable
from audit_pipeline.adapters.store.rows import FlagChanges, PartitionRow, StoredQuery, query_id
from audit_pipeline.adapters.store.schema import FLAGS, REVIEW_COLUMNS
from audit_pipeline.adapters.store.trail import Checkpoint
from audit_pipeline.adapters.store.writer import Writer
from audit_pipeline.model.decision import Decision, Reason, Verdict
from audit_pipeline.model.errors import (
    BadUsage,
    FlagUnknown,
    StoreUnavailable,
    TransitionRefused,
)
from audit_pipeline.model.finding import Cell, Finding
from audit_pipeline.model.flag import Flag, FlagState, Point, Severity, flag_id
from audit_pipeline.model.trail import TrailEvent, leaf_hash

pytest_plugins = ("audit_pipeline_tests.postgres",)

NOON = dt.datetime(2025, 3, 1, 12, tzinfo=dt.UTC)
DAY = dt.date(2025, 2, 1)
EVER = (dt.date(1900, 1, 1), dt.date(2100, 1, 1))
LONG_AGO = (dt.date(1900, 1, 1), dt.date(1900, 1, 1))
HOSTILE = (
    "Robert'); DROP TABLE flags;--",
    'quotes " and \\ and `',
    "percent % and %(name)s and :name and ?",
    "zażółć 🧾 \u202eevil\u202c e\u0301",
    "tab\tnewline\nreturn\r",
    "x" * 5_000,
    "",
)


class Clock:
    """One minute later each time it is asked."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> dt.datetime:
        self.now += dt.timedelta(minutes=1)
        return self.now


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty store of each kind."""
    if request.param == "postgres":
        return request.getfixturevalue("postgres_url")
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """Open, closed at the end."""
    with Store.open(url, clock=Clock()) as opened:
        yield opened


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[Store]:
    """On a file, for what only SQLite can show."""
    with Store.open(f"sqlite:///{tmp_path / 'sqlite.db'}", clock=Clock()) as opened:
        yield opened


def finding(transaction_id: str = "t1", rule_id: str = "RC-01", audit_on: dt.date = DAY) -> Finding:
    return Finding(
        audit_on=audit_on,
        transaction_id=transaction_id,
        rule_id=rule_id,
        rule_version=3,
        measured=Decimal("1234.5"),
        threshold=Decimal("0.0001"),
        score=40,
        evidence=(Cell("amount", "gold.credit_cards.amount", transaction_id, "1234.50"),),
    )


def flag(transaction_id: str = "t1", population: str = "demo", score: int = 40) -> Flag:
    return Flag(
        flag_id=flag_id(transaction_id, population),
        transaction_id=transaction_id,
        population=population,
        audit_on=DAY,
        severity_level=Severity.WARNING,
        severity_score=score,
        confidence_score=0.1 + 0.2,
        explanation=f"No bank line pays {transaction_id}.",
        links=(f"gold.credit_cards/{transaction_id}",),
        points=(Point("RC-01", score, "no bank line"),),
        findings=(finding(transaction_id),),
    )


def publish(
    store: Store, flags: Iterable[Flag], touched: Iterable[str] = ("t1",), run: str = "run-1"
) -> FlagChanges:
    with store.writing() as writer:
        return writer.publish_flags("demo", list(flags), touched, run)


def decision(identity: str, verdict: Verdict = Verdict.REJECTED, minute: int = 0) -> Decision:
    return Decision(
        flag_id=identity,
        verdict=verdict,
        reason=Reason.CORRECTED,
        reviewer_id="ann",
        decided_at=NOON + dt.timedelta(hours=1, minutes=minute),
        notes="it's fine",
    )


def decide(store: Store, said: Decision) -> None:
    with store.writing() as writer:
        reviewing.decide(writer, said)


def write_and_fail(store: Store, write: Callable[[Writer], object]) -> None:
    with store.writing() as writer:
        write(writer)
        raise KeyError


def raw_row(store: Store, identity: str) -> tuple[object, ...]:
    """The row as the driver gives it, without a conversion of ours."""
    with store.reading() as connection:
        found = connection.execute(
            text("SELECT * FROM flags WHERE flag_id = :id"), {"id": identity}
        )
        return tuple(found.one())


def event(tool: str = "detect", run: str = "run-1", **more: object) -> TrailEvent:
    return replace(TrailEvent(run, "anomaly_detection", tool, NOON), **more)


# ---- flags


def test_a_published_flag_comes_back_whole(store: Store) -> None:
    """Every field, and the review columns empty."""
    assert publish(store, [flag()]) == FlagChanges(created=(flag().flag_id,))
    row = store.flag(flag().flag_id)
    for name in ("transaction_id", "population", "audit_on", "severity_level", "links", "points"):
        assert getattr(row, name) == getattr(flag(), name)
    assert (row.severity_score, row.confidence_score) == (40, 0.1 + 0.2)
    assert row.explanation == flag().explanation
    assert (row.audit_run_id, row.first_run_id, row.state) == ("run-1", "run-1", FlagState.OPEN)
    assert row.created_at == row.updated_at == NOON + dt.timedelta(minutes=1)
    assert row.created_at.tzinfo is dt.UTC
    assert not row.reviewed
    review = (row.human_decision, row.reviewer_id, row.review_timestamp, row.reviewer_notes)
    assert review == (None, None, None, None)


def test_a_rerun_that_finds_the_same_writes_nothing(store: Store) -> None:
    """The row is equal to the byte, its run and its time included."""
    publish(store, [flag()])
    before = raw_row(store, flag().flag_id)
    changes = publish(store, [flag()], run="run-2")
    assert changes == FlagChanges(unchanged=(flag().flag_id,))
    assert raw_row(store, flag().flag_id) == before


def test_a_rerun_that_finds_otherwise_updates_in_place(store: Store) -> None:
    """The id, the first run and the time of creation stay."""
    publish(store, [flag()])
    assert publish(store, [flag(score=80)], run="run-2").updated == (flag().flag_id,)
    row = store.flag(flag().flag_id)
    assert (row.severity_score, row.audit_run_id, row.first_run_id) == (80, "run-2", "run-1")
    assert row.updated_at - row.created_at == dt.timedelta(minutes=1)
    assert len(store.flags(state=None)) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"audit_on": dt.date(2025, 2, 2)},
        {"severity_level": Severity.INFO},
        {"severity_score": 41},
        {"confidence_score": 0.31},
        {"explanation": "Otherwise."},
        {"links": ()},
        {"points": (Point("RC-01", 40, "otherwise"),)},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_any_content_counts_as_a_change(sqlite_store: Store, changed: dict[str, object]) -> None:
    """And is stored."""
    publish(sqlite_store, [flag()])
    other = replace(flag(), **changed)
    assert publish(sqlite_store, [other]).updated == (flag().flag_id,)
    [(name, value)] = changed.items()
    assert getattr(sqlite_store.flag(flag().flag_id), name) == value


def test_a_flag_whose_findings_vanish_is_superseded_and_comes_back(store: Store) -> None:
    """Never deleted; open again when the rules find it again, even with the same content."""
    publish(store, [flag()])
    assert publish(store, [], run="run-2") == FlagChanges(superseded=(flag().flag_id,))
    row = store.flag(flag().flag_id)
    assert (row.state, row.audit_run_id) == (FlagState.SUPERSEDED, "run-2")
    assert store.flags() == []
    gone = raw_row(store, flag().flag_id)
    assert publish(store, [], run="run-3") == FlagChanges()
    assert raw_row(store, flag().flag_id) == gone
    assert publish(store, [flag()], run="run-4") == FlagChanges(reopened=(flag().flag_id,))
    row = store.flag(flag().flag_id)
    assert (row.state, row.audit_run_id, row.first_run_id) == (FlagState.OPEN, "run-4", "run-1")


def test_only_touched_transactions_of_the_population_are_superseded(store: Store) -> None:
    """A run says nothing about what it did not look at."""
    publish(store, [flag("t1"), flag("t2")], touched=["t1", "t2"])
    with store.writing() as writer:
        other = flag("t1", population="other")
        writer.publish_flags("other", [other], ["t1"], "run-1")
    assert publish(store, [], touched=["t1"]).superseded == (flag("t1").flag_id,)
    assert {row.flag_id for row in store.flags()} == {flag("t2").flag_id, other.flag_id}


def test_a_decision_survives_every_rerun(store: Store) -> None:
    """Same content, other content, no finding left: the review columns stay as they were said."""
    publish(store, [flag()])
    said = decision(flag().flag_id)
    decide(store, said)
    decided = store.flag(flag().flag_id)
    review = [getattr(decided, name) for name in REVIEW_COLUMNS]
    assert review == [True, Verdict.REJECTED, "ann", said.decided_at, "it's fine", None]
    assert publish(store, [flag()]).unchanged
    assert store.flag(flag().flag_id) == decided
    assert publish(store, [flag(score=90)]).updated
    assert publish(store, []) == FlagChanges()
    row = store.flag(flag().flag_id)
    assert [getattr(row, name) for name in REVIEW_COLUMNS] == review
    assert (row.state, row.severity_score) == (FlagState.DECIDED, 90)
    assert store.decisions_of(flag().flag_id) == [said]


def test_publishing_never_names_a_review_column(sqlite_store: Store) -> None:
    """Not in the INSERT either: proved on the statements that reach the driver."""
    seen: list[str] = []
    with sqlite_store.writing() as writer:
        driver = writer.connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.set_trace_callback(seen.append)
        writer.publish_flags("demo", [flag()], ["t1"], "run-1")
        writer.publish_flags("demo", [flag(score=50)], ["t1"], "run-1")
        writer.publish_flags("demo", [], ["t1"], "run-1")
        driver.set_trace_callback(None)
    writes = [sql for sql in seen if sql.startswith(("INSERT", "UPDATE"))]
    assert len(writes) == 3
    assert not [sql for sql in writes for name in REVIEW_COLUMNS if name in sql]


@settings(
    max_examples=40,  # a machine of random steps asks the same of a whole store
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    steps=st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from("abcd"), st.integers(0, 2), max_size=4),
            st.sets(st.sampled_from("abcd")),
            st.sets(st.sampled_from("abcd"), max_size=1),
        ),
        max_size=6,
    )
)
def test_publishing_agrees_with_a_dozen_lines(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[dict[str, int], set[str], set[str]]]
) -> None:
    """Any sequence of runs and decisions leaves what plain Python says it leaves."""
    path = tmp_path_factory.mktemp("oracle") / "store.db"
    expected: dict[str, tuple[int, str]] = {}
    with Store.open(f"sqlite:///{path}") as store:
        for minute, (found, looked_at, decided) in enumerate(steps):
            publish(store, [flag(t, score=s) for t, s in found.items()], {*looked_at, *found})
            for name, score in found.items():
                was = expected.get(name, (0, "open"))[1]
                expected[name] = (score, "decided" if was == "decided" else "open")
            for name in looked_at - set(found):
                if expected.get(name, (0, ""))[1] == "open":
                    expected[name] = (expected[name][0], "superseded")
            for name in decided & set(expected):
                if expected[name][1] != "superseded":
                    decide(store, decision(flag(name).flag_id, minute=minute))
                    expected[name] = (expected[name][0], "decided")
        rows = store.flags(state=None)
    assert {r.transaction_id: (r.severity_score, r.state.value) for r in rows} == expected


def test_flags_come_in_working_order_and_filtered(store: Store) -> None:
    """Severity, then score, then audit date, then transaction; each filter on its own."""
    listed = [
        replace(flag("z", score=10), severity_level=Severity.CRITICAL),
        flag("y", score=90),
        flag("c", score=50),
        flag("d", score=50),
        replace(flag("a", score=50), audit_on=DAY + dt.timedelta(days=1)),
        replace(flag("b", score=99), severity_level=Severity.INFO),
    ]
    publish(store, reversed(listed), touched=())
    with store.writing() as writer:
        writer.replace_findings("demo", DAY, DAY, [finding("c", "AN-01"), finding("b")], {})

    def names(**filters: object) -> str:
        rows = store.flags(**filters)  # pyright: ignore[reportArgumentType]
        return "".join(row.transaction_id for row in rows)

    assert names() == names(population="demo") == "zycdab"
    assert names(limit=3) == "zyc"
    assert names(limit=0) == names(population="other") == names(audit_run_id="run-2") == ""
    assert names(severity="WARNING") == names(severity=Severity.WARNING) == "ycda"
    assert names(rule="AN-01") == "c"
    assert names(from_on=DAY + dt.timedelta(days=1)) == "a"
    assert names(to_on=DAY) == "zycdb"
    decide(store, decision(listed[1].flag_id))
    assert names() == "zcdab"
    assert names(state="decided") == names(state=FlagState.DECIDED) == "y"
    assert names(state=None) == "zycdab"


def test_a_flag_is_found_by_the_beginning_of_its_id(store: Store) -> None:
    """Six characters or more, in either case; a wildcard is a character like another."""
    publish(store, [flag()])
    identity = flag().flag_id
    for begin in (identity, identity[:6], identity[:20].upper(), f" {identity} "):
        assert store.flag(begin).flag_id == identity
    with pytest.raises(FlagUnknown, match="too short"):
        store.flag(identity[:5])
    for nonsense in ("zzzzzz", "%%%%%%", "______", identity + "0"):
        with pytest.raises(FlagUnknown, match="there is no flag"):
            store.flag(nonsense)


def test_an_ambiguous_beginning_names_the_candidates(store: Store) -> None:
    """So that the reader can copy the one meant; a long list is cut."""
    same = [f"abcdef00-0000-0000-0000-{n:012}" for n in range(12)]
    publish(store, [replace(flag(str(n)), flag_id=i) for n, i in enumerate(same)])
    with pytest.raises(FlagUnknown, match="could be more than one flag") as refused:
        store.flag("abcdef")
    assert ", ".join(same[:10]) + ", …" in str(refused.value)
    with pytest.raises(FlagUnknown) as refused:
        store.flag(same[10][:-1])
    assert str(refused.value).endswith(f"flag: {same[10]}, {same[11]}")


# ---- decisions


def test_a_later_decision_replaces_an_earlier_one_and_both_are_kept(store: Store) -> None:
    """Whichever order they arrive in."""
    publish(store, [flag()])
    late = decision(flag().flag_id, Verdict.APPROVED, minute=2)
    early = decision(flag().flag_id, Verdict.FALSE_POSITIVE, minute=1)
    decide(store, late)
    decide(store, early)
    assert store.flag(flag().flag_id).human_decision is Verdict.APPROVED
    assert store.decisions_of(flag().flag_id) == [early, late]


def test_a_decision_taken_in_another_time_zone(store: Store) -> None:
    """The instant is kept, and comes back in UTC."""
    publish(store, [flag()])
    said = decision(flag().flag_id)
    elsewhere = said.decided_at.astimezone(dt.timezone(dt.timedelta(hours=9)))
    decide(store, replace(said, decided_at=elsewhere))
    [kept] = store.decisions_of(flag().flag_id)
    assert (kept.decided_at, kept.decided_at.tzinfo) == (said.decided_at, dt.UTC)
    assert store.flag(flag().flag_id).review_timestamp == said.decided_at
    decide(store, said)
    assert len(store.decisions_of(flag().flag_id)) == 1, "it is the same decision"


def test_the_same_decision_twice_is_recorded_once(store: Store) -> None:
    """A form that is sent twice leaves one row and one trail entry."""
    publish(store, [flag()])
    decide(store, decision(flag().flag_id))
    before = raw_row(store, flag().flag_id)
    decide(store, decision(flag().flag_id))
    assert raw_row(store, flag().flag_id) == before
    assert len(store.decisions_of(flag().flag_id)) == len(list(store.trail())) == 1


def test_a_decision_leaves_a_trail_entry(store: Store) -> None:
    """Who, what, from which state to which; the notes only as part of the decision's digest."""
    publish(store, [flag()])
    decide(store, decision(flag().flag_id))
    [entry] = store.trail()
    said = entry.event
    assert (said.audit_run_id, said.agent_name, said.tool_called) == (
        "run-1",
        "reviewer:ann",
        "decide",
    )
    assert said.occurred_at == decision("").decided_at
    assert said.input_data["verdict"] == "rejected"
    assert said.output_summary == {"state_before": "open", "state": "decided"}
    assert "fine" not in str(entry.document)


def test_needing_more_information_leaves_the_flag_open(store: Store) -> None:
    """It stays in the work list, also after an earlier decision; the projection shows it."""
    publish(store, [flag()])
    decide(store, decision(flag().flag_id, Verdict.APPROVED))
    decide(store, decision(flag().flag_id, Verdict.NEEDS_MORE_INFO, minute=1))
    [row] = store.flags()
    assert (row.reviewed, row.human_decision) == (False, Verdict.NEEDS_MORE_INFO)


def test_decisions_that_cannot_be(store: Store) -> None:
    """On no flag, on a superseded one; nothing is left behind."""
    with pytest.raises(FlagUnknown, match="there is no flag nothing"):
        decide(store, decision("nothing"))
    publish(store, [flag()])
    publish(store, [])
    for verdict in Verdict:
        with pytest.raises(TransitionRefused):
            decide(store, decision(flag().flag_id, verdict))
    assert store.decisions_of(flag().flag_id) == list(store.trail()) == []


# ---- findings and queries


def test_findings_of_a_range_are_replaced(store: Store) -> None:
    """Inside the range all go, outside none; other populations are not touched."""
    days = [DAY + dt.timedelta(days=n) for n in range(4)]
    with store.writing() as writer:
        everything = [finding("t1", audit_on=day) for day in days]
        writer.replace_findings("demo", days[0], days[3], everything, {})
        writer.replace_findings("other", days[0], days[3], everything, {})
        writer.replace_findings("demo", days[1], days[2], [finding("t2", audit_on=days[1])], {})
    assert store.findings_of("demo", ["t1", "t2"], LONG_AGO) == [
        finding("t1", audit_on=days[0]),
        finding("t1", audit_on=days[3]),
        finding("t2", audit_on=days[1]),
    ]
    assert store.findings_of("demo", ["t1", "t2"], (days[1], days[3])) == [
        finding("t1", audit_on=days[0])
    ]
    assert store.transactions_with_findings("demo", days[1], days[3]) == {"t1", "t2"}
    assert store.transactions_with_findings("demo", days[2], days[2]) == set()
    assert store.transactions_with_findings("other", days[2], days[2]) == {"t1"}
    assert store.findings_of_flag(flag_id("t2", "demo")) == [finding("t2", audit_on=days[1])]


def test_flagged_transactions_are_the_ones_that_stand(store: Store) -> None:
    """Open and decided ones count, superseded ones and other populations do not."""
    publish(store, [flag("t1"), flag("t2"), flag("t3")])
    with store.writing() as writer:
        writer.publish_flags("other", [flag("t4", population="other")], [], "run-1")
    decide(store, decision(flag("t2").flag_id))
    publish(store, [], touched=["t2", "t3"])
    assert store.flagged_transactions("demo") == {"t1", "t2"}


def test_findings_outside_the_range_are_refused(sqlite_store: Store) -> None:
    """They would stay behind for ever."""
    with sqlite_store.writing() as writer, pytest.raises(ValueError, match="1 findings outside"):
        writer.replace_findings("demo", DAY, DAY, [finding(audit_on=dt.date(2025, 2, 2))], {})


def test_a_finding_twice_is_refused(store: Store) -> None:
    """One rule meets one transaction on one audit date once; the transaction is taken back."""
    with pytest.raises(IntegrityError), store.writing() as writer:
        writer.replace_findings("demo", DAY, DAY, [finding(), finding()], {})
    assert store.transactions_with_findings("demo", *EVER) == set()


def test_findings_of_fifty_thousand_transactions(sqlite_store: Store) -> None:
    """More ids than one statement can bind, with duplicates, as a generator."""
    with sqlite_store.writing() as writer:
        writer.replace_findings("demo", DAY, DAY, [finding("t7"), finding("t49999")], {})
    ids = (f"t{n % 50_000}" for n in range(60_000))
    found = sqlite_store.findings_of("demo", ids, LONG_AGO)
    assert [f.transaction_id for f in found] == ["t49999", "t7"]


def test_queries_of_a_flag(store: Store) -> None:
    """Each once, also where two findings share it; stored once, however often it is put."""
    asked = StoredQuery.asked(
        "RC-01", "SELECT 'x' -- :p", {"window_days": 5, "on": "2025-02-01"}, "snap", ["gold.emails"]
    )
    assert asked.query_id == query_id(asked.sql, asked.parameters, "snap")
    assert asked.query_id != query_id(asked.sql, asked.parameters, "snap2")
    days = (DAY, DAY + dt.timedelta(days=1))
    with store.writing() as writer:
        ids = {"RC-01": asked.query_id}
        found = [finding(audit_on=day) for day in days]
        writer.replace_findings("demo", *days, [*found, finding(rule_id="AN-01")], ids)
        writer.put_queries([asked, asked])
        writer.put_queries([asked])
    assert store.queries_of(flag_id("t1", "demo")) == [asked]
    assert store.queries_of("nothing") == []


def test_a_finding_must_have_its_query(store: Store) -> None:
    """At the commit: a finding that cannot be re-performed is not stored."""
    with pytest.raises(IntegrityError), store.writing() as writer:
        writer.replace_findings("demo", DAY, DAY, [finding()], {"RC-01": "0" * 64})
    assert store.transactions_with_findings("demo", *EVER) == set()


# ---- trail


def test_an_event_comes_back_whole(store: Store) -> None:
    """Every field, with the hash that its stored row has."""
    whole = event(
        occurred_at=NOON.astimezone(dt.timezone(dt.timedelta(hours=-7))),
        execution_time_ms=12,
        input_data={"z": 1, "a": [None, True, "é"], "n": 1.5},
        output_summary={"flags": 3},
        decision_chain=("floor WARNING", "model INFO"),
        llm_model="some/model",
        llm_tokens_used=321,
        llm_cost_dollars="-0.00001",
        error_message="2025-01-01 00:00:00.000000",
        error_stack_trace="Traceback …\n",
    )
    with store.writing() as writer:
        assert writer.append_events([event("first"), whole]) == 2
        assert writer.append_events([]) == 2
    first, second = store.trail()
    assert first.event == event("first")
    assert second.event == replace(whole, llm_cost_dollars="0.0000")
    assert [entry.log_sequence_number for entry in (first, second)] == [1, 2]
    assert [entry.audit_run_id for entry in (first, second)] == ["run-1", "run-1"]
    assert first.intact
    assert second.intact
    assert second.leaf_hash == leaf_hash(second.document)
    assert second.document["timestamp"] == "2025-03-01T12:00:00.000000Z"


def test_the_trail_has_no_gaps_under_four_threads(sqlite_store: Store) -> None:
    """Four writers, fifty appends each, one sequence."""
    append_from_threads(sqlite_store)


@pytest.mark.postgres
def test_the_trail_has_no_gaps_on_postgres(postgres_url: str) -> None:
    """The same through connections of their own stores, so only the database can order them."""
    with Store.open(postgres_url) as one, Store.open(postgres_url) as two:
        append_from_threads(one, two)


def append_from_threads(*stores: Store) -> None:
    def append(worker: int) -> list[int]:
        store = stores[worker % len(stores)]
        numbers = []
        for _ in range(50):
            with store.writing() as writer:
                numbers.append(writer.append_events([event(run=f"run-{worker}")]))
        return numbers

    with ThreadPoolExecutor(4) as pool:
        given_out = [number for numbers in pool.map(append, range(4)) for number in numbers]
    assert sorted(given_out) == list(range(1, 201))
    entries = list(stores[0].trail())
    assert [entry.log_sequence_number for entry in entries] == list(range(1, 201))
    assert all(entry.intact for entry in entries)
    assert len(list(stores[0].trail("run-3"))) == 50


def test_a_failed_transaction_leaves_no_gap(store: Store) -> None:
    """Its numbers are given out again."""
    with pytest.raises(KeyError):
        write_and_fail(store, lambda writer: writer.append_events([event()]))
    with store.writing() as writer:
        assert writer.append_events([event()]) == 1


def test_the_trail_is_read_in_pages(sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Filters, the place to start after and the limit hold over page borders."""
    monkeypatch.setattr("audit_pipeline.adapters.store.store.TRAIL_ROWS_AT_ONCE", 3)
    with sqlite_store.writing() as writer:
        writer.append_events([event(run=f"run-{n % 2}") for n in range(10)])
        writer.append_events([event(agent_name="escalation")])

    def numbers(**filters: object) -> list[int]:
        found = sqlite_store.trail(**filters)  # pyright: ignore[reportArgumentType]
        return [entry.log_sequence_number for entry in found]

    assert numbers() == list(range(1, 12))
    assert numbers(after=8) == [9, 10, 11]
    assert numbers(limit=4) == [1, 2, 3, 4]
    assert numbers(limit=3) == [1, 2, 3]
    assert numbers(limit=0) == []
    assert numbers(audit_run_id="run-1", after=2, limit=3) == [4, 6, 8]
    assert numbers(agent_name="escalation") == [11]


@pytest.mark.parametrize(
    "edit",
    [
        "agent_name = 'nobody'",
        "input_data = input_data || ' '",
        "timestamp = '2025-03-01 12:00:00.000001'",
        "timestamp = 'yesterday'",
        "timestamp = NULL",
        "timestamp = x'ff00'",
        "execution_time_ms = 'soon'",
        "llm_cost_dollars = '1.0000'",
        "decision_chain = 7",
        "leaf_hash = ''",
    ],
)
def test_an_edited_entry_is_read_and_its_hash_differs(sqlite_store: Store, edit: str) -> None:
    """Whatever was written into it, reading the trail does not fail."""
    with sqlite_store.writing() as writer:
        writer.append_events([event(), event(), event()])
    with sqlite_store.writing() as writer:
        writer.connection.exec_driver_sql(
            f"UPDATE audit_trail SET {edit} WHERE log_sequence_number = 2"
        )
    assert [entry.intact for entry in sqlite_store.trail()] == [True, False, True]


def test_the_range_of_a_run_is_read_from_anything_dated(sqlite_store: Store) -> None:
    """A range as dates, as instants, as texts, or none."""
    for given_on in (DAY, NOON.replace(month=2, day=1), "2025-02-01"):
        sqlite_store.save_workflow_state("run", {"from_on": given_on, "to_on": ""})
        [run] = sqlite_store.runs()
        assert (run.from_on, run.to_on) == (DAY, None)


def test_an_unreadable_entry_says_which(sqlite_store: Store) -> None:
    """Reading it as an event is where it fails."""
    with sqlite_store.writing() as writer:
        writer.append_events([event()])
        writer.connection.exec_driver_sql("UPDATE audit_trail SET input_data = NULL")
    [entry] = sqlite_store.trail()
    with pytest.raises(ValueError, match="entry 1 cannot be read"):
        _ = entry.event


def test_checkpoints_come_back(store: Store) -> None:
    """In order; the same size again is the same checkpoint."""
    small = Checkpoint(2, "aa", "c2ln", "key", NOON)
    large = replace(small, tree_size=10)
    with store.writing() as writer:
        for checkpoint in (large, small, replace(small, root_hash="bb")):
            writer.put_checkpoint(checkpoint)
    assert store.checkpoints() == [replace(small, root_hash="bb"), large]


# ---- ledger and runs


def partition(population: str = "demo", audit_on: dt.date = DAY, run: str = "run") -> PartitionRow:
    money = Decimal("99999999999999999.99")
    return PartitionRow(
        population, audit_on, run, 3, money, 1, Decimal("0.10"), 1, Decimal(0), 1, -money
    )


def test_the_ledger_holds_one_row_a_day(store: Store) -> None:
    """A re-run replaces the day; amounts are exact to the cent at any size."""
    next_day = DAY + dt.timedelta(days=1)
    with store.writing() as writer:
        writer.put_partitions([partition("other"), partition(audit_on=next_day), partition()])
        writer.put_partitions([partition(run="run-2")])
        writer.put_partitions([])
        writer.replace_findings("demo", DAY, DAY, [], {})
    rerun, later, other = store.partitions()
    assert (rerun, later) == (partition(run="run-2"), partition(audit_on=next_day))
    assert str(rerun.amount) == "99999999999999999.99"
    assert store.partitions("demo", from_on=next_day) == [later]
    assert store.partitions(to_on=DAY) == [rerun, other]
    assert store.partitions(audit_run_id="run-2") == [rerun]


def test_workflow_state_comes_back_as_it_was_saved(store: Store) -> None:
    """The whole mapping, and the specification's columns beside it."""
    state = {
        "workflow_status": "in_progress",
        "current_agent": "reconciliation",
        "completed_agents": ["data_quality"],
        "pending_agents": ["escalation"],
        "population": "demo",
        "from_on": DAY,
        "to_on": "2025-02-28",
        "results": {"flags": 3, "größe": None},
    }
    store.save_workflow_state("run-1", state)
    assert store.restore_workflow_state("run-1") == state | {"from_on": "2025-02-01"}
    assert store.restore_workflow_state("nothing") == {}
    store.save_workflow_state("run-1", {"status": "paused"})
    assert store.restore_workflow_state("run-1") == {"status": "paused"}
    [run] = store.runs()
    assert (run.workflow_status, run.population, run.to_on) == (
        "paused",
        "demo",
        dt.date(2025, 2, 28),
    )
    assert run.updated_at - run.created_at == dt.timedelta(minutes=1)
    with pytest.raises(BadUsage, match="'done' is no workflow status; there are pending"):
        store.save_workflow_state("run-1", {"status": "done"})


def test_completing_an_audit(store: Store) -> None:
    """The state stays, the summary is added, and the next audit knows when this one began."""
    assert store.get_last_audit_timestamp() == dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
    for run, population in (("run-1", "demo"), ("run-2", "other")):
        store.save_workflow_state(run, {"population": population, "completed_agents": ["a", "b"]})
    assert store.get_last_audit_timestamp() == dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
    store.mark_audit_complete("run-1", {"flags": 3})
    store.mark_audit_complete("run-3", {})
    state = store.restore_workflow_state("run-1")
    assert (state["status"], state["summary"]) == ("completed", {"flags": 3})
    assert state["completed_at"] == "2025-03-01T12:03:00.000000Z"
    began = store.get_last_audit_timestamp("demo")
    assert began == NOON + dt.timedelta(minutes=1)
    assert store.get_last_audit_timestamp("other") == dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
    assert store.get_last_audit_timestamp() > began
    assert [run.audit_run_id for run in store.runs(status="completed")] == ["run-3", "run-1"]
    assert [run.audit_run_id for run in store.runs("demo", limit=1)] == ["run-1"]
    assert store.runs("demo")[0].completed_agents == ("a", "b")


# ---- hostile and extreme values


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_data(store: Store, hostile: str) -> None:
    """In every column that takes text, and found again by it."""
    seen = flag(f"t{hostile}"[:255])
    raised = replace(seen, explanation=hostile, points=(Point("RC-01", 1, hostile),))
    cell = Cell(hostile, hostile, hostile, hostile)
    with store.writing() as writer:
        writer.publish_flags("demo", [raised], [], "run")
        found = replace(finding(raised.transaction_id), evidence=(cell,))
        writer.replace_findings("demo", DAY, DAY, [found], {})
        said = replace(decision(raised.flag_id), notes=hostile, reviewer_id=hostile[:255])
        reviewing.decide(writer, said)
        writer.append_events([event(input_data={hostile: hostile}, error_message=hostile)])
        writer.save_workflow_state("run", {hostile: hostile})
    row = store.flag(raised.flag_id)
    assert (row.explanation, row.points[0].reason, row.reviewer_notes) == (hostile,) * 3
    assert store.decisions_of(raised.flag_id) == [said]
    assert store.findings_of("demo", [raised.transaction_id], LONG_AGO) == [found]
    assert all(entry.intact for entry in store.trail())
    assert store.restore_workflow_state("run") == {hostile: hostile}
    assert store.flags(population=hostile) == []
    assert publish(store, [raised]).unchanged


@pytest.mark.parametrize("odd", ["nul \x00 in it", "\x00", "long " + "ż" * 300])
def test_an_id_that_a_database_cannot_hold_is_replaced_alike(store: Store, odd: str) -> None:
    """NUL, more text than the column has: a re-run still finds its own row."""
    raised = flag(odd)
    assert publish(store, [raised], touched=[odd]).created
    assert publish(store, [raised], touched=[odd]).unchanged
    assert store.flag(raised.flag_id).transaction_id == storable(odd, 255)
    with store.writing() as writer:
        writer.replace_findings("demo", DAY, DAY, [finding(odd)], {})
    assert len(store.findings_of("demo", [odd], LONG_AGO)) == 1
    assert publish(store, [], touched=[odd]).superseded


@pytest.mark.parametrize("odd", ["nul \x00", "lone \ud800 half", "\udfff", "long " + "ż" * 300])
def test_text_that_a_database_cannot_hold_is_replaced_alike(store: Store, odd: str) -> None:
    """Also where it is hashed: what is stored is what the trail's hash covers."""
    raised = replace(flag(), explanation=odd, points=(Point("RC-01", 1, odd),))
    assert publish(store, [raised]).created
    assert publish(store, [raised]).unchanged
    row = store.flag(raised.flag_id)
    assert (row.explanation, row.points) == (storable(odd), raised.points)
    said = replace(decision(raised.flag_id), reviewer_id=odd, notes=odd)
    decide(store, said)
    decide(store, said)
    with store.writing() as writer:
        writer.append_events([event(agent_name=odd, error_message=odd, input_data={odd: odd})])
    first, second = store.trail()
    assert first.intact
    assert second.intact
    assert second.event.input_data == {odd: odd}


@given(st.text(st.characters()), st.text(st.characters()), st.sampled_from([None, 20, 36]))
def test_storable_keeps_apart_what_is_apart(one: str, two: str, length: int | None) -> None:
    """It fits, it is stable, every text that fits stays as it is, and long ones do not collide."""
    kept = storable(one, length)
    assert storable(kept, length) == kept
    assert length is None or len(kept) <= length
    assert "\x00" not in kept
    plain = "\x00" not in one and one.encode("utf-8", "replace").decode() == one
    if plain and (length is None or len(one) <= length):
        assert kept == one
    if one != two and length is not None and len(one) > length and len(two) > length:
        assert storable(two, length) != kept


@given(
    st.decimals(allow_nan=True, allow_infinity=True)
    | st.decimals(min_value=-(10**16), max_value=10**16, places=6)
)
def test_exact_fits_or_is_refused(value: Decimal) -> None:
    """Never silently another number: within half a unit of the last place, or a ValueError."""
    column = Exact(20, 4)
    try:
        exact = column.exact(value)
    except ValueError:
        assert not value.is_finite() or abs(value) > Decimal(10) ** 16 - 1
        return
    assert exact.as_tuple().exponent == -4
    assert abs(exact - value) <= Decimal("0.00005")
    assert format(exact, "f") != "-0.0000"
    assert len(exact.as_tuple().digits) <= 20


def test_measured_values_are_exact_at_any_size(store: Store) -> None:
    """A float would lose the cents; the largest amount that gold can hold fits."""
    large = replace(
        finding(), measured=Decimal("9999999999999999.99"), threshold=Decimal("-0.00005")
    )
    with store.writing() as writer:
        writer.replace_findings("demo", DAY, DAY, [large], {})
    [found] = store.findings_of_flag(flag_id("t1", "demo"))
    assert str(found.measured) == "9999999999999999.9900"
    assert str(found.threshold) == "0.0000"


def test_naive_instants_are_refused(store: Store) -> None:
    """In a decision and in an event; nothing is stored."""
    publish(store, [flag()])
    naive = NOON.replace(tzinfo=None)
    with pytest.raises(StatementError, match="no time zone"):
        decide(store, replace(decision(flag().flag_id), decided_at=naive))
    with pytest.raises(ValueError, match="no time zone"), store.writing() as writer:
        writer.append_events([event(occurred_at=naive)])
    assert store.flag(flag().flag_id).state is FlagState.OPEN


# ---- opening, and taking turns


def test_opening_creates_the_folders_and_sets_sqlite_up(tmp_path: Path) -> None:
    """Write-ahead log, full synchronisation, foreign keys, patience."""
    path = tmp_path / "a" / "b" / "store.db"
    with Store.open(f"sqlite:///{path}") as store, store.reading() as connection:
        pragmas = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        values = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in pragmas]
    assert values == ["wal", 2, 1, 60_000]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite://", "no address of a store"),
        ("sqlite:///:memory:", "no address of a store"),
        ("mysql://u:secret@h/d", r"u:\*\*\*@h/d is no address"),
        ("postgresql+pg8000://u:secret@h/d", r"write sqlite:///<file> or postgresql\+psycopg2"),
        ("not an address", "cannot be read; write sqlite:///<file>"),
        ("sqlite:////proc/nothing/store.db", "choose one that you may write to"),
        ("postgresql://u:secret@127.0.0.1:1/d", r"u:\*\*\*@127.*check the address"),
    ],
)
def test_what_cannot_be_opened(url: str, says: str) -> None:
    """The message names the remedy, and never the password."""
    with pytest.raises(StoreUnavailable, match=says) as refused:
        Store.open(url)
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """It is left as it is."""
    path = tmp_path / "letter.txt"
    path.write_text("Dear auditor, this is not a database. " * 100)
    with pytest.raises(StoreUnavailable, match="the file is something else"):
        Store.open(f"sqlite:///{path}")
    assert path.read_text().startswith("Dear auditor")


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an optional dependency: the message says which extra brings it."""
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    with pytest.raises(StoreUnavailable, match=r"psycopg2.*install the postgres extra"):
        Store.open("postgresql://u:secret@127.0.0.1:1/d")


@pytest.mark.postgres
def test_a_bare_postgres_address_is_taken_for_psycopg2(postgres_url: str) -> None:
    """SQLAlchemy 2.1 would take it for psycopg 3."""
    for bare in ("postgresql://", "postgres://"):
        Store.open(postgres_url.replace("postgresql+psycopg2://", bare)).close()


def test_writing_is_all_or_nothing(store: Store) -> None:
    """An error inside takes back everything, and the next writer gets its turn."""
    with pytest.raises(KeyError):
        write_and_fail(store, lambda writer: writer.publish_flags("demo", [flag()], [], "run"))
    with pytest.raises(KeyError):
        write_and_fail(store, lambda writer: writer.put_partitions([partition()]))
    assert store.flags() == store.partitions() == []
    publish(store, [flag()])


def test_writing_inside_writing_is_refused_at_once(store: Store) -> None:
    """It would wait for itself for a minute."""
    with store.writing(), pytest.raises(RuntimeError, match="use its Writer"), store.writing():
        pass


def test_readers_do_not_see_what_is_not_committed(store: Store) -> None:
    """And one reader sees one state from beginning to end."""
    count = text("SELECT count(*) FROM flags")
    with store.reading() as connection:
        assert connection.scalar(count) == 0
        publish(store, [flag()])
        assert connection.scalar(count) == 0
    assert len(store.flags()) == 1


def test_waiting_for_a_writer_ends(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In another process or another thread: a message instead of a hang."""
    monkeypatch.setattr(engine, "WAIT_SECONDS_MAX", 1)
    with Store.open(url) as one, Store.open(url) as two, one.writing():
        with pytest.raises(StoreUnavailable, match="kept writing for 1 s"), two.writing():
            pass

        def from_another_thread() -> None:
            with pytest.raises(StoreUnavailable, match="another thread"), one.writing():
                pass

        with ThreadPoolExecutor(1) as pool:
            pool.submit(from_another_thread).result()


def test_a_database_that_goes_away_is_reported(sqlite_store: Store) -> None:
    """Reading and writing raise the error that the command line knows."""
    with sqlite_store.writing() as writer:
        writer.connection.exec_driver_sql("DROP TABLE workflow_state")
    calls: list[Callable[[], object]] = [
        sqlite_store.runs,
        lambda: sqlite_store.save_workflow_state("run", {}),
    ]
    for call in calls:
        with pytest.raises(StoreUnavailable, match="no such table"):
            call()


def test_a_reader_waits_for_no_writer(sqlite_store: Store) -> None:
    """The desk answers while a run publishes."""
    publish(sqlite_store, [flag()])
    inside, done = Event(), Event()

    def write() -> None:
        with sqlite_store.writing() as writer:
            writer.publish_flags("demo", [], ["t1"], "run-2")
            inside.set()
            done.wait(30)

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        inside.wait(30)
        assert len(sqlite_store.flags()) == 1
        done.set()
        writing.result()
    assert sqlite_store.flags() == []


def test_the_stored_texts_are_canonical_json(sqlite_store: Store, tmp_path: Path) -> None:
    """Sorted keys, no spaces, UTF-8: equal documents are equal bytes, also for other readers."""
    publish(sqlite_store, [replace(flag(), points=(Point("RC-01", 4, "é"),))])
    with closing(sqlite3.connect(tmp_path / "sqlite.db")) as connection:
        columns = "points, supporting_evidence_links, created_at, audit_on"
        [row] = connection.execute(f"SELECT {columns} FROM {FLAGS.name}").fetchall()
    assert row == (
        '[{"points":4,"reason":"é","rule_id":"RC-01"}]',
        '["gold.credit_cards/t1"]',
        "2025-03-01 12:01:00.000000",
        "2025-02-01",
    )

"""The queue's order, its pages and its filters; two people never get the same flag."""

import datetime as dt
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import insert

from audit_pipeline.adapters.store import Store, reviewing, worklist
from audit_pipeline.adapters.store.schema import USERS
from audit_pipeline.adapters.store.worklist import NOBODY, Filters, Page
from audit_pipeline.model.decision import Decision, Reason, Verdict
from audit_pipeline.model.errors import BadUsage, FlagTaken
from audit_pipeline.model.finding import Cell, Finding
from audit_pipeline.model.flag import Charge, Flag, Severity, flag_id

pytest_plugins = ("audit_pipeline_tests.postgres",)

DAY = dt.date(2025, 3, 3)
MORNING = dt.datetime(2025, 3, 4, 8, tzinfo=dt.UTC)
LEVELS = (Severity.INFO, Severity.CRITICAL, Severity.WARNING)


class Clock:
    """Says what it is told to."""

    def __init__(self) -> None:
        self.now = MORNING

    def __call__(self) -> dt.datetime:
        return self.now


def flag(number: int, severity: Severity, score: int = 40, **charge: object) -> Flag:
    entry = f"t{number}"
    found = Finding(
        DAY,
        entry,
        "RC-01" if number % 2 else "AN-02",
        1,
        Decimal(1),
        Decimal(1),
        40,
        (Cell(*"abcd"),),
    )
    facts = {
        "vendor": f"Vendor {number % 3}",
        "cardholder": f"Person {number % 4}",
        "amount": Decimal(number) + Decimal("0.25"),
        "occurred_on": DAY + dt.timedelta(days=number % 5),
    }
    return Flag(
        flag_id(entry, "demo"), entry, "demo", DAY, severity, score, 0.5, f"What {entry} is.",
        (), (), (found,), Charge(**(facts | charge)),  # pyright: ignore[reportArgumentType]
    )  # fmt: skip


@pytest.fixture(
    params=["sqlite", pytest.param("postgres", marks=[pytest.mark.postgres, pytest.mark.slow])]
)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
    with Store.open(url, clock=Clock()) as opened:
        yield opened


def at(store: Store, hours: float) -> dt.datetime:
    """Let the clock say so many hours after MORNING."""
    clock = store._clock
    assert isinstance(clock, Clock)
    clock.now = MORNING + dt.timedelta(hours=hours)
    return clock.now


def publish(store: Store, flags: Sequence[Flag]) -> None:
    with store.writing() as writer:
        for one in flags:
            writer.publish_flags("demo", [one], [one.transaction_id], "run")


@pytest.fixture
def thirty(store: Store) -> list[Flag]:
    """Thirty flags of three runs, in no order."""
    flags = [flag(n, LEVELS[n % 3], score=20 + n * 7 % 60) for n in range(30)]
    for run, lot in enumerate((flags[20:], flags[:10], flags[10:20])):
        at(store, run)
        publish(store, lot)
    with store.writing() as writer:
        found = [finding for one in flags for finding in one.findings]
        writer.replace_findings("demo", DAY, DAY, found, {})
    return flags


def listed(store: Store, filters: Filters, now: dt.datetime, limit: int = 500) -> list[str]:
    """The transactions of all pages."""
    found: list[str] = []
    after = None
    for _ in range(99):
        with store.reading() as connection:
            page: Page = worklist.page(connection, filters, now, after, limit)
        assert len(page.rows) <= limit
        found += [row.flag.transaction_id for row in page.rows]
        after = page.after
        if after is None:
            return found
    raise AssertionError("the pages do not end")


def decide(store: Store, one: Flag, who: str = "ann", verdict: Verdict = Verdict.APPROVED) -> None:
    with store.writing() as writer:
        said = Decision(one.flag_id, verdict, Reason.POLICY_ALLOWS, who, writer.now)
        reviewing.decide(writer, said)


def test_the_worst_comes_first_then_the_oldest_then_the_highest(
    store: Store, thirty: list[Flag]
) -> None:
    born = {one.transaction_id: n // 10 for n, one in enumerate([*thirty[20:], *thirty[:20]])}
    expected = sorted(
        thirty,
        key=lambda f: (
            -f.severity_level.rank,
            born[f.transaction_id],
            -f.severity_score,
            f.flag_id,
        ),
    )
    assert listed(store, Filters(), at(store, 9)) == [one.transaction_id for one in expected]


@pytest.mark.parametrize("limit", [1, 3, 7, 10, 29, 30, 31])
def test_pages_join_to_the_whole(store: Store, thirty: list[Flag], limit: int) -> None:
    """Also where a page ends at the last of a severity, and at the very last."""
    now = at(store, 9)
    assert listed(store, Filters(), now, limit) == listed(store, Filters(), now)
    only = Filters(severity=Severity.WARNING)
    assert listed(store, only, now, limit) == listed(store, only, now)


def amount(one: Flag) -> Decimal:
    assert one.charge.amount is not None
    return one.charge.amount


CASES: list[tuple[Filters, Callable[[Flag], bool]]] = [
    (Filters(severity=Severity.INFO), lambda f: f.severity_level is Severity.INFO),
    (Filters(rule="RC-01"), lambda f: f.findings[0].rule_id == "RC-01"),
    (Filters(rule="RC"), lambda _: False),
    (Filters(vendor="vendor 2"), lambda f: f.charge.vendor == "Vendor 2"),
    (Filters(vendor="%"), lambda _: False),
    (Filters(cardholder="SON 3"), lambda f: f.charge.cardholder == "Person 3"),
    (Filters(amount_min_cents=1025), lambda f: amount(f) >= Decimal("10.25")),
    (Filters(amount_max_cents=1025), lambda f: amount(f) <= Decimal("10.25")),
    (Filters(from_on=DAY + dt.timedelta(days=3)), lambda f: f.charge.occurred_on.day >= 6),  # pyright: ignore[reportOptionalMemberAccess]
    (Filters(to_on=DAY), lambda f: f.charge.occurred_on == DAY),
    (Filters(population="demo"), lambda _: True),
    (Filters(population="other"), lambda _: False),
    (Filters(text="what T7 "), lambda f: f.transaction_id == "t7"),
    (Filters(text="t2"), lambda f: "t2" in f.transaction_id),
    (Filters(text="'; DROP TABLE flags; --"), lambda _: False),
    (
        Filters(severity=Severity.WARNING, rule="AN-02", amount_max_cents=1500),
        lambda f: (
            f.severity_level is Severity.WARNING
            and f.findings[0].rule_id == "AN-02"
            and amount(f) <= 15
        ),
    ),
]


@pytest.mark.parametrize(("filters", "is_wanted"), CASES, ids=range(len(CASES)))
def test_a_filter_leaves_what_a_line_of_python_leaves(
    store: Store, thirty: list[Flag], filters: Filters, is_wanted: Callable[[Flag], bool]
) -> None:
    found = listed(store, filters, at(store, 9), limit=4)
    assert sorted(found) == sorted(f.transaction_id for f in thirty if is_wanted(f))


def test_an_amount_paid_back_counts_by_its_size(store: Store) -> None:
    publish(store, [flag(1, Severity.INFO, amount=Decimal(-500))])
    assert listed(store, Filters(amount_min_cents=40_000), MORNING) == ["t1"]


def test_states(store: Store, thirty: list[Flag]) -> None:
    """A decided critical flag awaits a second person, and is open until then."""
    critical, warning, info = thirty[1], thirty[2], thirty[0]
    for one in (critical, warning):
        decide(store, one)
    decide(store, info, verdict=Verdict.NEEDS_MORE_INFO)
    now = at(store, 9)
    assert listed(store, Filters(state="awaiting"), now) == [critical.transaction_id]
    assert listed(store, Filters(state="decided"), now) == [warning.transaction_id]
    assert len(listed(store, Filters(), now)) == 29
    assert len(listed(store, Filters(state="any"), now)) == 30
    with store.reading() as connection:
        numbers = worklist.counts(connection, now)
    assert numbers == {
        "CRITICAL": 10,
        "WARNING": 9,
        "INFO": 10,
        "awaiting": 1,
        "snoozed": 0,
        "decided": 1,
    }
    with pytest.raises(BadUsage, match="no state"):
        listed(store, Filters(state="shut"), now)


def test_a_snoozed_flag_comes_back(store: Store, thirty: list[Flag]) -> None:
    one = thirty[1]
    now = at(store, 9)
    with store.writing() as writer:
        reviewing.snooze(writer, [one.flag_id], now + dt.timedelta(hours=1), "ann")
    assert one.transaction_id not in listed(store, Filters(), now)
    assert listed(store, Filters(snoozed=True), now) == [one.transaction_id]
    assert one.transaction_id in listed(store, Filters(state="any"), now)
    assert one.transaction_id in listed(store, Filters(), now + dt.timedelta(hours=1))


def test_whose_it_is(store: Store, thirty: list[Flag]) -> None:
    people(store, "ann")
    with store.writing() as writer:
        reviewing.assign(writer, [thirty[0].flag_id, thirty[1].flag_id], "ann", "boss")
    assert set(listed(store, Filters(assignee="ann"), MORNING)) == {"t0", "t1"}
    assert len(listed(store, Filters(assignee=NOBODY), MORNING)) == 28


@pytest.mark.parametrize("after", ["", "x", "bm8=", "WzFd", "W251bGwsbnVsbCwxLDJd", "ä"])
def test_a_place_that_was_never_given_is_refused(store: Store, after: str) -> None:
    with pytest.raises(BadUsage, match="first page"), store.reading() as connection:
        worklist.page(connection, Filters(), MORNING, after)


def people(store: Store, *names: str, cardholder: str | None = None) -> None:
    with store.writing() as writer:
        rows = [
            {
                "user_id": name,
                "display_name": name,
                "role": "reviewer",
                "cardholder": cardholder,
                "token_version": 1,
                "created_at": writer.now,
                "updated_at": writer.now,
            }
            for name in names
        ]
        writer.connection.execute(insert(USERS), rows)


def take(store: Store, who: str, *, may_approve: bool = False) -> str | None:
    with store.writing() as writer:
        return worklist.take_next(writer, Filters(), who, may_approve=may_approve)


def test_two_people_never_get_the_same(store: Store, thirty: list[Flag]) -> None:
    """In turns each takes and decides the first; what one holds the other does not get."""
    now = at(store, 9)
    first = listed(store, Filters(), now)
    by_id = {one.flag_id: one.transaction_id for one in thirty}
    ann, bob = take(store, "ann"), take(store, "bob")
    assert [by_id[str(one)] for one in (ann, bob)] == first[:2]
    assert take(store, "ann") == ann
    with pytest.raises(FlagTaken, match="ann"), store.writing() as writer:
        reviewing.lock(writer, str(ann), "bob")
    held = next(one for one in thirty if one.flag_id == ann)
    with pytest.raises(FlagTaken, match="ann"):
        decide(store, held, "bob")
    with store.reading() as connection:
        row = worklist.work_on(connection, str(ann), now)
    assert row is not None
    assert row.locked_by == "ann"
    late = at(store, 9.1)  # the lock has passed
    with store.reading() as connection:
        assert worklist.page(connection, Filters(), late).rows[0].locked_by is None
    assert take(store, "bob") == ann


def test_everything_is_taken_once(store: Store, thirty: list[Flag]) -> None:
    taken = []
    for who in itertools.cycle(("ann", "bob", "zoë")):
        found = take(store, who)
        if found is None:
            break
        taken.append(found)
        decide(store, next(one for one in thirty if one.flag_id == found), who)
    assert sorted(taken) == sorted(one.flag_id for one in thirty)


def test_a_second_person_is_given_what_awaits_one(store: Store) -> None:
    critical = flag(1, Severity.CRITICAL)
    publish(store, [critical])
    decide(store, critical, "ann")
    assert take(store, "bob") is None
    assert take(store, "Ann", may_approve=True) is None
    assert take(store, "bob", may_approve=True) == critical.flag_id


def test_nobody_is_given_their_own_charge_or_somebody_elses_work(store: Store) -> None:
    own, others, free = (flag(n, Severity.WARNING, 90 - n) for n in (1, 2, 3))
    publish(store, [replace(own, charge=Charge(cardholder="ANN  Lee")), others, free])
    people(store, "ann", cardholder="Ann Lee")
    people(store, "bob")
    with store.writing() as writer:
        reviewing.assign(writer, [others.flag_id], "bob", "boss")
    assert take(store, "ann") == free.flag_id
    assert take(store, "bob") == own.flag_id

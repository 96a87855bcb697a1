"""The overview's totals are those that plain Python counts, on both databases; its page is safe."""

import datetime as dt
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, delete, select, update

from audit_pipeline.adapters.store import Store, overview
from audit_pipeline.adapters.store import schema as s
from audit_pipeline.model.errors import BadUsage
from audit_pipeline.model.flag import Severity
from audit_pipeline.model.sla import SLA_DAYS, due_at
from audit_pipeline.review.pages_overview import period, wilson
from audit_pipeline_tests.review import many_flags
from audit_pipeline_tests.review.many_flags import NOW
from audit_pipeline_tests.review.reviewed import Reviewed
from audit_pipeline_tests.review.test_pictures import HOSTILE, Outline
from audit_pipeline_tests.small_company import AUDIT_FROM, AUDIT_TO

pytestmark = pytest.mark.slow

Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture(
    scope="module",
    params=["sqlite", pytest.param("postgres", marks=[pytest.mark.postgres, pytest.mark.slow])],
)
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """An empty store of each kind; tests fill and empty it."""
    url = f"sqlite:///{tmp_path_factory.mktemp('overview') / 'store.db'}"
    if request.param == "postgres":
        server = request.getfixturevalue("postgres_server")
        with closing(server.connect()) as connection:
            connection.cursor().execute("CREATE DATABASE overview")
        url = server.url("overview")
    with Store.open(url) as opened:
        yield opened


def rows_of(store: Store) -> Rows:
    """Every row of the tables that are counted."""
    with store.reading() as connection:
        return {
            table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
            for table in (s.FLAGS, s.FINDINGS, s.DECISIONS, s.WORKLIST, s.LLM_CALLS)
        }


def agrees(store: Store, from_on: dt.date, to_on: dt.date, now: dt.datetime) -> None:
    """Every total, against loops over the rows."""
    rows = rows_of(store)
    flags = rows["flags"]
    of_period = [
        flag
        for flag in flags
        if flag["state"] != "superseded" and from_on <= flag["audit_on"] <= to_on
    ]
    open_flags = [flag for flag in flags if flag["state"] == "open"]
    with store.reading() as connection:
        by_day = overview.flags_by_day(connection, from_on, to_on)
        by_rule = overview.flags_by_rule(connection, from_on, to_on)
        vendors = overview.flags_by_vendor(connection, from_on, to_on)
        verdicts = overview.verdicts_by_rule(connection, from_on, to_on)
        costs = overview.model_cost(connection, from_on, to_on)
        at_risk = overview.money_at_risk(connection)
        load = overview.load(connection, now)
        ages = overview.ages(connection, now)
    assert {(one.audit_on, one.severity.value): one.flags for one in by_day} == Counter(
        (flag["audit_on"], flag["severity_level"]) for flag in of_period
    )
    rules: defaultdict[str, set[str]] = defaultdict(set)
    for finding in rows["findings"]:
        if from_on <= finding["audit_on"] <= to_on:
            rules[finding["rule_id"]].add(finding["flag_id"])
    assert {one.rule_id: one.flags for one in by_rule} == {
        rule: len(ids) for rule, ids in rules.items()
    }
    vendors_agree(vendors, of_period)
    verdicts_agree(verdicts, rows, of_period)
    for one in at_risk:
        mine = [flag for flag in open_flags if flag["severity_level"] == one.severity]
        assert one.flags == len(mine)
        assert one.amount_cents == sum(flag["amount_cents"] or 0 for flag in mine)
        assert one.unread == sum(flag["amount_cents"] is None for flag in mine)
    ages_agree(ages, open_flags, now)
    load_agrees(load, rows, open_flags, now)
    calls = [call for call in rows["llm_calls"] if from_on <= call["started_at"].date() <= to_on]
    assert sum(one.attempts for one in costs) == len(calls)
    assert sum((one.dollars for one in costs), Decimal(0)) == sum(
        (call["cost_dollars"] or Decimal(0) for call in calls), Decimal(0)
    )
    assert sum(one.tokens for one in costs) == sum(
        (call["tokens_in"] or 0) + (call["tokens_out"] or 0) for call in calls
    )


def vendors_agree(found: list[overview.VendorCount], flags: list[dict[str, Any]]) -> None:
    counts: Counter[str | None] = Counter()
    cents: Counter[str | None] = Counter()
    for flag in flags:
        counts[flag["vendor"] or None] += 1
        cents[flag["vendor"] or None] += flag["amount_cents"] or 0
    assert [one.amount_cents for one in found] == sorted(
        (cents[vendor] for vendor in counts), reverse=True
    )[: overview.VENDORS_SHOWN]
    for one in found:
        assert (one.flags, one.amount_cents) == (counts[one.vendor], cents[one.vendor])


def verdicts_agree(
    found: list[overview.RuleVerdicts], rows: Rows, flags: list[dict[str, Any]]
) -> None:
    decided = {flag["flag_id"]: flag for flag in flags if flag["state"] == "decided"}
    rules = {(one["rule_id"], one["flag_id"]) for one in rows["findings"]}
    wrong = {
        said["flag_id"]
        for said in rows["decisions"]
        if said["flag_id"] in decided
        and said["decided_at"] == decided[said["flag_id"]]["review_timestamp"]
        and (said["verdict"], said["reason"]) == ("false_positive", "detector_wrong")
    }
    for one in found:
        ids = {flag_id for rule, flag_id in rules if rule == one.rule_id and flag_id in decided}
        verdicts = [decided[flag_id]["human_decision"] for flag_id in ids]
        counts = (len(ids), verdicts.count("false_positive"), len(ids & wrong))
        assert (one.decided, one.false_positives, one.wrong) == counts
    assert {one.rule_id for one in found} == {rule for rule, flag in rules if flag in decided}


def ages_agree(found: list[overview.Age], flags: list[dict[str, Any]], now: dt.datetime) -> None:
    assert sum(one.flags for one in found) == len(flags)
    overdue = sum(
        now >= due_at(Severity(flag["severity_level"]), flag["created_at"]) for flag in flags
    )
    assert sum(one.flags for one in found if one.is_overdue) == overdue


def load_agrees(
    found: list[overview.Load], rows: Rows, open_flags: list[dict[str, Any]], now: dt.datetime
) -> None:
    open_ids = {flag["flag_id"] for flag in open_flags}
    assigned = Counter(
        one["assignee_id"]
        for one in rows["worklist"]
        if one["assignee_id"] and one["flag_id"] in open_ids
    )
    since = now - dt.timedelta(days=7)
    done = {
        (said["reviewer_id"], said["flag_id"])
        for said in rows["decisions"]
        if since < said["decided_at"] <= now
    }
    decided = Counter(who for who, _ in done)
    *people, nobody = found
    assert {one.person: one.open_flags for one in people if one.open_flags} == assigned
    assert {one.person: one.decided for one in people if one.decided} == decided
    assert nobody.open_flags == len(open_ids) - sum(assigned.values())


def emptied(store: Store) -> None:
    with store.writing() as writer:
        for table in reversed(s.METADATA.sorted_tables):
            writer.connection.execute(delete(table))


@given(
    flags=st.integers(1, 60),
    days=st.integers(1, 40),
    decided=st.sampled_from([0.0, 0.4, 1.0]),
    seed=st.integers(0, 10_000),
    begin=st.integers(0, 45),
    length=st.integers(0, 45),
)
@settings(
    max_examples=12,
    phases=(Phase.explicit, Phase.generate),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_as_plain_python_counts(
    store: Store, flags: int, days: int, decided: float, seed: int, begin: int, length: int
):
    emptied(store)
    many_flags.fill(store, many_flags.Shape(flags, days, decided, 2, seed))
    with store.writing() as writer:  # amounts that could not be read, and no vendor
        few = s.FLAGS.c.amount_cents % 7 == 0
        writer.connection.execute(update(s.FLAGS).where(few).values(amount_cents=None, vendor=""))
    from_on = many_flags.LAST_DAY - dt.timedelta(days=begin)
    agrees(store, from_on, from_on + dt.timedelta(days=length), NOW)


def test_the_small_company_as_plain_python_counts(reviewed: Reviewed):
    flag = reviewed.store.flag(reviewed.wrong.flag_id)
    agrees(reviewed.store, AUDIT_FROM, AUDIT_TO, flag.created_at + dt.timedelta(days=2))
    with reviewed.store.reading() as connection:
        verdicts = overview.verdicts_by_rule(connection, AUDIT_FROM, AUDIT_TO)
    rules = {finding.rule_id for finding in reviewed.store.findings_of_flag(flag.flag_id)}
    assert {one.rule_id for one in verdicts if one.wrong} == rules


def test_an_empty_store(store: Store):
    emptied(store)
    agrees(store, AUDIT_FROM, AUDIT_TO, NOW)
    with store.reading() as connection:
        assert overview.last_days(connection) is None


def test_no_total_reads_the_flags_long_texts(tmp_path: Path):
    """SQLite answers these from an index alone; a new condition that it cannot shows here."""
    with Store.open(f"sqlite:///{tmp_path / 'plans.db'}") as opened:
        many_flags.fill(opened, many_flags.Shape(200))
    engine = create_engine(f"sqlite:///{tmp_path / 'plans.db'}")
    with engine.connect() as connection:
        plans: list[str] = []
        real = connection.execute

        def explained(statement: Any, *given: Any) -> Any:
            text = statement.compile(connection, compile_kwargs={"literal_binds": True})
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")
            plans.extend(row[3] for row in plan if re.search(r"\bflags\b|\bfindings\b", row[3]))
            return real(statement, *given)

        connection.execute = explained  # type: ignore[method-assign]
        overview.flags_by_day(connection, AUDIT_FROM, AUDIT_TO)
        overview.flags_by_rule(connection, AUDIT_FROM, AUDIT_TO)
        overview.flags_by_vendor(connection, AUDIT_FROM, AUDIT_TO)
        overview.money_at_risk(connection)
        overview.ages(connection, NOW)
    engine.dispose()
    assert len(plans) == 5
    assert [plan for plan in plans if "COVERING INDEX" not in plan] == []


# ── figures ─────────────────────────────────────────────────────────────────────────────────────


@given(st.integers(0, 200), st.integers(0, 200))
def test_the_interval_solves_wilsons_equation(right: int, more: int):
    """Its ends are the shares p whose distance from the sample's is z standard errors of p."""
    of = right + more
    low, high = wilson(right, of)
    assert 0 <= low <= high <= 1
    if not of:
        assert (low, high) == (0, 1)
        return
    share = right / of
    for end in (low, high):
        if 1e-9 < end < 1 - 1e-9:
            error = (end * (1 - end) / of) ** 0.5
            assert abs(share - end) / error == pytest.approx(1.959964, rel=1e-6)
    assert low - 1e-9 <= share <= high + 1e-9


def test_the_usual_period_is_the_last_90_days_with_data(reviewed: Reviewed):
    with reviewed.store.reading() as connection:
        found = overview.last_days(connection)
    assert found == (AUDIT_TO - dt.timedelta(days=89), AUDIT_TO)
    assert period(found, None, None) == found
    assert period(found, None, dt.date(2020, 1, 1)) == (dt.date(2020, 1, 1),) * 2
    assert period(found, dt.date(2030, 1, 1), None) == (dt.date(2030, 1, 1),) * 2
    with pytest.raises(BadUsage, match="before it begins"):
        period(found, AUDIT_TO, AUDIT_FROM)


def test_ages_are_divided_at_the_service_levels():
    assert set(overview.AGES_DAYS) == set(SLA_DAYS.values())


# ── the page ────────────────────────────────────────────────────────────────────────────────────


def test_the_page_shows_what_was_counted(reviewed: Reviewed, client: TestClient):
    page = client.get("/overview")
    assert page.status_code == 200
    words = " ".join(" ".join(Outline(page.text).texts).split())
    assert f"{sum(day.amount for day in reviewed.store.partitions()):,.2f}" in words
    assert "Flagged, cleared and quarantined add up" in words
    for severity in Severity:
        cents = sum(f.amount_cents or 0 for f in reviewed.store.flags(severity=severity))
        assert f"{Decimal(cents) / 100:,.2f}" in words
    outside = client.get("/overview", params={"from": "1999-01-01", "to": "1999-01-02"})
    assert outside.status_code == 200
    assert "None." in outside.text
    assert client.get("/overview", params={"from": "nonsense"}).status_code == 422


def test_a_hostile_vendor_adds_no_element(reviewed: Reviewed, client: TestClient):
    def page_with(vendor: str) -> Outline:
        with reviewed.store.writing() as writer:
            changed = update(s.FLAGS).where(s.FLAGS.c.flag_id == reviewed.wrong.flag_id)
            writer.connection.execute(changed.values(vendor=vendor, amount_cents=10**9))
        return Outline(client.get("/overview").text)

    harmless = page_with("plain")
    assert "plain" in " ".join(harmless.texts)
    for hostile in HOSTILE:
        found = page_with(hostile)
        assert found.tags == harmless.tags
        assert hostile in "".join(found.texts)


def test_the_page_is_as_the_content_security_policy_wants_it(client: TestClient):
    """And each table has heads, each picture a title and each field a label."""
    text = client.get("/overview").text
    found = Outline(text)
    names = {name for _, attributes in found.tags for name in attributes}
    assert not {name for name in names if name == "style" or name.startswith("on")}
    assert "style" not in {tag for tag, _ in found.tags}
    assert all(script.startswith(' src="/static/') for script in text.split("<script")[1:])
    pictures, tables = text.count("<svg"), text.count("<table>")
    assert pictures == text.count('role="img"') == text.count("<details>") == 5
    assert tables == text.count("<caption>") == pictures + 4
    assert text.count("<label for=") == text.count('type="date"') == 2
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))

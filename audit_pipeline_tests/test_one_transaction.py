"""One charge through the whole audit: from a row of a file to a flag that can be re-performed.

On 20 March Ada Birch's card is charged 482.17 by Brightside Catering, and nine hours later again,
under another id. Read from top to bottom, each test is one stage; what a stage leaves is what the
next one takes.
"""

import datetime as dt
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import dagster as dg
import pytest

from audit_pipeline.adapters.fixtures import read_fixtures
from audit_pipeline.adapters.warehouse import DuckDBWarehouse
from audit_pipeline.agents.anomaly_detection import rules as anomaly_rules
from audit_pipeline.books import Books
from audit_pipeline.model.flag import Severity, flag_id
from audit_pipeline.model.query import Query
from audit_pipeline.reperformance import reperform
from audit_pipeline.settings import load_rules, rules_text
from audit_pipeline_tests import small_company
from audit_pipeline_tests.environment import Workplace

THE_DAY = dt.date(2025, 3, 20)
RULES = load_rules(rules_text(None))
(SECOND,) = small_company.make().faults["AN-05"]
FIRST = f"cc_{int(SECOND.removeprefix('cc_')) - 1:05d}"


@pytest.fixture(scope="module")
def books(small_books: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Books]:
    """The company's books as of that day: nothing dated later is seen."""
    snapshot = read_fixtures(small_books, tmp_path_factory.mktemp("one"))
    with DuckDBWarehouse(snapshot, tmp_path_factory.mktemp("derived"), threads=1) as warehouse:
        yield Books(warehouse, RULES, THE_DAY, THE_DAY)


def test_1_a_row_of_the_ledger_and_a_line_of_the_card_statement(small_books: Path):
    """What the company's systems say: two rows that differ in their ids and the time of day."""
    first, second = (
        next(
            json.loads(line)
            for line in (small_books / "recent_transactions.jsonl").read_text().splitlines()
            if f'"{identity}"' in line
        )
        for identity in (FIRST, SECOND)
    )
    assert (first["amount"], first["vendor"]) == (482.17, "BRIGHTSIDE CATERING")
    assert (second["amount"], second["vendor"]) == (482.17, "BRIGHTSIDE CATERING")
    assert first["date"][:13] == "2025-03-20T10"
    assert second["date"][:13] == "2025-03-20T19"


def test_2_gold_the_snapshot(books: Books):
    """Typed once: the amount is a decimal, read from the text and never a float."""
    (row,) = books.warehouse.rows(
        Query("SELECT * FROM gold.recent_transactions WHERE txn_id = $id", {"id": SECOND})
    )
    assert row["amount"] == Decimal("482.17")
    assert isinstance(row["amount"], Decimal)
    assert row["audit_on"] == THE_DAY


def test_3_the_gate_is_open(books: Books):
    """The day is complete, and neither charge is quarantined: their ids differ."""
    books.need("quarantined")
    held = books.warehouse.rows(
        Query("SELECT * FROM audit.quarantined WHERE transaction_id = $id", {"id": SECOND})
    )
    assert held == []


def test_4_the_population(books: Books):
    """The ledger entry with its vendor resolved and the card, from the statement, that paid."""
    books.need("transactions")
    (entry,) = books.warehouse.rows(
        Query("SELECT * FROM audit.transactions WHERE transaction_id = $id", {"id": SECOND})
    )
    assert entry["vendor_id"] == "brightside_catering"
    assert entry["payer"] == "**** **** **** 1111/Ada Birch"
    assert (entry["cents"], entry["category"]) == (48_217, "catering")


def test_5_the_repeat(books: Books):
    """How surprising is it, in bits, that this card pays this amount here twice in a week?"""
    books.need("repeats")
    (repeat,) = books.warehouse.rows(
        Query("SELECT * FROM audit.repeats WHERE transaction_id = $id", {"id": SECOND})
    )
    assert repeat["other_id"] == FIRST
    assert repeat["days_apart"] == 0
    assert repeat["same_before"] == 0  # of dozens of charges there, none had this amount
    bits = repeat["bits"]
    assert isinstance(bits, float)
    assert bits > RULES["AN-05"].number("bits_min")


def test_6_the_finding(books: Books):
    """AN-05 in the one shape of all rules: measured against a threshold, with its evidence."""
    books.need("repeats")
    query = anomaly_rules.findings(RULES, THE_DAY, THE_DAY)["AN-05"]
    (found,) = books.warehouse.rows(query)
    assert (found["transaction_id"], found["audit_on"]) == (SECOND, THE_DAY)
    assert found["threshold"] == Decimal(5)
    assert found["score"] == RULES["AN-05"].points
    evidence = found["evidence"]
    assert isinstance(evidence, list)
    assert {
        "name": "amount",
        "source": "gold.recent_transactions.amount",
        "row_id": SECOND,
        "value": "482.17",
    } in evidence
    assert FIRST in [cell["value"] for cell in evidence if cell["name"] == "other_id"]


def test_7_the_flag(audited: Workplace):
    """One per transaction: the points add up to its score, and a sentence says why."""
    with audited.store() as store:
        flag = store.flag(flag_id(SECOND, "small company"))
    assert flag.severity_level is Severity.WARNING
    assert sum(point.points for point in flag.points) == flag.severity_score
    assert [point.rule_id for point in flag.points if point.points] == ["AN-05"]
    for said in ("482.17", "BRIGHTSIDE CATERING", FIRST):
        assert said in flag.explanation
    assert f"gold.recent_transactions/{SECOND}" in flag.links


def test_8_the_other_charge_is_no_flag(audited: Workplace):
    """The first of the two was right."""
    assert FIRST not in {row["transaction_id"] for row in audited.flags()}


def test_9_the_store_keeps_the_finding_and_the_query(audited: Workplace):
    """With the flag stands what found it: the SQL as it ran, its parameters, the state of gold."""
    with audited.store() as store:
        flag = store.flag(flag_id(SECOND, "small company"))
        (finding,) = [f for f in store.findings_of_flag(flag.flag_id) if f.score]
        (query,) = [q for q in store.queries_of(flag.flag_id) if q.rule_id == "AN-05"]
    assert (finding.rule_id, finding.audit_on) == ("AN-05", THE_DAY)
    assert "audit.repeats" in query.sql
    assert query.snapshot_id in {path.name for path in (audited.data_dir / "gold").iterdir()}


def test_10_the_ledger_of_the_day(audited: Workplace):
    """Every entry of the day went somewhere, by count and by amount."""
    with audited.store() as store:
        (day,) = store.partitions("small company", THE_DAY, THE_DAY)
    assert day.transactions == day.flagged + day.cleared + day.quarantined
    assert day.amount == day.flagged_amount + day.cleared_amount + day.quarantined_amount
    assert day.flagged_amount >= Decimal("482.17")


def test_11_the_trail(audited: Workplace):
    """The tool call that found it, and the steps from the points to the severity."""
    with audited.store() as store:
        entries = [entry.document for entry in store.trail()]
    calls = [e for e in entries if e["tool_called"] == "rule AN-05"]
    assert [e["agent_name"] for e in calls] == ["anomaly_detection"]
    identity = flag_id(SECOND, "small company")
    (raised,) = [e for e in entries if identity in json.dumps(e)]
    assert raised["tool_called"] == "flag_created"
    assert "score 50 → WARNING" in json.dumps(raised, ensure_ascii=False)


def test_12_dagster_shows_it(audited: Workplace):
    """The flag is among the worst that the run's own page lists."""
    with audited.instance() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("escalated_flags"))
    assert event is not None
    assert event.asset_materialization is not None
    assert "BRIGHTSIDE CATERING" in str(event.asset_materialization.metadata["worst"].value)


def test_13_anybody_can_perform_it_again(audited: Workplace):
    """The stored query on the stored gold finds the same, cell by cell."""
    with audited.store() as store:
        flag = store.flag(flag_id(SECOND, "small company"))
        compared = {c.finding.rule_id: c for c in reperform(flag, store, audited.settings)}
    assert compared["AN-05"].same is True
    assert compared["AN-05"].differences == ()

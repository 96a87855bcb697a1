"""Small books for tests: rows as dictionaries in, the findings of one rule out.

The rows take the way of every fixture folder: written as JSON, read and typed, held by DuckDB. What
a test writes is what a user's file would say.
"""

import datetime as dt
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, cast

from audit_pipeline.adapters.fixtures import Snapshot, read_fixtures
from audit_pipeline.adapters.warehouse import DuckDBWarehouse
from audit_pipeline.agents.anomaly_detection import rules as anomaly_rules
from audit_pipeline.agents.context_enrichment import rules as context_rules
from audit_pipeline.agents.data_quality import gate
from audit_pipeline.agents.reconciliation import rules as reconciliation_rules
from audit_pipeline.books import TABLES, Books
from audit_pipeline.model.query import Query
from audit_pipeline.model.rule import Rules, parse_rules
from audit_pipeline.settings import load_rules, rules_text

Row = dict[str, Any]
Gold = dict[str, list[Row]]

AGENTS = {
    "DQ": gate,
    "RC": reconciliation_rules,
    "AN": anomaly_rules,
    "CX": context_rules,
}
FIRST_DAY = dt.date(2026, 1, 1)


@dataclass(frozen=True)
class Hit:
    """One finding, its evidence as name → text and name → (source, row)."""

    audit_on: dt.date
    transaction_id: str
    measured: Decimal
    threshold: Decimal
    score: int
    facts: Mapping[str, str]
    cells: Mapping[str, tuple[str, str]]


@cache
def packaged_rules() -> Rules:
    """The rules that the package ships."""
    return load_rules(rules_text(None))


def rules_with(**values: float) -> Rules:
    """The packaged rules with other thresholds: `rules_with(AN_06__limit=100)`."""
    document = {
        "rules": {rule_id: rule.model_dump(mode="json") for rule_id, rule in packaged_rules()}
    }
    for name, value in values.items():
        rule_id, _, threshold = name.partition("__")
        changed = document["rules"][rule_id.replace("_", "-")]
        if threshold in changed["thresholds"]:
            changed["thresholds"][threshold]["value"] = value
        else:
            changed[threshold] = value
    return parse_rules(document)


def day(number: int) -> dt.date:
    """Day 0 is the first of January 2026, a Thursday."""
    return FIRST_DAY + dt.timedelta(days=number)


def iso(when: dt.date | dt.datetime | str | None) -> str | None:
    """An instant as the fixture files write it, with its zone."""
    if isinstance(when, dt.datetime):
        return when.isoformat() + "Z"
    return when.isoformat() if isinstance(when, dt.date) else when


def ledger(
    txn_id: str | None,
    amount: str | float | Decimal | None,
    vendor: str | None,
    on: dt.date | dt.datetime | str | None,
    source: str | None = "credit_card",
    **more: object,
) -> Row:
    """A row of recent_transactions."""
    return {
        "txn_id": txn_id,
        "source": source,
        "amount": None if amount is None else str(amount),
        "vendor": vendor,
        "date": iso(on),
        **more,
    }


def card_line(
    txn_id: str | None,
    amount: str | float | Decimal | None,
    vendor: str | None,
    on: dt.date | dt.datetime | str | None,
    card: str | None = "**** 1111",
    **more: object,
) -> Row:
    """A row of credit_cards."""
    return {
        "txn_id": txn_id,
        "card_number": card,
        "amount": None if amount is None else str(amount),
        "vendor": vendor,
        "date": iso(on),
        **more,
    }


def bank_line(
    txn_id: str | None,
    amount: str | float | Decimal | None,
    payee: str | None,
    on: dt.date | dt.datetime | str | None,
    kind: str | None = "debit",
    account: str | None = "ACC-1",
    **more: object,
) -> Row:
    """A row of bank_accounts."""
    return {
        "txn_id": txn_id,
        "account_number": account,
        "amount": None if amount is None else str(amount),
        "payee": payee,
        "date": iso(on),
        "transaction_type": kind,
        **more,
    }


def receipt(
    receipt_id: str | None,
    amount: str | float | Decimal | None,
    vendor: str | None,
    on: dt.date | str | None,
    **more: object,
) -> Row:
    """A row of receipts."""
    return {
        "receipt_id": receipt_id,
        "vendor": vendor,
        "amount": None if amount is None else str(amount),
        "date": iso(on),
        **more,
    }


def email(
    email_id: str | None,
    sender: str | None,
    on: dt.date | dt.datetime | str | None,
    subject: str | None,
    body: str | None,
    **more: object,
) -> Row:
    """A row of emails."""
    return {
        "email_id": email_id,
        "subject": subject,
        "sender": sender,
        "date": iso(on),
        "body": body,
        **more,
    }


def vendor(vendor_id: str, name: str, *aliases: str) -> Row:
    """A row of vendors."""
    return {"vendor_id": vendor_id, "vendor_name": name, "aliases": list(aliases)}


def charged(*charges: Row, card: str = "**** 1111", **more: object) -> Gold:
    """Ledger entries of a card with the statement lines that belong to them."""
    lines = [
        card_line(c["txn_id"], c["amount"], c["vendor"], c["date"], card, **more) for c in charges
    ]
    return {"recent_transactions": list(charges), "credit_cards": lines}


def together(*parts: Mapping[str, Sequence[Row]]) -> Gold:
    """The rows of several books as one."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: [row for part in parts for row in part.get(name, ())] for name in names}


@cache
def _snapshots() -> "tempfile.TemporaryDirectory[str]":
    """Where snapshots are kept while the tests run: the same rows are typed only once."""
    return tempfile.TemporaryDirectory()


@contextmanager
def snapshot_of(
    gold: Mapping[str, Sequence[Row]], as_of: dt.date | None = None
) -> Iterator[Snapshot]:
    """The rows, read as a fixture folder; received on the last day that anything is dated."""
    days = [str(row["date"])[:10] for rows in gold.values() for row in rows if row.get("date")]
    received = max([FIRST_DAY.isoformat(), *days]) if as_of is None else as_of.isoformat()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "gold"
        folder.mkdir()
        (folder / "about.json").write_text(json.dumps({"name": "small", "as_of": received}))
        for table, rows in {"recent_transactions": (), **gold}.items():
            text = json.dumps(list(rows), ensure_ascii=False)
            (folder / f"{table}.json").write_text(text, encoding="utf-8")
        snapshot = read_fixtures(folder, Path(_snapshots().name))
        problems = [file.problem for file in snapshot.files if file.problem]
        assert not problems, problems
        yield snapshot


@contextmanager
def books_over(
    snapshot: Snapshot, from_on: dt.date, to_on: dt.date, rules: Rules | None = None
) -> Iterator[Books]:
    """The books of a range of audit dates over rows that were read."""
    with DuckDBWarehouse(snapshot, snapshot.folder.parent / "derived", threads=1) as warehouse:
        yield Books(warehouse, rules or packaged_rules(), from_on, to_on)


@contextmanager
def books_of(
    gold: Mapping[str, Sequence[Row]],
    from_on: dt.date,
    to_on: dt.date,
    as_of: dt.date | None = None,
    rules: Rules | None = None,
) -> Iterator[Books]:
    """The books of a range of audit dates over these rows.

    Args:
        gold: rows by table; absent tables are empty.
        from_on: first audit date.
        to_on: last audit date.
        as_of: when the data was received; by default the last day that anything is dated.
        rules: the packaged ones by default.
    """
    with snapshot_of(gold, as_of) as snapshot, books_over(snapshot, from_on, to_on, rules) as books:
        yield books


def _audit(
    rule_id: str, snapshot: Snapshot, from_on: dt.date, to_on: dt.date, rules: Rules | None
) -> "list[Hit]":
    with books_over(snapshot, from_on, to_on, rules) as books:
        return audited(rule_id, books)


def run(books: Books, query: Query) -> list[Hit]:
    """The findings of a query, after the tables that it reads; each day and entry once."""
    books.need(*(name for name in TABLES if f"audit.{name}" in query.sql))
    hits = [
        Hit(
            row["audit_on"],
            row["transaction_id"],
            row["measured"],
            row["threshold"],
            row["score"],
            {cell["name"]: cell["value"] for cell in row["evidence"]},
            {cell["name"]: (cell["source"], cell["row_id"]) for cell in row["evidence"]},
        )
        for row in cast("list[Any]", books.warehouse.rows(query))
    ]
    keys = [(hit.audit_on, hit.transaction_id) for hit in hits]
    assert len(keys) == len(set(keys)), f"a finding is there twice: {sorted(keys)}"
    assert all(books.from_on <= hit.audit_on <= books.to_on for hit in hits)
    return sorted(hits, key=lambda hit: (hit.audit_on, hit.transaction_id))


def audited(rule_id: str, books: Books) -> list[Hit]:
    """The findings of one rule in open books."""
    queries = AGENTS[rule_id[:2]].findings(books.rules, books.from_on, books.to_on)
    return run(books, queries[rule_id])


def findings(
    rule_id: str,
    gold: Mapping[str, Sequence[Row]],
    from_on: dt.date,
    to_on: dt.date | None = None,
    as_of: dt.date | None = None,
    rules: Rules | None = None,
) -> list[Hit]:
    """The findings of one rule, of one audit date or of a range."""
    with snapshot_of(gold, as_of) as snapshot:
        return _audit(rule_id, snapshot, from_on, to_on or from_on, rules)


def found_ids(
    rule_id: str,
    gold: Mapping[str, Sequence[Row]],
    from_on: dt.date,
    to_on: dt.date | None = None,
    as_of: dt.date | None = None,
    rules: Rules | None = None,
) -> list[str]:
    """The transactions that one rule finds."""
    return [hit.transaction_id for hit in findings(rule_id, gold, from_on, to_on, as_of, rules)]


def holds_as_of(
    rule_id: str,
    gold: Mapping[str, Sequence[Row]],
    audit_on: dt.date,
    later: Mapping[str, Sequence[Row]],
    rules: Rules | None = None,
) -> list[Hit]:
    """The hits of an audit date, after checking that neither the range nor the future matters.

    Args:
        rule_id: the rule.
        gold: the books.
        audit_on: the day.
        later: rows dated after the day, which the audit of that day must not see.
        rules: the packaged ones by default.
    """
    for rows in later.values():
        assert all(str(row["date"])[:10] > audit_on.isoformat() for row in rows)
    around = (audit_on - dt.timedelta(days=40), audit_on + dt.timedelta(days=40))
    with snapshot_of(gold) as snapshot:
        alone = _audit(rule_id, snapshot, audit_on, audit_on, rules)
        ranged = _audit(rule_id, snapshot, *around, rules)
    assert [hit for hit in ranged if hit.audit_on == audit_on] == alone, (
        f"{rule_id}: a range around the day differs from the day alone"
    )
    with snapshot_of(together(gold, later)) as snapshot:
        after = _audit(rule_id, snapshot, audit_on, audit_on, rules)
        ranged = _audit(rule_id, snapshot, *around, rules)
    assert after == alone, f"{rule_id}: a row dated after the audit date changed it"
    assert [hit for hit in ranged if hit.audit_on == audit_on] == alone, (
        f"{rule_id}: a range that reaches later rows changed the day"
    )
    return alone

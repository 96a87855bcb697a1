"""The demo company's books are what `fixtures/make_demo.py` says they are.

The checks read the committed files, not the generator's own objects, so that they hold for what
others will audit.
"""

import importlib.util
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from audit_pipeline.model.tables import gold_table

FIXTURES = Path(__file__).parents[1] / "fixtures"
DEMO = FIXTURES / "demo"
SAMPLES = FIXTURES / "samples"
TABLES = (
    "recent_transactions",
    "credit_cards",
    "bank_accounts",
    "emails",
    "receipts",
    "calendar_events",
    "vendors",
)
Rows = list[dict[str, Any]]


class Books:
    """One generated folder, parsed: money as Decimal, instants aware."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.about = json.loads((folder / "about.json").read_text())
        answers = json.loads((folder / "planted.json").read_text())
        self.planted: Rows = answers["planted"]
        self.benign: Rows = answers["benign_lookalikes"]
        self.tables: dict[str, Rows] = {}
        for name in TABLES:
            lines = (folder / f"{name}.jsonl").read_text().splitlines()
            self.tables[name] = [json.loads(line, parse_float=Decimal) for line in lines]
            for row in self.tables[name]:
                if row.get("date"):
                    row["date"] = datetime.fromisoformat(row["date"])

    def ids(self, rule: str) -> set[str]:
        return {i for p in self.planted if p["rule"] == rule for i in p["transaction_ids"]}

    def looks_like(self, rule: str) -> set[str]:
        return {i for b in self.benign if b["looks_like"] == rule for i in b["transaction_ids"]}

    @property
    def benign_ids(self) -> set[str]:
        return {i for b in self.benign for i in b["transaction_ids"]}

    @property
    def charges(self) -> Rows:
        return self.tables["credit_cards"]

    @property
    def card_ledger(self) -> Rows:
        """The ledger's card rows, those too that forgot to say so."""
        return [r for r in self.tables["recent_transactions"] if r["txn_id"].startswith("cc_")]


@pytest.fixture(scope="module")
def generator() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("make_demo", FIXTURES / "make_demo.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_demo"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["make_demo"]


@pytest.fixture(scope="module")
def demo() -> Books:
    return Books(DEMO)


@pytest.fixture(scope="module")
def clean(generator: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Books:
    folder = tmp_path_factory.mktemp("clean")
    generator.main(["--clean", "--out", str(folder)])
    return Books(folder)


@pytest.fixture(params=["demo", "clean"])
def books(request: pytest.FixtureRequest) -> Books:
    return request.getfixturevalue(request.param)


def closing_of(closing_day: int, on: date) -> date:
    """The end of the statement that a charge of that day falls into."""
    if on.day <= closing_day:
        return on.replace(day=closing_day)
    return (on.replace(day=1) + timedelta(days=32)).replace(day=closing_day)


# --- The files --------------------------------------------------------------------------------


def test_the_same_seed_writes_the_same_bytes(generator: ModuleType, tmp_path: Path) -> None:
    """The committed folder is what the committed generator writes, byte for byte."""
    generator.main(["--out", str(tmp_path)])
    written = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert written == {p.name: p.read_bytes() for p in DEMO.iterdir()}


def test_another_seed_is_another_company(generator: ModuleType, tmp_path: Path) -> None:
    generator.main(["--seed", "12", "--out", str(tmp_path)])
    other = Books(tmp_path)
    assert (tmp_path / "credit_cards.jsonl").read_bytes() != (
        DEMO / "credit_cards.jsonl"
    ).read_bytes()
    assert len(other.planted) >= 60


def test_the_files_are_small(demo: Books) -> None:
    for path in demo.folder.iterdir():
        assert path.stat().st_size < 2_000_000, path.name


@pytest.mark.parametrize("name", TABLES)
def test_rows_keep_the_table_contract(books: Books, name: str) -> None:
    """Only declared columns, every required one present; a null in one is a planted fault."""
    table = gold_table(name)
    declared = {c.name for c in table.columns}
    keys = Counter(row[table.key] for row in books.tables[name])
    for row in books.tables[name]:
        assert set(row) <= declared
        gaps = [c.name for c in table.required if row[c.name] is None]
        assert bool(gaps) == (name == "recent_transactions" and row["txn_id"] in books.ids("DQ-01"))
        if keys[row[table.key]] > 1:
            assert name == "recent_transactions"
            assert row["txn_id"] in books.ids("DQ-03")


def test_amounts_are_written_to_the_cent() -> None:
    for line in (DEMO / "credit_cards.jsonl").read_text().splitlines():
        amount = line.split('"amount":')[1].split(",")[0]
        assert len(amount.rsplit(".", 1)[1]) == 2


def test_the_company_has_the_size_it_should(demo: Books) -> None:
    """At least 6,000 charges in the audited 90 days, December before them as history."""
    first, last = (date.fromisoformat(demo.about[k]) for k in ("audit_from", "audit_to"))
    assert (last - first).days + 1 == 90
    days = [c["date"].date() for c in demo.charges]
    assert sum(first <= d <= last for d in days) >= 6_000
    assert min(days) == date(2025, 12, 1)
    assert max(days) <= last
    assert len({c["card_number"] for c in demo.charges}) == demo.about["cards"] == 24


# --- The books agree with each other ----------------------------------------------------------


def test_ledger_and_statement_agree_but_for_the_planted(books: Books) -> None:
    statement = {c["txn_id"]: c for c in books.charges}
    ledger = {r["txn_id"] for r in books.card_ledger}
    voided = {i for i in books.looks_like("RC-03") if i.startswith("cc_")}
    assert ledger - set(statement) == books.ids("RC-03") | books.ids("DQ-05") | voided
    assert sum(r["amount"] for r in books.card_ledger if r["txn_id"] in voided) == 0
    assert set(statement) - ledger == books.ids("RC-04")
    other_amount = {
        r["txn_id"]
        for r in books.card_ledger
        if r["txn_id"] in statement and r["amount"] != statement[r["txn_id"]]["amount"]
    }
    assert books.ids("RC-05") <= other_amount
    assert other_amount <= books.ids("RC-05") | books.ids("DQ-01") | books.ids("DQ-03")


def test_ledger_and_bank_agree(books: Books) -> None:
    """Money out is positive in the ledger and negative on the statement; the balance adds up.

    But for the lines that were cut out: the balance after the gap is off by exactly their amount.
    And one line pays several entries at once, to the cent.
    """
    bank = {b["txn_id"]: b for b in books.tables["bank_accounts"]}
    ledger = {
        r["txn_id"]: r for r in books.tables["recent_transactions"] if r["txn_id"].startswith("bk_")
    }
    batch = {i for i in books.looks_like("RC-03") if i.startswith("bk_")}
    assert len(batch) == 3
    cut_out = ledger.keys() - bank.keys() - batch
    removed = [p for p in books.planted if p["rule"] == "RC-09"]
    assert cut_out == {i for p in removed for i in p["also_ids"]}
    (whole,) = bank.keys() - ledger.keys()
    assert sum(ledger[i]["amount"] for i in batch) == -bank[whole]["amount"]
    assert all(ledger[i]["amount"] == -bank[i]["amount"] for i in bank if i != whole)
    gone = {}
    for before, line in pairwise(books.tables["bank_accounts"]):
        gap = before["running_balance"] + line["amount"] - line["running_balance"]
        assert line["running_balance"] > 0
        if gap:
            gone[line["txn_id"]] = gap
    assert gone.keys() == books.ids("RC-09")
    assert sorted(gone.values()) == sorted(ledger[i]["amount"] for i in cut_out)


def test_each_payment_is_the_sum_of_its_statement(books: Books) -> None:
    """To the cent, less exactly the charges that are planted as left out."""
    left_out = books.ids("RC-02")
    payments: dict[str, dict[date, Decimal]] = defaultdict(dict)
    for line in books.tables["bank_accounts"]:
        if line["transaction_type"] == "card_payment":
            payments[line["payee"][-4:]][line["date"].date()] = -line["amount"]
    cards: dict[str, Rows] = defaultdict(list)
    for charge in books.charges:
        cards[charge["card_number"][-4:]].append(charge)
    assert cards.keys() == payments.keys()
    for last4, charges in cards.items():
        settled: dict[int, int] = {}
        for closing_day in range(18, 28):
            sums: Counter[date] = Counter()
            for c in charges:
                if c["txn_id"] not in left_out:
                    sums[closing_of(closing_day, c["date"].date())] += c["amount"]
            known = {sums[day] for day in sums if day >= date(2026, 1, 1)}
            settled[closing_day] = len(known & set(payments[last4].values()))
        # January's and February's statement always, March's if it was paid by the 31st.
        assert max(settled.values()) >= 2, last4
        late = [on for on in payments[last4] if on >= date(2026, 1, 20)]
        assert max(settled.values()) == len(late), last4
        assert all(on.weekday() < 5 for on in payments[last4])


# --- The company's own rules ------------------------------------------------------------------


def test_every_large_charge_was_approved_before(books: Books) -> None:
    """By a thread "Approval needed: <vendor> <amount>" whose reply says Approved."""
    replies = [
        m
        for m in books.tables["emails"]
        if m["subject"].startswith("Re: Approval needed: ") and m["body"].startswith("Approved")
    ]
    asked = {m["email_id"]: Decimal(m["subject"].split()[-1].replace(",", "")) for m in replies}
    address = {c["txn_id"]: c["cardholder"].lower().replace(" ", ".") for c in books.charges}
    unapproved = set()
    for row in books.card_ledger:
        if row["amount"] is None or row["amount"] < 2_500:
            continue
        before = [
            m
            for m in replies
            if m["recipients"][0].split("@")[0] == address[row["txn_id"]]
            and timedelta() < row["date"] - m["date"] < timedelta(days=12)
            # The amount that was asked for may be rounded up.
            and row["amount"] <= asked[m["email_id"]] <= row["amount"] * Decimal("1.01")
        ]
        if not before:
            unapproved.add(row["txn_id"])
    assert unapproved == books.ids("CX-02") | books.ids("CX-03")


def test_every_receipt_that_is_due_is_there(books: Books) -> None:
    policy = books.about["policy"]
    assert policy["receipt_from_usd"] == 75
    mature = date.fromisoformat(books.about["as_of"]) - timedelta(
        days=policy["receipt_within_days"]
    )
    receipts: dict[tuple[str, str], Rows] = defaultdict(list)
    for receipt in books.tables["receipts"]:
        receipts[receipt["cardholder"], receipt["category"]].append(receipt)
    missing = set()
    for c in books.charges:
        on = c["date"].date()
        if c["amount"] < 75 or c["category"] in policy["receipt_not_needed_for"] or on > mature:
            continue
        fitting = [
            r
            for r in receipts[c["cardholder"], c["category"]]
            if abs((r["date"].date() - on).days) <= 1
            # A restaurant's receipt is printed before a tip of 15 to 22 %.
            and Decimal("0.81") * c["amount"] <= r["amount"] <= c["amount"]
        ]
        if not fitting:
            missing.add(c["txn_id"])
    assert missing == books.ids("CX-01")


def test_no_repeat_but_the_planted_and_the_listed(books: Books) -> None:
    """The same amount above 50 USD, vendor and card within a week: a weekly service aside."""
    vendor_of = {r["txn_id"]: r["vendor_id"] or r["vendor"] for r in books.card_ledger}
    groups: dict[tuple[str, str, Decimal], Rows] = defaultdict(list)
    for c in books.charges:
        if c["amount"] > 50:
            key = (c["card_number"], vendor_of.get(c["txn_id"], c["vendor"]), c["amount"])
            groups[key].append(c)
    for group in groups.values():
        for first, second in pairwise(group):
            days = (second["date"].date() - first["date"].date()).days
            if days <= 7 and not (days == 7 and first["category"] == "subscriptions"):
                pair = {first["txn_id"], second["txn_id"]}
                assert pair & (books.ids("AN-05") | books.benign_ids), pair


# --- The answers ------------------------------------------------------------------------------


def test_planted_faults_are_many_and_of_many_kinds(demo: Books) -> None:
    kinds = Counter(p["kind"] for p in demo.planted)
    assert len(demo.planted) >= 90
    assert len(kinds) >= 27
    assert min(kinds.values()) >= 2
    assert len({p["rule"] for p in demo.planted}) == len(kinds)
    assert len({p["id"] for p in demo.planted}) == len(demo.planted)
    assert all(p["what"].endswith(".") for p in demo.planted + demo.benign)
    assert 20 <= len(demo.benign) <= 26
    planted = {i for p in demo.planted for i in p["transaction_ids"]}
    assert not planted & demo.benign_ids


def test_planted_ids_exist_where_they_should(demo: Books) -> None:
    """In the ledger, on the given day; RC-04 on the card statement only."""
    ledger = {r["txn_id"]: r for r in demo.tables["recent_transactions"]}
    statement = {c["txn_id"]: c for c in demo.charges}
    for fault in demo.planted:
        table = statement if fault["rule"] == "RC-04" else ledger
        rows = [table[i] for i in fault["transaction_ids"]]
        assert rows[0]["date"].date() == date.fromisoformat(fault["on"]), fault["id"]
        if fault["rule"] != "DQ-05":
            assert "2026-01-08" <= fault["on"] <= "2026-03-20", fault["id"]
    for lookalike in demo.benign:
        assert set(lookalike["transaction_ids"]) <= set(ledger), lookalike["id"]


def test_planted_rows_are_wrong_in_the_way_it_says(demo: Books) -> None:
    ledger: dict[str, Rows] = defaultdict(list)
    for row in demo.tables["recent_transactions"]:
        ledger[row["txn_id"]].append(row)
    as_of = date.fromisoformat(demo.about["as_of"])
    for rule, wrong in {
        "DQ-03": lambda rows: len(rows) == 2,
        "DQ-05": lambda rows: rows[0]["date"].date() > as_of,
        "DQ-06": lambda rows: rows[0]["currency"] == "EUR",
    }.items():
        found = {i for i, rows in ledger.items() if wrong(rows)}
        assert found == demo.ids(rule), rule
    exact = [rows[0] == rows[1] for i, rows in ledger.items() if i in demo.ids("DQ-03")]
    assert {True, False} == set(exact)
    for fault in demo.planted:
        amounts = [ledger[i][0]["amount"] for i in fault["transaction_ids"] if i in ledger]
        if fault["rule"] == "AN-06":
            assert max(amounts) < 2_500 <= sum(amounts)
        if fault["rule"] == "AN-04":
            assert 900 <= amounts[0] <= 2_400
        if fault["rule"] in {"AN-12", "AN-17"}:
            assert 2_450 <= amounts[0] < 2_500
        if fault["rule"] == "AN-15":
            assert amounts[0] % 100 == 0


def test_a_clean_company_is_the_same_company(demo: Books, clean: Books) -> None:
    """No answers to find; nearly every charge is the same row with the same id."""
    assert clean.planted == []
    # A clean charge keeps its id, so that two audits of the two folders can be compared.
    ours = {c["txn_id"]: c for c in demo.charges}
    theirs = {c["txn_id"]: c for c in clean.charges}
    assert len(theirs) - sum(ours.get(i) == c for i, c in theirs.items()) < 40
    assert [b["what"] for b in clean.benign] == [b["what"] for b in demo.benign]


# --- The samples ------------------------------------------------------------------------------


def test_samples_are_the_rows_of_the_specification() -> None:
    assert json.loads((SAMPLES / "sample_transactions.json").read_text()) == [
        {
            "txn_id": "cc_12345",
            "source": "credit_card",
            "amount": 500.00,
            "vendor": "AWS",
            "vendor_id": "aws_infrastructure",
            "date": "2025-02-03T10:00:00Z",
            "domain": "business_operations",
        },
        {
            "txn_id": "cc_12346",
            "source": "credit_card",
            "amount": 45.67,
            "vendor": "Starbucks",
            "vendor_id": "starbucks_corporate",
            "date": "2025-02-03T11:30:00Z",
            "domain": "business_operations",
        },
        {
            "txn_id": "cc_12347",
            "source": "credit_card",
            "amount": 1250.00,
            "vendor": "Unknown Corp",
            "vendor_id": None,
            "date": "2025-02-03T14:00:00Z",
            "domain": "business_operations",
        },
    ]


def test_samples_tell_one_story() -> None:
    """AWS and Starbucks are paid the next day; nothing pays Unknown Corp."""
    ledger, cards, bank, emails, states = (
        json.loads((SAMPLES / f"sample_{name}.json").read_text())
        for name in ("transactions", "credit_cards", "bank_accounts", "emails", "workflow_state")
    )
    assert [len(rows) for rows in (ledger, cards, bank, emails, states)] == [3, 3, 3, 3, 2]
    assert [(r["txn_id"], r["amount"]) for r in cards] == [
        (r["txn_id"], r["amount"]) for r in ledger
    ]
    paid = {b["amount"] for b in bank if b["date"].startswith("2025-02-04")}
    assert paid == {500.00, 45.67}
    assert 1250.00 not in {b["amount"] for b in bank}
    assert {s["workflow_status"] for s in states} == {"completed", "in_progress"}
    for name, rows in (("credit_cards", cards), ("bank_accounts", bank), ("emails", emails)):
        required = {c.name for c in gold_table(name).required}
        assert all(required <= set(row) for row in rows)

"""Data quality: what is set aside and why, what closes the gate, who has fallen silent."""

import datetime as dt
from decimal import Decimal

import pytest

from audit_pipeline.agents.data_quality import gate
from audit_pipeline.model.query import Query
from audit_pipeline.model.tables import GOLD
from audit_pipeline_tests.books_of import (
    Gold,
    Row,
    bank_line,
    books_of,
    card_line,
    day,
    email,
    findings,
    found_ids,
    holds_as_of,
    ledger,
    packaged_rules,
    receipt,
    rules_with,
    together,
)

HOSTILE = "O'Neill \"; DROP TABLE gold.x; -- {amount} {0} %s $from_on\n😀"


def entries(*rows: Row) -> Gold:
    return {"recent_transactions": list(rows)}


# ── DQ-01: a required value is missing ────────────────────────────────────────────────────────────


@pytest.mark.parametrize("field", ["txn_id", "source", "amount", "vendor", "date"])
def test_dq01_names_the_missing_field(field: str) -> None:
    """One finding, on its day; without a date, on the last day of the data."""
    row = {**ledger("a", "10.00", "ACME", day(3)), field: None}
    gold = entries(row, ledger("b", "10.00", "ACME", day(3)))
    (hit,) = findings("DQ-01", gold, day(0), day(9), as_of=day(9))
    assert hit.facts["missing_field"] == field
    assert hit.facts["reason"] == f"no {field}"
    assert hit.transaction_id == ("row:1" if field == "txn_id" else "a")
    assert hit.audit_on == (day(9) if field == "date" else day(3))


def test_dq01_names_the_first_of_several() -> None:
    (hit,) = findings("DQ-01", entries(ledger("a", None, None, day(3))), day(3))
    assert hit.facts["missing_field"] == "amount"
    assert (hit.facts["amount"], hit.facts["vendor"]) == ("", "")


def test_dq01_is_once_for_two_rows_of_one_id() -> None:
    """Each transaction has one finding a day, however often its id is there."""
    rows = [ledger("a", None, "ACME", day(3)), ledger("a", "5.00", None, day(3))]
    (hit,) = findings("DQ-01", entries(*rows), day(3))
    assert hit.facts["missing_field"] == "amount"


def test_dq01_holds_as_of_its_day() -> None:
    later = entries(ledger("a", "10.00", "ACME", day(4)), ledger("z", None, "ACME", day(5)))
    assert holds_as_of("DQ-01", entries(ledger("a", None, "ACME", day(3))), day(3), later)


# ── DQ-02: unreadable ─────────────────────────────────────────────────────────────────────────────


def test_dq02_says_which_value_could_not_be_read() -> None:
    """By the row's id, or by its number where the id is the trouble; a hostile text is quoted."""
    gold = entries(
        ledger("a", "12,50 €", "ACME", day(3)),
        ledger("", HOSTILE, "ACME", day(3)),
        ledger("c", "10.00", "   ", day(3)),
        ledger("ok", "10.00", "ACME", day(3)),
    )
    hits = findings("DQ-02", gold, day(3))
    assert [(h.transaction_id, h.facts["field"]) for h in hits] == [
        ("a", "amount"),
        ("c", "vendor"),
        ("row:2", "amount"),
    ]
    assert hits[0].facts["raw"] == "12,50 €"
    assert hits[2].facts["raw"] == HOSTILE
    assert findings("DQ-01", gold, day(3)) == []


def test_dq02_is_about_the_ledger_only_and_once_an_id() -> None:
    gold = together(
        entries(ledger("a", "x", "ACME", day(3)), ledger("a", "y", "ACME", day(3))),
        {"receipts": [receipt("r", "x", "ACME", day(3))]},
    )
    assert found_ids("DQ-02", gold, day(0), day(9)) == ["a"]
    assert findings("DQ-02", {}, day(0), day(9)) == []


# ── DQ-03: the same id twice ──────────────────────────────────────────────────────────────────────


def test_dq03_sets_the_later_copy_aside() -> None:
    """By day, then by row; the first one is audited, whatever the copy says."""
    gold = entries(
        ledger("a", "99.00", "OTHER", day(4)),
        ledger("a", "10.00", "ACME", day(3)),
        ledger("b", "10.00", "ACME", day(3)),
    )
    (hit,) = findings("DQ-03", gold, day(0), day(9))
    assert (hit.audit_on, hit.transaction_id) == (day(4), "a")
    assert (hit.facts["row_number"], hit.facts["first_row"]) == ("1", "2")
    assert hit.facts["amount"] == "99.00"
    with books_of(gold, day(0), day(9)) as books:
        books.need("transactions")
        kept = books.warehouse.rows(
            Query("SELECT transaction_id, amount FROM audit.transactions ORDER BY 1")
        )
    assert kept == [
        {"transaction_id": "a", "amount": Decimal("10.00")},
        {"transaction_id": "b", "amount": Decimal("10.00")},
    ]


def test_dq03_is_once_for_three_copies_of_a_day() -> None:
    rows = [ledger("a", "10.00", "ACME", day(3)) for _ in range(3)]
    assert found_ids("DQ-03", entries(*rows), day(3)) == ["a"]
    assert findings("DQ-03", entries(*rows[:1]), day(3)) == []


def test_dq03_holds_as_of_its_day() -> None:
    rows = [ledger("a", "10.00", "ACME", day(2)), ledger("a", "10.00", "ACME", day(3))]
    assert holds_as_of("DQ-03", entries(*rows), day(3), entries({**rows[0], "date": "2026-01-05"}))


def test_dq03_does_not_take_missing_ids_for_one() -> None:
    rows = [ledger(None, "10.00", "ACME", day(3)), ledger(None, "10.00", "ACME", day(3))]
    assert findings("DQ-03", entries(*rows), day(3)) == []
    assert found_ids("DQ-01", entries(*rows), day(3)) == ["row:1", "row:2"]


# ── DQ-05: dated after the data was received ──────────────────────────────────────────────────────


@pytest.mark.parametrize(("on", "days"), [(9, None), (10, "1"), (40, "31")])
def test_dq05_is_later_than_the_data(on: int, days: str | None) -> None:
    """It belongs to the last day of the data, and is not audited."""
    gold = entries(ledger("a", "10.00", HOSTILE, day(on)))
    hits = findings("DQ-05", gold, day(0), day(50), as_of=day(9))
    assert [h.facts["days_ahead"] for h in hits] == ([days] if days else [])
    for hit in hits:
        assert hit.audit_on == day(9)
        assert hit.measured == int(days or 0)
        assert hit.facts["vendor"] == HOSTILE


def test_dq05_counts_days_and_not_hours() -> None:
    gold = entries({**ledger("a", "10.00", "ACME", None), "date": "2026-01-10T23:59:59Z"})
    assert findings("DQ-05", gold, day(0), day(20), as_of=day(9)) == []


# ── DQ-06: another currency ───────────────────────────────────────────────────────────────────────


def euros(*currencies: str | None) -> Gold:
    return entries(
        *(
            ledger(f"t{n}", "10.00", "ACME", day(3), currency=currency)
            for n, currency in enumerate(currencies)
        )
    )


@pytest.mark.parametrize(
    ("currencies", "found"),
    [
        (("USD", "USD", "EUR"), ["t2"]),
        (("EUR", None, None), []),
        (("USD", "USD"), []),
        ((None, None), []),
        (("USD", "EUR"), ["t0"]),
        ((), []),
    ],
)
def test_dq06_is_another_currency_than_most(
    currencies: tuple[str | None, ...], found: list[str]
) -> None:
    """An entry without one is in the company's own; a tie goes by the alphabet."""
    assert found_ids("DQ-06", euros(*currencies), day(3)) == found


def test_dq06_holds_as_of_its_day() -> None:
    """Entries in another currency that come later do not turn the books around."""
    later = [ledger(f"l{n}", "1.00", "ACME", day(4), currency="EUR") for n in range(5)]
    (hit,) = holds_as_of("DQ-06", euros("USD", "USD", "EUR"), day(3), entries(*later))
    assert (hit.transaction_id, hit.facts["own_currency"]) == ("t2", "USD")


# ── the population ────────────────────────────────────────────────────────────────────────────────


def test_every_entry_is_audited_or_set_aside() -> None:
    """By count: population + quarantined = what the reader kept."""
    rows = [
        ledger("a", "10.00", "ACME", day(3)),
        ledger("a", "11.00", "ACME", day(3)),
        ledger("b", None, "ACME", day(3)),
        ledger("c", "10.00", "ACME", day(30)),
        ledger(None, "10.00", "ACME", day(3)),
        ledger("d", "-10.00", HOSTILE, day(2), "cash"),
    ]
    gold = together(
        entries(*rows),
        {
            "credit_cards": [card_line("a", "10.00", "ACME", day(n)) for n in (3, 4)],
            "bank_accounts": [bank_line("d", "10.00", "ACME", day(2)) for _ in range(2)],
        },
    )
    with books_of(gold, day(0), day(9), as_of=day(9)) as books:
        books.need("transactions")
        kept = books.warehouse.rows(Query("SELECT row_number FROM audit.transactions"))
        held = books.warehouse.rows(Query("SELECT row_number FROM audit.quarantined"))
    assert sorted(row["row_number"] for row in [*kept, *held]) == list(range(1, 7))  # pyright: ignore[reportArgumentType, reportCallIssue]
    assert {row["row_number"] for row in kept} == {1, 6}


def test_an_entry_takes_its_payer_from_its_statement() -> None:
    gold: Gold = {
        "recent_transactions": [
            ledger("a", "10.00", "ACME", day(3)),
            ledger("b", "10.00", "ACME", day(3), "bank"),
            ledger("c", "10.00", "ACME", day(3)),
            ledger("d", "10.00", "ACME", day(3), "bank"),
        ],
        "credit_cards": [
            card_line("a", "10.00", "ACME", day(3), cardholder="Ann", category="travel"),
            card_line("c", "10.00", "ACME", day(3)),
            card_line("d", "10.00", "ACME", day(3)),
        ],
        "bank_accounts": [bank_line("b", "10.00", "ACME", day(3))],
    }
    with books_of(gold, day(3), day(3)) as books:
        books.need("transactions")
        rows = books.warehouse.rows(
            Query(
                "SELECT payer, category, cardholder FROM audit.transactions ORDER BY transaction_id"
            )
        )
    assert [tuple(row.values()) for row in rows] == [
        ("**** 1111/Ann", "travel", "Ann"),
        ("ACC-1", "bank", ""),
        ("**** 1111", "uncategorised", ""),
        ("bank", "bank", ""),
    ]


@pytest.mark.parametrize(
    ("lines", "amounts"),
    [
        ([("-5.00", "debit"), ("-6.00", "debit"), ("7.00", "debit")], ["5.00", "6.00", "-7.00"]),
        ([("5.00", "debit"), ("6.00", "debit"), ("-7.00", "debit")], ["5.00", "6.00", "-7.00"]),
        ([("-5.00", "debit"), ("6.00", "debit")], ["-5.00", "6.00"]),
        ([("-5.00", "debit"), ("6.00", "deposit"), ("7.00", "CREDIT")], ["5.00", "-6.00", "-7.00"]),
        ([("6.00", "credit")], ["6.00"]),
        ([("-5.00", None)], ["5.00"]),
    ],
)
def test_money_out_is_positive_whatever_the_statement_prints(
    lines: list[tuple[str, str | None]], amounts: list[str]
) -> None:
    """By the majority of an account's payments; what comes in does not count."""
    rows = [bank_line(f"b{n}", text, "X", day(3), kind) for n, (text, kind) in enumerate(lines)]
    other = [bank_line(f"o{n}", "1.00", "X", day(3), account="OTHER") for n in range(5)]
    with books_of({"bank_accounts": [*rows, *other]}, day(3), day(3)) as books:
        books.need("bank_lines")
        found = books.warehouse.rows(
            Query("SELECT amount FROM audit.bank_lines WHERE line_id LIKE 'b%' ORDER BY line_id")
        )
    assert [str(row["amount"]) for row in found] == amounts


# ── completeness and the gate ─────────────────────────────────────────────────────────────────────


def completeness_of(gold: Gold, on: int, as_of: int = 30) -> dict[str, dict[str, object]]:
    with books_of(gold, day(on), day(on), as_of=day(as_of)) as books:
        rows = books.warehouse.rows(gate.check_completeness(day(on), day(on)))
    assert len({row["table_name"] for row in rows}) == len(rows)
    return {str(row["table_name"]): row for row in rows}


def test_completeness_is_the_share_of_required_values() -> None:
    """A rejected row counts as one without any; each field's gaps are told apart."""
    gold = together(
        entries(
            ledger("a", "10.00", "ACME", day(3)),
            ledger("a", None, None, day(3)),
            ledger("c", "no money", "ACME", day(3)),
            ledger("d", "10.00", "ACME", day(4)),
        ),
        {"emails": [email("e", "x@y", day(3), None, "body")]},
    )
    found = completeness_of(gold, 3)
    row = found["recent_transactions"]
    assert (row["rows_read"], row["rejected"], row["duplicates"], row["future"]) == (2, 1, 1, 0)
    assert (row["cells_required"], row["cells_filled"]) == (15, 8)
    assert row["completeness"] == pytest.approx(8 / 15)
    gaps = {item["field"]: item["missing"] for item in row["missing_by_field"]}  # pyright: ignore[reportGeneralTypeIssues, reportIndexIssue]
    assert gaps == {"txn_id": 0, "source": 0, "amount": 1, "vendor": 1, "date": 0}
    assert found["emails"]["completeness"] == pytest.approx(4 / 5)
    assert set(found) == {"recent_transactions", "emails"}
    assert completeness_of(gold, 5) == {}


def test_a_day_of_rejected_rows_only_has_no_complete_value() -> None:
    row = completeness_of(entries(ledger("c", "no money", "ACME", day(3))), 3)
    assert row["recent_transactions"]["completeness"] == 0
    assert row["recent_transactions"]["rows_read"] == 0


def test_completeness_knows_every_dated_table() -> None:
    """The query is made from the declarations; no table is forgotten."""
    sql = gate.check_completeness(day(0), day(0)).sql
    assert all((table.full_name in sql) == bool(table.dated_by) for table in GOLD)


def of_rows(rows: int, share: float | None, table: str = "emails") -> dict[str, object]:
    return {
        "audit_on": day(3),
        "table_name": table,
        "rows_read": rows,
        "rejected": 0,
        "completeness": share,
    }


@pytest.mark.parametrize(
    ("rows", "share", "closed"),
    [
        (20, 0.899, True),
        (20, 0.9, False),
        (19, 0.1, False),
        (20, None, False),
        (0, 0.0, False),
    ],
)
def test_the_gate_closes_below_ninety_percent_of_twenty_rows(
    rows: int, share: float | None, *, closed: bool
) -> None:
    reasons = gate.gate_reasons([of_rows(rows, share)], {}, {}, packaged_rules()["DQ-01"])
    assert bool(reasons) is closed
    assert all("emails on 2026-01-04: 89.9%" in reason for reason in reasons)


def test_all_reasons_are_given_at_once() -> None:
    reasons = gate.gate_reasons(
        [of_rows(50, 0.5, "receipts"), of_rows(50, 0.5)],
        {"vendors": "not JSON"},
        {"emails": ("body", "date")},
        packaged_rules()["DQ-01"],
    )
    assert [reason.split(":")[0] for reason in reasons] == [
        "vendors",
        "emails",
        "emails on 2026-01-04",
        "receipts on 2026-01-04",
    ]
    assert "body, date" in reasons[1]
    assert gate.gate_reasons([], {}, {}, packaged_rules()["DQ-01"]) == []


def test_a_strict_gate_closes_on_one_row() -> None:
    rule = rules_with(DQ_01__min_rows=1, DQ_01__completeness=1)["DQ-01"]
    assert gate.gate_reasons([of_rows(1, 0.99)], {}, {}, rule)


# ── freshness ─────────────────────────────────────────────────────────────────────────────────────


def test_freshness_is_each_domains_last_day_and_usual_gap() -> None:
    """Entries after the audit date are not known yet; without a domain it is `unassigned`."""
    gold = entries(
        *(
            ledger(f"a{n}", "1.00", "ACME", day(on), domain="travel")
            for n, on in enumerate((0, 2, 2, 7, 9))
        ),
        ledger("b", "1.00", "ACME", day(1)),
    )
    with books_of(gold, day(8), day(8)) as books:
        books.need("transactions")
        rows = books.warehouse.rows(gate.check_freshness(day(8)))
    assert rows == [
        {"domain": "travel", "last_on": day(7), "days": 3, "usual_gap_days": 5},
        {"domain": "unassigned", "last_on": day(1), "days": 1, "usual_gap_days": 1},
    ]


@pytest.mark.parametrize(
    ("usual", "silent", "manual", "stale"),
    [
        (1, 4, {}, False),
        (1, 5, {}, True),
        (2, 6, {}, False),
        (2, 7, {}, True),
        (2, 7, {"travel": 7}, False),
        (2, 3, {"travel": 2}, True),
        (2, 7, {"other": 90}, True),
    ],
)
def test_a_domain_is_stale_after_three_usual_gaps(
    usual: int, silent: int, manual: dict[str, int], *, stale: bool
) -> None:
    """And four days at least; a limit by hand overrides it, shorter or longer."""
    row = {"domain": "travel", "last_on": day(0), "usual_gap_days": usual}
    found = gate.stale_domains([row], day(silent), packaged_rules()["DQ-04"], manual)
    assert bool(found) is stale
    assert all(one.silent_days == silent and one.domain == "travel" for one in found)


def test_a_domain_without_a_day_is_not_stale() -> None:
    row = {"domain": "travel", "last_on": None, "usual_gap_days": 1}
    assert gate.stale_domains([row], dt.date(2027, 1, 1), packaged_rules()["DQ-04"], {}) == []

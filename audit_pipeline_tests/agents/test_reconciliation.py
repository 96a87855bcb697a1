"""Reconciliation's rules, RC-01 to RC-08, each on a few rows."""

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_pipeline.model.query import Query
from audit_pipeline_tests.books_of import (
    Gold,
    Row,
    audited,
    bank_line,
    books_of,
    card_line,
    charged,
    day,
    findings,
    found_ids,
    holds_as_of,
    iso,
    ledger,
    receipt,
    rules_with,
    together,
)

slowly = settings(max_examples=12, deadline=None, derandomize=True)


def later(number: int) -> Gold:
    """Rows of every kind dated that day, which an earlier audit must not see."""
    return {
        "recent_transactions": [
            ledger(f"later-{number}", "77.00", "LATER", day(number)),
            ledger(f"later-bank-{number}", "78.00", "LATER", day(number), "bank"),
        ],
        "credit_cards": [card_line(f"later-{number}", "77.00", "LATER", day(number))],
        "bank_accounts": [bank_line(f"later-bank-{number}", "78.00", "LATER", day(number))],
        "receipts": [receipt(f"later-r-{number}", "77.00", "LATER", day(number))],
    }


# ── RC-05: ledger and statement disagree ──────────────────────────────────────────────────────────


def two_amounts(in_ledger: str, on_statement: str) -> Gold:
    return {
        "recent_transactions": [ledger("a", in_ledger, "ACME", day(5))],
        "credit_cards": [card_line("a", on_statement, "ACME", day(5))],
    }


@pytest.mark.parametrize(
    ("in_ledger", "on_statement", "shape"),
    [
        ("100.00", "100.01", "another amount"),
        ("123.45", "132.45", "two digits that changed places"),
        ("100.00", "10.00", "a slipped decimal point"),
        ("1.00", "100.00", "a slipped decimal point"),
        ("100.00", "-100.00", "the sign"),
        ("1000.00", "1.00", "another amount"),
        ("0.00", "5.00", "another amount"),
        ("99.99", "100.08", "another amount"),
    ],
)
def test_rc05_finds_another_amount_and_says_what_it_looks_like(
    in_ledger: str, on_statement: str, shape: str
) -> None:
    (hit,) = findings("RC-05", two_amounts(in_ledger, on_statement), day(5))
    assert hit.facts["shape"] == shape
    assert hit.measured == abs(Decimal(in_ledger) - Decimal(on_statement))
    assert hit.facts["difference"] == str(Decimal(in_ledger) - Decimal(on_statement))


def test_rc05_is_silent_where_the_amounts_agree() -> None:
    assert findings("RC-05", two_amounts("100.00", "100.00"), day(5)) == []
    assert findings("RC-05", {}, day(5)) == []


@pytest.mark.parametrize(("difference_min", "found"), [(9.99, True), (10, True), (10.01, False)])
def test_rc05_counts_from_the_threshold_on(difference_min: float, *, found: bool) -> None:
    rules = rules_with(RC_05__difference_min=difference_min)
    hits = findings("RC-05", two_amounts("100.00", "110.00"), day(5), rules=rules)
    assert bool(hits) is found


def test_rc05_is_known_once_both_sides_are() -> None:
    """On the later of the two days, and the same whatever is dated after it."""
    gold = two_amounts("100.00", "90.00")
    gold["credit_cards"][0]["date"] = iso(day(7))
    assert found_ids("RC-05", gold, day(5)) == []
    (hit,) = holds_as_of("RC-05", gold, day(7), later(8))
    assert hit.transaction_id == "a"


def test_rc05_compares_with_the_first_copy_of_a_line() -> None:
    """A second line of the same id, or one without an amount, is no statement line."""
    gold = two_amounts("100.00", "100.00")
    gold["credit_cards"] += [
        card_line("a", "55.00", "ACME", day(6)),
        card_line("a", None, "ACME", day(4)),
        card_line(None, "1.00", "ACME", day(4)),
    ]
    assert findings("RC-05", gold, day(0), day(20)) == []


def test_rc05_reads_either_sign_of_a_bank_statement() -> None:
    """Money out is negative on this statement; a refund is the one line that is not."""
    gold = {
        "recent_transactions": [
            ledger("b1", "100.00", "RENT", day(5), "bank"),
            ledger("b2", "50.00", "POWER", day(5), "bank"),
            ledger("b3", "-20.00", "REFUND", day(5), "bank"),
        ],
        "bank_accounts": [
            bank_line("b1", "-100.00", "RENT", day(5)),
            bank_line("b2", "-51.00", "POWER", day(5)),
            bank_line("b3", "20.00", "REFUND", day(5), "refund"),
        ],
    }
    (hit,) = findings("RC-05", gold, day(5))
    assert hit.transaction_id == "b2"
    assert hit.facts["statement_amount"] == "51.00"


def slip(ledger_cents: int, statement_cents: int) -> str | None:
    """RC-05 in plain Python."""
    if ledger_cents == statement_cents:
        return None
    if ledger_cents == -statement_cents:
        return "the sign"
    if any(
        big == times * small
        for times in (10, 100)
        for big, small in (
            (ledger_cents, statement_cents),
            (statement_cents, ledger_cents),
        )
    ):
        return "a slipped decimal point"
    same_length = len(str(ledger_cents)) == len(str(statement_cents))
    if same_length and (ledger_cents - statement_cents) % 9 == 0:
        return "two digits that changed places"
    return "another amount"


@slowly
@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.integers(-2, 40) | st.sampled_from([100, 1000, 123, 132]),
            st.integers(0, 3),
            st.integers(-2, 40) | st.sampled_from([100, 1000, 123, 132]),
        ),
        max_size=12,
    )
)
def test_rc05_is_what_a_dozen_lines_of_python_find(rows: list[tuple[int, int, int, int]]) -> None:
    gold: Gold = {"recent_transactions": [], "credit_cards": []}
    expected = {}
    for n, (on, cents, line_on, line_cents) in enumerate(rows):
        entry = ledger(f"t{n}", f"{Decimal(cents) / 100}", "ACME", day(on))
        gold["recent_transactions"].append(entry)
        gold["credit_cards"].append(
            card_line(f"t{n}", f"{Decimal(line_cents) / 100}", "ACME", day(line_on))
        )
        shape = slip(cents, line_cents)
        if shape is not None and 1 <= max(on, line_on) <= 2:
            expected[day(max(on, line_on)), f"t{n}"] = shape
    hits = findings("RC-05", gold, day(1), day(2))
    assert {(h.audit_on, h.transaction_id): h.facts["shape"] for h in hits} == expected


# ── RC-03 and RC-04: one side only ────────────────────────────────────────────────────────────────


def one_sided() -> Gold:
    """`gone` has no statement line and `extra` no ledger entry; day 0 has a pair of both."""
    return together(
        charged(ledger("pair", "10.00", "ZEBRA", day(0))),
        {
            "recent_transactions": [ledger("gone", "500.00", "ACME", day(5))],
            "credit_cards": [card_line("extra", "900.00", "OTHER", day(5))],
        },
    )


def test_rc03_and_rc04_wait_ten_days() -> None:
    """The audit of day 15 asks for the entries and the lines of day 5, once."""
    for rule_id, name in (("RC-03", "gone"), ("RC-04", "extra")):
        hits = findings(rule_id, one_sided(), day(0), day(40))
        assert [(h.audit_on, h.transaction_id) for h in hits] == [(day(15), name)]
        assert holds_as_of(rule_id, one_sided(), day(15), later(16)) == hits
        assert found_ids(rule_id, one_sided(), day(14)) == []
        assert found_ids(rule_id, one_sided(), day(16)) == []


@pytest.mark.parametrize(("line_on", "found"), [(15, False), (16, True)])
def test_rc03_accepts_a_line_until_the_audit_date(line_on: int, *, found: bool) -> None:
    """The entry's own id on the statement, up to ten days later."""
    gold = one_sided()
    gold["credit_cards"].append(card_line("gone", "500.00", "ACME", day(line_on)))
    assert (found_ids("RC-03", gold, day(15)) == ["gone"]) is found


@pytest.mark.parametrize(("entry_on", "found"), [(15, False), (16, True)])
def test_rc04_accepts_an_entry_until_the_audit_date(entry_on: int, *, found: bool) -> None:
    gold = one_sided()
    gold["recent_transactions"].append(ledger("extra", "900.00", "OTHER", day(entry_on)))
    assert (found_ids("RC-04", gold, day(15)) == ["extra"]) is found


@pytest.mark.parametrize(
    ("amount", "name", "line_on", "found"),
    [
        ("500.00", "ACME INC", 8, False),
        ("500.00", "ACME INC", 9, True),
        ("500.00", "ACME INC", 2, False),
        ("500.00", "ACME INC", 1, True),
        ("500.00", "WHOLLY DIFFERENT", 5, False),
        ("500.00", "WHOLLY DIFFERENT", 8, True),
        ("510.00", "ACME INC", 5, False),
        ("560.00", "ACME INC", 5, True),
    ],
)
def test_rc03_and_rc04_see_the_same_payment_under_another_id(
    amount: str, name: str, line_on: int, *, found: bool
) -> None:
    """Exact amount within three days at the vendor, on the day at any; 2 % off at the vendor."""
    gold = one_sided()
    gold["credit_cards"] = [
        *gold["credit_cards"][:1],
        card_line("other-id", amount, name, day(line_on)),
    ]
    assert (found_ids("RC-03", gold, day(0), day(40)) == ["gone"]) is found
    assert (found_ids("RC-04", gold, day(0), day(40)) == ["other-id"]) is found


def test_a_line_pays_for_one_entry_only() -> None:
    gold = one_sided()
    gold["recent_transactions"].append(ledger("gone-too", "500.00", "ACME", day(5)))
    gold["credit_cards"].append(card_line("other-id", "500.00", "ACME", day(5)))
    assert len(found_ids("RC-03", gold, day(15))) == 1


def test_rc03_asks_only_where_the_statement_has_lines_by_then() -> None:
    """No card statement before day 6, or none at all, says nothing of day 5."""
    entry = {"recent_transactions": [ledger("gone", "500.00", "ACME", day(5))]}
    assert findings("RC-03", entry, day(15)) == []
    for first_on, found in ((5, True), (6, False)):
        gold = together(entry, {"credit_cards": [card_line("x", "1.00", "ZEBRA", day(first_on))]})
        assert bool(findings("RC-03", gold, day(15))) is found
    assert findings("RC-03", {}, day(15)) == []


def test_rc04_asks_only_where_the_ledger_keeps_that_source() -> None:
    """A ledger without bank entries by then says nothing of bank lines."""
    gold = together(one_sided(), {"bank_accounts": [bank_line("b", "900.00", "RENT", day(5))]})
    assert found_ids("RC-04", gold, day(15)) == ["extra"]
    for first_on, found in ((5, True), (6, False)):
        entry = ledger("rent", "1.00", "POWER", day(first_on), "bank")
        with_bank = together(gold, {"recent_transactions": [entry]})
        assert ("b" in found_ids("RC-04", with_bank, day(15))) is found
    assert findings("RC-04", {}, day(15)) == []


def test_a_quarantined_entry_is_still_in_the_ledger() -> None:
    """Its statement line is no orphan, whether the gate or the reader set the entry aside."""
    gold = one_sided()
    gold["recent_transactions"].append(ledger("extra", None, "OTHER", day(5)))
    assert found_ids("RC-04", gold, day(15)) == []
    gold["recent_transactions"][-1] = ledger("extra", "no money", "OTHER", day(5))
    assert found_ids("RC-04", gold, day(15)) == []


def test_incomplete_lines_and_copies_are_no_statement_lines() -> None:
    gold = one_sided()
    gold["credit_cards"] += [
        card_line("extra", "900.00", "OTHER", day(6)),
        card_line("no-amount", None, "OTHER", day(5)),
        card_line("no-card", "12.00", "OTHER", day(5), None),
        card_line("no-vendor", "12.00", None, day(5)),
        card_line(None, "12.00", "OTHER", day(5)),
    ]
    hits = findings("RC-04", gold, day(0), day(40))
    assert [(h.audit_on, h.transaction_id) for h in hits] == [(day(15), "extra")]


def test_a_bank_line_without_a_payee_is_still_matched_by_its_amount_and_day() -> None:
    gold = {
        "recent_transactions": [
            ledger("first", "1.00", "POWER", day(0), "bank"),
            ledger("gone", "500.00", "RENT", day(5), "bank"),
        ],
        "bank_accounts": [
            bank_line("first", "1.00", "POWER", day(0)),
            bank_line("other-id", "500.00", None, day(5)),
        ],
    }
    assert findings("RC-03", gold, day(15)) == []
    assert findings("RC-04", gold, day(15)) == []


@pytest.mark.parametrize("rule_id", ["RC-03", "RC-04"])
def test_a_counterpart_that_gets_its_own_counterpart_later_counts_until_then(rule_id: str) -> None:
    """The audit of day 15 matched the two; an entry and a line of day 16 do not undo that."""
    gold = one_sided()
    gold["credit_cards"][1] = card_line("extra", "500.00", "ACME", day(5))
    news = {
        "recent_transactions": [ledger("extra", "500.00", "ACME", day(16))],
        "credit_cards": [card_line("gone", "500.00", "ACME", day(16))],
    }
    assert holds_as_of(rule_id, gold, day(15), news) == []


sided = st.lists(
    st.tuples(
        st.integers(0, 12), st.integers(0, 14), st.sampled_from(["both", "ledger", "line", "twin"])
    ),
    max_size=12,
)


@slowly
@given(sided)
def test_rc03_and_rc04_are_what_a_dozen_lines_of_python_find(
    rows: list[tuple[int, int, str]],
) -> None:
    """Amounts far apart, so that an entry fits its own line or its twin under another id only."""
    gold = charged(ledger("first", "1.00", "ZEBRA", day(0)))
    no_line, no_entry = set(), set()
    for n, (on, line_on, kind) in enumerate(rows):
        amount = f"{10 * 2**n}.00"
        line_id = f"l{n}" if kind in ("line", "twin") else f"t{n}"
        if kind != "line":
            gold["recent_transactions"].append(ledger(f"t{n}", amount, "ACME", day(on)))
        if kind != "ledger":
            gold["credit_cards"].append(card_line(line_id, amount, "ACME", day(line_on)))
        is_twin = kind == "twin" and abs(on - line_on) <= 3
        if kind != "line" and not (is_twin or (kind == "both" and line_on <= on + 10)):
            no_line.add((day(on + 10), f"t{n}"))
        if kind != "ledger" and not (is_twin or (kind == "both" and on <= line_on + 10)):
            no_entry.add((day(line_on + 10), line_id))
    with books_of(gold, day(12), day(20)) as books:
        for rule_id, expected in (("RC-03", no_line), ("RC-04", no_entry)):
            found = {(h.audit_on, h.transaction_id) for h in audited(rule_id, books)}
            assert found == {key for key in expected if day(12) <= key[0] <= day(20)}


# ── statements: RC-01, RC-02, RC-06 ───────────────────────────────────────────────────────────────


def card_charges(
    days: range, card: str = "**** 1111", name: str = "c", cents: int = 0
) -> Iterator[Row]:
    """One charge a day whose amounts are powers of two of a cent."""
    for n, at in enumerate(days):
        amount = f"{Decimal(1 << (cents + n)) / 100:.2f}"
        yield ledger(f"{name}{at:03}", amount, f"SHOP {chr(65 + n % 26)}x", day(at))


def total(*charges: Row) -> Decimal:
    return sum((Decimal(c["amount"]) for c in charges), Decimal(0))


def paid_card(less: Decimal = Decimal(0), upto: int = 74) -> Gold:
    """A card that closes on the 15th, paid on the 25th; the payment of March is less by so much.

    Days: 14 is January 15, 45 February 15, 73 March 15; payments on days 24, 55 and 83. The amounts
    begin anew after February, lest they outgrow the table.
    """
    charges = [*card_charges(range(45)), *card_charges(range(45, upto), cents=2)]
    gold = charged(*charges)
    bills = [charges[:15], charges[15:46], charges[46:74]]
    gold["bank_accounts"] = [
        bank_line(
            f"pay{n}",
            -(total(*bill) - (less if n == 2 else 0)),
            "CARD PAYMENT 1111",
            day(at),
            "card_payment",
        )
        for n, (at, bill) in enumerate(zip((24, 55, 83), bills, strict=True))
    ]
    return gold


def statement_rows(gold: Gold, to: int) -> list[dict[str, object]]:
    with books_of(gold, day(0), day(to)) as books:
        books.need("statements")
        return books.warehouse.rows(Query("SELECT * FROM audit.statements ORDER BY payment_on"))


def test_payments_of_exact_sums_settle() -> None:
    rows = statement_rows(paid_card(), 90)
    assert [(row["payment_id"], row["status"], row["lines"]) for row in rows] == [
        ("pay0", "settled", 15),
        ("pay1", "settled", 31),
        ("pay2", "settled", 28),
    ]
    assert all(row["difference"] == 0 and row["paid"] == row["lines_total"] for row in rows)
    for rule_id in ("RC-01", "RC-02", "RC-06"):
        assert findings(rule_id, paid_card(), day(0), day(140)) == []


def test_rc02_names_the_charge_that_a_payment_left_out() -> None:
    """On the payment's day, with the difference to the cent; RC-06 is silent then."""
    left_out = Decimal("655.36")
    gold = paid_card(left_out)
    expected = next(c for c in gold["recent_transactions"][46:] if c["amount"] == str(left_out))
    (hit,) = holds_as_of("RC-02", gold, day(83), later(84))
    assert hit.transaction_id == expected["txn_id"]
    assert hit.measured == left_out
    assert hit.facts["payment_id"] == "pay2"
    assert (hit.facts["set_size"], hit.facts["rivals"], hit.facts["lines"]) == ("1", "0", "28")
    assert hit.cells["paid"] == ("gold.bank_accounts.amount", "pay2")
    assert hit.cells["amount"] == ("gold.credit_cards.amount", hit.transaction_id)
    assert found_ids("RC-02", gold, day(0), day(120)) == [hit.transaction_id]
    assert findings("RC-06", gold, day(0), day(120)) == []


def test_rc02_names_up_to_three_charges() -> None:
    """Three of them; four are no explanation but RC-06."""
    three = Decimal("655.36") + Decimal("1310.72") + Decimal("2621.44")
    assert len(found_ids("RC-02", paid_card(three), day(83))) == 3
    four = three + Decimal("5242.88")
    assert findings("RC-02", paid_card(four), day(83)) == []
    (hit,) = holds_as_of("RC-06", paid_card(four), day(83), later(84))
    assert (hit.transaction_id, hit.measured, hit.facts["card"]) == ("pay2", four, "1111")


def test_rc06_finds_an_overpayment() -> None:
    """By a cent as well; what was charged is no reason then."""
    (hit,) = findings("RC-06", paid_card(Decimal("-0.01")), day(0), day(120))
    assert (hit.audit_on, hit.transaction_id, hit.measured) == (day(83), "pay2", Decimal("0.01"))
    assert hit.facts["difference"] == "-0.01"
    assert findings("RC-02", paid_card(Decimal("-0.01")), day(0), day(120)) == []


@pytest.mark.parametrize("rule_id", ["RC-01", "RC-02", "RC-06"])
def test_without_statements_nothing_is_claimed(rule_id: str) -> None:
    charge = ledger("a", "10.00", "ACME", day(0))
    assert findings(rule_id, {}, day(60)) == []
    assert findings(rule_id, charged(charge), day(60)) == []
    assert findings(rule_id, {"recent_transactions": [charge]}, day(60)) == []
    odd = [
        bank_line("p", None, "CARD PAYMENT 1111", day(5), "card_payment"),
        bank_line("q", "10.00", None, day(5), "card_payment"),
        bank_line("r", "10.00", "CARD PAYMENT 1111", None, "card_payment"),
        bank_line("s", "10.00", "CARD PAYMENT 1111", day(5), None),
    ]
    gold = together(charged(charge), {"bank_accounts": odd})
    assert findings(rule_id, gold, day(0), day(60), as_of=day(60)) == []


def test_a_payment_that_the_bank_shows_twice_is_one() -> None:
    gold = paid_card(Decimal("655.36"))
    gold["bank_accounts"].append({**gold["bank_accounts"][2], "date": iso(day(84))})
    assert len(findings("RC-02", gold, day(0), day(120))) == 1


# ── RC-01: charges that nothing pays ──────────────────────────────────────────────────────────────


def unpaid(on: int = 90, reach: int = 100) -> Gold:
    """A charge of day 90, after the last statement that was paid; the bank goes on to day 100."""
    return together(
        paid_card(),
        charged(ledger("open", "4000.00", "HARBOUR", day(on))),
        {"bank_accounts": [bank_line("rent", "-70.00", "LANDLORD", day(reach))]},
    )


def test_rc01_finds_a_charge_that_no_payment_covers_after_sixty_days() -> None:
    """On the sixtieth day, once, the same whatever comes later."""
    hits = findings("RC-01", unpaid(), day(60), day(200))
    assert [(h.audit_on, h.transaction_id) for h in hits] == [(day(150), "open")]
    assert hits[0].facts["days_open"] == "60"
    assert hits[0].measured == 60
    assert holds_as_of("RC-01", unpaid(), day(150), later(151)) == hits


def test_rc01_asks_only_of_days_that_the_bank_reaches() -> None:
    """A bank statement that ends before the charge cannot pay it."""
    assert found_ids("RC-01", unpaid(reach=90), day(150)) == ["open"]
    assert found_ids("RC-01", unpaid(reach=89), day(150)) == []


def test_rc01_reach_is_that_of_the_audit_date() -> None:
    """A bank line dated after the audit does not open the question for that day."""
    news = {"bank_accounts": [bank_line("late", "-70.00", "LANDLORD", day(151))]}
    assert holds_as_of("RC-01", unpaid(reach=89), day(150), news) == []


@pytest.mark.parametrize(("paid_on", "found"), [(90, False), (93, False), (94, True)])
def test_rc01_accepts_a_bank_line_of_its_own(paid_on: int, *, found: bool) -> None:
    """Within three days, at the vendor."""
    gold = unpaid()
    gold["bank_accounts"].append(bank_line("own", "-4000.00", "HARBOUR", day(paid_on)))
    assert bool(found_ids("RC-01", gold, day(150))) is found


def test_rc01_asks_of_charges_with_a_card_only() -> None:
    """A refund, a zero, an entry without a card and a bank entry need no payment."""
    gold = together(
        unpaid(),
        charged(
            ledger("refund", "-5.00", "HARBOUR", day(91)), ledger("zero", "0.00", "X", day(91))
        ),
        {
            "recent_transactions": [
                ledger("no-card", "4000.00", "ELSEWHERE", day(91)),
                ledger("bank", "4000.00", "ELSEWHERE", day(91), "bank"),
            ]
        },
    )
    assert found_ids("RC-01", gold, day(60), day(200)) == ["open"]


def test_rc01_asks_of_a_card_whose_statements_are_known() -> None:
    """Another card that nobody was seen to pay is not asked about."""
    gold = together(
        unpaid(), charged(ledger("else", "90.00", "HARBOUR", day(91)), card="**** 2222")
    )
    assert found_ids("RC-01", gold, day(60), day(200)) == ["open"]


def test_rc01_of_a_day_does_not_know_how_the_card_is_paid_later() -> None:
    """A card whose first statement is known after the audit date is not asked about before."""
    charges = list(card_charges(range(40)))
    payment = bank_line("pay", -total(*charges[15:]), "CARD PAYMENT 1111", day(101), "card_payment")
    gold = together(
        charged(*charges, ledger("open", "4000.00", "HARBOUR", day(40))),
        {"bank_accounts": [bank_line("rent", "-70.00", "LANDLORD", day(60))]},
    )
    assert holds_as_of("RC-01", gold, day(100), {"bank_accounts": [payment]}) == []


def test_rc01_says_it_once_of_a_card_paid_in_two_ways() -> None:
    """By payments that name the card and by one bill of all cards, both of them exact."""
    gold = unpaid()
    bill = [c for c in gold["credit_cards"] if day(45) < dt.date.fromisoformat(c["date"]) < day(74)]
    gold = together(gold, charged(ledger("other-card", "3.00", "ZEBRA", day(60)), card="**** 2222"))
    everything = total(*bill) + 3
    gold["bank_accounts"].append(
        bank_line("all", -everything, "CARDS AUTOPAY", day(84), "card_payment")
    )
    assert {row["status"] for row in statement_rows(gold, 90)} == {"settled"}
    assert found_ids("RC-01", gold, day(60), day(200)) == ["open"]


# ── RC-08: where charges are paid one by one ──────────────────────────────────────────────────────


def alone_payments(reach: int = 30) -> Gold:
    """Charges paid one by one by bank lines of their own, and `open` of day 20, which is not."""
    charges = [ledger(f"c{n}", f"{100 + 37 * n}.00", f"SHOP {n}", day(5 * n)) for n in range(4)]
    gold = charged(*charges, ledger("open", "4000.00", "HARBOUR", day(20)))
    gold["bank_accounts"] = [
        bank_line(f"b{n}", f"{-(100 + 37 * n)}.00", f"SHOP {n}", day(5 * n + 1)) for n in range(4)
    ]
    gold["bank_accounts"].append(bank_line("rent", "-70.00", "LANDLORD", day(reach)))
    return gold


def test_rc08_finds_the_charge_that_no_bank_line_matches() -> None:
    """After seven days, once, the same whatever comes later; RC-01 leaves it alone."""
    hits = findings("RC-08", alone_payments(), day(0), day(200))
    assert [(h.audit_on, h.transaction_id) for h in hits] == [(day(27), "open")]
    assert holds_as_of("RC-08", alone_payments(), day(27), later(28)) == hits
    assert findings("RC-01", alone_payments(), day(0), day(200)) == []


@pytest.mark.parametrize(
    ("amount", "paid_on", "found"),
    [
        ("-4000.00", 23, False),
        ("-4000.00", 24, True),
        ("-4000.00", 17, False),
        ("-4000.00", 16, True),
        ("-4080.00", 20, False),
        ("-4300.00", 20, True),
    ],
)
def test_rc08_accepts_a_line_within_the_window(amount: str, paid_on: int, *, found: bool) -> None:
    gold = alone_payments()
    gold["bank_accounts"].append(bank_line("own", amount, "HARBOUR", day(paid_on)))
    assert bool(found_ids("RC-08", gold, day(27))) is found


def test_rc08_asks_only_where_such_a_match_was_seen() -> None:
    """No bank line, none that pays a charge, or none before the audit date."""
    gold = alone_payments()
    assert findings("RC-08", {**gold, "bank_accounts": []}, day(0), day(90)) == []
    assert findings("RC-08", {}, day(0), day(90)) == []
    only_rent = {**gold, "bank_accounts": gold["bank_accounts"][-1:]}
    assert holds_as_of("RC-08", only_rent, day(27), {}) == []


@pytest.mark.parametrize(("charged", "found"), [(40, True), (41, False)])
def test_rc08_asks_only_while_the_bank_feed_lives(charged: int, *, found: bool) -> None:
    """A last bank line on day 16 answers audits up to 31 days later, and none after that."""
    gold = alone_payments(reach=16)
    far = ledger("far", "777.00", "HARBOUR", day(charged))
    gold["recent_transactions"].append(far)
    assert ("far" in found_ids("RC-08", gold, day(charged + 7))) is found
    news = {"bank_accounts": [bank_line("late", "-70.00", "LANDLORD", day(charged + 8))]}
    hits = holds_as_of("RC-08", gold, day(charged + 7), news)
    assert ("far" in [hit.transaction_id for hit in hits]) is found


def test_rc08_of_a_day_does_not_know_how_the_card_is_paid_later() -> None:
    """A first card payment after the audit date changes nothing, alone or within a range."""
    payment = bank_line("pay", "-1.00", "CARD PAYMENT 1111", day(40), "card_payment")
    (hit,) = holds_as_of("RC-08", alone_payments(), day(27), {"bank_accounts": [payment]})
    assert hit.transaction_id == "open"


# ── RC-07: above its own receipt ──────────────────────────────────────────────────────────────────


def tipped(share: str, seen: int = 30, tip: str = "0.10") -> Gold:
    """So many lunches of January with receipts, and one in February above its receipt."""
    gold: Gold = {"recent_transactions": [], "credit_cards": [], "receipts": []}
    rows = [(n, 20 + 3 * n, n % 25, Decimal(tip)) for n in range(seen)]
    for n, base, at, above in [*rows, (99, 700, 40, Decimal(share))]:
        amount = f"{base * (1 + above):.2f}"
        more = charged(
            ledger(f"t{n}", amount, f"CAFE {chr(65 + n % 26)}", day(at)), category="food"
        )
        more["receipts"] = [receipt(f"r{n}", base, f"CAFE {chr(65 + n % 26)}", day(at))]
        gold = together(gold, more)
    return gold


@pytest.mark.parametrize(("share", "found"), [("0.12", False), ("0.13", True)])
def test_rc07_is_above_custom_by_more_than_the_margin(share: str, *, found: bool) -> None:
    """Custom is 10 % and the margin two: 12 % is in it."""
    hits = findings("RC-07", tipped(share), day(0), day(90))
    assert [(h.audit_on, h.transaction_id) for h in hits] == ([(day(43), "t99")] if found else [])
    for hit in hits:
        assert hit.facts["receipt_amount"] == "700.00"
        assert hit.measured == Decimal(share)
        assert hit.threshold == Decimal("0.12")


def test_rc07_holds_as_of_its_day() -> None:
    assert holds_as_of("RC-07", tipped("0.13"), day(43), later(44))


@pytest.mark.parametrize(("seen", "found"), [(29, False), (30, True)])
def test_rc07_needs_thirty_charges_to_know_a_custom(seen: int, *, found: bool) -> None:
    assert bool(findings("RC-07", tipped("0.13", seen), day(43))) is found


def test_rc07_is_silent_below_a_receipt_and_without_any() -> None:
    """A charge below its receipt is no tip; no receipts, no custom."""
    assert findings("RC-07", tipped("-0.02"), day(0), day(90)) == []
    assert findings("RC-07", {}, day(0), day(90)) == []
    without = {
        **tipped("0.13"),
        "receipts": [receipt(None, 1, "X", day(1)), receipt("q", None, None, None)],
    }
    assert findings("RC-07", without, day(0), day(90), as_of=day(90)) == []


def test_rc07_compares_with_the_receipt_that_was_matched() -> None:
    """A second copy of a receipt's id, with another amount, changes nothing."""
    copies = {"receipts": [receipt("r99", "7.00", "CAFE V", day(44))]}
    assert holds_as_of("RC-07", tipped("0.02"), day(43), copies) == []
    (hit,) = holds_as_of("RC-07", tipped("0.13"), day(43), copies)
    assert hit.facts["receipt_amount"] == "700.00"


# ── hostile names ─────────────────────────────────────────────────────────────────────────────────

HOSTILE = "O'Neill \"; DROP TABLE audit.matches; -- {amount} {0} %s $from_on $1\nline 😀 \\ ’"


def test_a_hostile_name_is_data_all_the_way() -> None:
    """In the ledger, on the statement and as a payee."""
    gold = together(
        charged(ledger("pair", "10.00", HOSTILE, day(0))),
        {
            "recent_transactions": [
                ledger("gone", "500.00", HOSTILE, day(5)),
                ledger("'; --", "60.00", HOSTILE, day(5)),
            ],
            "credit_cards": [
                card_line("extra", "900.00", HOSTILE, day(5)),
                card_line("'; --", "61.00", HOSTILE, day(5), HOSTILE),
            ],
            "bank_accounts": [bank_line("pay", "900.00", HOSTILE, day(6), "card_payment")],
            "receipts": [receipt("r'", "500.00", HOSTILE, day(5), cardholder=HOSTILE)],
        },
    )
    for rule_id, name in (("RC-03", "gone"), ("RC-04", "extra"), ("RC-05", "'; --")):
        (hit,) = findings(rule_id, gold, day(0), day(20))
        assert hit.transaction_id == name
        assert hit.facts["vendor"] == HOSTILE
        assert hit.cells["vendor"][1] == name
    for rule_id in ("RC-01", "RC-02", "RC-06", "RC-07"):
        assert findings(rule_id, gold, day(0), day(90)) == []

"""Anomaly detection's rules, AN-01 to AN-09: habits, repeats, splits, scores."""

import datetime as dt
import math
import statistics
from collections import defaultdict
from decimal import Decimal
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_pipeline.agents.anomaly_detection import rules as anomaly_rules
from audit_pipeline.model.query import Query
from audit_pipeline_tests.books_of import (
    Gold,
    Row,
    audited,
    books_of,
    charged,
    day,
    findings,
    found_ids,
    holds_as_of,
    ledger,
    rules_with,
    together,
    vendor,
)

slowly = settings(max_examples=12, deadline=None, derandomize=True)
RULE_IDS = [detector.rule_id for detector in anomaly_rules.DETECTORS]


def at(number: int, hour: int = 0) -> dt.datetime:
    return dt.datetime.combine(day(number), dt.time(hour))


def series(days: list[int], amounts: list[str] | str, name: str = "LANDLORD") -> Gold:
    """Charges p0, p1, … of one card at one vendor."""
    texts = [amounts] * len(days) if isinstance(amounts, str) else amounts
    rows = zip(days, texts, strict=True)
    return charged(*(ledger(f"p{n}", text, name, day(on)) for n, (on, text) in enumerate(rows)))


@pytest.mark.parametrize("rule_id", RULE_IDS)
def test_no_rows_and_incomplete_rows_make_no_findings(rule_id: str) -> None:
    """Nothing, nulls in every column, a refund, a zero and one ordinary charge."""
    assert findings(rule_id, {}, day(0), day(30)) == []
    gold = together(
        charged(ledger("ok", "9.00", "CAFE", day(1)), ledger("refund", "-9.00", "CAFE", day(2))),
        {
            "recent_transactions": [
                ledger(None, "9.00", "CAFE", day(1)),
                ledger("n1", None, "CAFE", day(1)),
                ledger("n2", "9.00", None, day(1)),
                ledger("n3", "9.00", "CAFE", None),
                ledger("n4", "9.00", "CAFE", day(1), None),
                ledger("zero", "0.00", "CAFE", day(1)),
            ]
        },
    )
    assert findings(rule_id, gold, day(0), day(30), as_of=day(30)) == []


# ── AN-05: the same charge twice ──────────────────────────────────────────────────────────────────


def twice(apart: int = 2, first: str = "480.00", second: str = "480.00") -> Gold:
    return charged(
        ledger("one", first, "ACME", day(5)), ledger("two", second, "ACME", day(5 + apart))
    )


def test_an05_finds_the_second_charge_and_names_the_first() -> None:
    later = charged(*(ledger(f"l{n}", "480.00", "ACME", day(8 + n)) for n in range(4)))
    (hit,) = holds_as_of("AN-05", twice(), day(7), later)
    assert hit.transaction_id == "two"
    assert hit.facts["other_id"] == "one"
    assert hit.facts["days_apart"] == "2"
    assert hit.cells["other_id"] == ("gold.recent_transactions.txn_id", "one")
    assert hit.threshold == Decimal(5)


@pytest.mark.parametrize(
    ("gold", "found"),
    [
        (twice(0), True),
        (twice(2), True),
        (twice(3), False),
        (twice(second="480.01"), False),
        (twice(first="20.00", second="20.00"), True),
        (twice(first="19.99", second="19.99"), False),
        (twice(first="-480.00", second="-480.00"), False),
    ],
)
def test_an05_is_the_same_amount_within_days_from_twenty_dollars(
    gold: Gold, *, found: bool
) -> None:
    assert (found_ids("AN-05", gold, day(0), day(20)) == ["two"]) is found


@pytest.mark.parametrize(("second", "repeats"), [("10:00:00", 1), ("10:00:01", 0)])
def test_a_repeat_is_within_a_week_to_the_second(second: str, repeats: int) -> None:
    gold = charged(
        ledger("one", "480.00", "ACME", at(5, 10)), ledger("two", "480.00", "ACME", at(12, 10))
    )
    gold["recent_transactions"][1]["date"] = f"2026-01-13T{second}Z"
    with books_of(gold, day(0), day(20)) as books:
        books.need("repeats")
        assert books.warehouse.value(Query("SELECT count(*) FROM audit.repeats")) == repeats


def test_an05_is_about_one_card_and_one_vendor() -> None:
    """Another card, another vendor: no repeat. The same vendor spelled otherwise is one."""
    one = charged(ledger("one", "480.00", "ACME", day(5)))
    other_card = charged(ledger("two", "480.00", "ACME", day(6)), card="**** 2222")
    other_vendor = charged(ledger("two", "480.00", "ZEBRA", day(6)))
    spelled = charged(ledger("two", "480.00", "Acme, Inc. 12345", day(6)))
    assert found_ids("AN-05", together(one, other_card), day(6)) == []
    assert found_ids("AN-05", together(one, other_vendor), day(6)) == []
    assert found_ids("AN-05", together(one, spelled), day(6)) == ["two"]


def test_an05_leaves_a_copy_of_an_id_to_data_quality() -> None:
    gold = twice()
    gold["recent_transactions"][1]["txn_id"] = "one"
    assert findings("AN-05", gold, day(0), day(20)) == []


def test_an05_lets_a_shop_with_one_price_be() -> None:
    """What is always the same amount there, and often twice on end, is no coincidence."""
    days = [day(7 * n + extra) for n in range(12) for extra in (0, 1)]
    habit = charged(*(ledger(f"h{n}", "480.00", "ACME", on) for n, on in enumerate(days)))
    gold = together(habit, charged(ledger("two", "480.00", "ACME", day(78))))
    assert findings("AN-05", gold, day(78)) == []


def test_an05_finds_a_subscription_that_is_charged_twice() -> None:
    """One price, but never twice within the month before."""
    habit = charged(*(ledger(f"h{n}", "480.00", "ACME", day(30 * n)) for n in range(5)))
    gold = together(habit, charged(ledger("two", "480.00", "ACME", day(121))))
    assert found_ids("AN-05", gold, day(121)) == ["two"]


def test_one_earlier_duplicate_does_not_hide_the_next() -> None:
    rows = [(n, f"{40 + n}.17") for n in range(0, 60, 6)]
    gold = charged(
        *(ledger(f"n{on}", amount, "ACME", day(on)) for on, amount in rows),
        ledger("z-first", "46.17", "ACME", day(6)),
        ledger("z-second", "94.17", "ACME", day(54)),
    )
    assert found_ids("AN-05", gold, day(0), day(60)) == ["z-first", "z-second"]


def test_an09_is_an05_below_its_floor() -> None:
    gold = twice(1, first="7.50", second="7.50")
    assert found_ids("AN-05", gold, day(0), day(20)) == []
    assert found_ids("AN-09", gold, day(0), day(20)) == ["two"]
    assert found_ids("AN-09", twice(2, first="7.50", second="7.50"), day(0), day(20)) == ["two"]
    assert found_ids("AN-09", twice(3, first="7.50", second="7.50"), day(0), day(20)) == []
    assert found_ids("AN-09", twice(1, first="0.99", second="0.99"), day(0), day(20)) == []
    assert found_ids("AN-09", twice(1, first="20.00", second="20.00"), day(0), day(20)) == []


def priced_shop(*more: Row) -> Gold:
    """Four prices in turn, every day for eight weeks, no two days on end at the same hour."""
    prices = ("31.00", "42.00", "53.00", "64.00")
    return charged(
        *(ledger(f"h{n:02}", prices[n % 4], "KIOSK", at(n, (8, 13, 18)[n % 3])) for n in range(56)),
        *more,
    )


@pytest.mark.parametrize(
    ("when", "found"),
    [
        (at(55, 14), ["two"]),  # an hour after the first
        (at(55, 23), []),  # ten hours
    ],
)
def test_an05_finds_a_repeat_at_a_busy_shop_by_its_hour(
    when: dt.datetime, found: list[str]
) -> None:
    """Where the card is charged every day, but never twice in two hours."""
    assert found_ids("AN-05", priced_shop(ledger("two", "64.00", "KIOSK", when)), day(55)) == found


def test_an05_takes_the_later_row_of_two_at_one_instant() -> None:
    gold = charged(
        ledger("z-first", "480.00", "ACME", day(5)), ledger("a-second", "480.00", "ACME", day(5))
    )
    (hit,) = findings("AN-05", gold, day(5))
    assert (hit.transaction_id, hit.facts["other_id"]) == ("a-second", "z-first")


def test_a_few_earlier_duplicates_are_no_habit() -> None:
    """Of sixty charges of sixty amounts two were sent again: so is the third."""
    rows = [(n, f"{40 + n}.17") for n in range(60)]
    gold = charged(
        *(ledger(f"n{on}", amount, "ACME", at(on, 9)) for on, amount in rows),
        *(ledger(f"z{on}", f"{40 + on}.17", "ACME", at(on, 10)) for on in (20, 40, 59)),
    )
    assert found_ids("AN-05", gold, day(0), day(60)) == ["z20", "z40", "z59"]


Spent = tuple[int, int, str, str, int]
"""Day, hour, card, vendor, dollars."""


class Charges:
    """Rows in the order of time and ledger, and what AN-05 counts before one of them."""

    def __init__(self, rows: list[Spent]) -> None:
        self.rows = rows
        self.order = sorted(range(len(rows)), key=lambda n: (self.hour(n), n))

    def hour(self, n: int) -> int:
        return 24 * self.rows[n][0] + self.rows[n][1]

    def before(self, n: int, columns: slice) -> list[int]:
        """Earlier rows with the same values in these columns; the last is the nearest."""
        rows = self.rows
        return [
            m for m in self.order[: self.order.index(n)] if rows[m][columns] == rows[n][columns]
        ]

    def close(self, n: int, columns: slice) -> set[str]:
        """How a row follows those with the same values."""
        earlier = self.before(n, columns)
        if not earlier:
            return set()
        hours = self.hour(n) - self.hour(earlier[-1])
        days = self.rows[n][0] - self.rows[earlier[-1]][0]
        at_hour = hours <= 2 or any(
            22 <= self.hour(n) - self.hour(m) <= 26 or 46 <= self.hour(n) - self.hour(m) <= 50
            for m in earlier
        )
        within = hours <= 7 * 24 if columns == SAME else days <= 7
        named = {"hour": at_hour, "soon": days <= 2, "week": within}
        return {name for name, is_so in named.items() if is_so}


SAME, PAIR, VENDOR = slice(2, 5), slice(2, 4), slice(3, 4)


def repeat_bits(rows: list[Spent]) -> dict[str, float]:
    """The formula in plain Python; ids are in the order of the ledger."""
    charges = Charges(rows)
    repeats = {n: charges.close(n, SAME) for n in range(len(rows))}
    near = {n: charges.close(n, PAIR) for n in range(len(rows))}
    bits: dict[str, float] = {}
    for n in range(len(rows)):
        if "week" not in repeats[n]:
            continue
        kind = next(k for k in ("hour", "soon", "week") if k in repeats[n])
        pair, vendor_rows = charges.before(n, PAIR), charges.before(n, VENDOR)
        same = charges.before(n, SAME)
        window = [
            m
            for m in range(len(rows))
            if m != n and rows[m][PAIR] == rows[n][PAIR]
            and 0 <= charges.hour(n) - charges.hour(m) <= 7 * 24
        ]  # fmt: skip
        near_same = sum(rows[m][SAME] == rows[n][SAME] for m in window)
        same_at_vendor = sum(rows[m][4] == rows[n][4] for m in vendor_rows)

        def shrunk(of_pair: float, of_vendor: float, prior: float, out: int = 0) -> float:
            usual = (of_vendor + 5 * prior) / (max(len(vendor_rows) - out, 0) + 5)  # noqa: B023
            return (of_pair + 5 * usual) / (max(len(pair) - out, 0) + 5)  # noqa: B023

        share = shrunk(
            max(len(same) - near_same, 0), max(same_at_vendor - near_same, 0), 0.02, len(window)
        )
        seen = [sum(kind in repeats[m] for m in some) for some in (pair, vendor_rows)]
        sent = [
            min(count, 1 + 0.03 * len(some))
            for count, some in zip(seen, (pair, vendor_rows), strict=True)
        ]
        close = [sum(kind in near[m] for m in some) for some in (pair, vendor_rows)]
        soon = shrunk(max(close[0] - sent[0], 0), max(close[1] - sent[1], 0), 0.05)
        habit = shrunk(seen[0] - sent[0], seen[1] - sent[1], 0.005)
        days = rows[n][0] - rows[same[-1]][0]
        times = 1 if days <= 2 else max(len(window), 1)
        chance = min(soon, 1) * (1 - (1 - min(share, 0.999999)) ** times)
        late = max(days - 1, 0) + (0 if kind == "hour" else 2)
        bits[f"t{n:02}"] = -math.log2(max(chance, min(habit, 1), 1e-6)) - late
    return bits


@slowly
@given(
    st.lists(
        st.tuples(
            st.integers(0, 20),
            st.sampled_from([0, 2, 3, 22]),
            st.sampled_from(["1111", "2222"]),
            st.sampled_from(["ACME", "ZEBRA"]),
            st.sampled_from([19, 20, 480]),
        ),
        max_size=30,
    )
)
def test_an05_bits_are_those_of_plain_python(rows: list[Spent]) -> None:
    gold = together(
        {"recent_transactions": []},
        *(
            charged(ledger(f"t{n:02}", amount, name, at(on, hour)), card=card)
            for n, (on, hour, card, name, amount) in enumerate(rows)
        ),
    )
    with books_of(gold, day(0), day(40)) as books:
        hits = {hit.transaction_id for hit in audited("AN-05", books)}
        table = books.warehouse.rows(Query("SELECT transaction_id, bits FROM audit.repeats"))
    expected = repeat_bits(rows)
    found = {str(row["transaction_id"]): row["bits"] for row in table}
    assert found == {name: pytest.approx(bits, abs=1e-4) for name, bits in expected.items()}
    dollars = {f"t{n:02}": row[4] for n, row in enumerate(rows)}
    assert hits == {
        name for name, bits in expected.items() if round(bits, 4) >= 5 and dollars[name] >= 20
    }


# ── AN-06: one purchase split ─────────────────────────────────────────────────────────────────────


def split(*amounts: str, apart: int = 1, history: int = 0) -> Gold:
    """So many charges of a card at a vendor from day 100 on, after some on single days before."""
    parts = [
        ledger(f"s{n}", text, "MOTORS", day(100 + n * apart)) for n, text in enumerate(amounts)
    ]
    before = [ledger(f"h{n}", "300.00", "MOTORS", day(97 - 5 * n)) for n in range(history)]
    return charged(*parts, *before)


@pytest.mark.parametrize(
    ("gold", "parts"),
    [
        (split("1250.00", "1250.00"), 2),
        (split("1250.00", "1249.99"), 0),
        (split("2499.99", "250.00"), 2),
        (split("2499.99", "249.99"), 0),
        (split("2500.00", "300.00"), 0),
        (split("1300.00", "1300.00", apart=2), 2),
        (split("1300.00", "1300.00", apart=3), 0),
        (split(*["600.00"] * 5, apart=0), 5),
        (split(*["600.00"] * 6, apart=0), 0),
        (split("1300.00", "1300.00", history=17), 2),
        (split("1300.00", "1300.00", history=18), 0),
        (split("1300.00"), 0),
    ],
)
def test_an06_is_parts_below_the_limit_that_reach_it_together(gold: Gold, parts: int) -> None:
    """Each at least a tenth, two to five within two days, where the card seldom buys."""
    hits = findings("AN-06", gold, day(100), day(120))
    assert len(hits) == parts
    assert {h.facts["parts"] for h in hits} <= {str(parts)}


def test_an06_waits_two_days_for_the_other_parts() -> None:
    gold = split("1300.00", "1300.00", apart=2)
    later = charged(ledger("next", "1300.00", "MOTORS", day(103)))
    (hit,) = holds_as_of("AN-06", gold, day(102), later)
    assert hit.transaction_id == "s0"
    assert hit.measured == Decimal(2600)
    assert found_ids("AN-06", gold, day(104)) == ["s1"]
    assert found_ids("AN-06", gold, day(103)) == []


def test_an06_keeps_to_card_charges_of_one_card() -> None:
    one = charged(ledger("s0", "1300.00", "MOTORS", day(100)))
    other = charged(ledger("s1", "1300.00", "MOTORS", day(100)), card="**** 2222")
    bank = {"recent_transactions": [ledger("s2", "1300.00", "MOTORS", day(100), "bank")]}
    assert findings("AN-06", together(one, other, bank), day(0), day(110)) == []


def test_an06_takes_another_limit() -> None:
    rules = rules_with(AN_06__limit=1000)
    gold = split("600.00", "400.00")
    assert findings("AN-06", gold, day(100), day(110)) == []
    assert len(findings("AN-06", gold, day(100), day(110), rules=rules)) == 2


def split_ids(rows: list[tuple[int, str, int]]) -> set[tuple[dt.date, str]]:
    """AN-06 in plain Python; rows are (day, vendor, dollars)."""
    parts = [(n, *row) for n, row in enumerate(rows) if 250 <= row[2] < 2500]
    found = set()
    for n, on, name, _ in parts:
        near = [a for _, d, v, a in parts if v == name and abs(d - on) <= 2]
        before = sum(v == name and 3 <= on - d <= 92 for _, d, v, _ in parts)
        if 2 <= len(near) <= 5 and sum(near) >= 2500 and before * 5 / 90 < 1:
            found.add((day(on + 2), f"t{n}"))
    return found


@slowly
@given(
    st.lists(
        st.tuples(
            st.integers(0, 12) | st.integers(90, 100),
            st.sampled_from(["MOTORS", "ZEBRA"]),
            st.sampled_from([249, 250, 1250, 1249, 2499, 2500]),
        ),
        max_size=30,
    )
)
def test_an06_is_what_plain_python_finds(rows: list[tuple[int, str, int]]) -> None:
    gold = charged(*(ledger(f"t{n}", f"{a}.00", v, day(on)) for n, (on, v, a) in enumerate(rows)))
    hits = findings("AN-06", gold, day(3), day(99))
    assert {(h.audit_on, h.transaction_id) for h in hits} == {
        key for key in split_ids(rows) if day(3) <= key[0] <= day(99)
    }


# ── AN-02 and AN-03: recurring payments ───────────────────────────────────────────────────────────

MONTHLY = [0, 30, 60, 90]


@pytest.mark.parametrize(
    ("last", "found"),
    [
        ("1050.00", False),
        ("1050.01", True),
        ("950.00", False),
        ("949.99", True),
        ("1000.00", False),
    ],
)
def test_an02_is_an_amount_off_by_more_than_five_percent(last: str, *, found: bool) -> None:
    gold = series(MONTHLY, ["1000.00", "1000.00", "1000.00", last])
    hits = findings("AN-02", gold, day(0), day(100))
    assert [(h.audit_on, h.transaction_id) for h in hits] == ([(day(90), "p3")] if found else [])
    for hit in hits:
        assert hit.facts["usual_amount"] == "1000.00"
        assert hit.facts["payments_before"] == "3"
        assert hit.cells["previous_id"][1] == "p2"


@pytest.mark.parametrize(("odd", "found"), [("1050.00", True), ("1050.01", False)])
def test_an02_asks_only_of_amounts_that_were_stable(odd: str, *, found: bool) -> None:
    """Earlier amounts may lie five per cent of the usual one apart."""
    gold = series(MONTHLY, ["1000.00", "1000.00", odd, "1500.00"])
    assert (found_ids("AN-02", gold, day(90)) == ["p3"]) is found


def test_an02_needs_three_payments_before() -> None:
    gold = series(MONTHLY[:3], ["1000.00", "1000.00", "1500.00"])
    assert findings("AN-02", gold, day(0), day(100)) == []


@pytest.mark.parametrize(
    ("payments", "found"),
    [(7, True), (6, False)],
)
def test_an02_is_not_blinded_by_one_late_and_one_changed_payment(
    payments: int, *, found: bool
) -> None:
    """Where six came before; with fewer, a median says too little."""
    days = [30 * n + (9 if n == 2 else 0) for n in range(payments)]
    amounts = ["1000.00"] * payments
    amounts[3], amounts[-1] = "1400.00", "1500.00"
    hits = findings("AN-02", series(days, amounts), day(30 * (payments - 1)), day(400))
    assert [h.transaction_id for h in hits] == ([f"p{payments - 1}"] if found else [])


def test_an02_tells_a_price_that_lasts_once() -> None:
    gold = series([30 * n for n in range(13)], ["1000.00"] * 6 + ["1200.00"] * 7)
    assert [h.transaction_id for h in findings("AN-02", gold, day(0), day(400))] == ["p6"]


def test_an02_asks_more_of_amounts_that_vary() -> None:
    """Six median deviations beyond the five per cent: here 1,000 and 20, so from 1,170 on."""
    usual = ["980.00", "1020.00", "1000.00", "1020.00", "980.00", "1000.00"]
    for last, found in (("1170.00", []), ("1170.01", ["p6"])):
        gold = series([30 * n for n in range(7)], [*usual, last])
        hits = findings("AN-02", gold, day(150), day(400))
        assert [h.transaction_id for h in hits] == found
        assert [h.threshold for h in hits] == [Decimal("0.17")] * len(found)


def test_an02_holds_as_of_its_day() -> None:
    gold = series(MONTHLY, ["1000.00", "1000.00", "1000.00", "1500.00"])
    later = charged(*(ledger(f"l{n}", "1500.00", "LANDLORD", day(91 + n)) for n in range(9)))
    (hit,) = holds_as_of("AN-02", gold, day(90), later)
    assert hit.measured == Decimal("0.5")


@pytest.mark.parametrize(("gap", "found"), [(33, False), (34, False), (35, True)])
def test_an03_is_later_than_the_tolerance(gap: int, *, found: bool) -> None:
    """12 % of thirty days are 3.6, which is four days."""
    gold = series([0, 30, 60, 60 + gap], "1000.00")
    hits = findings("AN-03", gold, day(0), day(120))
    assert [h.transaction_id for h in hits] == (["p3"] if found else [])
    for hit in hits:
        assert hit.measured == gap - 30
        assert hit.facts["days_late"] == str(gap - 30)
        assert hit.facts["usual_gap_days"] == "30"


@pytest.mark.parametrize(
    ("days", "amounts", "found"),
    [
        ([0, 6, 12, 24], ["9.00"] * 4, True),
        ([0, 5, 10, 24], ["9.00"] * 4, False),
        ([0, 30, 90], ["9.00"] * 3, False),
        ([0, 30, 60, 99], ["100.00", "100.00", "100.00", "115.00"], True),
        ([0, 30, 60, 99], ["100.00", "100.00", "100.00", "115.01"], False),
        ([0, 30, 60, 99], ["100.00", "100.00", "115.01", "100.00"], False),
        ([0, 30, 64, 103], ["9.00"] * 4, False),
        ([0, 30, 60, 99], ["-9.00"] * 4, False),
    ],
)
def test_an03_asks_only_where_there_is_a_habit(
    days: list[int], amounts: list[str], *, found: bool
) -> None:
    """Gaps of six days and more that hardly stray, amounts within fifteen per cent."""
    assert bool(findings("AN-03", series(days, amounts), day(0), day(120))) is found


def test_an03_holds_as_of_its_day() -> None:
    later = charged(*(ledger(f"l{n}", "1000.00", "LANDLORD", day(101 + n)) for n in range(9)))
    (hit,) = holds_as_of("AN-03", series([0, 30, 60, 100], "1000.00"), day(100), later)
    assert hit.transaction_id == "p3"


def lower_median(numbers: list[int]) -> int:
    return sorted(numbers)[(len(numbers) - 1) // 2]


def stray(numbers: list[int]) -> float:
    middle = statistics.median(numbers)
    return statistics.median(abs(number - middle) for number in numbers)


def recurring(rows: list[tuple[int, int]]) -> dict[str, set[str]]:
    """AN-02 and AN-03 in plain Python, over (day, cents) of one card and vendor."""
    order = sorted(range(len(rows)), key=lambda n: (rows[n][0], n))
    gap_of = {n: rows[n][0] - rows[m][0] for m, n in pairwise(order)}
    found: dict[str, set[str]] = {"AN-02": set(), "AN-03": set()}
    for place, n in enumerate(order):
        before = order[max(place - 6, 0) : place]
        gaps = [gap_of[m] for m in before if m in gap_of]
        amounts = [rows[m][1] for m in before]
        if len(gaps) < 2:
            continue
        usual_gap, usual, cents = lower_median(gaps), lower_median(amounts), rows[n][1]
        allowed = max(3, 0.12 * usual_gap)
        steady = max(max(gaps) - usual_gap, usual_gap - min(gaps)) <= allowed
        if usual_gap < 6 or not (steady or 2 * stray(gaps) <= allowed):
            continue
        spread, off, late = max(amounts) - min(amounts), abs(cents - usual), gap_of[n] - usual_gap
        off_both = min(off, abs(cents - amounts[-1]))
        stable = steady and spread <= 0.05 * usual
        robust = len(gaps) >= 5 and stray(amounts) <= 0.05 * usual
        moved = off_both > 0.05 * usual + 6 * stray(amounts)
        if (stable or robust) and moved and abs(late) <= 2 * allowed:
            found["AN-02"].add(f"t{n:02}")
        if not steady:
            continue
        limit = math.ceil(allowed + max(gaps) - usual_gap)
        if spread <= 0.15 * usual and off <= 0.15 * usual and late > limit:
            found["AN-03"].add(f"t{n:02}")
    return found


@slowly
@given(
    st.lists(
        st.tuples(
            st.sampled_from([6, 7, 7, 7, 8, 11, 12, 13, 30]),
            st.sampled_from([10_000, 10_000, 10_000, 10_500, 10_501, 11_500, 20_000]),
        ),
        min_size=3,
        max_size=16,
    )
)
def test_an02_and_an03_are_what_plain_python_finds(steps: list[tuple[int, int]]) -> None:
    rows, on = [], 0
    for gap, cents in steps:
        rows.append((on, cents))
        on += gap
    gold = charged(
        *(
            ledger(f"t{n:02}", f"{Decimal(cents) / 100}", "GYM", day(when))
            for n, (when, cents) in enumerate(rows)
        )
    )
    expected = recurring(rows)
    with books_of(gold, day(0), day(on)) as books:
        for rule_id, ids in expected.items():
            assert {hit.transaction_id for hit in audited(rule_id, books)} == ids


# ── profiles, distances and scores ────────────────────────────────────────────────────────────────

VENDORS = 12


@cache
def company(months: int = 3) -> tuple[Row, ...]:
    """A hundred charges a month of two cards at twelve vendors, from 40 to 60 dollars."""
    return tuple(
        ledger(
            f"u{n:04}",
            f"{40 + (n * 37) % 2000 / 100:.2f}",
            f"SHOP {'ABCDEFGHIJKL'[n % VENDORS]}",
            at(n * 30 // 100, 9 + n % 7),
        )
        for n in range(100 * months)
    )


def company_and(*more: Row) -> Gold:
    """The company of January to March, and charges of April (which begins on day 90)."""
    rows = company()
    return together(
        charged(*rows[::2], card="**** 1111", category="shops"),
        charged(*rows[1::2], card="**** 2222", category="shops"),
        charged(*more, card="**** 1111", category="shops"),
    )


def odd(amount: str, name: str = "SHOP A", txn_id: str = "odd", on: int = 95) -> Row:
    return ledger(txn_id, amount, name, at(on, 10))


NEWS = charged(
    *(ledger(f"n{n}", "9000.00", "SHOP A", day(96 + n)) for n in range(12)), category="shops"
)


@pytest.mark.parametrize("rule_id", ["AN-01", "AN-07"])
def test_an01_and_an07_find_a_charge_far_above_what_is_usual(rule_id: str) -> None:
    """And the same whatever is dated later; an ordinary charge is left alone."""
    gold = company_and(odd("5000.00"), odd("50.00", txn_id="plain"))
    (hit,) = holds_as_of(rule_id, gold, day(95), NEWS)
    assert hit.transaction_id == "odd"
    assert 40 < Decimal(hit.facts["usual_amount"]) < 60


@pytest.mark.parametrize(("amount", "found"), [("140.00", False), ("260.00", True)])
def test_an01_is_four_times_and_a_hundred_dollars_more(amount: str, *, found: bool) -> None:
    hits = findings("AN-01", company_and(odd(amount)), day(95))
    assert bool(hits) is found
    for hit in hits:
        usual = Decimal(hit.facts["usual_amount"])
        assert Decimal(amount) >= 4 * usual
        assert hit.facts["times_usual"] == f"{Decimal(amount) / usual:.1f}"
        assert hit.facts["vendor_charges"] == "25"


@pytest.mark.parametrize(("threshold", "found"), [(25, True), (26, False)])
def test_an01_needs_charges_to_compare_with(threshold: int, *, found: bool) -> None:
    rules = rules_with(AN_01__charges_min=threshold)
    assert bool(findings("AN-01", company_and(odd("900.00")), day(95), rules=rules)) is found


@pytest.mark.parametrize(("threshold", "found"), [(300, True), (301, False)])
def test_without_history_nothing_is_unusual(threshold: int, *, found: bool) -> None:
    """The company's charges before the month are 300."""
    rules = rules_with(AN_07__history_min=threshold)
    assert bool(findings("AN-07", company_and(odd("5000.00")), day(95), rules=rules)) is found


def test_an07_score_is_made_of_its_parts() -> None:
    """Bits that add up, a reason from 50 on, and a finding above 70; the forest among them."""
    gold = company_and(odd("5000.00"), odd("90.00", "BRAND NEW", "new"))
    with books_of(gold, day(90), day(99)) as books:
        books.need("scores")
        rows = books.warehouse.rows(Query("SELECT * FROM audit.scores"))
        hits = audited("AN-07", books)
        assert {on: made.charges for on, made in books.forests.items()} == {day(90): 300}
    assert {row["transaction_id"] for row in rows} == {"odd", "new"}
    for row in rows:
        parts = {k: float(str(v)) for k, v in row.items() if str(k).endswith("_bits")}
        assert len(parts) == 21
        assert sum(parts.values()) == pytest.approx(float(str(row["bits"])), abs=0.15)
        assert parts["forest_bits"] > 0
        assert bool(row["reasons"]) == (float(str(row["score"])) >= 50)
    assert {hit.transaction_id for hit in hits} == {
        row["transaction_id"] for row in rows if float(str(row["score"])) > 70
    }


def known_to(gold: Gold, on: int) -> list[tuple[str, int]]:
    """The charges that the scores of a day know (1) or judge (0)."""
    with books_of(gold, day(on), day(on)) as books:
        books.need("scores")
        rows = books.warehouse.rows(
            Query(
                "SELECT line.transaction_id, known.known FROM audit.known_charges AS known"
                " JOIN audit.timeline AS line ON line.id = known.id ORDER BY 2, 1"
            )
        )
    return [(str(row["transaction_id"]), int(str(row["known"]))) for row in rows]


def test_what_is_usual_leaves_repeated_charges_out() -> None:
    """A charge that AN-05 found twice teaches nothing of what is usual."""
    doubled = ledger("again", company()[0]["amount"], company()[0]["vendor"], at(1, 9))
    plain = known_to(company_and(odd("50.00")), 95)
    assert len(plain) == 301
    assert known_to(company_and(odd("50.00"), doubled), 95) == plain


def test_history_ends_before_the_month_and_reaches_back_a_year() -> None:
    """April knows the 365 days before its first, and of itself only the day that is audited."""
    gold = charged(
        ledger("too-old", "11.00", "A", day(90 - 366)),
        ledger("old", "10.00", "A", day(90 - 365)),
        ledger("last", "30.00", "A", day(89)),
        ledger("april", "50.00", "A", day(90)),
        ledger("audited", "50.00", "A", day(99)),
    )
    assert known_to(gold, 99) == [("audited", 0), ("last", 1), ("old", 1)]


# ── AN-04: new vendors ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("amount", "found"), [("55.00", False), ("61.00", True)])
def test_an04_is_a_first_payment_as_large_as_few(amount: str, *, found: bool) -> None:
    gold = company_and(odd(amount, "BRAND NEW"))
    assert (found_ids("AN-04", gold, day(90), day(99)) == ["odd"]) is found
    if found:
        (hit,) = holds_as_of("AN-04", gold, day(95), NEWS)
        assert hit.threshold <= hit.measured == Decimal(amount)


def test_an04_knows_the_vendor_master_and_the_second_payment() -> None:
    master = {"vendors": [vendor("V9", "Brand New")]}
    gold = company_and(odd("900.00", "BRAND NEW"), odd("950.00", "BRAND NEW", "second", 97))
    assert found_ids("AN-04", gold, day(90), day(99)) == ["odd"]
    assert found_ids("AN-04", together(gold, master), day(90), day(99)) == []


@pytest.mark.parametrize(("threshold", "found"), [(300, True), (301, False)])
def test_an04_needs_history(threshold: int, *, found: bool) -> None:
    rules = rules_with(AN_04__history_min=threshold)
    assert bool(findings("AN-04", company_and(odd("900.00", "NEW")), day(95), rules=rules)) is found


# ── AN-08: look-alikes ────────────────────────────────────────────────────────────────────────────


def known(times: int, name: str = "MICROSOFT") -> Gold:
    return charged(*(ledger(f"k{n}", "20.00", name, day(n)) for n in range(times)))


@pytest.mark.parametrize(
    ("times", "name", "found"),
    [
        (3, "MICR0SOFT", True),
        (2, "MICR0SOFT", False),
        (3, "RNICROSOFT", True),
        (3, "MICROSOFT", False),
        (3, "MICRO SOFT", False),
        (3, "MACROSOFT", False),
    ],
)
def test_an08_is_a_name_that_only_looks_like_one_paid_before(
    times: int, name: str, *, found: bool
) -> None:
    gold = together(known(times), charged(ledger("fake", "99.00", name, day(10))))
    hits = findings("AN-08", gold, day(0), day(20))
    assert [h.transaction_id for h in hits] == (["fake"] if found else [])
    assert {h.facts["twin_charges"] for h in hits} <= {"3"}


def test_an08_knows_the_vendor_master() -> None:
    """Without any earlier payment; and an alias of the master is no look-alike."""
    fake = charged(ledger("fake", "99.00", "MICR0SOFT", day(10)))
    master = {"vendors": [vendor("V1", "Microsoft")]}
    alias = {"vendors": [vendor("V1", "Microsoft", "Micr0soft")]}
    assert found_ids("AN-08", together(fake, master), day(10)) == ["fake"]
    assert found_ids("AN-08", together(fake, alias), day(10)) == []


@pytest.mark.parametrize(
    ("name", "fake", "found"), [("SHELL", "SHE1L", True), ("OLIO", "0LIO", False)]
)
def test_an08_needs_five_letters(name: str, fake: str, *, found: bool) -> None:
    gold = together(known(3, name), charged(ledger("fake", "99.00", fake, day(10))))
    assert bool(findings("AN-08", gold, day(10))) is found


def test_an08_asks_who_was_there_first() -> None:
    """The established vendor is not accused when the look-alike is paid often later."""
    gold = together(known(3), charged(ledger("fake", "99.00", "MICR0SOFT", day(10))))
    later = charged(*(ledger(f"f{n}", "99.00", "MICR0SOFT", day(11 + n)) for n in range(5)))
    holds_as_of("AN-08", gold, day(10), later)
    more = charged(ledger("real", "20.00", "MICROSOFT", day(18)))
    assert "real" not in found_ids("AN-08", together(gold, later, more), day(0), day(30))


# ── hostile names ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "name",
    [
        'O\'Neill "Sons"',
        "{amount} {0} {vendor.__class__}",
        "100% %s %(x)d",
        "$from_on $1 ? :name",
        "two\nlines\tand tabs",
        "😀 Emoji ’ Bar",
        "'; DROP TABLE audit.transactions; --",
    ],
)
def test_a_hostile_name_is_data(name: str) -> None:
    gold = charged(ledger("one", "480.00", name, day(5)), ledger("two", "480.00", name, day(6)))
    (hit,) = findings("AN-05", gold, day(6))
    assert hit.facts["vendor"] == name
    counts = defaultdict(int)
    with books_of(gold, day(0), day(9)) as books:
        for rule_id in RULE_IDS:
            counts[rule_id] = len(audited(rule_id, books))
    assert counts["AN-05"] == 1

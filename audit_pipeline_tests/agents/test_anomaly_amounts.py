"""What the digits of an amount give away: AN-10, AN-11, AN-12, AN-15 and AN-17."""

import datetime as dt
import math
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_pipeline_tests.books_of import (
    Gold,
    Row,
    charged,
    day,
    findings,
    found_ids,
    holds_as_of,
    ledger,
    rules_with,
    together,
)

slowly = settings(max_examples=12, deadline=None, derandomize=True)


def money(cents: int) -> str:
    return f"{Decimal(cents) / 100:.2f}"


def charges(prefix: str, cents: list[int], name: str = "ACME", start: int = 0) -> list[Row]:
    """One charge a day."""
    return [ledger(f"{prefix}{n:02}", money(c), name, day(start + n)) for n, c in enumerate(cents)]


# ── AN-10: two digits transposed ──────────────────────────────────────────────────────────────────


def pair(first: str, second: str, apart: int = 1, name: str = "ACME") -> Gold:
    return charged(
        ledger("one", first, name, day(50)), ledger("two", second, name, day(50 + apart))
    )


@pytest.mark.parametrize(
    ("gold", "found"),
    [
        (pair("54.30", "53.40"), True),
        (pair("53.40", "54.30"), True),
        (pair("543.21", "543.12"), True),
        (pair("1234.56", "2134.56"), True),
        (pair("100.10", "101.00"), True),
        # Not neighbours, three digits, a carry, another number of digits, the same amount.
        (pair("54.30", "50.34"), False),
        (pair("543.21", "435.21"), False),
        (pair("99.10", "100.00"), False),
        (pair("90.10", "901.00"), False),
        (pair("54.30", "54.30"), False),
        (pair("54.30", "53.40", apart=4), True),
        (pair("54.30", "53.40", apart=7), False),
        (pair("54.30", "53.40", apart=8), False),
        (pair("50.60", "56.00"), True),
        (pair("49.50", "45.90"), False),
        (pair("-54.30", "-53.40"), False),
        (pair("0.00", "54.30"), False),
    ],
)
def test_an10_is_two_neighbouring_digits_within_days(gold: Gold, *, found: bool) -> None:
    """From fifty dollars; each doubling of the days takes a bit."""
    assert (found_ids("AN-10", gold, day(0), day(70)) == ["two"]) is found


def test_an10_names_the_other_charge_and_holds_as_of_its_day() -> None:
    later = charged(*charges("l", [5430, 5340] * 4, start=52))
    (hit,) = holds_as_of("AN-10", pair("54.30", "53.40"), day(51), later)
    assert hit.transaction_id == "two"
    assert hit.facts["other_amount"] == "54.30"
    assert hit.cells["other_id"] == ("gold.recent_transactions.txn_id", "one")
    assert hit.measured == Decimal(str(round(-math.log2(0.001) - math.log2((0 + 0.5) / 6), 4)))


def test_an10_is_about_one_card_and_one_vendor() -> None:
    one = charged(ledger("one", "54.30", "ACME", day(50)))
    card = charged(ledger("two", "53.40", "ACME", day(51)), card="**** 2222")
    name = charged(ledger("two", "53.40", "ZEBRA", day(51)))
    assert found_ids("AN-10", together(one, card), day(51)) == []
    assert found_ids("AN-10", together(one, name), day(51)) == []


def test_an10_knows_a_price_and_a_card_that_comes_every_day() -> None:
    """An amount that the vendor often had, and a card with many charges to pair with."""
    menu = charged(*charges("m", [5340, 9900] * 10, start=20), card="**** 2222")
    assert found_ids("AN-10", together(menu, pair("54.30", "53.40")), day(51)) == []
    daily = charged(*charges("d", [7000 + 111 * n for n in range(40)], start=9))
    assert found_ids("AN-10", together(daily, pair("54.30", "53.40")), day(51)) == []


def is_transposed(a: int, b: int) -> bool:
    one, two = str(a), str(b)
    return any(
        one[:n] + one[n + 1] + one[n] + one[n + 2 :] == two and one != two
        for n in range(len(one) - 1)
    )


def transposed_ids(rows: list[tuple[int, int]], bits_min: float) -> dict[str, float]:
    """AN-10 in plain Python, over (day, cents) of one card and vendor."""
    order = sorted(range(len(rows)), key=lambda n: (rows[n][0], n))
    swapped: set[int] = set()
    found: dict[str, float] = {}
    for place, n in enumerate(order):
        on, cents = rows[n]
        before = order[:place]
        near = [m for m in before if on - rows[m][0] <= 7]
        others = [m for m in near if rows[m][1] >= 5000 and is_transposed(cents, rows[m][1])]
        if cents < 5000 or not others:
            continue
        gaps = [rows[b][0] - rows[a][0] for a, b in pairwise(before)]
        soon = (sum(gap <= 7 for gap in gaps) + 5 * 0.1) / (len(before) + 5)
        same = sum(rows[m][1] == cents for m in before)
        share = min(max(0.001, len(swapped) / (len(before) + 5), same / (len(before) + 5)), 0.5)
        chance = 1 - (1 - share) ** max(len(near), 1)
        apart = on - rows[others[-1]][0]
        bits = -math.log2(min(soon, 1)) - math.log2(chance) - math.log2(max(apart, 1))
        swapped.add(n)
        if round(bits, 4) >= bits_min:
            found[f"t{n:02}"] = bits
    return found


@slowly
@given(
    st.lists(
        st.tuples(
            st.integers(0, 25),
            st.sampled_from([5430, 5340, 4530, 5403, 4999, 54300, 53400, 12345, 12354, 0, -5430]),
        ),
        max_size=14,
    )
)
def test_an10_is_what_plain_python_finds(rows: list[tuple[int, int]]) -> None:
    """With a lower bar, so that there is more to find."""
    gold = charged(
        *(ledger(f"t{n:02}", money(c), "ACME", day(on)) for n, (on, c) in enumerate(rows))
    )
    hits = findings("AN-10", gold, day(0), day(30), rules=rules_with(AN_10__bits_min=5))
    positive = [(n, row) for n, row in enumerate(rows) if row[1] > 0]
    expected = transposed_ids([row for _, row in positive], 5)
    renamed = {f"t{positive[int(name[1:])][0]:02}": bits for name, bits in expected.items()}
    assert {h.transaction_id: float(h.measured) for h in hits} == {
        name: pytest.approx(bits, abs=1e-4) for name, bits in renamed.items()
    }


# ── AN-11: the decimal point ──────────────────────────────────────────────────────────────────────


def priced(cents: list[int], last: int, on: int = 60) -> Gold:
    return charged(*charges("p", cents), ledger("slip", money(last), "ACME", day(on)))


@pytest.mark.parametrize(
    ("gold", "found"),
    [
        (priced([8650] * 4, 86_500), True),
        (priced([8650] * 4, 865_000), True),
        (priced([8650] * 3, 86_500), False),
        (priced([8650] * 4, 86_510), False),
        (priced([8650] * 4, 8_650_000), False),
        (priced([8000] * 4, 80_000), False),
        (priced([490] * 4, 4_900), False),
        (priced([500, 490] * 4, 49_000), True),
        # Something as large was bought before; the price is one of many; it was charged once.
        (priced([8650, 8650, 8650, 28_834], 86_500), False),
        (priced([8650, 8650, 8650, 28_833], 86_500), True),
        (priced([8650] * 2 + [100 * n + 1 for n in range(10, 29)], 86_500), False),
        (priced([8650, 9001, 9002, 9003], 86_500), False),
        (priced([8650] * 4, 86_500, on=368), False),
        (priced([8650] * 4, -86_500), False),
        (priced([0, 0, 0, 0], 86_500), False),
        (priced([], 86_500), False),
    ],
)
def test_an11_is_ten_or_a_hundred_times_a_usual_price(gold: Gold, *, found: bool) -> None:
    assert (found_ids("AN-11", gold, day(0), day(400)) == ["slip"]) is found


def test_an11_holds_as_of_its_day_and_says_what_is_usual() -> None:
    later = charged(*charges("l", [86_500] * 9, start=61))
    (hit,) = holds_as_of("AN-11", priced([8650] * 5, 86_500), day(60), later)
    assert (hit.measured, hit.threshold) == (Decimal(10), Decimal(3))
    assert hit.facts["times_price"] == "10"
    assert hit.facts["upper_amount"] == "86.50"
    assert hit.facts["price_charges"] == hit.facts["charges_before"] == "5"
    assert hit.cells["other_id"][1] == "p04"


def slip_ids(rows: list[tuple[int, int]]) -> set[str]:
    """AN-11 in plain Python, over (day, cents) of one vendor."""
    found = set()
    for n, (on, cents) in enumerate(rows):
        before = sorted(c for d, c in rows if 0 < on - d <= 365 and c > 0)
        if cents < 5000 or len(before) < 4 or len(str(cents).rstrip("0")) < 2:
            continue
        upper = before[max(math.ceil(0.98 * len(before)) - 1, 0)]
        prices = [before.count(cents // t) for t in (10, 100) if cents % t == 0]
        usual = max((p for p in prices if p >= 2), default=0)
        if usual and usual >= 0.1 * len(before) and cents >= 3 * upper:
            found.add(f"t{n:02}")
    return found


@slowly
@given(
    st.lists(
        st.tuples(
            st.integers(0, 40), st.sampled_from([610, 650, 6100, 6500, 65_000, 61_000, 6501, 0])
        ),
        max_size=25,
    )
)
def test_an11_is_what_plain_python_finds(rows: list[tuple[int, int]]) -> None:
    gold = charged(
        *(ledger(f"t{n:02}", money(c), "ACME", day(on)) for n, (on, c) in enumerate(rows))
    )
    assert set(found_ids("AN-11", gold, day(0), day(50))) == slip_ids(rows)


# ── AN-12 and AN-17: below the approval limit ─────────────────────────────────────────────────────


def small(times: int, name: str = "SHOP", cents: int = 4_017) -> Gold:
    return charged(*charges("s", [cents] * times, name))


@pytest.mark.parametrize(
    ("amount", "history", "found"),
    [
        ("2450.00", 30, True),
        ("2449.99", 30, False),
        ("2499.99", 30, True),
        ("2500.00", 30, False),
        ("2490.00", 29, False),
        ("-2490.00", 30, False),
    ],
)
def test_an12_is_two_per_cent_below_the_limit(amount: str, history: int, *, found: bool) -> None:
    gold = together(small(history), charged(ledger("near", amount, "ACME", day(40))))
    hits = findings("AN-12", gold, day(0), day(60))
    assert [h.transaction_id for h in hits] == (["near"] if found else [])
    for hit in hits:
        bits = -math.log2(max(0.2 / (history + 20), 0.2 / 20))
        assert float(hit.measured) == pytest.approx(bits, abs=1e-4)


@pytest.mark.parametrize(("cents", "found"), [(299_999, False), (300_001, True)])
def test_an12_lets_those_be_who_buy_at_that_size(cents: int, *, found: bool) -> None:
    """One of forty earlier charges of the card, or of the vendor's few, around the limit."""
    near = charged(ledger("near", "2490.00", "ACME", day(40)))
    own = charged(ledger("own", money(cents), "OTHER", day(35)), ledger("o2", "2100", "O", day(36)))
    vendors = charged(ledger("v", money(cents), "ACME", day(35)), card="**** 2222")
    assert bool(found_ids("AN-12", together(small(30), near, vendors), day(40))) is found
    if not found:
        assert found_ids("AN-12", together(small(30), near, own), day(40)) == []


def test_an12_and_an17_hold_as_of_their_day_and_keep_to_cards() -> None:
    gold = together(
        small(30),
        charged(*(ledger(f"n{n}", "2480.00", f"V{n}", day(40 + n)) for n in range(3))),
    )
    later = charged(*(ledger(f"l{n}", "2480.00", f"V{n}", day(43 + n)) for n in range(9)))
    (hit,) = holds_as_of("AN-17", gold, day(42), later)
    assert (hit.transaction_id, hit.facts["charges"]) == ("n2", "3")
    assert hit.facts["together"] == "7440.00"
    assert hit.cells["first_id"][1] == "n0"
    assert len(holds_as_of("AN-12", gold, day(40), later)) == 1
    bank = {"recent_transactions": [ledger("b", "2480.00", "V", day(40), "bank")]}
    assert findings("AN-12", together(small(40), bank), day(0), day(60)) == []


def near_limit(*at: tuple[int, str], card: str = "**** 1111") -> Gold:
    rows = (ledger(f"n{n}", amount, f"V{n}", day(on)) for n, (on, amount) in enumerate(at))
    return charged(*rows, card=card)


@pytest.mark.parametrize(
    ("gold", "found"),
    [
        (near_limit((10, "2450"), (11, "2480"), (40, "2499.99")), ["n2"]),
        (near_limit((10, "2450"), (11, "2480"), (41, "2499.99")), []),
        (near_limit((10, "2449.99"), (11, "2480"), (12, "2499.99")), []),
        (near_limit((10, "2450"), (11, "2480"), (12, "2500")), []),
        (near_limit((10, "2450"), (11, "2480"), (12, "1999"), (13, "2490")), ["n3"]),
        (near_limit((10, "2450"), (11, "2480"), (12, "2000"), (13, "2490")), []),
        (near_limit(*[(10 + n, "2490") for n in range(5)]), ["n2"]),
    ],
)
def test_an17_is_three_in_a_month_where_few_come_near(gold: Gold, found: list[str]) -> None:
    """Of those within a fifth of the limit a tenth lie just below by chance."""
    assert found_ids("AN-17", gold, day(0), day(60)) == found


def gathered(rows: list[tuple[int, int]], bits_min: float) -> set[str]:
    """AN-17 in plain Python, over (day, cents) of one card."""
    found = set()
    for n, (on, cents) in enumerate(rows):
        around = [
            c
            for m, (d, c) in enumerate(rows)
            if on - 30 <= d and (d, m) <= (on, n) and 200_000 <= c < 250_000
        ]
        k, of = sum(c >= 245_000 for c in around), len(around)
        if not 245_000 <= cents < 250_000 or k != 3 or k * 10 <= of:
            continue
        rest = 0 if k == of else (of - k) * math.log2((1 - k / of) / 0.9)
        if round(k * math.log2(k / of / 0.1) + rest, 4) >= bits_min:
            found.add(f"t{n:02}")
    return found


@slowly
@given(
    st.lists(
        st.tuples(
            st.integers(0, 60),
            st.sampled_from([199_999, 200_000, 230_000, 244_999, 245_000, 249_999, 250_000]),
        ),
        max_size=20,
    )
)
def test_an17_is_what_plain_python_finds(rows: list[tuple[int, int]]) -> None:
    gold = charged(
        *(ledger(f"t{n:02}", money(c), "ACME", day(on)) for n, (on, c) in enumerate(rows))
    )
    rules = rules_with(AN_17__bits_min=3)
    assert set(found_ids("AN-17", gold, day(0), day(70), rules=rules)) == gathered(rows, 3)


# ── AN-15: round amounts ──────────────────────────────────────────────────────────────────────────


def invoices(times: int, *more: str, first: int = 61_234) -> Gold:
    """So many invoices that are not round, then these; as many as a company has elsewhere."""
    others = (ledger(f"o{n:02}", f"{700 + n}.50", "OTHER", day(1)) for n in range(99))
    odd = [first + 137 * n for n in range(times)]
    rows = (ledger(f"r{n}", text, "ACME", day(60 + n)) for n, text in enumerate(more))
    return charged(*others, *charges("i", odd), *rows)


@pytest.mark.parametrize(
    ("gold", "found"),
    [
        (invoices(8, "800.00"), ["r0"]),
        (invoices(7, "800.00"), []),
        (invoices(8, "850.00"), []),
        (invoices(8, "500.00"), ["r0"]),
        (invoices(8, "400.00"), []),
        (invoices(8, "-800.00"), []),
        (invoices(8, "800.00", "900.00", "1000.00"), ["r0"]),
        (invoices(8, "800.00", first=40_012), []),
        (invoices(0, "800.00", "900.00", "1000.00"), []),
    ],
)
def test_an15_is_a_whole_hundred_where_hardly_any_was(gold: Gold, found: list[str]) -> None:
    """Of charges from five hundred, at least eight; the second one is less of a surprise."""
    assert found_ids("AN-15", gold, day(0), day(90)) == found


def test_an15_holds_as_of_its_day() -> None:
    later = charged(*charges("l", [100_000] * 9, start=61))
    (hit,) = holds_as_of("AN-15", invoices(10, "800.00"), day(60), later)
    assert (hit.facts["vendor_before"], hit.facts["vendor_round"]) == ("10", "0")


def round_ids(rows: list[tuple[int, str, int]]) -> set[str]:
    """AN-15 in plain Python; rows are (day, vendor, dollars)."""
    found = set()
    for n, (on, name, amount) in enumerate(rows):
        before = [(v, a % 100 == 0) for d, v, a in rows if d < on and a >= 500]
        own = [is_round for v, is_round in before if v == name]
        if amount < 500 or amount % 100 or len(own) < 8:
            continue
        company = (sum(is_round for _, is_round in before) + 1) / (len(before) + 1)
        bits = -math.log2((sum(own) + 5 * company) / (len(own) + 5))
        if round(bits, 4) >= 2:
            found.add(f"t{n:02}")
    return found


@slowly
@given(
    st.lists(
        st.tuples(
            st.integers(0, 40),
            st.sampled_from(["ACME", "ACME", "ZEBRA"]),
            st.sampled_from([400, 500, 512, 523, 587, 733, 800]),
        ),
        min_size=10,
        max_size=45,
    )
)
def test_an15_is_what_plain_python_finds(rows: list[tuple[int, str, int]]) -> None:
    gold = charged(
        *(ledger(f"t{n:02}", f"{a}.00", v, day(on)) for n, (on, v, a) in enumerate(rows))
    )
    rules = rules_with(AN_15__bits_min=2)
    assert set(found_ids("AN-15", gold, day(0), day(50), rules=rules)) == round_ids(rows)


def test_the_limit_is_a_parameter() -> None:
    gold = together(small(30), charged(ledger("near", "990.00", "ACME", day(40))))
    assert findings("AN-12", gold, day(40)) == []
    rules = rules_with(AN_12__limit=1000)
    hits = findings("AN-12", gold, day(40), rules=rules)
    assert [(h.audit_on, h.transaction_id) for h in hits] == [(day(40), "near")]
    assert isinstance(hits[0].audit_on, dt.date)
    assert hits[0].facts["below_by"] == "10.00"

"""What came on the wrong day, or not at all: AN-13, AN-14 and AN-16."""

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_pipeline.model.errors import RulesInvalid
from audit_pipeline_tests.books_of import (
    Gold,
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


def series(days: list[int], amounts: list[str] | str, name: str = "LANDLORD") -> Gold:
    """Charges p0, p1, … of one card at one vendor."""
    texts = [amounts] * len(days) if isinstance(amounts, str) else amounts
    rows = zip(days, texts, strict=True)
    return charged(*(ledger(f"p{n}", text, name, day(on)) for n, (on, text) in enumerate(rows)))


def lower_median(numbers: list[int]) -> int:
    return sorted(numbers)[(len(numbers) - 1) // 2]


# ── AN-13: a recurring payment that has not come ──────────────────────────────────────────────────

MONTHLY = [0, 30, 60, 90]


def test_an13_is_found_once_on_the_day_on_which_the_waiting_ends() -> None:
    """Due on day 120; twelve per cent of thirty days are four more."""
    hits = findings("AN-13", series(MONTHLY, "50.00"), day(0), day(200), as_of=day(200))
    assert [(h.audit_on, h.transaction_id) for h in hits] == [(day(124), "p3")]
    assert hits[0].facts["expected_on"] == str(day(120))
    assert hits[0].facts["payments"] == "4"
    assert hits[0].measured == 4


def test_an13_holds_as_of_its_day() -> None:
    other = charged(ledger("other", "9.00", "CAFE", day(124)))
    later = charged(ledger("p9", "50.00", "LANDLORD", day(125)))
    gold = together(series(MONTHLY, "50.00"), other)
    assert len(holds_as_of("AN-13", gold, day(124), later)) == 1
    assert holds_as_of("AN-13", gold, day(123), together(later, other)) == []


@pytest.mark.parametrize(
    ("gold", "found"),
    [
        (charged(ledger("next", "50.00", "LANDLORD", day(124))), False),
        (charged(ledger("next", "50.00", "LANDLORD", day(125))), True),
        (charged(ledger("next", "999.00", "LANDLORD", day(110))), False),
        (charged(ledger("refund", "-50.00", "LANDLORD", day(110))), True),
        (charged(ledger("next", "57.50", "LANDLORD", day(110)), card="**** 2222"), False),
        (charged(ledger("next", "57.51", "LANDLORD", day(110)), card="**** 2222"), True),
        (charged(ledger("next", "50.00", "ZEBRA", day(110))), True),
    ],
)
def test_an13_asks_whether_anything_was_paid_instead(gold: Gold, *, found: bool) -> None:
    """By this card anything, by another one the usual amount."""
    gold = together(series(MONTHLY, "50.00"), gold)
    hits = findings("AN-13", gold, day(0), day(140), as_of=day(140))
    assert ([h.transaction_id for h in hits] == ["p3"]) is found


@pytest.mark.parametrize(
    ("days", "amounts", "found"),
    [
        ([0, 30, 60], ["9.00"] * 3, False),
        ([0, 30, 60, 94], ["9.00"] * 4, False),
        ([0, 30, 60, 93], ["9.00"] * 4, True),
        ([0, 5, 10, 15], ["9.00"] * 4, False),
        ([0, 100, 200, 300], ["9.00"] * 4, True),
        ([0, 101, 202, 303], ["9.00"] * 4, False),
        ([0, 30, 60, 90], ["100.00", "100.00", "100.00", "115.01"], False),
        ([0, 30, 60, 90], ["-9.00"] * 4, False),
        ([0, 0, 0, 0], ["9.00"] * 4, False),
        ([0], ["9.00"], False),
    ],
)
def test_an13_asks_only_where_there_is_a_habit(
    days: list[int], amounts: list[str], *, found: bool
) -> None:
    gold = series(days, amounts)
    assert bool(findings("AN-13", gold, day(0), day(500), as_of=day(500))) is found


# ── AN-14: paid again too early ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("gap", "amount", "found"),
    [
        (15, "50.00", True),
        (16, "50.00", False),
        (0, "50.00", True),
        (9, "52.50", True),
        (9, "52.51", False),
        (9, "-50.00", False),
    ],
)
def test_an14_is_half_the_usual_gap_or_sooner(gap: int, amount: str, *, found: bool) -> None:
    gold = series([*MONTHLY, 90 + gap], ["50.00"] * 4 + [amount])
    hits = findings("AN-14", gold, day(0), day(200))
    assert [h.transaction_id for h in hits] == (["p4"] if found else [])
    for hit in hits:
        assert (hit.facts["gap_days"], hit.cells["previous_id"][1]) == (str(gap), "p3")


def test_an14_needs_four_payments_before_and_holds_as_of_its_day() -> None:
    assert findings("AN-14", series([0, 30, 60, 70], "50.00"), day(0), day(99)) == []
    later = charged(ledger("p9", "50.00", "LANDLORD", day(120)))
    assert len(holds_as_of("AN-14", series([*MONTHLY, 100], "50.00"), day(100), later)) == 1


def missing_and_early(rows: list[tuple[int, int]], until: int) -> dict[str, set[str]]:
    """AN-13 and AN-14 in plain Python, over (day, cents) of one card and vendor, in order."""
    gap_of = {n: rows[n][0] - rows[n - 1][0] for n in range(1, len(rows))}
    found: dict[str, set[str]] = {"AN-13": set(), "AN-14": set()}
    for n, (on, cents) in enumerate(rows):
        before = range(max(n - 6, 0), n)
        gaps = [gap_of[m] for m in before if m in gap_of]
        if len(gaps) < 2:
            continue
        amounts = [rows[m][1] for m in before]
        usual_gap, usual, gap = lower_median(gaps), lower_median(amounts), gap_of[n]
        allowed = max(3, 0.12 * usual_gap)
        if usual_gap < 6 or max(gaps) - usual_gap > allowed or usual_gap - min(gaps) > allowed:
            continue
        off = max(max(amounts) - min(amounts), abs(cents - usual)) / usual
        if len(gaps) >= 3 and gap <= 0.5 * usual_gap and off <= 0.05:
            found["AN-14"].add(f"t{n:02}")
        due = on + usual_gap + math.ceil(allowed + max(gaps) - usual_gap)
        came = n + 1 < len(rows) and rows[n + 1][0] <= due
        if abs(gap - usual_gap) <= allowed and off <= 0.15 and not came and due <= until:
            found["AN-13"].add(f"t{n:02}")
    return found


@slowly
@given(
    st.lists(
        st.tuples(
            st.sampled_from([3, 4, 7, 7, 7, 8, 10, 14, 30]),
            st.sampled_from([10_000, 10_000, 10_000, 10_500, 10_501, 11_500, 11_501]),
        ),
        min_size=3,
        max_size=16,
    )
)
def test_an13_and_an14_are_what_plain_python_finds(steps: list[tuple[int, int]]) -> None:
    rows, on = [], 0
    for gap, cents in steps:
        rows.append((on, cents))
        on += gap
    assert all(a[0] < b[0] for a, b in pairwise(rows))
    gold = charged(
        *(ledger(f"t{n:02}", f"{c / 100}", "GYM", day(when)) for n, (when, c) in enumerate(rows))
    )
    for rule_id, ids in missing_and_early(rows, on).items():
        assert set(found_ids(rule_id, gold, day(0), day(on), as_of=day(on))) == ids, rule_id


# ── AN-16: days off ───────────────────────────────────────────────────────────────────────────────


def workdays(times: int, name: str = "SHOP", amount: str = "60.00") -> Gold:
    """A charge on each of so many days from Monday to Friday."""
    days = [n for n in range(4, 200) if day(n).isoweekday() <= 5][:times]
    return charged(*(ledger(f"w{n:03}", amount, name, day(n)) for n in days))


SATURDAY = 93
assert day(SATURDAY).isoweekday() == 6


@pytest.mark.parametrize(
    ("amount", "history", "found"),
    [
        ("80.00", 64, True),
        ("50.00", 64, True),
        ("49.99", 64, False),
        ("-80.00", 64, False),
        ("80.00", 29, False),
        ("80.00", 30, True),
    ],
)
def test_an16_is_a_card_that_never_was_used_then(amount: str, history: int, *, found: bool) -> None:
    gold = together(workdays(history), charged(ledger("odd", amount, "SHOP", day(SATURDAY))))
    hits = findings("AN-16", gold, day(0), day(99))
    assert [h.transaction_id for h in hits] == (["odd"] if found else [])
    for hit in hits:
        assert (hit.facts["day_off"], hit.facts["card_off"]) == ("Saturday", "0")


def test_an16_knows_cards_and_vendors_that_work_at_weekends() -> None:
    odd = charged(ledger("odd", "80.00", "TAXI", day(SATURDAY)))
    others = charged(
        *(ledger(f"o{n}", "80.00", "TAXI", day(SATURDAY - 7 * n)) for n in range(1, 9)),
        card="**** 2222",
    )
    own = charged(*(ledger(f"v{n}", "9.00", "PUB", day(SATURDAY - 7 * n)) for n in range(1, 3)))
    assert findings("AN-16", together(workdays(60), odd, others), day(SATURDAY)) == []
    assert findings("AN-16", together(workdays(60, "TAXI"), odd, own), day(SATURDAY)) == []


@pytest.mark.parametrize(
    ("holidays", "found"), [((), False), (("2026-04-03",), True), (("04-03",), True)]
)
def test_an16_knows_the_holidays_of_the_rules_file(
    holidays: tuple[str, ...], *, found: bool
) -> None:
    """Once or every year; day 92 is a Friday."""
    rules = rules_with(AN_16__holidays=holidays)  # pyright: ignore[reportArgumentType]
    gold = together(workdays(60), charged(ledger("odd", "80.00", "SHOP", day(92))))
    hits = findings("AN-16", gold, day(92), rules=rules)
    assert [h.facts["day_off"] for h in hits] == (["holiday"] if found else [])


@pytest.mark.parametrize("holiday", ["1 May", "2026-5-1", ""])
def test_a_holiday_is_a_day(holiday: str) -> None:
    with pytest.raises(RulesInvalid, match="holidays"):
        rules_with(AN_16__holidays=[holiday])  # pyright: ignore[reportArgumentType]


def test_an16_holds_as_of_its_day() -> None:
    gold = together(workdays(64), charged(ledger("odd", "80.00", "SHOP", day(SATURDAY))))
    later = charged(*(ledger(f"l{n}", "80.00", "SHOP", day(SATURDAY + 7 * n)) for n in (1, 2)))
    (hit,) = holds_as_of("AN-16", gold, day(SATURDAY), later)
    assert hit.transaction_id == "odd"


def off_ids(rows: list[tuple[int, str, str]]) -> set[str]:
    """AN-16 from two bits on in plain Python, over (day, card, vendor); day 0 is a holiday."""
    found = set()
    off = [day(on).isoweekday() >= 6 or on == 0 for on, _, _ in rows]
    for n, (on, card, name) in enumerate(rows):
        before = [m for m, row in enumerate(rows) if row[0] < on]
        own = [m for m in before if rows[m][1] == card]
        vendors = [m for m in before if rows[m][2] == name]
        if not off[n] or len(own) < 5:
            continue
        company = sum(off[m] for m in before) / len(before)
        shares = [
            (sum(off[m] for m in known) + 5 * company) / (len(known) + 5)
            for known in (own, vendors)
        ]
        if round(-math.log2(max(*shares, 0.0001)), 4) >= 2:
            found.add(f"t{n:02}")
    return found


@slowly
@given(
    st.lists(
        st.tuples(
            st.integers(0, 30), st.sampled_from(["1111", "2222"]), st.sampled_from(["A", "B"])
        ),
        min_size=12,
        max_size=45,
    )
)
def test_an16_is_what_plain_python_finds(rows: list[tuple[int, str, str]]) -> None:
    gold = together(
        *(
            charged(ledger(f"t{n:02}", "80.00", f"SHOP {name}", day(on)), card=card)
            for n, (on, card, name) in enumerate(rows)
        )
    )
    rules = rules_with(AN_16__bits_min=2, AN_16__charges_min=5)
    assert set(found_ids("AN-16", gold, day(0), day(40), rules=rules)) == off_ids(rows)

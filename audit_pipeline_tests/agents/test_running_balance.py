"""RC-09: a running balance that does not follow from the one before."""

import datetime as dt
import random
from collections.abc import Sequence
from decimal import Decimal
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_pipeline.agents.reconciliation.running_balance import Line, breaks
from audit_pipeline_tests.books_of import (
    Gold,
    Row,
    bank_line,
    day,
    findings,
    found_ids,
    holds_as_of,
    ledger,
    rules_with,
    together,
)

slowly = settings(max_examples=15, deadline=None, derandomize=True)
often = settings(max_examples=400, deadline=None, derandomize=True)


def statement(
    *moves: tuple[int, str], account: str = "ACC-1", prefix: str = "b", opening: str = "1000.00"
) -> list[Row]:
    """Lines (day, amount) of one account, each with the balance after it: b0, b1 and so on."""
    balance = Decimal(opening)
    rows: list[Row] = []
    for n, (on, amount) in enumerate(moves):
        balance += Decimal(amount)
        rows.append(
            bank_line(
                f"{prefix}{n}", amount, "X", day(on), account=account, running_balance=str(balance)
            )
        )
    return rows


MOVES = ((1, "-100.00"), (2, "-20.00"), (3, "-7.00"), (4, "50.00"), (5, "-1.00"))


def gold_of(rows: list[Row], *entries: Row) -> Gold:
    return {"bank_accounts": rows, "recent_transactions": list(entries)}


def without(rows: list[Row], *ids: str) -> list[Row]:
    return [row for row in rows if row["txn_id"] not in ids]


def found(rows: list[Row], to: int = 30, **thresholds: float) -> dict[str, str]:
    """Line → the missing amount, over the first days."""
    rules = rules_with(**thresholds) if thresholds else None
    hits = findings("RC-09", gold_of(rows), day(0), day(to), rules=rules)
    return {hit.transaction_id: hit.facts["missing"] for hit in hits}


def judged(rows: list[Row]) -> dict[str, str]:
    """The same for one account, without the way through files and SQL."""
    lines = [
        Line(
            row["txn_id"],
            dt.date.fromisoformat(row["date"]),
            place,
            Decimal(row["amount"]),
            Decimal(row["running_balance"]),
            row["transaction_type"] == "credit",
        )
        for place, row in enumerate(rows, 1)
    ]
    lines.sort(key=lambda line: line.on)
    return {
        str(line.line_id): f"{(line.balance or 0) - expected:.2f}"
        for line, _, expected in breaks(lines, Decimal("0.5"))
    }


# ── a hit, a miss, the boundary ───────────────────────────────────────────────────────────────────


def test_a_removed_line_is_named_by_its_amount_and_its_entry() -> None:
    entry = ledger("b2", "7.00", "X", day(3), "bank")
    gold = gold_of(without(statement(*MOVES), "b2"), entry)
    (hit,) = holds_as_of("RC-09", gold, day(4), {"bank_accounts": statement((6, "9.00"))})
    assert hit.transaction_id == "b3"
    assert hit.audit_on == day(4)
    assert (hit.measured, hit.threshold) == (Decimal("7.00"), Decimal("0.01"))
    assert dict(hit.facts) == {
        "account": "ACC-1",
        "previous_id": "b1",
        "previous_on": str(day(2)),
        "previous_balance": "880.00",
        "balance": "923.00",
        "expected": "930.00",
        "missing": "-7.00",
        "ledger_entry": "b2",
    }
    assert hit.cells["previous_balance"] == ("gold.bank_accounts.running_balance", "b1")
    assert hit.cells["ledger_entry"] == ("gold.recent_transactions.txn_id", "b2")
    assert findings("RC-09", gold, day(0), day(40)) == [hit]


def test_balances_that_follow_say_nothing() -> None:
    assert found(statement(*MOVES)) == {}
    assert findings("RC-09", {}, day(0), day(30)) == []
    assert found([]) == {}
    assert found(statement((1, "5.00"))) == {}


def test_the_line_after_several_removed_ones_is_one_break() -> None:
    assert found(without(statement(*MOVES), "b2", "b3")) == {"b4": "43.00"}


def test_an_altered_amount_breaks_once_and_an_added_line_once() -> None:
    rows = statement(*MOVES)
    rows[2]["amount"] = "-8.00"
    assert found(rows) == {"b2": "1.00"}
    rows = statement(*MOVES)
    rows.insert(3, bank_line("new", "-30.00", "X", day(3), running_balance="843.00"))
    assert found(rows) == {"b3": "30.00"}


def test_an_altered_balance_breaks_before_and_after() -> None:
    rows = statement((0, "-2.00"), *MOVES)
    rows[3]["running_balance"] = "900.00"
    assert found(rows) == {"b3": "29.00", "b4": "-29.00"}


@pytest.mark.parametrize(("difference_min", "is_found"), [(7, True), (7.01, False)])
def test_the_threshold_is_inclusive(difference_min: float, *, is_found: bool) -> None:
    rows = without(statement(*MOVES), "b2")
    assert bool(found(rows, RC_09__difference_min=difference_min)) is is_found


@pytest.mark.parametrize(("share", "is_found"), [(0.5, True), (0.51, False)])
def test_an_account_whose_balances_never_followed_prints_something_else(
    share: float, *, is_found: bool
) -> None:
    """One of two links holds on day 4; before the first one holds, nothing is known."""
    rows = without(statement(*MOVES[:4]), "b2")
    assert bool(found(rows, RC_09__followed_share_min=share)) is is_found
    assert found(without(statement(*MOVES[:3]), "b1")) == {}


def test_a_cent_is_enough() -> None:
    rows = statement(*MOVES)
    rows[3]["amount"] = "50.01"
    assert found(rows) == {"b3": "-0.01"}


# ── the entry that was removed ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("amount", "on", "source", "named"),
    [
        ("7.00", 2, "bank", "gone"),
        ("7.00", 4, "bank", "gone"),
        ("7.00", 1, "bank", "none"),
        ("7.00", 5, "bank", "none"),
        ("7.01", 3, "bank", "none"),
        ("-7.00", 3, "bank", "none"),
        ("7.00", 3, "credit_card", "none"),
    ],
)
def test_the_entry_has_the_amount_and_lies_between(
    amount: str, on: int, source: str, named: str
) -> None:
    entry = ledger("gone", amount, "X", day(on), source)
    gold = gold_of(without(statement(*MOVES), "b2"), entry)
    (hit,) = findings("RC-09", gold, day(4))
    assert hit.facts["ledger_entry"] == named


def test_an_entry_that_has_its_line_is_not_the_removed_one() -> None:
    """Under its own id or another one; the line may stand on another account."""
    rows = without(statement(*MOVES), "b2")
    other = statement((1, "-5.00"), (3, "-7.00"), account="ACC-2", prefix="o")
    entries = [ledger("o1", "7.00", "X", day(3), "bank"), ledger("p", "7.00", "Y", day(3), "bank")]
    (hit,) = findings("RC-09", gold_of([*rows, *other], *entries), day(4))
    assert hit.facts["ledger_entry"] == "p"
    (hit,) = findings("RC-09", gold_of([*rows, *other], entries[0]), day(4))
    assert hit.facts["ledger_entry"] == "none"


def test_the_first_of_several_entries_is_named() -> None:
    entries = [ledger(name, "7.00", "X", day(3), "bank") for name in ("z", "y")]
    (hit,) = findings("RC-09", gold_of(without(statement(*MOVES), "b2"), *entries), day(4))
    assert hit.facts["ledger_entry"] == "y"


# ── what statements do differently ────────────────────────────────────────────────────────────────


def test_a_line_without_a_balance_counts_with_its_amount() -> None:
    rows = statement(*MOVES)
    rows[1]["running_balance"] = rows[2]["running_balance"] = None
    assert found(rows) == {}
    assert found(without(rows, "b1")) == {}  # one link, and it does not hold: nothing is known
    rows = statement((0, "-2.00"), *MOVES)
    rows[2]["running_balance"] = rows[3]["running_balance"] = None
    assert found(without(rows, "b2")) == {"b4": "-20.00"}
    (hit,) = findings("RC-09", gold_of(without(rows, "b2")), day(4))
    assert (hit.facts["previous_id"], hit.facts["previous_on"]) == ("b1", str(day(1)))


def test_no_balances_at_all_say_nothing() -> None:
    rows = [{**row, "running_balance": None} for row in statement(*MOVES)]
    assert found(rows) == {}
    del rows[2]
    assert found([{k: v for k, v in row.items() if k != "running_balance"} for row in rows]) == {}


BUSY = ((1, "5.00"), (2, "-3.00"), (2, "-4.00"), (2, "20.00"), (2, "-4.00"), (3, "-9.00"))


@pytest.mark.parametrize("order", list(permutations(range(1, 5))))
def test_the_lines_of_a_day_may_stand_in_any_order(order: tuple[int, ...]) -> None:
    rows = statement(*BUSY)
    shuffled = [rows[0], *(rows[n] for n in order), rows[5]]
    assert judged(shuffled) == {}
    assert sum(map(abs, map(Decimal, judged(without(shuffled, "b3")).values()))) == 20


def test_a_day_that_ends_where_it_began_may_stand_first_and_in_any_order() -> None:
    first = statement((1, "1.00"), (1, "1.00"), (1, "-2.00"), (2, "7.00"))
    for order in permutations(range(3)):
        assert judged([*(first[n] for n in order), first[3]]) == {}


def test_a_file_that_lists_the_newest_line_first() -> None:
    rows = statement(*BUSY, *((on + 5, amount) for on, amount in BUSY))
    assert judged(rows[::-1]) == {}
    assert judged(without(rows, "b3")[::-1]) == judged(without(rows, "b3")) == {"b4": "20.00"}
    (hit,) = findings("RC-09", gold_of(without(rows, "b3")[::-1]), day(2))
    assert hit.facts["previous_id"] == "b2"


def test_a_day_whose_lines_all_print_its_closing_balance() -> None:
    rows = statement(*BUSY, *((on + 5, amount) for on, amount in BUSY))
    for row in rows:
        row["running_balance"] = [r for r in rows if r["date"] == row["date"]][-1][
            "running_balance"
        ]
    assert judged(rows) == {}
    assert set(judged(without(rows, "b8"))) & {"b7", "b9", "b10"}


def test_some_lines_of_a_day_in_any_order_may_print_no_balance() -> None:
    """The last that is printed is followed by one without; a removed one of the day is told."""
    before = [line_of("a", 0, 1, 99), line_of("b", 1, 1, 100)]
    of_day = [
        line_of("c", 2, 50, 150),
        line_of("d", 2, -3, None),
        line_of("e", 2, 400, 547),
        line_of("f", 2, -20, None),
    ]
    after = line_of("g", 3, 1, 528)
    for order in permutations(of_day):
        assert breaks([*before, *order, after], Decimal("0.5")) == []
        cut = [line for line in order if line.line_id != "e"]
        assert breaks([*before, *cut, after], Decimal("0.5"))


@pytest.mark.parametrize("money_out", ["negative", "positive", "unsigned"])
def test_the_sign_is_read_off_the_statement(money_out: str) -> None:
    """Money out printed as positive, or every amount without a sign and told apart by its type."""
    rows = statement(*BUSY, *((on + 5, amount) for on, amount in BUSY))
    for row in rows:
        amount = Decimal(row["amount"])
        row["transaction_type"] = "credit" if amount > 0 else "debit"
        if money_out != "negative":
            row["amount"] = str(-amount if money_out == "positive" else abs(amount))
    assert judged(rows) == {}
    assert judged(without(rows, "b9")) == {"b10": "20.00"}


def test_balances_that_follow_nothing_are_not_running_balances() -> None:
    """The balance before the line, another account's, or rounded ones."""
    rows = statement(*((n, f"{n * n - 30}.37") for n in range(1, 25)))
    before = [
        {**row, "running_balance": str(Decimal(row["running_balance"]) - Decimal(row["amount"]))}
        for row in rows
    ]
    rounded = [{**row, "running_balance": row["running_balance"][:-3] + ".00"} for row in rows]
    assert judged(before) == judged(rounded) == {}


def test_accounts_are_judged_apart() -> None:
    """Interleaved, with ids that both use, as a transfer between the two has."""
    ours, theirs = statement(*MOVES), statement(*MOVES, account="ACC-2", opening="5.00")
    both = [row for pair in zip(ours, theirs, strict=True) for row in pair]
    assert found(both) == {}
    other = statement(*MOVES, account="ACC-2", prefix="c", opening="5.00")
    assert found([*without(ours, "b2"), *without(other, "c3")]) == {"b3": "-7.00", "c4": "50.00"}
    assert found([*without(ours, "b2"), *without(theirs, "b2")]) == {"b3": "-7.00"}


def test_a_copy_of_a_line_is_not_counted_twice() -> None:
    rows = statement(*MOVES)
    assert found([*rows[:3], dict(rows[2]), *rows[3:], dict(rows[1])]) == {}
    cut = without(rows, "b2")
    assert found([*cut, dict(cut[2])]) == {"b3": "-7.00"}


def test_a_line_without_an_id_counts_and_the_next_one_shows_the_break() -> None:
    rows = statement(*MOVES)
    rows[3]["txn_id"] = None
    assert found(rows) == {}
    assert found(without(rows, "b2")) == {"b4": "-7.00"}
    rows[1]["txn_id"] = None
    assert found(rows) == {}


@pytest.mark.parametrize(
    "fault", [{"amount": None}, {"amount": "seven"}, {"account_number": None}, {"date": None}]
)
def test_a_line_that_could_not_be_read_is_not_missing(fault: Row) -> None:
    """One without a date could lie anywhere, and explains nothing."""
    rows = statement(*MOVES)
    rows[2] |= fault
    assert found(rows) == ({"b3": "-7.00"} if "date" in fault else {})


def test_a_line_dated_after_the_books_is_not_seen() -> None:
    rows = statement(*MOVES, (60, "9.00"))
    rows[-1]["running_balance"] = "0.00"
    assert findings("RC-09", gold_of(rows), day(0), day(30), as_of=day(30)) == []


def test_the_largest_balances_that_the_books_hold() -> None:
    rows = statement(*MOVES, *((on + 5, amount) for on, amount in MOVES))
    rows[4]["running_balance"] = "9999999999999999.99"
    assert set(found(rows)) == {"b4", "b5"}


# ── as of ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_day_alone_is_a_day_of_the_range_and_later_lines_change_nothing() -> None:
    rows = without(statement(*BUSY, *((on + 5, amount) for on, amount in BUSY)), "b1", "b9")
    later = {"bank_accounts": statement((9, "1.00"), (9, "2.00"), prefix="late", opening="3.00")}
    for number in range(9):
        hits = holds_as_of("RC-09", gold_of(rows), day(number), later)
        assert [hit.audit_on for hit in hits] == [day(number)] * (number in (2, 7))


def test_an_entry_whose_line_comes_later_is_named_until_then() -> None:
    entry = ledger("gone", "7.00", "X", day(3), "bank")
    gold = gold_of(without(statement(*MOVES), "b2"), entry)
    late = {"bank_accounts": [bank_line("gone", "-7.00", "X", day(5), running_balance="1.00")]}
    (hit,) = holds_as_of("RC-09", gold, day(4), late)
    assert hit.facts["ledger_entry"] == "gone"
    assert found_ids("RC-09", together(gold, late), day(4)) == ["b3"]


# ── the same rule in plain Python ─────────────────────────────────────────────────────────────────

a_line = st.tuples(
    st.integers(0, 3),  # days after the line before
    st.booleans(),  # money out
    st.sampled_from(["kept", "kept", "kept", "removed", "silent"]),
)


def made(plan: Sequence[tuple[int, bool, str]]) -> list[tuple[Row, str]]:
    """Rows with what happened to each; amounts of which no two sets have the same sum.

    Twenty days of one line each come first, so that the account has shown what it prints.
    """
    days, moves = 20, [(n, "1.00") for n in range(20)]
    for n, (later, is_out, _) in enumerate(plan):
        days += later
        moves.append((days, f"{'-' if is_out else ''}{2 ** (n + 8)}.00"))
    fates = ["kept"] * 20 + [fate for _, _, fate in plan]
    return list(zip(statement(*moves), fates, strict=True))


def expected_breaks(lines: list[tuple[Row, str]]) -> dict[str, str]:
    """RC-09 in plain Python, where it is known what was removed."""
    gone, expected = Decimal(0), {}
    for row, fate in lines:
        if fate == "removed":
            gone += Decimal(row["amount"])
        elif fate == "kept":
            if gone:
                expected[row["txn_id"]] = f"{gone:.2f}"
            gone = Decimal(0)
    return expected


def as_printed(lines: list[tuple[Row, str]]) -> list[Row]:
    return [
        {**row, "running_balance": None} if fate == "silent" else row
        for row, fate in lines
        if fate != "removed"
    ]


@slowly
@given(plan=st.lists(a_line, max_size=10), newest_first=st.booleans())
def test_what_was_removed_is_what_is_found(
    plan: list[tuple[int, bool, str]], *, newest_first: bool
) -> None:
    lines = made(plan)
    rows = as_printed(lines)
    hits = findings("RC-09", gold_of(rows[::-1] if newest_first else rows), day(0), day(60))
    missing = {hit.transaction_id: hit.facts["missing"] for hit in hits}
    assert missing == expected_breaks(lines)
    days = {row["txn_id"]: row["date"] for row in rows}
    assert all(str(hit.audit_on) == days[hit.transaction_id] for hit in hits)


def line_of(name: str, on: int, amount: int, balance: int | None, place: int = 0) -> Line:
    printed = None if balance is None else Decimal(balance)
    return Line(name, day(on), place, Decimal(amount), printed)


@often
@given(st.lists(st.lists(st.integers(-3, 3), min_size=1, max_size=5), max_size=6), st.randoms())
def test_a_true_statement_breaks_in_no_order_of_its_days(
    amounts: list[list[int]], rng: random.Random
) -> None:
    """Small amounts, so that balances come back and circles and detours are common."""
    balance, lines = 0, list[Line]()
    for on, of_day in enumerate(amounts):
        today = []
        for amount in of_day:
            balance += amount
            today.append(line_of(f"{len(lines) + len(today)}", on, amount, balance))
        rng.shuffle(today)
        lines += today
    assert breaks(lines, Decimal("0.1")) == []


@often
@given(
    st.lists(
        st.lists(st.tuples(st.integers(-2, 2), st.integers(-2, 2)), min_size=1, max_size=4),
        min_size=1,
        max_size=3,
    )
)
def test_the_first_break_is_the_first_day_that_no_order_explains(
    days: list[list[tuple[int, int]]],
) -> None:
    """Any amounts with any balances, after thirty days that settle what the account prints."""
    lines = [
        line_of(f"s{n}", n, 1 + n % 2, sum(1 + m % 2 for m in range(n + 1))) for n in range(30)
    ]
    opening = int(lines[-1].balance or 0)
    first_broken: dt.date | None = None
    for n, of_day in enumerate(days):
        on = 40 + n
        base = opening + sum(amount for before in days[:n] for amount, _ in before)
        today = [
            line_of(f"{n}-{k}", on, amount, base + offset)
            for k, (amount, offset) in enumerate(of_day)
        ]
        lines += today
        closing = base + sum(amount for amount, _ in of_day)
        everywhere = len(today) > 1 and all(line.balance == closing for line in today)
        explained = everywhere or any(
            all(
                line.balance == base + sum(before.amount for before in order[: k + 1])
                for k, line in enumerate(order)
            )
            for order in permutations(today)
        )
        if not explained and first_broken is None:
            first_broken = day(on)
    found_breaks = breaks(lines, Decimal("0.1"))
    assert (found_breaks[0].line.on if found_breaks else None) == first_broken


def test_a_day_of_many_lines_in_any_order_is_judged_at_once() -> None:
    """A permutation of five thousand lines is found and not searched for."""
    rng = random.Random(5)
    balance, lines = 0, [line_of("first", 0, 1, 0)]
    for n in range(5_000):
        amount = rng.randint(-500, 500)
        balance += amount
        lines.append(line_of(f"l{n}", 1, amount, balance))
    rest = lines[1:]
    rng.shuffle(rest)
    assert breaks([lines[0], *rest], Decimal("0.5")) == []

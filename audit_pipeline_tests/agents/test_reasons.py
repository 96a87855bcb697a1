"""Every signal's sentence says the figures that plain Python finds."""

import datetime as dt
import math
import re
import unicodedata
from collections.abc import Callable
from dataclasses import replace

import pytest

from audit_pipeline.agents.anomaly_detection import scoring
from audit_pipeline_tests.charges_in_tables import (
    LIMIT,
    START,
    by_id,
    make,
    rows,
    run,
    town,
)
from audit_pipeline_tests.scores_by_hand import Books, Charge, level, quantile

SIGHT = scoring.Sight(ahead=True)
NEVER_MORE = "has never paid more than 36.50 (12 other charges)"
WEEK = "within 7 days"
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()


def habits() -> list[Charge]:
    """A card that pays ACME twelve times and Globex five times, another that pays Initech."""
    usual = Charge(0, "card 1", "ACME", "food", 2_000, START.replace(hour=9))
    acme = [
        replace(usual, cents=2_000 + 150 * n, made_at=usual.made_at + dt.timedelta(days=3 * n))
        for n in range(12)
    ]
    globex = [
        replace(usual, vendor="Globex", category="travel", cents=9_000 + 77 * n,
                made_at=usual.made_at + dt.timedelta(days=5 * n))
        for n in range(5)
    ]  # fmt: skip
    initech = [
        replace(usual, entity="card 2", vendor="Initech", cents=60_000 + 130 * n,
                made_at=usual.made_at + dt.timedelta(days=2 * n, hours=4))
        for n in range(9)
    ]  # fmt: skip
    found = [*acme, *globex, *initech]
    return [replace(charge, id=n) for n, charge in enumerate(found)]


ODD = Charge(
    1_000, "card 1", "ACME", "food", 1_234_500, START + dt.timedelta(days=33, hours=23, minutes=5)
)
FIRST = replace(ODD, id=1_001, vendor="Hooli", category="", cents=240_000)
SECOND = replace(FIRST, id=1_002, vendor="Pied Piper", cents=300_000)


def told_only(name: str, charge: Charge) -> str:
    """The reasons of a charge if that signal were all that speaks."""
    make("reported", f"SELECT {charge.id} AS id")
    columns = ", ".join(f"CAST({int(one == name)} AS FLOAT) AS {one}" for one in scoring.SIGNALS)
    make("counted", f"SELECT {charge.id} AS id, CAST(1 AS DOUBLE) AS bits, {columns}")
    make("scored", f"SELECT {charge.id} AS id, 1.0 AS bits, 0 AS companions, 1.0 AS unit,"
        " 1.0 AS units, 11.3 AS score")  # fmt: skip
    return tell()


def tell() -> str:
    name_everything()
    (row,) = rows("reasons")
    return row["reasons"]


def name_everything() -> None:
    for key in ("entity", "vendor", "category"):
        make(f"{key}_names", f"SELECT DISTINCT {key}, {key} AS name FROM audit.timeline")
    for table, sql in scoring.reasons(SIGHT, LIMIT, scoring.ASPECTS):
        make(table, sql)


def of_log(log_amount: float) -> str:
    return f"{math.exp(log_amount):,.2f}"


def middle(books: Books, vendor: str) -> str:
    return of_log(quantile([c.log_amount for c in books.known if c.vendor == vendor], 0.5))


def beyond(books: Books) -> float:
    """How far the card's usual charge is from the usual one of its category."""
    own = [c for c in books.known if c.entity == "card 1"]
    return quantile([c.log_amount - books.categories[c.category].middle for c in own], 0.5)


def spent(books: Books) -> str:
    usual = level([books.spent[c.id] for c in books.known if c.entity == "card 1"], 0.1)
    return of_log(usual.middle + books.end_beyond(ODD, usual))


Figures = Callable[[Books], str]
SENTENCES: dict[str, tuple[Charge, str | Figures]] = {
    "amount_category": (ODD, lambda b: "12,345.00 where food usually costs "
        + of_log(b.categories["food"].middle)),
    "amount_vendor": (ODD, lambda b: "12,345.00 at ACME which usually charges "
        + middle(b, "ACME")),
    "amount_entity": (ODD, lambda b: "12,345.00 where card 1 would usually spend "
        + of_log(b.categories["food"].middle + beyond(b))),
    "amount_pair": (ODD, f"12,345.00 at ACME where card 1 {NEVER_MORE}"),
    "tail_company": (ODD, "only one in 29 charges is as large as 12,345.00"),
    "tail_category": (ODD, "only one in 44 charges in food is as large as 12,345.00"),
    "tail_vendor": (ODD, "only one in 26 charges at ACME is as large as 12,345.00"),
    "tail_entity": (ODD, "only one in 40 charges of card 1 is as large as 12,345.00"),
    "category_entity": (ODD, "card 1 spends on food only in 12 of 19 other charges"),
    "category_vendor": (ODD, "ACME is booked as food only in 12 of 12 other charges"),
    "pair_new": (FIRST, "card 1 pays Hooli for the first time, as in one in 10 of its charges"),
    "vendor_rare": (FIRST, "Hooli has only 0 other charge(s)"),
    "vendor_new": (FIRST, "Hooli was first paid on this day"),
    "hour_category": (ODD, "at 23:00, the hour of only 0 of 21 other charges in food"),
    "hour_entity": (ODD, "at 23:00, the hour of only 2 of 19 other charges of card 1"),
    "weekday_entity": (ODD, lambda b: f"on a {DAYS[ODD.day.weekday()]}, the day of only "
        f"{weekday(b, 'entity')} of 19 other charges of card 1"),
    "weekday_vendor": (ODD, lambda b: f"on a {DAYS[ODD.day.weekday()]}, the day of only "
        f"{weekday(b, 'vendor')} of 12 other charges at ACME"),
    "velocity": (ODD, lambda b: "4 charges of card 1 within a day, where "
        f"{2 * b.usual_a_day(ODD):.1f} would be usual"),
    "spent": (ODD, lambda b: "17,781.50 spent by card 1 within a day, where "
        f"{spent(b)} would be usual"),
    "new_vendors": (FIRST, "2 vendors new to card 1 within a day"),
    "duplicate": (ODD, f"the same amount again at ACME {WEEK}"),
    "near_duplicate": (ODD, f"an amount of the same digits in another order at ACME {WEEK}"),
    "decimal_slip": (ODD, "12,345.00 is ten or a hundred times another amount at ACME"),
    "split": (FIRST, "part of charges at Hooli that reach the limit of 2,500.00 within 2 days"),
    "below_limit": (FIRST, "2,400.00 is just below the limit of 2,500.00"),
    "round_amount": (FIRST, "2,400.00 is a round sum, which Hooli hardly ever charges"),
}  # fmt: skip


def weekday(books: Books, key: str) -> int:
    return sum(
        c.day.weekday() == ODD.day.weekday() and getattr(c, key) == getattr(ODD, key)
        for c in books.known
        if c.id != ODD.id
    )


@pytest.fixture(scope="module")
def books() -> Books:
    found = Books([*habits(), ODD, FIRST, SECOND], ahead=True, limit=LIMIT)
    run(found)
    return found


@pytest.mark.parametrize("name", scoring.SIGNALS)
def test_a_sentence(books: Books, name: str) -> None:
    charge, said = SENTENCES[name]
    expected = said if isinstance(said, str) else said(books)
    assert told_only(name, charge) == f"100 %: {expected}"


@pytest.mark.parametrize("known", [True, False])
def test_a_charge_without_others_is_not_its_own_usual(known: bool) -> None:  # noqa: FBT001
    """What is usual is then said of the level above: the category, or all cards."""
    alone = replace(ODD, entity="card 9", vendor="Vandelay", known=known)
    books = Books([*habits(), alone], ahead=known, limit=LIMIT)
    run(books)
    food = of_log(books.categories["food"].middle)
    cards = of_log(quantile(books.spent.values(), 0.5))
    for name, said in {
        "amount_vendor": f"12,345.00 at Vandelay which usually charges {food}",
        "amount_pair": f"12,345.00 at Vandelay which usually charges {food}",
        "amount_entity": f"12,345.00 where card 9 would usually spend {food}",
        "spent": f"12,345.00 spent by card 9 within a day, where {cards} would be usual",
    }.items():
        assert told_only(name, alone) == f"100 %: {said}"


def test_no_more_than_was_paid_before() -> None:
    """An equal charge is not above what was paid before; against history alone neither is it."""
    twin = replace(ODD, id=1_003, made_at=ODD.made_at + dt.timedelta(days=20))
    run(Books([*habits(), ODD, twin], ahead=True, limit=LIMIT))
    assert "usually pays" in told_only("amount_pair", twin)
    later = replace(ODD, known=False)
    run(Books([*habits(), later], ahead=False, limit=LIMIT))
    assert NEVER_MORE in told_only("amount_pair", later)


def test_shares_are_of_all(books: Books) -> None:
    """Rounding adds nothing to a hundred: two halves of a percent are not one each."""
    run(books)
    halves = {"amount_pair": 0.505, "pair_new": 0.495}
    make("reported", f"SELECT {ODD.id} AS id")
    columns = ", ".join(f"CAST({halves.get(one, 0)} AS FLOAT) AS {one}" for one in scoring.SIGNALS)
    make("counted", f"SELECT {ODD.id} AS id, CAST(1 AS DOUBLE) AS bits, {columns}")
    make("scored", f"SELECT {ODD.id} AS id, 1.0 AS bits, 0 AS companions, 1.0 AS unit,"
        " 1.0 AS units, 11.3 AS score")  # fmt: skip
    assert sum(shares(tell())) <= 100


def shares(text: str) -> list[int]:
    return [int(share) for share in re.findall(r"(?:^|; )(\d+) %: ", text)]


def test_the_strongest_first_and_no_more_than_all() -> None:
    charges = town(8)
    run(Books(charges, ahead=True, limit=LIMIT))
    scored = by_id("scored")
    make("reported", "SELECT id FROM audit.scored")
    name_everything()
    raised = 0
    for row in rows("reasons"):
        found = shares(row["reasons"])
        companions = "other unusual charge(s)" in row["reasons"]
        own = found[:-1] if companions else found
        assert own == sorted(own, reverse=True)
        assert len(own) <= 3
        assert sum(found) <= 100
        assert bool(found) == (scored[row["id"]]["bits"] > 0)
        raised += companions
        if companions:
            assert f"{scored[row['id']]['companions']:.0f} other unusual" in row["reasons"]
    assert raised


def test_a_name_has_no_control_characters() -> None:
    names = ["a\nb", "a\x1b[31mb", "a\x85b", "a\x9bb", "a\x00b", "\t\r\n"]
    odd = [
        replace(ODD, id=2_000 + n, vendor=name, entity=name, category=name)
        for n, name in enumerate(names)
    ]
    run(Books([*habits(), *odd], ahead=True, limit=LIMIT))
    for charge in odd:
        for signal in ("category_entity", "category_vendor"):
            text = told_only(signal, charge)
            assert not [sign for sign in text if unicodedata.category(sign) == "Cc"]

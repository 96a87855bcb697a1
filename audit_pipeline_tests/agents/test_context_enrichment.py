"""Context enrichment: missing receipts and approvals, and the documents that speak of a charge."""

import datetime as dt
import unicodedata
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from audit_pipeline.model.query import Query
from audit_pipeline.model.untrusted import visible
from audit_pipeline_tests.books_of import (
    Gold,
    Hit,
    Row,
    books_of,
    charged,
    day,
    email,
    findings,
    found_ids,
    holds_as_of,
    ledger,
    receipt,
    rules_with,
    run,
    together,
)

HOSTILE = "O'Neill {amount} {0} %s $from_on\n😀 \"; DROP TABLE x; --"
RULE_IDS = ("CX-01", "CX-02", "CX-03")


def at(number: int, hour: int) -> dt.datetime:
    return dt.datetime.combine(day(number), dt.time(hour))


@pytest.mark.parametrize("rule_id", RULE_IDS)
def test_no_rows_and_incomplete_rows_make_no_findings(rule_id: str) -> None:
    assert findings(rule_id, {}, day(0), day(60)) == []
    gold: Gold = {
        **charged(ledger("a", "9000.00", "HARBOUR", day(31))),
        "emails": [
            email(None, "a@x", day(30), "s", "approved 9000"),
            email("e1", None, day(30), "s", "approved 9000"),
            email("e2", "a@x", None, "s", "approved 9000"),
            email("e3", "a@x", day(30), None, "approved 9000"),
            email("e4", "a@x", day(30), "s", None),
        ],
        "receipts": [receipt(None, "9.00", "A", day(30)), receipt("r", None, None, None)],
        "calendar_events": [{"event_id": None, "title": None, "date": None}],
    }
    assert findings(rule_id, gold, day(0), day(60), as_of=day(60)) == []


# ── CX-01: no receipt ─────────────────────────────────────────────────────────────────────────────


def receipted(
    seen: int = 20, without: int = 0, amount: str = "80.00", with_receipt: int | None = None
) -> Gold:
    """So many charges of January, all but some with receipts, and `open` of February 5."""
    gold = charged(
        *(
            ledger(f"t{n}", f"{130 + n}.00", f"CAFE {chr(65 + n)}", day(n % 15))
            for n in range(seen)
        ),
        ledger("open", amount, "TAVERN", day(35)),
        category="food",
    )
    gold["receipts"] = [
        receipt(f"r{n}", f"{130 + n}.00", f"CAFE {chr(65 + n)}", day(n % 15))
        for n in range(without, seen)
    ]
    if with_receipt is not None:
        gold["receipts"].append(receipt("own", amount, "TAVERN", day(with_receipt)))
    return gold


def test_cx01_finds_the_charge_without_a_receipt_after_two_weeks() -> None:
    later = {
        "receipts": [receipt("late", "80.00", "TAVERN", day(50))],
        **charged(ledger("l", "500.00", "CAFE", day(51)), category="food"),
    }
    (hit,) = holds_as_of("CX-01", receipted(), day(49), later)
    assert hit.transaction_id == "open"
    assert hit.facts["usual_share"] == "100 %"
    assert (hit.facts["category"], hit.facts["days_open"]) == ("food", "14")
    assert found_ids("CX-01", receipted(), day(0), day(100)) == ["open"]


@pytest.mark.parametrize(
    ("gold", "found"),
    [
        (receipted(seen=19), False),
        (receipted(without=3), True),
        (receipted(without=4), False),
        (receipted(amount="75.00"), True),
        (receipted(amount="74.99"), False),
        (receipted(with_receipt=35), False),
        (receipted(with_receipt=38), False),
        (receipted(with_receipt=39), True),
    ],
)
def test_cx01_is_against_custom(gold: Gold, *, found: bool) -> None:
    """Twenty charges of which 85 % have one, from 75 dollars; three days around the charge."""
    assert (found_ids("CX-01", gold, day(49)) == ["open"]) is found


def test_cx01_asks_the_charges_of_that_size_first() -> None:
    """Small ones that never have a receipt do not excuse a large one, once enough are known."""
    small = charged(
        *(ledger(f"s{n}", "80.00", f"KIOSK {chr(65 + n)}", day(n % 15)) for n in range(20)),
        category="food",
    )
    assert found_ids("CX-01", together(receipted(), small), day(49)) == []
    large = receipted(amount="140.00")
    assert found_ids("CX-01", together(large, small), day(49)) == ["open"]


# ── approvals ─────────────────────────────────────────────────────────────────────────────────────


def thread(
    amount: str,
    vendor: str,
    asked: int,
    answered: int,
    reply: str = "Approved, go ahead.",
    name: str = "",
) -> list[Row]:
    """A question and its answer; the answer at noon, charges are made at ten."""
    name = name or f"{vendor}-{amount}-{asked}"
    subject = f"Approval needed: {vendor} {amount}"
    return [
        email(
            f"{name}-q",
            "ann@x.com",
            at(asked, 8),
            subject,
            f"May I buy for {amount}?",
            thread_id=name,
        ),
        email(f"{name}-a", "boss@x.com", at(answered, 12), f"Re: {subject}", reply, thread_id=name),
    ]


def approved(before: int = 3, unapproved: int = 0) -> Gold:
    """Large charges of January, so many approved the day before and so many not at all."""
    gold = charged(
        *(
            ledger(f"t{n}", f"{3000 + 500 * n}.00", f"HARBOUR {chr(65 + n)}x", at(5 + n, 10))
            for n in range(before + unapproved)
        ),
        cardholder="Ann Lee",
    )
    gold["emails"] = [
        mail
        for n in range(before)
        for mail in thread(f"{3000 + 500 * n}.00", f"Harbour {chr(65 + n)}x", 4 + n, 4 + n)
    ]
    return gold


def large(
    amount: str = "5000.00", vendor: str = "MARINA", mails: Sequence[Row] = (), on: int = 40
) -> Gold:
    """A charge of February 10 with its mails, after a custom of approvals."""
    return together(
        approved(),
        charged(ledger("big", amount, vendor, at(on, 10)), cardholder="Ann Lee"),
        {"emails": list(mails)},
    )


def test_cx03_finds_the_charge_without_an_approval() -> None:
    later = {"emails": thread("5000.00", "Marina", 55, 56)}
    (hit,) = holds_as_of("CX-03", large(), day(54), later)
    assert (hit.transaction_id, hit.measured, hit.threshold) == ("big", 5000, 2500)
    assert hit.facts["usual_share"] == "100 %"
    assert found_ids("CX-02", large(), day(0), day(100)) == []


@pytest.mark.parametrize(
    ("mails", "cx02", "cx03"),
    [
        (thread("5000.00", "Marina", 39, 39), False, False),
        (thread("5,000.00", "Marina", 39, 39), False, False),
        (thread("5000", "Marina", 39, 39), False, False),
        (thread("5000.00", "Marina", 39, 40), True, False),
        (thread("5000.00", "Marina", 39, 54), True, False),
        (thread("5000.00", "Marina", 39, 55), False, True),
        (thread("5000.00", "Marina", -6, -5), False, False),
        (thread("5000.00", "Marina", -7, -6), False, True),
        (thread("5250.00", "Marina for Ann Lee", 39, 39), False, False),
        (thread("5300.00", "Marina for Ann Lee", 39, 39), False, True),
        (thread("5000.00", "Somebody else", 39, 39), False, True),
        (thread("5000.00", "Marina", 39, 39, "Not approved."), False, True),
        (thread("5000.00", "Marina", 39, 39, "This needs to be approved by Zoe."), False, True),
        (thread("5000.00", "Marina", 39, 39, "I will think about it."), False, True),
        (thread("5000.00", "Marina", 39, 39)[:1], False, True),
        (thread("5000.00", "Marina", 39, 39)[1:], False, True),
    ],
)
def test_an_approval_is_an_answer_that_names_the_amount_and_the_vendor(
    mails: list[Row], *, cx02: bool, cx03: bool
) -> None:
    """By somebody else, from 45 days before; after the charge it is late, for 14 days."""
    gold = large(mails=mails)
    assert (found_ids("CX-02", gold, day(54)) == ["big"]) is cx02
    assert (found_ids("CX-03", gold, day(54)) == ["big"]) is cx03


def test_cx02_says_who_approved_when() -> None:
    later = {"emails": thread("5000.00", "Marina", 55, 55)}
    (hit,) = holds_as_of("CX-02", large(mails=thread("5000.00", "Marina", 40, 42)), day(54), later)
    assert hit.facts["approver"] == "boss@x.com"
    assert hit.facts["approved_on"] == day(42).isoformat()
    assert (hit.facts["days_after"], hit.measured) == ("2", 2)
    assert hit.cells["approver"] == ("gold.emails.sender", "Marina-5000.00-40-a")


def test_the_first_approval_counts() -> None:
    mails = [*thread("5000.00", "Marina", 39, 39), *thread("5000.00", "Marina", 40, 43)]
    assert findings("CX-02", large(mails=mails), day(54)) == []


def test_nobody_approves_their_own() -> None:
    mails = thread("5000.00", "Marina", 39, 39)
    mails[1]["sender"] = "Ann@X.com"
    assert found_ids("CX-03", large(mails=mails), day(54)) == ["big"]


def test_a_thread_without_an_id_is_one_by_its_subject() -> None:
    mails = [{**mail, "thread_id": None} for mail in thread("5000.00", "Marina", 39, 39)]
    assert found_ids("CX-03", large(mails=mails), day(54)) == []


def test_a_copy_of_a_mail_is_no_second_voice() -> None:
    """A later copy of the question's id, from another sender and approving, changes nothing."""
    question = thread("5000.00", "Marina", 39, 39)[0]
    copy = {**question, "sender": "boss@x.com", "body": "Approved 5000.00", "date": "2026-02-11"}
    assert found_ids("CX-03", large(mails=[question, copy]), day(54)) == ["big"]


@pytest.mark.parametrize("vendor", ["IBM", "UPS", "3M"])
def test_a_vendor_with_a_short_name_can_be_approved(vendor: str) -> None:
    mails = thread("5000.00", vendor, 39, 39)
    assert found_ids("CX-03", large(vendor=vendor, mails=mails), day(54)) == []


@pytest.mark.parametrize(("amount", "found"), [("2500.00", True), ("2499.99", False)])
def test_cx03_asks_from_the_limit_on(amount: str, *, found: bool) -> None:
    assert (found_ids("CX-03", large(amount), day(54)) == ["big"]) is found


@pytest.mark.parametrize("rule_id", ["CX-02", "CX-03"])
def test_each_rule_has_the_limit_that_it_states(rule_id: str) -> None:
    """Lowering the limit of one of the two finds its charges below the other's."""
    mails = thread("1000.00", "Marina", 40, 42) if rule_id == "CX-02" else []
    gold = large("1000.00", mails=mails)
    assert findings(rule_id, gold, day(54)) == []
    rules = rules_with(**{f"{rule_id.replace('-', '_')}__limit": 1000})
    assert found_ids(rule_id, gold, day(54), rules=rules) == ["big"]


@pytest.mark.parametrize(
    ("before", "unapproved", "found"), [(3, 0, True), (2, 0, False), (3, 3, True), (3, 4, False)]
)
def test_cx03_is_against_custom(before: int, unapproved: int, *, found: bool) -> None:
    """Three charges of the months before, of which half were approved beforehand."""
    gold = together(
        approved(before, unapproved),
        charged(ledger("big", "5000.00", "MARINA", at(40, 10)), cardholder="Ann Lee"),
    )
    assert (found_ids("CX-03", gold, day(54)) == ["big"]) is found


def test_hostile_mail_approves_nothing_and_breaks_nothing() -> None:
    mails = [email("e'", HOSTILE, at(39, 9), HOSTILE, HOSTILE * 50)]
    gold = large(vendor=HOSTILE, mails=mails)
    (hit,) = findings("CX-03", gold, day(54))
    assert hit.facts["vendor"] == HOSTILE


# ── CX-04: documents ──────────────────────────────────────────────────────────────────────────────


def documents(
    gold: Mapping[str, Sequence[Row]], audit_on: int, *ids: str, **more: float
) -> list[Hit]:
    """What is found about these suspects on an audit date."""
    suspects = pa.table(
        {
            "audit_on": pa.array([day(audit_on)] * len(ids), pa.date32()),
            "transaction_id": pa.array(list(ids), pa.string()),
            "points": pa.array([50] * len(ids), pa.int32()),
        }
    )
    with books_of(gold, day(audit_on), day(audit_on), rules=rules_with(**more)) as books:
        return run(books, books.enrich(suspects))


def cells(gold: Mapping[str, Sequence[Row]], audit_on: int) -> dict[str, tuple[str, str]]:
    hits = documents(gold, audit_on, "big")
    return dict(hits[0].cells) if hits else {}


def paper() -> Gold:
    """A charge of day 40 with a mail, a receipt and an event."""
    return together(
        charged(ledger("big", "512.30", "MARINA", day(40)), cardholder="Ann Lee"),
        {
            "emails": [email("e1", "ann@x.com", day(39), "Boat", "512.30 for the marina")],
            "receipts": [receipt("r1", "512.30", "Marina", day(40))],
            "calendar_events": [
                {
                    "event_id": "c1",
                    "title": "Sailing",
                    "date": day(41).isoformat(),
                    "attendees": ["ann.lee@x.com"],
                }
            ],
        },
    )


def test_cx04_attaches_what_speaks_of_the_charge() -> None:
    (hit,) = documents(paper(), 50, "big")
    assert hit.cells == {
        "receipt": ("gold.receipts.amount", "r1"),
        "email": ("gold.emails.body", "e1"),
        "calendar": ("gold.calendar_events.title", "c1"),
    }
    assert hit.facts["email"] == "Boat: 512.30 for the marina"
    assert (hit.measured, hit.score) == (Decimal(3), 0)


def test_cx04_knows_only_what_was_there() -> None:
    """A document dated after the audit date is not seen, one of the day is."""
    assert set(cells(paper(), 40)) == {"email"}
    assert set(cells(paper(), 41)) == {"email", "calendar"}
    assert set(cells(paper(), 43)) == {"email", "calendar", "receipt"}
    assert documents(paper(), 43, "unknown") == []
    assert documents(paper(), 43) == []


@pytest.mark.parametrize(
    ("on", "text", "found"),
    [
        (26, "512.30", True),
        (25, "512.30", False),
        (54, "512.30", True),
        (55, "512.30", False),
        (40, "the marina was nice", True),
        (40, "1,512.30", False),
        (40, "nothing", False),
        (40, "big", False),
    ],
)
def test_cx04_reads_mail_of_two_weeks_that_names_amount_or_vendor(
    on: int, text: str, *, found: bool
) -> None:
    gold = charged(ledger("big", "512.30", "MARINA", day(40)))
    gold["emails"] = [email("e", "a@x", day(on), "Hi", text, related_transactions=["big"])]
    hits = documents(gold, 60, "big", CX_04__search_top=0)
    assert [h.cells["email"] for h in hits] == ([("gold.emails.body", "e")] if found else [])


def test_cx04_attaches_each_document_once_and_no_more_than_some() -> None:
    """Copies of a mail are one; the strongest five are kept."""
    gold = paper()
    gold["emails"] += [
        gold["emails"][0],
        *(email(f"m{n}", "a@x", day(38), "Marina", f"note {n}") for n in range(9)),
    ]
    with books_of(gold, day(50), day(50)) as books:
        query = books.enrich(
            pa.table({"audit_on": [day(50)], "transaction_id": ["big"], "points": [50]})
        )
        (row,) = books.warehouse.rows(query)
    rows = [cell["row_id"] for cell in row["evidence"]]  # pyright: ignore[reportGeneralTypeIssues, reportIndexIssue]
    assert len(rows) == len(set(rows)) == 5
    assert {"e1", "r1"} <= set(rows)


def test_cx04_quotes_in_one_line_and_hostile_text_as_it_is() -> None:
    gold = charged(ledger("big", "512.30", HOSTILE, day(40)), cardholder=HOSTILE)
    gold["emails"] = [email("e'", HOSTILE, day(40), HOSTILE, f"512.30 {HOSTILE}" + "x" * 500)]
    (hit,) = documents(gold, 50, "big")
    assert len(hit.facts["email"]) == 160
    assert "\n" not in hit.facts["email"]
    assert "{amount} {0} %s $from_on 😀" in hit.facts["email"]
    assert hit.cells["email"][1] == "e'"


def test_cx04_has_the_version_of_its_rule() -> None:
    """A finding keeps the version of the rule that made it."""
    with books_of(paper(), day(50), day(50), rules=rules_with(CX_04__version=7)) as books:
        query = books.enrich(
            pa.table({"audit_on": [day(50)], "transaction_id": ["big"], "points": [50]})
        )
        (row,) = books.warehouse.rows(Query(query.sql, query.parameters))
    assert row["rule_version"] == 7


# ── mail by thread ────────────────────────────────────────────────────────────────────────────────


def talk(name: str | None, *texts: str, subject: str = "Boat", on: int = 39) -> list[Row]:
    """Mails of one thread, one a day."""
    return [
        email(f"{subject}{n}", "a@x", day(on + n), subject, text, thread_id=name)
        for n, text in enumerate(texts)
    ]


def told(mails: Sequence[Row], audit_on: int = 60, **more: float) -> list[tuple[str, str]]:
    """Name and row of the mails that are evidence of the charge of day 40, best first."""
    gold = charged(ledger("big", "512.30", "MARINA", day(40)))
    gold["emails"] = list(mails)
    suspects = {"audit_on": [day(audit_on)], "transaction_id": ["big"], "points": [50]}
    rules = rules_with(CX_04__search_top=0, **more)
    with books_of(gold, day(audit_on), day(audit_on), rules=rules) as books:
        rows = books.warehouse.rows(books.enrich(pa.table(suspects)))
    evidence: Any = [cell for row in rows for cell in row["evidence"]]  # pyright: ignore[reportGeneralTypeIssues]
    return [(cell["name"], cell["row_id"]) for cell in evidence]


def test_cx04_attaches_the_rest_of_a_thread_after_what_names_the_charge() -> None:
    mails = talk("t", "ask Bob", "512.30 it is", "fine, thanks")
    assert told(mails) == [("email", "Boat1"), ("thread", "Boat0"), ("thread", "Boat2")]
    alone = [{**mail, "thread_id": f"t{n}"} for n, mail in enumerate(mails)]
    assert told(alone) == [("email", "Boat1")]
    assert told(talk("t", "ask Bob", "it is", "thanks")) == []


def test_cx04_the_rest_of_a_thread_is_weaker_than_any_mail_that_names_the_charge() -> None:
    """Of a thread that names the amount it is stronger than of one that names the vendor."""
    vendor = talk("v", "to the marina", "well", subject="Trip")
    assert told([*vendor, *talk("t", "512.30", "fine")]) == [
        ("email", "Boat0"),
        ("email", "Trip0"),
        ("thread", "Boat1"),
        ("thread", "Trip1"),
    ]


@pytest.mark.parametrize(
    ("limit", "rows"), [(0, []), (1, ["Boat4"]), (2, ["Boat4", "Boat6"]), (20, None)]
)
def test_cx04_reads_the_nearest_mails_of_a_thread_only(limit: int, rows: list[str] | None) -> None:
    mails = talk("t", *["hm"] * 5, "512.30", *["hm"] * 5, on=36)
    found = told(mails, CX_04__per_thread=limit, CX_04__per_transaction=50)
    rest = [row for name, row in found if name == "thread"]
    assert rest == rows if rows is not None else len(rest) == 10


@pytest.mark.parametrize(
    ("on", "audit_on", "found"),
    [
        (26, 60, True),
        (25, 60, False),
        (54, 60, True),
        (55, 60, False),
        (45, 45, True),
        (45, 44, False),
    ],
)
def test_cx04_a_mail_of_a_thread_is_of_the_window_and_was_there(
    on: int, audit_on: int, *, found: bool
) -> None:
    mails = [*talk("t", "512.30"), *talk("t", "fine", subject="Re: Boat", on=on)]
    assert (("thread", "Re: Boat0") in told(mails, audit_on)) is found


@pytest.mark.parametrize(
    ("subjects", "found"),
    [
        (("Boat", "Re: Boat"), True),
        (("AW: boat", "Boat"), True),
        (("Fwd: Re: Boat", "BOAT"), True),
        (("Boat", "Boat"), False),
        (("Boat", "Re: Boats"), False),
        (("Re: ", "Fw: "), False),
    ],
)
def test_cx04_a_thread_without_an_id_is_one_by_its_subject(
    subjects: tuple[str, str], *, found: bool
) -> None:
    """With an answer in it: a weekly letter is no thread, nor are mails without a subject."""
    naming, other = subjects
    mails = [
        email("naming", "a@x", day(39), naming, "512.30"),
        email("other", "b@x", day(40), other, "fine"),
    ]
    assert (("thread", "other") in told(mails)) is found


def test_cx04_quotes_only_what_a_person_would_see() -> None:
    """What `visible` takes out is not in the evidence; unassigned code points aside.

    NUL does not come so far: the fixture reader refuses it.
    """
    characters = [chr(c) for c in range(1, 0x10FFFF) if not 0xE010 <= c <= 0xF8FF and c < 0xF0000]
    hidden = [c for c in characters if unicodedata.category(c) != "Cs" and not visible(c)]
    assigned = [c for c in hidden if unicodedata.category(c) != "Cn"]
    assert {"\x1b", "\u200b", "\u202e", "\u2066", "\ufeff", "\ufe0f", "\u3164"} <= set(assigned)
    gold = charged(ledger("big", "512.30", "MARINA", day(40)))
    text = f"512.30{''.join(assigned)}\u2028 \x85\tok\U000e0041."
    gold["emails"] = [email("e", "a@x", day(40), "Boat", text)]
    (hit,) = documents(gold, 60, "big", CX_04__search_top=0)
    assert hit.facts["email"] == "Boat: 512.30 ok."

"""Who approved, from where, and what was made only after the fact: CX-05 to CX-07."""

import datetime as dt
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_pipeline.model.query import Query
from audit_pipeline_tests.books_of import (
    Gold,
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
    together,
)

RULE_IDS = ("CX-05", "CX-06", "CX-07")


def at(number: int, hour: int) -> dt.datetime:
    return dt.datetime.combine(day(number), dt.time(hour))


def thread(
    amount: str,
    vendor: str,
    asked: int,
    answered: int,
    asker: str = "zoe.ray@firm.example",
    approver: str = "max.boss@firm.example",
) -> list[Row]:
    """A question at eight and its approval at noon; charges are made at ten."""
    name = f"{vendor}-{amount}-{asked}-{approver}"
    subject = f"Approval needed: {vendor} {amount}"
    return [
        email(f"{name}-q", asker, at(asked, 8), subject, "May I?", thread_id=name),
        email(
            f"{name}-a",
            approver,
            at(answered, 12),
            f"Re: {subject}",
            "Ok, approved.",
            thread_id=name,
        ),
    ]


def custom(threads: int = 5, **who: str) -> Gold:
    """So many large charges of January, each approved the day before."""
    gold = charged(
        *(
            ledger(f"t{n}", f"{3000 + 500 * n}.00", f"HARBOUR {chr(65 + n)}x", at(5 + n, 10))
            for n in range(threads)
        ),
        cardholder="Zoe Ray",
    )
    gold["emails"] = [
        mail
        for n in range(threads)
        for mail in thread(f"{3000 + 500 * n}.00", f"Harbour {chr(65 + n)}x", 4 + n, 4 + n, **who)
    ]
    return gold


def large(mails: Sequence[Row], amount: str = "5000.00", cardholder: str = "Ann Lee") -> Gold:
    """A charge of February 10, with its mails, after that custom."""
    return together(
        custom(),
        charged(ledger("big", amount, "MARINA", at(40, 10)), cardholder=cardholder),
        {"emails": list(mails)},
    )


def approved_by(
    approver: str, asker: str = "zoe.ray@firm.example", answered: int = 39
) -> list[Row]:
    return thread("5000.00", "Marina", 39, answered, asker, approver)


def found(gold: Gold, audit_on: int = 54) -> set[str]:
    """The rules of approvals that find the charge."""
    rules = ("CX-02", "CX-03", "CX-05", "CX-06")
    return {rule_id for rule_id in rules if "big" in found_ids(rule_id, gold, day(audit_on))}


@pytest.mark.parametrize("rule_id", RULE_IDS)
def test_no_rows_and_incomplete_rows_make_no_findings(rule_id: str) -> None:
    assert findings(rule_id, {}, day(0), day(60)) == []
    gold: Gold = {
        **charged(ledger("a", "9000.00", "HARBOUR", day(31))),
        "emails": [
            email("e1", "nobody", day(30), "harbour", "9000?", thread_id="t"),
            email("e2", "", day(30), "harbour", "approved 9000", thread_id="t"),
            email("e3", "@", day(30), "harbour", "approved 9000", thread_id="t"),
        ],
        "receipts": [receipt(None, "9.00", "A", day(30)), receipt("r", None, None, None)],
    }
    assert findings(rule_id, gold, day(0), day(60), as_of=day(60)) == []


# ── CX-05: approved by the spender ────────────────────────────────────────────────────────────────


def test_cx05_names_who_approved_their_own_charge() -> None:
    later = {"emails": approved_by("max.boss@firm.example", answered=55)[1:]}
    (hit,) = holds_as_of("CX-05", large(approved_by("Ann.Lee@firm.example")), day(54), later)
    assert (hit.transaction_id, hit.measured, hit.threshold, hit.score) == ("big", 5000, 2500, 50)
    assert hit.facts["approver"] == "ann.lee@firm.example"
    assert hit.facts["cardholder"] == "Ann Lee"
    assert hit.facts["approved_on"] == day(39).isoformat()
    source, row_id = hit.cells["approver"]
    assert source == "gold.emails.sender"
    assert row_id.endswith("-a")


@pytest.mark.parametrize(
    ("approver", "asker", "cardholder", "rules"),
    [
        ("max.boss@firm.example", "ann.lee@firm.example", "Ann Lee", set()),
        ("ann.lee@firm.example", "zoe.ray@firm.example", "Ann Lee", {"CX-05"}),
        ("lee_ann@firm.example", "zoe.ray@firm.example", "Ann Lee", {"CX-05"}),
        ("annlee7@firm.example", "zoe.ray@firm.example", "Ann Lee", {"CX-05"}),
        ("leeann@firm.example", "zoe.ray@firm.example", "Ann Lee", {"CX-05"}),
        ("ann.lee+ok@firm.example", "zoe.ray@firm.example", "Ann Lee", {"CX-05"}),
        ("Ann Lee <ann.lee@firm.example>", "zoe.ray@firm.example", "ANN B. LEE", {"CX-05"}),
        ("ann.lee@mail.example", "ann.lee@firm.example", "Ann Lee", {"CX-05"}),
        ("al@mail.example", "al@firm.example", "Ann Lee", {"CX-05"}),
        ("al@mail.example", "al@firm.example", "Marketing", {"CX-05"}),
        ("anna.lee@firm.example", "zoe.ray@firm.example", "Ann Lee", set()),
        ("ann.leeds@firm.example", "zoe.ray@firm.example", "Ann Lee", set()),
        ("lee@firm.example", "zoe.ray@firm.example", "Ann Lee", set()),
        ("marketing@firm.example", "zoe.ray@firm.example", "Marketing", set()),
        ("max.boss@firm.example", "zoe.ray@firm.example", "", set()),
    ],
)
def test_cx05_knows_a_person_by_the_name_before_the_at(
    approver: str, asker: str, cardholder: str, rules: set[str]
) -> None:
    """In either order, with digits or a tag; or as who asked, at another domain."""
    assert found(large(approved_by(approver, asker), cardholder=cardholder)) == rules


def test_an_approval_by_somebody_else_counts_before_ones_own() -> None:
    own = approved_by("ann.lee@firm.example")
    assert found(large([*own, *approved_by("max.boss@firm.example")])) == set()
    late = approved_by("max.boss@firm.example", answered=42)
    assert found(large([*own, *late])) == {"CX-02"}


@pytest.mark.parametrize(("amount", "rules"), [("2500.00", {"CX-05"}), ("2499.99", set())])
def test_cx05_asks_from_the_limit_on(amount: str, rules: set[str]) -> None:
    mails = thread(amount, "Marina", 39, 39, approver="ann.lee@firm.example")
    assert found(large(mails, amount)) == rules


NAMES = st.lists(st.sampled_from(["ann", "lee", "max", "ray", "kim"]), max_size=3)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(NAMES, NAMES, NAMES, st.sampled_from(".-_7"))
def test_who_is_the_spender_is_that_of_plain_python(
    holder: list[str], approver: list[str], asker: list[str], between: str
) -> None:
    """Of the cardholder's two names or more each is a word of the approver's; or the asker's."""
    local, asked_by = between.join(approver), between.join(asker)
    mails = approved_by(f"{local}@firm.example", f"{asked_by}@mail.example")
    gold = large(mails, cardholder=" ".join(holder).title())
    joined = "".join(approver)
    is_holder = len(holder) >= 2 and (
        set(holder) <= set(approver) or joined in ("".join(holder), "".join(holder[::-1]))
    )
    expected = is_holder or (bool(local) and local == asked_by)
    assert ("CX-05" in found(gold)) is expected


# ── CX-06: approved from a foreign domain ─────────────────────────────────────────────────────────


def test_cx06_names_the_domain_that_is_not_the_companys() -> None:
    later = {"emails": thread("7000.00", "Quay", 55, 55, approver="x@mail.example")}
    (hit,) = holds_as_of("CX-06", large(approved_by("max.boss@mail.example")), day(54), later)
    assert (hit.transaction_id, hit.measured, hit.score) == ("big", 0, 50)
    assert hit.facts["foreign_domain"] == "mail.example"
    assert hit.facts["what_it_is"] == "none of the company's domains"


@pytest.mark.parametrize(
    ("domain", "what"),
    [
        ("firm.example", None),
        ("FIRM.example", None),
        ("berlin.firm.example", None),
        ("xfirm.example", "firm.example"),
        ("f1rm.example", "firm.example"),
        ("firrn.example", "firm.example"),
        ("flrm.example", "firm.example"),
        ("f\u0456rm.example", "firm.example"),
        ("firm.test", "firm.example"),
        ("firm.example.evil.test", "firm.example"),
        ("mail.example", ""),
        ("evil.test", ""),
    ],
)
def test_cx06_tells_look_alikes(domain: str, what: str | None) -> None:
    hits = findings("CX-06", large(approved_by(f"max.boss@{domain}")), day(54))
    said = [hit.facts["what_it_is"] for hit in hits]
    if what is None:
        assert said == []
    elif what:
        assert said == [f"a look-alike of the company's {what}"]
    else:
        assert said == ["none of the company's domains"]


@pytest.mark.parametrize(("threads", "is_found"), [(5, True), (4, False)])
def test_cx06_needs_to_know_the_companys_domains(threads: int, *, is_found: bool) -> None:
    """Five approvals of the months before, asked for and given; of the same month none."""
    big = charged(ledger("big", "5000.00", "MARINA", at(40, 10)), cardholder="Ann Lee")
    same_month = thread("9000.00", "Quay", 33, 33)
    mails = {"emails": [*approved_by("max.boss@mail.example"), *same_month]}
    assert ("CX-06" in found(together(custom(threads), big, mails))) is is_found


@pytest.mark.parametrize(("own", "is_found"), [(4, False), (5, True)])
def test_cx06_a_tenth_of_the_approvals_is_the_companys(own: int, *, is_found: bool) -> None:
    """One voice of ten before the month is a domain of the company, one of twelve is not."""
    before = thread("8888.00", "Quay", 20, 20, approver="eve@mail.example")
    big = charged(ledger("big", "5000.00", "MARINA", at(40, 10)), cardholder="Ann Lee")
    mails = {"emails": [*approved_by("max.boss@mail.example"), *before]}
    assert ("CX-06" in found(together(custom(own), big, mails))) is is_found


def test_an_approval_from_inside_counts_before_one_from_outside() -> None:
    outside = approved_by("max.boss@mail.example")
    assert found(large([*outside, *approved_by("max.boss@firm.example")])) == set()
    assert found(large(outside)) == {"CX-06"}
    assert found(large(approved_by("ann.lee@mail.example"))) == {"CX-05"}


def test_approvals_from_outside_make_no_custom() -> None:
    """CX-03's custom is of proper approvals: three of the five of January are from outside."""
    december = together(
        *({"emails": thread("9999.00", f"Pier {n}", -20 + n, -20 + n)} for n in range(5))
    )
    mixed = custom(2)
    for n in range(2, 5):
        mixed = together(
            mixed,
            charged(ledger(f"t{n}", "4000.00", f"WHARF {chr(65 + n)}x", at(5 + n, 10))),
            {
                "emails": thread(
                    "4000.00", f"Wharf {chr(65 + n)}x", 4 + n, 4 + n, approver="q@mail.example"
                )
            },
        )
    big = charged(ledger("big", "5000.00", "MARINA", at(40, 10)), cardholder="Ann Lee")
    assert found(together(mixed, big)) == {"CX-03"}
    assert found(together(december, mixed, big)) == set()


# ── CX-07: made after the fact ────────────────────────────────────────────────────────────────────


def test_cx07_an_approval_after_the_finding_does_not_clear_it() -> None:
    """It is found missing on the day the rule is ripe, and named when it comes."""
    gold = large(approved_by("max.boss@firm.example", answered=60))
    assert found(gold) == {"CX-03"}
    later = {"emails": thread("7000.00", "Quay", 90, 90)}
    (hit,) = holds_as_of("CX-07", gold, day(74), later)
    assert (hit.transaction_id, hit.measured, hit.threshold, hit.score) == ("big", 20, 14, 30)
    assert (hit.facts["document"], hit.facts["days_after"]) == ("The approval", "20")
    assert hit.facts["made_on"] == day(60).isoformat()
    assert hit.cells["email_id"][1].endswith("-a")
    assert hit.cells["receipt_id"] == ("gold.receipts.receipt_id", "")
    assert found_ids("CX-07", gold, day(0), day(120)) == ["big"]


@pytest.mark.parametrize(
    ("answered", "is_found"), [(54, False), (55, True), (130, True), (131, False)]
)
def test_cx07_approvals_from_the_fifteenth_day_to_the_ninetieth(
    answered: int, *, is_found: bool
) -> None:
    gold = large(approved_by("max.boss@firm.example", answered=answered))
    assert (found_ids("CX-07", gold, day(answered + 14)) == ["big"]) is is_found


@pytest.mark.parametrize(
    ("on", "is_found"), [(10, True), (60, False), (74, False), (75, True), (105, True), (106, True)]
)
def test_cx07_an_approval_of_another_charge_is_none_of_this(on: int, *, is_found: bool) -> None:
    """One of day 60 belongs to a like charge from 14 days before it to 14 after, known by then."""
    again = charged(ledger("again", "5000.00", "MARINA", at(on, 10)), cardholder="Ann Lee")
    gold = together(large(approved_by("max.boss@firm.example", answered=60)), again)
    assert ("big" in found_ids("CX-07", gold, day(74), day(74))) is is_found


def test_cx07_an_approved_charge_is_not_approved_late() -> None:
    mails = [*approved_by("max.boss@firm.example"), *thread("5000.00", "Marina", 60, 60)]
    assert findings("CX-07", large(mails), day(0), day(120)) == []


def bought(made_on: int | None, amount: str = "80.00", **more: object) -> Gold:
    """A charge of February 5 at a tavern, and a receipt of its amount."""
    gold = charged(ledger("meal", "80.00", "TAVERN", day(35)), cardholder="Ann Lee")
    if made_on is not None:
        gold["receipts"] = [receipt("own", amount, "Tavern", day(made_on), **more)]
    return gold


def test_cx07_names_the_receipt_that_is_dated_later() -> None:
    later = {"receipts": [receipt("l", "80.00", "TAVERN", day(70))]}
    (hit,) = holds_as_of("CX-07", bought(45), day(59), later)
    assert (hit.transaction_id, hit.measured, hit.threshold) == ("meal", 10, 3)
    assert (hit.facts["document"], hit.facts["made_on"]) == ("The receipt", day(45).isoformat())
    assert hit.cells["receipt_id"] == ("gold.receipts.receipt_id", "own")
    assert hit.cells["email_id"] == ("gold.emails.email_id", "")


@pytest.mark.parametrize(
    ("gold", "is_found"),
    [
        (bought(None), False),
        (bought(34), False),
        (bought(38), False),
        (bought(39), True),
        (bought(125), True),
        (bought(126), False),
        (bought(45, "80.01"), False),
        (bought(45, cardholder="ann lee"), True),
        (bought(45, cardholder="Zoe Ray"), False),
    ],
)
def test_cx07_receipts_of_the_exact_amount_within_ninety_days(
    gold: Gold, *, is_found: bool
) -> None:
    assert (found_ids("CX-07", gold, day(0), day(200)) == ["meal"]) is is_found


def test_cx07_a_receipt_that_belongs_to_another_charge_is_not_late() -> None:
    again = charged(ledger("again", "80.00", "TAVERN", day(46)), cardholder="Ann Lee")
    assert findings("CX-07", together(bought(45), again), day(0), day(100)) == []
    earlier = charged(ledger("earlier", "80.00", "TAVERN", day(20)), cardholder="Ann Lee")
    assert found_ids("CX-07", together(bought(45), earlier), day(0), day(100)) == ["meal"]


def test_cx07_a_charge_with_its_receipt_has_no_late_one() -> None:
    gold = together(bought(35), {"receipts": [receipt("copy", "80.00", "TAVERN", day(50))]})
    assert findings("CX-07", gold, day(0), day(100)) == []


def test_cx07_two_documents_of_a_day_are_one_finding() -> None:
    """The approval is named; hostile text in either changes nothing."""
    hostile = "x'; DROP TABLE y; -- {amount}"
    gold = large(approved_by("max.boss@firm.example", answered=60))
    gold["receipts"] = [receipt(hostile, "5000.00", "MARINA", day(60))]
    gold["receipts"] += [receipt("second", "5000.00", "MARINA", day(61))]
    hits = findings("CX-07", gold, day(74), day(75))
    assert [(hit.audit_on, hit.facts["document"]) for hit in hits] == [
        (day(74), "The approval"),
        (day(75), "The receipt"),
    ]


def test_the_companys_domains_are_those_before_the_month() -> None:
    """A month's approvals, and what comes after it, change nothing in it."""
    gold = large(approved_by("max.boss@mail.example"))
    more = together(
        *(
            {"emails": thread("9000.00", f"Quay {n}", 41, 41, approver="q@mail.example")}
            for n in range(9)
        )
    )
    query = Query("SELECT month_on, domain FROM audit.foreign_domains")
    for content in (gold, together(gold, more)):
        with books_of(content, day(54), day(54)) as books:
            books.need("foreign_domains")
            assert books.warehouse.rows(query) == [{"month_on": day(31), "domain": "mail.example"}]

"""What no one-to-one match took: batches and reversals explain a line, near amounts only help."""

import pytest

from audit_pipeline_tests.books_of import (
    Gold,
    bank_line,
    day,
    findings,
    found_ids,
    holds_as_of,
    ledger,
    rules_with,
    together,
)

PARTS = (("p1", "311.17"), ("p2", "88.41"), ("p3", "1204.93"))
TOTAL = "1604.51"


def company() -> Gold:
    """Forty bank payments that agree by id: the bank pays ledger entries, and names are known."""
    names = ["HARBOR DINER", "NIMBUS LABS", "OAKMONT LEGAL", "ZEPHYR FOODS"]
    rows = [(f"n{i}", f"{37 + 13 * i}.{10 + i}", names[i % 4], day(i % 20)) for i in range(40)]
    return {
        "recent_transactions": [ledger(*row, "bank") for row in rows],
        "bank_accounts": [bank_line(*row) for row in rows],
    }


def paid_together(total: str = TOTAL) -> Gold:
    """Three invoices of one vendor, paid by one bank line under another id."""
    return together(
        company(),
        {
            "recent_transactions": [
                ledger(name, amount, "WAYNE SUPPLY", day(5), "bank") for name, amount in PARTS
            ],
            "bank_accounts": [bank_line("run", total, "WAYNE SUPPLY", day(6))],
        },
    )


def test_a_batch_explains_its_parts_and_its_total() -> None:
    gold = paid_together()
    assert found_ids("RC-03", gold, day(0), day(40)) == []
    assert found_ids("RC-04", gold, day(0), day(40)) == []


def test_a_total_that_is_a_cent_off_explains_nothing() -> None:
    gold = paid_together("1604.52")
    assert found_ids("RC-03", gold, day(0), day(40)) == ["p1", "p2", "p3"]
    assert found_ids("RC-04", gold, day(0), day(40)) == ["run"]


def test_an_unsure_reversal_is_shown_and_not_taken_for_granted() -> None:
    """The same name in and out, without a word or a reference that says so."""
    gold = together(
        company(),
        {
            "recent_transactions": [
                ledger("v1", "431.77", "STARK GROUP", day(5), "bank"),
                ledger("v2", "-431.77", "STARK GROUP", day(7), "bank"),
            ]
        },
    )
    hits = findings("RC-03", gold, day(0), day(40))
    assert {hit.transaction_id for hit in hits} == {"v1", "v2"}
    assert {hit.facts["grouped_as"] for hit in hits} == {"offset"}
    assert all("in and out" in str(hit.facts["grouped_why"]) for hit in hits)
    assert (
        found_ids("RC-03", gold, day(0), day(40), rules=rules_with(RC_03__explained_min=0.7)) == []
    )


def test_the_batch_is_known_on_the_day_and_needs_nothing_later() -> None:
    later: Gold = {"bank_accounts": [bank_line("later", TOTAL, "WAYNE SUPPLY", day(16))]}
    assert holds_as_of("RC-03", paid_together(), day(15), later) == []
    without = paid_together()
    without["bank_accounts"] = [r for r in without["bank_accounts"] if r["txn_id"] != "run"]
    hits = holds_as_of("RC-03", without, day(15), later)
    assert [hit.transaction_id for hit in hits] == ["p1", "p2", "p3"]


@pytest.mark.parametrize(("text", "found"), [("VOID STARK GROUP", []), ("HOOLI", ["v1", "v2"])])
def test_an_entry_that_was_taken_back_is_no_orphan(text: str, found: list[str]) -> None:
    gold = together(
        company(),
        {
            "recent_transactions": [
                ledger("v1", "431.77", "STARK GROUP", day(5), "bank"),
                ledger("v2", "-431.77", text, day(7), "bank"),
            ]
        },
    )
    assert found_ids("RC-03", gold, day(0), day(40)) == found


def test_a_finding_names_what_came_nearest() -> None:
    """Another amount, four per cent off, twice: neither is taken, both are shown with terms."""
    gold = together(
        company(),
        {
            "recent_transactions": [ledger("gone", "500.00", "HARBOR DINER", day(5), "bank")],
            "bank_accounts": [bank_line("other", "519.00", "ZEPHYR FOODS", day(8))],
        },
    )
    (hit,) = findings("RC-03", gold, day(15))
    assert set(hit.facts) >= {
        "nearest_id",
        "nearest_probability",
        "nearest_terms",
        "nearest_rivals",
    }
    assert hit.facts["nearest_id"] in ("other", "none")
    if hit.facts["nearest_id"] == "other":
        assert float(hit.facts["nearest_probability"]) < 0.5
        assert "amount" in hit.facts["nearest_terms"]

"""Invoice numbers and payees' accounts: the patterns in SQL against the same in plain Python."""

import datetime as dt
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_pipeline.agents.anomaly_detection import scoring
from audit_pipeline.agents.anomaly_detection.scoring.documents import FIELDS

START = dt.date(2025, 1, 1)
ALL = frozenset(FIELDS)
Hits = dict[int, tuple[set[str], set[str]]]


@dataclass(frozen=True)
class Paid:
    """A charge with its documents."""

    invoice: str = ""
    account: str = ""
    vendor: str = "Globex"
    entity: str = "card"
    cents: int = 5_000
    after_days: int = 0


def found(charges: Sequence[Paid], fields: Collection[str] = ALL) -> Hits:
    """Place → rules and habits, of those that have any."""
    numbers = {name: n for n, name in enumerate(sorted({charge.vendor for charge in charges}))}
    columns = {
        "id": pa.array(range(len(charges)), pa.int32()),
        "entity": pa.array([charge.entity for charge in charges], pa.string()),
        "vendor": pa.array([numbers[charge.vendor] for charge in charges], pa.int32()),
        "vendor_name": pa.array([charge.vendor for charge in charges], pa.string()),
        "cents": pa.array([charge.cents for charge in charges], pa.int64()),
        "day": pa.array([START + dt.timedelta(c.after_days) for c in charges], pa.date32()),
        **{name: pa.array([getattr(c, name) for c in charges], pa.string()) for name in fields},
    }
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("CREATE SCHEMA audit")
        connection.register("told", pa.table(columns))
        connection.execute("CREATE TABLE audit.documents AS SELECT * FROM told")
        for name, sql in scoring.documents(fields):
            connection.execute(f"CREATE TABLE audit.{name} AS {sql}")
        rows = connection.execute("SELECT id, rules, habits FROM audit.document_hits").fetchall()
    return {place: (_split(rules), _split(habits)) for place, rules, habits in rows}


def _split(text: str | None) -> set[str]:
    return set(text.split(", ")) if text else set()


# ── plain Python ────────────────────────────────────────────────────────────────────────────────


def _normal(text: str) -> str:
    bare = "".join(sign for sign in text.lower() if unicodedata.category(sign)[0] in "LN")
    return re.sub(r"(?<![0-9])0+(?=[0-9])", "", bare)


def _is_known(text: str) -> bool:
    return any(sign in text for sign in "123456789")


def _numbered(text: str) -> tuple[str, int] | None:
    end = len(text)
    while end and unicodedata.category(text[end - 1])[0] not in "LN":
        end -= 1
    start = end
    while start and text[start - 1] in "0123456789":
        start -= 1
    return (_normal(text[:start]), int(text[start:end])) if start < end else None


def by_hand(charges: Sequence[Paid]) -> Hits:
    """Each charge is compared with every other."""
    hits: Hits = defaultdict(lambda: (set(), set()))
    paid = {n: c for n, c in enumerate(charges) if c.cents > 0 and _is_known(c.invoice)}
    for n, charge in paid.items():
        same = [n for n, c in paid.items() if _is_same(c, charge)]
        if len(same) > 1:
            hits[n][_is_habit(paid, charge)].add("invoice_again")
        row = _row_of(list(paid.values()), charge)
        days = [c.after_days for c in row.values()]
        if len(row) >= 3 and max(days) - min(days) >= 30:
            hits[n][0].add("invoice_run")
    for n, charge in enumerate(charges):
        account = "".join(charge.account.lower().split())
        payees = {
            "".join(c.vendor.lower().split())
            for c in charges
            if _is_known(account) and "".join(c.account.lower().split()) == account
        }
        if len(payees - {""}) > 1:
            hits[n][0].add("account_shared")
    return dict(hits)


def _is_same(one: Paid, other: Paid) -> bool:
    return one.vendor == other.vendor and _normal(one.invoice) == _normal(other.invoice)


def _is_habit(paid: dict[int, Paid], charge: Paid) -> bool:
    """Whether more than one in eight of the vendor's other charges repeat an invoice too."""
    others = [c for c in paid.values() if not _is_same(c, charge)]
    again = [c for c in others if sum(_is_same(c, o) for o in others) > 1]
    own = sum(c.vendor == charge.vendor for c in others)
    own_again = sum(c.vendor == charge.vendor for c in again)
    company = len(again) / max(len(others), 1)
    return (own_again + 10 * company) / (own + 10) > 1 / 8


def _row_of(paid: Sequence[Paid], charge: Paid) -> dict[int, Paid]:
    """Number → its first charge, of the consecutive numbers around the charge's."""
    numbered = _numbered(charge.invoice)
    if numbered is None:
        return {}
    prefix, number = numbered
    known: dict[int, Paid] = {}
    for c in sorted(paid, key=lambda c: c.after_days):
        place = _numbered(c.invoice)
        if place and place[0] == prefix and (c.entity, c.vendor) == (charge.entity, charge.vendor):
            known.setdefault(place[1], c)
    lowest = highest = number
    while lowest - 1 in known:
        lowest -= 1
    while highest + 1 in known:
        highest += 1
    return {n: known[n] for n in range(lowest, highest + 1)}


INVOICES = st.one_of(
    st.builds(
        "{}{}{}".format,
        st.sampled_from(["", "", "INV-", "inv ", "2025/", "Ä0", "№ "]),
        st.sampled_from(["7", "8", "9", "10", "010", "0011", "12"]),
        st.sampled_from(["", "", " ", ".", "-A", "²"]),
    ),
    st.sampled_from(["", "n/a", "0", "000", "9" * 30, "7'; --"]),
)
ACCOUNTS = st.sampled_from(["", "", "n/a", "DE12 34", "de1234", "DE 1235", "0000"])
VENDORS = st.sampled_from(["Globex", "GLOBEX ", "Hooli", "", "Zoë & Söhne"])


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    st.lists(
        st.builds(
            Paid,
            invoice=INVOICES,
            account=ACCOUNTS,
            vendor=VENDORS,
            entity=st.sampled_from("ab"),
            cents=st.sampled_from([5_000, 5_000, 700, -5_000, 0]),
            after_days=st.sampled_from([0, 1, 29, 30, 31, 400]),
        ),
        max_size=40,
    )
)
def test_the_patterns_are_those_of_plain_python(charges: list[Paid]):
    assert found(charges) == by_hand(charges)


# ── examples ────────────────────────────────────────────────────────────────────────────────────


def rules(charges: Sequence[Paid]) -> list[set[str]]:
    hits = found(charges)
    return [hits.get(place, (set(), set()))[0] for place in range(len(charges))]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("INV-0012", "inv 12", True),
        ("0012", " 12 ", True),
        ("2025/0012", "2025-0012.", True),
        ("INV-12", "INV-120", False),
        ("INV-12", "INX-12", False),
        ("2025-12", "2025-012", False),
        ("", "", False),
        ("n/a", "N/A", False),
        ("000", "0", False),
    ],
)
def test_the_same_number_in_another_spelling(one: str, other: str, same: bool):  # noqa: FBT001
    charges = [Paid(one), Paid(other, cents=123, entity="another", after_days=700), Paid("X-99")]
    assert rules(charges) == [{"invoice_again"} if same else set()] * 2 + [set()]


def test_another_vendor_or_a_refund_is_not_paid_again():
    assert rules([Paid("A1"), Paid("A1", vendor="Hooli"), Paid("A1", cents=-5_000)]) == [set()] * 3


def test_an_invoice_paid_ten_times_is_no_habit():
    """Unless the vendor's other invoices come several times as well: lines of one each."""
    again = [Paid("A1", after_days=n) for n in range(10)]
    assert rules(again) == [{"invoice_again"}] * 10
    lines = [Paid(f"B{7 * (1 + n // 3)}") for n in range(30)]
    hits = found(again + lines)
    assert [hits[n] for n in range(40)] == [(set(), {"invoice_again"})] * 40


@pytest.mark.parametrize(
    ("change", "is_run"),
    [
        (lambda charges: charges, True),
        (lambda charges: charges[:2], False),
        (lambda charges: [*charges[:2], replace(charges[2], after_days=29)], False),
        (lambda charges: [*charges[:2], replace(charges[2], invoice="R-12")], False),
        (lambda charges: [*charges[:2], replace(charges[2], invoice="S-11")], False),
        (lambda charges: [*charges[:2], replace(charges[2], entity="another")], False),
        (lambda charges: [*charges[:2], replace(charges[2], vendor="Hooli")], False),
        (lambda charges: [*charges[:2], replace(charges[2], invoice="R 0011")], True),
        (lambda charges: list(reversed(charges)), True),
    ],
)
def test_three_in_a_row_over_a_month(
    change: Callable[[list[Paid]], list[Paid]],
    is_run: bool,  # noqa: FBT001
):
    usual = [Paid("R-9"), Paid("R-10", after_days=15), Paid("R-11", after_days=30)]
    charges = change(usual)
    assert rules(charges) == [{"invoice_run"} if is_run else set()] * len(charges)


def test_another_series_of_the_vendor_is_no_part_of_a_run():
    """Its numbers may lie between."""
    run = [Paid(f"R-{9 + n}", after_days=20 * n) for n in range(4)]
    assert rules([*run, Paid("S-10"), Paid("S-12")]) == [{"invoice_run"}] * 4 + [set()] * 2


def test_one_account_under_two_names():
    """Blanks and case aside, of the account and of the names."""
    charges = [
        Paid(account="DE12 3456", vendor="Globex"),
        Paid(account="de123456", vendor="Hooli", cents=-100),
        Paid(account="DE99", vendor="Globex"),
        Paid(account="DE99", vendor="GLO BEX"),
        Paid(account="", vendor="Initech"),
    ]
    assert rules(charges) == [{"account_shared"}] * 2 + [set()] * 3


def test_only_what_is_there_is_looked_at():
    charges = [Paid("A1", "DE1"), Paid("A1", "DE1", vendor="Hooli"), Paid("A1", "DE1")]
    assert scoring.documents(()) == ()
    assert set(found(charges, ["invoice"])) == {0, 2}
    assert found(charges, ["account"])[1] == ({"account_shared"}, set())
    assert {name for name, _ in scoring.documents(["account"])} == {"document_hits"}
    assert found([]) == {}

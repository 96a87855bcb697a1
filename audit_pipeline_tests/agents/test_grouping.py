"""What one-to-one matching leaves: offsets, batches and near amounts, and no accidents."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_pipeline.agents.reconciliation.grouping import Group, Limits, Line, group
from audit_pipeline.agents.reconciliation.grouping_sides import false_shares
from audit_pipeline_tests.bank_ledger import BankLedger, Row, make

quickly = settings(max_examples=80, deadline=None, derandomize=True)

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
VENDORS = ("Harbor Freight", "Nimbus Labs", "Oakmont Legal", "Zephyr Foods", "Cobalt Media")


def line(id: str, day: int, dollars: float, text: str, reference: str = "") -> Line:  # noqa: A002
    return Line(id, day, round(dollars * 100), text, reference)


def bystanders(side: str) -> list[Line]:
    """Forty lines of names and amounts that match nothing; without them no word is rare."""
    rows = random.Random(side)
    return [
        line(f"{side}-{i}", 1000 + i, rows.uniform(500, 90_000), "".join(rows.sample(LETTERS, 12)))
        for i in range(40)
    ]


def grouped(left: Sequence[Line], right: Sequence[Line]) -> list[Group]:
    """The groups among these lines and forty bystanders a side."""
    return group([*left, *bystanders("G")], [*right, *bystanders("B")])


def ids(
    groups: Sequence[Group], left: Sequence[Line], right: Sequence[Line]
) -> set[tuple[str, frozenset[str], frozenset[str]]]:
    return {
        (
            one.kind,
            frozenset(left[i].id for i in one.left),
            frozenset(right[i].id for i in one.right),
        )
        for one in groups
    }


# ── offsets ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("first", "second", "is_linked"),
    [
        (("Nimbus Labs", "JE0017"), ("Zephyr Foods", "JE0017R"), True),
        (("Nimbus Labs", "JE0017"), ("to clear JE0017", ""), True),
        (("Nimbus Labs", ""), ("VOID Nimbus Labs", ""), True),
        (("Nimbus Labs", ""), ("Reversing entry", ""), True),
        (("Nimbus Labs", ""), ("Nimbus Labs", ""), True),
        (("Nimbus Labs", ""), ("Zephyr Foods", ""), False),
        (("Nimbus Labs", "JE"), ("Zephyr Foods", "JE"), False),
    ],
)
def test_an_offset_needs_a_link(
    first: tuple[str, str], second: tuple[str, str], *, is_linked: bool
) -> None:
    lines = [line("a", 10, 750.5, *first), line("b", 14, -750.5, *second)]
    offsets = [one.kind for one in group(lines, [])]
    assert offsets == (["offset"] if is_linked else [])
    assert [one.right for one in group([], lines)] == ([(0, 1)] if is_linked else [])


@pytest.mark.parametrize(("days", "is_near"), [(31, True), (32, False)])
def test_an_offset_is_near_in_days(days: int, *, is_near: bool) -> None:
    lines = [line("a", 0, 90, "Nimbus Labs"), line("b", days, -90, "VOID Nimbus Labs")]
    assert bool(group(lines, [])) == is_near


def test_a_word_alone_does_not_choose_between_two() -> None:
    """`Reversing entry` could take back either; a name decides."""
    either = [line("a", 0, 90, "Nimbus Labs"), line("b", 0, 90, "Zephyr Foods")]
    assert not group([*either, line("c", 2, -90, "Reversing entry")], [])
    named = group([*either, line("c", 2, -90, "Reversal Zephyr Foods")], [])
    assert [one.left for one in named] == [(1, 2)]


def test_the_nearest_is_taken_back_among_equals() -> None:
    """Two charges and two reversals of the same text: each takes back the one next to it."""
    lines = [
        line("a", 0, 90, "Nimbus Labs"),
        line("b", 1, -90, "VOID Nimbus Labs"),
        line("c", 20, 90, "Nimbus Labs"),
        line("d", 22, -90, "VOID Nimbus Labs"),
    ]
    assert {one.left for one in group(lines, [])} == {(0, 1), (2, 3)}


# ── batches ───────────────────────────────────────────────────────────────────────────────────────


def test_one_bank_line_pays_three_of_its_name() -> None:
    left = [
        line("a", 100, 1210.17, "Nimbus Labs inv 3301"),
        line("b", 101, 87.03, "Nimbus Labs inv 3302"),
        line("c", 101, 640.55, "Nimbus Labs inv 3303"),
        line("d", 102, 333.33, "Nimbus Labs inv 3304"),
    ]
    right = [line("x", 104, 1937.75, "ACH DEBIT NIMBUS LAB")]
    (one,) = grouped(left, right)
    assert (one.kind, one.left, one.right) == ("batch", (0, 1, 2), (0,))
    assert one.confidence > 0.95
    assert "1,937.75" in one.reason
    assert "no other set" in one.reason


def test_one_ledger_line_is_paid_in_two() -> None:
    left = [line("a", 100, -4100.4, "Oakmont Legal retainer")]
    right = [
        line("x", 101, -1600.15, "WIRE OAKMONT LEGAL"),
        line("y", 103, -2500.25, "WIRE OAKMONT LEGAL"),
    ]
    assert [(one.left, one.right) for one in grouped(left, right)] == [((0,), (0, 1))]


def test_a_family_needs_no_common_name_with_the_bank() -> None:
    """Lines of one day and one reference, paid by a line that names none of them."""
    left = [
        line(name, 100, 310.07 + 97.31 * i, name, "RUN-204") for i, name in enumerate(VENDORS[:4])
    ]
    right = [line("x", 102, sum(part.cents for part in left) / 100, "BATCH 88")]
    (one,) = grouped(left, right)
    assert one.left == (0, 1, 2, 3)


@pytest.mark.parametrize(
    ("bank_day", "is_paid"), [(96, False), (97, True), (115, True), (116, False)]
)
def test_a_batch_lies_in_the_window(bank_day: int, *, is_paid: bool) -> None:
    left = [line("a", 100, 1210.17, "Nimbus Labs"), line("b", 100, 87.03, "Nimbus Labs")]
    right = [line("x", bank_day, 1297.2, "NIMBUS LABS")]
    assert bool(grouped(left, right)) == is_paid


def test_a_name_both_cut_and_mistyped_is_asked_for_its_amount() -> None:
    """`LATNERN EQ` shares too little with one of its lines to name it, but fits to the cent."""
    texts = ("Lantern Equipment Inc inv 6611", "AP Lantern Equipment", "Lanter Equipment Inc")
    left = [
        line(text, 98 + i, dollars, text)
        for i, (text, dollars) in enumerate(zip(texts, (1210.17, 87.03, 640.55), strict=True))
    ]
    (one,) = grouped(left, [line("x", 104, 1937.75, "LATNERN EQ")])
    assert (one.kind, one.left) == ("batch", (0, 1, 2))


def test_a_kind_of_entry_is_told_by_a_word_of_its_day() -> None:
    """Twenty lines of a day are too many to try any set of; the wages among them are not."""
    others = [line(f"o{i}", 100, 211.13 + 37.77 * i, VENDORS[i % 5]) for i in range(16)]
    wages = [
        line(f"w{i}", 100, 1210.17 + 371.31 * i, f"Payroll {name}")
        for i, name in enumerate(("Ana Brown", "Ben Diaz", "Olga Ito", "Hugo Khan"))
    ]
    paid = sum(wage.cents for wage in wages[:3]) / 100
    found = grouped([*others, *wages], [line("x", 102, paid, "GUSTO DIRECT DEP")])
    assert [one.left for one in found if one.kind == "batch"] == [(16, 17, 18)]


def test_a_claim_is_judged_with_those_that_were_taken_before() -> None:
    """One accident in ten places is one in ten of a first claim, and one in fifty of a fifth."""
    assert false_shares([0.01], 10) == pytest.approx([0.1])
    assert false_shares([0.01], 10, found=4) == pytest.approx([0.02])


def test_signs_are_not_mixed() -> None:
    left = [line("a", 100, 1210.17, "Nimbus Labs"), line("b", 100, -410.13, "Nimbus Labs")]
    assert not grouped(left, [line("x", 101, 800.04, "NIMBUS LABS")])


def test_a_set_that_many_others_rival_is_not_taken() -> None:
    """Of twelve lines of round dollars many sets add up to a round sum: that proves nothing."""
    left = [line(f"a{i}", 100, 10 * (i + 1), f"Zephyr Foods {i}") for i in range(12)]
    found = grouped(left, [line("x", 101, 300, "ZEPHYR FOODS")])
    assert not any(one.kind == "batch" for one in found)


# ── near amounts ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("booked", "paid", "is_near"),
    [
        (8000.0, 8035.0, True),  # a wire fee
        (8000.5, 7768.49, True),  # a card fee of 2.9 %
        (8000.5, 8310.0, True),  # an exchange rate
        (8312.44, 8132.44, True),  # two digits swapped
        (8312.44, 3812.44, True),
        (8312.44, 8372.44, True),  # one digit mistyped
        (100.0, 143.0, False),  # a fee of a quarter and more
        (8312.44, 7312.55, False),
    ],
)
def test_a_near_amount(booked: float, paid: float, *, is_near: bool) -> None:
    left = [line("a", 100, booked, "Cobalt Media - invoice 2201")]
    right = [line("x", 102, paid, "POS COBALT MEDIA")]
    found = grouped(left, right)
    assert [(one.kind, one.left, one.right) for one in found] == [
        ("tolerant", (0,), (0,))
    ] * is_near


def test_a_near_amount_needs_a_name() -> None:
    left = [line("a", 100, 8000.5, "Cobalt Media")]
    assert not grouped(left, [line("x", 102, 8010.5, "OAKMONT LEGAL")])


# ── always ────────────────────────────────────────────────────────────────────────────────────────


def lines_of(side: str) -> st.SearchStrategy[list[Line]]:
    rows = st.tuples(
        st.integers(0, 12),
        st.sampled_from([-5000, -1999, 0, 100, 250, 1999, 2249, 5000, 7249, 12_345, 99_900]),
        st.sampled_from([*VENDORS, "", "VOID Nimbus Labs", "POS NIMBUS LABS 4411"]),
        st.sampled_from(["", "JE01", "JE01R", "4411"]),
    )
    return st.lists(rows, max_size=14).map(
        lambda drawn: [Line(f"{side}{i:02}", *row) for i, row in enumerate(drawn)]
    )


anything = Limits(false_share_max=1.0)
"""Takes every group that is found, so that the claims below have something to be about."""


@quickly
@given(left=lines_of("g"), right=lines_of("b"))
def test_no_line_is_used_twice_and_sums_are_exact(left: list[Line], right: list[Line]) -> None:
    groups = group(left, right, limits=anything)
    for side in ("left", "right"):
        used = Counter(i for one in groups for i in getattr(one, side))
        assert not used or max(used.values()) == 1
    for one in groups:
        assert 0 <= one.confidence <= 1
        cents = [
            sum(side[i].cents for i in of) for side, of in ((left, one.left), (right, one.right))
        ]
        if one.kind == "offset":
            assert len(one.left + one.right) == 2
            assert cents == [0, 0]
        elif one.kind == "batch":
            assert min(len(one.left), len(one.right)) == 1
            assert max(len(one.left), len(one.right)) > 1
            assert cents[0] == cents[1]
        else:
            assert (len(one.left), len(one.right)) == (1, 1)
            assert cents[0] * cents[1] > 0


@quickly
@given(left=lines_of("g"), right=lines_of("b"), seed=st.integers(0, 99))
def test_the_order_of_the_input_does_not_count(
    left: list[Line], right: list[Line], seed: int
) -> None:
    before = ids(group(left, right, limits=anything), left, right)
    shuffled = random.Random(seed)
    left, right = shuffled.sample(left, len(left)), shuffled.sample(right, len(right))
    assert ids(group(left, right, limits=anything), left, right) == before


def test_nothing_in_nothing_out() -> None:
    some = [line("a", 100, 10, "Nimbus Labs")]
    assert group([], []) == group(some, []) == group([], some) == []
    assert group([line("a", 1, 0, "")], [line("x", 1, 0, "")]) == []


def test_duplicates_are_told_apart_by_their_ids() -> None:
    """Two equal pairs of lines and two equal payments: each payment gets two of the four."""
    left = [
        line(id_, 100, dollars, "Nimbus Labs")
        for id_, dollars in (("a", 1210.17), ("b", 1210.17), ("c", 87.03), ("d", 87.03))
    ]
    right = [line(id_, 101, 1297.2, "NIMBUS LABS") for id_ in "xy"]
    found = ids(grouped(left, right), left, right)
    assert {kind for kind, *_ in found} == {"batch"}
    assert sorted(sorted(parts) for _, parts, _ in found) == [["a", "c"], ["b", "d"]]


# ── an invented company ───────────────────────────────────────────────────────────────────────────


def as_lines(rows: Sequence[Row]) -> list[Line]:
    return [
        Line(row.id, row.on.toordinal(), row.cents, row.description, row.reference) for row in rows
    ]


def trigrams(text: str) -> set[str]:
    return {text[i : i + 3] for i in range(len(text) - 2)}


def matched(ledger: Sequence[Line], bank: Sequence[Line]) -> set[tuple[str, str]]:
    """A stand-in for the one-to-one stage: equal amounts in the window, best trigrams first."""
    by_cents: defaultdict[int, list[Line]] = defaultdict(list)
    for entry in ledger:
        by_cents[entry.cents].append(entry)
    candidates: list[tuple[float, int, str, str]] = []
    for paid in bank:
        mine = trigrams(paid.text.upper())
        for entry in by_cents[paid.cents]:
            lag, theirs = paid.day - entry.day, trigrams(entry.text.upper())
            alike = len(mine & theirs) / max(1, min(len(mine), len(theirs)))
            if -3 <= lag <= 15 and alike >= 0.3:
                candidates.append((-round(alike, 2), abs(lag), paid.id, entry.id))
    pairs: dict[str, str] = {}
    for *_, paid_id, entry_id in sorted(candidates):
        if paid_id not in pairs and entry_id not in pairs.values():
            pairs[paid_id] = entry_id
    return set(pairs.items())


def reconciled(company: BankLedger) -> tuple[set[tuple[str, str]], dict[str, set[str]], int]:
    """(pairs, batches by bank id, true offsets found) of the stand-in and the groups together."""
    ledger, bank = as_lines(company.ledger), as_lines(company.bank)
    pairs = matched(ledger, bank)
    left = [x for x in ledger if x.id not in {entry for _, entry in pairs}]
    right = [x for x in bank if x.id not in {paid for paid, _ in pairs}]
    groups = group(left, right, background_left=ledger, background_right=bank)
    batches: dict[str, set[str]] = {}
    offsets = 0
    for one in groups:
        parts = {left[i].id for i in one.left}
        pairs |= {(right[j].id, part) for j in one.right for part in parts}
        if one.kind == "batch" and len(one.right) == 1:
            batches[right[one.right[0]].id] = parts
        offsets += tuple(sorted(parts)) in company.offsets
    return pairs, batches, offsets


def test_a_company_is_explained() -> None:
    """Seeds that are here for no reason but to be several."""
    hits = claims = truths = batches_found = batches = offsets_found = offsets = 0
    for seed in range(1, 6):
        company = make(600, seed)
        pairs, found, back = reconciled(company)
        hits += len(pairs & company.pairs)
        claims += len(pairs)
        truths += len(company.pairs)
        batches_found += sum(found.get(id_) == parts for id_, parts in company.batches.items())
        batches += len(company.batches)
        offsets_found += back
        offsets += len(company.offsets)
    assert 2 * hits / (claims + truths) > 0.99
    assert batches_found / batches > 0.97
    assert offsets_found / offsets > 0.97


def test_two_companies_have_nothing_in_common() -> None:
    """The ledger of one against the bank of another: what fits, fits by accident."""
    ledger, bank = as_lines(make(1000, 3).ledger), as_lines(make(1000, 4).bank)
    groups = group(ledger, bank)
    assert sum(one.kind == "batch" for one in groups) <= 1
    assert sum(one.kind == "tolerant" for one in groups) < len(bank) / 50

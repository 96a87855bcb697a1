"""What the benchmark of recurring payments measures with: streams, and detectors by hand."""

import datetime as dt
import math
import statistics
from collections import defaultdict

import pytest

from audit_pipeline_tests import bench_recurring
from audit_pipeline_tests.bench_recurring import (
    ANCHOR,
    AUDIT,
    CLEAN_PAYMENTS,
    DETECTORS,
    SCORE,
    STREAMS,
    VENDORS,
    Found,
    Ledger,
    Measured,
    Payment,
    lines,
    payments,
)

MADE = payments(3)
BY_VENDOR: dict[str, list[int]] = defaultdict(list)
for _place, _one in enumerate(MADE):
    BY_VENDOR[_one.vendor].append(_place)


def scores(detector: str, made: list[Payment] = MADE) -> list[float]:
    with Ledger(made) as ledger:
        return ledger.scores(detector)[0].tolist()


def test_the_same_seed_gives_the_same_payments() -> None:
    assert payments(3) == MADE != payments(4)
    assert len(BY_VENDOR) == VENDORS
    assert {MADE[places[0]].stream for places in BY_VENDOR.values()} == set(STREAMS)


def test_few_amounts_are_changed_and_none_at_the_beginning() -> None:
    """Nor any of a vendor that is paid when it comes."""
    changed = [one for one in MADE if one.changed]
    recurring = sum(one.stream != "irregular" for one in MADE)
    assert 0.012 < len(changed) / recurring < 0.025
    assert all(one.stream != "irregular" for one in changed)
    for places in BY_VENDOR.values():
        assert not any(MADE[place].changed for place in places[:CLEAN_PAYMENTS])
        days = [MADE[place].paid_on for place in places]
        assert days == sorted(days)


def test_a_changed_rent_is_far_from_the_others() -> None:
    rents = [[MADE[n] for n in places] for places in BY_VENDOR.values()]
    rents = [stream for stream in rents if stream[0].stream == "rent"]
    assert any(one.changed for stream in rents for one in stream)
    for stream in rents:
        usual = statistics.median(one.cents for one in stream if not one.changed)
        for one in stream:
            assert (abs(math.log(one.cents / usual)) > 0.2) == one.changed


@pytest.mark.parametrize(("before", "after"), [(3, 3), (6, 0)])
def test_neighbours_by_hand(before: int, after: int) -> None:
    """The distance from their median, and zero where the vendor has no cadence."""
    name = "three on each side" if after else "six before, closed"
    found, scaled = scores(name), scores(f"{name}, by spread")
    for places in BY_VENDOR.values():
        logs = [math.log(MADE[place].cents) for place in places]
        distances = [
            log - statistics.median(around) if around else None
            for at, log in enumerate(logs)
            for around in [logs[max(0, at - before) : at] + logs[at + 1 : at + 1 + after]]
        ]
        known = [one for one in distances if one is not None]
        middle = statistics.median(known)
        spread = max(statistics.median(abs(one - middle) for one in known), 0.01)
        cadence = MADE[places[0]].stream != "irregular"
        for place, distance in zip(places, distances, strict=True):
            expected = abs(distance or 0) if cadence else 0
            assert found[place] == pytest.approx(expected, abs=1e-9)
            assert scaled[place] == pytest.approx(expected / spread, abs=1e-7)


def test_the_product_compares_with_the_six_before() -> None:
    """Where its last gaps have a cadence, and otherwise not at all."""
    start = dt.date(2025, 1, 6)
    usual = [10_000, 10_000, 10_100, 10_100, 10_000, 10_100]
    days = [start + dt.timedelta(days=7 * week) for week in range(8)]
    made = [Payment("v", "rent", day, cents, changed=False)
            for day, cents in zip(days, [*usual, 20_000, 10_000], strict=True)]  # fmt: skip
    found = scores("AN-02's six before", made)
    assert found[6] == pytest.approx(math.log(2))
    assert found[7] == pytest.approx(math.log(10_100 / 10_000))
    assert found[:3] == [0, 0, 0]
    scaled = scores("AN-02's six before, by their spread", made)
    assert scaled[6] == pytest.approx(math.log(2) / 0.01)
    with Ledger(made) as ledger:
        assert ledger.named() == ({6}, {3, 4, 5, 6, 7})
    away = [Payment("v", "rent", start + dt.timedelta(days=n * n), 10_000, changed=False)
            for n in range(12)]  # fmt: skip
    with Ledger(away) as ledger:
        assert ledger.named()[0] == set()


def test_what_score_names_is_what_it_ranks_first() -> None:
    """Beside the neighbours by hand: the same distance, but for the least spread."""
    with Ledger(MADE) as ledger:
        ranked, named = ledger.scores("score's recurring_amount")[0], ledger.named_by_score()
    plain = scores("three on each side")
    assert named
    for place, one in enumerate(MADE):
        assert (ranked[place] > 0) <= (one.stream != "irregular")
        assert plain[place] > 0.05 or place not in named
        assert ranked[place] > 6 or place not in named
    assert all(MADE[place].changed for place in sorted(named, key=lambda n: -ranked[n])[:20])


def test_the_anchor_is_a_z_score() -> None:
    made = [Payment("v", "irregular", dt.date(2025, 1, n), cents, changed=False)
            for n, cents in enumerate([1_000, 1_000, 1_000, 5_000], start=1)]  # fmt: skip
    assert scores(ANCHOR, made) == pytest.approx([3**-0.5] * 3 + [3**0.5])


def test_what_is_told() -> None:
    """Each but the anchor beside the anchor, without a verdict."""
    each = {name: Measured(n / 10, n / 20, {"rent": 1.0}, 0.5)
            for n, name in enumerate(DETECTORS)}  # fmt: skip
    named = {AUDIT: (0.25, 0.5), SCORE: (0.125, 1.0)}
    told = list(lines(Found(100, 2, named, 0.75, each)))
    assert len(told) == len(DETECTORS) + 1
    assert told[0].ours == "0.1000, 0.50 s"
    assert told[0].anchor == "0.0000, 0.50 s z-score"
    assert told[-2].ours == "0.25 at a precision of 0.50"
    assert told[-1].ours == "0.12 at a precision of 1.00"
    assert {line.met for line in told} == {None}
    assert len(bench_recurring.by_stream(Found(100, 2, named, 0.75, {
        name: Measured(0.5, 0.5, dict.fromkeys(STREAMS[:-1], 0.5), 0.1) for name in DETECTORS
    })).splitlines()) == 2 + len(DETECTORS)  # fmt: skip

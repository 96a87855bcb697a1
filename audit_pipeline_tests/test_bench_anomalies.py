"""What the benchmark of scores measures with: its sets, that no truth leaks, and its measures."""

import datetime as dt
import random
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import average_precision_score

from audit_pipeline_tests import anomaly_faults as faults
from audit_pipeline_tests import card_habits
from audit_pipeline_tests.anomaly_faults import Charge
from audit_pipeline_tests.anomaly_sets import table, tile, write
from audit_pipeline_tests.bench_anomalies import Found, precisions, rules
from audit_pipeline_tests.bench_rivals import EXTENDED, SPEC, features, prepared
from audit_pipeline_tests.bench_scores import (
    Kind,
    Ranking,
    Scored,
    average_precision,
    places,
    precision_at,
    score,
)

MONDAY = dt.datetime.combine(dt.date(2024, 1, 1), dt.time())
DAY = dt.timedelta(days=1)


def _ordinary() -> list[Charge]:
    """Eighty cards, each with vendors of its own and a few that all have; half idle at weekends."""
    chance = random.Random(7)
    charges: list[Charge] = []
    for card in range(80):
        own = [f"vendor {card}-{n}" for n in range(5)] + [f"shop {n}" for n in range(4)]
        for _ in range(60):
            at = MONDAY + chance.randrange(500) * DAY
            if card % 2 and at.weekday() >= faults.SATURDAY:
                at -= 2 * DAY
            cents = chance.randint(1_000, 90_000)
            charges.append(Charge(f"{card}", chance.choice(own), f"category {card % 7}", cents, at))
    return sorted(charges, key=lambda charge: charge.at)


ORDINARY = _ordinary()
MADE: dict[str, list[Charge]] = defaultdict(list)
for _charge in faults.injected(ORDINARY, random.Random(3)):
    MADE[_charge.kind].append(_charge)


def _before(charge: Charge, days: int) -> list[Charge]:
    """The same card at the same vendor, on the same day or up to so many days before."""
    return [
        one
        for one in ORDINARY
        if (one.entity, one.vendor) == (charge.entity, charge.vendor)
        and dt.timedelta() <= charge.at - one.at <= days * DAY
    ]


def test_the_same_seed_gives_the_same_faults() -> None:
    """Eight kinds of about forty; another seed gives others."""
    again = faults.injected(ORDINARY, random.Random(3))
    assert again == [charge for kind in MADE.values() for charge in kind]
    assert again != faults.injected(ORDINARY, random.Random(4))
    assert len(MADE) == 8
    assert all(25 <= len(kind) <= 53 for kind in MADE.values())
    assert all(charge.at <= ORDINARY[-1].at for kind in MADE.values() for charge in kind)


def test_a_duplicate_repeats_a_charge_of_its_week() -> None:
    for charge in MADE["duplicate"]:
        assert charge.cents in {one.cents for one in _before(charge, 7)}


def test_a_near_duplicate_has_the_digits_of_a_charge_of_its_week() -> None:
    for charge in MADE["near_duplicate"]:
        week = {one.cents for one in _before(charge, 7)}
        assert charge.cents not in week
        assert sorted(str(charge.cents)) in [sorted(str(cents)) for cents in week]


def test_neighbouring_digits_change_places() -> None:
    """Neither into an amount of fewer digits nor into the same."""
    assert faults.transposed(12_33) == [21_33, 13_23]
    assert faults.transposed(10_00) == []


def test_a_slip_moves_the_point() -> None:
    for charge in MADE["decimal_slip"]:
        earlier = {one.cents for one in _before(charge, 1_000)}
        assert earlier & {charge.cents // 10, charge.cents // 100}
        assert charge.cents % 10 == 0


def test_a_spike_is_many_times_what_the_card_pays_there() -> None:
    for charge in MADE["amount_spike"]:
        least, most = faults.SPIKE
        times = [charge.cents / one.cents for one in _before(charge, 1_000)]
        assert any(least * 0.99 <= ratio <= most * 1.01 for ratio in times)


def test_a_split_goes_above_the_limit_within_days_and_each_part_stays_below() -> None:
    parts: dict[tuple[str, str], list[Charge]] = defaultdict(list)
    for charge in MADE["split_below_limit"]:
        parts[charge.entity, charge.vendor].append(charge)
        assert charge.cents < faults.LIMIT_CENTS
    for charges in parts.values():
        near = [one for one in charges if abs(one.at - charges[0].at) <= 2 * DAY]
        assert len(near) >= 2
        assert sum(one.cents for one in near) > faults.LIMIT_CENTS


def test_a_weekend_is_none_that_the_card_has() -> None:
    """Nor did it ever pay there."""
    for charge in MADE["personal_weekend"]:
        assert charge.at.weekday() >= faults.SATURDAY
        own = [one for one in ORDINARY if one.entity == charge.entity]
        weekends = sum(one.at.weekday() >= faults.SATURDAY for one in own)
        assert weekends <= faults.WEEKEND_SHARE_MAX * len(own)
        assert charge.vendor not in {one.vendor for one in own}


def test_a_phantom_vendor_is_new_and_paid_what_the_card_pays() -> None:
    vendors = Counter(charge.vendor for charge in MADE["phantom_vendor"])
    assert not vendors.keys() & {charge.vendor for charge in ORDINARY}
    assert len(vendors) == faults.PHANTOM_VENDORS
    for charge in MADE["phantom_vendor"]:
        own = [one.cents for one in ORDINARY if one.entity == charge.entity]
        assert any(abs(charge.cents - cents) <= 0.06 * cents for cents in own)


def test_a_takeover_is_a_burst_at_vendors_that_the_card_never_paid() -> None:
    bursts: dict[str, list[Charge]] = defaultdict(list)
    for charge in MADE["card_takeover"]:
        bursts[charge.entity].append(charge)
    for card, charges in bursts.items():
        assert len({charge.vendor for charge in charges}) == len(charges) == 8
        assert max(one.at for one in charges) - min(one.at for one in charges) <= DAY
        own = {one.vendor for one in ORDINARY if one.entity == card}
        assert not own & {one.vendor for one in charges}


def test_a_phantom_suits_its_card() -> None:
    """Its own vendor, a day on which it paid, about an amount of its own."""
    for charge in faults.phantoms(ORDINARY, random.Random(1)):
        own = [one for one in ORDINARY if one.entity == charge.entity]
        assert charge.at in {one.at for one in own}
        there = [one.cents for one in own if one.vendor == charge.vendor]
        assert any(abs(charge.cents - cents) <= 0.11 * cents for cents in there)


def test_simulated_fraud_is_rare_and_comes_in_bursts() -> None:
    """Most of it at night; the same seed gives the same rows."""
    made = card_habits.make(2, cards=30, charges=20_000)
    assert made == card_habits.make(2, cards=30, charges=20_000)
    frauds = [charge for charge in made if charge.kind]
    assert len(made) == 20_000
    assert len(frauds) == 120
    night = sum(charge.at.hour in card_habits.NIGHT_HOURS for charge in frauds)
    assert night / len(frauds) == pytest.approx(card_habits.NIGHT_SHARE, abs=0.12)
    for charge in frauds:
        near = [
            one
            for one in frauds
            if one.entity == charge.entity and abs(one.at - charge.at) <= 2 * DAY
        ]
        assert len(near) > 1


def test_an_extract_holds_its_truth_only_beside_it(tmp_path: Path) -> None:
    """Neither a column, nor an id, nor the order of the rows goes with it."""
    made = [charge for kind in MADE.values() for charge in kind]
    write(table(ORDINARY + made), tmp_path / "set", 1)
    extract = pq.read_table(tmp_path / "set" / "extract.parquet")
    names = ["id", "entity", "vendor", "category", "amount", "time"]
    assert extract.column_names == names
    truth = pq.read_table(tmp_path / "set" / "truth.parquet").to_pylist()
    rows = {row["id"]: row for row in extract.to_pylist()}
    assert len(rows) == len(ORDINARY) + len(made)
    said = Counter(
        (one["kind"], rows[one["id"]]["entity"], rows[one["id"]]["time"]) for one in truth
    )
    assert said == Counter((charge.kind, charge.entity, charge.at) for charge in made)
    times = extract["time"].to_pylist()
    assert times == sorted(times)
    unusual = np.isin(extract["id"].to_pylist(), [one["id"] for one in truth])
    numbers = [int(text[1:]) for text in extract["id"].to_pylist()]
    assert abs(np.corrcoef(numbers, unusual)[0, 1]) < 0.1


def test_copies_are_as_many_rows_as_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = card_habits.make(1, cards=5, charges=400)
    monkeypatch.setattr(card_habits, "make", lambda _: few)
    tile(tmp_path / "tiled", 1_000, 1)
    rows = pq.read_table(tmp_path / "tiled" / "extract.parquet")
    assert len(rows) == len(set(rows["id"].to_pylist())) == 1_000
    assert len(set(rows["entity"].to_pylist())) == 15


def test_precisions_are_those_of_the_books() -> None:
    """Average precision as scikit-learn has it, rows of one score counting at once."""
    chance = np.random.default_rng(1)
    unusual = chance.random(500) < 0.1
    scores = np.round(chance.random(500) + 0.3 * unusual, 1)
    expected = average_precision_score(unusual, scores)
    assert average_precision(scores, unusual) == pytest.approx(expected)
    assert precision_at(np.array([3.0, 2, 2, 1]), np.array([True, True, False, False]), 2) == 0.75
    assert places(np.array([1.0, 3, 2, 3])).tolist() == [1.0, 0.5, 0.75, 0.5]


def test_a_result_is_scored(tmp_path: Path) -> None:
    """Four charges: the two unusual ones come first and third; one rule is right, one a habit."""
    charges = [Charge("a", "v", None, 100 * n, MONDAY + n * DAY) for n in range(1, 5)]
    lines = table(charges).add_column(0, "id", pa.array(["1", "2", "3", "4"]))
    pq.write_table(lines.drop_columns("kind"), tmp_path / "extract.parquet")
    truth = {"id": ["1", "3"], "kind": ["duplicate", "amount_spike"]}
    pq.write_table(pa.table(truth), tmp_path / "truth.parquet")
    said = {
        "id": ["4", "3", "2", "1"],
        "score": [1.0, 50.0, 70.0, 99.9],
        "rules": [None, "", "", "near_duplicate, duplicate"],
        "habits": [None, "", "split", ""],
    }
    pq.write_table(pa.table(said), tmp_path / "scored.parquet")
    rivals = {"id": ["1", "2", "3", "4"], "forest|spec": [0.0, 1.0, 2.0, 3.0]}
    pq.write_table(pa.table(rivals), tmp_path / "rivals.parquet")
    scored = score(tmp_path, tmp_path / "rivals.parquet")
    ours, forest = scored.rankings
    assert (scored.rows, scored.unusual, scored.flagged, scored.habits) == (4, 2, 1, 1)
    assert (ours.ap, ours.at_k) == pytest.approx((5 / 6, 1 / 2))
    assert (forest.ap, forest.at_k) == pytest.approx((1 / 2, 1 / 2))
    assert scored.kinds == [
        Kind("amount_spike", 1, (0, 0, 0)),
        Kind("duplicate", 1, (0, 0, 0), named=1, seen=1),
    ]
    assert Scored.from_json(scored.as_json()) == scored
    pq.write_table(pa.table(said).slice(1), tmp_path / "scored.parquet")
    with pytest.raises(ValueError, match="3 scores for 4 rows"):
        score(tmp_path, None)


def test_a_missed_target_says_so() -> None:
    """Three times the forest are too few; the sets of a work count together."""
    rankings = [
        Ranking("ours", "ours", 0.3, 0.3),
        Ranking("forest", "spec", 0.1, 0.1),
        Ranking("KNN", "signals", 0.2, 0.2),
    ]
    kinds = [Kind("duplicate", 10, (1, 2, 3), named=10, seen=10)]
    one = Scored(1_000, 10, rankings, kinds, flagged=50, habits=10)
    other = Scored(1_000, 10, rankings, kinds, flagged=90, habits=10)
    found = Found("council", [one, other])
    assert [line.met for line in precisions(found)] == [None, False, True, True, None]
    worse = replace(one, rankings=[Ranking("ours", "ours", 0.15, 0.3), *rankings[1:]])
    lines = precisions(Found("injected", [one, worse, one]))
    assert [(line.ours, line.met) for line in lines if line.what.startswith("sets")] == [
        ("2", False)
    ]
    assert [line.met for line in rules(found)] == [True, False]
    assert found.kinds() == [Kind("duplicate", 20, (2, 4, 6), named=20, seen=20)]


def test_the_rivals_see_what_they_are_said_to(tmp_path: Path) -> None:
    """The hour only where there is one; nothing that is the same in every row."""
    charges = [
        Charge("a", "v", "k", 1_000, MONDAY),
        Charge("a", "v", "k", 3_000, MONDAY + 2 * DAY),
        Charge("b", "w", "k", 5_000, MONDAY + 40 * DAY),
    ]
    write(table(charges), tmp_path / "set", 1)
    extract = tmp_path / "set" / "extract.parquet"
    ids = pq.read_table(extract)["id"].to_pylist()
    rows = features(extract, SPEC)[np.argsort(np.argsort(ids))]
    assert rows.shape == (3, len(SPEC))
    assert rows[:, SPEC.index("days_since_vendor")].tolist() == [-1, 2, -1]
    assert rows[:, SPEC.index("vendor_deviation")] == pytest.approx([-(0.5**0.5), 0.5**0.5, 0])
    # Without the hour, and the category, which is the same in all.
    assert features(extract, EXTENDED).shape == (3, len(EXTENDED) - 2)
    assert np.abs(prepared(rows).mean(axis=0)).max() < 1e-9

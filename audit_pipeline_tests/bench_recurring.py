"""How well a changed amount of a recurring payment is seen, by what a payment is compared with.

    python -m audit_pipeline_tests.bench_recurring --seed 1

Three years of payments to invented vendors, most of them at a cadence: subscriptions and rents
with a rise a year, utilities with a season, cloud bills that grow, wages every two weeks; the rest
come when they come. After its sixth, one recurring payment in fifty has another amount, which is
what is to be found; one in fifty is late, which is not.

The audit's rules compare with the six payments before, since no later one is known (the product's
own `recurring.sql` is run here). `score` compares with the three payments on each side, by its own
SQL; variants of both stand beside them. The anchor is the distance from the vendor's mean, in
standard deviations. `make bench-anomalies` prints the same as one of its works.
"""

import argparse
import datetime as dt
import math
import random
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import duckdb
import numpy as np
import pyarrow as pa

from audit_pipeline.agents.anomaly_detection import rules as anomaly_rules
from audit_pipeline.agents.anomaly_detection import scoring
from audit_pipeline.model.query import sql_of
from audit_pipeline.settings import load_rules, rules_text
from audit_pipeline_tests.bench import table
from audit_pipeline_tests.bench_lines import Line, machine, table_of, told
from audit_pipeline_tests.bench_scores import Marks, Numbers, average_precision

SETS = 5
VENDORS, MONTHS = 240, 36
STARTS_ON = dt.date(2022, 1, 3)
STREAMS = ("subscription", "rent", "utility", "cloud", "wages", "irregular")
"""Each has as many vendors as the others."""
CLEAN_PAYMENTS = 6
"""At a stream's beginning nothing is wrong: that is what a habit is learned from."""
CHANGED_SHARE, LATE_SHARE = 0.02, 0.02
SATURDAY = 5
LOGS = 0.01
"""Least spread of a vendor's logarithms of amounts: a cent of a few euros is nothing unusual."""


@dataclass(frozen=True)
class Payment:
    """One payment; `changed` is the truth."""

    vendor: str
    stream: str
    paid_on: dt.date
    cents: int
    changed: bool


# ── the payments ────────────────────────────────────────────────────────────────────────────────


def payments(seed: int) -> list[Payment]:
    """A set, by vendor and day."""
    chance = random.Random(seed)
    made: list[Payment] = []
    for place in range(VENDORS):
        stream = STREAMS[place % len(STREAMS)]
        made += sorted(_stream(f"vendor {place}", stream, chance), key=lambda one: one.paid_on)
    return made


def _stream(vendor: str, stream: str, chance: random.Random) -> Iterable[Payment]:
    level = 100 * math.exp(chance.gauss(6.5, 1))
    for place, due_on in enumerate(_days(stream, chance)):
        cents, changed, days_late = level * _course(stream, place, chance), False, 0
        if stream != "irregular" and place >= CLEAN_PAYMENTS:
            drawn = chance.random()
            if drawn < CHANGED_SHARE:
                changed = True
                cents *= chance.choice((chance.uniform(1.3, 2), chance.uniform(0.4, 0.7)))
            elif drawn < CHANGED_SHARE + LATE_SHARE:
                days_late = chance.randint(6, 12)
        paid_on = due_on + dt.timedelta(days=days_late)
        yield Payment(vendor, stream, paid_on, round(cents), changed)


def _days(stream: str, chance: random.Random) -> list[dt.date]:
    """On which it is paid; nothing is paid on a weekend."""
    span = MONTHS * 30
    if stream == "irregular":
        count = chance.randint(15, 60)
        days = [STARTS_ON + dt.timedelta(days=chance.randrange(span)) for _ in range(count)]
    elif stream == "wages":
        days = [STARTS_ON + dt.timedelta(days=after) for after in range(0, span, 14)]
    else:
        due = chance.randint(1, 27)
        months = [divmod(month, 12) for month in range(MONTHS)]
        days = [
            dt.date(STARTS_ON.year + year, month + 1, due) + dt.timedelta(chance.randint(0, 2))
            for year, month in months
        ]
    return [
        day + dt.timedelta(days=7 - day.weekday()) if day.weekday() >= SATURDAY else day
        for day in sorted(days)
    ]


def _course(stream: str, place: int, chance: random.Random) -> float:
    """How many times its first level a stream's payment is."""
    if stream == "subscription":
        return 1.07 ** (place // 12)
    if stream == "rent":
        return 1.03 ** (place // 12)
    if stream == "utility":
        season = 1 + 0.35 * math.cos(2 * math.pi * place / 12)
        return season * math.exp(chance.gauss(0, 0.07))
    if stream == "cloud":
        return 1.02**place * math.exp(chance.gauss(0, 0.08))
    return math.exp(chance.gauss(0, 0.05 if stream == "wages" else 0.6))


# ── what they are compared with ─────────────────────────────────────────────────────────────────

_AS_OF = "abs(ln(recurring.cents / recurring.usual_cents))"
_OF_LEDGER = """SELECT entry.place, coalesce({deviation}, 0) AS score
FROM audit.transactions AS entry
LEFT JOIN audit.recurring AS recurring ON recurring.transaction_id = entry.transaction_id
ORDER BY entry.place"""
_NEIGHBOURS = f"""WITH gaps AS (
  SELECT place, vendor_id, ln(cents) AS log,
    occurred_on - lag(occurred_on) OVER series AS gap_days,
    list(ln(cents)) OVER (series ROWS BETWEEN {{before}} PRECEDING AND 1 PRECEDING) AS before,
    list(ln(cents)) OVER (series ROWS BETWEEN 1 FOLLOWING AND 3 FOLLOWING) AS after
  FROM audit.transactions
  WINDOW series AS (PARTITION BY vendor_id ORDER BY occurred_on, place)
),
cadences AS (
  SELECT vendor_id, median(gap_days) AS usual_days, mad(gap_days) AS spread_days
  FROM gaps GROUP BY vendor_id
),
distances AS (
  SELECT place, vendor_id, log - list_aggregate(
    list_concat(coalesce(before, []), {{after}}), 'median') AS distance
  FROM gaps
),
spreads AS (
  SELECT vendor_id, greatest(mad(distance), {LOGS}) AS spread FROM distances GROUP BY vendor_id
)
SELECT place, CASE WHEN usual_days >= $gap_days_min
    AND spread_days <= greatest($tolerance_days, $tolerance_share * usual_days)
  THEN coalesce(abs(distance){{scale}}, 0) ELSE 0 END AS score
FROM distances JOIN cadences USING (vendor_id) JOIN spreads USING (vendor_id)
ORDER BY place"""
_OF_SCORE = """SELECT entry.place, coalesce(own.spreads, 0) AS score
FROM audit.transactions AS entry
LEFT JOIN audit.recurring_distances AS own ON own.id = entry.place
ORDER BY entry.place"""
_ANCHOR = f"""SELECT place, abs(cents - avg(cents) OVER own)
  / greatest(stddev_pop(cents) OVER own, {LOGS} * avg(cents) OVER own) AS score
FROM audit.transactions WINDOW own AS (PARTITION BY vendor_id)
ORDER BY place"""
_BEFORE = {"before": 6, "after": "[]"}
_AROUND = {"before": 3, "after": "coalesce(after, [])"}
_SIGMAS = " / spread"
ANCHOR = "z-score"
AUDIT, SCORE = "AN-02", "score"
"""What names payments by the product's thresholds."""
DETECTORS = {
    ANCHOR: _ANCHOR,
    "AN-02's six before": _OF_LEDGER.format(deviation=_AS_OF),
    "AN-02's six before, by their spread": _OF_LEDGER.format(
        deviation=f"{_AS_OF} / greatest(ln(recurring.cents_max / recurring.cents_min) / 2, {LOGS})"
    ),
    "six before, closed": _NEIGHBOURS.format(**_BEFORE, scale=""),
    "six before, closed, by spread": _NEIGHBOURS.format(**_BEFORE, scale=_SIGMAS),
    "score's recurring_amount": _OF_SCORE,
    "three on each side": _NEIGHBOURS.format(**_AROUND, scale=""),
    "three on each side, by spread": _NEIGHBOURS.format(**_AROUND, scale=_SIGMAS),
}
"""Name → SQL of place and score. All but the anchor leave out what has no cadence: by the last six
gaps in AN-02's, by all gaps of the vendor in a closed extract. Spread is that of the six before, or
of the vendor's own distances; without it a distance is the logarithm of a ratio."""


class Ledger:
    """A set as the product's rules read it."""

    def __init__(self, made: Sequence[Payment]) -> None:
        self._rules = load_rules(rules_text(None))
        self._connection = duckdb.connect(config={"threads": 2})
        self._connection.execute("CREATE SCHEMA audit")
        self._connection.register("made", _ledger(made))
        self._connection.execute("CREATE TABLE audit.transactions AS SELECT * FROM made")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def scores(self, detector: str) -> tuple[Numbers, float]:
        """In the order of the payments, and the seconds that it took to make them."""
        sql = DETECTORS[detector]
        began = time.perf_counter()
        if sql == _OF_SCORE:
            self._series()
        elif "audit.recurring" in sql:
            self._recurring()
        found = self._asked(sql, "AN-03")
        return np.array([score for _, score in found], dtype=float), time.perf_counter() - began

    def named(self) -> tuple[set[int], set[int]]:
        """Places that AN-02 names by the product's thresholds, and those that it looks at."""
        self._recurring()
        seen = self._asked("SELECT transaction_id FROM audit.recurring", "AN-02")
        sql = sql_of(anomaly_rules.HERE, "recurring_amount")
        days = {"from_on": STARTS_ON, "to_on": STARTS_ON + dt.timedelta(days=5_000)}
        found = self._asked(sql, "AN-02", **days)
        return {int(row[1]) for row in found}, {int(row[0]) for row in seen}

    def named_by_score(self) -> set[int]:
        """Places that `score` names, habits left out."""
        self._series()
        found = self._asked("SELECT id FROM audit.recurring_hits WHERE rules IS NOT NULL", "AN-02")
        return {int(row[0]) for row in found}

    def _series(self) -> None:
        self._connection.execute(
            "CREATE OR REPLACE VIEW audit.timeline AS SELECT place AS id, payer AS entity,"
            " vendor_id AS vendor, cents, occurred_on AS day,"
            " CAST(occurred_on AS TIMESTAMP) AS made_at FROM audit.transactions"
        )
        for name, sql in scoring.RECURRING:
            self._connection.execute(f"CREATE OR REPLACE TABLE audit.{name} AS {sql}")

    def _recurring(self) -> None:
        sql = sql_of(anomaly_rules.HERE, "recurring")
        self._asked(f"CREATE OR REPLACE TABLE audit.recurring AS {sql}", "AN-03")

    def _asked(self, sql: str, rule_id: str, **more: object) -> list[tuple[Any, ...]]:
        rule = self._rules[rule_id]
        known = {name: rule.number(name) for name in rule.thresholds} | more
        bound = {name: value for name, value in known.items() if f"${name}" in sql}
        return self._connection.execute(sql, bound).fetchall()


def _ledger(made: Sequence[Payment]) -> pa.Table:
    days = pa.array([one.paid_on for one in made], pa.date32())
    vendors, cents = [one.vendor for one in made], [one.cents for one in made]
    return pa.table({
        "place": pa.array(range(len(made)), pa.int32()),
        "transaction_id": [str(place) for place in range(len(made))],
        "audit_on": days, "occurred_on": days,
        "payer": ["card"] * len(made), "vendor_id": vendors, "vendor": vendors,
        "cents": pa.array(cents, pa.int64()), "amount": [each / 100 for each in cents],
    })  # fmt: skip


# ── the result ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Measured:
    """The mean of the sets.

    Attributes:
        ap: average precision among the payments of vendors with a cadence, as the truth has them.
        ap_all: among all payments.
        streams: the first, by stream.
        seconds: of the SQL.
    """

    ap: float
    ap_all: float
    streams: dict[str, float]
    seconds: float


@dataclass(frozen=True)
class Found:
    """What was measured of all sets.

    Attributes:
        payments: mean of a set; changed: of them.
        named: who names payments → share of the changed ones that are named, and share of the
            named ones that are changed.
        seen: share of the changed ones whose six payments before have a cadence.
    """

    payments: float
    changed: float
    named: dict[str, tuple[float, float]]
    seen: float
    detectors: dict[str, Measured]


def measured(seeds: Iterable[int]) -> Found:
    """Each detector on each set."""
    each: dict[str, list[Measured]] = {name: [] for name in DETECTORS}
    sizes: list[tuple[int, int]] = []
    tallies = {name: [0, 0] for name in (AUDIT, SCORE)}
    looked_at = 0
    for seed in seeds:
        made = payments(seed)
        truth = np.array([one.changed for one in made])
        streams = np.array([one.stream for one in made])
        sizes.append((len(made), int(truth.sum())))
        with Ledger(made) as ledger:
            for name, found in each.items():
                scores, seconds = ledger.scores(name)
                found.append(_measured(scores, truth, streams, seconds))
            of_rule, seen = ledger.named()
            of_score = ledger.named_by_score()
        looked_at += sum(made[place].changed for place in seen)
        for name, places in ((AUDIT, of_rule), (SCORE, of_score)):
            tallies[name][0] += sum(made[place].changed for place in places)
            tallies[name][1] += len(places)
    total = sum(changed for _, changed in sizes)
    return Found(
        statistics.mean(size for size, _ in sizes),
        total / len(sizes),
        {name: (hits / total, hits / max(named, 1)) for name, (hits, named) in tallies.items()},
        looked_at / total,
        {name: _mean(found) for name, found in each.items()},
    )


def _measured(scores: Numbers, truth: Marks, streams: Any, seconds: float) -> Measured:
    def within(some: Marks) -> float:
        return average_precision(scores[some], truth[some])

    recurring = streams != "irregular"
    by_stream = {name: within(streams == name) for name in STREAMS if name != "irregular"}
    return Measured(within(recurring), average_precision(scores, truth), by_stream, seconds)


def _mean(found: Sequence[Measured]) -> Measured:
    return Measured(
        statistics.mean(one.ap for one in found),
        statistics.mean(one.ap_all for one in found),
        {name: statistics.mean(one.streams[name] for one in found) for name in found[0].streams},
        statistics.mean(one.seconds for one in found),
    )


def lines(found: Found) -> Iterable[Line]:
    """Average precision and seconds of each, and what the product names."""
    work, anchor = "recurring", found.detectors[ANCHOR]
    for name, one in found.detectors.items():
        if name != ANCHOR:
            said = f"{one.ap:.4f}, {one.seconds:.2f} s"
            beside = f"{anchor.ap:.4f}, {anchor.seconds:.2f} s {ANCHOR}"
            yield told(work, f"average precision, {name}", said, beside)
    seen = {AUDIT: f"{found.seen:.2f} after six payments with a cadence"}
    for name, (recall, precision) in found.named.items():
        said = f"{recall:.2f} at a precision of {precision:.2f}"
        yield told(work, f"share of changed amounts that {name} names", said, seen.get(name, ""))


def works(seed: int) -> Iterable[Line]:
    """The same from SETS sets, as one of `bench_anomalies`'s works."""
    return lines(measured(range(seed, seed + SETS)))


def by_stream(found: Found) -> str:
    """A table of average precisions."""
    streams = [name for name in STREAMS if name != "irregular"]
    head = ("average precision, recurring payments", *streams, "together", "with irregular ones")
    rows = [
        (name, *(f"{each:.4f}" for each in (*one.streams.values(), one.ap, one.ap_all)))
        for name, one in found.detectors.items()
    ]
    return table(head, rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, then print."""
    parser = argparse.ArgumentParser(prog="python -m audit_pipeline_tests.bench_recurring")
    parser.add_argument("--seed", type=int, default=1)
    seed = parser.parse_args(arguments).seed
    found = measured(range(seed, seed + SETS))
    size = f"{SETS} sets of {found.payments:,.0f} payments, {found.changed:,.0f} of them changed"
    print("\n\n".join((f"{machine(seed)}; {size}", table_of(lines(found)), by_stream(found))))
    return 0


if __name__ == "__main__":
    sys.exit(main())

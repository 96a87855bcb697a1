"""Payments at a cadence, and those among them whose amount is not the series' own, in SQL.

What one entity pays one vendor week by week or month by month says what the next payment should be
better than any average: it follows a season, growth and a rise a year. So each payment is compared
with the three before and the three after it, in units of the series' own spread. A pattern that is
named like those of `hits`, but raises no score: few charges are in a series at all.
"""

from audit_pipeline.agents.anomaly_detection.scoring.hits import AMOUNT_MIN, HABIT_SHARE
from audit_pipeline.agents.anomaly_detection.scoring.profiles import SHRINK

PATTERNS = ("recurring_amount",)
PAYMENTS_MIN = 6
"""Five gaps, of which two may be wrong before their median is."""
GAP_DAYS_MIN = 7
"""Weekly is the shortest cadence that is a contract and not a habit of eating."""
STRAY_DAYS, STRAY_SHARE = 2, 0.12
"""What gaps may stray by, in the median: a weekend, or what months differ by."""
SIDE = 3
"""Payments on each side that a payment is compared with: of three, one may be wrong as well."""
SPREADS_MIN = 6.0
"""Median absolute deviations from which an amount is not the series' own: four standard deviations
of normal ones, so that chance shows one payment in ten thousand."""
DISTANCE_MIN = 0.05
"""The same as a logarithm, for series that hardly vary: the specification calls a recurring payment
regular within 5 %."""

_SPREAD_MIN = DISTANCE_MIN / SPREADS_MIN

# Medians over frames are dear: they are for the few series that have a cadence.
_PAYMENTS = f"""WITH pairs AS (
  SELECT entity, vendor FROM audit.timeline WHERE cents > 0
  GROUP BY entity, vendor
  -- Half of the gaps are at least as long as their median.
  HAVING count(*) >= {PAYMENTS_MIN}
    AND 2 * date_diff('day', min(day), max(day)) >= {GAP_DAYS_MIN} * (count(*) - 1)
),
gaps AS (
  SELECT charge.id, charge.entity, charge.vendor, charge.cents, charge.made_at,
    date_diff('day', lag(charge.day) OVER series, charge.day) AS gap_days
  FROM audit.timeline AS charge
  SEMI JOIN pairs ON pairs.entity = charge.entity AND pairs.vendor = charge.vendor
  WHERE charge.cents > 0
  WINDOW series AS (
    PARTITION BY charge.entity, charge.vendor ORDER BY charge.made_at, charge.id)
),
cadences AS (
  SELECT entity, vendor, median(gap_days) AS usual_days, mad(gap_days) AS stray_days
  FROM gaps
  GROUP BY entity, vendor
)
SELECT gaps.id, gaps.entity, gaps.vendor, gaps.cents, gaps.made_at, ln(gaps.cents) AS log_cents
FROM gaps
JOIN cadences ON cadences.entity = gaps.entity AND cadences.vendor = gaps.vendor
WHERE cadences.usual_days >= {GAP_DAYS_MIN}
  AND cadences.stray_days <= greatest({STRAY_DAYS}, {STRAY_SHARE} * cadences.usual_days)"""

_BEFORE = f"ROWS BETWEEN {SIDE} PRECEDING AND 1 PRECEDING"
_AFTER = f"ROWS BETWEEN 1 FOLLOWING AND {SIDE} FOLLOWING"
_AROUND = f"ROWS BETWEEN {SIDE} PRECEDING AND {SIDE} FOLLOWING EXCLUDE CURRENT ROW"
_DISTANCES = f"""WITH compared AS (
  SELECT id, entity, vendor, cents,
    log_cents - median(log_cents) OVER (series {_AROUND}) AS distance,
    log_cents - median(log_cents) OVER (series {_BEFORE}) AS from_before,
    log_cents - median(log_cents) OVER (series {_AFTER}) AS from_after
  FROM audit.recurring_payments
  WINDOW series AS (PARTITION BY entity, vendor ORDER BY made_at, id)
),
spreads AS (
  SELECT entity, vendor, greatest(mad(distance), {_SPREAD_MIN}) AS spread
  FROM compared
  GROUP BY entity, vendor
)
SELECT compared.id, compared.entity, compared.vendor, compared.cents, compared.distance,
  abs(compared.distance) / spreads.spread AS spreads,
  -- After a rise that lasts, a payment is like the later ones. Of the last one nobody knows.
  CASE WHEN compared.from_before * compared.from_after > 0
    THEN least(abs(compared.from_before), abs(compared.from_after)) / spreads.spread
    ELSE 0 END AS spreads_alone
FROM compared
JOIN spreads ON spreads.entity = compared.entity AND spreads.vendor = compared.vendor"""

# A series of which one payment in eight is odd has the odd ones by habit.
_HITS = f"""WITH flagged AS (
  SELECT id, entity, vendor,
    CASE WHEN least(spreads, spreads_alone) > {SPREADS_MIN}
      AND abs(cents - cents * exp(-distance)) >= {AMOUNT_MIN} THEN 1.0 ELSE 0.0 END AS is_odd
  FROM audit.recurring_distances
),
compared AS (
  SELECT id, is_odd,
    (sum(is_odd) OVER series - is_odd + {SHRINK} * avg(is_odd) OVER ())
      / (count(*) OVER series - 1 + {SHRINK}) > {HABIT_SHARE} AS is_habit
  FROM flagged
  WINDOW series AS (PARTITION BY entity, vendor)
)
SELECT id, CASE WHEN NOT is_habit THEN 'recurring_amount' END AS rules,
  CASE WHEN is_habit THEN 'recurring_amount' END AS habits
FROM compared
WHERE is_odd = 1"""

RECURRING: tuple[tuple[str, str], ...] = (
    ("recurring_payments", _PAYMENTS),
    ("recurring_distances", _DISTANCES),
    ("recurring_hits", _HITS),
)
"""Table → SQL from `audit.timeline` of a closed extract, in the order in which they can be made.

`recurring_distances` has every payment of a series with a cadence: its distance, as a logarithm,
from the median of those around it (NULL if there are none), the same in spreads of the series, and
how far it is at least from those before as well as from those after. `recurring_hits` has id, rules
and habits, one of them NULL.
"""

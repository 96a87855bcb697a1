"""The audit rules as signals: which charges show their pattern, and how rarely chance does that.

A pattern that a vendor shows all the time says little of its next charge. So each hit is worth the
negative logarithm of the pattern's share among the vendor's charges, shrunk to the company's.
Only the few charges that can show a pattern are sorted by time; the rest is counted by hash.
"""

from dataclasses import dataclass

from audit_pipeline.agents.anomaly_detection.scoring.profiles import SHRINK

AGAIN_DAYS, SPLIT_DAYS = 7, 2
"""A charge that is made or booked twice comes within a week; the parts of one purchase sooner."""
AMOUNT_MIN = 1_000
"""Cents. Below ten units of money everything repeats: coffee, parking, postage."""
LARGE_MIN = 10_000
"""Cents. A slip of the decimal point, or a round sum, that is worth a look."""
SLIP_TIMES = 10
PARTS_MAX = 5
"""A batch of many charges is not one purchase that was cut."""
PART_SHARE, BELOW_SHARE = 0.1, 0.9
"""Of the limit: the smallest part of a split purchase, and where just below begins."""
COINCIDENCE = 0.02
"""Share of a vendor's charges that have one given amount, before its own charges say."""
SHARE_MIN = 1e-5

HABIT_BITS = 3.0
"""One charge in eight of a vendor that shows a pattern: what it does by habit."""
FINDINGS = ("duplicate", "near_duplicate", "decimal_slip", "split")
"""The patterns that are worth naming by themselves, whatever a charge scores."""
PATTERNS = (*FINDINGS, "below_limit", "round_amount")


@dataclass(frozen=True)
class Sight:
    """What may be seen of the days after a charge.

    Attributes:
        ahead: the window of a charge reaches as far into its future as into its past; otherwise
            it ends with the charge itself.
    """

    ahead: bool

    @property
    def span(self) -> int:
        """How many days a window of one day on each side covers."""
        return 2 if self.ahead else 1

    def days(self, count: int) -> str:
        """SQL of a window's frame."""
        end = f"INTERVAL {count} DAY FOLLOWING" if self.ahead else "CURRENT ROW"
        return f"RANGE BETWEEN INTERVAL {count} DAY PRECEDING AND {end}"


def hits(sight: Sight, limit_cents: int) -> tuple[tuple[str, str], ...]:
    """Tables of the patterns, in the order in which they can be made.

    Args:
        sight: of `audit.timeline`.
        limit_cents: up to which nobody has to approve.
    """
    week, days = sight.days(AGAIN_DAYS), sight.days(SPLIT_DAYS)
    next_one = f"OR following_at - made_at <= INTERVAL {AGAIN_DAYS} DAY" if sight.ahead else ""
    digits = "array_to_string(list_sort(string_split(CAST(cents AS VARCHAR), '')), '')"
    return (
        (
            "hits_duplicate",
            f"""WITH repeated AS (
  SELECT entity, vendor, cents FROM audit.timeline WHERE cents >= {AMOUNT_MIN}
  GROUP BY entity, vendor, cents HAVING count(*) > 1
),
series AS (
  SELECT charge.id, charge.entity, charge.vendor, charge.cents, charge.made_at,
    lag(charge.made_at) OVER same AS previous_at, lead(charge.made_at) OVER same AS following_at
  FROM audit.timeline AS charge
  SEMI JOIN repeated ON repeated.entity = charge.entity AND repeated.vendor = charge.vendor
    AND repeated.cents = charge.cents
  WINDOW same AS (
    PARTITION BY charge.entity, charge.vendor, charge.cents ORDER BY charge.made_at, charge.id)
),
again AS (
  SELECT id, entity, vendor, cents FROM series
  WHERE made_at - previous_at <= INTERVAL {AGAIN_DAYS} DAY {next_one}
),
near AS (
  SELECT charge.id, count(*) OVER pair - 1 AS pair_near
  FROM audit.timeline AS charge
  SEMI JOIN again ON again.entity = charge.entity AND again.vendor = charge.vendor
  WINDOW pair AS (PARTITION BY charge.entity, charge.vendor ORDER BY charge.made_at {week})
)
SELECT again.id, again.vendor, again.cents, near.pair_near
FROM again
JOIN near ON near.id = again.id""",
        ),
        (
            "hits_near_duplicate",
            f"""WITH spelled AS (
  SELECT id, entity, vendor, cents, made_at, {digits} AS digits
  FROM audit.timeline WHERE cents >= {AMOUNT_MIN}
),
swapped AS (
  SELECT entity, vendor, digits FROM spelled
  GROUP BY entity, vendor, digits HAVING min(cents) <> max(cents)
),
near AS (
  SELECT spelled.id, min(spelled.cents) OVER week AS lowest, max(spelled.cents) OVER week AS highest
  FROM spelled
  SEMI JOIN swapped ON swapped.entity = spelled.entity AND swapped.vendor = spelled.vendor
    AND swapped.digits = spelled.digits
  WINDOW week AS (
    PARTITION BY spelled.entity, spelled.vendor, spelled.digits ORDER BY spelled.made_at {week})
)
SELECT id FROM near WHERE lowest <> highest""",
        ),
        (
            "hits_decimal_slip",
            f"""WITH spelled AS (
  SELECT id, vendor, cents, made_at, rtrim(CAST(cents AS VARCHAR), '0') AS digits
  FROM audit.timeline WHERE cents > 0
),
slipped AS (
  SELECT vendor, digits FROM spelled
  GROUP BY vendor, digits
  HAVING max(cents) >= {LARGE_MIN} AND max(cents) / {SLIP_TIMES} >= min(cents)
),
compared AS (
  SELECT spelled.id, spelled.cents, min(spelled.cents) OVER known AS lowest
  FROM spelled
  SEMI JOIN slipped ON slipped.vendor = spelled.vendor AND slipped.digits = spelled.digits
  WINDOW known AS (PARTITION BY spelled.vendor, spelled.digits
    ORDER BY spelled.made_at RANGE BETWEEN UNBOUNDED PRECEDING
    AND {"UNBOUNDED FOLLOWING" if sight.ahead else "CURRENT ROW"})
)
SELECT id FROM compared WHERE cents >= {LARGE_MIN} AND cents / {SLIP_TIMES} >= lowest""",
        ),
        (
            "hits_split",
            f"""WITH parts AS (
  SELECT id, entity, vendor, cents, made_at FROM audit.timeline
  WHERE cents > {PART_SHARE} * {limit_cents} AND cents < {limit_cents}
),
several AS (
  SELECT entity, vendor FROM parts GROUP BY entity, vendor HAVING count(*) > 1
),
summed AS (
  SELECT parts.id, sum(parts.cents) OVER near AS total, count(*) OVER near AS parts
  FROM parts
  SEMI JOIN several ON several.entity = parts.entity AND several.vendor = parts.vendor
  WINDOW near AS (PARTITION BY parts.entity, parts.vendor ORDER BY parts.made_at {days})
)
SELECT id FROM summed WHERE total >= {limit_cents} AND parts <= {PARTS_MAX}""",
        ),
        (
            "hits",
            f"""SELECT id, {", ".join(f"max({name}) AS {name}" for name in PATTERNS)}
FROM (
  {_flagged(0, "audit.hits_duplicate")}
  UNION ALL {_flagged(1, "audit.hits_near_duplicate")}
  UNION ALL {_flagged(2, "audit.hits_decimal_slip")}
  UNION ALL {_flagged(3, "audit.hits_split")}
  UNION ALL {_flagged(4, "audit.timeline")}
    WHERE cents >= {BELOW_SHARE} * {limit_cents} AND cents < {limit_cents}
  UNION ALL {_flagged(5, "audit.timeline")}
    WHERE cents >= {LARGE_MIN} AND cents % {LARGE_MIN} = 0
) AS patterns
GROUP BY id""",
        ),
    )


def _flagged(place: int, source: str) -> str:
    """All of a source's rows, with 1 for one pattern and 0 for the others."""
    cells = ", ".join(f"{int(i == place)} AS {name}" for i, name in enumerate(PATTERNS))
    return f"SELECT id, {cells} FROM {source}"


def _bits(place: int) -> str:
    name = PATTERNS[place]
    share = (
        f"(greatest(coalesce(usual.{name}, 0) - charge.own, 0) + {SHRINK} * company.{name})"
        f" / (greatest(vendor.charges - charge.own, 0) + {SHRINK})"
    )
    return f"CASE WHEN hits.{name} = 1 THEN -log2({share}) ELSE 0 END AS {name}"


HIT_PROFILES: tuple[tuple[str, str], ...] = (
    (
        "profile_hits",
        "SELECT charge.vendor,\n  "
        + ",\n  ".join(f"CAST(sum(hits.{name}) AS DOUBLE) AS {name}" for name in PATTERNS)
        + "\nFROM audit.hits AS hits\n"
        "JOIN audit.known_charges AS charge ON charge.id = hits.id AND charge.known = 1\n"
        "GROUP BY charge.vendor",
    ),
    (
        "profile_company_hits",
        "SELECT "
        + ",\n  ".join(
            f"greatest(coalesce(sum(hits.{name}), 0)"
            f" / greatest(any_value(company.charges), 1), {SHARE_MIN}) AS {name}"
            for name in PATTERNS
        )
        + "\nFROM audit.profile_company AS company\n"
        "LEFT JOIN audit.profile_hits AS hits ON true",
    ),
    (
        "hit_bits",
        f"""WITH prices AS (
  SELECT charge.vendor, charge.cents, CAST(count(*) AS DOUBLE) AS charges
  FROM audit.known_charges AS charge
  SEMI JOIN audit.hits_duplicate AS again
    ON again.vendor = charge.vendor AND again.cents = charge.cents
  WHERE charge.known = 1
  GROUP BY charge.vendor, charge.cents
)
SELECT charge.id,
  -- How likely one of the pair's other charges of the week has this amount by chance.
  CASE WHEN hits.duplicate = 1 THEN -log2(greatest(1 - exp(-again.pair_near
    * (greatest(coalesce(prices.charges, 0) - 1 - charge.own, 0) + {COINCIDENCE * SHRINK})
    / (greatest(vendor.charges - 1 - charge.own, 0) + {SHRINK})), 1e-9)) ELSE 0 END AS duplicate,
  {_bits(1)},
  {_bits(2)},
  {_bits(3)},
  {_bits(4)},
  {_bits(5)}
FROM audit.hits AS hits
JOIN audit.scored_charges AS charge ON charge.id = hits.id
JOIN audit.profile_vendor AS vendor ON vendor.vendor = charge.vendor
CROSS JOIN audit.profile_company_hits AS company
LEFT JOIN audit.profile_hits AS usual ON usual.vendor = charge.vendor
LEFT JOIN audit.hits_duplicate AS again ON again.id = hits.id
LEFT JOIN prices ON prices.vendor = charge.vendor AND prices.cents = charge.cents""",
    ),
)
"""How often each vendor shows each pattern, and what a hit is worth; as `profiles.PROFILES`."""

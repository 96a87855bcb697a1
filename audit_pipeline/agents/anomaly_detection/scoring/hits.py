"""The audit rules as signals: which charges show their pattern, and how rarely chance does that.

A pattern that a vendor shows all the time says little of its next charge. So each hit is worth the
negative logarithm of the pattern's share among the vendor's charges, shrunk to the company's.
Duplicates and splits are compared with the other charges of entity and vendor first: without the
copies and parts that were found with them, which are no evidence of a habit, and, of splits, with
parts as large only.
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
"""A batch of many charges is not one purchase that was cut, unless two of them reach the limit."""
COPIES_MAX = 3
"""What is sent again by mistake is sent once or twice more; what comes oftener has its price."""
PART_SHARE, BELOW_SHARE = 0.1, 0.9
"""Of the limit: the smallest part of a split purchase, and where just below begins."""
COINCIDENCE = 0.02
"""Share of a vendor's charges that have one given amount, before its own charges say."""
SHARE_MIN = 1e-5

HABIT_SHARE = 0.125
"""What more than one charge in eight of a vendor shows is what it does by habit."""
FINDINGS = {"duplicate": 3.0, "near_duplicate": 3.0, "decimal_slip": 3.0, "split": 4.0}
"""Pattern that is worth naming by itself, whatever a charge scores → its bits at least.

HABIT_SHARE in bits, and one in sixteen of splits: a habit has its largest parts too, and they are
rarer than the habit. Measured among 3 to 6 bits on one public set
and two of our own: splits among 1.5 % of the charges at three, 1.0 % at four, 0.7 % at five; of the
splits put there, all but two charges at three and at four, all but four at five.
"""
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


SPELLINGS = """WITH amounts AS (
  SELECT DISTINCT cents FROM audit.timeline WHERE cents > 0
),
spelled AS (
  SELECT cents, rtrim(CAST(cents AS VARCHAR), '0') AS bare,
    array_to_string(list_sort(string_split(CAST(cents AS VARCHAR), '')), '') AS shuffled
  FROM amounts
)
SELECT cents, min(cents) OVER same_bare AS bare, min(cents) OVER same_shuffled AS shuffled,
  count(*) OVER same_bare AS of_bare, count(*) OVER same_shuffled AS of_shuffled
FROM spelled
WINDOW same_bare AS (PARTITION BY bare), same_shuffled AS (PARTITION BY shuffled)"""
"""Each amount with the least one of the same digits in any order, and but for zeros at the end; and
how many such amounts there are. An amount is spelled once, however often it is charged."""


def hits(sight: Sight, limit_cents: int) -> tuple[tuple[str, str], ...]:
    """Tables of the patterns, in the order in which they can be made.

    Args:
        sight: of `audit.timeline`.
        limit_cents: up to which nobody has to approve.
    """
    week, days = sight.days(AGAIN_DAYS), sight.days(SPLIT_DAYS)
    next_one = f"OR following_at - made_at <= INTERVAL {AGAIN_DAYS} DAY" if sight.ahead else ""
    return (
        ("spellings", SPELLINGS),
        (
            "hits_duplicate",
            f"""WITH repeated AS (
  SELECT entity, vendor, cents FROM audit.timeline WHERE cents >= {AMOUNT_MIN}
  GROUP BY entity, vendor, cents HAVING count(*) > 1
),
series AS (
  SELECT charge.id, charge.entity, charge.vendor, charge.cents, charge.made_at,
    lag(charge.made_at) OVER same AS previous_at, lead(charge.made_at) OVER same AS following_at,
    count(*) OVER alike AS copies
  FROM audit.timeline AS charge
  SEMI JOIN repeated ON repeated.entity = charge.entity AND repeated.vendor = charge.vendor
    AND repeated.cents = charge.cents
  WINDOW same AS (
    PARTITION BY charge.entity, charge.vendor, charge.cents ORDER BY charge.made_at, charge.id),
    alike AS (
    PARTITION BY charge.entity, charge.vendor, charge.cents ORDER BY charge.made_at {week})
),
again AS (
  SELECT id, entity, vendor, cents, copies FROM series
  WHERE made_at - previous_at <= INTERVAL {AGAIN_DAYS} DAY {next_one}
),
near AS (
  SELECT charge.id, count(*) OVER pair - 1 AS pair_near
  FROM audit.timeline AS charge
  SEMI JOIN again ON again.entity = charge.entity AND again.vendor = charge.vendor
  WINDOW pair AS (PARTITION BY charge.entity, charge.vendor ORDER BY charge.made_at {week})
)
SELECT again.id, again.entity, again.vendor, again.cents,
  least(again.copies, {COPIES_MAX}) AS copies, near.pair_near
FROM again
JOIN near ON near.id = again.id""",
        ),
        (
            "hits_near_duplicate",
            f"""WITH spelled AS (
  SELECT charge.id, charge.entity, charge.vendor, charge.cents, charge.made_at,
    spelling.shuffled AS digits
  FROM audit.timeline AS charge
  JOIN audit.spellings AS spelling ON spelling.cents = charge.cents
  WHERE charge.cents >= {AMOUNT_MIN} AND spelling.of_shuffled > 1
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
  SELECT charge.id, charge.vendor, charge.cents, charge.made_at, spelling.bare AS digits
  FROM audit.timeline AS charge
  JOIN audit.spellings AS spelling ON spelling.cents = charge.cents
  WHERE charge.cents > 0 AND spelling.of_bare > 1
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
  SELECT parts.*, sum(parts.cents) OVER near AS total, count(*) OVER near AS parts,
    count(CASE WHEN 2 * parts.cents >= {limit_cents} THEN 1 END) OVER near AS halves
  FROM parts
  SEMI JOIN several ON several.entity = parts.entity AND several.vendor = parts.vendor
  WINDOW near AS (PARTITION BY parts.entity, parts.vendor ORDER BY parts.made_at {days})
)
SELECT id, entity, vendor, cents, least(parts, {PARTS_MAX}) AS parts FROM summed
WHERE (total >= {limit_cents} AND parts <= {PARTS_MAX})
  OR (2 * cents >= {limit_cents} AND halves >= 2)""",
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


def _share(found: str, charges: str, wider: str, shrink: float, here: str) -> str:
    """SQL of a share of a level's charges without those here, leaning on that of a wider level."""
    return (
        f"(greatest(coalesce({found}, 0) - {here}, 0) + {shrink} * {wider})"
        f"\n    / (greatest({charges} - {here}, 0) + {shrink})"
    )


def _bits(name: str) -> str:
    if name in OF_PAIRS:
        return f"coalesce({name}.bits, 0) AS {name}"
    share = _share(f"usual.{name}", "vendor.charges", f"company.{name}", SHRINK, "charge.own")
    return f"CASE WHEN hits.{name} = 1 THEN -log2({share}) ELSE 0 END AS {name}"


OF_PAIRS = ("duplicate", "split")
"""Patterns whose usual share is that of a pair of entity and vendor."""
_PAIR = SHRINK / 2


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
        # Surprising is what either its price or its pair's other repeats do not explain.
        "duplicate_bits",
        f"""WITH pair_prices AS (
  SELECT charge.entity, charge.vendor, charge.cents, CAST(count(*) AS DOUBLE) AS charges
  FROM audit.known_charges AS charge
  SEMI JOIN audit.hits_duplicate AS again
    ON again.vendor = charge.vendor AND again.cents = charge.cents
  WHERE charge.known = 1
  GROUP BY charge.entity, charge.vendor, charge.cents
),
prices AS (
  SELECT vendor, cents, sum(charges) AS charges FROM pair_prices GROUP BY vendor, cents
),
pair_repeats AS (
  SELECT again.entity, again.vendor, CAST(count(*) AS DOUBLE) AS charges
  FROM audit.hits_duplicate AS again
  JOIN audit.known_charges AS charge ON charge.id = again.id AND charge.known = 1
  GROUP BY again.entity, again.vendor
),
compared AS (
  SELECT again.*, again.copies - 1 + charge.own AS here, pair.charges AS pair_charges,
    vendor.charges AS vendor_charges, pair_prices.charges AS pair_same, prices.charges AS same,
    pair_repeats.charges AS pair_repeats, usual.duplicate AS repeats,
    company.duplicate AS company_share
  FROM audit.hits_duplicate AS again
  JOIN audit.scored_charges AS charge ON charge.id = again.id
  JOIN audit.profile_vendor AS vendor ON vendor.vendor = again.vendor
  JOIN audit.profile_pair AS pair ON pair.entity = again.entity AND pair.vendor = again.vendor
  CROSS JOIN audit.profile_company_hits AS company
  LEFT JOIN audit.profile_hits AS usual ON usual.vendor = again.vendor
  LEFT JOIN prices ON prices.vendor = again.vendor AND prices.cents = again.cents
  LEFT JOIN pair_prices ON pair_prices.entity = again.entity
    AND pair_prices.vendor = again.vendor AND pair_prices.cents = again.cents
  LEFT JOIN pair_repeats ON pair_repeats.entity = again.entity
    AND pair_repeats.vendor = again.vendor
),
shares AS (
  SELECT *,
    {_share("same", "vendor_charges", str(COINCIDENCE), SHRINK, "here")} AS price_share,
    {_share("repeats", "vendor_charges", "company_share", SHRINK, "here")} AS repeat_share
  FROM compared
)
-- How likely one of the pair's other charges of the week has this amount by chance, and how often
-- the pair repeats itself.
SELECT id, -log2(greatest(least(
  1 - exp(-pair_near
    * {_share("pair_same", "pair_charges", "price_share", _PAIR, "here")}),
  {_share("pair_repeats", "pair_charges", "repeat_share", _PAIR, "here")}
  ), 1e-9)) AS bits
FROM shares""",
    ),
    (
        "split_bits",
        f"""WITH tails AS (
  SELECT split.id, split.entity, split.vendor, split.parts,
    CAST(sum(charge.known) OVER (ORDER BY split.cents DESC) AS DOUBLE) AS company_least,
    CAST(sum(charge.known) OVER (PARTITION BY split.vendor ORDER BY split.cents DESC) AS DOUBLE)
      AS vendor_least,
    CAST(sum(charge.known) OVER (
      PARTITION BY split.entity, split.vendor ORDER BY split.cents DESC) AS DOUBLE) AS pair_least
  FROM audit.hits_split AS split
  JOIN audit.known_charges AS charge ON charge.id = split.id
),
compared AS (
  SELECT tails.*, tails.parts - 1 + charge.own AS here, vendor.charges AS vendor_charges,
    pair.charges AS pair_charges,
    greatest(tails.company_least / greatest(company.charges, 1), {SHARE_MIN}) AS company_share
  FROM tails
  JOIN audit.scored_charges AS charge ON charge.id = tails.id
  JOIN audit.profile_vendor AS vendor ON vendor.vendor = tails.vendor
  JOIN audit.profile_pair AS pair ON pair.entity = tails.entity AND pair.vendor = tails.vendor
  CROSS JOIN audit.profile_company AS company
),
shares AS (
  SELECT *, {_share("vendor_least", "vendor_charges", "company_share", SHRINK, "here")}
    AS vendor_share
  FROM compared
)
SELECT id, -log2({_share("pair_least", "pair_charges", "vendor_share", _PAIR, "here")}) AS bits
FROM shares""",
    ),
    (
        "hit_bits",
        f"""SELECT charge.id,
  {f",{chr(10)}  ".join(_bits(name) for name in PATTERNS)}
FROM audit.hits AS hits
JOIN audit.scored_charges AS charge ON charge.id = hits.id
JOIN audit.profile_vendor AS vendor ON vendor.vendor = charge.vendor
CROSS JOIN audit.profile_company_hits AS company
LEFT JOIN audit.profile_hits AS usual ON usual.vendor = charge.vendor
LEFT JOIN audit.duplicate_bits AS duplicate ON duplicate.id = hits.id
LEFT JOIN audit.split_bits AS split ON split.id = hits.id""",
    ),
)
"""How often each vendor and pair show each pattern, and what a hit is worth; as
`profiles.PROFILES`."""

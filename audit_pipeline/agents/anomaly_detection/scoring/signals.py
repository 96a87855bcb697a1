"""How surprising each aspect of a charge is, in bits, in SQL.

A bit is one halving: a signal of n bits is seen in one of 2^n charges by chance. Every signal
compares a charge with the others that are known: counts never hold the charge itself (middles and
spreads do). It leans on a wider level where a narrow one has little history.
"""

from collections.abc import Mapping, Sequence

from audit_pipeline.agents.anomaly_detection.scoring.hits import PATTERNS, Sight
from audit_pipeline.agents.anomaly_detection.scoring.profiles import SHRINK

SIGMA = 1.4826
"""Of a normal distribution, in median deviations."""
BELOW_WEIGHT = 0.6
"""Of an amount that is unusually small: rarer among frauds and errors than one that is large."""
ASPECTS = {
    "amount": ("amount_category", "amount_vendor", "amount_entity", "amount_pair"),
    "size": ("tail_company", "tail_category", "tail_vendor", "tail_entity"),
    "category": ("category_entity", "category_vendor"),
    "vendor": ("pair_new", "vendor_rare", "vendor_new"),
    "hour": ("hour_category", "hour_entity"),
    "weekday": ("weekday_entity", "weekday_vendor"),
    "pace": ("velocity", "spent", "new_vendors"),
    "pattern": PATTERNS,
}
"""What a charge can be unusual in, and the signals that look at it."""
COMBINATION = {"combination": ("forest",)}
"""The isolation forest's opinion, where there is one."""
SIGNALS = tuple(name for names in ASPECTS.values() for name in names)


def bursts(frame: str) -> str:
    """Each charge of `audit.timeline` with what its entity did within a day of it.

    Args:
        frame: of the window of a day (`hits.Sight`).
    """
    return f"""SELECT id, CAST(count(*) OVER near AS DOUBLE) AS charges,
  ln(greatest(sum(abs(cents)) OVER near, 1) / 100.0) AS log_spent,
  CAST(sum(novel) OVER near AS DOUBLE) AS novel
FROM audit.timeline
WINDOW near AS (PARTITION BY entity ORDER BY made_at {frame})"""


def _student(distance: str) -> str:
    """Bits of a Student t with four degrees of freedom: amounts have long tails."""
    return f"2.5 * log2(1 + power({distance}, 2) / 4)"


def _either(distance: str) -> str:
    return f"CASE WHEN {distance} < 0 THEN {BELOW_WEIGHT} ELSE 1 END * {_student(distance)}"


def _above(distance: str) -> str:
    return _student(f"greatest({distance}, 0)")


def _share(own: str, of: str, wider: str, shrink: float) -> str:
    """Bits of a share, leaning on that of a wider level."""
    return f"-log2(({own} + {shrink} * ({wider})) / ({of} + {shrink}))"


_PAIR = SHRINK / 2
_CLOCK = SHRINK * 2


def _distance(level: str, usual: str, spread: str, shrink: float) -> str:
    """Sigmas between a charge and a level, which leans on what is usual one level up."""
    weight = f"({level}_charges + {shrink})"
    return (
        f"(log_amount - ({level}_charges * {level}_middle + {shrink} * ({usual})) / {weight})\n"
        f"      / ({SIGMA} * sqrt(({level}_charges * power({level}_spread, 2)\n"
        f"        + {shrink} * power({spread}, 2)) / {weight}))"
    )


_VENDOR_USUAL = (
    f"(vendor_charges * vendor_middle + {SHRINK} * category_middle) / (vendor_charges + {SHRINK})"
)
_SPENT = f"(entity_charges + {SHRINK})"


_END_SHARE = (
    "((entity_end.charges - charge.own * charge.month_end"
    f" + {SHRINK} * company.end_share) / (entity.charges - charge.own + {SHRINK}))"
)


def reported(table: str) -> str:
    """SQL of those rows of a table that are of charges in `audit.reported` (id)."""
    return f"(SELECT * FROM audit.{table} SEMI JOIN audit.reported USING (id))"


def known(
    patterns: Sequence[str],
    charges: str = "audit.scored_charges",
    bursts: str = "audit.bursts",
) -> str:
    """SQL of charges with what every level says of them.

    Args:
        patterns: of PATTERNS those that are looked for, all or none.
        charges: all that are scored, or some of them.
        bursts: theirs; they are held in memory while the charges pass by.
    """
    bits = "".join(f",\n  coalesce(hit.{name}, 0) AS {name}" for name in patterns)
    hits = "\nLEFT JOIN audit.hit_bits AS hit\n  ON hit.id = charge.id" if patterns else ""
    return f"""SELECT charge.id, charge.log_amount, charge.novel,
  company.timed, company.days AS company_days,
  date_diff('day', charge.vendor_first_on, charge.day) AS vendor_age,
  date_diff('day', company.first_on, charge.day) AS company_age,
  greatest(company.charges - charge.own, 1) AS company_charges,
  category.charges - charge.own AS category_charges, category.middle AS category_middle,
  category.spread AS category_spread,
  vendor.charges - charge.own AS vendor_charges, vendor.middle AS vendor_middle,
  vendor.spread AS vendor_spread,
  entity.charges - charge.own AS entity_charges,
  category.middle + entity.middle AS entity_middle, entity.spread AS entity_spread,
  pair.charges - charge.own AS pair_charges, pair.middle AS pair_middle,
  pair.spread AS pair_spread, novelty.share AS novelty,
  entity_category.charges - charge.own AS entity_category_charges,
  vendor_category.charges - charge.own AS vendor_category_charges,
  greatest(tail.at_least, 0.5) / greatest(company.charges, 1) AS company_tail,
  category_tail.at_least - charge.own AS category_least,
  vendor_tail.at_least - charge.own AS vendor_least,
  entity_tail.at_least - charge.own AS entity_least,
  greatest(hour.charges, 0.5) / greatest(company.charges, 1) AS hour_share,
  category_hour.charges - charge.own AS category_hour_charges,
  entity_hour.charges - charge.own AS entity_hour_charges,
  greatest(weekday.charges, 0.5) / greatest(company.charges, 1) AS weekday_share,
  entity_weekday.charges - charge.own AS entity_weekday_charges,
  vendor_weekday.charges - charge.own AS vendor_weekday_charges,
  burst.charges AS burst_charges, burst.log_spent, burst.novel AS burst_novel,
  (entity.charges - charge.own) / company.days * coalesce(season.pace, 1)
    * CASE WHEN charge.month_end = 1 THEN {_END_SHARE} / company.end_days_share
      ELSE (1 - {_END_SHARE}) / (1 - company.end_days_share) END AS usual_a_day,
  CASE WHEN charge.month_end = 1
    THEN entity_end.charges * entity_end.beyond / (entity_end.charges + {SHRINK})
    ELSE 0 END AS end_beyond,
  entity_spent.middle AS spent_middle, entity_spent.spread AS spent_spread,
  spent.middle AS company_spent_middle, spent.spread AS company_spent_spread{bits}
FROM {charges} AS charge
CROSS JOIN audit.profile_company AS company
CROSS JOIN audit.profile_spent AS spent
JOIN audit.profile_category AS category
  ON category.category = charge.category
JOIN audit.profile_vendor AS vendor
  ON vendor.vendor = charge.vendor
JOIN audit.profile_entity AS entity
  ON entity.entity = charge.entity
JOIN audit.profile_novelty AS novelty
  ON novelty.entity = charge.entity
JOIN audit.profile_entity_spent AS entity_spent
  ON entity_spent.entity = charge.entity
JOIN audit.profile_entity_end AS entity_end
  ON entity_end.entity = charge.entity
LEFT JOIN audit.profile_season AS season
  ON season.month = charge.month
JOIN audit.profile_tail AS tail
  ON tail.bin = charge.bin
JOIN audit.profile_category_tail AS category_tail
  ON category_tail.category = charge.category AND category_tail.bin = charge.bin
JOIN audit.profile_hour AS hour
  ON hour.hour = charge.hour
JOIN audit.profile_category_hour AS category_hour
  ON category_hour.category = charge.category AND category_hour.hour = charge.hour
JOIN audit.profile_weekday AS weekday
  ON weekday.weekday = charge.weekday
JOIN audit.profile_entity_category AS entity_category
  ON entity_category.entity = charge.entity AND entity_category.category = charge.category
JOIN audit.profile_vendor_category AS vendor_category
  ON vendor_category.vendor = charge.vendor AND vendor_category.category = charge.category
JOIN audit.profile_vendor_tail AS vendor_tail
  ON vendor_tail.vendor = charge.vendor AND vendor_tail.bin = charge.bin
JOIN audit.profile_entity_tail AS entity_tail
  ON entity_tail.entity = charge.entity AND entity_tail.bin = charge.bin
JOIN audit.profile_entity_hour AS entity_hour
  ON entity_hour.entity = charge.entity AND entity_hour.hour = charge.hour
JOIN audit.profile_entity_weekday AS entity_weekday
  ON entity_weekday.entity = charge.entity AND entity_weekday.weekday = charge.weekday
JOIN audit.profile_vendor_weekday AS vendor_weekday
  ON vendor_weekday.vendor = charge.vendor AND vendor_weekday.weekday = charge.weekday
JOIN audit.profile_pair AS pair
  ON pair.entity = charge.entity AND pair.vendor = charge.vendor
JOIN {bursts} AS burst ON burst.id = charge.id{hits}"""


def signals_sql(sight: Sight, aspects: Mapping[str, Sequence[str]]) -> str:
    """SQL of the signals, and of what they compare with.

    Args:
        sight: of what a charge's window may see of the days after it.
        aspects: aspect → its signals.

    Returns:
        id, every one of SIGNALS (patterns where they are an aspect), pair_distance (robust
        sigmas), pair_usual (logarithm of the amount), and how many other charges the pair, the
        vendor and the company have.
    """
    patterns = aspects.get("pattern", ())
    usual = f"{sight.span} * usual_a_day"
    # A reviewer of single charges should not be sent the coffee of an expensive day. In an extract,
    # where bursts are looked for, it may belong to one (and the bench loses a tenth without it).
    fair = "" if sight.ahead else " * least(1, burst_charges * exp(log_amount - log_spent))"
    return f"""WITH known AS (
{known(patterns)}
),
placed AS (
  SELECT *, (category_least + {SHRINK} * company_tail) / (category_charges + {SHRINK})
      AS category_share,
    (log_amount - category_middle) / ({SIGMA} * category_spread) AS category_distance,
    {_distance("vendor", "category_middle", "category_spread", SHRINK)} AS vendor_distance,
    {_distance("entity", "category_middle", "category_spread", SHRINK)} AS entity_distance,
    {_distance("pair", _VENDOR_USUAL, "category_spread", _PAIR)} AS pair_distance,
    (burst_charges - 1 - {usual}) / sqrt({usual} + 0.5) AS burst_distance,
    (pair_charges * pair_middle + {_PAIR} * ({_VENDOR_USUAL})) / (pair_charges + {_PAIR})
      AS pair_usual,
    (log_spent - end_beyond
      - (entity_charges * spent_middle + {SHRINK} * company_spent_middle) / {_SPENT})
      / ({SIGMA} * sqrt((entity_charges * power(spent_spread, 2)
        + {SHRINK} * power(company_spent_spread, 2)) / {_SPENT})) AS spent_distance,
    (category_charges + 0.5) / company_charges AS category_weight
  FROM known
)
SELECT id, CAST({_either("category_distance")} AS FLOAT) AS amount_category,
  CAST({_either("vendor_distance")} AS FLOAT) AS amount_vendor,
  CAST({_either("entity_distance")} AS FLOAT) AS amount_entity,
  CAST({_either("pair_distance")} AS FLOAT) AS amount_pair,
  CAST(-log2(company_tail) AS FLOAT) AS tail_company,
  CAST(-log2(category_share) AS FLOAT) AS tail_category,
  CAST({_share("vendor_least", "vendor_charges", "category_share", SHRINK)} AS FLOAT)
    AS tail_vendor,
  CAST({_share("entity_least", "entity_charges", "category_share", SHRINK)} AS FLOAT)
    AS tail_entity,
  CAST({_share("entity_category_charges", "entity_charges", "category_weight", _PAIR)} AS FLOAT)
    AS category_entity,
  CAST({_share("vendor_category_charges", "vendor_charges", "category_weight", _PAIR)} AS FLOAT)
    AS category_vendor,
  CAST(CASE WHEN novel = 1 THEN -log2(novelty) ELSE 0 END AS FLOAT) AS pair_new,
  CAST(-log2((vendor_charges + 0.5) / company_charges) AS FLOAT) AS vendor_rare,
  -- In the first fifth of the data every vendor is new.
  CAST(CASE WHEN company_age > 0.2 * company_days
    THEN -log2(least((vendor_age + 1.0) / (company_days + 1.0), 1)) ELSE 0 END AS FLOAT)
    AS vendor_new,
  CAST(CASE WHEN timed THEN
    {_share("category_hour_charges", "category_charges", "hour_share", _CLOCK)}
    ELSE 0 END AS FLOAT) AS hour_category,
  CAST(CASE WHEN timed THEN
    {_share("entity_hour_charges", "entity_charges", "hour_share", _CLOCK)}
    ELSE 0 END AS FLOAT) AS hour_entity,
  CAST({_share("entity_weekday_charges", "entity_charges", "weekday_share", _CLOCK)} AS FLOAT)
    AS weekday_entity,
  CAST({_share("vendor_weekday_charges", "vendor_charges", "weekday_share", _CLOCK)} AS FLOAT)
    AS weekday_vendor,
  CAST({_above("burst_distance")} AS FLOAT) AS velocity,
  CAST({_above("spent_distance")}{fair} AS FLOAT) AS spent,
  CAST(CASE WHEN burst_novel >= 2 THEN -(burst_novel - 1) * log2(greatest(novelty, 1e-4))
    ELSE 0 END AS FLOAT) AS new_vendors,
  {"".join(f"CAST({name} AS FLOAT) AS {name}, " for name in patterns)}
  pair_distance, pair_usual, pair_charges, vendor_charges, company_charges
FROM placed"""

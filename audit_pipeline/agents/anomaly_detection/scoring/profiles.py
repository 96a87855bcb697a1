"""What is usual: counts, middles, spreads and tails of every level, in SQL.

A level is a choice of keys: the company (none), a category, a vendor, an entity (a card), a pair of
entity and vendor, or an entity's hours. All are made of `audit.known_charges`: one row for each
charge of history, and one more, with `known` 0, for each charge that is scored without being one.
So every scored charge finds a row at every level, of nothing if need be, and what it adds to a
level itself can be taken off again (`audit.scored_charges.own`).
"""

COMPANY_SPREAD_MIN, VENDOR_SPREAD_MIN, SPENT_SPREAD_MIN = 0.05, 0.02, 0.1
"""Of logarithms of amounts: prices move by some percent without anybody's doing, those of one
vendor by less, and what is spent in a day by more."""
TIMED_SHARE = 0.01
SEASON_DAYS = 10
"""Of a month that is as busy as any other, before its own days say."""
SHARE_OF_DAYS_MIN = 0.01
SHRINK = 10
"""Charges of its own that a level needs to outweigh the level above it; a pair needs half as many,
a clock twice, for it has many hours. Measured best among 3 to 30 on two public sets."""


def _counts(*keys: str) -> str:
    level = ", ".join(keys)
    return (
        f"SELECT {level}, CAST(sum(known) AS DOUBLE) AS charges\n"
        f"FROM audit.known_charges GROUP BY {level}"
    )


def _tail(*keys: str) -> str:
    """How many charges of a level are at least as large as a bin of amounts."""
    level, partition = ", ".join((*keys, "bin")), f"PARTITION BY {keys[0]} " if keys else ""
    return (
        f"SELECT {level}, CAST(sum(sum(known)) OVER ({partition}ORDER BY bin DESC) AS DOUBLE)\n"
        f"  AS at_least\nFROM audit.known_charges GROUP BY {level}"
    )


def _amounts(value: str, spread_min: float, *keys: str, source: str = "") -> str:
    """Number, middle and spread; half the distance of the quartiles is one median deviation."""
    level = "".join(f"{key}, " for key in keys)
    return f"""SELECT {level}charges, coalesce(quartiles[2], 0) AS middle,
  greatest(coalesce(quartiles[3] - quartiles[1], 0) / 2, {spread_min}) AS spread
FROM (
  SELECT {level}CAST(coalesce(sum(known), 0) AS DOUBLE) AS charges,
    quantile_cont({value}, [0.25, 0.5, 0.75]) FILTER (WHERE known = 1) AS quartiles
  FROM {source or "audit.known_charges"}{" GROUP BY " + ", ".join(keys) if keys else ""}
) AS level"""


PROFILES: tuple[tuple[str, str], ...] = (
    (
        "profile_company",
        f"""SELECT company.*, span.first_on, span.days, span.timed, span.upper_decile,
  greatest(span.end_charges, 0.5) / greatest(company.charges, 1) AS end_share,
  least(greatest(span.end_days / greatest(span.days_seen, 1), {SHARE_OF_DAYS_MIN}),
    1 - {SHARE_OF_DAYS_MIN}) AS end_days_share, span.days_seen
FROM ({_amounts("log_amount", COMPANY_SPREAD_MIN)}) AS company
CROSS JOIN (
  SELECT min(day) AS first_on, coalesce(quantile_cont(log_amount, 0.9), 0) AS upper_decile,
    CAST(greatest(coalesce(date_diff('day', min(day), max(day)), 1), 1) AS DOUBLE) AS days,
    -- Whole-day stamps say nothing of the hour; a stray time among them is no clock.
    coalesce(avg(CASE WHEN made_at <> day THEN 1.0 ELSE 0.0 END), 0) > {TIMED_SHARE} AS timed,
    CAST(coalesce(sum(month_end), 0) AS DOUBLE) AS end_charges,
    CAST(count(DISTINCT day) AS DOUBLE) AS days_seen,
    CAST(count(DISTINCT CASE WHEN month_end = 1 THEN day END) AS DOUBLE) AS end_days
  FROM audit.known_charges
  WHERE known = 1
) AS span""",
    ),
    (
        "profile_category",
        f"""SELECT own.category, own.charges,
  (own.charges * own.middle + {SHRINK} * company.middle) / (own.charges + {SHRINK}) AS middle,
  sqrt((own.charges * power(own.spread, 2) + {SHRINK} * power(company.spread, 2))
    / (own.charges + {SHRINK})) AS spread
FROM ({_amounts("log_amount", COMPANY_SPREAD_MIN, "category")}) AS own
CROSS JOIN audit.profile_company AS company""",
    ),
    (
        # How busy the company is in a month of the year, as compared with all days.
        "profile_season",
        f"""SELECT season.month, (season.charges + {SEASON_DAYS} * company.a_day)
  / ((season.days + {SEASON_DAYS}) * company.a_day) AS pace
FROM (
  SELECT month, CAST(count(*) AS DOUBLE) AS charges, CAST(count(DISTINCT day) AS DOUBLE) AS days
  FROM audit.known_charges WHERE known = 1 GROUP BY month
) AS season
CROSS JOIN (
  SELECT greatest(charges, 1) / greatest(days_seen, 1) AS a_day FROM audit.profile_company
) AS company""",
    ),
    ("profile_vendor", _amounts("log_amount", VENDOR_SPREAD_MIN, "vendor")),
    (
        # What an entity spends, as compared with others in the same category.
        "profile_entity",
        _amounts(
            "log_amount - middle",
            COMPANY_SPREAD_MIN,
            "entity",
            source="(SELECT charge.entity, charge.known, charge.log_amount, category.middle\n"
            "  FROM audit.known_charges AS charge\n"
            "  JOIN audit.profile_category AS category\n"
            "    ON category.category = charge.category) AS charges",
        ),
    ),
    ("profile_pair", _amounts("log_amount", VENDOR_SPREAD_MIN, "entity", "vendor")),
    ("profile_entity_category", _counts("entity", "category")),
    ("profile_vendor_category", _counts("vendor", "category")),
    (
        # How often an entity pays a vendor once only (Good and Turing's estimate of the unseen).
        "profile_novelty",
        f"""SELECT pair.entity,
  (sum(CASE WHEN pair.charges = 1 THEN 1 ELSE 0 END) + {SHRINK} * any_value(company.share))
    / (sum(pair.charges) + {SHRINK}) AS share
FROM audit.profile_pair AS pair
CROSS JOIN (
  SELECT (sum(CASE WHEN charges = 1 THEN 1 ELSE 0 END) + 1) / (sum(charges) + 2) AS share
  FROM audit.profile_pair
) AS company
GROUP BY pair.entity""",
    ),
    ("profile_tail", _tail()),
    ("profile_category_tail", _tail("category")),
    ("profile_vendor_tail", _tail("vendor")),
    ("profile_entity_tail", _tail("entity")),
    ("profile_hour", _counts("hour")),
    ("profile_category_hour", _counts("category", "hour")),
    ("profile_entity_hour", _counts("entity", "hour")),
    ("profile_weekday", _counts("weekday")),
    ("profile_entity_weekday", _counts("entity", "weekday")),
    ("profile_vendor_weekday", _counts("vendor", "weekday")),
    (
        "profile_entity_spent",
        _amounts("log_spent", SPENT_SPREAD_MIN, "entity", source="audit.known_bursts"),
    ),
    (
        # What an entity does when months end: how often, and how much more in a day.
        "profile_entity_end",
        """SELECT burst.entity,
  CAST(sum(CASE WHEN month_end = 1 THEN known ELSE 0 END) AS DOUBLE) AS charges,
  coalesce(avg(CASE WHEN month_end = 1 AND known = 1 THEN log_spent END), any_value(usual.middle))
    - any_value(usual.middle) AS beyond
FROM audit.known_bursts AS burst
JOIN audit.profile_entity_spent AS usual ON usual.entity = burst.entity
GROUP BY burst.entity""",
    ),
    ("profile_spent", _amounts("log_spent", SPENT_SPREAD_MIN, source="audit.known_bursts")),
)
"""Table → its SQL, in the order in which they can be made."""

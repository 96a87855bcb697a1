"""Every audited charge's score, month by month: how surprising it is beside the year before.

The signals, their calibration and the isolation forest of a month know the charges before its first
day only, so that a day audited alone meets the same ones as a year's backfill. The SQL runs where
gold is (`agents.anomaly_detection.scoring`); the forest is trained here.
"""

import datetime as dt
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from audit_pipeline.agents.anomaly_detection import benford, forest, scoring
from audit_pipeline.agents.reconciliation.settlement import month_after
from audit_pipeline.model.query import Query

if TYPE_CHECKING:
    from audit_pipeline.adapters.protocol import Warehouse
    from audit_pipeline.model.rule import Rules

REASONS_FROM = 50.0
"""Score from which reasons are told, which one charge in a hundred reaches; AN-07 asks for more."""
SIGHT = scoring.Sight(ahead=False)
# Patterns are findings of their own here (AN-05, AN-06, AN-10, …): none counts a second time.
ASPECTS = {name: of for name, of in scoring.ASPECTS.items() if name != "pattern"}
ASPECTS |= scoring.COMBINATION
_PARTS = [name for names in ASPECTS.values() for name in names]
_LOT = "CAST('0x' || left(md5(entry.transaction_id), 6) AS INTEGER)"
_LOTS = 16_777_216.0
# Numbers for names: they are joined and sorted a hundred times. A vendor goes by the name under
# which it was first paid, which no later charge changes.
NAMES = {
    "entity_names": """SELECT CAST(row_number() OVER (ORDER BY payer) AS INTEGER) AS entity,
  payer AS name FROM (SELECT DISTINCT payer FROM audit.transactions WHERE cents > 0) AS payers""",
    "vendor_names": """SELECT CAST(row_number() OVER (ORDER BY vendor_id) AS INTEGER) AS vendor,
  vendor_id, arg_min(vendor, (occurred_at, transaction_id)) AS name
FROM audit.transactions WHERE cents > 0 GROUP BY vendor_id""",
    "category_names": """SELECT CAST(row_number() OVER (ORDER BY name) AS INTEGER) AS category, name
FROM (SELECT DISTINCT coalesce(category, '') AS name FROM audit.transactions WHERE cents > 0)
  AS categories""",
}
TIMELINE = f"""SELECT CAST(row_number() OVER (ORDER BY entry.transaction_id) AS INTEGER) AS id,
  entry.transaction_id, entry.audit_on, entity.entity, vendor.vendor, category.category,
  entry.cents, CAST(entry.occurred_at AS TIMESTAMP) AS made_at,
  {scoring.timeline_columns("entry.cents", "entry.occurred_at")},
  CASE WHEN entry.occurred_at = firsts.pair_first_at THEN 1 ELSE 0 END AS novel,
  entry.occurred_at = firsts.vendor_first_at AS is_vendor_first,
  CAST(firsts.vendor_first_at AS DATE) AS vendor_first_on,
  coalesce(repeats.bits >= $repeat_bits, false) AS is_repeat,
  -- Drawn once for a charge, not again for every month.
  {_LOT} AS lot
FROM audit.transactions AS entry
JOIN audit.entity_names AS entity ON entity.name = entry.payer
JOIN audit.vendor_names AS vendor ON vendor.vendor_id = entry.vendor_id
JOIN audit.category_names AS category ON category.name = coalesce(entry.category, '')
JOIN audit.firsts AS firsts
  ON firsts.vendor_id = entry.vendor_id AND firsts.payer = entry.payer
LEFT JOIN audit.repeats AS repeats ON repeats.transaction_id = entry.transaction_id
WHERE entry.cents > 0"""
_COLUMNS = (
    "id, entity, vendor, category, cents, made_at, log_amount, bin, day, hour, weekday, month,"
    " month_end, novel, vendor_first_on, lot"
)
# Charges that were found twice (AN-05) teach nothing of what is usual.
KNOWN = f"""SELECT {_COLUMNS}, 1 AS known
FROM audit.timeline
WHERE NOT is_repeat
  AND day >= $baseline_on - CAST($baseline_days AS INTEGER) AND day < $baseline_on
UNION ALL
SELECT {_COLUMNS}, 0 AS known
FROM audit.timeline
WHERE audit_on BETWEEN $first_on AND $last_on"""
SCORED = f"""SELECT * EXCLUDE (known), 0 AS own FROM audit.known_charges WHERE known = 0
UNION ALL
SELECT * EXCLUDE (known), 1 AS own FROM audit.known_charges
WHERE known = 1 AND lot < {_LOTS} * $sample_rows / $charges"""
_NUMBERS = ", ".join(
    f"CAST(round(CAST(counted.{name} AS DOUBLE), 2) AS FLOAT) AS {name}_bits" for name in _PARTS
)
OF_MONTH = f"""SELECT charge.id,
  CAST(round(exp(signal.pair_usual), 2) AS DECIMAL(18,2)) AS usual_amount,
  CAST(signal.pair_charges AS BIGINT) AS pair_charges,
  CAST(signal.vendor_charges AS BIGINT) AS vendor_charges,
  CAST(signal.company_charges AS BIGINT) AS company_charges,
  round(signal.pair_distance, 4) AS distance,
  CAST(round(exp(company.upper_decile), 2) AS DECIMAL(18,2)) AS upper_decile,
  round(scored.score, 2) AS score, round(scored.bits, 2) AS bits,
  CAST(scored.companions AS INTEGER) AS companions, coalesce(reasons.reasons, '') AS reasons,
  {_NUMBERS}
FROM audit.scored_charges AS charge
JOIN audit.signals AS signal ON signal.id = charge.id
JOIN audit.counted AS counted ON counted.id = charge.id
JOIN audit.scored AS scored ON scored.id = charge.id
CROSS JOIN audit.profile_company AS company
LEFT JOIN audit.reasons AS reasons ON reasons.id = charge.id
WHERE charge.own = 0"""
OF_NO_MONTH = f"""SELECT id, CAST(NULL AS DECIMAL(18,2)) AS usual_amount,
  CAST(0 AS BIGINT) AS pair_charges, CAST(0 AS BIGINT) AS vendor_charges,
  CAST(0 AS BIGINT) AS company_charges, CAST(0 AS DOUBLE) AS distance,
  CAST(NULL AS DECIMAL(18,2)) AS upper_decile,
  CAST(0 AS DOUBLE) AS score, CAST(0 AS DOUBLE) AS bits, 0 AS companions, '' AS reasons,
  {", ".join(f"CAST(0 AS FLOAT) AS {name}_bits" for name in _PARTS)}
FROM audit.timeline WHERE false"""
"""Of the same columns, for a company without history."""
OF_ALL = """SELECT line.transaction_id, line.audit_on, entry.payer, entry.vendor_id, entry.vendor,
  entry.amount, line.is_vendor_first, found.* EXCLUDE (id)
FROM ({months}) AS found
JOIN audit.timeline AS line ON line.id = found.id
JOIN audit.transactions AS entry ON entry.transaction_id = line.transaction_id"""

POPULATION = """(SELECT entry.cents, entry.payer AS entity, vendor.name AS vendor
  FROM audit.transactions AS entry
  JOIN audit.vendor_names AS vendor ON vendor.vendor_id = entry.vendor_id
  WHERE entry.occurred_on > $to_on - CAST($baseline_days AS INTEGER)
    AND entry.occurred_on <= $to_on) AS population"""
"""A day has too few charges to say anything of their digits: the year up to it."""


def score_charges(
    warehouse: "Warehouse", rules: "Rules", from_on: dt.date, to_on: dt.date
) -> dict[dt.date, forest.Trained]:
    """`audit.scores`: the charges of these audit dates, from `audit.transactions`.

    Needs `audit.firsts` and `audit.repeats`. Months with less history than AN-07 asks for have no
    scores: there is nothing to be unusual against.

    Returns:
        Month → its forest.
    """
    rule = rules["AN-07"]
    limit_cents = round(100 * rules["AN-06"].number("limit"))
    months = [OF_NO_MONTH]
    forests: dict[dt.date, forest.Trained] = {}
    with warehouse.joins_as_written():
        for name, sql in NAMES.items():
            warehouse.create(name, Query(sql))
        repeat_bits = rules["AN-05"].number("bits_min")
        warehouse.create("timeline", Query(TIMELINE, {"repeat_bits": repeat_bits}))
        for name, sql in scoring.of_timeline(SIGHT, limit_cents, ASPECTS):
            warehouse.create(name, Query(sql))
        baseline_on = from_on.replace(day=1)
        while baseline_on <= to_on:
            following = month_after(baseline_on, 1)
            known = {
                "baseline_days": rule.whole("baseline_days"),
                "baseline_on": baseline_on,
                "first_on": max(from_on, baseline_on),
                "last_on": min(to_on, following - dt.timedelta(days=1)),
            }
            warehouse.create("known_charges", Query(KNOWN, known))
            charges = warehouse.value(Query("SELECT sum(known) FROM audit.known_charges"))
            charges = int(str(charges or 0))
            forests[baseline_on] = forest.Trained()
            if charges >= rule.whole("history_min"):
                sample = {"sample_rows": rule.whole("sample_rows"), "charges": charges}
                warehouse.create("scored_charges", Query(SCORED, sample))
                forests[baseline_on] = _signals(warehouse, rule.whole("training_rows_min"))
                _scores(warehouse, limit_cents)
                table = f"scores_{baseline_on:%Y_%m}"
                warehouse.create(table, Query(OF_MONTH))
                months.append(f"SELECT * FROM audit.{table}")
            baseline_on = following
    warehouse.create("scores", Query(OF_ALL.format(months="\nUNION ALL ".join(months))))
    return forests


def benford_of(
    warehouse: "Warehouse", rules: "Rules", from_on: dt.date, to_on: dt.date
) -> benford.Benford:
    """Benford's law of the audited days and of the days before them that AN-07 knows.

    Needs `audit.scores`.
    """
    of = {
        "to_on": to_on,
        "baseline_days": rules["AN-07"].whole("baseline_days") + (to_on - from_on).days,
    }

    def rows(sql: str) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in warehouse.rows(Query(sql, of))]

    return benford.judge(
        dict(rows(benford.counts_sql(POPULATION))),
        {key: rows(benford.parts_sql(POPULATION, key)) for key in ("vendor", "entity")},
    )


def _signals(warehouse: "Warehouse", training_rows_min: int) -> forest.Trained:
    """`audit.signals` with the forest's; which forest that was."""
    for name, sql in scoring.of_history(SIGHT, ASPECTS, signals="signals_alone"):
        warehouse.create(name, Query(sql))
    columns = ", ".join(f"signal.{name}" for name in forest.FEATURES)
    features = (
        f"SELECT charge.id, charge.own = 1 AS training, {columns}"
        " FROM audit.signals_alone AS signal"
        " JOIN audit.scored_charges AS charge ON charge.id = signal.id"
    )
    found = warehouse.query(Query(features))
    said = forest.run_isolation_forest(found, training_rows_min)
    warehouse.create("forest", pa.table({"id": found.column("id"), "bits": said.bits}))
    with_forest = (
        "SELECT signal.*, CAST(forest.bits AS FLOAT) AS forest"
        " FROM audit.signals_alone AS signal JOIN audit.forest AS forest ON forest.id = signal.id"
    )
    warehouse.create("signals", Query(with_forest))
    warehouse.create(
        "known_signals",
        Query(
            "SELECT signal.* FROM audit.signals AS signal"
            " JOIN audit.scored_charges AS charge ON charge.id = signal.id AND charge.own = 1"
        ),
    )
    return said.trained


def _scores(warehouse: "Warehouse", limit_cents: int) -> None:
    for name, sql in scoring.scores(SIGHT, ASPECTS):
        warehouse.create(name, Query(sql))
    reported = (
        "SELECT scored.id FROM audit.scored AS scored"
        " JOIN audit.scored_charges AS charge ON charge.id = scored.id AND charge.own = 0"
        " WHERE scored.score >= $reasons_from"
    )
    warehouse.create("reported", Query(reported, {"reasons_from": REASONS_FROM}))
    for name, sql in scoring.reasons(SIGHT, limit_cents, ASPECTS):
        warehouse.create(name, Query(sql))

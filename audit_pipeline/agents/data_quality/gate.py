"""Data quality: completeness, conformity, duplicates, freshness, and the gate they add up to.

Source: the specification's data quality agent. The queries are made from the declarations in
`model/tables.py`, so that a column is named once.
"""

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from audit_pipeline.model.query import Detector, Query, sql_of
from audit_pipeline.model.tables import GOLD, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from audit_pipeline.model.rule import Rule, Rules

HERE = "audit_pipeline.agents.data_quality"


def vendor_keys() -> Query:
    """`vendor`, `vendor_key`: one row per vendor text."""
    return Query(sql_of(HERE, "vendor_keys"))


def quarantined_entries() -> Query:
    """One row per ledger entry that cannot be audited, on the audit date it belongs to."""
    return Query(sql_of(HERE, "quarantined"))


def card_lines() -> Query:
    """One row per usable line of a card statement."""
    return Query(sql_of(HERE, "card_lines"))


def bank_lines() -> Query:
    """One row per usable line of a bank statement, money out positive."""
    return Query(sql_of(HERE, "bank_lines"))


def receipts() -> Query:
    """One row per usable receipt."""
    return Query(sql_of(HERE, "receipts"))


def transactions() -> Query:
    """The audited population, one row per ledger entry."""
    return Query(sql_of(HERE, "transactions"))


def _measures(table: Table) -> str:
    filled = " + ".join(f"count({column.name})" for column in table.required)
    missing = ", ".join(
        f"{{'field': '{column.name}', 'missing': count(*) - count({column.name})}}"
        for column in table.required
    )
    return (
        f"SELECT audit_on, '{table.name}' AS table_name, count(*) AS rows_read,\n"
        f"  count(*) * {len(table.required)} AS cells_required, {filled} AS cells_filled,\n"
        f"  count({table.key}) - count(DISTINCT {table.key}) AS duplicates,\n"
        f"  count(*) FILTER (WHERE CAST({table.dated_by} AS DATE) > audit_on) AS future,\n"
        f"  [{missing}] AS missing_by_field\n"
        f"FROM {table.full_name}\n"
        "WHERE audit_on BETWEEN $from_on AND $to_on\n"
        "GROUP BY audit_on"
    )


def check_completeness(from_on: dt.date, to_on: dt.date) -> Query:
    """Completeness per required field and overall, per gold table and audit date.

    Rows that the reader rejected count as rows without a single readable required cell.

    Returns:
        audit_on, table_name, rows_read, rejected, cells_required, cells_filled, completeness (0 to
        1), duplicates, future, missing_by_field.
    """
    dated = [table for table in GOLD if table.dated_by]
    union = "\nUNION ALL\n".join(_measures(table) for table in dated)
    widths = "\n".join(f"    WHEN '{t.name}' THEN {len(t.required)}" for t in dated)
    sql = f"""WITH kept AS (
{union}
),
rejected AS (
  SELECT audit_on, table_name, count(*) AS rejected,
    count(*) * CASE table_name
{widths}
    ELSE 0 END AS cells_required
  FROM gold.quarantine
  WHERE audit_on BETWEEN $from_on AND $to_on
  GROUP BY audit_on, table_name
)
SELECT coalesce(kept.audit_on, rejected.audit_on) AS audit_on,
  coalesce(kept.table_name, rejected.table_name) AS table_name,
  coalesce(rows_read, 0) AS rows_read,
  coalesce(rejected.rejected, 0) AS rejected,
  coalesce(kept.cells_required, 0) + coalesce(rejected.cells_required, 0) AS cells_required,
  coalesce(cells_filled, 0) AS cells_filled,
  coalesce(cells_filled, 0)
    / nullif(coalesce(kept.cells_required, 0) + coalesce(rejected.cells_required, 0), 0)
    AS completeness,
  coalesce(duplicates, 0) AS duplicates, coalesce(future, 0) AS future, missing_by_field
FROM kept
FULL JOIN rejected ON rejected.audit_on = kept.audit_on AND rejected.table_name = kept.table_name
"""
    return Query(sql, {"from_on": from_on, "to_on": to_on})


def check_freshness(to_on: dt.date) -> Query:
    """When each domain last had an entry, and how many days apart its entries usually are.

    Returns:
        domain, last_on, days (those with an entry), usual_gap_days (the 95th percentile of the gaps
        between such days, at least 1).
    """
    sql = """WITH days AS (
  SELECT DISTINCT domain, occurred_on FROM audit.transactions WHERE occurred_on <= $to_on
),
gaps AS (
  SELECT domain, occurred_on,
    date_diff('day', lag(occurred_on) OVER (PARTITION BY domain ORDER BY occurred_on), occurred_on)
      AS gap_days
  FROM days
)
SELECT domain, max(occurred_on) AS last_on, count(*) AS days,
  CAST(greatest(coalesce(quantile_disc(gap_days, 0.95), 1), 1) AS BIGINT) AS usual_gap_days
FROM gaps
GROUP BY domain
ORDER BY domain"""
    return Query(sql, {"to_on": to_on})


@dataclass(frozen=True)
class StaleDomain:
    """A domain that has been silent for longer than it ever should be."""

    domain: str
    last_on: dt.date
    silent_days: int
    allowed_days: int


def stale_domains(
    freshness: "Sequence[Mapping[str, object]]",
    to_on: dt.date,
    rule: "Rule",
    manual_days: "Mapping[str, int]",
) -> list[StaleDomain]:
    """The domains whose silence is longer than allowed: by hand where given, else inferred.

    Args:
        freshness: rows of `check_freshness`.
        to_on: the audit date.
        rule: DQ-04; `times_usual_gap` and `min_days` make the inferred limit.
        manual_days: domain → days, which overrides the inferred limit.
    """
    stale: list[StaleDomain] = []
    for row in freshness:
        domain, last_on, usual = row["domain"], row["last_on"], row["usual_gap_days"]
        if not (isinstance(last_on, dt.date) and isinstance(usual, int)):
            continue
        inferred = max(rule.whole("min_days"), int(usual * rule.number("times_usual_gap")))
        allowed = manual_days.get(str(domain), inferred)
        silent = (to_on - last_on).days
        if silent > allowed:
            stale.append(StaleDomain(str(domain), last_on, silent, allowed))
    return stale


def gate_reasons(
    completeness: "Sequence[Mapping[str, object]]",
    broken_files: "Mapping[str, str]",
    missing_columns: "Mapping[str, tuple[str, ...]]",
    rule: "Rule",
) -> list[str]:
    """Why the gate is closed; empty when it is open.

    Args:
        completeness: rows of `check_completeness`.
        broken_files: table → why its file could not be read at all.
        missing_columns: table → required columns that its source lacks.
        rule: DQ-01; `completeness` (share) closes the gate, on days of at least `min_rows` rows.
    """
    reasons = [f"{table}: {problem}" for table, problem in sorted(broken_files.items())]
    reasons += [
        f"{table}: required column(s) missing: {', '.join(columns)}"
        for table, columns in sorted(missing_columns.items())
    ]
    needed = rule.number("completeness")
    for row in sorted(completeness, key=lambda r: (str(r["audit_on"]), str(r["table_name"]))):
        rows = int(str(row["rows_read"])) + int(str(row["rejected"]))
        share = row["completeness"]
        if rows >= rule.whole("min_rows") and isinstance(share, float) and share < needed:
            reasons.append(
                f"{row['table_name']} on {row['audit_on']}: "
                f"{share:.1%} of the required values are there, {needed:.0%} are needed"
            )
    return reasons


_HELD = """{head}
SELECT audit_on, transaction_id, {measured} AS measured, {threshold} AS threshold,
  amount, vendor, dated, reason{more}
FROM audit.quarantined
WHERE rule_id = '{rule_id}' AND audit_on BETWEEN $from_on AND $to_on
QUALIFY row_number() OVER (PARTITION BY audit_on, transaction_id ORDER BY row_number) = 1"""

_HEADS = {
    "DQ-01": """-- DQ-01 Ledger entries in which a required value is missing: the id, the source,
-- the amount, the vendor or the date, the first of these that is. They are
-- quarantined, and no other rule audits them. Where several rows of a day go by
-- one id, the first row of the file stands for them. Measured: 1, against 0.""",
    "DQ-03": """-- DQ-03 Ledger entries that repeat the id of an earlier entry, by day and then by
-- row: the first copy is audited, the later ones are quarantined. Left out are
-- copies that are incomplete or dated in the future, which DQ-01 and DQ-05 name.
-- Measured: 1, against 0.""",
    "DQ-05": """-- DQ-05 Ledger entries that are dated after the day on which the data was
-- received. They are quarantined, and no other rule audits them. Left out are
-- incomplete ones, which DQ-01 names. Where several rows of a day go by one id,
-- the first row of the file stands for them. Measured: the days ahead.""",
}

_HELD_FACTS = {
    "amount": "gold.recent_transactions.amount",
    "vendor": "gold.recent_transactions.vendor",
    "dated": "gold.recent_transactions.date",
    "reason": "audit.quarantined.reason",
}

REJECTED = """-- DQ-02 Rows of the ledger's file that could not be read as an entry: a value of
-- another kind than its column's, with the value as it was written, its file and
-- its row. They are counted and set aside when the file is read. Where several
-- rows of a day go by one id, the first counts. Measured: 1, against 0.
SELECT audit_on, coalesce(row_id, 'row:' || row_number) AS transaction_id,
  1 AS measured, 0 AS threshold, field, reason, raw, file, row_number
FROM gold.quarantine
WHERE table_name = 'recent_transactions' AND audit_on BETWEEN $from_on AND $to_on
QUALIFY row_number() OVER (
  PARTITION BY audit_on, coalesce(row_id, 'row:' || row_number) ORDER BY row_number) = 1"""

FOREIGN_CURRENCY = """-- DQ-06 Ledger entries in another currency than the company's own, which
-- is the one that most entries have had up to that day (of equals, the
-- first by its code). No amount is converted. Left out are entries without
-- a currency, which count as the company's own. Measured: 1, against 0.
WITH by_day AS (
  SELECT audit_on, currency, count(*) AS entries
  FROM audit.transactions
  WHERE currency IS NOT NULL
  GROUP BY audit_on, currency
),
until AS (
  SELECT days.audit_on, by_day.currency, sum(by_day.entries) AS entries
  FROM (SELECT DISTINCT audit_on FROM by_day WHERE audit_on BETWEEN $from_on AND $to_on) AS days
  JOIN by_day ON by_day.audit_on <= days.audit_on
  GROUP BY days.audit_on, by_day.currency
),
own AS (
  SELECT audit_on, currency AS own_currency
  FROM until
  QUALIFY row_number() OVER (PARTITION BY audit_on ORDER BY entries DESC, currency) = 1
)
SELECT entry.audit_on, transaction_id, 1 AS measured, 0 AS threshold, amount, vendor, currency,
  own_currency
FROM audit.transactions AS entry
JOIN own ON own.audit_on = entry.audit_on
WHERE entry.currency <> own.own_currency"""

DETECTORS: tuple[Detector, ...] = (
    Detector(
        "DQ-01",
        _HELD.format(
            head=_HEADS["DQ-01"], rule_id="DQ-01", measured=1, threshold=0, more=", missing_field"
        ),
        {**_HELD_FACTS, "missing_field": "audit.quarantined.missing_field"},
    ),
    Detector(
        "DQ-02",
        REJECTED,
        {
            "field": "gold.quarantine.field",
            "reason": "gold.quarantine.reason",
            "raw": "gold.quarantine.raw",
            "file": "gold.quarantine.file",
            "row_number": "gold.quarantine.row_number",
        },
    ),
    Detector(
        "DQ-03",
        _HELD.format(
            head=_HEADS["DQ-03"],
            rule_id="DQ-03",
            measured=1,
            threshold=0,
            more=", row_number, first_row",
        ),
        {
            **_HELD_FACTS,
            "row_number": "gold.recent_transactions.row_number",
            "first_row": "gold.recent_transactions.row_number",
        },
    ),
    Detector(
        "DQ-05",
        _HELD.format(
            head=_HEADS["DQ-05"],
            rule_id="DQ-05",
            measured="days_ahead",
            threshold=0,
            more=", days_ahead",
        ),
        {**_HELD_FACTS, "days_ahead": "audit.quarantined.days_ahead"},
    ),
    Detector(
        "DQ-06",
        FOREIGN_CURRENCY,
        {
            "amount": "gold.recent_transactions.amount",
            "vendor": "gold.recent_transactions.vendor",
            "currency": "gold.recent_transactions.currency",
            "own_currency": "audit.transactions.own_currency",
        },
    ),
)


def findings(rules: "Rules", from_on: dt.date, to_on: dt.date) -> dict[str, Query]:
    """Rule id → the query of its findings on those audit dates."""
    return {d.rule_id: d.query(rules[d.rule_id], from_on, to_on) for d in DETECTORS}

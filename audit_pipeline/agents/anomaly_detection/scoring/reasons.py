"""Why a charge scores as it does, in words, in SQL: its strongest signals, each with its share.

Amounts and counts come from the same profiles as the bits. Names are the ledger's own text: control
characters become spaces, and nothing is made of what they say.
"""

from collections.abc import Mapping, Sequence

from audit_pipeline.agents.anomaly_detection.scoring.hits import (
    AGAIN_DAYS,
    SPLIT_DAYS,
    Sight,
)
from audit_pipeline.agents.anomaly_detection.scoring.signals import known, reported

REASONS_MAX = 3
NAME_CHARS = 60


def _money(amount: str) -> str:
    return f"format('{{:,.2f}}', CAST({amount} AS DOUBLE))"


def _count(number: str) -> str:
    return f"format('{{:,}}', CAST({number} AS BIGINT))"


def _one_in(share: str) -> str:
    return f"'one in ' || {_count(f'greatest(round(1 / ({share})), 1)')}"


def _percent(share: str) -> str:
    # Rounded down, so that shares add up to no more than 100; the rest is for a sum of floats.
    return f"CAST(floor(100 * {share} + 0.001) AS INTEGER)"


def _usual(charges: str, own: str, wider: str) -> str:
    # Without other charges a level's middle is the charge itself, or nothing.
    return _money(f"exp(CASE WHEN {charges} > 0 THEN {own} ELSE {wider} END)")


_VENDOR = _usual("vendor_charges", "vendor_middle", "category_middle")
_SPENT = _usual("entity_charges", "spent_middle + end_beyond", "company_spent_middle")
_AMOUNT = _money("cents / 100.0")
_WHERE = f"{_AMOUNT} || ' at ' || vendor_name"
_USUAL_PAIR = f"""CASE
  WHEN pair_charges > 0 AND cents > pair_most THEN ' where ' || entity_name
    || ' has never paid more than ' || {_money("pair_most / 100.0")}
    || ' (' || {_count("pair_charges")} || ' other charges)'
  WHEN pair_charges > 0 THEN ' where ' || entity_name || ' usually pays '
    || {_money("exp(pair_middle)")}
  ELSE ' which usually charges ' || {_VENDOR} END"""
_HOUR = "lpad(CAST(hour AS VARCHAR), 2, '0') || ':00'"
_DAY = (
    "CASE weekday WHEN 1 THEN 'Monday' WHEN 2 THEN 'Tuesday' WHEN 3 THEN 'Wednesday'"
    " WHEN 4 THEN 'Thursday' WHEN 5 THEN 'Friday' WHEN 6 THEN 'Saturday' ELSE 'Sunday' END"
)


def _of(part: str, whole: str) -> str:
    return f"{_count(part)} || ' of ' || {_count(whole)}"


def _unless_alone(sentence: str, others: str) -> str:
    """The sentence, or where there are no others that it could speak of how rare a category is."""
    rare = _one_in("(category_charges + 0.5) / company_charges")
    return (
        f"CASE WHEN {others} > 0 THEN {sentence} ELSE"
        f" 'only ' || {rare} || ' charges is booked as ' || category_name END"
    )


def _words(limit: str, span: int) -> dict[str, str]:
    """Signal → the SQL of a sentence without its full stop."""
    tails = {
        "tail_company": ("company_tail", "'charges'"),
        "tail_category": (
            "(category_least + 0.5) / (category_charges + 1)",
            "'charges in ' || category_name",
        ),
        "tail_vendor": (
            "(vendor_least + 0.5) / (vendor_charges + 1)",
            "'charges at ' || vendor_name",
        ),
        "tail_entity": (
            "(entity_least + 0.5) / (entity_charges + 1)",
            "'charges of ' || entity_name",
        ),
    }
    return {
        "amount_category": f"{_AMOUNT} || ' where ' || category_name || ' usually costs ' || "
        + _money("exp(category_middle)"),
        "amount_vendor": f"{_WHERE} || ' which usually charges ' || " + _VENDOR,
        "amount_entity": f"{_AMOUNT} || ' where ' || entity_name || ' would usually spend ' || "
        + _usual("entity_charges", "entity_middle", "category_middle"),
        "amount_pair": f"{_WHERE} || {_USUAL_PAIR}",
        **{
            name: f"'only ' || {_one_in(share)} || ' ' || {what} || ' is as large as ' || {_AMOUNT}"
            for name, (share, what) in tails.items()
        },
        "category_entity": _unless_alone(
            "entity_name || ' spends on ' || category_name || ' only in ' || "
            + _of("entity_category_charges", "entity_charges")
            + " || ' other charges'",
            "entity_charges",
        ),
        "category_vendor": _unless_alone(
            "vendor_name || ' is booked as ' || category_name || ' only in ' || "
            + _of("vendor_category_charges", "vendor_charges")
            + " || ' other charges'",
            "vendor_charges",
        ),
        "pair_new": "entity_name || ' pays ' || vendor_name || ' for the first time, as in '"
        f" || {_one_in('novelty')} || ' of its charges'",
        "vendor_rare": "vendor_name || ' has only ' || "
        f"{_count('vendor_charges')} || ' other charge(s)'",
        "vendor_new": "vendor_name || ' was first paid ' || CASE WHEN vendor_age <= 0"
        " THEN 'on this day' ELSE CAST(vendor_age AS VARCHAR) || ' day(s) before' END",
        "hour_category": f"'at ' || {_HOUR} || ', the hour of only ' || "
        + _of("category_hour_charges", "category_charges")
        + " || ' other charges in ' || category_name",
        "hour_entity": f"'at ' || {_HOUR} || ', the hour of only ' || "
        + _of("entity_hour_charges", "entity_charges")
        + " || ' other charges of ' || entity_name",
        "weekday_entity": f"'on a ' || {_DAY} || ', the day of only ' || "
        + _of("entity_weekday_charges", "entity_charges")
        + " || ' other charges of ' || entity_name",
        "weekday_vendor": f"'on a ' || {_DAY} || ', the day of only ' || "
        + _of("vendor_weekday_charges", "vendor_charges")
        + " || ' other charges at ' || vendor_name",
        "velocity": f"{_count('burst_charges')} || ' charges of ' || entity_name"
        " || ' within a day, where ' ||"
        f" format('{{:.1f}}', CAST({span} * usual_a_day AS DOUBLE))"
        " || ' would be usual'",
        "spent": f"{_money('exp(log_spent)')} || ' spent by ' || entity_name"
        f" || ' within a day, where ' || {_SPENT} || ' would be usual'",
        "new_vendors": f"{_count('burst_novel')} || ' vendors new to ' || entity_name"
        " || ' within a day'",
        "duplicate": f"'the same amount again at ' || vendor_name || ' within {AGAIN_DAYS} days'",
        "near_duplicate": "'an amount of the same digits in another order at ' || vendor_name"
        f" || ' within {AGAIN_DAYS} days'",
        "decimal_slip": f"{_AMOUNT} || ' is ten or a hundred times another amount at '"
        " || vendor_name",
        "split": f"'part of charges at ' || vendor_name || ' that reach the limit of {limit}"
        f" within {SPLIT_DAYS} days'",
        "below_limit": f"{_AMOUNT} || ' is just below the limit of {limit}'",
        "forest": "'a combination that is easy to tell from earlier ones (isolation forest)'",
        "round_amount": f"{_AMOUNT} || ' is a round sum, which ' || vendor_name"
        " || ' hardly ever charges'",
    }


def reasons(
    sight: Sight, limit_cents: int, aspects: Mapping[str, Sequence[str]]
) -> tuple[tuple[str, str], ...]:
    """Tables of the reasons of the charges in `audit.reported` (id), as they can be made.

    Args:
        sight: of what a charge's window may see of the days after it.
        limit_cents: up to which nobody has to approve.
        aspects: aspect → its signals.

    Returns:
        `reasons` has id and reasons: up to REASONS_MAX sentences, the strongest first, and one more
        where companions raised the charge, each after its share of the score.
    """
    words = _words(f"{limit_cents / 100:,.2f}", sight.span)
    signals = [name for names in aspects.values() for name in names]
    # Words cost more than numbers: only those that are told are made.
    cells = ",\n    ".join(
        f"CASE WHEN {name} >= least_told THEN {{'bits': {name}, 'says': {words[name]}}} END"
        for name in signals
    )
    # A semicolon ends a reason: no name may write one.
    clean = rf"left(regexp_replace(name, '[\p{{Cc}}\p{{Cf}};]+', ' ', 'g'), {NAME_CHARS}) AS said"
    return (
        (
            "reported_pairs",
            """WITH pairs AS (
  SELECT DISTINCT charge.entity, charge.vendor
  FROM audit.scored_charges AS charge
  SEMI JOIN audit.reported AS reported ON reported.id = charge.id
),
known AS (
  SELECT charge.entity, charge.vendor, charge.cents,
    max(charge.cents) OVER (PARTITION BY charge.entity, charge.vendor) AS most
  FROM audit.known_charges AS charge
  SEMI JOIN pairs ON pairs.entity = charge.entity AND pairs.vendor = charge.vendor
  WHERE charge.known = 1
)
SELECT entity, vendor, any_value(most) AS most, max(cents) FILTER (WHERE cents < most) AS second,
  count(*) FILTER (WHERE cents = most) AS at_most
FROM known
GROUP BY entity, vendor""",
        ),
        (
            "reasons",
            f"""WITH facts AS MATERIALIZED (
{known((), reported("scored_charges"), reported("bursts"))}
),
-- Made once: each sentence would repeat what it is made of.
told AS MATERIALIZED (
  SELECT facts.*, counted.* EXCLUDE (id, bits), charge.cents,
    charge.hour, charge.weekday,
    entities.said AS entity_name, vendors.said AS vendor_name,
    CASE WHEN categories.said = '' THEN 'this category' ELSE categories.said END AS category_name,
    CASE WHEN charge.own = 1 AND charge.cents = pairs.most AND pairs.at_most = 1
      THEN pairs.second ELSE pairs.most END AS pair_most,
    scored.companions, scored.units, scored.unit, scored.bits / scored.unit AS own_units,
    greatest(list_reverse_sort([{", ".join(f"counted.{name}" for name in signals)}])[{REASONS_MAX}],
      1e-9) AS least_told
  FROM facts
  JOIN {reported("scored_charges")} AS charge ON charge.id = facts.id
  JOIN (SELECT entity, {clean} FROM audit.entity_names) AS entities
    ON entities.entity = charge.entity
  JOIN (SELECT vendor, {clean} FROM audit.vendor_names) AS vendors
    ON vendors.vendor = charge.vendor
  JOIN (SELECT category, {clean} FROM audit.category_names) AS categories
    ON categories.category = charge.category
  JOIN {reported("counted")} AS counted ON counted.id = facts.id
  JOIN {reported("scored")} AS scored ON scored.id = facts.id
  LEFT JOIN audit.reported_pairs AS pairs
    ON pairs.entity = charge.entity AND pairs.vendor = charge.vendor
),
listed AS (
  SELECT id, entity_name, companions, own_units, units, unit,
    list_reverse_sort(list_filter([
    {cells}
    ], lambda cell: cell IS NOT NULL))[1:{REASONS_MAX}] AS cells
  FROM told
)
SELECT id, array_to_string(list_concat(
  list_transform(cells, lambda cell:
    {_percent("cell.bits / unit / greatest(units, 1e-9)")} || ' %: ' || cell.says),
  CASE WHEN units > own_units THEN
    [{_percent("(units - own_units) / units")} || ' %: ' || {_count("companions")}
      || ' other unusual charge(s) of ' || entity_name || ' within a day']
  ELSE CAST([] AS VARCHAR[]) END), '; ') AS reasons
FROM listed""",
        ),
    )

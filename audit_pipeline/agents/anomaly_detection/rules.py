"""Anomaly detection's rules, AN-01 to AN-17.

Those on amounts and habits compare with `audit.scores`, which knows the days before the audited
month; those on one vendor's series look at earlier charges only.
"""

import datetime as dt
from typing import TYPE_CHECKING

from audit_pipeline.model.query import Detector, Query, sql_of

if TYPE_CHECKING:
    from audit_pipeline.model.rule import Rules

HERE = "audit_pipeline.agents.anomaly_detection"

_CHARGE = {
    "amount": "gold.recent_transactions.amount",
    "vendor": "gold.recent_transactions.vendor",
}

_REPEAT = {
    **_CHARGE,
    "other_id": "gold.recent_transactions.txn_id@other_id",
    "other_on": "gold.recent_transactions.date@other_id",
    "days_apart": "audit.repeats.days_apart",
    "same_before": "audit.repeats.same_before",
    "pair_before": "audit.repeats.pair_before",
    "repeats_before": "audit.repeats.pair_repeats_before",
}

DETECTORS: tuple[Detector, ...] = (
    Detector(
        "AN-01",
        sql_of(HERE, "amount_outlier"),
        {
            **_CHARGE,
            "usual_amount": "audit.scores.usual_amount",
            "times_usual": "audit.amount_outlier.times_usual",
            "pair_charges": "audit.scores.pair_charges",
            "vendor_charges": "audit.scores.vendor_charges",
        },
    ),
    Detector(
        "AN-02",
        sql_of(HERE, "recurring_amount"),
        {
            **_CHARGE,
            "usual_amount": "audit.recurring.usual_cents",
            "usual_gap_days": "audit.recurring.usual_gap_days",
            "payments_before": "audit.recurring.gaps_before",
            "previous_id": "gold.recent_transactions.txn_id@previous_id",
        },
    ),
    Detector(
        "AN-03",
        sql_of(HERE, "recurring_late"),
        {
            **_CHARGE,
            "gap_days": "audit.recurring.gap_days",
            "usual_gap_days": "audit.recurring.usual_gap_days",
            "days_late": "audit.recurring.gap_days",
            "payments_before": "audit.recurring.gaps_before",
            "previous_id": "gold.recent_transactions.txn_id@previous_id",
        },
    ),
    Detector(
        "AN-04",
        sql_of(HERE, "new_vendor"),
        {**_CHARGE, "upper_decile": "audit.scores.upper_decile"},
    ),
    Detector(
        "AN-05",
        sql_of(HERE, "near_duplicate"),
        _REPEAT,
    ),
    Detector(
        "AN-06",
        sql_of(HERE, "split"),
        {
            **_CHARGE,
            "parts": "audit.split.parts",
            "parts_total": "audit.split.parts_total",
            "usual_parts": "audit.split.usual_parts",
        },
    ),
    Detector(
        "AN-07",
        sql_of(HERE, "unusual"),
        {
            **_CHARGE,
            "score": "audit.scores.score",
            "parts": "audit.scores.reasons",
            "usual_amount": "audit.scores.usual_amount",
        },
    ),
    Detector(
        "AN-08",
        sql_of(HERE, "lookalike"),
        {
            **_CHARGE,
            "vendor_key": "audit.vendor_entities.vendor_key@vendor_key",
            "twin_key": "audit.vendor_entities.vendor_key@twin_key",
            "twin_charges": "audit.lookalike.twin_charges",
        },
    ),
    Detector(
        "AN-09",
        sql_of(HERE, "small_duplicate"),
        _REPEAT,
    ),
    Detector(
        "AN-10",
        sql_of(HERE, "transposed"),
        {
            **_CHARGE,
            "other_id": "gold.recent_transactions.txn_id@other_id",
            "other_amount": "gold.recent_transactions.amount@other_id",
            "other_on": "gold.recent_transactions.date@other_id",
            "days_apart": "audit.transposed.days_apart",
            "pair_before": "audit.transposed.pair_before",
            "vendor_before": "audit.transposed.vendor_before",
            "swaps_before": "audit.transposed.swaps_before",
        },
    ),
    Detector(
        "AN-11",
        sql_of(HERE, "slip"),
        {
            **_CHARGE,
            "other_id": "gold.recent_transactions.txn_id@other_id",
            "times_price": "audit.slip.times_price",
            "upper_amount": "audit.slip.upper_amount",
            "price_charges": "audit.slip.price_charges",
            "charges_before": "audit.slip.charges_before",
        },
    ),
    Detector(
        "AN-12",
        sql_of(HERE, "just_below"),
        {
            **_CHARGE,
            "below_by": "audit.just_below.below_by",
            "card_before": "audit.just_below.card_before",
            "card_around": "audit.just_below.card_around",
            "vendor_before": "audit.just_below.vendor_before",
            "vendor_around": "audit.just_below.vendor_around",
        },
    ),
    Detector(
        "AN-13",
        sql_of(HERE, "recurring_missing"),
        {
            **_CHARGE,
            "expected_on": "audit.recurring_missing.expected_on",
            "usual_gap_days": "audit.recurring.usual_gap_days",
            "payments": "audit.recurring.gaps_before",
        },
    ),
    Detector(
        "AN-14",
        sql_of(HERE, "recurring_early"),
        {
            **_CHARGE,
            "gap_days": "audit.recurring.gap_days",
            "usual_gap_days": "audit.recurring.usual_gap_days",
            "payments_before": "audit.recurring.gaps_before",
            "previous_id": "gold.recent_transactions.txn_id@previous_id",
        },
    ),
    Detector(
        "AN-15",
        sql_of(HERE, "round_amount"),
        {
            **_CHARGE,
            "vendor_before": "audit.round_amount.vendor_before",
            "vendor_round": "audit.round_amount.vendor_round",
        },
    ),
    Detector(
        "AN-16",
        sql_of(HERE, "day_off"),
        {
            **_CHARGE,
            "day_off": "audit.day_off.day_off",
            "card_before": "audit.day_off.card_before",
            "card_off": "audit.day_off.card_off",
            "vendor_before": "audit.day_off.vendor_before",
            "vendor_off": "audit.day_off.vendor_off",
        },
    ),
    Detector(
        "AN-17",
        sql_of(HERE, "often_below"),
        {
            **_CHARGE,
            "charges": "audit.often_below.charges",
            "charges_around": "audit.often_below.charges_around",
            "first_on": "audit.often_below.first_on",
            "together": "audit.often_below.together",
            "first_id": "gold.recent_transactions.txn_id@first_id",
        },
    ),
)


def findings(rules: "Rules", from_on: dt.date, to_on: dt.date) -> dict[str, Query]:
    """Rule id → the query of its findings on those audit dates."""
    return {d.rule_id: d.query(rules[d.rule_id], from_on, to_on) for d in DETECTORS}

"""Every charge's score: how surprising it is, in bits that add up, learned without labels.

The same SQL scores a closed extract, where all charges know each other, and an audited month, which
knows the days before it; `audit.timeline`, `audit.known_charges` and `audit.scored_charges` say
which. Tables are made in the order of `of_timeline`, `of_history`, `scores`, `reasons`.
"""

from collections.abc import Mapping, Sequence

from audit_pipeline.agents.anomaly_detection.scoring.documents import documents
from audit_pipeline.agents.anomaly_detection.scoring.hits import HIT_PROFILES, Sight, hits
from audit_pipeline.agents.anomaly_detection.scoring.profiles import PROFILES
from audit_pipeline.agents.anomaly_detection.scoring.reasons import reasons
from audit_pipeline.agents.anomaly_detection.scoring.recurring import RECURRING
from audit_pipeline.agents.anomaly_detection.scoring.scores import scores
from audit_pipeline.agents.anomaly_detection.scoring.signals import (
    ASPECTS,
    COMBINATION,
    SIGNALS,
    bursts,
    signals_sql,
)

__all__ = [
    "ASPECTS",
    "COMBINATION",
    "RECURRING",
    "SIGNALS",
    "Sight",
    "documents",
    "of_history",
    "of_timeline",
    "reasons",
    "scores",
    "timeline_columns",
]

AMOUNT_BIN = 0.25
"""Width of the bins of amounts, in natural logarithms: a quarter of the amount."""


def timeline_columns(cents: str, made_at: str) -> str:
    """SQL of what the signals need of a charge's amount and time.

    A month ends with its last two days and the first of the next one, when bills are paid.
    """
    log_amount = f"ln(greatest(abs({cents}), 1) / 100.0)"
    return (
        f"{log_amount} AS log_amount, CAST(floor({log_amount} / {AMOUNT_BIN}) AS SMALLINT) AS bin, "
        f"CAST({made_at} AS DATE) AS day, CAST(hour({made_at}) AS TINYINT) AS hour, "
        f"CAST(isodow({made_at}) AS TINYINT) AS weekday, "
        f"CAST(month({made_at}) AS TINYINT) AS month, "
        f"CASE WHEN day({made_at}) = 1 OR month({made_at} + INTERVAL 2 DAY) <> month({made_at})"
        " THEN 1 ELSE 0 END AS month_end"
    )


def of_timeline(
    sight: Sight, limit_cents: int, aspects: Mapping[str, Sequence[str]]
) -> tuple[tuple[str, str], ...]:
    """Table → SQL of what `audit.timeline` says by itself, in the order in which it can be made.

    Args:
        sight: what a charge's window may see of the days after it.
        limit_cents: up to which nobody has to approve.
        aspects: aspect → its signals.
    """
    patterns = hits(sight, limit_cents) if "pattern" in aspects else ()
    return (("bursts", bursts(sight.days(1))), *patterns)


def of_history(
    sight: Sight, aspects: Mapping[str, Sequence[str]], signals: str = "signals"
) -> tuple[tuple[str, str], ...]:
    """Table → SQL from `audit.known_charges` to the signals, in the order as they can be made.

    Args:
        sight: what a charge's window may see of the days after it.
        aspects: aspect → its signals.
        signals: the name of the last table.
    """
    known_bursts = (
        "SELECT charge.entity, charge.known, charge.month_end, burst.log_spent\n"
        "FROM audit.known_charges AS charge JOIN audit.bursts AS burst ON burst.id = charge.id"
    )
    return (
        ("known_bursts", known_bursts),
        *PROFILES,
        *(HIT_PROFILES if "pattern" in aspects else ()),
        (signals, signals_sql(sight, aspects)),
    )

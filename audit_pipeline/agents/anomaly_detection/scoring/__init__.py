"""Every charge's score: how surprising it is, in bits that add up, learned without labels.

The same SQL scores a closed extract, where all charges know each other, and an audited month, which
knows the days before it; `audit.timeline`, `audit.known_charges` and `audit.scored_charges` say
which. Tables are made in the order of `steps`.
"""

from audit_pipeline.agents.anomaly_detection.scoring.hits import Sight, hits
from audit_pipeline.agents.anomaly_detection.scoring.profiles import PROFILES
from audit_pipeline.agents.anomaly_detection.scoring.reasons import reasons
from audit_pipeline.agents.anomaly_detection.scoring.scores import scores
from audit_pipeline.agents.anomaly_detection.scoring.signals import SIGNALS, SIGNALS_SQL, bursts

__all__ = ["SIGNALS", "Sight", "reasons", "steps", "timeline_columns"]

AMOUNT_BIN = 0.25
"""Width of the bins of amounts, in natural logarithms: a quarter of the amount."""


def timeline_columns(cents: str, made_at: str) -> str:
    """SQL of what the signals need of a charge's amount and time."""
    log_amount = f"ln(greatest(abs({cents}), 1) / 100.0)"
    return (
        f"{log_amount} AS log_amount, CAST(floor({log_amount} / {AMOUNT_BIN}) AS SMALLINT) AS bin, "
        f"CAST({made_at} AS DATE) AS day, CAST(hour({made_at}) AS TINYINT) AS hour, "
        f"CAST(isodow({made_at}) AS TINYINT) AS weekday"
    )


def steps(sight: Sight, limit_cents: int) -> tuple[tuple[str, str], ...]:
    """Table → SQL from `audit.timeline` to `audit.scored`, in the order in which they can be made.

    Args:
        sight: what a charge's window may see of the days after it.
        limit_cents: up to which nobody has to approve.
    """
    known_bursts = (
        "SELECT charge.entity, charge.known, burst.log_spent\n"
        "FROM audit.known_charges AS charge JOIN audit.bursts AS burst ON burst.id = charge.id"
    )
    return (
        ("bursts", bursts(sight.days(1))),
        ("known_bursts", known_bursts),
        *PROFILES,
        *hits(sight, limit_cents),
        ("signals", SIGNALS_SQL),
        *scores(sight),
    )

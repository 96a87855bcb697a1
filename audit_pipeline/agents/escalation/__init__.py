"""Escalation: from findings to flags, and what a language model may add to them.

`flags.py` is the rules' verdict, `opinions.py` a model's, `grounding/` what of a model's words
may be shown.
"""

from audit_pipeline.agents.escalation.flags import (
    Subject,
    apply_escalation_rules,
    audit_days,
    confidence,
    create_flags,
    decision_chain,
    root_cause,
    severity_level,
    severity_score,
)
from audit_pipeline.agents.escalation.opinions import (
    Choice,
    Opinion,
    choose,
    is_held_back,
    is_raised,
    is_uncertain,
    second_opinions,
    with_opinion,
)

__all__ = [
    "Choice",
    "Opinion",
    "Subject",
    "apply_escalation_rules",
    "audit_days",
    "choose",
    "confidence",
    "create_flags",
    "decision_chain",
    "is_held_back",
    "is_raised",
    "is_uncertain",
    "root_cause",
    "second_opinions",
    "severity_level",
    "severity_score",
    "with_opinion",
]

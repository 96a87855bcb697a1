"""An invented store of many flags, with all that people do to them: for benches of the desk."""

import datetime as dt
import hashlib
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Table, insert

from audit_pipeline.adapters.store import Store
from audit_pipeline.adapters.store import schema as s
from audit_pipeline.model.flag import flag_id

LAST_DAY = dt.date(2025, 6, 30)
NOW = dt.datetime(2025, 7, 1, 9, tzinfo=dt.UTC)
POPULATION = "invented company"
RULES = ("AN-01", "AN-02", "AN-05", "AN-07", "DQ-03", "RC-01", "RC-02", "RC-08")
REVIEWERS = ("ann", "ben", "cleo", "dov")
APPROVERS = ("edna", "finn")
SEVERITIES = ("CRITICAL", "WARNING", "WARNING", "INFO", "INFO", "INFO")
SCORES = {"CRITICAL": 85, "WARNING": 60, "INFO": 30}
VENDORS = 2_000
ROWS_AT_ONCE = 5_000
SQL = "SELECT audit_on, transaction_id, measured FROM audit.scores WHERE audit_on BETWEEN " * 8


@dataclass(frozen=True)
class Shape:
    """How much of what.

    Attributes:
        days: over which the flags spread, the last one being LAST_DAY.
        decided: the share of flags with a decision.
    """

    flags: int = 100_000
    days: int = 365
    decided: float = 0.3
    findings_each: int = 2
    seed: int = 1


def fill(store: Store, shape: Shape | None = None) -> list[str]:
    """Fill an empty store; returns the ids of its flags."""
    maker = _Maker(shape or Shape())
    with store.writing() as writer:
        for table, row in maker.before():
            writer.connection.execute(insert(table), row)
        for start in range(0, maker.shape.flags, ROWS_AT_ONCE):
            rows: dict[Table, list[dict[str, Any]]] = {}
            for number in range(start, min(start + ROWS_AT_ONCE, maker.shape.flags)):
                for table, row in maker.rows_of(number):
                    rows.setdefault(table, []).append(row)
            for table in s.METADATA.sorted_tables:
                if rows.get(table):
                    writer.connection.execute(insert(table), rows[table])
        for table, lot in maker.after():
            writer.connection.execute(insert(table), lot)
    return maker.ids


class _Maker:
    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.random = random.Random(shape.seed)
        self.ids: list[str] = []
        self.days: dict[dt.date, list[int]] = {}
        self.run = "00000000-0000-4000-8000-000000000001"
        self.queries = {rule: hashlib.sha256(f"{rule}{SQL}".encode()).hexdigest() for rule in RULES}

    def before(self) -> Iterator[tuple[Table, list[dict[str, Any]]]]:
        """People, rules and queries."""
        people = [(name, "reviewer") for name in REVIEWERS]
        people += [(name, "approver") for name in APPROVERS]
        yield (
            s.USERS,
            [
                {
                    "user_id": name,
                    "display_name": name.title(),
                    "role": role,
                    "token_version": 1,
                    "created_at": NOW,
                    "updated_at": NOW,
                }
                for name, role in people
            ],
        )
        yield (
            s.RULE_VERSIONS,
            [
                {
                    "rule_id": rule,
                    "rule_version": 1,
                    "thresholds": '{"amount_min":"50"}',
                    "content_sha256": self.queries[rule],
                    "reason": "rules.yaml",
                    "status": "active",
                    "proposed_by": "rules.yaml",
                    "proposed_at": NOW,
                }
                for rule in RULES
            ],
        )
        yield (
            s.QUERIES,
            [
                {
                    "query_id": identity,
                    "rule_id": rule,
                    "sql": SQL,
                    "parameters": '{"from_on":"2025-01-01","to_on":"2025-06-30"}',
                    "snapshot_id": "invented",
                    "tables": '{"rules":"invented"}',
                    "created_at": NOW,
                }
                for rule, identity in self.queries.items()
            ],
        )

    def rows_of(self, number: int) -> Iterator[tuple[Table, dict[str, Any]]]:
        """A flag, its findings, and what people did to it."""
        drawn = self.random
        transaction_id = f"cc_{number:07}"
        identity = flag_id(transaction_id, POPULATION)
        self.ids.append(identity)
        level = drawn.choice(SEVERITIES)
        audit_on = LAST_DAY - dt.timedelta(days=drawn.randrange(self.shape.days))
        created_at = dt.datetime.combine(audit_on, dt.time(6), dt.UTC)
        cents = int(drawn.lognormvariate(9, 1.4))
        vendor = f"VENDOR {int(VENDORS * drawn.random() ** 3):04} LTD"
        rules = drawn.sample(RULES, self.shape.findings_each)
        self.days.setdefault(audit_on, []).append(cents)
        flag = {
            "flag_id": identity,
            "transaction_id": transaction_id,
            "audit_run_id": self.run,
            "first_run_id": self.run,
            "severity_level": level,
            "confidence_score": 0.8,
            "explanation": f"The charge of {cents / 100:.2f} at {vendor} on {audit_on} is unusual, "
            "and no line of the statement or of the bank pays it within ten days.",
            "supporting_evidence_links": json.dumps([f"gold.recent_transactions/{transaction_id}"]),
            "population": POPULATION,
            "audit_on": audit_on,
            "severity_score": SCORES[level],
            "state": "superseded" if drawn.random() < 0.02 else "open",
            "points": json.dumps(
                [{"rule_id": rules[0], "points": SCORES[level], "reason": "An unusual charge"}]
            ),
            "vendor": vendor,
            "vendor_id": vendor.lower().replace(" ", "_"),
            "cardholder": f"Person {drawn.randrange(300)}",
            "amount_cents": cents,
            "occurred_on": audit_on - dt.timedelta(days=drawn.randrange(11)),
            "reviewed": False,
            "human_decision": None,
            "reviewer_id": None,
            "review_timestamp": None,
            "reviewer_notes": None,
            "approver_id": None,
            "created_at": created_at,
            "updated_at": created_at,
        }
        if flag["state"] == "open" and drawn.random() < self.shape.decided:
            yield from self._decided(flag)
        elif drawn.random() < 0.3:
            who = drawn.choice(REVIEWERS)
            yield s.WORKLIST, {"flag_id": identity, "assignee_id": who}
        yield s.FLAGS, flag
        for rule in rules:
            yield s.FINDINGS, self._finding(flag, rule)

    def _finding(self, flag: dict[str, Any], rule: str) -> dict[str, Any]:
        amount = Decimal(flag["amount_cents"]).scaleb(-2)
        facts = {
            "amount": amount,
            "vendor": flag["vendor"],
            "date": flag["occurred_on"],
            "usual_amount": "12.00",
            "card": flag["cardholder"],
        }
        return {
            "population": POPULATION,
            "transaction_id": flag["transaction_id"],
            "rule_id": rule,
            "audit_on": flag["audit_on"],
            "flag_id": flag["flag_id"],
            "rule_version": 1,
            "measured": amount,
            "threshold": Decimal(50),
            "score": flag["severity_score"],
            "evidence": json.dumps(
                [
                    {
                        "name": name,
                        "source": f"gold.recent_transactions.{name}",
                        "row_id": flag["transaction_id"],
                        "value": str(value),
                    }
                    for name, value in facts.items()
                ]
            ),
            "query_id": self.queries[rule],
        }

    def _decided(self, flag: dict[str, Any]) -> Iterator[tuple[Table, dict[str, Any]]]:
        drawn = self.random
        verdict, reason = drawn.choice(
            (
                ("approved", "policy_allows"),
                ("rejected", "corrected"),
                ("false_positive", "detector_wrong"),
                ("false_positive", "management_exception"),
            )
        )
        who, at = drawn.choice(REVIEWERS), flag["created_at"] + dt.timedelta(hours=3)
        decision = hashlib.sha256(f"{flag['flag_id']}{verdict}".encode()).hexdigest()
        flag |= {
            "state": "decided",
            "reviewed": True,
            "human_decision": verdict,
            "reviewer_id": who,
            "review_timestamp": at,
            "reviewer_notes": "seen the receipt",
            "updated_at": at,
        }
        yield (
            s.DECISIONS,
            {
                "decision_id": decision,
                "flag_id": flag["flag_id"],
                "verdict": verdict,
                "reason": reason,
                "reviewer_id": who,
                "decided_at": at,
                "notes": "seen the receipt",
                "recorded_at": at,
            },
        )
        if flag["severity_level"] == "CRITICAL":
            flag["approver_id"] = drawn.choice(APPROVERS)
            yield (
                s.SECOND_REVIEWS,
                {
                    "decision_id": decision,
                    "reviewer_id": who,
                    "approver_id": flag["approver_id"],
                    "agrees": True,
                    "reviewed_at": at,
                    "notes": "agreed",
                },
            )
        if drawn.random() < 0.2:
            yield (
                s.COMMENTS,
                {
                    "comment_id": f"{len(self.ids):036}",
                    "flag_id": flag["flag_id"],
                    "author_id": who,
                    "said_at": at,
                    "body": "Asked the cardholder for the receipt.",
                },
            )

    def after(self) -> Iterator[tuple[Table, list[dict[str, Any]]]]:
        """The ledger, the run and what a language model cost."""
        yield (
            s.AUDIT_PARTITIONS,
            [
                {
                    "population": POPULATION,
                    "audit_on": day,
                    "audit_run_id": self.run,
                    "transactions": 20 * len(cents),
                    "amount": 20 * total,
                    "flagged": len(cents),
                    "flagged_amount": total,
                    "cleared": 19 * len(cents),
                    "cleared_amount": 19 * total,
                    "quarantined": 0,
                    "quarantined_amount": Decimal(0),
                }
                for day, cents in sorted(self.days.items())
                for total in (Decimal(sum(cents)).scaleb(-2),)
            ],
        )
        yield (
            s.WORKFLOW_STATE,
            [
                {
                    "audit_run_id": self.run,
                    "workflow_status": "completed",
                    "population": POPULATION,
                    "from_on": min(self.days),
                    "to_on": max(self.days),
                    "intermediate_results": "{}",
                }
            ],
        )
        yield (
            s.LLM_CALLS,
            [
                {
                    "call_id": f"{number:036}",
                    "audit_run_id": self.run,
                    "from_on": LAST_DAY,
                    "to_on": LAST_DAY,
                    "agent_name": "escalation",
                    "purpose": "second_opinion",
                    "model": "invented/model",
                    "attempt": 1,
                    "status": "answered",
                    "prompt_sha256": f"{number:064}",
                    "tokens_in": 900,
                    "tokens_out": 80,
                    "reserved_dollars": Decimal("0.01"),
                    "cost_dollars": Decimal("0.001234"),
                    "started_at": NOW - dt.timedelta(hours=number),
                    "expires_at": NOW,
                    "duration_ms": 900,
                }
                for number in range(min(1_000, self.shape.flags))
            ],
        )

"""One event of the audit trail: an agent's tool call, a flag change, a decision."""

import datetime as dt
import hashlib
import json
from dataclasses import dataclass, field

RETENTION_YEARS = 7
"""The specification keeps the trail for seven years."""


@dataclass(frozen=True)
class TrailEvent:
    """What happened; the store gives it its place (`log_sequence_number`).

    Attributes:
        audit_run_id: the root run of the audit.
        agent_name: data_quality, reconciliation, …, or `reviewer:<id>`.
        tool_called: the tool's name.
        occurred_at: UTC.
        execution_time_ms: wall time of the call.
        input_data: what went in (JSON-able; no row contents, no secrets).
        output_summary: what came out (counts, decisions).
        decision_chain: the steps that led to a flag's severity.
    """

    audit_run_id: str
    agent_name: str
    tool_called: str
    occurred_at: dt.datetime
    execution_time_ms: int = 0
    input_data: dict[str, object] = field(default_factory=dict[str, object])
    output_summary: dict[str, object] = field(default_factory=dict[str, object])
    decision_chain: tuple[str, ...] = ()
    llm_model: str | None = None
    llm_tokens_used: int | None = None
    llm_cost_dollars: str | None = None
    error_message: str | None = None
    error_stack_trace: str | None = None


def canonical(document: object) -> bytes:
    """One spelling for equal documents: sorted keys, no spaces, UTF-8."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace")


def leaf_hash(document: object) -> str:
    """The hash of a trail entry as a leaf of RFC 6962 (section 2.1): SHA-256 over 0x00 + entry."""
    return hashlib.sha256(b"\x00" + canonical(document)).hexdigest()

"""Audit logging: what each agent's tool was asked, what it answered, and how long it took.

Source: the specification's audit logging agent. The functions here shape events; the store gives
them their place in the trail, in the transaction of the effect that they report.
"""

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from audit_pipeline.model.trail import TrailEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from audit_pipeline.model.flag import Flag


@dataclass
class ToolLog:
    """The tool calls of one agent in one run, collected until they are written."""

    audit_run_id: str
    agent_name: str
    events: list[TrailEvent] = field(default_factory=list[TrailEvent])

    def called(
        self,
        tool: str,
        started_at: dt.datetime,
        ended_at: dt.datetime,
        given: "Mapping[str, object]",
        found: "Mapping[str, object]",
        error: BaseException | None = None,
    ) -> None:
        """One call of a tool; counts and settings only, never the contents of a row."""
        self.events.append(
            TrailEvent(
                audit_run_id=self.audit_run_id,
                agent_name=self.agent_name,
                tool_called=tool,
                occurred_at=ended_at,
                execution_time_ms=round((ended_at - started_at).total_seconds() * 1000),
                input_data=dict(given),
                output_summary=dict(found),
                error_message=None if error is None else f"{type(error).__name__}: {error}",
            )
        )


def flag_event(
    flag: "Flag", change: str, audit_run_id: str, at: dt.datetime, chain: tuple[str, ...]
) -> TrailEvent:
    """A flag that was created, updated, superseded or reopened, with its decision chain."""
    return TrailEvent(
        audit_run_id=audit_run_id,
        agent_name="escalation",
        tool_called=f"flag_{change}",
        occurred_at=at,
        input_data={"transaction_id": flag.transaction_id, "audit_on": flag.audit_on.isoformat()},
        output_summary={
            "flag_id": flag.flag_id,
            "severity_level": str(flag.severity_level),
            "severity_score": flag.severity_score,
            "findings": [f"{f.rule_id}@{f.audit_on.isoformat()}" for f in flag.findings],
        },
        decision_chain=chain,
    )


def lineage(flag: "Flag") -> list[str]:
    """Where a flag comes from: gold rows → findings → flag, one line a step."""
    cells = sorted({cell for finding in flag.findings for cell in _sources(finding.evidence)})
    findings = [
        f"{finding.rule_id} v{finding.rule_version} on {finding.audit_on}: "
        f"measured {finding.measured} against {finding.threshold}"
        for finding in flag.findings
    ]
    return [*cells, *findings, f"flag {flag.flag_id} {flag.severity_level}"]


def _sources(evidence: "Iterable[object]") -> "list[str]":
    return [f"{getattr(cell, 'source', '')} / {getattr(cell, 'row_id', '')}" for cell in evidence]

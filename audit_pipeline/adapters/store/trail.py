"""The trail's entries: how an event becomes a row, what its hash covers, how a row is read back."""

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import String, type_coerce
from sqlalchemy.types import TypeDecorator

from audit_pipeline.adapters.store.columns import Exact, storable
from audit_pipeline.adapters.store.rows import instant_text, json_text
from audit_pipeline.adapters.store.schema import AUDIT_TRAIL
from audit_pipeline.model.trail import TrailEvent, leaf_hash

_COST = AUDIT_TRAIL.c.llm_cost_dollars.type


@dataclass(frozen=True)
class Checkpoint:
    """A signed state of the trail: the root over its first `tree_size` entries."""

    tree_size: int
    root_hash: str
    signature: str
    key_id: str
    created_at: dt.datetime


LEAF_COLUMNS = (
    "audit_run_id",
    "log_sequence_number",
    "agent_name",
    "tool_called",
    "timestamp",
    "execution_time_ms",
    "input_data",
    "output_summary",
    "llm_model",
    "llm_tokens_used",
    "llm_cost_dollars",
    "error_message",
    "error_stack_trace",
    "decision_chain",
)
"""What a trail entry's leaf hash covers: every column but the hash itself."""


def leaf_document(row: Mapping[Any, Any]) -> dict[str, object]:
    """What is hashed for a row of the trail: its stored values, JSON columns as their texts.

    It never fails on a row that somebody edited into something unreadable: the value then stands
    in the document as it was found, and the hash differs.
    """
    return {name: _leaf_value(row[name]) for name in LEAF_COLUMNS}


def _leaf_value(value: object) -> object:
    match value:
        case None | str() | int():
            return value
        case dt.datetime():
            return instant_text(value)
        case Decimal():
            return f"{value:f}"
        case _:
            return repr(value)


@dataclass(frozen=True)
class TrailEntry:
    """One stored entry of the trail.

    Attributes:
        document: what its leaf hash covers, see `leaf_document`.
        leaf_hash: the hash as it is stored.
    """

    document: Mapping[str, Any]
    leaf_hash: str

    @property
    def log_sequence_number(self) -> int:
        """Its place in the trail, from 1."""
        return self.document["log_sequence_number"]

    @property
    def audit_run_id(self) -> str:
        """The run it belongs to."""
        return self.document["audit_run_id"]

    @property
    def intact(self) -> bool:
        """The stored hash is the hash of what is stored."""
        return leaf_hash(self.document) == self.leaf_hash

    @property
    def event(self) -> TrailEvent:
        """What happened.

        Raises:
            ValueError: the stored texts are no longer what an event is made of.
        """
        d = self.document
        try:
            return self._event(d)
        except (TypeError, ValueError) as fault:
            raise ValueError(f"entry {self.log_sequence_number} cannot be read: {fault}") from fault

    @staticmethod
    def _event(d: Mapping[str, Any]) -> TrailEvent:
        return TrailEvent(
            audit_run_id=d["audit_run_id"],
            agent_name=d["agent_name"],
            tool_called=d["tool_called"],
            occurred_at=dt.datetime.fromisoformat(d["timestamp"]),
            execution_time_ms=d["execution_time_ms"],
            input_data=json.loads(d["input_data"]),
            output_summary=json.loads(d["output_summary"]),
            decision_chain=tuple(json.loads(d["decision_chain"])),
            llm_model=d["llm_model"],
            llm_tokens_used=d["llm_tokens_used"],
            llm_cost_dollars=d["llm_cost_dollars"],
            error_message=d["error_message"],
            error_stack_trace=d["error_stack_trace"],
        )


def trail_row(event: TrailEvent, log_sequence_number: int) -> dict[str, Any]:
    """The row of an event as it will be read back, so that its hash can be taken now."""
    cost = event.llm_cost_dollars
    if event.occurred_at.tzinfo is None:
        raise ValueError(f"{event.tool_called}: occurred_at has no time zone")
    row: dict[str, Any] = {
        "audit_run_id": storable(event.audit_run_id, 36),
        "log_sequence_number": log_sequence_number,
        "agent_name": storable(event.agent_name, 100),
        "tool_called": storable(event.tool_called, 100),
        "timestamp": event.occurred_at.astimezone(dt.UTC),
        "execution_time_ms": event.execution_time_ms,
        "input_data": json_text(event.input_data),
        "output_summary": json_text(event.output_summary),
        "llm_model": _words(event.llm_model, 100),
        "llm_tokens_used": event.llm_tokens_used,
        "llm_cost_dollars": None if cost is None else _exact_cost(cost),
        "error_message": _words(event.error_message),
        "error_stack_trace": _words(event.error_stack_trace),
        "decision_chain": json_text(list(event.decision_chain)),
    }
    return row | {"leaf_hash": leaf_hash(leaf_document(row))}


def _words(text: str | None, length: int | None = None) -> str | None:
    return None if text is None else storable(text, length)


def _exact_cost(cost: str) -> Decimal:
    assert isinstance(_COST, Exact)  # noqa: S101 - tells the type checker
    return _COST.exact(Decimal(cost))


class _InstantAsStored(TypeDecorator[Any]):
    """The trail's timestamp, spelled as its hash spells it, or as found where it is none."""

    impl = String
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        """On the way out: SQLite keeps instants as text."""
        if not isinstance(value, str):
            return value
        try:
            return instant_text(dt.datetime.fromisoformat(value))
        except (ValueError, OverflowError):  # the first hours of year 1 may have none in UTC
            return value


AS_STORED = [
    type_coerce(column, _InstantAsStored() if column.name == "timestamp" else String()).label(
        column.name
    )
    for column in AUDIT_TRAIL.columns
]
"""The trail's columns without the conversions that a row edited by hand might not survive."""

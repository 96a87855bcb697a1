"""The parameters of a statement as they come over the wire."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Parameter:
    """A value beside a statement, never part of its text.

    Attributes:
        name: None for one that is bound by its position.
        type: in Databricks' spelling: STRING, INT, DECIMAL(5,2), ARRAY, VOID, …
        text: the value, written out; None for SQL's null.
        elements: of an ARRAY its elements, of a MAP keys and values in turn.
    """

    name: str | None
    type: str
    text: str | None
    elements: tuple["Parameter", ...] = ()


def from_thrift(sent: Any) -> Parameter:
    """A `TSparkParameter`, or a `TSparkParameterValueArg` within one."""
    value = sent.value
    return Parameter(
        name=getattr(sent, "name", None),
        type=(sent.type or "STRING").upper(),
        text=getattr(value, "stringValue", value),
        elements=tuple(from_thrift(element) for element in sent.arguments or ()),
    )

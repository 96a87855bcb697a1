"""Leaf hashes of many entries at once, from the rows as the driver gives them.

The result is exactly `leaf_hash(leaf_document(row))`, many times faster: the JSON text is put
together without a document, and a column is spelled as a whole.
"""

import datetime as dt
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from itertools import repeat
from json.encoder import encode_basestring
from operator import itemgetter
from types import NoneType
from typing import Any

from audit_pipeline.adapters.store.rows import instant_text
from audit_pipeline.adapters.store.trail import LEAF_COLUMNS

COLUMNS = (*sorted(LEAF_COLUMNS), "leaf_hash")
"""The order in which rows come here: as JSON sorts the keys, then the stored hash."""

RawRow = Sequence[Any]
number_of: Callable[[RawRow], Any] = itemgetter(COLUMNS.index("log_sequence_number"))
instant_of: Callable[[RawRow], Any] = itemgetter(COLUMNS.index("timestamp"))
stored_of: Callable[[RawRow], Any] = itemgetter(COLUMNS.index("leaf_hash"))

INSTANT = "9999-99-99 99:99:99.999999"
"""How SQLite keeps a timestamp, with a nine for each digit."""

NINES = str.maketrans("012345678", "9" * 9)

YEAR_OF_FOUR_DIGITS = 1000
"""strftime does not pad earlier ones; their entries are hashed as it spells them."""


def canonical_leaf(row: RawRow, number: object = None) -> bytes:
    """What is hashed for a row: `model.trail.canonical` of its document.

    Args:
        row: the values of COLUMNS, as the driver gave them.
        number: hash it as though this were its sequence number.
    """
    if number is not None:
        at = COLUMNS.index("log_sequence_number")
        row = [*row[:at], number, *row[at + 1 :]]
    return canonical_leaves([row])[0]


def canonical_leaves(rows: Sequence[RawRow]) -> list[bytes]:
    """What is hashed for each row, see `canonical_leaf`; fastest for some hundreds at once."""
    if not rows:
        return []
    *columns, _ = zip(*rows, strict=True)
    times = columns.pop(COLUMNS.index("timestamp"))
    return [
        (
            f'{{"agent_name":{agent},"audit_run_id":{run},"decision_chain":{chain}'
            f',"error_message":{error},"error_stack_trace":{stack},"execution_time_ms":{ms}'
            f',"input_data":{given},"llm_cost_dollars":{cost},"llm_model":{model}'
            f',"llm_tokens_used":{tokens},"log_sequence_number":{number}'
            f',"output_summary":{found},"timestamp":{at},"tool_called":{tool}}}'
        ).encode("utf-8", "backslashreplace")
        for agent, run, chain, error, stack, ms, given, cost, model, tokens, number, found, tool, at
        # not strict: what repeats has no end
        in zip(*map(_spelled, columns), _instants(times))  # noqa: B905
    ]


def leaves_of(rows: Sequence[RawRow]) -> list[bytes]:
    """The leaf hash of each row, 32 bytes."""
    sha256 = hashlib.sha256
    return [sha256(b"\x00" + leaf).digest() for leaf in canonical_leaves(rows)]


def _spelled(column: Sequence[Any]) -> Iterable[object]:
    """The JSON of each value; a number is its own."""
    kinds = set(map(type, column))
    if kinds == {str}:
        return map(encode_basestring, column)
    if kinds == {int}:
        return column
    if kinds == {NoneType}:
        return repeat("null")
    return [encode_basestring(v) if type(v) is str else _json(v) for v in column]


def _json(value: Any) -> str:
    """The JSON of one value, as `leaf_document` and `canonical` would make it."""
    match value:
        case None:
            return "null"
        case str():
            return encode_basestring(value)
        case int():
            return json.dumps(value)
        case dt.datetime():
            return encode_basestring(instant_text(value))
        case Decimal():
            return encode_basestring(f"{value:f}")
        case _:
            return encode_basestring(repr(value))


def _instants(column: Sequence[Any]) -> list[str]:
    """The JSON of timestamps: SQLite keeps them as texts, Postgres as instants."""
    if set(map(type, column)) == {str}:
        joined = "\n".join(column)
        shape = "\n".join([INSTANT] * len(column))
        if joined.translate(NINES) == shape and _are_instants(column):
            return [f'"{text}Z"' for text in joined.replace(" ", "T").split("\n")]
    return [_instant(value) for value in column]


def _are_instants(column: Sequence[str]) -> bool:
    """Whether texts of the shape INSTANT name instants, spelled as instants are hashed."""
    try:
        # Python 3.13 reads 24:00 as the next day
        return " 24:" not in "".join(column) and all(
            instant.year >= YEAR_OF_FOUR_DIGITS
            for instant in map(dt.datetime.fromisoformat, column)
        )
    except ValueError:
        return False


def _instant(value: Any) -> str:
    """The JSON of one timestamp."""
    if not isinstance(value, str | dt.datetime):
        return _json(value)
    try:
        instant = dt.datetime.fromisoformat(value) if isinstance(value, str) else value
        utc = instant.astimezone(dt.UTC) if instant.tzinfo else instant.replace(tzinfo=dt.UTC)
    except (ValueError, OverflowError):
        return _json(value)
    if utc.year < YEAR_OF_FOUR_DIGITS:
        return encode_basestring(instant_text(utc))
    # what strftime would say, in half the time
    text = utc.isoformat("T", "microseconds").removesuffix("+00:00")
    return f'"{text}Z"'

"""Leaf hashes of many entries at once, from the rows as the driver gives them.

The result is exactly `leaf_hash(leaf_document(row))`, several times faster: the JSON text is put
together without a document, and what repeats from row to row is spelled once.
"""

import datetime as dt
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from json.encoder import encode_basestring
from operator import itemgetter
from typing import Any

from audit_pipeline.adapters.store.rows import instant_text
from audit_pipeline.adapters.store.trail import LEAF_COLUMNS

COLUMNS = (*sorted(LEAF_COLUMNS), "leaf_hash")
"""The order in which rows come here: as JSON sorts the keys, then the stored hash."""

RawRow = Sequence[Any]
number_of: Callable[[RawRow], Any] = itemgetter(COLUMNS.index("log_sequence_number"))
instant_of: Callable[[RawRow], Any] = itemgetter(COLUMNS.index("timestamp"))
stored_of: Callable[[RawRow], Any] = itemgetter(COLUMNS.index("leaf_hash"))

SPELLED_CHARACTERS_MAX, SPELLED_MAX = 100, 50_000
"""Which texts are remembered, and how many of them."""

YEAR_OF_FOUR_DIGITS = 1000
"""strftime does not pad earlier ones; their entries are hashed as it spells them."""


class Spelling(dict[Any, str]):
    """Value → its JSON; short texts are remembered, since most of them come again.

    Numbers are not: 1, 1.0 and True would be one key.
    """

    def __missing__(self, value: Any) -> str:
        spelled = _json(value)
        if value is None or (type(value) is str and len(value) <= SPELLED_CHARACTERS_MAX):
            if len(self) >= SPELLED_MAX:
                self.clear()
            self[value] = spelled
        return spelled


def canonical_leaf(row: RawRow, number: object = None, spelled: Spelling | None = None) -> bytes:
    """What is hashed for a row: `model.trail.canonical` of its document.

    Args:
        row: the values of COLUMNS, as the driver gave them.
        number: hash it as though this were its sequence number.
        spelled: pass the same one again for many rows.
    """
    say, quote = Spelling() if spelled is None else spelled, encode_basestring
    agent, run, chain, error, stack, ms, given, cost, model, tokens, own, found, at, tool, _ = row
    place = own if number is None else number
    # What differs from row to row is spelled here: a miss of `say` costs ten times as much.
    steps = quote(chain) if type(chain) is str else say[chain]
    asked = quote(given) if type(given) is str else say[given]
    answered = quote(found) if type(found) is str else say[found]
    text = (
        f'{{"agent_name":{say[agent]},"audit_run_id":{say[run]},"decision_chain":{steps}'
        f',"error_message":{say[error]},"error_stack_trace":{say[stack]}'
        f',"execution_time_ms":{ms if type(ms) is int else say[ms]},"input_data":{asked}'
        f',"llm_cost_dollars":{say[cost]},"llm_model":{say[model]}'
        f',"llm_tokens_used":{tokens if type(tokens) is int else say[tokens]}'
        f',"log_sequence_number":{place if type(place) is int else say[place]}'
        f',"output_summary":{answered},"timestamp":{_instant(at)},"tool_called":{say[tool]}}}'
    )
    return text.encode("utf-8", "backslashreplace")


def leaf_of(row: RawRow, number: object = None) -> bytes:
    """Its leaf hash, 32 bytes; see `canonical_leaf`."""
    return hashlib.sha256(b"\x00" + canonical_leaf(row, number)).digest()


def leaves_of(rows: Iterable[RawRow], spelled: Spelling) -> list[bytes]:
    """The leaf hash of each row."""
    sha256 = hashlib.sha256
    return [sha256(b"\x00" + canonical_leaf(row, None, spelled)).digest() for row in rows]


def _json(value: Any) -> str:
    """The JSON of one value, as `leaf_document` and `canonical` would make it."""
    match value:
        case str():
            return encode_basestring(value)
        case None | int():
            return json.dumps(value)
        case dt.datetime():
            return encode_basestring(instant_text(value))
        case Decimal():
            return encode_basestring(f"{value:f}")
        case _:
            return encode_basestring(repr(value))


def _instant(value: Any) -> str:
    """The JSON of a timestamp: SQLite keeps it as text, Postgres as an instant."""
    if not isinstance(value, str):
        return _json(value)
    try:
        instant = dt.datetime.fromisoformat(value)
    except ValueError:
        return encode_basestring(value)
    if instant.tzinfo is None and instant.year >= YEAR_OF_FOUR_DIGITS:
        # what strftime would say, in half the time
        text = instant.isoformat("T", "microseconds")
        return f'"{text}Z"'
    return encode_basestring(instant_text(instant))

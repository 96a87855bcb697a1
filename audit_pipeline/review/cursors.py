"""Places in a list, as the API gives and takes them: opaque, and refused if they are no such."""

import base64
import binascii
import datetime as dt
import json
from typing import Annotated

from fastapi import Query

from audit_pipeline.model.errors import BadUsage

ROWS_MAX = 200
SEQUENCE_NUMBER_MAX = 2**63 - 1
_CHARACTERS_MAX = 400

Cursor = Annotated[
    str | None,
    Query(max_length=_CHARACTERS_MAX, description="`next` of the page before; none: from the top"),
]
Limit = Annotated[int, Query(ge=1, le=ROWS_MAX, description="at most so many rows")]


def written(key: tuple[dt.datetime, str]) -> str:
    """The place after the row of this key."""
    text = json.dumps([key[0].isoformat(), key[1]])
    return base64.urlsafe_b64encode(text.encode()).decode()


def read(cursor: str | None) -> tuple[dt.datetime, str] | None:
    """The key that was written into it; None for none.

    Raises:
        BadUsage: it is not one of ours.
    """
    if cursor is None:
        return None
    try:
        at, identity = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        if not isinstance(identity, str):
            raise _unknown()
        return dt.datetime.fromisoformat(at).astimezone(dt.UTC), identity
    except (ValueError, TypeError, OverflowError, RecursionError, binascii.Error) as fault:
        raise _unknown() from fault


def number_of(cursor: str | None) -> int:
    """The sequence number that it is; 0 for none.

    Raises:
        BadUsage: it is not one of ours.
    """
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit()) or int(cursor) > SEQUENCE_NUMBER_MAX:
        raise _unknown()
    return int(cursor)


def _unknown() -> BadUsage:
    return BadUsage("this place in the list is unknown; begin at the first page")

"""A workpaper as it is handed out: sheets of typed cells, and how their digests are made.

Every format is written from the same sheets, so that a printed and an exported paper agree. What is
untrusted has become harmless before a format sees it: no control characters, no cell that a
spreadsheet would cut.
"""

import datetime as dt
import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias

Value: TypeAlias = str | int | Decimal | dt.date | dt.datetime | None

CELL_CHARACTERS_MAX = 32_767
"""What a cell of a spreadsheet holds, in UTF-16 code units: Excel's limit."""
NOTE_CHARACTERS_MAX = 200
NUMBER_DIGITS_MAX = 15
"""More digits do not survive as a spreadsheet's number."""
REPLACED = "\ufffd"
_ARRAY = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_PLAIN = re.compile(r"[\n\x20-\x7e]*")
_LINE_END = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")


class Kind(StrEnum):
    """What the cells of a column are; any of them may be empty."""

    TEXT = "text"
    COUNT = "count"
    MONEY = "money"
    NUMBER = "number"
    DAY = "day"
    INSTANT = "instant"


@dataclass(frozen=True)
class Column:
    """A column of a sheet.

    Attributes:
        width: in characters, as a spreadsheet shows it.
    """

    name: str
    kind: Kind = Kind.TEXT
    width: int = 14


@dataclass(frozen=True)
class Sheet:
    """One table of the paper; each row has a cell for each column."""

    name: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]

    @classmethod
    def of(cls, name: str, columns: Iterable[Column], rows: Iterable[Sequence[object]]) -> "Sheet":
        """With every cell made harmless; see `cell`."""
        return cls(name, tuple(columns), tuple(tuple(map(cell, row)) for row in rows))

    @property
    def sha256(self) -> str:
        """Of the canonical rows, the names of the columns first; see RECOMPUTE."""
        digest = hashlib.sha256()
        for row in ([column.name for column in self.columns], *self.rows):
            digest.update(_ARRAY.encode(list(map(spelt, row))).encode() + b"\n")
        return digest.hexdigest()


RECOMPUTE = (
    "Each sheet's SHA-256 is that of its rows, the row of column names first. A row is written as "
    "a JSON array of texts without spaces, characters as themselves, in UTF-8, and ends in a line "
    "feed. An empty cell is an empty text; a text is itself; a number is its shortest decimal "
    "without an exponent and without zeros at the end (12.50 is 12.5); a day is YYYY-MM-DD; an "
    "instant is YYYY-MM-DDTHH:MM:SSZ, in UTC. An apostrophe at the front of a CSV field is left "
    "out. The paper's SHA-256 is that of one line for each sheet above it: its name, a space, its "
    "SHA-256, a line feed."
)


def manifest(sheets: Sequence[Sheet]) -> Sheet:
    """Each sheet's digest, and one over all of them in the last row."""
    digests = [(sheet.name, len(sheet.rows), sheet.sha256) for sheet in sheets]
    lines = "".join(f"{name} {digest}\n" for name, _, digest in digests)
    whole = hashlib.sha256(lines.encode()).hexdigest()
    columns = (
        Column("sheet", width=18),
        Column("rows", Kind.COUNT, 10),
        Column("SHA-256", width=66),
    )
    rows = [*digests, ("the paper", sum(rows for _, rows, _ in digests), whole)]
    return Sheet.of("Manifest", columns, rows)


def spelt(value: Value) -> str:
    """The canonical spelling of a cell, which a reader of any of the formats arrives at too."""
    if type(value) is str:
        return value
    match value:
        case None:
            return ""
        case str():
            return str(value)
        case dt.datetime():
            return value.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        case dt.date():
            return value.isoformat()
        case Decimal():
            return f"{value.normalize():f}" if value else "0"
        case _:
            return str(value)


def cell(value: object) -> Value:
    """A value as a cell: text without control characters, cut with a note where it is too long.

    Instants lose what is below a second, which a spreadsheet could not keep; a number of more than
    15 digits becomes text.
    """
    if value is None or value == "":
        return None
    if type(value) is str:  # most are
        return _words(value)
    match value:
        case bool():
            return "yes" if value else "no"
        case dt.datetime():
            return value.replace(microsecond=0)
        case float():
            return Decimal(str(value))
        case int() if abs(value) >= 10**NUMBER_DIGITS_MAX:
            return str(value)
        case Decimal() if len(value.normalize().as_tuple().digits) > NUMBER_DIGITS_MAX:
            return f"{value:f}"
        case int() | Decimal() | dt.date():
            return value
        case _:
            return _words(str(value))


def _words(text: str) -> str:
    if not _PLAIN.fullmatch(text):
        text = "".join(map(_shown, _LINE_END.sub("\n", text)))
    # a character is at most two of the units that the limit counts
    if 2 * len(text) <= CELL_CHARACTERS_MAX or _units(text) <= CELL_CHARACTERS_MAX:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()
    note = f"… [cut here; {len(text):,} characters in all, SHA-256 {digest}]"
    units = text.encode("utf-16-le")[: 2 * (CELL_CHARACTERS_MAX - NOTE_CHARACTERS_MAX)]
    return units.decode("utf-16-le", "ignore") + note


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _shown(character: str) -> str:
    if character == "\t":
        return " "
    is_hidden = unicodedata.category(character)[0] == "C" and character != "\n"
    return REPLACED if is_hidden else character

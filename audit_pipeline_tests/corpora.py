"""Public collections of bad input, which lie beside the repository, and companies made of them.

JSONTestSuite (nst, MIT): 318 files that a parser must take (`y_`), must refuse (`n_`), or may do
either with (`i_`). The big list of naughty strings (minimaxir, MIT): 515 texts that have broken
some program; NUL, half surrogate pairs, orders to a terminal and to rich, and a text longer than a
column are added here.
"""

import json
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from audit_pipeline.model.tables import GOLD, Column, Kind, Table

DATA = Path(__file__).parents[2] / "shared" / "data"

Row = dict[str, Any]

MORE = (
    "\0",
    "a\0b",
    "\ud800",
    "b\udfff",
    "\udc00\ud800",
    "\x1b[2J\x1b]0;title\x07",
    "\x9b31m",
    "[bold]no[/bold] [/nothing]",
    "[link=http://127.0.0.1]x[/link]",
    "=1+1",
    "@SUM(A1)",
    "y" * 300,
)
SPECIAL_DAYS = 28


def corpus(name: str) -> Path:
    """A file or folder of the data; without it the test is skipped, or fails where CI runs it."""
    path = DATA / name
    if not path.exists():
        missing = f"{name} is not in ../shared/data beside the repository"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return path


def json_files() -> list[Path]:
    """The files of JSONTestSuite, by name."""
    return sorted(corpus("json_test_suite").glob("test_parsing/*.json"))


def naughty_strings() -> list[str]:
    """The naughty strings, each once, and ours."""
    listed = json.loads(corpus("naughty_strings.json").read_text(encoding="utf-8"))
    return list(dict.fromkeys((*listed, *MORE)))


def texts_of(table: Table) -> list[Column]:
    """The columns that hold text or lists of it."""
    return [c for c in table.columns if c.kind in (Kind.TEXT, Kind.TEXT_LIST)]


Wants = Callable[[Table, Column], bool]


def everywhere(_table: Table, _column: Column) -> bool:
    """Every text column."""
    return True


PLAIN = ("source", "currency", "transaction_type", "card_number", "account_number")


def in_words(table: Table, column: Column) -> bool:
    """Every text column but keys and those by which rules tell rows apart."""
    return column.name not in (table.key, *PLAIN)


@dataclass(frozen=True)
class NaughtyCompany:
    """Books whose texts are naughty strings: row n has another string in each column.

    Attributes:
        strings: each of them stands once in every column that is wanted.
        wants: which columns those are; the others hold good values.
    """

    strings: Sequence[str]
    wants: Wants = everywhere

    def rows(self, table: Table) -> list[Row]:
        """One row for each string, spread over the days of a month."""
        return [self._row(table, number) for number in range(len(self.strings))]

    def _row(self, table: Table, number: int) -> Row:
        on = f"2025-02-{1 + number % SPECIAL_DAYS:02d}T10:{number % 60:02d}:00Z"
        row: Row = {}
        for place, column in enumerate(table.columns):
            if column.kind is Kind.MONEY:
                # another amount in each table: there is something to find
                row[column.name] = f"{20 + number * 7 % 900 + GOLD.index(table)}.50"
            elif column.kind is Kind.INSTANT:
                row[column.name] = on
            elif not self.wants(table, column):
                row[column.name] = _good(table, column, number)
            else:
                text = self.strings[(number + 37 * place) % len(self.strings)]
                row[column.name] = [text, "x"] if column.kind is Kind.TEXT_LIST else text
        return row

    def write(self, folder: Path) -> Path:
        """As a fixture folder; every half of a pair is escaped, as JSON can say it."""
        folder.mkdir(parents=True)
        for table in GOLD:
            (folder / f"{table.name}.json").write_text(json.dumps(self.rows(table)))
        return folder


def _good(table: Table, column: Column, number: int) -> object:
    match column.name:
        case name if name == table.key:
            return f"{'e' if name == 'txn_id' else table.name}_{number}"
        case "source":
            return "credit_card"
        case "card_number" | "account_number":
            return f"**** {1111 * (1 + number % 4)}"
        case "transaction_type":
            return "debit"
        case "currency":
            return None
        case name:
            return [name] if column.kind is Kind.TEXT_LIST else name


def refused(table: Table, row: Row, id_chars_max: int) -> bool:
    """Whether a row of naughty texts cannot be audited: the reader's rules in plain Python."""
    return any(
        any(map(unstorable, _parts(row[column.name])))
        or (column in table.required and _only_spaces(row[column.name]))
        or (column.name == table.key and len(row[column.name]) > id_chars_max)
        for column in texts_of(table)
    )


def _parts(value: object) -> Collection[str]:
    if value is None:
        return ()
    return value if isinstance(value, list) else [str(value)]


def unstorable(text: str) -> bool:
    """Whether Postgres or UTF-8 cannot hold it."""
    return "\0" in text or any("\ud800" <= character <= "\udfff" for character in text)


def _only_spaces(value: object) -> bool:
    return isinstance(value, str) and value.isspace()


def strings_in(document: object) -> Iterator[str]:
    """Every text in a JSON document, keys left out."""
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict):
        for value in document.values():
            yield from strings_in(value)
    elif isinstance(document, list):
        for value in document:
            yield from strings_in(value)

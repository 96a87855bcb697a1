"""An extract of any system: a file of lines with an id, a date, an amount and a text.

The fixture reader does the reading, so that nothing is lost: a value that is no date or no amount
puts its line aside with a reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from audit_pipeline.adapters.fixtures.csv_rows import csv_chunks
from audit_pipeline.adapters.fixtures.folder import FORMATS, Source, obstacle, stamp
from audit_pipeline.adapters.fixtures.intake import connect, printable, take_in
from audit_pipeline.adapters.fixtures.json_rows import json_chunks
from audit_pipeline.adapters.fixtures.rows import FileBroken, Rows
from audit_pipeline.model.errors import BadUsage
from audit_pipeline.model.gold import FileRead
from audit_pipeline.model.tables import Column, Kind, Table

_IDS = ("id", "unique_id", "txn_id", "transaction_id", "line_id", "entry_id", "receipt_id")
_DATES = (
    *("date", "transaction_date", "posted_date", "posting_date", "posted_on", "posted"),
    *("booking_date", "value_date", "entry_date"),
)
_AMOUNTS = ("amount", "value", "total")


@dataclass(frozen=True)
class Layout:
    """What the lines of an extract have.

    Attributes:
        fields: field → the column names that are taken for it, in this order, without a mapping.
        kinds: field → what its values are; text where it does not say.
        optional: the fields that need not be there.
    """

    fields: Mapping[str, tuple[str, ...]]
    kinds: Mapping[str, Kind]
    optional: tuple[str, ...] = ()


PAYMENTS = Layout(
    {
        "id": _IDS,
        "date": _DATES,
        "amount": _AMOUNTS,
        "text": (
            *("description", "text", "memo", "narrative", "vendor", "payee", "details", "name"),
            *("counterparty", "merchant"),
        ),
        "reference": ("reference", "ref", "check_number", "invoice", "document"),
    },
    {"date": Kind.INSTANT, "amount": Kind.MONEY},
    ("text", "reference"),
)
"""Two records of payments that are reconciled."""
CHARGES = Layout(
    {
        "id": _IDS,
        "entity": (
            *("entity", "card", "card_number", "cardholder", "account", "account_number"),
            *("employee", "payer", "user"),
        ),
        "vendor": (
            *("vendor", "merchant", "payee", "supplier", "counterparty", "description", "name"),
        ),
        "category": ("category", "cat", "mcc", "merchant_category", "gl_account", "type"),
        "amount": (*_AMOUNTS, "amt"),
        "time": ("time", "timestamp", "ts", "occurred_at", "made_at", "datetime", *_DATES),
        "invoice": ("invoice", "invoice_number", "invoice_no", "invoice_id"),
        # A bare account may be the payer's.
        "account": (
            *("payee_account", "vendor_account", "supplier_account", "beneficiary_account"),
            *("payee_iban", "vendor_iban", "supplier_iban", "beneficiary_iban"),
        ),
    },
    {"time": Kind.INSTANT, "amount": Kind.MONEY},
    ("category", "invoice", "account"),
)
"""Charges that are scored; an entity is whoever has habits: a card, an employee, an account."""


@dataclass(frozen=True)
class Extract:
    """A file that was read.

    Attributes:
        typed: Parquet file of the kept lines: the mapped columns and row_number.
        rejected: Parquet file of those put aside: row_number, row_id, field, reason, raw, ….
        columns: what each field was read from; a text may be made of several columns.
    """

    read: FileRead
    typed: Path
    rejected: Path
    columns: Mapping[str, tuple[str, ...]]


def read_extract(
    layout: Layout,
    side: str,
    path: Path,
    mapping: Mapping[str, Sequence[str]],
    stage: Path,
    asked_as: str = "",
) -> Extract:
    """The lines of a `.csv`, `.parquet`, `.json` or `.jsonl` file.

    Args:
        layout: what a line has.
        side: names the staged files.
        path: the file.
        mapping: field → the columns it is in; what is missing is found by the usual names.
        stage: a folder for what is staged.
        asked_as: what stands before a field's name in `--map`, in errors.

    Raises:
        BadUsage: the file cannot be read as a whole, or a needed column is not in it.
    """
    if path.suffix[1:].lower() not in FORMATS:
        endings = ", ".join(f".{name}" for name in FORMATS)
        raise BadUsage(f"{path}: the file's name must end in one of {endings}")
    source = Source(Table(side, "", "", None, ()), path, obstacle(path), stamp(path))
    if source.problem is not None:
        raise BadUsage(f"{path}: {source.problem}")
    names = _names(source)
    columns = _columns(layout, asked_as, path, names, mapping)
    declared: dict[str, Column] = {}
    for field, wanted in columns.items():
        for name in wanted:
            kind = layout.kinds.get(field, Kind.TEXT)
            required = field not in layout.optional
            declared.setdefault(name, Column(name, kind, field, required=required))
    dated = next(field for field, kind in layout.kinds.items() if kind is Kind.INSTANT)
    table = Table(side, "", columns["id"][0], columns[dated][0], tuple(declared.values()))
    with connect(stage) as connection:
        # Dates and lengths are looked at by whoever reads the lines.
        intake = take_in(table, source, stage, connection, _silent, lambda _table, _rows: ())
    if intake.read.problem is not None:
        raise BadUsage(f"{path}: {intake.read.problem}")
    return Extract(intake.read, intake.typed, intake.rejected, columns)


def _silent(_: str) -> None:
    """No progress is shown."""


def _names(source: Source) -> list[str]:
    """The columns or keys of the file, from its header or its first rows."""
    try:
        if source.format == "parquet":
            return list(pq.read_schema(source.path).names)
        found = Rows(source.table, lists=False)
        chunks = csv_chunks if source.format == "csv" else json_chunks
        next(iter(chunks(source.path, found)), None)
    except FileBroken as fault:
        raise BadUsage(f"{source.path}: {fault}") from fault
    except (OSError, ValueError) as error:
        raise BadUsage(f"{source.path}: unreadable ({str(error).splitlines()[0][:160]})") from error
    return sorted(found.names)


def _columns(
    layout: Layout,
    asked_as: str,
    path: Path,
    names: Sequence[str],
    mapping: Mapping[str, Sequence[str]],
) -> dict[str, tuple[str, ...]]:
    by_lower = {name.lower().strip(): name for name in reversed(names)}
    columns: dict[str, tuple[str, ...]] = {}
    shown = ", ".join(printable(name) for name in names[:20]) or "none"
    for field, usual in layout.fields.items():
        asked = tuple(mapping.get(field, ()))
        unknown = [name for name in asked if name not in names]
        if unknown:
            raise BadUsage(
                f"{path} has no column {printable(unknown[0])!r}; it has {shown}; "
                f"say --map {asked_as}{field}=COLUMN"
            )
        found = asked or tuple(by_lower[name] for name in usual if name in by_lower)[:1]
        if not found and field not in layout.optional:
            raise BadUsage(
                f"{path}: which column is the {field}? It has {shown}; "
                f"say --map {asked_as}{field}=COLUMN"
            )
        columns[field] = found
    for name in {name for found in columns.values() for name in found}:
        if not name.isprintable() or set(name) & {'"', "'"}:
            raise BadUsage(f"{path}: the column {printable(name)!r} needs another name; rename it")
    return columns

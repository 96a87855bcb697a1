"""Gold in the catalog: what is there, and the typed views of it that the rules read.

The rules read what fixtures give them: the declared columns, `row_number`, `audit_on`, and
`gold.quarantine` with what cannot be read. Here these are temporary views of the session, over one
version of each table, so that all steps of an audit see the same rows however long it takes.
Nothing is copied, with one exception: a bank's lines and the ledger's have an order, and where the
table does not say it (`row_number`) it is made once and held.
"""

import datetime as dt
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from audit_pipeline.adapters.databricks.connection import Session
from audit_pipeline.adapters.fixtures.boundary import (
    ID_CHARS_MAX,
    TEXT_CHARS_MAX,
    YEAR_MAX,
    YEAR_MIN,
)
from audit_pipeline.model.errors import GoldUnreadable, WarehouseRejected
from audit_pipeline.model.gold import About, FileRead, GoldState
from audit_pipeline.model.query import Query
from audit_pipeline.model.tables import GOLD, Column, Kind, Table
from audit_pipeline.model.workspace import Workspace, literal, quoted

VIEW = "gold_{}"
"""The session's view of a gold table."""
ORDER = "row_number"
"""Optional in every gold table: the row's place in the source it was loaded from."""
ORDERED = ("recent_transactions", "bank_accounts")
"""Tables whose rows have an order that rules read."""
QUARANTINE = (
    ("table_name", "STRING"),
    ("file", "STRING"),
    ("row_number", "BIGINT"),
    ("row_id", "STRING"),
    ("audit_on", "DATE"),
    ("amount", "DECIMAL(18,2)"),
    ("field", "STRING"),
    ("reason", "STRING"),
    ("raw", "STRING"),
)
"""`quarantine`, optional: rows that an ingestion before gold could not type."""

_RAW_CHARS = 200
_SAME = {
    Kind.TEXT: ("STRING",),
    Kind.MONEY: ("DECIMAL(18,2)",),
    Kind.INSTANT: ("TIMESTAMP_NTZ",),
    Kind.TEXT_LIST: ("ARRAY<STRING>",),
    Kind.BOOLEAN: ("BOOLEAN",),
}
_WANTED = {
    Kind.TEXT: "text",
    Kind.MONEY: "a number with 16 digits before the point",
    Kind.INSTANT: "a date",
    Kind.TEXT_LIST: "a list of texts",
    Kind.BOOLEAN: "true or false",
}
_READ_AS = {**{kind: kind.databricks for kind in Kind}, Kind.INSTANT: "TIMESTAMP_NTZ"}


@dataclass(frozen=True)
class _Source:
    """A gold table as it is found; `columns` is empty when it is absent."""

    table: Table
    columns: Mapping[str, str]
    place: str
    version: int | None


@dataclass(frozen=True)
class Gold:
    """What `read` found: the state, and the statements that make the session's views.

    Attributes:
        held: table → query of the tables whose order has to be made once.
        views: view → its query; later ones may read earlier ones and what is held.
    """

    state: GoldState
    held: Mapping[str, str] = field(default_factory=dict[str, str])
    views: Mapping[str, str] = field(default_factory=dict[str, str])


def read(
    session: Session, workspace: Workspace, held: str, versions: Mapping[str, int] | None = None
) -> Gold:
    """Look at every gold table: columns, version, days, rows.

    Args:
        session: where to ask.
        workspace: where gold lies.
        held: template of the full names of held tables.
        versions: of an earlier look, to read what it read; by default the newest.

    Raises:
        GoldUnreadable: the needed table is absent.
        WarehouseError: the warehouse does not answer.
    """
    found = columns_of(session, workspace.catalog, workspace.gold)
    sources = [
        _source(session, workspace, table, found.get(table.name, {}), versions) for table in GOLD
    ]
    for source in sources:
        if source.table.needed and not source.columns:
            place = workspace.gold_table(source.table.name)
            message = (
                f"{place} is absent, or may not be seen: grant SELECT on it, or name another "
                "place with DATABRICKS_CATALOG and DATABRICKS_GOLD_SCHEMA"
            )
            raise GoldUnreadable(message)
    horizon = workspace.as_of or _horizon(session, sources)
    ordered = {
        source.table.name: held.format(f"gold_{source.table.name}")
        for source in sources
        if source.table.name in ORDERED and source.columns and ORDER not in source.columns
    }
    views = {f"checked_{source.table.name}": _checked(source, horizon) for source in sources}
    making = {name: f"SELECT * FROM {quoted(f'checked_{name}')}" for name in ordered}
    for source in sources:
        name = source.table.name
        rows = ordered.get(name, quoted(f"checked_{name}"))
        views[VIEW.format(name)] = f"SELECT * EXCEPT (fault, raw) FROM {rows} WHERE fault IS NULL"
    views[VIEW.format("quarantine")] = _quarantine(workspace, sources, ordered, found)
    state = GoldState(
        _digest(sources, horizon),
        About(workspace.name, workspace.as_of),
        horizon,
        tuple(FileRead(s.table.name, _shown(s), 0, 0, 0, None, _notes(s)) for s in sources),
        {s.table.name: missing for s in sources if (missing := _missing(s))},
        {s.table.name: s.version for s in sources if s.version is not None},
    )
    return Gold(state, making, views)


def counts(state: GoldState) -> Query:
    """How many rows of each table are kept and how many are not: name, kept, quarantined."""
    parts = [
        f"SELECT '{file.table}' AS name, (SELECT count(*) FROM gold.{file.table}) AS kept,"
        f" (SELECT count(*) FROM gold.quarantine WHERE table_name = '{file.table}') AS held"
        for file in state.files
    ]
    return Query("\nUNION ALL ".join(parts))


# ── what is there ───────────────────────────────────────────────────────────────────────────────


def columns_of(session: Session, catalog: str, schema: str) -> dict[str, dict[str, str]]:
    """Table → column → type, as the catalog says; tables that may not be seen are absent."""
    found: dict[str, dict[str, str]] = {}
    with session.cursor() as cursor:
        cursor.columns(catalog_name=catalog, schema_name=schema)
        rows = cursor.fetchall_arrow().to_pylist()
    for row in rows:
        kind = str(row["TYPE_NAME"]).upper().replace(" ", "")
        found.setdefault(str(row["TABLE_NAME"]), {})[str(row["COLUMN_NAME"])] = kind
    return found


def _source(
    session: Session,
    workspace: Workspace,
    table: Table,
    columns: Mapping[str, str],
    versions: Mapping[str, int] | None,
) -> _Source:
    place = workspace.gold_table(table.name)
    version: int | None = None
    if columns and versions is not None:
        version = versions.get(table.name)
    elif columns:
        try:
            history = session.run(f"DESCRIBE HISTORY {place} LIMIT 1").to_pylist()
            version = int(history[0]["version"]) if history else None
        except WarehouseRejected:
            version = None  # a view or a foreign table: it has no versions
    pinned = place if version is None else f"{place} VERSION AS OF {version}"
    return _Source(table, columns, pinned, version)


def _horizon(session: Session, sources: list[_Source]) -> dt.date:
    """The last day up to today that the needed tables know; today if they know none."""
    today = dt.datetime.now(dt.UTC).date()
    days: list[dt.date] = []
    for source in sources:
        dated_by = source.table.dated_by
        if source.table.needed and dated_by in source.columns:
            day = f"try_cast({quoted(str(dated_by))} AS DATE)"
            sql = f"SELECT max({day}) AS day FROM {source.place} WHERE {day} <= :today"
            (row,) = session.run(sql, {"today": today}).to_pylist()
            days += [row["day"]] if row["day"] else []
    return max(days, default=today)


def _missing(source: _Source) -> tuple[str, ...]:
    if not source.columns:
        return ()
    return tuple(
        c.name for c in source.table.columns if c.required and c.name not in source.columns
    )


def _notes(source: _Source) -> tuple[str, ...]:
    known = {column.name for column in source.table.columns} | {ORDER}
    unknown = sorted(set(source.columns) - known)
    return (f"unknown columns, not read: {', '.join(unknown)}",) if unknown else ()


def _shown(source: _Source) -> str:
    if not source.columns:
        return ""
    return source.place.replace("`", "")


def _digest(sources: list[_Source], horizon: dt.date) -> str:
    """Names this state of gold; without a version, a table is what it is at each look."""
    now = dt.datetime.now(dt.UTC).isoformat()
    parts = [f"{s.place} {now if s.version is None and s.columns else s.version}" for s in sources]
    text = "\n".join([*parts, horizon.isoformat()])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# ── views ───────────────────────────────────────────────────────────────────────────────────────


def _checked(source: _Source, horizon: dt.date) -> str:
    """The declared columns, typed, `row_number`, `audit_on`, and what is wrong with the row."""
    table = source.table
    typed = [f"{_typed(source, column)} AS {quoted(column.name)}" for column in table.columns]
    if not source.columns:
        nothing = [f"CAST(NULL AS {_READ_AS[c.kind]}) AS {quoted(c.name)}" for c in table.columns]
        return (
            f"SELECT {', '.join(nothing)}, CAST(NULL AS BIGINT) AS row_number,"
            " CAST(NULL AS DATE) AS audit_on, CAST(NULL AS STRING) AS fault,"
            " CAST(NULL AS STRING) AS raw WHERE false"
        )
    day = f"DATE'{horizon.isoformat()}'"
    audit_on = "CAST(NULL AS DATE)"
    if table.dated_by:
        dated = f"CAST({_typed(source, table.column(table.dated_by))} AS DATE)"
        # Null or later than the horizon: the row belongs to the last audited day.
        audit_on = f"least(coalesce({dated}, {day}), {day})"
    return (
        f"SELECT {', '.join(typed)}, {_order(source, audit_on)} AS row_number,"
        f" {audit_on} AS audit_on, {_fault(source)} FROM {source.place}"
    )


def _typed(source: _Source, column: Column) -> str:
    """The value in the declared type, null where it has none."""
    kind = source.columns.get(column.name)
    if kind is None:
        return f"CAST(NULL AS {_READ_AS[column.kind]})"
    if kind in _SAME[column.kind]:
        return quoted(column.name)
    return f"try_cast({quoted(column.name)} AS {_READ_AS[column.kind]})"


def _order(source: _Source, audit_on: str) -> str:
    if ORDER in source.columns:
        return f"CAST({ORDER} AS BIGINT)"
    if source.table.name not in ORDERED:
        return "CAST(NULL AS BIGINT)"
    # Within the day, so that the work is spread over days; the day in front, so that it is unique.
    columns = [c.name for c in source.table.columns if c.name in source.columns]
    columns.sort(key=lambda name: name != source.table.key)
    day = f"datediff({audit_on}, DATE'2000-01-01')"
    return (
        f"CAST({day} AS BIGINT) * 1000000000 + row_number() OVER (PARTITION BY {audit_on}"
        f" ORDER BY {', '.join(map(quoted, columns))})"
    )


def _fault(source: _Source) -> str:
    """`fault`: `<column>: <reason>` of the first value that is not plausible; and its text."""
    faults, raws = "", ""
    for column, condition, reason in _faults(source):
        faults += f" WHEN {condition} THEN {literal(f'{column}: {reason}')}"
        raws += f" WHEN {condition} THEN left(CAST({quoted(column)} AS STRING), {_RAW_CHARS})"
    none = "CAST(NULL AS STRING)"
    if not faults:
        return f"{none} AS fault, {none} AS raw"
    return f"CASE{faults} END AS fault, CASE{raws} END AS raw"


def _faults(source: _Source) -> Iterator[tuple[str, str, str]]:
    """Column, condition, reason; in the words that fixtures are refused with."""
    for column in source.table.columns:
        if column.name not in source.columns:
            continue
        name, typed = quoted(column.name), _typed(source, column)
        if source.columns[column.name] not in _SAME[column.kind]:
            yield (
                column.name,
                f"{name} IS NOT NULL AND {typed} IS NULL",
                (f"not {_WANTED[column.kind]}"),
            )
        if column.kind is Kind.TEXT:
            yield column.name, f"instr({typed}, chr(0)) > 0", "contains a NUL character"
            yield (
                column.name,
                f"length({typed}) > {TEXT_CHARS_MAX}",
                f"longer than {TEXT_CHARS_MAX:,} characters",
            )
            if column.name == source.table.key:
                yield (
                    column.name,
                    f"length({typed}) > {ID_CHARS_MAX}",
                    f"an id longer than {ID_CHARS_MAX} characters",
                )
            if column in source.table.required:
                yield column.name, f"{typed} <> '' AND {typed} RLIKE '^\\\\s+$'", "only spaces"
        if column.kind is Kind.INSTANT:
            years = f"year({typed}) < {YEAR_MIN} OR year({typed}) > {YEAR_MAX}"
            yield column.name, years, f"the year is outside {YEAR_MIN} to {YEAR_MAX}"


def _quarantine(
    workspace: Workspace,
    sources: list[_Source],
    ordered: Mapping[str, str],
    found: Mapping[str, Mapping[str, str]],
) -> str:
    """What cannot be read, of all tables, and what an ingestion before gold has put aside."""
    parts: list[str] = []
    for source in sources:
        if not source.columns:
            continue
        table = source.table
        rows = ordered.get(table.name, quoted(f"checked_{table.name}"))
        has_amount = any(column.name == "amount" for column in table.columns)
        parts.append(
            f"SELECT '{table.name}' AS table_name, {literal(_shown(source))} AS file, row_number,"
            f" {quoted(table.key)} AS row_id, audit_on,"
            f" {'amount' if has_amount else 'CAST(NULL AS DECIMAL(18,2))'} AS amount,"
            " left(fault, locate(': ', fault) - 1) AS field,"
            " substring(fault, locate(': ', fault) + 2) AS reason, raw"
            f" FROM {rows} WHERE fault IS NOT NULL"
        )
    if "quarantine" in found:
        columns = ", ".join(name for name, _ in QUARANTINE)
        parts.append(f"SELECT {columns} FROM {workspace.gold_table('quarantine')}")
    return "\nUNION ALL ".join(parts)

"""The schema as text, for each database that someone may want to create it in."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

from sqlalchemy import Boolean, CheckConstraint, Column, Connection, Date, Float, Integer, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from audit_pipeline.adapters.store.columns import Exact, Instant, Words
from audit_pipeline.adapters.store.schema import METADATA
from audit_pipeline.model.workspace import literal

DialectName = Literal["sqlite", "postgresql", "databricks"]


def schema_ddl(dialect: DialectName) -> str:
    """Every table and index as a script, ordered so that it runs from top to bottom, repeatably.

    Raises:
        ValueError: there is no such dialect.
    """
    script = ";\n\n".join(statements(dialect)) + ";\n"
    if dialect != "databricks":
        return script
    return (
        "-- Delta tables have no indexes: the specification's are left out here. Keys are\n"
        "-- informational and uniqueness is not enforced; the writers keep it (MERGE).\n\n"
    ) + script


def statements(dialect: DialectName) -> list[str]:
    """The statements of `schema_ddl`, one by one, without a closing semicolon.

    Raises:
        ValueError: there is no such dialect.
    """
    if dialect == "databricks":
        return list(databricks_statements())
    if dialect not in ("sqlite", "postgresql"):
        raise ValueError(f"no DDL for {dialect!r}: there is sqlite, postgresql and databricks")
    compiler = sqlite.dialect() if dialect == "sqlite" else postgresql.dialect()
    made: list[str] = []
    for table in METADATA.tables.values():
        made.append(str(CreateTable(table, if_not_exists=True).compile(dialect=compiler)))
        made.extend(
            str(CreateIndex(index, if_not_exists=True).compile(dialect=compiler))
            for index in sorted(table.indexes, key=lambda index: str(index.name))
        )
    return ["\n".join(line.rstrip() for line in sql.strip().splitlines()) for sql in made]


def create_all_tables(cursor: Any) -> None:
    """Create every table and index that is missing; the specification's name.

    Args:
        cursor: an SQLAlchemy connection, or a connection or cursor of sqlite3, psycopg2 or
            databricks-sql (another driver's is taken for Postgres). Committing is the caller's.
    """
    if isinstance(cursor, Connection):
        for sql in statements("sqlite" if cursor.dialect.name == "sqlite" else "postgresql"):
            cursor.exec_driver_sql(sql)
        return
    driver = type(cursor).__module__.partition(".")[0]
    names: dict[str, DialectName] = {"sqlite3": "sqlite", "databricks": "databricks"}
    executing = cursor if hasattr(cursor, "execute") else cursor.cursor()
    for sql in statements(names.get(driver, "postgresql")):
        executing.execute(sql)


def databricks_statements(
    tables: Iterable[Table] = (), place: Callable[[str], str] = str
) -> Iterator[str]:
    """What creates these tables of the store as Delta tables, repeatably.

    Args:
        tables: all of them by default.
        place: the full name of a table, by its own.
    """
    for table in tables or METADATA.tables.values():
        name = place(table.name)
        yield _databricks_table(table, name)
        checks = [c for c in table.constraints if isinstance(c, CheckConstraint)]
        for check in sorted(checks, key=lambda check: str(check.name)):
            yield f"ALTER TABLE {name} DROP CONSTRAINT IF EXISTS {check.name}"
            yield f"ALTER TABLE {name} ADD CONSTRAINT {check.name} CHECK ({check.sqltext})"


def _databricks_table(table: Table, name: str) -> str:
    lines = [_databricks_column(column) for column in table.columns]
    key = ", ".join(column.name for column in table.primary_key.columns)
    lines.append(f"CONSTRAINT pk_{table.name} PRIMARY KEY ({key})")
    lines.extend(
        f"CONSTRAINT fk_{table.name}_{key.parent.name} FOREIGN KEY ({key.parent.name}) "
        f"REFERENCES {key.column.table.name} ({key.column.name})"
        for key in sorted(table.foreign_keys, key=lambda key: key.parent.name)
    )
    body = ",\n  ".join(lines)
    created = (
        f"CREATE TABLE IF NOT EXISTS {name} (\n  {body}\n) USING DELTA\n"
        f"COMMENT {literal(str(table.info['meaning']))}"
    )
    if all(column.server_default is None for column in table.columns):
        return created
    return f"{created}\nTBLPROPERTIES ('delta.feature.allowColumnDefaults' = 'supported')"


def _databricks_column(column: Column[Any]) -> str:
    words = [column.name, _databricks_type(column)]
    if not column.nullable:
        words.append("NOT NULL")
    default: Any = column.server_default
    if default is not None:
        words.append(f"DEFAULT {default.arg.text}")
    words.append(f"COMMENT {literal(str(column.doc))}")
    return " ".join(words)


_DATABRICKS_TYPES = (
    (Words, "STRING"),
    (Instant, "TIMESTAMP"),
    (Boolean, "BOOLEAN"),
    (Date, "DATE"),
    (Float, "DOUBLE"),
    (Integer, "BIGINT"),
)


def _databricks_type(column: Column[Any]) -> str:
    if isinstance(column.type, Exact):
        return f"DECIMAL({column.type.precision},{column.type.scale})"
    for kind, spelled in _DATABRICKS_TYPES:
        if isinstance(column.type, kind):
            return spelled
    raise TypeError(f"{column}: no Databricks type is declared for {column.type!r}")

"""What every engine of the local warehouse offers: sessions that execute Databricks SQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from audit_pipeline_tests.databricks.local_warehouse.parameters import Parameter

CATALOG = "main"
"""The catalog that every local warehouse has; a new session is in its schema `default`."""


TIME_ZONE = "Etc/UTC"
"""The session time zone of a SQL warehouse, until a workspace sets another."""


class SqlError(Exception):
    """A statement that was refused, in the words and with the code of Databricks.

    Args:
        error_class: e.g. `TABLE_OR_VIEW_NOT_FOUND`.
        message: what is wrong.
        sqlstate: five characters.
    """

    def __init__(self, error_class: str, message: str, sqlstate: str) -> None:
        super().__init__(f"[{error_class}] {message} SQLSTATE: {sqlstate}")
        self.error_class = error_class
        self.sqlstate = sqlstate


@dataclass(frozen=True)
class Result:
    """The rows of a statement, and how many rows a write touched (None for a read)."""

    table: pa.Table
    modified: int | None = None


@dataclass(frozen=True)
class Relation:
    """A table or a view: `kind` is MANAGED, VIEW or TEMPORARY."""

    catalog: str
    schema: str
    name: str
    kind: str


@dataclass(frozen=True)
class ColumnOf:
    """A column of a relation, with its type as Databricks spells it, e.g. `decimal(18,2)`."""

    name: str
    type: str
    nullable: bool = True
    comment: str | None = None


class Session(Protocol):
    """One client's session: its current schema, its temporary views."""

    def execute(self, statement: str, parameters: Sequence[Parameter]) -> Result:
        """Run one statement.

        Raises:
            SqlError: it was refused.
        """
        ...

    def interrupt(self) -> None:
        """Stop what runs; it fails."""
        ...

    def schemas(self) -> list[tuple[str, str]]:
        """The pairs (catalog, schema)."""
        ...

    def relations(self) -> list[Relation]:
        """Every table and view."""
        ...

    def columns(self, relation: Relation) -> list[ColumnOf]:
        """The columns of one, in order."""
        ...

    def close(self) -> None:
        """Forget it."""
        ...


class Engine(Protocol):
    """Where the statements run."""

    def open(self, catalog: str | None, schema: str | None) -> Session:
        """A new session.

        Raises:
            SqlError: there is no such catalog or schema.
        """
        ...

    def load(self, schema: str, table: str, path: Path) -> None:
        """Put a Parquet file in place as `main.<schema>.<table>`, with the types that it has."""
        ...

    def close(self) -> None:
        """End it."""
        ...


def load_folder(engine: Engine, folder: Path) -> int:
    """Load every `<folder>/<schema>/<table>.parquet`.

    Returns:
        The number of tables.

    Raises:
        FileNotFoundError: there is none.
    """
    paths = sorted(folder.glob("*/*.parquet"))
    if not paths:
        raise FileNotFoundError(f"{folder}: no <schema>/<table>.parquet in it")
    for path in paths:
        engine.load(path.parent.name, path.stem, path)
    return len(paths)


def table_of(columns: dict[str, pa.DataType], rows: Sequence[tuple[object, ...]]) -> pa.Table:
    """An Arrow table from rows, typed even when there is no row."""
    return pa.table(
        {
            name: pa.array([row[index] for row in rows], type=kind)
            for index, (name, kind) in enumerate(columns.items())
        }
    )

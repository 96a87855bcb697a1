"""Commands that only tell or only tidy: SHOW, DESCRIBE, OPTIMIZE, SET."""

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
from sqlglot import exp

from audit_pipeline_tests.databricks.local_warehouse.delta_log import history_table
from audit_pipeline_tests.databricks.local_warehouse.duckdb_translation import to_duckdb
from audit_pipeline_tests.databricks.local_warehouse.duckdb_types import spelled
from audit_pipeline_tests.databricks.local_warehouse.engine import (
    CATALOG,
    Result,
    SqlError,
    table_of,
)
from audit_pipeline_tests.databricks.local_warehouse.parameters import Parameter
from audit_pipeline_tests.databricks.local_warehouse.statements import parse

if TYPE_CHECKING:
    from audit_pipeline_tests.databricks.local_warehouse.duckdb_engine import DuckDBSession

TEXT = pa.string()


def command(session: "DuckDBSession", statement: str) -> Result | None:
    """The answer to a command that sqlglot does not parse; None for any other statement."""
    words = statement.strip().rstrip(";").strip()
    for pattern, answer in _COMMANDS:
        match = re.fullmatch(pattern, words, re.IGNORECASE | re.DOTALL | re.VERBOSE)
        if match:
            return Result(answer(session, match))
    return None


def describe(
    session: "DuckDBSession", tree: exp.Describe, parameters: Sequence[Parameter]
) -> Result:
    """DESCRIBE TABLE, or the columns of a query."""
    kinds = dict.fromkeys(["col_name", "data_type", "comment"], TEXT)
    if isinstance(tree.this, exp.Query):
        rows = session.connection.execute(f"DESCRIBE {to_duckdb(tree.this, parameters)}").fetchall()
        return Result(table_of(kinds, [(row[0], spelled(row[1]), None) for row in rows]))
    schema, name = session.key(tree.this)
    for relation in session.relations():
        if relation.name.lower() == name and relation.schema in (schema, ""):
            columns = session.columns(relation)
            return Result(table_of(kinds, [(c.name, c.type, c.comment) for c in columns]))
    raise _not_found(f"{schema}.{name}")


def _not_found(name: str) -> SqlError:
    said = f"The table or view `{name}` cannot be found."
    return SqlError("TABLE_OR_VIEW_NOT_FOUND", said, "42P01")


def _show_tables(session: "DuckDBSession", match: re.Match[str]) -> pa.Table:
    place = [part.strip("`").lower() for part in (match["place"] or session.schema).split(".")]
    if (CATALOG, place[-1]) not in session.schemas():
        said = f"The schema `{match['place']}` cannot be found."
        raise SqlError("SCHEMA_NOT_FOUND", said, "42704")
    rows = [
        (found.schema, found.name, found.kind == "TEMPORARY")
        for found in session.relations()
        if found.schema in (place[-1], "") and _is_like(match["pattern"], found.name)
    ]
    return table_of({"database": TEXT, "tableName": TEXT, "isTemporary": pa.bool_()}, rows)


def _show_schemas(session: "DuckDBSession", match: re.Match[str]) -> pa.Table:
    rows = [(name,) for _, name in session.schemas() if _is_like(match["pattern"], name)]
    return table_of({"databaseName": TEXT}, rows)


def _show_catalogs(session: "DuckDBSession", match: re.Match[str]) -> pa.Table:
    return table_of({"catalog": TEXT}, [(CATALOG,)])


def _is_like(pattern: str | None, name: str) -> bool:
    """SHOW's own patterns: `*` for any text, `|` between alternatives."""
    if pattern is None:
        return True
    parts = [re.escape(part).replace(r"\*", ".*") for part in pattern.split("|")]
    return re.fullmatch("|".join(parts), name, re.IGNORECASE) is not None


def _history(session: "DuckDBSession", match: re.Match[str]) -> pa.Table:
    table = parse(f"SELECT * FROM {match['table']}").find(exp.Table)
    assert table is not None
    limit = int(match["limit"]) if match["limit"] else None
    return history_table(session.log, session.key(table), limit)


def _tidy(session: "DuckDBSession", match: re.Match[str]) -> pa.Table:
    """OPTIMIZE and its like change no row."""
    return pa.table({})


_NAME = r"(?:`[^`]+`|\w+)(?:\.(?:`[^`]+`|\w+))*"
_LIKE = r"(\s+(LIKE\s+)?'(?P<pattern>[^']*)')?"
_COMMANDS: tuple[tuple[str, Callable[["DuckDBSession", re.Match[str]], pa.Table]], ...] = (
    (
        rf"SHOW\s+TABLES (\s+(IN|FROM)\s+(?P<place>{_NAME}))? {_LIKE}",
        _show_tables,
    ),
    (
        rf"SHOW\s+(SCHEMAS|DATABASES) (\s+(IN|FROM)\s+{_NAME})? {_LIKE}",
        _show_schemas,
    ),
    (r"SHOW\s+CATALOGS", _show_catalogs),
    (rf"DESC(RIBE)?\s+HISTORY\s+(?P<table>{_NAME}) (\s+LIMIT\s+(?P<limit>\d+))?", _history),
    (r"(OPTIMIZE|VACUUM|ANALYZE|REFRESH)\s.*", _tidy),
    # the session's settings: what a client sets is what this warehouse has anyway
    (
        r"SET\s+(TIME\s+ZONE\s+'(Etc/)?UTC'|ansi_mode\s*=\s*true|TIMEZONE\s*=\s*'?(Etc/)?UTC'?)",
        _tidy,
    ),
)

"""`table VERSION AS OF n` on DuckDB: a name that goes on meaning what the table held then.

Such a name is a view of the living table until that is written to; then it becomes a copy. So
nothing is copied that nobody has asked for by its version.
"""

from typing import TYPE_CHECKING

from sqlglot import exp

from audit_pipeline_tests.databricks.local_warehouse.duckdb_translation import INTERNAL_CATALOG
from audit_pipeline_tests.databricks.local_warehouse.engine import SqlError

if TYPE_CHECKING:
    from audit_pipeline_tests.databricks.local_warehouse.duckdb_engine import DuckDBSession

SCHEMA = "kept_versions"


def pinned(session: "DuckDBSession", tree: exp.Expr) -> exp.Expr:
    """The tree with the name that stands for each table's version.

    Raises:
        SqlError: the table never had that version, or it was not kept.
    """
    if not any(table.args.get("version") for table in tree.find_all(exp.Table)):
        return tree
    copied = tree.copy()
    for table in list(copied.find_all(exp.Table)):
        version = table.args.get("version")
        if version is None:
            continue
        schema, name = session.key(table)
        number = int(version.expression.name)
        _keep(session, schema, name, number)
        table.set("version", None)
        if not table.alias:
            table.set("alias", exp.TableAlias(this=exp.to_identifier(name)))
        table.set("this", exp.to_identifier(_name(schema, name, number), quoted=True))
        table.set("db", exp.to_identifier(SCHEMA))
        table.set("catalog", exp.to_identifier(INTERNAL_CATALOG))
    return copied


def before_write(session: "DuckDBSession", key: tuple[str, str]) -> None:
    """What the table holds now is kept, if somebody has asked for it by its version."""
    schema, name = key
    kept = _name(schema, name, _current(session, key))
    if _kind(session, kept) == "VIEW":
        session.connection.execute(f'DROP VIEW {INTERNAL_CATALOG}.{SCHEMA}."{kept}"')
        session.connection.execute(
            f'CREATE TABLE {INTERNAL_CATALOG}.{SCHEMA}."{kept}" AS'
            f' SELECT * FROM {INTERNAL_CATALOG}."{schema}"."{name}"'
        )


def _keep(session: "DuckDBSession", schema: str, name: str, number: int) -> None:
    kept = _name(schema, name, number)
    if _kind(session, kept):
        return
    if number != _current(session, (schema, name)):
        raise SqlError(
            "VERSION_NOT_FOUND", f"Cannot time travel Delta table to version {number}.", "22003"
        )
    session.connection.execute(f"CREATE SCHEMA IF NOT EXISTS {INTERNAL_CATALOG}.{SCHEMA}")
    session.connection.execute(
        f'CREATE OR REPLACE VIEW {INTERNAL_CATALOG}.{SCHEMA}."{kept}" AS'
        f' SELECT * FROM {INTERNAL_CATALOG}."{schema}"."{name}"'
    )


def _current(session: "DuckDBSession", key: tuple[str, str]) -> int:
    log = session.log.of(key)
    return log.versions[-1].number if log and log.versions else -1


def _kind(session: "DuckDBSession", kept: str) -> str | None:
    rows = session.connection.execute(
        "SELECT table_type FROM information_schema.tables"
        " WHERE table_schema = ? AND table_name = ?",
        [SCHEMA, kept],
    ).fetchall()
    return None if not rows else ("VIEW" if rows[0][0] == "VIEW" else "TABLE")


def _name(schema: str, name: str, number: int) -> str:
    return f"{schema}__{name}__{number}"

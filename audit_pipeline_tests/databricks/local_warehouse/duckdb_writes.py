"""Writes and definitions on DuckDB with the semantics of Delta tables.

Every write is one transaction: the checks of the table are tested at its end, and a write that
fails leaves nothing behind.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa
from sqlglot import exp

from audit_pipeline_tests.databricks.local_warehouse.duckdb_translation import bound, to_duckdb
from audit_pipeline_tests.databricks.local_warehouse.duckdb_versions import before_write
from audit_pipeline_tests.databricks.local_warehouse.engine import Result, SqlError, table_of
from audit_pipeline_tests.databricks.local_warehouse.parameters import Parameter
from audit_pipeline_tests.databricks.local_warehouse.statements import DIALECT, parse, unsupported

if TYPE_CHECKING:
    from audit_pipeline_tests.databricks.local_warehouse.duckdb_engine import DuckDBSession

WRITES = (exp.Insert, exp.Merge, exp.Update, exp.Delete, exp.TruncateTable)
DEFINITIONS = (exp.Create, exp.Drop, exp.Alter, exp.Comment)
NOTHING = Result(pa.table({}))
ARRIVING = "rows_that_arrive"

KEPT_COLUMN_CONSTRAINTS = (exp.NotNullColumnConstraint, exp.DefaultColumnConstraint)
"""DuckDB would enforce a PRIMARY KEY, which Databricks takes as information only."""


def write(session: "DuckDBSession", tree: exp.Expr, parameters: Sequence[Parameter]) -> Result:
    """INSERT, MERGE, UPDATE, DELETE, TRUNCATE: all of it or nothing."""
    tree = bound(tree, parameters)
    target = tree.expressions[0] if isinstance(tree, exp.TruncateTable) else _table(tree.this)
    before_write(session, session.key(target))
    with _transaction(session):
        if isinstance(tree, exp.Insert):
            operation, counts = "WRITE", _insert(session, tree)
        elif isinstance(tree, exp.Merge):
            operation, counts = "MERGE", _merge(session, tree)
        else:
            operation = type(tree).__name__.upper().removesuffix("TABLE")
            counts = {f"num_{_PAST[operation]}_rows": _count(session, to_duckdb(tree))}
        _keep_checks(session, target, "DELTA_VIOLATE_CONSTRAINT_WITH_VALUES", "23001")
    session.log.add(session.key(target), operation, counts)
    affected = sum(counts.values())
    kinds = dict.fromkeys(["num_affected_rows", *counts], pa.int64())
    if isinstance(tree, (exp.Update, exp.Delete, exp.TruncateTable)):
        kinds = {"num_affected_rows": pa.int64()}
    row = (affected, *counts.values())
    return Result(table_of(kinds, [row[: len(kinds)]]), affected)


_PAST = {"UPDATE": "updated", "DELETE": "deleted", "TRUNCATE": "deleted"}


@contextmanager
def _transaction(session: "DuckDBSession") -> Iterator[None]:
    session.connection.execute("BEGIN")
    try:
        yield
    except BaseException:
        session.connection.execute("ROLLBACK")
        raise
    session.connection.execute("COMMIT")


def _count(session: "DuckDBSession", sql: str) -> int:
    row = session.connection.execute(sql).fetchone()
    return int(row[0]) if row else 0


def _insert(session: "DuckDBSession", tree: exp.Insert) -> dict[str, int]:
    """INSERT INTO, also with REPLACE WHERE, and INSERT OVERWRITE."""
    condition = tree.args.get("where")
    if condition is not None or tree.args.get("overwrite"):
        # the new rows are read before the old ones go: they may come from the same table
        arriving = to_duckdb(tree.expression)
        session.connection.execute(f"CREATE OR REPLACE TEMP TABLE {ARRIVING} AS {arriving}")
        target = _table(tree.this)
        delete = exp.Delete(this=target.copy())
        if condition is not None:
            _must_fit(session, tree, condition)
            delete.set("where", exp.Where(this=condition.copy()))
        session.connection.execute(to_duckdb(delete))
        tree.set("where", None)
        tree.set("overwrite", None)
        tree.set("is_function", None)
        tree.set("expression", exp.select("*").from_(ARRIVING))
    inserted = _count(session, to_duckdb(tree))
    session.connection.execute(f"DROP TABLE IF EXISTS temp.main.{ARRIVING}")
    return {"num_inserted_rows": inserted}


def _must_fit(session: "DuckDBSession", tree: exp.Insert, condition: exp.Expr) -> None:
    """Delta refuses to replace what `REPLACE WHERE` names by rows that lie outside it."""
    target = to_duckdb(_table(tree.this).copy())
    names = (
        [column.name for column in tree.this.expressions]
        if isinstance(tree.this, exp.Schema)
        else [row[0] for row in session.connection.execute(f"DESCRIBE {target}").fetchall()]
    )
    arriving = f'"{ARRIVING}"'
    if not tree.args.get("by_name"):
        quoted = ", ".join(exp.to_identifier(name, quoted=True).sql("duckdb") for name in names)
        arriving = f"{ARRIVING} AS arriving({quoted})"
    fits = to_duckdb(condition.copy())
    outside = _count(
        session, f"SELECT count(*) FROM {arriving} WHERE NOT coalesce(({fits}), false)"
    )
    if outside:
        said = f"Written data does not conform to partial table overwrite condition: {outside} rows"
        raise SqlError("DELTA_REPLACE_WHERE_MISMATCH", f"{said}.", "44000")


def _merge(session: "DuckDBSession", tree: exp.Merge) -> dict[str, int]:
    actions = session.connection.execute(f"{to_duckdb(tree)} RETURNING merge_action").fetchall()
    names = {
        "UPDATE": "num_updated_rows",
        "DELETE": "num_deleted_rows",
        "INSERT": "num_inserted_rows",
    }
    return {column: sum(action == name for (action,) in actions) for name, column in names.items()}


def _keep_checks(
    session: "DuckDBSession", table: exp.Table, error_class: str, sqlstate: str
) -> None:
    """Each CHECK must be true of each row; for Delta, unlike for the standard, null is not true."""
    for name, check in session.log.checks(session.key(table)).items():
        tree = parse(f"SELECT count(*) FROM t WHERE NOT coalesce(({check}), false)")
        named = tree.find(exp.Table)
        assert named is not None
        named.replace(table.copy())
        broken = _count(session, to_duckdb(tree))
        if broken:
            said = f"CHECK constraint {name} ({check}) violated by {broken} rows."
            raise SqlError(error_class, said, sqlstate)


def _table(target: exp.Expr) -> exp.Table:
    """The table that a statement writes: without its column list, and without an alias."""
    found = target.this if isinstance(target, exp.Schema) else target
    assert isinstance(found, exp.Table)
    plain = found.copy()
    plain.set("alias", None)
    return plain


def define(session: "DuckDBSession", tree: exp.Expr, parameters: Sequence[Parameter]) -> Result:
    """CREATE, DROP, ALTER, COMMENT."""
    if isinstance(tree, exp.Create):
        return _create(session, tree, parameters)
    if isinstance(tree, exp.Drop):
        session.connection.execute(to_duckdb(tree))
        if tree.kind == "TABLE":
            dropped = tree.find(exp.Table)
            assert dropped is not None
            session.log.forget(session.key(dropped))
        return NOTHING
    if isinstance(tree, exp.Alter):
        return _alter(session, tree)
    session.connection.execute(to_duckdb(tree))
    return NOTHING


def _create(session: "DuckDBSession", tree: exp.Create, parameters: Sequence[Parameter]) -> Result:
    if tree.kind not in ("TABLE", "VIEW", "SCHEMA"):
        raise unsupported(f"CREATE {tree.kind}")
    comments = _column_comments(tree)
    plain = tree.copy()
    # USING DELTA, PARTITIONED BY, CLUSTER BY, TBLPROPERTIES: how the rows lie on disk
    temporary = [
        found for found in plain.find_all(exp.TemporaryProperty) if found.parent is not None
    ]
    plain.set("properties", exp.Properties(expressions=temporary) if temporary else None)
    if isinstance(plain.this, exp.Schema):
        plain.this.set("expressions", [_column(c) for c in plain.this.expressions if _is_column(c)])
    elif tree.kind == "TABLE" and plain.expression is None:
        raise unsupported("CREATE TABLE without columns")
    there_already = tree.kind == "TABLE" and session.log.of(session.key(_table(tree.this)))
    with _transaction(session):
        session.connection.execute(to_duckdb(plain, parameters))
        for column, comment in comments.items():
            table = _table(tree.this)
            quoted = exp.to_identifier(column, quoted=True).sql("duckdb")
            said = exp.Literal.string(comment).sql("duckdb")
            session.connection.execute(f"COMMENT ON COLUMN {to_duckdb(table)}.{quoted} IS {said}")
    if tree.kind == "TABLE" and not (there_already and tree.args.get("exists")):
        key = session.key(_table(tree.this))
        if there_already:
            there_already.checks.clear()
        words = ["CREATE", *(["OR", "REPLACE"] if tree.args.get("replace") else []), "TABLE"]
        session.log.add(key, " ".join(words + (["AS", "SELECT"] if tree.expression else [])))
    return NOTHING


def _is_column(definition: exp.Expr) -> bool:
    return isinstance(definition, (exp.ColumnDef, exp.Identifier))


def _column(definition: exp.Expr) -> exp.Expr:
    if isinstance(definition, exp.ColumnDef):
        kept = [c for c in definition.constraints if isinstance(c.kind, KEPT_COLUMN_CONSTRAINTS)]
        definition.set("constraints", kept)
    return definition


def _column_comments(tree: exp.Create) -> dict[str, str]:
    if tree.kind != "TABLE" or not isinstance(tree.this, exp.Schema):
        return {}
    return {
        column.name: constraint.kind.this.name
        for column in tree.this.expressions
        if isinstance(column, exp.ColumnDef)
        for constraint in column.constraints
        if isinstance(constraint.kind, exp.CommentColumnConstraint)
    }


def _alter(session: "DuckDBSession", tree: exp.Alter) -> Result:
    table = _table(tree.this)
    log = session.log.of(session.key(table))
    for action in tree.args["actions"]:
        if log is None:
            raise SqlError(
                "TABLE_OR_VIEW_NOT_FOUND", f"{table.sql(DIALECT)} is not there.", "42P01"
            )
        if isinstance(action, exp.AddConstraint):
            _add_constraint(session, table, action)
        elif isinstance(action, exp.Drop) and action.kind == "CONSTRAINT":
            (dropped,) = action.args["tables"]
            name = dropped.name.lower()
            if log.checks.pop(name, None) is None and not action.args.get("exists"):
                raise SqlError("DELTA_CONSTRAINT_DOES_NOT_EXIST", f"No constraint {name}.", "42704")
        elif not isinstance(action, exp.AlterSet):  # SET TBLPROPERTIES changes no row
            # DuckDB adds one column at a time
            for change in action.expressions if isinstance(action, exp.Schema) else [action]:
                alter = exp.Alter(this=table.copy(), kind="TABLE", actions=[_column(change.copy())])
                session.connection.execute(to_duckdb(alter))
        session.log.add(session.key(table), "ALTER TABLE")
    return NOTHING


def _add_constraint(session: "DuckDBSession", table: exp.Table, action: exp.AddConstraint) -> None:
    log = session.log.of(session.key(table))
    assert log is not None
    for constraint in action.expressions:
        check = constraint.find(exp.CheckColumnConstraint)
        if check is None:
            continue  # PRIMARY KEY and FOREIGN KEY are information only
        name = constraint.name.lower()
        if name in log.checks:
            said = f"Constraint '{name}' already exists."
            raise SqlError("DELTA_CONSTRAINT_ALREADY_EXISTS", said, "42710")
        log.checks[name] = check.this.sql(DIALECT)
        try:
            _keep_checks(session, table, "DELTA_NEW_CHECK_CONSTRAINT_VIOLATION", "23512")
        except SqlError:
            del log.checks[name]
            raise

"""Databricks SQL as DuckDB's, beyond what sqlglot turns over by itself.

Each rule here stands for something that a real warehouse does and DuckDB does not, or otherwise.
"""

import json
from collections.abc import Iterator, Sequence

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel, UnsupportedError

from audit_pipeline_tests.databricks.local_warehouse.duckdb_functions import translated_function
from audit_pipeline_tests.databricks.local_warehouse.duckdb_spellings import said_otherwise
from audit_pipeline_tests.databricks.local_warehouse.engine import CATALOG, SqlError
from audit_pipeline_tests.databricks.local_warehouse.parameters import Parameter
from audit_pipeline_tests.databricks.local_warehouse.statements import DIALECT, unsupported

INTERNAL_CATALOG = "unity"
"""DuckDB reserves the name `main`, so the catalog `main` is held under another name."""

INFORMATION_SCHEMA = "information_schema"
SNAPSHOT_PREFIX = "information_schema_"
"""`main.information_schema.tables` is read from a table of this prefix, made for the statement."""


def to_duckdb(tree: exp.Expr, parameters: Sequence[Parameter] = ()) -> str:
    """The SQL of DuckDB for a tree of Databricks SQL.

    Raises:
        SqlError: a parameter is missing, or sqlglot knows no way to say it.
    """
    translated = bound(tree, parameters)
    # from the leaves up, so that what is put around a node is not turned over a second time
    for node in reversed(list(translated.walk())):
        replaced = _translated(node)
        if node is translated:
            translated = replaced
        elif replaced is not node:
            node.replace(replaced)
    try:
        return translated.sql("duckdb", unsupported_level=ErrorLevel.RAISE)
    except UnsupportedError as error:
        raise unsupported(str(error)) from error


def bound(tree: exp.Expr, parameters: Sequence[Parameter]) -> exp.Expr:
    """The tree with each marker replaced by a literal of its parameter's type.

    Literals are nodes of the tree and are quoted when it is written out, so that a value cannot
    become SQL; and unlike bound values they may stand in every statement, also in DDL.
    """
    named = {p.name.lower(): p for p in parameters if p.name}
    in_order = iter([p for p in parameters if not p.name])
    copied = tree.copy()
    for marker in list(copied.find_all(exp.Placeholder)):
        parameter = named.get(marker.name.lower()) if marker.this else next(in_order, None)
        if parameter is None:
            raise SqlError(
                "UNBOUND_SQL_PARAMETER",
                f"Found the unbound parameter: {marker.name or '?'}.",
                "42P02",
            )
        marker.replace(_literal(parameter))
    return copied


def named_information_schema(tree: exp.Expr) -> set[str]:
    """Which tables of `information_schema` a tree reads."""
    return {
        table.name.lower()
        for table in tree.find_all(exp.Table)
        if table.db.lower() == INFORMATION_SCHEMA
    }


def _literal(parameter: Parameter) -> exp.Expr:
    base = parameter.type.partition("<")[0]
    if base == "ARRAY":
        return exp.Array(expressions=[_literal(element) for element in parameter.elements])
    if base == "MAP":
        written = [_literal(element) for element in parameter.elements]
        keys, values = exp.Array(expressions=written[::2]), exp.Array(expressions=written[1::2])
        return exp.Map(keys=keys, values=values)
    if parameter.text is None or base == "VOID":
        return exp.null()
    if base == "STRING":
        # without a cast: beside a date it is one, as a text is for Databricks
        return exp.Literal.string(parameter.text)
    kind = exp.DataType.build(parameter.type, dialect=DIALECT)
    return exp.Cast(this=exp.Literal.string(parameter.text), to=kind)


def _translated(node: exp.Expr) -> exp.Expr:
    node = said_otherwise(node)
    if isinstance(node, (exp.Table, exp.Column)):
        return _named(node)
    if isinstance(node, exp.Div):
        return _divided(node)
    if isinstance(node, exp.FromJson):
        return _from_json(node)
    if isinstance(node, exp.Inline) and not isinstance(node.parent, exp.Lateral):
        return _unnested(node.this)
    # DuckDB calls the catalog a database; Databricks' current_database() is the schema
    if isinstance(node, exp.CurrentDatabase):
        return exp.func("current_schema")
    if isinstance(node, exp.CurrentCatalog):
        return exp.Literal.string(CATALOG)
    return translated_function(node)


def _named(node: exp.Table | exp.Column) -> exp.Expr:
    """Names of tables: the catalog's, and those of `information_schema`."""
    if isinstance(node, exp.Table) and isinstance(node.this, exp.Anonymous):
        return _table_function(node)
    if isinstance(node, exp.Table) and node.db.lower() == INFORMATION_SCHEMA:
        made = exp.to_identifier(SNAPSHOT_PREFIX + node.name.lower())
        return exp.Table(this=made, alias=node.args.get("alias") or _as(node.name))
    if node.text("catalog").lower() == CATALOG:
        node.set("catalog", exp.to_identifier(INTERNAL_CATALOG))
    return node


def _table_function(node: exp.Table) -> exp.Expr:
    """`FROM inline(…)` stands in a projection on DuckDB; the column of `range` is called `id`."""
    called = node.this
    if called.name.upper() == "UNNEST":
        chosen = exp.select(called)
    elif called.name.upper() == "RANGE":
        chosen = exp.select(exp.alias_(exp.column("range"), "id")).from_(exp.Table(this=called))
    else:
        return node
    return exp.Subquery(this=chosen, alias=node.args.get("alias"))


def _as(name: str) -> exp.TableAlias:
    return exp.TableAlias(this=exp.to_identifier(name))


def _divided(node: exp.Div) -> exp.Expr:
    """ANSI: a division by zero is an error. DuckDB's is infinity, or not a number."""
    divisor = node.expression.unnest()
    cannot_be_zero = isinstance(divisor, exp.Nullif) or (
        isinstance(divisor, exp.Literal) and float(divisor.this) != 0
    )
    if cannot_be_zero or isinstance(node.parent, exp.If):
        return node
    said = "[DIVIDE_BY_ZERO] Division by zero. Use try_divide to get NULL instead."
    is_zero = exp.EQ(this=exp.paren(node.expression.copy()), expression=exp.Literal.number(0))
    fails = exp.func("error", exp.Literal.string(said))
    return exp.Case(ifs=[exp.If(this=is_zero, true=fails)], default=node.copy())


def _unnested(array: exp.Expr) -> exp.Expr:
    """`inline`: a row for each struct of an array, a column for each field."""
    depth = exp.Kwarg(this=exp.var("max_depth"), expression=exp.Literal.number(2))
    return exp.Anonymous(this="UNNEST", expressions=[array, depth])


def _from_json(node: exp.FromJson) -> exp.Expr:
    """`from_json` takes Databricks' type; DuckDB's takes an example of the shape as JSON."""
    if not isinstance(node.expression, exp.Literal):
        raise unsupported("from_json with a schema that is no literal")
    kind = schema_of(node.expression.name)
    shape = exp.Literal.string(json.dumps(_shape(kind)))
    return exp.Anonymous(this="FROM_JSON", expressions=[node.this, shape])


def schema_of(written: str) -> exp.DataType:
    """What `from_json` is given: a type, or the columns of a struct (`a INT, b STRING`)."""
    try:
        return exp.DataType.build(written, dialect=DIALECT)
    except sqlglot.ParseError:
        return exp.DataType.build(f"STRUCT<{written}>", dialect=DIALECT)


def _shape(kind: exp.DataType) -> object:
    if kind.is_type(exp.DataType.Type.STRUCT):
        return {field.name: _shape(field.args["kind"]) for field in kind.expressions}
    if kind.is_type(exp.DataType.Type.ARRAY):
        return [_shape(kind.expressions[0])]
    return kind.sql("duckdb")


def table_names(tree: exp.Expr) -> Iterator[exp.Table]:
    """The tables that a tree names, without those that it defines itself (`WITH`)."""
    defined = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    for table in tree.find_all(exp.Table):
        if table.db or table.name.lower() not in defined:
            yield table

"""Functions whose meaning differs between Databricks and DuckDB, and sqlglot does not tell."""

from collections.abc import Callable
from typing import Any

import sqlglot
from sqlglot import exp

from audit_pipeline_tests.databricks.local_warehouse.statements import DIALECT

AS_STRING = "memory.main.databricks_string"
UNIX_SECONDS = "memory.main.databricks_unix_timestamp"

MACROS = (
    # an instant is written without its zone, which is that of the session
    f"""CREATE MACRO {AS_STRING}(x) AS CASE typeof(x)
        WHEN 'TIMESTAMP WITH TIME ZONE' THEN regexp_replace(CAST(x AS VARCHAR), '\\+00$', '')
        ELSE CAST(x AS VARCHAR) END""",
    # of an instant, a date or a text alike
    f"CREATE MACRO {UNIX_SECONDS}(x) AS CAST(floor(epoch(CAST(x AS TIMESTAMPTZ))) AS BIGINT)",
)
"""What to define once in a database, for what depends on the type of a value."""

_DEFAULT_FORMAT = sqlglot.parse_one("unix_timestamp(x)", read=DIALECT).args["format"].name


def translated_function(node: exp.Expr) -> exp.Expr:
    """The same for DuckDB; the node itself where there is no difference."""
    for kind, rule in _RULES:
        if type(node) is kind:
            return rule(node)
    return node


def _plus_one(node: exp.Expr) -> exp.Expr:
    """Sunday is 1 for Databricks and 0 for DuckDB."""
    return exp.paren(exp.Add(this=node.copy(), expression=exp.Literal.number(1)))


def _extracted(node: exp.Extract) -> exp.Expr:
    part = node.name.upper()
    if part in ("DAYOFWEEK_ISO", "DOW_ISO"):
        node.set("this", exp.var("ISODOW"))
    return _plus_one(node) if part in ("DAYOFWEEK", "DOW") else node


def _cast(node: exp.Cast) -> exp.Expr:
    if node.to.is_type(exp.DataType.Type.TEXT):
        return exp.Anonymous(this=AS_STRING, expressions=[node.this])
    if node.to.this == exp.DataType.Type.TIMESTAMP:
        # to_timestamp, which gives an instant, is parsed as a cast to a time without a zone
        node.set("to", exp.DataType.build("TIMESTAMPTZ"))
    return node


def _unix_timestamp(node: exp.StrToUnix) -> exp.Expr:
    if node.args["format"].name != _DEFAULT_FORMAT:
        return node
    return exp.Anonymous(this=UNIX_SECONDS, expressions=[node.this])


def _percentile(node: exp.Quantile) -> exp.Expr:
    """Databricks' percentile lies between two values; DuckDB's quantile is one of them."""
    return exp.Anonymous(this="QUANTILE_CONT", expressions=[node.this, node.args["quantile"]])


def _by_name(node: exp.Anonymous) -> exp.Expr:
    name, given = node.name.upper(), node.expressions
    if name == "WEEKDAY":  # Monday is 0
        iso = exp.Anonymous(this="ISODOW", expressions=given)
        return exp.paren(exp.Sub(this=iso, expression=exp.Literal.number(1)))
    if name == "TIMESTAMP_SECONDS":
        return exp.Anonymous(this="TO_TIMESTAMP", expressions=given)
    if name == "BROUND":
        digits = given[1] if len(given) > 1 else exp.Literal.number(0)
        return exp.Anonymous(this="ROUND_EVEN", expressions=[given[0], digits])
    return node


_RULES: tuple[tuple[type[exp.Expr], Callable[[Any], exp.Expr]], ...] = (
    (exp.DayOfWeek, _plus_one),
    (exp.Extract, _extracted),
    (exp.Cast, _cast),
    (exp.StrToUnix, _unix_timestamp),
    (exp.Quantile, _percentile),
    (exp.Anonymous, _by_name),
)

"""Databricks SQL for the audit's SQL, which is written once, in DuckDB's dialect.

sqlglot translates; what it leaves with another meaning is put right here, one small rewrite for
each difference, and what no rewrite knows is refused by name. The session must have its time zone
set to UTC and ANSI mode on, which is a SQL warehouse's default.

Some differences cannot be seen in a text without types, so the SQL itself keeps clear of them: a
double is rounded before it is cast to an integer or a decimal (DuckDB rounds, Spark cuts off or
rounds the shortest decimal), days between dates are `date_diff` (a difference of dates is an
interval in Spark), what `quantile_disc` makes of integers is cast to one (it is a double in Spark),
a double that is shown as text is made a decimal (Java writes 1.0E7), and the length of a list is
`array_length`.
"""

from dataclasses import dataclass
from functools import lru_cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel, SqlglotError

from audit_pipeline.adapters.databricks import rows, values
from audit_pipeline.adapters.databricks.values import NoTranslation

__all__ = ["NoTranslation", "Places", "databricks_sql"]


@dataclass(frozen=True)
class Places:
    """Where the two schemas of the audit's SQL live in the warehouse.

    Attributes:
        gold: template of a gold table's name, with `{}` for the table: "`main`.`gold`.`{}`".
        audit: template of a derived table's name: "`main`.`audit_scratch`.`s1_{}`".
    """

    gold: str
    audit: str

    def of(self, schema: str, table: str) -> str:
        """The full name of a table of the schema `gold` or `audit`."""
        return {"gold": self.gold, "audit": self.audit}[schema].format(table)


@lru_cache(maxsize=1024)
def databricks_sql(sql: str, places: Places) -> str:
    """The same statement in Databricks SQL, with `:name` for `$name`.

    Args:
        sql: one SELECT in DuckDB's dialect, of tables `gold.*` and `audit.*`.
        places: where these are.

    Raises:
        NoTranslation: the text is no single query, or a construct in it has no known equal.
    """
    try:
        trees = sqlglot.parse(sql, read="duckdb", error_level=ErrorLevel.RAISE)
    except SqlglotError as error:
        raise NoTranslation(f"not DuckDB's SQL: {error}") from error
    tree = trees[0] if len(trees) == 1 else None
    if not isinstance(tree, exp.Query):
        raise NoTranslation(f"not one query: {sql[:80]}")
    _refuse_unknown(tree)
    # A rewrite may look at what surrounds its node, so the innermost go first.
    for node in reversed(list(tree.walk())):
        rewrite = REWRITES.get(type(node))
        if rewrite is not None and (new := rewrite(node)) is not node:
            node.replace(new)
    for select in reversed(list(tree.find_all(exp.Select))):
        if select.args.get("qualify"):
            new = rows.without_qualify(select.copy())
            tree = new if select is tree else tree
            select.replace(new)
    _place(tree, places)
    try:
        return tree.sql("databricks", pretty=True, unsupported_level=ErrorLevel.RAISE)
    except SqlglotError as error:
        raise NoTranslation(str(error)) from error


def _refuse_unknown(tree: exp.Expr) -> None:
    for node in tree.find_all(exp.Func, exp.Command, exp.AtTimeZone, exp.WindowSpec):
        if isinstance(node, exp.WindowSpec):
            if node.args.get("exclude"):
                raise NoTranslation(f"no frame of Spark's excludes rows: {node.sql('duckdb')}")
        elif type(node) not in SAME and type(node) not in REWRITES:
            raise NoTranslation(f"no known equal in Databricks SQL: {node.sql('duckdb')}")


def _place(tree: exp.Expr, places: Places) -> None:
    for table in tree.find_all(exp.Table):
        if table.db in ("gold", "audit"):
            alias = table.args.get("alias") or exp.TableAlias(this=exp.to_identifier(table.name))
            placed = exp.to_table(places.of(table.db, table.name), dialect="databricks")
            for part in ("this", "db", "catalog"):
                table.set(part, placed.args.get(part))
            table.set("alias", alias)


REWRITES: dict[type[exp.Expr], values.Rewrite] = {
    exp.Anonymous: rows.by_name,
    exp.ArrayAgg: rows.ordered_list,
    exp.ArrayContains: values.contained,
    exp.ArraySort: rows.array_sort,
    exp.Avg: rows.average,
    exp.Bracket: values.bracket,
    exp.CTE: rows.as_planned,
    exp.Cast: values.typed,
    exp.DateDiff: values.days_between,
    exp.DayOfWeekIso: values.weekday,
    exp.Div: values.division,
    exp.Explode: rows.rows_of,
    exp.Format: values.formatted,
    exp.Levenshtein: values.levenshtein,
    exp.Log: values.logarithm,
    exp.Lower: values.lower,
    exp.PercentileCont: rows.percentile,
    exp.PercentileDisc: rows.percentile_disc,
    exp.RegexpExtract: values.regexp("REGEXP_EXTRACT"),
    exp.RegexpExtractAll: values.regexp("REGEXP_EXTRACT_ALL"),
    exp.RegexpLike: values.regexp("REGEXP_LIKE"),
    exp.RegexpReplace: values.regexp_replace,
    exp.Round: values.rounded,
    exp.Split: values.split,
    exp.TimeToUnix: values.seconds,
    exp.Trim: values.trim,
    exp.Upper: values.upper,
    exp.Window: rows.window,
}
"""What means another thing in Spark, or nothing, as sqlglot writes it."""

SAME: frozenset[type[exp.Expr]] = frozenset(
    {
        exp.Abs,
        exp.And,
        exp.AnyValue,
        exp.ArgMax,
        exp.ArgMin,
        exp.Array,
        exp.ArrayConcat,
        exp.ArrayFilter,
        exp.ArrayPrepend,
        exp.ArraySize,
        exp.ArrayToString,
        exp.Case,
        exp.Ceil,
        exp.Coalesce,
        exp.ConcatWs,
        exp.Contains,
        exp.Count,
        exp.Day,
        exp.Exp,
        exp.First,
        exp.FirstValue,
        exp.Floor,
        exp.GenerateSeries,
        exp.Greatest,
        exp.GroupConcat,
        exp.Hour,
        exp.If,
        exp.Lag,
        exp.Least,
        exp.Left,
        exp.Length,
        exp.Ln,
        exp.MD5,
        exp.Max,
        exp.Min,
        exp.Month,
        exp.Nullif,
        exp.Or,
        exp.Pad,
        exp.Pow,
        exp.Replace,
        exp.Right,
        exp.RowNumber,
        exp.Sign,
        exp.SplitPart,
        exp.Sqrt,
        exp.Struct,
        exp.Substring,
        exp.Sum,
        exp.TimestampTrunc,
        exp.Transform,
        exp.Translate,
        exp.TryCast,
    }
)
"""The functions that sqlglot writes with the meaning that they have in DuckDB."""

"""What is said in Databricks SQL for what DuckDB's SQL means, and what is refused."""

import pytest
import sqlglot
from sqlglot import exp

from audit_pipeline.adapters.databricks.dialect import NoTranslation, Places, databricks_sql
from audit_pipeline.adapters.databricks.regex import java_regex, java_replacement
from audit_pipeline_tests.model.test_query import all_sql

PLACES = Places("`main`.`gold`.`{}`", "`main`.`audit_scratch`.`s1_{}`")


def said(expression: str) -> str:
    """An expression in Databricks SQL, in one line."""
    sql = databricks_sql(f"SELECT {expression} FROM audit.t", PLACES)
    line = " ".join(sql.split()).replace("( ", "(").replace(" )", ")")
    return line.removeprefix("SELECT ").split(" FROM `main`")[0]


@pytest.mark.parametrize(
    ("duckdb", "databricks"),
    [
        ("$limit", ":limit"),
        ("a / b", "CAST(a AS DOUBLE) / b"),
        ("round(a, 2)", "(ROUND((a) * 100) / 100)"),
        ("round(a)", "ROUND(a)"),
        ("avg(a)", "AVG(CAST(a AS DOUBLE))"),
        ("log2(a)", "LOG2(a)"),
        ("isodow(a)", "(WEEKDAY(a) + 1)"),
        ("date_diff('day', a, b)", "DATEDIFF(CAST(b AS DATE), CAST(a AS DATE))"),
        ("a[2]", "GET(a, 1)"),
        ("a[CAST(b AS INTEGER) + 1]", "GET(a, CAST(b AS INT))"),
        ("a[1:3]", "SLICE(a, 1, 3)"),
        ("CAST(a AS TIMESTAMP)", "CAST(a AS TIMESTAMP)"),
        ("CAST('0x' || a AS INTEGER)", "CAST(CONV(a, 16, 10) AS INT)"),
        ("quantile_cont(a, [0.25, 0.75])", "PERCENTILE(a, ARRAY(0.25, 0.75))"),
        (
            "quantile_disc(a, 0.5)",
            "PERCENTILE_DISC(0.5) WITHIN GROUP (ORDER BY a NULLS LAST)",
        ),
        (
            "list(a ORDER BY b)",
            "TRANSFORM(ARRAY_SORT(COLLECT_LIST(STRUCT(b AS key_0, a AS value))), pair -> pair.value)",  # noqa: E501
        ),
        ("string_split(a, '. ')", "SPLIT(a, '[.] ')"),
        (
            "regexp_replace(a, '^x\\s', '\\1')",
            "REGEXP_REPLACE(a, '^x[\\\\t\\\\n\\\\f\\\\r ]', '$1')",
        ),
        ("format('{:,.2f}', a)", "FORMAT_NUMBER(a, 2)"),
        ("lower(a)", "LOWER(TRANSLATE(a, 'İΣ', 'iσ'))"),
    ],
)
def test_the_same_is_said_in_other_words(duckdb: str, databricks: str) -> None:
    assert said(duckdb) == databricks


@pytest.mark.parametrize(
    "duckdb",
    [
        "mad(a)",
        "median(a)",
        "upper(a)",
        "log(10, a)",
        "a[b]",
        "a[b + 1]",
        "a[-1]",
        "a[1:b]",
        "round(a, b)",
        "list(a)",
        "list(a ORDER BY b DESC)",
        "string_split(a, b)",
        "string_split(a, '')",
        "regexp_replace(a, 'x', 'y')",
        "regexp_replace(a, 'x', 'y', 'i')",
        "regexp_matches(a, b)",
        "regexp_matches(a, '(?i)x')",
        "regexp_matches(a, '[a-z&&[^b]]')",
        "regexp_matches(a, '\\A')",
        "format('{:>9}', a)",
        "date_diff('month', a, b)",
        "CAST(unnest(a) AS INTEGER)",
        "strftime(a, '%Y')",
        "sum(a) OVER (ORDER BY b ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING EXCLUDE CURRENT ROW)",
    ],
)
def test_what_is_not_known_is_refused(duckdb: str) -> None:
    with pytest.raises(NoTranslation):
        said(duckdb)


@pytest.mark.parametrize("sql", ["DROP TABLE audit.t", "SELECT 1; SELECT 2", ""])
def test_only_one_query_is_said(sql: str) -> None:
    with pytest.raises(NoTranslation):
        databricks_sql(sql, PLACES)


def test_tables_are_where_the_places_say() -> None:
    """And keep their own name for the columns that are called by it."""
    sql = "SELECT t.a, b.a FROM audit.t JOIN gold.vendors AS b ON b.a = t.a JOIN c ON true"
    assert " ".join(databricks_sql(sql, PLACES).split()) == (
        "SELECT t.a, b.a FROM `main`.`audit_scratch`.`s1_t` AS t"
        " JOIN `main`.`gold`.`vendors` AS b ON b.a = t.a JOIN c ON TRUE"
    )
    flat = databricks_sql("SELECT * FROM gold.vendors", Places("gold_{}", "audit_{}"))
    assert " ".join(flat.split()) == "SELECT * FROM gold_vendors AS vendors"


def test_no_rank_of_a_qualify_is_left_over() -> None:
    """Neither the clause nor, among the columns, what it compares."""
    by_name = "SELECT a, b AS c FROM audit.t QUALIFY row_number() OVER (ORDER BY d) = 1 ORDER BY c"
    said_by_name = sqlglot.parse_one(databricks_sql(by_name, PLACES), read="databricks")
    assert isinstance(said_by_name, exp.Select)
    assert said_by_name.named_selects == ["a", "c"]
    assert not list(said_by_name.find_all(exp.Qualify))
    starred = "SELECT * FROM audit.t QUALIFY row_number() OVER (ORDER BY d) = 1"
    assert "* EXCEPT (rank_0)" in " ".join(databricks_sql(starred, PLACES).split())
    with pytest.raises(NoTranslation):
        databricks_sql("SELECT a FROM audit.t QUALIFY b = 1", PLACES)
    with pytest.raises(NoTranslation):
        databricks_sql(by_name.replace("ORDER BY c", "ORDER BY e"), PLACES)


@pytest.mark.parametrize("name", [*sorted(all_sql())])
def test_every_sql_of_the_agents_is_said(name: str) -> None:
    """Nothing is refused, and what is said is Databricks SQL."""
    sql = databricks_sql(all_sql()[name], PLACES)
    tree = sqlglot.parse_one(sql, read="databricks")
    assert isinstance(tree, exp.Query)
    assert not list(tree.find_all(exp.Qualify, exp.Command))
    for table in tree.find_all(exp.Table):
        assert table.db in ("", "gold", "audit_scratch"), table.sql()


@pytest.mark.parametrize(
    ("pattern", "java"),
    [
        (r"a.b$", r"a[^\n]b\z"),
        (r"[.$\s]\.\$", r"[.$\t\n\f\r ]\.\$"),
        (r"[^]a]x", r"[^]a]x"),
        (r"\p{C}[\p{C}\x{85}]", r"[\p{Cc}\p{Cf}\p{Cs}\p{Co}][\p{Cc}\p{Cf}\p{Cs}\p{Co}\x{85}]"),
        (r"(?:\d+)\w\pL", r"(?:[0-9]+)[0-9A-Za-z_]\pL"),
    ],
)
def test_a_pattern_is_said_to_java(pattern: str, java: str) -> None:
    assert java_regex(pattern) == java


def test_a_replacement_is_said_to_java() -> None:
    assert java_replacement(r"\1 for $2") == r"$1 for \$2"

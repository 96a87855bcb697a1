"""Every statement of an audit has the same rows on Spark, said in Databricks SQL, as on DuckDB."""

import datetime as dt
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
import sqlglot
from hypothesis import strategies as st
from sqlglot import exp

from audit_pipeline.adapters.fixtures import read_fixtures
from audit_pipeline.model.query import Query
from audit_pipeline_tests import small_company
from audit_pipeline_tests.databricks import hostile, parity, spark
from audit_pipeline_tests.model.test_query import all_sql


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[spark.Spark]:
    with spark.started(tmp_path_factory.mktemp("spark")) as session:
        yield session


def audited(engine: spark.Spark, books: Path, days: tuple[dt.date, dt.date], scratch: Path) -> None:
    """The audit of a folder's days, on both engines."""
    snapshot = read_fixtures(books, scratch)
    for name, rows in parity.gold_of(snapshot):
        engine.show(name, rows)
    steps = parity.audit(snapshot, scratch / "derived", *days)
    found = {step.rule_id for step in steps if step.rows.num_rows}
    assert found >= {"RC-01", "AN-01", "CX-03"}, found
    wrong = parity.differences(steps, engine.show, engine.query)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("edits", "of_seed"),
    [
        (300, 0),
        pytest.param(0, 0, marks=pytest.mark.slow),
        *(pytest.param(600, one, marks=pytest.mark.slow) for one in range(1, 5)),
    ],
)
def test_a_company(engine: spark.Spark, tmp_path: Path, edits: int, of_seed: int) -> None:
    """The small company, undisturbed or with hostile cells and copies in all its tables."""
    company = small_company.make()
    company.tables = hostile.disturbed(company.tables, edits, of_seed)
    books = tmp_path / "books"
    books.mkdir()
    for name, rows in company.tables.items():
        (books / f"{name}.json").write_text(json.dumps(rows))
    about = {"name": "disturbed", "as_of": str(small_company.LAST_ON)}
    (books / "about.json").write_text(json.dumps(about))
    audited(engine, books, (small_company.AUDIT_FROM, small_company.LAST_ON), tmp_path)


@pytest.mark.slow
def test_the_demo(engine: spark.Spark, tmp_path: Path) -> None:
    """Its last month."""
    demo = Path(__file__).parents[2] / "fixtures" / "demo"
    audited(engine, demo, (dt.date(2026, 3, 1), dt.date(2026, 3, 31)), tmp_path)


NUMBERS = (0.0, 0.5, -0.5, 1.005, 2.675, 1.115, 0.125, 0.00005, 0.12345, 1e-9, 1 / 3, 99.995, 1e7)


def patterns() -> set[str]:
    """Every expression of the audit's SQL that has a regular expression, made of `a`."""
    found = set[str]()
    for sql in all_sql().values():
        kinds = (exp.RegexpReplace, exp.RegexpExtract, exp.RegexpExtractAll, exp.RegexpLike)
        for node in sqlglot.parse_one(sql, read="duckdb").find_all(*kinds):
            node.set("this", exp.column("a"))
            found.add(node.sql("duckdb"))
    return found


@pytest.mark.parametrize("number", [300, pytest.param(4_000, marks=pytest.mark.slow)])
def test_texts(engine: spark.Spark, number: int) -> None:
    """Every function of a text that the audit's SQL has, and every pattern."""
    texts = [*hostile.PIECES, *hostile.drawn(hostile.texts, number)]
    rows = pa.table({"a": texts, "b": [*texts[7:], *texts[:7]]})
    expressions = [
        *sorted(patterns()),
        *("lower(a)", "trim(a)", "length(a)", "left(a, 3)", "right(a, 4)", "substr(a, 2, 3)"),
        *("rtrim(a, '0')", "split_part(a, '.', 1)", "string_split(a, ' ')", "contains(a, b)"),
        *("levenshtein(a, b)", "md5(a)", "a || b", "translate(a, '01i5', 'olls')", "a < b"),
        *("lpad(a, 2, '0')", "replace(replace(a, 'rn', 'm'), 'vv', 'w')", "string_split(a, ', ')"),
    ]
    compare(engine, rows, expressions)


@pytest.mark.parametrize("number", [300, pytest.param(4_000, marks=pytest.mark.slow)])
def test_numbers_and_days(engine: spark.Spark, number: int) -> None:
    """Every function of numbers and of days; `round` to the last digit."""
    xs = [*NUMBERS, *hostile.drawn(st.floats(-1e9, 1e9), number)]
    xs += [round(n / 1000 + 0.0005, 4) for n in range(number)]
    day = dt.datetime(2024, 2, 25, 23, 59, 59, 999_999)  # noqa: DTZ001
    count = range(len(xs))
    rows = pa.table(
        {
            "x": xs,
            "i": pa.array([n * 7919 % 100_003 - 50_000 for n in count], pa.int64()),
            "d": pa.array([Decimal(n * 104_729 % 1_000_003) / 100 for n in count]).cast(
                pa.decimal128(18, 2)
            ),
            "made_at": pa.array(
                [day + dt.timedelta(hours=7.3 * n) for n in count], pa.timestamp("us")
            ),
        }
    )
    expressions = [
        *(
            "round(x)",
            "round(x, 1)",
            "round(x, 2)",
            "round(x, 4)",
            "round(x, 9)",
            "CAST(floor(x) AS BIGINT)",
        ),
        *(
            "CAST(round(x, 2) AS DECIMAL(18,2))",
            "CAST(round(x, 4) AS DECIMAL(18,4))",
            "CAST(ceil(x) AS BIGINT)",
        ),
        *("CAST(floor(round(log2(d + 1), 9)) AS INTEGER)", "d / 3", "i / 7", "i // 7", "i % 9"),
        *("format('{:,.2f}', x)", "format('{:,}', i)", "format('{:.1f}', x)", "abs(x)", "d % 100"),
        *(
            "CAST(d AS VARCHAR)",
            "CAST(i AS VARCHAR)",
            "ln(abs(x) + 1)",
            "exp(x / 1e9)",
            "CAST(sign(i) AS INTEGER)",
        ),
        *(
            "isodow(made_at)",
            "month(made_at)",
            "day(made_at)",
            "hour(made_at)",
            "CAST(made_at AS DATE)",
            "epoch(made_at)",
        ),
        *(
            "date_trunc('month', made_at)",
            "CAST(made_at AS DATE) + 45",
            "made_at - INTERVAL '7 days'",
        ),
        *(
            "date_diff('day', made_at, TIMESTAMP '2025-03-30 02:30:00')",
            "sqrt(abs(x))",
            "power(2, d)",
        ),
        *("least(x, i, d)", "greatest(x, i)", "d * 1.05", "d * 0.95", "CAST(x AS FLOAT)"),
    ]
    compare(engine, rows, [one for one in expressions if one != "power(2, d)"])


def compare(engine: spark.Spark, rows: pa.Table, expressions: list[str]) -> None:
    columns = ", ".join(f"{one} AS e{place}" for place, one in enumerate(expressions))
    rows = rows.append_column("n", pa.array(range(rows.num_rows)))
    query = Query(f"SELECT n, {columns} FROM audit.examples AS t")
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("CREATE SCHEMA audit")
        connection.register("arriving", rows)
        connection.execute("CREATE TABLE audit.examples AS SELECT * FROM arriving")
        ours = connection.sql(query.sql).to_arrow_table()
    engine.show("audit.examples", rows)
    theirs = engine.query(query)
    wrong = {
        one: said
        for place, one in enumerate(expressions)
        if (said := parity.difference(*(t.select(["n", f"e{place}"]) for t in (ours, theirs))))
    }
    assert not wrong, "\n".join(f"{one}: {said}" for one, said in wrong.items())

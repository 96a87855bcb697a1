"""The local warehouse itself, asked by the real connector: types, parameters, trust, errors."""

import datetime as dt
import itertools
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit_pipeline_tests.databricks.process import LocalWarehouse, WarehouseDidNotStart

sql = pytest.importorskip("databricks.sql", reason="make setup-databricks")
exc = pytest.importorskip("databricks.sql.exc")

UTC = dt.UTC
HOSTILE = (
    "O'Hare",
    "it''s",
    'say "so"',
    "back\\slash",
    "\\'; DROP TABLE t; --",
    "'); DROP TABLE t;--",
    ":x and :y",
    "? ? ?",
    "${x} $1 %s {0}",
    "`tick`",
    "/* */ -- #",
    "line\nfeed\ttab\r",
    "\N{WAVE DASH} ü \N{GRINNING FACE} \u202e\u200b",
    "",
    " ",
    "NULL",
)
BIG = "SELECT id, CAST(id AS STRING) AS s, CAST(id AS DECIMAL(18,2)) AS d FROM range(100000)"


@pytest.fixture
def warehouse(duckdb_warehouse: LocalWarehouse) -> Iterator[LocalWarehouse]:
    """Without faults, before and after."""
    duckdb_warehouse.clear()
    yield duckdb_warehouse
    duckdb_warehouse.clear()


@pytest.fixture(scope="module")
def connection(duckdb_warehouse: LocalWarehouse) -> Iterator[Any]:
    with sql.connect(**duckdb_warehouse.settings().connect_arguments()) as connected:
        yield connected


_numbers = itertools.count(1)


@pytest.fixture
def schema(connection: Any) -> str:
    """A new schema of the catalog `main`."""
    name = f"main.tests_{os.getpid()}_{next(_numbers)}"
    _run(connection, f"CREATE SCHEMA {name}")
    return name


def _run(connection: Any, statement: str, parameters: dict[str, Any] | None = None) -> pa.Table:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall_arrow()


def _value(connection: Any, statement: str, parameters: dict[str, Any] | None = None) -> Any:
    return _run(connection, statement, parameters).column(0)[0].as_py()


# ── starting ────────────────────────────────────────────────────────────────────────────────────


def test_gold_is_there_from_the_start(tmp_path: Path) -> None:
    """And the process ends with the block."""
    (tmp_path / "gold").mkdir()
    pq.write_table(pa.table({"txn_id": ["t1"]}), tmp_path / "gold" / "receipts.parquet")
    with LocalWarehouse("duckdb", data=tmp_path) as warehouse:
        arguments = warehouse.settings().connect_arguments(catalog="main", schema="gold")
        with sql.connect(**arguments) as connected:
            assert _value(connected, "SELECT txn_id FROM receipts") == "t1"
        process = warehouse._process
    assert process is not None
    assert process.returncode == 0


def test_a_warehouse_that_cannot_start_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(WarehouseDidNotStart, match=r"no <schema>/<table>\.parquet in it"),
        LocalWarehouse("duckdb", data=tmp_path),
    ):
        pass


# ── types ───────────────────────────────────────────────────────────────────────────────────────

TYPES = [
    ("DECIMAL(18,2)", Decimal("-12345678901234.56"), pa.decimal128(18, 2)),
    ("TIMESTAMP", dt.datetime(2025, 2, 3, 4, 5, 6, 789, UTC), pa.timestamp("us", "Etc/UTC")),
    ("TIMESTAMP_NTZ", dt.datetime(2025, 2, 3, 4, 5, 6, 789), pa.timestamp("us")),  # noqa: DTZ001
    ("DATE", dt.date(1969, 12, 31), pa.date32()),
    ("STRING", "Zoë \N{GRINNING FACE} \\ 'x'", pa.string()),
    ("BOOLEAN", False, pa.bool_()),
    ("DOUBLE", -0.1, pa.float64()),
    ("FLOAT", 0.5, pa.float32()),
    ("TINYINT", -128, pa.int8()),
    ("SMALLINT", -32768, pa.int16()),
    ("INT", -(2**31), pa.int32()),
    ("BIGINT", 2**63 - 1, pa.int64()),
    ("BINARY", b"\x00\xff", pa.binary()),
    ("ARRAY<STRING>", ["a", None, ""], pa.list_(pa.string())),
    ("ARRAY<DECIMAL(18,2)>", [Decimal("0.10")], pa.list_(pa.decimal128(18, 2))),
    (
        "STRUCT<a INT, b ARRAY<STRING>>",
        {"a": 1, "b": ["x"]},
        pa.struct([("a", pa.int32()), ("b", pa.list_(pa.string()))]),
    ),
    ("MAP<STRING, INT>", [("k", 1)], pa.map_(pa.string(), pa.int32())),
]


@pytest.mark.parametrize(("kind", "value", "arrow"), TYPES, ids=[kind for kind, *_ in TYPES])
def test_a_type_comes_back_as_it_was_stored(
    warehouse: LocalWarehouse,
    connection: Any,
    schema: str,
    tmp_path: Path,
    kind: str,
    value: Any,
    arrow: pa.DataType,
) -> None:
    """From a Parquet file and from the table that is declared with the type, with a null too."""
    folder = tmp_path / schema.partition(".")[2]
    folder.mkdir()
    pq.write_table(pa.table({"x": pa.array([value, None], type=arrow)}), folder / "loaded.parquet")
    assert warehouse.load(tmp_path) == 1
    _run(connection, f"CREATE TABLE {schema}.declared (x {kind}) USING DELTA")
    _run(connection, f"INSERT INTO {schema}.declared SELECT x FROM {schema}.loaded")
    for table in ("loaded", "declared"):
        rows = _run(connection, f"SELECT x FROM {schema}.{table} ORDER BY x IS NULL")
        assert rows.column(0).to_pylist() == [value, None]
        assert _without_field_names(rows.schema.field("x").type) == _without_field_names(arrow)


def _without_field_names(kind: pa.DataType) -> str:
    # the element of a list is called item, element or l, as the writer likes
    if isinstance(kind, pa.ListType):
        return f"list<{_without_field_names(kind.value_type)}>"
    if isinstance(kind, pa.StructType):
        inside = ((kind.field(i).name, kind.field(i).type) for i in range(kind.num_fields))
        return f"struct<{[(name, _without_field_names(inner)) for name, inner in inside]}>"
    return str(kind)


def test_a_result_without_rows_has_its_types(connection: Any) -> None:
    rows = _run(connection, "SELECT CAST(1 AS DECIMAL(18,2)) AS d, current_date() AS t WHERE false")
    assert rows.num_rows == 0
    assert rows.schema.types == [pa.decimal128(18, 2), pa.date32()]


def test_inline_and_by_links_a_result_is_the_same(warehouse: LocalWarehouse) -> None:
    """100,000 rows in the replies, then as files to download (CloudFetch)."""
    results = []
    for by_link in (False, True):
        warehouse.clear()
        arguments = warehouse.settings().connect_arguments(use_cloud_fetch=by_link)
        with sql.connect(**arguments) as connected:
            results.append(_run(connected, BIG))
        chunks = [name for name in warehouse.requests() if name.startswith("CloudFetch/")]
        assert len(chunks) == (5 if by_link else 0)
    inline, linked = results
    assert inline.num_rows == 100_000
    assert linked.equals(inline)


def test_the_bytes_of_an_answer_are_counted(warehouse: LocalWarehouse, connection: Any) -> None:
    """A sum over many rows sends few bytes: what a push-down saves can be seen."""
    warehouse.clear()
    _run(connection, f"SELECT sum(d) FROM ({BIG})")
    pushed_down = warehouse.bytes_sent()
    assert set(pushed_down) == {"ExecuteStatement"}
    warehouse.clear()
    _run(connection, BIG)
    fetched = warehouse.bytes_sent()
    assert fetched["CloudFetch"] > 100 * pushed_down["ExecuteStatement"]
    assert warehouse.statements() == [BIG]


def test_a_slow_statement_is_polled_for(warehouse: LocalWarehouse, connection: Any) -> None:
    before = warehouse.limits(direct_seconds=0)
    try:
        assert _value(connection, "SELECT max(id) FROM range(300000)") == 299_999
    finally:
        warehouse.limits(**before)
    assert "GetOperationStatus" in warehouse.requests()


# ── parameters ──────────────────────────────────────────────────────────────────────────────────

PARAMETERS = [
    True,
    7,
    2**40,
    0.1,
    Decimal("-12.50"),
    "text",
    dt.date(2025, 2, 3),
    dt.datetime(2025, 2, 3, 4, 5, 6, 7, UTC),
    ["a", "O'Hare"],
    [1, 2],
]


@pytest.mark.parametrize("value", PARAMETERS, ids=repr)
def test_a_parameter_of_each_type_comes_back(connection: Any, value: Any) -> None:
    assert _value(connection, "SELECT :x AS x", {"x": value}) == value


def test_a_null_and_a_map_are_parameters_too(connection: Any) -> None:
    assert _value(connection, "SELECT :x AS x", {"x": None}) is None
    given = {"O'Hare": 1, ":x": 2}
    assert dict(_value(connection, "SELECT :x AS x", {"x": given})) == given


@pytest.mark.parametrize("value", HOSTILE)
def test_a_parameter_is_data_and_never_sql(connection: Any, schema: str, value: str) -> None:
    """In a query, in an INSERT, inside JSON, beside a literal that looks like its marker."""
    _run(connection, f"CREATE TABLE {schema}.t (x STRING) USING DELTA")
    _run(connection, f"INSERT INTO {schema}.t VALUES (:x)", {"x": value})
    rows = _run(
        connection,
        f"SELECT x, :x AS again, ':x' AS marker FROM {schema}.t WHERE x = :x",
        {"x": value},
    )
    assert rows.to_pylist() == [{"x": value, "again": value, "marker": ":x"}]

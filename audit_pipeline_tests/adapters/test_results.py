"""A result file: a spreadsheet that opens it runs nothing that a ledger says."""

import csv
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from audit_pipeline.adapters.results import FORMATS, export

TEXTS = {
    "=1+1": "'=1+1",
    "=cmd|' /C calc'!A0": "'=cmd|' /C calc'!A0",
    "+1+1": "'+1+1",
    "-1-1": "'-1-1",
    "@SUM(A1)": "'@SUM(A1)",
    "\t=1": "'\t=1",
    "\r=1": "'\r=1",
    "-12\n=1": "'-12\n=1",
    "-": "'-",
    "-x": "'-x",
    "-1e5": "'-1e5",
    "-12": "-12",
    "+12.50": "+12.50",
    "-0": "-0",
    "1=1": "1=1",
    " =1": " =1",
    "'=1": "'=1",
    'Zoë, "q"': 'Zoë, "q"',
    "": "",
}  # fmt: skip


def read(path: Path, texts: list[str | None]) -> list[list[str]]:
    table = pa.table({
        "n": pa.array(range(len(texts)), pa.int32()),
        "text": pa.array(texts, pa.string()),
        "less": pa.array([-1.5] * len(texts), pa.float64()),
        "money": pa.array([Decimal("-2.50")] * len(texts), pa.decimal128(18, 2)),
    })  # fmt: skip
    with duckdb.connect() as connection:
        connection.register("told", table)
        export(connection, "SELECT * FROM told ORDER BY n DESC", path)
        if path.suffix == ".csv":
            with path.open(encoding="utf-8", newline="") as file:
                return list(csv.reader(file))
        reader = "read_parquet" if path.suffix == ".parquet" else "read_json"
        rows = connection.execute(f"SELECT text FROM {reader}('{path}')").fetchall()
        return [list(row) for row in rows]


def test_no_cell_of_a_csv_is_a_formula(tmp_path: Path):
    """Numbers stay numbers, whether their column is text or not; so does the order."""
    header, *rows = read(tmp_path / "out.csv", list(TEXTS))
    assert header == ["n", "text", "less", "money"]
    assert [row[1] for row in reversed(rows)] == list(TEXTS.values())
    assert {(less, money) for _, _, less, money in rows} == {("-1.5", "-2.50")}
    assert [int(row[0]) for row in rows] == sorted(range(len(TEXTS)), reverse=True)


def test_nothing_stays_nothing(tmp_path: Path):
    assert read(tmp_path / "out.csv", [None])[1][1] == ""


@pytest.mark.parametrize("suffix", sorted(FORMATS.keys() - {".csv"}))
def test_other_files_have_the_text_as_it_is(tmp_path: Path, suffix: str):
    """No spreadsheet runs what they say."""
    rows = read(tmp_path / f"out{suffix}", list(TEXTS))
    assert [row[0] for row in reversed(rows)] == list(TEXTS)

"""A DuckDB to work in, and the file that its result is written to."""

import contextlib
from pathlib import Path

import duckdb

from audit_pipeline.adapters.warehouse import quoted
from audit_pipeline.model.errors import BadUsage

FORMATS = {
    ".csv": "FORMAT csv, HEADER",
    ".parquet": "FORMAT parquet",
    ".json": "FORMAT json, ARRAY true",
    ".jsonl": "FORMAT json",
}
"""The end of a result's name → how it is written."""

_FORMULA, _NUMBER = r"^[=+\-@\t\r]", r"^[+-]?[0-9]+([.][0-9]+)?$"


def prepare(connection: duckdb.DuckDBPyConnection, memory_limit: str, stage: Path) -> None:
    """Set what every work of ours needs; what does not fit into memory is spilled to `stage`."""
    for setting in (
        f"memory_limit = '{memory_limit}'",
        "preserve_insertion_order = false",
        "TimeZone = 'UTC'",
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        f"temp_directory = {quoted(str(stage / 'spill'))}",
    ):
        connection.execute(f"SET {setting}").fetchall()


def export(connection: duckdb.DuckDBPyConnection, sql: str, out: Path) -> None:
    """Write the rows of a query to a file, whole or not at all.

    In CSV a text that a spreadsheet would run as a formula gets an apostrophe before it.

    Raises:
        BadUsage: it cannot be written.
    """
    arriving = out.with_name(f".{out.name}.arriving")
    suffix = out.suffix.lower()
    if suffix == ".csv":
        sql = _without_formulas(connection, sql)
    how = FORMATS[suffix]
    try:
        connection.execute(f"COPY ({sql}) TO {quoted(str(arriving))} ({how})").fetchall()
        arriving.replace(out)
    except (duckdb.IOException, OSError) as error:
        with contextlib.suppress(OSError):
            arriving.unlink(missing_ok=True)
        raise BadUsage(f"cannot write {out}: {str(error).splitlines()[0][:160]}") from error


def _without_formulas(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    """The query with an apostrophe before each text that begins like a formula and is no number."""
    described = connection.execute(f"DESCRIBE {sql}").fetchall()
    cells = ", ".join(
        f"CASE WHEN regexp_matches({name}, '{_FORMULA}')"
        f" AND NOT regexp_matches({name}, '{_NUMBER}') THEN chr(39) || {name} ELSE {name} END"
        f" AS {name}"
        for name in (f'"{column}"' for column, kind, *_ in described if kind == "VARCHAR")
    )
    return f"SELECT * REPLACE ({cells}) FROM ({sql}) AS result" if cells else sql

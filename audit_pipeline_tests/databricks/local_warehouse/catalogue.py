"""The metadata calls: catalogs, schemas, tables and columns, by JDBC's patterns."""

import re
from typing import Any

import pyarrow as pa

from audit_pipeline_tests.databricks.local_warehouse.engine import Session, table_of

TEXT = pa.string()


def fits(pattern: str | None, name: str) -> bool:
    """JDBC's pattern: `%` for any text, `_` for any character, a backslash before either."""
    if pattern in (None, "", "*"):
        return True
    parts = re.findall(r"\\.|.", pattern or "", flags=re.DOTALL)
    signs = {"%": ".*", "_": "."}
    expression = "".join(signs.get(part) or re.escape(part.removeprefix("\\")) for part in parts)
    return re.fullmatch(expression, name, flags=re.IGNORECASE | re.DOTALL) is not None


def catalogs(session: Session) -> pa.Table:
    """TABLE_CAT."""
    names = sorted({catalog for catalog, _ in session.schemas()})
    return table_of({"TABLE_CAT": TEXT}, [(name,) for name in names])


def schemas(session: Session, request: Any) -> pa.Table:
    """TABLE_SCHEM, TABLE_CATALOG."""
    rows = [
        (schema, catalog)
        for catalog, schema in session.schemas()
        if fits(request.catalogName, catalog) and fits(request.schemaName, schema)
    ]
    return table_of({"TABLE_SCHEM": TEXT, "TABLE_CATALOG": TEXT}, rows)


def tables(session: Session, request: Any) -> pa.Table:
    """TABLE_CAT, TABLE_SCHEM, TABLE_NAME, TABLE_TYPE, REMARKS."""
    kinds = {"MANAGED": "TABLE", "VIEW": "VIEW", "TEMPORARY": "VIEW"}
    rows = [
        (found.catalog, found.schema, found.name, kinds[found.kind], "")
        for found in _relations(session, request)
        if not request.tableTypes or kinds[found.kind] in request.tableTypes
    ]
    names = "TABLE_CAT TABLE_SCHEM TABLE_NAME TABLE_TYPE REMARKS".split()
    return table_of(dict.fromkeys(names, TEXT), rows)


def columns(session: Session, request: Any) -> pa.Table:
    """TABLE_CAT, TABLE_SCHEM, TABLE_NAME, COLUMN_NAME, TYPE_NAME, REMARKS, and two more."""
    rows = [
        (
            *(found.catalog, found.schema, found.name, column.name, column.type.upper()),
            *(column.comment or "", position, "YES" if column.nullable else "NO"),
        )
        for found in _relations(session, request)
        for position, column in enumerate(session.columns(found))
        if fits(request.columnName, column.name)
    ]
    texts = "TABLE_CAT TABLE_SCHEM TABLE_NAME COLUMN_NAME TYPE_NAME REMARKS".split()
    kinds = dict.fromkeys(texts, TEXT) | {"ORDINAL_POSITION": pa.int32(), "IS_NULLABLE": TEXT}
    return table_of(kinds, rows)


def _relations(session: Session, request: Any) -> list[Any]:
    return [
        found
        for found in session.relations()
        if fits(request.catalogName, found.catalog)
        and fits(request.schemaName, found.schema)
        and fits(request.tableName, found.name)
    ]

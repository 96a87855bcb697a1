"""`information_schema` as a SQL warehouse has it: `schemata`, `tables`, `columns`."""

import re

import pyarrow as pa

from audit_pipeline_tests.databricks.local_warehouse.engine import (
    CATALOG,
    Session,
    SqlError,
    table_of,
)

TEXT = pa.string()


def snapshot(session: Session, name: str) -> pa.Table:
    """One of its tables, as of now. Temporary views are in none.

    Raises:
        SqlError: there is no such table.
    """
    relations = [found for found in session.relations() if found.kind != "TEMPORARY"]
    if name == "schemata":
        kinds = dict.fromkeys(["catalog_name", "schema_name"], TEXT)
        return table_of(kinds, session.schemas())
    if name == "tables":
        names = "table_catalog table_schema table_name table_type".split()
        rows = [(CATALOG, found.schema, found.name, found.kind) for found in relations]
        return table_of(dict.fromkeys(names, TEXT), rows)
    if name == "columns":
        names = "table_catalog table_schema table_name column_name".split()
        kinds = (
            dict.fromkeys(names, TEXT)
            | {"ordinal_position": pa.int32()}
            | dict.fromkeys(["is_nullable", "full_data_type", "data_type", "comment"], TEXT)
        )
        rows = [
            (
                *(CATALOG, found.schema, found.name, column.name, position),
                "YES" if column.nullable else "NO",
                *(column.type, re.split(r"[(<]", column.type)[0].upper(), column.comment),
            )
            for found in relations
            for position, column in enumerate(session.columns(found))
        ]
        return table_of(kinds, rows)
    raise SqlError(
        "TABLE_OR_VIEW_NOT_FOUND",
        f"The table or view `{CATALOG}`.`information_schema`.`{name}` cannot be found.",
        "42P01",
    )

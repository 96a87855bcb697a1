"""What an audit of fixtures stores is what is declared for Databricks: columns and types."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit_pipeline.adapters.databricks.upload import databricks_type
from audit_pipeline.model.stored import STORED, StoredTable, stored_table
from audit_pipeline_tests.environment import Workplace


def _schema(place: Workplace, table: str) -> pa.Schema:
    """Of the table's Parquet files; all are alike."""
    paths = sorted(place.data_dir.glob(f"derived/*/{table}/audit_on=*/*.parquet"))
    assert paths, f"nothing is stored of {table}"
    schemas = {str(pq.read_schema(path).remove_metadata()) for path in paths}
    assert len(schemas) == 1, schemas
    return pq.read_schema(paths[0])


@pytest.mark.parametrize("table", STORED, ids=lambda table: table.name)
def test_the_files_are_as_declared(audited: Workplace, table: StoredTable):
    schema = _schema(audited, table.name)
    stored = {field.name: databricks_type(field.type) for field in schema}
    assert stored == {column.name: column.kind for column in table.columns}


def test_nothing_is_stored_that_is_not_declared(audited: Workplace):
    folders = {path.parent.name for path in audited.data_dir.glob("derived/*/*/audit_on=*")}
    assert folders - {"flags"} <= {table.name for table in STORED}


def test_a_table_by_its_name():
    assert stored_table("matches").name == "matches"
    with pytest.raises(KeyError):
        stored_table("nothing")

"""Run a local warehouse until standard input ends.

    python -m audit_pipeline_tests.databricks.local_warehouse --engine duckdb --data gold/

Prints one line of JSON: host, port, http_path, ca_file, token, … A process of its own, because
the connector closes forgotten connections inside garbage collection: in the same process, that
asks a server which waits for the same lock.
"""

import argparse
import contextlib
import json
import sys
import tempfile
from pathlib import Path

from audit_pipeline_tests.databricks.local_warehouse.engine import Engine, load_folder
from audit_pipeline_tests.databricks.local_warehouse.server import WarehouseServer

ENGINES = ("duckdb", "spark", "sail")


def main() -> None:
    """Start, say where, and wait for the end."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--engine", choices=ENGINES, default="duckdb")
    parser.add_argument("--data", type=Path, help="<schema>/<table>.parquet, for catalog main")
    parser.add_argument("--home", type=Path, help="a folder to keep its name and certificate in")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="local-warehouse-") as folder:
        engine = make_engine(options.engine, Path(folder))
        with contextlib.closing(engine):
            if options.data:
                load_folder(engine, options.data)
            with WarehouseServer(engine, options.home or Path(folder)) as server:
                sys.stdout.write(json.dumps(server.described()) + "\n")
                sys.stdout.flush()
                sys.stdin.read()


def make_engine(name: str, folder: Path) -> Engine:
    """The engine of that name; each needs packages that the others do not."""
    if name == "duckdb":
        from audit_pipeline_tests.databricks.local_warehouse.duckdb_engine import DuckDBEngine

        return DuckDBEngine()
    if name == "spark":
        from audit_pipeline_tests.databricks.local_warehouse.spark_engine import SparkEngine

        return SparkEngine(folder)
    from audit_pipeline_tests.databricks.local_warehouse.sail_engine import SailEngine

    return SailEngine(folder)


if __name__ == "__main__":
    main()

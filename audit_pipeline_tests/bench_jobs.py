"""What the run worker fetches from the warehouse, with heavy steps in jobs and without.

    python -m audit_pipeline_tests.bench_jobs

The small company's thirty days, against a local warehouse; two audits, some minutes.
"""

import tempfile
from collections import Counter
from pathlib import Path

from audit_pipeline_tests.databricks.job_cluster import bytes_by_program, job_environment
from audit_pipeline_tests.databricks.process import LocalWarehouse
from audit_pipeline_tests.databricks.staging import staged
from audit_pipeline_tests.environment import why_not
from audit_pipeline_tests.small_company import AUDIT_FROM, AUDIT_TO, make


def main() -> None:
    """Audit twice and print the bytes of the warehouse's replies."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        books = make().write(home / "gold")
        for name, is_job in (("in the run worker", False), ("in jobs", True)):
            sent = _audited(home / name, books, is_job=is_job)
            print(f"heavy steps {name}: {dict(sent)} bytes of replies")


def _audited(home: Path, books: Path, *, is_job: bool) -> Counter[str]:
    home.mkdir()
    with LocalWarehouse("duckdb") as warehouse:
        more = job_environment(warehouse) if is_job else {}
        with staged(home, books, warehouse, more) as place, place.instance() as instance:
            warehouse.clear()
            result = place.audit(instance, AUDIT_FROM, AUDIT_TO)
            if not result.success:
                raise SystemExit(why_not(result))
            return bytes_by_program(warehouse)


if __name__ == "__main__":
    main()

"""How many bytes an audit fetches from the warehouse, beside the table that it audits.

    python -m audit_pipeline_tests.bench_databricks --rows 1000000

An invented company is loaded into a local warehouse, and a day (its last) is audited there through
the real connector. Counted are the bodies of the replies, as they go over the wire (Arrow, LZ4),
by what asked for them. The anchor, in the same run, is a client that fetches the ledger itself.
"""

import argparse
import datetime as dt
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from audit_pipeline.adapters.databricks.warehouse import DatabricksWarehouse
from audit_pipeline.adapters.fixtures import read_fixtures
from audit_pipeline.books import HEAVY, TABLES, Books
from audit_pipeline.model.query import Query
from audit_pipeline.settings import load_rules, rules_text
from audit_pipeline_tests.bench import table
from audit_pipeline_tests.books_of import AGENTS
from audit_pipeline_tests.databricks.process import LocalWarehouse
from audit_pipeline_tests.databricks.staging import gold_files, set_up, workspace_of


class Counted:
    """Bytes since the last look."""

    def __init__(self, warehouse: LocalWarehouse) -> None:
        self._warehouse = warehouse
        self.by: dict[str, int] = {}

    def of(self, what: str, work: Callable[[], object]) -> None:
        """Do it, and count what was fetched for it."""
        self._warehouse.clear()
        began = time.monotonic()
        work()
        sent = sum(self._warehouse.bytes_sent().values())
        self.by[what] = self.by.get(what, 0) + sent
        print(f"{time.monotonic() - began:7.1f} s {sent:12,} B  {what}", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a Markdown table; progress goes to stderr."""
    parser = argparse.ArgumentParser(
        prog="bench_databricks", description=str(__doc__).splitlines()[0]
    )
    parser.add_argument("--rows", type=int, default=1_000_000, help="ledger entries over a year")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-databricks-") as home:
        return _run(Path(home), asked.rows)


def _run(home: Path, rows: int) -> int:
    module = "audit_pipeline_tests.bench_company"
    command = [sys.executable, "-m", module, str(home / "gold"), "--rows", str(rows)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    snapshot = read_fixtures(home / "gold", home / "data")
    rules = load_rules(rules_text(None))
    with LocalWarehouse("duckdb", gold_files(snapshot, home / "loaded")) as warehouse:
        names = {"AUDIT_POPULATION": "bench", "AUDIT_AS_OF": snapshot.horizon.isoformat()}
        workspace = workspace_of(warehouse, **names)
        set_up(workspace)
        counted = Counted(warehouse)
        with closing(DatabricksWarehouse(workspace)) as gold:
            ledger = Query("SELECT * FROM gold.recent_transactions")
            counted.of("the ledger itself", lambda: _drain(gold, ledger))
            _audit(counted, Books(gold, rules, snapshot.horizon, snapshot.horizon))
    _report(counted.by, rows, snapshot.horizon)
    return 0


def _drain(gold: DatabricksWarehouse, query: Query) -> int:
    return sum(batch.num_rows for batch in gold.batches(query))


def _audit(counted: Counted, books: Books) -> None:
    """Every derived table and every rule, each counted under what it is."""
    for name in TABLES:
        kind = "made by Python" if name in HEAVY else "made by SQL"
        counted.of(f"{kind}: {name}", lambda name=name: books.need(name))
    for agent in AGENTS.values():
        for query in agent.findings(books.rules, books.from_on, books.to_on).values():
            counted.of("findings", lambda query=query: books.warehouse.query(query))
    suspects = books.warehouse.query(
        Query(
            "SELECT audit_on, transaction_id, CAST(50 AS INTEGER) AS points"
            " FROM audit.transactions WHERE audit_on = $to_on ORDER BY transaction_id LIMIT 20",
            {"to_on": books.to_on},
        )
    )
    counted.of("documents: searched for", lambda: books.warehouse.query(books.enrich(suspects)))


def _report(by: dict[str, int], rows: int, on: dt.date) -> None:
    whole = by.pop("the ledger itself")
    groups: dict[str, int] = {}
    for what, size in by.items():
        kind = what.split(":")[0]
        groups[kind] = groups.get(kind, 0) + size
    lines = [("the ledger itself", f"{whole:,}", "100 %")]
    for kind, size in [*groups.items(), ("all", sum(groups.values()))]:
        lines.append((kind, f"{size:,}", f"{100 * size / whole:.2f} %"))
    print(f"{rows:,} ledger entries, the audit of {on}; bytes fetched by the client\n")
    print(table(("what", "bytes", "of the ledger"), lines))


if __name__ == "__main__":
    sys.exit(main())

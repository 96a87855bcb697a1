"""What a Delta table knows beside its rows: its versions, and its CHECK constraints."""

import datetime as dt
import threading
from dataclasses import dataclass, field

import pyarrow as pa

from audit_pipeline_tests.databricks.local_warehouse.engine import TIME_ZONE, SqlError, table_of

Key = tuple[str, str]
"""Schema and table."""


@dataclass(frozen=True)
class Version:
    """One commit: `metrics` are counts, written out as Delta does."""

    number: int
    at: dt.datetime
    operation: str
    metrics: dict[str, str]


@dataclass
class TableLog:
    """Of one table: its versions from 0 on, and the checks that its rows keep."""

    versions: list[Version] = field(default_factory=list[Version])
    checks: dict[str, str] = field(default_factory=dict[str, str])


class DeltaLog:
    """The logs of all tables of an engine whose own tables keep none."""

    def __init__(self) -> None:
        self._tables: dict[Key, TableLog] = {}
        self._lock = threading.RLock()

    def add(
        self,
        key: Key,
        operation: str,
        metrics: dict[str, int] | None = None,
        at: dt.datetime | None = None,
    ) -> None:
        """A commit to a table, made when it is the first."""
        with self._lock:
            log = self._tables.setdefault(key, TableLog())
            written = {name: str(count) for name, count in (metrics or {}).items()}
            version = Version(len(log.versions), at or dt.datetime.now(dt.UTC), operation, written)
            log.versions.append(version)

    def of(self, key: Key) -> TableLog | None:
        """The log of a table; None for one that never was."""
        with self._lock:
            return self._tables.get(key)

    def checks(self, key: Key) -> dict[str, str]:
        """The CHECK constraints of a table by name, in the words of Databricks."""
        log = self.of(key)
        return dict(log.checks) if log else {}

    def forget(self, key: Key) -> None:
        """The table was dropped."""
        with self._lock:
            self._tables.pop(key, None)


def history_table(log: DeltaLog, key: Key, limit: int | None) -> pa.Table:
    """DESCRIBE HISTORY: the newest first.

    Raises:
        SqlError: there is no such table.
    """
    found = log.of(key)
    if found is None:
        said = f"The table or view `{'.'.join(key)}` cannot be found."
        raise SqlError("TABLE_OR_VIEW_NOT_FOUND", said, "42P01")
    text = pa.string()
    kinds = {
        "version": pa.int64(),
        "timestamp": pa.timestamp("us", TIME_ZONE),
        "userName": text,
        "operation": text,
        "operationMetrics": pa.map_(text, text),
        "readVersion": pa.int64(),
    }
    rows = [
        (
            *(commit.number, commit.at, "local-principal", commit.operation),
            *(list(commit.metrics.items()), commit.number - 1 if commit.number else None),
        )
        for commit in found.versions[::-1][:limit]
    ]
    return table_of(kinds, rows)

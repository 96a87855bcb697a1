"""What a Delta table knows beside its rows: its versions, and its CHECK constraints."""

import datetime as dt
import threading
from dataclasses import dataclass, field

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

    def add(self, key: Key, operation: str, metrics: dict[str, int] | None = None) -> None:
        """A commit to a table, made when it is the first."""
        with self._lock:
            log = self._tables.setdefault(key, TableLog())
            written = {name: str(count) for name, count in (metrics or {}).items()}
            now = dt.datetime.now(dt.UTC)
            log.versions.append(Version(len(log.versions), now, operation, written))

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

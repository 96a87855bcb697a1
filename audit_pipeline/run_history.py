"""Dagster's event log on SQLite, without the waiting.

The stock storage opens, commits and closes the file for every event: 60 ms each on an ordinary
disk, and a run over 90 days writes more than a thousand of them. This one keeps connections open,
lets WAL decide when to flush, and writes a batch of events in one transaction; what is written is
the same. `dagster.yaml` names it; production keeps its run history in Postgres.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from dagster import EventLogEntry
from dagster._core.events import ASSET_EVENTS
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine, event, func, select
from sqlalchemy.pool import StaticPool

SHARDS_OPEN_MAX = 8
BUSY_SECONDS_MAX = 30
os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "1000")


class RunHistory(SqliteEventLogStorage):
    """`SqliteEventLogStorage` with open connections and batched writes.

    Durable against a crash of the process; after a crash of the machine the last moments of a
    run's log may be missing, as `synchronous = NORMAL` means. Flags and trail are not kept here.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._tables: set[str] = set()
        self._turn = threading.RLock()
        super().__init__(base_dir, inst_data)

    @classmethod
    def config_type(cls) -> Any:
        """No configuration: the place is `history/runs` under DAGSTER_HOME, as it always was."""
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, object]
    ) -> Self:
        """The storage of this DAGSTER_HOME."""
        del config_value
        return cls(str(Path(os.environ["DAGSTER_HOME"]) / "history" / "runs"), inst_data)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """All asset events in one transaction for each of the two files they go to."""
        batch = [entry for entry in events if entry.dagster_event_type in ASSET_EVENTS]
        for entry in events:
            if entry.dagster_event_type not in ASSET_EVENTS:
                self.store_event(entry)
        if not batch:
            return
        rows = [self._event_to_row(entry) for entry in batch]
        with self.run_connection(batch[0].run_id) as connection:
            connection.execute(SqlEventLogStorageTable.insert(), rows)
        with self.index_connection() as connection:
            connection.execute(SqlEventLogStorageTable.insert(), rows)
            # Ours are the last rows: the insert holds the write lock until the commit.
            last_id = connection.scalar(select(func.max(SqlEventLogStorageTable.c.id))) or 0
            ids = range(last_id - len(rows) + 1, last_id + 1)
            self._store_asset_event_tags(connection, batch, ids)
            # An asset's own entry shows its latest event of each type only.
            latest = {
                (entry.get_dagster_event().asset_key, entry.dagster_event_type): (entry, event_id)
                for entry, event_id in zip(batch, ids, strict=True)
            }
            for entry, event_id in latest.values():
                self._store_asset_event(connection, entry, event_id)

    def has_table(self, table_name: str) -> bool:
        """Asked for every event; a table that is there stays there."""
        if table_name not in self._tables:
            if not super().has_table(table_name):
                return False
            self._tables.add(table_name)
        return True

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._turn, self._engine_of(shard).begin() as connection:
            yield connection

    def _engine_of(self, shard: str) -> Engine:
        engine = self._engines.pop(shard, None)
        if engine is None:
            engine = create_engine(
                self.conn_string_for_shard(shard),
                poolclass=StaticPool,
                connect_args={"timeout": BUSY_SECONDS_MAX, "check_same_thread": False},
            )
            event.listen(engine, "connect", _less_flushing)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
        self._engines[shard] = engine
        while len(self._engines) > SHARDS_OPEN_MAX:
            self._engines.popitem(last=False)[1].dispose()
        return engine

    def dispose(self) -> None:
        """Close every file."""
        while self._engines:
            self._engines.popitem()[1].dispose()
        super().dispose()


def _less_flushing(connection: Any, record: object) -> None:
    del record
    connection.execute("PRAGMA synchronous = NORMAL")

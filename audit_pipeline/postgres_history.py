"""Dagster's runs, events and schedules on Postgres, without a connection for each event.

The stock storage opens a connection for every event, and a second one for an asset's, and writes
the events that announce a run's partitions one by one: an audit of 90 days that takes 10 s with
SQLite took 96. This one keeps its connections and writes those events as one statement;
tables and rows are the stock ones. `deploy/dagster.yaml` names it; docs/decisions/0013.
"""

import os
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Self

from dagster import DagsterEventType, EventLogEntry
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._serdes import ConfigurableClassData
from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.storage import DagsterPostgresStorage
from dagster_postgres.utils import pg_url_from_config
from sqlalchemy import Engine, create_engine, make_url

CONNECTIONS_KEPT = 2
CONNECTION_SECONDS_MAX = 1800
PLANNED = DagsterEventType.ASSET_MATERIALIZATION_PLANNED
os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "1000")


class PostgresHistory(DagsterPostgresStorage):
    """`DagsterPostgresStorage` with connections that stay open and batched writes."""

    def __init__(
        self,
        postgres_url: str,
        should_autocreate_tables: bool = True,  # noqa: FBT001, FBT002  # as its base has it
        inst_data: ConfigurableClassData | None = None,
    ) -> None:
        url = make_url(postgres_url)
        if url.drivername in ("postgres", "postgresql"):
            # SQLAlchemy 2.1 takes the bare name for psycopg 3, which is not installed.
            url = url.set(drivername="postgresql+psycopg2")
        address = url.render_as_string(hide_password=False)
        super().__init__(address, should_autocreate_tables, inst_data)
        self._event_log_storage = BatchedEventLog(address, should_autocreate_tables)
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            storage._engine = _engine_of(address, os.getpid())  # noqa: SLF001  # its only seam

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> Self:
        """The storage that `deploy/dagster.yaml` describes."""
        return cls(
            pg_url_from_config(config_value),
            config_value.get("should_autocreate_tables", True),
            inst_data,
        )


class BatchedEventLog(PostgresEventLogStorage):
    """`PostgresEventLogStorage` that writes what a run announces as one statement."""

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """The batch, in one statement where it is of one kind."""
        planned = [e for e in events if e.get_dagster_event().event_type == PLANNED]
        if not planned:
            super().store_event_batch(events)
            return
        for entry in events:
            if entry.get_dagster_event().event_type != PLANNED:
                self.store_event(entry)
        insert = self.prepare_insert_event_batch(planned)
        with self.index_transaction() as connection:
            found = connection.execute(insert.returning(SqlEventLogStorageTable.c.id))
            ids = [row[0] for row in found]
            self._store_asset_event_tags(connection, planned, ids)
            # An asset's own entry shows its latest event only.
            latest = {
                entry.get_dagster_event().asset_key: (entry, event_id)
                for entry, event_id in zip(planned, ids, strict=True)
            }
            for entry, event_id in latest.values():
                self._store_asset_event(connection, entry, event_id)


@cache
def _engine_of(address: str, _process: int) -> Engine:
    """One pool for a process, whose instances come and go with every step; none for its parent's.

    A connection is tried before it is used: Postgres may have been restarted meanwhile.
    """
    return create_engine(
        address,
        isolation_level="AUTOCOMMIT",
        pool_size=CONNECTIONS_KEPT,
        max_overflow=20,
        pool_pre_ping=True,
        pool_recycle=CONNECTION_SECONDS_MAX,
    )

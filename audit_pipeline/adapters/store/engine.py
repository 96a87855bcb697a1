"""Opening a database: the connection's settings, its schema version, the migration to the newest.

Alembic takes 0.15 s to import and longer to run, so it is loaded only when the version that the
database names is not `schema.HEAD`.
"""

import contextlib
import datetime as dt
import logging
import sqlite3
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool

from audit_pipeline.adapters import failpoints
from audit_pipeline.adapters.store.schema import HEAD
from audit_pipeline.model.errors import StoreUnavailable

if TYPE_CHECKING:
    from alembic.config import Config

WAIT_SECONDS_MAX = 60
"""How long a writer waits for the one before it."""

WRITER_LOCK = 0x61756469745F7031
"""The advisory lock (`audit_p1` in ASCII) that a writer on Postgres holds until it commits."""

ADDRESSES = "sqlite:///<file> or postgresql+psycopg2://<user>:<password>@<host>/<database>"

WRITING = "audit_pipeline_writing"
"""The execution option that makes SQLite begin with BEGIN IMMEDIATE."""


def engine_of(url: str) -> Engine:
    """An engine for a store's address, not yet connected; a SQLite file's folder is created.

    Raises:
        StoreUnavailable: the address is not one of SQLite (a file) or Postgres.
    """
    address = _address(url)
    if address.get_backend_name() == "sqlite":
        return _sqlite_engine(address)
    try:
        return create_engine(
            address,
            pool_pre_ping=True,
            # an INSERT … ON CONFLICT of many rows would otherwise travel row by row
            executemany_mode="values_plus_batch",
            executemany_batch_page_size=500,
            connect_args={"connect_timeout": 10, "application_name": "audit_pipeline"},
        )
    except ImportError as fault:
        raise StoreUnavailable(
            f"{shown(url)}: the driver is not installed ({fault}); "
            "install the postgres extra, or use a sqlite:///<file> store"
        ) from fault


def shown(url: str) -> str:
    """The address without its password, for messages."""
    return make_url(url).render_as_string(hide_password=True)


def _address(url: str) -> URL:
    try:
        address = make_url(url)
    except ArgumentError as fault:
        raise StoreUnavailable(f"the store's address cannot be read; write {ADDRESSES}") from fault
    if address.drivername in ("postgres", "postgresql"):
        # SQLAlchemy 2.1 takes the bare name for psycopg 3
        address = address.set(drivername="postgresql+psycopg2")
    in_memory = address.database in (None, "", ":memory:")
    match address.drivername:
        case "postgresql+psycopg2":
            return address
        case "sqlite" | "sqlite+pysqlite" if not in_memory:
            return address
        case _:
            raise StoreUnavailable(f"{shown(url)} is no address of a store; write {ADDRESSES}")


def _sqlite_engine(address: URL) -> Engine:
    folder = Path(str(address.database)).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise StoreUnavailable(
            f"the store's folder {folder} cannot be created ({fault.strerror}); "
            "choose one that you may write to"
        ) from fault
    engine = create_engine(address, max_overflow=100, connect_args={"timeout": WAIT_SECONDS_MAX})

    @event.listens_for(engine, "connect")
    def _settings(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # BEGIN is ours, below
        connection.execute(f"PRAGMA busy_timeout = {WAIT_SECONDS_MAX * 1000}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get(WRITING, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def sqlite_file(url: str) -> Path | None:
    """The file of a SQLite store; None for another kind."""
    address = _address(url)
    is_file = address.get_backend_name() == "sqlite"
    return Path(str(address.database)).absolute() if is_file else None


def read_only_engine(url: str) -> Engine:
    """An engine that can only read, creates nothing and migrates nothing.

    A SQLite file that nobody has open is read as it lies: opened in the usual way, its write-ahead
    log would be created beside it.

    Raises:
        StoreUnavailable: there is no such store.
    """
    file = sqlite_file(url)
    if file is None:
        return engine_of(url)
    if not file.is_file():
        raise StoreUnavailable(f"{shown(url)}: there is no store")
    in_use = file.with_name(file.name + "-wal").exists()
    uri = f"{file.as_uri()}?mode=ro{'' if in_use else '&immutable=1'}"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(uri, uri=True, timeout=WAIT_SECONDS_MAX, isolation_level=None)

    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


@contextlib.contextmanager
def write_connection(engine: Engine) -> Iterator[Connection]:
    """A transaction that no other writer of this database overlaps; commits at the end.

    On Postgres all writers take one advisory lock first, so that a sequence number, a
    read-compare-write of a flag and a decision see the last commit, as on SQLite.
    """
    with engine.connect() as connection, _exclusively(connection) as writing:
        yield writing


@contextlib.contextmanager
def _exclusively(connection: Connection) -> Iterator[Connection]:
    writing = connection.execution_options(**{WRITING: True})
    with writing.begin():
        if writing.dialect.name == "postgresql":
            writing.execute(text(f"SET LOCAL lock_timeout = '{WAIT_SECONDS_MAX}s'"))
            writing.execute(text(f"SELECT pg_advisory_xact_lock({WRITER_LOCK})"))
        yield writing


@contextlib.contextmanager
def read_connection(engine: Engine) -> Iterator[Connection]:
    """A transaction in which every statement sees the same state of the database."""
    with engine.connect() as plain:
        if engine.dialect.name == "postgresql":
            connection = plain.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
        else:
            connection = plain
        with connection.begin():
            yield connection


def prepare(engine: Engine, *, migrate: bool) -> None:
    """Bring the database to `HEAD`, or find it there.

    Raises:
        StoreUnavailable: it cannot be reached, is newer than this code, or is older and
            `migrate` is false.
    """
    name = shown(str(engine.url))
    try:
        with engine.connect() as connection:
            found = version_of(connection)
        if found == HEAD:
            return
        if not migrate:
            raise StoreUnavailable(
                f"{name}: the store's schema is at version {found or 'none'}, this code needs "
                f"{HEAD}; open it once with migration allowed"
            )
        upgrade(engine)
    except DBAPIError as fault:
        raise unavailable(name, fault) from fault


def unavailable(name: str, fault: DBAPIError) -> StoreUnavailable:
    """The one line that a user can act on."""
    said = " ".join(str(fault.orig).split())
    if "locked" in said or "lock timeout" in said:
        remedy = f"another process kept writing for {WAIT_SECONDS_MAX} s; try again when it is done"
    elif "not a database" in said:
        remedy = "the file is something else; move it away, or name another"
    elif "already exists" in said or "no such column" in said or "does not exist" in said:
        remedy = "it holds tables of another system under our names; name an empty database"
    else:
        remedy = "check the address, that the server runs, and that you may write there"
    return StoreUnavailable(f"{name}: {said}; {remedy}")


def version_of(connection: Connection) -> str | None:
    """The migration that the database is at; None before the first."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Migrate up, in one transaction that excludes every other writer and migration.

    Raises:
        StoreUnavailable: the database is at a version that this code does not know.
    """
    with _migrating(engine) as (connection, config):
        from alembic import command
        from alembic.script import ScriptDirectory

        found = version_of(connection)
        known = {step.revision for step in ScriptDirectory.from_config(config).walk_revisions()}
        if found is not None and found not in known:
            raise StoreUnavailable(
                f"{shown(str(engine.url))}: the store's schema is at version {found}, which is "
                f"newer than this code ({HEAD}); install the newer audit-pipeline"
            )
        failpoints.here("migration.before")
        command.upgrade(config, revision)
        _leave_a_trace(connection, found)
        failpoints.here("migration.within")
    failpoints.here("migration.after")


def downgrade(engine: Engine, revision: str) -> None:
    """Migrate down to `revision`, or to `base`: an empty database. Rows go with their tables."""
    with _migrating(engine) as (connection, config):
        from alembic import command

        found = version_of(connection)
        command.downgrade(config, revision)
        _leave_a_trace(connection, found)


def _leave_a_trace(connection: Connection, before: str | None) -> None:
    """A trail event, where there was a trail before the migration and is one after it."""
    from audit_pipeline.adapters.store.writer import Writer
    from audit_pipeline.model.trail import TrailEvent

    after = version_of(connection)
    if None in (before, after) or before == after:
        return
    now = dt.datetime.now(dt.UTC)
    event = TrailEvent(
        audit_run_id="store",
        agent_name="audit_logging",
        tool_called="migrate",
        occurred_at=now,
        input_data={"from_version": before},
        output_summary={"version": after},
    )
    Writer(connection, now).append_events([event])


@contextlib.contextmanager
def _migrating(engine: Engine) -> Iterator[tuple[Connection, "Config"]]:
    """The one transaction of a migration, and Alembic told to use it and to keep quiet."""
    from alembic.config import Config

    config = Config()
    folder = str(resources.files("audit_pipeline") / "migrations")
    config.set_main_option("script_location", folder.replace("%", "%%"))
    alembic_log = logging.getLogger("alembic")
    level = alembic_log.level
    alembic_log.setLevel(logging.WARNING)
    try:
        with (
            engine.connect() as plain,
            _foreign_keys_off(plain),
            _exclusively(plain) as connection,
        ):
            config.attributes["connection"] = connection
            yield connection, config
            _refuse_broken_references(connection)
    finally:
        alembic_log.setLevel(level)


@contextlib.contextmanager
def _foreign_keys_off(connection: Connection) -> Iterator[None]:
    """On SQLite, while tables are rebuilt: DROP TABLE deletes the rows that refer to its own.

    The pragma does nothing inside a transaction, so it surrounds the transaction.
    """
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name != "sqlite":
        yield
        return
    driver.execute("PRAGMA foreign_keys = OFF")
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys = ON")


def _refuse_broken_references(connection: Connection) -> None:
    if connection.dialect.name != "sqlite":
        return
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    if broken:
        raise StoreUnavailable(
            f"{shown(str(connection.engine.url))}: {len(broken)} rows refer to missing ones; "
            "nothing was migrated, restore a backup"
        )

"""Alembic's entry: on the connection that the store hands over, or on `-x url=…` by hand."""

from alembic import context
from sqlalchemy import Connection

from audit_pipeline.adapters.store.engine import engine_of
from audit_pipeline.adapters.store.schema import METADATA
from audit_pipeline.model.errors import BadUsage


def migrate(connection: Connection) -> None:
    """Run what was asked for, in the transaction that the connection is in."""
    context.configure(
        connection=connection,
        target_metadata=METADATA,
        # SQLite cannot alter most things; the table is copied instead
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()


def migrate_by_hand() -> None:
    """On an address from the command line, for `alembic revision` and the like."""
    url = context.get_x_argument(as_dictionary=True).get("url")
    if not isinstance(url, str):
        raise BadUsage("name the database: alembic -x url=sqlite:///<file> …")
    engine = engine_of(url)
    try:
        with engine.begin() as connection:
            migrate(connection)
    finally:
        engine.dispose()


if (given := context.config.attributes.get("connection")) is not None:
    migrate(given)
else:
    migrate_by_hand()

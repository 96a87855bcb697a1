"""Migrations: up, down and up again, and that they lead to the declared schema."""

import logging
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text

import audit_pipeline.migrations
from audit_pipeline.adapters.store import Store
from audit_pipeline.adapters.store.ddl import create_all_tables
from audit_pipeline.adapters.store.engine import downgrade, engine_of, upgrade, version_of
from audit_pipeline.adapters.store.schema import HEAD, METADATA
from audit_pipeline.model.errors import StoreUnavailable

pytest_plugins = ("audit_pipeline_tests.postgres",)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "postgres":
        return request.getfixturevalue("postgres_url")
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """On that database, closed at the end."""
    opened = engine_of(url)
    yield opened
    opened.dispose()


def tables(engine: Engine) -> set[str]:
    """What is in the database, Alembic's own table left out."""
    with engine.connect() as connection:
        return set(inspect(connection).get_table_names()) - {"alembic_version"}


def test_head_is_the_newest_version() -> None:
    """`schema.HEAD`, which the fast path trusts, is what Alembic would migrate to."""
    config = Config()
    [folder] = audit_pipeline.migrations.__path__
    config.set_main_option("script_location", folder)
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_up_down_up_with_rows_in_it(engine: Engine, url: str) -> None:
    """Every step works on a database that holds referring rows."""
    upgrade(engine)
    assert tables(engine) == set(METADATA.tables)
    with engine.begin() as connection:
        for statement in ROWS.split(";"):
            connection.exec_driver_sql(statement)
    downgrade(engine, "base")
    assert tables(engine) == set()
    with engine.connect() as connection:
        assert version_of(connection) is None
    upgrade(engine)
    with engine.connect() as connection:
        assert version_of(connection) == HEAD
        assert connection.execute(text("SELECT count(*) FROM flags")).scalar() == 0
    with Store.open(url) as store:
        assert store.flags() == []


ROWS = """
INSERT INTO flags (flag_id, transaction_id, audit_run_id, severity_level, explanation,
  population, audit_on, severity_score, points, first_run_id)
VALUES ('f', 't', 'r', 'INFO', 'e', 'p', '2025-01-01', 1, '[]', 'r');
INSERT INTO decisions VALUES ('d', 'f', 'approved', 'policy_allows', 'ann',
  '2025-01-01 00:00:00', '', '2025-01-01 00:00:00');
INSERT INTO queries
VALUES ('q', 'RC-01', 'select 1', '{}', 's', '[]', '2025-01-01 00:00:00');
INSERT INTO findings
VALUES ('p', 't', 'RC-01', '2025-01-01', 'f', 1, '1.0000', '1.0000', 1, '[]', 'q')
"""


def test_migrated_schema_is_the_declared_one(engine: Engine) -> None:
    """Alembic's autogenerate finds nothing to do: types, defaults, indexes, keys."""
    upgrade(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, METADATA) == []


def test_migrated_ddl_is_the_printed_ddl(tmp_path: Path) -> None:
    """Checks and constraint names too, which autogenerate does not compare."""

    def texts(path: Path) -> list[tuple[str, str]]:
        with closing(sqlite3.connect(path)) as connection:
            found = connection.execute(
                "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"
            )
            return [
                # a table that was copied and renamed has its name in quotes
                (name, " ".join(sorted(sql.replace(",", " ").replace('"', "").split())))
                for name, sql in found
                if name != "alembic_version"
            ]

    Store.open(f"sqlite:///{tmp_path / 'migrated.db'}").close()
    with closing(sqlite3.connect(tmp_path / "printed.db")) as connection:
        create_all_tables(connection)
        connection.commit()
    assert texts(tmp_path / "migrated.db") == texts(tmp_path / "printed.db")


def test_a_database_made_by_create_all_tables_is_taken_over(engine: Engine, url: str) -> None:
    """Its tables are the declared ones, so the first version adopts them."""
    with engine.begin() as connection:
        create_all_tables(connection)
    with Store.open(url) as store:
        store.save_workflow_state("run", {"status": "paused"})
        assert store.restore_workflow_state("run") == {"status": "paused"}


def test_tables_of_another_system_are_refused(tmp_path: Path) -> None:
    """The specification's bare `flags` lacks columns: the message names the remedy."""
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE flags (flag_id VARCHAR(36) PRIMARY KEY)")
    with pytest.raises(StoreUnavailable, match="name an empty database"):
        Store.open(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection:
        left = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    assert "decisions" not in left, "a failed migration leaves nothing behind"


def test_broken_references_stop_a_migration(tmp_path: Path) -> None:
    """Foreign keys are off while tables are rebuilt, so they are checked before the commit."""
    path = tmp_path / "store.db"
    Store.open(f"sqlite:///{path}").close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM alembic_version")
        connection.execute(
            "INSERT INTO decisions VALUES "
            "('d', 'no flag', 'approved', 'policy_allows', 'ann', '2025-01-01', '', '2025-01-01')"
        )
        connection.commit()
    with pytest.raises(StoreUnavailable, match=r"1 rows refer to missing ones.*restore a backup"):
        Store.open(f"sqlite:///{path}")


def test_a_version_is_written_by_hand(tmp_path: Path) -> None:
    """The command that the package's docstring names finds nothing to do on a current store."""
    store = f"sqlite:///{tmp_path / 'store.db'}"
    Store.open(store).close()
    [folder] = audit_pipeline.migrations.__path__
    alembic = [sys.executable, "-m", "alembic", "-c", f"{folder}/alembic.ini"]
    root = Path(folder).parents[1]
    done = subprocess.run(
        [*alembic, "-x", f"url={store}", "check"],
        capture_output=True,
        check=False,
        text=True,
        cwd=root,
    )
    assert (done.returncode, done.stdout) == (0, "No new upgrade operations detected.\n")
    done = subprocess.run(
        [*alembic, "check"], check=False, capture_output=True, text=True, cwd=root
    )
    assert done.returncode != 0
    assert "name the database: alembic -x url=" in done.stderr


def test_a_newer_store_is_refused(engine: Engine, url: str) -> None:
    """Code that does not know the version keeps its hands off."""
    upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreUnavailable, match=r"9999.*newer than this code.*install the newer"):
        Store.open(url)
    with pytest.raises(StoreUnavailable, match=rf"9999.*needs {HEAD}"):
        Store.open(url, migrate=False)


def test_without_migration_an_empty_database_is_refused(url: str) -> None:
    """`migrate=False` changes nothing."""
    with pytest.raises(StoreUnavailable, match="at version none"):
        Store.open(url, migrate=False)
    Store.open(url).close()
    Store.open(url, migrate=False).close()


def test_many_open_a_new_store_at_once(url: str) -> None:
    """One of them migrates, the others wait for it."""

    def open_and_read(_number: int) -> int:
        with Store.open(url) as store:
            return len(store.flags())

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(open_and_read, range(6))) == [0] * 6


def test_migrating_is_quiet(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing on the log at INFO, nothing printed, and the logger's level is given back."""
    level = logging.getLogger("alembic").level
    caplog.set_level(logging.INFO)
    Store.open(f"sqlite:///{tmp_path / 'store.db'}").close()
    assert [r for r in caplog.records if r.name.startswith("alembic.runtime.migration")] == []
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("alembic").level == level


def test_opening_a_current_store_does_not_load_alembic(tmp_path: Path) -> None:
    """The fast path: alembic costs more to import than everything else that opening does."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    Store.open(url).close()
    code = (
        "import sys; from audit_pipeline.adapters.store import Store; "
        f"Store.open({url!r}).close(); print('alembic' in sys.modules, 'psycopg2' in sys.modules)"
    )
    root = Path(audit_pipeline.migrations.__path__[0]).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=root
    )
    assert done.stdout.split() == ["False", "False"]


def test_a_folder_with_a_percent_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alembic's configuration interpolates; an install path may hold any character."""
    [folder] = audit_pipeline.migrations.__path__
    odd = tmp_path / "100%s"
    odd.mkdir()
    (odd / "migrations").symlink_to(folder)

    def elsewhere(_package: str) -> Any:
        return odd

    monkeypatch.setattr("audit_pipeline.adapters.store.engine.resources.files", elsewhere)
    Store.open(f"sqlite:///{tmp_path / 'store.db'}").close()

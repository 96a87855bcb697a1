"""Migrations of a store that an audit and its reviewers have filled: no row changes by a byte.

A store of an earlier version is made by migrating a full one down, and by writing to it there.
"""

import datetime as dt
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import alembic.op
import pytest
from sqlalchemy import Boolean, Connection, Date, Engine, Integer, Table, func, inspect, select
from sqlalchemy.exc import IntegrityError

from audit_pipeline.adapters.store import Store, reviewing
from audit_pipeline.adapters.store.columns import Exact, Instant, Words
from audit_pipeline.adapters.store.engine import downgrade, engine_of, upgrade, version_of
from audit_pipeline.adapters.store.schema import (
    AUDIT_ATTEMPTS,
    AUDIT_STEPS,
    COMMENTS,
    DECISIONS,
    FLAGS,
    HEAD,
    LLM_CALLS,
    LOGIN_FAILURES,
    METADATA,
    REFRESH_TOKENS,
    RULE_VERSIONS,
    SAVED_VIEWS,
    SECOND_REVIEWS,
    SESSIONS,
    USERS,
    WITHDRAWALS,
    WORKLIST,
)
from audit_pipeline.adapters.store.trail import Checkpoint
from audit_pipeline.model.decision import Decision, Reason, Verdict
from audit_pipeline_tests.environment import ROOT, Workplace

pytest_plugins = ("audit_pipeline_tests.environment", "audit_pipeline_tests.postgres")

VERSIONS = ("0001", "0002", "0003", "0004")
NEW = {
    "0001": set[str](),
    "0002": {"llm_calls"},
    "0003": {"audit_attempts", "audit_steps"},
    "0004": {
        *("second_reviews", "withdrawals", "worklist", "comments"),
        *("sessions", "refresh_tokens", "login_failures", "saved_views"),
    },
}
"""Of a version, the tables that it makes (anew): rows of them are not of an earlier one."""

CHANGED = {
    "flags": {
        *("vendor", "vendor_id", "cardholder", "amount_cents", "occurred_on", "approver_id"),
    },
    "users": {"cardholder", "failed_logins", "locked_until_at"},
}
"""Columns that not every version has."""

NOON = dt.datetime(2025, 5, 1, 12, 30, 15, 123456, tzinfo=dt.UTC)
Rows = dict[str, list[str]]


def _row(table: Table, **cells: object) -> dict[str, object]:
    """A row with some value in every column that must have one."""
    return {
        column.name: next(value for kind, value in SOME.items() if isinstance(column.type, kind))
        for column in table.columns
        if not column.nullable and column.server_default is None
    } | cells


SOME: dict[type, object] = {
    Words: "x", Integer: 1, Date: NOON.date(), Instant: NOON, Exact: Decimal("1.25"), Boolean: True
}  # fmt: skip


@pytest.fixture(scope="module")
def reviewed(audited: Workplace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of the small company's audit, with decisions, and a row in every other table."""
    path = tmp_path_factory.mktemp("reviewed") / "store.db"
    with (
        closing(sqlite3.connect(audited.data_dir / "audit.sqlite")) as source,
        closing(sqlite3.connect(path)) as copy,
    ):
        source.backup(copy)
    with Store.open(f"sqlite:///{path}") as store:
        flags = store.flags()
        assert len(flags) > len(Verdict)
        for number, verdict in enumerate([*Verdict, *Verdict]):
            identity = flags[number % 5].flag_id
            said = Decision(identity, verdict, Reason.CORRECTED, "zoë", NOON, f"it's {number} 🧾")
            with store.writing() as writer:
                reviewing.decide(writer, said)
        with store.writing() as writer:
            writer.put_checkpoint(Checkpoint(3, "0" * 64, "c2lnbmVk", "key", NOON))
            for table, row in (
                (LLM_CALLS, _row(LLM_CALLS, status="answered", answer="{}")),
                (AUDIT_ATTEMPTS, _row(AUDIT_ATTEMPTS, epoch=1_000)),
                (AUDIT_STEPS, _row(AUDIT_STEPS)),
                (RULE_VERSIONS, _row(RULE_VERSIONS, status="active")),
                (USERS, _row(USERS, user_id="zoë", role="reviewer", cardholder="Z. Ë.")),
                (SECOND_REVIEWS, _second(writer.connection)),
                (WITHDRAWALS, _row(WITHDRAWALS, decision_id=_decision(writer.connection))),
                (WORKLIST, _row(WORKLIST, flag_id=flags[0].flag_id)),
                (COMMENTS, _row(COMMENTS, flag_id=flags[0].flag_id)),
                (SESSIONS, _row(SESSIONS, session_id="s", user_id="zoë")),
                (REFRESH_TOKENS, _row(REFRESH_TOKENS, session_id="s")),
                (LOGIN_FAILURES, _row(LOGIN_FAILURES)),
                (SAVED_VIEWS, _row(SAVED_VIEWS, user_id="zoë")),
            ):
                writer.connection.execute(table.insert().values(**row))
    return path


def _decision(connection: Connection) -> str:
    return str(connection.scalar(select(func.min(DECISIONS.c.decision_id))))


def _second(connection: Connection) -> dict[str, object]:
    identity = _decision(connection)
    return _row(SECOND_REVIEWS, decision_id=identity, reviewer_id="zoë", approver_id="yan")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path, reviewed: Path) -> str:
    """The address of a full store of each kind."""
    copy = tmp_path / "store.db"
    shutil.copyfile(reviewed, copy)
    if request.param == "sqlite":
        return f"sqlite:///{copy}"
    address: str = request.getfixturevalue("postgres_url")
    with Store.open(f"sqlite:///{copy}") as source, Store.open(address) as target:
        with source.reading() as connection:
            rows = {
                table: [dict(row) for row in connection.execute(select(table)).mappings()]
                for table in METADATA.sorted_tables
            }
        with target.writing() as writer:
            for table, found in rows.items():
                writer.connection.execute(table.insert(), found)
    return address


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """On that store, closed at the end."""
    opened = engine_of(url)
    yield opened
    opened.dispose()


def rows_of(engine: Engine) -> Rows:
    """Every row of every table as the database spells it, and the version.

    But for what a migration itself adds to the trail, that it took place, and for columns that not
    every version has.
    """
    kind = "::text" if engine.dialect.name == "postgresql" else ""
    besides = {"audit_trail": " WHERE tool_called <> 'migrate'"}
    with engine.connect() as connection:
        shape = inspect(connection)
        found: Rows = {}
        for name in shape.get_table_names():
            columns = {column["name"] for column in shape.get_columns(name)}
            said = ", ".join(f'"{c}"{kind}' for c in sorted(columns - CHANGED.get(name, set())))
            asked = f'SELECT {said} FROM "{name}" AS t{besides.get(name, "")}'
            found[name] = sorted(repr(tuple(r)) for r in connection.exec_driver_sql(asked))
        return found


def without(rows: Rows, *names: str) -> Rows:
    return {name: kept for name, kept in rows.items() if name not in names}


def lost_below(version: str) -> set[str]:
    """The tables whose rows an earlier version than the newest cannot hold."""
    later = VERSIONS[VERSIONS.index(version) + 1 :]
    return {"alembic_version"}.union(*(NEW[one] for one in later))


def write_more(engine: Engine) -> None:
    """What an older program would write: rows of tables that every version has."""
    with engine.begin() as connection:
        for statement in MORE.split(";"):
            connection.exec_driver_sql(statement)


MORE = """
INSERT INTO flags (flag_id, transaction_id, audit_run_id, severity_level, explanation,
  population, audit_on, severity_score, points, first_run_id)
VALUES ('f', 't', 'r', 'INFO', 'é', 'p', '2025-01-01', 1, '[]', 'r');
INSERT INTO decisions VALUES ('d', 'f', 'approved', 'policy_allows', 'ann',
  '2025-01-01 00:00:00', '', '2025-01-01 00:00:00');
INSERT INTO queries
VALUES ('q', 'RC-01', 'select 1', '{}', 's', '[]', '2025-01-01 00:00:00');
INSERT INTO findings
VALUES ('p', 't', 'RC-01', '2025-01-01', 'f', 1, '1.0000', '1.0000', 1, '[]', 'q')
"""


def test_the_store_is_full(engine: Engine) -> None:
    """No table is empty: what is compared below is something."""
    rows = rows_of(engine)
    assert set(rows) == {*METADATA.tables, "alembic_version"}
    assert [name for name, found in rows.items() if not found] == []


@pytest.mark.parametrize("version", VERSIONS[:-1])
def test_up_from_an_earlier_version(engine: Engine, url: str, version: str) -> None:
    """What it could hold is there unchanged, both ways; the tables that are new are empty."""
    lost = lost_below(version)
    full = rows_of(engine)
    downgrade(engine, version)
    older = rows_of(engine)
    assert without(older, *lost) == without(full, *lost)
    with engine.connect() as connection:
        assert version_of(connection) == version
    write_more(engine)
    older = rows_of(engine)
    upgrade(engine)
    newer = rows_of(engine)
    assert without(newer, *lost) == without(older, *lost)
    assert set(newer) == set(full)
    assert [newer[name] for name in lost - {"alembic_version"}] == [[]] * (len(lost) - 1)
    assert newer["alembic_version"] == full["alembic_version"]
    with Store.open(url) as store:
        assert len(store.flags(state=None)) == len(full["flags"]) + 1
        assert all(entry.intact for entry in store.trail())


def test_each_step_down_and_up_again(engine: Engine) -> None:
    """One version at a time, to the empty database and back."""
    for version in reversed(VERSIONS[:-1]):
        before = rows_of(engine)
        downgrade(engine, version)
        lost = {"alembic_version", *NEW[VERSIONS[VERSIONS.index(version) + 1]]}
        assert without(rows_of(engine), *lost) == without(before, *lost)
    downgrade(engine, "base")
    assert without(rows_of(engine), "alembic_version") == {}
    upgrade(engine, VERSIONS[0])
    write_more(engine)
    rows = rows_of(engine)
    for version in VERSIONS:
        upgrade(engine, version)
        with engine.connect() as connection:
            assert version_of(connection) == version
        lost = {"alembic_version"}.union(*NEW.values())
        assert without(rows_of(engine), *lost) == without(rows, *lost)
    assert set(rows_of(engine)) == {*METADATA.tables, "alembic_version"}


class Crash(Exception):
    """The process ended in the middle."""


OPERATIONS = ("create_table", "create_index", "drop_table")


def crash_after(patched: pytest.MonkeyPatch, count: int) -> list[str]:
    """Alembic's operations fail once so many are done; the names of those that are done."""
    done: list[str] = []

    def failing(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*given: Any, **more: Any) -> Any:
            if len(done) == count:
                raise Crash
            result = real(*given, **more)
            done.append(name)
            return result

        return operation

    for name in OPERATIONS:
        patched.setattr(alembic.op, name, failing(name, getattr(alembic.op, name)))
    return done


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_migration_that_breaks_off_leaves_the_old_version(engine: Engine, direction: str) -> None:
    """Wherever it breaks off; and the next attempt is not disturbed by it."""
    if direction == "up":
        downgrade(engine, VERSIONS[0])
        write_more(engine)
    migrate = upgrade if direction == "up" else _down
    before = rows_of(engine)
    count = 0
    while True:
        with pytest.MonkeyPatch.context() as patched:
            done = crash_after(patched, count)
            with suppress(Crash):
                migrate(engine)
                break
        assert len(done) == count
        assert rows_of(engine) == before
        count += 1
    assert count > len(OPERATIONS), "it broke off between all of them"
    after = rows_of(engine)
    lost = lost_below(VERSIONS[0])
    assert after["alembic_version"] != before["alembic_version"]
    assert without(after, *lost) == without(before, *lost)


def _down(engine: Engine) -> None:
    downgrade(engine, VERSIONS[0])


def test_several_processes_migrate_at_once(engine: Engine, url: str) -> None:
    """One does it, the others find it done; none of them fails."""
    downgrade(engine, VERSIONS[0])
    write_more(engine)
    before = rows_of(engine)
    code = (
        "import sys; from audit_pipeline.adapters.store import Store\n"
        "with Store.open(sys.argv[1]) as store: print(len(store.flags(state=None)))"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for _ in range(3)
    ]
    ended = [(*process.communicate(timeout=120), process.returncode) for process in running]
    assert ended == [(f"{len(before['flags'])}\n", "", 0)] * len(running)
    lost = lost_below(VERSIONS[0])
    assert without(rows_of(engine), *lost) == without(before, *lost)
    with engine.connect() as connection:
        assert version_of(connection) == HEAD


def test_a_critical_flag_that_one_person_decided_waits_for_a_second(engine: Engine) -> None:
    """An earlier version let one person decide; the decision stays as a proposal."""
    downgrade(engine, "0003")
    write_more(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE flags SET state = 'decided', reviewed = TRUE, reviewer_id = 'ann',"
            " severity_level = 'CRITICAL', human_decision = 'approved' WHERE flag_id = 'f'"
        )
    upgrade(engine)
    with engine.connect() as connection:
        asked = select(FLAGS.c.state, FLAGS.c.reviewed, FLAGS.c.human_decision)
        row = connection.execute(asked.where(FLAGS.c.flag_id == "f")).one()
    assert tuple(row) == ("open", False, "approved")
    with pytest.raises(IntegrityError, match="four_eyes"), engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE flags SET state = 'decided', approver_id = 'ANN' WHERE flag_id = 'f'"
        )
